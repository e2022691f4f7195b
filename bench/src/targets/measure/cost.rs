//! What records and idle clients cost: processor time, memory, wake-ups.
//!
//! In: a setting; the memory of the brokers of all targets. Out: lines with the least broker's cost beside them. Never:
//! processor time of a warm-up, or of what is not the server.

use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::load::work::Protocol;
use crate::targets::contender::{Contender, bulk, load};
use crate::targets::findings::{Findings, Memory};
use crate::targets::line::{Line, Named, Need, Unit};
use crate::targets::seen::Seen;
use crate::targets::server::Server;
use crate::targets::setting::Setting;
use crate::wire::{amqp, kafka};

pub const NAME: &str = "cost";
const CPU_US: f64 = 0.4;
const RESIDENT_BYTES: u64 = 200 << 20;
const IDLE_BYTES: u64 = 20 << 20;
const IDLE_CLIENTS: usize = 50;
/// Until what a connection brings is over: journals are sealed, and the time for a handshake is up.
const SETTLING: Duration = Duration::from_secs(12);
const IDLE: Duration = Duration::from_secs(10);

/// What a broker did while nobody asked for anything.
struct Idle {
    sleeps: u64,
    ticks: f64,
    resident_bytes: u64,
}

/// Bulk on both, then a broker of its own that is left alone.
pub fn measure(setting: &Setting<'_>) -> Result<Findings, Failure> {
    let servers =
        [("floor", Rc::new(Server::floor(setting, 1)?)), ("own", Rc::new(Server::own(setting, 1)?))];
    let mut contenders = Vec::new();
    for (name, server) in &servers {
        contenders.push(Contender::new(name, server, bulk(setting.seconds), &[])?);
    }
    let mut seen = Seen::default();
    setting
        .rounds(|| contenders.iter_mut().try_for_each(|contender| contender.produce(&mut seen, setting)))?;
    let memory = servers.iter().filter_map(|(_, server)| server.memory()).collect();
    drop((contenders, servers));
    let idle = idle(setting)?;
    Ok(Findings { memory, ..findings(&seen, &idle) })
}

fn idle(setting: &Setting<'_>) -> Result<Idle, Failure> {
    let server = Server::own(setting, 1)?;
    let target = server.target(Protocol::Kafka);
    let mut topic = kafka::Topic::create(&target, 4)?;
    topic.settle(4, load(1, 1, 1, 4, 1).batch().bytes())?;
    let mut clients = Vec::new();
    for number in 0..IDLE_CLIENTS {
        let mut client = kafka::Connection::open(&target)?;
        let batch = load(1, 1, 1, 4, 1).batch();
        let produce = kafka::produce(topic.name(), (number % 4) as i32, batch.bytes());
        client.exchange(&produce, 0)?;
        clients.push(client);
    }
    let target = server.target(Protocol::Amqp);
    let queues = amqp::Queues::create(&target, 1, &amqp::QueueKind::default())?;
    let mut consumers = Vec::new();
    for _ in 0..IDLE_CLIENTS {
        let mut consumer = amqp::Connection::open(&target)?;
        consumer.consume(queues.name(0), 100)?;
        consumers.push(consumer);
    }
    wait(SETTLING, setting)?;
    let ((sleeps, _), time) = (server.rest(), server.time());
    wait(IDLE, setting)?;
    let ((sleeps_after, resident_bytes), spent) = (server.rest(), server.time().saturating_sub(time));
    let per_second = rustix::param::clock_ticks_per_second() as f64;
    let ticks = (spent.as_secs_f64() * per_second).floor();
    Ok(Idle { sleeps: sleeps_after - sleeps, ticks, resident_bytes })
}

/// The time in which nothing happens is what is measured.
fn wait(time: Duration, setting: &Setting<'_>) -> Result<(), Failure> {
    let begin = Instant::now();
    while begin.elapsed() < time {
        setting.interrupt.check()?;
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

fn findings(seen: &Seen, idle: &Idle) -> Findings {
    let mut findings = Findings::of(seen);
    let goal = |value: f64| Named::new("agreed on", vec![value]);
    let at_most = |name: &str, unit, figure: Vec<f64>, value| {
        Line::new(name, unit, figure, Need::AtMost(1.0), goal(value))
    };
    let name = "broker CPU a record of 1 KiB, 16 KiB batches";
    let cpu = at_most(name, Unit::Microseconds, seen.of("own cpu"), CPU_US);
    findings.line(cpu.over(Named::new("the least broker's thread", seen.of("floor cpu"))));
    let seconds = IDLE.as_secs();
    let resident = idle.resident_bytes as f64;
    findings.line(at_most("idle: resident", Unit::Bytes, vec![resident], IDLE_BYTES as f64));
    let name = format!("idle: sleeps begun in {seconds} s");
    findings.line(at_most(&name, Unit::Count, vec![idle.sleeps as f64], 0.0));
    let name = format!("idle: CPU ticks in {seconds} s");
    findings.line(at_most(&name, Unit::Count, vec![idle.ticks], 0.0));
    findings.remark(format!(
        "idle: {IDLE_CLIENTS} Kafka clients that have produced, {IDLE_CLIENTS} AMQP consumers of an empty queue, no heartbeats"
    ));
    findings
}

/// What the brokers of all targets held at most, each with the name of its target.
pub fn memory_lines(all: &[(&str, Memory)]) -> Vec<Line> {
    let part = |memory: &Memory| memory.resident_bytes as f64 / memory.limit_bytes.max(1) as f64;
    let worst = all.iter().max_by(|a, b| part(&a.1).total_cmp(&part(&b.1)));
    let most = all.iter().max_by_key(|(_, memory)| memory.resident_bytes);
    let (Some((worst, memory)), Some((target, most))) = (worst, most) else { return Vec::new() };
    let line = |name: String, resident_bytes: u64, beside: &str, limit_bytes: u64| {
        let beside = Named::new(beside, vec![limit_bytes as f64]);
        Line::new(&name, Unit::Bytes, vec![resident_bytes as f64], Need::AtMost(1.0), beside)
    };
    let (name, beside) = (format!("resident at most, to its limit ({worst})"), "memory_bytes of its cores");
    vec![
        line(name, memory.resident_bytes, beside, memory.limit_bytes),
        line(format!("resident at most ({target})"), most.resident_bytes, "agreed on", RESIDENT_BYTES),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::line::Verdict;

    #[test]
    fn a_single_wake_up_is_too_many() {
        let mut seen = Seen::default();
        seen.push("own cpu", 0.39);
        seen.push("floor cpu", 0.2);
        let idle = |sleeps| Idle { sleeps, ticks: 0.0, resident_bytes: 10 << 20 };
        let verdicts = |sleeps| -> Vec<Verdict> {
            findings(&seen, &idle(sleeps)).lines.iter().map(Line::verdict).collect()
        };
        assert_eq!(verdicts(0), [Verdict::Met, Verdict::Met, Verdict::Met, Verdict::Met]);
        assert_eq!(verdicts(1)[2], Verdict::Missed);
    }

    #[test]
    fn memory_is_of_the_worst_of_all_runs() {
        let memory = |mib: u64, limit: u64| Memory { resident_bytes: mib << 20, limit_bytes: limit << 20 };
        let lines = memory_lines(&[("a", memory(100, 128)), ("b", memory(80, 64)), ("c", memory(150, 128))]);
        assert_eq!((lines[0].ratio(), lines[0].name.ends_with("(b)")), (Some(1.25), true));
        assert_eq!(lines[1].figure, [f64::from(150 << 20)]);
        assert!(lines[1].name.ends_with("(c)"));
        assert!(memory_lines(&[]).is_empty());
    }
}
