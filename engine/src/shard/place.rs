//! Runs that go straight into a segment, beside the frame that says so: of logs that have much in a frame, where a
//! segment's blocks exist already because it is a trimmed one, used again; of those that have most, also where they are
//! reserved for it.
//!
//! In: sections of a frame that is about to be written; trimmed segments. Out: where each section goes; segments made
//! ready for the next. Never: writes where the file system would have to find a block, or over a run that the journal
//! behind the last checkpoint may mean.
//!
//! ```text
//!   spare ─> rename ──┬─> sync the directories ─> open ─> write the header ─> sync: ready
//!   make ─> reserve ──┘        ─> (settling: what is below its base, then seal the one before) ─> takes runs
//! ```

use super::room::Wanting;
use super::{Shard, Work};
use crate::format::run::{RUN_HEADER_BYTES, RUN_TOTAL_BYTES_MAX, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::io::{Descriptor, Done, Fault, Op, Open, buffer};
use crate::journal::{DurableFrame, Section, Target};
use crate::limits::{FILLED_PART, RESERVED_BEFORES_MIN, SPARES_MAX, Sizes};
use crate::partition::{Next, Partition, Placement, Provided, TailBatch};
use crate::planted::{Bug, planted};
use crate::segment::{self, SegmentName};
use crate::types::LogId;

/// One step of making a segment ready that takes whole runs.
#[derive(Debug)]
pub(super) struct Readying {
    pub(super) log: LogId,
    /// The name of the file before, and the one it gets.
    from: SegmentName,
    name: SegmentName,
    step: Step,
}

#[derive(Clone, Debug)]
enum Step {
    Rename,
    Make,
    Reserve(Descriptor),
    /// The file could not be reserved, or found no room for its header, and goes.
    Unmake,
    OpenDirectory,
    SyncDirectory(Descriptor),
    /// The directory's own name may not be durable either.
    OpenLogs,
    SyncLogs(Descriptor),
    Open,
    WriteHeader(Descriptor),
    Sync(Descriptor),
}

/// Where the section of frame `sequence` may go: behind all of its log that is durable, if that is in the segment or fits in
/// the same run, for which so many bytes are left. Not while a step of settling the log is under way; one that waits for its turn waits for this, too.
pub(super) fn target(
    partition: &Partition,
    is_busy: bool,
    section: &Section,
    sequence: u64,
    before_bytes_left: usize,
    sizes: &Sizes,
) -> Option<Target> {
    let placement = partition.placement.as_ref()?;
    let into = placement.into?;
    let active = partition.segments.active().filter(|active| active.name == into.name && !active.is_cut())?;
    let free =
        !is_busy && !placement.in_flight && placement.told_in <= sequence && partition.truncation.is_none();
    let offsets = section.offsets();
    let bytes_min = if into.is_new { sizes.new_section_bytes_min } else { sizes.section_bytes_min };
    let fits = partition.deleted_in.is_none()
        && partition.marks().durable == offsets.start
        && offsets.end <= partition.settle_limit()
        && partition.unsettled_bytes() <= before_bytes_left
        && section.body_bytes() >= bytes_min / 2;
    (free && fits).then_some(())?;
    let (before, from, max_timestamp_ms) = partition.to_settle(before_bytes_left, offsets.start);
    let whole = before.is_empty() || from.end == offsets.start;
    let bytes = RUN_HEADER_BYTES + partition.unsettled_bytes() + section.body_bytes();
    let end = active.position + buffer::padded(bytes) as u64;
    let has_room =
        active.position < sizes.segment_bytes.min(partition.segment_bytes_max) && end <= into.file_bytes;
    (whole && has_room && bytes <= RUN_TOTAL_BYTES_MAX).then_some(())?;
    Some(Target {
        file: active.file.clone()?,
        segment_base: into.name.base,
        segment_generation: into.name.generation,
        position: active.position,
        base: if before.is_empty() { offsets.start } else { from.start },
        before,
        max_timestamp_ms,
    })
}

impl Shard {
    /// The runs beside a frame are durable with it.
    pub(super) fn placed(&mut self, frame: &DurableFrame, touched: &mut Vec<LogId>) {
        for placed in &frame.placed {
            let Some(partition) = self.logs.get_mut(&placed.log) else { continue };
            for piece in &placed.pieces {
                partition.durable(TailBatch {
                    base: piece.base,
                    end: piece.end,
                    max_timestamp_ms: piece.max_timestamp_ms,
                    sequence: frame.sequence,
                    bytes: placed.bytes.slice(piece.bytes.clone()),
                });
            }
            let end_position = placed.run.position.get() + placed.bytes.len() as u64;
            partition.segments.push(placed.run, end_position);
            partition.settled(placed.run.end_offset.get());
            let own_bytes: usize = placed.pieces.iter().map(|piece| piece.bytes.len()).sum();
            partition.in_frame_bytes += own_bytes as u32;
            if let Some(placement) = &mut partition.placement {
                placement.in_flight = false;
            }
            touched.push(placed.log);
            self.counts.settled_bytes += placed.bytes.len() as u64;
            self.counts.settled_runs += 1;
            self.counts.placed_bytes += own_bytes as u64;
            self.settler.unpark(placed.log);
        }
    }

    /// A durable frame had something of the log: notes how much, and has the next segment made ready when that is worth it.
    pub(super) fn had(&mut self, log: LogId) {
        let sizes = &self.place.sizes;
        let Some(partition) = self.logs.get_mut(&log) else { return };
        let bytes = std::mem::take(&mut partition.in_frame_bytes) as usize;
        if partition.placement.is_none() && bytes < sizes.section_bytes_min {
            return;
        }
        let placement = partition.placement.get_or_insert_with(Box::default);
        placement.had(bytes, sizes);
        if placement.next.is_some() {
            self.begin_next(log);
        } else if placement.has_most || (placement.has_much && !placement.spares.is_empty()) {
            self.make_ready(log);
        }
    }

    /// Has the log settled up to the base of the segment that is ready, so that this can be begun.
    pub(super) fn begin_next(&mut self, log: LogId) {
        let Some(partition) = self.logs.get_mut(&log).filter(|log| log.may_begin_next()) else { return };
        if !std::mem::replace(&mut partition.settling, true) {
            self.settler.queue(log);
        }
        self.settler.unpark(log);
    }

    /// Begins to make a spare ready, or a new file, unless the segment being filled takes runs.
    fn make_ready(&mut self, log: LogId) {
        let sizes = self.place.sizes;
        let (before_bytes_max, shards) = (self.place.before_bytes_max() as u64, u64::from(self.place.shards));
        let Some(partition) = self.logs.get_mut(&log) else { return };
        let (end, generation) = (partition.marks().end, partition.generation);
        let full = sizes.segment_bytes.min(partition.segment_bytes_max);
        let (truncating, deleted) = (partition.truncation.is_some(), partition.deleted_in.is_some());
        let active = partition.segments.active();
        // A file without a run keeps its name for the next: no other file may get it.
        let empty = active.is_some_and(|active| active.runs.is_empty());
        let Some(placement) = &mut partition.placement else { return };
        let takes_runs = active.is_some_and(|active| {
            let next_end = active.position + placement.mean_bytes as u64;
            placement.into.is_some_and(|into| into.name == active.name && next_end <= into.file_bytes)
                && active.position < full
                && !active.is_cut()
        });
        if takes_runs || empty || truncating || deleted || self.failed.is_some() {
            return;
        }
        let name = SegmentName { base: end, generation };
        let (spare, step) = match placement.spares.pop() {
            Some(spare) => (spare, Step::Rename),
            None => {
                let is_long = full >= RESERVED_BEFORES_MIN * before_bytes_max;
                let is_filled = active.is_some_and(|active| active.position >= full / FILLED_PART);
                if !is_filled || !is_long || !self.room.may_reserve(full, shards) {
                    return;
                }
                (Provided { name, file_bytes: full, is_new: true }, Step::Make)
            }
        };
        placement.into = None;
        placement.next = Some(Next { from: spare.name, segment: Provided { name, ..spare }, file: None });
        self.ready_with(Readying { log, from: spare.name, name, step });
    }

    /// One step is done.
    pub(super) fn ready_step(&mut self, readying: Readying, result: Result<Done, Fault>) {
        let Readying { log, from, name, step } = readying;
        let directory = segment::directory(&self.place.directory, log);
        let Some(partition) = self.logs.get_mut(&log) else {
            // Deleted meanwhile. It is not known which of its names the file had when they were removed.
            for name in [from, name] {
                self.remove(Op::Remove { path: segment::path(&self.place.directory, log, name) });
            }
            self.checkpointer.remove_directory_after(self.journal.gathering_sequence(), directory);
            return;
        };
        let is_new = from == name;
        let done = match result {
            Ok(done) => done,
            // It need not be: the log goes on without it, and its room goes to others. Nobody gets its name before it is gone.
            Err(fault)
                if matches!(step, Step::Reserve(_))
                    || (fault.is_no_space() && is_new && !matches!(step, Step::Make | Step::Unmake)) =>
            {
                self.room.reserved_none(fault);
                return self.ready_with(Readying { log, from, name, step: Step::Unmake });
            }
            // A name may need a new block. The file with the old one goes: its room is needed.
            Err(fault) if fault.is_no_space() && matches!(step, Step::Rename | Step::Make) => {
                self.room.reserved_none(fault);
                if matches!(step, Step::Rename) {
                    self.remove(Op::Remove { path: segment::path(&self.place.directory, log, from) });
                }
                return self.give_up_next(log);
            }
            Err(fault) if fault.is_no_space() => {
                self.room.found_none(Wanting::Segment);
                return self.unready.push(Readying { log, from, name, step });
            }
            Err(fault) => return self.fail("make a segment ready", directory, fault),
        };
        let step = match (step, done) {
            (Step::Rename, _) => match planted(Bug::PlacedNameNotSynced) {
                true => Step::Open,
                false => Step::OpenDirectory,
            },
            (Step::Make, Done::Opened(file)) => Step::Reserve(file),
            (Step::Reserve(_), _) => Step::OpenDirectory,
            (Step::Unmake, _) => {
                // With its name it would be one of the log's segments once a checkpoint is past its base.
                self.settler.thinned(directory);
                return self.give_up_next(log);
            }
            (Step::OpenDirectory, Done::Opened(file)) => Step::SyncDirectory(file),
            (Step::SyncDirectory(_), _) => Step::OpenLogs,
            (Step::OpenLogs, Done::Opened(file)) => Step::SyncLogs(file),
            (Step::SyncLogs(_), _) => Step::Open,
            (Step::Open, Done::Opened(file)) => Step::WriteHeader(file),
            (Step::WriteHeader(file), _) => Step::Sync(file),
            (Step::Sync(file), _) => {
                let next = partition.placement.as_mut().and_then(|placement| placement.next.as_mut());
                if let Some(next) = next {
                    next.file = Some(file);
                }
                return self.begin_next(log);
            }
            (step, done) => unreachable!("{step:?} cannot come to {done:?}"),
        };
        self.ready_with(Readying { log, from, name, step });
    }

    /// What is appended goes on into the segment that is being filled.
    fn give_up_next(&mut self, log: LogId) {
        if let Some(placement) = self.logs.get_mut(&log).and_then(|partition| partition.placement.as_mut()) {
            placement.next = None;
        }
        self.settler.unpark(log);
        self.truncate_now(log);
    }

    /// Steps that found no room are tried again when there may be some.
    pub(super) fn drive_readying(&mut self) {
        if self.failed.is_some() || self.room.is_held() {
            return;
        }
        for readying in std::mem::take(&mut self.unready) {
            if self.logs.contains_key(&readying.log) {
                self.ready_with(readying);
            }
        }
    }

    fn ready_with(&mut self, readying: Readying) {
        let Readying { log, from, name, ref step } = readying;
        let path = segment::path(&self.place.directory, log, name);
        let op = match step {
            Step::Rename => Op::Rename { from: segment::path(&self.place.directory, log, from), to: path },
            Step::Make => Op::Open { path, how: Open::Replace },
            Step::Unmake => Op::Remove { path },
            Step::Reserve(file) => {
                let next =
                    self.logs.get(&log).and_then(|partition| partition.placement.as_ref()?.next.as_ref());
                let length = next.map_or(0, |next| next.segment.file_bytes);
                Op::Reserve { file: file.clone(), length }
            }
            Step::OpenDirectory => {
                Op::Open { path: segment::directory(&self.place.directory, log), how: Open::Directory }
            }
            Step::OpenLogs => Op::Open { path: self.place.directory.join("log"), how: Open::Directory },
            Step::SyncDirectory(file) | Step::SyncLogs(file) | Step::Sync(file) => {
                Op::Sync { file: file.clone() }
            }
            Step::Open => Op::Open { path, how: Open::Update },
            Step::WriteHeader(file) => {
                let epoch = self.logs.get(&log).map_or(0, |partition| partition.leader_epoch);
                let mut data = buffer::aligned(SEGMENT_HEADER_BYTES);
                data.extend_from_slice(&SegmentHeader::block(log, name.base, epoch));
                Op::Write { file: file.clone(), position: 0, data: data.freeze(), durable: false }
            }
        };
        self.want(Work::Ready(Box::new(readying)), op);
    }

    /// What is below the base of the segment that is ready is settled, and the one before is sealed: it is the one being
    /// filled from now on.
    pub(super) fn begin_ready(&mut self, log: LogId) {
        let Some(partition) = self.logs.get_mut(&log) else { return };
        let Some(placement) = &mut partition.placement else { return };
        if let Some(Next { segment, file: Some(file), .. }) = placement.next.take() {
            partition.segments.begin_at(segment.name, SEGMENT_HEADER_BYTES as u64, file);
            placement.into = Some(segment);
            self.open_files.opened(log, segment.name);
        }
    }

    /// Trimmed segments in which neither the last checkpoint nor the journal behind it means anything that is not trimmed:
    /// kept to be used again, or removed.
    pub(super) fn let_go(&mut self, files: Vec<(LogId, Provided)>) {
        let is_short = self.shortage().is_some();
        for (log, file) in files {
            let sizes = &self.place.sizes;
            let partition = self.logs.get_mut(&log);
            let full = partition.as_ref().map_or(0, |found| found.segment_bytes_max.min(sizes.segment_bytes));
            let placement = partition.and_then(|partition| partition.placement.as_mut());
            let wanted = |placement: &&mut Box<Placement>| {
                !is_short
                    && placement.has_much
                    && placement.spares.len() < SPARES_MAX
                    && file.file_bytes >= full / 4 * 3
            };
            match placement.filter(wanted) {
                Some(placement) => placement.spares.push(file),
                None => {
                    let path = segment::path(&self.place.directory, log, file.name);
                    self.remove(Op::Remove { path });
                }
            }
        }
    }

    /// The device is nearly full: what is reserved and not written goes back, by settling, which each log waits for its turn to do.
    pub(super) fn release_reserved(&mut self) {
        let mut logs = Vec::new();
        for partition in self.logs.values_mut().filter(|partition| partition.reserves_in_vain(true)) {
            if !std::mem::replace(&mut partition.settling, true) {
                logs.push(partition.id);
            }
        }
        logs.sort_unstable();
        logs.into_iter().for_each(|log| self.settler.queue(log));
    }

    /// The device is full: what is kept to be used again goes first.
    pub(super) fn release_spares(&mut self) {
        let mut spares: Vec<(LogId, Provided)> = Vec::new();
        for partition in self.logs.values_mut() {
            let log = partition.id;
            let own = partition.placement.iter_mut().flat_map(|placement| placement.spares.drain(..));
            spares.extend(own.map(|file| (log, file)));
        }
        spares.sort_unstable_by_key(|(log, _)| *log);
        for (log, file) in spares {
            let path = segment::path(&self.place.directory, log, file.name);
            self.remove(Op::Remove { path });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::os::unix::fs::MetadataExt;
    use std::rc::Rc;

    use crate::io::Op;
    use crate::limits::{LOOK_FOR_ROOM_US, PLACED_SEGMENTS_MAX, Sizes};
    use crate::partition::Keep;
    use crate::segment;
    use crate::shard::rig::{Rig, Scratch, config};
    use crate::types::LogId;

    const LOG: LogId = LogId(4);
    const OTHER: LogId = LogId(5);

    #[test]
    fn much_of_a_trimmed_log_is_written_once_and_is_there_after_a_crash() {
        let scratch = Scratch::new("placed");
        let mut config = config(&scratch.0, 1);
        config.sizes = Sizes { segment_bytes: 1 << 20, ..Sizes::default() };
        let mut rig = Rig::open_with(&config);
        rig.shards[0].create(LOG);
        rig.shards[0].create(OTHER);
        for request in 0..200 {
            rig.append(LOG, &vec![request as u8; 100_000], request);
            rig.append(OTHER, &[request as u8; 100], request);
            rig.settle();
            rig.shards[0].trim_to_fit(LOG, Keep { since_ms: None, bytes_max: Some(3 << 20) });
        }
        rig.settle(); // the last trim is durable
        let counts = rig.shards[0].counts();
        assert!(counts.placed_bytes > counts.appended_bytes / 3, "{counts:?}");
        let device_bytes = counts.journal.bytes + counts.settled_bytes;
        assert!(device_bytes < counts.appended_bytes * 7 / 4, "{counts:?}");
        let start = rig.shards[0].marks(LOG).unwrap().start;
        let expected: Vec<(u64, u8)> = (start..200).map(|request| (request, request as u8)).collect();
        assert_eq!(rig.read_all(LOG, start), expected);
        // Nothing was stopped in order: the journal tells which runs there are.
        drop(rig);
        let mut rig = Rig::open_with(&config);
        assert_eq!(rig.report.damage, []);
        let start = rig.shards[0].marks(LOG).unwrap().start;
        assert_eq!(rig.read_all(LOG, start), expected);
        assert_eq!(
            rig.read_all(OTHER, 0),
            (0..200).map(|request| (request, request as u8)).collect::<Vec<_>>()
        );
    }

    /// How often a log tried to have a segment reserved where that fails with `errno`, and the bytes placed.
    fn reservations(errno: i32) -> (u64, u64) {
        let scratch = Scratch::new("not-reserved");
        let mut config = config(&scratch.0, 1);
        config.sizes = Sizes { segment_bytes: 4 << 20, ..Sizes::default() };
        let mut rig = Rig::open_with(&config);
        let tried = Rc::new(Cell::new(0));
        let counted = tried.clone();
        rig.refuse = Box::new(move |op| {
            let is_reserved = matches!(op, Op::Reserve { .. });
            counted.set(counted.get() + u64::from(is_reserved));
            is_reserved.then_some(errno)
        });
        rig.shards[0].create(LOG);
        for request in 0..40 {
            rig.append(LOG, &vec![request as u8; 300_000], request);
            rig.settle();
            rig.now.monotonic_us += 100_000;
        }
        let expected: Vec<(u64, u8)> = (0..40).map(|request| (request, request as u8)).collect();
        assert_eq!(rig.read_all(LOG, 0), expected);
        let files = std::fs::read_dir(segment::directory(&scratch.0, LOG)).unwrap().count();
        assert_eq!(files, rig.shards[0].logs[&LOG].segments.list().len(), "a file was left behind");
        (tried.get(), rig.shards[0].counts().placed_bytes)
    }

    #[test]
    fn a_log_goes_on_where_nothing_can_be_reserved() {
        assert_eq!(reservations(libc::EOPNOTSUPP), (1, 0), "no file system learns it");
        let (tried, placed_bytes) = reservations(libc::ENOSPC);
        assert!((2..8).contains(&tried) && placed_bytes == 0, "once it was looked for room again: {tried}");
    }

    #[test]
    fn much_of_a_growing_log_is_written_once_into_reserved_blocks_and_is_there_after_a_crash() {
        for request_bytes in [300_000, 1_000_000] {
            let scratch = Scratch::new("reserved");
            let mut config = config(&scratch.0, 1);
            config.sizes = Sizes { segment_bytes: 16 << 20, ..Sizes::default() };
            let mut rig = Rig::open_with(&config);
            rig.shards[0].create(LOG);
            for request in 0..100 {
                rig.append(LOG, &vec![request as u8; request_bytes], request);
                rig.settle();
            }
            let counts = rig.shards[0].counts();
            assert!(counts.placed_bytes > counts.appended_bytes / 2, "{counts:?}");
            let device_bytes = counts.journal.bytes + counts.settled_bytes;
            assert!(device_bytes < counts.appended_bytes * 3 / 2, "{counts:?}");
            drop(rig);
            let mut rig = Rig::open_with(&config);
            assert_eq!(rig.report.damage, []);
            let expected: Vec<(u64, u8)> = (0..100).map(|request| (request, request as u8)).collect();
            assert_eq!(rig.read_all(LOG, 0), expected);
        }
    }

    #[test]
    fn what_is_reserved_and_not_written_goes_back_when_room_is_short() {
        let scratch = Scratch::new("given-back");
        let mut config = config(&scratch.0, 1);
        config.sizes = Sizes { segment_bytes: 16 << 20, ..Sizes::default() };
        let mut rig = Rig::open_with(&config);
        let allocated = || {
            let files = std::fs::read_dir(segment::directory(&scratch.0, LOG)).unwrap();
            files.map(|file| file.unwrap().metadata().unwrap().blocks() * 512).sum::<u64>()
        };
        rig.shards[0].create(LOG);
        let mut requests = 0..;
        while rig.shards[0].counts().placed_bytes == 0 {
            let request = requests.next().unwrap();
            assert!(request < 100, "nothing is placed");
            rig.append(LOG, &vec![request as u8; 300_000], request);
            rig.settle();
        }
        let held = rig.shards[0].counts().appended_bytes;
        assert!(allocated() >= held + (8 << 20), "nothing is reserved");
        rig.shards[0].place.sizes.free_bytes_min = u64::MAX;
        rig.now.monotonic_us += LOOK_FOR_ROOM_US;
        rig.settle(); // looks for room
        assert!(rig.shards[0].shortage().is_some());
        rig.settle(); // and then cuts
        assert!(allocated() < held + (1 << 20), "{} bytes are still taken, for {held}", allocated());
        let count = requests.next().unwrap();
        let expected: Vec<(u64, u8)> = (0..count).map(|request| (request, request as u8)).collect();
        assert_eq!(rig.read_all(LOG, 0), expected);
    }

    #[test]
    fn a_checkpoint_is_made_for_what_was_placed_though_the_journal_has_room() {
        let scratch = Scratch::new("placed-checkpoint");
        let mut config = config(&scratch.0, 1);
        config.sizes = Sizes { segment_bytes: 4 << 20, ..Sizes::default() };
        config.journal_file_bytes = 64 << 20;
        let mut rig = Rig::open_with(&config);
        rig.shards[0].create(LOG);
        for request in 0..100 {
            rig.append(LOG, &vec![request as u8; 300_000], request);
            rig.settle();
        }
        let counts = rig.shards[0].counts();
        assert!(
            counts.journal.bytes < config.journal_file_bytes,
            "a full file would need a checkpoint anyway"
        );
        let due = counts.placed_bytes / (PLACED_SEGMENTS_MAX * config.sizes.segment_bytes);
        assert!(due > 0 && counts.checkpoints == due, "{due} are due: {counts:?}");
    }

    #[test]
    fn a_log_with_little_in_a_frame_goes_through_the_journal_alone() {
        let scratch = Scratch::new("unplaced");
        let mut rig = Rig::open(&scratch.0, 1);
        rig.shards[0].create(LOG);
        for request in 0..200 {
            rig.append(LOG, &[request as u8; 1000], request);
            rig.settle();
            rig.shards[0].trim_to_fit(LOG, Keep { since_ms: None, bytes_max: Some(10_000) });
        }
        assert_eq!(rig.shards[0].counts().placed_bytes, 0);
        assert!(rig.shards[0].logs[&LOG].placement.is_none(), "it costs no memory");
    }
}
