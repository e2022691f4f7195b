//! Files that belong to nothing, and what earlier starts put aside.
//!
//! In: the directory and what was found in it. Out: notes. Never: calls a file damage because nobody claims it.

use std::path::Path;

use super::Walk;
use crate::error::OpenError;
use crate::shard::checkpoint::file_name;
use crate::types::LogId;

impl Walk<'_> {
    pub(super) fn strays(&mut self) -> Result<(), OpenError> {
        let known = ["superblock", "lock", "journal", "log", "state", "quarantine"];
        self.others(self.directory, |name| known.contains(&name))?;
        let incarnation = self.report.incarnation;
        let current: Vec<String> =
            (0..self.report.shards).map(|shard| file_name(incarnation, shard)).collect();
        self.others(&self.directory.join("state"), |name| current.iter().any(|known| known == name))?;
        let shards: Vec<String> = (0..self.report.shards).map(|shard| shard.to_string()).collect();
        self.others(&self.directory.join("journal"), |name| shards.iter().any(|known| known == name))?;
        self.unclaimed_logs()?;
        let quarantine = self.directory.join("quarantine");
        for name in self.disk.list(&quarantine)? {
            self.report.note(&quarantine.join(name), 0, "an earlier start put this aside");
        }
        Ok(())
    }

    fn others(&mut self, directory: &Path, known: impl Fn(&str) -> bool) -> Result<(), OpenError> {
        for name in self.disk.list(directory)? {
            if !known(&name) {
                self.report.note(&directory.join(name), 0, "belongs to nothing");
            }
        }
        Ok(())
    }

    fn unclaimed_logs(&mut self) -> Result<(), OpenError> {
        let directory = self.directory.join("log");
        for name in self.disk.list(&directory)? {
            let log = u64::from_str_radix(&name, 16).ok().map(LogId).filter(|log| log.to_string() == name);
            let path = directory.join(&name);
            match log {
                Some(log) if self.logs.contains_key(&log) => {}
                Some(log) if self.was_deleted(log) => {
                    self.report.note(&path, 0, "what is left of a log that was deleted");
                }
                Some(log) if !self.complete => self.unclaimed_segments(log)?,
                _ => self.report.note(&path, 0, "belongs to nothing; a start puts it into quarantine"),
            }
        }
        Ok(())
    }
}
