//! Which frames are kept in memory, and which of them go when there are too many.
//!
//! In: durable frames. Out: logs to settle, tails to cut. Invariant: a batch that is not settled is held.

use std::collections::VecDeque;

use super::Shard;
use crate::types::LogId;

/// Frames whose batches are still in the tails of their logs, oldest first.
#[derive(Debug, Default)]
pub(super) struct Held {
    frames: VecDeque<HeldFrame>,
    bytes: usize,
}

#[derive(Debug)]
struct HeldFrame {
    sequence: u64,
    bytes: usize,
    logs: Vec<LogId>,
}

impl Held {
    pub(super) fn push(&mut self, sequence: u64, bytes: usize, logs: Vec<LogId>) {
        if !logs.is_empty() {
            self.bytes += bytes;
            self.frames.push_back(HeldFrame { sequence, bytes, logs });
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Highest sequence such that the frames up to it hold at least `bytes`.
    fn sequence_at(&self, bytes: usize) -> u64 {
        let mut sum = 0;
        let mut upto = 0;
        for frame in &self.frames {
            sum += frame.bytes;
            upto = frame.sequence;
            if sum >= bytes {
                break;
            }
        }
        upto
    }
}

impl Shard {
    /// Brings the frames in memory back under their limit: forgets settled ones from the front, and has a
    /// quarter of them settled when the front one is not.
    pub(super) fn reclaim(&mut self) {
        while self.held.bytes > self.place.memory_bytes {
            let Some(front) = self.held.frames.front() else { return };
            let sequence = front.sequence;
            let unsettled =
                front.logs.iter().any(|log| self.logs.get(log).is_some_and(|log| log.is_unsettled(sequence)));
            if unsettled {
                // Not more with every frame that goes: it takes a look at every log.
                if self.settler.is_asked(sequence) {
                    return;
                }
                let upto = self.held.sequence_at(self.place.memory_bytes / 4);
                self.settle_upto(upto);
                return;
            }
            let Some(front) = self.held.frames.pop_front() else { return };
            self.held.bytes -= front.bytes;
            for log in front.logs {
                if let Some(partition) = self.logs.get_mut(&log) {
                    let settled = partition.marks().settled;
                    partition.tail.forget(sequence, settled);
                }
            }
        }
    }
}
