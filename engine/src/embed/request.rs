//! What a handle asks of a shard, and what becomes of a request that cannot be carried out.
//!
//! In: calls of handles. Out: requests with their completers. Never: carries one out.

use super::ack::Completer;
use super::{Appended, Bounds, EngineError, ReadBatches, SealedSegment};
use crate::format::batch::CheckedBatch;
use crate::shard::ShardCounts;
use crate::types::{LogId, Offset};

/// One request.
pub(super) enum Request {
    Create {
        log: LogId,
        done: Completer<()>,
    },
    Delete {
        log: LogId,
        done: Completer<()>,
    },
    Append {
        log: LogId,
        batch: CheckedBatch,
        expect: Option<Offset>,
        /// Whether a thread does nothing but wait for it, so that any thread may answer.
        waits: bool,
        done: Completer<Appended>,
    },
    /// A batch that another copy of the log has at the offset stamped in it.
    Replica {
        log: LogId,
        batch: CheckedBatch,
        done: Completer<Appended>,
    },
    Read {
        log: LogId,
        from: Offset,
        bytes_max: usize,
        wait: bool,
        done: Completer<ReadBatches>,
    },
    Trim {
        log: LogId,
        before: Offset,
        done: Completer<()>,
    },
    Truncate {
        log: LogId,
        end: Offset,
        done: Completer<()>,
    },
    Commit {
        log: LogId,
        upto: Offset,
        done: Completer<()>,
    },
    Bounds {
        log: LogId,
        done: Completer<Bounds>,
    },
    SeekTime {
        log: LogId,
        timestamp_ms: i64,
        done: Completer<Option<Offset>>,
    },
    Sealed {
        log: LogId,
        done: Completer<Vec<SealedSegment>>,
    },
    Statistics {
        done: Completer<ShardCounts>,
    },
    Close,
}

impl Request {
    /// The log whose requests are carried out in their order; `None`: it concerns no single log.
    pub(super) fn log(&self) -> Option<LogId> {
        match self {
            Request::Create { log, .. }
            | Request::Delete { log, .. }
            | Request::Append { log, .. }
            | Request::Replica { log, .. }
            | Request::Read { log, .. }
            | Request::Trim { log, .. }
            | Request::Truncate { log, .. }
            | Request::Commit { log, .. }
            | Request::Bounds { log, .. }
            | Request::SeekTime { log, .. }
            | Request::Sealed { log, .. } => Some(*log),
            Request::Statistics { .. } | Request::Close => None,
        }
    }

    /// Answers with an error.
    pub(super) fn refuse(self, error: EngineError) {
        match self {
            Request::Create { done, .. }
            | Request::Delete { done, .. }
            | Request::Trim { done, .. }
            | Request::Truncate { done, .. }
            | Request::Commit { done, .. } => done.complete(Err(error)),
            Request::Append { done, .. } | Request::Replica { done, .. } => done.complete(Err(error)),
            Request::Read { done, .. } => done.complete(Err(error)),
            Request::Bounds { done, .. } => done.complete(Err(error)),
            Request::SeekTime { done, .. } => done.complete(Err(error)),
            Request::Sealed { done, .. } => done.complete(Err(error)),
            Request::Statistics { done } => done.complete(Err(error)),
            Request::Close => {}
        }
    }
}
