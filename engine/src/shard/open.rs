//! Which segments' files are kept open, so that their number does not follow the number of logs.
//!
//! In: files that were opened, to be written or to be read. Out: those that were opened longest ago, closed when there
//! are too many. Never: closes a file of a log that is being settled, for what a step left may have to be cut off, or of
//! one that is being compacted, for its readers must find the old file until the new one has its name.

use std::collections::VecDeque;

use super::Shard;
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
            self.settler.closed(log, name);
        }
    }
}
