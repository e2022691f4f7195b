//! What a verification found, as values.
//!
//! In: findings and counts, as the walk meets them. Out: a [`Report`]. Never: decides what damage is.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::error::OpenError;
use crate::types::{LogId, Offset};

/// One thing a person should know, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file or directory.
    pub path: PathBuf,
    /// Place in the file, in bytes.
    pub position: u64,
    /// The log it belongs to; `None`: it is part of no log.
    pub log: Option<LogId>,
    /// The records it concerns, as far as they can be told.
    pub offsets: Option<Range<Offset>>,
    /// What was found, in words.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {}", self.path.display(), self.position, self.what)?;
        match (self.log, &self.offsets) {
            (Some(log), Some(offsets)) => {
                write!(f, " ({log:?}, offsets {} to {})", offsets.start, offsets.end)
            }
            (Some(log), None) => write!(f, " ({log:?})"),
            _ => Ok(()),
        }
    }
}

/// How much was checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Copies of the superblock that are sound.
    pub superblocks: u64,
    /// Checkpoints that are sound.
    pub checkpoints: u64,
    /// Logs that checkpoints and journals name.
    pub logs: u64,
    /// Files of the journals.
    pub journal_files: u64,
    /// Frames behind the checkpoints.
    pub frames: u64,
    /// Entries of those frames.
    pub entries: u64,
    /// Batches in those frames.
    pub frame_batches: u64,
    /// Segments that count.
    pub segments: u64,
    /// Runs read in them.
    pub runs: u64,
    /// Batches in those runs.
    pub run_batches: u64,
    /// Bytes of frames, segments and checkpoints.
    pub bytes: u64,
}

/// Everything a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Which directory.
    pub directory: PathBuf,
    /// Which start of the directory counts, from 1: by its superblock, or by its checkpoints where that is damaged.
    pub incarnation: u32,
    /// Shards of that start.
    pub shards: u16,
    /// How much was checked.
    pub counts: Counts,
    /// Damage: bytes that are not what was written there, or files that are missing.
    pub findings: Vec<Finding>,
    /// What is no damage but worth knowing: an unfinished write, files that belong to nothing.
    pub notes: Vec<Finding>,
}

impl Report {
    /// Whether there is no damage.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    /// Adds damage that concerns no log.
    pub(super) fn damage(&mut self, path: &Path, position: u64, what: impl Into<String>) {
        self.findings.push(finding(path, position, None, None, what));
    }

    /// Adds damage to a log.
    pub(super) fn damage_of(
        &mut self,
        path: &Path,
        position: u64,
        log: LogId,
        offsets: Option<Range<Offset>>,
        what: impl Into<String>,
    ) {
        self.findings.push(finding(path, position, Some(log), offsets, what));
    }

    /// Adds what is no damage.
    pub(super) fn note(&mut self, path: &Path, position: u64, what: impl Into<String>) {
        self.notes.push(finding(path, position, None, None, what));
    }

    /// Turns a file that cannot be read into damage, so that the walk goes on with the next.
    pub(super) fn unless_unreadable<T>(&mut self, path: &Path, result: Result<T, OpenError>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(OpenError::Io(fault)) => {
                self.damage(&fault.path, fault.position.unwrap_or(0), fault.to_string());
                None
            }
            Err(OpenError::Damaged(damage)) => {
                self.damage(&damage.path, damage.position, damage.what);
                None
            }
            Err(error) => {
                self.damage(path, 0, error.to_string());
                None
            }
        }
    }
}

fn finding(
    path: &Path,
    position: u64,
    log: Option<LogId>,
    offsets: Option<Range<Offset>>,
    what: impl Into<String>,
) -> Finding {
    Finding { path: path.to_path_buf(), position, log, offsets, what: what.into() }
}
