//! A connection that sends at planned times, whatever the broker does: what a user would see.
//!
//! In: a lane, the time between two requests. Out: its latencies, each from the planned time to the answer, so
//! that a stall counts for every request that should have been sent meanwhile. Never: skips a planned request.
//!
//! One thread sends, this one takes the answers; between them goes the planned time of each request, through a
//! bounded channel that keeps at most `in_flight` waiting.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use super::{Lane, Outcome};
use crate::failure::Failure;
use crate::histogram::Latencies;
use crate::interrupt::Interrupt;
use crate::kafka::{self, Sender};

struct Plan {
    begin: Instant,
    pace: Duration,
    requests_count: u32,
}

/// Sends one request every `pace`, the first after `shift`, for the lane's time.
pub fn drive(mut lane: Lane<'_>, pace: Duration, shift: Duration) -> Result<Outcome, Failure> {
    let requests_count = (lane.time.as_secs_f64() / pace.as_secs_f64()).ceil() as u32;
    let plan = Plan { begin: Instant::now() + shift, pace, requests_count };
    let begin = plan.begin;
    let sender = lane.connection.sender()?;
    let (frame, interrupt) = (std::mem::take(&mut lane.frame), lane.interrupt);
    // The request whose answer is being waited for has left the channel, so the channel is one shorter.
    let (planned, due) = sync_channel(lane.in_flight - 1);
    let mut latencies = Latencies::new();
    std::thread::scope(|scope| {
        let sending = scope.spawn(move || send(sender, frame, &plan, &planned, interrupt));
        let mut outcome = Ok(());
        for (number, due) in due.into_iter().enumerate() {
            outcome = lane.acknowledged(number as i32);
            if outcome.is_err() {
                break;
            }
            latencies.record(due.elapsed());
        }
        outcome.and(sending.join().unwrap_or(Err(Failure::Interrupted)))
    })?;
    Ok(Outcome { latencies, elapsed: begin.elapsed() })
}

/// Sends each request at its time, or as soon after it as the window has room.
fn send(
    mut sender: Sender,
    mut frame: Vec<u8>,
    plan: &Plan,
    planned: &SyncSender<Instant>,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    for number in 0..plan.requests_count {
        interrupt.check()?;
        let due = plan.begin + plan.pace.mul_f64(f64::from(number));
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if planned.send(due).is_err() {
            // The other side has failed and says why.
            return Ok(());
        }
        kafka::patch(&mut frame, number as i32);
        sender.send(&frame)?;
    }
    Ok(())
}
