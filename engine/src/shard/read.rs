//! Reading: from the tail in memory at once, or a whole run from its segment, checked and kept for the next.
//!
//! In: a log, an offset, how many bytes. Out: slices of shared memory. Never: serves a byte whose checksum was
//! not verified, or anything at or above the durable offset.
//!
//! A run is the unit of reading: about half a mebibyte, one checksum, one direct read. Readers that follow each
//! other through a log find it in the cache. Whoever comes to the front of a run is taken to read on: the runs behind it are
//! read ahead while the answer is on its way, unless something is appended.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::{Shard, ShardEvent, Work, bytes_of};
use crate::error::Damage;
use crate::format::batch;
use crate::format::run::{RUN_HEADER_BYTES, RunPlace};
use crate::io::{Descriptor, Done, Fault, Op, Open, buffer};
use crate::limits::{APPENDING_US, READS_IN_FLIGHT_MAX, RUNS_AHEAD};
use crate::partition::Partition;
use crate::planted::{Bug, planted};
use crate::segment::{self, SegmentName};
use crate::types::{LogId, Now, Offset, Ticket};

/// What a read came to.
#[derive(Clone, Debug)]
pub enum ReadOutcome {
    /// Whole batches, back to back; none if the log ends at the offset.
    Data {
        /// They share the engine's memory. The first may begin below the offset asked for; or above it, where the log
        /// was compacted.
        batches: Vec<Bytes>,
        /// First offset that may be read.
        log_start: Offset,
        /// Everything below is on the device.
        durable: Offset,
    },
    /// The offset is below the log start or above the durable offset.
    OutOfRange {
        /// First offset that may be read.
        log_start: Offset,
        /// Everything below is on the device.
        durable: Offset,
    },
    /// The log does not exist here, or was deleted meanwhile.
    UnknownLog,
    /// The bytes on the device are not what was written there.
    Damaged(Damage),
    /// The device did not deliver.
    Fault {
        /// The file and the reason.
        what: String,
    },
}

/// A reader that waits for a run.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    from: Offset,
    bytes_max: usize,
    ticket: Ticket,
}

/// A run that is wanted, and by whom: by nobody yet, if it is read ahead.
#[derive(Debug)]
struct Wanted {
    log: LogId,
    name: SegmentName,
    place: RunPlace,
    /// How much of it counts. Kept here, because the segment may be forgotten before it is read.
    limit: Offset,
    readers: Vec<Waiting>,
    begun: bool,
    /// What was read of it, whole blocks, from which file, which may have lost its name meanwhile; and how much there will
    /// be after the read under way.
    part: BytesMut,
    file: Option<Descriptor>,
    asked: usize,
    /// The file is being opened.
    opening: bool,
}

impl Wanted {
    fn new(log: LogId, name: SegmentName, place: RunPlace, limit: Offset, readers: Vec<Waiting>) -> Wanted {
        let (part, file) = (BytesMut::new(), None);
        Wanted { log, name, place, limit, readers, begun: false, part, file, asked: 0, opening: false }
    }

    fn is(&self, log: LogId, name: SegmentName, place: &RunPlace) -> bool {
        self.log == log && self.name == name && self.place == *place
    }

    /// Reads on, at most so many bytes if that is limited.
    fn next_piece(&mut self, file: Descriptor, bytes_max: Option<usize>) -> Op {
        let all = self.place.total_bytes();
        let part = std::mem::take(&mut self.part);
        let buffer = if part.is_empty() { buffer::aligned(all) } else { part };
        let length = bytes_max.map_or(all, |bytes| all.min(buffer.len() + bytes));
        self.asked = length;
        self.file = Some(file.clone());
        Op::Read { file, position: self.place.position.get(), buffer, length }
    }
}

/// The checked batches of a run.
#[derive(Debug)]
struct Cached {
    log: LogId,
    name: SegmentName,
    place: RunPlace,
    batches: Bytes,
    /// Nobody has asked for it yet.
    is_ahead: bool,
}

impl Cached {
    fn is(&self, log: LogId, name: SegmentName, place: &RunPlace) -> bool {
        self.log == log && self.name == name && self.place == *place
    }
}

/// Runs being read, and runs that were.
#[derive(Debug, Default)]
pub(super) struct Reader {
    wanted: VecDeque<Wanted>,
    in_flight: usize,
    /// Something is appended until then, as far as is known.
    appending_until_us: u64,
    is_appending: bool,
    /// Most recently used last.
    cache: VecDeque<Cached>,
    cache_bytes: usize,
}

impl Reader {
    /// Bytes of runs that were read or are being read.
    pub(super) fn bytes(&self) -> usize {
        let begun = self.wanted.iter().filter(|wanted| wanted.begun || !wanted.part.is_empty());
        self.cache_bytes + begun.map(|wanted| wanted.place.total_bytes()).sum::<usize>()
    }

    /// The batches of a run that was read, and whether nobody has asked for them before.
    fn cached(&mut self, log: LogId, name: SegmentName, place: &RunPlace) -> Option<(Bytes, bool)> {
        let index = self.cache.iter().position(|entry| entry.is(log, name, place))?;
        let mut entry = self.cache.remove(index)?;
        let was_ahead = std::mem::take(&mut entry.is_ahead);
        let batches = entry.batches.clone();
        self.cache.push_back(entry);
        Some((batches, was_ahead))
    }

    fn keep(&mut self, wanted: &Wanted, batches: Bytes, bytes_max: usize) {
        self.cache_bytes += batches.len();
        let (log, name, place, is_ahead) = (wanted.log, wanted.name, wanted.place, wanted.readers.is_empty());
        self.cache.push_back(Cached { log, name, place, batches, is_ahead });
        while self.cache_bytes > bytes_max
            && let Some(oldest) = self.cache.pop_front()
        {
            self.cache_bytes -= oldest.batches.len();
        }
    }

    /// Bytes of runs that are or will be read and nobody has asked for.
    fn ahead_bytes(&self) -> usize {
        let wanted = self.wanted.iter().filter(|wanted| wanted.readers.is_empty());
        let cached = self.cache.iter().filter(|entry| entry.is_ahead);
        wanted.map(|wanted| wanted.place.total_bytes()).sum::<usize>()
            + cached.map(|entry| entry.batches.len()).sum::<usize>()
    }

    fn knows(&self, log: LogId, name: SegmentName, place: &RunPlace) -> bool {
        self.wanted.iter().any(|wanted| wanted.is(log, name, place))
            || self.cache.iter().any(|entry| entry.is(log, name, place))
    }

    /// Answers everybody who waits for a log that is gone.
    pub(super) fn forget(&mut self, log: LogId, events: &mut VecDeque<ShardEvent>) {
        for wanted in self.wanted.iter_mut().filter(|wanted| wanted.log == log) {
            for reader in wanted.readers.drain(..) {
                events
                    .push_back(ShardEvent::Read { ticket: reader.ticket, outcome: ReadOutcome::UnknownLog });
            }
        }
        self.wanted.retain(|wanted| wanted.log != log || wanted.begun);
        self.uncache(|entry| entry.log == log);
    }

    /// Takes out whoever waits for a run of the segment that nobody has begun to read.
    fn take_waiting(&mut self, log: LogId, base: Offset) -> Vec<Waiting> {
        let of = |wanted: &Wanted| !wanted.begun && wanted.log == log && wanted.name.base == base;
        let (taken, rest): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.wanted).into_iter().partition(of);
        self.wanted = rest;
        taken.into_iter().flat_map(|wanted| wanted.readers).collect()
    }

    /// Whether somebody is just opening the segment's file.
    pub(super) fn is_opening(&self, log: LogId, base: Offset) -> bool {
        self.wanted.iter().any(|wanted| wanted.opening && wanted.log == log && wanted.name.base == base)
    }

    /// Forgets what was cached of one segment.
    pub(super) fn forget_segment(&mut self, log: LogId, name: SegmentName) {
        self.uncache(|entry| entry.log == log && entry.name == name);
    }

    /// Answers everybody who waits for what lies at `end` or behind and is no more.
    pub(super) fn truncate(
        &mut self,
        log: LogId,
        log_start: Offset,
        end: Offset,
        events: &mut VecDeque<ShardEvent>,
    ) {
        for wanted in self.wanted.iter_mut().filter(|wanted| wanted.log == log) {
            wanted.limit = wanted.limit.min(end);
            for reader in wanted.readers.extract_if(.., |reader| reader.from >= end) {
                let outcome = match reader.from == end {
                    true => ReadOutcome::Data { batches: Vec::new(), log_start, durable: end },
                    false => ReadOutcome::OutOfRange { log_start, durable: end },
                };
                events.push_back(ShardEvent::Read { ticket: reader.ticket, outcome });
            }
        }
    }

    fn uncache(&mut self, gone: impl Fn(&Cached) -> bool) {
        self.cache.retain(|entry| !gone(entry));
        self.cache_bytes = self.cache.iter().map(|entry| entry.batches.len()).sum();
    }
}

impl Shard {
    /// Reads whole batches from the one that holds `from`: at most `bytes_max`, but at least one. `None`: the
    /// device must be asked; [`ShardEvent::Read`] follows under this ticket.
    pub fn read(
        &mut self,
        log: LogId,
        from: Offset,
        bytes_max: usize,
        ticket: Ticket,
    ) -> Option<ReadOutcome> {
        let Some(partition) = self.live(log) else { return Some(ReadOutcome::UnknownLog) };
        let marks = partition.visible();
        let (log_start, durable) = (marks.start, marks.durable);
        if from < log_start || from > durable {
            return Some(ReadOutcome::OutOfRange { log_start, durable });
        }
        if let Some(damage) = partition.hole_in(from..from + 1) {
            return Some(ReadOutcome::Damaged(damage.clone()));
        }
        if from == durable {
            return Some(ReadOutcome::Data { batches: Vec::new(), log_start, durable });
        }
        if partition.tail.first().is_some_and(|first| first <= from) {
            let batches = partition.tail.slices(from, durable, bytes_max);
            self.counts.read_from_memory_bytes += bytes_of(&batches);
            return Some(ReadOutcome::Data { batches, log_start, durable });
        }
        let found = partition.segments.find(from);
        // Where compaction has left nothing, what is found may be behind a hole: that is not passed over.
        let next = found.map_or(durable, |(_, place)| place.base_offset.get());
        if let Some(damage) = partition.hole_in(from..next) {
            return Some(ReadOutcome::Damaged(damage.clone()));
        }
        let Some((segment, place)) = found else {
            // Nothing is left of these offsets but the tail behind them.
            let batches = partition.tail.slices(from, durable, bytes_max);
            return Some(ReadOutcome::Data { batches, log_start, durable });
        };
        // What a truncation under way takes back may be there again when the run was read.
        let truncated = partition.truncation.as_ref().map_or(Offset::MAX, |truncation| truncation.end);
        let (name, limit) = (segment.name, segment.limit.min(truncated));
        let end = limit.min(durable);
        if let Some((run, was_ahead)) = self.reader.cached(log, name, &place) {
            if was_ahead {
                self.read_ahead(log, place.end_offset.get());
            }
            let batches = cut(&run, from..end, bytes_max);
            if batches.is_empty() && place.end_offset.get() < end {
                // Compaction left nothing from here to the end of the run.
                return self.read(log, place.end_offset.get(), bytes_max, ticket);
            }
            self.counts.read_from_memory_bytes += bytes_of(&batches);
            return Some(ReadOutcome::Data { batches, log_start, durable });
        }
        let reader = Waiting { from, bytes_max, ticket };
        let mut wanted = self.reader.wanted.iter_mut();
        let reads_on = match wanted.find(|wanted| wanted.is(log, name, &place)) {
            Some(wanted) => {
                wanted.readers.push(reader);
                wanted.readers.len() == 1
            }
            None => {
                self.reader.wanted.push_back(Wanted::new(log, name, place, limit, vec![reader]));
                from == place.base_offset.get()
            }
        };
        if reads_on {
            self.read_ahead(log, place.end_offset.get());
        }
        self.drive_reads();
        None
    }

    /// Has the runs from the one that holds `from` on read, if nobody has asked for them; not while something is appended.
    fn read_ahead(&mut self, log: LogId, mut from: Offset) {
        for _ in 0..RUNS_AHEAD {
            let may = |partition: &&Partition| partition.truncation.is_none() && !self.reader.is_appending;
            let Some(partition) = self.live(log).filter(may) else { break };
            let in_tail = partition.tail.first().is_some_and(|first| first <= from);
            let Some((segment, place)) = partition.segments.find(from).filter(|_| !in_tail) else { break };
            let (name, limit) = (segment.name, segment.limit);
            if !self.reader.knows(log, name, &place) {
                let bytes = self.reader.ahead_bytes() + place.total_bytes();
                if bytes > self.cache_bytes_max() / 2 {
                    break;
                }
                self.reader.wanted.push_back(Wanted::new(log, name, place, limit, Vec::new()));
            }
            from = place.end_offset.get();
        }
        self.drive_reads();
    }

    fn cache_bytes_max(&self) -> usize {
        self.place.sizes.run_cache_bytes.min(self.place.memory_bytes / 4)
    }

    /// First offset from which on a reader looking for the first record at or after a time must look.
    pub fn seek_time(&self, log: LogId, timestamp_ms: i64) -> Option<Offset> {
        let partition = self.live(log)?;
        let marks = partition.visible();
        let in_tail = || {
            let mut tail = partition.tail.from(marks.settled.max(marks.start));
            tail.find(|batch| batch.max_timestamp_ms >= timestamp_ms).map(|batch| batch.base)
        };
        let found = partition.segments.find_time(timestamp_ms).or_else(in_tail);
        found.map(|offset| offset.max(marks.start)).filter(|offset| *offset < marks.durable)
    }

    /// First offset from which on a reader looking for the record with the largest timestamp must look, and
    /// that timestamp.
    pub fn seek_latest_time(&self, log: LogId) -> Option<(i64, Offset)> {
        let partition = self.live(log)?;
        let marks = partition.marks();
        let tail = partition.tail.from(marks.settled.max(marks.start));
        let in_tail = tail.map(|batch| (batch.max_timestamp_ms, batch.base)).max_by_key(|(time, _)| *time);
        let best = partition.segments.latest_time().into_iter().chain(in_tail).max_by_key(|(time, _)| *time);
        best.map(|(time, offset)| (time, offset.max(marks.start)))
    }

    /// The segment's file is another one now: whoever waits for a run of it looks for it anew.
    pub(super) fn segment_replaced(&mut self, log: LogId, base: Offset) {
        self.reader.forget_segment(log, base.into());
        for Waiting { from, bytes_max, ticket } in self.reader.take_waiting(log, base) {
            if let Some(outcome) = self.read(log, from, bytes_max, ticket) {
                self.events.push_back(ShardEvent::Read { ticket, outcome });
            }
        }
    }

    /// At each turn: whether reads make way for appends.
    pub(super) fn drive_reader(&mut self, now: Now) {
        if self.journal.is_writing() {
            self.reader.appending_until_us = now.monotonic_us + APPENDING_US;
        }
        self.reader.is_appending = now.monotonic_us < self.reader.appending_until_us;
        if self.reader.is_appending {
            self.reader.wanted.retain(|wanted| wanted.begun || !wanted.readers.is_empty());
        }
        self.drive_reads();
    }

    fn drive_reads(&mut self) {
        let in_flight_max = if self.reader.is_appending { 1 } else { READS_IN_FLIGHT_MAX };
        let piece_bytes = self.piece_bytes();
        while self.reader.in_flight < in_flight_max {
            let mut unbegun = self.reader.wanted.iter().enumerate().filter(|(_, wanted)| !wanted.begun);
            let next =
                unbegun.clone().find(|(_, wanted)| !wanted.readers.is_empty()).or_else(|| unbegun.next());
            let next = next.map(|(index, _)| index);
            let Some(wanted) = next.and_then(|next| self.reader.wanted.get_mut(next)) else { return };
            wanted.begun = true;
            self.reader.in_flight += 1;
            let (log, name, place) = (wanted.log, wanted.name, wanted.place);
            let segments = self.logs.get(&log).map(|log| log.segments.list()).unwrap_or_default();
            let segment = segments.iter().find(|segment| segment.name == name);
            let file = wanted.file.take().or_else(|| segment.and_then(|segment| segment.file.clone()));
            let op = match file {
                Some(file) => wanted.next_piece(file, piece_bytes),
                None => {
                    wanted.opening = true;
                    // What is kept open of a segment that is being filled is also written to.
                    let is_active = segment.is_some_and(|segment| !segment.sealed);
                    let how = if is_active { Open::Update } else { Open::Read };
                    Op::Open { path: segment::path(&self.place.directory, log, name), how }
                }
            };
            self.want(Work::Read { log, name, place }, op);
        }
    }

    /// How much is read at a time, if that is limited.
    fn piece_bytes(&self) -> Option<usize> {
        self.reader.is_appending.then_some(self.place.sizes.cold_read_bytes)
    }

    /// A file was opened or a run was read.
    pub(super) fn read_step(
        &mut self,
        log: LogId,
        name: SegmentName,
        place: &RunPlace,
        result: Result<Done, Fault>,
    ) {
        let of = |wanted: &Wanted| wanted.begun && wanted.is(log, name, place);
        let index = self.reader.wanted.iter().position(of);
        let Some(index) = index else { unreachable!("a run was read that nobody wanted") };
        let place = *place;
        let piece_bytes = self.piece_bytes();
        let wanted = &mut self.reader.wanted[index];
        let result = match result {
            Ok(Done::Opened(file)) => {
                wanted.opening = false;
                let op = wanted.next_piece(file.clone(), piece_bytes);
                if let Some(partition) = self.logs.get_mut(&log) {
                    partition.segments.opened(name, file);
                    self.open_files.opened(log, name);
                }
                return self.want(Work::Read { log, name, place }, op);
            }
            Ok(Done::Read(part)) if part.len() == wanted.asked && part.len() < place.total_bytes() => {
                (wanted.part, wanted.begun) = (part, false);
                self.reader.in_flight -= 1;
                return self.drive_reads();
            }
            // All of it, or the file has no more.
            other => other,
        };
        let Some(wanted) = self.reader.wanted.remove(index) else { return };
        self.reader.in_flight -= 1;
        let checked = self.checked_run(&wanted, result);
        let mut onward = Vec::new();
        let marks = self.marks(log).unwrap_or_default();
        let end = wanted.limit.min(marks.durable);
        for reader in &wanted.readers {
            let outcome = match &checked {
                Ok(run) => {
                    let batches = cut(run, reader.from..end, reader.bytes_max);
                    if batches.is_empty() && place.end_offset.get() < end {
                        onward.push(*reader);
                        continue;
                    }
                    ReadOutcome::Data { batches, log_start: marks.start, durable: marks.durable }
                }
                // Trimmed meanwhile, and perhaps removed.
                Err(_) if reader.from < marks.start => {
                    ReadOutcome::OutOfRange { log_start: marks.start, durable: marks.durable }
                }
                Err(outcome) => outcome.clone(),
            };
            self.events.push_back(ShardEvent::Read { ticket: reader.ticket, outcome });
        }
        if let Ok(run) = checked {
            self.counts.read_from_device_bytes += run.len() as u64;
            let cache_bytes_max = self.cache_bytes_max();
            self.reader.keep(&wanted, run, cache_bytes_max);
        }
        for Waiting { bytes_max, ticket, .. } in onward {
            // Compaction left nothing from there to the end of the run.
            if let Some(outcome) = self.read(log, place.end_offset.get(), bytes_max, ticket) {
                self.events.push_back(ShardEvent::Read { ticket, outcome });
            }
        }
        self.drive_reads();
    }

    fn checked_run(&self, wanted: &Wanted, result: Result<Done, Fault>) -> Result<Bytes, ReadOutcome> {
        let path = segment::path(&self.place.directory, wanted.log, wanted.name);
        let position = wanted.place.position.get();
        match result {
            Ok(Done::Read(bytes)) if planted(Bug::ServeUnchecked) => {
                let run = bytes.freeze();
                let end = RUN_HEADER_BYTES + wanted.place.bytes.get() as usize;
                Ok(run.slice(RUN_HEADER_BYTES.min(run.len())..end.min(run.len())))
            }
            Ok(Done::Read(bytes)) => {
                segment::check(bytes.freeze(), wanted.log, &wanted.place).map_err(|what| {
                    let offsets = wanted.place.base_offset.get()..wanted.place.end_offset.get();
                    let what =
                        format!("{what} (offsets {} to {} of {:?})", offsets.start, offsets.end, wanted.log);
                    ReadOutcome::Damaged(Damage { path, position, what })
                })
            }
            Ok(other) => unreachable!("a read cannot come to {other:?}"),
            Err(fault) => Err(ReadOutcome::Fault {
                what: format!("cannot read {} at {position}: {fault}", path.display()),
            }),
        }
    }
}

/// Whole batches out of a checked run, from the one that holds the first of `offsets` and below their end: one slice,
/// or none.
fn cut(run: &Bytes, offsets: Range<Offset>, bytes_max: usize) -> Vec<Bytes> {
    let (mut start, mut end) = (None, 0);
    let mut at = 0;
    while let Some(header) = run.get(at..).and_then(|rest| batch::shape(rest).ok()) {
        let next = at + header.total_bytes();
        let end_offset = header.base_offset.get() as u64 + header.offsets_count();
        if end_offset > offsets.end {
            break;
        }
        if end_offset > offsets.start {
            let begin = *start.get_or_insert(at);
            if next - begin > bytes_max && end > begin {
                break;
            }
            end = next;
        }
        at = next;
    }
    start.map(|start| run.slice(start..end)).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Sizes;
    use crate::shard::rig::{Rig, Scratch, config};

    const LOG: LogId = LogId(4);
    const TICKET: Ticket = Ticket { owner: 1, request: 0 };

    /// A log of four runs, opened anew, and the offset that each begins at.
    fn four_runs(scratch: &Scratch) -> (Rig, Vec<Offset>) {
        let mut config = config(&scratch.0, 1);
        config.sizes = Sizes { run_bytes: 32 << 10, ..Sizes::default() };
        let mut rig = Rig::open_with(&config);
        rig.shards[0].create(LOG);
        for request in 0..16 {
            rig.append(LOG, &[request as u8; 8000], request);
            rig.settle();
        }
        drop(rig);
        let rig = Rig::open_with(&config);
        let segments = rig.shards[0].logs[&LOG].segments.list();
        let bases = segments.iter().flat_map(|segment| segment.live_runs().map(|run| run.base_offset.get()));
        let bases: Vec<Offset> = bases.collect();
        assert!(bases.len() >= 4, "{bases:?}");
        (rig, bases)
    }

    fn reads_at_once(rig: &mut Rig, from: Offset) -> bool {
        matches!(rig.shards[0].read(LOG, from, 1 << 20, TICKET), Some(ReadOutcome::Data { batches, .. }) if !batches.is_empty())
    }

    #[test]
    fn whoever_comes_to_the_front_of_a_run_finds_the_next_in_memory() {
        let scratch = Scratch::new("read-ahead");
        let (mut rig, bases) = four_runs(&scratch);
        assert!(!reads_at_once(&mut rig, bases[0]));
        rig.settle();
        for base in &bases[1..] {
            assert!(reads_at_once(&mut rig, *base), "{base} of {bases:?}");
            rig.settle();
        }
        // Each was read once.
        let counts = rig.shards[0].counts();
        assert!(counts.read_from_device_bytes < 17 * 8200, "{counts:?}");
    }

    #[test]
    fn a_run_that_is_more_than_the_cache_may_hold_is_not_kept() {
        let scratch = Scratch::new("cache");
        let (mut rig, bases) = four_runs(&scratch);
        rig.shards[0].place.sizes.run_cache_bytes = 20_000;
        assert!(!reads_at_once(&mut rig, bases[0]));
        rig.settle();
        assert!(
            rig.events
                .iter()
                .any(|event| matches!(event, ShardEvent::Read { outcome: ReadOutcome::Data { .. }, .. }))
        );
        assert_eq!(rig.shards[0].memory_bytes(), 0);
    }

    #[test]
    fn nothing_is_read_ahead_of_a_look_into_the_middle_or_beside_appends() {
        let scratch = Scratch::new("no-read-ahead");
        let (mut rig, bases) = four_runs(&scratch);
        assert!(!reads_at_once(&mut rig, bases[0] + 1));
        rig.settle();
        assert!(!reads_at_once(&mut rig, bases[1] + 1));
        rig.settle();
        rig.append(LOG, b"x", 16);
        rig.shards[0].commit(rig.now); // a frame is on its way
        assert!(!reads_at_once(&mut rig, bases[2]));
        assert!(rig.shards[0].reader.wanted.iter().all(|wanted| !wanted.readers.is_empty()));
        rig.settle();
        assert!(!reads_at_once(&mut rig, bases[3]));
    }
}
