//! Every log's segments, and whether together they hold what the checkpoint says they do.
//!
//! In: the logs as checkpoints and journals describe them. Out: findings. Never: looks inside a segment.

use std::ops::Range;

use super::{Walk, extent};
use crate::error::OpenError;
use crate::format::checkpoint::LogState;
use crate::segment;
use crate::types::{LogId, Offset};
use extent::Extent;

impl Walk<'_> {
    pub(super) fn segments(&mut self) -> Result<(), OpenError> {
        let logs: Vec<(LogState, Offset)> =
            self.logs.values().map(|known| (known.state.clone(), known.start)).collect();
        for (state, start) in logs {
            let covered = self.segments_of(&state)?;
            self.holes(&state, start, covered);
        }
        Ok(())
    }

    /// Walks the segments of one log; what they account for, in order.
    fn segments_of(&mut self, state: &LogState) -> Result<Vec<Range<Offset>>, OpenError> {
        let directory = segment::directory(self.directory, state.id);
        let mut covered = Vec::new();
        let names = self.disk.list(&directory)?;
        let bases: Vec<Offset> = names.iter().filter_map(|name| base_of(name)).collect();
        for name in names {
            let path = directory.join(&name);
            let Some(base) = base_of(&name) else {
                self.report.note(&path, 0, "the file belongs to nothing");
                continue;
            };
            let extent = if state.segment_position > 0 && base == state.segment_base {
                Extent::Active(state.segment_position)
            } else if base >= state.end {
                let what = "a segment begun after the checkpoint; the journal holds all that is in it";
                self.report.note(&path, 0, what);
                continue;
            } else if segment::recover::is_trimmed(state, base, &bases) {
                self.report.note(&path, 0, "a segment that was trimmed; a start removes it");
                continue;
            } else {
                Extent::Sealed
            };
            let walked = extent::walk(self.disk, &mut self.report, &path, state.id, base, extent);
            covered.extend(self.report.unless_unreadable(&path, walked).into_iter().flatten());
        }
        Ok(covered)
    }

    /// Every offset from the log's start to the checkpoint's end must be in a segment.
    fn holes(&mut self, state: &LogState, start: Offset, covered: Vec<Range<Offset>>) {
        let directory = segment::directory(self.directory, state.id);
        let mut next = start;
        for range in covered {
            if range.start > next && next < state.end {
                let missing = next..range.start.min(state.end);
                let what = "a segment file is gone, or the records in it were";
                self.report.damage_of(&directory, 0, state.id, Some(missing), what);
            }
            next = next.max(range.end);
        }
        if next < state.end {
            let active = state.segment_position > 0 && state.segment_base >= next;
            let gone = segment::path(self.directory, state.id, state.segment_base);
            let (path, what) = match active && !self.disk.exists(&gone) {
                true => (gone, "the segment file is gone"),
                false => (directory, "records that the checkpoint counts are in no segment"),
            };
            self.report.damage_of(&path, 0, state.id, Some(next..state.end), what);
        }
    }

    /// Walks the segments of a log of which no checkpoint is left to tell.
    pub(super) fn unclaimed_segments(&mut self, log: LogId) -> Result<(), OpenError> {
        let directory = segment::directory(self.directory, log);
        for name in self.disk.list(&directory)? {
            let Some(base) = base_of(&name) else { continue };
            let path = directory.join(&name);
            let walked = extent::walk(self.disk, &mut self.report, &path, log, base, Extent::Unknown);
            self.report.unless_unreadable(&path, walked);
        }
        Ok(())
    }
}

/// The base offset in the name of a segment file.
fn base_of(name: &str) -> Option<Offset> {
    name.strip_suffix(".seg").filter(|base| base.len() == 20)?.parse().ok()
}
