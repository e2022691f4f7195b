//! Seeded fuzzing of everything that reads bytes from a device, and the simulator of the engine.
//!
//! In: a command, a number of seeds and the first of them. Out: a line for each failure with its seed, a summary
//! as the last line, exit code 1 if anything failed. The same seed does the same on every machine. Never: needs a
//! corpus, a compiler plug-in or the network.

#![forbid(unsafe_code)]

mod canary;
mod damage;
mod directory;
mod flips;
mod golden;
mod node;
mod parsers;
mod random;
mod samples;
mod simulation;
mod small;

use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ringmain_engine::sim;

const MINUTES_MAX: u64 = 365 * 24 * 60;

/// The seed being run, for the message of a panic.
static SEED: AtomicU64 = AtomicU64::new(0);

const USAGE: &str = "usage: ringmain-fuzz parsers [--only PARSER] --executions N [--from SEED]
       ringmain-fuzz directory --seeds N [--from SEED]
       ringmain-fuzz sim --seeds N [--from SEED]
       ringmain-fuzz sim --minutes N [--from SEED]
       ringmain-fuzz sim --twice --seeds N [--from SEED]      (and that each does the same again)
       ringmain-fuzz sim --kept      (the seeds in fuzz/seeds.txt)
       ringmain-fuzz canary          (built with --features planted)
       ringmain-fuzz flips
       ringmain-fuzz golden [--make] DIR
       ringmain-fuzz smoke";

/// What a fuzzer came to.
#[derive(Default)]
struct Outcome {
    executions: u64,
    failures: u64,
    /// What else there is to say, for the last line.
    remark: String,
}

impl Outcome {
    /// Runs one seed; what it returns says what went wrong.
    fn run(&mut self, seed: u64, one: impl FnOnce() -> Result<(), String>) {
        SEED.store(seed, Ordering::Relaxed);
        self.executions += 1;
        if let Err(what) = one() {
            self.failures += 1;
            println!("seed {seed}: {what}");
        }
    }

    fn print(&self, name: &str) {
        let Outcome { executions, failures, remark } = self;
        println!("{name}: {executions} executions, {failures} failures{remark}");
    }
}

fn main() -> ExitCode {
    // A panic aborts the process, so it is the last thing that a run can report.
    std::panic::set_hook(Box::new(|panic| {
        let seed = simulation::seed().unwrap_or_else(|| SEED.load(Ordering::Relaxed));
        println!("seed {seed}: {panic}");
        println!("stopped by a panic: 1 failures");
        std::process::exit(1);
    }));
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let failures = match words.split_first() {
        Some((&"parsers", ["--only", name, flags @ ..])) => {
            let outcome =
                numbers(flags, "--executions").and_then(|(count, from)| parsers::run_one(name, from, count));
            outcome.map(|outcome| {
                outcome.print(name);
                outcome.failures
            })
        }
        Some((&"parsers", flags)) => numbers(flags, "--executions").map(|(count, from)| {
            let outcome = parsers::run(from, count);
            outcome.print("parsers");
            outcome.failures
        }),
        Some((&"directory", flags)) => numbers(flags, "--seeds").map(|(count, from)| {
            let outcome = directory::run(from, count);
            outcome.print("directory");
            outcome.failures
        }),
        Some((&"sim", ["--planted", name, flags @ ..])) => {
            numbers(flags, "--seeds").and_then(|(count, from)| canary::plant(name, from, count))
        }
        Some((&"sim", ["--twice", flags @ ..])) => {
            numbers(flags, "--seeds").map(|(count, from)| simulation::run_twice(from, count))
        }
        Some((&"sim", ["--kept"])) => Some(simulation::run_kept()),
        Some((&"sim", flags)) => simulate(flags),
        Some((&"canary", [])) => Some(canary::run()),
        Some((&"flips", [])) => Some(flips::run().unwrap_or_else(|what| {
            println!("{what}");
            1
        })),
        Some((&"golden", ["--make", directory])) => Some(golden::make(Path::new(directory))),
        Some((&"golden", [directory])) => Some(golden::print(Path::new(directory))),
        Some((&"smoke", [])) => Some(smoke()),
        _ => None,
    };
    match failures {
        Some(0) => ExitCode::SUCCESS,
        Some(_) => ExitCode::from(1),
        None => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// The simulator, for so many seeds or so many minutes.
fn simulate(flags: &[&str]) -> Option<u64> {
    let seeds = numbers(flags, "--seeds").map(|(count, from)| simulation::run(from, count));
    seeds.or_else(|| {
        let (minutes, from) = numbers(flags, "--minutes")?;
        // Whoever asks for more than a year gets a year.
        let seconds = minutes.min(MINUTES_MAX) * 60;
        Some(simulation::run_for(from, Duration::from_secs(seconds)))
    })
}

fn smoke() -> u64 {
    let (parsers, directory) = (parsers::run(0, 200_000), directory::run(0, 25));
    parsers.print("parsers");
    directory.print("directory");
    let failures = parsers.failures + directory.failures + simulation::run_kept();
    let failures = [0, sim::FIRST_ROOMY_SEED, sim::FIRST_RESERVING_SEED]
        .iter()
        .fold(failures, |failures, from| failures + simulation::run_twice(*from, 1_000));
    println!("smoke: {} executions, {failures} failures", parsers.executions + directory.executions);
    failures
}

/// The values of `counted` and of `--from`, which may be left out.
fn numbers(flags: &[&str], counted: &str) -> Option<(u64, u64)> {
    let (mut count, mut from) = (None, 0);
    for pair in flags.chunks(2) {
        match pair {
            [flag, value] if *flag == counted => count = Some(value.parse().ok()?),
            ["--from", value] => from = value.parse().ok()?,
            _ => return None,
        }
    }
    Some((count?, from))
}
