//! Reading a journal at start: every frame behind a checkpoint, in order, to the end — and no guess about it.
//!
//! In: the files of one shard's journal. Out: frames to replay, and where the journal ends. Never: writes.
//!
//! **Torn is not rotten.** A frame is written only after the one before is durable. So what follows the last
//! sound frame is a torn write that nobody was told about, and is cut; but if any later frame of this
//! incarnation is sound, the unsound one had been durable, and that is damage: it is reported, never cut.

use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::set::Found;
use crate::error::{Damage, OpenError};
use crate::format::checkpoint::FileSet;
use crate::format::frame::{self, FrameError, FrameHeader};
use crate::io::disk::{self, Disk};
use crate::io::{Descriptor, Open};
use crate::limits::BLOCK_BYTES;
use crate::planted::{Bug, planted};

/// Bytes read at a time.
const WINDOW_BYTES: usize = 1 << 20;

/// Where a scan begins and whose frames it accepts.
#[derive(Clone, Copy, Debug)]
pub struct From {
    pub shard: u16,
    pub incarnation: u32,
    /// Frames up to this one are not needed.
    pub sequence: u64,
    /// Checksum field of that frame.
    pub chain: u32,
}

/// Where a journal ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The last sound frame.
    pub sequence: u64,
    pub chain: u32,
    /// Highest generation of any file.
    pub generation: u32,
    /// Bytes of sound frames behind the checkpoint.
    pub bytes: u64,
    /// Whether a torn frame was cut.
    pub torn: bool,
}

/// Reads one file front to back.
#[derive(Debug)]
pub struct Window {
    pub(crate) path: PathBuf,
    file: Descriptor,
    pub(crate) file_bytes: u64,
    start: u64,
    bytes: Bytes,
}

impl Window {
    pub(crate) fn open(disk: &Disk, path: &Path) -> Result<Window, OpenError> {
        let file = disk.open(path, Open::Read)?;
        let file_bytes = disk::length(path, &file)?;
        Ok(Window { path: path.to_path_buf(), file, file_bytes, start: 0, bytes: Bytes::new() })
    }

    /// Up to `length` bytes at `position`; fewer only at the end of the file.
    pub(crate) fn at(&mut self, position: u64, length: usize) -> Result<Bytes, OpenError> {
        let length = (self.file_bytes.saturating_sub(position)).min(length as u64) as usize;
        let inside =
            position >= self.start && position + length as u64 <= self.start + self.bytes.len() as u64;
        if !inside {
            let rest = self.file_bytes.saturating_sub(position).min(WINDOW_BYTES as u64) as usize;
            let wanted = length.max(rest).next_multiple_of(BLOCK_BYTES);
            self.bytes = disk::read(&self.path, &self.file, position, wanted)?.freeze();
            self.start = position;
        }
        let from = (position - self.start) as usize;
        Ok(self.bytes.slice(from..self.bytes.len().min(from + length)))
    }

    /// The sound frame at `position`, or why there is none.
    pub(crate) fn frame(
        &mut self,
        position: u64,
    ) -> Result<Result<(FrameHeader, Bytes), FrameError>, OpenError> {
        let block = self.at(position, BLOCK_BYTES)?;
        let header = match FrameHeader::read(&block) {
            Ok(header) => header,
            Err(error) => return Ok(Err(error)),
        };
        let bytes = self.at(position, header.length.get() as usize)?;
        Ok(frame::check(&bytes).map(|header| (header, bytes)))
    }
}

/// A file and what its first frame says.
struct Candidate {
    window: Window,
    generation: u32,
    first_sequence: u64,
}

/// Visits every frame behind `from` in the files of `set`, in order, and finds where the journal ends.
pub fn scan(
    disk: &Disk,
    directory: &Path,
    from: From,
    set: FileSet,
    mut visit: impl FnMut(&FrameHeader, &Bytes) -> Result<(), OpenError>,
) -> Result<End, OpenError> {
    let (mut candidates, mut suspects) = candidates(disk, directory, from, set)?;
    let end = walk(&mut candidates, from, &mut visit)?;
    // The write of a file's first frame may have been lost by the device: then an older one is still there.
    let passed = candidates.iter_mut().map(|candidate| &mut candidate.window);
    for window in suspects.iter_mut().chain(passed) {
        if !planted(Bug::RottenTakenForTorn) && later_frame(window, from, None, 0, end.sequence)? {
            return Err(lost(&window.path, 0, end.sequence + 1));
        }
    }
    Ok(end)
}

fn walk(
    candidates: &mut [Candidate],
    from: From,
    visit: &mut impl FnMut(&FrameHeader, &Bytes) -> Result<(), OpenError>,
) -> Result<End, OpenError> {
    let generation = candidates.last().map_or(0, |last| last.generation);
    let mut end = End { sequence: from.sequence, chain: from.chain, generation, bytes: 0, torn: false };
    let begin = candidates.iter().rposition(|file| file.first_sequence <= from.sequence + 1);
    let Some(begin) = begin else {
        if let Some(later) = candidates.first() {
            return Err(lost(&later.window.path, 0, from.sequence + 1));
        }
        return Ok(end);
    };
    let mut index = begin;
    loop {
        let position = scan_file(&mut candidates[index], from, &mut end, visit)?;
        let next = candidates.get(index + 1);
        if next.is_some_and(|next| next.first_sequence == end.sequence + 1) {
            index += 1;
            continue;
        }
        let is_lost = next.is_some();
        if planted(Bug::RottenTakenForTorn) {
            return Ok(end);
        }
        let Candidate { window, generation, .. } = &mut candidates[index];
        if is_lost || later_frame(window, from, Some(*generation), position, end.sequence)? {
            return Err(lost(&window.path, position, end.sequence + 1));
        }
        return Ok(end);
    }
}

fn lost(path: &Path, position: u64, sequence: u64) -> OpenError {
    let what = format!("frame {sequence} had been made durable, but it is not sound; a later frame is");
    Damage { path: path.to_path_buf(), position, what }.into()
}

/// Files whose first frame is sound and of this incarnation, by generation; and files whose first frame is not, though
/// frames that count may stand behind it.
fn candidates(
    disk: &Disk,
    directory: &Path,
    from: From,
    set: FileSet,
) -> Result<(Vec<Candidate>, Vec<Window>), OpenError> {
    let (mut candidates, mut suspects) = (Vec::new(), Vec::new());
    for path in set.paths(directory) {
        let Found::Filled(mut window) = set.open(disk, &path)? else { continue };
        match window.frame(0)? {
            Ok((header, _)) if is_ours(&header, from, 0) => {
                let (generation, first_sequence) = (header.generation.get(), header.sequence.get());
                candidates.push(Candidate { window, generation, first_sequence });
            }
            Ok((header, _)) if header.incarnation.get() > from.incarnation => {
                return Err(too_new(window.path, &header, from.incarnation));
            }
            Err(FrameError::Version(version)) => {
                let what = format!("its journal has frame version {version}");
                return Err(OpenError::Incompatible { path: window.path, what });
            }
            _ => suspects.push(window),
        }
    }
    candidates.sort_by_key(|file| file.generation);
    Ok((candidates, suspects))
}

/// The superblock is durable before anything is written under its incarnation.
fn too_new(path: PathBuf, header: &FrameHeader, incarnation: u32) -> OpenError {
    let what = format!(
        "start {} of the directory wrote it, but the superblock knows of {incarnation} only: its newer copy is damaged",
        header.incarnation.get()
    );
    Damage { path, position: 0, what }.into()
}

/// Refuses a journal that no shard of `incarnation` has, if a later incarnation wrote to it.
pub fn check_unused(disk: &Disk, directory: &Path, incarnation: u32) -> Result<(), OpenError> {
    for name in disk.list(directory)? {
        let mut window = Window::open(disk, &directory.join(&name))?;
        match window.frame(0)? {
            Ok((header, _)) if header.incarnation.get() > incarnation => {
                return Err(too_new(window.path, &header, incarnation));
            }
            _ => {}
        }
    }
    Ok(())
}

fn is_ours(header: &FrameHeader, from: From, position: u64) -> bool {
    header.shard.get() == from.shard
        && (header.incarnation.get() == from.incarnation || planted(Bug::StaleIncarnationTrusted))
        && header.position.get() == position
}

/// Visits the frames of one file until one is not the next; returns its place.
fn scan_file(
    file: &mut Candidate,
    from: From,
    end: &mut End,
    visit: &mut impl FnMut(&FrameHeader, &Bytes) -> Result<(), OpenError>,
) -> Result<u64, OpenError> {
    let mut position = 0;
    let mut expected = file.first_sequence;
    // The first frame of a file continues the last of the file before.
    let mut chain = (expected == end.sequence + 1).then_some(end.chain);
    while position < file.window.file_bytes {
        let found = file.window.frame(position)?;
        let next = match &found {
            Ok((header, _)) => {
                is_ours(header, from, position)
                    && header.generation.get() == file.generation
                    && header.sequence.get() == expected
            }
            Err(_) => false,
        };
        let Ok((header, bytes)) = found else {
            end.torn |= matches!(found, Err(FrameError::BodyChecksum | FrameError::HeaderChecksum));
            break;
        };
        if !next {
            break;
        }
        let behind = if expected == from.sequence + 1 { Some(end.chain) } else { chain };
        if behind.is_some_and(|chain| chain != header.previous.get()) {
            let what = format!("frame {expected} does not continue the frame before it");
            return Err(Damage { path: file.window.path.clone(), position, what }.into());
        }
        if expected > from.sequence {
            visit(&header, &bytes)?;
            end.sequence = expected;
            end.chain = header.checksum.get();
            end.bytes += u64::from(header.length.get());
        }
        chain = Some(header.checksum.get());
        expected += 1;
        position += u64::from(header.length.get());
    }
    Ok(position)
}

/// Whether a sound frame header with a sequence above the one behind `sequence` stands at or behind `position`.
/// Without a generation any will do: sequences alone tell old frames from new ones.
fn later_frame(
    window: &mut Window,
    from: From,
    generation: Option<u32>,
    position: u64,
    sequence: u64,
) -> Result<bool, OpenError> {
    let mut at = position;
    while at < window.file_bytes {
        let block = window.at(at, BLOCK_BYTES)?;
        if let Ok(header) = FrameHeader::read(&block) {
            // Its place does not matter: a frame that went astray tells as well that the one before was durable.
            let later = is_ours(&header, from, header.position.get())
                && generation.is_none_or(|generation| generation == header.generation.get())
                && header.sequence.get() > sequence + 1;
            if later {
                return Ok(true);
            }
        }
        at += BLOCK_BYTES as u64;
    }
    Ok(false)
}
