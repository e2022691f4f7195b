//! The journal's files: pre-written, used in turn, used again once nothing in them is needed.
//!
//! In: how far the frames in them are no longer needed. Out: the place of the next frame, and operations that
//! prepare another file in the background. Never: grows a file while it is written to.
//!
//! ```text
//!   spare ──rotate──> live, current ──rotate──> live, full ──release──> spare
//!     ^
//!   filling (zeros, sync, rename) <──room for all of it── looking <── unused, as the set was made
//!      └──no room──> withdrawing ──removed──> unused  <──no room──┘
//! ```

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::format::checkpoint::FileSet;
use crate::io::{Descriptor, Done, Fault, Op, Open, buffer};

/// One pre-written file.
#[derive(Debug)]
pub struct JournalFile {
    pub path: PathBuf,
    pub file: Descriptor,
    /// Highest sequence in it, while it is live, and that frame's checksum field.
    pub last_sequence: u64,
    pub last_chain: u32,
}

/// All files of one shard's journal.
#[derive(Debug)]
pub struct Files {
    directory: PathBuf,
    file_bytes: u64,
    /// Oldest first; the last is written to.
    live: VecDeque<JournalFile>,
    spare: Vec<JournalFile>,
    /// Where the next frame goes in the current file.
    position: u64,
    /// Of the current file; rises at each rotation.
    generation: u32,
    /// A frame found no place.
    is_stuck: bool,
    /// Files of the set that are to be filled before they are used.
    unused: VecDeque<PathBuf>,
    set: FileSet,
    making: Option<Making>,
}

/// A file being filled with zeros.
#[derive(Debug)]
struct Making {
    path: PathBuf,
    file: Option<Descriptor>,
    zeros: Bytes,
    position: u64,
    phase: Phase,
}

/// How far it is: there is room for all of it, its zeros are written and synced, it gets its name, the name is synced.
/// Without room for it, what was written is removed again, and it is begun anew later.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// So that trying in vain does not take what room there is from others.
    Looking,
    Filling,
    Renaming,
    Naming,
    Withdrawing,
}

const ZEROS_BYTES: usize = 1 << 20;

impl Files {
    /// The files of `set`: `spare` holds at least one, and the first becomes the current one.
    pub fn new(
        directory: PathBuf,
        set: FileSet,
        mut spare: Vec<JournalFile>,
        unused: VecDeque<PathBuf>,
        generation: u32,
    ) -> Files {
        assert!(!spare.is_empty());
        let live = VecDeque::from([spare.remove(0)]);
        let file_bytes = set.file_bytes;
        let (position, is_stuck, making) = (0, false, None);
        Files { directory, file_bytes, live, spare, position, generation, is_stuck, unused, set, making }
    }

    /// Which files there are.
    pub fn set(&self) -> FileSet {
        self.set
    }

    /// File, position and generation for a frame of `length` bytes; `None` while every file is full.
    pub fn place(&mut self, length: u64, sequence: u64) -> Option<(Descriptor, u64, u32)> {
        assert!(length <= self.file_bytes, "a frame fits a file");
        if self.position + length > self.file_bytes {
            self.is_stuck = self.spare.is_empty();
            let next = self.spare.pop()?;
            self.live.push_back(next);
            self.position = 0;
            self.generation += 1;
        }
        let position = self.position;
        self.position += length;
        let current = self.live.back_mut()?;
        current.last_sequence = sequence;
        Some((current.file.clone(), position, self.generation))
    }

    /// The checksum field of the frame just placed.
    pub fn placed(&mut self, chain: u32) {
        if let Some(current) = self.live.back_mut() {
            current.last_chain = chain;
        }
    }

    /// Path of the file being written, for messages.
    pub fn current_path(&self) -> PathBuf {
        self.live.back().map(|file| file.path.clone()).unwrap_or_default()
    }

    /// Highest sequence in the full files, and its chain: a checkpoint up to it makes them spare. `None`: no
    /// file is full.
    pub fn full_upto(&self) -> Option<(u64, u32)> {
        let newest_full = self.live.get(self.live.len().checked_sub(2)?)?;
        Some((newest_full.last_sequence, newest_full.last_chain))
    }

    /// No frame up to `sequence` is needed any more.
    pub fn release(&mut self, sequence: u64) {
        while self.live.len() > 1 && self.live[0].last_sequence <= sequence {
            if let Some(file) = self.live.pop_front() {
                self.spare.push(file);
            }
        }
    }

    /// Whether full files are to be released, so that one of them is the next: the current one is half full, or a frame found
    /// no place.
    pub fn wants_release(&self) -> bool {
        self.is_stuck || self.position > self.file_bytes / 2
    }

    /// Whether a file is to be made because there is nothing to go on with. Later than full ones are to be released, which is
    /// how there mostly is.
    pub fn needs_another(&self) -> bool {
        let any = self.making.is_some() || !self.unused.is_empty();
        let from = if self.live.len() > 1 { self.file_bytes / 4 * 3 } else { self.file_bytes / 2 };
        any && self.spare.is_empty() && (self.is_stuck || self.position > from)
    }

    /// Bytes of the files that hold frames still needed, and of those that wait to be written again.
    pub fn retained(&self) -> (u64, u64) {
        (self.live.len() as u64 * self.file_bytes, self.spare.len() as u64 * self.file_bytes)
    }

    /// Bytes that frames can still take before a file must be released or prepared, and bytes of all live and spare
    /// files.
    pub fn room(&self) -> (u64, u64) {
        let spare = self.spare.len() as u64 * self.file_bytes;
        (self.file_bytes - self.position + spare, self.live.len() as u64 * self.file_bytes + spare)
    }

    /// The operation that begins to prepare another file, if one is needed.
    pub fn prepare(&mut self) -> Option<Op> {
        if self.making.is_some() || !self.needs_another() {
            return None;
        }
        let path = self.unused.pop_front()?;
        let zeros_bytes = self.file_bytes.min(ZEROS_BYTES as u64) as usize;
        let mut zeros = buffer::aligned(zeros_bytes);
        zeros.resize(zeros_bytes, 0);
        let zeros = zeros.freeze();
        self.making = Some(Making { path, file: None, zeros, position: 0, phase: Phase::Looking });
        Some(Op::FreeSpace { path: self.directory.clone() })
    }

    /// Whether the step that is done found no room.
    pub fn found_none(&self, result: &Result<Done, Fault>) -> bool {
        match result {
            Ok(Done::FreeSpace(bytes)) => *bytes < self.file_bytes,
            Ok(_) => false,
            Err(fault) => fault.is_no_space(),
        }
    }

    /// Goes on preparing after one step of it is done.
    pub fn prepared(&mut self, result: Result<Done, Fault>) -> Result<Option<Op>, (PathBuf, Fault)> {
        let found_none = self.found_none(&result);
        let Some(making) = &mut self.making else { return Ok(None) };
        match (making.phase, &result) {
            (Phase::Looking, _) if found_none => {
                self.unused.extend(self.making.take().map(|making| making.path));
                return Ok(None);
            }
            // A file system that does not say has enough.
            (Phase::Looking, _) => {
                making.phase = Phase::Filling;
                return Ok(Some(Op::Open { path: unfinished(&making.path), how: Open::Replace }));
            }
            (Phase::Filling | Phase::Renaming, Err(fault)) if fault.is_no_space() => {
                making.phase = Phase::Withdrawing;
                making.file = None;
                return Ok(Some(Op::Remove { path: unfinished(&making.path) }));
            }
            (Phase::Withdrawing, _) => {
                self.unused.extend(self.making.take().map(|making| making.path));
                return Ok(None);
            }
            _ => {}
        }
        let done = result.map_err(|fault| (making.path.clone(), fault))?;
        match (making.phase, done) {
            (Phase::Filling, Done::Opened(file)) => making.file = Some(file),
            (Phase::Filling, Done::Synced) => {
                making.phase = Phase::Renaming;
                let (from, to) = (unfinished(&making.path), making.path.clone());
                return Ok(Some(Op::Rename { from, to }));
            }
            (Phase::Renaming, _) => {
                making.phase = Phase::Naming;
                return Ok(Some(Op::Open { path: self.directory.clone(), how: Open::Directory }));
            }
            (Phase::Naming, Done::Opened(directory)) => return Ok(Some(Op::Sync { file: directory })),
            (Phase::Naming, _) => {
                if let Some(Making { path, file: Some(file), .. }) = self.making.take() {
                    self.spare.push(JournalFile { path, file, last_sequence: 0, last_chain: 0 });
                }
                return Ok(None);
            }
            (Phase::Looking | Phase::Filling | Phase::Withdrawing, _) => {}
        }
        let Some(file) = making.file.clone() else { return Ok(None) };
        if making.position == self.file_bytes {
            return Ok(Some(Op::Sync { file }));
        }
        let step = (self.file_bytes - making.position).min(ZEROS_BYTES as u64);
        let position = making.position;
        making.position += step;
        Ok(Some(Op::Write { file, position, data: making.zeros.slice(..step as usize), durable: false }))
    }
}

/// Where a journal file is until it is filled with zeros, durably: a file that has its name can be used.
fn unfinished(path: &Path) -> PathBuf {
    path.with_extension("new")
}

/// Name of the `number`-th file of a shard's journal.
pub fn file_name(number: u32) -> String {
    format!("{number:06}.journal")
}
