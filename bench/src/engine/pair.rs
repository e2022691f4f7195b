//! Lines of a table: what the engine did in a round, and what the raw device did in the same one.
//!
//! In: for each line, a round to measure. Out: the table and its figures. Never: a ratio of rounds of different minutes.

use std::path::Path;
use std::time::{Duration, Instant};

use ringmain_engine::format::batch::CheckedBatch;
use ringmain_engine::format::record::BatchBuilder;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::histogram::{Latencies, median};
use crate::interrupt::Interrupt;
use crate::raw::ring::{Appender, Blocks, Durable};

/// The raw device's file, and the least that is written to be read back.
pub(super) const FILE_BYTES: u64 = 64 << 20;

/// One round of one line of the table.
pub(super) struct Pair {
    pub(super) engine: Side,
    pub(super) raw: Side,
}

/// What one side did in a round.
pub struct Side {
    pub bytes_per_second: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
}

impl Side {
    fn new(bytes: u64, time: Duration, latencies: &Latencies) -> Side {
        Side {
            bytes_per_second: bytes as f64 / time.as_secs_f64().max(1e-9),
            p50_us: latencies.percentile_us(50.0),
            p99_us: latencies.percentile_us(99.0),
        }
    }

    fn json(&self) -> Value {
        let Side { bytes_per_second, p50_us, p99_us } = self;
        json!({ "bytes_per_second": bytes_per_second, "p50_us": p50_us, "p99_us": p99_us })
    }
}

/// Measures one round.
pub(super) type Round<'a> = Box<dyn FnMut() -> Result<Pair, Failure> + 'a>;

/// Measures every line `rounds_count` times, in turns: the table, and the figures for programs.
pub(super) fn measure(
    mut lines: Vec<(String, Round<'_>)>,
    rounds_count: usize,
) -> Result<(String, Value), Failure> {
    let mut found: Vec<Vec<Pair>> = lines.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds_count {
        for ((_, round), found) in lines.iter_mut().zip(&mut found) {
            found.push(round()?);
        }
    }
    let mut figures = Vec::new();
    let mut out = format!(
        "\n{:<38} {:>10} {:>10} {:>8} {:>16} {:>16}\n",
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
            "{name:<38} {:>10.1} {:>10.1} {ratio:>8.2} {:>16} {:>16}\n",
            engine / 1e6,
            raw / 1e6,
            both(engine_us),
            both(raw_us)
        );
        let (engine, raw): (Vec<Value>, Vec<Value>) =
            pairs.iter().map(|pair| (pair.engine.json(), pair.raw.json())).unzip();
        figures.push(json!({ "line": name, "ratio": ratio, "engine": engine, "raw": raw }));
    }
    Ok((out, figures.into()))
}

/// A batch of one record with a value of so many bytes.
pub(super) fn batch_of(value_bytes: usize) -> CheckedBatch {
    let value: Vec<u8> = (0..value_bytes).map(|at| ((at * 131) >> 3) as u8).collect();
    let mut builder = BatchBuilder::new(0);
    builder.push(0, None, Some(&value), &[]);
    builder.finish()
}

/// Does `turn` for `time`; each gives how many bytes it moved.
pub(super) fn timed(
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

/// The raw device: durable writes of so many bytes, one at a time, over and over the same file.
pub(super) fn raw_append(
    dir: &Path,
    commit_bytes: usize,
    time: Duration,
    interrupt: &Interrupt,
) -> Result<Side, Failure> {
    let mut appender = Appender::create(dir, Blocks::Written, FILE_BYTES, commit_bytes)?;
    timed(time, interrupt, || appender.append(commit_bytes, Durable::WithWrite).map(|()| commit_bytes as u64))
}
