//! Publisher confirms of one channel: which publishes are durable everywhere they were routed to.
//!
//! In: a publish with the number of queues it went to; for each queue, whether it has it. Out: runs of
//! sequence numbers to ack or nack, always in order, so that one cumulative ack covers a run.
//! Never: confirms a publish before every queue answered for it.
//!
//! Invariant: `floor <= next`, and `open.len() == next - floor`; every publish below `floor` was confirmed.

use std::collections::VecDeque;

/// The channel's publishes that are not confirmed yet.
#[derive(Debug)]
pub struct Confirms {
    /// The sequence number of the next publish; the first is 1.
    next: u64,
    /// The sequence number of the front of `open`.
    floor: u64,
    open: VecDeque<Open>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    /// Queues that did not answer yet.
    queues: u32,
    /// One of them refused.
    refused: bool,
}

/// Publishes up to and with `last`, and after the verdict before, that share one verdict.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verdict {
    pub last: u64,
    /// More than one publish.
    pub multiple: bool,
    pub accepted: bool,
}

impl Default for Confirms {
    fn default() -> Confirms {
        Confirms { next: 1, floor: 1, open: VecDeque::new() }
    }
}

impl Confirms {
    /// Takes in a publish that goes to so many queues, and returns its sequence number.
    pub fn publish(&mut self, queues: u32) -> u64 {
        let sequence = self.next;
        self.next += 1;
        self.open.push_back(Open { queues, refused: false });
        sequence
    }

    /// One queue answered for the publishes from `first` to `last`.
    pub fn answered(&mut self, first: u64, last: u64, accepted: bool) {
        for sequence in first..=last {
            let Some(at) = sequence.checked_sub(self.floor) else { continue };
            if let Some(open) = self.open.get_mut(at as usize) {
                open.queues = open.queues.saturating_sub(1);
                open.refused |= !accepted;
            }
        }
    }

    /// The next run of publishes that are decided, oldest first.
    pub fn next_verdict(&mut self) -> Option<Verdict> {
        let front = self.open.front().filter(|open| open.queues == 0)?;
        let refused = front.refused;
        let same = |open: &&Open| open.queues == 0 && open.refused == refused;
        let count = self.open.iter().take_while(same).count();
        self.open.drain(..count);
        self.floor += count as u64;
        Some(Verdict { last: self.floor - 1, multiple: count > 1, accepted: !refused })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts(confirms: &mut Confirms) -> Vec<(u64, bool, bool)> {
        std::iter::from_fn(|| confirms.next_verdict())
            .map(|verdict| (verdict.last, verdict.multiple, verdict.accepted))
            .collect()
    }

    #[test]
    fn a_run_is_confirmed_at_once_and_only_when_contiguous() {
        let mut confirms = Confirms::default();
        for _ in 0..4 {
            confirms.publish(1);
        }
        confirms.answered(2, 3, true);
        assert_eq!(verdicts(&mut confirms), []);
        confirms.answered(1, 1, true);
        assert_eq!(verdicts(&mut confirms), [(3, true, true)]);
        confirms.answered(4, 4, true);
        assert_eq!(verdicts(&mut confirms), [(4, false, true)]);
    }

    #[test]
    fn every_queue_must_have_it_and_one_refusal_is_a_nack() {
        let mut confirms = Confirms::default();
        confirms.publish(2);
        confirms.publish(0);
        confirms.publish(1);
        confirms.answered(1, 1, true);
        assert_eq!(verdicts(&mut confirms), []);
        confirms.answered(1, 1, false);
        confirms.answered(3, 3, true);
        assert_eq!(verdicts(&mut confirms), [(1, false, false), (3, true, true)]);
    }
}
