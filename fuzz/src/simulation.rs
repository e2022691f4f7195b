//! Many seeds of the engine's simulator, on every core.
//!
//! In: a first seed and how many, or for how long. Out: a line for each failure, with the command that repeats it, and a
//! summary as the last line. Never: lets a seed depend on another.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ringmain_engine::planted::Bug;
use ringmain_engine::sim::{self, Summary};

thread_local! {
    static SEED: Cell<Option<u64>> = const { Cell::new(None) };
}

/// The seed that this thread is running.
pub fn seed() -> Option<u64> {
    SEED.get()
}

/// When no further seed is begun. A seed that was begun is run to its end.
#[derive(Clone, Copy)]
enum Limit {
    Seeds(u64),
    /// Looked at behind each seed, so every core runs one.
    Until(Instant),
}

/// What is done with a seed.
type Run = dyn Fn(u64) -> Result<Summary, String> + Sync;

#[derive(Default)]
struct Totals {
    next: AtomicU64,
    seeds: AtomicU64,
    faults: AtomicU64,
    operations: AtomicU64,
    acknowledged: AtomicU64,
    placed_bytes: AtomicU64,
    refused: AtomicU64,
    failures: AtomicU64,
}

/// Runs `count` seeds from `from`; how many failed.
pub fn run(from: u64, count: u64) -> u64 {
    run_with(from, count, None)
}

/// The same, each seed twice: it fails as well if it does not do the same again, for then nobody can repeat what it found.
pub fn run_twice(from: u64, count: u64) -> u64 {
    run_all(Limit::Seeds(count), |index| from.saturating_add(index), &twice, None)
}

/// The same, with a bug planted.
pub fn run_with(from: u64, count: u64, bug: Option<Bug>) -> u64 {
    run_all(Limit::Seeds(count), |index| from.saturating_add(index), &sim::run, bug)
}

/// Runs seeds from `from`, one after the other, until `time` is over; how many failed.
pub fn run_for(from: u64, time: Duration) -> u64 {
    run_all(Limit::Until(Instant::now() + time), |index| from.saturating_add(index), &sim::run, None)
}

/// Runs the seeds that once found something; how many failed.
pub fn run_kept() -> u64 {
    let lines = include_str!("../seeds.txt").lines().filter(|line| !line.starts_with('#'));
    let seeds: Vec<u64> = lines.filter_map(|line| line.split(' ').next()?.parse().ok()).collect();
    run_all(Limit::Seeds(seeds.len() as u64), |index| seeds[index as usize], &sim::run, None)
}

fn twice(seed: u64) -> Result<Summary, String> {
    let (first, again) = (sim::run(seed)?, sim::run(seed)?);
    if first == again { Ok(first) } else { Err(format!("not the same again: {first:?}, then {again:?}")) }
}

fn run_all(limit: Limit, seed_of: impl Fn(u64) -> u64 + Sync, one: &Run, bug: Option<Bug>) -> u64 {
    let totals = Totals::default();
    let begun = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| work(&totals, &seed_of, one, limit, bug));
        }
    });
    let get = |total: &AtomicU64| total.load(Ordering::Relaxed);
    let rate = get(&totals.seeds) as f64 / begun.elapsed().as_secs_f64().max(1e-9);
    println!(
        "sim: {} seeds run, {} faults injected, {} failures; {} operations, {} acknowledgements checked, \
         {} bytes straight into segments, {} starts refused because of rot, {rate:.0} seeds a second on {threads} cores",
        get(&totals.seeds),
        get(&totals.faults),
        get(&totals.failures),
        get(&totals.operations),
        get(&totals.acknowledged),
        get(&totals.placed_bytes),
        get(&totals.refused),
    );
    get(&totals.failures)
}

fn work(totals: &Totals, seed_of: &impl Fn(u64) -> u64, one: &Run, limit: Limit, bug: Option<Bug>) {
    crate::canary::plant_here(bug);
    loop {
        let index = totals.next.fetch_add(1, Ordering::Relaxed);
        if matches!(limit, Limit::Seeds(count) if index >= count) {
            return;
        }
        let seed = seed_of(index);
        SEED.set(Some(seed));
        totals.seeds.fetch_add(1, Ordering::Relaxed);
        match one(seed) {
            Ok(summary) => {
                totals.faults.fetch_add(summary.faults, Ordering::Relaxed);
                totals.operations.fetch_add(summary.operations, Ordering::Relaxed);
                totals.acknowledged.fetch_add(summary.acknowledged, Ordering::Relaxed);
                totals.placed_bytes.fetch_add(summary.placed_bytes, Ordering::Relaxed);
                totals.refused.fetch_add(u64::from(summary.refused), Ordering::Relaxed);
            }
            Err(what) => {
                totals.failures.fetch_add(1, Ordering::Relaxed);
                println!("seed {seed}: {what}");
                println!("  again: ringmain-fuzz sim --seeds 1 --from {seed}");
            }
        }
        if matches!(limit, Limit::Until(end) if Instant::now() >= end) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_ends_the_run_behind_a_whole_seed() {
        let seeds_of = |limit| {
            let totals = Totals::default();
            work(&totals, &|index| index, &sim::run, limit, None);
            assert_eq!(totals.failures.into_inner(), 0);
            totals.seeds.into_inner()
        };
        assert_eq!(seeds_of(Limit::Until(Instant::now())), 1);
        assert_eq!(seeds_of(Limit::Seeds(3)), 3);
        assert_eq!(seeds_of(Limit::Seeds(0)), 0);
    }
}
