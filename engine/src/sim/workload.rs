//! What is asked of the engine: a step at a time, by chance.
//!
//! In: chance and the model. Out: calls of shards, noted in the model. Never: judges.

use bytes::Bytes;
use zerocopy::FromBytes;
use zerocopy::byteorder::big_endian::{I16, I32, I64, U32};

use super::model::{Appended, Change};
use super::world::{Expected, World};
use crate::format::batch::{BatchHeader, CRC_START, CheckedBatch};
use crate::format::crc::crc32c;
use crate::format::record::BatchBuilder;
use crate::segment::compact::Codecs;
use crate::shard::{Compaction, Dropping, Refused, TruncateRefused};
use crate::types::{LogId, Now, Offset, Ticket};

const LOGS_MAX: usize = 5;
/// Records have times below.
const TIMESTAMPS_MS: i64 = 1000;

/// What a producer numbers its batches with.
fn with_producer(batch: &CheckedBatch, producer: i64, sequence: i32) -> CheckedBatch {
    let mut bytes = batch.bytes().to_vec();
    if let Ok((header, _)) = BatchHeader::mut_from_prefix(&mut bytes) {
        header.producer_id = I64::new(producer);
        header.producer_epoch = I16::new(0);
        header.base_sequence = I32::new(sequence);
    }
    let checksum = crc32c(&bytes[CRC_START..]);
    if let Ok((header, _)) = BatchHeader::mut_from_prefix(&mut bytes) {
        header.crc = U32::new(checksum);
    }
    match CheckedBatch::from_producer(Bytes::from(bytes)) {
        Ok(batch) => batch,
        Err(error) => unreachable!("a batch made here is sound: {error}"),
    }
}

impl World {
    /// One step.
    pub(super) fn step(&mut self) -> Result<(), String> {
        self.compact();
        if self.prng.percent(self.trims) || self.bulk.as_mut().is_some_and(|chance| chance.percent(30)) {
            self.trim();
        }
        match self.prng.below(100) {
            0..=54 => {
                for _ in 0..self.prng.between(1..4) {
                    self.append()?;
                }
            }
            55..=60 => self.append_again()?,
            61..=65 => self.create(),
            66..=67 => self.delete(),
            68..=72 => self.trim(),
            73..=76 => self.truncate()?,
            77..=86 => self.read_somewhere()?,
            87..=90 => self.clock.advance(60_000),
            _ => {}
        }
        Ok(())
    }

    fn some_log(&mut self) -> Option<LogId> {
        let logs: Vec<LogId> = self.model.logs.keys().copied().collect();
        if let Some(chance) = &mut self.bulk
            && chance.percent(80)
        {
            return logs.first().copied();
        }
        (!logs.is_empty()).then(|| self.prng.one_of(&logs))
    }

    fn batch(&mut self) -> CheckedBatch {
        let timestamp_ms = self.prng.below(TIMESTAMPS_MS as u64) as i64;
        let mut builder = BatchBuilder::new(timestamp_ms);
        let much = self.bulk.as_mut().is_some_and(|chance| chance.percent(60));
        let length = match self.prng.below(10) {
            _ if much => 1000 + self.prng.below(5000),
            0..=5 => self.prng.below(200),
            6..=8 => self.prng.below(2000),
            _ => self.prng.below(6000),
        };
        let value = self.prng.bytes(length as usize);
        if let Some(keyed) = self.keyed(&value, timestamp_ms) {
            return keyed.finish();
        }
        builder.push(timestamp_ms, None, Some(&value), &[]);
        for _ in 0..self.prng.below(4) {
            builder.push(timestamp_ms, None, Some(b"and more"), &[]);
        }
        builder.finish()
    }

    /// In some worlds, now and then: has a log compacted, or says what of it is not needed.
    fn compact(&mut self) {
        let Some(prng) = &mut self.compactions else { return };
        let (chance, choice, drops) = (prng.percent(30), prng.number(), prng.percent(50));
        let logs: Vec<LogId> = self.model.logs.keys().copied().collect();
        let Some(log) = logs.get(choice as usize % logs.len().max(1)).copied().filter(|_| chance) else {
            return;
        };
        if drops {
            return self.drop_records(log);
        }
        let deletions_go = self.model.compacted == Some(true);
        let rules = Compaction {
            dirty_ratio_min: 0.1,
            lag_ms_min: 0,
            lag_ms_max: u64::MAX,
            sealed_after_ms: if choice >> 63 == 0 { 0 } else { u64::MAX },
            deletions_kept_ms: if deletions_go { 0 } else { u64::MAX },
            codecs: Codecs::NONE,
        };
        let shard = self.shard_of(log);
        let now = Now { wall_ms: TIMESTAMPS_MS, ..self.clock.now() }; // all that was appended is older
        if self.shards[shard].compact(log, rules, now) {
            self.compactions_begun += 1;
        }
    }

    fn drop_records(&mut self, log: LogId) {
        let (Some(prng), Some(known)) = (&mut self.compactions, self.model.logs.get(&log)) else { return };
        let mut ranges = Vec::new();
        let mut from = known.start;
        while from < known.end && ranges.len() < 8 {
            let start = from + prng.below(20);
            let end = start + 1 + prng.below(60);
            ranges.push(start..end.min(known.end));
            from = end + 1;
        }
        ranges.retain(|range| !range.is_empty());
        let dropping = Dropping { ranges: ranges.clone(), share_min: 0.1, codecs: Codecs::NONE };
        let (shard, now) = (self.shard_of(log), self.clock.now());
        if self.shards[shard].drop_records(log, dropping, now) {
            self.model.change(shard, Change::Drop(log, ranges));
            self.compactions_begun += 1;
        }
    }

    /// Records with few keys, some without one, some that delete theirs.
    fn keyed(&mut self, value: &[u8], timestamp_ms: i64) -> Option<BatchBuilder> {
        let prng = self.compactions.as_mut()?;
        let mut builder = BatchBuilder::new(timestamp_ms);
        for part in value.chunks(value.len().div_ceil(3).max(1)).chain([&b"the last"[..]]) {
            // Some keys come again soon, some perhaps never.
            let few = prng.percent(60);
            let key = [if few { prng.below(6) } else { prng.below(256) } as u8];
            let (keyless, deletes) = (prng.percent(10), prng.percent(15));
            let value = (!deletes).then_some(part);
            builder.push(timestamp_ms, (!keyless).then_some(&key[..]), value, &[]);
        }
        Some(builder)
    }

    fn append(&mut self) -> Result<(), String> {
        let Some(log) = self.some_log() else {
            self.create();
            return Ok(());
        };
        let batch = self.batch();
        if !self.prng.percent(40) {
            return self.append_new(log, batch, None);
        }
        let producer = self.prng.below(3) as i64;
        let memory = self.model.logs.get(&log).and_then(|log| log.producers.get(&producer));
        let last = memory.and_then(|memory| memory.last.last());
        if last.is_none() && self.model.was_truncated(log) {
            // Which of two histories the truncation ended cannot be told, so more may be known of the producer.
            return self.append_new(log, batch, None);
        }
        let next = last.map_or(0, |last| {
            last.producer.map_or(0, |(_, sequence)| sequence + (last.end - last.base) as i32)
        });
        let is_known = memory.is_some_and(|memory| memory.known().next().is_some());
        if is_known && self.astray.is_none() && self.prng.percent(8) {
            return self.append_gap(log, with_producer(&batch, producer, next + 1));
        }
        self.append_new(log, with_producer(&batch, producer, next), Some((producer, next)))
    }

    fn ticket(&mut self) -> Ticket {
        self.requests += 1;
        Ticket { owner: 0, request: self.requests }
    }

    fn append_new(
        &mut self,
        log: LogId,
        batch: CheckedBatch,
        producer: Option<(i64, i32)>,
    ) -> Result<(), String> {
        let ticket = self.ticket();
        let shard = self.shard_of(log);
        match self.shards[shard].append(log, &batch, ticket) {
            Ok(()) => {}
            Err(Refused::Failed) if self.failed[shard] => return Ok(()),
            Err(Refused::Truncating) if self.is_truncating(log) => return Ok(()),
            Err(Refused::NoSpace) if self.shards[shard].shortage().is_some() => return Ok(()),
            // What rotted may be the producer's last batch, so that there is a gap before this one.
            Err(Refused::OutOfOrderSequence) if self.astray.is_some() && producer.is_some() => return Ok(()),
            Err(refused) => return Err(format!("{log:?} refuses a batch: {refused:?}")),
        }
        let base = self.model.logs.get(&log).map_or(0, |log| log.end);
        let end = base + batch.header().offsets_count();
        let appended = Appended { base, end, bytes: batch.bytes().clone(), producer };
        let changes = self.model.change(shard, Change::Append(log, appended));
        self.expected.insert(ticket.request, Expected { log, base, shard, changes, duplicate: false });
        Ok(())
    }

    fn append_gap(&mut self, log: LogId, batch: CheckedBatch) -> Result<(), String> {
        let ticket = self.ticket();
        let shard = self.shard_of(log);
        match self.shards[shard].append(log, &batch, ticket) {
            Err(Refused::OutOfOrderSequence) => Ok(()),
            Err(Refused::Failed) if self.failed[shard] => Ok(()),
            Err(Refused::Truncating) if self.is_truncating(log) => Ok(()),
            other => Err(format!("{log:?} takes a batch out of sequence: {other:?}")),
        }
    }

    /// A producer sends a batch again that it sent before.
    fn append_again(&mut self) -> Result<(), String> {
        let Some(log) = self.some_log() else { return Ok(()) };
        let producer = self.prng.below(3) as i64;
        let memory = self.model.logs.get(&log).and_then(|log| log.producers.get(&producer));
        let known: Vec<Appended> = memory.into_iter().flat_map(|memory| memory.known().cloned()).collect();
        if known.is_empty() {
            return Ok(());
        }
        let again = known[self.prng.below(known.len() as u64) as usize].clone();
        self.send_again(log, &again)
    }

    pub(super) fn send_again(&mut self, log: LogId, again: &Appended) -> Result<(), String> {
        if self.astray.is_some() {
            return Ok(()); // what rotted may be all that was known of the producer
        }
        let ticket = self.ticket();
        let shard = self.shard_of(log);
        let batch = CheckedBatch::from_producer(again.bytes.clone()).map_err(|error| error.to_string())?;
        match self.shards[shard].append(log, &batch, ticket) {
            Ok(()) => {}
            Err(Refused::Failed) if self.failed[shard] => return Ok(()),
            Err(Refused::Truncating) if self.is_truncating(log) => return Ok(()),
            Err(refused) => return Err(format!("{log:?} refuses a batch sent again: {refused:?}")),
        }
        let changes = self.model.changes(shard);
        let expected = Expected { log, base: again.base, shard, changes, duplicate: true };
        self.expected.insert(ticket.request, expected);
        Ok(())
    }

    fn create(&mut self) {
        if self.model.logs.len() >= LOGS_MAX {
            return;
        }
        self.next_log += 1;
        let log = LogId(self.next_log);
        let shard = self.shard_of(log);
        if self.failed[shard] {
            return;
        }
        self.shards[shard].create(log);
        self.model.change(shard, Change::Create(log));
    }

    fn delete(&mut self) {
        let Some(log) = self.some_log() else { return };
        let shard = self.shard_of(log);
        if self.failed[shard] {
            return;
        }
        self.shards[shard].delete(log);
        self.model.change(shard, Change::Delete(log));
    }

    fn trim(&mut self) {
        let Some(log) = self.some_log() else { return };
        let shard = self.shard_of(log);
        let Some(marks) = self.shards[shard].marks(log) else { return };
        if self.failed[shard] {
            return;
        }
        let wished = self.prng.between(marks.start..marks.end + 3);
        self.shards[shard].trim(log, wished);
        let start = wished.min(marks.durable);
        if start > marks.start {
            self.model.change(shard, Change::Trim(log, start));
        }
    }

    /// Takes back the end of a log, mostly little of it; sometimes what must not be.
    fn truncate(&mut self) -> Result<(), String> {
        let Some(log) = self.some_log() else { return Ok(()) };
        let shard = self.shard_of(log);
        let ticket = self.ticket();
        let Some(known) = self.model.logs.get(&log) else { return Ok(()) };
        let (start, end) = (known.start, known.end);
        let mut places: Vec<Offset> = known.batches.range(start..).map(|(base, _)| *base).collect();
        places.push(end);
        let back = if self.prng.percent(70) { self.prng.below(4) } else { self.prng.below(60) };
        let place = places[places.len().saturating_sub(1 + back as usize)];
        let under_way = self.is_truncating(log);
        if self.prng.percent(10) {
            let committed = self.prng.between(start..end + 1);
            self.commit(log, committed);
        }
        let committed = self.committed.get(&log).copied().unwrap_or(0);
        match self.shards[shard].truncate(log, place, ticket) {
            Ok(()) if under_way || place < committed => {
                Err(format!("{log:?} is truncated to {place}, but {committed} was committed"))
            }
            Ok(()) => {
                let changes = self.model.change(shard, Change::Truncate(log, place));
                let expected = Expected { log, base: place, shard, changes, duplicate: false };
                self.truncating.insert(ticket.request, expected);
                Ok(())
            }
            Err(TruncateRefused::Failed) if self.failed[shard] => Ok(()),
            Err(TruncateRefused::Truncating) if under_way => Ok(()),
            Err(TruncateRefused::Compacted) if self.compactions.is_some() => Ok(()),
            Err(TruncateRefused::Committed(found)) if found == committed && place < committed => Ok(()),
            Err(refused) => Err(format!("{log:?} is not truncated to {place}: {refused:?}")),
        }
    }

    fn is_truncating(&self, log: LogId) -> bool {
        self.truncating.values().any(|expected| expected.log == log)
    }

    /// The owner says that everything below is never to be truncated.
    fn commit(&mut self, log: LogId, offset: Offset) {
        let shard = self.shard_of(log);
        let durable = self.shards[shard].marks(log).map_or(0, |marks| marks.durable);
        self.shards[shard].commit_upto(log, offset);
        let committed = self.committed.entry(log).or_default();
        *committed = (*committed).max(offset.min(durable));
    }

    fn read_somewhere(&mut self) -> Result<(), String> {
        let Some(log) = self.some_log() else { return Ok(()) };
        let known = self.model.logs.get(&log).map_or((0, 0), |log| (log.start, log.end));
        let from: Offset = self.prng.between(known.0.saturating_sub(2)..known.1 + 2);
        let bytes_max = self.prng.below(20_000) as usize;
        self.read(log, from, bytes_max)
    }
}
