//! Commands for a queue: each changes its state and is answered at once, or when a record has been read.
//!
//! In: a session's command. Out: its answer. Never: delivers; that is the dispatch's part, at the next flush.

use std::ops::Range;

use ringmain_engine::types::{Now, Offset};

use super::letters::DEAD_LETTER_AGENT;
use super::stream::Cursor;
use super::{Queue, QueueOutput};
use crate::broker::command::{
    Command, Consumer, DeathReason, Event, Outcome, SessionId, Start, SubscribeError,
};

/// A session waits for one record.
#[derive(Debug)]
pub struct PendingGet {
    pub from: SessionId,
    pub ticket: u64,
    pub settle: bool,
}

impl Queue {
    /// Takes a command for a queue; any other is the caller's mistake. [`Queue::flush`] must follow.
    pub fn handle(
        &mut self,
        from: SessionId,
        ticket: u64,
        command: Command,
        now: Now,
        out: &mut QueueOutput,
    ) {
        match command {
            Command::Subscribe { consumer, .. } => self.subscribe(from, ticket, &consumer, out),
            Command::SetLimit { consumer, limit, .. } => self.set_limit(from, consumer, limit),
            Command::Sent { consumer, count, .. } => self.sent(from, consumer, count),
            Command::Cancel { consumer, .. } => {
                if let Some(serial) = self.consumers.find(from, consumer) {
                    self.remove_consumer(serial, out);
                }
                out.answer(from, ticket, Event::Cancelled);
            }
            Command::Get { settle, .. } => self.get(PendingGet { from, ticket, settle }, now, out),
            Command::Settle { offsets, outcome, .. } => {
                for range in offsets {
                    self.settle(from, range, outcome);
                }
            }
            Command::Purge { .. } => {
                let count = if self.settings.stream { 0 } else { self.purge() };
                out.answer(from, ticket, Event::Purged(Ok(count)));
            }
            Command::QueueStatus { .. } => {
                // Whoever counts has declared the queue again, which is a use.
                self.touch(now);
                out.answer(from, ticket, Event::QueueStatus(Ok(self.counts())));
            }
            other => unreachable!("not a command for a queue: {other:?}"),
        }
    }

    /// A session ended without a word: everything it holds goes back. [`Queue::flush`] must follow.
    pub fn session_gone(&mut self, session: SessionId, out: &mut QueueOutput) {
        self.gets.retain(|get| get.from != session);
        for serial in self.consumers.serials_of(session) {
            self.remove_consumer(serial, out);
        }
        self.settle(session, 0..Offset::MAX, Outcome::Requeue);
    }

    fn subscribe(&mut self, from: SessionId, ticket: u64, consumer: &Consumer, out: &mut QueueOutput) {
        let by_offset = self.settings.stream || consumer.start != Start::Shared;
        let (cursor, seek) = if by_offset {
            let (cursor, seek) = Cursor::new(consumer.start, self.log_start, self.shared.durable_end());
            (Some(Box::new(cursor)), seek)
        } else {
            (None, None)
        };
        let added = self.consumers.add(from, ticket, consumer, cursor);
        if let (Ok(serial), Some(to)) = (&added, seek) {
            out.seek.push((*serial, to));
        }
        out.answer(from, ticket, Event::Subscribed(added.map(|_| ())));
    }

    fn set_limit(&mut self, from: SessionId, consumer: u64, limit: u32) {
        let Some(serial) = self.consumers.find(from, consumer) else { return };
        if let Some(member) = self.consumers.get_mut(serial) {
            member.limit = limit;
        }
        self.consumers.wake(serial);
    }

    fn sent(&mut self, from: SessionId, consumer: u64, count: u32) {
        let Some(serial) = self.consumers.find(from, consumer) else { return };
        if let Some(member) = self.consumers.get_mut(serial) {
            member.sent(count);
        }
        self.consumers.wake(serial);
    }

    fn remove_consumer(&mut self, serial: u32, out: &mut QueueOutput) {
        self.consumers.remove(serial);
        if self.settings.auto_delete && self.consumers.count() == 0 {
            out.delete_me = true;
        }
    }

    fn get(&mut self, get: PendingGet, now: Now, out: &mut QueueOutput) {
        self.unused_since_us = Some(now.monotonic_us);
        if self.settings.stream {
            out.answer(get.from, get.ticket, Event::Got(Ok(None)));
            return;
        }
        self.gets.push_back(get);
        self.serve(now, out);
        // What consumers got beside it goes out before any command that could settle it unseen.
        self.send_deliveries(out);
    }

    /// Answers everybody who waits for a record that there is none to be had.
    pub(super) fn fail_gets(&mut self, error: &SubscribeError, out: &mut QueueOutput) {
        for get in self.gets.drain(..) {
            out.answer(get.from, get.ticket, Event::Got(Err(error.clone())));
        }
    }

    fn purge(&mut self) -> u64 {
        let count = self.shared.ready_count();
        let settled = self.shared.settle_ready(0..self.shared.durable_end());
        assert!(settled == count, "{count} records were ready and {settled} were purged");
        count
    }

    /// What `from` does not hold is not touched: settling twice, or too late, is nothing.
    fn settle(&mut self, from: SessionId, range: Range<Offset>, outcome: Outcome) {
        for (offset, holder) in self.shared.held_by(from, range.clone()) {
            if from == DEAD_LETTER_AGENT {
                self.settle_letter(offset, outcome);
                continue;
            }
            self.consumers.credit(holder.consumer);
            match outcome {
                Outcome::Accept => self.shared.settle_held(offset),
                Outcome::Discard => self.discard(offset, DeathReason::Rejected),
                Outcome::Requeue => self.requeue(offset),
            }
        }
        self.settle_cursors(from, range);
    }

    fn requeue(&mut self, offset: Offset) {
        let limit = self.settings.delivery_limit;
        if offset < self.log_start {
            self.shared.settle_held(offset);
        } else if limit.is_some_and(|limit| self.shared.returns_of(offset) >= limit) {
            self.discard(offset, DeathReason::DeliveryLimit);
        } else {
            self.shared.give_back(offset);
        }
    }
}
