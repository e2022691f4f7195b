//! Bulk over the Kafka protocol: producers beside the least broker, and over the one that keeps as much; consumers beside
//! plain sending and plain reading.
//!
//! In: a setting. Out: lines for one core and for two, growing and with a retention; reads from memory and from the
//! device. Never: a "cold" read that came from memory, or the other way round.

use std::fs::File;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::{keeping, loopback};
use crate::failure::Failure;
use crate::load::work::Load;
use crate::raw::device::{Device, Setup, Stream};
use crate::send::{self, Pages};
use crate::targets::contender::{Contender, bulk};
use crate::targets::findings::Findings;
use crate::targets::line::{Line, Named, Need, Unit};
use crate::targets::seen::Seen;
use crate::targets::server::Server;
use crate::targets::setting::Setting;

const PRODUCE: Need = Need::AtLeast(0.8);
const FROM_MEMORY: Need = Need::AtLeast(0.85);
const COLD: Need = Need::AtLeast(0.8);
/// What a partition keeps where there is a retention.
const RETENTION_BYTES: u64 = 64 << 20;
/// Until segments of such a topic go: so long, at most, as a broker may take to look at its retention twice.
const RETENTION_WARM_UP: Duration = Duration::from_secs(25);
/// A third of what a broker has for records.
const MEMORY_BYTES: u64 = 20 << 20;
/// As much as the raw reads go over, so that whatever lies under the device keeps as much of either.
const COLD_BYTES: u64 = 1 << 30;
const READ_BYTES: usize = 1 << 20;
const DEPTHS: [usize; 3] = [1, 2, 4];
/// Of raw reads, before the first that counts.
const COLD_WARM_UP: Duration = Duration::from_secs(1);
const FILL: Duration = Duration::from_secs(30);

/// Bytes of batches that a broker read, by where they were.
const READ_FROM: [&str; 2] =
    ["ringmain_read_bytes_total{from=\"memory\"}", "ringmain_read_bytes_total{from=\"device\"}"];

/// Consumers of a topic that is there, and a broker for them alone.
struct Reader {
    contender: Contender,
    cold: bool,
}

impl Reader {
    fn start(setting: &Setting<'_>, name: &str, bytes: u64, cold: bool) -> Result<Reader, Failure> {
        let server = Rc::new(Server::own(setting, 1)?);
        let consume = Load { in_flight: 1, ..bulk(setting.seconds) };
        let mut contender = Contender::new(name, &server, consume, &[])?;
        contender.with(|place, load| place.fill_to(load, bytes, FILL, setting.interrupt))?;
        Ok(Reader { contender, cold })
    }

    fn turn(&mut self, seen: &mut Seen, setting: &Setting<'_>) -> Result<(), Failure> {
        let read = |contender: &Contender| -> Result<[f64; 2], Failure> {
            let [memory, device] = READ_FROM;
            Ok([contender.server.metric(memory)?, contender.server.metric(device)?])
        };
        let before = read(&self.contender)?;
        self.contender.consume(seen, setting)?;
        let after = read(&self.contender)?;
        let [memory, device] = [after[0] - before[0], after[1] - before[1]];
        let name = &self.contender.name;
        if (device > memory) != self.cold {
            let reason = format!("{name}: {memory} bytes came from memory and {device} from the device");
            return Err(Failure::Broker(reason));
        }
        Ok(())
    }
}

/// Everything in turns.
pub fn measure(setting: &Setting<'_>) -> Result<Findings, Failure> {
    let mut producers = Vec::new();
    for cores in [1, 2] {
        let floor = Rc::new(Server::floor(setting, cores)?);
        producers.push(Contender::new(&format!("floor {cores}"), &floor, bulk(setting.seconds), &[])?);
        for (keep, way) in keeping::GROWING.into_iter().chain(keeping::trimmed(cores)) {
            let floor = Rc::new(Server::keeping_floor(setting, cores, keep)?);
            producers.push(Contender::new(&format!("{way} {cores}"), &floor, bulk(setting.seconds), &[])?);
        }
        let own = Rc::new(Server::own(setting, cores)?);
        producers.push(Contender::new(&format!("growing {cores}"), &own, bulk(setting.seconds), &[])?);
        let kept = RETENTION_BYTES.to_string();
        let settings = [("retention.bytes", kept.as_str())];
        let name = format!("retained {cores}");
        let mut retained = Contender::new(&name, &own, bulk(setting.seconds), &settings)?;
        let went = warm_up(&mut retained, setting)?;
        if !went {
            return Err(Failure::Broker(format!("{name}: no segment went within {RETENTION_WARM_UP:?}")));
        }
        producers.push(retained);
    }
    let mut memory = Reader::start(setting, "memory", MEMORY_BYTES, false)?;
    let mut cold = Reader::start(setting, "cold", COLD_BYTES, true)?;
    let pages = Pages::create(setting.dir, COLD_BYTES, setting.interrupt)?;
    let file = pages.direct();
    let mut seen = Seen::default();
    setting.rounds(|| {
        producers.iter_mut().try_for_each(|producer| producer.produce(&mut seen, setting))?;
        let time = Duration::from_millis(500 * setting.seconds);
        seen.push("loopback", loopback::send(setting, READ_BYTES, time)?);
        memory.turn(&mut seen, setting)?;
        // Some devices read faster for a moment after a rest, which is not what is asked; and slower from one second to the
        // next, which is not to count for one side alone.
        setting.on_answering(|| raw_reads(file, DEPTHS[0], COLD_WARM_UP, setting))?;
        let raw = || DEPTHS.map(|depth| setting.on_answering(|| raw_reads(file, depth, time / 2, setting)));
        let sent = || send::read_and_sent(&pages, READ_BYTES, setting.cores, time / 2, setting.interrupt);
        let before = (raw(), sent()?);
        cold.turn(&mut seen, setting)?;
        let after = (raw(), sent()?);
        for ((depth, before), after) in DEPTHS.into_iter().zip(before.0).zip(after.0) {
            seen.push(&format!("raw {depth}"), (before? + after?) / 2.0);
        }
        seen.push("sent", (before.1 + after.1) / 2.0);
        Ok(())
    })?;
    let mut findings = findings(&seen);
    let servers = producers.iter().chain([&memory.contender, &cold.contender]);
    findings.memory = servers.filter_map(|contender| contender.server.memory()).collect();
    Ok(findings)
}

/// Produces until what the retention allows no longer grows, so that segments go from now on.
fn warm_up(retained: &mut Contender, setting: &Setting<'_>) -> Result<bool, Failure> {
    let held = "ringmain_retained_bytes{reason=\"topic_records\"}";
    let begin = Instant::now();
    let piece = Load { seconds: 1, ..retained.load.clone() };
    let mut most = 0.0;
    while begin.elapsed() < RETENTION_WARM_UP {
        retained.with(|place, _| place.produce(&piece, setting.interrupt))?;
        let now = retained.server.metric(held)?;
        if now < most {
            return Ok(true);
        }
        most = now;
    }
    Ok(false)
}

fn raw_reads(file: &File, depth: usize, time: Duration, setting: &Setting<'_>) -> Result<f64, Failure> {
    let stream = Stream { write: false, random: false, block_bytes: READ_BYTES, depth, durable: false };
    let open = Device::open(file, COLD_BYTES, &[stream], Setup::BEST);
    let mut device = open.map_err(|source| Failure::Kernel { doing: "set up io_uring", source })?;
    let figures = device.measure(time, setting.interrupt)?;
    Ok(figures.first().map_or(0.0, |figures| figures.bytes_per_second))
}

fn findings(seen: &Seen) -> Findings {
    let mut findings = Findings::of(seen);
    for cores in [1, 2] {
        for (kind, words) in [("growing", "growing"), ("retained", "retention.bytes")] {
            let name = format!("produce 16 KiB batches, {cores} core(s), {words}");
            let floor =
                Named::new(&format!("floor, {cores} core(s)"), seen.of(&format!("floor {cores} rate")));
            let figure = seen.of(&format!("{kind} {cores} rate"));
            let line = Line::new(&name, Unit::RecordsPerSecond, figure, PRODUCE, floor);
            // What is trimmed leaves its blocks to what comes: only a log that grows needs new ones.
            let ways = if kind == "growing" { keeping::GROWING } else { keeping::trimmed(cores) };
            let least = keeping::best(&ways, |way| seen.of(&format!("{way} {cores} rate")));
            findings.line(match least {
                Some(least) => line.over(least),
                None => line,
            });
        }
    }
    let rate = |name: &str| seen.of(&format!("{name} bytes"));
    let loopback = Named::new("plain loopback send of 1 MiB pieces", seen.of("loopback"));
    let name = "consume from memory, 1 core";
    findings.line(Line::new(name, Unit::BytesPerSecond, rate("memory"), FROM_MEMORY, loopback));
    let best = seen.best("raw ").unwrap_or("raw");
    let raw = Named::new(&format!("raw direct reads of 1 MiB, depth {}", &best[4..]), seen.of(best));
    let line = Line::new("consume cold, 1 core", Unit::BytesPerSecond, rate("cold"), COLD, raw);
    findings.line(line.over(Named::new("such reads sent over loopback by one thread", seen.of("sent"))));
    findings.remark("with retention.bytes segments had begun to go before the first round".to_owned());
    findings.remark("with two cores, server and client share the first".to_owned());
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::line::Verdict;

    #[test]
    fn each_line_has_its_own_reference() {
        let mut seen = Seen::default();
        for (name, value) in [
            ("floor 1 rate", 100.0),
            ("floor 2 rate", 200.0),
            ("growing 1 rate", 90.0),
            ("growing 2 rate", 100.0),
            ("retained 1 rate", 50.0),
            ("twice 1 rate", 85.0),
            ("once 1 rate", 75.0),
            ("twice over 1 rate", 70.0),
            ("apart 1 rate", 95.0),
            ("twice 2 rate", 120.0),
            ("once 2 rate", 150.0),
            ("retained 2 rate", 180.0),
            ("loopback", 1000.0),
            ("memory bytes", 900.0),
            ("raw 1", 10.0),
            ("raw 4", 40.0),
            ("cold bytes", 20.0),
            ("sent", 30.0),
        ] {
            seen.push(name, value);
        }
        let found = findings(&seen);
        let ratios: Vec<f64> = found.lines.iter().filter_map(Line::ratio).collect();
        assert_eq!(ratios, [0.9, 0.5, 0.5, 0.9, 0.9, 0.5]);
        assert!(found.lines[5].beside.name.ends_with("depth 4"));
        let floors: Vec<Option<f64>> =
            found.lines.iter().map(|line| line.floor.as_ref().map(Named::middle)).collect();
        assert_eq!(floors, [Some(85.0), Some(95.0), Some(150.0), None, None, Some(30.0)]);
        assert_eq!(found.lines[1].verdict(), Verdict::Missed, "95 of 100 can be kept");
        assert_eq!(found.lines[2].verdict(), Verdict::OutOfReach, "150 of 200 is what can be kept");
    }

    #[test]
    fn the_load_is_the_one_that_is_named() {
        assert_eq!(bulk(1).batch().header().records_count.get(), 15, "15 records of 1 KiB fit into 16 KiB");
    }
}
