//! Idempotent producers with 16 KiB batches: the Java client's and librdkafka's, against us and against Kafka.
//!
//! In: a setting. Out: rates and p99 of both clients, beside Kafka as it comes and Kafka that syncs before it answers, over
//! what they do with the least broker.
//! Never: two servers with different settings of the client.

use std::rc::Rc;

use crate::failure::Failure;
use crate::targets::clients::Client;
use crate::targets::contender::{Contender, load};
use crate::targets::findings::Findings;
use crate::targets::line::{Line, Named, Need, Unit};
use crate::targets::seen::Seen;
use crate::targets::server::Server;
use crate::targets::setting::Setting;

/// What the Java client does by default; all else is as either client comes.
const SETTINGS: [&str; 2] = ["enable.idempotence=true", "batch.size=16384"];
const PARTITIONS: u64 = 4;
const CLIENTS: [(&str, &str); 2] = [("java", "Java client"), ("librdkafka", "librdkafka")];
/// Each setting of Kafka, its name for people, and how much faster we have to be.
const PEERS: [(&str, &str, f64); 2] =
    [("stock", "Kafka, stock", 3.0), ("durable", "Kafka, log.flush.interval.messages=1", 8.0)];

/// Both clients on all servers in turns.
pub fn measure(setting: &Setting<'_>) -> Result<Findings, Failure> {
    if !setting.peers {
        return Ok(findings(&Seen::default(), false));
    }
    // One connection makes the topic; the clients bring their own.
    let work = load(4, 1, 1, PARTITIONS, 1);
    let own = Rc::new(Server::own(setting, 1)?);
    let floor = Rc::new(Server::floor(setting, 1)?);
    let mut contenders = vec![
        Contender::new("own", &own, work.clone(), &[])?,
        Contender::new("floor", &floor, work.clone(), &[])?,
    ];
    for (settings, ..) in PEERS {
        let peer = Rc::new(Server::peer(setting, "kafka", settings, &work)?);
        contenders.push(Contender::new(settings, &peer, work.clone(), &[])?);
    }
    let clients = [Client::java(setting.dir)?, Client::librdkafka(setting, &SETTINGS)?];
    let records = if setting.quick { [100_000, 100_000] } else { [300_000, 500_000] };
    for contender in &contenders {
        // A virtual machine's code has to be compiled, on the server's side too.
        contender.client(&clients[1], records[1], setting)?;
    }
    let mut seen = Seen::default();
    setting.rounds(|| {
        for ((client, (name, _)), records) in clients.iter().zip(CLIENTS).zip(records) {
            for contender in &contenders {
                // On one core the Java client is slower than every server, and nothing would be shown.
                let figures = match name {
                    "java" => setting.on_any(|| contender.client(client, records, setting))?,
                    _ => contender.client(client, records, setting)?,
                };
                seen.push(&format!("{} {name} rate", contender.name), figures.per_second);
                seen.push(&format!("{} {name} p99", contender.name), figures.p99_us);
            }
        }
        Ok(())
    })?;
    let mut findings = findings(&seen, true);
    findings.memory = contenders.iter().filter_map(|contender| contender.server.memory()).collect();
    Ok(findings)
}

fn findings(seen: &Seen, peers: bool) -> Findings {
    let mut findings = Findings::of(seen);
    for (client, client_name) in CLIENTS {
        for (peer, peer_name, times) in PEERS {
            for (what, unit, need) in [
                ("rate", Unit::RecordsPerSecond, Need::AtLeast(times)),
                ("p99", Unit::Microseconds, Need::AtMost(1.0)),
            ] {
                let name = format!("{client_name}, {what}");
                if !peers {
                    findings.line(Line::without(&name, unit, need, peer_name, "no peers"));
                    continue;
                }
                let beside = Named::new(peer_name, seen.of(&format!("{peer} {client} {what}")));
                let line = Line::new(&name, unit, seen.of(&format!("own {client} {what}")), need, beside);
                let floor = seen.of(&format!("floor {client} {what}"));
                findings.line(match floor.is_empty() {
                    true => line,
                    false => line.over(Named::new("the client against the least broker", floor)),
                });
            }
        }
    }
    findings.remark(
        "servers have the last core; librdkafka has the first, the Java client both, as it needs more than one".to_owned(),
    );
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::line::Verdict;

    #[test]
    fn a_client_that_is_too_slow_to_show_the_goal_is_told() {
        let mut seen = Seen::default();
        for (name, value) in [
            ("own java rate", 90.0),
            ("stock java rate", 30.0),
            ("durable java rate", 30.0),
            ("own java p99", 5.0),
            ("stock java p99", 6.0),
            ("durable java p99", 4.0),
            ("own librdkafka rate", 100.0),
            ("stock librdkafka rate", 50.0),
            ("floor librdkafka rate", 120.0),
        ] {
            seen.push(name, value);
        }
        let verdicts: Vec<Verdict> = findings(&seen, true).lines.iter().map(Line::verdict).collect();
        assert_eq!(verdicts[..4], [Verdict::Met, Verdict::Met, Verdict::Missed, Verdict::Missed]);
        assert_eq!(
            verdicts[4],
            Verdict::OutOfReach,
            "three times 50 is more than the least broker makes of it"
        );
        assert!(findings(&Seen::default(), false).lines.iter().all(|line| line.reason.is_some()));
    }
}
