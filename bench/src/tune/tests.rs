//! Probes that are whole, odd, hostile or not probes at all.

use std::process::Command;

use serde_json::json;

use super::*;

fn probe(slowdown: f64, queue: &str) -> Probe {
    let cell = |way: &str, us: f64| json!({ "file": "pre-written", "way": way, "p50_us": [us, us, us] });
    let mixed = |reads: u64, p99: f64| json!({ "writes": 1, "reads": reads, "write": { "p99_us": p99 } });
    Probe(json!({
        "schema": 1, "kind": "probe",
        "machine": { "device": "/dev/x", "file_system": "ext4", "kernel": "6.18", "cores_count": 2, "mount_options": "rw,discard" },
        "figures": {
            "durable": [cell("not durable", 40.0), cell("RWF_DSYNC", 120.0)],
            "surfaces": [{
                "pattern": "durable append", "knee": { "block_bytes": 1 << 20, "depth": 4 },
                "cells": [{ "figures": { "bytes_per_second": 1.6e9 } }],
            }],
            "mixed": [mixed(0, 100.0), mixed(16, 100.0 * slowdown)],
            "costs": { "ring_to_ring": { "p50_us": 100.0 } },
            "modes": [{ "set_up": "defer taskrun", "depth_1": {} }],
            "settings": {
                "queue": queue, "rotational": "1", "write_cache": "write back", "clock_source": "kvm-clock",
                "clock_sources": "tsc kvm-clock", "swap": true, "huge_pages": "[always] madvise never",
                "io_uring_disabled": "0", "memory_bytes": 16u64 << 30, "locked_bytes_max": 8 << 20, "files_max": 1024,
            },
        },
    }))
}

#[test]
fn settings_follow_from_figures() {
    let text = config::text(&probe(20.0, "/sys/q"));
    let table: Vec<&str> = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    // 0.5 s of 1.6 GB/s is 800 MB; an eighth of 16 GiB over two cores is a GiB for each; 50 us is much beside 120 us.
    assert_eq!(
        table,
        ["journal_file_bytes = \"1024 MiB\"", "memory_bytes = \"1024 MiB\"", "cores = \"1-1\""]
    );
    assert!(text.contains("20 times slower") && text.contains("120 us"), "{text}");
    let calm = config::text(&probe(1.5, "/sys/q"));
    assert!(calm.contains("# the default: memory_bytes = \"112 MiB\""), "{calm}");
}

#[test]
fn the_script_is_one_and_shows_before_it_changes() {
    let dir = std::env::temp_dir().join(format!("ringmain-bench-tune-{}", std::process::id()));
    std::fs::create_dir(&dir).unwrap();
    let queue = dir.join("queue");
    std::fs::create_dir(&queue).unwrap();
    std::fs::write(queue.join("scheduler"), "none [mq-deadline] bfq\n").unwrap();
    std::fs::write(queue.join("nomerges"), "1\n").unwrap();
    // Only the device's lines, on a device of files; the rest would be this machine's.
    let script = script::text(&probe(1.0, "/sys/q"));
    let (head, rest) = script.split_once("# The processor.").unwrap();
    assert!(rest.contains("swappiness 1") && rest.contains("LimitNOFILE") && rest.contains("noatime"));
    let path = dir.join("script");
    std::fs::write(&path, head.replace("/sys/q", &queue.to_string_lossy())).unwrap();
    let run = |argument: &[&str]| {
        let output = Command::new("sh").arg(&path).args(argument).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let shown = run(&[]);
    assert!(shown.contains("mq-deadline -> none") && shown.contains("as wanted") && shown.contains("absent"));
    assert_eq!(std::fs::read_to_string(queue.join("scheduler")).unwrap(), "none [mq-deadline] bfq\n");
    assert!(run(&["--apply"]).contains("undo: echo mq-deadline"));
    assert_eq!(std::fs::read_to_string(queue.join("scheduler")).unwrap(), "none\n");
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn a_hostile_probe_gets_nothing_into_the_script() {
    for queue in ["/sys/$(reboot)", "/sys/a b", "/etc/passwd", "/sys/../etc", "/sys/a'b", "/sys/a\nreboot"] {
        let script = script::text(&probe(1.0, queue));
        assert!(script.contains("does not say which device"), "{queue}: {script}");
    }
    let mut hostile = probe(1.0, "/sys/q");
    hostile.0["machine"]["device"] = json!("x\nio = \"poll\"");
    assert!(config::text(&hostile).lines().all(|line| !line.starts_with("io =")));
}

#[test]
fn missing_fields_are_unknown_and_other_files_are_refused() {
    for figures in
        [json!(null), json!([]), json!({ "durable": 1, "surfaces": [{}], "mixed": [{}], "settings": [] })]
    {
        let probe = Probe(json!({ "figures": figures }));
        assert!(config::text(&probe).contains("run it again") && !script::text(&probe).is_empty());
    }
    let path = std::env::temp_dir().join(format!("ringmain-bench-tune-other-{}", std::process::id()));
    for text in ["", "[]", "{\"kind\":\"load\",\"schema\":1}", "{\"kind\":\"probe\",\"schema\":2}"] {
        std::fs::write(&path, text).unwrap();
        let failure = Probe::read(&path).err().unwrap();
        assert!(failure.to_string().contains(&*path.to_string_lossy()) && failure.exit_code() == 2);
    }
    std::fs::remove_file(&path).unwrap();
}
