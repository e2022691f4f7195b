//! The same small records to few logs and to many: how much the number of logs costs.
//!
//! In: shards with logs, how many of them are appended to. Out: what the appends came to, what they had the engine and
//! the device write. Never: one case long after the other: they take turns.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::driver::Driver;
use super::super::flight::{Closed, Flight};
use super::super::pair::batch_of;
use super::population::log;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::raw::traffic::Traffic;

/// Appends in flight.
const WAITING: usize = 256;

/// Appends of records of one size to so many logs of a shard.
pub(super) struct Case {
    pub(super) record_bytes: usize,
    pub(super) active: u64,
    pub(super) open: u64,
    flight: Flight,
    written: Written,
}

/// What was written, and by whose count.
#[derive(Default)]
struct Written {
    journal_bytes: u64,
    settled_bytes: u64,
    /// By the device's own count.
    device_bytes: Option<u64>,
    checkpoints: u64,
}

impl Case {
    /// Nothing measured yet.
    pub(super) fn new(record_bytes: usize, active: u64, open: u64) -> Case {
        let written = Written { device_bytes: Some(0), ..Written::default() };
        Case { record_bytes, active, open, flight: Flight::new(), written }
    }

    /// One window of it.
    pub(super) fn window(
        &mut self,
        driver: &mut Driver,
        traffic: &Traffic,
        time: Duration,
        interrupt: &Interrupt,
    ) -> Result<(), Failure> {
        let (batch, active) = (batch_of(self.record_bytes), self.active);
        let (before, device_before) = (driver.shard().counts(), traffic.written_bytes());
        self.flight.keep(driver, Closed { waiting: WAITING, time }, interrupt, |_, number| {
            (log(number % active), batch.clone())
        })?;
        let (after, device_after) = (driver.shard().counts(), traffic.written_bytes());
        let written = &mut self.written;
        written.journal_bytes += after.journal.bytes - before.journal.bytes;
        written.settled_bytes += after.settled_bytes - before.settled_bytes;
        written.checkpoints += after.checkpoints - before.checkpoints;
        let device_bytes = device_after.zip(device_before).map(|(after, before)| after - before);
        written.device_bytes = written.device_bytes.zip(device_bytes).map(|(sum, more)| sum + more);
        Ok(())
    }

    /// Records made durable each second.
    pub(super) fn per_second(&self) -> f64 {
        self.flight.per_second()
    }

    fn user_bytes(&self) -> f64 {
        (self.flight.appends * self.record_bytes as u64).max(1) as f64
    }

    /// A line for people, beside what the first case of this size did.
    pub(super) fn line(&self, first: &Case) -> String {
        let (flight, written) = (&self.flight, &self.written);
        let commits = &flight.commits;
        let device = written.device_bytes;
        let device =
            device.map_or("unknown".to_owned(), |bytes| format!("{:.2}", bytes as f64 / self.user_bytes()));
        let per_user_byte = |bytes: u64| bytes as f64 / self.user_bytes();
        let name = format!("{} B, {} of {} logs", self.record_bytes, self.active, self.open);
        let milliseconds = [
            commits.percentile_us(50.0) / 1e3,
            commits.percentile_us(99.0) / 1e3,
            commits.max_us() / 1e3,
            flight.longest_turn.as_secs_f64() * 1e3,
            flight.longest_work.as_secs_f64() * 1e3,
        ];
        let [p50, p99, max, turn, work] = milliseconds;
        format!(
            "{name:<30} {:>9.0} {:>6.2} {p50:>7.2} {p99:>7.1} {max:>6.0} {turn:>6.0} {work:>6.0} {:>8.2} {:>8.2} {device:>8} {:>6}\n",
            self.per_second(),
            self.per_second() / first.per_second(),
            per_user_byte(written.journal_bytes),
            per_user_byte(written.settled_bytes),
            written.checkpoints,
        )
    }

    /// What stands above such lines.
    pub(super) fn heading() -> String {
        let groups = format!(
            "\n{:<46} {:<22} {:<13} {:<26}\n",
            "", "    commit, ms", "longest, ms", "  bytes / user byte"
        );
        let columns = format!(
            "{:<30} {:>9} {:>6} {:>7} {:>7} {:>6} {:>6} {:>6} {:>8} {:>8} {:>8} {:>6}\n",
            "active logs, 256 waiting",
            "records/s",
            "ratio",
            "p50",
            "p99",
            "max",
            "turn",
            "work",
            "journal",
            "segments",
            "device",
            "checks",
        );
        groups + &columns
    }

    /// The same for programs.
    pub(super) fn json(&self, first: &Case) -> Value {
        let (flight, written) = (&self.flight, &self.written);
        json!({
            "record_bytes": self.record_bytes, "active": self.active, "open": self.open,
            "records_per_second": self.per_second(), "ratio": self.per_second() / first.per_second(),
            "seconds": flight.time.as_secs_f64(), "records": flight.appends,
            "p50_us": flight.commits.percentile_us(50.0), "p99_us": flight.commits.percentile_us(99.0),
            "max_us": flight.commits.max_us(),
            "longest_turn_us": flight.longest_turn.as_micros() as u64,
            "longest_work_us": flight.longest_work.as_micros() as u64,
            "journal_bytes": written.journal_bytes, "settled_bytes": written.settled_bytes,
            "checkpoints": written.checkpoints, "device_bytes": written.device_bytes,
            "device_bytes_per_user_byte": written.device_bytes.map(|bytes| bytes as f64 / self.user_bytes()),
        })
    }
}
