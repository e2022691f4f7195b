//! One ordered log: its offsets and watermarks, its producers, its tail in memory, its segments on the device.
//!
//! In: headers of batches to append; what became durable; what was settled. Out: offsets, verdicts, slices.
//! Never: knows another log, a connection, or when to sync.

mod placement;
mod producers;
mod tail;
mod truncate;

use bytes::Bytes;

pub use placement::{Next, Placement, Provided};
pub use producers::{Producers, Verdict};
pub use tail::{Tail, TailBatch};
pub use truncate::Truncation;

use crate::error::Damage;
use crate::format::batch::BatchHeader;
use crate::format::checkpoint::LogState;
use crate::format::run::RunPlace;
use crate::planted::{Bug, planted};
use crate::segment::{Segment, Segments};
use crate::types::{LogId, Offset};

/// Invariant: start <= durable <= end; start and settled are each <= durable. All only rise, but
/// for a truncation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watermarks {
    /// First offset that may be read.
    pub start: Offset,
    /// Everything below is in a segment, unless it is below `start`.
    pub settled: Offset,
    /// Everything below is on the device. With one node this is the high watermark.
    pub durable: Offset,
    /// The next offset to assign.
    pub end: Offset,
}

/// What a log keeps of its past; `None`: no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Records of this time, in ms, and later ones.
    pub since_ms: Option<i64>,
    /// At most so many bytes of batches, the newest.
    pub bytes_max: Option<u64>,
}

/// One log.
#[derive(Debug)]
pub struct Partition {
    pub id: LogId,
    pub leader_epoch: i32,
    marks: Watermarks,
    producers: Producers,
    pub tail: Tail,
    pub segments: Segments,
    /// Bytes in the tail that are durable but not settled.
    unsettled_bytes: usize,
    /// The frame of the oldest batch of those: asked for so often that it is not looked up in the tail.
    unsettled_since: Option<u64>,
    /// Whether a run of it is queued or being written.
    pub settling: bool,
    /// The frame that says it exists, and the one that says it is gone.
    pub created_in: u64,
    pub deleted_in: Option<u64>,
    /// The start that a durable frame says; the start that is seen may be ahead of it.
    durable_start: Offset,
    /// The truncation under way.
    pub truncation: Option<Box<Truncation>>,
    /// See [`LogState`].
    pub truncated_in: u64,
    pub generation: u32,
    /// What the owner says must never be truncated: everything below.
    committed: Offset,
    /// Offsets that a start did not find, in order, and what is known of it.
    pub holes: Vec<(std::ops::Range<Offset>, Damage)>,
    /// Segments that end at or below are known to be sealed by the last checkpoint, and by the one being made.
    sealed_below: Offset,
    sealed_below_next: Offset,
    /// The segment that holds the last of what is below is sealed once all of it is settled.
    seal_below: Offset,
    /// A segment of so many bytes is sealed, though others may become longer.
    pub segment_bytes_max: u64,
    /// Bytes of the log in the frame that is becoming durable.
    pub in_frame_bytes: u32,
    /// Of a log that has had much in a frame.
    pub placement: Option<Box<Placement>>,
}

impl Partition {
    /// A log that holds nothing.
    pub fn new(id: LogId) -> Partition {
        Partition::restore(LogState {
            id,
            start: 0,
            end: 0,
            first_segment: 0,
            segment_base: 0,
            segment_position: 0,
            truncated_in: 0,
            generation: 0,
            segments: Vec::new(),
            leader_epoch: 0,
            producers: Vec::new(),
        })
    }

    /// A log as a checkpoint remembered it, its segments still to be found.
    pub fn restore(state: LogState) -> Partition {
        let marks = Watermarks { start: state.start, settled: state.end, durable: state.end, end: state.end };
        Partition {
            id: state.id,
            leader_epoch: state.leader_epoch,
            marks,
            producers: Producers::restore(state.producers),
            tail: Tail::default(),
            segments: Segments::default(),
            unsettled_bytes: 0,
            unsettled_since: None,
            settling: false,
            created_in: 0,
            deleted_in: None,
            durable_start: state.start,
            truncation: None,
            truncated_in: state.truncated_in,
            generation: state.generation,
            committed: 0,
            holes: Vec::new(),
            sealed_below: 0,
            sealed_below_next: 0,
            seal_below: 0,
            segment_bytes_max: u64::MAX,
            in_frame_bytes: 0,
            placement: None,
        }
    }

    /// What a checkpoint remembers of the log.
    pub fn state(&self) -> LogState {
        let (segment_base, segment_position) = self.segments.active_place();
        LogState {
            id: self.id,
            start: self.durable_start.min(self.marks.settled),
            end: match planted(Bug::CheckpointCountsDurableAsSettled) {
                true => self.marks.durable,
                false => self.marks.settled,
            },
            first_segment: self.segments.list().first().map_or(self.marks.settled, |first| first.name.base),
            segment_base,
            segment_position,
            truncated_in: match planted(Bug::TruncationReplayedTwice) {
                true => 0,
                false => self.truncated_in,
            },
            generation: self.generation,
            segments: match self.generation {
                0 => Vec::new(),
                _ => self.segments.list().iter().map(Segment::state).collect(),
            },
            leader_epoch: self.leader_epoch,
            producers: match planted(Bug::ForgetProducers) {
                true => Vec::new(),
                false => self.producers.below(self.marks.settled),
            },
        }
    }

    /// A checkpoint is being made of the log as it is now.
    pub fn checkpoint_begins(&mut self) {
        // One that is made ready begins where the log ended, which may have been trimmed since.
        let none_active = self.marks.settled.min(self.settle_limit());
        self.sealed_below_next = self.segments.active().map_or(none_active, |active| active.name.base);
    }

    /// That checkpoint counts.
    pub fn checkpoint_counts(&mut self) {
        self.sealed_below = self.sealed_below_next;
    }

    /// Segments that a start finds by their names alone, so that another file may take the name. Not the last: what is
    /// durable ends with a record, or readers would wait for one that is gone.
    pub fn compactable(&self) -> impl Iterator<Item = &Segment> {
        let sealed = self.segments.list().iter().take_while(|segment| segment.sealed);
        sealed.filter(|segment| segment.end() <= self.sealed_below && segment.end() < self.marks().durable)
    }

    /// Of what no sealed segment has that the last checkpoint knows: the time of the oldest run or batch, and its bytes.
    pub fn unsealed(&self) -> Option<(i64, u64)> {
        let segments = self.segments.list().iter();
        let segments = segments.filter(|segment| !segment.sealed || segment.end() > self.sealed_below);
        let runs =
            segments.flat_map(Segment::live_runs).filter(|run| run.end_offset.get() > self.durable_start);
        let (mut oldest_ms, mut bytes) = (None, self.unsettled_bytes as u64);
        for run in runs {
            oldest_ms.get_or_insert(run.max_timestamp_ms.get());
            bytes += u64::from(run.bytes.get());
        }
        let behind = || self.tail.from(self.marks.settled).next().map(|batch| batch.max_timestamp_ms);
        Some((oldest_ms.or_else(behind)?, bytes))
    }

    /// Has everything that is durable now settled into segments that are sealed.
    pub fn seal(&mut self) {
        self.seal_below = self.marks.durable;
    }

    /// Whether something is to be settled or sealed for that.
    pub fn wants_sealing(&self) -> bool {
        self.marks.settled < self.seal_below || self.is_active_to_be_sealed()
    }

    /// Whether the segment being filled is to be sealed, rather than anything more written into it.
    pub fn is_active_to_be_sealed(&self) -> bool {
        let active = self.segments.active().filter(|active| !active.runs.is_empty());
        self.marks.settled >= self.seal_below
            && active.is_some_and(|active| active.name.base < self.seal_below)
    }

    /// Whether the journal may mean a run in the segment that the last checkpoint does not know.
    pub fn is_needed(&self, segment: &Segment) -> bool {
        segment.is_meant && !(segment.sealed && segment.end() <= self.sealed_below)
    }

    /// What is known of the first of those offsets that a start did not find.
    pub fn hole_in(&self, offsets: std::ops::Range<Offset>) -> Option<&Damage> {
        let overlaps = |hole: &std::ops::Range<Offset>| hole.start < offsets.end && offsets.start < hole.end;
        self.holes.iter().find(|(hole, _)| overlaps(hole)).map(|(_, damage)| damage)
    }

    /// Whether the batch at `base` is the last of its producer.
    pub fn is_last_of_producer(&self, header: &BatchHeader, base: Offset) -> bool {
        self.producers.is_last(header, base)
    }

    /// The watermarks.
    pub fn marks(&self) -> Watermarks {
        self.marks
    }

    /// What the batch is to its producer's history.
    pub fn judge(&self, header: &BatchHeader) -> Verdict {
        self.producers.judge(header)
    }

    /// Assigns offsets to a batch that is being gathered.
    pub fn append(&mut self, header: &BatchHeader) -> std::ops::Range<Offset> {
        let base = self.marks.end;
        self.marks.end += header.offsets_count();
        self.producers.remember(header, base);
        base..self.marks.end
    }

    /// A batch of this log is durable.
    pub fn durable(&mut self, batch: TailBatch) {
        assert!(batch.base >= self.marks.durable && batch.end <= self.marks.end);
        self.marks.durable = batch.end;
        self.unsettled_bytes += batch.bytes.len();
        self.unsettled_since.get_or_insert(batch.sequence);
        self.tail.push(batch);
        self.check();
    }

    /// A batch found in the journal at start: as if it were appended and durable, unless a segment has it.
    pub fn replay(&mut self, header: &BatchHeader, batch: TailBatch) {
        if batch.base < self.marks.end {
            return;
        }
        self.marks.end = batch.end;
        self.producers.remember(header, batch.base);
        self.durable(batch);
    }

    /// A batch of a run that the journal means, found at start; tells whether it is news. See [`Partition::adopted`].
    pub fn adopt(&mut self, header: &BatchHeader) -> bool {
        let base = header.base_offset.get() as Offset;
        let is_news = base >= self.marks.end;
        if is_news {
            self.marks.end = base + header.offsets_count();
            self.marks.durable = self.marks.end;
            self.producers.remember(header, base);
        }
        is_news
    }

    /// The run those batches are in, the next of the segment being filled.
    pub fn adopted(&mut self, place: RunPlace) {
        self.segments.push(place, place.position.get() + place.total_bytes() as u64);
        if place.end_offset.get() > self.marks.settled {
            self.settled(place.end_offset.get());
        }
    }

    /// Offsets found damaged beyond repair in the journal at start: they count as given, and are in no segment.
    pub fn lost(&mut self, offsets: std::ops::Range<Offset>) -> bool {
        let is_news = offsets.end > self.marks.end;
        if is_news {
            self.marks.end = offsets.end;
            self.marks.durable = offsets.end;
            self.pass_lost(self.marks.settled);
            self.check();
        }
        is_news
    }

    /// Everything below `settled` is settled; so is what was lost behind it.
    fn pass_lost(&mut self, settled: Offset) {
        let next = self.tail.from(settled).next();
        self.unsettled_since = next.map(|next| next.sequence);
        self.marks.settled = next.map_or(self.marks.durable, |next| next.base.max(settled));
    }

    /// Everything below `end` is in a segment now.
    pub fn settled(&mut self, end: Offset) {
        assert!(self.marks.settled <= end && end <= self.marks.durable);
        let bytes: usize = self
            .tail
            .from(self.marks.settled)
            .take_while(|batch| batch.end <= end)
            .map(|batch| batch.bytes.len())
            .sum();
        self.unsettled_bytes -= bytes;
        self.pass_lost(end);
        self.check();
    }

    /// Nothing below `start` may be read any more; tells whether that is news. What is below stays until
    /// [`Partition::trimmed`].
    pub fn trim(&mut self, start: Offset) -> bool {
        let start = start.min(self.visible().durable);
        if start <= self.marks.start {
            return false;
        }
        self.marks.start = start;
        self.check();
        true
    }

    /// The frame that moves the start up to `start` is durable: what is below is not needed any more.
    pub fn trimmed(&mut self, start: Offset) {
        assert!(start <= self.marks.start);
        self.durable_start = self.durable_start.max(start);
        self.holes.retain(|(hole, _)| hole.end > start);
        if self.marks.settled < start {
            // What was trimmed before it was settled never needs to be; a batch that `start` cuts still does.
            let keep = self.tail.from(start).next().map_or(start, |batch| batch.base.min(start));
            if keep > self.marks.settled {
                self.settled(keep);
            }
        }
        self.tail.forget(u64::MAX, self.marks.settled.min(start));
        self.check();
    }

    /// The start that is durable.
    pub fn durable_start(&self) -> Offset {
        self.durable_start
    }

    /// Where the log would start if it kept only what `keep` allows: whole runs go, and whole batches of the tail.
    pub fn start_to_fit(&self, keep: Keep) -> Offset {
        let parts = || {
            let runs = self.segments.list().iter().flat_map(|segment| {
                segment.live_runs().map(|run| (run.end_offset.get().min(segment.end()), run))
            });
            let settled =
                runs.map(|(end, run)| (end, u64::from(run.bytes.get()), run.max_timestamp_ms.get()));
            let tail = self.tail.from(self.marks.settled);
            let tail = tail.map(|batch| (batch.end, batch.bytes.len() as u64, batch.max_timestamp_ms));
            settled.chain(tail).filter(|(end, _, _)| *end > self.marks.start)
        };
        let mut bytes: u64 = parts().map(|(_, bytes, _)| bytes).sum();
        let mut start = self.marks.start;
        for (end, part_bytes, max_timestamp_ms) in parts() {
            let too_many = keep.bytes_max.is_some_and(|max| bytes > max);
            let too_old = keep.since_ms.is_some_and(|since| max_timestamp_ms < since);
            if !too_many && !too_old {
                break;
            }
            bytes -= part_bytes;
            start = end;
        }
        start
    }

    /// Bytes that are durable but not settled.
    pub fn unsettled_bytes(&self) -> usize {
        self.unsettled_bytes
    }

    /// Whether so much is not settled that it should be: a run. Where runs are placed, more may wait for the next of them, all
    /// that may go in front of it: each run that is settled there must be told before, behind all frames that wait already,
    /// and what these hold waits then in its turn.
    pub fn wants_settling(&self, run_bytes: usize, before_bytes_max: usize) -> bool {
        self.unsettled_bytes >= if self.takes_runs() { before_bytes_max } else { run_bytes }
    }

    /// The segment being filled, if it is one that takes whole runs.
    fn filled_by_runs(&self) -> Option<(&Placement, Provided)> {
        let placement = self.placement.as_deref()?;
        let active = self.segments.active()?;
        placement.into.filter(|into| into.name == active.name).map(|into| (placement, into))
    }

    /// Whether the segment being filled takes whole runs, and it is worth it.
    pub fn takes_runs(&self) -> bool {
        self.filled_by_runs().is_some_and(|(placement, _)| placement.worth().is_some())
    }

    /// Whether blocks are reserved in the segment being filled that it does not pay to write, or for which there is no room.
    pub fn reserves_in_vain(&self, is_short: bool) -> bool {
        let reserved = self.filled_by_runs().filter(|(_, into)| into.is_new);
        reserved.is_some_and(|(placement, _)| is_short || placement.worth().is_none())
    }

    /// The frame of the oldest batch that is not settled.
    pub fn unsettled_since(&self) -> Option<u64> {
        self.unsettled_since
    }

    /// Whether something that came in a frame up to `sequence` is not settled.
    pub fn is_unsettled(&self, sequence: u64) -> bool {
        self.unsettled_since.is_some_and(|since| since <= sequence)
    }

    /// Whether a run of it is on its way into its segment, beside a frame.
    pub fn is_placing(&self) -> bool {
        self.placement.as_ref().is_some_and(|placement| placement.in_flight)
    }

    /// What is to be settled into the segment being filled ends there; what is behind goes into another.
    pub fn settle_limit(&self) -> Offset {
        self.placement.as_ref().and_then(|placement| placement.next_base()).unwrap_or(Offset::MAX)
    }

    /// Whether another segment waits to be filled instead, and everything below its base is durable and so can be settled.
    pub fn may_begin_next(&self) -> bool {
        let next = self.placement.as_ref().and_then(|placement| placement.next.as_ref());
        next.is_some_and(|next| next.file.is_some() && next.segment.name.base <= self.marks.durable)
    }

    /// Batches to settle next: from the settled mark on and below `limit`, as many as fit `bytes_max`, at least one.
    pub fn to_settle(&self, bytes_max: usize, limit: Offset) -> (Vec<Bytes>, std::ops::Range<Offset>, i64) {
        let (mut bytes, mut taken, mut max_timestamp_ms) = (Vec::new(), 0, i64::MIN);
        let mut offsets = self.marks.settled..self.marks.settled;
        for batch in self.tail.from(self.marks.settled) {
            if batch.base >= limit || (!bytes.is_empty() && taken + batch.bytes.len() > bytes_max) {
                break;
            }
            if bytes.is_empty() {
                offsets.start = batch.base;
            } else if batch.base != offsets.end {
                break; // a run has no holes
            }
            taken += batch.bytes.len();
            max_timestamp_ms = max_timestamp_ms.max(batch.max_timestamp_ms);
            offsets.end = batch.end;
            bytes.push(batch.bytes.clone());
        }
        (bytes, offsets, max_timestamp_ms)
    }

    fn check(&self) {
        let Watermarks { start, settled, durable, end } = self.marks;
        assert!(start <= durable && settled <= durable && durable <= end, "{:?}: {:?}", self.id, self.marks);
        debug_assert_eq!(self.unsettled_since, self.tail.from(settled).next().map(|batch| batch.sequence));
    }
}
