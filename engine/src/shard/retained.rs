//! Why each byte on the device is still there.
//!
//! In: what logs and the journal hold. Out: sums, by reason. Never: asks the device.

use super::Shard;
use crate::partition::Partition;
use crate::types::LogId;

/// Bytes on the device, by the reason why they are still there. All are counted as they lie there, with headers and
/// padding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retained {
    /// In segments: records at or above the start of their log.
    pub records_bytes: u64,
    /// In segments: records below the start of their log. They go with the last record of their segment.
    pub trimmed_bytes: u64,
    /// Journal files that hold frames which no checkpoint covers yet, the file being written included.
    pub journal_needed_bytes: u64,
    /// Journal files that wait to be written again.
    pub journal_spare_bytes: u64,
}

impl Retained {
    fn add(&mut self, partition: &Partition) {
        let start = partition.marks().start;
        for segment in partition.segments.list() {
            // Runs are in order, so only the first segments have any that end below the start.
            let below = segment.runs.iter().take_while(|run| run.end_offset.get() <= start);
            let trimmed: u64 = below.map(|run| run.total_bytes() as u64).sum();
            self.trimmed_bytes += trimmed;
            self.records_bytes += segment.position - trimmed.min(segment.position);
        }
    }
}

impl Shard {
    /// What one log retains on the device; of the journal, the batches that no segment has yet.
    pub fn retained_by(&self, log: LogId) -> Retained {
        let mut retained = Retained::default();
        if let Some(partition) = self.logs.get(&log) {
            retained.add(partition);
            retained.journal_needed_bytes = partition.unsettled_bytes() as u64;
        }
        retained
    }

    /// What the shard retains on the device. Looks at every segment, so it is for reports, not for every turn.
    pub fn retained(&self) -> Retained {
        let (journal_needed_bytes, journal_spare_bytes) = self.journal.retained();
        let mut retained = Retained { journal_needed_bytes, journal_spare_bytes, ..Retained::default() };
        self.logs.values().for_each(|partition| retained.add(partition));
        retained
    }
}
