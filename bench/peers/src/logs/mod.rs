//! The logs that take part: one way to ask all of them, and what there is to know of each.
//!
//! In: a name, an empty directory. Out: a log to append to; a list with versions and reasons. Never: a log in a mode in
//! which an append may return before it is on the device.

mod okaywal;
mod open_wal;
pub mod raft_engine;
mod ringmain;
#[cfg(feature = "rocksdb")]
mod rocksdb;
mod wal_db;
mod walrus;

use std::path::Path;

use serde_json::{Value, json};

/// Why a log could not do what it was asked for.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What is about to be asked of a log.
pub struct Plan<'a> {
    pub dir: &'a Path,
    pub record_bytes: usize,
}

/// An open log.
pub trait Log: Sync {
    /// The way in of the writer with this number, for one thread.
    fn writer(&self, number: usize) -> Result<Box<dyn Writer + '_>, Failure>;

    /// Ends it as its users would.
    fn close(self: Box<Self>) -> Result<(), Failure>;
}

/// One writer's way in.
pub trait Writer {
    /// Appends one record. It is on the device when this returns.
    fn append(&mut self, record: &[u8]) -> Result<(), Failure>;
}

type Open = fn(&Plan<'_>) -> Result<Box<dyn Log>, Failure>;

/// One that takes part.
struct Known {
    name: &'static str,
    /// Its name in the registry.
    package: &'static str,
    /// The mode it is in, and what writers beside each other do.
    mode: &'static str,
    open: Open,
}

const KNOWN: &[Known] = &[
    Known {
        name: "ringmain",
        package: "ringmain-engine",
        mode: "one shard, a log for each writer",
        open: ringmain::open,
    },
    Known {
        name: "ringmain-one",
        package: "ringmain-engine",
        mode: "one shard, one log for all writers",
        open: ringmain::open_one,
    },
    Known {
        name: "raft-engine",
        package: "raft-engine",
        mode: "write with sync, a Raft group for each writer; its files filled beforehand",
        open: raft_engine::open,
    },
    Known {
        name: "okaywal",
        package: "okaywal",
        mode: "commit of an entry; writers share its syncs",
        open: okaywal::open,
    },
    Known {
        name: "wal-db",
        package: "wal-db",
        mode: "append_and_sync; writers share its syncs",
        open: wal_db::open,
    },
    Known {
        name: "open-wal",
        package: "open-wal",
        mode: "append and commit; it is for one writer, so several take turns",
        open: open_wal::open,
    },
    Known {
        name: "walrus",
        package: "walrus-rust",
        mode: "FsyncSchedule::SyncEach, a topic for each writer",
        open: walrus::open,
    },
    #[cfg(feature = "rocksdb")]
    Known {
        name: "rocksdb",
        package: "rocksdb",
        mode: "put with sync, keys that rise for each writer; its log files are used again",
        open: rocksdb::open,
    },
];

/// Logs that somebody could miss, and why they are not there.
const LEFT_OUT: &[(&str, &str)] = &[
    (
        "mrecordlog 0.4.0",
        "hands records to the kernel and never syncs: a power cut loses what was acknowledged",
    ),
    ("commitlog 0.2.0", "its flush does not reach the device"),
    ("simple_wal 0.3.0", "its flush does not reach the device"),
    ("hiqlite-wal 0.15.1", "takes entries from one openraft node only"),
];

/// Opens the log with this name in an empty directory.
pub fn open(name: &str, plan: &Plan<'_>) -> Result<Box<dyn Log>, Failure> {
    let known = KNOWN.iter().find(|known| known.name == name);
    let known = known.ok_or_else(|| format!("{name} is not a log that is known or built here"))?;
    (known.open)(plan)
}

/// What takes part and what does not.
pub fn list() -> Value {
    let logs: Vec<Value> = KNOWN
        .iter()
        .map(|known| json!({ "name": known.name, "version": version_of(known.package), "mode": known.mode }))
        .collect();
    let left_out: Vec<Value> =
        LEFT_OUT.iter().map(|(name, reason)| json!({ "name": name, "reason": reason })).collect();
    json!({ "logs": logs, "left_out": left_out })
}

/// The version that was built, as the lock file says.
fn version_of(package: &str) -> &'static str {
    let lock = include_str!("../../Cargo.lock");
    let name = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(|line| *line != name).skip(1);
    let version = lines.next().and_then(|line| line.strip_prefix("version = \""));
    version.map_or("unknown", |version| version.trim_end_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Append;

    #[test]
    fn every_log_appends_and_says_which_it_is() {
        for known in KNOWN {
            let dir =
                std::env::temp_dir().join(format!("ringmain-peers-{}-{}", known.name, std::process::id()));
            std::fs::create_dir(&dir).unwrap();
            let time = std::time::Duration::from_millis(20);
            let args =
                Append { log: known.name.to_owned(), dir: dir.clone(), writers: 2, record_bytes: 100, time };
            let figures = crate::append::run(&args);
            std::fs::remove_dir_all(&dir).unwrap();
            assert!(figures.unwrap()["appends_per_second"].as_f64().unwrap() > 0.0, "{}", known.name);
            assert_ne!(version_of(known.package), "unknown", "{}", known.name);
        }
    }
}
