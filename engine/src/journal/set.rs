//! Which files a journal is made of, so that one that is gone or cut is told from one that never was.
//!
//! In: what a checkpoint says. Out: the files, each whole or never used, or the damage found. Never: takes a file
//! for new because it is short.
//!
//! All files of a set are there from the start on: the first is filled with zeros, each other one holds a single
//! block of zeros until it is needed and a filled one takes its name. So a file is as long as the set says, or
//! shorter and begins with zeros; and it is never empty.

use std::path::{Path, PathBuf};

use super::file_name;
use super::recover::Window;
use crate::error::{Damage, OpenError};
use crate::format::checkpoint::FileSet;
use crate::format::frame::FrameHeader;
use crate::io::Open;
use crate::io::disk::{self, Disk};
use crate::limits::{BLOCK_BYTES, SECTOR_BYTES};

/// What a file of a set is found to be.
pub enum Found {
    /// Filled: frames may be in it.
    Filled(Window),
    /// Not filled yet, so nothing is in it.
    Unused,
}

impl FileSet {
    /// The files, in `directory`.
    pub fn paths(&self, directory: &Path) -> impl Iterator<Item = PathBuf> {
        (self.first..self.first + self.count).map(|number| directory.join(file_name(number)))
    }

    /// Opens one of them.
    pub(crate) fn open(&self, disk: &Disk, path: &Path) -> Result<Found, OpenError> {
        let damaged = |what: String| Damage { path: path.to_path_buf(), position: 0, what };
        if !disk.exists(path) {
            return Err(damaged("the journal file is gone".to_string()).into());
        }
        let file = disk.open(path, Open::Read)?;
        let length = disk::length(path, &file)?;
        if length == self.file_bytes {
            return Ok(Found::Filled(Window::open(disk, path)?));
        }
        let whole = length as usize / BLOCK_BYTES * BLOCK_BYTES;
        let block = disk::read(path, &file, 0, BLOCK_BYTES)?;
        // A frame begins with its header and ends with a copy of it, so rot in one place of the zeros looks like none.
        let sectors =
            block.chunks(SECTOR_BYTES).filter(|sector| sector.iter().any(|byte| *byte != 0)).count();
        let rotten = sectors == 1 && whole == BLOCK_BYTES && FrameHeader::read(&block).is_err();
        let unused = length < self.file_bytes && whole > 0 && (sectors == 0 || rotten);
        if unused {
            return Ok(Found::Unused);
        }
        let expected = self.file_bytes;
        Err(damaged(format!("the journal file has {length} bytes, but was made with {expected}: it was cut"))
            .into())
    }
}
