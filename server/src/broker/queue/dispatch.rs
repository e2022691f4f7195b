//! Matches ready records with those who want them: the head of the queue goes to a get, to a consumer, to the
//! dead letters, or stays.
//!
//! In: the subscription, the windows, the consumers. Out: deliveries. Never: skips the head for a later record.

use ringmain_engine::types::Now;

use super::subscription::{Head, Holder};
use super::window::Place;
use super::{Queue, QueueOutput};
use crate::broker::command::{DeathReason, Delivery, EXPIRES_AT_HEADER, Event};

/// Longest time to the next look at the wall clock, which may jump.
const LOOK_AGAIN_MS: i64 = 60_000;

/// Who is next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Taker {
    Get,
    Consumer(u32),
}

impl Queue {
    /// Serves the shared cursor until there is no record, nobody to take it, or it must be read first.
    pub(super) fn serve(&mut self, now: Now, out: &mut QueueOutput) {
        self.reads.wanted = None;
        while let Some(head) = self.shared.head() {
            if !self.serve_head(head, now, out) {
                break;
            }
        }
        out.broken_batches += self.reads.ahead.take_broken() + self.reads.returned.take_broken();
        if self.shared.head().is_none() {
            for get in self.gets.drain(..) {
                out.answer(get.from, get.ticket, Event::Got(Ok(None)));
            }
            self.head_expires = None;
        }
    }

    /// Does what can be done with the head; false: it stays.
    fn serve_head(&mut self, head: Head, now: Now, out: &mut QueueOutput) -> bool {
        let over = self.is_over();
        // What must make room is gone before a get; a consumer with room would have had it before.
        let taker = self.taker().filter(|taker| !over || *taker != Taker::Get);
        if taker.is_none() {
            if over && !self.settings.dead_letters {
                self.shared.settle_head(head);
                return true;
            }
            if !over && !self.may_expire(head, now) {
                return false;
            }
        }
        match self.reads.window(head).seek(head.offset) {
            Place::Unknown => {
                self.reads.wanted = Some(head);
                return false;
            }
            Place::Gap(next) => {
                self.shared.settle_ready(head.offset..next);
                return true;
            }
            Place::Here => {}
        }
        let Some(front) = self.reads.window(head).front() else { return false };
        let expires = expires_at_ms(front, self.settings.message_ttl_ms);
        // A record that may not wait at all still goes to a consumer that waited for it.
        let may_not_wait = expires.is_some_and(|at| at <= front.timestamp_ms) && !head.returned;
        let awaited = may_not_wait && matches!(taker, Some(Taker::Consumer(_)));
        let expired = expires.is_some_and(|at| at <= now.wall_ms) && !awaited;
        let reason = match (expired, taker, over) {
            (true, _, _) => DeathReason::Expired,
            (false, Some(taker), _) => return self.give(taker, head, out),
            (false, None, true) => DeathReason::MaxLength,
            (false, None, false) => {
                self.rest(head, expires);
                return false;
            }
        };
        if self.settings.dead_letters && !self.letters.has_room() {
            return false;
        }
        let Some(delivery) = self.reads.window(head).take() else { return false };
        self.discard_head(head, delivery, reason);
        true
    }

    /// Remembers when the head expires, so that its record need not be kept while nobody consumes.
    fn rest(&mut self, head: Head, expires: Option<i64>) {
        self.head_expires = Some((head.offset, expires));
        if self.consumers.count() == 0 {
            self.reads.ahead.clear();
            self.reads.returned.clear();
        }
    }

    fn give(&mut self, taker: Taker, head: Head, out: &mut QueueOutput) -> bool {
        let Some(mut delivery) = self.reads.window(head).take() else { return false };
        delivery.redelivered = self.shared.is_redelivery(head);
        delivery.returns = self.shared.returns_of(head.offset);
        match taker {
            Taker::Get => {
                let Some(get) = self.gets.pop_front() else { return false };
                if get.settle {
                    self.shared.settle_head(head);
                } else {
                    self.shared.hold(head, Holder { session: get.from, consumer: 0 });
                }
                let ready = self.shared.ready_count();
                out.answer(get.from, get.ticket, Event::Got(Ok(Some((delivery, ready)))));
            }
            Taker::Consumer(serial) => {
                let Some(member) = self.consumers.get_mut(serial) else { return false };
                if member.settles {
                    let holder = Holder { session: member.session, consumer: serial };
                    self.shared.hold(head, holder);
                } else {
                    self.shared.settle_head(head);
                }
                self.consumers.give(serial, delivery);
            }
        }
        true
    }

    /// Consumers first: a record that one of them has room for never was in the queue for a get.
    fn taker(&mut self) -> Option<Taker> {
        let consumer = self.consumers.next().map(Taker::Consumer);
        consumer.or((!self.gets.is_empty()).then_some(Taker::Get))
    }

    /// Whether the head must be looked at although nobody wants it: it has expired, or nobody knows.
    fn may_expire(&self, head: Head, now: Now) -> bool {
        match self.head_expires {
            Some((offset, expires)) if offset == head.offset => expires.is_some_and(|at| at <= now.wall_ms),
            _ => true,
        }
    }

    /// Whether the head must make room for newer records.
    fn is_over(&self) -> bool {
        let count_over = self.settings.length_max.is_some_and(|max| self.shared.ready_count() > max);
        let bytes_over = self.settings.length_bytes_max.is_some_and(|max| self.shared.ready_bytes() > max);
        !self.settings.reject_when_full && (count_over || bytes_over)
    }

    /// When the head expires, unless it waits for a read or for the dead-letter agent, who call again anyway.
    pub(super) fn head_deadline_us(&self, now: Now) -> Option<u64> {
        let head = self.shared.head()?;
        let (offset, expires) = self.head_expires?;
        let wait_ms = expires?.saturating_sub(now.wall_ms);
        let waits = offset == head.offset && wait_ms > 0;
        waits.then(|| now.monotonic_us.saturating_add(wait_ms.min(LOOK_AGAIN_MS) as u64 * 1000))
    }
}

/// When a record expires, in ms since the Unix epoch: by its own header or by the queue's rule, whichever is
/// earlier. A header of the wrong length says nothing.
fn expires_at_ms(delivery: &Delivery, message_ttl_ms: Option<u64>) -> Option<i64> {
    let own = delivery.record.header(EXPIRES_AT_HEADER);
    let own = own.and_then(|value| <[u8; 8]>::try_from(&value[..]).ok()).map(i64::from_be_bytes);
    let by_queue = message_ttl_ms
        .map(|ttl| delivery.timestamp_ms.saturating_add(i64::try_from(ttl).unwrap_or(i64::MAX)));
    own.into_iter().chain(by_queue).min()
}
