//! Many logs in one shard: what they cost idle, active, and at a start, beside a shard with a few.
//!
//! In: a directory. Out: seconds, memory, descriptors, throughput, bytes on the device, each beside the smaller shard's.
//! Never: the smaller shard's figure from another run.

mod active;
mod population;
mod starts;

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::driver::Setup;
use super::holdings;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output;
use crate::raw::traffic::Traffic;
use active::Case;
use population::{Population, RECORDS};
use starts::Starts;

/// Sizes of the records.
const RECORD_BYTES: [usize; 2] = [100, 1024];
/// The least that many active logs should reach of what a few do.
const RATIO_MIN: f64 = 0.7;
/// The most memory that an idle log should take.
const IDLE_BYTES_MAX: f64 = 1024.0;

/// How much of it.
pub(super) struct Plan {
    pub(super) logs: u64,
    pub(super) active: u64,
    pub(super) few: u64,
    pub(super) rounds: usize,
    /// Of one case in one round: long enough for what one round leaves to be settled to be little.
    pub(super) time: Duration,
    pub(super) setup: Setup,
}

impl Plan {
    /// What is asked for on the command line.
    pub(super) fn of(quick: bool, memory_mib: u64) -> Plan {
        let memory_bytes = memory_mib << 20;
        let setup = Setup {
            journal_file_bytes: memory_bytes,
            memory_bytes: memory_bytes as usize,
            ..Setup::default()
        };
        match quick {
            true => {
                Plan { logs: 10_000, active: 1_000, few: 10, rounds: 1, time: Duration::from_secs(3), setup }
            }
            false => Plan {
                logs: 100_000,
                active: 10_000,
                few: 10,
                rounds: 2,
                time: Duration::from_secs(5),
                setup,
            },
        }
    }
}

/// Measures all of it, one part after the other, and prints each when it is there.
pub(super) fn measure(dir: &Path, plan: &Plan, interrupt: &Interrupt) -> Result<Value, Failure> {
    let descriptors_max = holdings::raise_descriptors();
    output::print(&format!("files this process may open: {descriptors_max}\n"))?;
    let traffic = Traffic::under(dir);
    let mut few = Population::make(dir, plan.setup, plan.few, descriptors_max, interrupt)?;
    let mut many = Population::make(dir, plan.setup, plan.logs, descriptors_max, interrupt)?;
    let active = plan.active.min(many.filled);
    output::print(&idle(&few, &many))?;
    output::print(&Case::heading())?;
    let mut figures = Vec::new();
    let mut few_of_many = RECORD_BYTES.map(|record_bytes| Case::new(record_bytes, few.logs, many.logs));
    for case in &mut few_of_many {
        // Before many are active: what those leave to be settled would be counted here.
        case.window(&mut many.driver, &traffic, plan.time, interrupt)?;
    }
    for (record_bytes, few_of_many) in RECORD_BYTES.into_iter().zip(&few_of_many) {
        let mut of_few = Case::new(record_bytes, few.logs, few.logs);
        let mut of_many = Case::new(record_bytes, active, many.logs);
        for _ in 0..plan.rounds {
            of_few.window(&mut few.driver, &traffic, plan.time, interrupt)?;
            of_many.window(&mut many.driver, &traffic, plan.time, interrupt)?;
        }
        for case in [&of_few, few_of_many, &of_many] {
            output::print(&case.line(&of_few))?;
            figures.push(case.json(&of_few));
        }
        output::print(&verdict("of many to a few", of_many.per_second() / of_few.per_second(), RATIO_MIN))?;
    }
    let idle = json!({
        "logs": many.logs, "filled": many.filled, "create_seconds": many.create_seconds, "settle_seconds": many.settle_seconds,
        "resident_bytes_a_log_empty": many.bytes_a_log().0, "resident_bytes_a_log_settled": many.bytes_a_log().1,
        "descriptors_empty": many.empty.descriptors_count, "descriptors_settled": many.settled.descriptors_count,
        "descriptors_before": many.before.descriptors_count, "few": few.logs, "create_seconds_few": few.create_seconds,
    });
    let time = plan.time.min(Duration::from_secs(2));
    let few = Starts::measure(few.driver, plan.setup, (few.logs, few.logs), time, interrupt)?;
    let many = Starts::measure(many.driver, plan.setup, (many.logs, active), time, interrupt)?;
    output::print(&starts(plan, &few, &many))?;
    Ok(json!({ "idle": idle, "active": figures, "starts": { "few": few.json(), "many": many.json() } }))
}

fn idle(few: &Population, many: &Population) -> String {
    let (empty, settled) = many.bytes_a_log();
    let mut out = format!("\n{:<46} {:>12} {:>12} {:>9}\n", "idle logs", few.logs, many.logs, "ratio");
    out += &both("create all, durable, seconds", few.create_seconds, many.create_seconds);
    out +=
        &both(&format!("{RECORDS} records each, settled, seconds"), few.settle_seconds, many.settle_seconds);
    out += &format!("{:<46} {:>25.0}\n", "resident bytes a log, no records", empty);
    out +=
        &format!("{:<46} {:>25.0}\n", format!("resident bytes a log, {RECORDS} records, settled"), settled);
    let descriptors = |held: &holdings::Holdings| held.descriptors_count as f64;
    out += &both(
        "open descriptors of the process, no records",
        descriptors(&few.empty),
        descriptors(&many.empty),
    );
    out += &both(
        "open descriptors of the process, settled",
        descriptors(&few.settled),
        descriptors(&many.settled),
    );
    out + &verdict("1 KiB to the memory of an idle log", IDLE_BYTES_MAX / settled.max(1.0), 1.0)
}

fn starts(plan: &Plan, few: &Starts, many: &Starts) -> String {
    let mut out = format!("\n{:<46} {:>12} {:>12} {:>9}\n", "stops and starts", plan.few, plan.logs, "ratio");
    out += &both("clean stop, seconds", few.stop_seconds, many.stop_seconds);
    out += &both("start after it, seconds", few.after_stop_seconds, many.after_stop_seconds);
    out += &both("start after a kill, seconds", few.after_kill_seconds, many.after_kill_seconds);
    out += &both("  of it: MiB of journal", mib(few.journal_bytes), mib(many.journal_bytes));
    out + &both(
        "checkpoint, KiB",
        few.checkpoint_bytes as f64 / 1024.0,
        many.checkpoint_bytes as f64 / 1024.0,
    )
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn both(name: &str, few: f64, many: f64) -> String {
    format!("{name:<46} {few:>12.3} {many:>12.3} {:>9.1}\n", many / few.max(1e-9))
}

fn verdict(name: &str, ratio: f64, ratio_min: f64) -> String {
    let met = if ratio >= ratio_min { "met" } else { "NOT met" };
    format!("{:<46} {ratio:>25.2}   target {ratio_min}: {met}\n", format!("ratio, {name}"))
}
