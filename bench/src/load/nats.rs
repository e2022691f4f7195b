//! The NATS side of a lane: JetStream publishes in a window, deliveries with acknowledgements.
//!
//! In: messages. Out: lines, a tally. Never: counts a publish that the stream did not acknowledge, or a delivery out
//! of order.

use std::collections::BTreeSet;
use std::time::Instant;

use super::drive::Client;
use super::tally::{Answer, Tally};
use super::window::Window;
use crate::failure::Failure;
use crate::wire::nats;

/// Publishes to one stream.
pub struct Publisher {
    window: Window,
    early: BTreeSet<u64>,
    /// Answers owed to the server's pings; they go out between two publishes.
    pongs: u64,
    /// Bytes sent of the answer that is going out, if one is.
    pong_sent: Option<usize>,
}

impl Publisher {
    pub fn new(window: Window) -> Publisher {
        Publisher { window, early: BTreeSet::new(), pongs: 0, pong_sent: None }
    }
}

impl Client for Publisher {
    fn output(&mut self, now: Instant) -> &[u8] {
        if self.pong_sent.is_none() && self.pongs > 0 && self.window.is_between_requests() {
            self.pongs -= 1;
            self.pong_sent = Some(0);
        }
        match self.pong_sent {
            Some(sent) => nats::PONG.as_bytes().get(sent..).unwrap_or_default(),
            None => self.window.output(now),
        }
    }

    fn sent(&mut self, count: usize) {
        match self.pong_sent.take() {
            Some(sent) if sent + count < nats::PONG.len() => self.pong_sent = Some(sent + count),
            Some(_) => {}
            None => self.window.sent(count),
        }
    }

    fn receive(&mut self, input: &[u8], now: Instant, tally: &mut Tally) -> Result<usize, Failure> {
        let mut taken = 0;
        while let Some((length, message)) = nats::front(&input[taken..])? {
            taken += length;
            match message.verb {
                "PING" => self.pongs += 1,
                "-ERR" => return Err(Failure::Broker(format!("the server says {}", message.subject))),
                _ => {}
            }
            let Some(number) = nats::number_of(message.subject).filter(|_| message.verb == "MSG") else {
                continue;
            };
            if message.payload.windows(7).any(|word| word == b"\"error\"") {
                let answer = String::from_utf8_lossy(message.payload);
                return Err(Failure::Broker(format!("a publish was refused: {answer}")));
            }
            self.early.insert(number);
            while self.window.waiting().is_some_and(|waiting| self.early.remove(&waiting)) {
                self.window.answered(now, tally);
            }
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

/// Takes deliveries of one push consumer.
pub struct Consumer {
    output: Vec<u8>,
    sent: usize,
    delivered: u64,
    count: Option<u64>,
    /// What was published; none where others filled the stream.
    body: Option<Vec<u8>>,
    last: Instant,
    stopping: bool,
}

impl Consumer {
    pub fn new(count: Option<u64>, body: Option<Vec<u8>>) -> Consumer {
        let last = Instant::now();
        Consumer { output: Vec::new(), sent: 0, delivered: 0, count, body, last, stopping: false }
    }

    fn send(&mut self, line: &str) {
        if self.sent == self.output.len() {
            self.output.clear();
            self.sent = 0;
        }
        self.output.extend(line.bytes());
    }
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
        while let Some((length, message)) = nats::front(&input[taken..])? {
            taken += length;
            match message.verb {
                "PING" => self.send(nats::PONG),
                "-ERR" => return Err(Failure::Broker(format!("the server says {}", message.subject))),
                _ => {}
            }
            if message.verb != "MSG" || message.reply.is_empty() {
                continue;
            }
            // $JS.ACK.<stream>.<consumer>.<delivered>.<stream sequence>.<consumer sequence>.<time>.<pending>
            let sequence = message.reply.split('.').nth(6).and_then(|word| word.parse::<u64>().ok());
            if sequence != Some(self.delivered + 1) {
                let reason = format!("consuming: delivery {sequence:?} came behind {}", self.delivered);
                return Err(Failure::Broker(reason));
            }
            if self.body.as_deref().is_some_and(|body| body != message.payload) {
                let reason = format!("consuming: message {sequence:?} is not what was published");
                return Err(Failure::Broker(reason));
            }
            self.delivered += 1;
            let bytes = message.payload.len() as u64;
            tally.answered(Answer { due: self.last, sent: self.last, records: 1, bytes }, now);
            self.last = now;
            self.send(&format!("PUB {} 0\r\n\r\n", message.reply));
            self.stopping |= self.count.is_some_and(|count| self.delivered >= count);
        }
        Ok(taken)
    }

    fn next_due(&self) -> Option<Instant> {
        None
    }

    fn stop(&mut self) {
        self.stopping = true;
    }

    fn give_up(&mut self, _now: Instant, _tally: &mut Tally) {}

    fn is_done(&self) -> bool {
        self.stopping && self.sent == self.output.len()
    }
}
