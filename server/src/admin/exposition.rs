//! The text format of Prometheus (version 0.0.4), which every collector reads.
//!
//! In: the numbers of all cores. Out: one text. Never: decides what is shown; the table does.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::broker::metrics::{BUCKETS_US, FAMILIES, Family, Histogram, Kind, Metrics, Source};

/// The metrics of all cores as one text.
pub fn text(cores: &[&Metrics], version: &str) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(out, "# HELP ringmain_build_info What is running.\n# TYPE ringmain_build_info gauge");
    let _ = writeln!(out, "ringmain_build_info{{version=\"{version}\"}} 1");
    let _ = writeln!(out, "# HELP ringmain_cores Cores in use.\n# TYPE ringmain_cores gauge");
    let _ = writeln!(out, "ringmain_cores {}", cores.len());
    for family in FAMILIES {
        let kind = match (&family.source, family.kind) {
            (Source::Histogram(_), _) => "histogram",
            (_, Kind::Counter) => "counter",
            (_, Kind::Gauge | Kind::Whole) => "gauge",
        };
        let _ = writeln!(out, "# HELP {} {}\n# TYPE {} {kind}", family.name, family.help, family.name);
        add(&mut out, family, cores);
    }
    out
}

fn add(out: &mut String, family: &Family, cores: &[&Metrics]) {
    match family.source {
        Source::Number(value) => {
            let value =
                cores.iter().map(|core| value(core)).fold(0, |left, right| joined(family.kind, left, right));
            let _ = writeln!(out, "{} {value}", family.name);
        }
        Source::Labelled { label, values } => {
            let mut all = BTreeMap::new();
            for (name, value) in cores.iter().flat_map(|core| values(core)) {
                let sum = all.entry(name).or_insert(0);
                *sum = joined(family.kind, *sum, value);
            }
            for (name, value) in all {
                let _ = writeln!(out, "{}{{{label}=\"{name}\"}} {value}", family.name);
            }
        }
        Source::Histogram(value) => {
            add_histogram(out, family.name, cores.iter().map(|core| value(core)));
        }
    }
}

fn joined(kind: Kind, left: u64, right: u64) -> u64 {
    match kind {
        Kind::Counter | Kind::Gauge => left.saturating_add(right),
        Kind::Whole => left.max(right),
    }
}

fn add_histogram<'a>(out: &mut String, name: &str, cores: impl Iterator<Item = &'a Histogram>) {
    let mut all = Histogram::default();
    for core in cores {
        all.sum_us = all.sum_us.saturating_add(core.sum_us);
        for (sum, count) in all.counts.iter_mut().zip(core.counts) {
            *sum += count;
        }
    }
    let mut below = 0;
    for (end, count) in BUCKETS_US.iter().map(Some).chain([None]).zip(all.counts) {
        below += count;
        let end = end.map_or("+Inf".to_string(), |us| seconds(*us));
        let _ = writeln!(out, "{name}_bucket{{le=\"{end}\"}} {below}");
    }
    let _ = writeln!(out, "{name}_sum {}\n{name}_count {below}", seconds(all.sum_us));
}

/// Exact, unlike a division of floats.
fn seconds(us: u64) -> String {
    format!("{}.{:06}", us / 1_000_000, us % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_summed_and_wholes_are_not() {
        let mut one = Metrics { topics_count: 3, ..Metrics::default() };
        one.connection_accepted("b");
        one.connection_accepted("a");
        one.connection_closed("a");
        one.appended.bytes = 40;
        one.journal.write.observe(30);
        let mut two = one.clone();
        two.journal.write.observe(2_000_000);
        let text = text(&[&one, &two], "1.2.3");
        for line in [
            "ringmain_build_info{version=\"1.2.3\"} 1",
            "ringmain_cores 2",
            "# TYPE ringmain_connections gauge",
            "ringmain_connections{protocol=\"a\"} 0",
            "ringmain_connections{protocol=\"b\"} 2",
            "ringmain_connections_accepted_total{protocol=\"a\"} 2",
            "ringmain_appended_bytes_total 80",
            "ringmain_topics 3",
            "# TYPE ringmain_journal_write_seconds histogram",
            "ringmain_journal_write_seconds_bucket{le=\"0.000025\"} 0",
            "ringmain_journal_write_seconds_bucket{le=\"0.000050\"} 2",
            "ringmain_journal_write_seconds_bucket{le=\"+Inf\"} 3",
            "ringmain_journal_write_seconds_sum 2.000060",
            "ringmain_journal_write_seconds_count 3",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(text.ends_with('\n'));
    }
}
