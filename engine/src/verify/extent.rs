//! One segment file, run by run and batch by batch.
//!
//! In: a file, and how far it counts. Out: findings, and the offsets that it accounts for. Never: stops at a run
//! that is not sound: the next one says where it is itself.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::first_byte;
use super::report::Report;
use crate::error::OpenError;
use crate::format::batch;
use crate::format::crc::crc32c;
use crate::format::frame::PlacedRun;
use crate::format::run::{
    self, RUN_HEADER_BYTES, RUN_TOTAL_BYTES_MAX, RunHeader, RunPlace, SEGMENT_HEADER_BYTES, SegmentHeader,
    TRAILER_BYTES,
};
use crate::io::disk::{self, Disk};
use crate::io::{Descriptor, Open};
use crate::limits::BLOCK_BYTES;
use crate::types::{LogId, Offset};

/// How much of a segment file counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// All of it; a table of its runs ends it.
    Sealed,
    /// Up to this position; what stands behind is in the journal too.
    Active(u64),
    /// Nobody says.
    Unknown,
}

/// One segment being walked.
pub(super) struct Segment<'a> {
    path: PathBuf,
    log: LogId,
    base: Offset,
    file: Descriptor,
    file_bytes: u64,
    runs: Vec<RunPlace>,
    report: &'a mut Report,
}

/// Checks the segment of `log` that begins with `base` and returns the offsets it accounts for, damaged or not, in order.
pub(super) fn walk(
    disk: &Disk,
    report: &mut Report,
    path: &Path,
    log: LogId,
    base: Offset,
    extent: Extent,
) -> Result<Vec<Range<Offset>>, OpenError> {
    let file = disk.open(path, Open::Read)?;
    let file_bytes = disk::length(path, &file)?;
    report.counts.segments += 1;
    let mut segment =
        Segment { path: path.to_path_buf(), log, base, file, file_bytes, runs: Vec::new(), report };
    segment.header()?;
    let table = match extent {
        Extent::Active(_) => None,
        Extent::Sealed | Extent::Unknown => segment.table(extent == Extent::Sealed)?,
    };
    let limit = match (&table, extent) {
        (_, Extent::Active(position)) => position,
        (Some((position, _)), _) => *position,
        (None, _) => segment.file_bytes,
    };
    let covered = segment.all_runs(limit, table.is_some() || matches!(extent, Extent::Active(_)))?;
    if let Some((position, runs)) = table {
        segment.compare(position, &runs);
    }
    Ok(covered)
}

/// Checks the run that the journal means in the segment of `log` that begins with `base`. One that may be torn is noted.
pub(super) fn placed(
    disk: &Disk,
    report: &mut Report,
    path: &Path,
    (log, base): (LogId, Offset),
    run: &PlacedRun,
    may_be_torn: bool,
) -> Result<(), OpenError> {
    let position = run.position.get();
    if !disk.exists(path) {
        let what = "the segment file that the journal means is gone";
        match may_be_torn {
            true => report.note(path, position, what),
            false => report.damage_of(path, position, log, None, what),
        }
        return Ok(());
    }
    let file = disk.open(path, Open::Read)?;
    let file_bytes = disk::length(path, &file)?;
    let mut segment =
        Segment { path: path.to_path_buf(), log, base, file, file_bytes, runs: Vec::new(), report };
    if position == SEGMENT_HEADER_BYTES as u64 {
        segment.header()?;
    }
    let block = disk::read(path, &segment.file, position, BLOCK_BYTES)?;
    match RunHeader::read(&block, log, position) {
        Ok(header) if header.checksum == run.run_checksum && !may_be_torn => segment.one_run(&header)?,
        // What is written beside the last frame may be there in part; a start tells.
        Ok(header) if header.checksum == run.run_checksum => {}
        _ if may_be_torn => {
            segment.report.note(path, position, "the run beside the last frame is not there");
        }
        _ => segment.damage(position, None, "the run is not the one that the journal means"),
    }
    Ok(())
}

impl Segment<'_> {
    fn damage(&mut self, position: u64, offsets: Option<Range<Offset>>, what: impl Into<String>) {
        self.report.damage_of(&self.path, position, self.log, offsets, what);
    }

    fn header(&mut self) -> Result<(), OpenError> {
        let block = disk::read(&self.path, &self.file, 0, SEGMENT_HEADER_BYTES)?;
        self.report.counts.bytes += block.len() as u64;
        if let Err(bad) = SegmentHeader::read(&block, self.log, self.base) {
            self.damage(0, None, bad.0);
        } else if let Some(at) = first_byte(block.get(size_of::<SegmentHeader>()..)) {
            let position = (size_of::<SegmentHeader>() + at) as u64;
            self.damage(position, None, "the padding of the segment's header is not zero");
        }
        Ok(())
    }

    /// Position and runs of the table of a sealed segment.
    fn table(&mut self, must_be: bool) -> Result<Option<(u64, Vec<RunPlace>)>, OpenError> {
        let trailer_at =
            self.file_bytes.saturating_sub(TRAILER_BYTES as u64) / BLOCK_BYTES as u64 * BLOCK_BYTES as u64;
        let last_block = disk::read(&self.path, &self.file, trailer_at, TRAILER_BYTES)?;
        let place = run::table_place(&last_block, self.log, self.base, self.file_bytes);
        let Some((position, length)) = place else {
            if must_be {
                self.damage(trailer_at, None, "the segment was sealed, but its trailer is not sound");
            }
            return Ok(None);
        };
        let table = disk::read(&self.path, &self.file, position, length.next_multiple_of(BLOCK_BYTES))?;
        self.report.counts.bytes += (table.len() + last_block.len()) as u64;
        if let Some(at) = first_byte(table.get(length..)) {
            self.damage(position + (length + at) as u64, None, "the padding of the table is not zero");
        }
        if let Some(at) = first_byte(last_block.get(run::TRAILER_USED_BYTES..)) {
            let position = trailer_at + (run::TRAILER_USED_BYTES + at) as u64;
            self.damage(position, None, "the padding of the trailer is not zero");
        }
        match run::table(table.get(..length).unwrap_or_default(), &last_block) {
            Ok(runs) => Ok(Some((position, runs))),
            Err(bad) => {
                self.damage(position, None, bad.0);
                Ok(Some((position, Vec::new())))
            }
        }
    }

    /// Walks the runs up to `limit`, where the last must end if `exact`; looks for the next sound header behind
    /// one that is not.
    fn all_runs(&mut self, limit: u64, exact: bool) -> Result<Vec<Range<Offset>>, OpenError> {
        let mut position = SEGMENT_HEADER_BYTES as u64;
        let mut next = self.base;
        let mut covered = Vec::new();
        let mut bad: Option<(u64, &'static str)> = None;
        while position < limit {
            let block = disk::read(&self.path, &self.file, position, BLOCK_BYTES)?;
            match RunHeader::read(&block, self.log, position) {
                Ok(header) => {
                    let base = header.base_offset.get();
                    if let Some((at, what)) = bad.take() {
                        self.damage(at, Some(next..base.max(next)), what);
                        covered.push(next..base.max(next));
                    }
                    if base < next {
                        self.damage(position, Some(base..next), "the run overlaps the one before");
                    }
                    self.one_run(&header)?;
                    next = header.end_offset.get();
                    covered.push(base..next);
                    self.runs.push(header.place());
                    position += header.total_bytes() as u64;
                }
                Err(error) => {
                    if block.is_empty() {
                        break;
                    }
                    if !exact && first_byte(Some(&block)).is_none() {
                        break; // room that was never written
                    }
                    bad = bad.or(Some((position, error.0)));
                    position += BLOCK_BYTES as u64;
                }
            }
        }
        if let Some((at, what)) = bad {
            self.damage(at, None, format!("{what}; no sound run follows"));
        } else if exact && position < limit {
            let what = format!("the file ends here, but must be at least {limit} bytes long");
            self.damage(position, None, what);
        } else if exact && position > limit {
            self.damage(limit, None, "a run reaches beyond the part that counts");
        }
        Ok(covered)
    }

    fn one_run(&mut self, header: &RunHeader) -> Result<(), OpenError> {
        let position = header.position.get();
        let offsets = header.base_offset.get()..header.end_offset.get();
        let length = header.total_bytes().min(RUN_TOTAL_BYTES_MAX);
        let bytes = disk::read(&self.path, &self.file, position, length)?;
        self.report.counts.runs += 1;
        self.report.counts.bytes += bytes.len() as u64;
        let end = RUN_HEADER_BYTES + header.bytes.get() as usize;
        let Some(body) = bytes.get(RUN_HEADER_BYTES..end) else {
            let at = position + bytes.len() as u64;
            self.damage(at, Some(offsets), "the run is cut short");
            return Ok(());
        };
        if let Some(at) = first_byte(bytes.get(end..)) {
            self.damage(position + (end + at) as u64, None, "the padding of the run is not zero");
        }
        let before = self.report.findings.len();
        self.batches(header, body);
        if self.report.findings.len() == before && crc32c(body) != header.body_checksum.get() {
            let what = "the run does not match its checksum, though each batch in it does";
            self.damage(position, Some(offsets), what);
        }
        Ok(())
    }

    fn batches(&mut self, header: &RunHeader, body: &[u8]) {
        let start = header.position.get() + RUN_HEADER_BYTES as u64;
        let end = header.end_offset.get();
        let mut next = header.base_offset.get();
        let mut max_timestamp_ms = i64::MIN;
        let mut at = 0;
        while let Some(rest) = body.get(at..).filter(|rest| !rest.is_empty()) {
            let position = start + at as u64;
            let shape = match batch::shape(rest) {
                Ok(shape) => shape,
                Err(error) => {
                    return self.damage(position, Some(next..end), error.to_string());
                }
            };
            self.report.counts.run_batches += 1;
            let base = shape.base_offset.get() as u64;
            let batch_end = base.checked_add(shape.offsets_count()).filter(|last| *last <= end);
            if let Err(error) = batch::check(rest) {
                let last = next.saturating_add(shape.offsets_count()).min(end);
                self.damage(position, Some(next..last), error.to_string());
            }
            let belongs = if header.is_compacted() { base >= next } else { base == next };
            if !belongs || batch_end.is_none() {
                let what = format!("the batch says it is at offset {base}, which does not belong here");
                self.damage(position, Some(next..end), what);
            }
            next = if header.is_compacted() { base } else { next };
            next = next.saturating_add(shape.offsets_count());
            max_timestamp_ms = max_timestamp_ms.max(shape.max_timestamp.get());
            at += shape.total_bytes();
        }
        if next < end && !header.is_compacted() {
            let what = "batches of the run are missing";
            self.damage(start + body.len() as u64, Some(next..end), what);
        }
        if max_timestamp_ms != header.max_timestamp_ms.get() {
            let what = "the run's largest timestamp is not that of its batches";
            self.damage(header.position.get(), None, what);
        }
    }

    /// The table must name the runs that are there.
    fn compare(&mut self, position: u64, table: &[RunPlace]) {
        for (index, place) in table.iter().enumerate() {
            if !self.runs.contains(place) {
                let at = position + (index * size_of::<RunPlace>()) as u64;
                let offsets = place.base_offset.get()..place.end_offset.get();
                let what = format!("the table names a run at {} that is not there", place.position.get());
                self.damage(at, Some(offsets), what);
            }
        }
        let unnamed: Vec<RunPlace> =
            self.runs.iter().filter(|run| !table.is_empty() && !table.contains(run)).copied().collect();
        for run in unnamed {
            let offsets = run.base_offset.get()..run.end_offset.get();
            self.damage(run.position.get(), Some(offsets), "the table does not name this run");
        }
    }
}
