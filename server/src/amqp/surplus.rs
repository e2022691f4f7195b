//! Deliveries that came to a channel beyond its own limit, which spans its consumers.
//!
//! In: deliveries while the channel has as many unsettled ones as it may, then verdicts on those. Out: the
//! deliveries, in the order they came. Never: holds one back while there is room.
//!
//! A queue knows the limits of its own consumers only. It never gives one consumer more than the channel may have,
//! so that at most so many wait here for each.

use std::collections::VecDeque;

use ringmain_engine::types::LogId;

use super::channel::Channel;
use super::link::{Link, Subscribed};
use super::settle::Held;
use crate::broker::command::{Command, Delivery, Outcome};
use crate::broker::context::Context;

/// What one channel holds back.
#[derive(Debug, Default)]
pub struct Surplus {
    /// Unsettled deliveries that all consumers may have together; 0: no limit.
    limit: u32,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    consumer: u64,
    log: LogId,
    delivery: Delivery,
}

impl Surplus {
    /// Whether a channel with so many unsettled deliveries may have no more.
    pub fn is_full(&self, unsettled: u32) -> bool {
        self.limit != 0 && unsettled >= self.limit
    }

    /// What a consumer's queue is told of its limit, when `prefetch` is its own.
    pub fn limit_of(&self, prefetch: u32) -> u32 {
        match (prefetch, self.limit) {
            (0, limit) => limit,
            (prefetch, 0) => prefetch,
            (prefetch, limit) => prefetch.min(limit),
        }
    }

    /// Holds a delivery back.
    pub fn push(&mut self, consumer: u64, log: LogId, delivery: Delivery) {
        self.waiting.push_back(Waiting { consumer, log, delivery });
    }

    /// Takes out what waits for this consumer.
    pub fn take_of(&mut self, consumer: u64) -> Vec<Held> {
        let (gone, left) =
            std::mem::take(&mut self.waiting).into_iter().partition(|w| w.consumer == consumer);
        self.waiting = left;
        VecDeque::into_iter(gone).map(|waiting| waiting.held()).collect()
    }

    /// Takes out everything.
    pub fn take_all(&mut self) -> Vec<Held> {
        std::mem::take(&mut self.waiting).into_iter().map(|waiting| waiting.held()).collect()
    }
}

impl Waiting {
    fn held(&self) -> Held {
        Held { log: self.log, offset: self.delivery.offset, consumed: true }
    }
}

impl Channel {
    /// `basic.qos` with `global`: for all consumers of the channel together.
    pub(super) fn limit_all(&mut self, limit: u32, link: &mut Link, cx: &mut Context<'_>) {
        self.surplus.limit = limit;
        for ticket in self.consumers.values() {
            let Some(Subscribed { log, prefetch, settles: true, .. }) = link.consumer(*ticket) else {
                continue;
            };
            let limit = self.surplus.limit_of(*prefetch);
            link.tell(Command::SetLimit { log: *log, consumer: *ticket, limit }, cx);
        }
        self.release(link);
    }

    /// Sends what was held back, as far as there is room now.
    pub(super) fn release(&mut self, link: &mut Link) {
        while !self.surplus.is_full(self.unacked.consumed()) {
            let Some(Waiting { consumer, log, delivery }) = self.surplus.waiting.pop_front() else { return };
            match link.consumer(consumer).cloned() {
                Some(subscribed) => self.deliver(consumer, &subscribed, delivery, link),
                None => {
                    let held = Held { log, offset: delivery.offset, consumed: true };
                    link.settlements.add(held, Outcome::Requeue);
                }
            }
        }
    }

    /// The consumer has ended: what waits for it goes back.
    pub(super) fn return_surplus(&mut self, consumer: u64, link: &mut Link) {
        for held in self.surplus.take_of(consumer) {
            link.settlements.add(held, Outcome::Requeue);
        }
    }
}
