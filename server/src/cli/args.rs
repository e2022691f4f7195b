//! The grammar of the command line.
//!
//! In: the arguments as the system gave them. Out: one [`Invocation`], or clap's error, which knows how to show
//! itself and its exit code (help and version are such "errors" with exit code 0). Never: acts.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::Tool;
use super::client::BOOTSTRAP;
use super::consume::{Consume, FORMAT_HELP, Format, From};
use super::group::GroupCommand;
use super::produce::Produce;
use super::topic::TopicCommand;
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
    /// Something that needs neither a broker in this process nor a data directory.
    Tool(Tool),
}

/// Reads the arguments, the program's name first.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Invocation, clap::Error> {
    let mut grammar = grammar();
    let matches = grammar.try_get_matches_from_mut(arguments)?;
    let invocation = match matches.subcommand() {
        Some(("serve", found)) => Some(Invocation::Serve(flags(found))),
        Some(("doctor", found)) => Some(Invocation::Tool(Tool::Doctor { flags: flags(found) })),
        Some(("verify", found)) => Some(Invocation::Verify {
            directory: found.get_one("dir").cloned().unwrap_or_default(),
            json: found.get_flag("json"),
        }),
        Some(("inspect", found)) => Some(Invocation::Inspect {
            paths: found.get_many("dir").into_iter().flatten().cloned().collect(),
        }),
        Some(("topic", found)) => topic(found),
        Some(("group", found)) => group(found),
        Some(("produce", found)) => Some(Invocation::Tool(produce(found))),
        Some(("consume", found)) => Some(Invocation::Tool(consume(found))),
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
        .subcommand(with_flags(
            Command::new("doctor")
                .about("Say what this machine allows, and what to do about what it does not")
                .after_help(
                    "Takes the flags of serve. Exit code: 0 serve can run well, 1 something is in the way.",
                ),
        ))
        .subcommand(topic_grammar())
        .subcommand(produce_grammar())
        .subcommand(consume_grammar())
        .subcommand(group_grammar())
        .subcommand(
            Command::new("inspect")
                .about("Show what lies in a data directory, offline")
                .arg(directory().num_args(1..).help("A data directory, or files in one")),
        )
        .subcommand(
            Command::new("verify")
                .about("Check every checksum and invariant of a data directory, offline")
                .after_help("Exit code: 0 clean, 1 damage found, 2 cannot read.")
                .arg(directory())
                .arg(switch("json", "Print the findings as JSON")),
        )
        .subcommand(
            Command::new("config").about("Show the configuration").subcommand_required(true).subcommand(
                with_flags(Command::new("print").about("Print every option as a configuration file"))
                    .arg(switch("effective", "What holds here, instead of the defaults"))
                    .arg(switch("with-origin", "Also where each value came from (implies --effective)")),
            ),
        )
}

fn topic_grammar() -> Command {
    let name = || Arg::new("name").value_name("NAME").required(true);
    let partitions = || {
        let partitions = Arg::new("partitions").long("partitions").value_name("N");
        partitions.value_parser(value_parser!(i32).range(1..))
    };
    let config = || {
        let config = Arg::new("config").long("config").value_name("K=V").action(ArgAction::Append);
        config.value_parser(key_and_value)
    };
    Command::new("topic")
        .about("Create, list, describe, alter and delete topics of a running server")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(Command::new("create").about("Create a topic").args([
            name(),
            partitions().help("Number of partitions [default: the server's default_partitions]"),
            config().help("A setting of the topic, as Kafka names it; may be repeated"),
            bootstrap(),
        ]))
        .subcommand(
            Command::new("alter").about("Add partitions to a topic, change its settings").args([
                name(),
                partitions()
                    .required_unless_present("config")
                    .help("Number of partitions in total; there can only be more"),
                config().help("A setting, as Kafka names it; `K=` takes it back; may be repeated"),
                bootstrap(),
            ]),
        )
        .subcommand(Command::new("list").about("Print the names of all topics").arg(bootstrap()))
        .subcommand(
            Command::new("describe")
                .about("Print a topic's partitions with their offsets, and its settings")
                .args([name(), bootstrap()]),
        )
        .subcommand(Command::new("delete").about("Delete a topic").args([name(), bootstrap()]))
}

fn group_grammar() -> Command {
    let name = || Arg::new("name").value_name("GROUP").required(true);
    Command::new("group")
        .about("List, describe and delete consumer groups of a running server")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("list").about("Print the names of all groups, with their states").arg(bootstrap()),
        )
        .subcommand(
            Command::new("describe")
                .about("Print a group's members, what it has committed and how much it has not read")
                .args([name(), bootstrap()]),
        )
        .subcommand(
            Command::new("delete").about("Delete a group without members").args([name(), bootstrap()]),
        )
}

fn produce_grammar() -> Command {
    let separator = Arg::new("key-separator").long("key-separator").value_name("X");
    let partition = Arg::new("partition").long("partition").value_name("P");
    Command::new("produce").about("Send records from standard input, one a line").args([
        Arg::new("topic").value_name("TOPIC").required(true),
        separator.help("What is before the first X in a line is the record's key"),
        partition
            .value_parser(value_parser!(i32).range(0..))
            .help("Send everything to this partition [default: by key, or in turn]"),
        bootstrap(),
    ])
}

fn consume_grammar() -> Command {
    let from = Arg::new("from").long("from").value_name("earliest|latest|OFFSET").default_value("earliest");
    let count = Arg::new("count").long("count").value_name("N").value_parser(value_parser!(u64));
    let format = Arg::new("format").long("format").value_name("FORMAT").default_value("%v");
    Command::new("consume").about("Print the records of a topic").after_help(FORMAT_HELP).args([
        Arg::new("topic").value_name("TOPIC").required(true),
        from.value_parser(str::parse::<From>).help("Where to begin, in every partition"),
        count.help("End after N records [default: wait for further ones until interrupted]"),
        format.value_parser(str::parse::<Format>).help("How to print a record; see below"),
        bootstrap(),
    ])
}

fn bootstrap() -> Arg {
    Arg::new("bootstrap")
        .long("bootstrap")
        .value_name("HOST:PORT")
        .default_value(BOOTSTRAP)
        .help("The server")
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.to_string(), value.to_string()))
}

fn topic(found: &ArgMatches) -> Option<Invocation> {
    let (what, found) = found.subcommand()?;
    let name = || found.get_one::<String>("name").cloned();
    let partitions = || found.get_one("partitions").copied();
    let configs = || found.get_many("config").into_iter().flatten().cloned().collect();
    let command = match what {
        "create" => TopicCommand::Create { name: name()?, partitions: partitions(), configs: configs() },
        "list" => TopicCommand::List,
        "describe" => TopicCommand::Describe { name: name()? },
        "delete" => TopicCommand::Delete { name: name()? },
        "alter" => TopicCommand::Alter { name: name()?, partitions: partitions(), configs: configs() },
        _ => return None,
    };
    Some(Invocation::Tool(Tool::Topic { command, bootstrap: text(found, "bootstrap") }))
}

fn group(found: &ArgMatches) -> Option<Invocation> {
    let (what, found) = found.subcommand()?;
    let name = || found.get_one::<String>("name").cloned();
    let command = match what {
        "list" => GroupCommand::List,
        "describe" => GroupCommand::Describe { name: name()? },
        "delete" => GroupCommand::Delete { name: name()? },
        _ => return None,
    };
    Some(Invocation::Tool(Tool::Group { command, bootstrap: text(found, "bootstrap") }))
}

fn produce(found: &ArgMatches) -> Tool {
    let produce = Produce {
        topic: text(found, "topic"),
        key_separator: found.get_one("key-separator").cloned(),
        partition: found.get_one("partition").copied(),
    };
    Tool::Produce { produce, bootstrap: text(found, "bootstrap") }
}

fn consume(found: &ArgMatches) -> Tool {
    let consume = Consume {
        topic: text(found, "topic"),
        from: found.get_one("from").copied().unwrap_or(From::Earliest),
        count: found.get_one("count").copied(),
        format: found.get_one::<Format>("format").cloned().unwrap_or_default(),
    };
    Tool::Consume { consume, bootstrap: text(found, "bootstrap") }
}

/// An argument that is required or has a default.
fn text(found: &ArgMatches, name: &str) -> String {
    found.get_one::<String>(name).cloned().unwrap_or_default()
}

fn config(found: &ArgMatches) -> Option<Invocation> {
    let (_, found) = found.subcommand()?;
    let with_origin = found.get_flag("with-origin");
    let effective = found.get_flag("effective") || with_origin;
    Some(Invocation::Tool(Tool::ConfigPrint { flags: flags(found), effective, with_origin }))
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
        let print = Tool::ConfigPrint { flags: Flags::default(), effective: true, with_origin: true };
        assert_eq!(parsed("ringmain config print --with-origin").unwrap(), Invocation::Tool(print));
        assert!(parsed("ringmain config").is_err());
    }

    #[test]
    fn commands_for_a_running_server() {
        let tool = |line: &str| match parsed(line) {
            Ok(Invocation::Tool(tool)) => tool,
            other => panic!("{line}: {other:?}"),
        };
        let command = TopicCommand::Create {
            name: "t".into(),
            partitions: Some(3),
            configs: vec![("a".into(), "1=2".into()), ("b".into(), String::new())],
        };
        assert_eq!(
            tool("ringmain topic create t --partitions 3 --config a=1=2 --config b= --bootstrap h:1"),
            Tool::Topic { command, bootstrap: "h:1".into() }
        );
        let alter = |partitions, configs: &[(&str, &str)]| {
            let configs = configs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
            let command = TopicCommand::Alter { name: "t".into(), partitions, configs };
            Tool::Topic { command, bootstrap: BOOTSTRAP.into() }
        };
        assert_eq!(tool("ringmain topic alter t --partitions 3"), alter(Some(3), &[]));
        let both = [("a", "1"), ("b", "")];
        assert_eq!(tool("ringmain topic alter t --config a=1 --config b="), alter(None, &both));
        let command = GroupCommand::Describe { name: "g".into() };
        assert_eq!(tool("ringmain group describe g"), Tool::Group { command, bootstrap: BOOTSTRAP.into() });
        let produce = Produce { topic: "t".into(), key_separator: Some(":".into()), partition: Some(2) };
        assert_eq!(
            tool("ringmain produce t --key-separator : --partition 2"),
            Tool::Produce { produce, bootstrap: BOOTSTRAP.into() }
        );
        let format = "%k-%v".parse().unwrap();
        let consume = Consume { topic: "t".into(), from: From::Offset(7), count: Some(2), format };
        assert_eq!(
            tool("ringmain consume t --from 7 --count 2 --format %k-%v"),
            Tool::Consume { consume, bootstrap: BOOTSTRAP.into() }
        );
        for line in [
            "consume t --from -1",
            "consume t --format %x",
            "topic create",
            "topic create t --config x",
            "topic alter t",
            "topic alter t --partitions 0",
        ] {
            assert!(parsed(&format!("ringmain {line}")).is_err(), "{line}");
        }
    }
}
