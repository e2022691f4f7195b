//! What is shown of the engine alone: lines beside the raw device, many logs beside few, windows of an endurance run.
//!
//! In: figures of one name. Out: tables as HTML. Never: believes that a field is there.

use serde_json::Value;

use super::page::table;
use super::picture::short;
use super::sections::{list, middle, text};
use crate::histogram::median;

/// The tables of one file; which ones, its fields say.
pub fn section(figures: &Value) -> String {
    [lines(figures), active(&figures["active"]), windows(&figures["windows"]), verdicts(&figures["verdicts"])]
        .concat()
}

/// A table, unless there is nothing to be shown in it.
fn of(heads: &[&str], all: &Value, row: impl Fn(&Value) -> Vec<String>) -> String {
    let rows: Vec<Vec<String>> = list(all).iter().map(row).collect();
    if rows.is_empty() { String::new() } else { table(heads, &rows) }
}

fn lines(figures: &Value) -> String {
    of(&["", "engine MB/s", "raw device MB/s", "ratio"], figures, |line| {
        let rate = |side: &str| {
            let rounds = list(&line[side]).iter().map(|round| middle(&round["bytes_per_second"]) / 1e6);
            format!("{:.1}", median(rounds.collect()))
        };
        vec![text(&line["line"]), rate("engine"), rate("raw"), format!("{:.2}", middle(&line["ratio"]))]
    })
}

fn active(cases: &Value) -> String {
    let heads = ["records", "records/s", "ratio", "p50 / p99 / max ms", "device bytes per user byte"];
    of(&heads, cases, |case| {
        let ms = |name: &str| middle(&case[name]) / 1e3;
        vec![
            format!("{} B to {} of {} logs", case["record_bytes"], case["active"], case["open"]),
            short(middle(&case["records_per_second"])),
            format!("{:.2}", middle(&case["ratio"])),
            format!("{:.2} / {:.1} / {:.0}", ms("p50_us"), ms("p99_us"), ms("max_us")),
            format!("{:.2}", middle(&case["device_bytes_per_user_byte"])),
        ]
    })
}

fn windows(windows: &Value) -> String {
    let heads =
        ["until, s", "cold readers", "appends/s", "p99 ms", "on disk MiB", "resident MiB", "open files"];
    of(&heads, windows, |window| {
        let mib = |name: &str| format!("{:.0}", middle(&window[name]) / f64::from(1 << 20));
        vec![
            format!("{:.0}", middle(&window["end_seconds"])),
            if window["cold"] == true { "yes" } else { "no" }.to_owned(),
            short(middle(&window["appends_per_second"])),
            format!("{:.2}", middle(&window["p99_us"]) / 1e3),
            mib("on_disk_bytes"),
            mib("resident_bytes"),
            format!("{:.0}", middle(&window["descriptors"])),
        ]
    })
}

fn verdicts(verdicts: &Value) -> String {
    of(&["", "found", "at most", "kept"], verdicts, |verdict| {
        vec![
            text(&verdict["question"]),
            format!("{:.2}", middle(&verdict["figure"])),
            format!("{:.2}", middle(&verdict["limit"])),
            if verdict["kept"] == true { "yes" } else { "NO" }.to_owned(),
        ]
    })
}
