//! A store of Raft groups: its threads append entries of several groups at once, cut tails off, purge, read back.
//!
//! In: a log that can hold groups, a seed. Out: figures, and digests of what was read, of what is there at the end, and of what
//! is there after opening again. Never: a figure of a log that lost or changed an entry without the digests telling.

mod plan;
mod raft_engine;
mod ringmain;

use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};

use crate::args::Raft;
use crate::device::Device;
use crate::logs::Failure;
use crate::meter::{Latencies, Moment};
use plan::{Batch, Entry, Step};

/// Groups of one store, spread evenly over its threads.
const GROUPS: u64 = 64;

/// A log of many groups. Indexes begin at 1.
trait Groups: Sync {
    /// Appends entries of several groups, durable when it returns.
    fn append(&self, batches: &[Batch]) -> Result<(), Failure>;

    /// Gives up what is below these indexes; need not be durable when it returns.
    fn purge(&self, upto: &[(u64, u64)]) -> Result<(), Failure>;

    /// The entries of a half-open range of indexes.
    fn read(&self, group: u64, from: u64, to: u64) -> Result<Vec<Entry>, Failure>;

    /// First index, and one more than the last.
    fn ends(&self, group: u64) -> Result<(u64, u64), Failure>;

    fn close(self: Box<Self>) -> Result<(), Failure>;
}

fn open(log: &str, dir: &Path) -> Result<Box<dyn Groups>, Failure> {
    match log {
        "ringmain" => ringmain::open(dir, 1..1 + GROUPS),
        "raft-engine" => raft_engine::open(dir),
        _ => Err(Failure::from(format!("{log} does not hold Raft groups"))),
    }
}

/// What one thread of the store saw.
struct Seen {
    appends: Latencies,
    reads: Latencies,
    entries: u64,
    bytes: u64,
    digest: Digest,
}

/// One run from an empty directory.
pub fn run(args: &Raft) -> Result<Value, Failure> {
    let device = Device::under(&args.dir)?;
    let each = GROUPS / args.threads.clamp(1, GROUPS as usize) as u64;
    let starts = (0..GROUPS / each).map(|thread| 1 + thread * each);
    let work: Vec<Vec<Step>> =
        starts.map(|start| plan::steps(args.seed, start..start + each, args.steps)).collect();
    let log = open(&args.log, &args.dir)?;
    device.come_to_rest(&args.dir)?;
    let begin = Moment::now(&device);
    let seen: Vec<Seen> = std::thread::scope(|scope| {
        let threads: Vec<_> = work.iter().map(|steps| scope.spawn(|| carry_out(&*log, steps))).collect();
        let ended = threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err("a thread has panicked".into())));
        ended.collect::<Result<_, Failure>>()
    })?;
    let end = Moment::now(&device);
    let (mut appends, mut reads, mut read) = (Latencies::new(), Latencies::new(), Digest::new());
    for seen in &seen {
        appends.add(&seen.appends);
        reads.add(&seen.reads);
        read.add(&seen.digest.0.to_le_bytes());
    }
    let count = |of: fn(&Seen) -> u64| seen.iter().map(of).sum::<u64>();
    let (entries, bytes) = (count(|seen| seen.entries), count(|seen| seen.bytes));
    let mut figures = end.since(&begin, entries, bytes);
    figures["p50_us"] = appends.percentile_us(50.0).into();
    figures["p99_us"] = appends.percentile_us(99.0).into();
    figures["read_p50_us"] = reads.percentile_us(50.0).into();
    figures["read_p99_us"] = reads.percentile_us(99.0).into();
    let at_the_end = everything(&*log)?;
    log.close()?;
    let log = open(&args.log, &args.dir)?;
    let opened_again = everything(&*log)?;
    log.close()?;
    figures["digests"] = json!({ "read": read.text(), "end": at_the_end, "opened_again": opened_again });
    Ok(figures)
}

fn carry_out(log: &dyn Groups, steps: &[Step]) -> Result<Seen, Failure> {
    let mut seen = Seen {
        appends: Latencies::new(),
        reads: Latencies::new(),
        entries: 0,
        bytes: 0,
        digest: Digest::new(),
    };
    for step in steps {
        let begin = Instant::now();
        match step {
            Step::Append(batches) => {
                log.append(batches)?;
                seen.appends.record(begin.elapsed());
                seen.entries += batches.iter().map(|batch| batch.entries.len() as u64).sum::<u64>();
                let entries = batches.iter().flat_map(|batch| &batch.entries);
                seen.bytes += entries.map(|(_, bytes)| bytes.len() as u64).sum::<u64>();
            }
            Step::Purge(upto) => log.purge(upto)?,
            Step::Read { group, from, to } => {
                let found = log.read(*group, *from, *to)?;
                seen.reads.record(begin.elapsed());
                seen.digest.add_entries(*group, &found);
            }
        }
    }
    Ok(seen)
}

/// A digest of every entry of every group.
fn everything(log: &dyn Groups) -> Result<String, Failure> {
    let mut digest = Digest::new();
    for group in 1..=GROUPS {
        let (first, next) = log.ends(group)?;
        digest.add_entries(group, &log.read(group, first, next)?);
    }
    Ok(digest.text())
}

/// Tells two sequences of entries apart; not made against anybody who means harm.
struct Digest(u64);

impl Digest {
    fn new() -> Digest {
        Digest(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn add_entries(&mut self, group: u64, entries: &[Entry]) {
        for number in [group, entries.len() as u64] {
            self.add(&number.to_le_bytes());
        }
        for (index, bytes) in entries {
            self.add(&index.to_le_bytes());
            self.add(&(bytes.len() as u64).to_le_bytes());
            self.add(bytes);
        }
    }

    fn text(&self) -> String {
        format!("{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_logs_hold_the_same_in_the_end() {
        let mut found = Vec::new();
        for log in ["ringmain", "raft-engine"] {
            let dir = std::env::temp_dir().join(format!("ringmain-peers-raft-{log}-{}", std::process::id()));
            std::fs::create_dir(&dir).unwrap();
            let args = Raft { log: log.to_owned(), dir: dir.clone(), threads: 2, steps: 200, seed: 3 };
            let figures = run(&args);
            std::fs::remove_dir_all(&dir).unwrap();
            found.push(figures.unwrap()["digests"].clone());
        }
        assert_eq!(found[0], found[1]);
        assert_eq!(found[0]["end"], found[0]["opened_again"]);
        assert_ne!(found[0]["end"], Digest::new().text());
    }
}
