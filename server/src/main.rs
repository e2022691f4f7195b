//! Wires everything, knows nothing.

use std::process::ExitCode;

use ringmain::cli::{self, Invocation};
use ringmain::config::Config;
use ringmain::core::start;

fn main() -> ExitCode {
    let invocation = match cli::parse(std::env::args_os()) {
        Ok(invocation) => invocation,
        Err(error) => error.exit(),
    };
    match invocation {
        Invocation::Serve(flags) => match Config::load(&flags) {
            Ok(config) => start::serve(&config),
            Err(error) => {
                eprintln!("ringmain: {error}");
                ExitCode::from(2)
            }
        },
        Invocation::Tool(tool) => cli::run(tool),
        Invocation::Verify { directory, json } => cli::verify::run(&directory, json),
        Invocation::Inspect { paths } => cli::inspect::run(&paths),
    }
}
