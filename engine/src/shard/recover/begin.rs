//! The next incarnation: its shards, their checkpoints and their empty journals.
//!
//! In: logs whose segments are up to date. Out: shards ready to run. Never: takes away what the old incarnation needs
//! before the superblock names the new one.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};

use super::Recovery;
use crate::error::OpenError;
use crate::format::checkpoint::{Checkpoint, FileSet};
use crate::io::Open;
use crate::io::disk::{self, Disk};
use crate::journal::recover::End;
use crate::journal::{Files, Journal, JournalFile, Position};
use crate::limits::BLOCK_BYTES;
use crate::partition::Partition;
use crate::shard::checkpoint::file_name;
use crate::shard::{Shard, ShardPlace};
use crate::types::LogId;

impl Recovery<'_> {
    /// The shards of the next incarnation, each with its checkpoint written and an empty journal.
    pub(super) fn shards(
        &mut self,
        incarnation: u32,
        ends: &[End],
        sets: &[FileSet],
    ) -> Result<Vec<Shard>, OpenError> {
        let mut by_shard: Vec<HashMap<LogId, Partition>> = Vec::new();
        by_shard.resize_with(usize::from(self.config.shards), HashMap::new);
        for (log, partition) in self.logs.drain() {
            let shard = (self.config.shard_of)(log, self.config.shards);
            by_shard[usize::from(shard)].insert(log, partition);
        }
        let mut shards = Vec::new();
        for (shard, logs) in (0..self.config.shards).zip(by_shard) {
            let end = ends.get(usize::from(shard)).cloned().unwrap_or_default();
            let mut states: Vec<_> = logs.values().map(Partition::state).collect();
            states.sort_by_key(|state| state.id);
            let files =
                self.journal_files(shard, end.generation + 1, sets.get(usize::from(shard)).copied())?;
            let (sequence, chain, journal) = (end.sequence, end.chain, files.set());
            let durable = sequence;
            let checkpoint =
                Checkpoint { incarnation, shard, sequence, chain, durable, journal, logs: states };
            let state = self.config.directory.join("state");
            self.config.disk.replace(&state, &file_name(incarnation, shard), &checkpoint.to_bytes())?;
            let position = Position { shard, incarnation, next_sequence: end.sequence + 1, chain: end.chain };
            let place = ShardPlace {
                directory: self.config.directory.clone(),
                shard,
                shards: self.config.shards,
                incarnation,
                memory_bytes: self.config.memory_bytes,
                sizes: self.config.sizes,
                whole: self.config.disk.open_whole(&self.config.directory)?,
            };
            shards.push(Shard::new(place, logs, Journal::new(position, files, self.config.sizes)));
        }
        Ok(shards)
    }

    /// The journal's files: those of the last run, all of them to be used again, or new ones. What is beside them
    /// goes when the next incarnation counts.
    fn journal_files(
        &mut self,
        shard: u16,
        generation: u32,
        last: Option<FileSet>,
    ) -> Result<Files, OpenError> {
        let directory = journal_directory(&self.config.directory, shard);
        let (config, file_bytes) = (self.config, self.config.journal_file_bytes);
        config.disk.make_directory(&directory)?;
        let names = config.disk.list(&directory)?;
        let number = |name: &String| name.strip_suffix(".journal")?.parse::<u32>().ok();
        let free = names.iter().filter_map(number).max().map_or(0, |number| number + 1);
        let wanted = |last: &FileSet| *last == FileSet::new(last.first, file_bytes);
        let set = last.filter(wanted).unwrap_or(FileSet::new(free, file_bytes));
        let beside = names.iter().map(|name| directory.join(name));
        self.outdated.extend(beside.filter(|path| set.paths(&directory).all(|other| other != *path)));
        let (mut spare, mut unused) = (Vec::new(), VecDeque::new());
        for path in set.paths(&directory) {
            let file = config.disk.open(&path, Open::ReadWrite)?;
            let length = disk::length(&path, &file)?;
            if spare.is_empty() && length < file_bytes {
                disk::write_zeros(&path, &file, file_bytes)?;
            } else if length < file_bytes {
                if length == 0 {
                    disk::write_zeros(&path, &file, BLOCK_BYTES as u64)?;
                }
                unused.push_back(path);
                continue;
            }
            spare.push(JournalFile { path, file, last_sequence: 0, last_chain: 0 });
        }
        config.disk.sync_directory(&directory)?;
        config.disk.sync_directory(&config.directory.join("journal"))?;
        Ok(Files::new(directory, set, spare, unused, generation))
    }
}

pub(crate) fn journal_directory(data: &Path, shard: u16) -> PathBuf {
    data.join("journal").join(shard.to_string())
}

/// Removes what only the old incarnation needed.
pub(super) fn remove_old(
    disk: &Disk,
    data: &Path,
    incarnation: u32,
    old_shards: u16,
    shards: u16,
) -> Result<(), OpenError> {
    for shard in 0..old_shards {
        disk.remove(&data.join("state").join(file_name(incarnation, shard)))?;
    }
    for shard in shards..old_shards {
        let directory = journal_directory(data, shard);
        for name in disk.list(&directory)? {
            disk.remove(&directory.join(name))?;
        }
        disk.remove_directory(&directory)?;
    }
    Ok(())
}
