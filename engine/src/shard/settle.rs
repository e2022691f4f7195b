//! Settling: moving the durable ends of logs from the journal's frames into their segments, as large runs.
//!
//! In: logs with enough unsettled bytes, or logs that a checkpoint or the memory limit wants settled. Out:
//! operations that make directories and files and write runs. Never: syncs (a checkpoint does), or holds up an
//! append: few long runs are in flight at a time.
//!
//! ```text
//!   queued ─> [make directory] ─> [open segment, or open it again] ─> write run ─> queued again, or done
//!     ^  ├──> [write table, cut what is behind: seal the full segment] ──┘
//!     │  └──> parked, while a run is placed beside a frame or the next segment is made ready
//!     └── no room: what was written is cut off, and it is tried again later
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use zerocopy::FromBytes;

use super::room::Wanting;
use super::{Shard, Work};
use crate::format::frame::PlacedRun;
use crate::format::run::{self, RunHeader, RunPlace};
use crate::io::{Descriptor, Done, Fault, Op, Open, buffer};
use crate::limits::{LONG_RUNS_IN_FLIGHT_MAX, SETTLES_IN_FLIGHT_MAX};
use crate::partition::Partition;
use crate::planted::{Bug, planted};
use crate::segment::{self, Segment, SegmentName};
use crate::types::{LogId, Offset};

/// What the journal is to say of a run that was laid out.
fn placed_run(bytes: &[u8], name: SegmentName) -> Option<PlacedRun> {
    let (header, _) = RunHeader::read_from_prefix(bytes).ok()?;
    let run = crate::journal::placed_run(&header, name.base, name.generation);
    Some(PlacedRun { was_durable: 1.into(), ..run }.sealed())
}

/// Whose file was written, and itself if it is open.
pub(super) type DirtyFile = ((LogId, SegmentName), Option<Descriptor>);

/// Which logs are to be settled, and what a checkpoint must sync.
#[derive(Debug, Default)]
pub(super) struct Settler {
    queue: VecDeque<LogId>,
    /// Logs that cannot be settled before something else is done.
    parked: Vec<LogId>,
    /// Logs with a step under way; at most [`SETTLES_IN_FLIGHT_MAX`].
    in_flight: Vec<LogId>,
    /// Bytes that those write.
    in_flight_bytes: usize,
    /// Everything in frames up to this one is to be settled.
    upto: u64,
    /// Files written since the last checkpoint, open or closed since.
    dirty_files: BTreeMap<(LogId, SegmentName), Option<Descriptor>>,
    /// Directories with new entries since the last checkpoint.
    dirty_directories: BTreeSet<PathBuf>,
}

impl Settler {
    pub(super) fn queue(&mut self, log: LogId) {
        self.queue.push_back(log);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.in_flight.is_empty() && self.parked.is_empty()
    }

    /// Bytes of runs being written.
    pub(super) fn in_flight_bytes(&self) -> usize {
        self.in_flight_bytes
    }

    /// Whether a step of the log is under way.
    pub(super) fn is_busy(&self, log: LogId) -> bool {
        self.in_flight.contains(&log)
    }

    /// Logs that wait to be settled.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &LogId> {
        self.queue.iter().chain(&self.parked)
    }

    /// What the log waited for is done.
    pub(super) fn unpark(&mut self, log: LogId) {
        if let Some(index) = self.parked.iter().position(|parked| *parked == log) {
            self.queue.push_back(self.parked.swap_remove(index));
        }
    }

    /// What is to be removed needs no sync, and is not to be kept open for one.
    pub(super) fn forget(&mut self, log: LogId, name: SegmentName) {
        self.dirty_files.remove(&(log, name));
    }

    /// The same of a directory.
    pub(super) fn forget_directory(&mut self, path: &Path) {
        self.dirty_directories.remove(path);
    }

    /// Whether so much is asked for already.
    pub(super) fn is_asked(&self, sequence: u64) -> bool {
        sequence <= self.upto
    }

    /// The segment's file is not kept open.
    pub(super) fn closed(&mut self, log: LogId, name: SegmentName) {
        if let Some(file) = self.dirty_files.get_mut(&(log, name)) {
            *file = None;
        }
    }

    /// The directory has lost entries that must not come back beside the next checkpoint.
    pub(super) fn thinned(&mut self, directory: PathBuf) {
        self.dirty_directories.insert(directory);
    }

    /// Takes what a checkpoint must sync.
    pub(super) fn take_dirty(&mut self) -> (Vec<DirtyFile>, Vec<PathBuf>) {
        let files = std::mem::take(&mut self.dirty_files).into_iter().collect();
        (files, std::mem::take(&mut self.dirty_directories).into_iter().collect())
    }
}

/// One step of settling one log.
#[derive(Debug)]
pub(super) struct Job {
    log: LogId,
    step: Step,
    /// Bytes that it writes.
    bytes: usize,
}

#[derive(Debug)]
enum Step {
    MakeDirectory,
    Open {
        name: SegmentName,
    },
    /// The file of the segment being filled had been closed.
    OpenAgain {
        name: SegmentName,
    },
    Write {
        place: RunPlace,
        end_position: u64,
        /// What the journal is to say of it, because its segment takes whole runs.
        placed: Option<PlacedRun>,
    },
    Seal {
        length: u64,
    },
    /// The trailer must be the last block of the file.
    CutSealed,
    /// Taking back what a write left that found no room, or blocks that are reserved in vain.
    Cut,
}

/// The first step of a segment that is to begin with `base`.
fn begin(data: &Path, partition: &Partition, base: Offset) -> (Step, Op) {
    let log = partition.id;
    if !partition.segments.has_directory {
        return (Step::MakeDirectory, Op::MakeDirectory { path: segment::directory(data, log) });
    }
    let name = SegmentName { base, generation: partition.generation };
    (Step::Open { name }, Op::Open { path: segment::path(data, log, name), how: Open::Replace })
}

/// The first of the two last steps of a segment: the table of its runs.
fn seal(log: LogId, active: &Segment, file: Descriptor) -> (Step, Op) {
    let table = run::seal(log, active.name.base, &active.runs, active.position);
    let mut data = buffer::aligned(table.len());
    data.extend_from_slice(&table);
    let length = active.position + table.len() as u64;
    (
        Step::Seal { length },
        Op::Write { file, position: active.position, data: data.freeze(), durable: false },
    )
}

impl Shard {
    /// Has everything in frames up to `sequence` settled.
    pub(super) fn settle_upto(&mut self, sequence: u64) {
        if self.settler.is_asked(sequence) {
            return;
        }
        self.settler.upto = sequence;
        let mut logs = Vec::new();
        for partition in self.logs.values_mut().filter(|partition| partition.is_unsettled(sequence)) {
            if !partition.settling {
                partition.settling = true;
                logs.push(partition.id);
            }
        }
        logs.sort_unstable();
        self.settler.queue.extend(logs);
    }

    /// Has everything that is durable of the log in sealed segments, and a checkpoint know them.
    pub(super) fn seal(&mut self, log: LogId) {
        let Some(partition) = self.logs.get_mut(&log) else { return };
        partition.seal();
        if !partition.wants_sealing() {
            return self.checkpointer.ask();
        }
        if !partition.settling {
            partition.settling = true;
            self.settler.queue(log);
        }
    }

    /// Begins queued work while little is in flight.
    pub(super) fn drive_settling(&mut self) {
        let bytes_max = LONG_RUNS_IN_FLIGHT_MAX * self.place.sizes.run_bytes;
        while self.settler.in_flight.len() < SETTLES_IN_FLIGHT_MAX
            && self.settler.in_flight_bytes < bytes_max
            && self.failed.is_none()
            && !self.room.is_held()
        {
            let Some(log) = self.settler.queue.pop_front() else { return };
            self.settle_next(log);
        }
    }

    /// Begins the next step for `log`: whichever is needed before its next run can be written.
    fn settle_next(&mut self, log: LogId) {
        let is_short = self.shortage().is_some();
        let Some(partition) = self.logs.get_mut(&log) else { return };
        if partition.is_placing() {
            return self.settler.parked.push(log);
        }
        let limit = partition.settle_limit();
        // Where runs are placed, nothing is while one is settled, so what waits is made an end of.
        let run_bytes =
            if partition.takes_runs() { self.place.before_bytes_max() } else { self.place.sizes.run_bytes };
        let (batches, offsets, max_timestamp_ms) = partition.to_settle(run_bytes, limit);
        if batches.is_empty()
            && partition.may_begin_next()
            && let Some(unbegun) = partition.segments.take_unbegun()
        {
            // All that it was opened for was trimmed meanwhile.
            self.remove_segments(log, &[unbegun], self.journal.gathering_sequence());
            return self.settler.queue.push_front(log);
        }
        let cuts = partition.reserves_in_vain(is_short);
        let seals = partition.is_active_to_be_sealed();
        match (batches.is_empty(), partition.segments.active()) {
            _ if cuts || seals => {}
            (true, _) if partition.unsettled_bytes() == 0 && !partition.may_begin_next() => {
                partition.settling = false;
                return;
            }
            (true, _) if !partition.may_begin_next() => return self.settler.parked.push(log),
            (true, None) => {
                self.begin_ready(log);
                self.settle_on(log);
                return self.truncate_now(log);
            }
            _ => {}
        }
        let Some(active) = partition.segments.active() else {
            let (step, op) = begin(&self.place.directory, partition, offsets.start);
            return self.settle_with(log, step, op);
        };
        let Some(file) = active.file.clone() else {
            let name = active.name;
            let op = Op::Open { path: segment::path(&self.place.directory, log, name), how: Open::Update };
            return self.settle_with(log, Step::OpenAgain { name }, op);
        };
        if cuts {
            let length = active.position;
            if let Some(placement) = &mut partition.placement {
                placement.into = None; // the blocks that were reserved for more go back
            }
            return self.settle_with(log, Step::Cut, Op::Truncate { file, length });
        }
        let full = active.position >= self.place.sizes.segment_bytes.min(partition.segment_bytes_max);
        if full || seals || active.is_cut() || batches.is_empty() {
            let (step, op) = seal(log, active, file);
            return self.settle_with(log, step, op);
        }
        let (name, position) = (active.name, active.position);
        let epoch = partition.leader_epoch;
        let (bytes, place, end_position) =
            segment::lay_out(log, name.base, epoch, position, offsets, max_timestamp_ms, &batches);
        if planted(Bug::SettledBeforeWritten) {
            partition.settled(place.end_offset.get());
        }
        // Either the journal tells every run of a segment, each durable before it is told, or none is placed there again.
        let mut placed = None;
        if let Some(placement) = &mut partition.placement {
            let takes_runs = placement.worth().is_some_and(|into| into.name == name);
            placed = takes_runs.then(|| placed_run(&bytes, name)).flatten();
            placement.into = placement.into.filter(|_| placed.is_some());
        }
        let op = Op::Write { file, position, data: bytes, durable: placed.is_some() };
        self.settle_with(log, Step::Write { place, end_position, placed }, op);
    }

    fn settle_with(&mut self, log: LogId, step: Step, op: Op) {
        let bytes = if let Op::Write { data, .. } = &op { data.len() } else { 0 };
        self.settler.in_flight.push(log);
        self.settler.in_flight_bytes += bytes;
        self.want(Work::Settle(Box::new(Job { log, step, bytes })), op);
    }

    /// One step is done.
    pub(super) fn settle_step(&mut self, job: Job, result: Result<Done, Fault>) {
        let log = job.log;
        self.settler.in_flight.retain(|other| *other != log);
        self.settler.in_flight_bytes -= job.bytes;
        self.settle_done(job, result);
        self.truncate_now(log);
        self.drop_trimmed(log);
    }

    fn settle_done(&mut self, job: Job, result: Result<Done, Fault>) {
        let data = self.place.directory.clone();
        let directory = segment::directory(&data, job.log);
        let Some(partition) = self.logs.get_mut(&job.log) else {
            // Deleted meanwhile: take back what this step may have made. That it failed does not matter.
            if let Step::Open { name } = job.step {
                self.remove(Op::Remove { path: segment::path(&data, job.log, name) });
            }
            self.checkpointer.remove_directory_after(self.journal.gathering_sequence(), directory);
            return;
        };
        let done = match result {
            Ok(done) => done,
            Err(fault) if fault.is_no_space() => return self.settle_later(job),
            Err(fault) => return self.fail("write a segment", directory, fault),
        };
        let is_written = matches!(job.step, Step::Write { .. });
        match (job.step, done) {
            (Step::MakeDirectory, _) => {
                partition.segments.has_directory = true;
                self.settler.dirty_directories.insert(data.join("log"));
            }
            (Step::Open { name }, Done::Opened(file)) => {
                partition.segments.begin(name);
                partition.segments.opened(name, file);
                self.open_files.opened(job.log, name);
                self.settler.dirty_directories.insert(directory);
            }
            (Step::OpenAgain { name }, Done::Opened(file)) => {
                partition.segments.opened(name, file);
                self.open_files.opened(job.log, name);
            }
            (Step::Cut, _) => return self.settler.queue.push_front(job.log),
            (Step::Seal { length }, _) => {
                self.mark_dirty(job.log);
                let active = self.logs.get(&job.log).and_then(|partition| partition.segments.active());
                if let Some(file) = active.and_then(|active| active.file.clone()) {
                    return self.settle_with(job.log, Step::CutSealed, Op::Truncate { file, length });
                }
            }
            (Step::CutSealed, _) => {
                if let Some(partition) = self.logs.get_mut(&job.log) {
                    if partition.is_active_to_be_sealed() {
                        self.checkpointer.ask();
                    }
                    partition.segments.seal();
                }
            }
            (Step::Write { place, end_position, placed }, _) => {
                partition.segments.push(place, end_position);
                let (base, end) = (place.base_offset.get(), place.end_offset.get());
                // The journal says so already, and may not say behind it what was there before.
                let is_ending = partition.truncation.is_some() || partition.deleted_in.is_some();
                match (placed, &mut partition.placement) {
                    (Some(_), Some(placement)) if is_ending => placement.into = None,
                    (Some(run), Some(placement)) => {
                        self.journal.push_placed(job.log, base..end, &run);
                        placement.told_in = self.journal.gathering_sequence();
                    }
                    _ => {}
                }
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
        if is_written {
            self.settle_on(job.log);
        } else {
            // Its turn is not over: behind the others in the queue, as many files would be open as logs wait.
            self.settler.queue.push_front(job.log);
        }
    }

    /// A step found no room. It is tried again later, and what it may have written is cut off first: a seal behind it
    /// must be the end of the file.
    fn settle_later(&mut self, job: Job) {
        self.room.found_none(Wanting::Segment);
        let active = self.logs.get(&job.log).and_then(|partition| partition.segments.active());
        let file = active.and_then(|active| Some((active.file.clone()?, active.position)));
        match (job.step, file) {
            (Step::Write { .. } | Step::Seal { .. }, Some((file, length))) => {
                if let Some(placement) =
                    self.logs.get_mut(&job.log).and_then(|partition| partition.placement.as_mut())
                {
                    placement.into = None; // its blocks go
                }
                self.settle_with(job.log, Step::Cut, Op::Truncate { file, length });
            }
            _ => self.settler.queue.push_front(job.log),
        }
    }

    fn mark_dirty(&mut self, log: LogId) {
        let Some(active) = self.logs.get(&log).and_then(|partition| partition.segments.active()) else {
            return;
        };
        if let Some(file) = active.file.clone() {
            self.settler.dirty_files.insert((log, active.name), Some(file));
        }
    }

    /// Queues the log again if more of it is to be settled.
    fn settle_on(&mut self, log: LogId) {
        let upto = self.settler.upto;
        let Some(partition) = self.logs.get_mut(&log) else { return };
        let more = partition.wants_settling(self.place.sizes.run_bytes, self.place.before_bytes_max())
            || partition.is_unsettled(upto)
            || partition.wants_sealing()
            || partition.may_begin_next();
        partition.settling = more;
        if more {
            self.settler.queue(log);
        }
    }
}
