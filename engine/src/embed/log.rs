//! One log of an engine: what may be asked of it.
//!
//! In: calls from any thread. Out: requests to the log's shard, answered through their acks. Never: blocks, but in
//! [`Ack::wait`].

use std::path::{Path, PathBuf};

use super::request::Request;
use super::{Ack, Appended, Bounds, Engine, EngineError, ReadBatches};
use crate::format::batch::{self, BatchError, CheckedBatch};
use crate::format::record::BatchBuilder;
use crate::limits::BATCH_BYTES_MAX;
use crate::shard::SealedPlace;
use crate::types::{LogId, Offset};

/// A log that is being opened.
#[must_use = "the log exists when its answer says so"]
pub struct LogRequest {
    log: Log,
    done: Ack<()>,
}

impl LogRequest {
    pub(super) fn new(log: Log, done: Ack<()>) -> LogRequest {
        LogRequest { log, done }
    }

    /// The log if the answer is there, otherwise the request again.
    pub fn try_take(self) -> Result<Result<Log, EngineError>, LogRequest> {
        match self.done.try_take() {
            Ok(answer) => Ok(answer.map(|()| self.log)),
            Err(done) => Err(LogRequest { log: self.log, done }),
        }
    }

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
    pub(super) fn new(engine: Engine, id: LogId) -> Log {
        Log { engine, id }
    }

    /// The log's id.
    pub fn id(&self) -> LogId {
        self.id
    }

    /// Appends one record batch (version 2, as Kafka defines it), stored byte for byte but for its base offset
    /// and leader epoch. Durable, as a whole, when the ack says `Ok`.
    ///
    /// Fails if the batch is larger than [`Config::batch_bytes_max`](super::Config::batch_bytes_max)
    /// ([`EngineError::Batch`]), if the file system has too little room ([`EngineError::NoSpace`]), or if its producer's
    /// sequence or epoch does not follow what the log has of it ([`EngineError::OutOfOrderSequence`],
    /// [`EngineError::FencedProducer`]).
    pub fn append(&self, batch: CheckedBatch) -> Ack<Appended> {
        self.engine.ask(self.id, |done| Request::Append {
            log: self.id,
            batch,
            expect: None,
            waits: false,
            done,
        })
    }

    /// Appends only if the batch gets the offset `expected`; otherwise [`EngineError::WrongOffset`] and nothing
    /// was appended. Compares with everything asked before, durable or not. For the rest like [`Log::append`].
    pub fn append_at(&self, expected: Offset, batch: CheckedBatch) -> Ack<Appended> {
        self.engine.ask(self.id, |done| Request::Append {
            log: self.id,
            batch,
            expect: Some(expected),
            waits: false,
            done,
        })
    }

    /// Appends plain values, each as the value of one record, in one batch: all durable together when the ack says `Ok`.
    ///
    /// Fails at once if there are none, or if they are too large for one batch ([`EngineError::Batch`]); later like
    /// [`Log::append`].
    pub fn append_values(&self, values: &[&[u8]]) -> Result<Ack<Appended>, EngineError> {
        batch_of(values).map(|batch| self.append(batch))
    }

    /// Appends a batch like [`Log::append`] and returns when it is on the device. Where nothing else is asked of the
    /// shard, the calling thread writes it itself, which spares waking the shard's thread and being woken by it. Threads
    /// that append one after another in this way share writes: one waits for those answered before it, but no longer than
    /// a write takes, and only while they come back.
    pub fn append_waiting(&self, batch: CheckedBatch) -> Result<Appended, EngineError> {
        self.engine.append_waiting(self.id, batch)
    }

    /// Appends plain values like [`Log::append_values`] and returns when they are on the device; see
    /// [`Log::append_waiting`].
    pub fn append_values_waiting(&self, values: &[&[u8]]) -> Result<Appended, EngineError> {
        self.append_waiting(batch_of(values)?)
    }

    /// Reads whole batches from the one that holds `from`: at most `bytes_max` bytes, but at least one batch, and
    /// maybe fewer than there are: go on at [`ReadBatches::next_offset`]. Nothing if the log ends there. Only what is
    /// durable is read, and every byte was verified when it came from the device.
    ///
    /// Fails if `from` is below the log's start or above what is durable ([`EngineError::OutOfRange`]), or if what is
    /// there is damaged ([`EngineError::Damaged`]) or cannot be read ([`EngineError::Failed`]).
    pub fn read(&self, from: Offset, bytes_max: usize) -> Ack<ReadBatches> {
        self.engine.ask(self.id, |done| Request::Read { log: self.id, from, bytes_max, wait: false, done })
    }

    /// Like [`Log::read`], but its ack waits until there is something to read.
    pub fn tail(&self, from: Offset, bytes_max: usize) -> Ack<ReadBatches> {
        self.engine.ask(self.id, |done| Request::Read { log: self.id, from, bytes_max, wait: true, done })
    }

    /// Drops everything below `before` (at most up to what is durable). Durable when the ack says `Ok`; the
    /// space comes back with whole segments.
    pub fn trim_before(&self, before: Offset) -> Ack<()> {
        self.engine.ask(self.id, |done| Request::Trim { log: self.id, before, done })
    }

    /// Has the log end at `end`: the records from that offset on are gone, also after a crash, and the next batch
    /// gets it. Durable when the ack says `Ok`; until then a crash leaves the log as it was. Requests to the log made
    /// after this one are carried out after it.
    ///
    /// Fails, and changes nothing, if `end` is below the log's start or beyond its end
    /// ([`EngineError::OutOfRange`]), below what [`Log::commit_upto`] was told ([`EngineError::Committed`]), or not
    /// where a batch begins ([`EngineError::InsideBatch`]).
    pub fn truncate_after(&self, end: Offset) -> Ack<()> {
        self.engine.ask(self.id, |done| Request::Truncate { log: self.id, end, done })
    }

    /// Says that nothing below `offset` is ever to be truncated; counts at most up to what is durable. Kept in memory:
    /// whoever knows what is committed says so again after opening.
    pub fn commit_upto(&self, offset: Offset) -> Ack<()> {
        self.engine.ask(self.id, |done| Request::Commit { log: self.id, upto: offset, done })
    }

    /// Stores a batch of another copy of this log: byte for byte, at the base offset and with the leader epoch that
    /// are stamped in it. Durable when the ack says `Ok`. Idempotent: a batch that the log has already is answered
    /// with `duplicate`, once that is durable and its bytes were compared.
    ///
    /// Fails if the log ends below the batch ([`EngineError::WrongOffset`]), or if it holds something else there
    /// ([`EngineError::Diverged`]): then truncate first.
    pub fn append_replica(&self, batch: CheckedBatch) -> Ack<Appended> {
        self.engine.ask(self.id, |done| Request::Replica { log: self.id, batch, done })
    }

    /// The segments whose files do not change any more, oldest first. See [`Log::export`].
    pub fn sealed_segments(&self) -> Ack<Vec<SealedSegment>> {
        self.engine.ask(self.id, |done| Request::Sealed { log: self.id, done })
    }

    /// What the log holds now. Its `end` counts what is asked for and not durable yet.
    pub fn bounds(&self) -> Ack<Bounds> {
        self.engine.ask(self.id, |done| Request::Bounds { log: self.id, done })
    }

    /// An offset from which on a reader finds the first record at or after `timestamp_ms`, which may be a little
    /// further; `None`: there is no such record.
    pub fn seek_time(&self, timestamp_ms: i64) -> Ack<Option<Offset>> {
        self.engine.ask(self.id, |done| Request::SeekTime { log: self.id, timestamp_ms, done })
    }
}

/// A segment of a log that is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedSegment {
    /// Its file. It is removed when the log is trimmed past it, or truncated below it.
    pub path: PathBuf,
    /// Its first offset.
    pub base: Offset,
    /// One more than its last offset that counts.
    pub end: Offset,
}

impl SealedSegment {
    pub(super) fn new(place: SealedPlace) -> SealedSegment {
        SealedSegment { path: place.path, base: place.base, end: place.end }
    }

    /// The name of its file.
    pub fn file_name(&self) -> &Path {
        self.path.file_name().map_or(Path::new(""), Path::new)
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
