//! The command line: what the program is asked to do, and the commands that need no broker in this process.
//!
//! In: arguments. Out: an [`Invocation`] for `main`, which serves, verifies and inspects; the rest runs here and
//! ends in an exit code. Never: imported by anything but `main`.

mod args;

use std::process::ExitCode;

pub use args::{Invocation, parse};

use crate::config::sources::{Flags, Values};
use crate::config::{Config, print};

/// Prints the configuration: the defaults, or with `effective` what holds here.
pub fn print_config(flags: &Flags, effective: bool, with_origin: bool) -> ExitCode {
    let values = if effective { Values::gather(flags, std::env::vars_os()) } else { Ok(Values::defaults()) };
    // What is printed must also be a configuration that would be accepted.
    let printed = values.and_then(|values| {
        Config::from_values(&values)?;
        Ok(print::as_file(&values, with_origin))
    });
    match printed {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("ringmain: {error}");
            ExitCode::from(2)
        }
    }
}
