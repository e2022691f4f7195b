//! The command line.
//!
//! In: arguments. Out: one struct per kind of work. Never: opens or makes anything.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgMatches, Command, value_parser};

/// Writers that each wait for their append before the next.
pub struct Append {
    pub log: String,
    pub dir: PathBuf,
    pub writers: usize,
    pub record_bytes: usize,
    /// How long it counts.
    pub time: Duration,
}

/// Raft groups: batches, tails cut off, entries purged and read back.
pub struct Raft {
    pub log: String,
    pub dir: PathBuf,
    pub threads: usize,
    pub steps: usize,
    pub seed: u64,
}

/// All subcommands.
pub fn command() -> Command {
    Command::new("ringmain-peers")
        .about("One log under one kind of work; `ringmain-bench engine peers` compares them")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .subcommand(
            Command::new("list").about("Which logs there are, how each is used, and which are left out"),
        )
        .subcommand(
            Command::new("append")
                .about("Appends, each on the device before the writer makes the next")
                .arg(log())
                .arg(dir())
                .arg(number("writers", "1"))
                .arg(number("record-bytes", "1024"))
                .arg(number("milliseconds", "400")),
        )
        .subcommand(
            Command::new("raft")
                .about(
                    "Entries of Raft groups: batches, tails cut off, purges, reads; then all of it compared",
                )
                .arg(log())
                .arg(dir())
                .arg(number("threads", "1"))
                .arg(number("steps", "2000"))
                .arg(number("seed", "1")),
        )
}

fn log() -> Arg {
    Arg::new("log").long("log").value_name("NAME").required(true)
}

fn dir() -> Arg {
    let arg = Arg::new("dir").long("dir").value_name("DIR").required(true);
    arg.value_parser(value_parser!(PathBuf)).help("An empty directory")
}

fn number(name: &'static str, default: &'static str) -> Arg {
    let arg = Arg::new(name).long(name).value_name("N").default_value(default);
    arg.value_parser(value_parser!(u64).range(1..=1 << 32))
}

fn text_of(found: &ArgMatches, name: &str) -> String {
    found.get_one::<String>(name).cloned().unwrap_or_default()
}

fn path_of(found: &ArgMatches, name: &str) -> PathBuf {
    found.get_one::<PathBuf>(name).cloned().unwrap_or_default()
}

fn number_of(found: &ArgMatches, name: &str) -> u64 {
    found.get_one::<u64>(name).copied().unwrap_or(1)
}

impl From<&ArgMatches> for Append {
    fn from(found: &ArgMatches) -> Append {
        Append {
            log: text_of(found, "log"),
            dir: path_of(found, "dir"),
            writers: number_of(found, "writers") as usize,
            record_bytes: number_of(found, "record-bytes") as usize,
            time: Duration::from_millis(number_of(found, "milliseconds")),
        }
    }
}

impl From<&ArgMatches> for Raft {
    fn from(found: &ArgMatches) -> Raft {
        Raft {
            log: text_of(found, "log"),
            dir: path_of(found, "dir"),
            threads: number_of(found, "threads") as usize,
            steps: number_of(found, "steps") as usize,
            seed: number_of(found, "seed"),
        }
    }
}
