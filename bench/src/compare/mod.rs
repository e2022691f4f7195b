//! Our broker beside another one, on the same work, in turns.
//!
//! In: which peer, a directory on the device. Out: throughput, latencies, processor time per message and memory of
//! each, and the ratio with an interval. Never: one side with settings that are not named; rounds of different
//! minutes compared; anything left behind.

mod peer;
pub mod process;
pub mod statistics;

use std::time::Duration;

use serde_json::{Value, json};

use crate::args::Compare;
use crate::broker::Broker;
use crate::failure::Failure;
use crate::histogram::median;
use crate::interrupt::Interrupt;
use crate::load::tally::Tally;
use crate::load::work::{Load, Place, Protocol};
use crate::machine::Machine;
use crate::output;
use peer::Peer;
use process::Group;
use statistics::Ratio;

/// How long each kind of work runs before it counts.
const WARM_SECONDS: u64 = 3;

/// One line of work, and what each server speaks for it.
struct Work {
    name: &'static str,
    consume: bool,
    own: Protocol,
    load: Load,
}

/// What one server did in each round.
#[derive(Default)]
struct Side {
    per_second: Vec<f64>,
    p50_us: Vec<f64>,
    p99_us: Vec<f64>,
    cpu_us: Vec<f64>,
}

/// A server that takes turns.
struct Server {
    name: String,
    settings: &'static str,
    target: String,
    protocol: Option<Protocol>,
    queue_kind: Option<String>,
    group: Group,
    sides: Vec<Side>,
    resident_bytes: u64,
}

/// What each peer's two settings are.
fn settings_of(peer: &str) -> [(&'static str, &'static str, Option<&'static str>); 2] {
    match peer {
        "kafka" => [
            ("durable", "durable: log.flush.interval.messages=1, flushes each batch", None),
            ("stock", "stock: answers from the page cache", None),
        ],
        "rabbitmq" => [
            ("durable", "durable: quorum queue, one node", Some("quorum")),
            ("stock", "stock: classic queue, durable, persistent messages", Some("classic")),
        ],
        _ => [
            ("durable", "durable: sync_interval always", None),
            ("stock", "stock: file store synced every 2 minutes", None),
        ],
    }
}

fn works(peer: &str, seconds: u64) -> Vec<Work> {
    let load = |connections, in_flight, batch_bytes, ack_every| Load {
        protocol: match peer {
            "kafka" => Protocol::Kafka,
            "rabbitmq" => Protocol::Amqp,
            _ => Protocol::Nats,
        },
        target: String::new(),
        connections,
        in_flight,
        batch_bytes,
        record_bytes: 1024,
        partitions: if connections > 1 { 4 } else { 1 },
        seconds,
        warm_up: Duration::from_millis(500),
        rate: None,
        topic: None,
        queue_kind: None,
        ack_every,
    };
    let work = |name, consume, mut load: Load| {
        if consume && peer != "kafka" {
            // Every message is read once, so the first count as well.
            load.warm_up = Duration::ZERO;
        }
        let own = if peer == "kafka" { Protocol::Kafka } else { Protocol::Amqp };
        Work { name, consume, own, load }
    };
    match peer {
        "kafka" => vec![
            work("produce, 16 KiB batches, 4 connections x 8 in flight", false, load(4, 8, 16 << 10, 1)),
            work("produce, 1 record, 1 connection x 1 in flight", false, load(1, 1, 1, 1)),
            work("produce, 1 record, 64 connections x 1 in flight", false, load(64, 1, 1, 1)),
            work("consume, 4 partitions", true, load(4, 1, 16 << 10, 1)),
        ],
        "rabbitmq" => vec![
            work("publish, confirms, window 1000", false, load(1, 1000, 1, 1)),
            work("publish, confirms, window 1", false, load(1, 1, 1, 1)),
            work("consume, prefetch 200, ack each", true, load(1, 200, 1, 1)),
            work("consume, prefetch 200, ack 50 at once", true, load(1, 200, 1, 50)),
        ],
        _ => vec![
            work("publish, acknowledged, window 1000 (own: AMQP)", false, load(1, 1000, 1, 1)),
            work("publish, acknowledged, window 1 (own: AMQP)", false, load(1, 1, 1, 1)),
            work("consume, 200 waiting, ack each (own: AMQP)", true, load(1, 200, 1, 1)),
        ],
    }
}

impl Server {
    fn load(&self, work: &Work) -> Load {
        Load {
            protocol: self.protocol.unwrap_or(work.own),
            target: self.target.clone(),
            queue_kind: self.queue_kind.clone(),
            ..work.load.clone()
        }
    }

    /// One round of one work.
    fn measure(&mut self, number: usize, work: &Work, interrupt: &Interrupt) -> Result<(), Failure> {
        let load = self.load(work);
        let mut place = Place::prepare(&load)?;
        let (tally, spent) = match self.take_turn(&mut place, work, &load, interrupt) {
            Ok(found) => found,
            Err(failure) => {
                // The server goes with all it holds.
                place.abandon();
                return Err(failure);
            }
        };
        self.resident_bytes = self.resident_bytes.max(self.group.resident_bytes());
        if let Some(side) = self.sides.get_mut(number) {
            side.per_second.push(tally.records as f64 / tally.seconds());
            if !work.consume {
                side.p50_us.push(tally.response.percentile_us(50.0));
                side.p99_us.push(tally.response.percentile_us(99.0));
            }
            // The warm-up costs processor time and is not counted: take the records that it must have done, too.
            let part = tally.seconds() / (tally.seconds() + load.warm_up.as_secs_f64());
            side.cpu_us.push(spent.as_secs_f64() * 1e6 * part / tally.records.max(1) as f64);
        }
        Ok(())
    }

    /// The work itself, and the processor time that the server spent on it.
    fn take_turn(
        &self,
        place: &mut Place,
        work: &Work,
        load: &Load,
        interrupt: &Interrupt,
    ) -> Result<(Tally, Duration), Failure> {
        if work.consume {
            place.fill(load, interrupt)?;
        }
        let before = self.group.time();
        let tally =
            if work.consume { place.consume(load, interrupt)? } else { place.produce(load, interrupt)? };
        let spent = self.group.time().saturating_sub(before);
        tally.check(&self.target)?;
        Ok((tally, spent))
    }

    /// The work once, uncounted: a virtual machine's code has to be compiled.
    fn warm(&self, work: &Work, interrupt: &Interrupt) -> Result<(), Failure> {
        let load = Load { seconds: WARM_SECONDS, ..self.load(work) };
        let mut place = Place::prepare(&load)?;
        let outcome = place.produce(&load, interrupt);
        if outcome.is_err() {
            place.abandon();
        }
        outcome.map(drop)
    }
}

/// Starts all three servers, lets them take turns, prints the table.
pub fn run(args: &Compare, interrupt: &Interrupt) -> Result<(), Failure> {
    output::check(args.json.as_deref())?;
    let machine = Machine::at(&args.dir)?;
    output::print(&machine.lines())?;
    let (rounds, seconds) = if args.quick { (3, 2) } else { (7, 5) };
    let works = works(&args.peer, seconds);
    let own = Broker::start(&args.dir, None, interrupt)?;
    let own_target = match works.first() {
        Some(Work { own: Protocol::Amqp, .. }) => own.amqp(),
        _ => own.target(),
    };
    let sides = || works.iter().map(|_| Side::default()).collect();
    let mut servers = vec![Server {
        name: "ringmain".to_owned(),
        settings: "defaults: durable when acknowledged",
        target: own_target.to_owned(),
        protocol: None,
        queue_kind: None,
        group: own.group(),
        sides: sides(),
        resident_bytes: 0,
    }];
    let mut peers = Vec::new();
    for (settings, meaning, queue_kind) in settings_of(&args.peer) {
        output::print(&format!("starting     {} ({meaning})\n", args.peer))?;
        let Some(work) = works.first() else { break };
        let peer = Peer::start(&args.peer, settings, &args.dir, &work.load, interrupt)?;
        servers.push(Server {
            name: args.peer.clone(),
            settings: meaning,
            target: peer.target().to_owned(),
            protocol: Some(work.load.protocol),
            queue_kind: queue_kind.map(str::to_owned),
            group: peer.group(),
            sides: sides(),
            resident_bytes: 0,
        });
        peers.push(peer);
    }
    output::print(&format!("measuring    {rounds} rounds of {} kinds of work\n", works.len()))?;
    for work in works.iter().filter(|work| !work.consume) {
        for (place, server) in servers.iter().enumerate() {
            server.warm(work, interrupt).map_err(|failure| blame(place, &mut peers, failure))?;
        }
    }
    for _ in 0..rounds {
        for (number, work) in works.iter().enumerate() {
            for (place, server) in servers.iter_mut().enumerate() {
                let outcome = server.measure(number, work, interrupt);
                outcome.map_err(|failure| blame(place, &mut peers, failure))?;
            }
        }
    }
    output::print(&table(&servers, &works, rounds))?;
    output::save(args.json.as_deref(), &machine, "compare", figures(&servers, &works, &args.peer))
}

/// Whose failure it was: our own server has place 0, the peers those behind it.
fn blame(place: usize, peers: &mut [Peer], failure: Failure) -> Failure {
    match place.checked_sub(1).and_then(|place| peers.get_mut(place)) {
        Some(peer) => peer.explain(failure),
        None if matches!(failure, Failure::Interrupted) => failure,
        None => Failure::Broker(format!("ringmain: {failure}")),
    }
}

fn ratio(own: &[f64], other: &[f64]) -> Ratio {
    let ratios: Vec<f64> = own.iter().zip(other).map(|(own, other)| own / other.max(1e-9)).collect();
    Ratio::of(&ratios)
}

fn table(servers: &[Server], works: &[Work], rounds: usize) -> String {
    let of = |values: &Vec<f64>| median(values.clone());
    // A consumer's latency is only the time since the delivery before.
    let us = |values: &Vec<f64>| {
        if values.is_empty() { "-".to_owned() } else { format!("{:.0}", of(values)) }
    };
    let mut out = format!(
        "\nmedians of {rounds} rounds in turns, client and servers on the same cores; 1 KiB records\n"
    );
    for server in servers {
        out += &format!(
            "  {:<10} {}; {} MiB resident at most\n",
            server.name,
            server.settings,
            server.resident_bytes >> 20
        );
    }
    for (number, work) in works.iter().enumerate() {
        out += &format!(
            "\n{}\n  {:<22} {:>12} {:>10} {:>10} {:>12}   {}\n",
            work.name, "", "records/s", "p50 us", "p99 us", "CPU us/rec", "ours/theirs, throughput (95 %)"
        );
        let own = servers.first().and_then(|server| server.sides.get(number));
        for (place, server) in servers.iter().enumerate() {
            let (Some(side), Some(own)) = (server.sides.get(number), own) else { continue };
            let kind = server.settings.split(':').next().unwrap_or_default();
            let against =
                if place == 0 { "-".to_owned() } else { ratio(&own.per_second, &side.per_second).text() };
            out += &format!(
                "  {:<22} {:>12.0} {:>10} {:>10} {:>12.2}   {against}\n",
                format!("{} {kind}", server.name),
                of(&side.per_second),
                us(&side.p50_us),
                us(&side.p99_us),
                of(&side.cpu_us),
            );
        }
    }
    out
}

fn figures(servers: &[Server], works: &[Work], peer: &str) -> Value {
    let rows: Vec<Value> = works
        .iter()
        .enumerate()
        .map(|(number, work)| {
            let own = servers.first().and_then(|server| server.sides.get(number));
            let sides: Vec<Value> = servers
                .iter()
                .filter_map(|server| {
                    let (side, own) = (server.sides.get(number)?, own?);
                    Some(json!({
                        "server": server.name, "settings": server.settings,
                        "records_per_second": side.per_second, "p50_us": side.p50_us, "p99_us": side.p99_us,
                        "cpu_us_per_record": side.cpu_us,
                        "own_to_this": ratio(&own.per_second, &side.per_second).json(),
                    }))
                })
                .collect();
            json!({ "work": work.name, "servers": sides })
        })
        .collect();
    let memory: Vec<Value> = servers
        .iter()
        .map(|server| json!({ "server": server.name, "settings": server.settings, "resident_bytes": server.resident_bytes }))
        .collect();
    json!({ "peer": peer, "works": rows, "memory": memory })
}
