//! Which records a segment loses that is written anew.
//!
//! In: batches, and either where each key was seen last or the offsets that the owner needs no more. Out: what is left
//! of each. Never: decides about a run of which nothing goes.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;

use super::Compaction;
use crate::format::batch::{self, BatchHeader};
use crate::format::run::RunPlace;
use crate::planted::{Bug, planted};
use crate::segment::compact::{self, Codecs, Left};
use crate::types::Offset;

/// Why records go.
#[derive(Debug)]
pub(super) enum Fate {
    Superseded(Superseded),
    Dropped(Dropped),
}

/// Later records have their keys.
#[derive(Debug)]
pub(super) struct Superseded {
    pub(super) rules: Compaction,
    pub(super) now_s: u32,
    pub(super) keys: compact::KeyMap,
    /// Runs whose keys are to be noted: segment, run.
    pub(super) to_map: VecDeque<(Offset, RunPlace)>,
    /// The keys of everything below were noted.
    pub(super) mapped: Offset,
    /// A batch could not be looked at: it may hold any key.
    pub(super) closed: bool,
}

/// Their owner said so.
#[derive(Debug)]
pub(super) struct Dropped {
    /// Sorted, and apart from each other.
    pub(super) ranges: Vec<Range<Offset>>,
    /// Everything that led to this was told to the journal in frames up to this one.
    pub(super) said_in: u64,
    pub(super) codecs: Codecs,
}

impl Fate {
    /// Whether all of the run stays, and may go later.
    pub(super) fn spares(&self, place: &RunPlace) -> bool {
        match self {
            Fate::Superseded(fate) => place.compacted_at_s.get() == 0 && place.end_offset.get() > fate.mapped,
            Fate::Dropped(fate) => fate.count(place.base_offset.get()..place.end_offset.get()) == 0,
        }
    }

    /// What is left of a batch of a run that is not spared, and was compacted so many seconds after 1970 or never (0).
    pub(super) fn left(&mut self, batch: &Bytes, was_s: u32, keep_header: bool) -> Left {
        let Ok(header) = batch::shape(batch) else { return Left::Closed };
        match self {
            Fate::Superseded(fate) => fate.left(batch, was_s, keep_header),
            Fate::Dropped(fate) => fate.left(batch, header, keep_header),
        }
    }

    /// The frame that must be durable before anything goes.
    pub(super) fn said_in(&self) -> u64 {
        match self {
            Fate::Superseded(_) => 0, // only durable records are looked at
            Fate::Dropped(fate) => fate.said_in,
        }
    }
}

impl Superseded {
    /// Notes the keys of a run, the next to be noted.
    pub(super) fn map(&mut self, place: &RunPlace, body: Bytes) {
        self.to_map.pop_front();
        for (_, batch) in batch::split(body) {
            if !self.keys.note(&batch, &self.rules.codecs) {
                // What was noted of it does no harm; it counts as not noted.
                return self.to_map.clear();
            }
        }
        self.mapped = place.end_offset.get();
    }

    fn left(&mut self, batch: &Bytes, was_s: u32, keep_header: bool) -> Left {
        let age_s = u64::from(self.now_s.saturating_sub(was_s));
        let is_old = was_s != 0 && age_s >= self.rules.deletions_kept_ms.div_ceil(1000);
        let deletions_go = is_old && !self.closed;
        let left = compact::rewrite(batch, keep_header, &self.rules.codecs, |offset, record| {
            self.keys.lets_go(offset, record, deletions_go)
        });
        self.closed |= matches!(left, Left::Closed);
        left
    }
}

impl Dropped {
    /// Offsets of the range that go.
    pub(super) fn count(&self, offsets: Range<Offset>) -> u64 {
        let first = self.ranges.partition_point(|range| range.end <= offsets.start);
        let within = self.ranges.get(first..).unwrap_or_default().iter();
        let within = within.take_while(|range| range.start < offsets.end);
        within.map(|range| range.end.min(offsets.end) - range.start.max(offsets.start)).sum()
    }

    fn left(&self, batch: &Bytes, header: &BatchHeader, keep_header: bool) -> Left {
        let base = header.base_offset.get() as Offset;
        let offsets = base..base + header.offsets_count();
        match self.count(offsets.clone()) {
            0 => Left::Whole,
            // Nothing of it need be looked at.
            count
                if count == offsets.end - base
                    && !keep_header
                    && header.attributes.get() & batch::CONTROL == 0 =>
            {
                Left::Nothing
            }
            _ => compact::rewrite(batch, keep_header, &self.codecs, |offset, _| {
                let upto = offset + 1 + u64::from(planted(Bug::DropsOneMore));
                self.count(offset..upto) > 0
            }),
        }
    }
}
