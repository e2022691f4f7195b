//! A queue: a log with a shared cursor and settlement per record. And a stream: a log whose readers each have a
//! cursor of their own.
//!
//! One [`Queue`] per log, on the core that owns the log. In: commands, what reads gave, the end of the log, the
//! time. Out: a [`QueueOutput`]. Never: does I/O, reads a clock, waits, or names a protocol.
//!
//! Reading order: [`ranges`], [`settled`] and [`sizes`] are what a queue knows about offsets; [`subscription`]
//! puts them together; [`state`] makes them bytes. [`window`] is what a read gave, [`consumers`] is who wants
//! it, [`requests`] takes commands, [`dispatch`] matches the two, [`letters`] and [`stream`] are the two ways
//! out beside it, and [`reads`] decides what to read next.

mod consumers;
mod dispatch;
mod letters;
mod ranges;
mod reads;
mod requests;
mod settled;
mod sizes;
mod state;
mod stream;
mod subscription;
#[cfg(test)]
mod tests;
mod window;

use std::collections::VecDeque;
use std::ops::Range;

use ringmain_engine::types::{LogId, Now, Offset};

use self::consumers::Consumers;
use self::letters::Letters;
use self::reads::Reads;
use self::requests::PendingGet;
use self::subscription::Subscription;
use super::catalog::QueueSettings;
use super::command::{Answer, DeathReason, Delivery, Event, QueueCounts, SeekTo, SessionId, SubscribeError};

pub use self::letters::DEAD_LETTER_AGENT;
pub use self::state::BadState;

/// What a queue wants done. Calls add to it, so one may serve several queues only if it is emptied between.
#[derive(Debug, Default)]
pub struct QueueOutput {
    pub answers: Vec<Answer>,
    /// Read whole batches from this offset, at most so many bytes unless the first alone is larger; exactly one
    /// [`Queue::on_read`] must follow.
    pub read: Option<(Offset, u32)>,
    /// Look this up for the consumer with this key; [`Queue::on_sought`] must follow.
    pub seek: Vec<(u32, SeekTo)>,
    /// Records to append to the log of settlements; nobody waits for them.
    pub settlements: Vec<Vec<u8>>,
    /// The log of settlements has grown enough: append [`Queue::snapshot`] and drop what is before it.
    pub snapshot: bool,
    /// Everything below is settled: the log may drop it.
    pub trim_before: Option<Offset>,
    /// For the dead-letter agent, who settles each as [`DEAD_LETTER_AGENT`].
    pub dead_letters: Vec<(DeathReason, Vec<Delivery>)>,
    /// Call [`Queue::expire`] then, in microseconds of the monotonic clock.
    pub deadline_us: Option<u64>,
    /// The queue's settings say that it should be deleted now.
    pub delete_me: bool,
    /// Batches whose records could not be told apart; they were settled, because nobody could be given them.
    pub broken_batches: u64,
}

impl QueueOutput {
    fn answer(&mut self, to: SessionId, ticket: u64, event: Event) {
        self.answers.push(Answer { to, ticket, event });
    }
}

/// One queue, or one stream. `shared.floor() >= log_start` unless something below is still held.
#[derive(Debug)]
pub struct Queue {
    log: LogId,
    settings: QueueSettings,
    /// The log holds nothing below this.
    log_start: Offset,
    shared: Subscription,
    consumers: Consumers,
    gets: VecDeque<PendingGet>,
    reads: Reads,
    letters: Letters,
    /// The head's offset, and when it expires, once it was looked at.
    head_expires: Option<(Offset, Option<i64>)>,
    /// Since when nobody uses it, once that is so.
    unused_since_us: Option<u64>,
    /// Bytes of settlements since the last snapshot.
    settlement_bytes: usize,
    /// Where the log was last allowed to be cut.
    trimmed_before: Offset,
}

impl Queue {
    /// A queue that remembers nothing, over a log that holds the records `log_start..durable_end`.
    pub fn new(log: LogId, settings: QueueSettings, log_start: Offset, durable_end: Offset) -> Queue {
        let counts_returns = settings.delivery_limit.is_some();
        let keeps_sizes = settings.length_bytes_max.is_some() && !settings.stream;
        Queue {
            log,
            log_start,
            shared: Subscription::new(log_start, durable_end, counts_returns, keeps_sizes),
            consumers: Consumers::new(settings.single_active_consumer),
            gets: VecDeque::new(),
            reads: Reads::default(),
            letters: Letters::default(),
            head_expires: None,
            unused_since_us: None,
            settlement_bytes: 0,
            trimmed_before: log_start,
            settings,
        }
    }

    /// Takes one record of the log of settlements; all of them, in order, before anything else.
    pub fn restore(&mut self, record: &[u8]) -> Result<(), BadState> {
        self.settlement_bytes += record.len();
        for fact in state::decode(record)? {
            self.shared.restore(fact);
        }
        Ok(())
    }

    /// There is no more to restore. [`Queue::flush`] must follow.
    pub fn restored(&mut self) {
        self.shared.restored();
    }

    /// Everything the queue remembers, as records to be appended, in order, in place of all before. Losing the
    /// later ones, or meeting them twice, does no harm.
    pub fn snapshot(&mut self) -> Vec<Vec<u8>> {
        self.settlement_bytes = 0;
        state::snapshot(&self.shared)
    }

    /// The log is readable up to here. [`Queue::flush`] must follow.
    pub fn on_durable(&mut self, durable_end: Offset) {
        self.shared.extend(durable_end);
    }

    /// The log has dropped everything below this. [`Queue::flush`] must follow.
    pub fn on_trimmed(&mut self, log_start: Offset) {
        if log_start <= self.log_start {
            return;
        }
        self.log_start = log_start;
        self.shared.settle_ready(0..log_start);
        self.forget_doomed_below(log_start);
        if let Some(from) = self.shared.unmeasured() {
            self.shared.measure(from, (from..log_start).map(|_| 0));
        }
        for (_, member) in self.consumers.cursors_mut() {
            if let Some(cursor) = &mut member.cursor {
                cursor.next = cursor.next.max(log_start);
            }
        }
    }

    /// The deadline has come. [`Queue::flush`] must follow.
    pub fn expire(&mut self, now: Now, out: &mut QueueOutput) {
        self.reads.forget_failure(now);
        if let Some(at) = self.unused_deadline_us()
            && at <= now.monotonic_us
        {
            self.unused_since_us = Some(now.monotonic_us);
            out.delete_me = true;
        }
    }

    /// Somebody declared the queue again, which counts as use.
    pub fn touch(&mut self, now: Now) {
        self.unused_since_us = Some(now.monotonic_us);
    }

    /// The queue is deleted: tells everybody who consumes or waits. Settles nothing.
    pub fn delete(&mut self, out: &mut QueueOutput) {
        for serial in self.consumers.serials() {
            if let Some(member) = self.consumers.remove(serial) {
                out.answer(member.session, member.ticket, Event::ConsumerGone);
            }
        }
        self.fail_gets(&SubscribeError::UnknownQueue, out);
    }

    /// Does everything that became possible since the last time. To be called once after any number of other
    /// calls; nothing but direct answers goes out before. What it put into `out` must be taken before the next.
    pub fn flush(&mut self, now: Now, out: &mut QueueOutput) {
        if self.settings.expires_ms.is_some() && self.consumers.count() > 0 {
            self.unused_since_us = None;
        } else if self.unused_since_us.is_none() {
            self.unused_since_us = Some(now.monotonic_us);
        }
        self.send_doomed();
        if !self.settings.stream {
            self.serve(now, out);
        }
        self.serve_cursors(out);
        self.send_deliveries(out);
        self.letters.take_outgoing(out);
        self.plan_read(now, out);
        self.flush_state(out);
        let deadlines = [self.head_deadline_us(now), self.reads.retry_at_us(), self.unused_deadline_us()];
        out.deadline_us = deadlines.into_iter().chain([out.deadline_us]).flatten().min();
        self.shared.check();
    }

    /// How many records are where.
    pub fn counts(&self) -> QueueCounts {
        let ready = if self.settings.stream {
            self.shared.durable_end() - self.log_start.min(self.shared.durable_end())
        } else {
            self.shared.ready_count()
        };
        let unsettled = self.shared.held_count() - self.letters.count();
        QueueCounts { ready, unsettled, consumers: self.consumers.count() }
    }

    /// Bytes of the values of ready records; 0 unless the queue is limited in bytes.
    pub fn ready_bytes(&self) -> u64 {
        self.shared.ready_bytes()
    }

    /// Whether another record must be refused.
    pub fn is_full(&self) -> bool {
        let count_full = self.settings.length_max.is_some_and(|max| self.shared.ready_count() >= max);
        let bytes_full = self.settings.length_bytes_max.is_some_and(|max| self.shared.ready_bytes() >= max);
        self.settings.reject_when_full && (count_full || bytes_full)
    }

    /// The log of its records.
    pub fn log(&self) -> LogId {
        self.log
    }

    /// The settings it was made with.
    pub fn settings(&self) -> &QueueSettings {
        &self.settings
    }

    /// The first record that is not settled.
    pub fn floor(&self) -> Offset {
        self.shared.floor()
    }

    /// What is settled though something before it is not, lowest first.
    pub fn settled_above_floor(&self) -> impl Iterator<Item = Range<Offset>> {
        self.shared.settled_above_floor().iter()
    }

    fn send_deliveries(&mut self, out: &mut QueueOutput) {
        for (session, ticket, deliveries) in self.consumers.take_outgoing() {
            out.answer(session, ticket, Event::Deliver(deliveries));
        }
    }

    fn flush_state(&mut self, out: &mut QueueOutput) {
        if self.settings.stream {
            return;
        }
        if let Some(changes) = self.shared.take_changes() {
            let records = changes.encode();
            self.settlement_bytes += records.iter().map(Vec::len).sum::<usize>();
            out.snapshot |= state::wants_snapshot(&self.shared, self.settlement_bytes);
            assert!(out.settlements.is_empty(), "settlements of before were not taken");
            out.settlements = records;
        }
        let floor = self.shared.floor();
        if floor > self.trimmed_before {
            self.trimmed_before = floor;
            out.trim_before = Some(floor);
        }
    }

    fn unused_deadline_us(&self) -> Option<u64> {
        let after_us = self.settings.expires_ms?.saturating_mul(1000);
        (self.consumers.count() == 0).then_some(self.unused_since_us?.saturating_add(after_us))
    }
}
