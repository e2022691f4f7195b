//! Finding a log's segments again at start.
//!
//! In: the log's directory and what the checkpoint says of it. Out: [`Segments`], and the damage found. Never:
//! takes a file that should be there and is not for an empty one: what is missing is a hole, which has a name.
//!
//! The checkpoint says how long the active segment is; whatever stands behind that is also in the journal and
//! will be written again. Every older segment must be sealed.

use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::name::Standing;
use super::{Segment, SegmentName, Segments, path};
use crate::error::{Damage, OpenError};
use crate::format::checkpoint::LogState;
use crate::format::run::{
    self, BadSegment, RunHeader, RunPlace, SEGMENT_HEADER_BYTES, SegmentHeader, TRAILER_BYTES,
};
use crate::io::disk::{self, Disk};
use crate::io::{Descriptor, Open};
use crate::limits::BLOCK_BYTES;
use crate::planted::{Bug, planted};
use crate::types::Offset;

/// So much of a segment that is being filled is read at once while its runs are short, as they are where there are many logs:
/// their headers lie close together, and a read of this length takes hardly longer than one of a block.
const AHEAD_BYTES: u64 = 64 << 10;

/// Blocks asked for within so many bytes of each other lie close together.
const CLOSE_BYTES: u64 = AHEAD_BYTES / 4;

const _: () = assert!(SEGMENT_HEADER_BYTES == BLOCK_BYTES);

/// The segments of a log and the files beside them that the checkpoint does not know.
pub struct Found {
    pub segments: Segments,
    /// Segments to remove: begun after the checkpoint, so that the journal holds all that is in
    /// them, or trimmed, truncated or merged into another, their removal not yet on the device.
    pub unfinished: Vec<SegmentName>,
    /// What is not as it was written, and the offsets from which on it may matter.
    pub damage: Vec<(Offset, Damage)>,
    /// Files that a compaction left unfinished.
    pub abandoned: Vec<PathBuf>,
}

/// Finds the segments of the log that `state` describes. What is damaged in them is left out, and named.
pub fn find(disk: &Disk, data: &Path, state: &LogState) -> Result<Found, OpenError> {
    let directory = super::directory(data, state.id);
    let files = disk.list(&directory)?;
    let mut names: Vec<SegmentName> = files.iter().filter_map(|file| SegmentName::parse(file)).collect();
    names.sort_unstable();
    let (mut list, mut unfinished, mut damage) = (Vec::new(), Vec::new(), Vec::new());
    let (mut merged_below, mut are_merged) = (0, false);
    for (name, standing, limit) in state.standings(&names) {
        let is_merged = name.base < merged_below;
        are_merged |= is_merged;
        let counts = || match standing {
            Standing::Counts => Ok(true),
            _ => is_merge(disk, data, state, (name, standing, limit)),
        };
        if is_merged || !counts()? {
            unfinished.push(name);
            continue;
        }
        let mut walk = Walk::open(disk, data, state, name, Open::ReadWrite)?;
        let is_active = state.segment_position > 0 && name.base == state.segment_base;
        let mut segment = if is_active { walk.active()? } else { walk.sealed()? };
        if walk.damage.is_empty() && state.is_merge(name, segment.end(), limit) {
            merged_below = segment.end();
        } else if segment.end() > limit && !planted(Bug::TruncatedTailComesBack) {
            segment.limit = limit;
        }
        damage.extend(walk.damage.into_iter().map(|damage| (name.base, damage)));
        list.push(segment);
    }
    if are_merged {
        // A name that was given just before the end may be seen without being durable, and those it stands for are to go.
        disk.sync_directory(&directory)?;
    }
    let abandoned = files.iter().filter(|name| name.ends_with(".compact"));
    let abandoned = abandoned.map(|name| directory.join(name)).collect();
    let segments = Segments::restore(list, !files.is_empty() || disk.exists(&directory));
    Ok(Found { segments, unfinished, abandoned, damage })
}

/// Whether a segment that is taken for trimmed is a merge that reaches beyond the base of one that was merged into it.
pub fn is_merge(
    disk: &Disk,
    data: &Path,
    state: &LogState,
    (name, standing, limit): (SegmentName, Standing, Offset),
) -> Result<bool, OpenError> {
    if !state.may_be_merge(name, standing) {
        return Ok(false);
    }
    let mut walk = Walk::open(disk, data, state, name, Open::Read)?;
    let segment = walk.sealed()?;
    Ok(walk.damage.is_empty() && state.is_merge(name, segment.end(), limit))
}

/// Offsets from `start` to `end` that are in no run.
pub fn holes(segments: &Segments, start: Offset, end: Offset) -> Vec<Range<Offset>> {
    let (mut holes, mut next) = (Vec::new(), start);
    for (segment, run) in
        segments.list().iter().flat_map(|segment| segment.live_runs().map(move |run| (segment, run)))
    {
        if run.base_offset.get() > next {
            holes.push(next..run.base_offset.get().min(end));
        }
        next = next.max(run.end_offset.get().min(segment.limit));
    }
    if next < end {
        holes.push(next..end);
    }
    holes
}

/// One segment file being read.
struct Walk<'a> {
    path: PathBuf,
    file: Descriptor,
    file_bytes: u64,
    /// What was read ahead, and where it begins.
    ahead: (u64, Bytes),
    /// Nothing is read ahead from here on.
    ahead_upto: u64,
    state: &'a LogState,
    name: SegmentName,
    damage: Vec<Damage>,
}

impl Walk<'_> {
    fn open<'a>(
        disk: &Disk,
        data: &Path,
        state: &'a LogState,
        name: SegmentName,
        how: Open,
    ) -> Result<Walk<'a>, OpenError> {
        let path = path(data, state.id, name);
        let file = disk.open(&path, how)?;
        let file_bytes = disk::length(&path, &file)?;
        let (ahead, ahead_upto) = ((0, Bytes::new()), 0);
        Ok(Walk { path, file, file_bytes, ahead, ahead_upto, state, name, damage: Vec::new() })
    }

    fn damaged(&mut self, position: u64, what: &str) {
        self.damage.push(Damage { path: self.path.clone(), position, what: what.to_string() });
    }

    /// One block; fewer bytes only at the end of the file.
    fn block(&mut self, position: u64) -> Result<Bytes, OpenError> {
        let (from, ahead) = &self.ahead;
        let at = position.checked_sub(*from).and_then(|at| usize::try_from(at).ok());
        if let Some(block) = at.and_then(|at| ahead.get(at..)?.get(..BLOCK_BYTES)) {
            return Ok(ahead.slice_ref(block));
        }
        let is_close = position.saturating_sub(*from + ahead.len() as u64) <= CLOSE_BYTES;
        let length = self.ahead_upto.saturating_sub(position).min(AHEAD_BYTES) as usize;
        self.ahead = (position, Bytes::new());
        if is_close && length > BLOCK_BYTES {
            // Blocks that were not asked for must not matter: if one cannot be read, the first alone is tried.
            let length = length.next_multiple_of(BLOCK_BYTES);
            if let Ok(bytes) = disk::read(&self.path, &self.file, position, length) {
                self.ahead = (position, bytes.freeze());
                let end = self.ahead.1.len().min(BLOCK_BYTES);
                return Ok(self.ahead.1.slice(..end));
            }
        }
        Ok(disk::read(&self.path, &self.file, position, BLOCK_BYTES)?.freeze())
    }

    fn header(&mut self) -> Result<(), OpenError> {
        let block = self.block(0)?;
        if let Err(bad) = SegmentHeader::read(&block, self.state.id, self.name.base) {
            self.damaged(0, bad.0);
        }
        Ok(())
    }

    /// Its table says what is in it; if that is damaged, its runs do.
    fn sealed(&mut self) -> Result<Segment, OpenError> {
        self.header()?;
        let (log, base, file_bytes) = (self.state.id, self.name.base, self.file_bytes);
        let trailer_at =
            file_bytes.saturating_sub(TRAILER_BYTES as u64) / BLOCK_BYTES as u64 * BLOCK_BYTES as u64;
        let last_block = disk::read(&self.path, &self.file, trailer_at, TRAILER_BYTES)?;
        let Some((position, length)) = run::table_place(&last_block, log, base, file_bytes) else {
            self.damaged(trailer_at, "the segment was sealed, but its trailer is not sound");
            return self.by_its_runs(file_bytes);
        };
        let table = disk::read(&self.path, &self.file, position, length.next_multiple_of(BLOCK_BYTES))?;
        let runs = table
            .get(..length)
            .ok_or(BadSegment("the table of runs is cut short"))
            .and_then(|table| run::table(table, &last_block));
        match runs {
            Ok(runs) => Ok(self.complete(runs, position)),
            Err(bad) => {
                self.damaged(position, bad.0);
                self.by_its_runs(position)
            }
        }
    }

    /// A segment whose table is damaged: every run up to the first that is not sound.
    fn by_its_runs(&mut self, limit: u64) -> Result<Segment, OpenError> {
        let (runs, position, _) = self.sound_runs(SEGMENT_HEADER_BYTES as u64, limit)?;
        Ok(self.complete(runs, position))
    }

    /// A sealed segment with these runs, which end at `position`.
    fn complete(&self, runs: Vec<RunPlace>, position: u64) -> Segment {
        let (name, limit) = (self.name, Offset::MAX);
        Segment { name, runs, limit, position, sealed: true, is_meant: false, file: None }
    }

    /// The segment that was being filled: every sound run up to where the checkpoint says that it ended.
    fn active(&mut self) -> Result<Segment, OpenError> {
        let limit = self.state.segment_position;
        self.ahead_upto = limit;
        self.header()?;
        let (mut runs, mut position) = (Vec::new(), SEGMENT_HEADER_BYTES as u64);
        while position < limit {
            let (sound, stopped, bad) = self.sound_runs(position, limit)?;
            runs.extend(sound);
            position = stopped;
            if let Some(bad) = bad {
                self.damaged(position, bad.0);
                position = self.next_run(position + BLOCK_BYTES as u64, limit)?;
            }
        }
        if position != limit || self.file_bytes < limit {
            self.damaged(position, "the segment's runs are not those of the checkpoint");
        }
        let whole = position == limit && self.file_bytes >= limit;
        let file = None; // opened again when it is written on: there may be more than a process may have open
        Ok(Segment {
            name: self.name,
            runs,
            limit: Offset::MAX,
            position: limit,
            sealed: !whole,
            is_meant: false,
            file,
        })
    }

    /// Runs from `position` on, one behind the other, up to `limit`; where the first that is not sound would be, and
    /// what is wrong with it.
    fn sound_runs(
        &mut self,
        mut position: u64,
        limit: u64,
    ) -> Result<(Vec<RunPlace>, u64, Option<BadSegment>), OpenError> {
        let mut runs: Vec<RunPlace> = Vec::new();
        while position < limit {
            let block = self.block(position)?;
            let header = match RunHeader::read(&block, self.state.id, position) {
                Ok(header) => header,
                Err(bad) => return Ok((runs, position, Some(bad))),
            };
            let follows =
                runs.last().map_or(self.name.base, |run| run.end_offset.get()) <= header.base_offset.get();
            // Only what was truncated may reach beyond the log's end.
            let beyond = header.end_offset.get() > self.state.end;
            if !follows || (beyond && self.name.generation == self.state.generation) {
                let bad = BadSegment("the run's offsets are not those of the log");
                return Ok((runs, position, Some(bad)));
            }
            runs.push(header.place());
            position += header.total_bytes() as u64;
        }
        Ok((runs, position, None))
    }

    /// Where the next sound run begins at or behind `position`; `limit` if there is none.
    fn next_run(&mut self, mut position: u64, limit: u64) -> Result<u64, OpenError> {
        while position < limit {
            let block = self.block(position)?;
            if RunHeader::read(&block, self.state.id, position).is_ok() {
                return Ok(position);
            }
            position += BLOCK_BYTES as u64;
        }
        Ok(limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::LogId;

    #[test]
    fn a_segment_older_than_the_oldest_is_trimmed_whatever_became_of_those_behind_it() {
        let mut state = LogState { start: 15, end: 43, id: LogId(8), ..LogState::default() };
        (state.segment_base, state.segment_position) = (15, 4096);
        let is_trimmed = |state: &LogState, base: Offset, bases: &[Offset]| {
            let names: Vec<SegmentName> = bases.iter().map(|base| SegmentName::from(*base)).collect();
            let standings = state.standings(&names);
            standings.iter().any(|(name, standing, _)| name.base == base && *standing == Standing::Gone)
        };
        assert!(!is_trimmed(&state, 0, &[0]), "of a checkpoint that does not know its oldest segment");
        assert!(is_trimmed(&state, 0, &[0, 15]));
        state.first_segment = 15;
        assert!(
            is_trimmed(&state, 0, &[0]),
            "the one behind it was removed, its own removal was not durable"
        );
        assert!(!is_trimmed(&state, 15, &[0, 15]));
    }
}
