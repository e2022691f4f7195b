//! Finding a log's segments again at start.
//!
//! In: the log's directory and what the checkpoint says of it. Out: [`Segments`], or the damage found. Never:
//! takes a file that should be there and is not for an empty one.
//!
//! The checkpoint says how long the active segment is; whatever stands behind that is also in the journal and
//! will be written again. Every older segment must be sealed.

use std::path::Path;

use super::name::Standing;
use super::{Segment, SegmentName, Segments, path};
use crate::error::{Damage, OpenError};
use crate::format::checkpoint::LogState;
use crate::format::run::{
    self, RUN_HEADER_BYTES, RunHeader, RunPlace, SEGMENT_HEADER_BYTES, SegmentHeader, TRAILER_BYTES,
};
use crate::io::disk::{self, Disk};
use crate::io::{Descriptor, Open};
use crate::limits::BLOCK_BYTES;
use crate::planted::{Bug, planted};
use crate::types::{LogId, Offset};

/// The segments of a log and the files beside them that the checkpoint does not know.
pub struct Found {
    pub segments: Segments,
    /// Segments to remove: begun after the checkpoint, so that the journal holds all that is in
    /// them, or trimmed or truncated before it, their removal not yet on the device.
    pub unfinished: Vec<SegmentName>,
}

/// Finds the segments of the log that `state` describes.
pub fn find(disk: &Disk, data: &Path, state: &LogState) -> Result<Found, OpenError> {
    let directory = super::directory(data, state.id);
    let files = disk.list(&directory)?;
    let mut names: Vec<SegmentName> = files.iter().filter_map(|file| SegmentName::parse(file)).collect();
    names.sort_unstable();
    let (mut list, mut unfinished) = (Vec::new(), Vec::new());
    for (name, standing, limit) in state.standings(&names) {
        if standing != Standing::Counts {
            unfinished.push(name);
            continue;
        }
        let file_path = path(data, state.id, name);
        let file = disk.open(&file_path, Open::ReadWrite)?;
        let mut segment = match state.segment_position > 0 && name.base == state.segment_base {
            true => active_segment(&file_path, file, state, name)?,
            false => sealed_segment(&file_path, file, state.id, name)?,
        };
        if segment.end() > limit && !planted(Bug::TruncatedTailComesBack) {
            segment.limit = limit;
        }
        list.push(segment);
    }
    Ok(Found { segments: Segments::restore(list, !files.is_empty() || disk.exists(&directory)), unfinished })
}

/// After replay: every offset from the log's start to `end` must be in a segment, with no hole between runs
/// of neighbouring segments.
pub fn check_whole(
    data: &Path,
    log: LogId,
    segments: &Segments,
    start: Offset,
    end: Offset,
) -> Result<(), OpenError> {
    let mut next = start;
    for segment in segments.list() {
        if segment.end() <= next {
            continue;
        }
        if segment.runs.first().is_some_and(|run| run.base_offset.get() > next) {
            break;
        }
        next = segment.end();
    }
    if next >= end {
        return Ok(());
    }
    let what = format!("offsets {next} to {end} of {log:?} are missing: a segment file is gone");
    Err(Damage { path: super::directory(data, log), position: 0, what }.into())
}

fn damaged(path: &Path, position: u64, what: &str) -> OpenError {
    Damage { path: path.to_path_buf(), position, what: what.to_string() }.into()
}

fn check_header(path: &Path, file: &Descriptor, log: LogId, base: Offset) -> Result<(), OpenError> {
    let block = disk::read(path, file, 0, SEGMENT_HEADER_BYTES)?;
    SegmentHeader::read(&block, log, base).map(|_| ()).map_err(|bad| damaged(path, 0, bad.0))
}

fn sealed_segment(
    path: &Path,
    file: Descriptor,
    log: LogId,
    name: SegmentName,
) -> Result<Segment, OpenError> {
    let base = name.base;
    check_header(path, &file, log, base)?;
    let file_bytes = disk::length(path, &file)?;
    let trailer_at = file_bytes.saturating_sub(TRAILER_BYTES as u64);
    let last_block = disk::read(path, &file, trailer_at, TRAILER_BYTES)?;
    let Some((position, length)) = run::table_place(&last_block, log, base, file_bytes) else {
        return Err(damaged(path, trailer_at, "the segment was sealed, but its trailer is not sound"));
    };
    let table = disk::read(path, &file, position, length.next_multiple_of(BLOCK_BYTES))?;
    let runs = table
        .get(..length)
        .ok_or(run::BadSegment("the table of runs is cut short"))
        .and_then(|table| run::table(table, &last_block))
        .map_err(|bad| damaged(path, position, bad.0))?;
    Ok(Segment { name, runs, limit: Offset::MAX, position, sealed: true, file: None })
}

fn active_segment(
    path: &Path,
    file: Descriptor,
    state: &LogState,
    name: SegmentName,
) -> Result<Segment, OpenError> {
    check_header(path, &file, state.id, state.segment_base)?;
    let mut runs: Vec<RunPlace> = Vec::new();
    let mut position = SEGMENT_HEADER_BYTES as u64;
    while position < state.segment_position {
        let block = disk::read(path, &file, position, RUN_HEADER_BYTES.next_multiple_of(BLOCK_BYTES))?;
        let header =
            RunHeader::read(&block, state.id, position).map_err(|bad| damaged(path, position, bad.0))?;
        runs.push(header.place());
        position += header.total_bytes() as u64;
    }
    // Only what was truncated may reach beyond the log's end.
    let beyond = runs.last().is_some_and(|run| run.end_offset.get() > state.end);
    if position != state.segment_position || (beyond && name.generation == state.generation) {
        return Err(damaged(path, position, "the segment's runs are not those of the checkpoint"));
    }
    Ok(Segment { name, runs, limit: Offset::MAX, position, sealed: false, file: Some(file) })
}
