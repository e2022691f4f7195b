//! The names of segment files, and which of the files of a log count.
//!
//! In: names in a log's directory, and what a checkpoint says. Out: what each of them is. Never: opens one.
//!
//! A segment is named for its base offset; after a truncation that reached into segments, also for how many of those
//! there had been, so that no file is ever written anew that an older checkpoint still refers to:
//! `00000000000000000050.seg`, then `00000000000000000050-1.seg`.

use std::fmt;

use crate::format::checkpoint::{LogState, SegmentState};
use crate::types::Offset;

/// Which segment of a log. Ordered by base offset, then by generation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SegmentName {
    pub base: Offset,
    pub generation: u32,
}

impl SegmentName {
    /// The segment whose file has this name; `None`: it is no segment's.
    pub fn parse(file_name: &str) -> Option<SegmentName> {
        let stem = file_name.strip_suffix(".seg")?;
        let (base, generation) = match stem.split_once('-') {
            Some((base, generation)) => (base, generation.parse().ok().filter(|generation| *generation > 0)?),
            None => (stem, 0),
        };
        let name = SegmentName { base: base.parse().ok()?, generation };
        (name.to_string() == file_name).then_some(name)
    }
}

impl From<Offset> for SegmentName {
    /// The first generation.
    fn from(base: Offset) -> SegmentName {
        SegmentName { base, generation: 0 }
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.generation {
            0 => write!(f, "{:020}.seg", self.base),
            generation => write!(f, "{:020}-{generation}.seg", self.base),
        }
    }
}

/// What a segment's file is to a checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It counts.
    Counts,
    /// It was begun after the checkpoint: the journal holds all that is in it.
    Later,
    /// All of it was trimmed or truncated; its removal is not on the device yet.
    Gone,
}

impl SegmentState {
    fn name(&self) -> SegmentName {
        SegmentName { base: self.base, generation: self.generation }
    }
}

impl LogState {
    /// What each of `names`, all of the log's in order, is; and where it ends at the latest, because the next one
    /// begins there or the log ends.
    pub fn standings(&self, names: &[SegmentName]) -> Vec<(SegmentName, Standing, Offset)> {
        let counts = |name: &&SegmentName| self.standing(name) == Standing::Counts;
        let mut bases: Vec<Offset> = names.iter().filter(counts).map(|name| name.base).collect();
        bases.extend(self.segments.iter().map(|segment| segment.base));
        bases.sort_unstable();
        let standing = |name: &SegmentName| {
            let next = bases.get(bases.partition_point(|base| *base <= name.base));
            let known = self.segments.iter().find(|segment| segment.base == name.base);
            let limit = next.map_or(self.end, |next| self.end.min(*next));
            let limit = known.map_or(limit, |segment| limit.min(segment.limit));
            let active = self.segment_position > 0 && name.base == self.segment_base;
            // The checkpoint knows only later ones, or what follows it begins at the log's start already.
            let trimmed = !active && (name.base < self.first_segment || limit <= self.start);
            match self.standing(name) {
                Standing::Counts if trimmed => (*name, Standing::Gone, limit),
                standing => (*name, standing, limit),
            }
        };
        names.iter().map(standing).collect()
    }

    /// Whether the segment, which ends at `end`, is what compaction made of itself and others: it reaches beyond `limit`,
    /// where the next begins. What was never truncated has no other that does.
    pub fn is_merge(&self, name: SegmentName, end: Offset, limit: Offset) -> bool {
        let is_active = self.segment_position > 0 && name.base == self.segment_base;
        self.generation == 0 && !is_active && limit < self.end.min(end)
    }

    /// Whether the segment is taken for trimmed only because the next begins at the log's start or before. If it is a merge, it
    /// ends behind that.
    pub fn may_be_merge(&self, name: SegmentName, standing: Standing) -> bool {
        standing == Standing::Gone && self.generation == 0 && name.base >= self.first_segment
    }

    /// What it is, trimmed or not.
    fn standing(&self, name: &SegmentName) -> Standing {
        if name.base >= self.end || name.generation > self.generation {
            Standing::Later
        } else if self.generation == 0 || self.segments.iter().any(|segment| segment.name() == *name) {
            Standing::Counts
        } else {
            Standing::Gone
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(start: Offset, end: Offset, generation: u32) -> LogState {
        LogState { start, end, generation, ..LogState::default() }
    }

    fn standings(state: &LogState, files: &[&str]) -> Vec<(Standing, Offset)> {
        let names: Vec<SegmentName> = files.iter().filter_map(|file| SegmentName::parse(file)).collect();
        assert_eq!(names.len(), files.len());
        state.standings(&names).into_iter().map(|(_, standing, limit)| (standing, limit)).collect()
    }

    #[test]
    fn a_name_is_read_as_written_and_no_other_is_a_segments() {
        for name in [SegmentName { base: 50, generation: 0 }, SegmentName { base: u64::MAX, generation: 7 }] {
            assert_eq!(SegmentName::parse(&name.to_string()), Some(name));
        }
        let bad =
            ["50.seg", "00000000000000000050-0.seg", "00000000000000000050-x.seg", "00000000000000000050"];
        assert!(bad.iter().all(|bad| SegmentName::parse(bad).is_none()));
    }

    #[test]
    fn a_checkpoint_says_which_generation_of_a_segment_counts() {
        let (a, b, c) =
            ("00000000000000000000.seg", "00000000000000000050.seg", "00000000000000000050-1.seg");
        let d = "00000000000000000070.seg";
        let (counts, gone, later) = (Standing::Counts, Standing::Gone, Standing::Later);
        let segment = |base, generation, limit| SegmentState { base, generation, limit };
        let segments = vec![segment(0, 0, 40), segment(50, 1, Offset::MAX)];
        let truncated = |start, end| LogState { segments: segments.clone(), ..state(start, end, 1) };
        assert_eq!(
            standings(&truncated(0, 90), &[a, b, c, d]),
            [(counts, 40), (gone, 90), (counts, 90), (gone, 90)]
        );
        assert_eq!(
            standings(&truncated(0, 90), &[a, b]),
            [(counts, 40), (gone, 90)],
            "the later one is missing"
        );
        assert_eq!(
            standings(&state(0, 90, 0), &[a, b, c, d]),
            [(counts, 50), (counts, 70), (later, 70), (counts, 90)]
        );
        assert_eq!(standings(&truncated(60, 65), &[a, c, d]), [(gone, 40), (counts, 65), (later, 65)]);
    }
}
