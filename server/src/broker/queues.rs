//! The queues of one core, and what they want of the engine.
//!
//! In: commands about queues, the ends of their logs, the time. Out: events, settlements and trims in the same
//! frame as everything else of the turn. Never: decides about a record itself.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use ringmain_engine::limits::DROPPED_RANGES_MAX;
use ringmain_engine::types::{LogId, Now, Offset};

use super::catalog::{CatalogRequest, QueueSettings, settlements_of};
use super::command::{
    Command, Event, QueueCounts, ReadData, ReadError, Request, SessionId, Sought, Start, SubscribeError,
};
use super::queue::{DEAD_LETTER_AGENT, Queue, QueueOutput};
use super::{AGENT_SLOT, Broker, Pending, logs, metrics};

/// All queues of one core, by the log of their records.
#[derive(Default)]
pub struct Queues {
    by_log: HashMap<LogId, Entry>,
    /// To be flushed.
    dirty: Vec<LogId>,
    /// `(deadline_us, log)` of each queue that has one.
    deadlines: BTreeSet<(u64, LogId)>,
    /// Queues that a session may hold something of.
    used_by: HashMap<SessionId, BTreeSet<LogId>>,
    /// Queues in which something was settled beyond a record that is not, since they were looked at last.
    unclean: BTreeSet<LogId>,
    next_life: u64,
}

/// Which queue of several that one log may have, one after the other, as its readers come and go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Life(u64);

struct Entry {
    queue: Queue,
    /// What was begun for an earlier one is not for this.
    life: Life,
    is_dirty: bool,
    deadline_us: Option<u64>,
    /// Made for readers of an ordinary topic; goes with the last of them.
    for_readers: bool,
}

impl Queues {
    /// Whether an append to `log` must be refused because the queue is full.
    pub fn refuses(&self, log: LogId) -> bool {
        self.by_log.get(&log).is_some_and(|entry| entry.queue.is_full())
    }

    /// A log has grown.
    pub fn on_durable(&mut self, log: LogId, durable: Offset) {
        if let Some(entry) = self.touch(log) {
            entry.queue.on_durable(durable);
        }
    }

    /// A seek of a queue's consumer has ended.
    pub fn on_sought(&mut self, log: LogId, life: Life, key: u32, result: Result<Sought, ReadError>) {
        if let Some(entry) = self.touch(log).filter(|entry| entry.life == life) {
            entry.queue.on_sought(key, result);
        }
    }

    /// When the first of them has something to do.
    pub fn next_deadline_us(&self) -> Option<u64> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Queues of which something may be dropped though something before it is needed.
    pub fn unclean(&self) -> impl Iterator<Item = LogId> {
        self.unclean.iter().copied()
    }

    /// Takes one of them: what it has settled beyond its first record that is not.
    pub fn take_unclean(&mut self, log: LogId) -> Vec<Range<Offset>> {
        self.unclean.remove(&log);
        let queue = self.by_log.get(&log).map(|entry| &entry.queue);
        queue.into_iter().flat_map(Queue::settled_above_floor).take(DROPPED_RANGES_MAX).collect()
    }

    /// Sums over all queues.
    pub fn counts(&self, deliveries: u64) -> metrics::Queues {
        let mut sum = metrics::Queues { deliveries, ..metrics::Queues::default() };
        for entry in self.by_log.values().filter(|entry| !entry.for_readers) {
            let QueueCounts { ready, unsettled, .. } = entry.queue.counts();
            sum.ready += ready;
            sum.unsettled += unsettled;
        }
        sum
    }

    /// The queue, which is about to change.
    fn touch(&mut self, log: LogId) -> Option<&mut Entry> {
        let entry = self.by_log.get_mut(&log)?;
        if !entry.is_dirty {
            entry.is_dirty = true;
            self.dirty.push(log);
        }
        Some(entry)
    }

    fn set_deadline(&mut self, log: LogId, deadline_us: Option<u64>) {
        let Some(entry) = self.by_log.get_mut(&log) else { return };
        if entry.deadline_us == deadline_us {
            return;
        }
        if let Some(old) = std::mem::replace(&mut entry.deadline_us, deadline_us) {
            self.deadlines.remove(&(old, log));
        }
        if let Some(new) = deadline_us {
            self.deadlines.insert((new, log));
        }
    }
}

impl Broker {
    /// Takes a queue in.
    pub(super) fn add_queue(&mut self, log: LogId, queue: Queue) {
        if queue.settled_above_floor().next().is_some() {
            self.queues.unclean.insert(log);
            self.retention.wake(self.now);
        }
        self.queues.dirty.push(log);
        let life = Life(self.queues.next_life);
        self.queues.next_life += 1;
        let entry = Entry { queue, life, is_dirty: true, deadline_us: None, for_readers: false };
        self.queues.by_log.insert(log, entry);
    }

    /// The queue's topic is deleted.
    pub(super) fn remove_queue(&mut self, log: LogId) {
        self.queues.set_deadline(log, None);
        self.queues.unclean.remove(&log);
        if let Some(mut entry) = self.queues.by_log.remove(&log) {
            let mut out = QueueOutput::default();
            entry.queue.delete(&mut out);
            self.answers.append(&mut out.answers);
        }
    }

    pub(super) fn queue_command(&mut self, from: SessionId, ticket: u64, command: Command, now: Now) {
        let (Command::Subscribe { log, .. }
        | Command::SetLimit { log, .. }
        | Command::Sent { log, .. }
        | Command::Cancel { log, .. }
        | Command::Get { log, .. }
        | Command::Settle { log, .. }
        | Command::Purge { log }
        | Command::QueueStatus { log }) = command
        else {
            unreachable!("not a command for a queue")
        };
        self.make_readable(log, &command);
        if self.queues.touch(log).is_none() {
            return self.answer_missing(from, ticket, &command);
        }
        if matches!(command, Command::Subscribe { .. } | Command::Get { .. }) {
            self.queues.used_by.entry(from).or_default().insert(log);
        }
        let Some(entry) = self.queues.by_log.get_mut(&log) else { return };
        let from = if from.slot == AGENT_SLOT { DEAD_LETTER_AGENT } else { from };
        let mut out = QueueOutput::default();
        entry.queue.handle(from, ticket, command, now, &mut out);
        self.take_queue_output(log, out, now);
    }

    /// An ordinary topic can be read by offset like a stream.
    fn make_readable(&mut self, log: LogId, command: &Command) {
        let Command::Subscribe { consumer, .. } = command else { return };
        let readable = self.catalog.topic_of(log).is_some_and(|topic| topic.queue.is_none());
        if consumer.start != Start::Shared && readable && !self.queues.by_log.contains_key(&log) {
            let settings = QueueSettings { stream: true, ..QueueSettings::default() };
            let marks = self.shard.marks(log).unwrap_or_default();
            self.add_queue(log, Queue::new(log, settings, marks.start, marks.durable));
            if let Some(entry) = self.queues.by_log.get_mut(&log) {
                entry.for_readers = true;
            }
        }
    }

    fn answer_missing(&mut self, from: SessionId, ticket: u64, command: &Command) {
        let error = SubscribeError::UnknownQueue;
        let event = match command {
            Command::Subscribe { .. } => Event::Subscribed(Err(error)),
            Command::Cancel { .. } => Event::Cancelled,
            Command::Get { .. } => Event::Got(Err(error)),
            Command::Purge { .. } => Event::Purged(Err(error)),
            Command::QueueStatus { log } => match self.shard.marks(*log) {
                // An ordinary topic that nobody reads by offset at the moment.
                Some(marks) => Event::QueueStatus(Ok(QueueCounts {
                    ready: marks.durable - marks.start,
                    ..QueueCounts::default()
                })),
                None => Event::QueueStatus(Err(error)),
            },
            _ => return, // not answered in any case
        };
        self.answer(from, ticket, event);
    }

    /// Does what became possible in the queues that changed.
    pub(super) fn flush_queues(&mut self, now: Now) {
        while let Some(log) = self.queues.dirty.pop() {
            let Some(entry) = self.queues.by_log.get_mut(&log) else { continue };
            entry.is_dirty = false;
            let mut out = QueueOutput::default();
            entry.queue.flush(now, &mut out);
            let idle = entry.for_readers && entry.queue.counts().consumers == 0;
            if !out.settlements.is_empty() && entry.queue.settled_above_floor().next().is_some() {
                self.queues.unclean.insert(log);
                self.retention.wake(now);
            }
            let deadline_us = out.deadline_us;
            self.queues.set_deadline(log, deadline_us);
            self.take_queue_output(log, out, now);
            if idle {
                self.remove_queue(log);
            }
        }
    }

    /// Queues whose time has come.
    pub(super) fn expire_queues(&mut self, now: Now) {
        while let Some((at, log)) = self.queues.deadlines.first().copied() {
            if at > now.monotonic_us {
                return;
            }
            self.queues.set_deadline(log, None);
            let Some(entry) = self.queues.touch(log) else { continue };
            let mut out = QueueOutput::default();
            entry.queue.expire(now, &mut out);
            self.take_queue_output(log, out, now);
        }
    }

    /// A session has ended, perhaps without a word: what it holds goes back to its queues.
    pub(super) fn session_gone(&mut self, session: SessionId, now: Now) {
        for log in self.queues.used_by.remove(&session).unwrap_or_default() {
            let Some(entry) = self.queues.touch(log) else { continue };
            let mut out = QueueOutput::default();
            entry.queue.session_gone(session, &mut out);
            self.take_queue_output(log, out, now);
        }
    }

    /// What was read for a queue.
    pub(super) fn queue_read(
        &mut self,
        log: LogId,
        life: Life,
        result: Result<ReadData, ReadError>,
        now: Now,
    ) {
        let Some(entry) = self.queues.touch(log).filter(|entry| entry.life == life) else { return };
        let mut out = QueueOutput::default();
        entry.queue.on_read(result, now, &mut out);
        self.take_queue_output(log, out, now);
    }

    fn take_queue_output(&mut self, log: LogId, mut out: QueueOutput, now: Now) {
        for answer in &out.answers {
            if let Event::Deliver(deliveries) = &answer.event {
                self.metrics.queues.deliveries += deliveries.len() as u64;
            }
        }
        if out.delete_me
            && let Some(topic) = self.catalog.topic_of(log)
        {
            // Whoever cancelled the last consumer hears of it when the queue is gone.
            let cancelled = out.answers.iter().position(|answer| matches!(answer.event, Event::Cancelled));
            let (from, ticket) = match cancelled.map(|position| out.answers.remove(position)) {
                Some(answer) => (answer.to, answer.ticket),
                None => (self.myself(), 0),
            };
            let command = Command::Catalog(CatalogRequest::DeleteTopic { name: topic.name.clone() });
            self.requests.push(Request { from, ticket, command });
        }
        self.answers.append(&mut out.answers);
        let agent = self.agent();
        for (reason, records) in out.dead_letters {
            self.answer(agent, 0, Event::DeadLetters { log, reason, records });
        }
        if !out.settlements.is_empty() {
            self.append_state(settlements_of(log), &out.settlements, Pending::Nobody);
        }
        if out.snapshot
            && let Some(entry) = self.queues.by_log.get_mut(&log)
        {
            let records = entry.queue.snapshot();
            self.append_snapshot(settlements_of(log), &records);
        }
        if let Some(offset) = out.trim_before {
            self.shard.trim(log, offset);
        }
        let Some(life) = self.queues.by_log.get(&log).map(|entry| entry.life) else { return };
        for (key, to) in out.seek {
            self.queue_seek(log, life, key, to);
        }
        if out.broken_batches > 0 {
            let count = out.broken_batches;
            self.log_lines
                .push(format!("{log:?}: {count} batches hold no readable records; they were skipped"));
        }
        if let Some((from, bytes_max)) = out.read {
            let ticket = self.wait_for(Pending::QueueRead(log, life));
            if let Some(outcome) = self.shard.read(log, from, bytes_max as usize, ticket) {
                self.pending.remove(&ticket.request);
                let result = self.noted(logs::outcome_of(outcome));
                self.queue_read(log, life, result, now);
            }
        }
    }
}
