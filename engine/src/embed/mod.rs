//! The engine as a library: a handle that any thread may use, with a thread for each shard behind it.
//!
//! ```no_run
//! use ringmain_engine::embed::{Config, Engine};
//! use ringmain_engine::types::LogId;
//!
//! let engine = Engine::open("data", Config::default())?;
//! let log = engine.log(LogId(7)).wait()?;
//! let appended = log.append_values(&[b"one", b"two"])?.wait()?; // on the device now
//! for (offset, record) in log.read(appended.base_offset, 1 << 20).wait()?.records() {
//!     println!("{offset}: {:?}", record.value);
//! }
//! engine.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Every request gives an [`Ack`]: `.wait()` blocks, `.await` does not (no runtime is asked for), `.on_done(..)`
//! calls back. A request is durable when its ack says `Ok`, not before. Requests of one handle to one log are
//! carried out in their order.
//!
//! Limits: batches of at most [`BATCH_BYTES_MAX`](crate::limits::BATCH_BYTES_MAX) bytes,
//! [`LOGS_MAX`](crate::limits::LOGS_MAX) logs a shard. A shard whose journal could not be written has failed:
//! nothing in flight is acknowledged, every later request gets an error, and the next open recovers what is on
//! the device.

mod ack;
#[cfg(all(test, loom))]
mod models;
#[cfg(test)]
mod tests;
mod worker;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;

pub use ack::Ack;

use ack::Completer;
use worker::{Mail, Request, Worker};

use crate::error::{Damage, OpenError};
use crate::format::batch::{self, BatchError, CheckedBatch};
use crate::format::record::{self, BatchBuilder, Record};
use crate::io::disk::Disk;
use crate::io::driver::Choice;
use crate::limits::{BATCH_BYTES_MAX, JOURNAL_FILE_BYTES};
use crate::shard::recover::{OpenConfig, Opened, Report, open};
use crate::types::{LogId, Offset};

/// How an engine is opened.
#[derive(Clone, Debug)]
pub struct Config {
    /// Shards, each with a thread and a journal. Logs are spread over them by id. May differ from the last time.
    pub shards: u16,
    /// Bytes of one journal file; each shard uses up to four.
    pub journal_file_bytes: u64,
    /// Bytes of recent frames each shard keeps in memory to serve the ends of logs.
    pub memory_bytes: usize,
    /// How the kernel is reached.
    pub driver: Choice,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            shards: 1,
            journal_file_bytes: JOURNAL_FILE_BYTES,
            memory_bytes: 64 << 20,
            driver: Choice::Auto,
        }
    }
}

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineError {
    /// The engine was closed, or its shard has ended.
    Closed,
    /// The log does not exist; see [`Engine::log`].
    UnknownLog,
    /// The log does not end where the caller expected; nothing was appended.
    WrongOffset { expected: Offset, end: Offset },
    /// A producer's sequence leaves a gap; nothing was appended.
    OutOfOrderSequence,
    /// A producer's epoch is older than one already seen; nothing was appended.
    FencedProducer,
    /// The file system has too little room for new records; nothing was appended. Trimming or deleting logs makes
    /// room, and what was accepted before is not affected.
    NoSpace,
    /// The bytes are not a batch that may be appended.
    Batch(BatchError),
    /// Below the log's start or above what is durable.
    OutOfRange { start: Offset, durable: Offset },
    /// The bytes on the device are not what was written there.
    Damaged(Damage),
    /// The device or the kernel failed; the text names the file and the reason.
    Failed(String),
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EngineError::Closed => write!(f, "the engine is closed"),
            EngineError::UnknownLog => write!(f, "there is no such log"),
            EngineError::WrongOffset { expected, end } => {
                write!(f, "the log was expected to end at {expected} and ends at {end}")
            }
            EngineError::OutOfOrderSequence => write!(f, "the producer's sequence leaves a gap"),
            EngineError::FencedProducer => write!(f, "the producer's epoch is out of date"),
            EngineError::NoSpace => write!(f, "there is too little room on the file system"),
            EngineError::Batch(error) => error.fmt(f),
            EngineError::OutOfRange { start, durable } => {
                write!(f, "the log holds offsets {start} to {durable}")
            }
            EngineError::Damaged(damage) => damage.fmt(f),
            EngineError::Failed(what) => write!(f, "{what}"),
        }
    }
}

impl std::error::Error for EngineError {}

/// A batch is on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// An idempotent producer had appended it before; `base_offset` is where.
    pub duplicate: bool,
}

/// What a log holds. Invariant: start <= durable <= end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// First offset that can be read.
    pub start: Offset,
    /// Everything below is on the device and can be read.
    pub durable: Offset,
    /// The next offset to be assigned.
    pub end: Offset,
}

/// What a read found.
#[derive(Clone, Debug)]
pub struct ReadBatches {
    /// Whole record batches, back to back, sharing the engine's memory; none if the log ends here.
    pub batches: Vec<Bytes>,
    /// The log's first readable offset at the time of the read.
    pub bounds_start: Offset,
    /// The log's durable offset at the time of the read.
    pub bounds_durable: Offset,
}

impl ReadBatches {
    /// The records with their offsets. The first batch may begin below the offset that was read from. Batches
    /// that a producer compressed are passed over: only who knows the codec can read them.
    pub fn records(&self) -> impl Iterator<Item = (Offset, Record)> {
        self.batches.iter().cloned().flat_map(batch::split).flat_map(|(header, bytes)| {
            let plain = header.attributes.get() & batch::CODEC_MASK == 0;
            let mut rest = if plain { bytes.slice(batch::HEADER_BYTES..) } else { Bytes::new() };
            std::iter::from_fn(move || {
                let record = (!rest.is_empty()).then(|| record::take(&mut rest).ok()).flatten()?;
                Some((header.base_offset.get() as u64 + u64::from(record.offset_delta), record))
            })
        })
    }

    /// The offset to read from next.
    pub fn next_offset(&self) -> Option<Offset> {
        let last = self.batches.iter().cloned().flat_map(batch::split).last();
        last.map(|(header, _)| header.base_offset.get() as u64 + header.offsets_count())
    }
}

/// An open data directory. Cheap to clone; any thread may use any clone.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    mail: Vec<Mail>,
    threads: Mutex<Vec<JoinHandle<Result<(), EngineError>>>>,
    report: Report,
}

fn shard_of(log: LogId, shards: u16) -> u16 {
    (log.0 % u64::from(shards)) as u16
}

impl Engine {
    /// Opens `directory`, making it if it is missing, and recovers what the last run left. When it returns,
    /// everything ever acknowledged can be read.
    ///
    /// Fails if another process has the directory open, if a newer version wrote it, or if something in it is
    /// damaged or missing; then nothing was changed.
    pub fn open(directory: impl AsRef<Path>, config: Config) -> Result<Engine, OpenError> {
        assert!(config.shards > 0, "an engine has at least one shard");
        let random = std::hash::RandomState::new();
        let half = |salt: u8| std::hash::BuildHasher::hash_one(&random, salt);
        let new_cluster_id = (u128::from(half(0)) << 64 | u128::from(half(1))).to_be_bytes();
        let Opened { shards, report, lock, .. } = open(&OpenConfig {
            directory: directory.as_ref().to_path_buf(),
            shards: config.shards,
            shard_of,
            node_id: 0,
            new_cluster_id,
            journal_file_bytes: config.journal_file_bytes,
            memory_bytes: config.memory_bytes,
            disk: Disk::default(),
            sizes: crate::limits::Sizes::default(),
        })?;
        let system = |source| crate::error::IoFault {
            doing: "start a thread for",
            path: directory.as_ref().to_path_buf(),
            position: None,
            source,
        };
        // Held by the threads: the directory is in use until the last of them has finished.
        let lock = Arc::new(lock);
        let (mut mail, mut threads) = (Vec::new(), Vec::new());
        for shard in shards {
            let (worker, to_it) = Worker::new(shard, config.driver).map_err(system)?;
            let name = format!("ringmain-{}", threads.len());
            let lock = lock.clone();
            let run = move || {
                let ended = worker.run();
                drop(lock);
                ended
            };
            let thread = std::thread::Builder::new().name(name).spawn(run).map_err(system)?;
            mail.push(to_it);
            threads.push(thread);
        }
        Ok(Engine(Arc::new(Inner { mail, threads: Mutex::new(threads), report })))
    }

    /// What recovery found.
    pub fn report(&self) -> &Report {
        &self.0.report
    }

    /// The log with this id, made if it does not exist. When the ack says `Ok` its existence is durable.
    pub fn log(&self, id: LogId) -> LogRequest {
        LogRequest {
            log: Log { engine: self.clone(), id },
            done: self.ask(id, |done| Request::Create { log: id, done }),
        }
    }

    /// Removes a log and all it holds, durably. Its id must not be used again.
    pub fn delete(&self, id: LogId) -> Ack<()> {
        self.ask(id, |done| Request::Delete { log: id, done })
    }

    /// Finishes everything asked so far, seals the journals and ends the threads. Other clones get
    /// [`EngineError::Closed`] from then on.
    pub fn close(self) -> Result<(), EngineError> {
        for mail in &self.0.mail {
            mail.send(Request::Close).ok(); // a shard that has ended says why below
        }
        let threads = std::mem::take(&mut *self.0.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let mut result = Ok(());
        for thread in threads {
            let ended =
                thread.join().unwrap_or_else(|_| Err(EngineError::Failed("a shard has panicked".into())));
            result = result.and(ended);
        }
        result
    }

    fn ask<T>(&self, log: LogId, request: impl FnOnce(Completer<T>) -> Request) -> Ack<T> {
        let (completer, ack) = Completer::new();
        let shard = shard_of(log, self.0.mail.len() as u16);
        // A request that cannot be sent is dropped, and its completer with it: the ack says that it is closed.
        let _ = self.0.mail[usize::from(shard)].send(request(completer));
        ack
    }
}

impl Drop for Inner {
    /// The last handle is gone: shards end by themselves once they have finished.
    fn drop(&mut self) {
        for mail in &self.mail {
            let _ = mail.send(Request::Close);
        }
    }
}

/// A log that is being opened.
#[must_use = "the log exists when its answer says so"]
pub struct LogRequest {
    log: Log,
    done: Ack<()>,
}

impl LogRequest {
    /// Blocks until the log exists.
    pub fn wait(self) -> Result<Log, EngineError> {
        self.done.wait().map(|()| self.log)
    }
}

impl IntoFuture for LogRequest {
    type Output = Result<Log, EngineError>;
    type IntoFuture = std::pin::Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.done.await.map(|()| self.log) })
    }
}

/// One log of an engine. Cheap to clone; any thread may use any clone.
#[derive(Clone)]
pub struct Log {
    engine: Engine,
    id: LogId,
}

impl Log {
    /// The log's id.
    pub fn id(&self) -> LogId {
        self.id
    }

    /// Appends one record batch (version 2, as Kafka defines it), stored byte for byte but for its base offset
    /// and leader epoch. Durable when the ack says `Ok`.
    pub fn append(&self, batch: CheckedBatch) -> Ack<Appended> {
        self.engine.ask(self.id, |done| Request::Append { log: self.id, batch, expect: None, done })
    }

    /// Appends only if the batch gets the offset `expected`; otherwise [`EngineError::WrongOffset`] and nothing
    /// was appended. Compares with everything asked before, durable or not.
    pub fn append_at(&self, expected: Offset, batch: CheckedBatch) -> Ack<Appended> {
        self.engine.ask(self.id, |done| Request::Append { log: self.id, batch, expect: Some(expected), done })
    }

    /// Appends plain values, each as the value of one record, all durable together.
    ///
    /// Fails at once if there are none, or if they are too large for one batch.
    pub fn append_values(&self, values: &[&[u8]]) -> Result<Ack<Appended>, EngineError> {
        batch_of(values).map(|batch| self.append(batch))
    }

    /// Reads whole batches from the one that holds `from`: at most `bytes_max` bytes, but at least one batch;
    /// nothing if the log ends there. Every byte was verified when it came from the device.
    pub fn read(&self, from: Offset, bytes_max: usize) -> Ack<ReadBatches> {
        self.engine.ask(self.id, |done| Request::Read { log: self.id, from, bytes_max, wait: false, done })
    }

    /// Like [`Log::read`], but waits until there is something to read.
    pub fn tail(&self, from: Offset, bytes_max: usize) -> Ack<ReadBatches> {
        self.engine.ask(self.id, |done| Request::Read { log: self.id, from, bytes_max, wait: true, done })
    }

    /// Drops everything below `before` (at most up to what is durable). Durable when the ack says `Ok`; the
    /// space comes back with whole segments.
    pub fn trim_before(&self, before: Offset) -> Ack<()> {
        self.engine.ask(self.id, |done| Request::Trim { log: self.id, before, done })
    }

    /// What the log holds now.
    pub fn bounds(&self) -> Ack<Bounds> {
        self.engine.ask(self.id, |done| Request::Bounds { log: self.id, done })
    }

    /// An offset from which on a reader finds the first record at or after `timestamp_ms`, which may be a little
    /// further; `None`: there is no such record.
    pub fn seek_time(&self, timestamp_ms: i64) -> Ack<Option<Offset>> {
        self.engine.ask(self.id, |done| Request::SeekTime { log: self.id, timestamp_ms, done })
    }
}

/// A batch whose records' values are `values`, with the time zero.
///
/// Fails if there are none, or if they are too large for one batch.
pub fn batch_of(values: &[&[u8]]) -> Result<CheckedBatch, EngineError> {
    /// More than a record's other fields ever take.
    const RECORD_OVERHEAD_BYTES: usize = 32;
    let bytes: usize = values.iter().map(|value| value.len() + RECORD_OVERHEAD_BYTES).sum();
    if values.is_empty() {
        return Err(EngineError::Batch(BatchError::Count));
    }
    if bytes > BATCH_BYTES_MAX - batch::HEADER_BYTES {
        return Err(EngineError::Batch(BatchError::TooLarge));
    }
    let mut builder = BatchBuilder::new(0);
    for value in values {
        builder.push(0, None, Some(value), &[]);
    }
    Ok(builder.finish())
}
