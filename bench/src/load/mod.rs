//! Load on a running broker: pre-encoded requests over many connections, as fast as they are answered or at a fixed
//! rate, and consumers that check what they read.
//!
//! In: a running broker of any make. Out: records per second and latencies. Never: counts what was not
//! acknowledged or not whole; leaves a topic, queue or stream behind that it made.
//!
//! * [`drive`] is the loop; [`plan`], [`window`] and [`tally`] say when, what and how it went.
//! * [`kafka`], [`amqp`], [`nats`] are the protocols' sides of a connection; [`work`] sets them up.
//! * [`beside`] is producers with readers beside them.
//! * [`show`] is what people and programs get to see.

mod amqp;
pub mod beside;
pub mod drive;
mod kafka;
mod nats;
pub mod plan;
pub mod show;
pub mod tally;
#[cfg(test)]
mod tests;
mod window;
pub mod work;

use crate::args::LoadArgs;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::machine::Machine;
use crate::output;

/// Runs `load produce` and prints what came back.
pub fn produce(args: &LoadArgs, interrupt: &Interrupt) -> Result<(), Failure> {
    run(args, interrupt, "produce", |place| place.produce(&args.load, interrupt))
}

/// Runs `load consume` and prints what was read.
pub fn consume(args: &LoadArgs, interrupt: &Interrupt) -> Result<(), Failure> {
    let work = if args.load.rate.is_some() { "produce and consume" } else { "consume" };
    run(args, interrupt, work, |place| match args.load.rate {
        Some(rate) => place.follow(&args.load, rate, interrupt),
        None => {
            if args.load.topic.is_none() {
                place.fill(&args.load, interrupt)?;
            }
            place.consume(&args.load, interrupt)
        }
    })
}

fn run(
    args: &LoadArgs,
    interrupt: &Interrupt,
    work: &str,
    measure: impl FnOnce(&mut work::Place) -> Result<tally::Tally, Failure>,
) -> Result<(), Failure> {
    output::check(args.json.as_deref())?;
    output::check(args.hdr.as_deref())?;
    interrupt.check()?;
    let machine = Machine::here();
    let mut place = work::Place::prepare(&args.load)?;
    output::print(&machine.lines())?;
    let tally = measure(&mut place)?;
    tally.check(&args.load.target)?;
    output::print(&show::text(&args.load, work, &tally))?;
    if let Some(path) = &args.hdr {
        let log = tally.log().map_err(Failure::disk("write", path))?;
        std::fs::write(path, log).map_err(Failure::disk("write", path))?;
    }
    output::save(args.json.as_deref(), &machine, "load", show::json(&args.load, work, &tally))
}
