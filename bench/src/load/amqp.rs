//! The AMQP side of a lane: publishes with confirms in a window, deliveries with acknowledgements.
//!
//! In: frames. Out: frames, a tally. Never: counts a publish without its confirm, or a delivery that is not whole,
//! not of the length expected, or not behind the one before it.

use std::time::Instant;

use super::drive::Client;
use super::plan::Plan;
use super::tally::{Answer, Tally};
use super::window::Window;
use crate::failure::Failure;
use crate::wire::amqp::{self, Fields, Frame};

/// Publishes to one queue.
pub struct Publisher {
    window: Window,
    /// Confirms beyond the oldest that waits: brokers may confirm out of order.
    early: std::collections::BTreeSet<u64>,
}

impl Publisher {
    /// `window` holds whole publishes; the confirm of request `n` has tag `n + 1`.
    pub fn new(window: Window) -> Publisher {
        Publisher { window, early: std::collections::BTreeSet::new() }
    }

    fn confirmed(&mut self, tag: u64, multiple: bool, now: Instant, tally: &mut Tally) {
        if !multiple {
            self.early.insert(tag);
        }
        while let Some(waiting) = self.window.waiting() {
            let next = waiting + 1;
            let confirmed = (multiple && next <= tag) || self.early.remove(&next);
            if !confirmed {
                break;
            }
            self.window.answered(now, tally);
        }
    }
}

impl Client for Publisher {
    fn output(&mut self, now: Instant) -> &[u8] {
        self.window.output(now)
    }

    fn sent(&mut self, count: usize) {
        self.window.sent(count);
    }

    fn receive(&mut self, input: &[u8], now: Instant, tally: &mut Tally) -> Result<usize, Failure> {
        let mut taken = 0;
        while let Some((length, frame)) = amqp::front(&input[taken..])? {
            let mut fields = Fields::behind_method(&frame);
            match frame.method() {
                Some(amqp::ACK) => match (fields.u64(), fields.u8()) {
                    (Some(tag), Some(bits)) => self.confirmed(tag, bits & 1 == 1, now, tally),
                    _ => return Err(Failure::Broker("a confirm is cut short".to_owned())),
                },
                Some(amqp::NACK) => {
                    return Err(Failure::Broker("the broker refused a publish (nack)".to_owned()));
                }
                Some(amqp::CONNECTION_CLOSE | amqp::CHANNEL_CLOSE) => return Err(amqp::closed(&frame)),
                _ => {}
            }
            taken += length;
        }
        Ok(taken)
    }

    fn next_due(&self) -> Option<Instant> {
        self.window.next_due()
    }

    fn stop(&mut self) {
        self.window.stop();
    }

    fn give_up(&mut self, now: Instant, tally: &mut Tally) {
        self.window.give_up(now, tally);
    }

    fn is_done(&self) -> bool {
        self.window.is_done()
    }
}

/// How a consumer reads.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// Deliveries acknowledged at once.
    pub ack_every: u64,
    pub body_bytes: u64,
    /// Deliveries after which there are no more, if that is known.
    pub count: Option<u64>,
    /// When each message was planned to be published.
    pub planned: Option<Plan>,
}

/// Takes deliveries of one queue.
pub struct Consumer {
    reading: Reading,
    output: Vec<u8>,
    sent: usize,
    /// Deliveries taken as a whole.
    delivered: u64,
    /// Tag of the delivery that is coming in, and how many bytes of its body are still to come.
    coming: Option<(u64, u64)>,
    /// The first bytes of the body that is coming in: the number its publisher gave it.
    number: Option<u64>,
    last_number: Option<u64>,
    /// When the last delivery came, from which the next is counted where there is no plan.
    last: Instant,
    stopping: bool,
}

impl Consumer {
    pub fn new(reading: Reading) -> Consumer {
        Consumer {
            reading,
            output: Vec::new(),
            sent: 0,
            delivered: 0,
            coming: None,
            number: None,
            last_number: None,
            last: Instant::now(),
            stopping: false,
        }
    }

    fn take(&mut self, frame: &Frame<'_>, now: Instant, tally: &mut Tally) -> Result<(), Failure> {
        match (frame.kind, frame.method()) {
            (_, Some(amqp::DELIVER)) => {
                let mut fields = Fields::behind_method(frame);
                let (_consumer, tag) = (fields.short_string(), fields.u64());
                if self.coming.is_some() || tag != Some(self.delivered + 1) {
                    return Err(wrong(&format!("delivery {tag:?} came behind {}", self.delivered)));
                }
                self.coming = tag.map(|tag| (tag, self.reading.body_bytes));
                self.number = None;
            }
            (_, Some(amqp::CONNECTION_CLOSE | amqp::CHANNEL_CLOSE)) => return Err(amqp::closed(frame)),
            (amqp::BODY, _) => self.body(frame.payload, now, tally)?,
            _ => {}
        }
        Ok(())
    }

    fn body(&mut self, piece: &[u8], now: Instant, tally: &mut Tally) -> Result<(), Failure> {
        let Some((tag, left)) = self.coming else { return Err(wrong("a body came without a delivery")) };
        if self.number.is_none() {
            self.number = piece.first_chunk().map(|bytes| u64::from_be_bytes(*bytes));
        }
        match left.checked_sub(piece.len() as u64) {
            Some(0) => self.whole(tag, now, tally),
            Some(left) => {
                self.coming = Some((tag, left));
                Ok(())
            }
            None => Err(wrong("a body is longer than it was published")),
        }
    }

    fn whole(&mut self, tag: u64, now: Instant, tally: &mut Tally) -> Result<(), Failure> {
        self.coming = None;
        self.delivered += 1;
        if self.number.is_some() && self.number <= self.last_number {
            return Err(wrong(&format!("message {:?} came behind {:?}", self.number, self.last_number)));
        }
        self.last_number = self.number;
        let due = match (self.reading.planned, self.number) {
            (Some(plan), Some(number)) => plan.due(number),
            _ => self.last,
        };
        self.last = now;
        tally.answered(Answer { due, sent: due, records: 1, bytes: self.reading.body_bytes }, now);
        let all = self.reading.count.is_some_and(|count| self.delivered >= count);
        if all || self.delivered.is_multiple_of(self.reading.ack_every) {
            if self.sent == self.output.len() {
                self.output.clear();
                self.sent = 0;
            }
            self.output.extend(amqp::ack(tag, self.reading.ack_every > 1));
        }
        self.stopping |= all;
        Ok(())
    }
}

fn wrong(what: &str) -> Failure {
    Failure::Broker(format!("consuming: {what}"))
}

impl Client for Consumer {
    fn output(&mut self, _now: Instant) -> &[u8] {
        self.output.get(self.sent..).unwrap_or_default()
    }

    fn sent(&mut self, count: usize) {
        self.sent += count;
    }

    fn receive(&mut self, input: &[u8], now: Instant, tally: &mut Tally) -> Result<usize, Failure> {
        let mut taken = 0;
        while let Some((length, frame)) = amqp::front(&input[taken..])? {
            self.take(&frame, now, tally)?;
            taken += length;
        }
        Ok(taken)
    }

    fn next_due(&self) -> Option<Instant> {
        None
    }

    fn stop(&mut self) {
        self.stopping |= self.reading.planned.is_none();
    }

    fn give_up(&mut self, now: Instant, tally: &mut Tally) {
        if let (Some(plan), Some(count)) = (self.reading.planned.take(), self.reading.count) {
            (self.delivered..count).for_each(|number| tally.gave_up(plan.due(number), now));
        }
        self.stopping = true;
    }

    fn is_done(&self) -> bool {
        self.stopping && self.sent == self.output.len()
    }
}
