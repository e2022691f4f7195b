//! Small batches to many partitions, beside the same to a few.
//!
//! In: a setting. Out: a line for each size of batch. Never: more requests in flight on one side.

use std::rc::Rc;

use crate::failure::Failure;
use crate::targets::contender::{Contender, load};
use crate::targets::findings::Findings;
use crate::targets::line::{Line, Named, Need, Unit};
use crate::targets::seen::Seen;
use crate::targets::server::Server;
use crate::targets::setting::Setting;

const FEW: u64 = 10;
const MANY: u64 = 1000;
const SIZES: [(u64, &str); 2] = [(1, "1 record of 1 KiB"), (4 << 10, "4 KiB")];
const NEED: Need = Need::AtLeast(0.8);
/// Small batches come one after the other, as a keyed producer sends them: every request is for the next partition.
const CONNECTIONS: u64 = 4;
const IN_FLIGHT: u64 = 64;

/// Both numbers of partitions and both sizes in turns.
pub fn measure(setting: &Setting<'_>) -> Result<Findings, Failure> {
    let servers =
        [("own", Rc::new(Server::own(setting, 1)?)), ("floor", Rc::new(Server::floor(setting, 1)?))];
    let mut contenders = Vec::new();
    for (name, server) in &servers {
        for (batch_bytes, _) in SIZES {
            // To the least broker a partition is only a number.
            for partitions in if *name == "own" { vec![FEW, MANY] } else { vec![FEW] } {
                let load = load(CONNECTIONS, IN_FLIGHT, batch_bytes, partitions, setting.seconds);
                let name = format!("{name} {batch_bytes} {partitions}");
                contenders.push(Contender::new(&name, server, load, &[])?);
            }
        }
    }
    let mut seen = Seen::default();
    setting
        .rounds(|| contenders.iter_mut().try_for_each(|contender| contender.produce(&mut seen, setting)))?;
    let mut findings = findings(&seen);
    findings.memory = servers.iter().filter_map(|(_, server)| server.memory()).collect();
    Ok(findings)
}

fn findings(seen: &Seen) -> Findings {
    let mut findings = Findings::of(seen);
    for (batch_bytes, words) in SIZES {
        let rate = |name: &str, partitions| seen.of(&format!("{name} {batch_bytes} {partitions} rate"));
        let beside = Named::new(&format!("{FEW} partitions"), rate("own", FEW));
        let name = format!("{MANY} partitions, batches of {words}");
        let line = Line::new(&name, Unit::RecordsPerSecond, rate("own", MANY), NEED, beside);
        findings.line(line.over(Named::new("the least broker, which has no partitions", rate("floor", FEW))));
    }
    findings.remark(format!("{CONNECTIONS} connections x {IN_FLIGHT} in flight, one partition a request"));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_are_held_against_few_of_the_same_size() {
        let mut seen = Seen::default();
        for (name, value) in [
            ("own 1 10 rate", 10.0),
            ("own 1 1000 rate", 9.0),
            ("own 4096 10 rate", 40.0),
            ("own 4096 1000 rate", 20.0),
        ] {
            seen.push(name, value);
        }
        let ratios: Vec<_> = findings(&seen).lines.iter().map(Line::ratio).collect();
        assert_eq!(ratios, [Some(0.9), Some(0.5)]);
    }
}
