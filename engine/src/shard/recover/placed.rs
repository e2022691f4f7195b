//! Runs that a frame says are in segments: found again, and taken for what they are.
//!
//! In: placed entries of the journals behind the checkpoints. Out: segments that end with those runs. Never: writes over a
//! run that an entry further on means.

use std::collections::VecDeque;
use std::path::PathBuf;

use bytes::{Bytes, BytesMut};
use zerocopy::FromBytes;
use zerocopy::byteorder::little_endian::U32;

use super::Recovery;
use super::holes::Loss;
use crate::error::{Damage, OpenError};
use crate::format::batch;
use crate::format::frame::{Entry, Kind, PlacedRun};
use crate::format::run::{RUN_HEADER_BYTES, RunHeader, RunPlace, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::io::{Open, buffer, disk};
use crate::journal::recover::Replay;
use crate::segment::{self, SegmentName};
use crate::types::{LogId, Offset};

/// The entries of a frame in the order in which they came about: a run that was durable before the frame was written comes
/// first. What else the frame says of its log takes effect with the frame, or is behind it in the segment.
pub(super) fn in_order<'a>(frame: &'a Replay<'_>) -> impl Iterator<Item = (&'a Entry, Option<PlacedRun>)> {
    let run =
        |entry: &Entry| (entry.kind == Kind::Placed).then(|| PlacedRun::of(frame.bytes, entry)).flatten();
    let entries = frame.entries.iter().map(move |entry| (entry, run(entry)));
    let was_durable = |run: &Option<PlacedRun>| run.is_some_and(|run| run.was_durable.get() != 0);
    let first = entries.clone().filter(move |(_, run)| was_durable(run));
    first.chain(entries.filter(move |(_, run)| !was_durable(run)))
}

/// A placed entry that is yet to be replayed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Upcoming {
    sequence: u64,
    segment: SegmentName,
}

/// A run that was written beside a frame: its file, its place in that, its bytes.
pub(super) type RunBeside = (PathBuf, u64, BytesMut);

fn name_of(run: &PlacedRun) -> SegmentName {
    SegmentName { base: run.segment_base.get(), generation: run.segment_generation.get() }
}

fn place_of(entry: &Entry, run: &PlacedRun) -> RunPlace {
    RunPlace {
        base_offset: entry.offset.into(),
        end_offset: end_of(entry).into(),
        position: run.position,
        max_timestamp_ms: run.max_timestamp_ms,
        bytes: run.bytes,
        compacted_at_s: U32::new(0),
    }
}

/// So many bytes, zeros behind those there are.
fn whole(bytes: &[u8], length: usize) -> BytesMut {
    let mut whole = buffer::aligned(length);
    whole.extend_from_slice(bytes);
    whole.resize(length, 0);
    whole
}

fn end_of(entry: &Entry) -> Offset {
    entry.offset.saturating_add(u64::from(entry.offsets_count))
}

impl Recovery<'_> {
    /// Notes what a frame behind the checkpoint means of segments, and which logs it deletes. Returns the runs that were written
    /// beside it, of logs that are left.
    pub(super) fn note(&mut self, frame: &Replay<'_>) -> Vec<(Entry, PlacedRun)> {
        let sequence = frame.header.sequence.get();
        let mut beside: Vec<(Entry, PlacedRun)> = Vec::new();
        for (entry, run) in in_order(frame) {
            if let Some(run) = run {
                let upcoming = self.upcoming.entry(entry.log).or_default();
                upcoming.push_back(Upcoming { sequence, segment: name_of(&run) });
                if run.was_durable.get() == 0 {
                    beside.push((entry.clone(), run));
                }
            } else if entry.kind == Kind::Delete {
                self.deleted.insert(entry.log, sequence);
                beside.retain(|(placed, _)| placed.log != entry.log);
            }
        }
        beside
    }

    /// Forgets what was noted of the frame, the last one.
    pub(super) fn forget(&mut self, sequence: u64) {
        self.deleted.retain(|_, deleted_in| *deleted_in < sequence);
        for upcoming in self.upcoming.values_mut() {
            upcoming.retain(|next| next.sequence < sequence);
        }
    }

    /// A run beside the last frame, as it should be on the device; `None`: it is not whole.
    pub(super) fn run_beside(&self, entry: &Entry, run: &PlacedRun) -> Result<Option<RunBeside>, OpenError> {
        let Ok((bytes, body)) = self.read_run(entry, run)? else { return Ok(None) };
        // Behind its batches it may be torn as well, and then what lies there is of the file's last use.
        let padding = bytes.get(RUN_HEADER_BYTES + body.len()..).unwrap_or_default();
        if padding.iter().any(|byte| *byte != 0) {
            return Ok(None);
        }
        let path = segment::path(&self.config.directory, entry.log, name_of(run));
        Ok(Some((path, run.position.get(), whole(&bytes, place_of(entry, run).total_bytes()))))
    }

    /// The run that an entry means, and its batches; or what is wrong.
    fn read_run(&self, entry: &Entry, run: &PlacedRun) -> Result<Result<(Bytes, Bytes), String>, OpenError> {
        let path = segment::path(&self.config.directory, entry.log, name_of(run));
        if !self.config.disk.exists(&path) {
            return Ok(Err("the segment file is gone".to_string()));
        }
        let place = place_of(entry, run);
        let file = self.config.disk.open(&path, Open::Read)?;
        let bytes = disk::read(&path, &file, run.position.get(), place.total_bytes())?.freeze();
        let is_it =
            RunHeader::read_from_prefix(&bytes).is_ok_and(|(header, _)| header.checksum == run.run_checksum);
        if !is_it {
            return Ok(Err("the run is not the one that the journal means".to_string()));
        }
        let body = segment::check(bytes.clone(), entry.log, &place);
        Ok(body.map(|body| (bytes, body)))
    }

    /// What is below may be settled before the next placed entry of the log is replayed.
    pub(super) fn settle_limit(&self, log: LogId) -> Offset {
        let Some(next) = self.upcoming.get(&log).and_then(VecDeque::front) else { return Offset::MAX };
        let active = self.logs.get(&log).and_then(|partition| partition.segments.active());
        match active.is_some_and(|active| active.name == next.segment) {
            true => 0,
            false => next.segment.base,
        }
    }

    /// Whether the journal goes on to mean runs of the log.
    pub(super) fn has_upcoming(&self, log: LogId) -> bool {
        self.upcoming.get(&log).is_some_and(|upcoming| !upcoming.is_empty())
    }

    pub(super) fn replay_placed(
        &mut self,
        frame: &Replay<'_>,
        entry: &Entry,
        run: Option<PlacedRun>,
    ) -> Result<(), OpenError> {
        let (log, sequence, end) = (entry.log, frame.header.sequence.get(), end_of(entry));
        let upcoming = self.upcoming.entry(log).or_default();
        if upcoming.front().is_some_and(|next| next.sequence <= sequence) {
            upcoming.pop_front();
        }
        let Some(partition) = self.logs.get_mut(&log) else { return Ok(()) };
        // A truncation that the checkpoint contains came later: what it left of the run, the checkpoint knows.
        if sequence <= partition.truncated_in {
            return Ok(());
        }
        let Some(run) = run.filter(|run| run.position.get() > 0) else {
            let what = "the entry of a run makes no sense".to_string();
            let (path, position) = (frame.path.to_path_buf(), frame.header.position());
            return self.lose_run(entry, None, Damage { path, position, what });
        };
        let (name, position) = (name_of(&run), run.position.get());
        let known = partition.segments.list().iter().find(|segment| segment.name == name);
        let contained = match known {
            Some(segment) => segment.sealed || position < segment.position,
            None => self.contained.get(&log).is_some_and(|contained| end <= *contained),
        };
        if contained {
            return Ok(());
        }
        let is_known = known.is_some();
        let found = self.read_run(entry, &run)?;
        if !is_known {
            while self.settle_run(log, name.base)? {}
            self.seal_active(log)?;
            if let Some(partition) = self.logs.get_mut(&log) {
                partition.segments.begin(name);
                partition.segments.has_directory = true;
                partition.generation = partition.generation.max(name.generation);
            }
            self.begin_anew(log, name)?;
        }
        let path = segment::path(&self.config.directory, log, name);
        self.adopted.insert(path.clone());
        self.dirty.insert(path.clone());
        let Some(partition) = self.logs.get_mut(&log) else { return Ok(()) };
        let place = place_of(entry, &run);
        match found {
            Ok((bytes, body)) => {
                if bytes.len() < place.total_bytes() {
                    // A start that was cut off wrote it again, and what fills up its last block did not survive.
                    let whole = whole(&bytes, place.total_bytes());
                    disk::write(&path, &self.config.disk.open(&path, Open::Update)?, position, &whole)?;
                }
                for (header, _) in batch::split(body) {
                    self.report.replayed_batches += u64::from(partition.adopt(&header));
                }
                partition.adopted(place);
                Ok(())
            }
            Err(what) => {
                // Of what was settled while the frames were there, they still have every batch.
                let (batches, offsets, _) = partition.to_settle(usize::MAX, end);
                if offsets != (entry.offset..end) || position < SEGMENT_HEADER_BYTES as u64 {
                    return self.lose_run(entry, Some(place), Damage { path, position, what });
                }
                let epoch = partition.leader_epoch;
                let max_timestamp_ms = run.max_timestamp_ms.get();
                let (bytes, place, _) =
                    segment::lay_out(log, name.base, epoch, position, offsets, max_timestamp_ms, &batches);
                partition.adopted(place);
                let file = self.config.disk.open(&path, Open::Update)?;
                Ok(disk::write(&path, &file, position, &bytes)?)
            }
        }
    }

    /// Writes the header of the file that a placed entry means, which need not be there: what is damaged may have said that its log was
    /// deleted.
    fn begin_anew(&mut self, log: LogId, name: SegmentName) -> Result<(), OpenError> {
        let disk = &self.config.disk;
        let path = segment::path(&self.config.directory, log, name);
        disk.make_directory(&segment::directory(&self.config.directory, log))?;
        let epoch = self.logs.get(&log).map_or(0, |partition| partition.leader_epoch);
        let mut header = buffer::aligned(SEGMENT_HEADER_BYTES);
        header.extend_from_slice(&SegmentHeader::block(log, name.base, epoch));
        Ok(disk::write(&path, &disk.open(&path, Open::ReadWrite)?, 0, &header)?)
    }

    /// The offsets of a run that is not sound stay given. Whoever reads them is told, by the run itself if its place is known.
    fn lose_run(&mut self, entry: &Entry, place: Option<RunPlace>, damage: Damage) -> Result<(), OpenError> {
        let Some(partition) = self.logs.get_mut(&entry.log) else { return Ok(()) };
        partition.lost(entry.offset..end_of(entry));
        self.losses.push(Loss { log: entry.log, offset: entry.offset, damage });
        if let Some(place) = place {
            partition.adopted(place);
        }
        Ok(())
    }
}
