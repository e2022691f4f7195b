//! Which records of a queue are done with: a floor, and a set of ranges above it.
//!
//! Memory follows holes and not backlog: two settled ranges are apart only because a record between them is
//! not settled, and below the highest settled offset that is a record in flight, returned, or (after a restart)
//! one that was. So there are never more ranges than records somebody once held.

use std::ops::Range;

use ringmain_engine::types::Offset;

use super::ranges::RangeSet;

/// Everything below `floor` is settled; `floor` itself is not; `above` holds what is settled beyond it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    floor: Offset,
    above: RangeSet,
}

impl Settled {
    /// Nothing is settled but what is below `floor`.
    pub fn new(floor: Offset) -> Settled {
        Settled { floor, above: RangeSet::default() }
    }

    /// The first offset that is not settled.
    pub fn floor(&self) -> Offset {
        self.floor
    }

    /// What is settled above the floor.
    pub fn above(&self) -> &RangeSet {
        &self.above
    }

    /// Whether `offset` is settled.
    pub fn contains(&self, offset: Offset) -> bool {
        offset < self.floor || self.above.contains(offset)
    }

    /// The first offset at or after `offset` that is not settled.
    pub fn next_open(&self, offset: Offset) -> Offset {
        self.above.next_gap(offset.max(self.floor))
    }

    /// Settles a range; says how many of it were open.
    pub fn insert(&mut self, range: Range<Offset>) -> u64 {
        let before = self.floor;
        let range = range.start.max(before)..range.end;
        if range.is_empty() {
            return 0;
        }
        if range.start > before {
            return self.above.insert(range);
        }
        let known = self.above.remove(range.clone());
        self.floor = range.end;
        if self.above.first() == Some(self.floor)
            && let Some(next) = self.above.pop_first_range()
        {
            self.floor = next.end;
        }
        assert!(self.floor > before, "the floor only rises");
        range.end - range.start - known
    }
}
