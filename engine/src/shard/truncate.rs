//! Truncating a log: taking its end back, durably.
//!
//! In: a log and where it is to end. Out: an entry in the journal, and when that is durable and no run of the log is
//! being written, the log as it was; then [`ShardEvent::Truncated`]. Never: lets a checkpoint count past the entry
//! before it was carried out.
//!
//! ```text
//!   truncate ──> journal ──durable──> (a run is being written ──done──>) tail, marks and segments cut ──> Truncated
//!      └── from here on readers see the log end there, and appends are refused ──────────────────┘
//! ```
//!
//! No byte of a segment changes. A run that reaches across the new end stays and counts up to it; the next run goes
//! into a new file of a later generation, so that whatever an older checkpoint refers to is as it was.

use super::{Effect, Shard, ShardEvent};
use crate::format::frame::Kind;
use crate::partition::Truncation;
use crate::segment;
use crate::types::{LogId, Offset, Ticket};

/// Why a log was not truncated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TruncateRefused {
    /// The log does not exist here.
    UnknownLog,
    /// The offset is below the log's start or beyond its end.
    OutOfRange {
        /// First offset that may be read.
        start: Offset,
        /// The next offset to be assigned.
        end: Offset,
    },
    /// The owner has called everything below this offset committed.
    Committed(Offset),
    /// A batch reaches across the offset.
    InsideBatch,
    /// Another truncation of the log is under way.
    Truncating,
    /// The log is or was compacted: records that later ones replaced would be missing without these.
    Compacted,
    /// The shard has failed.
    Failed,
}

impl Shard {
    /// Has the log end at `end`: what it holds from there on is gone, and the next batch gets that offset. `end` must
    /// be where a batch begins, or the log's end. `Ok` means it was asked for; [`ShardEvent::Truncated`] with this
    /// ticket says that it is durable. Until then appends are refused, and readers see the log end at `end`.
    ///
    /// Fails, and changes nothing, for each reason in [`TruncateRefused`].
    pub fn truncate(&mut self, log: LogId, end: Offset, ticket: Ticket) -> Result<(), TruncateRefused> {
        if self.failed.is_some() {
            return Err(TruncateRefused::Failed);
        }
        let partition = self.logs.get_mut(&log).filter(|partition| partition.deleted_in.is_none());
        let partition = partition.ok_or(TruncateRefused::UnknownLog)?;
        let marks = partition.marks();
        if partition.truncation.is_some() {
            return Err(TruncateRefused::Truncating);
        }
        if self.compactor.is_at(log) || partition.segments.were_compacted() {
            return Err(TruncateRefused::Compacted);
        }
        if end < marks.start || end > marks.end {
            return Err(TruncateRefused::OutOfRange { start: marks.start, end: marks.end });
        }
        if end < partition.committed() {
            return Err(TruncateRefused::Committed(partition.committed()));
        }
        if !partition.splits_at(end) {
            return Err(TruncateRefused::InsideBatch);
        }
        self.journal.push(Kind::Truncate, log, end);
        let sequence = self.journal.gathering_sequence();
        partition.truncation = Some(Box::new(Truncation { end, ticket, sequence, durable: false }));
        self.effects.push_back((sequence, Effect::Truncate(log)));
        self.reader.truncate(log, marks.start, end, &mut self.events);
        Ok(())
    }

    /// Says that nothing below `offset` will ever be truncated; counts up to what is durable, until the next start.
    pub fn commit_upto(&mut self, log: LogId, offset: Offset) {
        if let Some(partition) = self.logs.get_mut(&log) {
            partition.commit_upto(offset);
        }
    }

    /// The frame that says so is on the device.
    pub(super) fn truncation_durable(&mut self, log: LogId) {
        if let Some(truncation) = self.logs.get_mut(&log).and_then(|log| log.truncation.as_mut()) {
            truncation.durable = true;
        }
        self.truncate_now(log);
    }

    /// Carries the log's truncation out, if there is one whose frame is durable, unless a run is being written.
    pub(super) fn truncate_now(&mut self, log: LogId) {
        if self.settler.is_busy(log) || self.failed.is_some() {
            return;
        }
        let Some(partition) = self.logs.get_mut(&log) else { return };
        let readying = partition.placement.as_ref().is_some_and(|placement| placement.next.is_some());
        if readying || partition.is_placing() {
            return;
        }
        let Some(Truncation { end, ticket, sequence, .. }) =
            partition.truncation.as_deref().copied().filter(|found| found.durable)
        else {
            return;
        };
        let start = partition.marks().start;
        let gone = partition.truncated(end, sequence);
        // Reads that were begun since it was asked for; later batches must not make room for what they find.
        self.reader.truncate(log, start, end, &mut self.events);
        self.remove_segments(log, &gone, sequence);
        if !gone.is_empty() {
            self.settler.thinned(segment::directory(&self.place.directory, log));
        }
        self.events.push_back(ShardEvent::Truncated { ticket });
    }
}
