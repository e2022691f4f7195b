//! One Kafka port for all cores beside a port for each core: the same broker twice, the same work, in turns.
//!
//! In: a directory. Out: throughput, latencies, processor time, and the letters that cores wrote to each other for
//! each answer. Never: takes a round for one in which requests went to another core, or did not, without having
//! counted the letters.
//!
//! With one port it is luck which core a connection falls to. Where many connections load every partition, half of them
//! are on its core. For a single connection both cases are measured, one after the other in each round.

use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::args::Listeners;
use crate::broker::Broker;
use crate::compare::statistics::Ratio;
use crate::failure::Failure;
use crate::histogram::median;
use crate::interrupt::Interrupt;
use crate::load::work::{Load, Place, Protocol};
use crate::machine::Machine;
use crate::output;

const LETTERS: &str = "ringmain_mail_letters_total";
/// More letters for an answer than this: its request went to another core and came back.
const HOPPED: f64 = 1.0;

/// A broker that used no processor time for so long is at rest.
const REST_STEP: Duration = Duration::from_millis(100);
const REST_STEPS_MAX: usize = 20;

/// One kind of work.
struct Work {
    name: &'static str,
    consume: bool,
    connections: u64,
    in_flight: u64,
    batch_bytes: u64,
    partitions: u64,
}

const WORKS: [Work; 4] = [
    Work {
        name: "produce, 16 KiB batches, 8 connections x 4 in flight, 4 partitions",
        consume: false,
        connections: 8,
        in_flight: 4,
        batch_bytes: 16 << 10,
        partitions: 4,
    },
    Work {
        name: "produce, 1 record, 64 connections x 1 in flight, 4 partitions",
        consume: false,
        connections: 64,
        in_flight: 1,
        batch_bytes: 1,
        partitions: 4,
    },
    Work {
        name: "produce, 1 record, 1 connection x 1 in flight",
        consume: false,
        connections: 1,
        in_flight: 1,
        batch_bytes: 1,
        partitions: 2,
    },
    Work {
        name: "consume, 8 connections, 4 partitions",
        consume: true,
        connections: 8,
        in_flight: 1,
        batch_bytes: 16 << 10,
        partitions: 4,
    },
];

impl Work {
    fn is_single(&self) -> bool {
        self.connections == 1
    }

    fn load(&self, target: &str, follow_leaders: bool, seconds: u64) -> Load {
        Load {
            protocol: Protocol::Kafka,
            target: target.to_owned(),
            connections: self.connections,
            in_flight: self.in_flight,
            batch_bytes: self.batch_bytes,
            record_bytes: 1024,
            partitions: self.partitions,
            seconds,
            warm_up: Duration::from_millis(300),
            rate: None,
            follow_leaders,
            topic: None,
            queue_kind: None,
            ack_every: 1,
        }
    }
}

/// Where the requests of a turn went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    PortPerCore,
    OnePortMixed,
    OnePortStays,
    OnePortHops,
}

impl Way {
    const ALL: [(Way, &'static str); 4] = [
        (Way::PortPerCore, "a port for each core"),
        (Way::OnePortMixed, "one port"),
        (Way::OnePortStays, "one port, on the owner's core"),
        (Way::OnePortHops, "one port, on the other core"),
    ];
}

/// What one turn came to.
struct Turn {
    way: Way,
    per_second: f64,
    p50_us: f64,
    p99_us: f64,
    /// Processor time of the broker for each record.
    cpu_us: f64,
    letters: f64,
}

/// The two brokers.
struct Pair {
    one_port: Broker,
    per_core: Broker,
    seconds: u64,
}

impl Pair {
    /// One round of a work. Who begins changes with each round.
    fn round(&self, work: &Work, number: usize, interrupt: &Interrupt) -> Result<Vec<Turn>, Failure> {
        let mut turns = Vec::new();
        let first = number.is_multiple_of(2);
        for follow in [first, !first] {
            turns.push(self.turn(work, follow, interrupt)?);
            if work.is_single() && !follow {
                // Connections are dealt out in turn, and a turn takes an even number of them: one more, and the next
                // single connection falls to the other core.
                let target = self.one_port.target();
                drop(TcpStream::connect(target).map_err(Failure::network("connect to", target))?);
                turns.push(self.turn(work, false, interrupt)?);
            }
        }
        Ok(turns)
    }

    /// Waits until neither broker has anything left to do from the turn before, but not for ever.
    fn rest(&self, interrupt: &Interrupt) -> Result<(), Failure> {
        let time = || self.one_port.group().time() + self.per_core.group().time();
        for _ in 0..REST_STEPS_MAX {
            interrupt.check()?;
            let before = time();
            std::thread::sleep(REST_STEP);
            if time() == before {
                break;
            }
        }
        Ok(())
    }

    fn turn(&self, work: &Work, follow: bool, interrupt: &Interrupt) -> Result<Turn, Failure> {
        self.rest(interrupt)?;
        let broker = if follow { &self.per_core } else { &self.one_port };
        let load = work.load(broker.target(), follow, self.seconds);
        let mut place = Place::prepare(&load)?;
        if work.consume {
            place.fill(&load, interrupt)?;
        }
        let (letters, spent) = (broker.metric(LETTERS)?, broker.group().time());
        let tally =
            if work.consume { place.consume(&load, interrupt)? } else { place.produce(&load, interrupt)? };
        let (letters, spent) = (broker.metric(LETTERS)? - letters, broker.group().time() - spent);
        tally.check(broker.target())?;
        // The warm-up is in processor time and letters, but not in the records.
        let part = tally.seconds() / (tally.seconds() + load.warm_up.as_secs_f64());
        let letters = letters * part / tally.response.count().max(1) as f64;
        let way = match (follow, work.is_single()) {
            (true, _) => Way::PortPerCore,
            (false, false) => Way::OnePortMixed,
            (false, true) if letters > HOPPED => Way::OnePortHops,
            (false, true) => Way::OnePortStays,
        };
        Ok(Turn {
            way,
            per_second: tally.records as f64 / tally.seconds(),
            p50_us: tally.response.percentile_us(50.0),
            p99_us: tally.response.percentile_us(99.0),
            cpu_us: spent.as_secs_f64() * 1e6 * part / tally.records.max(1) as f64,
            letters,
        })
    }
}

/// Starts both, lets them take turns, prints the table.
pub fn run(args: &Listeners, interrupt: &Interrupt) -> Result<(), Failure> {
    output::check(args.json.as_deref())?;
    let machine = Machine::at(&args.dir)?;
    output::print(&machine.lines())?;
    let (rounds_count, seconds) = if args.quick { (3, 1) } else { (7, 2) };
    let start = |on| Broker::start_with(&[("RINGMAIN_CORE_LISTENERS", on)], &args.dir, None, interrupt);
    let pair = Pair { one_port: start("false")?, per_core: start("true")?, seconds };
    let mut rounds: Vec<Vec<Vec<Turn>>> = WORKS.iter().map(|_| Vec::new()).collect();
    for number in 0..rounds_count {
        for (work, rounds) in WORKS.iter().zip(&mut rounds) {
            rounds.push(pair.round(work, number, interrupt)?);
        }
    }
    output::print(&format!(
        "\nmedians of {rounds_count} rounds in turns, client and brokers on the same cores; records of 1 KiB\n"
    ))?;
    let mut figures = Vec::new();
    for (work, rounds) in WORKS.iter().zip(&rounds) {
        output::print(&table(work, rounds))?;
        figures.push(json(work, rounds));
    }
    output::save(args.json.as_deref(), &machine, "listeners", figures.into())
}

/// All turns that went this way, each with the one of its round that had a port for each core.
fn turns<'a>(rounds: &'a [Vec<Turn>], way: Way) -> Vec<(&'a Turn, &'a Turn)> {
    let per_core = |round: &'a [Turn]| round.iter().find(|turn| turn.way == Way::PortPerCore);
    let with_it = rounds.iter().filter_map(|round| Some((round, per_core(round)?)));
    with_it
        .flat_map(|(round, per_core)| {
            round.iter().filter(move |turn| turn.way == way).map(move |turn| (turn, per_core))
        })
        .collect()
}

/// How many times as many records a port for each core brings, round by round.
fn gain(turns: &[(&Turn, &Turn)]) -> Ratio {
    let ratios: Vec<f64> = turns.iter().map(|(own, per_core)| per_core.per_second / own.per_second).collect();
    Ratio::of(&ratios)
}

fn table(work: &Work, rounds: &[Vec<Turn>]) -> String {
    let mut out = format!(
        "\n{}\n  {:<30} {:>12} {:>9} {:>9} {:>11} {:>15}   {}\n",
        work.name,
        "",
        "records/s",
        "p50 us",
        "p99 us",
        "CPU us/rec",
        "letters/answer",
        "port per core to this (95 %)"
    );
    for (way, name) in Way::ALL {
        let turns = turns(rounds, way);
        if turns.is_empty() {
            continue;
        }
        let of = |figure: &dyn Fn(&Turn) -> f64| median(turns.iter().map(|(turn, _)| figure(turn)).collect());
        let gain = if way == Way::PortPerCore { "-".to_owned() } else { gain(&turns).text() };
        // A consumer's latency is only the time since the delivery before.
        let us = |figure: &dyn Fn(&Turn) -> f64| {
            if work.consume { "-".to_owned() } else { format!("{:.0}", of(figure)) }
        };
        out += &format!(
            "  {name:<30} {:>12.0} {:>9} {:>9} {:>11.2} {:>15.2}   {gain}\n",
            of(&|turn| turn.per_second),
            us(&|turn| turn.p50_us),
            us(&|turn| turn.p99_us),
            of(&|turn| turn.cpu_us),
            of(&|turn| turn.letters),
        );
    }
    out
}

fn json(work: &Work, rounds: &[Vec<Turn>]) -> Value {
    let ways = Way::ALL.into_iter().filter_map(|(way, name)| {
        let turns = turns(rounds, way);
        let of = |figure: &dyn Fn(&Turn) -> f64| -> Vec<f64> {
            turns.iter().map(|(turn, _)| figure(turn)).collect()
        };
        (!turns.is_empty()).then(|| {
            json!({
                "way": name, "records_per_second": of(&|turn| turn.per_second), "p50_us": of(&|turn| turn.p50_us),
                "p99_us": of(&|turn| turn.p99_us), "cpu_us_per_record": of(&|turn| turn.cpu_us),
                "letters_per_answer": of(&|turn| turn.letters), "port_per_core_to_this": gain(&turns).json(),
            })
        })
    });
    json!({ "work": work.name, "ways": ways.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(way: Way, per_second: f64) -> Turn {
        Turn { way, per_second, p50_us: 1.0, p99_us: 2.0, cpu_us: 3.0, letters: 0.5 }
    }

    #[test]
    fn each_turn_is_compared_with_that_of_its_round() {
        let rounds = vec![
            vec![turn(Way::PortPerCore, 10.0), turn(Way::OnePortHops, 5.0), turn(Way::OnePortStays, 10.0)],
            vec![turn(Way::OnePortStays, 40.0), turn(Way::OnePortHops, 20.0), turn(Way::PortPerCore, 40.0)],
        ];
        let ratio = |way| gain(&turns(&rounds, way)).median;
        assert_eq!((ratio(Way::OnePortHops), ratio(Way::OnePortStays)), (2.0, 1.0));
        let table = table(&WORKS[2], &rounds);
        assert!(table.contains("on the other core") && !table.contains("  one port  "), "{table}");
        assert_eq!(json(&WORKS[2], &rounds)["ways"].as_array().unwrap().len(), 3);
    }
}
