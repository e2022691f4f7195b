//! Opening a data directory: what the last run left, made whole again, and a fresh beginning behind it.
//!
//! In: a directory. Out: shards ready to run, and a [`Report`] a person can read. Never: guesses. What should be
//! there and is not, or is not sound, is named and nothing is changed.
//!
//! ```text
//!   superblock ─> checkpoints of its incarnation ─> segments they describe ─> journals behind them
//!        ─> everything replayed is settled into segments and synced
//!        ─> checkpoints of the next incarnation ─> superblock: from here on the next incarnation counts
//! ```
//!
//! A crash anywhere before the superblock is written leaves the old incarnation as it was: recovery only adds
//! runs behind the places its checkpoints know, and the next attempt writes the same again. Because the new
//! incarnation starts with empty journals, the number of shards may differ from the last run's.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use zerocopy::byteorder::little_endian::{U16, U32};

use super::checkpoint::file_name;
use super::{Shard, ShardPlace};
use crate::error::{Damage, OpenError};
use crate::format::batch::{self, BatchHeader};
use crate::format::checkpoint::{Checkpoint, FileSet, LogState};
use crate::format::frame::{Entry, FrameHeader, Kind};
use crate::format::run;
use crate::format::superblock::{FEATURES, Superblock};
use crate::io::disk::{self, DirectoryLock, Disk};
use crate::io::{Descriptor, Open, buffer};
use crate::journal::recover::{End, From, Replay, check_unused, scan};
use crate::journal::{Files, Journal, JournalFile, Position};
use crate::limits::{BLOCK_BYTES, Sizes};
use crate::partition::{Partition, TailBatch};
use crate::planted::{Bug, planted};
use crate::segment::{self, Segment, SegmentName};
use crate::types::{LogId, Offset};

/// How a data directory is opened.
#[derive(Clone, Debug)]
pub struct OpenConfig {
    pub directory: PathBuf,
    /// Where the directory is.
    pub disk: Disk,
    /// Shards to run with; may differ from the last run's.
    pub shards: u16,
    /// Which shard a log belongs to; must be the same function for the whole run.
    pub shard_of: fn(LogId, u16) -> u16,
    pub node_id: u32,
    /// The id a new directory gets.
    pub new_cluster_id: [u8; 16],
    pub journal_file_bytes: u64,
    /// Per shard: bytes of frames kept in memory.
    pub memory_bytes: usize,
    pub sizes: Sizes,
}

/// An open data directory.
#[derive(Debug)]
pub struct Opened {
    pub shards: Vec<Shard>,
    pub cluster_id: [u8; 16],
    pub report: Report,
    pub lock: DirectoryLock,
}

/// What was found and done, for a person to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The directory held nothing and was set up.
    pub created: bool,
    /// Which start of the directory this is, from 1.
    pub incarnation: u32,
    /// Logs it holds.
    pub logs_count: usize,
    /// Frames of the journals that were read again, and their bytes.
    pub frames_count: u64,
    /// Bytes of those frames.
    pub journal_bytes: u64,
    /// Batches in them that no segment had yet.
    pub replayed_batches: u64,
    /// Shards whose journal ended in a frame that was never acknowledged.
    pub torn_frames: u32,
    /// Directories of logs that nothing refers to, moved to quarantine.
    pub quarantined: Vec<PathBuf>,
    /// What is not as it was written. What can be served is.
    pub damage: Vec<Damage>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.created {
            return write!(f, "new data directory");
        }
        write!(
            f,
            "start {} of this directory: {} logs; replayed {} batches from {} journal frames ({} bytes)",
            self.incarnation, self.logs_count, self.replayed_batches, self.frames_count, self.journal_bytes
        )?;
        if self.torn_frames > 0 {
            write!(f, "; cut {} unfinished frames, none of them acknowledged", self.torn_frames)?;
        }
        for path in &self.quarantined {
            write!(f, "; moved to quarantine: {}", path.display())?;
        }
        for damage in &self.damage {
            write!(f, "; {damage}")?;
        }
        Ok(())
    }
}

/// A batch, or what became of it.
type FoundBatch = Result<(BatchHeader, TailBatch), Damage>;

/// What the journal says of a log in front of a truncation that the checkpoint contains.
#[derive(Default)]
struct Doubtful {
    /// Some of them may be left.
    batches: Vec<(Entry, FoundBatch)>,
    start: u64,
}

/// Everything found so far.
struct Recovery<'a> {
    config: &'a OpenConfig,
    logs: HashMap<LogId, Partition>,
    doubtful: HashMap<LogId, Doubtful>,
    /// Segment files written here.
    dirty: BTreeMap<PathBuf, Descriptor>,
    /// Files begun after the checkpoints; the journals hold all that is in them.
    unfinished: Vec<PathBuf>,
    /// Directories that such files were removed from.
    thinned: Vec<PathBuf>,
    /// Journal files of another size, needed until the next incarnation counts.
    outdated: Vec<PathBuf>,
    /// What was found damaged in segments and frames.
    losses: Vec<Loss>,
    report: Report,
}

/// Something of a log that is damaged, from this offset on.
struct Loss {
    log: LogId,
    offset: Offset,
    damage: Damage,
}

/// Opens `config.directory`, recovering what the last run left. When it returns, everything that was ever
/// acknowledged is in segments, synced, and the journals are empty.
pub fn open(config: &OpenConfig) -> Result<Opened, OpenError> {
    let OpenConfig { directory, disk, .. } = config;
    let lock = disk.lock(directory)?;
    let (mut superblock, file, created) = superblock(config)?;
    let has_logs = disk.exists(&directory.join("log"));
    for name in ["journal", "log", "state", "quarantine"] {
        disk.make_directory(&directory.join(name))?;
    }
    let old_shards = superblock.shards.get();
    let incarnation = superblock.incarnation.get();
    let next = incarnation + 1;
    if !created && !planted(Bug::SuperblockNotClaimed) {
        // A write of the last start that failed may yet arrive. It went where this one goes; after this one, nothing
        // can bring a later incarnation back whose files are written again below.
        write_superblock(directory, &file, &mut superblock)?;
    }
    let mut recovery = Recovery {
        config,
        logs: HashMap::new(),
        doubtful: HashMap::new(),
        dirty: BTreeMap::new(),
        unfinished: Vec::new(),
        thinned: Vec::new(),
        outdated: Vec::new(),
        losses: Vec::new(),
        report: Report { created, incarnation: next, ..Report::default() },
    };
    let checkpoints = recovery.checkpoints(incarnation, old_shards)?;
    let held = |state: &LogState| state.start < state.end;
    if !has_logs && checkpoints.iter().flat_map(|checkpoint| &checkpoint.logs).any(held) {
        let what = "the directory is gone, but the checkpoints know of records in it".to_string();
        return Err(Damage { path: directory.join("log"), position: 0, what }.into());
    }
    recovery.segments(&checkpoints)?;
    let mut ends = Vec::new();
    for checkpoint in &checkpoints {
        ends.push(recovery.journal(checkpoint)?);
    }
    for name in disk.list(&directory.join("journal"))? {
        if !name.parse().is_ok_and(|shard: u16| shard < old_shards) {
            check_unused(disk, &directory.join("journal").join(name), incarnation)?;
        }
    }
    recovery.settle_all()?;
    recovery.find_holes();
    recovery.quarantine_unknown()?;
    recovery.sync()?;

    recovery.report.logs_count = recovery.logs.len();
    let sets: Vec<FileSet> = checkpoints.iter().map(|checkpoint| checkpoint.journal).collect();
    superblock.incarnation = U32::new(next);
    superblock.incompatible = U32::new(FEATURES);
    superblock.shards = U16::new(config.shards);
    if planted(Bug::SuperblockBeforeCheckpoints) {
        write_superblock(directory, &file, &mut superblock)?;
    }
    let shards = recovery.shards(next, &ends, &sets)?;
    // Both copies say so: rot in one leaves the other.
    write_superblock(directory, &file, &mut superblock)?;
    write_superblock(directory, &file, &mut superblock)?;
    for path in &recovery.outdated {
        disk.remove(path)?;
    }
    remove_old(disk, directory, incarnation, old_shards, config.shards)?;
    Ok(Opened { shards, cluster_id: superblock.cluster_id, report: recovery.report, lock })
}

fn superblock(config: &OpenConfig) -> Result<(Superblock, Descriptor, bool), OpenError> {
    let path = config.directory.join("superblock");
    if config.disk.exists(&path) {
        let file = config.disk.open(&path, Open::ReadWrite)?;
        let bytes = disk::read(&path, &file, 0, 2 * BLOCK_BYTES)?;
        let Some(superblock) = Superblock::newest(&bytes) else {
            let what = "neither copy of the superblock is sound".to_string();
            return Err(Damage { path, position: 0, what }.into());
        };
        superblock.supported().map_err(|what| OpenError::Incompatible { path, what })?;
        return Ok((superblock, file, false));
    }
    for name in ["journal", "log", "state"] {
        if !config.disk.list(&config.directory.join(name))?.is_empty() {
            let what = format!("there is no superblock, but {name}/ is not empty");
            return Err(Damage { path, position: 0, what }.into());
        }
    }
    // It appears whole or not at all, before anything else does: a crash here leaves an empty directory.
    let mut superblock = Superblock::new(config.new_cluster_id, config.node_id);
    let (block, position) = superblock.block();
    let mut bytes = vec![0; 2 * BLOCK_BYTES];
    bytes[position as usize..][..BLOCK_BYTES].copy_from_slice(&block);
    config.disk.replace(&config.directory, "superblock", &bytes)?;
    let file = config.disk.open(&path, Open::ReadWrite)?;
    Ok((superblock, file, true))
}

fn write_superblock(
    directory: &Path,
    file: &Descriptor,
    superblock: &mut Superblock,
) -> Result<(), OpenError> {
    let path = directory.join("superblock");
    let (block, position) = superblock.block();
    let mut aligned = buffer::aligned(BLOCK_BYTES);
    aligned.extend_from_slice(&block);
    disk::write(&path, file, position, &aligned)?;
    if !planted(Bug::SuperblockNotSynced) {
        disk::sync(&path, file)?;
    }
    Ok(())
}

impl Recovery<'_> {
    fn checkpoints(&mut self, incarnation: u32, shards: u16) -> Result<Vec<Checkpoint>, OpenError> {
        let mut checkpoints = Vec::new();
        for shard in 0..shards {
            let path = self.config.directory.join("state").join(file_name(incarnation, shard));
            let file = self.config.disk.open(&path, Open::Read)?;
            let length = disk::length(&path, &file)? as usize;
            let bytes = disk::read(&path, &file, 0, length.next_multiple_of(BLOCK_BYTES))?;
            let found = Checkpoint::from_bytes(&bytes);
            if let Some(at) = found.as_ref().and_then(|found| found.first_damage(&bytes)) {
                let what = "a copy of the checkpoint is damaged; the other one is used".to_string();
                self.report.damage.push(Damage { path: path.clone(), position: at as u64, what });
            }
            let sound = found.filter(|found| found.incarnation == incarnation && found.shard == shard);
            let Some(checkpoint) = sound else {
                let what = "the checkpoint is not sound".to_string();
                return Err(Damage { path, position: 0, what }.into());
            };
            checkpoints.push(checkpoint);
        }
        Ok(checkpoints)
    }

    fn segments(&mut self, checkpoints: &[Checkpoint]) -> Result<(), OpenError> {
        let data = &self.config.directory;
        let logs = checkpoints.iter().flat_map(|found| found.logs.iter().map(|log| (log, found.sequence)));
        for (state, sequence) in logs {
            let found = segment::recover::find(&self.config.disk, data, state)?;
            self.losses.extend(found.damage.into_iter().map(|(offset, damage)| Loss {
                log: state.id,
                offset,
                damage,
            }));
            self.unfinished.extend(found.unfinished.iter().map(|name| segment::path(data, state.id, *name)));
            self.unfinished.extend(found.abandoned);
            let mut partition = Partition::restore(state.clone());
            partition.segments = found.segments;
            if partition.truncated_in <= sequence {
                partition.truncated_in = 0; // the journal is read behind it
            }
            self.logs.insert(state.id, partition);
        }
        Ok(())
    }

    fn journal(&mut self, checkpoint: &Checkpoint) -> Result<End, OpenError> {
        let Checkpoint { shard, incarnation, sequence, chain, durable, journal, .. } = *checkpoint;
        let directory = journal_directory(&self.config.directory, shard);
        // What is read here is acted upon, and files go because of it. A frame whose write was cut off by the end of
        // the process may be seen without being durable.
        for name in self.config.disk.list(&directory)? {
            let path = directory.join(name);
            disk::sync(&path, &self.config.disk.open(&path, Open::Read)?)?;
        }
        let from = From { shard, incarnation, sequence, chain, durable };
        let disk = &self.config.disk;
        let end = scan(disk, &directory, from, journal, |frame| self.replay(frame))?;
        let contained = checkpoint.logs.iter().map(|log| log.truncated_in).max().unwrap_or_default();
        if contained > end.sequence {
            let what =
                format!("frame {contained} had been made durable, says the checkpoint, but it is not sound");
            return Err(Damage { path: directory, position: 0, what }.into());
        }
        self.report.frames_count += end.sequence - sequence;
        self.report.journal_bytes += end.bytes;
        self.report.torn_frames += u32::from(end.torn);
        Ok(end)
    }

    fn replay(&mut self, frame: Replay<'_>) -> Result<(), OpenError> {
        if frame.damaged {
            self.keep_aside(&frame)?;
        }
        let sequence = frame.header.sequence.get();
        for entry in &frame.entries {
            match entry.kind {
                Kind::Create => self.replay_create(entry.log)?,
                Kind::Delete => {
                    self.logs.remove(&entry.log);
                    let directory = segment::directory(&self.config.directory, entry.log);
                    for name in self.config.disk.list(&directory)? {
                        self.dirty.remove(&directory.join(&name));
                        self.config.disk.remove(&directory.join(name))?;
                    }
                    self.config.disk.remove_directory(&directory)?;
                }
                Kind::Trim if self.is_contained(entry.log, sequence) => {
                    let start = &mut self.doubtful.entry(entry.log).or_default().start;
                    *start = entry.offset.max(*start);
                }
                Kind::Trim => {
                    if let Some(partition) = self.logs.get_mut(&entry.log) {
                        partition.trim(entry.offset);
                        partition.trimmed(entry.offset.min(partition.marks().start));
                    }
                    self.drop_trimmed(entry.log)?;
                }
                Kind::Truncate => self.replay_truncate(entry.log, entry.offset, sequence)?,
                Kind::Batch => match sound_batch(&frame, entry) {
                    Ok((header, batch)) => {
                        self.replay_batch(entry, sequence, &header, batch)?;
                    }
                    Err(damage) if frame.damaged => self.replay_lost(entry, sequence, damage),
                    Err(damage) => return Err(damage.into()),
                },
            }
        }
        Ok(())
    }

    /// A copy of a frame that had been durable and is damaged, for whoever wants to look at it.
    fn keep_aside(&mut self, frame: &Replay<'_>) -> Result<(), OpenError> {
        let FrameHeader { shard, incarnation, sequence, .. } = *frame.header;
        let name = format!("journal-{shard}-{incarnation}-{sequence}.frame");
        let path = self.config.disk.replace(&self.config.directory.join("quarantine"), &name, frame.bytes)?;
        let what =
            format!("frame {sequence} had been made durable, but is damaged; a copy is {}", path.display());
        let position = frame.header.position();
        self.report.damage.push(Damage { path: frame.path.to_path_buf(), position, what });
        Ok(())
    }

    /// A batch that is gone: its offsets stay given, and whoever reads them is told.
    fn replay_lost(&mut self, entry: &Entry, sequence: u64, damage: Damage) {
        let Some(partition) = self.logs.get_mut(&entry.log) else { return };
        if sequence <= partition.truncated_in {
            let doubtful = self.doubtful.entry(entry.log).or_default();
            return doubtful.batches.push((entry.clone(), Err(damage)));
        }
        lose(partition, &mut self.losses, entry, damage);
    }

    /// No checkpoint knows the log yet, so all that its segments hold is in the journal.
    fn replay_create(&mut self, log: LogId) -> Result<(), OpenError> {
        if self.logs.contains_key(&log) {
            return Ok(());
        }
        let directory = segment::directory(&self.config.directory, log);
        let names = self.config.disk.list(&directory)?;
        self.unfinished.extend(names.iter().map(|name| directory.join(name)));
        self.logs.insert(log, Partition::new(log));
        Ok(())
    }

    fn replay_batch(
        &mut self,
        entry: &Entry,
        sequence: u64,
        header: &BatchHeader,
        bytes: Bytes,
    ) -> Result<(), OpenError> {
        let (log, base) = (entry.log, entry.offset);
        let Some(partition) = self.logs.get_mut(&log) else { return Ok(()) };
        let end = base + header.offsets_count();
        let max_timestamp_ms = header.max_timestamp.get();
        let batch = TailBatch { base, end, max_timestamp_ms, sequence, bytes };
        if sequence <= partition.truncated_in {
            let doubtful = self.doubtful.entry(log).or_default();
            doubtful.batches.push((entry.clone(), Ok((*header, batch))));
            return Ok(());
        }
        partition.replay(header, batch);
        self.report.replayed_batches += 1;
        let run_bytes = self.config.sizes.run_bytes;
        while self.logs.get(&log).is_some_and(|partition| partition.unsettled_bytes() >= run_bytes) {
            self.settle_run(log)?;
        }
        Ok(())
    }

    /// Whether the checkpoint contains a truncation of the log that came in this frame or later.
    fn is_contained(&self, log: LogId, sequence: u64) -> bool {
        self.logs.get(&log).is_some_and(|partition| sequence <= partition.truncated_in)
    }

    /// What a checkpoint counted on already is not done again, for later batches may be in segments. It only tells
    /// which of the batches before it are left.
    fn replay_truncate(&mut self, log: LogId, end: u64, sequence: u64) -> Result<(), OpenError> {
        let Some(partition) = self.logs.get_mut(&log) else { return Ok(()) };
        if sequence <= partition.truncated_in {
            let doubtful = self.doubtful.entry(log).or_default();
            doubtful.batches.retain(|(entry, _)| entry.offset < end);
            if sequence == partition.truncated_in {
                for (entry, batch) in doubtful.batches.drain(..) {
                    match batch {
                        Ok((header, batch)) => {
                            partition.replay(&header, batch);
                            self.report.replayed_batches += 1;
                        }
                        Err(damage) => lose(partition, &mut self.losses, &entry, damage),
                    }
                }
                partition.truncated_in = 0;
                partition.trim(doubtful.start);
                partition.trimmed(doubtful.start.min(partition.marks().start));
                return self.drop_trimmed(log);
            }
            return Ok(());
        }
        let end = end.max(partition.marks().start);
        let gone = partition.truncated(end, 0);
        // Runs of the last life may stand behind the part that counts; what replays them was taken back.
        if let Some(active) = partition.segments.active()
            && let Some(file) = &active.file
        {
            let path = segment::path(&self.config.directory, log, active.name);
            disk::truncate(&path, file, active.position)?;
            self.dirty.insert(path, file.clone());
        }
        if !gone.is_empty() {
            self.thinned.push(segment::directory(&self.config.directory, log));
        }
        self.remove_segments(log, &gone)
    }

    fn remove_segments(&mut self, log: LogId, gone: &[SegmentName]) -> Result<(), OpenError> {
        for name in gone {
            let path = segment::path(&self.config.directory, log, *name);
            self.dirty.remove(&path);
            self.config.disk.remove(&path)?;
        }
        Ok(())
    }

    /// Every offset from a log's start to its end must be in a run: what is not is a hole, for its readers to hear of.
    fn find_holes(&mut self) {
        for log in self.logs_in_order() {
            let Some(partition) = self.logs.get_mut(&log) else { continue };
            let marks = partition.marks();
            for hole in segment::recover::holes(&partition.segments, marks.start, marks.settled) {
                let known =
                    self.losses.iter().rev().find(|loss| loss.log == log && loss.offset <= hole.start);
                let damage =
                    known.map_or_else(|| gone(&self.config.directory, log), |loss| loss.damage.clone());
                let Range { start, end } = hole;
                let what = format!("{} (offsets {start} to {end} of {log:?})", damage.what);
                partition.holes.push((hole, Damage { what, ..damage }));
            }
            self.report.damage.extend(partition.holes.iter().map(|(_, damage)| damage.clone()));
        }
        let named =
            |loss: &Loss| {
                !self.report.damage.iter().any(|damage| {
                    (&damage.path, damage.position) == (&loss.damage.path, loss.damage.position)
                })
            };
        let unnamed: Vec<Damage> =
            self.losses.iter().filter(|loss| named(loss)).map(|loss| loss.damage.clone()).collect();
        self.report.damage.extend(unnamed);
    }

    fn settle_all(&mut self) -> Result<(), OpenError> {
        for path in self.unfinished.drain(..).filter(|path| !self.dirty.contains_key(path)) {
            if planted(Bug::UnfinishedSegmentKept) {
                continue;
            }
            self.config.disk.remove(&path)?;
            self.thinned.extend(path.parent().map(Path::to_path_buf));
        }
        for log in self.logs_in_order() {
            while self.logs.get(&log).is_some_and(|partition| partition.unsettled_since().is_some()) {
                self.settle_run(log)?;
            }
            if let Some(partition) = self.logs.get_mut(&log) {
                partition.tail.forget(u64::MAX, partition.marks().settled);
            }
            self.drop_trimmed(log)?;
        }
        Ok(())
    }

    fn logs_in_order(&self) -> Vec<LogId> {
        let mut logs: Vec<LogId> = self.logs.keys().copied().collect();
        logs.sort_unstable();
        logs
    }

    /// Removes the segments that end below the log's start.
    fn drop_trimmed(&mut self, log: LogId) -> Result<(), OpenError> {
        let Some(partition) = self.logs.get_mut(&log) else { return Ok(()) };
        let gone = partition.segments.drop_below(partition.marks().start, true);
        self.remove_segments(log, &gone)
    }

    /// Writes the next run of a log, making or sealing a segment as needed.
    fn settle_run(&mut self, log: LogId) -> Result<(), OpenError> {
        let data = &self.config.directory;
        let Some(partition) = self.logs.get_mut(&log) else { return Ok(()) };
        let (batches, offsets, max_timestamp_ms) = partition.to_settle(self.config.sizes.run_bytes);
        let segment_bytes = self.config.sizes.segment_bytes;
        let is_full = |active: &&Segment| active.position >= segment_bytes || active.is_cut();
        if let Some(active) = partition.segments.active().filter(is_full) {
            let path = segment::path(data, log, active.name);
            if let Some(file) = &active.file {
                let table = run::seal(log, active.name.base, &active.runs, active.position);
                let mut aligned = buffer::aligned(table.len());
                aligned.extend_from_slice(&table);
                disk::write(&path, file, active.position, &aligned)?;
                // A longer table of an earlier attempt may stand behind it; the trailer must be the last block.
                disk::truncate(&path, file, active.position + table.len() as u64)?;
                self.dirty.insert(path, file.clone());
            }
            partition.segments.seal();
        }
        if partition.segments.active().is_none() {
            self.config.disk.make_directory(&segment::directory(data, log))?;
            partition.segments.has_directory = true;
            let name = SegmentName { base: offsets.start, generation: partition.generation };
            let file = self.config.disk.open(&segment::path(data, log, name), Open::Replace)?;
            partition.segments.begin(name, file);
        }
        let Some(active) = partition.segments.active() else { return Ok(()) };
        let path = segment::path(data, log, active.name);
        let Some(file) = active.file.clone() else { return Ok(()) };
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
        self.dirty.insert(path, file);
        Ok(())
    }

    /// Logs that neither a checkpoint nor a journal knows are kept aside, not deleted.
    fn quarantine_unknown(&mut self) -> Result<(), OpenError> {
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

    fn sync(&mut self) -> Result<(), OpenError> {
        let mut directories: Vec<PathBuf> =
            vec![self.config.directory.join("log"), self.config.directory.clone()];
        for (path, file) in std::mem::take(&mut self.dirty) {
            disk::sync(&path, &file)?;
            directories.extend(path.parent().map(Path::to_path_buf));
        }
        // A removed file must not come back beside the checkpoint that counts on its absence.
        directories.extend(self.thinned.drain(..).filter(|directory| self.config.disk.exists(directory)));
        directories.sort();
        directories.dedup();
        for directory in directories {
            self.config.disk.sync_directory(&directory)?;
        }
        Ok(())
    }

    /// The shards of the next incarnation, each with its checkpoint written and an empty journal.
    fn shards(&mut self, incarnation: u32, ends: &[End], sets: &[FileSet]) -> Result<Vec<Shard>, OpenError> {
        let mut by_shard: Vec<HashMap<LogId, Partition>> = Vec::new();
        by_shard.resize_with(usize::from(self.config.shards), HashMap::new);
        for (log, partition) in self.logs.drain() {
            let shard = (self.config.shard_of)(log, self.config.shards);
            by_shard[usize::from(shard)].insert(log, partition);
        }
        let mut shards = Vec::new();
        for (shard, logs) in (0..self.config.shards).zip(by_shard) {
            let end = ends.get(usize::from(shard)).copied().unwrap_or(End {
                sequence: 0,
                chain: 0,
                generation: 0,
                bytes: 0,
                torn: false,
            });
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
                incarnation,
                memory_bytes: self.config.memory_bytes,
                sizes: self.config.sizes,
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

/// The batch that `entry` names, stamped as it says, if it is sound.
fn sound_batch(frame: &Replay<'_>, entry: &Entry) -> Result<(BatchHeader, Bytes), Damage> {
    let damage = |what: String| Damage {
        path: frame.path.to_path_buf(),
        position: frame.header.position() + entry.bytes.start as u64,
        what,
    };
    let batch = frame.bytes.slice(entry.bytes.clone());
    let header = *batch::check(&batch).map_err(|error| damage(error.to_string()))?;
    if !frame.damaged {
        return Ok((header, batch));
    }
    if header.total_bytes() != batch.len() || header.offsets_count() != u64::from(entry.offsets_count) {
        return Err(damage("the batch is not the one its entry describes".to_string()));
    }
    // No checksum but the frame's covers the stamp.
    let mut stamped = BytesMut::from(&batch[..]);
    batch::stamp(&mut stamped, entry.offset, entry.leader_epoch);
    Ok((header, stamped.freeze()))
}

/// What is said of offsets that nothing else is known of.
fn gone(data: &Path, log: LogId) -> Damage {
    let what = "a segment file is gone, or the part of it that held these records".to_string();
    Damage { path: segment::directory(data, log), position: 0, what }
}

/// Offsets that stay given although their batch is gone.
fn lose(partition: &mut Partition, losses: &mut Vec<Loss>, entry: &Entry, damage: Damage) {
    let offsets = entry.offset..entry.offset + u64::from(entry.offsets_count);
    if partition.lost(offsets) {
        losses.push(Loss { log: entry.log, offset: entry.offset, damage });
    }
}

pub(crate) fn journal_directory(data: &Path, shard: u16) -> PathBuf {
    data.join("journal").join(shard.to_string())
}

/// Removes what only the old incarnation needed.
fn remove_old(
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
