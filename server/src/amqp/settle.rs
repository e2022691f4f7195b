//! Deliveries that wait for the peer's verdict, and verdicts on their way to the queues.
//!
//! In: deliveries as they are handed out, then acks, nacks and rejects by delivery tag. Out: ranges of offsets
//! per log and outcome. Never: settles a delivery twice.
//!
//! Invariant: every tag in `open` is below `next_tag`; tags are given once.

use std::collections::BTreeMap;
use std::ops::Range;

use ringmain_engine::types::{LogId, Offset};

use super::channel::Channel;
use super::error::AmqpError;
use super::link::Link;
use super::wire::method::Method;
use crate::broker::command::{Command, Outcome};
use crate::broker::context::Context;

/// Which record a delivery was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held {
    pub log: LogId,
    pub offset: Offset,
    /// It came to a consumer, so it counts for the channel's limit.
    pub consumed: bool,
}

/// The delivery tags of one channel.
#[derive(Debug)]
pub struct Unacked {
    next_tag: u64,
    open: BTreeMap<u64, Held>,
    /// How many of `open` came to consumers.
    consumed: u32,
}

impl Default for Unacked {
    fn default() -> Unacked {
        Unacked { next_tag: 1, open: BTreeMap::new(), consumed: 0 }
    }
}

impl Unacked {
    /// The tag of the next delivery, which is settled already.
    pub fn pass(&mut self) -> u64 {
        let tag = self.next_tag;
        self.next_tag += 1;
        tag
    }

    /// The tag of the next delivery, which waits for its verdict.
    pub fn hold(&mut self, held: Held) -> u64 {
        let tag = self.pass();
        self.open.insert(tag, held);
        self.consumed += u32::from(held.consumed);
        tag
    }

    /// How many deliveries to consumers wait for a verdict.
    pub fn consumed(&self) -> u32 {
        self.consumed
    }

    /// The one delivery with this tag. 406 if there is none.
    pub fn take(&mut self, tag: u64) -> Result<Held, AmqpError> {
        let held = self.open.remove(&tag).ok_or_else(|| unknown(tag))?;
        self.consumed -= u32::from(held.consumed);
        Ok(held)
    }

    /// All deliveries up to and with this tag; 0: all. 406 if there is no such delivery.
    pub fn take_up_to(&mut self, tag: u64) -> Result<Vec<Held>, AmqpError> {
        if tag == 0 {
            return Ok(self.take_all());
        }
        if !self.open.contains_key(&tag) {
            return Err(unknown(tag));
        }
        let rest = self.open.split_off(&(tag + 1));
        let taken: Vec<Held> = std::mem::replace(&mut self.open, rest).into_values().collect();
        self.consumed -= taken.iter().filter(|held| held.consumed).count() as u32;
        Ok(taken)
    }

    /// Everything that waits for a verdict, oldest first.
    pub fn take_all(&mut self) -> Vec<Held> {
        self.consumed = 0;
        std::mem::take(&mut self.open).into_values().collect()
    }
}

fn unknown(tag: u64) -> AmqpError {
    AmqpError::precondition(format!("unknown delivery tag {tag}"))
}

impl Channel {
    /// `basic.ack`, `basic.nack`, `basic.reject`.
    pub(super) fn settle(
        &mut self,
        tag: u64,
        multiple: bool,
        outcome: Outcome,
        link: &mut Link,
    ) -> Result<(), AmqpError> {
        if multiple {
            for held in self.unacked.take_up_to(tag)? {
                link.settlements.add(held, outcome);
            }
        } else {
            link.settlements.add(self.unacked.take(tag)?, outcome);
        }
        self.release(link);
        Ok(())
    }

    /// Puts back everything unsettled, and what was not sent yet.
    pub(super) fn requeue_all(&mut self, link: &mut Link) {
        for held in self.unacked.take_all().into_iter().chain(self.surplus.take_all()) {
            link.settlements.add(held, Outcome::Requeue);
        }
    }

    /// `basic.recover` and `basic.recover-async`: everything unsettled is delivered again.
    pub(super) fn recover(&mut self, requeue: bool, replies: bool, link: &mut Link) -> Result<(), AmqpError> {
        if !requeue {
            return Err(AmqpError::not_implemented("requeue=false"));
        }
        self.requeue_all(link);
        self.reply(replies.then_some(Method::BasicRecoverOk {}), link);
        Ok(())
    }
}

/// Verdicts of one call, gathered so that each queue hears of its own at once.
#[derive(Debug, Default)]
pub struct Settlements(Vec<Settled>);

#[derive(Debug)]
struct Settled {
    log: LogId,
    outcome: Outcome,
    offsets: Vec<Range<Offset>>,
}

impl Settlements {
    /// Adds a verdict.
    pub fn add(&mut self, held: Held, outcome: Outcome) {
        let Held { log, offset, .. } = held;
        let same = |settled: &&mut Settled| settled.log == log && settled.outcome == outcome;
        let Some(settled) = self.0.iter_mut().rev().find(same) else {
            let offsets = std::iter::once(offset..offset + 1).collect();
            self.0.push(Settled { log, outcome, offsets });
            return;
        };
        match settled.offsets.last_mut() {
            Some(range) if range.end == offset => range.end += 1,
            _ => settled.offsets.push(offset..offset + 1),
        }
    }

    /// Tells the queues.
    pub fn flush(&mut self, ticket: u64, cx: &mut Context<'_>) {
        for Settled { log, outcome, offsets } in self.0.drain(..) {
            cx.ask(ticket, Command::Settle { log, offsets, outcome });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(offset: Offset) -> Held {
        Held { log: LogId(256), offset, consumed: true }
    }

    #[test]
    fn a_verdict_on_several_takes_all_up_to_its_tag() {
        let mut unacked = Unacked::default();
        for offset in 10..15 {
            unacked.hold(held(offset));
        }
        assert_eq!(unacked.consumed(), 5);
        assert_eq!(unacked.take(2), Ok(held(11)));
        assert_eq!(unacked.take_up_to(3), Ok(vec![held(10), held(12)]));
        assert!(unacked.take_up_to(3).is_err(), "a tag is settled once");
        assert!(unacked.take(0).is_err());
        assert_eq!(unacked.consumed(), 2);
        assert_eq!(unacked.take_up_to(0), Ok(vec![held(13), held(14)]));
        assert_eq!(unacked.take_up_to(0), Ok(vec![]), "all of nothing is fine");
        assert_eq!(unacked.hold(held(1)), 6);
    }

    #[test]
    fn verdicts_on_neighbours_are_one_range() {
        let mut settlements = Settlements::default();
        for offset in [1, 2, 3, 7] {
            settlements.add(held(offset), Outcome::Accept);
        }
        settlements.add(held(5), Outcome::Requeue);
        settlements.add(held(8), Outcome::Accept);
        assert_eq!(settlements.0.len(), 2);
        assert_eq!(settlements.0[0].offsets, [1..4, 7..9]);
    }
}
