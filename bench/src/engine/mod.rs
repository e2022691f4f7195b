//! The engine alone, each figure beside what the raw device did in the same round.
//!
//! In: what to do, a directory. Out: MB/s of both, their ratio. Never: a ratio of runs of different minutes.

mod driver;
mod peers;
mod recovery;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::{Duration, Instant};

use ringmain_engine::format::batch::CheckedBatch;
use ringmain_engine::format::record::BatchBuilder;
use ringmain_engine::limits::BLOCK_BYTES;
use ringmain_engine::types::LogId;
use serde_json::json;

use crate::args::Engine;
use crate::cores::Cores;
use crate::failure::Failure;
use crate::histogram::{Latencies, median};
use crate::interrupt::Interrupt;
use crate::machine::Machine;
use crate::output;
use crate::raw::device::{Device, Setup, Stream};
use crate::raw::file;
use crate::raw::ring::{Appender, Blocks, Durable};
use driver::Driver;

const FILE_BYTES: u64 = 64 << 20;
/// What a frame adds to a single batch, at most, before it is padded.
const FRAME_BYTES: usize = 512;
const READ_BYTES: usize = 1 << 20;
const MEMORY_BYTES: usize = 256 << 20;
/// Less than what a cold read reads, so that nothing of it is left in memory.
const COLD_MEMORY_BYTES: usize = 16 << 20;
const MANY: u64 = 1000;

/// One round of one line of the table.
struct Pair {
    engine: Side,
    raw: Side,
}

/// What one side did in a round.
struct Side {
    bytes_per_second: f64,
    p50_us: f64,
    p99_us: f64,
}

impl Side {
    fn new(bytes: u64, time: Duration, latencies: &Latencies) -> Side {
        Side {
            bytes_per_second: bytes as f64 / time.as_secs_f64().max(1e-9),
            p50_us: latencies.percentile_us(50.0),
            p99_us: latencies.percentile_us(99.0),
        }
    }
}

type Round<'a> = Box<dyn FnMut() -> Result<Pair, Failure> + 'a>;

/// Measures one of the names.
pub fn run(args: &Engine, interrupt: &Interrupt) -> Result<(), Failure> {
    output::check(args.json.as_deref())?;
    let machine = Machine::at(&args.dir)?;
    output::print(&machine.lines())?;
    if args.name == "peers" {
        // Not pinned: the logs have threads of their own.
        let figures = peers::measure(args, interrupt)?;
        return output::save(args.json.as_deref(), &machine, "engine-peers", figures);
    }
    Cores::choose().into_iter().for_each(|cores| cores.pin_answering());
    if args.name == "recovery" {
        let figures = recovery::measure(&args.dir, args.quick, interrupt)?;
        return output::save(args.json.as_deref(), &machine, "engine-recovery", figures);
    }
    let (rounds_count, time) =
        if args.quick { (3, Duration::from_millis(500)) } else { (7, Duration::from_secs(2)) };
    let mut lines = lines(args, time, interrupt);
    let mut found: Vec<Vec<Pair>> = lines.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds_count {
        for ((_, round), found) in lines.iter_mut().zip(&mut found) {
            found.push(round()?);
        }
    }
    let mut figures = Vec::new();
    let mut out = format!(
        "\n{:<34} {:>10} {:>10} {:>8} {:>16} {:>16}\n",
        "", "engine MB/s", "raw MB/s", "ratio", "engine p50/p99", "raw p50/p99 us"
    );
    for ((name, _), pairs) in lines.iter().zip(&found) {
        let of = |figure: &dyn Fn(&Pair) -> f64| median(pairs.iter().map(figure).collect());
        let (engine, raw) = (of(&|pair| pair.engine.bytes_per_second), of(&|pair| pair.raw.bytes_per_second));
        let ratio = of(&|pair| pair.engine.bytes_per_second / pair.raw.bytes_per_second);
        let engine_us = (of(&|pair| pair.engine.p50_us), of(&|pair| pair.engine.p99_us));
        let raw_us = (of(&|pair| pair.raw.p50_us), of(&|pair| pair.raw.p99_us));
        let both = |(p50, p99): (f64, f64)| format!("{p50:.0} / {p99:.0}");
        out += &format!(
            "{name:<34} {:>10.1} {:>10.1} {ratio:>8.2} {:>16} {:>16}\n",
            engine / 1e6,
            raw / 1e6,
            both(engine_us),
            both(raw_us)
        );
        let side = |side: &dyn Fn(&Pair) -> &Side| {
            let rounds = pairs.iter().map(|pair| {
                let Side { bytes_per_second, p50_us, p99_us } = side(pair);
                json!({ "bytes_per_second": bytes_per_second, "p50_us": p50_us, "p99_us": p99_us })
            });
            rounds.collect::<Vec<_>>()
        };
        figures.push(json!({
            "line": name, "ratio": ratio, "engine": side(&|pair| &pair.engine), "raw": side(&|pair| &pair.raw),
        }));
    }
    output::print(&out)?;
    output::save(args.json.as_deref(), &machine, &format!("engine-{}", args.name), figures.into())
}

fn lines<'a>(args: &'a Engine, time: Duration, interrupt: &'a Interrupt) -> Vec<(String, Round<'a>)> {
    let dir = args.dir.as_path();
    match args.name.as_str() {
        "append" => {
            let line = |kib: usize| {
                let round = move || append(dir, kib << 10, time, interrupt);
                (format!("append, {kib} KiB a commit"), Box::new(round) as Round<'a>)
            };
            [4, 64, 1024].map(line).into()
        }
        "read-memory" => {
            vec![(
                "read from memory, 1 MiB at a time".to_owned(),
                Box::new(move || read(dir, false, time, interrupt)),
            )]
        }
        "read-cold" => {
            vec![(
                "read from segments, 1 MiB at a time".to_owned(),
                Box::new(move || read(dir, true, time, interrupt)),
            )]
        }
        _ => {
            let line = |logs: u64| {
                let round = move || spread(dir, logs, time, interrupt);
                (format!("1 KiB each to {logs} logs, 256 waiting"), Box::new(round) as Round<'a>)
            };
            [1, MANY].map(line).into()
        }
    }
}

fn batch_of(value_bytes: usize) -> CheckedBatch {
    let value: Vec<u8> = (0..value_bytes).map(|at| ((at * 131) >> 3) as u8).collect();
    let mut builder = BatchBuilder::new(0);
    builder.push(0, None, Some(&value), &[]);
    builder.finish()
}

/// Does `turn` for `time`; each gives how many bytes it moved.
fn timed(
    time: Duration,
    interrupt: &Interrupt,
    mut turn: impl FnMut() -> Result<u64, Failure>,
) -> Result<Side, Failure> {
    let mut latencies = Latencies::new();
    let (begin, mut bytes) = (Instant::now(), 0);
    let mut last = begin;
    while last - begin < time {
        interrupt.check()?;
        bytes += turn()?;
        let now = Instant::now();
        latencies.record(now - last);
        last = now;
    }
    Ok(Side::new(bytes, last - begin, &latencies))
}

fn raw_append(
    dir: &Path,
    commit_bytes: usize,
    time: Duration,
    interrupt: &Interrupt,
) -> Result<Side, Failure> {
    let mut appender = Appender::create(dir, Blocks::Written, FILE_BYTES, commit_bytes)?;
    timed(time, interrupt, || appender.append(commit_bytes, Durable::WithWrite).map(|()| commit_bytes as u64))
}

/// One batch a commit, one commit at a time, each filling whole blocks as the raw write does.
fn append(dir: &Path, commit_bytes: usize, time: Duration, interrupt: &Interrupt) -> Result<Pair, Failure> {
    assert!(commit_bytes.is_multiple_of(BLOCK_BYTES));
    let raw = raw_append(dir, commit_bytes, time, interrupt)?;
    let batch = batch_of(commit_bytes - FRAME_BYTES);
    let mut driver = Driver::open(dir, MEMORY_BYTES)?;
    let log = LogId(2);
    driver.create(log);
    let engine = timed(time, interrupt, || {
        let wanted = driver.appended() + 1;
        driver.append(log, &batch)?;
        while driver.appended() < wanted {
            driver.turn()?;
        }
        Ok(commit_bytes as u64)
    })?;
    driver.settle(interrupt)?;
    Ok(Pair { engine, raw })
}

/// Small batches to many logs: the device sees one write for each turn, however many logs it is for.
fn spread(dir: &Path, logs: u64, time: Duration, interrupt: &Interrupt) -> Result<Pair, Failure> {
    let waiting = 256;
    let batch = batch_of(1024);
    let raw = raw_append(dir, waiting * 1024, time, interrupt)?;
    let mut driver = Driver::open(dir, MEMORY_BYTES)?;
    (0..logs).for_each(|log| driver.create(LogId(2 + log)));
    let mut next = 0u64;
    let engine = timed(time, interrupt, || {
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

/// Reads a log from its start again and again, after writing it.
fn read(dir: &Path, cold: bool, time: Duration, interrupt: &Interrupt) -> Result<Pair, Failure> {
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
    let (mut driver, log, batch) = (Driver::open(dir, memory)?, LogId(2), batch_of(64 << 10));
    driver.create(log);
    let count = total / (64 << 10);
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
