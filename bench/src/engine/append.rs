//! Durable appends of one batch at a time, and of small batches to many logs.
//!
//! In: a directory, sizes, how long. Out: one round beside the raw device's writes of the same length. Never: a batch
//! that is not durable when it is counted.

use std::path::Path;
use std::time::Duration;

use ringmain_engine::format::batch::CheckedBatch;
use ringmain_engine::limits::BLOCK_BYTES;
use ringmain_engine::shard::Keep;
use ringmain_engine::types::LogId;

use super::driver::Driver;
use super::pair::{Pair, Side, batch_of, raw_append, timed};
use crate::failure::Failure;
use crate::interrupt::Interrupt;

/// What a frame adds to a single batch, at most, before it is padded.
const FRAME_BYTES: usize = 512;
const MEMORY_BYTES: usize = 256 << 20;
const LOG: LogId = LogId(2);
/// A log with a retention is trimmed whenever it has grown by this part of what it keeps.
const TRIM_PART: u64 = 64;
/// Batches with which it is filled.
const WARM_UP_BATCH_BYTES: usize = 1 << 20;

/// One batch a commit, one commit at a time, each filling whole blocks as the raw write does.
pub(super) fn append(
    dir: &Path,
    commit_bytes: usize,
    time: Duration,
    interrupt: &Interrupt,
) -> Result<Pair, Failure> {
    let raw = raw_append(dir, commit_bytes, time, interrupt)?;
    let batch = batch_filling(commit_bytes);
    let mut driver = Driver::open(dir, MEMORY_BYTES)?;
    driver.create(LOG);
    let engine = timed(time, interrupt, || append_one(&mut driver, &batch).map(|()| commit_bytes as u64))?;
    driver.settle(interrupt)?;
    Ok(Pair { engine, raw })
}

/// A log that is trimmed to its newest bytes all the time, and has been for a while.
pub(super) struct Retained {
    driver: Driver,
    keep_bytes: u64,
    /// Appended since it was trimmed last.
    untrimmed_bytes: u64,
}

impl Retained {
    /// Fills a log with twice what it keeps, so that its first segments have gone.
    pub(super) fn warm_up(dir: &Path, keep_bytes: u64, interrupt: &Interrupt) -> Result<Retained, Failure> {
        let mut driver = Driver::open(dir, MEMORY_BYTES)?;
        driver.create(LOG);
        let mut retained = Retained { driver, keep_bytes, untrimmed_bytes: 0 };
        let batch = batch_filling(WARM_UP_BATCH_BYTES);
        for _ in 0..2 * keep_bytes / WARM_UP_BATCH_BYTES as u64 {
            interrupt.check()?;
            retained.append(&batch)?;
        }
        Ok(retained)
    }

    fn append(&mut self, batch: &CheckedBatch) -> Result<(), Failure> {
        append_one(&mut self.driver, batch)?;
        self.untrimmed_bytes += batch.bytes().len() as u64;
        if self.untrimmed_bytes >= self.keep_bytes / TRIM_PART {
            self.untrimmed_bytes = 0;
            let keep = Keep { since_ms: None, bytes_max: Some(self.keep_bytes) };
            self.driver.shard().trim_to_fit(LOG, keep);
        }
        Ok(())
    }

    /// The same as [`append`], in the state in which the last round left the log.
    pub(super) fn round(
        &mut self,
        dir: &Path,
        commit_bytes: usize,
        time: Duration,
        interrupt: &Interrupt,
    ) -> Result<Pair, Failure> {
        let raw = raw_append(dir, commit_bytes, time, interrupt)?;
        let batch = batch_filling(commit_bytes);
        let engine = timed(time, interrupt, || self.append(&batch).map(|()| commit_bytes as u64))?;
        self.driver.settle(interrupt)?;
        let records_bytes = self.driver.shard().retained_by(LOG).records_bytes;
        // Whole runs stay or go, and what came since the last trim is there too.
        if records_bytes > self.keep_bytes * 5 / 4 + (4 << 20) {
            let reason = format!("a log that keeps {} bytes holds {records_bytes}", self.keep_bytes);
            return Err(Failure::Broker(reason));
        }
        Ok(Pair { engine, raw })
    }
}

/// A batch whose frame has so many bytes.
pub fn batch_filling(commit_bytes: usize) -> CheckedBatch {
    assert!(commit_bytes.is_multiple_of(BLOCK_BYTES));
    batch_of(commit_bytes - FRAME_BYTES)
}

fn append_one(driver: &mut Driver, batch: &CheckedBatch) -> Result<(), Failure> {
    let wanted = driver.appended() + 1;
    driver.append(LOG, batch)?;
    while driver.appended() < wanted {
        driver.turn()?;
    }
    Ok(())
}

/// Small batches to many logs: the device sees one write for each turn, however many logs it is for.
pub(super) fn spread(dir: &Path, logs: u64, time: Duration, interrupt: &Interrupt) -> Result<Pair, Failure> {
    let waiting = 256;
    let batch = batch_of(1024);
    let raw = raw_append(dir, waiting * 1024, time, interrupt)?;
    let mut driver = Driver::open(dir, MEMORY_BYTES)?;
    (0..logs).for_each(|log| driver.create(LogId(2 + log)));
    let mut next = 0u64;
    let engine: Side = timed(time, interrupt, || {
        let before = driver.appended();
        while next < driver.appended() + waiting as u64 {
            driver.append(LogId(2 + next % logs), &batch)?;
            next += 1;
        }
        driver.turn()?;
        Ok((driver.appended() - before) * 1024)
    })?;
    driver.settle(interrupt)?;
    Ok(Pair { engine, raw })
}
