//! Ten times as much of everything: records, partitions, connections, and the second core.
//!
//! In: a setting. Out: cost of a record and rate at each size, as curves; a line for each step. Never: more in flight on
//! one side than its size says.
//!
//! Linear means that a record costs the same whatever there is of the rest. A step may cost a quarter more, which is what
//! rounds differ by.

use std::rc::Rc;

use crate::failure::Failure;
use crate::targets::contender::{Contender, bulk, load};
use crate::targets::findings::{Curve, Findings};
use crate::targets::line::{Line, Named, Need, Unit};
use crate::targets::seen::Seen;
use crate::targets::server::Server;
use crate::targets::setting::Setting;

const NEED: Need = Need::AtMost(1.25);
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
    for Growth { name, what, sizes } in growths {
        let of = |size: &u64, figure: &str| seen.of(&format!("{name} {size} {figure}"));
        for step in sizes.windows(2) {
            let [less, more] = step else { continue };
            let beside = Named::new(&format!("CPU a record at {less}"), of(less, "cpu"));
            let name = format!("CPU a record at {more} {what}");
            findings.line(Line::new(&name, Unit::Microseconds, of(more, "cpu"), NEED, beside));
        }
        let middle = |size: &u64, figure: &str| seen.middle(&format!("{name} {size} {figure}"));
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
    findings.remark("two cores: one port for both; a listener for each core is not measured".to_owned());
    findings
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
        let growth = Growth { name: "partitions", what: "partitions", sizes: vec![10, 100, 1000] };
        let found = findings(&seen, &[growth]);
        let verdicts: Vec<Verdict> = found.lines.iter().map(Line::verdict).collect();
        assert_eq!(verdicts, [Verdict::Met, Verdict::Missed]);
        assert_eq!(found.curves[0].points[2], (1000.0, 1.6, 625_000.0));
        assert!(found.remarks[0].contains("1000: 625 k/s (1.60 us)"), "{}", found.remarks[0]);
    }
}
