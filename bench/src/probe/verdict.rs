//! What was found, in words: whether the disk is good for this broker, and which settings follow.
//!
//! In: figures. Out: sentences. Never: a number without what it is good for; a promise that depends on what is not
//! known here.

use super::cores::Costs;
use super::durable::{Ways, honesty};
use super::network::Network;
use super::surface::{Mixed, Surface};
use crate::histogram::median;
use crate::machine::Machine;

/// Up to here a lone durable write is as quick as a good local device makes it.
const GOOD_US: f64 = 100.0;
/// From here on it is a network's or a spinning disk's.
const SLOW_US: f64 = 1500.0;

/// Everything that a judgement is made of.
pub struct Evidence<'a> {
    pub machine: &'a Machine,
    pub ways: &'a Ways,
    pub surfaces: &'a [Surface],
    pub mixed: &'a Mixed,
    pub costs: &'a Costs,
    pub network: &'a Network,
}

/// Sentences, the most important first.
pub fn judge(evidence: &Evidence<'_>) -> Vec<String> {
    let mut out = vec![disk(evidence)];
    out.extend(noise(evidence.machine));
    let Evidence { machine, ways, surfaces, mixed, costs, network } = evidence;
    let durable_us = ways.p50_us("pre-written", "RWF_DSYNC");
    let plain_us = ways.p50_us("pre-written", "not durable");
    out.push(honesty(plain_us, durable_us, machine.write_cache(), machine.fua()));
    out.push(way(ways));
    if let Some(knee) = surfaces.iter().find(|surface| surface.pattern.durable).and_then(Surface::knee) {
        out.push(format!(
            "Durable appends reach their full speed, {:.0} MB/s, with {} KiB in a write and {} in flight. Producers that \
             send batches get there; the broker gathers what arrives in a turn into one write of up to 1 MiB by itself.",
            knee.figures.bytes_per_second / 1e6,
            knee.block_bytes >> 10,
            knee.depth,
        ));
    }
    if let Some(slowdown) = mixed.slowdown(16) {
        out.push(match slowdown {
            slow if slow > 5.0 => format!(
                "Readers that catch up from disk make the slowest one in a hundred appends {slow:.0} times slower. Keep \
                 consumers near the end of the log, or give `memory_bytes` more so that they read from memory."
            ),
            slow => format!("Readers that catch up from disk change the p99 of appends by a factor of {slow:.1}."),
        });
    }
    let wake_us = costs.ring.percentile_us(50.0) / 2.0;
    out.push(if wake_us > durable_us / 4.0 {
        format!(
            "Waking another core takes {wake_us:.0} us here, much beside a durable write. For the least latency run \
             the broker with few cores (`--cores`), and keep clients off them."
        )
    } else {
        format!("Waking another core takes {wake_us:.0} us, little beside a durable write: use all cores.")
    });
    if costs.clock_ns > 200.0 {
        out.push(format!(
            "Reading the clock takes {:.0} ns (source {}): a source of `tsc` would take 20 to 50.",
            costs.clock_ns, costs.clock_source
        ));
    }
    out.push(network.break_even().map_or_else(
        || "Sending without a copy does not pay on loopback; over a real network measure again.".to_owned(),
        |bytes| format!("On loopback, sending without a copy pays from {} KiB on.", bytes >> 10),
    ));
    out
}

/// A warning when others used the machine meanwhile.
fn noise(machine: &Machine) -> Option<String> {
    let load = machine.load()?;
    (load > 0.3 * machine.cores_count() as f64).then(|| {
        format!(
            "Other programs were running (load {load:.1} on {} cores), which makes everything above and below look \
             slower than it is. Believe a slow figure only after a second run on a quiet machine.",
            machine.cores_count()
        )
    })
}

fn disk(evidence: &Evidence<'_>) -> String {
    let durable_us = evidence.ways.p50_us("pre-written", "RWF_DSYNC");
    let bytes_per_second = evidence
        .surfaces
        .iter()
        .filter(|surface| surface.pattern.durable)
        .flat_map(|surface| surface.cells.iter().map(|cell| cell.figures.bytes_per_second))
        .fold(0.0, f64::max);
    let grade = match durable_us {
        us if us > SLOW_US && noise(evidence.machine).is_some() => {
            "Whether this disk is good cannot be said, because the machine was busy. As it was seen"
        }
        us if us <= GOOD_US => "Yes, this disk is good for this broker",
        us if us <= SLOW_US => "This disk will do",
        _ => "This disk is slow for this broker",
    };
    format!(
        "{grade}: a lone durable write of 4 KiB takes {durable_us:.0} us, so a producer that waits for each record gets \
         at most {:.0} a second, and durable appends in bulk reach {:.0} MB/s. {}",
        1e6 / durable_us.max(1.0),
        bytes_per_second / 1e6,
        if durable_us > SLOW_US {
            "Producers should send batches and keep several in flight; one that waits for each record will be slow."
        } else {
            "Many producers that wait share each write, so together they get far more."
        }
    )
}

fn way(ways: &Ways) -> String {
    let Some(best) = ways.best() else { return "No way to make appends durable was measured.".to_owned() };
    let best_us = median(best.p50_us.clone());
    let own_us = ways.p50_us("pre-written", "RWF_DSYNC");
    let growing_us = ways.p50_us("growing", "RWF_DSYNC");
    let first = if own_us <= best_us * 1.1 {
        format!(
            "What the broker does, {}, is as good as any way here",
            "direct writes with RWF_DSYNC into files whose blocks were written before"
        )
    } else {
        format!(
            "The quickest durable append here is {} on a {} file ({best_us:.0} us); what the broker does \
             (RWF_DSYNC, pre-written) takes {own_us:.0} us",
            best.way, best.file
        )
    };
    format!(
        "{first}; a file that grows would take {:.1} times as long. Journal files are written once when they are made, \
         so leave the data directory room for them (4 x `journal_file_bytes` for each core).",
        growing_us / own_us.max(1.0)
    )
}
