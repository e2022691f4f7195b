//! Checkpoints: what recovery needs of the past, so that journal files may be used again.
//!
//! In: which journal files are full, and whether it is time to release them; what is settled. Out: syncs of segments
//! and directories, then one small file, whole or not at all. Never: lets go of a frame before everything it held is durable
//! elsewhere.
//!
//! ```text
//!   idle ─(full, and due; or asked for)──> settling ─> syncing ─> writing ─> syncing the file ─> renaming ─> syncing the
//!     ^                                                                                        directory
//!     ├──────────────── journal files up to it are spare, removed segments are unlinked ──────────┤
//!     └──────────────── no room for the small file: begun again later ──(not a sync) ─────────────┘
//! ```

use std::path::PathBuf;

use super::room::Wanting;
use super::settle::DirtyFile;
use super::{Shard, Work};
use crate::format::checkpoint::Checkpoint;
use crate::io::{Descriptor, Done, Fault, Op, Open, buffer};
use crate::limits::PLACED_SEGMENTS_MAX;
use crate::partition::Provided;
use crate::planted::{Bug, planted};
use crate::segment::{self, SegmentName};
use crate::types::LogId;

/// Syncs a checkpoint has in flight at a time. Those that wait together share flushes of the device.
const SYNCS_IN_FLIGHT_MAX: usize = 32;

/// The state of the checkpoint being made, if one is.
#[derive(Debug, Default)]
pub(super) struct Checkpointer {
    phase: Phase,
    /// Highest frame that is durable.
    durable: u64,
    /// What the last one contains, and its chain.
    upto: (u64, u32),
    /// Memory has begun to settle what is in full files, so that one costs less now than later.
    is_cheap: bool,
    /// Segments were sealed for one to know them.
    is_asked: bool,
    /// Bytes placed when the last one began.
    placed_bytes: u64,
    /// Trimmed segments that the last checkpoint, or the journal behind it, may still mean; and those that the one being
    /// made does not.
    owed: Vec<(LogId, Provided)>,
    let_go: Vec<(LogId, Provided)>,
    /// Files that nothing refers to once the frames that say so are durable, and that frame.
    removals: Vec<(u64, Op)>,
    /// Removals under way. A checkpoint waits for them: what a truncation made superfluous must not come back beside
    /// one that counts on its absence.
    removing: usize,
}

#[derive(Debug, Default)]
enum Phase {
    #[default]
    Idle,
    Settling {
        sequence: u64,
        chain: u32,
    },
    Syncing {
        checkpoint: Box<Checkpoint>,
        files: Vec<DirtyFile>,
        directories: Vec<PathBuf>,
        in_flight: usize,
    },
    Opening {
        checkpoint: Box<Checkpoint>,
    },
    Writing {
        sequence: u64,
        chain: u32,
        file: Descriptor,
    },
    SyncingFile {
        sequence: u64,
        chain: u32,
    },
    Renaming {
        sequence: u64,
        chain: u32,
    },
    OpeningDirectory {
        sequence: u64,
        chain: u32,
    },
    SyncingDirectory {
        sequence: u64,
        chain: u32,
    },
}

/// Name of a shard's checkpoint.
pub(crate) fn file_name(incarnation: u32, shard: u16) -> String {
    format!("{incarnation}-{shard}.checkpoint")
}

impl Checkpointer {
    /// The last one contains the frames up to `sequence`, which has this checksum.
    pub(super) fn continues(sequence: u64, chain: u32) -> Checkpointer {
        Checkpointer { upto: (sequence, chain), durable: sequence, ..Checkpointer::default() }
    }

    pub(super) fn durable(&mut self, sequence: u64) {
        self.durable = sequence;
    }

    /// Memory begins to settle what is in full files.
    pub(super) fn becomes_cheap(&mut self) {
        self.is_cheap = true;
    }

    /// One is to be made of the logs as they are.
    pub(super) fn ask(&mut self) {
        self.is_asked = true;
    }

    pub(super) fn durable_upto(&self) -> u64 {
        self.durable
    }

    /// Whether none is being made.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle)
    }

    /// Whether it is at its files now, some of which it finds by name.
    pub(super) fn is_syncing(&self) -> bool {
        matches!(self.phase, Phase::Syncing { .. })
    }

    /// Removes a file once the frame `sequence` is durable.
    pub(super) fn remove_after(&mut self, sequence: u64, path: PathBuf) {
        self.removals.push((sequence, Op::Remove { path }));
    }

    /// Lets go of a file once a checkpoint counts that is yet to be begun.
    pub(super) fn remove_after_next(&mut self, log: LogId, file: Provided) {
        self.owed.push((log, file));
    }

    /// The log is gone, and what the journal means of it need not be found.
    pub(super) fn no_longer_owed(&mut self, log: LogId) -> Vec<SegmentName> {
        let gone = self.owed.extract_if(.., |(of, _)| *of == log);
        let gone: Vec<SegmentName> = gone.map(|(_, file)| file.name).collect();
        let letting_go = self.let_go.extract_if(.., |(of, _)| *of == log);
        gone.into_iter().chain(letting_go.map(|(_, file)| file.name)).collect()
    }

    /// Removes a directory a frame later than the files in it.
    pub(super) fn remove_directory_after(&mut self, sequence: u64, path: PathBuf) {
        self.removals.push((sequence + 1, Op::RemoveDirectory { path }));
    }
}

impl Shard {
    /// Begins a checkpoint when a journal file is full, and goes on once everything in it is settled. Not before memory begins to
    /// have it settled or the next file is half full: what is settled for a checkpoint alone is in two short runs. One that is
    /// owed or asked for contains no more frames than the last.
    pub(super) fn drive_checkpoint(&mut self) {
        self.remove_files();
        if self.failed.is_some() || self.room.is_held() {
            return;
        }
        match self.checkpointer.phase {
            Phase::Idle => {
                // What is owed needs a new checkpoint, but not one that contains more frames.
                let owes = !(self.checkpointer.owed.is_empty() && self.checkpointer.let_go.is_empty());
                let placed_bytes = self.counts.placed_bytes - self.checkpointer.placed_bytes;
                let is_much = placed_bytes >= PLACED_SEGMENTS_MAX * self.place.sizes.segment_bytes;
                let again = (owes || is_much || self.checkpointer.is_asked).then_some(self.checkpointer.upto);
                let is_due = self.checkpointer.is_cheap
                    || self.journal.files().wants_release()
                    || self.shortage().is_some();
                let full = self.journal.files().full_upto().filter(|_| is_due);
                let Some((sequence, chain)) = full.or(again) else {
                    return self.room.found(Wanting::Checkpoint);
                };
                if sequence > self.checkpointer.durable {
                    return;
                }
                self.checkpointer.phase = Phase::Settling { sequence, chain };
                self.settle_upto(sequence);
            }
            Phase::Settling { sequence, chain }
                if self.settler.is_idle() && self.checkpointer.removing == 0 =>
            {
                if planted(Bug::JournalFileRecycledTooSoon) {
                    self.journal.files().release(sequence);
                }
                // A truncation that waits for a segment is in a frame that the checkpoint would contain.
                let mut truncations = self.logs.values().filter_map(|log| log.truncation.as_ref());
                if truncations.any(|found| found.durable) {
                    return;
                }
                let open = self.logs.values().any(|partition| partition.is_unsettled(sequence));
                assert!(!open, "the settler is idle, so all that was asked for is settled");
                let checkpoint = Box::new(self.checkpoint(sequence, chain));
                self.checkpointer.let_go.append(&mut self.checkpointer.owed);
                self.checkpointer.placed_bytes = self.counts.placed_bytes;
                self.checkpointer.is_asked = false;
                self.logs.values_mut().for_each(|partition| partition.checkpoint_begins());
                let (mut files, mut directories) = self.settler.take_dirty();
                if planted(Bug::CheckpointBeforeSync) {
                    files.clear();
                }
                if planted(Bug::ForgetDirectorySync) {
                    directories.clear();
                }
                let many = files.len() + directories.len() >= self.place.sizes.sync_all_min;
                let whole = self.place.whole.clone().filter(|_| many);
                if whole.is_some() {
                    files.clear();
                    directories.clear();
                }
                let whole = whole.filter(|_| !planted(Bug::SyncOfAllLeftOut));
                let in_flight = usize::from(whole.is_some());
                self.checkpointer.phase = Phase::Syncing { checkpoint, files, directories, in_flight };
                match whole {
                    Some(file) => self.want(Work::Checkpoint, Op::SyncAll { file }),
                    None => self.sync_more(),
                }
            }
            _ => {}
        }
    }

    fn checkpoint(&self, sequence: u64, chain: u32) -> Checkpoint {
        // Not ahead of what is durable: a log whose frame is on its way may never have existed.
        let durable = self.checkpointer.durable;
        let made = self.logs.values().filter(|partition| partition.created_in <= durable);
        let mut logs: Vec<_> = made.map(|partition| partition.state()).collect();
        logs.sort_by_key(|log| log.id);
        let (incarnation, shard) = (self.place.incarnation, self.place.shard);
        Checkpoint { incarnation, shard, sequence, chain, durable, journal: self.journal.file_set(), logs }
    }

    fn path(&self, suffix: &str) -> PathBuf {
        let name = file_name(self.place.incarnation, self.place.shard);
        self.place.directory.join("state").join(name + suffix)
    }

    fn sync_more(&mut self) {
        let mut ops = Vec::new();
        let Phase::Syncing { files, directories, in_flight, .. } = &mut self.checkpointer.phase else {
            return;
        };
        while *in_flight < SYNCS_IN_FLIGHT_MAX {
            let op = match (files.pop(), directories.is_empty()) {
                (Some((_, Some(file))), _) => Op::Sync { file },
                // Written with direct I/O, so it has no error to tell that its writes have not told, and what the file
                // system could not do to its own records it tells everybody from then on.
                (Some(((log, name), None)), _) => {
                    Op::Open { path: segment::path(&self.place.directory, log, name), how: Open::Read }
                }
                (None, true) => break,
                (None, false) => match directories.pop() {
                    Some(path) => Op::Open { path, how: Open::Directory },
                    None => break,
                },
            };
            *in_flight += 1;
            ops.push(op);
        }
        let finished = *in_flight == 0;
        for op in ops {
            self.want(Work::Checkpoint, op);
        }
        if finished {
            let phase = std::mem::take(&mut self.checkpointer.phase);
            let Phase::Syncing { checkpoint, .. } = phase else { unreachable!("matched above") };
            self.checkpointer.phase = Phase::Opening { checkpoint };
            let op = Op::Open { path: self.path(".new"), how: Open::Replace };
            self.want(Work::Checkpoint, op);
        }
    }

    /// One step is done.
    pub(super) fn checkpoint_step(&mut self, result: Result<Done, Fault>) {
        let done = match (result, &self.checkpointer.phase) {
            (Ok(done), _) => done,
            // What was removed meanwhile, a directory or a file that had been closed, needs no sync.
            (Err(Fault { errno: libc::ENOENT }), Phase::Syncing { .. }) => Done::Finished,
            (Err(_), Phase::Syncing { .. }) if planted(Bug::RetryFailedSync) => Done::Finished,
            // The checkpoint before still counts. This one is begun again when there is room.
            (Err(fault), Phase::Opening { .. } | Phase::Writing { .. } | Phase::Renaming { .. })
                if fault.is_no_space() =>
            {
                self.checkpointer.phase = Phase::Idle;
                self.release_spares();
                return self.room.found_none(Wanting::Checkpoint);
            }
            (Err(fault), _) => return self.fail("write a checkpoint", self.path(""), fault),
        };
        let phase = std::mem::take(&mut self.checkpointer.phase);
        let (next, op) = match (phase, done) {
            (Phase::Syncing { checkpoint, files, directories, in_flight }, done) => {
                // A directory or a file was opened and is to be synced; anything else is finished.
                let (in_flight, op) = match done {
                    Done::Opened(file) => (in_flight, Some(Op::Sync { file })),
                    _ => (in_flight - 1, None),
                };
                self.checkpointer.phase = Phase::Syncing { checkpoint, files, directories, in_flight };
                match op {
                    Some(op) => self.want(Work::Checkpoint, op),
                    None => self.sync_more(),
                }
                return;
            }
            (Phase::Opening { checkpoint }, Done::Opened(file)) => {
                let bytes = checkpoint.to_bytes();
                let mut data = buffer::aligned(bytes.len());
                data.extend_from_slice(&bytes);
                buffer::pad(&mut data);
                let op = Op::Write { file: file.clone(), position: 0, data: data.freeze(), durable: false };
                (Phase::Writing { sequence: checkpoint.sequence, chain: checkpoint.chain, file }, op)
            }
            (Phase::Writing { sequence, chain, .. }, _) if planted(Bug::CheckpointFileNotSynced) => (
                Phase::Renaming { sequence, chain },
                Op::Rename { from: self.path(".new"), to: self.path("") },
            ),
            (Phase::Writing { sequence, chain, file }, _) => {
                (Phase::SyncingFile { sequence, chain }, Op::Sync { file })
            }
            (Phase::SyncingFile { sequence, chain }, _) => (
                Phase::Renaming { sequence, chain },
                Op::Rename { from: self.path(".new"), to: self.path("") },
            ),
            (Phase::Renaming { sequence, chain }, _) => {
                let op = Op::Open { path: self.place.directory.join("state"), how: Open::Directory };
                (Phase::OpeningDirectory { sequence, chain }, op)
            }
            (Phase::OpeningDirectory { sequence, chain }, Done::Opened(file)) => {
                (Phase::SyncingDirectory { sequence, chain }, Op::Sync { file })
            }
            (Phase::SyncingDirectory { sequence, chain }, _) => {
                self.checkpointer.upto = (sequence, chain);
                self.checkpointer.is_cheap = false;
                let let_go = std::mem::take(&mut self.checkpointer.let_go);
                self.let_go(let_go);
                self.journal.files().release(sequence);
                self.counts.checkpoints += 1;
                self.logs.values_mut().for_each(|partition| partition.checkpoint_counts());
                self.room.found(Wanting::Checkpoint);
                return; // idle again
            }
            (phase, done) => unreachable!("{phase:?} cannot come to {done:?}"),
        };
        self.checkpointer.phase = next;
        self.want(Work::Checkpoint, op);
    }

    /// Removes files whose logs or segments are gone for good: the frame that says so is durable.
    fn remove_files(&mut self) {
        // What is closed is opened by its name to be synced.
        if self.checkpointer.is_syncing() {
            return;
        }
        let durable = self.checkpointer.durable;
        let removals = std::mem::take(&mut self.checkpointer.removals);
        let (ready, later): (Vec<_>, Vec<_>) = removals.into_iter().partition(|(after, _)| *after <= durable);
        self.checkpointer.removals = later;
        for (_, op) in ready {
            self.remove(op);
        }
    }

    /// Removes a file or a directory now.
    pub(super) fn remove(&mut self, op: Op) {
        self.checkpointer.removing += 1;
        self.want(Work::Removal, op);
    }

    /// A file that stays is found and removed at the next start.
    pub(super) fn removed(&mut self) {
        self.checkpointer.removing -= 1;
    }
}
