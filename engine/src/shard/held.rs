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
    /// Logs that have not let go of what they have in it.
    logs: Vec<LogId>,
}

impl Held {
    pub(super) fn push(&mut self, sequence: u64, bytes: usize, logs: Vec<LogId>) {
        if !logs.is_empty() {
            self.bytes += bytes;
            self.frames.push_back(HeldFrame { sequence, bytes, logs });
        }
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
    /// Bytes of memory in use for records: frames that are held or on their way, runs being written or read, and the cache
    /// of runs.
    pub fn memory_bytes(&self) -> usize {
        self.held.bytes + self.beside_held_bytes()
    }

    fn beside_held_bytes(&self) -> usize {
        let on_their_way = self.journal.waiting_bytes() + self.journal.in_flight_bytes();
        on_their_way + self.settler.in_flight_bytes() + self.reader.bytes()
    }

    /// Brings the frames in memory to seven eighths of what the memory has beside all else, so that some is left for what
    /// comes until they are settled: forgets settled ones from the front, and has a quarter of them settled when the front one
    /// is not.
    ///
    /// A checkpoint under way has settled more when it is done; what is settled beside it would be in two short runs.
    pub(super) fn reclaim(&mut self) {
        let memory_bytes = self.place.memory_bytes;
        let bytes_max = memory_bytes.saturating_sub(self.beside_held_bytes()).max(memory_bytes / 4) / 8 * 7;
        while self.held.bytes > bytes_max {
            let Some(front) = self.held.frames.front_mut() else { return };
            let sequence = front.sequence;
            let mut unsettled = false;
            // One by one, so that the next turn begins with the log that this one ended with.
            while let Some(log) = front.logs.last() {
                if let Some(partition) = self.logs.get_mut(log) {
                    unsettled = partition.is_unsettled(sequence);
                    if unsettled {
                        break;
                    }
                    let settled = partition.marks().settled;
                    partition.tail.forget(sequence, settled);
                }
                front.logs.pop();
            }
            if unsettled {
                if !self.checkpointer.is_idle() {
                    return;
                }
                // Not more with every frame that goes: it takes a look at every log.
                if self.settler.is_asked(sequence) {
                    return;
                }
                if self.journal.files().full_upto().is_some() {
                    self.checkpointer.becomes_cheap();
                }
                self.settle_upto(self.held.sequence_at(bytes_max / 4));
                return;
            }
            self.held.bytes -= front.bytes;
            self.held.frames.pop_front();
        }
    }
}
