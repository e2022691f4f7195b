//! One record per request over the Kafka protocol: alone, and 64 clients that each wait.
//!
//! In: a setting. Out: latencies beside the least broker's, acknowledgements per second, and beside Kafka that syncs
//! before it answers. Never: a peer that answers from memory.

use std::rc::Rc;

use crate::failure::Failure;
use crate::targets::contender::{Contender, load};
use crate::targets::findings::Findings;
use crate::targets::line::{Line, Named, Need, Unit};
use crate::targets::seen::Seen;
use crate::targets::server::Server;
use crate::targets::setting::Setting;

const ACKS_PER_SECOND: f64 = 100_000.0;
/// Runs of the peer that do not count.
const WARM_RUNS: usize = 3;
const PEER: &str = "Kafka, log.flush.interval.messages=1";

/// Both kinds of work in turns on each server.
pub fn measure(setting: &Setting<'_>) -> Result<Findings, Failure> {
    let mut servers = vec![("floor", Server::floor(setting, 1)?), ("own", Server::own(setting, 1)?)];
    if setting.peers {
        servers.push(("peer", Server::peer(setting, "kafka", "durable", &load(1, 1, 1, 4, 1))?));
    }
    let mut contenders = Vec::new();
    for (name, server) in servers {
        let server = Rc::new(server);
        for connections in [1, 64] {
            let load = load(connections, 1, 1, 4, setting.seconds);
            let mut contender = Contender::new(&format!("{name} {connections}"), &server, load, &[])?;
            if name == "peer" {
                // A virtual machine's code has to be compiled.
                (0..WARM_RUNS).try_for_each(|_| contender.produce(&mut Seen::default(), setting))?;
            }
            contenders.push(contender);
        }
    }
    let mut seen = Seen::default();
    setting
        .rounds(|| contenders.iter_mut().try_for_each(|contender| contender.produce(&mut seen, setting)))?;
    let mut findings = findings(&seen, setting.peers);
    findings.memory = contenders.iter().filter_map(|contender| contender.server.memory()).collect();
    Ok(findings)
}

fn findings(seen: &Seen, peers: bool) -> Findings {
    let mut findings = Findings::of(seen);
    for (percentile, need) in [("p50", Need::AtMost(1.5)), ("p99", Need::AtMost(2.0))] {
        let floor = Named::new("floor", seen.of(&format!("floor 1 {percentile}")));
        let name = format!("{percentile}, 1 connection x 1 in flight");
        findings.line(Line::new(
            &name,
            Unit::Microseconds,
            seen.of(&format!("own 1 {percentile}")),
            need,
            floor,
        ));
    }
    let (name, own) = ("acknowledged, 64 connections x 1 in flight", seen.of("own 64 rate"));
    let goal = Named::new("agreed on", vec![ACKS_PER_SECOND]);
    let floor = Named::new("floor", seen.of("floor 64 rate"));
    let line = Line::new(name, Unit::RecordsPerSecond, own.clone(), Need::AtLeast(1.0), goal);
    findings.line(line.over(floor.clone()));
    let need = Need::AtLeast(10.0);
    findings.line(match peers {
        true => {
            let peer = Named::new(PEER, seen.of("peer 64 rate"));
            Line::new(name, Unit::RecordsPerSecond, own, need, peer).over(floor)
        }
        false => Line::without(name, Unit::RecordsPerSecond, need, PEER, "no peers"),
    });
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::line::Verdict;

    #[test]
    fn what_the_floor_cannot_do_either_is_told() {
        let mut seen = Seen::default();
        for (name, value) in [
            ("floor 1 p50", 100.0),
            ("own 1 p50", 149.0),
            ("floor 1 p99", 200.0),
            ("own 1 p99", 401.0),
            ("floor 64 rate", 90_000.0),
            ("own 64 rate", 80_000.0),
            ("peer 64 rate", 5_000.0),
        ] {
            seen.push(name, value);
        }
        let verdicts: Vec<Verdict> = findings(&seen, true).lines.iter().map(Line::verdict).collect();
        assert_eq!(verdicts, [Verdict::Met, Verdict::Missed, Verdict::OutOfReach, Verdict::Met]);
        let without = findings(&seen, false).lines.pop().unwrap();
        assert_eq!(without.verdict(), Verdict::NotMeasured("no peers".to_owned()));
    }
}
