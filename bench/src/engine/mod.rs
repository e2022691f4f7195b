//! The engine alone, each figure beside what the raw device or the smaller case did in the same run.
//!
//! In: what to do, a directory. Out: figures of both, their ratio. Never: a ratio of runs of different minutes.

pub mod append;
pub mod driver;
mod endurance;
mod flight;
mod holdings;
pub mod pair;
mod partitions;
mod peers;
mod read;
mod recovery;
mod space;
#[cfg(test)]
mod tests;
mod usage;

use std::time::Duration;

use crate::args::Engine;
use crate::cores::Cores;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::machine::Machine;
use crate::output;
use append::Log;
use pair::Round;

/// Logs of `many-partitions`.
const MANY: u64 = 1000;
/// What the log of `append` keeps where it has a retention.
const RETAINED_BYTES: u64 = 512 << 20;

/// Measures one of the names.
pub fn run(args: &Engine, interrupt: &Interrupt) -> Result<(), Failure> {
    output::check(args.json.as_deref())?;
    if args.minutes.is_some() && args.name != "endurance" {
        return Err(Failure::Usage(format!("--minutes says how long endurance takes, not {}", args.name)));
    }
    let machine = Machine::at(&args.dir)?;
    output::print(&machine.lines())?;
    if args.name == "peers" {
        // Not pinned: the logs have threads of their own.
        let figures = peers::measure(args, interrupt)?;
        return output::save(args.json.as_deref(), &machine, "engine-peers", figures);
    }
    Cores::choose().into_iter().for_each(|cores| cores.pin_answering());
    let figures = match args.name.as_str() {
        "recovery" => recovery::measure(&args.dir, args.quick, interrupt)?,
        "endurance" => {
            let minutes = args.minutes.unwrap_or(if args.quick { 1 } else { 10 });
            let (figures, refused) = endurance::measure(&args.dir, &endurance::Plan::of(minutes), interrupt)?;
            output::save(args.json.as_deref(), &machine, "engine-endurance", figures)?;
            return refused.map_or(Ok(()), Err);
        }
        "space" => space::measure(&args.dir, &space::Plan::of(args.quick), interrupt)?,
        "partitions" => {
            partitions::measure(&args.dir, &partitions::Plan::of(args.quick, args.memory_mib), interrupt)?
        }
        _ => {
            let (rounds_count, time) =
                if args.quick { (3, Duration::from_millis(500)) } else { (7, Duration::from_secs(2)) };
            let (table, figures) = pair::measure(lines(args, time, RETAINED_BYTES, interrupt), rounds_count)?;
            output::print(&table)?;
            figures
        }
    };
    output::save(args.json.as_deref(), &machine, &format!("engine-{}", args.name), figures)
}

fn lines<'a>(
    args: &'a Engine,
    time: Duration,
    retained_bytes: u64,
    interrupt: &'a Interrupt,
) -> Vec<(String, Round<'a>)> {
    let dir = args.dir.as_path();
    match args.name.as_str() {
        "append" => {
            let fresh = |kib: usize| {
                let round = move || append::append(dir, kib << 10, time, interrupt);
                (format!("append, {kib} KiB a commit"), Box::new(round) as Round<'a>)
            };
            let retained = |kib: usize| {
                // Filled in the first round, and then as the round before left it.
                let mut log = None;
                let round = move || {
                    let log = match &mut log {
                        Some(log) => log,
                        none => none.insert(Log::retained(dir, retained_bytes, interrupt)?),
                    };
                    log.round(dir, kib << 10, time, interrupt)
                };
                let name = format!("append, {kib} KiB, retained {} MiB", retained_bytes >> 20);
                (name, Box::new(round) as Round<'a>)
            };
            [4, 64, 1024].into_iter().flat_map(|kib| [fresh(kib), retained(kib)]).collect()
        }
        "read-memory" | "read-cold" => {
            let cold = args.name == "read-cold";
            let place = if cold { "segments" } else { "memory" };
            let round = move || read::read(dir, cold, time, interrupt);
            vec![(format!("read from {place}, 1 MiB at a time"), Box::new(round))]
        }
        _ => {
            let line = |logs: u64| {
                let round = move || append::spread(dir, logs, time, interrupt);
                (format!("1 KiB each to {logs} logs, 256 waiting"), Box::new(round) as Round<'a>)
            };
            [1, MANY].map(line).into()
        }
    }
}
