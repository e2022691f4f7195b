//! Whether it can go on like this for years.
//!
//! In: all windows. Out: for each question a figure, its limit, and whether it is kept. Never: a verdict on windows that
//! are too few to have a middle and a last third.

use serde_json::{Value, json};

use super::window::Window;
use crate::histogram::Latencies;

/// What is held at the end may be this times what was held in the middle.
const GROWTH_MAX: f64 = 1.1;
/// The p99 of appends beside cold readers may be this times what it is alone.
const COLD_RATIO_MAX: f64 = 3.0;
/// Appends that were due may be this times those that were done: a longer queue would hide what holds them up.
const BEHIND_MAX: f64 = 1.01;

/// One question and its answer.
pub(super) struct Verdict {
    question: &'static str,
    figure: f64,
    limit: f64,
}

impl Verdict {
    /// Whether the figure is within its limit.
    pub(super) fn is_kept(&self) -> bool {
        self.figure <= self.limit
    }

    /// For people.
    pub(super) fn line(&self) -> String {
        let Verdict { question, figure, limit } = self;
        let kept = if self.is_kept() { "yes" } else { "NO" };
        format!("{question:<66} {figure:>9.3} at most {limit:>7.2}: {kept}\n")
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        json!({ "question": self.question, "figure": self.figure, "limit": self.limit, "kept": self.is_kept() })
    }
}

/// The verdicts on `windows`, in which memory was to stay below `memory_bytes_max` and so many appends were due each
/// second.
pub(super) fn verdicts(windows: &[Window], memory_bytes_max: u64, due_per_second: f64) -> Vec<Verdict> {
    let growth = |figure: fn(&Window) -> u64| growth(&windows.iter().map(figure).collect::<Vec<u64>>());
    let most = windows.iter().map(|window| window.holdings.resident_bytes).max().unwrap_or(0);
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let p99 = |is_cold: bool| {
        let mut all = Latencies::new();
        windows.iter().filter(|window| window.is_cold == is_cold).for_each(|window| all.add(&window.commits));
        all.percentile_us(99.0)
    };
    let seconds: f64 = windows.iter().map(|window| window.time.as_secs_f64()).sum();
    let appends: u64 = windows.iter().map(|window| window.appends).sum();
    let verdict = |question, figure, limit| Verdict { question, figure, limit };
    vec![
        verdict(
            "bytes on disk level off: last third to middle third",
            growth(|window| window.on_disk_bytes),
            GROWTH_MAX,
        ),
        verdict(
            "MiB of memory stay below what is configured and 64 MiB beside it",
            mib(most),
            mib(memory_bytes_max),
        ),
        verdict(
            "open files level off: last third to middle third",
            growth(|window| window.holdings.descriptors_count),
            GROWTH_MAX,
        ),
        verdict(
            "p99 of appends beside cold readers to alone",
            p99(true) / p99(false).max(1e-9),
            COLD_RATIO_MAX,
        ),
        verdict(
            "appends that were due to those that were done",
            due_per_second * seconds / appends.max(1) as f64,
            BEHIND_MAX,
        ),
    ]
}

/// The mean of the last third to that of the middle third.
fn growth(figures: &[u64]) -> f64 {
    let third = figures.len() / 3;
    let sum = |part: &[u64]| part.iter().sum::<u64>() as f64;
    let (rest, last) = figures.split_at(figures.len() - third);
    let (_, middle) = rest.split_at(rest.len() - third);
    sum(last) / sum(middle).max(1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::endurance::reader::Counts;
    use crate::engine::holdings::Holdings;
    use ringmain_engine::shard::Retained;
    use std::time::Duration;

    fn window(is_cold: bool, us: u64, bytes: u64) -> Window {
        let mut commits = Latencies::new();
        commits.record(Duration::from_micros(us));
        let holdings = Holdings { resident_bytes: bytes, descriptors_count: bytes };
        Window {
            end: Duration::ZERO,
            time: Duration::from_secs(1),
            is_cold,
            appends: 1,
            bytes,
            commits,
            retained: Retained::default(),
            on_disk_bytes: bytes,
            holdings,
            cold: Counts::default(),
            compactions: 0,
        }
    }

    #[test]
    fn what_grows_and_what_is_slow_is_told_from_what_is_not() {
        let kept = |windows: &[Window]| {
            verdicts(windows, 100 << 20, 1.0).iter().map(Verdict::is_kept).collect::<Vec<bool>>()
        };
        let of = |mib: [u64; 6], cold_us: u64| {
            let mut number = 0;
            mib.map(|mib| {
                number += 1;
                let is_cold = number % 2 == 0;
                window(is_cold, if is_cold { cold_us } else { 100 }, mib << 20)
            })
        };
        assert_eq!(kept(&of([10, 90, 50, 50, 52, 50], 100)), [true; 5]);
        assert_eq!(kept(&of([10, 20, 50, 50, 52, 60], 100)), [false, true, false, true, true], "it grows");
        assert_eq!(
            kept(&of([10, 101, 50, 50, 52, 50], 100)),
            [true, false, true, true, true],
            "it was too large"
        );
        assert_eq!(
            kept(&of([10, 90, 50, 50, 52, 50], 400)),
            [true, true, true, false, true],
            "readers hold it up"
        );
        let behind = verdicts(&of([50; 6], 100), 100 << 20, 1.1);
        assert!(!behind[4].is_kept(), "it does not keep up");
    }
}
