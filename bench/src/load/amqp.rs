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
#[derive(Clone, Debug)]
pub struct Reading {
    /// Deliveries acknowledged at once.
    pub ack_every: u64,
    /// What was published, but for the number in its first eight bytes; none where others filled the queue.
    pub body: Option<Vec<u8>>,
    /// Deliveries after which there are no more, if that is known.
    pub count: Option<u64>,
    /// When each message was planned to be published.
    pub planned: Option<Plan>,
}

/// The delivery that is coming in. `taken <= body_bytes`.
#[derive(Clone, Copy, Debug)]
struct Coming {
    tag: u64,
    /// As the header says, once it is there.
    body_bytes: Option<u64>,
    taken: u64,
    /// The first bytes of the body: the number its publisher gave it.
    number: Option<u64>,
}

/// Takes deliveries of one queue.
pub struct Consumer {
    reading: Reading,
    output: Vec<u8>,
    sent: usize,
    /// Deliveries taken as a whole.
    delivered: u64,
    coming: Option<Coming>,
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
                self.coming = tag.map(|tag| Coming { tag, body_bytes: None, taken: 0, number: None });
            }
            (_, Some(amqp::CONNECTION_CLOSE | amqp::CHANNEL_CLOSE)) => return Err(amqp::closed(frame)),
            (amqp::HEADER, _) => self.header(frame, now, tally)?,
            (amqp::BODY, _) => self.body(frame.payload, now, tally)?,
            _ => {}
        }
        Ok(())
    }

    fn header(&mut self, frame: &Frame<'_>, now: Instant, tally: &mut Tally) -> Result<(), Failure> {
        // Class and weight lie in front, as class and method do in a method frame.
        let body_bytes = Fields::behind_method(frame).u64();
        let (Some(coming), Some(body_bytes)) = (&mut self.coming, body_bytes) else {
            return Err(wrong("a header came without a delivery"));
        };
        let expected = self.reading.body.as_ref().map(|body| body.len() as u64);
        if expected.is_some_and(|expected| expected != body_bytes) {
            return Err(wrong(&format!("a body has {body_bytes} bytes where {expected:?} were published")));
        }
        coming.body_bytes = Some(body_bytes);
        let coming = *coming;
        if body_bytes == 0 { self.whole(coming, now, tally) } else { Ok(()) }
    }

    fn body(&mut self, piece: &[u8], now: Instant, tally: &mut Tally) -> Result<(), Failure> {
        let Some(mut coming) = self.coming else { return Err(wrong("a body came without a delivery")) };
        if coming.taken == 0 {
            coming.number = piece.first_chunk().map(|bytes| u64::from_be_bytes(*bytes));
        }
        if let Some(body) = &self.reading.body {
            // The first piece has the number in front, which the order of deliveries checks.
            let skip = if coming.taken == 0 { 8.min(piece.len()) } else { 0 };
            let from = coming.taken as usize;
            let same = body.get(from..).and_then(|rest| rest.get(..piece.len()));
            if same.is_none_or(|same| same[skip..] != piece[skip..]) {
                return Err(wrong(&format!("message {:?} is not what was published", coming.number)));
            }
        }
        coming.taken += piece.len() as u64;
        self.coming = Some(coming);
        match coming.body_bytes {
            Some(body_bytes) if coming.taken == body_bytes => self.whole(coming, now, tally),
            Some(body_bytes) if coming.taken < body_bytes => Ok(()),
            _ => Err(wrong("a body is longer than its header says")),
        }
    }

    fn whole(&mut self, coming: Coming, now: Instant, tally: &mut Tally) -> Result<(), Failure> {
        let Coming { tag, number, taken: bytes, .. } = coming;
        self.coming = None;
        self.delivered += 1;
        if self.reading.body.is_some() && number <= self.last_number {
            return Err(wrong(&format!("message {number:?} came behind {:?}", self.last_number)));
        }
        self.last_number = number;
        let due = match (self.reading.planned, number) {
            (Some(plan), Some(number)) => plan.due(number),
            _ => self.last,
        };
        self.last = now;
        tally.answered(Answer { due, sent: due, records: 1, bytes }, now);
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
