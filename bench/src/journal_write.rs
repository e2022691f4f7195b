//! What a durable append costs by the state of the file's blocks and by the way it is made durable.
//!
//! In: a directory. Out: a table of medians over rounds. Never: a second pass over a file, whose blocks would no
//! longer be what the column says.

use std::time::Instant;

use serde_json::{Value, json};

use crate::args::JournalWrite;
use crate::cores::Cores;
use crate::failure::Failure;
use crate::histogram::{Latencies, median};
use crate::interrupt::Interrupt;
use crate::machine::Machine;
use crate::output;
use crate::raw::ring::{Appender, Blocks, Durable};

/// Bytes of an append, and appends per round: enough for a p99, few enough for a small disk.
const SIZES: [(usize, u64); 3] = [(4 << 10, 4000), (64 << 10, 1000), (1 << 20, 200)];
const FILES: [(Blocks, &str); 3] =
    [(Blocks::Written, "pre-written"), (Blocks::Reserved, "fallocated"), (Blocks::Growing, "growing")];
const WAYS: [(Durable, &str); 2] =
    [(Durable::WithWrite, "RWF_DSYNC"), (Durable::AfterWrite, "write+fdatasync")];

/// One line of the table. Each vector holds one value per round.
struct Cell {
    append_bytes: usize,
    appends_count: u64,
    file: (Blocks, &'static str),
    way: (Durable, &'static str),
    p50_us: Vec<f64>,
    p99_us: Vec<f64>,
    per_second: Vec<f64>,
}

/// Measures all combinations, interleaved, `rounds` times.
pub fn run(args: &JournalWrite, interrupt: &Interrupt) -> Result<(), Failure> {
    output::check(args.json.as_deref())?;
    let machine = Machine::at(&args.dir)?;
    output::print(&machine.lines())?;
    if let Some(cores) = Cores::choose() {
        // A journal's ring belongs to one core as well.
        cores.pin_answering();
    }
    let mut cells = cells();
    for _ in 0..args.rounds {
        for cell in &mut cells {
            cell.measure(args, interrupt)?;
        }
    }
    output::print(&table(&cells))?;
    output::save(
        args.json.as_deref(),
        &machine,
        "journal-write",
        Value::Array(cells.iter().map(Cell::json).collect()),
    )
}

fn cells() -> Vec<Cell> {
    let mut cells = Vec::new();
    for (append_bytes, appends_count) in SIZES {
        for file in FILES {
            for way in WAYS {
                let (p50_us, p99_us, per_second) = (Vec::new(), Vec::new(), Vec::new());
                cells.push(Cell { append_bytes, appends_count, file, way, p50_us, p99_us, per_second });
            }
        }
    }
    cells
}

impl Cell {
    fn measure(&mut self, args: &JournalWrite, interrupt: &Interrupt) -> Result<(), Failure> {
        let bytes = self.append_bytes as u64 * self.appends_count;
        let mut appender = Appender::create(&args.dir, self.file.0, bytes, self.append_bytes)?;
        let mut latencies = Latencies::new();
        let begin = Instant::now();
        let mut last = begin;
        for _ in 0..self.appends_count {
            interrupt.check()?;
            appender.append(self.append_bytes, self.way.0)?;
            let now = Instant::now();
            latencies.record(now - last);
            last = now;
        }
        self.p50_us.push(latencies.percentile_us(50.0));
        self.p99_us.push(latencies.percentile_us(99.0));
        self.per_second.push(self.appends_count as f64 / (last - begin).as_secs_f64());
        Ok(())
    }

    /// The median of each round's p50 divided by that of `base` in the same round: a slow minute hits both.
    fn ratio_to(&self, base: &Cell) -> f64 {
        median(self.p50_us.iter().zip(&base.p50_us).map(|(own, base)| own / base).collect())
    }

    fn json(&self) -> Value {
        json!({
            "append_bytes": self.append_bytes,
            "appends_per_round": self.appends_count,
            "file": self.file.1,
            "durable": self.way.1,
            "p50_us": self.p50_us,
            "p99_us": self.p99_us,
            "appends_per_second": self.per_second,
        })
    }
}

fn table(cells: &[Cell]) -> String {
    let mut out = format!(
        "\n{:>7}  {:<12} {:<16} {:>9} {:>9} {:>11} {:>16}\n",
        "append", "file", "durable by", "p50 us", "p99 us", "appends/s", "p50 to 1st line"
    );
    for cell in cells {
        // The first line of each size is what the others are compared with.
        let base = cells.iter().find(|base| base.append_bytes == cell.append_bytes).unwrap_or(cell);
        out += &format!(
            "{:>4} KiB  {:<12} {:<16} {:>9.1} {:>9.1} {:>11.0} {:>16.2}\n",
            cell.append_bytes >> 10,
            cell.file.1,
            cell.way.1,
            median(cell.p50_us.clone()),
            median(cell.p99_us.clone()),
            median(cell.per_second.clone()),
            cell.ratio_to(base),
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_to_the_first_line_of_the_same_size() {
        let mut cells = cells();
        assert_eq!(cells.len(), 18);
        for (at, cell) in cells.iter_mut().enumerate() {
            let first_round = 10.0 + at as f64;
            cell.p50_us = vec![first_round, first_round * 3.0];
        }
        let table = table(&cells);
        let last: Vec<&str> =
            table.lines().map(|line| line.split_whitespace().last().unwrap_or("")).collect();
        assert_eq!((last[2], last[3]), ("1.00", "1.10"));
        assert_eq!((last[8], last[9]), ("1.00", "1.06"));
    }
}
