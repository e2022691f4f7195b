//! Compaction: sealed segments written anew without the records that later ones with the same key replace, or that
//! their owner needs no more.
//!
//! In: a log and its owner's rules; one run at a time, read with the priority of cold reads. Out: a new file for each
//! segment, durable before it takes the old one's name. Never: touches a segment that is being filled or that the last
//! checkpoint does not know to be sealed, holds more than one run and one batch in memory beside the map of keys, or
//! moves more than one run in the time of [`Sizes`](crate::limits::Sizes).
//!
//! ```text
//!   mapping, by key: read each run that never was compacted, note where its keys are last
//!      └─> each segment, or several that are not more than one together:
//!             read run ─> filter ─> write run ... ─> table ─> sync ─> rename over the first ─> sync directory ─> remove the others
//!                            └── nothing to drop: the new file is removed   └── readers go on with the old files
//! ```
//!
//! A crash at any step leaves the old file or the whole new one under the name; what is left under the other name, or
//! of what the new file has too, is removed at the next start.

mod fate;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use self::fate::{Dropped, Fate, Superseded};
use super::{Shard, Work};
use crate::format::batch::{self, BatchHeader};
use crate::format::run::{self, RunPlace};
use crate::io::{Descriptor, Done, Fault, Op, Open, buffer};
use crate::limits::{COMPACTION_KEYS_MAX, COMPACTION_RUNS_MAX, DROPPED_RANGES_MAX, Sizes};
use crate::partition::Partition;
use crate::planted::{Bug, planted};
use crate::segment::{self, Segment, compact};
use crate::types::{LogId, Now, Offset};

/// A step that moves less than this part of a run takes this part of the time between steps.
const LIGHT_STEP_PART: u64 = 16;

/// How a log is compacted.
#[derive(Clone, Copy, Debug)]
pub struct Compaction {
    /// It is not worth while before this share, from 0 to 1, of what may be compacted never was.
    pub dirty_ratio_min: f64,
    /// Records younger than so many ms stay as they are.
    pub lag_ms_min: u64,
    /// With records older than so many ms that never were compacted it is worth while in any case.
    pub lag_ms_max: u64,
    /// With records older than so many ms, or than `lag_ms_max`, a segment is sealed before it is full, if they are so much
    /// of the log that a compaction with them would be worth while.
    pub sealed_after_ms: u64,
    /// Deletions are kept for so many ms after they were compacted first, for readers to see them.
    pub deletions_kept_ms: u64,
    /// How to look into compressed batches.
    pub codecs: compact::Codecs,
}

/// What of a log is not needed any more, though something before it is.
#[derive(Clone, Debug)]
pub struct Dropping {
    /// Offsets, sorted and apart from each other; the first [`DROPPED_RANGES_MAX`] are looked at.
    pub ranges: Vec<Range<Offset>>,
    /// A segment is written anew when so much of what it has left, from 0 to 1, is not needed. At 0.5 no more is
    /// written than is given back.
    pub share_min: f64,
    /// How to look into compressed batches of which a part is needed.
    pub codecs: compact::Codecs,
}

/// The compaction under way, if one is.
#[derive(Debug, Default)]
pub(super) struct Compactor {
    job: Option<Box<Job>>,
    in_flight: bool,
    next_step_us: u64,
    /// Offsets that segments had left when they were written without what was dropped, since the start.
    left: BTreeMap<(LogId, Offset), u64>,
}

impl Compactor {
    /// Whether the log is being compacted.
    pub(super) fn is_at(&self, log: LogId) -> bool {
        self.job.as_ref().is_some_and(|job| job.log == log)
    }
}

#[derive(Debug)]
struct Job {
    log: LogId,
    fate: Fate,
    now_s: u32,
    /// Each is to be one segment.
    to_rewrite: VecDeque<Vec<Offset>>,
    output: Option<Output>,
    /// Nothing is left to do but to take away what was being written.
    is_given_up: bool,
}

/// A segment being written anew, or several that follow each other as one.
#[derive(Debug)]
struct Output {
    /// It takes the place and the name of the first, and the others go.
    base: Offset,
    others: Vec<Offset>,
    /// Their runs, each with the segment that has it.
    source: Vec<(Offset, RunPlace)>,
    /// Of `source`: the next to read.
    next: usize,
    /// The run that was read, and how much of it is still to be looked at.
    reading: Option<(RunPlace, Bytes)>,
    gathered: Gathered,
    file: Option<Descriptor>,
    runs: Vec<RunPlace>,
    position: u64,
    changed: bool,
    stage: Stage,
}

/// How far the new file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Runs,
    Table,
    Synced,
    Named,
    /// What else it has the records of is to go.
    Merged,
    Discarded,
}

/// The next run to write.
#[derive(Debug, Default)]
struct Gathered {
    /// Offsets it stands for, whether or not there are batches at them.
    offsets: Option<Range<Offset>>,
    batches: Vec<Bytes>,
    bytes: usize,
    max_timestamp_ms: Option<i64>,
    compacted_at_s: u32,
    /// Nothing more goes into it.
    complete: bool,
}

/// What an operation was for.
#[derive(Debug)]
pub(super) enum Step {
    OpenSource(Offset),
    Map(RunPlace),
    Read(RunPlace),
    OpenTarget,
    Write(RunPlace, u64),
    Table,
    Sync,
    Rename,
    OpenDirectory,
    SyncDirectory,
    RemoveOther,
    Remove,
}

/// What is to be done next.
enum Next {
    Begin(Step, Op),
    /// Readers are just opening the old file.
    Wait,
    Finished,
}

fn seconds(now: Now) -> u32 {
    u32::try_from(now.wall_ms / 1000).unwrap_or(1).max(1)
}

/// Where a segment is until its new form is durable.
pub(crate) fn unfinished(data: &Path, log: LogId, base: Offset) -> PathBuf {
    segment::path(data, log, base).with_extension("compact")
}

impl Gathered {
    fn add(&mut self, batch: Bytes, header: &BatchHeader) {
        self.max_timestamp_ms = self.max_timestamp_ms.max(Some(header.max_timestamp.get()));
        self.bytes += batch.len();
        self.batches.push(batch);
    }

    /// Offsets up to `end` are accounted for.
    fn cover(&mut self, place: &RunPlace, end: Offset, compacted_at_s: u32) {
        let start = self.offsets.as_ref().map_or(place.base_offset.get(), |offsets| offsets.start);
        self.offsets = Some(start..end.max(start));
        self.compacted_at_s = self.compacted_at_s.max(compacted_at_s);
    }
}

impl Output {
    fn new(segments: &[&Segment]) -> Option<Output> {
        let (first, others) = segments.split_first()?;
        let runs = |of: &&Segment| of.runs.iter().map(|run| (of.name.base, *run)).collect::<Vec<_>>();
        Some(Output {
            base: first.name.base,
            others: others.iter().map(|other| other.name.base).collect(),
            source: segments.iter().flat_map(runs).collect(),
            next: 0,
            reading: None,
            gathered: Gathered::default(),
            file: None,
            runs: Vec::new(),
            position: 0,
            changed: !others.is_empty(),
            stage: Stage::Runs,
        })
    }

    fn bases(&self) -> impl Iterator<Item = Offset> {
        std::iter::once(self.base).chain(self.others.iter().copied())
    }

    /// Whether the new file has the name.
    fn is_named(&self) -> bool {
        matches!(self.stage, Stage::Named | Stage::Merged)
    }
}

impl Shard {
    /// Begins to compact the log if that is worth while and no other is being compacted; tells whether it did. What
    /// it does is not to be waited for: until it is done, all records are there. If it would be worth while were more of the
    /// log in sealed segments, they are sealed, and a later call finds them.
    pub fn compact(&mut self, log: LogId, rules: Compaction, now: Now) -> bool {
        let Some(partition) = self.free_to_compact(log) else { return false };
        let start = partition.durable_start();
        let segments = || partition.compactable().filter(|segment| segment.end() > start);
        let younger = now.wall_ms.saturating_sub_unsigned(rules.lag_ms_min);
        let older = now.wall_ms.saturating_sub_unsigned(rules.lag_ms_max);
        let (mut clean_bytes, mut dirty_bytes, mut overdue) = (0, 0, false);
        let mut to_map = VecDeque::new();
        for (base, place) in segments().flat_map(|of| of.runs.iter().map(move |run| (of.name.base, *run))) {
            let bytes = u64::from(place.bytes.get());
            if place.compacted_at_s.get() != 0 {
                clean_bytes += bytes;
                continue;
            }
            if to_map.len() == COMPACTION_RUNS_MAX
                || (rules.lag_ms_min > 0 && place.max_timestamp_ms.get() > younger)
            {
                break;
            }
            dirty_bytes += bytes;
            overdue |= place.max_timestamp_ms.get() < older;
            to_map.push_back((base, place));
        }
        let is_much = |bytes| bytes as f64 >= rules.dirty_ratio_min * (clean_bytes + bytes) as f64;
        if to_map.is_empty() || !(overdue || is_much(dirty_bytes)) {
            let sealed_after_ms = rules.sealed_after_ms.min(rules.lag_ms_max).max(rules.lag_ms_min);
            let is_old = |oldest_ms| oldest_ms < now.wall_ms.saturating_sub_unsigned(sealed_after_ms);
            let unsealed = partition.unsealed().filter(|_| !partition.wants_sealing());
            let unsealed = unsealed.filter(|(oldest_ms, _)| is_old(*oldest_ms));
            if unsealed.is_some_and(|(oldest_ms, bytes)| oldest_ms < older || is_much(dirty_bytes + bytes)) {
                self.seal(log);
            }
            return false;
        }
        let segment_bytes_max = self.place.sizes.segment_bytes.min(partition.segment_bytes_max);
        let (mut to_rewrite, mut bytes) = (VecDeque::<Vec<Offset>>::new(), 0);
        for segment in segments() {
            bytes += segment.position;
            match to_rewrite.back_mut().filter(|_| bytes <= segment_bytes_max) {
                Some(together) => together.push(segment.name.base),
                None => {
                    bytes = segment.position;
                    to_rewrite.push_back(vec![segment.name.base]);
                }
            }
        }
        let (now_s, keys) = (seconds(now), compact::KeyMap::new(COMPACTION_KEYS_MAX));
        let fate = Fate::Superseded(Superseded { rules, now_s, keys, to_map, mapped: 0, closed: false });
        self.compactor.job = Some(Box::new(Job::new(log, fate, now_s, to_rewrite)));
        true
    }

    /// Begins to write the log's sealed segments anew without what is not needed, where that is worth while and nothing
    /// is being compacted; tells whether it did. Nothing goes before everything is durable that was appended to logs of
    /// this shard until now, so what says that it is not needed may be among that. Readers find gaps where it was, as
    /// in a log that was compacted.
    pub fn drop_records(&mut self, log: LogId, dropping: Dropping, now: Now) -> bool {
        let Dropping { mut ranges, share_min, codecs } = dropping;
        ranges.truncate(DROPPED_RANGES_MAX);
        let said_in = if self.journal.is_idle() { 0 } else { self.journal.gathering_sequence() };
        let fate = Dropped { ranges, said_in, codecs };
        let Shard { compactor, logs, .. } = self;
        compactor.left.retain(|(log, base), _| {
            logs.get(log).is_some_and(|partition| partition.segments.get(*base).is_some())
        });
        let Some(partition) = self.free_to_compact(log) else { return false };
        let start = partition.durable_start();
        let mut worth = Vec::new();
        for segment in partition.compactable().filter(|segment| segment.end() > start) {
            let (base, from) = (segment.name.base, segment.name.base.max(start));
            let stays = segment.end() - from - fate.count(from..segment.end());
            let left = self.compactor.left.get(&(log, base)).copied();
            let left = left.unwrap_or(segment.end() - base);
            if stays < left && (left - stays) as f64 >= share_min * left as f64 {
                worth.push((base, stays));
            }
        }
        if worth.is_empty() {
            return false;
        }
        let to_rewrite = worth.iter().map(|(base, _)| vec![*base]).collect();
        self.compactor.left.extend(worth.into_iter().map(|(base, stays)| ((log, base), stays)));
        let (fate, now_s) = (Fate::Dropped(fate), seconds(now));
        self.compactor.job = Some(Box::new(Job::new(log, fate, now_s, to_rewrite)));
        true
    }

    /// The log, if a compaction of it may begin.
    fn free_to_compact(&self, log: LogId) -> Option<&Partition> {
        let free = self.failed.is_none() && self.compactor.job.is_none() && self.shortage().is_none();
        let partition = self.live(log).filter(|_| free)?;
        // Otherwise its segments may hold more than counts, or what is missing would pass for compacted away.
        let sound = partition.generation == 0 && partition.truncation.is_none() && partition.holes.is_empty();
        // One that damage has cut at the base of the next.
        let is_cut = partition.segments.list().iter().any(Segment::is_cut);
        (sound && !is_cut).then_some(partition)
    }

    /// Seals the log's segments once they have so many bytes, if that is less than others have: sealed ones can be
    /// compacted. Holds until the next start.
    pub fn limit_segments(&mut self, log: LogId, bytes: u64) {
        if let Some(partition) = self.logs.get_mut(&log) {
            partition.segment_bytes_max = bytes;
        }
    }

    /// Whether a log is being compacted.
    pub fn is_compacting(&self) -> bool {
        self.compactor.job.is_some()
    }

    /// When the next step is due, if one is.
    pub(super) fn next_compaction_us(&self) -> Option<u64> {
        (self.compactor.job.is_some() && !self.compactor.in_flight).then_some(self.compactor.next_step_us)
    }

    /// Takes the next step when it is due.
    pub(super) fn drive_compaction(&mut self, now: Now) {
        if self.failed.is_some() || self.compactor.in_flight || now.monotonic_us < self.compactor.next_step_us
        {
            return;
        }
        let Some(mut job) = self.compactor.job.take() else { return };
        if !self.contains(job.log) {
            return self.give_up(job);
        }
        let next = self.next_compaction_step(&mut job);
        self.compactor.next_step_us = now.monotonic_us + self.pause_us(&next);
        match next {
            Next::Begin(step, op) => {
                self.compactor.in_flight = true;
                self.compactor.job = Some(job);
                self.want(Work::Compaction(Box::new(step)), op);
            }
            Next::Wait => self.compactor.job = Some(job),
            Next::Finished => self.counts.compactions += 1,
        }
    }

    /// Between a step and the one behind it: by what it moves, for a log that was compacted often has very many segments
    /// with little in them.
    fn pause_us(&self, next: &Next) -> u64 {
        let Sizes { compaction_step_us: whole_us, run_bytes, .. } = self.place.sizes;
        let bytes = match next {
            Next::Begin(_, Op::Read { length, .. }) => *length,
            Next::Begin(_, Op::Write { data, .. }) => data.len(),
            Next::Begin(..) => 0,
            Next::Wait | Next::Finished => run_bytes,
        };
        (whole_us * bytes as u64 / run_bytes as u64).clamp(whole_us / LIGHT_STEP_PART, whole_us)
    }

    fn next_compaction_step(&self, job: &mut Job) -> Next {
        let Some(partition) = self.live(job.log) else { return Next::Finished };
        if let Fate::Superseded(fate) = &mut job.fate {
            while let Some((base, place)) = fate.to_map.front().copied() {
                if partition.segments.get(base).is_some() {
                    return self.read_source(partition, base, place, Step::Map(place));
                }
                fate.to_map.pop_front(); // trimmed meanwhile
            }
        }
        loop {
            let Some(output) = &mut job.output else {
                let Some(bases) = job.to_rewrite.pop_front() else { return Next::Finished };
                let found = bases.into_iter().filter_map(|base| partition.segments.get(base));
                let found: Vec<&Segment> = found.collect();
                let mut runs = found.iter().flat_map(|segment| &segment.runs);
                if !runs.all(|run| job.fate.spares(run)) {
                    job.output = Output::new(&found);
                }
                continue;
            };
            if !output.is_named() && output.bases().any(|base| partition.segments.get(base).is_none()) {
                output.stage = Stage::Discarded; // trimmed meanwhile
            }
            match self.next_output_step(partition, job) {
                Some(next) => return next,
                None => job.output = None,
            }
        }
    }

    /// The next step for the segment being written; `None`: it is done with.
    fn next_output_step(&self, partition: &Partition, job: &mut Job) -> Option<Next> {
        let (log, data) = (job.log, &self.place.directory);
        job.look_at_more(partition, self.place.sizes.run_bytes);
        let output = job.output.as_mut()?;
        let target = unfinished(data, log, output.base);
        let Some(file) = output.file.clone() else {
            if output.stage == Stage::Discarded {
                return None;
            }
            return Some(Next::Begin(Step::OpenTarget, Op::Open { path: target, how: Open::Replace }));
        };
        let next = match output.stage {
            Stage::Discarded => Next::Begin(Step::Remove, Op::Remove { path: target }),
            Stage::Runs if output.gathered.complete => {
                let gathered = std::mem::take(&mut output.gathered);
                let offsets = gathered.offsets.clone().unwrap_or_default();
                let (data, place, end) = segment::lay_out_compacted(
                    log,
                    output.base,
                    partition.leader_epoch,
                    output.position,
                    offsets,
                    gathered.max_timestamp_ms.unwrap_or(i64::MIN),
                    &gathered.batches,
                    gathered.compacted_at_s,
                );
                let op = Op::Write { file, position: output.position, data, durable: false };
                Next::Begin(Step::Write(place, end), op)
            }
            Stage::Runs => match output.source.get(output.next).copied() {
                Some((base, place)) => self.read_source(partition, base, place, Step::Read(place)),
                None => {
                    let table = run::seal(log, output.base, &output.runs, output.position);
                    let mut aligned = buffer::aligned(table.len());
                    aligned.extend_from_slice(&table);
                    let (position, data) = (output.position, aligned.freeze());
                    Next::Begin(Step::Table, Op::Write { file, position, data, durable: false })
                }
            },
            Stage::Table if planted(Bug::CompactionNotSynced) => {
                let to = segment::path(data, log, output.base);
                Next::Begin(Step::Rename, Op::Rename { from: target, to })
            }
            Stage::Table => Next::Begin(Step::Sync, Op::Sync { file }),
            // What says that the records are not needed may yet be lost.
            Stage::Synced if self.checkpointer.durable_upto() < job.fate.said_in() => Next::Wait,
            // A reader that opens the name now must find in it what the old table says.
            Stage::Synced if output.bases().any(|base| self.reader.is_opening(log, base)) => Next::Wait,
            Stage::Synced => {
                let to = segment::path(data, log, output.base);
                Next::Begin(Step::Rename, Op::Rename { from: target, to })
            }
            Stage::Named => {
                let path = segment::directory(data, log);
                Next::Begin(Step::OpenDirectory, Op::Open { path, how: Open::Directory })
            }
            // From the front, so that those which a crash leaves are the last ones.
            Stage::Merged => match *output.others.first()? {
                // Begun while it was there.
                other if self.reader.is_opening(log, other) => Next::Wait,
                other => Next::Begin(Step::RemoveOther, Op::Remove { path: segment::path(data, log, other) }),
            },
        };
        Some(next)
    }

    fn read_source(&self, partition: &Partition, base: Offset, place: RunPlace, step: Step) -> Next {
        match partition.segments.get(base).and_then(|segment| segment.file.clone()) {
            Some(file) => {
                let (position, length) = (place.position.get(), place.total_bytes());
                Next::Begin(step, Op::Read { file, position, buffer: buffer::aligned(length), length })
            }
            None => {
                let path = segment::path(&self.place.directory, partition.id, base);
                Next::Begin(Step::OpenSource(base), Op::Open { path, how: Open::Read })
            }
        }
    }

    /// One step is done.
    pub(super) fn compaction_step(&mut self, step: Step, result: Result<Done, Fault>) {
        self.compactor.in_flight = false;
        let Some(mut job) = self.compactor.job.take() else { return };
        let done = match (result, &step) {
            _ if job.is_given_up => return self.end(&job),
            (Ok(done), _) => done,
            // A start removes it.
            (Err(_), Step::RemoveOther) => Done::Finished,
            // Whether the name was changed is not known, so what stands under it is not either.
            (Err(fault), Step::Rename | Step::OpenDirectory | Step::SyncDirectory)
                if self.contains(job.log) =>
            {
                let directory = segment::directory(&self.place.directory, job.log);
                return self.fail("write a segment anew", directory, fault);
            }
            (Err(_), _) => return self.give_up(job),
        };
        if let Step::Rename = step {
            self.renamed(&mut job);
        }
        if !self.contains(job.log) {
            return self.give_up(job);
        }
        match self.take_step(&mut job, step, done) {
            Ok(Some(op)) => {
                self.compactor.in_flight = true;
                self.want(Work::Compaction(Box::new(Step::SyncDirectory)), op);
                self.compactor.job = Some(job);
            }
            Ok(None) => self.compactor.job = Some(job),
            Err(()) => self.give_up(job),
        }
    }

    fn take_step(&mut self, job: &mut Job, step: Step, done: Done) -> Result<Option<Op>, ()> {
        let log = job.log;
        match (step, done) {
            (Step::OpenSource(base), Done::Opened(file)) => {
                if let Some(partition) = self.logs.get_mut(&log) {
                    partition.segments.opened(base.into(), file);
                    self.open_files.opened(log, base.into());
                }
            }
            (Step::Map(place), Done::Read(bytes)) => {
                let body = segment::check(bytes.freeze(), log, &place).ok().ok_or(())?;
                if let Fate::Superseded(fate) = &mut job.fate {
                    fate.map(&place, body);
                }
            }
            (Step::OpenDirectory, Done::Opened(file)) => return Ok(Some(Op::Sync { file })),
            (step, done) => {
                let Some(output) = job.output.as_mut() else { return Err(()) };
                match (step, done) {
                    (Step::Read(place), Done::Read(bytes)) => {
                        let body = segment::check(bytes.freeze(), log, &place).ok().ok_or(())?;
                        output.reading = Some((place, body));
                        output.next += 1;
                    }
                    (Step::OpenTarget, Done::Opened(file)) => output.file = Some(file),
                    (Step::Write(place, end), _) => {
                        output.runs.push(place);
                        output.position = end;
                    }
                    (Step::Table, _) => {
                        output.stage = if output.changed { Stage::Table } else { Stage::Discarded };
                    }
                    (Step::Sync, _) => output.stage = Stage::Synced,
                    (Step::Rename, _) if planted(Bug::MergedRemovedTooSoon) => output.stage = Stage::Merged,
                    (Step::Rename, _) => {}
                    (Step::SyncDirectory, _) => output.stage = Stage::Merged,
                    (Step::RemoveOther, _) => {
                        output.others.remove(0);
                        self.settler.thinned(segment::directory(&self.place.directory, log));
                    }
                    (Step::Remove, _) => job.output = None,
                    (step, done) => unreachable!("{step:?} cannot come to {done:?}"),
                }
            }
        }
        Ok(None)
    }

    /// The new file has the segment's name: from now on it is read. Whoever reads the old one goes on with it.
    fn renamed(&mut self, job: &mut Job) {
        let Some(output) = &mut job.output else { return };
        output.stage = Stage::Named;
        let bases: Vec<Offset> = output.bases().collect();
        let partition = self.logs.get_mut(&job.log);
        let partition = partition.filter(|of| bases.iter().all(|base| of.segments.get(*base).is_some()));
        let (Some(partition), Some(file)) = (partition, output.file.clone()) else {
            // Trimmed meanwhile: the name has come back. What is left of the others stays as it is.
            output.others.clear();
            let path = segment::path(&self.place.directory, job.log, output.base);
            return self.remove(Op::Remove { path });
        };
        let runs = std::mem::take(&mut output.runs);
        let replaced = partition.segments.replace(&bases, runs, output.position, file);
        let before: u64 = replaced.iter().map(|segment| segment.position).sum();
        self.counts.compacted_bytes += before.saturating_sub(output.position);
        // Nobody is to see anew what is gone.
        partition.tail.forget(u64::MAX, replaced.last().map_or(0, Segment::end));
        self.open_files.opened(job.log, output.base.into());
        for base in bases {
            self.segment_replaced(job.log, base);
        }
    }

    /// Ends the compaction where it is. Every segment is as it was, or whole as it is now. What was being written is taken away
    /// before another may begin, which would give a file the same name.
    fn give_up(&mut self, mut job: Box<Job>) {
        self.compactor.left.retain(|(log, _), _| *log != job.log);
        let Some(output) = job.output.take() else { return self.end(&job) };
        if output.is_named() {
            // The log is gone; what is left of it with its own names goes with it.
            for other in output.others {
                let path = segment::path(&self.place.directory, job.log, other);
                self.checkpointer.remove_after(self.journal.gathering_sequence(), path);
            }
            return self.end(&job);
        }
        let path = unfinished(&self.place.directory, job.log, output.base);
        job.is_given_up = true;
        self.compactor.in_flight = true;
        self.want(Work::Compaction(Box::new(Step::Remove)), Op::Remove { path });
        self.compactor.job = Some(job);
    }

    /// Nothing is left of the compaction.
    fn end(&mut self, job: &Job) {
        if !self.contains(job.log) {
            let directory = segment::directory(&self.place.directory, job.log);
            self.checkpointer.remove_directory_after(self.journal.gathering_sequence(), directory);
        }
    }
}

impl Job {
    fn new(log: LogId, fate: Fate, now_s: u32, to_rewrite: VecDeque<Vec<Offset>>) -> Job {
        Job { log, fate, now_s, to_rewrite, output: None, is_given_up: false }
    }

    /// Filters what was read, until a run is complete or more must be read.
    fn look_at_more(&mut self, partition: &Partition, run_bytes: usize) {
        // A trim that is not durable may not have been.
        let start = partition.durable_start();
        let Some(output) = &mut self.output else { return };
        while output.stage == Stage::Runs && !output.gathered.complete {
            if output.reading.is_none() {
                // What is below the log's start, or was emptied before, need not be read.
                match output.source.get(output.next).map(|(_, place)| *place) {
                    Some(place) if place.bytes.get() == 0 || place.end_offset.get() <= start => {
                        output.changed |= place.bytes.get() > 0;
                        output.next += 1;
                        output.reading = Some((place, Bytes::new()));
                    }
                    Some(_) => return,
                    None => {
                        output.gathered.complete = output.gathered.offsets.is_some();
                        return;
                    }
                }
            }
            let Some((place, mut rest)) = output.reading.take() else { return };
            let was_s = place.compacted_at_s.get();
            // Not one that was not read because all of it goes.
            let as_it_is = rest.is_empty() == (place.bytes.get() == 0) && self.fate.spares(&place);
            let compacted_at_s = match (as_it_is, was_s) {
                (true, was_s) => was_s,
                (false, 0) => self.now_s,
                (false, was_s) => was_s,
            };
            let gathered = &mut output.gathered;
            if gathered.offsets.is_some() && (as_it_is || gathered.compacted_at_s == 0) {
                gathered.complete = true;
                output.reading = Some((place, rest));
                return;
            }
            output.changed |= was_s == 0 && !as_it_is;
            while let Ok(header) = batch::shape(&rest).copied() {
                let base = header.base_offset.get() as Offset;
                let batch = rest.slice(..header.total_bytes());
                let keep_header = partition.is_last_of_producer(&header, base);
                let left = match as_it_is {
                    true => compact::Left::Whole,
                    false => self.fate.left(&batch, was_s, keep_header),
                };
                let kept = match left {
                    compact::Left::Whole | compact::Left::Closed => Some(batch.clone()),
                    compact::Left::Some(smaller) => Some(smaller),
                    compact::Left::Nothing => None,
                };
                output.changed |= kept.as_ref().is_none_or(|kept| kept.len() != batch.len());
                if let Some(kept) = kept {
                    if !gathered.batches.is_empty() && gathered.bytes + kept.len() > run_bytes {
                        gathered.cover(&place, base, compacted_at_s);
                        gathered.complete = true;
                        let mut from_here = place;
                        from_here.base_offset = base.into();
                        output.reading = Some((from_here, rest));
                        return;
                    }
                    let header = batch::shape(&kept).copied().unwrap_or(header);
                    gathered.add(kept, &header);
                }
                rest = rest.slice(header.total_bytes()..);
                gathered.cover(&place, base + header.offsets_count(), compacted_at_s);
            }
            gathered.cover(&place, place.end_offset.get(), compacted_at_s);
            gathered.complete = as_it_is;
        }
    }
}
