//! What makes an append durable, and what each way costs; whether the device really waits.
//!
//! In: a directory. Out: a table of 3 kinds of file x 4 ways, in interleaved rounds. Never: a verdict that a power
//! cut alone could give.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::histogram::{Latencies, median};
use crate::interrupt::Interrupt;
use crate::raw::ring::{Appender, BLOCK_BYTES, Blocks, Durable};

const FILES: [(Blocks, &str); 3] =
    [(Blocks::Written, "pre-written"), (Blocks::Reserved, "fallocated"), (Blocks::Growing, "growing")];
const WAYS: [(Durable, &str); 4] = [
    (Durable::No, "not durable"),
    (Durable::WithWrite, "RWF_DSYNC"),
    (Durable::AfterWrite, "linked fdatasync"),
    (Durable::ThenCall, "fdatasync(2)"),
];
/// Appends of one measurement at most: what a file of 16 MiB holds once.
const APPENDS_MAX: u64 = (16 << 20) / BLOCK_BYTES as u64;

/// One way on one kind of file; a value for each round.
pub struct Cell {
    pub file: &'static str,
    pub way: &'static str,
    pub p50_us: Vec<f64>,
    pub p99_us: Vec<f64>,
    pub per_second: Vec<f64>,
}

/// All ways, measured.
pub struct Ways(pub Vec<Cell>);

impl Ways {
    /// `rounds` rounds, each way for `time` at most in each.
    pub fn measure(
        dir: &Path,
        rounds: usize,
        time: Duration,
        interrupt: &Interrupt,
    ) -> Result<Ways, Failure> {
        let mut cells = Vec::new();
        for round in 0..rounds {
            for (at_file, (blocks, file)) in FILES.into_iter().enumerate() {
                for (at_way, (durable, way)) in WAYS.into_iter().enumerate() {
                    if round == 0 {
                        let (p50_us, p99_us, per_second) = (Vec::new(), Vec::new(), Vec::new());
                        cells.push(Cell { file, way, p50_us, p99_us, per_second });
                    }
                    let appender =
                        Appender::create(dir, blocks, APPENDS_MAX * BLOCK_BYTES as u64, BLOCK_BYTES)?;
                    let latencies = appends(appender, durable, time, interrupt)?;
                    let cell: &mut Cell = &mut cells[at_file * WAYS.len() + at_way];
                    cell.p50_us.push(latencies.0.percentile_us(50.0));
                    cell.p99_us.push(latencies.0.percentile_us(99.0));
                    cell.per_second.push(latencies.1);
                }
            }
        }
        Ok(Ways(cells))
    }

    /// The median p50 of one way.
    pub fn p50_us(&self, file: &str, way: &str) -> f64 {
        let found = self.0.iter().find(|cell| cell.file == file && cell.way == way);
        found.map_or(0.0, |cell| median(cell.p50_us.clone()))
    }

    /// The durable way with the best p50.
    pub fn best(&self) -> Option<&Cell> {
        let durable = self.0.iter().filter(|cell| cell.way != "not durable");
        durable.min_by(|a, b| median(a.p50_us.clone()).total_cmp(&median(b.p50_us.clone())))
    }

    pub fn text(&self) -> String {
        let mut out = "\nappends of 4 KiB, one at a time, p50 / p99 us\n              ".to_owned();
        WAYS.iter().for_each(|(_, way)| out += &format!("{way:>18}"));
        out.push('\n');
        for (_, file) in FILES {
            out += &format!("  {file:<12}");
            for cell in self.0.iter().filter(|cell| cell.file == file) {
                let both = format!("{:.0} / {:.0}", median(cell.p50_us.clone()), median(cell.p99_us.clone()));
                out += &format!("{both:>18}");
            }
            out.push('\n');
        }
        out
    }

    pub fn json(&self) -> Value {
        let cells = self.0.iter().map(|cell| {
            json!({
                "file": cell.file, "way": cell.way, "p50_us": cell.p50_us, "p99_us": cell.p99_us,
                "appends_per_second": cell.per_second,
            })
        });
        cells.collect()
    }
}

/// Appends one at a time, never twice to the same block.
fn appends(
    mut appender: Appender,
    durable: Durable,
    time: Duration,
    interrupt: &Interrupt,
) -> Result<(Latencies, f64), Failure> {
    let mut latencies = Latencies::new();
    let begin = Instant::now();
    let mut last = begin;
    while last - begin < time && latencies.count() < APPENDS_MAX {
        interrupt.check()?;
        appender.append(BLOCK_BYTES, durable)?;
        let now = Instant::now();
        latencies.record(now - last);
        last = now;
    }
    let per_second = latencies.count() as f64 / (last - begin).as_secs_f64();
    Ok((latencies, per_second))
}

/// Whether the device seems to wait for its medium, in words.
pub fn honesty(plain_us: f64, durable_us: f64, write_cache: &str, fua: &str) -> String {
    let costs = durable_us - plain_us;
    match write_cache {
        "write through" => {
            "The device says that it has no volatile write cache, so a completed write is a kept one \
                            as far as it can be known from here."
                .to_owned()
        }
        "write back" if costs < 5.0 || durable_us < plain_us * 1.15 => format!(
            "Making a write durable costs only {costs:.0} us more than writing it, though the device has a volatile \
             cache. Either its cache survives a power cut (capacitors, a battery), or it does not tell the truth. \
             From inside the machine the two look alike: ask whoever runs the device, or pull the plug."
        ),
        "write back" => {
            let how = if fua == "1" { "forced unit access" } else { "a cache flush" };
            format!(
                "The device has a volatile cache and takes {costs:.0} us more for a durable write than for a plain one \
                 (by {how}): it seems to do what it is asked. In a virtual machine this shows only that the host \
                 was asked; what the host's cache mode does with the flush cannot be seen from here."
            )
        }
        other => format!("The kernel does not say whether the device has a volatile cache ({other})."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_flush_is_suspicious_and_a_dear_one_is_not() {
        assert!(honesty(20.0, 21.0, "write back", "0").contains("pull the plug"));
        assert!(honesty(20.0, 80.0, "write back", "0").contains("60 us more"));
        assert!(honesty(20.0, 80.0, "write back", "1").contains("forced unit access"));
        assert!(honesty(20.0, 20.0, "write through", "0").contains("no volatile"));
        assert!(honesty(20.0, 20.0, "unknown", "0").contains("does not say"));
    }

    #[test]
    fn all_ways_are_measured_in_each_round() {
        let interrupt = Interrupt::listen().unwrap();
        let ways = Ways::measure(&std::env::temp_dir(), 2, Duration::from_millis(2), &interrupt).unwrap();
        assert_eq!(ways.0.len(), 12);
        assert!(ways.0.iter().all(|cell| cell.p50_us.len() == 2 && cell.p50_us[0] > 0.0));
        assert!(ways.best().is_some_and(|best| best.way != "not durable"));
    }
}
