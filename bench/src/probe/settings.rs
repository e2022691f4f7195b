//! How the system is set up where it matters to a broker: what `tune` compares with what it would choose.
//!
//! In: `/sys`, `/proc`, the limits of this process. Out: values by name. Never: writes any of them; guesses one that
//! cannot be read.

use std::fs;
use std::path::Path;

use rustix::process::{Resource, getrlimit};
use serde_json::{Map, Value, json};

use crate::machine::Machine;

/// Settings of the device's queue.
const QUEUE: [&str; 6] =
    ["scheduler", "rotational", "nomerges", "rq_affinity", "read_ahead_kb", "write_cache"];
/// Settings of the whole machine.
const SYSTEM: [(&str, &str); 6] = [
    ("governor", "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
    ("clock_source", "/sys/devices/system/clocksource/clocksource0/current_clocksource"),
    ("clock_sources", "/sys/devices/system/clocksource/clocksource0/available_clocksource"),
    ("huge_pages", "/sys/kernel/mm/transparent_hugepage/enabled"),
    ("swappiness", "/proc/sys/vm/swappiness"),
    ("io_uring_disabled", "/proc/sys/kernel/io_uring_disabled"),
];

/// What could be read; the rest is null.
pub fn json(machine: &Machine) -> Value {
    let read = |path: &Path| fs::read_to_string(path).map_or(Value::Null, |text| json!(text.trim()));
    let mut found = Map::new();
    for name in QUEUE {
        found.insert(name.to_owned(), machine.queue().map_or(Value::Null, |queue| read(&queue.join(name))));
    }
    for (name, path) in SYSTEM {
        found.insert(name.to_owned(), read(Path::new(path)));
    }
    found.insert("queue".to_owned(), json!(machine.queue()));
    let swap = fs::read_to_string("/proc/swaps").map(|text| text.lines().count() > 1);
    found.insert("swap".to_owned(), swap.map_or(Value::Null, Value::from));
    let memory = fs::read_to_string("/proc/meminfo").ok().and_then(|text| memory_bytes(&text));
    found.insert("memory_bytes".to_owned(), json!(memory));
    found.insert("locked_bytes_max".to_owned(), json!(getrlimit(Resource::Memlock).current));
    found.insert("files_max".to_owned(), json!(getrlimit(Resource::Nofile).current));
    Value::Object(found)
}

fn memory_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_its_line() {
        assert_eq!(memory_bytes("MemFree: 1 kB\nMemTotal:       2048 kB\n"), Some(2 << 20));
        assert_eq!(memory_bytes("MemTotal: many"), None);
    }

    #[test]
    fn what_is_there_is_named() {
        let found = json(&Machine::here());
        assert!(found["swappiness"].is_string() && found["memory_bytes"].as_u64() > Some(0));
        assert!(found.get("scheduler").is_some());
    }
}
