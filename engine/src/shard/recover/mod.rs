//! Opening a data directory: what the last run left, made whole again, and a fresh beginning behind it.
//!
//! In: a directory. Out: shards ready to run, and a [`Report`] a person can read. Never: guesses. What should be
//! there and is not, or is not sound, is named, and what counts stays as it was.
//!
//! ```text
//!   superblock ─> checkpoints of its incarnation ─> segments they describe ─> journals behind them, their ends made certain
//!        ─> everything replayed is settled into segments and synced
//!        ─> checkpoints of the next incarnation ─> superblock: from here on the next incarnation counts
//! ```
//!
//! A crash anywhere before the superblock is written leaves the old incarnation as it was: recovery writes the last frames
//! again as they are, seals the journals, and adds runs behind the places its checkpoints know; the next attempt does the same. Because the new
//! incarnation starts with empty journals, the number of shards may differ from the last run's.

mod begin;
mod end;
mod holes;
mod identity;
mod placed;
mod replay;
mod settle;
#[cfg(all(test, feature = "sim"))]
mod tests;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::path::PathBuf;

use zerocopy::byteorder::little_endian::{U16, U32};

pub(crate) use begin::journal_directory;
use begin::remove_old;

use super::Shard;
use super::checkpoint::file_name;
use crate::error::{Damage, OpenError};
use crate::format::checkpoint::{Checkpoint, FileSet, LogState};
use crate::format::superblock::FEATURES;
use crate::io::Open;
use crate::io::disk::{self, DirectoryLock, Disk};
use crate::journal::recover::check_unused;
use crate::limits::{BLOCK_BYTES, Sizes};
use crate::partition::Partition;
use crate::planted::{Bug, planted};
use crate::segment;
use crate::types::{LogId, Offset};
use holes::Loss;
use identity::{superblock, write_superblock};
use replay::Doubtful;

/// How a data directory is opened.
#[derive(Clone, Debug)]
pub struct OpenConfig {
    /// The data directory; it is made if it is missing.
    pub directory: PathBuf,
    /// Where the directory is.
    pub disk: Disk,
    /// Shards to run with; may differ from the last run's.
    pub shards: u16,
    /// Which shard a log belongs to; must be the same function for the whole run.
    pub shard_of: fn(LogId, u16) -> u16,
    /// Number of this node, which a new directory gets.
    pub node_id: u32,
    /// The id a new directory gets.
    pub new_cluster_id: [u8; 16],
    /// Bytes of one journal file, a multiple of [`BLOCK_BYTES`] and at most [`JOURNAL_FILE_BYTES_MAX`](crate::limits::JOURNAL_FILE_BYTES_MAX); another number than
    /// before makes new files. The owner appends no batch that a file does not hold with a frame around it.
    pub journal_file_bytes: u64,
    /// Bytes of records that each shard has in memory: recent frames, which serve the ends of its logs, what is on its way to
    /// and from the device, and the cache of runs. When it is full, [`Shard::is_full`].
    pub memory_bytes: usize,
    /// [`Sizes::default`], unless in a test.
    pub sizes: Sizes,
}

/// An open data directory.
#[derive(Debug)]
pub struct Opened {
    /// As many as were asked for, in the order of their numbers.
    pub shards: Vec<Shard>,
    /// The id the directory was given when it was made.
    pub cluster_id: [u8; 16],
    /// What was found and done.
    pub report: Report,
    /// Keeps other processes out; to be held as long as the shards.
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

/// Everything found so far.
struct Recovery<'a> {
    config: &'a OpenConfig,
    logs: HashMap<LogId, Partition>,
    doubtful: HashMap<LogId, Doubtful>,
    /// Segment files written here. None stays open: there may be more than a process may have open.
    dirty: BTreeSet<PathBuf>,
    /// Files begun after the checkpoints; the journals hold all that is in them.
    unfinished: Vec<PathBuf>,
    /// Directories that such files were removed from.
    thinned: Vec<PathBuf>,
    /// What the journals mean of each log's segments, as far as it is not replayed.
    upcoming: HashMap<LogId, VecDeque<placed::Upcoming>>,
    /// Logs that the journals delete, and in which frame: nothing of them up to there is replayed, and their files may be
    /// gone.
    deleted: HashMap<LogId, u64>,
    /// Where each log ended that a checkpoint knows: what is below, the journals need not tell.
    contained: HashMap<LogId, Offset>,
    /// Segment files that hold runs which the journals mean.
    adopted: BTreeSet<PathBuf>,
    /// Files needed until the next incarnation counts: journal files of another size, and trimmed segments whose runs the
    /// journals mean.
    outdated: Vec<PathBuf>,
    /// What was found damaged in segments and frames.
    losses: Vec<Loss>,
    report: Report,
}

/// Opens `config.directory`, recovering what the last run left. When it returns, everything that was ever
/// acknowledged is in segments, synced, and the journals are empty; what is damaged is in [`Opened::report`].
///
/// Fails for each reason in [`OpenError`] but [`OpenError::Config`]: what the sizes in `config` may be, the caller knows.
///
/// ```
/// use ringmain_engine::format::record::BatchBuilder;
/// use ringmain_engine::io::disk::Disk;
/// use ringmain_engine::io::driver::{Choice, Driver};
/// use ringmain_engine::limits::Sizes;
/// use ringmain_engine::shard::recover::{OpenConfig, open};
/// use ringmain_engine::shard::ShardEvent;
/// use ringmain_engine::types::{LogId, Now, Ticket};
///
/// # let directory = std::env::temp_dir().join(format!("ringmain-doc-shard-{}", std::process::id()));
/// let mut opened = open(&OpenConfig {
///     directory: directory.clone(),
///     disk: Disk::Machine,
///     shards: 1,
///     shard_of: |_, _| 0,
///     node_id: 0,
///     new_cluster_id: [7; 16],
///     journal_file_bytes: 4 << 20,
///     memory_bytes: 64 << 20,
///     sizes: Sizes::default(),
/// })?;
/// let shard = &mut opened.shards[0];
/// let (mut driver, _, _) = Driver::open(Choice::Auto)?;
///
/// let mut batch = BatchBuilder::new(0);
/// batch.push(0, None, Some(b"a value"), &[]);
/// shard.create(LogId(1));
/// shard.append(LogId(1), &batch.finish(), Ticket { owner: 0, request: 1 }).unwrap();
///
/// let (mut wanted, mut done) = (Vec::new(), Vec::new());
/// let mut durable = None;
/// while durable.is_none() {
///     shard.commit(Now::default()); // in a program, the time
///     shard.collect(&mut wanted);
///     driver.submit(&mut wanted)?;
///     driver.wait(None, &mut done)?; // in a program, until the next deadline
///     done.drain(..).for_each(|completion| shard.complete(completion));
///     while let Some(event) = shard.next_event() {
///         match event {
///             ShardEvent::Appended { base_offset, .. } => durable = Some(base_offset),
///             ShardEvent::Failed { what } => return Err(what.into()),
///             _ => {}
///         }
///     }
/// }
/// assert_eq!(durable, Some(0));
/// # drop(driver);
/// # std::fs::remove_dir_all(&directory)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
    // Frames of this build may be written from here on.
    superblock.incompatible = U32::new(FEATURES);
    if !created && !planted(Bug::SuperblockNotClaimed) {
        // A write of the last start that failed may yet arrive. It went where this one goes; after this one, nothing
        // can bring a later incarnation back whose files are written again below.
        write_superblock(directory, &file, &mut superblock)?;
    }
    let mut recovery = Recovery {
        config,
        logs: HashMap::new(),
        doubtful: HashMap::new(),
        dirty: BTreeSet::new(),
        unfinished: Vec::new(),
        thinned: Vec::new(),
        upcoming: HashMap::new(),
        deleted: HashMap::new(),
        contained: HashMap::new(),
        adopted: BTreeSet::new(),
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

impl Recovery<'_> {
    fn checkpoints(&mut self, incarnation: u32, shards: u16) -> Result<Vec<Checkpoint>, OpenError> {
        let mut checkpoints = Vec::new();
        // What they say is acted upon. A name that was given just before the end may be seen without being durable, and
        // what the checkpoint before it needs must not be gone when that comes back.
        self.config.disk.sync_directory(&self.config.directory.join("state"))?;
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
        let disk = &self.config.disk;
        let logs: Vec<_> =
            checkpoints.iter().flat_map(|found| found.logs.iter().map(|log| (log, found.sequence))).collect();
        let found = disk.each(logs, |(state, sequence)| {
            segment::recover::find(disk, data, state).map(|found| (state, sequence, found))
        });
        for found in found {
            let (state, sequence, found) = found?;
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
            self.contained.insert(state.id, state.end);
            self.logs.insert(state.id, partition);
        }
        Ok(())
    }

    fn logs_in_order(&self) -> Vec<LogId> {
        let mut logs: Vec<LogId> = self.logs.keys().copied().collect();
        logs.sort_unstable();
        logs
    }
}
