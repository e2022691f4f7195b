//! Every frame of one shard's journal that counts, and what the frames say of the logs.
//!
//! In: the journal's files, the checkpoint they continue. Out: findings; the logs as the entries leave them.
//! Never: believes the order of the files: frames are gathered from all of them and put in order by sequence, so
//! that what lies behind damage is still seen.
//!
//! A frame is written only after the one before is durable. So a sequence that is missing below one that is
//! there was durable once: damage. What is unsound behind the last sound frame is a torn write: a note.

use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::{Known, Walk, extent, first_byte};
use crate::error::OpenError;
use crate::format::batch;
use crate::format::checkpoint::{Checkpoint, FileSet, LogState};
use crate::format::frame::{
    self, ENTRY_BYTES, Entry, FrameError, FrameHeader, HEADER_BYTES, Kind, PlacedRun,
};
use crate::journal::recover::Window;
use crate::journal::set::Found as FoundFile;
use crate::limits::BLOCK_BYTES;
use crate::segment::{self, SegmentName};
use crate::shard::recover::journal_directory;
use crate::types::{LogId, Offset};

/// A sound frame of the incarnation, behind the checkpoint.
struct Found {
    file: usize,
    header: FrameHeader,
    /// Where it is not as it was written behind its body.
    padding: Option<u64>,
}

/// A place where a frame of the incarnation begins that is not sound.
struct Unsound {
    file: usize,
    position: u64,
    /// When the header can be believed.
    sequence: Option<u64>,
    error: FrameError,
}

/// All that the files of one shard hold.
#[derive(Default)]
struct Frames {
    windows: Vec<Window>,
    found: Vec<Found>,
    unsound: Vec<Unsound>,
}

impl Walk<'_> {
    /// Walks the journal of `shard`. Without its checkpoint the frames are only checked one by one.
    pub(super) fn journal(&mut self, shard: u16, checkpoint: Option<&Checkpoint>) -> Result<(), OpenError> {
        let directory = journal_directory(self.directory, shard);
        let mut frames = Frames::default();
        let set = checkpoint.map(|checkpoint| checkpoint.journal);
        for path in self.journal_files(&directory, set)? {
            let opened = match set {
                Some(set) => set.open(self.disk, &path),
                None => Window::open(self.disk, &path).map(FoundFile::Filled),
            };
            if let Some(FoundFile::Filled(window)) = self.report.unless_unreadable(&path, opened) {
                self.gather(&mut frames, window, shard, checkpoint.map_or(0, |found| found.sequence));
            }
        }
        frames.found.sort_by_key(|found| found.header.sequence.get());
        self.paddings(&frames);
        self.order(&frames, &directory, checkpoint);
        self.last(&frames, &directory, checkpoint);
        self.torn(&frames, checkpoint);
        self.entries(&mut frames);
        Ok(())
    }

    /// The files to be read: those of the set if it is known, otherwise all.
    fn journal_files(&mut self, directory: &Path, set: Option<FileSet>) -> Result<Vec<PathBuf>, OpenError> {
        let known: Option<Vec<PathBuf>> = set.map(|set| set.paths(directory).collect());
        let mut all = Vec::new();
        for name in self.disk.list(directory)? {
            let path = directory.join(&name);
            let belongs = known.as_ref().map_or(name.ends_with(".journal"), |known| known.contains(&path));
            if belongs {
                self.report.counts.journal_files += 1;
                all.push(path);
            } else {
                self.report.note(&path, 0, "the file belongs to nothing");
            }
        }
        Ok(known.unwrap_or(all))
    }

    /// Finds every frame of this shard and incarnation in one file, sound or not.
    fn gather(&mut self, frames: &mut Frames, mut window: Window, shard: u16, above: u64) {
        let (file, incarnation, path) = (frames.windows.len(), self.report.incarnation, window.path.clone());
        let mut position = 0;
        while position < window.file_bytes {
            let block = window.at(position, BLOCK_BYTES);
            let Some(block) = self.report.unless_unreadable(&path, block) else {
                position += BLOCK_BYTES as u64;
                continue;
            };
            let header = FrameHeader::read(&block);
            let ours = header.is_ok_and(|header| {
                header.shard.get() == shard
                    && header.incarnation.get() == incarnation
                    && header.position() == position
            });
            let read = if ours { window.frame(position) } else { Ok(Err(FrameError::Magic)) };
            let read = self.report.unless_unreadable(&path, read);
            let mut step = BLOCK_BYTES as u64;
            match (header, read) {
                (Ok(_), Some(Ok((header, bytes)))) => {
                    step = u64::from(header.length.get());
                    if header.sequence.get() > above {
                        self.report.counts.frames += 1;
                        self.report.counts.bytes += step;
                        let padding = self.frame_padding(&path, &header, &bytes);
                        let entries = frame::entries(&bytes, &header).unwrap_or_default();
                        let deleted = entries.iter().filter(|entry| entry.kind == Kind::Delete);
                        self.deleted.extend(deleted.map(|entry| entry.log));
                        frames.found.push(Found { file, header, padding });
                    }
                }
                (Ok(header), Some(Err(error))) if ours && header.sequence.get() > above => {
                    let sequence = Some(header.sequence.get());
                    frames.unsound.push(Unsound { file, position, sequence, error });
                }
                (Err(error), _) if error != FrameError::Magic => {
                    frames.unsound.push(Unsound { file, position, sequence: None, error });
                }
                _ => {}
            }
            position += step;
        }
        frames.windows.push(window);
    }

    /// Where the frame is not as it was written behind its body.
    fn frame_padding(&mut self, path: &Path, header: &FrameHeader, bytes: &Bytes) -> Option<u64> {
        let end = HEADER_BYTES + header.body_bytes.get() as usize;
        let position = header.position();
        let back = header.directory_start().unwrap_or(bytes.len());
        if header.durable_upto.get() >= header.sequence.get() {
            self.report.damage(path, position, "the frame says that it was durable before it was written");
        }
        let padding = first_byte(bytes.get(end..back)).map(|at| end + at);
        let copy = (back < bytes.len()).then(|| self.frame_back(header, bytes, back)).flatten();
        padding.or(copy).map(|at| position + at as u64)
    }

    /// Where the directory or the copy of the header differs from what the front says.
    fn frame_back(&self, header: &FrameHeader, bytes: &Bytes, back: usize) -> Option<usize> {
        let entries = frame::entries(bytes, header).ok()?;
        let fronts =
            entries.iter().filter_map(|entry| bytes.get(entry.bytes.start - ENTRY_BYTES..entry.bytes.start));
        let written: Vec<u8> = fronts.chain(bytes.get(..HEADER_BYTES)).flatten().copied().collect();
        let found = bytes.get(back..).unwrap_or_default();
        found.iter().zip(&written).position(|(one, other)| one != other).map(|at| back + at)
    }

    /// Behind the body are zeros, the directory and the copy of the header; only the last frame may be torn in them and
    /// still be whole.
    fn paddings(&mut self, frames: &Frames) {
        for (index, found) in frames.found.iter().enumerate() {
            let Some(position) = found.padding else { continue };
            let path = &frames.windows[found.file].path;
            if index + 1 == frames.found.len() {
                self.report.note(path, position, "the last frame is not as it was written behind its body");
            } else {
                self.report.damage(path, position, "the frame is not as it was written behind its body");
            }
        }
    }

    /// Each frame must follow the one before: by its sequence, and by its checksum.
    fn order(&mut self, frames: &Frames, directory: &Path, checkpoint: Option<&Checkpoint>) {
        let mut last: Option<&Found> = None;
        for found in &frames.found {
            let header = &found.header;
            let before = match (last, checkpoint) {
                (Some(last), _) => Some((last.header.sequence.get(), last.header.checksum.get())),
                (None, Some(checkpoint)) => Some((checkpoint.sequence, checkpoint.chain)),
                (None, None) => None,
            };
            if let Some((sequence, chain)) = before {
                let (path, position) = (&frames.windows[found.file].path, header.position());
                let expected = sequence + 1;
                // A start that was cut off sealed the journal elsewhere, and what it would have taken away came back.
                let is_sealed = last.is_some_and(|last| {
                    let (seal, other) = (&last.header, header);
                    (seal.entries_count.get() == 0 || other.entries_count.get() == 0)
                        && (seal.sequence, seal.previous) == (other.sequence, other.previous)
                });
                if is_sealed {
                    let what = format!(
                        "frame {} is there twice, as it was never acknowledged",
                        header.sequence.get()
                    );
                    self.report.note(path, position, what);
                } else if header.sequence.get() < expected {
                    let what = format!("frame {} is there twice", header.sequence.get());
                    self.report.damage(path, position, what);
                } else if header.sequence.get() > expected {
                    self.lost(frames, directory, last, found, expected);
                } else if header.previous.get() != chain {
                    let what = format!("frame {expected} does not continue the frame before it");
                    self.report.damage(path, position, what);
                }
            }
            last = Some(found);
        }
    }

    /// The checkpoint knows how far frames were durable when it was written.
    fn last(&mut self, frames: &Frames, directory: &Path, checkpoint: Option<&Checkpoint>) {
        let Some(checkpoint) = checkpoint else { return };
        let last = frames.found.last().map_or(checkpoint.sequence, |found| found.header.sequence.get());
        if last < checkpoint.durable {
            let expected = last + 1;
            let known = frames.unsound.iter().find(|unsound| unsound.sequence == Some(expected));
            let (path, position) = known.map_or((directory.to_path_buf(), 0), |unsound| {
                (frames.windows[unsound.file].path.clone(), unsound.position)
            });
            let what = format!("frame {expected} had been made durable, but it is not sound");
            self.report.damage(&path, position, what);
        }
    }

    /// Names the frames from `expected` up to `later`, which is sound.
    fn lost(
        &mut self,
        frames: &Frames,
        directory: &Path,
        last: Option<&Found>,
        later: &Found,
        expected: u64,
    ) {
        let end = later.header.sequence.get();
        let which = if end - expected == 1 {
            format!("frame {expected}")
        } else {
            format!("frames {expected} to {}", end - 1)
        };
        let known = frames.unsound.iter().find(|unsound| unsound.sequence == Some(expected));
        if let Some(Unsound { file, position, error, .. }) = known {
            let what = format!("{which} had been made durable, but {error}; a later frame is sound");
            return self.report.damage(&frames.windows[*file].path, *position, what);
        }
        let (path, position) = self.expected_place(frames, directory, last, later);
        let what = format!("{which} had been made durable, but is not there; a later frame is");
        self.report.damage(&path, position, what);
    }

    /// Where the frame behind `last` must have been.
    fn expected_place(
        &self,
        frames: &Frames,
        directory: &Path,
        last: Option<&Found>,
        later: &Found,
    ) -> (PathBuf, u64) {
        let later_path = &frames.windows[later.file].path;
        let end = last.map(|last| (last.file, last.header.position() + u64::from(last.header.length.get())));
        match end {
            Some((file, end)) if file == later.file => (later_path.clone(), end),
            _ if later.header.position() > 0 => (later_path.clone(), 0),
            // The later file is whole from its front, so the loss is at the end of another, or is a whole file.
            Some((file, end)) if frames.unsound.iter().any(|unsound| unsound.file == file) => {
                (frames.windows[file].path.clone(), end)
            }
            _ => (directory.to_path_buf(), 0),
        }
    }

    /// What is unsound where the next frame would be was never acknowledged.
    fn torn(&mut self, frames: &Frames, checkpoint: Option<&Checkpoint>) {
        let last = frames.found.last();
        let sequence =
            last.map_or(checkpoint.map_or(0, |found| found.sequence), |last| last.header.sequence.get());
        let end = last.map(|last| (last.file, last.header.position() + u64::from(last.header.length.get())));
        for unsound in &frames.unsound {
            let is_next = match unsound.sequence {
                Some(found) => found == sequence + 1,
                // A file begins with a frame, and a frame begins where the last ended.
                None => unsound.position == 0 || end == Some((unsound.file, unsound.position)),
            };
            let path = &frames.windows[unsound.file].path;
            let below = unsound.sequence.is_some_and(|found| found <= sequence);
            if is_next && !below {
                let what = format!(
                    "an unfinished frame, {}: unless it was acknowledged just before a crash, nothing is lost; a \
                     start cuts it",
                    unsound.error
                );
                self.report.note(path, unsound.position, what);
            } else if let FrameError::Version(_) = unsound.error {
                self.report.damage(path, unsound.position, unsound.error.to_string());
            }
        }
    }

    /// Follows what the frames say of the logs, in order.
    fn entries(&mut self, frames: &mut Frames) {
        let last = frames.found.last().map(|found| found.header.sequence.get());
        for found in &frames.found {
            let Some(window) = frames.windows.get_mut(found.file) else { continue };
            let path = window.path.clone();
            let position = found.header.position();
            let read = window.frame(position);
            let Some(Ok((header, bytes))) = self.report.unless_unreadable(&path, read) else { continue };
            match frame::entries(&bytes, &header) {
                Ok(entries) => {
                    for entry in entries {
                        if entry.kind == Kind::Placed {
                            self.placed(&path, &header, &entry, &bytes, last);
                        } else {
                            self.entry(&path, &header, &entry, &bytes);
                        }
                    }
                }
                Err(error) => self.report.damage(&path, position, error.to_string()),
            }
        }
    }

    fn entry(&mut self, path: &Path, header: &FrameHeader, entry: &Entry, bytes: &Bytes) {
        self.report.counts.entries += 1;
        let (log, offset) = (entry.log, entry.offset);
        let (frame, sequence) = (header.position(), header.sequence.get());
        let contained = self.logs.get(&log).is_some_and(|known| known.state.truncated_in >= sequence);
        match entry.kind {
            Kind::Create => {
                let state = LogState {
                    id: log,
                    start: 0,
                    end: 0,
                    first_segment: 0,
                    segment_base: 0,
                    segment_position: 0,
                    truncated_in: 0,
                    generation: 0,
                    segments: Vec::new(),
                    leader_epoch: 0,
                    producers: Vec::new(),
                };
                self.logs.entry(log).or_insert(Known { state, start: 0, end: 0, cut: Offset::MAX });
            }
            Kind::Delete => {
                self.logs.remove(&log);
            }
            Kind::Trim => {
                if let Some(known) = self.logs.get_mut(&log) {
                    known.start = known.start.max(offset);
                }
            }
            Kind::Truncate => {
                if let Some(known) = self.logs.get_mut(&log) {
                    // The checkpoint may contain it, and later batches that are in segments by now.
                    if known.state.truncated_in == sequence {
                        known.end = known.end.max(offset);
                    } else if !contained {
                        known.end = known.end.min(offset);
                        known.cut = known.cut.min(offset);
                    }
                }
            }
            Kind::Placed => {}
            Kind::Batch => {
                let position = frame + entry.bytes.start as u64;
                let batch = bytes.get(entry.bytes.clone()).unwrap_or_default();
                self.batch(path, position, entry, batch, contained);
            }
        }
    }

    /// Checks a batch, and that it follows the one before, unless a truncation that the checkpoint contains may have
    /// taken it.
    fn batch(&mut self, path: &Path, position: u64, entry: &Entry, bytes: &[u8], doubtful: bool) {
        let (log, base) = (entry.log, entry.offset);
        self.report.counts.frame_batches += 1;
        let header = match batch::check(bytes) {
            Ok(header) => header,
            Err(error) => return self.report.damage_of(path, position, log, None, error.to_string()),
        };
        let stamped =
            header.base_offset.get() as u64 == base && header.leader_epoch.get() == entry.leader_epoch;
        if !stamped || header.total_bytes() != bytes.len() {
            self.report.damage_of(path, position, log, None, "the batch is not the one its entry describes");
        }
        let Some(end) = base.checked_add(header.offsets_count()) else {
            return self.report.damage_of(path, position, log, None, "the batch's offsets make no sense");
        };
        let Some(known) = self.logs.get_mut(&log) else {
            if self.complete && !self.deleted.contains(&log) {
                let what = "a batch of a log that nothing says was made";
                self.report.damage_of(path, position, log, Some(base..end), what);
            }
            return;
        };
        if doubtful {
            return;
        }
        let before = known.end;
        known.end = before.max(end);
        if base > before {
            let what = "records are missing before the batch here";
            self.report.damage_of(path, position, log, Some(before..base), what);
        } else if base < before && end > before {
            let what = "the batch overlaps the one before";
            self.report.damage_of(path, position, log, Some(base..end), what);
        }
    }

    /// Checks a run that the journal means, unless the checkpoint contains it. Beside the last frame it may be torn.
    fn placed(&mut self, path: &Path, header: &FrameHeader, entry: &Entry, bytes: &Bytes, last: Option<u64>) {
        self.report.counts.entries += 1;
        let (log, base, sequence) = (entry.log, entry.offset, header.sequence.get());
        let end = base.saturating_add(u64::from(entry.offsets_count));
        let place = header.position() + entry.bytes.start as u64;
        let Some(run) = PlacedRun::of(bytes, entry) else {
            return self.report.damage_of(path, place, log, None, "the entry of a run makes no sense");
        };
        let Some(known) = self.logs.get_mut(&log) else {
            if self.complete && !self.deleted.contains(&log) {
                let what = "a run of a log that nothing says was made";
                self.report.damage_of(path, place, log, Some(base..end), what);
            }
            return;
        };
        if known.state.truncated_in >= sequence {
            return;
        }
        let contained = end <= known.state.end.min(known.cut);
        let before = known.end;
        known.end = before.max(end);
        if base > before {
            let what = "records are missing before the run here";
            self.report.damage_of(path, place, log, Some(before..base), what);
        }
        // Of what the checkpoint contains, and of a log that was deleted, files may be gone.
        if contained || self.deleted.contains(&log) {
            return;
        }
        let name = SegmentName { base: run.segment_base.get(), generation: run.segment_generation.get() };
        let segment = segment::path(self.directory, log, name);
        let may_be_torn = Some(sequence) == last && run.was_durable.get() == 0;
        let found =
            extent::placed(self.disk, &mut self.report, &segment, (log, name.base), &run, may_be_torn);
        self.report.unless_unreadable(&segment, found);
    }

    /// Whether the journal deleted the log.
    pub(super) fn was_deleted(&self, log: LogId) -> bool {
        self.deleted.contains(&log)
    }
}
