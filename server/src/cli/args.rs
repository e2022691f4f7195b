//! The grammar of the command line.
//!
//! In: the arguments as the system gave them. Out: one [`Invocation`], or clap's error, which knows how to show
//! itself and its exit code (help and version are such "errors" with exit code 0). Never: acts.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::config::options::OPTIONS;
use crate::config::sources::Flags;

/// What the program is asked to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Invocation {
    /// Serve until a signal comes.
    Serve(Flags),
    /// Check a data directory.
    Verify { directory: PathBuf, json: bool },
    /// Show what lies in data directories or in files of one.
    Inspect { paths: Vec<PathBuf> },
    /// Show the configuration: the defaults, or what holds here.
    ConfigPrint { flags: Flags, effective: bool, with_origin: bool },
}

/// Reads the arguments, the program's name first.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Invocation, clap::Error> {
    let mut grammar = grammar();
    let matches = grammar.try_get_matches_from_mut(arguments)?;
    let invocation = match matches.subcommand() {
        Some(("serve", found)) => Some(Invocation::Serve(flags(found))),
        Some(("verify", found)) => Some(Invocation::Verify {
            directory: found.get_one("dir").cloned().unwrap_or_default(),
            json: found.get_flag("json"),
        }),
        Some(("inspect", found)) => Some(Invocation::Inspect {
            paths: found.get_many("dir").into_iter().flatten().cloned().collect(),
        }),
        Some(("config", found)) => config(found),
        _ => None,
    };
    invocation.ok_or_else(|| grammar.error(ErrorKind::MissingSubcommand, "what is to be done?"))
}

fn grammar() -> Command {
    Command::new("ringmain")
        .about("A durable log broker that Kafka and RabbitMQ clients use unchanged")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(with_flags(
            Command::new("serve").about("Serve Kafka and AMQP clients until a signal comes"),
        ))
        .subcommand(
            Command::new("verify")
                .about("Check every checksum and invariant of a data directory, offline")
                .after_help("Exit code: 0 clean, 1 damage found, 2 cannot read.")
                .arg(directory())
                .arg(switch("json", "Print the findings as JSON")),
        )
        .subcommand(
            Command::new("inspect")
                .about("Show what lies in a data directory, offline")
                .arg(directory().num_args(1..).help("A data directory, or files in one")),
        )
        .subcommand(
            Command::new("config").about("Show the configuration").subcommand_required(true).subcommand(
                with_flags(Command::new("print").about("Print every option as a configuration file"))
                    .arg(switch("effective", "What holds here, instead of the defaults"))
                    .arg(switch("with-origin", "Also where each value came from (implies --effective)")),
            ),
        )
}

fn config(found: &ArgMatches) -> Option<Invocation> {
    let (_, found) = found.subcommand()?;
    let with_origin = found.get_flag("with-origin");
    let effective = found.get_flag("effective") || with_origin;
    Some(Invocation::ConfigPrint { flags: flags(found), effective, with_origin })
}

fn directory() -> Arg {
    Arg::new("dir").value_name("DIR").required(true).value_parser(value_parser!(PathBuf))
}

fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

/// Adds `--config` and a flag for every option that has one.
fn with_flags(command: Command) -> Command {
    let file = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("Configuration file (TOML); `ringmain config print` shows one");
    let options = OPTIONS.iter().filter_map(|option| {
        let (flag, value_name) = option.flag?;
        let default =
            if option.default.is_empty() { String::new() } else { format!(" [default: {}]", option.default) };
        let help = format!("{}{default}", option.meaning);
        Some(Arg::new(option.name).long(flag).value_name(value_name).help(help))
    });
    command.arg(file).args(options)
}

fn flags(found: &ArgMatches) -> Flags {
    let values = OPTIONS.iter().filter(|option| option.flag.is_some());
    let values =
        values.filter_map(|option| Some((option.name, found.get_one::<String>(option.name)?.clone())));
    Flags { file: found.get_one("config").cloned(), values: values.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Invocation, clap::Error> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn the_grammar_is_consistent() {
        grammar().debug_assert();
    }

    #[test]
    fn flags_of_serve_reach_the_options() {
        let line = "ringmain serve --data-dir /d --config c.toml --cores 0,2-3 --io poll --kafka [::1]:0 \
                    --amqp 127.0.0.1:0 --admin 127.0.0.1:1 --advertise name";
        let Invocation::Serve(flags) = parsed(line).unwrap() else { panic!("serve") };
        assert_eq!(flags.file, Some(PathBuf::from("c.toml")));
        assert_eq!(flags.values.len(), 7);
        assert!(flags.values.contains(&("cores", "0,2-3".to_string())));
        assert_eq!(parsed("ringmain serve").unwrap(), Invocation::Serve(Flags::default()));
    }

    #[test]
    fn what_is_unknown_is_named_with_the_nearest() {
        let error = parsed("ringmain serve --data-dri x").unwrap_err().to_string();
        assert!(error.contains("--data-dri") && error.contains("'--data-dir'"), "{error}");
        let error = parsed("ringmain sreve").unwrap_err().to_string();
        assert!(error.contains("sreve") && error.contains("'serve'"), "{error}");
        assert_eq!(parsed("ringmain").unwrap_err().exit_code(), 2);
        assert_eq!(parsed("ringmain --version").unwrap_err().exit_code(), 0);
    }

    #[test]
    fn the_other_commands() {
        let verify = Invocation::Verify { directory: PathBuf::from("d"), json: true };
        assert_eq!(parsed("ringmain verify d --json").unwrap(), verify);
        let inspect = Invocation::Inspect { paths: vec![PathBuf::from("a"), PathBuf::from("b")] };
        assert_eq!(parsed("ringmain inspect a b").unwrap(), inspect);
        let print = Invocation::ConfigPrint { flags: Flags::default(), effective: true, with_origin: true };
        assert_eq!(parsed("ringmain config print --with-origin").unwrap(), print);
        assert!(parsed("ringmain config").is_err());
    }
}
