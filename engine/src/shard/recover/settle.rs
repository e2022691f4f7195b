//! Bringing segments up to date at a start, so that the journals are not needed any more.
//!
//! In: what was replayed. Out: segments that hold it, synced; what nothing refers to, removed or kept aside. Never:
//! writes in front of the place that a checkpoint knows.

use std::path::{Path, PathBuf};

use super::Recovery;
use crate::error::OpenError;
use crate::format::run;
use crate::io::disk;
use crate::io::{Open, buffer};
use crate::planted::{Bug, planted};
use crate::segment::{self, Segment, SegmentName};
use crate::types::{LogId, Offset};

impl Recovery<'_> {
    pub(super) fn settle_all(&mut self) -> Result<(), OpenError> {
        let needed = |path: &PathBuf| self.dirty.contains(path) || self.adopted.contains(path);
        for path in self.unfinished.drain(..).filter(|path| !needed(path)) {
            if planted(Bug::UnfinishedSegmentKept) {
                continue;
            }
            self.config.disk.remove(&path)?;
            self.thinned.extend(path.parent().map(Path::to_path_buf));
        }
        for log in self.logs_in_order() {
            while self.logs.get(&log).is_some_and(|partition| partition.unsettled_since().is_some()) {
                self.settle_run(log, Offset::MAX)?;
            }
            if let Some(partition) = self.logs.get_mut(&log) {
                partition.tail.forget(u64::MAX, partition.marks().settled);
            }
            self.drop_trimmed(log)?;
        }
        Ok(())
    }

    /// Completes the segment being filled, if there is one.
    pub(super) fn seal_active(&mut self, log: LogId) -> Result<(), OpenError> {
        let Some(partition) = self.logs.get_mut(&log) else { return Ok(()) };
        if let Some(active) = partition.segments.active() {
            let path = segment::path(&self.config.directory, log, active.name);
            let file = self.config.disk.open(&path, Open::Update)?;
            let table = run::seal(log, active.name.base, &active.runs, active.position);
            let mut aligned = buffer::aligned(table.len());
            aligned.extend_from_slice(&table);
            disk::write(&path, &file, active.position, &aligned)?;
            // A longer table of an earlier attempt may stand behind it; the trailer must be the last block.
            disk::truncate(&path, &file, active.position + table.len() as u64)?;
            self.dirty.insert(path);
            partition.segments.seal();
        }
        Ok(())
    }

    /// Writes the next run of a log, of what is below `limit`, making or sealing a segment as needed; false: there is
    /// nothing below.
    pub(super) fn settle_run(&mut self, log: LogId, limit: Offset) -> Result<bool, OpenError> {
        let Some(partition) = self.logs.get_mut(&log) else { return Ok(false) };
        let (batches, offsets, max_timestamp_ms) = partition.to_settle(self.config.sizes.run_bytes, limit);
        if batches.is_empty() {
            return Ok(false);
        }
        let segment_bytes = self.config.sizes.segment_bytes;
        let is_full = |active: &Segment| active.position >= segment_bytes || active.is_cut();
        if partition.segments.active().is_some_and(is_full) {
            self.seal_active(log)?;
        }
        let data = &self.config.directory;
        let Some(partition) = self.logs.get_mut(&log) else { return Ok(false) };
        let mut how = Open::Update;
        if partition.segments.active().is_none() {
            self.config.disk.make_directory(&segment::directory(data, log))?;
            partition.segments.has_directory = true;
            partition.segments.begin(SegmentName { base: offsets.start, generation: partition.generation });
            how = Open::Replace;
        }
        let Some(active) = partition.segments.active() else { return Ok(false) };
        let path = segment::path(data, log, active.name);
        let file = self.config.disk.open(&path, how)?;
        let (base, position) = (active.name.base, active.position);
        disk::truncate(&path, &file, position)?;
        let (bytes, place, end) = segment::lay_out(
            log,
            base,
            partition.leader_epoch,
            position,
            offsets.clone(),
            max_timestamp_ms,
            &batches,
        );
        disk::write(&path, &file, position, &bytes)?;
        partition.segments.push(place, end);
        partition.settled(offsets.end);
        self.dirty.insert(path);
        Ok(true)
    }

    /// Removes the segments that end below the log's start.
    pub(super) fn drop_trimmed(&mut self, log: LogId) -> Result<(), OpenError> {
        if self.has_upcoming(log) {
            return Ok(());
        }
        let Some(partition) = self.logs.get_mut(&log) else { return Ok(()) };
        let gone = partition.segments.drop_below(partition.marks().start, true);
        self.remove_segments(log, &gone)
    }

    pub(super) fn remove_segments(&mut self, log: LogId, gone: &[Segment]) -> Result<(), OpenError> {
        for segment in gone {
            let path = segment::path(&self.config.directory, log, segment.name);
            self.dirty.remove(&path);
            if self.adopted.contains(&path) {
                // Another attempt will look for the runs that the journal means.
                self.outdated.push(path);
            } else {
                self.config.disk.remove(&path)?;
            }
        }
        Ok(())
    }

    /// Logs that neither a checkpoint nor a journal knows are kept aside, not deleted.
    pub(super) fn quarantine_unknown(&mut self) -> Result<(), OpenError> {
        let data = &self.config.directory;
        for name in self.config.disk.list(&data.join("log"))? {
            let known = u64::from_str_radix(&name, 16).is_ok_and(|id| self.logs.contains_key(&LogId(id)));
            let path = data.join("log").join(&name);
            if known {
                continue;
            }
            if self.config.disk.list(&path).is_ok_and(|names| names.is_empty()) {
                self.config.disk.remove_directory(&path)?;
                continue;
            }
            let aside = data.join("quarantine").join(format!("{name}-{}", self.report.incarnation));
            self.config.disk.rename(&path, &aside)?;
            self.report.quarantined.push(aside);
        }
        Ok(())
    }

    pub(super) fn sync(&mut self) -> Result<(), OpenError> {
        let mut directories: Vec<PathBuf> =
            vec![self.config.directory.join("log"), self.config.directory.clone()];
        let disk = &self.config.disk;
        let dirty: Vec<PathBuf> = std::mem::take(&mut self.dirty).into_iter().collect();
        directories.extend(dirty.iter().filter_map(|path| path.parent()).map(Path::to_path_buf));
        // Many at a time: the file system makes them durable together.
        let synced = disk.each(dirty, |path| disk::sync(&path, &disk.open(&path, Open::Read)?));
        synced.into_iter().collect::<Result<(), _>>()?;
        // A removed file must not come back beside the checkpoint that counts on its absence.
        directories.extend(self.thinned.drain(..).filter(|directory| self.config.disk.exists(directory)));
        directories.sort();
        directories.dedup();
        let synced = disk.each(directories, |directory| disk.sync_directory(&directory));
        Ok(synced.into_iter().collect::<Result<(), _>>()?)
    }
}
