//! The command line, as clap describes it and as the measurements read it.
//!
//! In: arguments. Out: one struct per measurement. Never: opens, connects to or creates anything.

mod load;
mod probe;
mod targets;

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

pub use load::LoadArgs;
pub use probe::{Point, Probe};
pub use targets::Targets;

use crate::floor::disk::Keep;

/// A journal file is no larger than 1 GiB.
const MEMORY_MIB: std::ops::RangeInclusive<u64> = 32..=1024;

/// A year.
const MINUTES_MAX: u64 = 365 * 24 * 60;

/// What `produce-latency` measures.
pub struct ProduceLatency {
    /// `HOST:PORT` of a running broker, or none: start one.
    pub target: Option<String>,
    /// Seconds that each of the three parts takes in each round.
    pub seconds: u64,
    pub rounds: u64,
    pub dir: PathBuf,
    pub json: Option<PathBuf>,
}

/// What `journal-write` measures.
pub struct JournalWrite {
    pub rounds: u64,
    pub dir: PathBuf,
    pub json: Option<PathBuf>,
}

/// What `compare` measures.
pub struct Compare {
    pub peer: String,
    pub quick: bool,
    pub dir: PathBuf,
    pub json: Option<PathBuf>,
}

/// What `listeners` measures.
pub struct Listeners {
    pub quick: bool,
    pub dir: PathBuf,
    pub json: Option<PathBuf>,
}

/// What `send` measures.
pub struct SendArgs {
    pub quick: bool,
    pub dir: PathBuf,
    pub json: Option<PathBuf>,
}

/// What `report` shows.
pub struct Report {
    pub files: Vec<PathBuf>,
    pub out: PathBuf,
}

/// What `tune` reads and where it writes.
pub struct Tune {
    pub probe: PathBuf,
    /// Instead of standard output.
    pub config: Option<PathBuf>,
    pub script: Option<PathBuf>,
}

/// What `engine` measures.
pub struct Engine {
    pub name: String,
    pub quick: bool,
    /// Of `endurance`.
    pub minutes: Option<u64>,
    /// Of `partitions`.
    pub memory_mib: u64,
    pub dir: PathBuf,
    pub json: Option<PathBuf>,
    /// With the name `peers`.
    pub peers: Peers,
}

/// What `engine peers` measures.
#[derive(Default)]
pub struct Peers {
    pub record_bytes: Vec<u64>,
    pub writers: Vec<u64>,
    /// Logs beside our own; none: all.
    pub logs: Vec<String>,
    /// Whether Raft groups are measured as well.
    pub raft: bool,
}

/// What `floor` measures.
pub struct Floor {
    pub quick: bool,
    pub dir: PathBuf,
    pub json: Option<PathBuf>,
    /// Only serve, at this address.
    pub listen: Option<String>,
    /// With `listen`: without a disk.
    pub null: bool,
    pub keep: Keep,
}

/// All subcommands.
pub fn command() -> Command {
    Command::new("ringmain-bench")
        .about("Measures this machine, and the broker against it")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("produce-latency")
                .about("A durable produce of one record, against a raw durable write and a TCP round trip")
                .arg(
                    target().help(
                        "A running Kafka-protocol broker [default: start ringmain beside this program]",
                    ),
                )
                .arg(count("seconds", "2", 1, 3600).help("Seconds of each part in each round"))
                .arg(count("rounds", "5", 1, 1000))
                .arg(dir())
                .arg(json()),
        )
        .subcommand(
            Command::new("journal-write")
                .about("Durable appends to pre-written, fallocated and growing files")
                .arg(count("rounds", "5", 1, 1000))
                .arg(dir())
                .arg(json()),
        )
        .subcommand(load::command())
        .subcommand(probe::command())
        .subcommand(targets::command())
        .subcommand(
            Command::new("compare")
                .about("The broker beside another one, in turns; the other one is installed if it is missing")
                .arg(
                    Arg::new("peer")
                        .value_name("PEER")
                        .required(true)
                        .value_parser(["kafka", "rabbitmq", "nats"]),
                )
                .arg(quick().help("Three short rounds"))
                .arg(dir())
                .arg(json()),
        )
        .subcommand(
            Command::new("listeners")
                .about("The broker with one Kafka port beside itself with a port for each core, in turns")
                .arg(quick())
                .arg(dir())
                .arg(json()),
        )
        .subcommand(
            Command::new("send")
                .about("Ways to send bytes from memory, from a cold file and from the page cache")
                .arg(quick())
                .arg(dir())
                .arg(json()),
        )
        .subcommand(
            Command::new("report")
                .about("One page with pictures from the files that --json wrote")
                .arg(
                    Arg::new("files")
                        .value_name("FILE.json")
                        .required(true)
                        .num_args(1..)
                        .value_parser(value_parser!(PathBuf)),
                )
                .arg(
                    Arg::new("out")
                        .long("out")
                        .value_name("PAGE.html")
                        .required(true)
                        .value_parser(value_parser!(PathBuf)),
                ),
        )
        .subcommand(
            Command::new("tune")
                .about("The settings that follow from a probe: a configuration and a script to review; changes nothing")
                .arg(
                    Arg::new("probe")
                        .value_name("PROBE.json")
                        .required(true)
                        .value_parser(value_parser!(PathBuf))
                        .help("What `probe --json` wrote"),
                )
                .arg(to_file("config").help("The configuration goes there instead of to standard output"))
                .arg(to_file("script").help("The script goes there instead of to standard output")),
        )
        .subcommand(
            Command::new("engine")
                .about("The engine alone, as a ratio to the raw device in the same run")
                .arg(Arg::new("name").value_name("NAME").required(true).value_parser([
                    "append",
                    "endurance",
                    "read-memory",
                    "read-cold",
                    "many-partitions",
                    "partitions",
                    "recovery",
                    "peers",
                    "space",
                ]))
                .arg(quick())
                .arg(
                    Arg::new("minutes")
                        .long("minutes")
                        .value_name("N")
                        .value_parser(value_parser!(u64).range(1..=MINUTES_MAX))
                        .help("Of `endurance` [default: 10, with --quick 1]"),
                )
                .arg(
                    Arg::new("memory-mib")
                        .long("memory-mib")
                        .value_name("N")
                        .value_parser(value_parser!(u64).range(MEMORY_MIB))
                        .default_value("64")
                        .help("Of `partitions`: for records, and as much for each file of the journal"),
                )
                .arg(dir())
                .arg(json())
                .arg(list("record-bytes", "100,1024,16384,65536").help("With peers: sizes of a record"))
                .arg(list("writers", "1,8,64").help("With peers: threads that append"))
                .arg(
                    Arg::new("only")
                        .long("only")
                        .value_name("NAMES")
                        .value_delimiter(',')
                        .help("With peers: these logs beside our own, and `raft` for the work of Raft groups"),
                ),
        )
        .subcommand(
            Command::new("floor")
                .about("The least program that could do the broker's job, under the same load as a broker")
                .arg(quick())
                .arg(dir())
                .arg(json())
                .arg(
                    Arg::new("listen")
                        .long("listen")
                        .value_name("HOST:PORT")
                        .help("Measure nothing; serve there, for `load produce` to drive"),
                )
                .arg(
                    Arg::new("null")
                        .long("null")
                        .action(ArgAction::SetTrue)
                        .requires("listen")
                        .help("Serve without a disk: answer at once"),
                )
                .arg(
                    Arg::new("keep")
                        .long("keep")
                        .value_name("HOW")
                        .value_parser(["twice", "once", "twice-over", "apart"])
                        .conflicts_with("null")
                        .help("Keep what comes in, in new blocks: behind the journal (twice), or at once (once); or the newest of it, over old blocks: behind the journal (twice-over), or at once in four files (apart) [default: keep nothing]"),
                ),
        )
}

fn target() -> Arg {
    Arg::new("target").long("target").value_name("HOST:PORT")
}

fn dir() -> Arg {
    Arg::new("dir")
        .long("dir")
        .value_name("DIR")
        .value_parser(value_parser!(PathBuf))
        .default_value(".")
        .help("Directory on the device to measure")
}

fn quick() -> Arg {
    Arg::new("quick").long("quick").action(ArgAction::SetTrue).help("At most a minute")
}

fn json() -> Arg {
    Arg::new("json")
        .long("json")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("Also write the figures to FILE")
}

fn to_file(name: &'static str) -> Arg {
    Arg::new(name).long(name).value_name("FILE").value_parser(value_parser!(PathBuf))
}

fn count(name: &'static str, default: &'static str, low: u64, high: u64) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name("N")
        .default_value(default)
        .value_parser(value_parser!(u64).range(low..=high))
}

fn list(name: &'static str, default: &'static str) -> Arg {
    let arg = Arg::new(name).long(name).value_name("N,N").default_value(default).value_delimiter(',');
    arg.value_parser(value_parser!(u64).range(1..=1 << 20))
}

/// The count `name`, which always has a value because the argument has a default.
fn count_of(found: &ArgMatches, name: &str) -> u64 {
    found.get_one::<u64>(name).copied().unwrap_or(1)
}

fn path_of(found: &ArgMatches, name: &str) -> Option<PathBuf> {
    found.get_one::<PathBuf>(name).cloned()
}

impl From<&ArgMatches> for ProduceLatency {
    fn from(found: &ArgMatches) -> ProduceLatency {
        ProduceLatency {
            target: found.get_one::<String>("target").cloned(),
            seconds: count_of(found, "seconds"),
            rounds: count_of(found, "rounds"),
            dir: path_of(found, "dir").unwrap_or_default(),
            json: path_of(found, "json"),
        }
    }
}

impl From<&ArgMatches> for JournalWrite {
    fn from(found: &ArgMatches) -> JournalWrite {
        JournalWrite {
            rounds: count_of(found, "rounds"),
            dir: path_of(found, "dir").unwrap_or_default(),
            json: path_of(found, "json"),
        }
    }
}

impl From<&ArgMatches> for Compare {
    fn from(found: &ArgMatches) -> Compare {
        Compare {
            peer: found.get_one::<String>("peer").cloned().unwrap_or_default(),
            quick: found.get_flag("quick"),
            dir: path_of(found, "dir").unwrap_or_default(),
            json: path_of(found, "json"),
        }
    }
}

impl From<&ArgMatches> for Listeners {
    fn from(found: &ArgMatches) -> Listeners {
        Listeners {
            quick: found.get_flag("quick"),
            dir: path_of(found, "dir").unwrap_or_default(),
            json: path_of(found, "json"),
        }
    }
}

impl From<&ArgMatches> for SendArgs {
    fn from(found: &ArgMatches) -> SendArgs {
        SendArgs {
            quick: found.get_flag("quick"),
            dir: path_of(found, "dir").unwrap_or_default(),
            json: path_of(found, "json"),
        }
    }
}

impl From<&ArgMatches> for Report {
    fn from(found: &ArgMatches) -> Report {
        let files = found.get_many::<PathBuf>("files").into_iter().flatten().cloned().collect();
        Report { files, out: path_of(found, "out").unwrap_or_default() }
    }
}

impl From<&ArgMatches> for Tune {
    fn from(found: &ArgMatches) -> Tune {
        Tune {
            probe: path_of(found, "probe").unwrap_or_default(),
            config: path_of(found, "config"),
            script: path_of(found, "script"),
        }
    }
}

impl From<&ArgMatches> for Engine {
    fn from(found: &ArgMatches) -> Engine {
        Engine {
            name: found.get_one::<String>("name").cloned().unwrap_or_default(),
            quick: found.get_flag("quick"),
            minutes: found.get_one::<u64>("minutes").copied(),
            memory_mib: found.get_one::<u64>("memory-mib").copied().unwrap_or_default(),
            dir: path_of(found, "dir").unwrap_or_default(),
            json: path_of(found, "json"),
            peers: found.into(),
        }
    }
}

impl From<&ArgMatches> for Peers {
    fn from(found: &ArgMatches) -> Peers {
        let numbers = |name: &str| found.get_many::<u64>(name).into_iter().flatten().copied().collect();
        let mut logs: Vec<String> = found.get_many::<String>("only").into_iter().flatten().cloned().collect();
        let all = logs.is_empty();
        let named = logs.iter().any(|name| name == "raft");
        logs.retain(|name| name != "raft");
        // `--only raft` is that work alone.
        let appends = all || !logs.is_empty();
        Peers {
            record_bytes: if appends { numbers("record-bytes") } else { Vec::new() },
            writers: numbers("writers"),
            logs,
            raft: all || named,
        }
    }
}

impl From<&ArgMatches> for Floor {
    fn from(found: &ArgMatches) -> Floor {
        Floor {
            quick: found.get_flag("quick"),
            dir: path_of(found, "dir").unwrap_or_default(),
            json: path_of(found, "json"),
            listen: found.get_one::<String>("listen").cloned(),
            null: found.get_flag("null"),
            keep: match found.get_one::<String>("keep").map(String::as_str) {
                Some("twice") => Keep::Twice,
                Some("once") => Keep::Once,
                Some("twice-over") => Keep::TwiceOver,
                Some("apart") => Keep::Apart(4),
                _ => Keep::Nothing,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn defaults_and_given_values_arrive() {
        let matches = command()
            .try_get_matches_from(["ringmain-bench", "produce-latency", "--rounds", "3", "--target", "h:1"])
            .unwrap();
        let found = ProduceLatency::from(matches.subcommand().unwrap().1);
        assert_eq!((found.rounds, found.seconds), (3, 2));
        assert_eq!(found.target.as_deref(), Some("h:1"));
        assert_eq!(found.dir, PathBuf::from("."));
    }

    #[test]
    fn the_least_broker_keeps_what_it_is_told_to() {
        let of = |words: &[&str]| {
            let found = command().try_get_matches_from(["ringmain-bench", "floor"].iter().chain(words))?;
            Ok::<_, clap::Error>(found.subcommand().map(|(_, found)| Floor::from(found).keep))
        };
        let kept = |words: &[&str]| of(words).unwrap().unwrap();
        assert_eq!(
            [kept(&[]), kept(&["--keep", "twice"]), kept(&["--keep", "once"])],
            [Keep::Nothing, Keep::Twice, Keep::Once]
        );
        assert_eq!(
            [kept(&["--keep", "twice-over"]), kept(&["--keep", "apart"])],
            [Keep::TwiceOver, Keep::Apart(4)]
        );
        assert!(of(&["--keep", "thrice"]).is_err());
        assert!(of(&["--keep", "once", "--null", "--listen", "h:1"]).is_err(), "there is no disk");
    }

    #[test]
    fn a_zero_count_is_refused() {
        let found = command().try_get_matches_from(["ringmain-bench", "journal-write", "--rounds", "0"]);
        assert!(found.is_err());
    }
}
