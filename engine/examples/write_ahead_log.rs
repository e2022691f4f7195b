//! A key-value store in memory with Ringmain's engine as its write-ahead log: every change is on the device
//! before it is acknowledged, and the store is rebuilt from the log when it is opened.
//!
//! Run it twice: `cargo run -p ringmain-engine --example write_ahead_log -- DIRECTORY`

use std::collections::BTreeMap;
use std::error::Error;

use ringmain_engine::embed::{Config, Engine, Log};
use ringmain_engine::types::LogId;

/// The store: a map, and the log of its changes.
struct Store {
    map: BTreeMap<String, String>,
    log: Log,
}

impl Store {
    /// Replays the log.
    fn open(engine: &Engine) -> Result<Store, Box<dyn Error>> {
        let log = engine.log(LogId(1)).wait()?;
        let mut map = BTreeMap::new();
        let mut next = log.bounds().wait()?.start;
        loop {
            let read = log.read(next, 1 << 20).wait()?;
            for (_, record) in read.records() {
                let change = String::from_utf8(record.value.unwrap_or_default().to_vec())?;
                if let Some((key, value)) = change.split_once('=') {
                    map.insert(key.to_string(), value.to_string());
                }
            }
            match read.next_offset() {
                Some(offset) => next = offset,
                None => return Ok(Store { map, log }),
            }
        }
    }

    /// Durable when it returns.
    fn set(&mut self, key: &str, value: &str) -> Result<(), Box<dyn Error>> {
        let change = format!("{key}={value}");
        self.log.append_values(&[change.as_bytes()])?.wait()?;
        self.map.insert(key.to_string(), value.to_string());
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args().nth(1).unwrap_or_else(|| "wal-example-data".to_string());
    let engine = Engine::open(directory, Config { journal_file_bytes: 8 << 20, ..Config::default() })?;
    println!("{}", engine.report());
    let mut store = Store::open(&engine)?;
    let runs: u32 = store.map.get("runs").map_or(Ok(0), |runs| runs.parse())?;
    store.set("runs", &(runs + 1).to_string())?;
    for n in 0..100 {
        store.set(&format!("key-{n}"), &format!("value of run {}", runs + 1))?;
    }
    println!("run {}: {} keys, all of them durable", runs + 1, store.map.len());
    engine.close()?;
    Ok(())
}
