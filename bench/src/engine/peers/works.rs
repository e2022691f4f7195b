//! The kinds of work that all logs do, and what each did in each round.
//!
//! In: what is to be measured, a point's figures. Out: the words that ask for a point; the figures of all rounds by kind.
//! Never: compares figures of different rounds.

use serde_json::Value;

use crate::args::Peers;

/// One block of the table.
pub struct Work {
    pub name: String,
    words: Vec<String>,
    /// Which logs do it; none: all.
    only: Vec<String>,
}

/// What one log did in each round.
#[derive(Default)]
pub struct Side {
    pub per_second: Vec<f64>,
    pub p50_us: Vec<f64>,
    pub p99_us: Vec<f64>,
    pub cpu_us: Vec<f64>,
    pub device_bytes: Vec<f64>,
    /// What it read and held, if the work compares that.
    pub digests: Vec<Value>,
}

impl Side {
    pub fn push(&mut self, figures: &Value) {
        let of = |name: &str| figures[name].as_f64();
        self.per_second.extend(of("appends_per_second"));
        self.p50_us.extend(of("p50_us"));
        self.p99_us.extend(of("p99_us"));
        self.cpu_us.extend(of("processor_us_per_append"));
        self.device_bytes.extend(of("device_bytes_per_byte"));
        self.digests.extend(figures.get("digests").cloned());
    }
}

/// Steps of a thread of the store of Raft groups.
const RAFT_STEPS: usize = 2000;
const RAFT_STEPS_QUICK: usize = 300;
/// Ours: a log for each writer, one for all of them.
const OWN: [&str; 2] = ["ringmain", "ringmain-one"];
/// The logs that hold Raft groups.
const RAFT: [&str; 2] = ["ringmain", "raft-engine"];

impl Work {
    /// Everything that is asked for.
    pub fn all(peers: &Peers, quick: bool, milliseconds: u64) -> Vec<Work> {
        let mut works = Vec::new();
        let named = peers.logs.iter().map(String::as_str);
        let only: Vec<String> = match peers.logs.is_empty() {
            true => Vec::new(),
            false => OWN.into_iter().chain(named).map(str::to_owned).collect(),
        };
        for record_bytes in &peers.record_bytes {
            for writers in &peers.writers {
                let plural = if *writers == 1 { "" } else { "s" };
                let words = format!(
                    "append --record-bytes {record_bytes} --writers {writers} --milliseconds {milliseconds}"
                );
                let name = format!("{writers} writer{plural}, {}", bytes_text(*record_bytes));
                works.push(Work::new(name, &words, only.clone()));
            }
        }
        for threads in peers.raft.then_some([1, 8]).into_iter().flatten() {
            let steps = if quick { RAFT_STEPS_QUICK } else { RAFT_STEPS } / threads.min(4);
            let words = format!("raft --threads {threads} --steps {steps}");
            let name = match threads {
                1 => "64 Raft groups, 1 store thread".to_owned(),
                _ => format!("64 Raft groups, {threads} store threads"),
            };
            works.push(Work::new(name, &words, RAFT.map(str::to_owned).into()));
        }
        works
    }

    fn new(name: String, words: &str, only: Vec<String>) -> Work {
        Work { name, words: words.split(' ').map(str::to_owned).collect(), only }
    }

    /// Whether the log takes part.
    pub fn is_for(&self, log: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == log)
    }

    /// What the program is asked for.
    pub fn words<'a>(&'a self, log: &'a str) -> Vec<&'a str> {
        self.words.iter().map(String::as_str).chain(["--log", log]).collect()
    }
}

fn bytes_text(bytes: u64) -> String {
    if bytes.is_multiple_of(1024) { format!("{} KiB", bytes / 1024) } else { format!("{bytes} B") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_meets_every_number_of_writers() {
        let peers =
            Peers { record_bytes: vec![100, 16384], writers: vec![1, 8], logs: Vec::new(), raft: true };
        let works = Work::all(&peers, true, 50);
        let names: Vec<&str> = works.iter().map(|work| work.name.as_str()).collect();
        let expected = [
            "1 writer, 100 B",
            "8 writers, 100 B",
            "1 writer, 16 KiB",
            "8 writers, 16 KiB",
            "64 Raft groups, 1 store thread",
            "64 Raft groups, 8 store threads",
        ];
        assert_eq!(names, expected);
        assert!(works[0].is_for("okaywal") && !works[4].is_for("okaywal") && works[4].is_for("ringmain"));
        assert_eq!(works[0].words("okaywal").last(), Some(&"okaywal"));
    }
}
