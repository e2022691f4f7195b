//! A start after a crash: how long it takes to read a full journal back and make it whole, beside reading the same bytes.
//!
//! In: a directory, whether a small journal will do. Out: seconds and GB/s of the start, GB/s of the raw device over the
//! very journal file, their ratio. Never: a start that found less than was acknowledged.

use std::path::Path;
use std::time::{Duration, Instant};

use ringmain_engine::types::LogId;
use serde_json::{Value, json};

use super::driver::{self, Driver};
use super::pair::batch_of;
use super::read::READ_BYTES;
use crate::failure::Failure;
use crate::histogram::median;
use crate::interrupt::Interrupt;
use crate::output;
use crate::raw::device::{Device, Setup, Stream};
use crate::raw::file;
use crate::scratch::Scratch;

const LOGS: u64 = 10_000;
const BATCH_BYTES: usize = 16 << 10;
/// Batches that wait for their commit at a time.
const WAITING: u64 = 64;
const ROUNDS: usize = 3;
const RAW_TIME: Duration = Duration::from_secs(1);
/// What the raw device is asked for at a time.
const RAW_DEPTH: u16 = 8;

struct Round {
    journal_bytes: u64,
    seconds: f64,
    bytes_per_second: f64,
    raw_bytes_per_second: f64,
}

/// Fills a journal, abandons it, and starts from it; a few times.
pub(super) fn measure(dir: &Path, quick: bool, interrupt: &Interrupt) -> Result<Value, Failure> {
    let (bytes, rounds) = if quick { (64 << 20, 1) } else { (1 << 30, ROUNDS) };
    let mut found = Vec::new();
    output::print(&format!(
        "\n{:<34} {:>9} {:>12} {:>10} {:>8}\n",
        "start after a crash", "seconds", "engine GB/s", "raw GB/s", "ratio"
    ))?;
    for _ in 0..rounds {
        let round = round(dir, bytes, interrupt)?;
        let Round { journal_bytes, seconds, bytes_per_second, raw_bytes_per_second } = round;
        output::print(&format!(
            "{:<34} {seconds:>9.2} {:>12.3} {:>10.3} {:>8.2}\n",
            format!("{} MiB, {LOGS} partitions", journal_bytes >> 20),
            bytes_per_second / 1e9,
            raw_bytes_per_second / 1e9,
            bytes_per_second / raw_bytes_per_second
        ))?;
        found.push(round);
    }
    let ratio =
        median(found.iter().map(|round| round.bytes_per_second / round.raw_bytes_per_second).collect());
    output::print(&format!("median ratio {ratio:.2}\n"))?;
    let rounds: Vec<Value> = found
        .iter()
        .map(|round| {
            json!({
                "journal_bytes": round.journal_bytes, "seconds": round.seconds,
                "bytes_per_second": round.bytes_per_second, "raw_bytes_per_second": round.raw_bytes_per_second,
            })
        })
        .collect();
    Ok(json!({ "ratio": ratio, "partitions": LOGS, "rounds": rounds }))
}

fn round(dir: &Path, bytes: u64, interrupt: &Interrupt) -> Result<Round, Failure> {
    // One file that takes all of it, and memory for all of it: so nothing is settled before the crash.
    let setup = driver::Setup {
        journal_file_bytes: bytes * 3 / 2,
        memory_bytes: bytes as usize * 2,
        ..driver::Setup::default()
    };
    let (directory, appended) = fill(dir, bytes, setup, interrupt)?;
    let raw_bytes_per_second = read_raw(&directory.path().join("journal/0/000000.journal"), interrupt)?;
    let begin = Instant::now();
    let (_driver, report) = Driver::open_in(directory, setup)?;
    let seconds = begin.elapsed().as_secs_f64();
    if report.replayed_batches != appended || report.logs_count as u64 != LOGS || report.journal_bytes < bytes
    {
        let reason = format!("{appended} batches of {LOGS} logs were acknowledged; the start says: {report}");
        return Err(Failure::Broker(reason));
    }
    let journal_bytes = report.journal_bytes;
    Ok(Round {
        journal_bytes,
        seconds,
        bytes_per_second: journal_bytes as f64 / seconds,
        raw_bytes_per_second,
    })
}

/// A directory as a killed process left it, with `bytes` of batches in its journal alone, and their number.
fn fill(
    dir: &Path,
    bytes: u64,
    setup: driver::Setup,
    interrupt: &Interrupt,
) -> Result<(Scratch, u64), Failure> {
    let mut driver = Driver::create_in(dir, setup)?;
    (0..LOGS).for_each(|log| driver.create(LogId(2 + log)));
    let (batch, count) = (batch_of(BATCH_BYTES), bytes / BATCH_BYTES as u64);
    let mut begun = 0;
    while driver.appended() < count {
        interrupt.check()?;
        while begun < count.min(driver.appended() + WAITING) {
            driver.append(LogId(2 + begun % LOGS), &batch)?;
            begun += 1;
        }
        driver.turn()?;
    }
    Ok((driver.abandon(), count))
}

/// How fast the device reads that file, from its front to its end and again.
fn read_raw(path: &Path, interrupt: &Interrupt) -> Result<f64, Failure> {
    let (file, bytes) = file::given(path)?;
    let depth = RAW_DEPTH.into();
    let stream = Stream { write: false, random: false, block_bytes: READ_BYTES, depth, durable: false };
    let open = Device::open(&file, bytes, &[stream], Setup::BEST);
    let mut device = open.map_err(|source| Failure::Kernel { doing: "set up io_uring", source })?;
    let raw = device.measure(RAW_TIME, interrupt)?;
    let Some(raw) = raw.first() else { unreachable!("one stream was asked for") };
    Ok(raw.bytes_per_second)
}
