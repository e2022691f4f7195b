//! Reading a log from its start again and again: from memory, or from segments on the device.
//!
//! In: a directory, which of the two. Out: one round beside sequential reads of the raw device. Never: counts a read that
//! came from the other place.

use std::path::Path;
use std::time::Duration;

use ringmain_engine::types::LogId;

use super::driver::Driver;
use super::pair::{FILE_BYTES, Pair, Side, batch_of, timed};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::raw::device::{Device, Setup, Stream};
use crate::raw::file;

/// What is asked for at a time, of either side.
pub(super) const READ_BYTES: usize = 1 << 20;
const BATCH_BYTES: usize = 64 << 10;
/// More than a read from memory writes.
const MEMORY_BYTES: usize = 256 << 20;
/// Less than what a cold read reads, so that nothing of it is left in memory.
const COLD_MEMORY_BYTES: usize = 16 << 20;

/// Reads a log from its start again and again, after writing it.
pub(super) fn read(dir: &Path, cold: bool, time: Duration, interrupt: &Interrupt) -> Result<Pair, Failure> {
    let file = file::written(dir, FILE_BYTES, interrupt)?;
    let stream = Stream { write: false, random: false, block_bytes: READ_BYTES, depth: 1, durable: false };
    let open = Device::open(&file, FILE_BYTES, &[stream], Setup::BEST);
    let mut device = open.map_err(|source| Failure::Kernel { doing: "set up io_uring", source })?;
    let raw = device.measure(time, interrupt)?;
    let Some(raw) = raw.first() else { unreachable!("one stream was asked for") };
    let raw = Side {
        bytes_per_second: raw.bytes_per_second,
        p50_us: raw.latencies.percentile_us(50.0),
        p99_us: raw.latencies.percentile_us(99.0),
    };
    let memory = if cold { COLD_MEMORY_BYTES } else { MEMORY_BYTES };
    let total = 4 * if cold { FILE_BYTES } else { FILE_BYTES / 2 };
    let (mut driver, log, batch) = (Driver::open(dir, memory)?, LogId(2), batch_of(BATCH_BYTES));
    driver.create(log);
    let count = total / BATCH_BYTES as u64;
    let mut begun = 0;
    while driver.appended() < count {
        interrupt.check()?;
        while begun < count.min(driver.appended() + 16) {
            driver.append(log, &batch)?;
            begun += 1;
        }
        driver.turn()?;
    }
    driver.settle(interrupt)?;
    let (mut next, before) = (0, driver.device_bytes());
    let engine = timed(time, interrupt, || {
        let (bytes, behind) = driver.read(log, next, READ_BYTES)?;
        next = if behind >= count { 0 } else { behind };
        Ok(bytes)
    })?;
    if cold != (driver.device_bytes() > before) {
        let reason = "what was read came from another place than it should: memory or device";
        return Err(Failure::Broker(reason.to_owned()));
    }
    Ok(Pair { engine, raw })
}
