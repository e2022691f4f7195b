//! The command line: what the program is asked to do, and the commands that need no broker in this process.
//!
//! In: arguments. Out: an [`Invocation`] for `main`, which serves, verifies and inspects; a [`Tool`] runs here
//! and ends in an exit code: 0 done, 1 it failed, 2 it was not asked for properly. Never: imported by anything
//! but `main`.

mod args;
mod client;
mod consume;
mod doctor;
mod group;
pub mod inspect;
mod produce;
#[cfg(test)]
mod tests;
mod topic;
pub mod verify;

use std::io;
use std::process::ExitCode;

pub use args::{Invocation, parse};
pub use consume::Consume;
pub use group::GroupCommand;
pub use produce::Produce;
pub use topic::TopicCommand;

use crate::config::sources::{Flags, Values};
use crate::config::{Config, ConfigError, print};
use client::ClientError;

/// A command that is carried out here.
#[derive(Debug, PartialEq, Eq)]
pub enum Tool {
    /// Show the configuration: the defaults, or what holds here.
    ConfigPrint {
        flags: Flags,
        effective: bool,
        with_origin: bool,
    },
    /// Say what this machine allows, for the configuration these flags make.
    Doctor {
        flags: Flags,
    },
    Topic {
        command: TopicCommand,
        bootstrap: String,
    },
    Group {
        command: GroupCommand,
        bootstrap: String,
    },
    Produce {
        produce: Produce,
        bootstrap: String,
    },
    Consume {
        consume: Consume,
        bootstrap: String,
    },
}

/// Carries it out, with the process's standard input and output.
pub fn run(tool: Tool) -> ExitCode {
    let mut out = io::stdout().lock();
    let done = match tool {
        Tool::ConfigPrint { flags, effective, with_origin } => {
            return print_config(&flags, effective, with_origin);
        }
        Tool::Doctor { flags } => return doctor(&flags, &mut out),
        Tool::Topic { command, bootstrap } => topic::run(command, &bootstrap, &mut out),
        Tool::Group { command, bootstrap } => group::run(command, &bootstrap, &mut out),
        Tool::Produce { produce, bootstrap } => {
            let mut produced = 0;
            let done = produce::run(&produce, &bootstrap, io::stdin().lock(), &mut produced);
            eprintln!("{produced} records produced");
            done
        }
        Tool::Consume { consume, bootstrap } => consume::run(&consume, &bootstrap, &mut out),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has enough of it, as in `ringmain consume topic | head`.
        Err(ClientError::Local(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error @ ClientError::Usage(_)) => failed(&error, 2),
        Err(error) => failed(&error, 1),
    }
}

fn failed(error: &dyn std::error::Error, code: u8) -> ExitCode {
    eprintln!("ringmain: {error}");
    ExitCode::from(code)
}

fn doctor(flags: &Flags, out: &mut impl io::Write) -> ExitCode {
    let config = match Config::load(flags) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("ringmain: {error}");
            return ExitCode::from(2);
        }
    };
    // Nobody is left to tell when the output is closed.
    doctor::run(&config, out).unwrap_or(ExitCode::FAILURE)
}

fn print_config(flags: &Flags, effective: bool, with_origin: bool) -> ExitCode {
    match config_text(flags, effective, with_origin) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => failed(&error, 2),
    }
}

fn config_text(flags: &Flags, effective: bool, with_origin: bool) -> Result<String, ConfigError> {
    let values = if effective { Values::gather(flags, std::env::vars_os())? } else { Values::defaults() };
    // What is printed must also be a configuration that would be accepted.
    Config::from_values(&values)?;
    Ok(print::as_file(&values, with_origin))
}
