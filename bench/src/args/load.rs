//! The command line of `load`.
//!
//! In: arguments. Out: what to load and how. Never: connects to anything.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::{count, count_of, json, path_of, target};
use crate::load::work::{Load, Protocol};

/// What `load produce` and `load consume` do.
pub struct LoadArgs {
    pub load: Load,
    pub json: Option<PathBuf>,
    /// Where the HdrHistogram log goes.
    pub hdr: Option<PathBuf>,
}

pub fn command() -> Command {
    Command::new("load")
        .about("Sends load to a running broker, or reads from it")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(with_args(
            Command::new("produce").about("Pre-encoded requests, every answer checked"),
            "Requests waiting for an answer, per connection",
        ))
        .subcommand(
            with_args(
                Command::new("consume").about("Reads what it produced before, and checks it"),
                "Deliveries waiting for their acknowledgement, per connection (AMQP, NATS)",
            )
            .arg(count("ack-every", "1", 1, 10_000).help("Deliveries acknowledged at once (AMQP)")),
        )
}

fn with_args(command: Command, in_flight: &'static str) -> Command {
    let text =
        |name: &'static str, help: &'static str| Arg::new(name).long(name).value_name("NAME").help(help);
    command
        .arg(
            text("protocol", "What the target speaks")
                .value_parser(["kafka", "amqp", "nats"])
                .default_value("kafka"),
        )
        .arg(target().required(true))
        .arg(text("topic", "A topic or queue that is there already [default: make one and remove it]"))
        .arg(
            Arg::new("follow-leaders")
                .long("follow-leaders")
                .action(ArgAction::SetTrue)
                .help("Connect to the leader of each partition, as the target's Metadata names it (Kafka)"),
        )
        .arg(text("queue-type", "x-queue-type of the queues made (AMQP)"))
        .arg(count("connections", "1", 1, 1024))
        .arg(count("in-flight", "1", 1, 65_535).help(in_flight))
        .arg(count("batch-bytes", "16384", 1, 1 << 20).help("Bytes of a batch (Kafka)"))
        .arg(count("record-bytes", "1024", 8, 1 << 20).help("Bytes of a record or message"))
        .arg(count("partitions", "1", 1, 1024).help("Partitions, queues or streams"))
        .arg(count("seconds", "10", 1, 86_400))
        .arg(count("warm-up", "0", 0, 3600).help("Seconds before the first that counts"))
        .arg(
            Arg::new("rate")
                .long("rate")
                .value_name("REQUESTS")
                .value_parser(value_parser!(u64).range(1..=10_000_000))
                .help("Open loop: requests per second over all connections, latency from the planned time"),
        )
        .arg(json())
        .arg(
            Arg::new("hdr")
                .long("hdr")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Also write the latencies of each second as an HdrHistogram log"),
        )
}

impl From<&ArgMatches> for LoadArgs {
    fn from(found: &ArgMatches) -> LoadArgs {
        let text = |name: &str| found.get_one::<String>(name).cloned();
        let protocol = match text("protocol").as_deref() {
            Some("amqp") => Protocol::Amqp,
            Some("nats") => Protocol::Nats,
            _ => Protocol::Kafka,
        };
        LoadArgs {
            load: Load {
                protocol,
                target: text("target").unwrap_or_default(),
                connections: count_of(found, "connections"),
                in_flight: count_of(found, "in-flight"),
                batch_bytes: count_of(found, "batch-bytes"),
                record_bytes: count_of(found, "record-bytes"),
                partitions: count_of(found, "partitions"),
                seconds: count_of(found, "seconds"),
                warm_up: Duration::from_secs(count_of(found, "warm-up")),
                rate: found.get_one::<u64>("rate").copied(),
                follow_leaders: found.get_flag("follow-leaders"),
                topic: text("topic"),
                queue_kind: text("queue-type"),
                ack_every: match found.try_get_one::<u64>("ack-every") {
                    Ok(Some(count)) => *count,
                    _ => 1,
                },
            },
            json: path_of(found, "json"),
            hdr: path_of(found, "hdr"),
        }
    }
}
