//! Every log's segments, and whether together they hold what the checkpoint says they do.
//!
//! In: the logs as checkpoints and journals describe them. Out: findings. Never: looks inside a segment.

use std::ops::Range;

use super::{Walk, extent};
use crate::error::OpenError;
use crate::format::checkpoint::LogState;
use crate::segment::{self, SegmentName, Standing};
use crate::types::{LogId, Offset};
use extent::Extent;

impl Walk<'_> {
    pub(super) fn segments(&mut self) -> Result<(), OpenError> {
        let logs: Vec<(LogState, Offset, Offset)> =
            self.logs.values().map(|known| (known.state.clone(), known.start, known.cut)).collect();
        for (state, start, cut) in logs {
            let covered = self.segments_of(&state)?;
            self.holes(&state, start..state.end.min(cut), covered);
        }
        Ok(())
    }

    /// Walks the segments of one log; what they account for, in order.
    fn segments_of(&mut self, state: &LogState) -> Result<Vec<Range<Offset>>, OpenError> {
        let directory = segment::directory(self.directory, state.id);
        let mut names = Vec::new();
        for file in self.disk.list(&directory)? {
            match SegmentName::parse(&file) {
                Some(name) => names.push(name),
                None => self.report.note(&directory.join(&file), 0, "the file belongs to nothing"),
            }
        }
        names.sort_unstable();
        let (mut covered, mut merged_below) = (Vec::<Range<Offset>>::new(), 0);
        for (name, mut standing, mut limit) in state.standings(&names) {
            let found = (name, standing, limit);
            if segment::recover::is_merge(self.disk, self.directory, state, found).unwrap_or(false) {
                standing = Standing::Counts;
            }
            let path = segment::path(self.directory, state.id, name);
            let extent = match standing {
                Standing::Later => {
                    let what = "a segment begun after the checkpoint; the journal holds all that is in it";
                    self.report.note(&path, 0, what);
                    continue;
                }
                Standing::Gone => {
                    self.report.note(&path, 0, "a segment that was trimmed or truncated; a start removes it");
                    continue;
                }
                Standing::Counts if name.base < merged_below => {
                    let what = "a segment that was merged into the one before it; a start removes it";
                    self.report.note(&path, 0, what);
                    continue;
                }
                Standing::Counts if state.segment_position > 0 && name.base == state.segment_base => {
                    Extent::Active(state.segment_position)
                }
                Standing::Counts => Extent::Sealed,
            };
            let walked = extent::walk(self.disk, &mut self.report, &path, state.id, name.base, extent);
            let walked = self.report.unless_unreadable(&path, walked).unwrap_or_default();
            if let Some(last) = walked.last().filter(|last| state.is_merge(name, last.end, limit)) {
                (merged_below, limit) = (last.end, last.end);
            }
            let counts = walked.into_iter().filter(|range| range.start < limit);
            covered.extend(counts.map(|range| range.start..range.end.min(limit)));
        }
        Ok(covered)
    }

    /// Every offset of `needed` must be in a segment.
    fn holes(&mut self, state: &LogState, needed: Range<Offset>, covered: Vec<Range<Offset>>) {
        let directory = segment::directory(self.directory, state.id);
        let Range { start: mut next, end } = needed;
        for range in covered {
            if range.start > next && next < end {
                let missing = next..range.start.min(end);
                let what = "a segment file is gone, or the records in it were";
                self.report.damage_of(&directory, 0, state.id, Some(missing), what);
            }
            next = next.max(range.end);
        }
        if next < end {
            let active = state.segment_position > 0 && state.segment_base >= next;
            let gone = segment::path(self.directory, state.id, state.segment_base);
            let (path, what) = match active && !self.disk.exists(&gone) {
                true => (gone, "the segment file is gone"),
                false => (directory, "records that the checkpoint counts are in no segment"),
            };
            self.report.damage_of(&path, 0, state.id, Some(next..end), what);
        }
    }

    /// Walks the segments of a log of which no checkpoint is left to tell.
    pub(super) fn unclaimed_segments(&mut self, log: LogId) -> Result<(), OpenError> {
        let directory = segment::directory(self.directory, log);
        for name in self.disk.list(&directory)? {
            let Some(SegmentName { base, .. }) = SegmentName::parse(&name) else { continue };
            let path = directory.join(&name);
            let walked = extent::walk(self.disk, &mut self.report, &path, log, base, Extent::Unknown);
            self.report.unless_unreadable(&path, walked);
        }
        Ok(())
    }
}
