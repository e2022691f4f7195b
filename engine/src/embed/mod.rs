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
//! * [`Engine`] is an open directory, [`Log`] one log in it: handles to clone and to give to any thread.
//! * Every request gives an [`Ack`]: `.wait()` blocks, `.await` does not (no runtime is asked for), `.on_done(..)` calls
//!   back. [`Log::append_waiting`] blocks, too, and where it can it does the write on the calling thread.
//! * [`batch_of`] makes a batch of plain values, [`BatchBuilder`](crate::format::record::BatchBuilder) one with keys,
//!   times and headers.
//! * [`ManualEngine`] is the same without a thread: nothing happens but in [`ManualEngine::drive`].
//!
//! # What is durable when
//!
//! A request is durable when its ack says `Ok`, not before. `Err` means that nothing was done, but for
//! [`EngineError::Failed`] and [`EngineError::Closed`]: what was asked may be done or not, and the next open tells.
//! Requests of one handle to one log are carried out in their order; logs do not wait for each other.
//!
//! A shard whose journal could not be written has failed: nothing in flight is acknowledged, every later request gets
//! an error, and the next open recovers what is on the device. The logs of other shards go on.
//!
//! # Errors that any request may give
//!
//! Each method names its own; besides, every ack may say
//!
//! * [`EngineError::Closed`]: the engine was closed, or the shard has failed and ended, before there was an answer;
//! * [`EngineError::Failed`]: the shard has just failed;
//! * [`EngineError::UnknownLog`]: the log was deleted, or never made;
//! * [`EngineError::TooManyRequests`], of a [`ManualEngine`] only: it was not driven for 4096 requests.
//!
//! # Limits
//!
//! Batches of at most [`Config::batch_bytes_max`] bytes, [`LOGS_MAX`](crate::limits::LOGS_MAX) logs a shard. 4096 requests
//! to a shard may wait; who makes another waits, too. The rest is in [`limits`](crate::limits).

mod ack;
mod archive;
mod desk;
mod hold;
mod lead;
mod log;
mod manual;
#[cfg(all(test, loom))]
mod models;
mod request;
#[cfg(test)]
mod tests;
mod turns;
mod worker;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;

pub use ack::Ack;
pub use log::{Log, LogRequest, SealedSegment, batch_of};
pub use manual::ManualEngine;

use ack::Completer;
use request::Request;
use worker::{Idle, Mail, Turning};

use crate::error::{Damage, IoFault, OpenError};
use crate::format::batch::{self, BatchError, CheckedBatch};
use crate::format::record::{self, Record};
use crate::io::disk::Disk;
use crate::io::driver::Choice;
use crate::limits::{BATCH_BYTES_MAX, BLOCK_BYTES, JOURNAL_FILE_BYTES, JOURNAL_FILE_BYTES_MAX, Sizes};
use crate::shard::ShardCounts;
use crate::shard::recover::{OpenConfig, Opened, Report, open};
use crate::types::{LogId, Offset};

/// Smallest journal file: room for a frame that is as long as many small batches make it.
const MIN_JOURNAL_BYTES: u64 = 2 << 20;
/// More than a frame takes beside its batch.
const FRAME_OVERHEAD_BYTES: u64 = 4 * BLOCK_BYTES as u64;

/// How an engine is opened. The default is one shard with journal files of 64 MiB, and 64 MiB of memory.
#[derive(Clone, Debug)]
pub struct Config {
    /// Shards, each with a thread and a journal; at least one. Logs are spread over them by id. May differ from the last
    /// time.
    pub shards: u16,
    /// Bytes of one journal file, a multiple of 4096 from 2 MiB to
    /// [`JOURNAL_FILE_BYTES_MAX`]; each shard uses up to [`JOURNAL_FILES_MAX`](crate::limits::JOURNAL_FILES_MAX).
    pub journal_file_bytes: u64,
    /// Bytes of records that each shard has in memory: recent ones, which serve the ends of logs, those on their way to and
    /// from the device, and the cache of what was read. When it is full, appends wait.
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

impl Config {
    /// The largest batch that can be appended, in bytes, header included: what the format allows, if a journal file
    /// holds it.
    pub fn batch_bytes_max(&self) -> usize {
        let fits = self.journal_file_bytes.saturating_sub(FRAME_OVERHEAD_BYTES);
        BATCH_BYTES_MAX.min(usize::try_from(fits).unwrap_or(usize::MAX))
    }

    /// What recovery is told; or what is wrong with the configuration.
    fn checked(&self, directory: &Path) -> Result<OpenConfig, OpenError> {
        let block = BLOCK_BYTES as u64;
        let bytes = self.journal_file_bytes;
        let what = match self {
            Config { shards: 0, .. } => "an engine has at least one shard".to_string(),
            _ if !bytes.is_multiple_of(block) => {
                format!("journal_file_bytes is {bytes}, which is no multiple of {block}")
            }
            _ if !(MIN_JOURNAL_BYTES..=JOURNAL_FILE_BYTES_MAX).contains(&bytes) => {
                format!(
                    "journal_file_bytes is {bytes}, not from {MIN_JOURNAL_BYTES} to {JOURNAL_FILE_BYTES_MAX}"
                )
            }
            _ => String::new(),
        };
        if !what.is_empty() {
            return Err(OpenError::Config { what });
        }
        let random = std::hash::RandomState::new();
        let half = |salt: u8| std::hash::BuildHasher::hash_one(&random, salt);
        let new_cluster_id = (u128::from(half(0)) << 64 | u128::from(half(1))).to_be_bytes();
        Ok(OpenConfig {
            directory: directory.to_path_buf(),
            shards: self.shards,
            shard_of,
            node_id: 0,
            new_cluster_id,
            journal_file_bytes: self.journal_file_bytes,
            memory_bytes: self.memory_bytes,
            disk: Disk::default(),
            sizes: Sizes::default(),
        })
    }
}

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineError {
    /// The engine was closed, or its shard has failed and ended, before there was an answer. What was asked before that
    /// may be done or not.
    Closed,
    /// The log does not exist; see [`Engine::log`].
    UnknownLog,
    /// The log does not end where the caller expected; nothing was appended.
    WrongOffset {
        /// Where the batch was to go.
        expected: Offset,
        /// Where the log ends.
        end: Offset,
    },
    /// The copy of the log that the batch comes from and this one are not the same at this offset; nothing was
    /// appended. See [`Log::append_replica`].
    Diverged {
        /// The first offset of the batch.
        offset: Offset,
    },
    /// A batch begins at `base` and reaches across the offset; nothing was truncated.
    InsideBatch {
        /// The first offset of that batch.
        base: Offset,
    },
    /// Everything below `committed` stays; nothing was truncated. See [`Log::commit_upto`].
    Committed {
        /// The lowest end that the log may be given.
        committed: Offset,
    },
    /// The shard holds as many logs as it may; the log was not made.
    TooManyLogs,
    /// The engine is driven by hand and has as many requests waiting as it may; drive it.
    TooManyRequests,
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
    OutOfRange {
        /// First offset that can be read.
        start: Offset,
        /// One more than the last that can; of a truncation, where the log ends.
        durable: Offset,
    },
    /// The bytes on the device are not what was written there.
    Damaged(Damage),
    /// The device or the kernel failed; the text names the file and the reason. What was asked may be done or not.
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
            EngineError::Diverged { offset } => {
                write!(f, "the log holds another batch at {offset} than the one it is to be a copy of")
            }
            EngineError::InsideBatch { base } => {
                write!(f, "a batch reaches across the offset from {base} on")
            }
            EngineError::Committed { committed } => write!(f, "everything below {committed} is committed"),
            EngineError::TooManyLogs => write!(f, "there are too many logs in the shard"),
            EngineError::TooManyRequests => write!(f, "too many requests wait for the engine to be driven"),
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

type Thread = JoinHandle<Result<(), EngineError>>;

struct Inner {
    mail: Vec<Mail>,
    threads: Mutex<Vec<Thread>>,
    report: Report,
}

fn shard_of(log: LogId, shards: u16) -> u16 {
    (log.0 % u64::from(shards)) as u16
}

impl Engine {
    /// Opens `directory`, making it if it is missing, and recovers what the last run left. When it returns, everything
    /// ever acknowledged is on the device and can be read, but for what [`Engine::report`] calls damaged.
    ///
    /// Fails if a process has the directory open ([`OpenError::InUse`]), if a version wrote it that this one does not
    /// know ([`OpenError::Incompatible`]), if something in it is damaged or missing without which nothing can be served
    /// ([`OpenError::Damaged`]), if `config` cannot be ([`OpenError::Config`]), or if the system refuses something
    /// ([`OpenError::ReadOnly`], [`OpenError::Io`]).
    pub fn open(directory: impl AsRef<Path>, config: Config) -> Result<Engine, OpenError> {
        let directory = directory.as_ref();
        let Opened { shards, report, lock, .. } = open(&config.checked(directory)?)?;
        let system = |source| IoFault {
            doing: "start a thread for",
            path: directory.to_path_buf(),
            position: None,
            source,
        };
        // Held by the threads: the directory is in use until the last of them has finished.
        let lock = Arc::new(lock);
        let (mut mail, mut threads) = (Vec::new(), Vec::new());
        for shard in shards {
            let (worker, to_it) = Idle::new(shard, config.batch_bytes_max(), true).map_err(system)?;
            let name = format!("ringmain-{}", threads.len());
            let (lock, driver) = (lock.clone(), config.driver);
            let run = move || {
                let ended = worker.begin(driver).map_err(worker::failed).and_then(Turning::run);
                drop(lock);
                ended
            };
            let thread = std::thread::Builder::new().name(name).spawn(run).map_err(system)?;
            mail.push(to_it);
            threads.push(thread);
        }
        Ok(Engine::new(mail, threads, report))
    }

    fn new(mail: Vec<Mail>, threads: Vec<Thread>, report: Report) -> Engine {
        Engine(Arc::new(Inner { mail, threads: Mutex::new(threads), report }))
    }

    /// What recovery found and did when the engine was opened.
    pub fn report(&self) -> &Report {
        &self.0.report
    }

    /// The log with this id, made if it does not exist. When the answer is `Ok` its existence is durable.
    ///
    /// Fails if the shard holds as many logs as it may ([`EngineError::TooManyLogs`]).
    pub fn log(&self, id: LogId) -> LogRequest {
        let done = self.ask(id, |done| Request::Create { log: id, done });
        LogRequest::new(Log::new(self.clone(), id), done)
    }

    /// Removes a log and all it holds: durable when the ack says `Ok`. Its space comes back after that. Reads that wait
    /// for it get [`EngineError::UnknownLog`]. It is no error if there is no such log. Its id must not be used again.
    pub fn delete(&self, id: LogId) -> Ack<()> {
        self.ask(id, |done| Request::Delete { log: id, done })
    }

    /// Finishes everything asked so far, seals the journals and ends the threads: what was asked is durable when it
    /// returns `Ok`. Other clones get [`EngineError::Closed`] from then on. Blocks the calling thread.
    ///
    /// Fails if a shard has failed; then its requests that were not answered with `Ok` may be durable or not.
    pub fn close(self) -> Result<(), EngineError> {
        self.ask_to_close();
        let threads = std::mem::take(&mut *self.0.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let mut result = Ok(());
        for thread in threads {
            let ended =
                thread.join().unwrap_or_else(|_| Err(EngineError::Failed("a shard has panicked".into())));
            result = result.and(ended);
        }
        result
    }

    /// Figures since the engine was opened, an ack for each shard; plain counters that only rise, but for
    /// `memory_bytes` and `logs`, which are as they are now.
    pub fn statistics(&self) -> Vec<Ack<ShardCounts>> {
        let shards = 0..self.0.mail.len();
        shards.map(|shard| self.ask_shard(shard, |done| Request::Statistics { done })).collect()
    }

    fn ask_to_close(&self) {
        for mail in &self.0.mail {
            mail.send(Request::Close).ok(); // a shard that has ended says why itself
        }
    }

    fn ask<T>(&self, log: LogId, request: impl FnOnce(Completer<T>) -> Request) -> Ack<T> {
        self.ask_shard(usize::from(shard_of(log, self.0.mail.len() as u16)), request)
    }

    fn append_waiting(&self, log: LogId, batch: CheckedBatch) -> Result<Appended, EngineError> {
        let shard = usize::from(shard_of(log, self.0.mail.len() as u16));
        lead::append(&self.0.mail[shard], log, batch)
    }

    fn ask_shard<T>(&self, shard: usize, request: impl FnOnce(Completer<T>) -> Request) -> Ack<T> {
        let (completer, ack) = Completer::new();
        // A request that cannot be sent is dropped, and its completer with it: the ack says that it is closed.
        let _ = self.0.mail[shard].send(request(completer));
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
