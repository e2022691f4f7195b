//! What the device gives for each block size and depth, where more of either stops to help, and what reading and
//! writing do to each other.
//!
//! In: a pre-written file. Out: a table for each pattern and its knee. Never: a mean.

use std::fs::File;
use std::time::Duration;

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::raw::device::{Device, Figures, Setup, Stream};

/// A cell is as good as the best when it reaches this part of it.
const PLATEAU: f64 = 0.95;
const MIXED_BYTES: usize = 64 << 10;

/// How the file is gone through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pattern {
    pub name: &'static str,
    pub write: bool,
    pub random: bool,
    pub durable: bool,
}

pub const PATTERNS: [Pattern; 5] = [
    Pattern { name: "random read", write: false, random: true, durable: false },
    Pattern { name: "sequential read", write: false, random: false, durable: false },
    Pattern { name: "random write", write: true, random: true, durable: false },
    Pattern { name: "sequential write", write: true, random: false, durable: false },
    Pattern { name: "durable append", write: true, random: false, durable: true },
];

impl Pattern {
    pub fn stream(self, block_bytes: usize, depth: usize) -> Stream {
        Stream { write: self.write, random: self.random, block_bytes, depth, durable: self.durable }
    }
}

/// One point.
pub struct Cell {
    pub block_bytes: usize,
    pub depth: usize,
    pub figures: Figures,
}

/// All points of one pattern.
pub struct Surface {
    pub pattern: Pattern,
    pub cells: Vec<Cell>,
}

impl Surface {
    pub fn measure(
        (file, file_bytes): (&File, u64),
        pattern: Pattern,
        (sizes, depths): (&[usize], &[usize]),
        time: Duration,
        interrupt: &Interrupt,
    ) -> Result<Surface, Failure> {
        let mut cells = Vec::new();
        for block_bytes in sizes {
            for depth in depths {
                let figures =
                    point((file, file_bytes), pattern.stream(*block_bytes, *depth), time, interrupt)?;
                cells.push(Cell { block_bytes: *block_bytes, depth: *depth, figures });
            }
        }
        Ok(Surface { pattern, cells })
    }

    /// The fewest bytes in flight that reach the plateau, and of those the smallest block.
    pub fn knee(&self) -> Option<&Cell> {
        let best = self.cells.iter().map(|cell| cell.figures.bytes_per_second).fold(0.0, f64::max);
        let enough = self.cells.iter().filter(|cell| cell.figures.bytes_per_second >= PLATEAU * best);
        enough.min_by_key(|cell| (cell.block_bytes * cell.depth, cell.block_bytes))
    }

    pub fn text(&self) -> String {
        let mut depths: Vec<usize> = self.cells.iter().map(|cell| cell.depth).collect();
        depths.sort_unstable();
        depths.dedup();
        let mut out = format!("\n{}, MB/s (p99 us)\n  block \\ depth", self.pattern.name);
        depths.iter().for_each(|depth| out += &format!("{depth:>16}"));
        for (at, cell) in self.cells.iter().enumerate() {
            if at % depths.len() == 0 {
                out += &format!("\n  {:>9} KiB", cell.block_bytes >> 10);
            }
            let figures = &cell.figures;
            let p99 = figures.latencies.percentile_us(99.0);
            out += &format!("{:>16}", format!("{:.0} ({p99:.0})", figures.bytes_per_second / 1e6));
        }
        if let Some(knee) = self.knee() {
            out += &format!("\n  knee: {} KiB x {}\n", knee.block_bytes >> 10, knee.depth);
        }
        out
    }

    pub fn json(&self) -> Value {
        let cells: Vec<Value> = self
            .cells
            .iter()
            .map(|cell| json!({ "block_bytes": cell.block_bytes, "depth": cell.depth, "figures": cell.figures.json() }))
            .collect();
        let knee = self.knee().map(|knee| json!({ "block_bytes": knee.block_bytes, "depth": knee.depth }));
        json!({ "pattern": self.pattern.name, "cells": cells, "knee": knee })
    }
}

/// One stream alone.
pub fn point(
    (file, file_bytes): (&File, u64),
    stream: Stream,
    time: Duration,
    interrupt: &Interrupt,
) -> Result<Figures, Failure> {
    let open = Device::open(file, file_bytes, &[stream], Setup::BEST);
    let mut device = open.map_err(|source| Failure::Kernel { doing: "set up io_uring", source })?;
    let mut figures = device.measure(time, interrupt)?;
    figures.pop().ok_or_else(|| Failure::Broker("nothing was measured".to_owned()))
}

/// Durable appends beside random reads: what a broker does when consumers catch up.
pub struct Mixed {
    /// Depth of writes, of reads, and what each came to.
    cells: Vec<(usize, usize, Option<Figures>, Option<Figures>)>,
}

impl Mixed {
    pub fn measure(
        (file, file_bytes): (&File, u64),
        depths: &[usize],
        time: Duration,
        interrupt: &Interrupt,
    ) -> Result<Mixed, Failure> {
        let mut cells = Vec::new();
        for writes in depths {
            for reads in depths {
                let write = Stream {
                    write: true,
                    random: false,
                    block_bytes: MIXED_BYTES,
                    depth: *writes,
                    durable: true,
                };
                let read = Stream { write: false, random: true, depth: *reads, durable: false, ..write };
                let open = Device::open(file, file_bytes, &[write, read], Setup::BEST);
                if writes + reads == 0 {
                    continue;
                }
                let mut device =
                    open.map_err(|source| Failure::Kernel { doing: "set up io_uring", source })?;
                let mut figures = device.measure(time, interrupt)?.into_iter();
                let write = figures.next().filter(|figures| figures.latencies.count() > 0);
                let read = figures.next().filter(|figures| figures.latencies.count() > 0);
                cells.push((*writes, *reads, write, read));
            }
        }
        Ok(Mixed { cells })
    }

    /// How many times slower the p99 of a single append gets when readers keep this depth.
    pub fn slowdown(&self, reads: usize) -> Option<f64> {
        let p99 = |wanted| {
            let found = self.cells.iter().find(|(writes, reads, ..)| *writes == 1 && *reads == wanted)?;
            Some(found.2.as_ref()?.latencies.percentile_us(99.0))
        };
        Some(p99(reads)? / p99(0)?)
    }

    pub fn text(&self) -> String {
        let mut out =
            "\ndurable appends beside random reads, 64 KiB: append MB/s (p99 us) + read MB/s\n".to_owned();
        for (writes, reads, write, read) in &self.cells {
            let of = |figures: &Option<Figures>| {
                figures.as_ref().map_or("-".to_owned(), |figures| {
                    let p99 = figures.latencies.percentile_us(99.0);
                    format!("{:.0} ({p99:.0})", figures.bytes_per_second / 1e6)
                })
            };
            out +=
                &format!("  appends {writes:>2}, reads {reads:>2}: {:>14} + {:>14}\n", of(write), of(read));
        }
        out
    }

    pub fn json(&self) -> Value {
        let json_of = |figures: &Option<Figures>| figures.as_ref().map(Figures::json);
        let cells = self.cells.iter().map(|(writes, reads, write, read)| {
            json!({ "writes": writes, "reads": reads, "write": json_of(write), "read": json_of(read) })
        });
        cells.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::Latencies;

    #[test]
    fn the_knee_is_the_least_that_reaches_the_plateau() {
        let cell = |block_bytes: usize, depth, bytes_per_second| {
            let figures = Figures { latencies: Latencies::new(), per_second: 1.0, bytes_per_second };
            Cell { block_bytes, depth, figures }
        };
        let cells =
            vec![cell(4096, 1, 10.0), cell(4096, 32, 96.0), cell(65536, 1, 95.5), cell(65536, 2, 100.0)];
        let surface = Surface { pattern: PATTERNS[0], cells };
        let knee = surface.knee().unwrap();
        assert_eq!((knee.block_bytes, knee.depth), (65536, 1));
        assert!(surface.text().contains("knee: 64 KiB x 1"));
    }
}
