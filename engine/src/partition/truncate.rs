//! Taking back the end of a log.
//!
//! In: the new end, and the durable frame that says so. Out: marks, tail, producers and segments as they were when
//! the log ended there. Never: reaches below the log's start, or below what the owner has called committed.
//!
//! ```text
//!   asked for: readers see no more of it, appends wait ──its frame is durable, no run is being written──> taken back
//! ```

use super::{Partition, Watermarks};
use crate::segment::Segment;
use crate::types::{Offset, Ticket};

/// A truncation that is under way.
#[derive(Clone, Copy, Debug)]
pub struct Truncation {
    /// Where the log is to end.
    pub end: Offset,
    pub ticket: Ticket,
    /// The frame that says so.
    pub sequence: u64,
    /// Whether that frame is on the device.
    pub durable: bool,
}

impl Partition {
    /// The watermarks as everybody else sees them: without what a truncation under way takes back.
    pub fn visible(&self) -> Watermarks {
        let Watermarks { start, settled, durable, end } = self.marks;
        let limit = self.truncation.as_ref().map_or(Offset::MAX, |truncation| truncation.end);
        Watermarks { start, settled: settled.min(limit), durable: durable.min(limit), end: end.min(limit) }
    }

    /// Everything below is never truncated.
    pub fn committed(&self) -> Offset {
        self.committed
    }

    /// Moves the committed offset up, at most to what is durable.
    pub fn commit_upto(&mut self, offset: Offset) {
        self.committed = self.committed.max(offset.min(self.visible().durable));
    }

    /// Whether a batch that is still in memory begins at `offset`, or none that is reaches across it.
    pub fn splits_at(&self, offset: Offset) -> bool {
        let holder = self.tail.from(offset).next();
        holder.is_none_or(|batch| batch.base >= offset)
    }

    /// The log ends at `end` now, as the durable frame `sequence` says. Returns the segments that are gone.
    pub fn truncated(&mut self, end: Offset, sequence: u64) -> Vec<Segment> {
        assert!(self.marks.start <= end, "{:?}: truncated to {end}, {:?}", self.id, self.marks);
        self.truncation = None;
        self.truncated_in = sequence;
        if end >= self.marks.end {
            return Vec::new();
        }
        self.holes.retain(|(hole, _)| hole.start < end);
        if let Some((hole, _)) = self.holes.last_mut() {
            hole.end = hole.end.min(end);
        }
        self.producers.truncate(end);
        self.tail.truncate(end);
        self.marks.end = end;
        self.marks.durable = self.marks.durable.min(end);
        self.sealed_below = self.sealed_below.min(end);
        self.sealed_below_next = self.sealed_below_next.min(end);
        self.seal_below = self.seal_below.min(end);
        let mut gone = Vec::new();
        if end < self.marks.settled {
            // Also if no segment is found: its file may be gone, and yet an older checkpoint refers to it.
            self.generation += 1;
            self.marks.settled = end;
            gone = self.segments.truncate(end);
        }
        self.unsettled_bytes = self.tail.from(self.marks.settled).map(|batch| batch.bytes.len()).sum();
        self.unsettled_since = self.tail.from(self.marks.settled).next().map(|batch| batch.sequence);
        self.check();
        gone
    }
}
