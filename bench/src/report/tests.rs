//! Pages of figures that are whole, odd or not figures at all.

use serde_json::json;

use super::*;

fn source(kind: &str, figures: Value) -> Source {
    let all = json!({ "schema": 1, "kind": kind, "command": "a <b>", "machine": { "kernel": "6" }, "figures": figures });
    Source { name: "x.json".to_owned(), kind: kind.to_owned(), all }
}

#[test]
fn a_load_and_a_probe_make_pictures_and_two_numbers() {
    let load = json!({
        "work": "produce", "protocol": "kafka", "records_per_second": 1234567.0, "interval_seconds": 1.0,
        "response": { "p50_us": 10.0, "p99_us": 2500.0, "curve_us": [[50.0, 10.0], [99.0, 2500.0], [100.0, 9e6]] },
        "intervals": [{ "records_per_second": 1e6, "p99_us": 9.0 }, { "records_per_second": 2e6, "p99_us": 8.0 }],
    });
    let cell = json!({ "block_bytes": 4096, "depth": 1, "figures": { "bytes_per_second": 1e8 } });
    let probe = json!({
        "surfaces": [{ "pattern": "durable append", "cells": [cell], "knee": { "block_bytes": 4096, "depth": 1 } }],
        "verdict": ["<script>"],
        "mixed": [{ "writes": 1, "reads": 0, "write": { "bytes_per_second": 1e8, "p99_us": 200.0 } }],
        "steady": { "bytes_per_second": [1e8, 2e8], "judgement": "a <b>" },
    });
    let page = page::html(&[source("probe", probe), source("load", load)]).unwrap();
    assert_eq!(page.matches("<svg").count(), 7);
    assert!(page.contains("<b>1.2M records/s</b>") && page.contains("<b>2.50 ms</b>"), "{page}");
    assert_eq!(page.matches("class=number>").count(), 2);
    assert!(page.contains("&lt;script&gt;") && !page.contains("<script"));
    let links = page.replace("http://www.w3.org/2000/svg", "");
    assert!(!links.contains("http"), "nothing comes from a network");
}

#[test]
fn a_comparison_is_drawn_and_its_empty_columns_are_dashes() {
    let side = |name: &str, ratio: f64| {
        json!({
            "server": name, "settings": "durable: always", "records_per_second": [1e5], "p50_us": [], "p99_us": [],
            "cpu_us_per_record": [1.0], "own_to_this": { "low": ratio / 2.0, "median": ratio, "high": ratio * 2.0 },
        })
    };
    let work = json!({ "work": "consume", "servers": [side("ringmain", 1.0), side("nats", 3.0), side("zero", 0.0)] });
    let figures = json!({ "works": [work], "memory": [] });
    let page = page::html(&[source("compare", figures)]).unwrap();
    assert_eq!(page.matches("<svg").count(), 1);
    assert!(
        page.contains("consume | nats durable") && !page.contains("consume | zero"),
        "a ratio of 0 has no place"
    );
    assert!(
        page.contains("<td>100k</td><td>-</td><td>-</td><td>1.00</td><td>3.00 (1.50 to 6.00)</td>"),
        "{page}"
    );
}

#[test]
fn targets_are_listed_with_their_verdicts_and_drawn() {
    let line = json!({
        "line": "p99 <alone>", "shown": "900 us", "ratio": 1.8, "verdict": "met", "met": true,
        "beside": { "name": "floor", "shown": "500 us" }, "needed": { "shown": "<= 2" }, "floor": null,
    });
    let curve = json!({ "name": "partitions", "points": [[10.0, 1.0, 9e5], [100.0, 1.1, 8e5]] });
    let target = json!({ "target": "growth", "lines": [line], "curves": [curve], "remarks": ["a <remark>"] });
    let figures = json!({ "targets": [target], "met": 1, "missed": 2, "unmeasured": 3 });
    let page = page::html(&[source("targets", figures)]).unwrap();
    assert!(page.contains("<b>1 of 3</b>") && page.contains("a &lt;remark&gt;"), "{page}");
    assert!(
        page.contains("<td>p99 &lt;alone&gt;</td><td>900 us</td><td>floor: 500 us</td><td>1.80</td>"),
        "{page}"
    );
    assert_eq!(page.matches("<svg").count(), 2);
}

#[test]
fn missing_fields_are_shown_as_such_and_not_believed() {
    for kind in ["load", "probe", "compare", "floor", "targets", "engine-append", "journal-write", "other"] {
        for figures in [
            json!(null),
            json!({}),
            json!([{}]),
            json!({ "targets": [{ "lines": [{}], "curves": [{ "points": [[null], 1] }] }] }),
            json!({ "active": [{}], "windows": [{}], "verdicts": [{}] }),
            json!({ "surfaces": [{}], "works": [{ "servers": [{}, {}] }], "mixed": [{ "writes": 1 }], "steady": { "bytes_per_second": [null] } }),
        ] {
            assert!(page::html(&[source(kind, figures)]).is_ok(), "{kind}");
        }
    }
}

#[test]
fn what_the_engine_did_alone_is_shown_by_its_fields() {
    let case =
        json!({ "record_bytes": 100, "active": 10, "open": 20, "records_per_second": 2e6, "ratio": 0.5 });
    let page = page::html(&[source("engine-partitions", json!({ "active": [case] }))]).unwrap();
    assert!(page.contains("<td>100 B to 10 of 20 logs</td><td>2M</td><td>0.50</td>"), "{page}");
    let window = json!({ "end_seconds": 10.0, "cold": true, "on_disk_bytes": 3 << 20 });
    let verdict = json!({ "question": "level", "figure": 1.5, "limit": 1.1, "kept": false });
    let figures = json!({ "windows": [window], "verdicts": [verdict] });
    let page = page::html(&[source("engine-endurance", figures)]).unwrap();
    assert!(page.contains("<td>10</td><td>yes</td>") && page.contains("<td>3</td>"), "{page}");
    assert!(page.contains("<td>level</td><td>1.50</td><td>1.10</td><td>NO</td>"), "{page}");
}

#[test]
fn other_files_are_refused() {
    let path = std::env::temp_dir().join(format!("ringmain-bench-report-{}", std::process::id()));
    let args = |out: &str| Report { files: vec![path.clone()], out: std::env::temp_dir().join(out) };
    for text in ["", "not json", "{}", "{\"schema\":2,\"kind\":\"load\"}"] {
        std::fs::write(&path, text).unwrap();
        assert!(run(&args("never-written.html")).unwrap_err().to_string().contains(&*path.to_string_lossy()));
    }
    std::fs::remove_file(&path).unwrap();
    assert!(!std::env::temp_dir().join("never-written.html").exists());
}
