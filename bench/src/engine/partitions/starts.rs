//! Stops and starts of a shard with its logs: after it was told to stop, and after it was killed.
//!
//! In: a shard, its set-up. Out: seconds, bytes of the checkpoint. Never: a start that lost a record.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use ringmain_engine::shard::recover::Report;
use serde_json::{Value, json};

use super::super::driver::{Driver, Setup};
use super::super::flight::{Closed, Flight};
use super::super::pair::batch_of;
use super::population::log;
use crate::failure::Failure;
use crate::interrupt::Interrupt;

/// Appends in flight before the kill.
const WAITING: usize = 256;
const RECORD_BYTES: usize = 1024;

/// How long one shard took.
pub(super) struct Starts {
    pub(super) stop_seconds: f64,
    pub(super) after_stop_seconds: f64,
    pub(super) after_kill_seconds: f64,
    pub(super) checkpoint_bytes: u64,
    /// Frames that the start after the kill read.
    pub(super) journal_bytes: u64,
}

impl Starts {
    /// Stops and starts; then appends to `active` logs for `time`, kills and starts again.
    pub(super) fn measure(
        driver: Driver,
        setup: Setup,
        (logs, active): (u64, u64),
        time: Duration,
        interrupt: &Interrupt,
    ) -> Result<Starts, Failure> {
        let mut driver = driver;
        let records = records(&mut driver, logs);
        let begin = Instant::now();
        let directory = driver.stop(interrupt)?;
        let stop_seconds = begin.elapsed().as_secs_f64();
        let begin = Instant::now();
        let (mut driver, report) = Driver::open_in(directory, setup)?;
        let after_stop_seconds = begin.elapsed().as_secs_f64();
        check(&mut driver, logs, records, &report)?;
        let checkpoint_bytes = bytes_in(&driver.path().join("state"))?;
        let (batch, mut flight) = (batch_of(RECORD_BYTES), Flight::new());
        flight.keep(&mut driver, Closed { waiting: WAITING, time }, interrupt, |_, number| {
            (log(number % active), batch.clone())
        })?;
        let directory = driver.abandon();
        let begin = Instant::now();
        let (mut driver, report) = Driver::open_in(directory, setup)?;
        let after_kill_seconds = begin.elapsed().as_secs_f64();
        check(&mut driver, logs, records + flight.appends, &report)?;
        let journal_bytes = report.journal_bytes;
        Ok(Starts { stop_seconds, after_stop_seconds, after_kill_seconds, checkpoint_bytes, journal_bytes })
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        json!({
            "stop_seconds": self.stop_seconds, "after_stop_seconds": self.after_stop_seconds,
            "after_kill_seconds": self.after_kill_seconds, "checkpoint_bytes": self.checkpoint_bytes,
            "journal_bytes": self.journal_bytes,
        })
    }
}

/// Durable records of all logs.
fn records(driver: &mut Driver, logs: u64) -> u64 {
    let shard = driver.shard();
    (0..logs).filter_map(|number| shard.marks(log(number))).map(|marks| marks.durable).sum()
}

fn check(driver: &mut Driver, logs: u64, wanted: u64, report: &Report) -> Result<(), Failure> {
    let found = records(driver, logs);
    if found == wanted && report.damage.is_empty() {
        return Ok(());
    }
    let reason = format!(
        "{wanted} records of {logs} logs were acknowledged, {found} are there; the start says: {report}"
    );
    Err(Failure::Broker(reason))
}

fn bytes_in(directory: &Path) -> Result<u64, Failure> {
    let entries = fs::read_dir(directory).map_err(Failure::disk("list", directory))?;
    let mut bytes = 0;
    for entry in entries {
        let found = entry
            .and_then(|entry| entry.metadata())
            .map_err(Failure::disk("look at a file in", directory))?;
        bytes += found.len();
    }
    Ok(bytes)
}
