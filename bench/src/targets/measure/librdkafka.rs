//! librdkafka's producer against us, beside the same producer against its own broker in memory.
//!
//! In: a setting. Out: lines for both on cores of their own, and for both left to the scheduler, over the same with the
//! least broker that keeps as much. Never: another client's settings for one of the two.

use std::rc::Rc;

use super::keeping;
use crate::failure::Failure;
use crate::floor::disk::Keep;
use crate::targets::clients::{Client, Figures, Mock};
use crate::targets::contender::{Contender, load};
use crate::targets::findings::Findings;
use crate::targets::line::{Line, Named, Need, Unit};
use crate::targets::seen::Seen;
use crate::targets::server::Server;
use crate::targets::setting::Setting;

const SETTINGS: [&str; 2] = ["acks=all", "linger.ms=5"];
const PARTITIONS: u64 = 4;
const NEED: Need = Need::AtLeast(0.9);
const MOCK: &str = "its own mock broker";
const LINES: [(&str, &str); 2] = [
    ("placed", "1 KiB values, linger 5 ms, client on the first core"),
    ("free", "1 KiB values, linger 5 ms, client on both cores"),
];

/// The same records to both, placed and not, in turns.
pub fn measure(setting: &Setting<'_>) -> Result<Findings, Failure> {
    let client = match Client::librdkafka(setting, &SETTINGS) {
        Ok(client) => client,
        Err(Failure::Broker(reason)) if !setting.peers => return Ok(without(&reason)),
        Err(failure) => return Err(failure),
    };
    let server = Rc::new(Server::own(setting, 1)?);
    let own = Contender::new("own", &server, load(4, 1, 1, PARTITIONS, 1), &[])?;
    let mut least = Vec::new();
    let floors = [(Keep::Nothing, "floor")].into_iter().chain(keeping::GROWING);
    for (keep, name) in floors {
        let server = Rc::new(Server::keeping_floor(setting, 1, keep)?);
        least.push(Contender::new(name, &server, load(4, 1, 1, PARTITIONS, 1), &[])?);
    }
    let records = if setting.quick { 300_000 } else { 1_000_000 };
    let mut seen = Seen::default();
    let brokers = |seen: &mut Seen, kind: &str| -> Result<(), Failure> {
        for one in [&own].into_iter().chain(&least) {
            note(seen, &format!("{kind} {}", one.name), Some(one.client(&client, records, setting)?));
        }
        Ok(())
    };
    setting.rounds(|| {
        let core = setting.cores.map_or(Mock::Anywhere, |cores| Mock::OnCore(cores.answering()));
        let mock = client.produce_to_mock(core, PARTITIONS, records, setting)?;
        note(&mut seen, "placed mock", mock);
        brokers(&mut seen, "placed")?;
        setting.on_any(|| {
            let mock = client.produce_to_mock(Mock::Anywhere, PARTITIONS, records, setting)?;
            note(&mut seen, "free mock", mock);
            brokers(&mut seen, "free")
        })
    })?;
    let mut findings = findings(&seen);
    findings.memory = server.memory().into_iter().collect();
    Ok(findings)
}

fn note(seen: &mut Seen, name: &str, figures: Option<Figures>) {
    figures.into_iter().for_each(|figures| seen.push(name, figures.per_second));
}

fn findings(seen: &Seen) -> Findings {
    let mut findings = Findings::of(seen);
    for (kind, name) in LINES {
        let mock = Named::new(MOCK, seen.of(&format!("{kind} mock")));
        let own = seen.of(&format!("{kind} own"));
        let line = Line::new(name, Unit::RecordsPerSecond, own, NEED, mock);
        let least = keeping::best(&keeping::GROWING, |way| seen.of(&format!("{kind} {way}")));
        findings.line(match least {
            Some(Named { name, values }) => {
                line.over(Named::new(&format!("the client against {name}"), values))
            }
            None => line,
        });
    }
    let kept_nothing =
        LINES.map(|(kind, _)| Unit::RecordsPerSecond.text(seen.middle(&format!("{kind} floor"))));
    findings.remark(format!(
        "the client against the least broker that keeps nothing: {} on the first core, {} on both",
        kept_nothing[0], kept_nothing[1]
    ));
    findings.remark(
        "the mock's thread is on the last core where the client is on the first; it keeps nothing and checks little"
            .to_owned(),
    );
    findings
}

fn without(reason: &str) -> Findings {
    let line = |(_, name)| Line::without(name, Unit::RecordsPerSecond, NEED, MOCK, reason);
    Findings { lines: LINES.map(line).into(), ..Findings::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::line::Verdict;

    #[test]
    fn both_placings_have_their_own_mock() {
        let mut seen = Seen::default();
        for (name, value) in [
            ("placed mock", 10.0),
            ("placed own", 9.0),
            ("free mock", 20.0),
            ("free own", 10.0),
            ("placed floor", 9.5),
            ("placed twice", 8.0),
            ("placed once", 9.2),
            ("free floor", 19.0),
            ("free twice", 11.0),
            ("free once", 10.0),
        ] {
            seen.push(name, value);
        }
        let lines = findings(&seen).lines;
        let of = |line: &Line| (line.ratio(), line.floor.as_ref().map(Named::middle));
        assert_eq!(
            lines.iter().map(of).collect::<Vec<_>>(),
            [(Some(0.9), Some(9.2)), (Some(0.5), Some(11.0))]
        );
        assert_eq!(lines[1].verdict(), Verdict::OutOfReach);
        assert_eq!(without("no headers").lines.len(), 2);
    }
}
