//! Why a measurement could not be made, in words for the person who asked for it.
//!
//! In: errors of the system, of the broker, of the command line. Out: one line and an exit code.
//! Never: a reason without the file or the address it happened at.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why a measurement stopped.
#[derive(Debug)]
pub enum Failure {
    /// The request itself makes no sense. Exit code 2, as clap has it.
    Usage(String),
    /// A file or directory refused. Exit code 1.
    Disk { doing: &'static str, path: PathBuf, source: io::Error },
    /// This directory cannot be measured. Exit code 1.
    Unfit { path: PathBuf, reason: String },
    /// The kernel refused something that is not a file. Exit code 1.
    Kernel { doing: &'static str, source: io::Error },
    /// A connection failed. Exit code 1.
    Network { doing: &'static str, target: String, source: io::Error },
    /// The broker answered, but not with what was asked for, or did not start. Exit code 1.
    Broker(String),
    /// Standard output is closed. Exit code 1.
    Output(io::Error),
    /// A signal. Exit code 130, as shells have it.
    Interrupted,
}

impl Failure {
    /// What the process exits with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Usage(_) => 2,
            Failure::Interrupted => 130,
            _ => 1,
        }
    }

    /// For `Result::map_err` on file operations.
    pub fn disk(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Failure {
        move |source| Failure::Disk { doing, path: path.to_owned(), source }
    }

    /// For `Result::map_err` on connections.
    pub fn network(doing: &'static str, target: impl fmt::Display) -> impl FnOnce(io::Error) -> Failure {
        move |source| Failure::Network { doing, target: target.to_string(), source }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage(reason) => write!(f, "{reason}"),
            Failure::Disk { doing, path, source } => write!(f, "cannot {doing} {}: {source}", path.display()),
            Failure::Unfit { path, reason } => write!(f, "{} cannot be measured: {reason}", path.display()),
            Failure::Kernel { doing, source } => write!(f, "cannot {doing}: {source}"),
            Failure::Network { doing, target, source } => write!(f, "cannot {doing} {target}: {source}"),
            Failure::Broker(reason) => write!(f, "{reason}"),
            Failure::Output(source) => write!(f, "cannot print: {source}"),
            Failure::Interrupted => write!(f, "interrupted"),
        }
    }
}

impl std::error::Error for Failure {}
