//! The program that has each log do its work: built where it is missing, started once a point.
//!
//! In: which log, which work, a directory. Out: what it printed, as JSON. Never: two points at a time; a directory left behind.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output;
use crate::scratch::Scratch;

/// Builds it; lies in the checkout that this program was built from.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/peers/engine");

/// A program that is built and current.
pub struct Program {
    path: PathBuf,
    /// What it says of the logs in it.
    pub list: Value,
}

impl Program {
    /// Where it lies: below the directory that this program was built into, in one of its own.
    fn place() -> Result<PathBuf, Failure> {
        let own = std::env::current_exe();
        let own = own.map_err(|source| Failure::Kernel { doing: "find this program", source })?;
        let target = own.ancestors().nth(2).unwrap_or(Path::new("."));
        Ok(target.join("peers"))
    }

    /// Builds what is missing or has changed, and says so. RocksDB, which takes minutes and libclang, stays out unless it is asked for
    /// or there already.
    pub fn build(wants_rocksdb: bool, interrupt: &Interrupt) -> Result<Program, Failure> {
        let target = Program::place()?;
        let path = target.join("release/ringmain-peers");
        let before = list_of(&path);
        let has_rocksdb = before.as_ref().is_ok_and(|list| names(list).any(|name| name == "rocksdb"));
        let rocksdb = wants_rocksdb || has_rocksdb;
        if before.is_err() || rocksdb != has_rocksdb {
            let what = if rocksdb {
                "the other logs, RocksDB among them: minutes"
            } else {
                "the other logs, without RocksDB"
            };
            output::print(&format!("peers        building {what}\n"))?;
        }
        if !Path::new(SCRIPT).is_file() {
            return Err(Failure::Broker(format!(
                "{SCRIPT} is not there: the comparison is built from a checkout"
            )));
        }
        let mut build = Command::new(SCRIPT);
        build.arg(&target).args(rocksdb.then_some("rocksdb"));
        let status = build.status().map_err(Failure::disk("start", Path::new(SCRIPT)))?;
        interrupt.check()?;
        if !status.success() {
            return Err(Failure::Broker(format!("{SCRIPT} could not build the other logs ({status})")));
        }
        let list = list_of(&path)?;
        Ok(Program { path, list })
    }

    /// The logs in it, in the order of the table.
    pub fn logs(&self) -> Vec<String> {
        names(&self.list).map(str::to_owned).collect()
    }

    /// One point: `words` in an empty directory below `dir`.
    pub fn measure(&self, dir: &Path, words: &[&str], interrupt: &Interrupt) -> Result<Value, Failure> {
        interrupt.check()?;
        let scratch = Scratch::create(dir)?;
        let outcome = say(Command::new(&self.path).args(words).arg("--dir").arg(scratch.path()), words);
        interrupt.check()?;
        outcome
    }
}

fn list_of(path: &Path) -> Result<Value, Failure> {
    say(Command::new(path).arg("list"), &["list"])
}

fn names(list: &Value) -> impl Iterator<Item = &str> {
    list["logs"].as_array().into_iter().flatten().filter_map(|log| log["name"].as_str())
}

/// What the program printed on standard output; what it printed on standard error if it failed.
fn say(command: &mut Command, words: &[&str]) -> Result<Value, Failure> {
    let program = PathBuf::from(command.get_program());
    let output = command.output().map_err(Failure::disk("start", &program))?;
    let asked = words.join(" ");
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Failure::Broker(format!("{asked}: {words} ({})", output.status)));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().unwrap_or_default();
    serde_json::from_str(last)
        .map_err(|error| Failure::Broker(format!("{asked}: no figures in `{last}`: {error}")))
}
