//! The journal's files: pre-written, used in turn, used again once nothing in them is needed.
//!
//! In: how far the frames in them are no longer needed. Out: the place of the next frame, and operations that
//! prepare another file in the background. Never: grows a file while it is written to.
//!
//! ```text
//!   spare ──rotate──> live, current ──rotate──> live, full ──release──> spare
//!     ^
//!   making (zeros, sync) — only while there are fewer than JOURNAL_FILES_MAX
//! ```

use std::collections::VecDeque;
use std::path::PathBuf;

use bytes::Bytes;

use crate::io::{Descriptor, Done, Fault, Op, Open, buffer};
use crate::limits::JOURNAL_FILES_MAX;

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
    /// Number in the name of the next file to be made.
    next_name: u32,
    making: Option<Making>,
}

/// A file being filled with zeros.
#[derive(Debug)]
struct Making {
    path: PathBuf,
    file: Option<Descriptor>,
    zeros: Bytes,
    position: u64,
    synced: bool,
}

const ZEROS_BYTES: usize = 1 << 20;

impl Files {
    /// `spare` holds at least one file; the first becomes the current one.
    pub fn new(
        directory: PathBuf,
        file_bytes: u64,
        mut spare: Vec<JournalFile>,
        generation: u32,
        next_name: u32,
    ) -> Files {
        assert!(!spare.is_empty());
        let live = VecDeque::from([spare.remove(0)]);
        Files { directory, file_bytes, live, spare, position: 0, generation, next_name, making: None }
    }

    /// File, position and generation for a frame of `length` bytes; `None` while every file is full.
    pub fn place(&mut self, length: u64, sequence: u64) -> Option<(Descriptor, u64, u32)> {
        assert!(length <= self.file_bytes, "a frame fits a file");
        if self.position + length > self.file_bytes {
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

    /// Files live, and files in all.
    pub fn counts(&self) -> (usize, usize) {
        (self.live.len(), self.live.len() + self.spare.len())
    }

    /// The operation that begins to prepare another file, if one is needed: the current file is half full and
    /// there is nothing to go on with.
    pub fn prepare(&mut self) -> Option<Op> {
        let needed = self.spare.is_empty()
            && self.making.is_none()
            && self.live.len() < JOURNAL_FILES_MAX
            && self.position * 2 > self.file_bytes;
        if !needed {
            return None;
        }
        let path = self.directory.join(file_name(self.next_name));
        self.next_name += 1;
        let zeros_bytes = self.file_bytes.min(ZEROS_BYTES as u64) as usize;
        let mut zeros = buffer::aligned(zeros_bytes);
        zeros.resize(zeros_bytes, 0);
        let zeros = zeros.freeze();
        self.making = Some(Making { path: path.clone(), file: None, zeros, position: 0, synced: false });
        Some(Op::Open { path, how: Open::Replace })
    }

    /// Goes on preparing after one step of it is done.
    pub fn prepared(&mut self, result: Result<Done, Fault>) -> Result<Option<Op>, (PathBuf, Fault)> {
        let Some(making) = &mut self.making else { return Ok(None) };
        match result.map_err(|fault| (making.path.clone(), fault))? {
            Done::Opened(file) if making.file.is_none() => making.file = Some(file),
            Done::Opened(directory) => return Ok(Some(Op::Sync { file: directory })),
            Done::Synced if making.synced => {
                if let Some(Making { path, file: Some(file), .. }) = self.making.take() {
                    self.spare.push(JournalFile { path, file, last_sequence: 0, last_chain: 0 });
                }
                return Ok(None);
            }
            Done::Synced => {
                making.synced = true;
                return Ok(Some(Op::Open { path: self.directory.clone(), how: Open::Directory }));
            }
            _ => {}
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

/// Name of the `number`-th file of a shard's journal.
pub fn file_name(number: u32) -> String {
    format!("{number:06}.journal")
}
