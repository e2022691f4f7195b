//! What readers do to producers: consumers that follow, and readers that catch up from the device.
//!
//! In: a setting. Out: p99 of appends at a fixed rate alone, beside consumers, and beside both; and what reads do to raw
//! appends on this device. Never: latencies at full speed, which are only the length of a queue.

use std::rc::Rc;
use std::time::Duration;

use crate::failure::Failure;
use crate::load::beside::Readers;
use crate::load::work::{Load, Place};
use crate::raw::device::{Device, Setup, Stream};
use crate::raw::file;
use crate::targets::contender::{Contender, bulk};
use crate::targets::findings::Findings;
use crate::targets::line::{Line, Named, Need, Unit};
use crate::targets::seen::Seen;
use crate::targets::server::Server;
use crate::targets::setting::Setting;

const NEED: Need = Need::AtMost(2.0);
/// Of the rate at full speed: with all readers there is still room for everybody.
const PART: f64 = 0.2;
const COLD_BYTES: u64 = 1 << 30;
const COLD_READERS: u64 = 2;
const FILL: Duration = Duration::from_secs(30);
const WARM_UP: Duration = Duration::from_millis(300);
const FILE_BYTES: u64 = 512 << 20;
/// Appends of the raw device are as long as a request, its reads as long as a fetch.
const APPEND: Stream = Stream { write: true, random: false, block_bytes: 16 << 10, depth: 1, durable: true };
const READ: Stream = Stream { write: false, random: false, block_bytes: 1 << 20, depth: 2, durable: false };

/// Alone, beside consumers, beside consumers and cold readers, and the raw device, in turns.
pub fn measure(setting: &Setting<'_>) -> Result<Findings, Failure> {
    let server = Rc::new(Server::own(setting, 1)?);
    let mut cold = Contender::new("cold", &server, bulk(setting.seconds), &[])?;
    cold.with(|place, load| place.fill_to(load, COLD_BYTES, FILL, setting.interrupt))?;
    let mut seen = Seen::default();
    let mut full = Contender::new("full", &server, bulk(1), &[])?;
    full.produce(&mut seen, setting)?;
    let records = u64::from(full.load.batch().header().records_count.get().unsigned_abs());
    let rate = (seen.middle("full rate") * PART) as u64 / records.max(1);
    let load = Load { rate: Some(rate.max(1)), warm_up: WARM_UP, ..bulk(setting.seconds) };
    let file = file::written(setting.dir, FILE_BYTES, setting.interrupt)?;
    setting.rounds(|| {
        for (name, following, with_cold) in
            [("alone", false, false), ("consumers", true, false), ("both", true, true)]
        {
            // Consumers follow from the start of a topic, so each run has one of its own.
            let mut contender = Contender::new(name, &server, load.clone(), &[])?;
            let beside = contender.with(|place: &mut Place, load| {
                let readers = Readers { following, cold: with_cold.then(|| (cold.place(), COLD_READERS)) };
                place.produce_beside(load, &readers, setting.interrupt)
            })?;
            beside.produced.check(&load.target)?;
            let seconds = setting.seconds as f64;
            seen.push(&format!("{name} p99"), beside.produced.response.percentile_us(99.0));
            seen.push(&format!("{name} unsent"), beside.produced.unsent as f64);
            seen.push(&format!("{name} followed"), beside.followed_bytes as f64 / seconds);
            seen.push(&format!("{name} cold"), beside.cold_bytes as f64 / seconds);
            contender.clear();
        }
        setting.on_answering(|| {
            for (name, streams) in [("raw alone", &[APPEND][..]), ("raw both", &[APPEND, READ])] {
                let open = Device::open(&file, FILE_BYTES, streams, Setup::BEST);
                let mut device =
                    open.map_err(|source| Failure::Kernel { doing: "set up io_uring", source })?;
                let figures = device.measure(Duration::from_millis(500), setting.interrupt)?;
                let p99 = figures.first().map_or(0.0, |append| append.latencies.percentile_us(99.0));
                seen.push(name, p99);
            }
            Ok(())
        })
    })?;
    let mut findings = findings(&seen, rate);
    findings.memory = server.memory().into_iter().collect();
    Ok(findings)
}

fn findings(seen: &Seen, rate: u64) -> Findings {
    let mut findings = Findings::of(seen);
    let alone = Named::new("p99 alone", seen.of("alone p99"));
    let floor = Named::new("a raw append of 16 KiB beside as many raw reads, p99", seen.of("raw both"));
    for (name, words) in [
        ("consumers", "p99 of appends beside consumers"),
        ("both", "p99 of appends beside consumers and cold readers"),
    ] {
        let line = Line::new(words, Unit::Microseconds, seen.of(&format!("{name} p99")), NEED, alone.clone());
        findings.line(if name == "both" { line.over(floor.clone()) } else { line });
    }
    let megabytes = |name: &str| seen.middle(name) / 1e6;
    findings.remark(format!(
        "{rate} requests/s of 16 KiB over 4 connections, a fifth of full speed; consumers followed with {:.0} MB/s, \
         {COLD_READERS} cold readers as fast as they could: {:.0} MB/s",
        megabytes("consumers followed"),
        megabytes("both cold"),
    ));
    findings
        .remark(format!("a raw append alone, p99: {}", Unit::Microseconds.text(seen.middle("raw alone"))));
    let unsent = seen.middle("both unsent");
    if unsent > 0.0 {
        findings
            .remark(format!("{unsent} requests were not sent in time; they count with the time they waited"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::line::Verdict;

    #[test]
    fn what_the_device_does_is_the_floor_of_cold_readers_only() {
        let mut seen = Seen::default();
        for (name, value) in [
            ("alone p99", 100.0),
            ("consumers p99", 250.0),
            ("both p99", 400.0),
            ("raw alone", 50.0),
            ("raw both", 300.0),
            ("both unsent", 3.0),
        ] {
            seen.push(name, value);
        }
        let found = findings(&seen, 1000);
        let verdicts: Vec<Verdict> = found.lines.iter().map(Line::verdict).collect();
        assert_eq!(verdicts, [Verdict::Missed, Verdict::OutOfReach]);
        assert!(found.remarks[2].starts_with("3 requests were not sent"));
    }
}
