//! The Kafka side of a lane: produces in a window, fetches that check what they get.
//!
//! In: answers. Out: requests, a tally. Never: counts a batch that was refused, or a record whose batch has a wrong
//! checksum or another offset than the next.

use std::time::Instant;

use ringmain_engine::format::batch;

use super::drive::Client;
use super::plan::Plan;
use super::tally::{Answer, Tally};
use super::window::Window;
use crate::failure::Failure;
use crate::wire::kafka::{self, Fetched};

/// Produces of one batch to one partition.
pub struct Producer {
    window: Window,
    topic: String,
}

impl Producer {
    /// `window` holds whole produce frames, patched with their number as correlation id.
    pub fn new(window: Window, topic: &str) -> Producer {
        Producer { window, topic: topic.to_owned() }
    }
}

impl Client for Producer {
    fn output(&mut self, now: Instant) -> &[u8] {
        self.window.output(now)
    }

    fn sent(&mut self, count: usize) {
        self.window.sent(count);
    }

    fn receive(&mut self, input: &[u8], now: Instant, tally: &mut Tally) -> Result<usize, Failure> {
        let mut taken = 0;
        while let Some((length, mut answer)) = kafka::front(&input[taken..])? {
            kafka::expect_correlation(&mut answer, self.window.waiting().map(|number| number as i32))?;
            match answer.produced() {
                Some((0, _)) => self.window.answered(now, tally),
                found => return Err(kafka::refused(&self.topic, found.map(|(error, _)| error))),
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

/// What a consumer reads and when it ends.
pub struct Reading {
    pub topic: String,
    pub partition: i32,
    pub from: i64,
    pub fetch_bytes: i32,
    /// Offset to begin again at `from` when it is reached, if what is there is read again and again.
    pub again_at: Option<i64>,
    /// When each batch was planned to be produced: the latencies are then from that time to its arrival.
    pub planned: Option<Planned>,
}

/// What is produced while it is read.
#[derive(Clone, Copy)]
pub struct Planned {
    pub plan: Plan,
    pub records_per_request: u64,
    pub requests: u64,
}

/// Fetches of one partition, one at a time.
pub struct Consumer {
    reading: Reading,
    next: i64,
    request: Vec<u8>,
    sent: usize,
    /// When the fetch in flight was made, if one is.
    asked: Option<Instant>,
    stopping: bool,
    correlation: i32,
}

impl Consumer {
    /// Begins at `reading.from`.
    pub fn new(reading: Reading) -> Consumer {
        let next = reading.from;
        Consumer { reading, next, request: Vec::new(), sent: 0, asked: None, stopping: false, correlation: 0 }
    }

    /// Checks the batches of one answer one after the other.
    fn check(
        &mut self,
        records: &[u8],
        now: Instant,
        asked: Instant,
        tally: &mut Tally,
    ) -> Result<(), Failure> {
        let mut rest = records;
        while let Some(length) = kafka::batch_length(rest) {
            let Some((front, behind)) = rest.split_at_checked(length) else { break };
            let header =
                batch::check(front).map_err(|error| self.wrong(&format!("a batch is damaged: {error:?}")))?;
            let (base, count) = (header.base_offset.get(), i64::from(header.records_count.get()));
            let end = base + i64::from(header.last_offset_delta.get()) + 1;
            // A fetch from the middle of a batch gets the whole of it.
            if base > self.next || end <= base {
                return Err(self.wrong(&format!("offset {base} came where {} was expected", self.next)));
            }
            let due = match self.reading.planned {
                Some(planned) => planned.plan.due(self.request_at(base, planned)),
                None => asked,
            };
            tally.answered(Answer { due, sent: asked, records: count as u64, bytes: length as u64 }, now);
            self.next = end;
            rest = behind;
        }
        Ok(())
    }

    /// Which request produced what is at `offset`.
    fn request_at(&self, offset: i64, planned: Planned) -> u64 {
        (offset - self.reading.from).max(0) as u64 / planned.records_per_request.max(1)
    }

    /// Whether all that is planned has been read.
    fn has_all(&self) -> bool {
        self.reading.planned.is_none_or(|planned| self.request_at(self.next, planned) >= planned.requests)
    }

    fn wrong(&self, what: &str) -> Failure {
        let Reading { topic, partition, .. } = &self.reading;
        Failure::Broker(format!("reading partition {partition} of {topic}: {what}"))
    }
}

impl Client for Consumer {
    fn output(&mut self, now: Instant) -> &[u8] {
        if self.asked.is_none() && !(self.stopping && self.has_all()) {
            self.correlation = self.correlation.wrapping_add(1);
            let Reading { topic, partition, fetch_bytes, .. } = &self.reading;
            self.request = kafka::fetch(topic, *partition, self.next, *fetch_bytes, self.correlation);
            self.sent = 0;
            self.asked = Some(now);
        }
        self.request.get(self.sent..).unwrap_or_default()
    }

    fn sent(&mut self, count: usize) {
        self.sent += count;
    }

    fn receive(&mut self, input: &[u8], now: Instant, tally: &mut Tally) -> Result<usize, Failure> {
        let Some((length, mut answer)) = kafka::front(input)? else { return Ok(0) };
        let asked = self.asked.take();
        kafka::expect_correlation(&mut answer, asked.map(|_| self.correlation))?;
        match answer.fetched() {
            Some(Fetched { error: 0, records }) => self.check(records, now, asked.unwrap_or(now), tally)?,
            Some(Fetched { error, .. }) => return Err(self.wrong(&format!("Kafka error code {error}"))),
            None => return Err(self.wrong("the answer is cut short")),
        }
        if self.reading.again_at.is_some_and(|end| self.next >= end) {
            self.next = self.reading.from;
        }
        Ok(length)
    }

    fn next_due(&self) -> Option<Instant> {
        None
    }

    fn stop(&mut self) {
        self.stopping = true;
    }

    fn give_up(&mut self, now: Instant, tally: &mut Tally) {
        if let Some(planned) = self.reading.planned.take() {
            let missing = self.request_at(self.next, planned)..planned.requests;
            missing.for_each(|number| tally.gave_up(planned.plan.due(number), now));
        }
    }

    fn is_done(&self) -> bool {
        self.stopping && self.has_all() && self.asked.is_none()
    }
}
