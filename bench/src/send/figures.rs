//! What the rounds came to, for people and for programs.
//!
//! In: turns, by round, size and way. Out: medians, and ratios to the base of each way within its round. Never: a
//! median of ratios made from medians.

use std::time::Duration;

use serde_json::{Value, json};

use super::path::{Base, PATHS, Path};
use super::{Moved, SIZES};
use crate::histogram::median;

/// What one turn came to.
#[derive(Clone, Copy)]
pub struct Turn {
    pub moved: Moved,
    /// Until the last byte was read at the other end.
    pub elapsed: Duration,
    pub sender_time: Duration,
    /// Of threads that the kernel made for the ring.
    pub workers_time: Duration,
    pub receiver_time: Duration,
}

impl Turn {
    fn bytes_per_second(&self) -> f64 {
        self.moved.bytes as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    fn ns_per_kib(&self, time: Duration) -> f64 {
        time.as_nanos() as f64 * 1024.0 / self.moved.bytes.max(1) as f64
    }

    /// Which part of the notifications said that bytes were copied.
    fn copied(&self) -> Option<f64> {
        (self.moved.notifications > 0).then(|| self.moved.copied as f64 / self.moved.notifications as f64)
    }
}

/// One way in one size, all rounds. Empty: not allowed here.
struct Line {
    size: usize,
    path: &'static Path,
    turns: Vec<Turn>,
    ratios: Vec<f64>,
}

/// All lines of one link.
pub struct Figures {
    link: &'static str,
    rounds: usize,
    lines: Vec<Line>,
}

impl Figures {
    pub fn of(link: &'static str, rounds: &[Vec<Vec<Option<Turn>>>]) -> Figures {
        let mut lines = Vec::new();
        for (size_place, size) in SIZES.into_iter().enumerate() {
            for (place, path) in PATHS.iter().enumerate() {
                let base = Path::place_of(path.base());
                let at = |round: &Vec<Vec<Option<Turn>>>, place: usize| {
                    round.get(size_place).and_then(|turns| turns.get(place).copied().flatten())
                };
                let turns = rounds.iter().filter_map(|round| at(round, place)).collect();
                let ratios = rounds.iter().filter_map(|round| {
                    Some(at(round, place)?.bytes_per_second() / at(round, base)?.bytes_per_second())
                });
                lines.push(Line { size, path, turns, ratios: ratios.collect() });
            }
        }
        Figures { link, rounds: rounds.len(), lines }
    }

    pub fn text(&self) -> String {
        let mut out = format!(
            "\n{}: medians of {} rounds; processor time in ns per KiB; ratio of MB/s to `{}` or, for what was not in\n\
             memory, to `{}` of the same size and round\n",
            self.link,
            self.rounds,
            PATHS[Path::place_of(Base::PlainSend)].name,
            PATHS[Path::place_of(Base::RawRead)].name,
        );
        let mut size = 0;
        for line in &self.lines {
            if line.size != size {
                size = line.size;
                out += &format!(
                    "\n{:>6} KiB {:<40} {:>8} {:>8} {:>8} {:>8} {:>8} {:>7}\n",
                    size >> 10,
                    "",
                    "MB/s",
                    "sender",
                    "workers",
                    "receiver",
                    "copied",
                    "ratio"
                );
            }
            out += &line.text();
        }
        out
    }

    pub fn json(&self) -> Value {
        let lines: Vec<Value> = self.lines.iter().map(Line::json).collect();
        json!({ "link": self.link, "lines": lines })
    }
}

impl Line {
    fn of(&self, figure: &dyn Fn(&Turn) -> f64) -> Vec<f64> {
        self.turns.iter().map(figure).collect()
    }

    fn copied(&self) -> Vec<f64> {
        self.turns.iter().filter_map(Turn::copied).collect()
    }

    fn text(&self) -> String {
        if self.turns.is_empty() {
            return format!("{:>10} {:<40} not allowed here\n", "", self.path.name);
        }
        let copied = self.copied();
        let copied = match copied.is_empty() {
            true => "-".to_owned(),
            false => format!("{:.0} %", 100.0 * median(copied)),
        };
        format!(
            "{:>10} {:<40} {:>8.0} {:>8.0} {:>8.0} {:>8.0} {copied:>8} {:>7.2}\n",
            "",
            self.path.name,
            median(self.of(&|turn| turn.bytes_per_second())) / 1e6,
            median(self.of(&|turn| turn.ns_per_kib(turn.sender_time))),
            median(self.of(&|turn| turn.ns_per_kib(turn.workers_time))),
            median(self.of(&|turn| turn.ns_per_kib(turn.receiver_time))),
            median(self.ratios.clone()),
        )
    }

    fn json(&self) -> Value {
        json!({
            "bytes": self.size,
            "path": self.path.name,
            "bytes_per_second": self.of(&|turn| turn.bytes_per_second()),
            "sender_ns_per_kib": self.of(&|turn| turn.ns_per_kib(turn.sender_time)),
            "workers_ns_per_kib": self.of(&|turn| turn.ns_per_kib(turn.workers_time)),
            "receiver_ns_per_kib": self.of(&|turn| turn.ns_per_kib(turn.receiver_time)),
            "copied": self.copied(),
            "ratio_to": match self.path.base() { Base::PlainSend => "plain send", Base::RawRead => "raw direct read" },
            "ratio": self.ratios,
        })
    }
}
