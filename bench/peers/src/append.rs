//! Writers on threads, each of which waits until its append is on the device before it makes the next.
//!
//! In: a log, how many writers, how large a record. Out: appends a second, latencies, processor time, bytes of the device.
//! Never: counts what happened before the log had warmed up, or an append that failed.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::args::Append;
use crate::device::Device;
use crate::logs::{self, Failure, Log, Plan, Writer};
use crate::meter::{Latencies, Moment};

/// Before it counts: every log's files are made, its threads run.
const WARM: Duration = Duration::from_millis(150);
/// Large records wrap the files of a log quickly: it is to be over the first ones before it counts ...
const WARM_BYTES: u64 = 300 << 20;
/// ... but a slow log is not waited for longer than this.
const WARM_LIMIT: Duration = Duration::from_millis(600);
/// Records of this size and more are large.
const LARGE_BYTES: usize = 16 << 10;
const STEP: Duration = Duration::from_millis(5);

const WARMING: u8 = 0;
const COUNTING: u8 = 1;
const OVER: u8 = 2;

/// What all writers see.
#[derive(Default)]
struct Progress {
    phase: AtomicU8,
    /// Bytes appended, counted or not.
    bytes: AtomicU64,
}

/// One point of the comparison.
pub fn run(args: &Append) -> Result<Value, Failure> {
    let device = Device::under(&args.dir)?;
    let plan = Plan { dir: &args.dir, record_bytes: args.record_bytes };
    let log = logs::open(&args.log, &plan)?;
    device.come_to_rest(&args.dir)?;
    let progress = Progress::default();
    let (begin, end, latencies) = std::thread::scope(|scope| {
        let begun: Vec<_> = (0..args.writers)
            .map(|number| {
                let (log, progress) = (&*log, &progress);
                scope.spawn(move || {
                    let written = write(log, number, args.record_bytes, progress);
                    if written.is_err() {
                        progress.phase.store(OVER, Ordering::Relaxed);
                    }
                    written
                })
            })
            .collect();
        warm_up(args.record_bytes, &progress);
        let begin = Moment::now(&device);
        let over = progress.phase.compare_exchange(WARMING, COUNTING, Ordering::Relaxed, Ordering::Relaxed);
        let since = Instant::now();
        while over.is_ok() && since.elapsed() < args.time && progress.phase.load(Ordering::Relaxed) != OVER {
            std::thread::sleep(STEP.min(args.time.saturating_sub(since.elapsed())));
        }
        progress.phase.store(OVER, Ordering::Relaxed);
        let end = Moment::now(&device);
        let mut all = Latencies::new();
        for writer in begun {
            match writer.join() {
                Ok(latencies) => all.add(&latencies?),
                Err(_) => return Err(Failure::from("a writer has panicked")),
            }
        }
        Ok((begin, end, all))
    })?;
    log.close()?;
    let appends = latencies.count();
    let mut figures = end.since(&begin, appends, appends * args.record_bytes as u64);
    figures["p50_us"] = latencies.percentile_us(50.0).into();
    figures["p99_us"] = latencies.percentile_us(99.0).into();
    Ok(figures)
}

fn warm_up(record_bytes: usize, progress: &Progress) {
    let begin = Instant::now();
    loop {
        std::thread::sleep(STEP);
        let enough = record_bytes < LARGE_BYTES
            || progress.bytes.load(Ordering::Relaxed) >= WARM_BYTES
            || begin.elapsed() >= WARM_LIMIT;
        if (begin.elapsed() >= WARM && enough) || progress.phase.load(Ordering::Relaxed) == OVER {
            return;
        }
    }
}

fn write(
    log: &dyn Log,
    number: usize,
    record_bytes: usize,
    progress: &Progress,
) -> Result<Latencies, Failure> {
    let mut writer: Box<dyn Writer + '_> = log.writer(number)?;
    let mut record = noise(number as u64, record_bytes);
    let (mut latencies, mut count) = (Latencies::new(), 0u64);
    loop {
        let phase = progress.phase.load(Ordering::Relaxed);
        if phase == OVER {
            return Ok(latencies);
        }
        count += 1;
        let length = record.len().min(8);
        record[..length].copy_from_slice(&count.to_le_bytes()[..length]);
        let begin = Instant::now();
        writer.append(&record)?;
        if phase == COUNTING && progress.phase.load(Ordering::Relaxed) == COUNTING {
            latencies.record(begin.elapsed());
        }
        progress.bytes.fetch_add(record_bytes as u64, Ordering::Relaxed);
    }
}

/// Bytes that no compression shortens.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = (0..length.div_ceil(8)).flat_map(|_| next()).collect();
    bytes.truncate(length);
    bytes
}
