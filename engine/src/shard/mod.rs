//! All logs of one core behind one interface: append, read, trim, and the turn of the wheel between them.
//!
//! In: calls of the owner, completions, the time. Out: operations ([`Shard::collect`]) and events
//! ([`Shard::next_event`]). Never: reads a clock, touches the kernel, answers before a frame is durable.
//!
//! ```text
//!   append ──> journal (one frame a turn) ──durable──> tail in memory ──settle──> segment ──checkpoint──> journal file spare
//!                                             └── Appended, Advanced                └── read back, checked, cached
//! ```
//!
//! A failed write ends the shard, unless all it lacked was room for new blocks (see [`Shortage`]): nothing in flight is acknowledged and every later call is refused, because
//! after a failed write nobody knows what the device holds. The next start reads what is really there.
//!
//! [`recover::open`] gives the shards of a directory, and its example shows how one is turned: calls, [`Shard::commit`],
//! [`Shard::collect`], a wait, [`Shard::complete`], events. The wait is over at [`Shard::next_deadline_us`] at the latest.
//! To stop, call [`Shard::hasten_seal`] and turn until [`Shard::is_quiet`].

pub(crate) mod checkpoint;
pub(crate) mod compaction;
mod held;
mod open;
mod place;
mod read;
pub mod recover;
mod replica;
mod retained;
#[cfg(test)]
pub(crate) mod rig;
mod room;
mod settle;
#[cfg(test)]
mod tests;
mod truncate;

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;

use bytes::Bytes;

use crate::format::batch::CheckedBatch;
use crate::format::frame::Kind;
use crate::format::run::RunPlace;
use crate::io::{Completion, Descriptor, Done, Fault, Op, Token};
use crate::journal::{DurableFrame, Journal, Piece, Promise};
use crate::limits::{
    JOURNAL_WAITING_BYTES_MAX, LOGS_MAX, PLACED_BEFORE_PART, PLACED_BEFORE_RUNS_MAX, SEAL_AFTER_US, Sizes,
};
use crate::partition::{Partition, Provided, TailBatch, Verdict};
use crate::planted::{Bug, planted};
use crate::segment::{self, Segment, SegmentName};
use crate::types::{LogId, Now, Offset, Ticket};

use room::Wanting;

pub use compaction::{Compaction, Dropping};
pub use read::ReadOutcome;
pub use replica::SealedPlace;
pub use retained::Retained;
pub use room::{Need, Shortage};
pub use truncate::TruncateRefused;

pub use crate::journal::JournalCounts;
pub use crate::partition::{Keep, Watermarks};
pub use crate::segment::compact::Codecs;

/// The token space of the engine's operations.
pub const TOKEN_SPACE: u16 = 0;

/// Something the owner should know; taken with [`Shard::next_event`].
#[derive(Debug)]
pub enum ShardEvent {
    /// The batch appended with this ticket is on the device.
    Appended {
        /// As it was given with the batch, or to [`Shard::sync`].
        ticket: Ticket,
        /// Offset of the first record.
        base_offset: Offset,
        /// First offset of the log that may be read.
        log_start: Offset,
        /// The producer had appended the batch before, at `base_offset`; or the ticket is of [`Shard::sync`].
        duplicate: bool,
    },
    /// A read that could not be answered at once.
    Read {
        /// As it was given with the read.
        ticket: Ticket,
        /// The answer.
        outcome: ReadOutcome,
    },
    /// The truncation asked for with this ticket is on the device and done; or the log was deleted meanwhile.
    Truncated {
        /// As it was given with the truncation.
        ticket: Ticket,
    },
    /// More of the log can be read.
    Advanced {
        /// Which log.
        log: LogId,
    },
    /// The shard has failed: nothing more becomes durable, and nothing in flight is acknowledged.
    Failed {
        /// The file and the reason.
        what: String,
    },
}

/// Why a batch was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// The log does not exist here, or is being deleted.
    UnknownLog,
    /// The producer's sequence leaves a gap behind its last batch.
    OutOfOrderSequence,
    /// The producer's epoch is older than one already seen.
    FencedProducer,
    /// The log is being truncated; it takes batches again after [`ShardEvent::Truncated`].
    Truncating,
    /// The file system has too little room; [`Shard::shortage`] says why. It may have some later.
    NoSpace,
    /// The shard has failed.
    Failed,
}

/// What an operation of the shard was for.
#[derive(Debug)]
enum Work {
    /// A frame, or a run beside it in the segment of a log.
    Frame(Option<LogId>),
    Prepare,
    Settle(Box<settle::Job>),
    Ready(Box<place::Readying>),
    Read {
        log: LogId,
        name: SegmentName,
        place: RunPlace,
    },
    Checkpoint,
    Compaction(Box<compaction::Step>),
    /// Asking how much room is left.
    Room,
    /// Removing files that nothing refers to.
    Removal,
}

/// What happens when a frame is durable, and not before.
#[derive(Debug)]
enum Effect {
    Trim(LogId, Offset),
    Truncate(LogId),
    Delete(LogId),
}

/// Where a shard is and what it may use.
#[derive(Clone, Debug)]
pub(crate) struct ShardPlace {
    /// The data directory.
    pub directory: PathBuf,
    pub shard: u16,
    pub shards: u16,
    pub incarnation: u32,
    /// Bytes of records in memory: [`Shard::memory_bytes`] is hardly ever more.
    pub memory_bytes: usize,
    pub sizes: Sizes,
    /// The file system, if one sync makes all of it durable.
    pub whole: Option<Descriptor>,
}

impl ShardPlace {
    /// Most that goes in front of the placed sections of one frame; at least two runs.
    fn before_bytes_max(&self) -> usize {
        let run_bytes = self.sizes.run_bytes;
        let part = self.memory_bytes / PLACED_BEFORE_PART;
        part.clamp(2 * run_bytes, PLACED_BEFORE_RUNS_MAX * run_bytes)
    }
}

/// Figures of one shard, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardCounts {
    /// What the journal wrote.
    pub journal: JournalCounts,
    /// Batches that were given an offset; the records in them; their bytes.
    pub appended_batches: u64,
    /// Records in those batches.
    pub appended_records: u64,
    /// Bytes of those batches.
    pub appended_bytes: u64,
    /// Bytes written into segments, padding included.
    pub settled_bytes: u64,
    /// Runs written into segments.
    pub settled_runs: u64,
    /// Of the bytes written into segments, those that no journal frame held: written once.
    pub placed_bytes: u64,
    /// Checkpoints made.
    pub checkpoints: u64,
    /// Compactions done.
    pub compactions: u64,
    /// Bytes of segments that compaction has given back.
    pub compacted_bytes: u64,
    /// Bytes of batches that readers got out of memory.
    pub read_from_memory_bytes: u64,
    /// Bytes of runs read from the device.
    pub read_from_device_bytes: u64,
    /// [`Shard::memory_bytes`] now.
    pub memory_bytes: u64,
    /// Logs now.
    pub logs: u64,
}

/// All logs of one core.
#[derive(Debug)]
pub struct Shard {
    place: ShardPlace,
    /// Boxed, as a table has about as many empty places as full ones.
    logs: HashMap<LogId, Box<Partition>>,
    journal: Journal,
    held: held::Held,
    settler: settle::Settler,
    /// Segments being made ready that found no room.
    unready: Vec<place::Readying>,
    reader: read::Reader,
    open_files: open::OpenFiles,
    checkpointer: checkpoint::Checkpointer,
    room: room::Room,
    compactor: compaction::Compactor,
    works: HashMap<u64, Work>,
    next_work: u64,
    wanted: Vec<(Token, Op)>,
    events: VecDeque<ShardEvent>,
    /// What frames that are not durable yet will do when they are.
    effects: VecDeque<(u64, Effect)>,
    counts: ShardCounts,
    seal_at_us: Option<u64>,
    failed: Option<String>,
}

impl Shard {
    fn new(place: ShardPlace, mut logs: HashMap<LogId, Partition>, journal: Journal) -> Shard {
        let (durable, chain) = journal.durable();
        // A start has just made a checkpoint of them.
        for partition in logs.values_mut() {
            partition.checkpoint_begins();
            partition.checkpoint_counts();
        }
        Shard {
            place,
            logs: logs.into_iter().map(|(log, partition)| (log, Box::new(partition))).collect(),
            journal,
            held: held::Held::default(),
            settler: settle::Settler::default(),
            unready: Vec::new(),
            reader: read::Reader::default(),
            open_files: open::OpenFiles::default(),
            checkpointer: checkpoint::Checkpointer::continues(durable, chain),
            room: room::Room::default(),
            compactor: compaction::Compactor::default(),
            works: HashMap::new(),
            next_work: 0,
            wanted: Vec::new(),
            events: VecDeque::new(),
            effects: VecDeque::new(),
            counts: ShardCounts::default(),
            seal_at_us: None,
            failed: None,
        }
    }

    // -- logs ---------------------------------------------------------------------------------------------

    /// Makes a log, or does nothing if it is there, or if there are [`LOGS_MAX`] already: then it is not there
    /// afterwards. Durable with the next frame, and before anything appended to it.
    pub fn create(&mut self, log: LogId) {
        if !self.logs.contains_key(&log) && self.logs.len() < LOGS_MAX {
            self.journal.push(Kind::Create, log, 0);
            let mut partition = Partition::new(log);
            partition.created_in = self.journal.gathering_sequence();
            self.logs.insert(log, Box::new(partition));
        }
    }

    /// A log that exists for the owner: one being deleted does not.
    fn live(&self, log: LogId) -> Option<&Partition> {
        self.logs.get(&log).map(Box::as_ref).filter(|partition| partition.deleted_in.is_none())
    }

    /// Removes a log and all it holds. Durable with the next frame; its files go after that.
    pub fn delete(&mut self, log: LogId) {
        if self.live(log).is_none() {
            return;
        }
        self.journal.push(Kind::Delete, log, 0);
        let sequence = self.journal.gathering_sequence();
        if let Some(partition) = self.logs.get_mut(&log) {
            partition.deleted_in = Some(sequence);
        }
        self.effects.push_back((sequence, Effect::Delete(log)));
        self.reader.forget(log, &mut self.events);
        if planted(Bug::DeleteBeforeDurable)
            && let Some(partition) = self.logs.remove(&log)
        {
            self.remove_files_of(&partition, 0);
        }
    }

    /// Whether the log exists here.
    pub fn contains(&self, log: LogId) -> bool {
        self.live(log).is_some()
    }

    /// Every log here.
    pub fn logs(&self) -> impl Iterator<Item = LogId> {
        self.logs.values().filter(|partition| partition.deleted_in.is_none()).map(|partition| partition.id)
    }

    /// The log's watermarks; `None`: it does not exist here.
    pub fn marks(&self, log: LogId) -> Option<Watermarks> {
        self.live(log).map(Partition::visible)
    }

    // -- append -------------------------------------------------------------------------------------------

    /// Appends a batch: assigns offsets and gathers it into the next frame. `Ok` means the batch has its place,
    /// not that it survives a crash: [`ShardEvent::Appended`] with this ticket says that, in the order of the
    /// calls. A batch that its producer appended before is not appended again; the event says where it is.
    ///
    /// Fails, and appends nothing, for each reason in [`Refused`].
    pub fn append(&mut self, log: LogId, batch: &CheckedBatch, ticket: Ticket) -> Result<(), Refused> {
        self.append_for(Need::Records, log, batch, ticket)
    }

    /// [`Shard::append`] of what is still taken when room runs short, as far as `need` says.
    pub fn append_for(
        &mut self,
        need: Need,
        log: LogId,
        batch: &CheckedBatch,
        ticket: Ticket,
    ) -> Result<(), Refused> {
        let no_room = need == Need::Records && self.shortage().is_some();
        if self.failed.is_some() {
            return Err(Refused::Failed);
        }
        let partition = self.logs.get_mut(&log).filter(|partition| partition.deleted_in.is_none());
        let partition = partition.ok_or(Refused::UnknownLog)?;
        if partition.truncation.is_some() {
            return Err(Refused::Truncating);
        }
        let header = batch.header();
        match partition.judge(header) {
            Verdict::Next if no_room => return Err(Refused::NoSpace),
            Verdict::Next => {}
            Verdict::OutOfOrder => return Err(Refused::OutOfOrderSequence),
            Verdict::Fenced => return Err(Refused::FencedProducer),
            Verdict::Duplicate(base_offset) => {
                if planted(Bug::DuplicateAckedAtOnce) {
                    let log_start = partition.marks().start;
                    let event = ShardEvent::Appended { ticket, base_offset, log_start, duplicate: true };
                    self.events.push_back(event);
                    return Ok(());
                }
                // The first copy may not be durable yet; the next frame is behind it in any case.
                self.journal.promise(Promise { ticket, log, base_offset, duplicate: true });
                return Ok(());
            }
        }
        let offsets = partition.append(header);
        let max_timestamp_ms = header.max_timestamp.get();
        let partition_epoch = partition.leader_epoch;
        let piece = Piece { log, base: offsets.start, end: offsets.end, max_timestamp_ms, bytes: 0..0 };
        let promise = Promise { ticket, log, base_offset: offsets.start, duplicate: false };
        self.gather(piece, partition_epoch, batch, promise);
        self.counts.appended_batches += 1;
        self.counts.appended_records += u64::from(header.records_count.get().max(0) as u32);
        self.counts.appended_bytes += batch.bytes().len() as u64;
        Ok(())
    }

    /// Gathers a batch that was given its offsets: into the frame, or beside it if its log has much.
    fn gather(&mut self, piece: Piece, leader_epoch: i32, batch: &CheckedBatch, promise: Promise) {
        let placement = self.logs.get_mut(&piece.log).and_then(|partition| partition.placement.as_mut());
        let Some(placement) = placement.filter(|placement| placement.has_much) else {
            return self.journal.push_batch(piece, leader_epoch, batch.bytes(), promise);
        };
        self.journal.make_room_apart(batch.bytes().len());
        let gathering = self.journal.gathering_sequence();
        if placement.is_apart(gathering) {
            return self.journal.push_apart(piece, leader_epoch, batch.bytes(), promise);
        }
        self.journal.push_batch(piece, leader_epoch, batch.bytes(), promise);
        placement.in_frame = self.journal.gathering_sequence();
    }

    /// Asks to be told, by [`ShardEvent::Appended`] with this ticket, when everything called before is on the
    /// device: creations, deletions, trims.
    pub fn sync(&mut self, ticket: Ticket) {
        self.journal.promise(Promise { ticket, log: LogId(0), base_offset: 0, duplicate: true });
    }

    /// Whether so much waits for the device, or the memory is so full of what is not settled, that the owner should take no
    /// more input for now. Where room is short the owner goes on: new records are refused, and what makes room is not.
    pub fn is_full(&self) -> bool {
        let memory_is_full = || self.memory_bytes() > self.place.memory_bytes && self.shortage().is_none();
        self.journal.waiting_bytes() > JOURNAL_WAITING_BYTES_MAX || memory_is_full()
    }

    /// Moves the log's start up to `start` (never down, never above what is durable). Durable with the next
    /// frame, or with a checkpoint before it; segments that end below it are removed. So whatever makes the
    /// records below superfluous must be durable already.
    pub fn trim(&mut self, log: LogId, start: Offset) {
        let partition = self.logs.get_mut(&log).filter(|partition| partition.deleted_in.is_none());
        let Some(partition) = partition.filter(|partition| partition.marks().start < start) else { return };
        if !partition.trim(start) {
            return;
        }
        if !planted(Bug::DropLastTrim) {
            self.journal.push(Kind::Trim, log, partition.marks().start);
        }
        let effect = Effect::Trim(log, partition.marks().start);
        self.effects.push_back((self.journal.gathering_sequence(), effect));
    }

    /// What only a durable frame may do is done for the frames up to `sequence`: a checkpoint must not be ahead of
    /// the journal, and no file may go before the reason is durable.
    fn take_effect(&mut self, sequence: u64) {
        while self.effects.front().is_some_and(|(due, _)| *due <= sequence) {
            match self.effects.pop_front() {
                Some((_, Effect::Trim(log, start))) => self.trimmed(log, start, sequence),
                Some((_, Effect::Truncate(log))) => self.truncation_durable(log),
                Some((_, Effect::Delete(log))) => {
                    if let Some(partition) = self.logs.remove(&log) {
                        if let Some(truncation) = &partition.truncation {
                            self.events.push_back(ShardEvent::Truncated { ticket: truncation.ticket });
                        }
                        self.remove_files_of(&partition, sequence);
                        self.settler.unpark(log);
                    }
                }
                None => {}
            }
        }
    }

    /// Moves the log's start up so far that only what `keep` allows is left, in steps of runs of about half a mebibyte.
    /// Like [`Shard::trim`].
    pub fn trim_to_fit(&mut self, log: LogId, keep: Keep) {
        if let Some(start) = self.logs.get(&log).map(|partition| partition.start_to_fit(keep)) {
            self.trim(log, start);
        }
    }

    fn trimmed(&mut self, log: LogId, start: Offset, sequence: u64) {
        let Some(partition) = self.logs.get_mut(&log) else { return };
        partition.trimmed(start);
        let idle = !self.settler.is_busy(log) && !partition.is_placing();
        let gone = partition.segments.drop_below(start, idle);
        self.remove_segments(log, &gone, sequence);
    }

    /// Lets go of what was trimmed while a run was being written behind it.
    fn drop_trimmed(&mut self, log: LogId) {
        let Some(partition) = self.logs.get_mut(&log) else { return };
        if self.failed.is_some() || self.settler.is_busy(log) || partition.is_placing() {
            return;
        }
        let gone = partition.segments.drop_below(partition.durable_start(), true);
        self.remove_segments(log, &gone, self.checkpointer.durable_upto());
    }

    /// Removes segments' files once the frame `sequence` is durable.
    fn remove_segments(&mut self, log: LogId, gone: &[Segment], sequence: u64) {
        // A compaction may yet put another file in the place of one that is trimmed.
        let replaced = self.compactor.is_at(log);
        for segment in gone {
            self.reader.forget_segment(log, segment.name);
            self.settler.forget(log, segment.name);
            let partition = self.logs.get(&log).filter(|partition| partition.placement.is_some());
            let Some(partition) = partition.filter(|_| sequence <= self.checkpointer.durable_upto()) else {
                let path = segment::path(&self.place.directory, log, segment.name);
                self.checkpointer.remove_after(sequence, path);
                continue;
            };
            // A run of its last use that stands where the device loses one of the next must not pass for that: what it has is
            // below all that will be in it. Of what was truncated that is not so.
            let start = partition.durable_start();
            let is_below = segment.runs.last().is_none_or(|run| run.end_offset.get() <= start);
            let file_bytes = if replaced || !is_below { 0 } else { segment.position };
            let file = Provided { name: segment.name, file_bytes, is_new: false };
            // What a checkpoint is about to sync by its name must not lose it: a crash would bring it back, half written.
            let is_needed = partition.is_needed(segment) || self.checkpointer.is_syncing();
            if is_needed && !planted(Bug::PlacedSegmentRemovedTooSoon) {
                self.checkpointer.remove_after_next(log, file);
            } else {
                self.let_go(vec![(log, file)]);
            }
        }
    }

    fn remove_files_of(&mut self, partition: &Partition, sequence: u64) {
        let others = partition.placement.iter().flat_map(|placement| placement.files());
        let owed = self.checkpointer.no_longer_owed(partition.id);
        let segments = partition.segments.list().iter().map(|segment| segment.name);
        for name in segments.chain(others).chain(owed) {
            let path = crate::segment::path(&self.place.directory, partition.id, name);
            self.settler.forget(partition.id, name);
            self.checkpointer.remove_after(sequence, path);
        }
        if partition.segments.has_directory {
            let path = crate::segment::directory(&self.place.directory, partition.id);
            self.settler.forget_directory(&path);
            self.checkpointer.remove_directory_after(sequence, path);
        }
    }

    // -- the turn -----------------------------------------------------------------------------------------

    /// Sends the next frame on its way, unless one is in flight or nothing was gathered.
    pub fn commit(&mut self, now: Now) {
        if self.failed.is_some() {
            return;
        }
        if self.seal_at_us.is_some_and(|at| at <= now.monotonic_us) {
            self.seal_at_us = None;
            if self.journal.needs_seal() {
                self.journal.seal();
            }
        }
        let Shard { journal, logs, place, settler, .. } = self;
        let sequence = journal.next_sequence();
        let mut before_bytes_left = [place.before_bytes_max(); 2];
        let ops = journal.next_writes(|section, now| {
            let partition = logs.get_mut(&section.log)?;
            let is_busy = settler.is_busy(section.log);
            let left = &mut before_bytes_left[usize::from(now)];
            let target = place::target(partition, is_busy, section, sequence, *left, &place.sizes)?;
            *left -= partition.unsettled_bytes();
            if let Some(placement) = partition.placement.as_mut().filter(|_| now) {
                placement.in_flight = true;
            }
            Some(target)
        });
        #[cfg(feature = "planted")]
        if planted(Bug::AckBeforeWrite) && !ops.is_empty() {
            let promises = self.journal.take_promises_early();
            self.keep(&promises);
        }
        for (log, op) in ops {
            self.want(Work::Frame(log), op);
        }
        self.drive_room(now);
        if !self.room.is_held()
            && let Some(op) = self.journal.files().prepare()
        {
            self.want(Work::Prepare, op);
        }
        if self.journal.needs_seal() && self.seal_at_us.is_none() {
            self.seal_at_us = Some(now.monotonic_us + SEAL_AFTER_US);
        }
        self.reclaim();
        self.drive_checkpoint();
        self.drive_settling();
        self.drive_readying();
        self.drive_compaction(now);
        self.drive_reader(now);
        self.close_files();
        self.counts.journal = self.journal.counts();
        self.counts.memory_bytes = self.memory_bytes() as u64;
        self.counts.logs = self.logs.len() as u64;
    }

    /// Whether a frame is on its way to the device.
    pub fn is_writing(&self) -> bool {
        self.journal.is_writing()
    }

    /// When [`Shard::commit`] should be called though nothing else happens, as [`Now::monotonic_us`]; `None`: not before
    /// something does.
    pub fn next_deadline_us(&self) -> Option<u64> {
        self.seal_at_us.into_iter().chain(self.next_room_us()).chain(self.next_compaction_us()).min()
    }

    /// Takes the outcome of an operation of this shard: of every operation that [`Shard::collect`] handed over, once.
    pub fn complete(&mut self, completion: Completion) {
        let Some(work) = self.works.remove(&completion.token.index) else {
            unreachable!("a completion for work that nobody began")
        };
        match (work, completion.result) {
            // Once the shard has failed nothing is acknowledged, not even what happened to succeed.
            (Work::Frame(_), Ok(_)) if self.failed.is_some() => {}
            (Work::Frame(_), Ok(_)) => {
                if let Some(frame) = self.journal.written() {
                    self.durable(frame);
                }
            }
            (Work::Frame(_), Err(_)) if planted(Bug::AckFailedWrite) => {
                if let Some(frame) = self.journal.written() {
                    self.durable(frame);
                }
            }
            (Work::Frame(None), Err(fault)) => {
                let path = self.journal.current_path();
                self.fail("write the journal", path, fault);
            }
            (Work::Frame(Some(log)), Err(fault)) => {
                let active = self.logs.get(&log).and_then(|partition| partition.segments.active());
                let path = active.map(|active| segment::path(&self.place.directory, log, active.name));
                self.fail("write a segment", path.unwrap_or_default(), fault);
            }
            (Work::Prepare, result) => self.prepare_step(result),
            (Work::Compaction(step), result) => self.compaction_step(*step, result),
            (Work::Room, result) => self.looked_for_room(result),
            (Work::Settle(job), result) => self.settle_step(*job, result),
            (Work::Ready(readying), result) => self.ready_step(*readying, result),
            (Work::Read { log, name, place }, result) => self.read_step(log, name, &place, result),
            (Work::Checkpoint, result) => self.checkpoint_step(result),
            (Work::Removal, _) => self.removed(),
        }
    }

    fn prepare_step(&mut self, result: Result<Done, Fault>) {
        if self.journal.files().found_none(&result) {
            self.room.found_none(Wanting::JournalFile);
        }
        match self.journal.files().prepared(result) {
            Ok(Some(op)) => self.want(Work::Prepare, op),
            Ok(None) => {}
            Err((path, fault)) => self.fail("prepare a journal file", path, fault),
        }
    }

    /// Appends every operation that is wanted now to `wanted`, for the owner to submit.
    pub fn collect(&mut self, wanted: &mut Vec<(Token, Op)>) {
        wanted.append(&mut self.wanted);
    }

    /// The oldest event not taken yet.
    pub fn next_event(&mut self) -> Option<ShardEvent> {
        self.events.pop_front()
    }

    /// Whether everything appended is durable and the journal says so itself: the time to stop.
    pub fn is_quiet(&self) -> bool {
        let truncating = |log: &LogId| self.logs.get(log).is_some_and(|log| log.truncation.is_some());
        self.failed.is_some()
            || (self.journal.is_idle()
                && !self.journal.needs_seal()
                && !self.settler.waiting().any(truncating)
                && !self.unready.iter().any(|readying| truncating(&readying.log)))
    }

    /// Lets the seal go out now rather than after the quiet time: for a clean shutdown.
    pub fn hasten_seal(&mut self) {
        if self.journal.needs_seal() {
            self.seal_at_us = Some(0);
        }
    }

    /// Why the shard has failed, if it has.
    pub fn failure(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    /// Figures since the start.
    pub fn counts(&self) -> ShardCounts {
        self.counts
    }

    /// Which shard this is.
    pub fn index(&self) -> u16 {
        self.place.shard
    }

    fn durable(&mut self, frame: DurableFrame) {
        let (run_bytes, before_bytes_max) = (self.place.sizes.run_bytes, self.place.before_bytes_max());
        let mut touched: Vec<LogId> = Vec::new();
        self.placed(&frame, &mut touched);
        for piece in &frame.pieces {
            let Some(partition) = self.logs.get_mut(&piece.log) else { continue };
            partition.durable(TailBatch {
                base: piece.base,
                end: piece.end,
                max_timestamp_ms: piece.max_timestamp_ms,
                sequence: frame.sequence,
                bytes: frame.bytes.slice(piece.bytes.clone()),
            });
            if partition.in_frame_bytes == 0 {
                touched.push(piece.log);
            }
            partition.in_frame_bytes += piece.bytes.len() as u32;
            if !partition.settling && partition.wants_settling(run_bytes, before_bytes_max) {
                partition.settling = true;
                self.settler.queue(piece.log);
            }
        }
        self.keep(&frame.promises);
        for log in &touched {
            self.had(*log);
            self.events.push_back(ShardEvent::Advanced { log: *log });
        }
        self.held.push(frame.sequence, frame.held_bytes(), touched);
        self.checkpointer.durable(frame.sequence);
        self.take_effect(frame.sequence);
    }

    /// Tells whoever waits.
    fn keep(&mut self, promises: &[Promise]) {
        for promise in promises {
            let log_start = self.logs.get(&promise.log).map_or(0, |partition| partition.marks().start);
            let Promise { ticket, base_offset, duplicate, .. } = *promise;
            self.events.push_back(ShardEvent::Appended { ticket, base_offset, log_start, duplicate });
        }
    }

    fn want(&mut self, work: Work, op: Op) {
        let index = self.next_work;
        self.next_work += 1;
        self.works.insert(index, work);
        self.wanted.push((Token { space: TOKEN_SPACE, index }, op));
    }

    fn fail(&mut self, doing: &str, path: PathBuf, fault: Fault) {
        let what = format!("cannot {doing}: {fault}, {}", path.display());
        if self.failed.is_none() {
            self.failed = Some(what.clone());
            self.events.push_back(ShardEvent::Failed { what });
        }
    }
}

/// Sum of the lengths.
fn bytes_of(slices: &[Bytes]) -> u64 {
    slices.iter().map(|slice| slice.len() as u64).sum()
}
