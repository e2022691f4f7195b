//! A set of offsets as sorted, disjoint, non-touching half-open ranges.
//!
//! Memory follows the number of ranges, not of offsets. In: ranges. Out: membership, gaps, counts. Never: knows
//! what the offsets mean.

use std::collections::BTreeMap;
use std::ops::Range;

use ringmain_engine::types::Offset;

/// The set. Every range is non-empty, and between two ranges lies at least one offset that is not in the set;
/// `count` is the sum of the ranges' lengths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeSet {
    /// First offset to the one behind the last.
    ranges: BTreeMap<Offset, Offset>,
    count: u64,
}

impl RangeSet {
    /// Offsets in the set.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Ranges in the set.
    pub fn ranges_count(&self) -> usize {
        self.ranges.len()
    }

    /// Whether there is no offset.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The smallest offset.
    pub fn first(&self) -> Option<Offset> {
        self.ranges.first_key_value().map(|(first, _)| *first)
    }

    /// Takes the lowest range out.
    pub fn pop_first_range(&mut self) -> Option<Range<Offset>> {
        let (first, end) = self.ranges.pop_first()?;
        self.count -= end - first;
        Some(first..end)
    }

    /// All ranges, lowest first.
    pub fn iter(&self) -> impl Iterator<Item = Range<Offset>> + '_ {
        self.ranges.iter().map(|(first, end)| *first..*end)
    }

    /// Whether `offset` is in the set.
    pub fn contains(&self, offset: Offset) -> bool {
        self.next_gap(offset) != offset
    }

    /// The first offset at or after `offset` that is not in the set.
    pub fn next_gap(&self, offset: Offset) -> Offset {
        match self.ranges.range(..=offset).next_back() {
            Some((_, end)) if *end > offset => *end,
            _ => offset,
        }
    }

    /// Adds a range; says how many offsets were not there before.
    pub fn insert(&mut self, range: Range<Offset>) -> u64 {
        if range.is_empty() {
            return 0;
        }
        // Nearly every range continues the last one: grow it in place.
        if let Some(mut last) = self.ranges.last_entry()
            && *last.key() <= range.start
            && *last.get() == range.start
        {
            *last.get_mut() = range.end;
            self.count += range.end - range.start;
            return range.end - range.start;
        }
        let before = self.count;
        let mut merged = range;
        while let Some((&first, &end)) = self.ranges.range(..=merged.end).next_back()
            && end >= merged.start
        {
            self.ranges.remove(&first);
            self.count -= end - first;
            merged = merged.start.min(first)..merged.end.max(end);
        }
        self.count += merged.end - merged.start;
        self.ranges.insert(merged.start, merged.end);
        self.count - before
    }

    /// Takes a range out; says how many of its offsets were there.
    pub fn remove(&mut self, range: Range<Offset>) -> u64 {
        if range.is_empty() {
            return 0;
        }
        let before = self.count;
        while let Some((&first, &end)) = self.ranges.range(..range.end).next_back()
            && end > range.start
        {
            self.ranges.remove(&first);
            self.count -= end - first;
            for rest in [first..range.start.max(first), range.end.min(end)..end] {
                if !rest.is_empty() {
                    self.count += rest.end - rest.start;
                    self.ranges.insert(rest.start, rest.end);
                }
            }
        }
        before - self.count
    }
}
