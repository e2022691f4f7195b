//! How much the device writes for each byte that is appended, and how much stays on it.
//!
//! In: a directory. Out: for each kind of load, into a fresh directory and in the steady state of logs that are trimmed
//! all the time: throughput beside the raw device's best, bytes written by the engine's count and by the device's. Never:
//! takes one count for the other.

use std::path::Path;
use std::time::Duration;

use ringmain_engine::limits::{SEGMENT_BYTES, Sizes};
use ringmain_engine::shard::Keep;
use ringmain_engine::shard::ShardCounts;
use ringmain_engine::types::LogId;
use serde_json::{Value, json};

use super::driver::{Driver, Setup};
use super::flight::{Closed, Flight};
use super::pair::{FILE_BYTES, batch_of};
use super::usage::bytes_on_disk;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output;
use crate::raw::device::{self, Device, Stream};
use crate::raw::file;
use crate::raw::traffic::Traffic;

/// Bytes in flight, in as many batches as that makes.
const FLIGHT_BYTES: usize = 4 << 20;
/// But no fewer and no more batches than this.
const WAITING: (usize, usize) = (4, 256);
/// A log is trimmed whenever it has grown by this part of what it keeps.
const TRIM_PART: u64 = 16;
/// So many segments hold what a log keeps.
const SEGMENTS: u64 = 4;
/// Logs are filled with batches of at least so many bytes.
const WARM_UP_BATCH_BYTES: usize = 64 << 10;
/// The raw device's best: so many durable writes of so many bytes in flight, one behind the other in a file.
const RAW_DEPTH: usize = 4;
const RAW_BLOCK_BYTES: usize = 1 << 20;

/// Batches of one size, in turn to so many logs.
#[derive(Clone, Copy)]
struct Load {
    name: &'static str,
    batch_bytes: usize,
    logs: u64,
}

const LOADS: [Load; 4] = [
    Load { name: "1 MiB batches, 1 log", batch_bytes: 1 << 20, logs: 1 },
    Load { name: "64 KiB batches, 1 log", batch_bytes: 64 << 10, logs: 1 },
    Load { name: "16 KiB batches, 4 logs", batch_bytes: 16 << 10, logs: 4 },
    Load { name: "1 KiB batches, 1000 logs", batch_bytes: 1 << 10, logs: 1000 },
];

/// How much of it.
pub(super) struct Plan {
    /// Of each load, in each state.
    pub(super) time: Duration,
    pub(super) raw_time: Duration,
    /// What all logs of a load keep together.
    pub(super) kept_bytes: u64,
}

impl Plan {
    /// What is asked for on the command line.
    pub(super) fn of(quick: bool) -> Plan {
        let (time, raw_time, kept_bytes) = if quick { (2, 0.5, 256 << 20) } else { (10, 1.0, 1 << 30) };
        Plan { time: Duration::from_secs(time), raw_time: Duration::from_secs_f64(raw_time), kept_bytes }
    }
}

/// One load in one state.
struct Found {
    name: String,
    bytes_per_second: f64,
    raw_bytes_per_second: f64,
    user_bytes: u64,
    journal_bytes: u64,
    settled_bytes: u64,
    device_bytes: Option<u64>,
    on_disk_bytes: u64,
    /// What readers can still get.
    kept_bytes: u64,
}

/// Measures every load, first in a fresh directory, then with its logs trimmed.
pub(super) fn measure(dir: &Path, plan: &Plan, interrupt: &Interrupt) -> Result<Value, Failure> {
    output::print(&heading())?;
    let mut figures = Vec::new();
    for load in LOADS {
        let raw_fresh = raw(dir, plan, interrupt)?;
        let traffic = Traffic::under(dir);
        let before = traffic.written_bytes();
        let mut logs = Logs::open(dir, load, plan)?;
        let fresh = logs.window(plan, before, &traffic, raw_fresh, interrupt)?;
        output::print(&fresh.line())?;
        logs.warm_up(plan, interrupt)?;
        let raw_steady = raw(dir, plan, interrupt)?;
        let before = traffic.written_bytes();
        let steady = logs.window(plan, before, &traffic, raw_steady, interrupt)?;
        output::print(&steady.line())?;
        figures.extend([fresh.json(), steady.json()]);
    }
    Ok(figures.into())
}

/// The best that the device does, in bytes per second.
fn raw(dir: &Path, plan: &Plan, interrupt: &Interrupt) -> Result<f64, Failure> {
    let file = file::written(dir, FILE_BYTES, interrupt)?;
    let stream =
        Stream { write: true, random: false, block_bytes: RAW_BLOCK_BYTES, depth: RAW_DEPTH, durable: true };
    let open = Device::open(&file, FILE_BYTES, &[stream], device::Setup::BEST);
    let mut device = open.map_err(|source| Failure::Kernel { doing: "set up io_uring", source })?;
    let raw = device.measure(plan.raw_time, interrupt)?;
    let Some(raw) = raw.first() else { unreachable!("one stream was asked for") };
    Ok(raw.bytes_per_second)
}

/// The logs of one load.
struct Logs {
    driver: Driver,
    load: Load,
    keep: Keep,
    is_trimmed: bool,
    /// Of each log: appended since it was trimmed last.
    untrimmed_bytes: Vec<u64>,
}

impl Logs {
    fn open(dir: &Path, load: Load, plan: &Plan) -> Result<Logs, Failure> {
        let keep_bytes = plan.kept_bytes / load.logs;
        let sizes = Sizes { segment_bytes: (keep_bytes / SEGMENTS).min(SEGMENT_BYTES), ..Sizes::default() };
        let mut driver = Driver::create_in(dir, Setup { sizes, ..Setup::default() })?;
        (0..load.logs).for_each(|log| driver.create(LogId(log)));
        let keep = Keep { since_ms: None, bytes_max: Some(keep_bytes) };
        Ok(Logs { driver, load, keep, is_trimmed: false, untrimmed_bytes: vec![0; load.logs as usize] })
    }

    /// Appends for the plan's time; `before` is what the device had written when the state began.
    fn window(
        &mut self,
        plan: &Plan,
        before: Option<u64>,
        traffic: &Traffic,
        raw_bytes_per_second: f64,
        interrupt: &Interrupt,
    ) -> Result<Found, Failure> {
        let counts_before = self.driver.shard().counts();
        let flight = self.append(self.load.batch_bytes, plan.time, interrupt)?;
        let counts = self.driver.shard().counts();
        let device_bytes = traffic.written_bytes().zip(before).map(|(after, before)| after - before);
        let user_bytes = flight.appends * self.load.batch_bytes as u64;
        let of = |count: fn(&ShardCounts) -> u64| count(&counts) - count(&counts_before);
        let state = if self.is_trimmed { "trimmed" } else { "fresh" };
        Ok(Found {
            name: format!("{}, {state}", self.load.name),
            bytes_per_second: user_bytes as f64 / flight.time.as_secs_f64().max(1e-9),
            raw_bytes_per_second,
            user_bytes,
            journal_bytes: of(|counts| counts.journal.bytes),
            settled_bytes: of(|counts| counts.settled_bytes),
            device_bytes,
            on_disk_bytes: bytes_on_disk(self.driver.path())?,
            kept_bytes: self.kept_bytes(counts.appended_bytes),
        })
    }

    /// Fills every log with twice what it keeps, so that its first segments have gone; from now on it is trimmed.
    fn warm_up(&mut self, plan: &Plan, interrupt: &Interrupt) -> Result<(), Failure> {
        self.is_trimmed = true;
        let step = Duration::from_millis(100);
        let wanted = self.driver.shard().counts().appended_bytes + 2 * plan.kept_bytes;
        while self.driver.shard().counts().appended_bytes < wanted {
            self.append(self.load.batch_bytes.max(WARM_UP_BATCH_BYTES), step, interrupt)?;
        }
        Ok(())
    }

    fn append(
        &mut self,
        batch_bytes: usize,
        time: Duration,
        interrupt: &Interrupt,
    ) -> Result<Flight, Failure> {
        let Logs { driver, load, keep, is_trimmed, untrimmed_bytes } = self;
        let (batch, mut flight) = (batch_of(batch_bytes), Flight::new());
        let waiting = (FLIGHT_BYTES / batch_bytes).clamp(WAITING.0, WAITING.1);
        let trim_bytes = keep.bytes_max.unwrap_or_default() / TRIM_PART;
        flight.keep(driver, Closed { waiting, time }, interrupt, |shard, number| {
            let log = number % load.logs;
            if let Some(untrimmed) = untrimmed_bytes.get_mut(log as usize).filter(|_| *is_trimmed) {
                *untrimmed += batch_bytes as u64;
                if *untrimmed >= trim_bytes {
                    *untrimmed = 0;
                    shard.trim_to_fit(LogId(log), *keep);
                }
            }
            (LogId(log), batch.clone())
        })?;
        Ok(flight)
    }

    /// Bytes that readers can still get, by what was appended and what logs keep.
    fn kept_bytes(&mut self, appended_bytes: u64) -> u64 {
        match self.is_trimmed {
            true => self.keep.bytes_max.unwrap_or_default() * self.load.logs,
            false => appended_bytes,
        }
    }
}

fn heading() -> String {
    format!(
        "\n{:<34} {:>9} {:>9} {:>6} {:>9} {:>9} {:>9} {:>9}\n{:<34} {:>26} {:>29} {:>9}\n",
        "",
        "engine",
        "raw best",
        "",
        "journal",
        "segments",
        "device",
        "on disk",
        "",
        "MB/s     MB/s  ratio",
        "bytes written / user byte",
        "/ kept"
    )
}

impl Found {
    fn per_user_byte(&self, bytes: u64) -> f64 {
        bytes as f64 / self.user_bytes.max(1) as f64
    }

    fn line(&self) -> String {
        let device = self.device_bytes;
        let device = device.map_or("unknown".to_owned(), |bytes| format!("{:.2}", self.per_user_byte(bytes)));
        format!(
            "{:<34} {:>9.1} {:>9.1} {:>6.2} {:>9.2} {:>9.2} {device:>9} {:>9.2}\n",
            self.name,
            self.bytes_per_second / 1e6,
            self.raw_bytes_per_second / 1e6,
            self.bytes_per_second / self.raw_bytes_per_second,
            self.per_user_byte(self.journal_bytes),
            self.per_user_byte(self.settled_bytes),
            self.on_disk_bytes as f64 / self.kept_bytes.max(1) as f64,
        )
    }

    fn json(&self) -> Value {
        json!({
            "line": self.name, "ratio": self.bytes_per_second / self.raw_bytes_per_second,
            "engine": [{ "bytes_per_second": self.bytes_per_second }],
            "raw": [{ "bytes_per_second": self.raw_bytes_per_second }],
            "user_bytes": self.user_bytes, "journal_bytes": self.journal_bytes, "settled_bytes": self.settled_bytes,
            "device_bytes": self.device_bytes, "on_disk_bytes": self.on_disk_bytes, "kept_bytes": self.kept_bytes,
            "device_bytes_per_user_byte": self.device_bytes.map(|bytes| self.per_user_byte(bytes)),
        })
    }
}
