//! Which segments' files are kept open, so that their number does not follow the number of logs.
//!
//! In: files that were opened, to be written or to be read. Out: those that were opened longest ago, closed when there
//! are too many. Never: closes a file of a log that is being settled, for what a step left may have to be cut off, or of
//! one that is being compacted, for its readers must find the old file until the new one has its name.

use std::collections::VecDeque;

use super::Shard;
use crate::planted::{Bug, planted};
use crate::segment::SegmentName;
use crate::types::LogId;

/// Most that one turn looks at, so that it stays short where nearly all of them are in use.
const LOOKS_MAX: usize = 64;

/// Segments whose files are open, opened longest ago first. Some may have been closed since, or gone.
#[derive(Debug, Default)]
pub(super) struct OpenFiles(VecDeque<(LogId, SegmentName)>);

impl OpenFiles {
    /// A file was opened that its segment keeps.
    pub(super) fn opened(&mut self, log: LogId, name: SegmentName) {
        self.0.push_back((log, name));
    }
}

impl Shard {
    /// Closes files until few enough are open. What was written and is to be synced is opened once more for that.
    pub(super) fn close_files(&mut self) {
        for _ in 0..LOOKS_MAX {
            if self.open_files.0.len() <= self.place.sizes.open_segments_max {
                return;
            }
            let Some((log, name)) = self.open_files.0.pop_front() else { return };
            let Some(partition) = self.logs.get_mut(&log) else { continue };
            if partition.settling || self.compactor.is_at(log) {
                self.open_files.opened(log, name);
                continue;
            }
            partition.segments.close(name);
            match planted(Bug::ClosedFileNotSynced) {
                true => self.settler.forget(log, name),
                false => self.settler.closed(log, name),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::limits::Sizes;
    use crate::shard::rig::{Rig, Scratch, config};
    use crate::types::LogId;

    const LOGS: u64 = 40;
    const ROUNDS: u8 = 6;
    const OPEN_MAX: usize = 4;

    #[test]
    fn few_files_are_open_and_what_was_closed_is_read_and_written_on() {
        let scratch = Scratch::new("open-files");
        let mut config = config(&scratch.0, 1);
        config.sizes = Sizes { open_segments_max: OPEN_MAX, ..Sizes::default() };
        let mut rig = Rig::open_with(&config);
        (0..LOGS).for_each(|log| rig.shards[0].create(LogId(log)));
        let open = |rig: &Rig| {
            let segments = rig.shards[0].logs.values().flat_map(|log| log.segments.list());
            segments.filter(|segment| segment.file.is_some()).count()
        };
        for round in 0..ROUNDS {
            for log in 0..LOGS {
                rig.append(LogId(log), &vec![round; 60_000], u64::from(round) * LOGS + log);
            }
            rig.settle();
        }
        let counts = rig.shards[0].counts();
        assert!(counts.checkpoints > 1 && counts.settled_runs > LOGS, "{counts:?}");
        let expected: Vec<(u64, u8)> = (0..ROUNDS).map(|round| (u64::from(round), round)).collect();
        for log in (0..LOGS).map(LogId) {
            assert_eq!(rig.read_all(log, 0), expected);
        }
        rig.settle();
        assert!(open(&rig) <= OPEN_MAX, "{} files are open", open(&rig));
        drop(rig);
        let mut rig = Rig::open_with(&config);
        assert_eq!(open(&rig), 0, "a start opens none that nobody asks for");
        for log in (0..LOGS).map(LogId) {
            assert_eq!(rig.read_all(log, 0), expected);
        }
    }
}
