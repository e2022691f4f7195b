//! What follows from a probe: a configuration for the broker and a script for the machine, both to be read first.
//!
//! In: the file that `probe --json` wrote. Out: text. Never: changes anything; puts words of the file into the script
//! that were not checked.
//!
//! * [`config`] is the broker's part, [`script`] the machine's.

mod config;
mod script;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::args::Tune;
use crate::failure::Failure;
use crate::histogram::median;
use crate::output;

pub use config::MEMORY_DEFAULT;

/// No probe is longer.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Prints both parts, or writes each to its file.
pub fn run(args: &Tune) -> Result<(), Failure> {
    output::check(args.config.as_deref())?;
    output::check(args.script.as_deref())?;
    let probe = Probe::read(&args.probe)?;
    give(args.config.as_deref(), "configuration", &config::text(&probe))?;
    give(args.script.as_deref(), "script", &script::text(&probe))
}

fn give(file: Option<&Path>, what: &str, text: &str) -> Result<(), Failure> {
    match file {
        Some(file) => {
            fs::write(file, text).map_err(Failure::disk("write", file))?;
            output::print(&format!("{what}: {}\n", file.display()))
        }
        None => output::print(&format!("{text}\n")),
    }
}

/// A probe's figures. Fields that are not there or not what they should be count as unknown.
struct Probe(Value);

impl Probe {
    fn read(path: &Path) -> Result<Probe, Failure> {
        let wrong = |reason: String| Failure::Usage(format!("{}: {reason}", path.display()));
        let length = fs::metadata(path).map_err(Failure::disk("read", path))?.len();
        if length > FILE_BYTES_MAX {
            return Err(wrong("too long to be a probe".to_owned()));
        }
        let text = fs::read(path).map_err(Failure::disk("read", path))?;
        let all: Value =
            serde_json::from_slice(&text).map_err(|error| wrong(format!("not JSON: {error}")))?;
        if all["kind"] != "probe" || all["schema"] != 1 {
            return Err(wrong(
                "not written by `ringmain-bench probe --json FILE` of this version".to_owned(),
            ));
        }
        Ok(Probe(all))
    }

    fn figures(&self) -> &Value {
        &self.0["figures"]
    }

    /// A fact about the machine, as it was printed.
    fn machine(&self, name: &str) -> &str {
        self.0["machine"][name].as_str().unwrap_or("unknown")
    }

    /// A setting of the system, if it was read.
    fn setting(&self, name: &str) -> Option<&str> {
        self.figures()["settings"][name].as_str()
    }

    fn setting_number(&self, name: &str) -> Option<u64> {
        self.figures()["settings"][name].as_u64()
    }

    /// The median p50 of one way to make 4 KiB durable on a pre-written file, in microseconds.
    fn durable_us(&self, way: &str) -> Option<f64> {
        let cells = self.figures()["durable"].as_array()?;
        let cell = cells.iter().find(|cell| cell["file"] == "pre-written" && cell["way"] == way)?;
        let rounds: Vec<f64> = cell["p50_us"].as_array()?.iter().filter_map(Value::as_f64).collect();
        (!rounds.is_empty()).then(|| median(rounds))
    }

    /// The most that durable appends reached, and the block and depth at which they do.
    fn durable_bulk(&self) -> Option<Bulk> {
        let surfaces = self.figures()["surfaces"].as_array()?;
        let surface = surfaces.iter().find(|surface| surface["pattern"] == "durable append")?;
        let rates = surface["cells"].as_array()?.iter();
        let rates = rates.filter_map(|cell| cell["figures"]["bytes_per_second"].as_f64());
        let bytes_per_second = rates.fold(0.0, f64::max);
        let (block_bytes, depth) =
            (surface["knee"]["block_bytes"].as_u64()?, surface["knee"]["depth"].as_u64()?);
        (bytes_per_second > 0.0).then_some(Bulk { bytes_per_second, block_bytes, depth })
    }

    /// How many times slower the p99 of a lone append gets beside the deepest reads.
    fn slowdown(&self) -> Option<f64> {
        let cells = self.figures()["mixed"].as_array()?;
        let lone = cells.iter().filter(|cell| cell["writes"] == 1);
        let p99 = |cell: &Value| cell["write"]["p99_us"].as_f64();
        let quiet = lone.clone().find(|cell| cell["reads"] == 0).and_then(p99)?;
        let busy = lone.max_by_key(|cell| cell["reads"].as_u64()).and_then(p99)?;
        (quiet > 0.0).then(|| busy / quiet)
    }

    /// Half of a round trip between two sleeping cores, in microseconds.
    fn wake_us(&self) -> Option<f64> {
        self.figures()["costs"]["ring_to_ring"]["p50_us"].as_f64().map(|us| us / 2.0)
    }

    /// Whether a way to set up io_uring worked.
    fn uring(&self) -> Option<bool> {
        let rows = self.figures()["modes"].as_array()?;
        Some(rows.iter().any(|row| row["set_up"] == "defer taskrun" && !row["depth_1"].is_null()))
    }
}

/// Durable appends at full speed.
struct Bulk {
    bytes_per_second: f64,
    block_bytes: u64,
    depth: u64,
}
