//! Settling: moving the durable ends of logs from the journal's frames into their segments, as large runs.
//!
//! In: logs with enough unsettled bytes, or logs that a checkpoint or the memory limit wants settled. Out:
//! operations that make directories and files and write runs. Never: syncs (a checkpoint does), or holds up an
//! append: few runs are in flight at a time.
//!
//! ```text
//!   queued ─> [make directory] ─> [open segment] ─> write run ─> queued again, or done
//!     ^  └──> [write table: seal the full segment] ──┘
//!     └── no room: what was written is cut off, and it is tried again later
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use super::room::Wanting;
use super::{Shard, Work};
use crate::format::run::{self, RunPlace};
use crate::io::{Descriptor, Done, Fault, Op, Open};
use crate::limits::SETTLES_IN_FLIGHT_MAX;
use crate::planted::{Bug, planted};
use crate::segment::{self, SegmentName};
use crate::types::LogId;

/// Which logs are to be settled, and what a checkpoint must sync.
#[derive(Debug, Default)]
pub(super) struct Settler {
    queue: VecDeque<LogId>,
    /// Logs with a step under way; at most [`SETTLES_IN_FLIGHT_MAX`].
    in_flight: Vec<LogId>,
    /// Everything in frames up to this one is to be settled.
    upto: u64,
    /// Files written since the last checkpoint.
    dirty_files: BTreeMap<PathBuf, Descriptor>,
    /// Directories with new entries since the last checkpoint.
    dirty_directories: BTreeSet<PathBuf>,
}

impl Settler {
    pub(super) fn queue(&mut self, log: LogId) {
        self.queue.push_back(log);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.in_flight.is_empty()
    }

    /// Whether a step of the log is under way.
    pub(super) fn is_busy(&self, log: LogId) -> bool {
        self.in_flight.contains(&log)
    }

    /// What is to be removed needs no sync, and is not to be kept open for one.
    pub(super) fn forget(&mut self, path: &Path) {
        self.dirty_files.remove(path);
        self.dirty_directories.remove(path);
    }

    /// Takes what a checkpoint must sync.
    pub(super) fn take_dirty(&mut self) -> (Vec<Descriptor>, Vec<PathBuf>) {
        let files = std::mem::take(&mut self.dirty_files).into_values().collect();
        (files, std::mem::take(&mut self.dirty_directories).into_iter().collect())
    }
}

/// One step of settling one log.
#[derive(Debug)]
pub(super) struct Job {
    log: LogId,
    step: Step,
}

#[derive(Debug)]
enum Step {
    MakeDirectory,
    Open {
        name: SegmentName,
    },
    Write {
        place: RunPlace,
        end_position: u64,
    },
    Seal,
    /// Taking back what a write left that found no room.
    Cut,
}

impl Shard {
    /// Has everything in frames up to `sequence` settled.
    pub(super) fn settle_upto(&mut self, sequence: u64) {
        if sequence <= self.settler.upto {
            return;
        }
        self.settler.upto = sequence;
        let logs: BTreeSet<LogId> = self.held.logs_upto(sequence).collect();
        for log in logs {
            let Some(partition) = self.logs.get_mut(&log) else { continue };
            let wanted = partition.unsettled_since().is_some_and(|since| since <= sequence);
            if wanted && !partition.settling {
                partition.settling = true;
                self.settler.queue(log);
            }
        }
    }

    /// Begins queued work while little is in flight.
    pub(super) fn drive_settling(&mut self) {
        while self.settler.in_flight.len() < SETTLES_IN_FLIGHT_MAX
            && self.failed.is_none()
            && !self.room.is_held()
        {
            let Some(log) = self.settler.queue.pop_front() else { return };
            self.settle_next(log);
        }
    }

    /// Begins the next step for `log`: whichever is needed before its next run can be written.
    fn settle_next(&mut self, log: LogId) {
        let Some(partition) = self.logs.get_mut(&log) else { return };
        let (batches, offsets, max_timestamp_ms) = partition.to_settle(self.place.sizes.run_bytes);
        if batches.is_empty() {
            partition.settling = false;
            return;
        }
        let data = &self.place.directory;
        let Some(active) = partition.segments.active() else {
            let (step, op) = if partition.segments.has_directory {
                let name = SegmentName { base: offsets.start, generation: partition.generation };
                let path = segment::path(data, log, name);
                (Step::Open { name }, Op::Open { path, how: Open::Replace })
            } else {
                (Step::MakeDirectory, Op::MakeDirectory { path: segment::directory(data, log) })
            };
            return self.settle_with(Job { log, step }, op);
        };
        let Some(file) = active.file.clone() else { unreachable!("an active segment is open") };
        let full = active.position >= self.place.sizes.segment_bytes.min(partition.segment_bytes_max);
        if full || active.is_cut() {
            let table = run::seal(log, active.name.base, &active.runs, active.position);
            let mut aligned = crate::io::buffer::aligned(table.len());
            aligned.extend_from_slice(&table);
            let op = Op::Write { file, position: active.position, data: aligned.freeze(), durable: false };
            return self.settle_with(Job { log, step: Step::Seal }, op);
        }
        let (base, position) = (active.name.base, active.position);
        let (bytes, place, end_position) = segment::lay_out(
            log,
            base,
            partition.leader_epoch,
            position,
            offsets,
            max_timestamp_ms,
            &batches,
        );
        if planted(Bug::SettledBeforeWritten) {
            partition.settled(place.end_offset.get());
        }
        let op = Op::Write { file, position, data: bytes, durable: false };
        self.settle_with(Job { log, step: Step::Write { place, end_position } }, op);
    }

    fn settle_with(&mut self, job: Job, op: Op) {
        self.settler.in_flight.push(job.log);
        self.want(Work::Settle(Box::new(job)), op);
    }

    /// One step is done.
    pub(super) fn settle_step(&mut self, job: Job, result: Result<Done, Fault>) {
        let log = job.log;
        self.settler.in_flight.retain(|other| *other != log);
        self.settle_done(job, result);
        self.truncate_now(log);
    }

    fn settle_done(&mut self, job: Job, result: Result<Done, Fault>) {
        let data = self.place.directory.clone();
        let directory = segment::directory(&data, job.log);
        let Some(partition) = self.logs.get_mut(&job.log) else {
            // Deleted meanwhile: take back what this step may have made. That it failed does not matter.
            if let Step::Open { name } = job.step {
                self.want(Work::Removal, Op::Remove { path: segment::path(&data, job.log, name) });
            }
            self.checkpointer.remove_directory_after(self.journal.gathering_sequence(), directory);
            return;
        };
        let done = match result {
            Ok(done) => done,
            Err(fault) if fault.is_no_space() => return self.settle_later(job),
            Err(fault) => return self.fail("write a segment", directory, fault),
        };
        match (job.step, done) {
            (Step::MakeDirectory, _) => {
                partition.segments.has_directory = true;
                self.settler.dirty_directories.insert(data.join("log"));
            }
            (Step::Open { name }, Done::Opened(file)) => {
                partition.segments.begin(name, file);
                self.settler.dirty_directories.insert(directory);
            }
            (Step::Cut, _) => return self.settler.queue.push_front(job.log),
            (Step::Seal, _) => {
                self.mark_dirty(job.log);
                if let Some(partition) = self.logs.get_mut(&job.log) {
                    partition.segments.seal();
                }
            }
            (Step::Write { place, end_position }, _) => {
                partition.segments.push(place, end_position);
                let end = place.end_offset.get();
                if end > partition.marks().settled {
                    partition.settled(end);
                }
                self.counts.settled_bytes += place.total_bytes() as u64;
                self.counts.settled_runs += 1;
                self.mark_dirty(job.log);
            }
            (step, done) => unreachable!("{step:?} cannot come to {done:?}"),
        }
        self.room.found(Wanting::Segment);
        self.settle_on(job.log);
    }

    /// A step found no room. It is tried again later, and what it may have written is cut off first: a seal behind it
    /// must be the end of the file.
    fn settle_later(&mut self, job: Job) {
        self.room.found_none(Wanting::Segment);
        let active = self.logs.get(&job.log).and_then(|partition| partition.segments.active());
        let file = active.and_then(|active| Some((active.file.clone()?, active.position)));
        match (job.step, file) {
            (Step::Write { .. } | Step::Seal, Some((file, length))) => {
                self.settle_with(Job { log: job.log, step: Step::Cut }, Op::Truncate { file, length });
            }
            _ => self.settler.queue.push_front(job.log),
        }
    }

    fn mark_dirty(&mut self, log: LogId) {
        let Some(active) = self.logs.get(&log).and_then(|partition| partition.segments.active()) else {
            return;
        };
        if let Some(file) = active.file.clone() {
            self.settler.dirty_files.insert(segment::path(&self.place.directory, log, active.name), file);
        }
    }

    /// Queues the log again if more of it is to be settled.
    fn settle_on(&mut self, log: LogId) {
        let upto = self.settler.upto;
        let Some(partition) = self.logs.get_mut(&log) else { return };
        let more = partition.unsettled_bytes() >= self.place.sizes.run_bytes
            || partition.unsettled_since().is_some_and(|since| since <= upto);
        partition.settling = more;
        if more {
            self.settler.queue(log);
        }
    }
}
