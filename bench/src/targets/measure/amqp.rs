//! Persistent messages over AMQP with confirms, and consumers that acknowledge each, beside RabbitMQ.
//!
//! In: a setting. Out: rates and p99 beside a classic queue and a quorum queue. Never: a consumer's latency that is only
//! the time since the delivery before: latencies of consumers are from the planned publish on.

use std::rc::Rc;
use std::time::Duration;

use crate::failure::Failure;
use crate::load::work::{Load, Protocol};
use crate::targets::contender::{Contender, load};
use crate::targets::findings::Findings;
use crate::targets::line::{Line, Named, Need, Unit};
use crate::targets::seen::Seen;
use crate::targets::server::Server;
use crate::targets::setting::Setting;

/// A kind of queue, its name for people, and how many times its publishes and its consumers we have to be.
const PEERS: [(&str, &str, f64, Option<f64>); 2] =
    [("classic", "RabbitMQ, classic queue", 8.0, Some(5.0)), ("quorum", "RabbitMQ, quorum queue", 3.0, None)];
const WINDOW: u64 = 1000;
const PREFETCH: u64 = 200;
/// Messages per second that every one of them can take.
const RATE: u64 = 4000;
/// What a consumer finds, as far as it can be put there in time.
const FILL_BYTES: u64 = 192 << 20;
const FILL: Duration = Duration::from_secs(3);

struct Side {
    name: &'static str,
    server: Rc<Server>,
    kind: Option<&'static str>,
}

impl Side {
    fn contender(&self, what: &str, in_flight: u64, setting: &Setting<'_>) -> Result<Contender, Failure> {
        let load = Load {
            protocol: Protocol::Amqp,
            queue_kind: self.kind.map(str::to_owned),
            ..load(1, in_flight, 1, 1, setting.seconds)
        };
        Contender::new(&format!("{} {what}", self.name), &self.server, load, &[])
    }

    /// Each kind of work once, on a queue of its own.
    fn turn(&self, seen: &mut Seen, setting: &Setting<'_>) -> Result<(), Failure> {
        let mut publisher = self.contender("publish", WINDOW, setting)?;
        publisher.produce(seen, setting)?;
        publisher.clear();
        let mut consumer = self.contender("consume", PREFETCH, setting)?;
        let fill = Load { in_flight: WINDOW, ..consumer.load.clone() };
        consumer.measure(
            seen,
            |place, _| place.fill_to(&fill, FILL_BYTES, FILL, setting.interrupt),
            |place, load| place.consume(load, setting.interrupt),
        )?;
        consumer.clear();
        let mut both = self.contender("both", PREFETCH, setting)?;
        both.measure(seen, |_, _| Ok(()), |place, load| place.follow(load, RATE, setting.interrupt))?;
        both.clear();
        Ok(())
    }
}

/// All work on all kinds of queue in turns.
pub fn measure(setting: &Setting<'_>) -> Result<Findings, Failure> {
    if !setting.peers {
        return Ok(findings(&Seen::default(), false));
    }
    let own = Rc::new(Server::own(setting, 1)?);
    let work = Load { protocol: Protocol::Amqp, ..load(1, 1, 1, 1, 1) };
    let rabbitmq = Rc::new(Server::peer(setting, "rabbitmq", "stock", &work)?);
    let mut sides = vec![Side { name: "own", server: own.clone(), kind: None }];
    sides.extend(PEERS.map(|(kind, ..)| Side { name: kind, server: rabbitmq.clone(), kind: Some(kind) }));
    let mut seen = Seen::default();
    setting.rounds(|| sides.iter().try_for_each(|side| side.turn(&mut seen, setting)))?;
    let mut findings = findings(&seen, true);
    findings.memory = own.memory().into_iter().collect();
    Ok(findings)
}

fn findings(seen: &Seen, peers: bool) -> Findings {
    let mut findings = Findings::of(seen);
    for (kind, peer_name, publish, consume) in PEERS {
        let rate =
            |name: &str, what, times| (name.to_owned(), what, Unit::RecordsPerSecond, Need::AtLeast(times));
        let p99 = |name: &str, what| (name.to_owned(), what, Unit::Microseconds, Need::AtMost(1.0));
        let mut lines = vec![rate("publish, confirms, window 1000", "publish rate", publish)];
        lines.push(p99("publish, confirms, window 1000, p99", "publish p99"));
        consume
            .into_iter()
            .for_each(|times| lines.push(rate("consume, prefetch 200, ack each", "consume rate", times)));
        lines.push(p99(&format!("publish to delivery at {RATE}/s, p99"), "both p99"));
        for (name, what, unit, need) in lines {
            findings.line(match peers {
                true => {
                    let beside = Named::new(peer_name, seen.of(&format!("{kind} {what}")));
                    Line::new(&name, unit, seen.of(&format!("own {what}")), need, beside)
                }
                false => Line::without(&name, unit, need, peer_name, "no peers"),
            });
        }
    }
    findings.remark(
        "a classic queue delivers a message before it is on the device; ours and quorum queues do not"
            .to_owned(),
    );
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_queue_has_its_lines() {
        let mut seen = Seen::default();
        for (name, value) in [
            ("own publish rate", 80.0),
            ("classic publish rate", 10.0),
            ("quorum publish rate", 40.0),
            ("own consume rate", 50.0),
            ("classic consume rate", 5.0),
            ("own both p99", 3.0),
            ("quorum both p99", 2.0),
        ] {
            seen.push(name, value);
        }
        let found = findings(&seen, true);
        assert_eq!(found.lines.len(), 7, "consumers of a quorum queue have no goal");
        let ratios: Vec<_> = found.lines.iter().map(Line::ratio).collect();
        assert_eq!(
            (ratios[0], ratios[2], ratios[4], ratios[6]),
            (Some(8.0), Some(10.0), Some(2.0), Some(1.5))
        );
        assert!(findings(&seen, false).lines.iter().all(|line| line.reason.is_some()));
    }
}
