//! A shard with many logs: made, then given a few records each that lie in segments.
//!
//! In: a directory, how many logs, how many files may be open. Out: the shard, seconds, and what each log costs in memory
//! and descriptors. Never: counts frames that are kept for readers: as many are there before the first log.

use std::ops::Range;
use std::path::Path;
use std::time::Instant;

use ringmain_engine::types::LogId;

use super::super::driver::{Driver, Setup};
use super::super::holdings::Holdings;
use super::super::pair::batch_of;
use crate::failure::Failure;
use crate::interrupt::Interrupt;

/// Takes the records that push others out of memory and journal.
const FILLER: LogId = LogId(1);
const FILLER_BATCH_BYTES: usize = 1 << 20;
/// Of the filler, in flight.
const FILLER_WAITING: u64 = 4;
/// Records each log is given, one a batch.
pub(super) const RECORDS: u64 = 3;
const RECORD_BYTES: usize = 100;
/// Appends in flight while they are given.
const WAITING: u64 = 1024;

/// Logs in one shard.
pub(super) struct Population {
    pub(super) driver: Driver,
    pub(super) logs: u64,
    /// The first so many of them have records.
    pub(super) filled: u64,
    pub(super) create_seconds: f64,
    /// Until each of those has its records in its segment.
    pub(super) settle_seconds: f64,
    pub(super) before: Holdings,
    /// With no record in any log.
    pub(super) empty: Holdings,
    /// With a few in each of the filled ones, settled.
    pub(super) settled: Holdings,
}

/// The `number`-th log.
pub(super) fn log(number: u64) -> LogId {
    LogId(2 + number)
}

impl Population {
    /// A shard with so many logs. Each is given records, but for those for which no file may be opened any more, if the
    /// engine keeps one of each log open.
    pub(super) fn make(
        dir: &Path,
        setup: Setup,
        logs: u64,
        descriptors_max: u64,
        interrupt: &Interrupt,
    ) -> Result<Population, Failure> {
        let mut driver = Driver::create_in(dir, setup)?;
        driver.create(FILLER);
        // From here on as many frames are in memory as are ever kept.
        fill(&mut driver, setup.memory_bytes as u64, interrupt)?;
        let before = Holdings::now();
        let begin = Instant::now();
        (0..logs).for_each(|number| driver.create(log(number)));
        driver.sync(interrupt)?;
        let create_seconds = begin.elapsed().as_secs_f64();
        let empty = Holdings::now();
        let begin = Instant::now();
        let left = descriptors_max.saturating_sub(empty.descriptors_count);
        let mut filled = logs.min(left / 10 * 9);
        give_records(&mut driver, 0..filled, interrupt)?;
        let opened = Holdings::now().descriptors_count.saturating_sub(empty.descriptors_count);
        if filled < logs && opened < filled / 2 {
            give_records(&mut driver, filled..logs, interrupt)?;
            filled = logs;
        }
        let settle_seconds = begin.elapsed().as_secs_f64();
        fill(&mut driver, setup.memory_bytes as u64, interrupt)?;
        let settled = Holdings::now();
        Ok(Population { driver, logs, filled, create_seconds, settle_seconds, before, empty, settled })
    }

    /// Memory that a log without records takes, and one with a few.
    pub(super) fn bytes_a_log(&self) -> (f64, f64) {
        let more = |after: &Holdings, before: &Holdings| {
            after.resident_bytes.saturating_sub(before.resident_bytes) as f64
        };
        let empty = more(&self.empty, &self.before) / self.logs as f64;
        (empty, empty + more(&self.settled, &self.empty) / self.filled.max(1) as f64)
    }
}

/// Appends a few records to each of these logs and has them settled.
fn give_records(driver: &mut Driver, logs: Range<u64>, interrupt: &Interrupt) -> Result<(), Failure> {
    let batch = batch_of(RECORD_BYTES);
    for _ in 0..RECORDS {
        let (mut next, mut begun) = (logs.clone(), driver.appended());
        let wanted = begun + (logs.end - logs.start);
        while driver.appended() < wanted {
            interrupt.check()?;
            while begun < driver.appended() + WAITING
                && let Some(number) = next.next()
            {
                driver.append(log(number), &batch)?;
                begun += 1;
            }
            driver.turn()?;
        }
    }
    settle(driver, logs, interrupt)
}

/// Appends so many bytes to the filler, no faster than the logs are settled: frames beyond the memory that is configured
/// would be counted as memory of the logs.
fn fill(driver: &mut Driver, bytes: u64, interrupt: &Interrupt) -> Result<(), Failure> {
    let (batch, mut begun) = (batch_of(FILLER_BATCH_BYTES), driver.appended());
    let wanted = begun + bytes.div_ceil(FILLER_BATCH_BYTES as u64);
    while driver.appended() < wanted {
        interrupt.check()?;
        while begun < wanted.min(driver.appended() + FILLER_WAITING) && !driver.shard().is_full() {
            driver.append(FILLER, &batch)?;
            begun += 1;
        }
        driver.turn()?;
    }
    Ok(())
}

/// Fills journal files, which makes checkpoints, until every log has all it holds in segments and those are synced; then
/// what the filler holds is let go.
fn settle(driver: &mut Driver, logs: Range<u64>, interrupt: &Interrupt) -> Result<(), Failure> {
    for number in logs {
        let is_settled = |driver: &mut Driver| {
            let marks = driver.shard().marks(log(number));
            marks.is_some_and(|marks| marks.settled == marks.end)
        };
        while !is_settled(driver) {
            fill(driver, FILLER_BATCH_BYTES as u64, interrupt)?;
        }
    }
    // One may be under way that began before.
    let wanted = driver.shard().counts().checkpoints + 2;
    while driver.shard().counts().checkpoints < wanted {
        fill(driver, FILLER_BATCH_BYTES as u64, interrupt)?;
    }
    if let Some(marks) = driver.shard().marks(FILLER) {
        driver.shard().trim(FILLER, marks.durable);
    }
    driver.sync(interrupt)
}
