//! What ten seconds of it came to.
//!
//! In: what was appended and read in a window, what is held at its end. Out: a line, figures. Never: the sum of two
//! windows.

use std::time::Duration;

use ringmain_engine::shard::Retained;
use serde_json::{Value, json};

use super::super::holdings::Holdings;
use super::reader::Counts;
use crate::histogram::Latencies;

/// One window.
pub(super) struct Window {
    /// Since the first one began.
    pub(super) end: Duration,
    pub(super) time: Duration,
    /// Whether cold readers were at work.
    pub(super) is_cold: bool,
    pub(super) appends: u64,
    pub(super) bytes: u64,
    pub(super) commits: Latencies,
    pub(super) retained: Retained,
    pub(super) on_disk_bytes: u64,
    pub(super) holdings: Holdings,
    /// Of the cold readers, in this window.
    pub(super) cold: Counts,
    /// Compactions done in this window.
    pub(super) compactions: u64,
}

impl Window {
    /// What stands above the lines.
    pub(super) fn heading() -> String {
        format!(
            "\n{:>6} {:>5} {:>8} {:>6} {:>22} {:>34} {:>6} {:>8} {:>6} {:>10} {:>6}\n\
             {:>6} {:>5} {:>8} {:>6} {:>22} {:>34} {:>6} {:>8} {:>6} {:>10} {:>6}\n",
            "",
            "cold",
            "appends",
            "",
            "durable after ms",
            "retained MiB: records, trimmed,",
            "on",
            "resident",
            "open",
            "read cold",
            "compac",
            "s",
            "reads",
            "/s",
            "MB/s",
            "p50 / p99 / max",
            "journal needed, spare",
            "disk",
            "MiB",
            "files",
            "runs, MB/s",
            "tions",
        )
    }

    fn seconds(&self) -> f64 {
        self.time.as_secs_f64().max(1e-9)
    }

    /// For people.
    pub(super) fn line(&self) -> String {
        let mib = |bytes: u64| bytes >> 20;
        let ms = |us: f64| us / 1e3;
        let commits = format!(
            "{:.2} / {:.2} / {:.0}",
            ms(self.commits.percentile_us(50.0)),
            ms(self.commits.percentile_us(99.0)),
            ms(self.commits.max_us())
        );
        let Retained { records_bytes, trimmed_bytes, journal_needed_bytes, journal_spare_bytes, .. } =
            self.retained;
        let retained = format!(
            "{}, {}, {}, {}",
            mib(records_bytes),
            mib(trimmed_bytes),
            mib(journal_needed_bytes),
            mib(journal_spare_bytes)
        );
        let cold = format!(
            "{}, {:.0}",
            self.cold.from_device,
            self.cold.bytes_from_device as f64 / 1e6 / self.seconds()
        );
        format!(
            "{:>6.0} {:>5} {:>8.0} {:>6.0} {commits:>22} {retained:>34} {:>6} {:>8} {:>6} {cold:>10} {:>6}\n",
            self.end.as_secs_f64(),
            if self.is_cold { "yes" } else { "no" },
            self.appends as f64 / self.seconds(),
            self.bytes as f64 / 1e6 / self.seconds(),
            mib(self.on_disk_bytes),
            mib(self.holdings.resident_bytes),
            self.holdings.descriptors_count,
            self.compactions,
        )
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let Retained { records_bytes, trimmed_bytes, journal_needed_bytes, journal_spare_bytes, .. } =
            self.retained;
        json!({
            "end_seconds": self.end.as_secs_f64(), "cold": self.is_cold,
            "appends_per_second": self.appends as f64 / self.seconds(),
            "bytes_per_second": self.bytes as f64 / self.seconds(),
            "p50_us": self.commits.percentile_us(50.0), "p99_us": self.commits.percentile_us(99.0),
            "max_us": self.commits.max_us(),
            "records_bytes": records_bytes, "trimmed_bytes": trimmed_bytes,
            "journal_needed_bytes": journal_needed_bytes, "journal_spare_bytes": journal_spare_bytes,
            "on_disk_bytes": self.on_disk_bytes, "resident_bytes": self.holdings.resident_bytes,
            "descriptors": self.holdings.descriptors_count,
            "cold_runs": self.cold.from_device, "cold_bytes": self.cold.bytes_from_device,
            "compactions": self.compactions,
        })
    }
}
