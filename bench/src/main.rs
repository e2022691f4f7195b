//! Measures what this machine's disk, network and cores can do, and the broker against that.
//!
//! In: the command line. Out: a table on standard output, figures as JSON in a file if asked for.
//! Never: leaves a file, a topic or a process behind that it made.

mod args;
mod broker;
mod compare;
mod cores;
mod engine;
mod failure;
mod floor;
mod histogram;
mod interrupt;
mod journal_write;
mod listeners;
mod load;
mod machine;
mod output;
mod probe;
mod produce_latency;
mod raw;
mod report;
mod scratch;
mod send;
mod targets;
mod tune;
mod wire;

use std::process::ExitCode;

use failure::Failure;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("ringmain-bench: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run() -> Result<(), Failure> {
    let matches = args::command().get_matches();
    let interrupt = interrupt::Interrupt::listen()?;
    match matches.subcommand() {
        Some(("produce-latency", found)) => produce_latency::run(&found.into(), &interrupt),
        Some(("journal-write", found)) => journal_write::run(&found.into(), &interrupt),
        Some(("probe", found)) => probe::run(&found.into(), &interrupt),
        Some(("targets", found)) => targets::run(&found.into(), &interrupt),
        Some(("compare", found)) => compare::run(&found.into(), &interrupt),
        Some(("listeners", found)) => listeners::run(&found.into(), &interrupt),
        Some(("send", found)) => send::run(&found.into(), &interrupt),
        Some(("tune", found)) => tune::run(&found.into()),
        Some(("report", found)) => report::run(&found.into()),
        Some(("engine", found)) => engine::run(&found.into(), &interrupt),
        Some(("floor", found)) => floor::run(&found.into(), &interrupt),
        Some(("load", found)) => match found.subcommand() {
            Some(("produce", found)) => load::produce(&found.into(), &interrupt),
            Some(("consume", found)) => load::consume(&found.into(), &interrupt),
            _ => Err(Failure::Usage("load needs a subcommand".to_owned())),
        },
        _ => Err(Failure::Usage("a subcommand is needed".to_owned())),
    }
}
