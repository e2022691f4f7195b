//! Whether the device keeps its speed: durable appends second by second, on request, because it takes minutes.
//!
//! In: a pre-written file, how many seconds. Out: one figure for each second and a judgement of their course. Never:
//! calls a device steady that has become slower, or one that was watched too briefly.

use std::fs::File;
use std::time::Duration;

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::histogram::median;
use crate::interrupt::Interrupt;
use crate::raw::device::{Device, Setup, Stream};

/// What a busy broker writes.
const STREAM: Stream = Stream { write: true, random: false, block_bytes: 256 << 10, depth: 4, durable: true };
const SECOND: Duration = Duration::from_secs(1);
/// The end may differ from the beginning by this part of it.
const DRIFT: f64 = 0.05;
/// A second below this part of the median is a hole.
const HOLE: f64 = 0.5;
/// Fewer seconds say nothing.
const SECONDS_MIN: usize = 9;

/// Each second of the run.
pub struct Steady {
    bytes_per_second: Vec<f64>,
    p99_us: Vec<f64>,
}

impl Steady {
    pub fn measure(
        (file, file_bytes): (&File, u64),
        seconds: u64,
        interrupt: &Interrupt,
    ) -> Result<Steady, Failure> {
        let open = Device::open(file, file_bytes, &[STREAM], Setup::BEST);
        let mut device = open.map_err(|source| Failure::Kernel { doing: "set up io_uring", source })?;
        let mut steady = Steady { bytes_per_second: Vec::new(), p99_us: Vec::new() };
        for _ in 0..seconds {
            for figures in device.measure(SECOND, interrupt)? {
                steady.bytes_per_second.push(figures.bytes_per_second);
                steady.p99_us.push(figures.latencies.percentile_us(99.0));
            }
        }
        Ok(steady)
    }

    /// Medians of the first and the last third.
    fn ends(&self) -> (f64, f64) {
        let third = self.bytes_per_second.len() / 3;
        let part = |from: usize| self.bytes_per_second.iter().skip(from).take(third).copied().collect();
        (median(part(0)), median(part(self.bytes_per_second.len() - third)))
    }

    /// The second behind the last one that was nearer to the beginning than to the end.
    fn fell_at(&self) -> usize {
        let (first, last) = self.ends();
        let middle = (first + last) / 2.0;
        self.bytes_per_second.iter().rposition(|rate| *rate > middle).map_or(0, |place| place + 1)
    }

    /// In words.
    pub fn judgement(&self) -> String {
        let count = self.bytes_per_second.len();
        if count < SECONDS_MIN {
            return format!("{count} s are too few to say whether the device keeps its speed.");
        }
        let ((first, last), middle) = (self.ends(), median(self.bytes_per_second.clone()));
        let holes = self.bytes_per_second.iter().filter(|rate| **rate < HOLE * middle).count();
        let holes = match holes {
            0 => String::new(),
            holes => format!(" In {holes} of {count} seconds it gave less than half of its median."),
        };
        let (first_mb, last_mb) = (first / 1e6, last / 1e6);
        let course = match last / first.max(1.0) {
            ratio if ratio < 1.0 - DRIFT => format!(
                "Not steady: it falls from {first_mb:.0} to {last_mb:.0} MB/s, most of it by second {}. Plan with \
                 the lower figure, and run longer to see whether that one holds.",
                self.fell_at()
            ),
            ratio if ratio > 1.0 + DRIFT => format!(
                "Not steady: it rises from {first_mb:.0} to {last_mb:.0} MB/s. Something else was using it at first, \
                 or it was warming up: run it again."
            ),
            _ => format!(
                "Steady over {count} s: {first_mb:.0} MB/s at first, {last_mb:.0} MB/s at the end. It wrote the same \
                 file over and over; a drive that is full or never trimmed may do worse."
            ),
        };
        course + &holes
    }

    pub fn text(&self) -> String {
        let mut out = "\ndurable appends of 256 KiB x 4, MB/s (p99 us) in each second\n".to_owned();
        for (number, (rate, p99)) in self.bytes_per_second.iter().zip(&self.p99_us).enumerate() {
            out += &format!("{:>14}", format!("{:.0} ({p99:.0})", rate / 1e6));
            out += if number % 8 == 7 { "\n" } else { "" };
        }
        out + &format!("\n  {}\n", self.judgement())
    }

    pub fn json(&self) -> Value {
        json!({
            "bytes_per_second": self.bytes_per_second, "p99_us": self.p99_us, "judgement": self.judgement(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rates: &[f64]) -> String {
        let bytes_per_second = rates.iter().map(|rate| rate * 1e6).collect();
        Steady { bytes_per_second, p99_us: vec![1.0; rates.len()] }.judgement()
    }

    #[test]
    fn a_fall_is_seen_and_where_it_was() {
        let fallen = of(&[100.0, 100.0, 100.0, 100.0, 40.0, 41.0, 40.0, 39.0, 40.0]);
        assert!(fallen.contains("from 100 to 40") && fallen.contains("second 4"), "{fallen}");
        assert!(of(&[40.0, 40.0, 40.0, 60.0, 60.0, 60.0, 60.0, 60.0, 60.0]).contains("rises"));
    }

    #[test]
    fn an_even_course_is_steady_and_its_holes_are_told() {
        let even = [100.0, 101.0, 99.0, 100.0, 100.0, 102.0, 100.0, 99.0, 100.0];
        assert!(of(&even).starts_with("Steady"));
        let mut holed = even;
        holed[4] = 3.0;
        assert!(of(&holed).contains("1 of 9"));
        assert!(of(&even[..8]).contains("too few"));
    }
}
