//! Reading a whole data directory that nobody uses, and judging every byte of it that counts.
//!
//! In: a directory. Out: a [`Report`] of everything that is not as it was written. Never: changes anything, or
//! stops at the first damage. What recovery would cut or take back is a note; what it would refuse, or what a
//! reader would be refused, is a finding.
//!
//! ```text
//!   superblock ─> checkpoints of its incarnation ─> journal frames behind them ─> segments ─> files left over
//! ```

mod extent;
mod journal;
mod report;
mod segments;
mod strays;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;

pub use report::{Counts, Finding, Report};

use crate::error::{IoFault, OpenError};
use crate::format::checkpoint::{Checkpoint, LogState};
use crate::format::superblock::Superblock;
use crate::io::Open;
use crate::io::disk::{self, Disk};
use crate::limits::BLOCK_BYTES;
use crate::shard::checkpoint::file_name;
use crate::types::{LogId, Offset};

/// What the checkpoints and the journals say of one log.
#[derive(Debug)]
struct Known {
    state: LogState,
    /// First offset that may be read.
    start: Offset,
    /// One more than the last offset, as far as the journal was walked.
    end: Offset,
    /// The lowest end that a truncation behind the checkpoint gave it: segments need not hold more.
    cut: Offset,
}

/// A walk over one directory.
struct Walk<'a> {
    disk: &'a Disk,
    directory: &'a Path,
    report: Report,
    logs: BTreeMap<LogId, Known>,
    /// Logs that the journal deletes; what is left of their files is no damage.
    deleted: Vec<LogId>,
    /// Whether every checkpoint could be read, so that what no log claims belongs to nothing.
    complete: bool,
}

/// Checks everything in `directory`, which no process may have open. `Err`: it is in use, is no data directory,
/// or was written by a version this code does not know. Nothing is changed.
pub fn verify(directory: &Path) -> Result<Report, OpenError> {
    verify_on(&Disk::Machine, directory)
}

/// [`verify`] for a directory on any disk.
pub fn verify_on(disk: &Disk, directory: &Path) -> Result<Report, OpenError> {
    let _lock = disk.lock_to_read(directory)?;
    let report = Report { directory: directory.to_path_buf(), ..Report::default() };
    let mut walk =
        Walk { disk, directory, report, logs: BTreeMap::new(), deleted: Vec::new(), complete: true };
    walk.superblock()?;
    let checkpoints = walk.checkpoints();
    for (shard, checkpoint) in (0..walk.report.shards).zip(&checkpoints) {
        walk.journal(shard, checkpoint.as_ref())?;
    }
    walk.report.counts.logs = walk.logs.len() as u64;
    walk.segments()?;
    walk.strays()?;
    Ok(walk.report)
}

impl Walk<'_> {
    /// Checks both copies; without a sound one the names of the checkpoints tell the incarnation.
    fn superblock(&mut self) -> Result<(), OpenError> {
        let path = self.directory.join("superblock");
        if !self.disk.exists(&path) {
            self.missing_superblock(&path)?;
            return self.guess();
        }
        let read =
            self.disk.open(&path, Open::Read).and_then(|file| disk::read(&path, &file, 0, 2 * BLOCK_BYTES));
        let Some(bytes) = self.report.unless_unreadable(&path, read.map_err(OpenError::from)) else {
            return self.guess();
        };
        let Some(newest) = Superblock::newest(&bytes) else {
            self.report.damage(&path, 0, "neither copy of the superblock is sound");
            return self.guess();
        };
        newest.supported().map_err(|what| OpenError::Incompatible { path: path.clone(), what })?;
        for slot in 0..2 {
            self.superblock_copy(&path, &bytes, slot, newest.writes.get());
        }
        self.report.incarnation = newest.incarnation.get();
        self.report.shards = newest.shards.get();
        // The copy that is damaged may be the newer one; then only the checkpoints tell what counts.
        if self.report.is_clean() { Ok(()) } else { self.guess() }
    }

    fn superblock_copy(&mut self, path: &Path, bytes: &[u8], slot: usize, newest: u64) {
        let at = slot * BLOCK_BYTES;
        let position = at as u64;
        let block = bytes.get(at..).and_then(|rest| rest.get(..BLOCK_BYTES)).unwrap_or_default();
        match Superblock::read(block) {
            Some(copy) => {
                self.report.counts.superblocks += 1;
                if copy.writes.get() % 2 != slot as u64 {
                    self.report.damage(
                        path,
                        position,
                        "this copy of the superblock lies in the other's place",
                    );
                }
                if let Some(at) = first_byte(block.get(size_of::<Superblock>()..)) {
                    let position = position + (size_of::<Superblock>() + at) as u64;
                    self.report.damage(path, position, "the padding of the superblock is not zero");
                }
            }
            // Before the second start there is one copy only.
            None if newest == 1 && first_byte(Some(block)).is_none() && !block.is_empty() => {}
            None => self.report.damage(
                path,
                position,
                "this copy of the superblock does not match its checksum; the other one is sound",
            ),
        }
    }

    fn missing_superblock(&mut self, path: &Path) -> Result<(), OpenError> {
        for name in ["journal", "log", "state"] {
            if !self.disk.list(&self.directory.join(name))?.is_empty() {
                let what = format!("there is no superblock, but {name}/ is not empty");
                self.report.damage(path, 0, what);
                return Ok(());
            }
        }
        let source = std::io::Error::from(std::io::ErrorKind::NotFound);
        Err(IoFault { doing: "open", path: path.to_path_buf(), position: None, source }.into())
    }

    /// Takes incarnation and shards from the names of the checkpoints.
    fn guess(&mut self) -> Result<(), OpenError> {
        let names = self.disk.list(&self.directory.join("state"))?;
        let pairs = names.iter().filter_map(|name| {
            let (incarnation, shard) = name.strip_suffix(".checkpoint")?.split_once('-')?;
            Some((incarnation.parse::<u32>().ok()?, shard.parse::<u16>().ok()?))
        });
        match pairs.max() {
            Some((incarnation, shard)) if incarnation > self.report.incarnation => {
                self.report.incarnation = incarnation;
                self.report.shards = shard.saturating_add(1);
            }
            Some(_) => {}
            None => self.complete = false,
        }
        Ok(())
    }

    fn checkpoints(&mut self) -> Vec<Option<Checkpoint>> {
        (0..self.report.shards).map(|shard| self.checkpoint(shard)).collect()
    }

    fn checkpoint(&mut self, shard: u16) -> Option<Checkpoint> {
        let incarnation = self.report.incarnation;
        let path = self.directory.join("state").join(file_name(incarnation, shard));
        let read = || {
            let file = self.disk.open(&path, Open::Read)?;
            let length = disk::length(&path, &file)? as usize;
            Ok(disk::read(&path, &file, 0, length.next_multiple_of(BLOCK_BYTES))?)
        };
        let bytes = self.report.unless_unreadable(&path, read());
        let sound = bytes.as_ref().and_then(|bytes| Checkpoint::from_bytes(bytes));
        let ours = sound.filter(|found| found.incarnation == incarnation && found.shard == shard);
        let (Some(checkpoint), Some(bytes)) = (ours, bytes.as_ref()) else {
            self.complete = false;
            if bytes.is_some() {
                self.report.damage(&path, 0, "the checkpoint is not sound");
            }
            return None;
        };
        self.report.counts.checkpoints += 1;
        self.report.counts.bytes += bytes.len() as u64;
        if let Some(at) = checkpoint.first_damage(bytes) {
            let what = "the checkpoint is not as it was written; a copy of it is sound";
            self.report.damage(&path, at as u64, what);
        }
        for state in &checkpoint.logs {
            let known = Known { state: state.clone(), start: state.start, end: state.end, cut: Offset::MAX };
            if self.logs.insert(state.id, known).is_some() {
                self.report.damage_of(&path, 0, state.id, None, "two checkpoints claim the same log");
            }
        }
        Some(checkpoint)
    }
}

/// Index of the first byte that is not zero.
fn first_byte(bytes: Option<&[u8]>) -> Option<usize> {
    bytes.unwrap_or_default().iter().position(|byte| *byte != 0)
}
