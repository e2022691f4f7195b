//! The engine as a library beside the write-ahead logs that other people embed, in turns.
//!
//! In: a directory on the device. Out: appends a second, latencies, processor time and bytes of the device for each log, and
//! the ratio of ours to it with an interval. Never: a log that may answer before a record is on the device; figures of logs
//! that disagree on what they hold.

mod program;
mod works;

use serde_json::{Value, json};

use crate::args::Engine;
use crate::compare::statistics::Ratio;
use crate::failure::Failure;
use crate::histogram::median;
use crate::interrupt::Interrupt;
use crate::output;
use program::Program;
use works::{Side, Work};

/// Rounds, and for how long an append counts in each.
const QUICK: (usize, u64) = (3, 100);
const FULL: (usize, u64) = (5, 300);

/// One log and what it did.
struct Server {
    name: String,
    mode: String,
    sides: Vec<Side>,
}

/// Builds the other logs where they are missing, lets all take turns, prints the table. Gives the figures.
pub(super) fn measure(args: &Engine, interrupt: &Interrupt) -> Result<Value, Failure> {
    let wants_rocksdb = match args.peers.logs.is_empty() {
        true => !args.quick,
        false => args.peers.logs.iter().any(|log| log == "rocksdb"),
    };
    let program = Program::build(wants_rocksdb, interrupt)?;
    let (rounds, milliseconds) = if args.quick { QUICK } else { FULL };
    let works = Work::all(&args.peers, args.quick, milliseconds);
    let mut servers = servers(&args.peers.logs, &program, &works)?;
    output::print(&heading(&program, &servers, rounds))?;
    for round in 0..rounds {
        for (number, work) in works.iter().enumerate() {
            let count = servers.len();
            // Nobody is always the first behind somebody else's files being removed.
            for place in (0..count).map(|place| (place + round) % count) {
                let Some(server) = servers.get_mut(place).filter(|server| work.is_for(&server.name)) else {
                    continue;
                };
                let figures = program.measure(&args.dir, &work.words(&server.name), interrupt)?;
                let Some(side) = server.sides.get_mut(number) else { continue };
                side.push(&figures);
            }
            agree(&servers, number, work)?;
        }
    }
    for (number, work) in works.iter().enumerate() {
        output::print(&block(&servers, number, work))?;
    }
    Ok(figures(&servers, &works, &program))
}

/// The logs that do any of the works, ours first.
fn servers(wanted: &[String], program: &Program, works: &[Work]) -> Result<Vec<Server>, Failure> {
    let known = program.logs();
    if let Some(stranger) = wanted.iter().find(|name| !known.contains(name)) {
        let built = known.join(", ");
        return Err(Failure::Usage(format!("{stranger} is not among the logs that are built: {built}")));
    }
    let described = program.list["logs"].as_array().into_iter().flatten();
    let all = known.into_iter().zip(described);
    let servers = all.filter(|(name, _)| works.iter().any(|work| work.is_for(name))).map(|(name, log)| {
        let words = |name: &str| log[name].as_str().unwrap_or("unknown").to_owned();
        let mode = format!("{}: {}", words("version"), words("mode"));
        Server { name, mode, sides: works.iter().map(|_| Side::default()).collect() }
    });
    Ok(servers.collect())
}

/// Logs that did the same must hold the same, before and after they were opened again.
fn agree(servers: &[Server], number: usize, work: &Work) -> Result<(), Failure> {
    let mut found: Vec<(&str, &Value)> = Vec::new();
    for server in servers {
        let digests = server.sides.get(number).and_then(|side| side.digests.last());
        found.extend(digests.map(|digests| (server.name.as_str(), digests)));
    }
    for (name, digests) in &found {
        let first = found.first().map(|(_, digests)| *digests);
        if Some(*digests) != first || digests["end"] != digests["opened_again"] {
            let all: Vec<String> = found.iter().map(|(name, digests)| format!("{name} {digests}")).collect();
            let reason = format!("{}: {name} does not hold what it should: {}", work.name, all.join(", "));
            return Err(Failure::Broker(reason));
        }
    }
    Ok(())
}

fn heading(program: &Program, servers: &[Server], rounds: usize) -> String {
    let mut out =
        format!("measuring    {rounds} rounds in turns; an append is on the device when it returns\n");
    for server in servers {
        out += &format!("  {:<14} {}\n", server.name, server.mode);
    }
    for log in program.list["left_out"].as_array().into_iter().flatten() {
        let words = |name: &str| log[name].as_str().unwrap_or_default().to_owned();
        out += &format!("  left out       {}: {}\n", words("name"), words("reason"));
    }
    out
}

fn ratio(own: &Side, other: &Side) -> Ratio {
    let pairs = own.per_second.iter().zip(&other.per_second);
    Ratio::of(&pairs.map(|(own, other)| own / other.max(1e-9)).collect::<Vec<f64>>())
}

fn block(servers: &[Server], number: usize, work: &Work) -> String {
    let mut out = format!(
        "\n{}\n  {:<14} {:>10} {:>9} {:>9} {:>12} {:>14}   {}\n",
        work.name, "", "appends/s", "p50 us", "p99 us", "CPU us each", "device bytes", "ours to it (95 %)"
    );
    let own = servers.first().and_then(|server| server.sides.get(number));
    for (place, server) in servers.iter().enumerate().filter(|(_, server)| work.is_for(&server.name)) {
        let (Some(side), Some(own)) = (server.sides.get(number), own) else { continue };
        let of = |values: &Vec<f64>| median(values.clone());
        let against = if place == 0 { "-".to_owned() } else { ratio(own, side).text() };
        out += &format!(
            "  {:<14} {:>10.0} {:>9.0} {:>9.0} {:>12.1} {:>14.2}   {against}\n",
            server.name,
            of(&side.per_second),
            of(&side.p50_us),
            of(&side.p99_us),
            of(&side.cpu_us),
            of(&side.device_bytes),
        );
    }
    out
}

/// In the shape of a comparison of servers, so that a report shows both alike.
fn figures(servers: &[Server], works: &[Work], program: &Program) -> Value {
    let rows = works.iter().enumerate().map(|(number, work)| {
        let own = servers.first().and_then(|server| server.sides.get(number));
        let sides = servers.iter().filter(|server| work.is_for(&server.name)).filter_map(|server| {
            let (side, own) = (server.sides.get(number)?, own?);
            Some(json!({
                "server": server.name, "settings": server.mode,
                "records_per_second": side.per_second, "p50_us": side.p50_us, "p99_us": side.p99_us,
                "cpu_us_per_record": side.cpu_us, "device_bytes_per_byte": side.device_bytes,
                "own_to_this": ratio(own, side).json(),
            }))
        });
        json!({ "work": work.name, "servers": sides.collect::<Vec<Value>>() })
    });
    json!({ "works": rows.collect::<Vec<Value>>(), "left_out": program.list["left_out"] })
}
