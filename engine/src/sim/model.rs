//! What must be true: the logs as a list of changes leaves them, and which of those changes are safe.
//!
//! In: every change that was asked for, what was acknowledged, what recovery and reads give. Out: the first
//! contradiction, in words. Never: looks into the engine.
//!
//! A shard's changes take effect in order and whole or not at all. So what recovery finds must be the state after
//! some beginning of the list: at least as long as what was acknowledged (`safe`), no longer than the list. Where a
//! log was truncated and grew again, several have the same watermarks; what is served tells which it is.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;

use crate::format::batch::{self, BatchHeader};
use crate::format::record::{self, Record};
use crate::partition::Watermarks;
use crate::types::{LogId, Offset};

/// Batches of a producer that are known again when they come again.
const KNOWN_BATCHES: usize = 5;

/// One batch that was appended.
#[derive(Clone, Debug)]
pub struct Appended {
    pub base: Offset,
    pub end: Offset,
    /// As it was given to the engine; it stamps the first 16 bytes.
    pub bytes: Bytes,
    /// Producer and first sequence.
    pub producer: Option<(i64, i32)>,
}

/// One change of one shard.
#[derive(Clone, Debug)]
pub enum Change {
    Create(LogId),
    Delete(LogId),
    Trim(LogId, Offset),
    /// The log ends at the offset from here on.
    Truncate(LogId, Offset),
    Append(LogId, Appended),
    /// These offsets are not needed: they may be gone, once everything before this is durable.
    Drop(LogId, Vec<Range<Offset>>),
}

impl Change {
    fn log(&self) -> LogId {
        match self {
            Change::Create(log) | Change::Delete(log) => *log,
            Change::Trim(log, _)
            | Change::Truncate(log, _)
            | Change::Append(log, _)
            | Change::Drop(log, _) => *log,
        }
    }
}

/// One log.
#[derive(Clone, Debug, Default)]
pub struct Log {
    pub start: Offset,
    pub end: Offset,
    pub batches: BTreeMap<Offset, Appended>,
    /// Where each key was appended last.
    pub keys: BTreeMap<Bytes, Offset>,
    pub producers: BTreeMap<i64, Producer>,
    /// What may be gone.
    pub dropped: Vec<Range<Offset>>,
    /// It was truncated once.
    pub truncated: bool,
}

/// What a log must remember of a producer.
#[derive(Clone, Debug, Default)]
pub struct Producer {
    /// The last batches, oldest first.
    pub last: Vec<Appended>,
    /// Those from here on must be known when they come again. Batches that a crash took have pushed others out of
    /// the memory of the log; a producer has no more than so many under way, so it never sends those again.
    pub known_from: Offset,
}

impl Producer {
    /// Batches that must be known when they come again.
    pub fn known(&self) -> impl Iterator<Item = &Appended> {
        self.last.iter().filter(|appended| appended.base >= self.known_from)
    }
}

impl Log {
    fn append(&mut self, appended: &Appended) {
        self.end = appended.end;
        self.batches.insert(appended.base, appended.clone());
        for record in records(&appended.bytes) {
            if let Some(key) = record.key {
                self.keys.insert(key, appended.base + u64::from(record.offset_delta));
            }
        }
        if let Some((id, _)) = appended.producer {
            let last = &mut self.producers.entry(id).or_default().last;
            last.push(appended.clone());
            if last.len() > KNOWN_BATCHES {
                last.remove(0);
            }
        }
    }

    /// Whether compaction may have dropped the record.
    fn may_lose(&self, base: Offset, record: &Record, deletions_go: bool) -> bool {
        let offset = base + u64::from(record.offset_delta);
        if self.dropped.iter().any(|range| range.contains(&offset)) {
            return true;
        }
        let Some(key) = &record.key else { return false };
        let superseded = self.keys.get(key).is_some_and(|last| *last > offset);
        superseded || (deletions_go && record.value.is_none())
    }

    /// Checks what compaction left of a batch.
    fn check_left(&self, expected: &Appended, bytes: &Bytes, deletions_go: bool) -> Result<(), String> {
        let left = *batch::check(bytes).map_err(|error| error.to_string())?;
        let was = *batch::check(&expected.bytes).map_err(|error| error.to_string())?;
        let kept_fields = |of: &BatchHeader| {
            (of.last_offset_delta, of.producer_id, of.producer_epoch, of.base_sequence, of.base_timestamp)
        };
        if kept_fields(&left) != kept_fields(&was) || left.leader_epoch.get() != 0 {
            return Err("compaction changed what it must not".to_string());
        }
        let mut found = records(bytes).peekable();
        for record in records(&expected.bytes) {
            if found.next_if_eq(&record).is_none() && !self.may_lose(expected.base, &record, deletions_go) {
                let offset = expected.base + u64::from(record.offset_delta);
                return Err(format!("the record at {offset} is gone though no later one has its key"));
            }
        }
        match found.next() {
            Some(stranger) => Err(format!("a record is served that was not appended: {stranger:?}")),
            None => Ok(()),
        }
    }

    fn truncate(&mut self, end: Offset) {
        self.truncated = true;
        self.end = self.end.min(end);
        self.batches.split_off(&end);
        self.dropped.iter_mut().for_each(|range| range.end = range.end.min(end));
        for producer in self.producers.values_mut() {
            producer.last.retain(|appended| appended.base < end);
        }
        self.producers.retain(|_, producer| !producer.last.is_empty());
    }

    fn has(&self, marks: Watermarks) -> bool {
        marks.start == self.start && marks.durable == self.end && marks.end == self.end
    }

    /// Checks batches that were read at `from`; returns the offset behind them.
    fn check_read(&self, from: Offset, batches: &[Bytes], compacted: Option<bool>) -> Result<Offset, String> {
        if let Some(deletions_go) = compacted {
            return check_compacted(self, from, batches, deletions_go);
        }
        let mut next = from;
        for (index, (header, bytes)) in batches.iter().cloned().flat_map(batch::split).enumerate() {
            let base = header.base_offset.get() as Offset;
            let expected = self.batches.range(..=next).next_back().map(|(_, appended)| appended);
            let expected = expected.filter(|appended| next < appended.end);
            let Some(expected) = expected else {
                return Err(format!("a batch is served at {base} where nothing was appended ({next})"));
            };
            if expected.base != base || (index > 0 && base != next) {
                return Err(format!("the batch at {base} is served when asked for {next}"));
            }
            same(&header, &bytes, expected).map_err(|what| format!("{base}: {what}"))?;
            next = expected.end;
        }
        Ok(next)
    }
}

/// What recovery left of one log, as its owner sees it.
#[derive(Debug, Default)]
pub struct Found {
    pub marks: Watermarks,
    /// Where it was read, and what came.
    pub reads: Vec<(Offset, Vec<Bytes>)>,
}

/// The changes of one shard since the start.
#[derive(Debug, Default)]
pub struct History {
    changes: Vec<Change>,
    /// So many of them have been acknowledged, or stand before one that was.
    safe: usize,
    /// As many of them as were safe when each of the last frames that made any safe was begun, the latest last.
    before_frames: Vec<usize>,
}

impl History {
    /// As many of the changes as must be there if the last `frames` are gone.
    fn safe_without(&self, frames: usize) -> usize {
        let frames = &self.before_frames[self.before_frames.len().saturating_sub(frames)..];
        frames.first().copied().unwrap_or(self.safe)
    }
}

/// Every log.
#[derive(Debug, Default)]
pub struct Model {
    /// As the last start left them, by log.
    base: BTreeMap<LogId, Log>,
    /// As they are when every change takes effect.
    pub logs: BTreeMap<LogId, Log>,
    pub histories: Vec<History>,
    /// Logs are compacted; whether records that delete their key may go.
    pub compacted: Option<bool>,
}

/// The records of an uncompressed batch.
fn records(batch: &Bytes) -> impl Iterator<Item = Record> {
    let mut rest = batch.slice(batch::HEADER_BYTES.min(batch.len())..);
    std::iter::from_fn(move || record::take(&mut rest).ok())
}

fn apply(logs: &mut BTreeMap<LogId, Log>, change: &Change) {
    match change {
        Change::Create(log) => {
            logs.entry(*log).or_default();
        }
        Change::Delete(log) => {
            logs.remove(log);
        }
        Change::Trim(log, start) => {
            if let Some(log) = logs.get_mut(log) {
                log.start = log.start.max(*start);
            }
        }
        Change::Truncate(log, end) => {
            if let Some(log) = logs.get_mut(log) {
                log.truncate(*end);
            }
        }
        Change::Append(log, appended) => {
            if let Some(log) = logs.get_mut(log) {
                log.append(appended);
            }
        }
        Change::Drop(log, ranges) => {
            if let Some(log) = logs.get_mut(log) {
                log.dropped.extend(ranges.iter().cloned());
            }
        }
    }
}

impl Model {
    /// Notes a change that was asked of `shard`; returns how many there are now.
    pub fn change(&mut self, shard: usize, change: Change) -> usize {
        apply(&mut self.logs, &change);
        let history = &mut self.histories[shard];
        history.changes.push(change);
        history.changes.len()
    }

    /// The first `count` changes of `shard` are on the device, by the word of the engine.
    pub fn acknowledged(&mut self, shard: usize, count: usize) {
        let history = &mut self.histories[shard];
        if count > history.safe {
            history.safe = count;
        }
    }

    /// All acknowledgements of one frame were taken.
    pub fn frame_ends(&mut self, shard: usize, safe_before: usize) {
        let history = &mut self.histories[shard];
        if history.safe > safe_before {
            history.before_frames.push(safe_before);
        }
    }

    /// A frame behind all others of `shard` says that they are durable.
    pub fn sealed(&mut self, shard: usize) {
        self.histories[shard].before_frames.clear();
    }

    /// Changes of `shard` since the start.
    pub fn changes(&self, shard: usize) -> usize {
        self.histories[shard].changes.len()
    }

    pub fn safe(&self, shard: usize) -> usize {
        self.histories[shard].safe
    }

    /// Everything that was asked for is on the device and the journals say so.
    pub fn all_safe(&mut self) {
        for history in &mut self.histories {
            history.safe = history.changes.len();
            history.before_frames.clear();
        }
    }

    /// Compares with what recovery found, and goes on from there with `shards` shards. So many of the last frames of a shard as
    /// `rotten` says may be cut: rot in all that are last and torn writes look the same.
    pub fn recovered(
        &mut self,
        shards: usize,
        rotten: &[usize],
        found: &BTreeMap<LogId, Found>,
    ) -> Result<(), String> {
        let histories = std::mem::take(&mut self.histories);
        let mut logs = std::mem::take(&mut self.base);
        for (shard, history) in histories.iter().enumerate() {
            self.recovered_shard(&mut logs, shard, history, rotten[shard], found)?;
        }
        for log in logs.keys().chain(found.keys()) {
            check_marks(&logs, found, *log)?;
            self.check_contents(&logs, found, *log)?;
        }
        for (log, recovered) in &mut logs {
            let before = self.logs.get(log);
            for (id, producer) in &mut recovered.producers {
                let before = before.and_then(|log| log.producers.get(id)?.last.first());
                let known_from = before.map_or(recovered.end, |first| first.base);
                producer.known_from = producer.known_from.max(known_from);
            }
        }
        self.logs = logs.clone();
        self.base = logs;
        self.histories.resize_with(shards, History::default);
        Ok(())
    }

    /// Checks batches that were read at `from`; returns the offset behind them.
    pub fn check_read(&self, log: LogId, from: Offset, batches: &[Bytes]) -> Result<Offset, String> {
        let Some(known) = self.logs.get(&log) else { return Ok(from) };
        known.check_read(from, batches, self.compacted).map_err(|what| format!("{log:?}: {what}"))
    }

    pub fn was_truncated(&self, log: LogId) -> bool {
        self.logs.get(&log).is_some_and(|log| log.truncated)
    }

    /// Whether the batch at `base` is safe.
    pub fn is_safe(&self, log: LogId, base: Offset) -> bool {
        let is_it = |change: &Change| matches!(change, Change::Append(found, appended) if *found == log && appended.base == base);
        // The last one that was given this place.
        let appended = self
            .histories
            .iter()
            .find_map(|history| history.changes.iter().rposition(is_it).map(|index| index < history.safe));
        appended.unwrap_or_else(|| self.base.get(&log).is_some_and(|log| base < log.end))
    }

    /// Finds the longest beginning of the shard's changes that explains what was found, and applies it.
    fn recovered_shard(
        &self,
        logs: &mut BTreeMap<LogId, Log>,
        shard: usize,
        history: &History,
        rotten: usize,
        found: &BTreeMap<LogId, Found>,
    ) -> Result<(), String> {
        let least = history.safe_without(rotten);
        let mut touched: Vec<LogId> = history.changes.iter().map(Change::log).collect();
        touched.sort_unstable();
        touched.dedup();
        let (sure, unsure) = history.changes.split_at(least);
        for change in sure {
            apply(logs, change);
        }
        // What was not needed went by the word of a frame that was durable then, whatever rot did to it later.
        let acted_upon = &history.changes[least..history.safe.max(least)];
        for change in acted_upon.iter().filter(|change| matches!(change, Change::Drop(..))) {
            apply(logs, change);
        }
        let mut why = touched.iter().find_map(|log| check_marks(logs, found, *log).err());
        let (mut state, mut best) = (logs.clone(), None);
        for next in unsure.iter().map(Some).chain([None]) {
            if touched.iter().all(|log| check_marks(&state, found, *log).is_ok()) {
                match touched.iter().try_for_each(|log| self.check_contents(&state, found, *log)) {
                    Ok(()) => best = Some(state.clone()),
                    Err(what) => why = Some(what),
                }
            }
            next.iter().for_each(|change| apply(&mut state, change));
        }
        *logs = best.ok_or_else(|| {
            format!(
                "shard {shard}: no beginning of its {} changes, {} of them acknowledged, explains what recovery found: {}",
                history.changes.len(),
                history.safe,
                why.unwrap_or_default()
            )
        })?;
        Ok(())
    }

    /// Whether what was found serves nothing but what `logs` have.
    fn check_contents(
        &self,
        logs: &BTreeMap<LogId, Log>,
        found: &BTreeMap<LogId, Found>,
        log: LogId,
    ) -> Result<(), String> {
        let (Some(known), Some(found)) = (logs.get(&log), found.get(&log)) else { return Ok(()) };
        for (from, batches) in &found.reads {
            known.check_read(*from, batches, self.compacted).map_err(|what| format!("{log:?}: {what}"))?;
        }
        Ok(())
    }
}

/// Whether recovery has left the log as it is in `logs`, as far as its watermarks tell.
fn check_marks(
    logs: &BTreeMap<LogId, Log>,
    found: &BTreeMap<LogId, Found>,
    log: LogId,
) -> Result<(), String> {
    match (logs.get(&log), found.get(&log)) {
        (None, None) => Ok(()),
        (Some(known), Some(found)) if known.has(found.marks) => Ok(()),
        (Some(known), found) => {
            let marks = found.map(|found| found.marks);
            Err(format!("{log:?} should be {}..{}, found {marks:?}", known.start, known.end))
        }
        (None, Some(_)) => Err(format!("{log:?} is there, but was deleted or never created")),
    }
}

/// The same where compaction may have dropped batches and records.
fn check_compacted(
    known: &Log,
    from: Offset,
    batches: &[Bytes],
    deletions_go: bool,
) -> Result<Offset, String> {
    let mut next = from;
    for (header, bytes) in batches.iter().cloned().flat_map(batch::split) {
        let base = header.base_offset.get() as Offset;
        let Some(expected) = known.batches.get(&base).filter(|expected| expected.end > next) else {
            return Err(format!("a batch is served at {base} where none was appended ({next})"));
        };
        let before = known.batches.range(..base).rev().take_while(|(_, appended)| appended.end > next);
        for (_, gone) in before {
            let needed = records(&gone.bytes).find(|record| {
                gone.base + u64::from(record.offset_delta) >= next
                    && !known.may_lose(gone.base, record, deletions_go)
            });
            if let Some(record) = needed {
                let offset = gone.base + u64::from(record.offset_delta);
                return Err(format!("the record at {offset} is gone though no later one has its key"));
            }
        }
        match same(&header, &bytes, expected) {
            Ok(()) => {}
            Err(_) => {
                known.check_left(expected, &bytes, deletions_go).map_err(|what| format!("{base}: {what}"))?
            }
        }
        next = expected.end;
    }
    Ok(next)
}

/// Whether the bytes are those that were appended, but for the stamp.
fn same(header: &BatchHeader, bytes: &Bytes, expected: &Appended) -> Result<(), String> {
    if bytes.get(16..) != expected.bytes.get(16..) {
        return Err("bytes are served that were not appended".to_string());
    }
    if bytes.get(8..12) != expected.bytes.get(8..12) || header.leader_epoch.get() != 0 {
        return Err("the stamp is wrong".to_string());
    }
    Ok(())
}
