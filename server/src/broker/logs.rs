//! Commands about plain logs: append, read, watch, seek, trim.
//!
//! In: commands and what the engine answers. Out: events. Never: looks at a record, except to find the one that
//! a seek by time is after.

use std::collections::HashMap;

use bytes::Bytes;
use ringmain_engine::format::batch::{self, CheckedBatch};
use ringmain_engine::format::record;
use ringmain_engine::shard::{ReadOutcome, Refused};
use ringmain_engine::types::{LogId, Now, Offset, Ticket};

use super::command::{AppendError, Event, ReadData, ReadError, SeekTo, SessionId, Sought};
use super::queues::Life;
use super::{Broker, Pending, compression};

/// Bytes a seek reads at a time.
const SEEK_READ_BYTES: usize = 1 << 20;

/// Who is to be woken when a log grows.
#[derive(Debug, Default)]
pub struct Watches {
    by_log: HashMap<LogId, Vec<(SessionId, u64)>>,
}

impl Watches {
    fn add(&mut self, log: LogId, session: SessionId, ticket: u64) {
        let watchers = self.by_log.entry(log).or_default();
        if !watchers.contains(&(session, ticket)) {
            watchers.push((session, ticket));
        }
    }

    /// Takes back a watch.
    pub fn remove(&mut self, log: LogId, session: SessionId, ticket: u64) {
        if let Some(watchers) = self.by_log.get_mut(&log) {
            watchers.retain(|watcher| *watcher != (session, ticket));
            if watchers.is_empty() {
                self.by_log.remove(&log);
            }
        }
    }

    fn take(&mut self, log: LogId) -> Vec<(SessionId, u64)> {
        self.by_log.remove(&log).unwrap_or_default()
    }
}

/// A trim that is not durable yet.
#[derive(Clone, Copy, Debug)]
pub struct Trim {
    to: SessionId,
    ticket: u64,
    start: Offset,
}

/// A seek that has to look at records.
#[derive(Clone, Copy, Debug)]
pub struct Seek {
    log: LogId,
    goal: Goal,
    whose: Whose,
}

#[derive(Clone, Copy, Debug)]
enum Goal {
    /// The first record at or after this time.
    AtOrAfter(i64),
    /// The first record with exactly this time.
    Exactly(i64),
}

#[derive(Clone, Copy, Debug)]
enum Whose {
    Session(SessionId, u64),
    Queue(Life, u32),
}

/// The engine's words in the broker's.
pub fn outcome_of(outcome: ReadOutcome) -> Result<ReadData, ReadError> {
    match outcome {
        ReadOutcome::Data { batches, log_start, durable } => {
            Ok(ReadData { batches, log_start, high_watermark: durable })
        }
        ReadOutcome::OutOfRange { log_start, durable } => {
            Err(ReadError::OutOfRange { log_start, high_watermark: durable })
        }
        ReadOutcome::UnknownLog => Err(ReadError::UnknownLog),
        ReadOutcome::Damaged(damage) => Err(ReadError::Damaged(damage.to_string())),
        ReadOutcome::Fault { .. } => Err(ReadError::Storage),
    }
}

impl Broker {
    pub(super) fn append(&mut self, from: SessionId, ticket: u64, log: LogId, batch: &CheckedBatch) {
        if self.queues.refuses(log) {
            return self.answer(from, ticket, Event::Appended(Err(AppendError::QueueFull)));
        }
        let engine_ticket = Ticket { owner: from.pack(), request: ticket };
        if let Err(refused) = self.shard.append(log, batch, engine_ticket) {
            let error = match refused {
                Refused::UnknownLog => AppendError::UnknownLog,
                Refused::OutOfOrderSequence => AppendError::OutOfOrderSequence,
                Refused::FencedProducer => AppendError::FencedProducer,
                Refused::NoSpace => AppendError::NoSpace,
                Refused::Failed | Refused::Truncating => AppendError::Storage,
            };
            self.metrics.refused_for_room += u64::from(refused == Refused::NoSpace);
            self.answer(from, ticket, Event::Appended(Err(error)));
        }
    }

    pub(super) fn read(
        &mut self,
        from: SessionId,
        ticket: u64,
        log: LogId,
        offset: Offset,
        bytes_max: u32,
        watch: bool,
    ) {
        let engine_ticket = Ticket { owner: from.pack(), request: ticket };
        let Some(outcome) = self.shard.read(log, offset, bytes_max as usize, engine_ticket) else { return };
        let result = self.noted(outcome_of(outcome));
        if watch && result.as_ref().is_ok_and(|data| data.batches.is_empty()) {
            self.watches.add(log, from, ticket);
        }
        self.answer(from, ticket, Event::Read(result));
    }

    /// Damage is told to the operator as well as to the reader.
    pub(super) fn noted(&mut self, result: Result<ReadData, ReadError>) -> Result<ReadData, ReadError> {
        if let Err(ReadError::Damaged(what)) = &result {
            self.log_lines.push(format!("damage found while reading: {what}"));
        }
        result
    }

    /// More of a log can be read.
    pub(super) fn advanced(&mut self, log: LogId) {
        self.wake_watchers(log);
        let durable = self.shard.marks(log).map_or(0, |marks| marks.durable);
        self.queues.on_durable(log, durable);
    }

    /// Has everybody who waits for a log look again: it grew, or it is gone.
    pub(super) fn wake_watchers(&mut self, log: LogId) {
        for (session, ticket) in self.watches.take(log) {
            self.answer(session, ticket, Event::Readable);
        }
    }

    /// Answered once it is durable, unless refused.
    pub(super) fn trim(&mut self, from: SessionId, ticket: u64, log: LogId, before: Option<Offset>) {
        match self.trim_log(log, before) {
            Ok(start) => {
                let durable = self.wait_for(Pending::Trim(Trim { to: from, ticket, start }));
                self.shard.sync(durable);
            }
            Err(error) => self.answer(from, ticket, Event::Trimmed(Err(error))),
        }
    }

    fn trim_log(&mut self, log: LogId, before: Option<Offset>) -> Result<Offset, ReadError> {
        let topic = self.catalog.topic_of(log).ok_or(ReadError::UnknownLog)?;
        if topic.is_settled() {
            return Err(ReadError::SettledLog);
        }
        if self.shard.failure().is_some() {
            return Err(ReadError::Storage);
        }
        let marks = self.shard.marks(log).ok_or(ReadError::UnknownLog)?;
        let start = before.unwrap_or(marks.durable);
        if start > marks.durable {
            return Err(ReadError::OutOfRange { log_start: marks.start, high_watermark: marks.durable });
        }
        self.shard.trim(log, start);
        Ok(start.max(marks.start))
    }

    pub(super) fn trimmed(&mut self, trim: Trim) {
        self.answer(trim.to, trim.ticket, Event::Trimmed(Ok(trim.start)));
    }

    pub(super) fn seek(&mut self, from: SessionId, ticket: u64, log: LogId, to: SeekTo) {
        self.begin_seek(log, to, Whose::Session(from, ticket));
    }

    pub(super) fn queue_seek(&mut self, log: LogId, life: Life, key: u32, to: SeekTo) {
        self.begin_seek(log, to, Whose::Queue(life, key));
    }

    fn begin_seek(&mut self, log: LogId, to: SeekTo, whose: Whose) {
        let Some(marks) = self.shard.marks(log) else {
            return self.sought(log, whose, Err(ReadError::UnknownLog));
        };
        let at = |offset| Ok(Sought { offset: Some(offset), timestamp_ms: None, leader_epoch: 0 });
        let (hint, goal) = match to {
            SeekTo::Start => return self.sought(log, whose, at(marks.start)),
            SeekTo::HighWatermark => return self.sought(log, whose, at(marks.durable)),
            SeekTo::Time(time) => (self.shard.seek_time(log, time), Goal::AtOrAfter(time)),
            SeekTo::MaxTimestamp => match self.shard.seek_latest_time(log) {
                Some((time, offset)) => (Some(offset), Goal::Exactly(time)),
                None => (None, Goal::Exactly(0)),
            },
        };
        match hint {
            Some(offset) => self.seek_on(Seek { log, goal, whose }, offset),
            None => self.sought(log, whose, Ok(NOWHERE)),
        }
    }

    /// Reads on for a seek.
    fn seek_on(&mut self, seek: Seek, from: Offset) {
        let ticket = self.wait_for(Pending::Seek(seek));
        if let Some(outcome) = self.shard.read(seek.log, from, SEEK_READ_BYTES, ticket) {
            self.pending.remove(&ticket.request);
            self.seek_read(seek, outcome_of(outcome));
        }
    }

    fn seek_read(&mut self, seek: Seek, result: Result<ReadData, ReadError>) {
        let data = match result {
            Ok(data) => data,
            Err(error) => return self.sought(seek.log, seek.whose, Err(error)),
        };
        let mut next = None;
        for (header, batch) in data.batches.into_iter().flat_map(batch::split) {
            match find_in(&batch, &header, seek.goal) {
                Ok(Some(found)) => return self.sought(seek.log, seek.whose, Ok(found)),
                Ok(None) => {}
                Err(what) => return self.sought(seek.log, seek.whose, Err(ReadError::Damaged(what))),
            }
            next = Some(header.base_offset.get() as u64 + header.offsets_count());
        }
        match next {
            Some(next) => self.seek_on(seek, next),
            None => self.sought(seek.log, seek.whose, Ok(NOWHERE)),
        }
    }

    fn sought(&mut self, log: LogId, whose: Whose, result: Result<Sought, ReadError>) {
        match whose {
            Whose::Session(session, ticket) => self.answer(session, ticket, Event::Sought(result)),
            Whose::Queue(life, key) => self.queues.on_sought(log, life, key, result),
        }
    }

    /// A read that the broker itself asked for.
    pub(super) fn internal_read(&mut self, request: u64, result: Result<ReadData, ReadError>, now: Now) {
        let result = self.noted(result);
        match self.pending.remove(&request) {
            Some(Pending::Seek(seek)) => self.seek_read(seek, result),
            Some(Pending::QueueRead(log, life)) => self.queue_read(log, life, result, now),
            _ => {}
        }
    }
}

const NOWHERE: Sought = Sought { offset: None, timestamp_ms: None, leader_epoch: 0 };

/// The first record of the batch that is what a seek is after.
fn find_in(batch: &Bytes, header: &batch::BatchHeader, goal: Goal) -> Result<Option<Sought>, String> {
    let wanted = |time: i64| match goal {
        Goal::AtOrAfter(at) => time >= at,
        Goal::Exactly(at) => time == at,
    };
    let may_hold = match goal {
        Goal::AtOrAfter(at) | Goal::Exactly(at) => header.max_timestamp.get() >= at,
    };
    if !may_hold {
        return Ok(None);
    }
    let mut records = compression::records_of(batch).map_err(|error| error.to_string())?;
    while !records.is_empty() {
        let Ok(record) = record::take(&mut records) else { return Err("a record is not sound".to_string()) };
        let time = header.base_timestamp.get().saturating_add(record.timestamp_delta_ms);
        if wanted(time) {
            let offset = header.base_offset.get() as u64 + u64::from(record.offset_delta);
            let leader_epoch = header.leader_epoch.get();
            return Ok(Some(Sought { offset: Some(offset), timestamp_ms: Some(time), leader_epoch }));
        }
    }
    Ok(None)
}
