//! What is asked of a log of Raft groups: the same steps for every log, from a seed.
//!
//! In: a seed, which groups, how many steps. Out: the steps, made before anything is measured. Never: a step that a sound log
//! could refuse.

use crate::append::noise;

/// Index and bytes of an entry.
pub type Entry = (u64, Vec<u8>);

/// Entries of one group, behind each other.
pub struct Batch {
    pub group: u64,
    /// The group ended further on: what is there from the first of these on is cut off.
    pub cuts: bool,
    pub entries: Vec<Entry>,
}

/// One thing that the owner of the groups wants done.
pub enum Step {
    /// Durable together.
    Append(Vec<Batch>),
    /// Nothing below these indexes is needed.
    Purge(Vec<(u64, u64)>),
    /// The last entries of a group, as for a follower that is a little behind: a half-open range of indexes.
    Read { group: u64, from: u64, to: u64 },
}

/// Groups in one batch of a store, entries of a group in it, and bytes of an entry: at most.
const GROUPS_MAX: u64 = 8;
const ENTRIES_MAX: u64 = 4;
const ENTRY_BYTES_MIN: u64 = 100;
const ENTRY_BYTES_MAX: u64 = 1124;
/// One of so many batches of a group comes from a new leader and cuts off so many entries at most.
const CUT_EVERY: u64 = 32;
const CUT_ENTRIES_MAX: u64 = 8;
/// After so many steps all groups are purged down to so many entries.
const PURGE_EVERY: u64 = 64;
const KEPT_ENTRIES: u64 = 200;
/// After so many steps one group is read back, so many entries.
const READ_EVERY: u64 = 4;
const READ_ENTRIES: u64 = 32;

/// The ends of one group: first index kept, index of the next entry.
#[derive(Clone, Copy)]
struct Ends {
    first: u64,
    next: u64,
}

struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// `count` steps over `groups`.
pub fn steps(seed: u64, groups: std::ops::Range<u64>, count: usize) -> Vec<Step> {
    let mut random = Random((seed ^ groups.start.wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1);
    let mut ends = vec![Ends { first: 1, next: 1 }; (groups.end - groups.start) as usize];
    let mut steps = Vec::with_capacity(count + count / 2);
    for number in 1..=count as u64 {
        steps.push(append(&mut random, groups.start, &mut ends));
        if number.is_multiple_of(PURGE_EVERY) {
            steps.push(purge(groups.start, &mut ends));
        }
        if number.is_multiple_of(READ_EVERY) {
            let place = random.below(ends.len() as u64);
            let Ends { first, next } = ends[place as usize];
            if first < next {
                let from = next.saturating_sub(READ_ENTRIES).max(first);
                steps.push(Step::Read { group: groups.start + place, from, to: next });
            }
        }
    }
    steps
}

fn append(random: &mut Random, first_group: u64, ends: &mut [Ends]) -> Step {
    let (total, wanted) = (ends.len() as u64, GROUPS_MAX.min(ends.len() as u64));
    let start = random.below(total);
    let mut batches = Vec::new();
    for place in (start..start + wanted).map(|place| place % total) {
        let Ends { first, next } = ends[place as usize];
        let cut = if random.below(CUT_EVERY) == 0 { 1 + random.below(CUT_ENTRIES_MAX) } else { 0 };
        // The first entry that is kept stays: a group that was cut to nothing would tell no end.
        let begin = next.saturating_sub(cut).max(first + 1).min(next);
        let entries: Vec<Entry> = (begin..=begin + random.below(ENTRIES_MAX))
            .map(|index| {
                let length = ENTRY_BYTES_MIN + random.below(ENTRY_BYTES_MAX - ENTRY_BYTES_MIN);
                (index, noise(random.below(u64::MAX), length as usize))
            })
            .collect();
        ends[place as usize].next = begin + entries.len() as u64;
        batches.push(Batch { group: first_group + place, cuts: begin < next, entries });
    }
    Step::Append(batches)
}

fn purge(first_group: u64, ends: &mut [Ends]) -> Step {
    let purged = ends.iter_mut().enumerate().filter_map(|(place, ends)| {
        let first = ends.next.saturating_sub(KEPT_ENTRIES);
        (first > ends.first).then(|| {
            ends.first = first;
            (first_group + place as u64, first)
        })
    });
    Step::Purge(purged.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_depend_on_the_seed_alone_and_hold_every_kind() {
        let text = |seed| {
            let kinds = steps(seed, 1..17, 400).into_iter().map(|step| match step {
                Step::Append(batches) => {
                    batches.iter().map(|batch| format!("a{} {:?}", batch.cuts, batch.entries)).collect()
                }
                Step::Purge(upto) => format!("p{upto:?}"),
                Step::Read { group, from, to } => format!("r{group} {from} {to}"),
            });
            kinds.collect::<Vec<String>>()
        };
        assert_eq!(text(7), text(7));
        assert_ne!(text(7), text(8));
        let all = text(7).concat();
        assert!(all.contains("atrue") && all.contains("afalse") && all.contains('r'));
        assert!(text(7).iter().any(|step| step.starts_with("p[(")));
    }
}
