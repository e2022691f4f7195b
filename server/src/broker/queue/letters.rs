//! Records on their way to the dead letters: they stay held, by the dead-letter agent, until it settles them.
//!
//! In: discards. Out: records with a reason. Never: knows where dead letters go.
//!
//! ```text
//!   discarded by a consumer --> doomed --(read)--> in care --Accept--> settled
//!   expired or too many at the head --------------^   \----Requeue--> back in the queue
//! ```

use std::collections::BTreeMap;

use ringmain_engine::types::Offset;

use super::subscription::{Head, Holder};
use super::window::{Place, Window};
use super::{Queue, QueueOutput};
use crate::broker::command::{DeathReason, Delivery, Outcome, SessionId};

/// Who holds dead letters, and in whose name the agent settles them. No session has this id: there is no such
/// core.
pub const DEAD_LETTER_AGENT: SessionId = SessionId { core: u16::MAX, slot: 0, generation: 0 };
const AGENT: Holder = Holder { session: DEAD_LETTER_AGENT, consumer: 0 };
/// Records in the agent's care at a time.
pub const IN_CARE_MAX: u64 = 512;

/// Every record here is held by [`DEAD_LETTER_AGENT`], and the other way round.
#[derive(Debug, Default)]
pub struct Letters {
    /// Discarded, and not read again yet.
    doomed: BTreeMap<Offset, DeathReason>,
    pub window: Window,
    /// With the agent.
    in_care: u64,
    outgoing: Vec<(DeathReason, Vec<Delivery>)>,
}

impl Letters {
    /// Records held for the agent.
    pub fn count(&self) -> u64 {
        self.doomed.len() as u64 + self.in_care
    }

    /// Whether the agent may be given another.
    pub fn has_room(&self) -> bool {
        self.in_care < IN_CARE_MAX
    }

    /// The record to be read next, if it is not there.
    pub fn wanted(&self) -> Option<Offset> {
        let (offset, _) = self.doomed.first_key_value()?;
        (self.has_room() && !self.window.covers(*offset)).then_some(*offset)
    }

    /// Hands over what goes to the agent in this turn.
    pub fn take_outgoing(&mut self, out: &mut QueueOutput) {
        out.dead_letters.append(&mut self.outgoing);
        out.broken_batches += self.window.take_broken();
    }

    fn send(&mut self, reason: DeathReason, delivery: Delivery) {
        self.in_care += 1;
        match self.outgoing.last_mut() {
            Some((last, letters)) if *last == reason => letters.push(delivery),
            _ => self.outgoing.push((reason, vec![delivery])),
        }
    }
}

impl Queue {
    /// A record somebody held is done with.
    pub(super) fn discard(&mut self, offset: Offset, reason: DeathReason) {
        if self.settings.dead_letters && offset >= self.log_start {
            self.shared.pass_on(offset, AGENT);
            self.letters.doomed.insert(offset, reason);
        } else {
            self.shared.settle_held(offset);
        }
    }

    /// The head, whose record is `delivery`, is done with before anybody held it.
    pub(super) fn discard_head(&mut self, head: Head, mut delivery: Delivery, reason: DeathReason) {
        if self.settings.dead_letters {
            delivery.redelivered = self.shared.is_redelivery(head);
            self.shared.hold(head, AGENT);
            self.letters.send(reason, delivery);
        } else {
            self.shared.settle_head(head);
        }
    }

    /// The agent says what became of a letter.
    pub(super) fn settle_letter(&mut self, offset: Offset, outcome: Outcome) {
        if self.letters.doomed.contains_key(&offset) {
            return;
        }
        assert!(self.letters.in_care > 0, "a letter is settled and none is in care");
        self.letters.in_care -= 1;
        match outcome {
            Outcome::Accept | Outcome::Discard => self.shared.settle_held(offset),
            Outcome::Requeue if offset < self.log_start => self.shared.settle_held(offset),
            Outcome::Requeue => {
                self.shared.give_back(offset);
            }
        }
    }

    /// Gives the agent what was discarded, as far as it is read.
    pub(super) fn send_doomed(&mut self) {
        while self.letters.has_room()
            && let Some((&offset, &reason)) = self.letters.doomed.first_key_value()
        {
            match self.letters.window.seek(offset) {
                Place::Unknown => return,
                Place::Gap(_) => self.shared.settle_held(offset),
                Place::Here => {
                    let Some(mut delivery) = self.letters.window.take() else { return };
                    delivery.redelivered = true;
                    self.letters.send(reason, delivery);
                }
            }
            self.letters.doomed.remove(&offset);
        }
        if self.letters.doomed.is_empty() {
            self.letters.window.clear();
        }
    }

    /// The log holds nothing below `log_start`, so there is nothing left to send.
    pub(super) fn forget_doomed_below(&mut self, log_start: Offset) {
        let kept = self.letters.doomed.split_off(&log_start);
        for offset in std::mem::replace(&mut self.letters.doomed, kept).into_keys() {
            self.shared.settle_held(offset);
        }
    }
}
