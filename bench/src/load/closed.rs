//! A connection that always has `in_flight` requests waiting: how much the broker takes.
//!
//! In: a lane. Out: its latencies, each from send to answer. Never: waits for anything but an answer, so the
//! latencies of a broker that stalls look better here than a user's would.
//!
//! A ring of `in_flight` copies of the frame; request `n` is copy `n % in_flight` with correlation `n`.
//! `answered <= sent <= answered + in_flight`.

use std::time::Instant;

use super::{Lane, Outcome};
use crate::failure::Failure;
use crate::histogram::Latencies;
use crate::kafka;

struct Window<'a> {
    lane: Lane<'a>,
    frames: Vec<u8>,
    /// When request `n` was sent, at `n % in_flight`.
    sent_at: Vec<Instant>,
    sent: usize,
    answered: usize,
}

/// Sends for the lane's time, then waits for what is still in flight.
pub fn drive(lane: Lane<'_>) -> Result<Outcome, Failure> {
    let begin = Instant::now();
    let frames = lane.frame.repeat(lane.in_flight);
    let sent_at = vec![begin; lane.in_flight];
    let mut window = Window { lane, frames, sent_at, sent: 0, answered: 0 };
    let mut latencies = Latencies::new();
    while begin.elapsed() < window.lane.time {
        window.lane.interrupt.check()?;
        window.fill()?;
        window.take_answers(&mut latencies)?;
    }
    while window.answered < window.sent {
        window.take_answers(&mut latencies)?;
    }
    Ok(Outcome { latencies, elapsed: begin.elapsed() })
}

impl Window<'_> {
    /// Fills the window in at most two pieces: to the end of the ring, and from its start.
    fn fill(&mut self) -> Result<(), Failure> {
        let (in_flight, frame_bytes) = (self.lane.in_flight, self.lane.frame.len());
        while self.sent < self.answered + in_flight {
            let first = self.sent % in_flight;
            let count = (self.answered + in_flight - self.sent).min(in_flight - first);
            let now = Instant::now();
            for place in first..first + count {
                self.sent_at[place] = now;
                let frame = &mut self.frames[place * frame_bytes..(place + 1) * frame_bytes];
                kafka::patch(frame, (self.sent + place - first) as i32);
            }
            self.lane.connection.send(&self.frames[first * frame_bytes..(first + count) * frame_bytes])?;
            self.sent += count;
        }
        Ok(())
    }

    /// Waits for one answer and takes those that came with it.
    fn take_answers(&mut self, latencies: &mut Latencies) -> Result<(), Failure> {
        loop {
            self.lane.acknowledged(self.answered as i32)?;
            latencies.record(self.sent_at[self.answered % self.lane.in_flight].elapsed());
            self.answered += 1;
            if self.answered == self.sent || !self.lane.connection.has_answer() {
                return Ok(());
            }
        }
    }
}
