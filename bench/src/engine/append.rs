//! Durable appends of one batch at a time, and of small batches to many logs.
//!
//! In: a directory, sizes, how long. Out: one round beside the raw device's writes of the same length. Never: a batch
//! that is not durable when it is counted.

use std::path::Path;
use std::time::{Duration, Instant};

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
const TRIM_PART: u64 = 128;
/// Commits with which a log is filled.
const FILL_BATCH_BYTES: usize = 1 << 20;

/// One batch a commit, one commit at a time, each filling whole blocks as the raw write does.
pub(super) fn append(
    dir: &Path,
    commit_bytes: usize,
    time: Duration,
    interrupt: &Interrupt,
) -> Result<Pair, Failure> {
    let raw = raw_append(dir, commit_bytes, time, interrupt)?;
    let engine = Log::open(dir, None)?.timed(commit_bytes, time, interrupt)?;
    Ok(Pair { engine, raw })
}

/// A log of the engine, and what of it is kept.
pub struct Log {
    driver: Driver,
    /// How many of its newest bytes stay, or all.
    keep_bytes: Option<u64>,
    /// Appended since it was trimmed last.
    untrimmed_bytes: u64,
}

impl Log {
    /// An empty log in a directory of its own.
    pub fn open(dir: &Path, keep_bytes: Option<u64>) -> Result<Log, Failure> {
        let mut driver = Driver::open(dir, MEMORY_BYTES)?;
        driver.create(LOG);
        Ok(Log { driver, keep_bytes, untrimmed_bytes: 0 })
    }

    /// A log that keeps all, and was given so many bytes.
    pub fn grown(dir: &Path, bytes: u64, interrupt: &Interrupt) -> Result<Log, Failure> {
        let mut log = Log::open(dir, None)?;
        log.fill(bytes, interrupt)?;
        Ok(log)
    }

    /// A log that is trimmed to its newest bytes all the time, and has been for a while: it was given twice what it keeps,
    /// so that its first segments have gone.
    pub fn retained(dir: &Path, keep_bytes: u64, interrupt: &Interrupt) -> Result<Log, Failure> {
        let mut log = Log::open(dir, Some(keep_bytes))?;
        log.fill(2 * keep_bytes, interrupt)?;
        Ok(log)
    }

    fn fill(&mut self, bytes: u64, interrupt: &Interrupt) -> Result<(), Failure> {
        let batch = batch_filling(FILL_BATCH_BYTES);
        for _ in 0..bytes / FILL_BATCH_BYTES as u64 {
            interrupt.check()?;
            self.append(&batch)?;
        }
        Ok(())
    }

    /// One commit after the other for `time`, each of whole blocks.
    pub fn timed(
        &mut self,
        commit_bytes: usize,
        time: Duration,
        interrupt: &Interrupt,
    ) -> Result<Side, Failure> {
        let batch = batch_filling(commit_bytes);
        let side = timed(time, interrupt, || self.append(&batch).map(|()| commit_bytes as u64))?;
        self.driver.settle(interrupt)?;
        Ok(side)
    }

    /// The same commits one after the other, but the next batch is gathered while one is on its way, as in a log that
    /// has always something to do; durable bytes per second.
    pub fn busy(
        &mut self,
        commit_bytes: usize,
        time: Duration,
        interrupt: &Interrupt,
    ) -> Result<f64, Failure> {
        let batch = batch_filling(commit_bytes);
        let (begin, before) = (Instant::now(), self.driver.appended());
        let mut given = before;
        while begin.elapsed() < time {
            interrupt.check()?;
            self.driver.append(LOG, &batch)?;
            given += 1;
            while self.driver.appended() + 1 < given {
                self.driver.turn()?;
            }
            self.driver.begin()?; // before the next batch comes: each has a commit of its own
            self.trim(batch.bytes().len());
        }
        let bytes = (self.driver.appended() - before) * commit_bytes as u64;
        let rate = bytes as f64 / begin.elapsed().as_secs_f64();
        self.driver.settle(interrupt)?;
        Ok(rate)
    }

    fn append(&mut self, batch: &CheckedBatch) -> Result<(), Failure> {
        let wanted = self.driver.appended() + 1;
        self.driver.append(LOG, batch)?;
        while self.driver.appended() < wanted {
            self.driver.turn()?;
        }
        self.trim(batch.bytes().len());
        Ok(())
    }

    /// So many bytes more have been appended.
    fn trim(&mut self, bytes: usize) {
        self.untrimmed_bytes += bytes as u64;
        if let Some(keep_bytes) = self.keep_bytes
            && self.untrimmed_bytes >= keep_bytes / TRIM_PART
        {
            self.untrimmed_bytes = 0;
            let keep = Keep { since_ms: None, bytes_max: Some(keep_bytes) };
            self.driver.shard().trim_to_fit(LOG, keep);
        }
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
        let engine = self.timed(commit_bytes, time, interrupt)?;
        let records_bytes = self.driver.shard().retained_by(LOG).records_bytes;
        match self.keep_bytes {
            Some(keep_bytes) if records_bytes > held_bytes_max(keep_bytes) => {
                let reason = format!("a log that keeps {keep_bytes} bytes holds {records_bytes}");
                Err(Failure::Broker(reason))
            }
            _ => Ok(Pair { engine, raw }),
        }
    }
}

/// Whole runs stay or go, and what came since the last trim is there too.
fn held_bytes_max(keep_bytes: u64) -> u64 {
    keep_bytes * 5 / 4 + (4 << 20)
}

/// A batch whose frame has so many bytes.
fn batch_filling(commit_bytes: usize) -> CheckedBatch {
    assert!(commit_bytes.is_multiple_of(BLOCK_BYTES));
    batch_of(commit_bytes - FRAME_BYTES)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_log_has_one_batch_in_a_commit() {
        let interrupt = Interrupt::listen().unwrap();
        let mut log = Log::open(&std::env::temp_dir(), None).unwrap();
        let rate = log.busy(64 << 10, Duration::from_millis(100), &interrupt).unwrap();
        let counts = log.driver.shard().counts();
        assert!(rate > 0.0 && counts.appended_batches > 2, "{rate}, {counts:?}");
        // And what says that the log is there, and seals.
        assert!(
            (counts.appended_batches..=counts.appended_batches + 3).contains(&counts.journal.frames),
            "{counts:?}"
        );
    }

    #[test]
    fn a_trimmed_log_keeps_its_newest_bytes_and_a_growing_one_all() {
        let interrupt = Interrupt::listen().unwrap();
        let kept_bytes = 32 << 20;
        for keep_bytes in [Some(kept_bytes), None] {
            let mut log = Log::open(&std::env::temp_dir(), keep_bytes).unwrap();
            log.fill(2 * kept_bytes, &interrupt).unwrap();
            let records_bytes = log.driver.shard().retained_by(LOG).records_bytes;
            let oldest = log.driver.read(LOG, 0, 1 << 20);
            match keep_bytes {
                Some(_) => assert!(oldest.is_err() && records_bytes <= held_bytes_max(kept_bytes)),
                None => assert!(oldest.is_ok() && records_bytes > 3 * kept_bytes / 2),
            }
            assert!(log.driver.read(LOG, log.driver.appended() - 1, 1 << 20).is_ok());
        }
    }
}
