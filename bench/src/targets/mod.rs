//! The speed targets of the project, each measured: figure, goal, ratio, met or not, and the floor under it.
//!
//! In: which targets, a directory on the device. Out: a table for each, JSON for the report. Never: figures of different
//! minutes in one ratio: what is compared takes turns within each round.
//!
//! * [`setting`] says how much and on which cores; [`server`], [`contender`] and [`clients`] are who takes turns.
//! * [`seen`] collects rounds; [`line`] and [`findings`] judge and show them.
//! * [`measure`] has one file for each target.

pub mod clients;
pub mod contender;
pub mod findings;
pub mod line;
pub mod measure;
pub mod seen;
pub mod server;
pub mod setting;

use std::time::Instant;

use serde_json::{Value, json};

use crate::args::Targets;
use crate::cores::Cores;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::machine::Machine;
use crate::output;
use findings::{Findings, totals};
use measure::cost;
use setting::Setting;

/// A target by its name.
pub struct Target {
    pub name: &'static str,
    measure: fn(&Setting<'_>) -> Result<Findings, Failure>,
}

/// All of them, in the order of their numbers.
pub const TARGETS: [Target; 10] = [
    Target { name: "engine-append", measure: measure::engine_append::measure },
    Target { name: "kafka-bulk", measure: measure::kafka_bulk::measure },
    Target { name: "kafka-single", measure: measure::kafka_single::measure },
    Target { name: "librdkafka", measure: measure::librdkafka::measure },
    Target { name: "idempotent", measure: measure::idempotent::measure },
    Target { name: "amqp", measure: measure::amqp::measure },
    Target { name: "many-partitions", measure: measure::many_partitions::measure },
    Target { name: "interference", measure: measure::interference::measure },
    Target { name: cost::NAME, measure: measure::cost::measure },
    Target { name: "growth", measure: measure::growth::measure },
];

/// Measures what was asked for and prints each target as it is done.
pub fn run(args: &Targets, interrupt: &Interrupt) -> Result<(), Failure> {
    output::check(args.json.as_deref())?;
    let machine = Machine::at(&args.dir)?;
    let cores = Cores::choose();
    cores.into_iter().for_each(|cores| cores.pin_asking());
    let (rounds, seconds) = if args.quick { (3, 1) } else { (5, 2) };
    let (dir, quick, peers) = (args.dir.as_path(), args.quick, !args.without_peers);
    let setting = Setting { dir, quick, rounds, seconds, peers, cores, interrupt };
    let placed = cores.map_or_else(|| "not pinned".to_owned(), |cores| cores.line());
    output::print(&format!(
        "{}cores        {placed}; a server of two cores has both\nrounds       {rounds} of {seconds} s, \
         medians; \"beside\" is what a figure is divided by\n",
        machine.lines()
    ))?;
    let mut all: Vec<(&str, Findings, f64)> = Vec::new();
    for target in &TARGETS {
        if !args.only.is_empty() && !args.only.iter().any(|name| name == target.name) {
            continue;
        }
        let begin = Instant::now();
        let mut findings = (target.measure)(&setting)?;
        if target.name == cost::NAME {
            let before = all.iter().map(|(name, findings, _)| (*name, findings));
            let memory = before
                .chain([(target.name, &findings)])
                .flat_map(|(name, findings)| findings.memory.iter().map(move |memory| (name, *memory)));
            let memory: Vec<_> = memory.collect();
            findings.lines.extend(cost::memory_lines(&memory));
        }
        output::print(&findings.text(target.name))?;
        all.push((target.name, findings, begin.elapsed().as_secs_f64()));
    }
    let (met, missed, unmeasured) = totals(all.iter().map(|(_, findings, _)| findings));
    output::print(&format!("\n{met} met, {missed} not met, {unmeasured} not measured\n"))?;
    let targets: Vec<Value> = all
        .iter()
        .map(|(name, findings, seconds)| {
            let mut one = findings.json(name);
            one["seconds"] = json!(seconds);
            one
        })
        .collect();
    let figures = json!({
        "quick": args.quick, "rounds": rounds, "seconds": seconds, "cores": placed, "targets": targets,
        "met": met, "missed": missed, "unmeasured": unmeasured,
    });
    output::save(args.json.as_deref(), &machine, "targets", figures)
}
