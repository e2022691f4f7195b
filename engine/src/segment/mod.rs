//! Where a log's records live for good: segment files made of large runs.
//!
//! In: runs that were written, segments that were sealed. Out: which run holds an offset or a time. Never:
//! reads or writes a file itself; [`recover`] does so once, at start.

pub mod compact;
mod name;
pub mod recover;

use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use zerocopy::IntoBytes;

pub use name::{SegmentName, Standing};

use crate::format::batch;
use crate::format::checkpoint::SegmentState;
use crate::format::crc::crc32c;
use crate::format::run::{RUN_HEADER_BYTES, RunHeader, RunPlace, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::io::{Descriptor, buffer};
use crate::types::{LogId, Offset};

/// One segment file.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Which segment of its log.
    pub name: SegmentName,
    /// Its runs, in order.
    pub runs: Vec<RunPlace>,
    /// What stands at this offset and behind was truncated, though it is in the file.
    pub limit: Offset,
    /// Where the next run goes.
    pub position: u64,
    /// Whether its file is complete.
    pub sealed: bool,
    /// Whether the journal may mean runs in it that a checkpoint does not know yet.
    pub is_meant: bool,
    /// Open since it was written or read, unless too many are open.
    pub file: Option<Descriptor>,
}

impl Segment {
    /// One more than the last offset in it.
    pub fn end(&self) -> Offset {
        self.runs.last().map_or(self.name.base, |run| run.end_offset.get()).min(self.limit)
    }

    /// What a checkpoint remembers of it.
    pub fn state(&self) -> SegmentState {
        let Segment { name, limit, .. } = *self;
        SegmentState { base: name.base, generation: name.generation, limit }
    }

    /// Whether the file holds more than counts.
    pub fn is_cut(&self) -> bool {
        self.runs.last().is_some_and(|run| run.end_offset.get() > self.limit)
    }

    /// Its runs, but for those that were truncated as a whole.
    pub fn live_runs(&self) -> impl Iterator<Item = &RunPlace> {
        self.runs.iter().take_while(|run| run.base_offset.get() < self.limit)
    }
}

/// All segments of one log, by base offset. Only the last may be unsealed.
#[derive(Debug, Default)]
pub struct Segments {
    list: Vec<Segment>,
    /// Whether the log's directory is known to exist.
    pub has_directory: bool,
}

impl Segments {
    /// The segments found at start.
    pub fn restore(list: Vec<Segment>, has_directory: bool) -> Segments {
        assert!(list.is_sorted_by_key(|segment| segment.name.base));
        Segments { list, has_directory }
    }

    /// The segments, oldest first.
    pub fn list(&self) -> &[Segment] {
        &self.list
    }

    /// Whether compaction has been at any of them.
    pub fn were_compacted(&self) -> bool {
        self.list.iter().flat_map(|segment| &segment.runs).any(|run| run.compacted_at_s.get() != 0)
    }

    /// The segment that begins with `base`.
    pub fn get(&self, base: Offset) -> Option<&Segment> {
        let at = self.list.binary_search_by_key(&base, |segment| segment.name.base).ok()?;
        self.list.get(at)
    }

    /// The segment that takes the next run.
    pub fn active(&self) -> Option<&Segment> {
        self.list.last().filter(|segment| !segment.sealed)
    }

    fn active_mut(&mut self) -> Option<&mut Segment> {
        self.list.last_mut().filter(|segment| !segment.sealed)
    }

    /// Base and next position of the active segment; zeros when there is none.
    pub fn active_place(&self) -> (Offset, u64) {
        self.active().map_or((0, 0), |segment| (segment.name.base, segment.position))
    }

    /// A new active segment; its header goes out with its first run.
    pub fn begin(&mut self, name: SegmentName) {
        assert!(self.active().is_none() && self.list.last().is_none_or(|last| last.end() <= name.base));
        let (runs, limit) = (Vec::new(), Offset::MAX);
        self.list.reserve_exact(1); // most logs of many have one, and there may be a great many logs
        let is_meant = false;
        self.list.push(Segment { name, runs, limit, position: 0, sealed: false, is_meant, file: None });
    }

    /// The same for a file that has its header already, so that the next run goes to `position`.
    pub fn begin_at(&mut self, name: SegmentName, position: u64, file: Descriptor) {
        self.begin(name);
        if let Some(active) = self.active_mut() {
            (active.position, active.file, active.is_meant) = (position, Some(file), true);
        }
    }

    /// Takes back an active segment that got no run, whose file has not even a header.
    pub fn take_unbegun(&mut self) -> Option<Segment> {
        self.list.pop_if(|last| !last.sealed && last.position == 0)
    }

    /// A run was written into the active segment, which is now `position` bytes long.
    pub fn push(&mut self, run: RunPlace, position: u64) {
        let Some(active) = self.active_mut() else { unreachable!("a run is written into an active segment") };
        assert!(
            active.end() <= run.base_offset.get() && active.position < position && !active.is_cut(),
            "{run:?} behind {active:?}"
        );
        if active.runs.is_empty() {
            active.runs.reserve_exact(1);
        }
        active.runs.push(run);
        active.position = position;
    }

    /// The active segment is complete.
    pub fn seal(&mut self) {
        if let Some(active) = self.active_mut() {
            active.sealed = true;
            active.runs.shrink_to_fit();
        }
    }

    /// Closes a file that was kept open.
    pub fn close(&mut self, name: SegmentName) {
        if let Some(segment) = self.list.iter_mut().find(|segment| segment.name == name) {
            segment.file = None;
        }
    }

    /// Keeps a file open that was opened to be read, or to be written on.
    pub fn opened(&mut self, name: SegmentName, file: Descriptor) {
        if let Some(segment) = self.list.iter_mut().find(|segment| segment.name == name) {
            segment.file = Some(file);
        }
    }

    /// Nothing at `end` or behind counts any more. Returns the segments that go, for their files to be removed. The next one
    /// begun is of a later generation.
    pub fn truncate(&mut self, end: Offset) -> Vec<Segment> {
        let keep = self.list.partition_point(|segment| segment.name.base < end);
        let gone = self.list.drain(keep..).collect();
        if let Some(last) = self.list.last_mut().filter(|last| last.end() > end) {
            last.limit = end;
        }
        gone
    }

    /// The run that holds `offset`, or the first behind it, with its segment. Runs of which compaction left nothing
    /// are passed over.
    pub fn find(&self, offset: Offset) -> Option<(&Segment, RunPlace)> {
        let first = self.list.partition_point(|segment| segment.end() <= offset);
        let mut from = offset;
        for segment in self.list.get(first..)? {
            let run = segment.runs.partition_point(|run| run.end_offset.get() <= from);
            let mut rest = segment.runs.iter().skip(run);
            if let Some(run) = rest.find(|run| run.bytes.get() > 0) {
                return Some((segment, *run));
            }
            from = from.max(segment.end());
        }
        None
    }

    /// First offset of the first run that may hold a record at or after a time.
    pub fn find_time(&self, timestamp_ms: i64) -> Option<Offset> {
        let mut runs = self.list.iter().flat_map(Segment::live_runs);
        runs.find(|run| run.max_timestamp_ms.get() >= timestamp_ms).map(|run| run.base_offset.get())
    }

    /// First offset of the run with the largest timestamp, and that timestamp.
    pub fn latest_time(&self) -> Option<(i64, Offset)> {
        let runs = self.list.iter().flat_map(Segment::live_runs);
        runs.map(|run| (run.max_timestamp_ms.get(), run.base_offset.get())).max_by_key(|(time, _)| *time)
    }

    /// Another file has taken the place of sealed segments that follow each other: the same offsets, with fewer records in
    /// them, under the name of the first. Returns those that are gone.
    pub fn replace(
        &mut self,
        bases: &[Offset],
        runs: Vec<RunPlace>,
        position: u64,
        file: Descriptor,
    ) -> Vec<Segment> {
        let from = self.list.partition_point(|segment| Some(&segment.name.base) < bases.first());
        let place = from..from + bases.len();
        let (mut first_offset, mut end) = (None, None);
        for (segment, base) in self.list.iter().skip(from).zip(bases) {
            assert!(segment.sealed && segment.name.base == *base, "{segment:?} is not at {base}");
            assert!(!segment.is_cut(), "a log that was truncated is not compacted");
            first_offset = first_offset.or(segment.runs.first().map(|run| run.base_offset));
            end = Some(segment.end());
        }
        assert!(first_offset == runs.first().map(|run| run.base_offset));
        assert!(end == runs.last().map(|run| run.end_offset.get()), "what is compacted ends where it ended");
        let Some(name) = self.list.get(from).map(|first| first.name) else { return Vec::new() };
        let (limit, is_meant) = (Offset::MAX, false);
        let segment = Segment { name, runs, limit, position, sealed: true, is_meant, file: Some(file) };
        self.list.splice(place, [segment]).collect()
    }

    /// Forgets segments that end at or below `start`; returns them, for their files to be removed.
    /// An active one only goes when `active_too`: while a run is being written into it, it must stay.
    pub fn drop_below(&mut self, start: Offset, active_too: bool) -> Vec<Segment> {
        let mut count = 0;
        while let Some(segment) = self.list.get(count).filter(|segment| segment.sealed || active_too) {
            // One of which damage left nothing ends where the next begins.
            let end = match segment.runs.is_empty() {
                true => self.list.get(count + 1).map(|next| next.name.base),
                false => Some(segment.end()),
            };
            if end.is_none_or(|end| end > start) {
                break;
            }
            count += 1;
        }
        self.list.drain(..count).collect()
    }
}

/// Directory of a log's segments.
pub fn directory(data: &Path, log: LogId) -> PathBuf {
    data.join("log").join(log.to_string())
}

/// Path of a segment.
pub fn path(data: &Path, log: LogId, name: impl Into<SegmentName>) -> PathBuf {
    directory(data, log).join(name.into().to_string())
}

/// Lays out a run of `batches` for `position` of the segment that begins with `base`; for position 0 the
/// segment's header goes before it. Returns the bytes, the run's place, and the position behind it.
pub fn lay_out(
    log: LogId,
    base: Offset,
    leader_epoch: i32,
    position: u64,
    offsets: std::ops::Range<Offset>,
    max_timestamp_ms: i64,
    batches: &[Bytes],
) -> (Bytes, RunPlace, u64) {
    lay_out_compacted(log, base, leader_epoch, position, offsets, max_timestamp_ms, batches, 0)
}

/// The same for what compaction left of the batches at `offsets`; 0: it was not compacted.
pub fn lay_out_compacted(
    log: LogId,
    base: Offset,
    leader_epoch: i32,
    position: u64,
    offsets: std::ops::Range<Offset>,
    max_timestamp_ms: i64,
    batches: &[Bytes],
    compacted_at_s: u32,
) -> (Bytes, RunPlace, u64) {
    let front = if position == 0 { SEGMENT_HEADER_BYTES } else { 0 };
    let body_bytes: usize = batches.iter().map(Bytes::len).sum();
    let mut bytes: BytesMut = buffer::aligned(front + RUN_HEADER_BYTES + body_bytes);
    if position == 0 {
        bytes.extend_from_slice(&SegmentHeader::block(log, base, leader_epoch));
    }
    bytes.extend_from_slice(&[0; RUN_HEADER_BYTES]);
    for batch in batches {
        bytes.extend_from_slice(batch);
    }
    let body = &bytes[front + RUN_HEADER_BYTES..];
    let header =
        RunHeader::compacted(log, offsets, max_timestamp_ms, position + front as u64, body, compacted_at_s);
    bytes[front..front + RUN_HEADER_BYTES].copy_from_slice(header.as_bytes());
    buffer::pad(&mut bytes);
    let end = position + bytes.len() as u64;
    (bytes.freeze(), header.place(), end)
}

/// Checks a run that was read and returns its batches; otherwise says what is wrong.
pub fn check(run: Bytes, log: LogId, place: &RunPlace) -> Result<Bytes, String> {
    let header = RunHeader::read(&run, log, place.position.get()).map_err(|bad| bad.0.to_string())?;
    if header.place() != *place {
        return Err("the run is not the one that was written there".to_string());
    }
    let end = RUN_HEADER_BYTES + header.bytes.get() as usize;
    if run.len() < end {
        return Err("the run is cut short".to_string());
    }
    let body = run.slice(RUN_HEADER_BYTES..end);
    // A batch's own checksum does not cover its stamp: base offset and leader epoch.
    if crc32c(&body) != header.body_checksum.get() {
        return Err("the run does not match its checksum".to_string());
    }
    let mut next = place.base_offset.get();
    let mut rest: &[u8] = &body;
    while !rest.is_empty() {
        let header = batch::check(rest).map_err(|error| error.to_string())?;
        let base = header.base_offset.get() as u64;
        let end = base.checked_add(header.offsets_count()).filter(|end| *end <= place.end_offset.get());
        let Some(end) = end.filter(|_| base >= next) else {
            return Err(format!("the batch at offset {base} does not belong here"));
        };
        next = end;
        rest = rest.get(header.total_bytes()..).unwrap_or_default();
    }
    if next == place.end_offset.get() || header.is_compacted() {
        Ok(body)
    } else {
        Err("a batch of the run is missing".to_string())
    }
}
