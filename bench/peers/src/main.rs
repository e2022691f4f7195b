//! The engine and other write-ahead logs, each under the same work: `ringmain-bench engine peers` starts it once a point.
//!
//! In: which log, which work, an empty directory. Out: one line of JSON. Never: two logs in one process at a time, for some
//! of them keep threads and settings for as long as the process lives; a file outside the directory.

mod append;
mod args;
mod device;
mod logs;
mod meter;
mod raft;

use std::process::ExitCode;

use logs::Failure;

fn main() -> ExitCode {
    let found = args::command().get_matches();
    let outcome = match found.subcommand() {
        Some(("list", _)) => Ok(logs::list()),
        Some(("append", found)) => append::run(&found.into()),
        Some(("raft", found)) => raft::run(&found.into()),
        _ => Err(Failure::from("a subcommand is needed")),
    };
    match outcome {
        Ok(figures) => {
            println!("{figures}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("ringmain-peers: {failure}");
            ExitCode::FAILURE
        }
    }
}
