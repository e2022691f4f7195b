//! Durable appends by the engine alone, beside the best way this machine has to make as many bytes durable.
//!
//! In: a directory. Out: two lines for each size: a log that grows, and one that is trimmed to its newest bytes all the
//! time. Never: a raw append to blocks that are no longer what its name says.

use std::path::Path;
use std::time::{Duration, Instant};

use ringmain_engine::shard::Keep;
use ringmain_engine::types::LogId;

use crate::engine::append::batch_filling;
use crate::engine::driver::Driver;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::raw::ring::{Appender, Blocks, Durable};
use crate::targets::findings::Findings;
use crate::targets::line::{Line, Named, Need, Unit};
use crate::targets::seen::Seen;
use crate::targets::setting::Setting;

/// Bytes of a commit, and of the file that the raw appends fill in one run at most.
const SIZES: [(usize, u64); 3] = [(4 << 10, 64 << 20), (64 << 10, 512 << 20), (1 << 20, 1 << 30)];
/// A file whose blocks were written before is gone round in, so it need not hold a whole run.
const WRITTEN_BYTES: u64 = 64 << 20;
const FILES: [(Blocks, &str); 3] =
    [(Blocks::Written, "pre-written"), (Blocks::Reserved, "fallocated"), (Blocks::Growing, "growing")];
const WAYS: [(Durable, &str); 3] = [
    (Durable::WithWrite, "RWF_DSYNC"),
    (Durable::AfterWrite, "linked fdatasync"),
    (Durable::ThenCall, "fdatasync(2)"),
];
const NEEDED: f64 = 0.9;
const KEPT_BYTES: u64 = 512 << 20;
/// Trimmed when it has grown by so much.
const TRIM_BYTES: u64 = 4 << 20;
/// Written before the first run of a trimmed log: what it keeps, and more than a segment, so that segments go.
const WARM_UP_BYTES: u64 = 1 << 30;
const MEMORY_BYTES: usize = 256 << 20;
const LOG: LogId = LogId(2);

/// A log of the engine, and what of it is kept.
struct Log {
    driver: Driver,
    /// How many of its newest bytes stay, or all.
    keep_bytes: Option<u64>,
    /// Appended since it was trimmed last.
    untrimmed_bytes: u64,
}

impl Log {
    fn open(dir: &Path, keep_bytes: Option<u64>) -> Result<Log, Failure> {
        let mut driver = Driver::open(dir, MEMORY_BYTES)?;
        driver.create(LOG);
        Ok(Log { driver, keep_bytes, untrimmed_bytes: 0 })
    }

    /// One commit after the other for `time` or `bytes_max`, each of whole blocks; bytes per second.
    fn append(
        &mut self,
        commit_bytes: usize,
        (time, bytes_max): (Duration, u64),
        interrupt: &Interrupt,
    ) -> Result<f64, Failure> {
        let batch = batch_filling(commit_bytes);
        let begin = Instant::now();
        let mut bytes = 0;
        while begin.elapsed() < time && bytes < bytes_max {
            interrupt.check()?;
            let wanted = self.driver.appended() + 1;
            self.driver.append(LOG, &batch)?;
            while self.driver.appended() < wanted {
                self.driver.turn()?;
            }
            bytes += commit_bytes as u64;
            self.appended(commit_bytes as u64);
        }
        let seconds = begin.elapsed().as_secs_f64();
        self.driver.settle(interrupt)?;
        Ok(bytes as f64 / seconds)
    }

    fn appended(&mut self, bytes: u64) {
        self.untrimmed_bytes += bytes;
        if self.keep_bytes.is_some() && self.untrimmed_bytes >= TRIM_BYTES {
            self.untrimmed_bytes = 0;
            let keep = Keep { since_ms: None, bytes_max: self.keep_bytes };
            self.driver.shard().trim_to_fit(LOG, keep);
        }
    }
}

/// Every size in every way, in turns.
pub fn measure(setting: &Setting<'_>) -> Result<Findings, Failure> {
    // Whoever appends has the core that a broker has.
    setting.on_answering(|| measure_here(setting))
}

fn measure_here(setting: &Setting<'_>) -> Result<Findings, Failure> {
    let (dir, interrupt) = (setting.dir, setting.interrupt);
    let milliseconds = if setting.quick { (150, 400) } else { (300, 1500) };
    let (raw, own) = (Duration::from_millis(milliseconds.0), Duration::from_millis(milliseconds.1));
    let mut trimmed = Vec::new();
    for _ in SIZES {
        let mut log = Log::open(dir, Some(KEPT_BYTES))?;
        log.append(1 << 20, (Duration::MAX, WARM_UP_BYTES), interrupt)?;
        trimmed.push(log);
    }
    let mut seen = Seen::default();
    setting.rounds(|| {
        for ((commit_bytes, file_bytes), trimmed) in SIZES.into_iter().zip(&mut trimmed) {
            for (blocks, file) in FILES {
                for (durable, way) in WAYS {
                    let bytes = if blocks == Blocks::Written { WRITTEN_BYTES } else { file_bytes };
                    let appender = Appender::create(dir, blocks, bytes, commit_bytes)?;
                    let ends = (blocks != Blocks::Written).then_some(bytes);
                    let rate = raw_appends(appender, (commit_bytes, durable), (raw, ends), interrupt)?;
                    seen.push(&format!("raw {commit_bytes} {file}, {way}"), rate);
                }
            }
            let limits = (own, u64::MAX);
            let rate = Log::open(dir, None)?.append(commit_bytes, limits, interrupt)?;
            seen.push(&format!("growing {commit_bytes}"), rate);
            let rate = trimmed.append(commit_bytes, limits, interrupt)?;
            seen.push(&format!("trimmed {commit_bytes}"), rate);
        }
        Ok(())
    })?;
    Ok(findings(&seen))
}

/// One after the other until the time is over or the file is full; bytes per second.
fn raw_appends(
    mut appender: Appender,
    (commit_bytes, durable): (usize, Durable),
    (time, ends): (Duration, Option<u64>),
    interrupt: &Interrupt,
) -> Result<f64, Failure> {
    let begin = Instant::now();
    let mut bytes = 0;
    while begin.elapsed() < time && ends.is_none_or(|end| bytes < end) {
        interrupt.check()?;
        appender.append(commit_bytes, durable)?;
        bytes += commit_bytes as u64;
    }
    Ok(bytes as f64 / begin.elapsed().as_secs_f64())
}

fn findings(seen: &Seen) -> Findings {
    let mut findings = Findings::of(seen);
    for (commit_bytes, _) in SIZES {
        let front = format!("raw {commit_bytes} ");
        let Some(best) = seen.best(&front) else { continue };
        let beside =
            Named::new(&format!("raw, {}", best.strip_prefix(&front).unwrap_or(best)), seen.of(best));
        for (kind, words) in [("growing", "growing log"), ("trimmed", "newest 512 MiB kept")] {
            let name = format!("{} KiB a commit, {words}", commit_bytes >> 10);
            let figure = seen.of(&format!("{kind} {commit_bytes}"));
            let need = Need::AtLeast(NEEDED);
            findings.line(Line::new(&name, Unit::BytesPerSecond, figure, need, beside.clone()));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_held_against_the_best_way_of_their_size() {
        let mut seen = Seen::default();
        for (name, value) in [
            ("raw 4096 growing, fdatasync(2)", 50e6),
            ("raw 4096 pre-written, RWF_DSYNC", 100e6),
            ("raw 65536 pre-written, RWF_DSYNC", 900e6),
            ("growing 4096", 90e6),
            ("trimmed 4096", 40e6),
            ("growing 65536", 1e6),
            ("trimmed 65536", 1e6),
        ] {
            seen.push(name, value);
        }
        let found = findings(&seen);
        assert_eq!(found.lines.len(), 4, "a size without figures has no line");
        assert_eq!(found.lines[0].beside.name, "raw, pre-written, RWF_DSYNC");
        assert_eq!((found.lines[0].ratio(), found.lines[1].ratio()), (Some(0.9), Some(0.4)));
    }

    #[test]
    fn a_trimmed_log_keeps_its_newest_bytes_and_a_growing_one_all() {
        let interrupt = Interrupt::listen().unwrap();
        let kept_bytes = 8 * TRIM_BYTES;
        for keep_bytes in [Some(kept_bytes), None] {
            let mut log = Log::open(&std::env::temp_dir(), keep_bytes).unwrap();
            log.append(1 << 20, (Duration::MAX, 2 * kept_bytes), &interrupt).unwrap();
            let held_bytes = log.driver.shard().retained_by(LOG).records_bytes;
            let oldest = log.driver.read(LOG, 0, 1 << 20);
            match keep_bytes {
                // Whole runs stay or go, and what came since the last trim is there too.
                Some(_) => assert!(oldest.is_err() && held_bytes <= kept_bytes * 5 / 4 + TRIM_BYTES),
                None => assert!(oldest.is_ok() && held_bytes > 3 * kept_bytes / 2),
            }
            assert!(log.driver.read(LOG, log.driver.appended() - 1, 1 << 20).is_ok());
        }
    }
}
