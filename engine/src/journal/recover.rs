//! Reading a journal at start: every frame behind a checkpoint, in order, to the end — and no guess about it.
//!
//! In: the files of one shard's journal. Out: frames to replay, and where the journal ends. Never: writes.
//!
//! **Torn is not rotten.** A frame is written only after the one before is durable. So what follows the last
//! sound frame is a torn write that nobody was told about, and is cut; but if any later frame of this
//! incarnation is sound, the unsound one had been durable, and that is damage: it is reported, never cut. What it held
//! is told by its other copy of the header and by its directory; only if both are gone is the start refused.

use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::set::Found;
use crate::error::{Damage, OpenError};
use crate::format::checkpoint::FileSet;
use crate::format::frame::{self, Entry, FrameError, FrameHeader, HEADER_BYTES};
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
    /// Frames up to this one are known to have been durable.
    pub durable: u64,
}

/// Where a journal ends.
#[derive(Clone, Debug, Default)]
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
    /// What the header of that frame says was durable when it was written; 0: none is left of it.
    pub durable: u64,
    /// Where the next frame goes in the file of the last one; `None`: that has no room, or there is none.
    pub behind: Option<Place>,
    /// Files without a frame that counts: the next frame may be the first of any.
    pub unused: Vec<PathBuf>,
}

/// Where a frame goes.
#[derive(Clone, Debug)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// Of that file.
    pub generation: u32,
    /// In it, in bytes.
    pub position: u64,
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

    /// What is left of the damaged frame at `position`, if the header that is, at its front or its back, is one of
    /// `ours`.
    fn surviving(
        &mut self,
        position: u64,
        ours: impl Fn(&FrameHeader) -> bool,
    ) -> Result<Option<Surviving>, OpenError> {
        let front = FrameHeader::read(&self.at(position, BLOCK_BYTES)?).ok();
        let header = match front.filter(|header| ours(header)) {
            None => self.header_at_back(position, &ours)?,
            front => front,
        };
        let Some(header) = header else { return Ok(None) };
        let bytes = self.at(position, header.length.get() as usize)?;
        let entries = frame::surviving_entries(&bytes, &header);
        Ok(entries.map(|entries| Surviving { header, bytes, entries }))
    }

    /// The copy of the header that ends the frame at `position`.
    fn header_at_back(
        &mut self,
        position: u64,
        ours: &impl Fn(&FrameHeader) -> bool,
    ) -> Result<Option<FrameHeader>, OpenError> {
        let mut block = position;
        while block < self.file_bytes {
            let bytes = self.at(block, BLOCK_BYTES)?;
            block += BLOCK_BYTES as u64;
            let found = bytes.get(BLOCK_BYTES - HEADER_BYTES..).and_then(|back| FrameHeader::read(back).ok());
            let begins_here =
                |header: &FrameHeader| block - position == u64::from(header.length.get()) && ours(header);
            if let Some(header) = found.filter(begins_here) {
                return Ok(Some(header));
            }
        }
        Ok(None)
    }
}

/// A frame that had been durable and is damaged, as far as it is left.
struct Surviving {
    header: FrameHeader,
    bytes: Bytes,
    entries: Vec<Entry>,
}

/// A frame to be replayed.
#[derive(Debug)]
pub struct Replay<'a> {
    /// The file it is in.
    pub path: &'a Path,
    pub header: &'a FrameHeader,
    pub bytes: &'a Bytes,
    pub entries: Vec<Entry>,
    /// It had been durable, but is not sound: any batch in it may not be.
    pub damaged: bool,
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
    visit: impl FnMut(Replay<'_>) -> Result<(), OpenError>,
) -> Result<End, OpenError> {
    let (candidates, suspects) = candidates(disk, directory, from, set)?;
    let generation = candidates.last().map_or(0, |last| last.generation);
    let end = End { sequence: from.sequence, chain: from.chain, generation, ..End::default() };
    let mut scan = Scan { from, candidates, suspects, last_sound: None, end, visit };
    scan.walk()?;
    Ok(scan.end)
}

struct Scan<V> {
    from: From,
    /// By generation.
    candidates: Vec<Candidate>,
    /// Files whose first frame is not one of this incarnation.
    suspects: Vec<Window>,
    /// The first block that the checksum of the last sound frame says nothing of, and in which file.
    last_sound: Option<(usize, u64)>,
    end: End,
    visit: V,
}

impl<V: FnMut(Replay<'_>) -> Result<(), OpenError>> Scan<V> {
    fn walk(&mut self) -> Result<(), OpenError> {
        let next = self.from.sequence + 1;
        let begin = self.candidates.iter().rposition(|file| file.first_sequence <= next);
        let Some(mut index) = begin else {
            let lost_in = self.first_with_later_frame(None, 0, next)?;
            let first = || self.candidates.first().map(|file| &file.window).or(self.suspects.first());
            let lost_in =
                lost_in.or_else(|| first().filter(|_| next <= self.from.durable).map(|of| of.path.clone()));
            self.end.unused = self.paths_beside(0..0);
            return lost_in.map_or(Ok(()), |path| Err(lost(&path, 0, next)));
        };
        let first = index;
        let (mut position, mut expected) = (0, self.candidates[index].first_sequence);
        // A frame that went astray may stand in what it destroyed: from the first damage in a file on, and before that in what
        // fills up the last sound frame.
        let mut damaged = None;
        loop {
            (position, expected) = self.sound_frames(index, position, expected)?;
            let continues = |file: &Candidate| file.first_sequence == expected;
            if self.candidates.get(index + 1).is_some_and(continues) {
                (index, position) = (index + 1, 0);
                continue;
            }
            let here = |place: &(usize, u64)| place.0 == index;
            let doubtful = damaged.filter(here).or(self.last_sound.filter(here));
            let begin = doubtful.map_or(position, |(_, first)| first);
            let behind = self.first_with_later_frame(Some(index), begin, expected.max(self.from.sequence))?;
            let is_torn = behind.is_none() && expected > self.from.durable;
            if is_torn || planted(Bug::RottenTakenForTorn) {
                let file = &mut self.candidates[index];
                let block = file.window.at(position, BLOCK_BYTES)?;
                let header = FrameHeader::read(&block).ok();
                let torn = header.filter(|header| file.is_next(&self.from, header, position, expected));
                self.end.durable = torn.map_or(0, |header| header.durable_upto.get());
                let place = Place { path: file.window.path.clone(), generation: file.generation, position };
                self.end.behind = (position < file.window.file_bytes).then_some(place);
                self.end.unused = self.paths_beside(first..index + 1);
                return Ok(());
            }
            self.end.torn = false;
            let Some(length) = self.damaged_frame(index, position, expected)? else {
                return Err(lost(&self.candidates[index].window.path, position, expected));
            };
            damaged = damaged.filter(here).or(Some((index, begin)));
            (position, expected) = (position + length, expected + 1);
        }
    }

    /// The files but for those candidates.
    fn paths_beside(&self, candidates: Range<usize>) -> Vec<PathBuf> {
        let before = self.candidates.iter().take(candidates.start);
        let after = self.candidates.iter().skip(candidates.end);
        let beside = before.chain(after).map(|file| &file.window).chain(&self.suspects);
        beside.map(|window| window.path.clone()).collect()
    }

    /// Visits the frames of one file from `position` on, where `expected` should be, until one is not the next;
    /// returns its place and sequence.
    fn sound_frames(
        &mut self,
        index: usize,
        mut position: u64,
        mut expected: u64,
    ) -> Result<(u64, u64), OpenError> {
        let Scan { from, candidates, last_sound, end, visit, .. } = self;
        let file = &mut candidates[index];
        while position < file.window.file_bytes {
            let found = file.window.frame(position)?;
            let next = match &found {
                Ok((header, _)) => file.is_next(from, header, position, expected),
                Err(_) => false,
            };
            let Ok((header, bytes)) = found else {
                end.torn |= matches!(found, Err(FrameError::BodyChecksum | FrameError::HeaderChecksum));
                break;
            };
            if !next {
                break;
            }
            if expected > from.sequence {
                let entries = frame::entries(&bytes, &header).map_err(|error| Damage {
                    path: file.window.path.clone(),
                    position,
                    what: error.to_string(),
                })?;
                let path = &file.window.path;
                replay(end, visit, Replay { path, header: &header, bytes: &bytes, entries, damaged: false })?;
            }
            expected += 1;
            let checked_bytes = HEADER_BYTES as u64 + u64::from(header.body_bytes.get());
            *last_sound = Some((index, position + checked_bytes.next_multiple_of(BLOCK_BYTES as u64)));
            position += u64::from(header.length.get());
        }
        Ok((position, expected))
    }

    /// Visits the frame `expected`, which is damaged; returns its length. `None`: too little of it is left.
    fn damaged_frame(
        &mut self,
        index: usize,
        position: u64,
        expected: u64,
    ) -> Result<Option<u64>, OpenError> {
        let Scan { from, candidates, end, visit, .. } = self;
        let Candidate { window, generation, .. } = &mut candidates[index];
        let ours = |header: &FrameHeader| {
            is_ours(header, *from, position)
                && header.generation.get() == *generation
                && header.sequence.get() == expected
        };
        if position >= window.file_bytes {
            return Ok(None);
        }
        let Some(Surviving { header, bytes, entries }) = window.surviving(position, ours)? else {
            return Ok(None);
        };
        if expected > from.sequence {
            let path = &window.path;
            replay(end, visit, Replay { path, header: &header, bytes: &bytes, entries, damaged: true })?;
        }
        Ok(Some(u64::from(header.length.get())))
    }

    /// A file with a sound frame of a sequence above `above`; of the file `at` only what stands at or behind
    /// `position` is looked at.
    fn first_with_later_frame(
        &mut self,
        at: Option<usize>,
        position: u64,
        above: u64,
    ) -> Result<Option<PathBuf>, OpenError> {
        let from = self.from;
        for (index, file) in self.candidates.iter_mut().enumerate() {
            let (begin, generation) =
                if at == Some(index) { (position, Some(file.generation)) } else { (0, None) };
            if later_frame(&mut file.window, from, generation, begin, above)? {
                return Ok(Some(file.window.path.clone()));
            }
        }
        // The write of a file's first frame may have been lost by the device: then an older one is still there.
        for window in &mut self.suspects {
            if later_frame(window, from, None, 0, above)? {
                return Ok(Some(window.path.clone()));
            }
        }
        Ok(None)
    }
}

/// Hands over the next frame.
fn replay(
    end: &mut End,
    visit: &mut impl FnMut(Replay<'_>) -> Result<(), OpenError>,
    frame: Replay<'_>,
) -> Result<(), OpenError> {
    let header = *frame.header;
    if header.previous.get() != end.chain {
        let what = format!("frame {} does not continue the frame before it", header.sequence.get());
        return Err(Damage { path: frame.path.to_path_buf(), position: header.position(), what }.into());
    }
    visit(frame)?;
    end.sequence = header.sequence.get();
    end.chain = header.checksum.get();
    end.bytes += u64::from(header.length.get());
    Ok(())
}

fn lost(path: &Path, position: u64, sequence: u64) -> OpenError {
    let what = format!("frame {sequence} had been made durable, but it is not sound");
    Damage { path: path.to_path_buf(), position, what }.into()
}

/// Files whose first frame is of this incarnation, by generation; and files whose first frame is not, though frames
/// that count may stand behind it.
fn candidates(
    disk: &Disk,
    directory: &Path,
    from: From,
    set: FileSet,
) -> Result<(Vec<Candidate>, Vec<Window>), OpenError> {
    let (mut candidates, mut suspects) = (Vec::new(), Vec::new());
    for path in set.paths(directory) {
        let Found::Filled(mut window) = set.open(disk, &path)? else { continue };
        let first = match window.frame(0)? {
            Ok((header, _)) if header.incarnation.get() > from.incarnation => {
                return Err(too_new(window.path, &header, from.incarnation));
            }
            Ok((header, _)) if is_ours(&header, from, 0) => Some(header),
            // It lies where it does not belong: the frame that did may be told by its back.
            Ok((header, _)) if header.position() != 0 => {
                window.surviving(0, |header| is_ours(header, from, 0))?.map(|found| found.header)
            }
            Ok(_) => None,
            Err(FrameError::Version(version)) => {
                let what = format!("its journal has frame version {version}");
                return Err(OpenError::Incompatible { path: window.path, what });
            }
            Err(_) if window.at(0, BLOCK_BYTES)?.iter().all(|byte| *byte == 0) => None,
            Err(_) => {
                let found = window.surviving(0, |header| is_ours(header, from, 0))?;
                found.map(|found| found.header)
            }
        };
        match first {
            Some(header) => {
                let (generation, first_sequence) = (header.generation.get(), header.sequence.get());
                candidates.push(Candidate { window, generation, first_sequence });
            }
            None => suspects.push(window),
        }
    }
    candidates.sort_by_key(|file| file.generation);
    Ok((candidates, suspects))
}

impl Candidate {
    fn is_next(&self, from: &From, header: &FrameHeader, position: u64, expected: u64) -> bool {
        is_ours(header, *from, position)
            && ((header.generation.get() == self.generation && header.sequence.get() == expected)
                || planted(Bug::StaleGenerationTrusted))
    }
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
        && header.incarnation.get() == from.incarnation
        && header.position() == position
}

/// Whether a sound frame header with a sequence above `above` stands at or behind `position`.
/// Without a generation any will do: sequences alone tell old frames from new ones.
fn later_frame(
    window: &mut Window,
    from: From,
    generation: Option<u32>,
    position: u64,
    above: u64,
) -> Result<bool, OpenError> {
    let mut at = position;
    while at < window.file_bytes {
        let block = window.at(at, BLOCK_BYTES)?;
        if let Ok(header) = FrameHeader::read(&block) {
            // Its place does not matter: a frame that went astray tells as well that the one before was durable.
            let later = is_ours(&header, from, header.position())
                && generation.is_none_or(|generation| generation == header.generation.get())
                && header.sequence.get() > above;
            if later {
                return Ok(true);
            }
        }
        at += BLOCK_BYTES as u64;
    }
    Ok(false)
}
