//! Ten times as much of everything: records, partitions, connections, and the second core.
//!
//! In: a setting. Out: cost of a record and rate at each size, as curves; a line for each step. Never: more in flight on
//! one side than its size says.
//!
//! Linear means that a record costs the same whatever there is of the rest. A step may cost a quarter more, which is what
//! rounds differ by.

use std::rc::Rc;

use crate::failure::Failure;
use crate::load::work::Load;
use crate::targets::contender::{Contender, bulk, load};
use crate::targets::findings::{Curve, Findings};
use crate::targets::line::{Line, Named, Need, Unit};
use crate::targets::seen::Seen;
use crate::targets::server::Server;
use crate::targets::setting::Setting;

const NEED: Need = Need::AtMost(1.25);
/// A port for each core is to bring something, or at least cost nothing; rounds differ by a tenth.
const LISTENERS: Need = Need::AtLeast(0.9);
const SMALL_BATCH_BYTES: u64 = 4 << 10;

/// One kind of growth and its sizes.
struct Growth {
    name: &'static str,
    what: &'static str,
    sizes: Vec<u64>,
}

fn growths(setting: &Setting<'_>) -> [Growth; 4] {
    let tens = |first: u64, count: u32| (0..count).map(|power| first * 10_u64.pow(power)).collect();
    let records = if setting.quick { 100_000 } else { 500_000 };
    [
        Growth { name: "records", what: "records, 16 KiB batches", sizes: tens(records, 2) },
        Growth {
            name: "partitions",
            what: "partitions, 4 KiB batches",
            sizes: tens(10, if setting.quick { 3 } else { 4 }),
        },
        Growth { name: "connections", what: "connections x 1 record in flight", sizes: tens(1, 4) },
        Growth { name: "cores", what: "cores, 16 KiB batches", sizes: vec![1, 2] },
    ]
}

/// All sizes in turns.
pub fn measure(setting: &Setting<'_>) -> Result<Findings, Failure> {
    let growths = growths(setting);
    let one = Rc::new(Server::own(setting, 1)?);
    let two = Rc::new(Server::own(setting, 2)?);
    let mut contenders = Vec::new();
    for growth in &growths {
        for size in &growth.sizes {
            let seconds = setting.seconds;
            let (server, load) = match growth.name {
                "partitions" => (&one, load(4, 64, SMALL_BATCH_BYTES, *size, seconds)),
                "connections" => (&one, load(*size, 1, 1, 4, seconds)),
                "cores" if *size == 2 => (&two, bulk(seconds)),
                _ => (&one, bulk(seconds)),
            };
            let contender = Contender::new(&format!("{} {size}", growth.name), server, load, &[])?;
            contenders.push((contender, (growth.name == "records").then_some(*size)));
        }
    }
    let ports = Rc::new(Server::core_listeners(setting)?);
    let follow = Load { follow_leaders: true, ..bulk(setting.seconds) };
    contenders.push((Contender::new("ports 2", &ports, follow, &[])?, None));
    for cores in [1, 2] {
        let floor = Rc::new(Server::floor(setting, cores)?);
        contenders
            .push((Contender::new(&format!("floor {cores}"), &floor, bulk(setting.seconds), &[])?, None));
    }
    let mut seen = Seen::default();
    setting.rounds(|| {
        for (contender, records) in &mut contenders {
            let interrupt = setting.interrupt;
            match records {
                Some(records) => contender.measure(
                    &mut seen,
                    |_, _| Ok(()),
                    |place, load| place.produce_records(load, *records, interrupt),
                )?,
                None => contender.produce(&mut seen, setting)?,
            }
        }
        Ok(())
    })?;
    let mut findings = findings(&seen, &growths);
    let most =
        [&one, &two].into_iter().filter_map(|server| server.memory()).map(|memory| memory.resident_bytes);
    let most = most.max().unwrap_or(0) as f64;
    findings.remark(format!("resident at most: {}", Unit::Bytes.text(most)));
    Ok(findings)
}

fn findings(seen: &Seen, growths: &[Growth]) -> Findings {
    let mut findings = Findings::of(seen);
    for Growth { name: kind, what, sizes } in growths {
        let of = |size: &u64, figure: &str| seen.of(&format!("{kind} {size} {figure}"));
        for step in sizes.windows(2) {
            let [less, more] = step else { continue };
            let beside = Named::new(&format!("CPU a record at {less}"), of(less, "cpu"));
            let name = format!("CPU a record at {more} {what}");
            let line = Line::new(&name, Unit::Microseconds, of(more, "cpu"), NEED, beside);
            findings.line(if *kind == "cores" { line.over(least(seen)) } else { line });
        }
        let middle = |size: &u64, figure: &str| seen.middle(&format!("{kind} {size} {figure}"));
        let points = sizes.iter().map(|size| (*size as f64, middle(size, "cpu"), middle(size, "rate")));
        findings.curves.push(Curve { name: (*what).to_owned(), points: points.collect() });
    }
    for curve in findings.curves.clone() {
        let points = curve
            .points
            .iter()
            .map(|(size, cpu, rate)| format!("{size}: {} ({cpu:.2} us)", Unit::RecordsPerSecond.text(*rate)));
        findings.remark(format!("{}: {}", curve.name, points.collect::<Vec<_>>().join(", ")));
    }
    let one_port = Named::new("one port for both", seen.of("cores 2 rate"));
    let name = "2 cores with a port for each, 16 KiB batches";
    findings.line(Line::new(name, Unit::RecordsPerSecond, seen.of("ports 2 rate"), LISTENERS, one_port));
    findings.remark(format!(
        "2 cores: CPU a record {:.2} us with one port, {:.2} us with a port for each",
        seen.middle("cores 2 cpu"),
        seen.middle("ports 2 cpu"),
    ));
    findings
}

/// What a record would cost with two cores if it grew by as much as with the least broker, which knows no other core.
fn least(seen: &Seen) -> Named {
    let [own, one, two] = ["cores 1 cpu", "floor 1 cpu", "floor 2 cpu"].map(|name| seen.of(name));
    let grown = own.iter().zip(&one).zip(&two).filter(|((_, one), _)| **one > 0.0);
    Named::new("as the least broker's grows", grown.map(|((own, one), two)| own * two / one).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::line::Verdict;

    #[test]
    fn each_step_is_held_against_the_one_before() {
        let mut seen = Seen::default();
        for (size, cpu) in [(10, 1.0), (100, 1.2), (1000, 1.6)] {
            seen.push(&format!("partitions {size} cpu"), cpu);
            seen.push(&format!("partitions {size} rate"), 1e6 / cpu);
        }
        for (name, value) in [
            ("cores 1 cpu", 1.0),
            ("cores 2 cpu", 1.5),
            ("floor 1 cpu", 0.4),
            ("floor 2 cpu", 0.6),
            ("cores 2 rate", 100.0),
            ("ports 2 rate", 95.0),
        ] {
            seen.push(name, value);
        }
        let partitions = Growth { name: "partitions", what: "partitions", sizes: vec![10, 100, 1000] };
        let cores = Growth { name: "cores", what: "cores", sizes: vec![1, 2] };
        let found = findings(&seen, &[partitions, cores]);
        let verdicts: Vec<Verdict> = found.lines.iter().map(Line::verdict).collect();
        assert_eq!(verdicts, [Verdict::Met, Verdict::Missed, Verdict::OutOfReach, Verdict::Met]);
        assert_eq!(found.curves[0].points[2], (1000.0, 1.6, 625_000.0));
        assert!(found.remarks[0].contains("1000: 625 k/s (1.60 us)"), "{}", found.remarks[0]);
    }
}
