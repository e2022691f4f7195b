//! The option table: every option once, with its unit, default, range and meaning.
//!
//! In: the text of a value, from wherever it was given. Out: the field of [`Config`] it belongs in, set, or
//! what is wrong with the text. Never: looks for values itself, or knows two options at a time.
//!
//! The command line, the environment, the file, `ringmain config print` and docs/CONFIG.md all come from here.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use ringmain_engine::limits::{BATCH_BYTES_MAX, FRAME_BODY_BYTES_MAX, JOURNAL_FILE_BYTES_MAX};

use super::{Config, Cores, Io};

/// One option.
pub struct Opt {
    /// Key in the file; `RINGMAIN_<NAME>` in the environment.
    pub name: &'static str,
    /// What a number counts, or what a text is.
    pub unit: &'static str,
    /// As it would be written in the file, without quotes. Empty: not set.
    pub default: &'static str,
    pub meaning: &'static str,
    /// The flag of `ringmain serve`, if it has one, and what the flag's value is called.
    pub flag: Option<(&'static str, &'static str)>,
    pub field: Field,
}

type Get<T> = fn(&mut Config) -> &mut T;

/// Where a value goes, and what it may be.
pub enum Field {
    Path(Get<PathBuf>),
    Address(Get<SocketAddr>),
    Text(Get<Option<String>>),
    Cores(Get<Cores>),
    Io(Get<Io>),
    Switch(Get<bool>),
    U16(Get<u16>, u16, u16),
    U32(Get<u32>, u32, u32),
    U64(Get<u64>, u64, u64),
}

/// Two of the largest frames, so that a file is never full with one.
const JOURNAL_FILE_BYTES_MIN: u64 = 2 * (BATCH_BYTES_MAX as u64 + FRAME_BODY_BYTES_MAX as u64);

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// Everything that can be configured.
pub static OPTIONS: &[Opt] = &[
    Opt {
        name: "data_dir",
        unit: "path",
        default: "ringmain-data",
        meaning: "Where everything durable lives. One process at a time.",
        flag: Some(("data-dir", "DIR")),
        field: Field::Path(|config| &mut config.data_dir),
    },
    Opt {
        name: "kafka",
        unit: "address",
        default: "127.0.0.1:9092",
        meaning: "Where Kafka clients connect. Port 0 lets the system choose.",
        flag: Some(("kafka", "ADDR")),
        field: Field::Address(|config| &mut config.kafka),
    },
    Opt {
        name: "amqp",
        unit: "address",
        default: "127.0.0.1:5672",
        meaning: "Where AMQP 0-9-1 clients connect. Port 0 lets the system choose.",
        flag: Some(("amqp", "ADDR")),
        field: Field::Address(|config| &mut config.amqp),
    },
    Opt {
        name: "admin",
        unit: "address",
        default: "127.0.0.1:15672",
        meaning: "Where /livez, /readyz and /metrics are served over HTTP. Port 0 lets the system choose.",
        flag: Some(("admin", "ADDR")),
        field: Field::Address(|config| &mut config.admin),
    },
    Opt {
        name: "advertise",
        unit: "host or host:port",
        default: "",
        meaning: "What Kafka clients are told to connect to; with `core_listeners` a port is the first core's. Not set: the address of `kafka`.",
        flag: Some(("advertise", "HOST")),
        field: Field::Text(|config| &mut config.advertise),
    },
    Opt {
        name: "core_listeners",
        unit: "true or false",
        default: "false",
        meaning: "Let each core listen for Kafka clients on a port of its own, counted up from that of `kafka`, and tell \
                  clients that each is a broker, counted up from `node_id`: they then ask the core that owns a partition.",
        flag: None,
        field: Field::Switch(|config| &mut config.core_listeners),
    },
    Opt {
        name: "allow_unauthenticated_remote",
        unit: "true or false",
        default: "false",
        meaning: "Let listeners bind to addresses other machines can reach although nobody has to log in.",
        flag: None,
        field: Field::Switch(|config| &mut config.allow_unauthenticated_remote),
    },
    Opt {
        name: "cores",
        unit: "count or list",
        default: "all",
        meaning: "How many cores to use, or which: `2`, or `0,2-3` (`2-2` for core 2 alone).",
        flag: Some(("cores", "N|LIST")),
        field: Field::Cores(|config| &mut config.cores),
    },
    Opt {
        name: "io",
        unit: "auto, uring or poll",
        default: "auto",
        meaning: "How the kernel is asked: io_uring, or epoll with threads for files. `auto` takes io_uring if allowed.",
        flag: Some(("io", "auto|uring|poll")),
        field: Field::Io(|config| &mut config.io),
    },
    Opt {
        name: "node_id",
        unit: "number",
        default: "1",
        meaning: "The number Kafka clients know this broker by.",
        flag: None,
        field: Field::U32(|config| &mut config.node_id, 0, i32::MAX as u32),
    },
    Opt {
        name: "connections_max",
        unit: "connections",
        default: "10000",
        meaning: "Connections of all listeners together, an equal share for each core; further ones are closed at once.",
        flag: None,
        field: Field::U32(|config| &mut config.connections_max, 1, 1_000_000),
    },
    Opt {
        name: "memory_bytes",
        unit: "bytes",
        default: "112 MiB",
        meaning: "Memory for each core: half is for records, on their way, recent or read; the rest is for connections, state and what the allocator cannot use.",
        flag: None,
        field: Field::U64(|config| &mut config.memory_bytes, 32 * MIB, 1 << 40),
    },
    Opt {
        name: "disk_free_bytes_min",
        unit: "bytes",
        default: "64 MiB",
        meaning: "New records are refused while the file system has less room left. All else goes on.",
        flag: None,
        field: Field::U64(|config| &mut config.disk_free_bytes_min, 0, 1 << 50),
    },
    Opt {
        name: "journal_file_bytes",
        unit: "bytes",
        default: "64 MiB",
        meaning: "Size of each journal file when it is created; a multiple of 4 KiB.",
        flag: None,
        field: Field::U64(
            |config| &mut config.journal_file_bytes,
            JOURNAL_FILE_BYTES_MIN,
            JOURNAL_FILE_BYTES_MAX,
        ),
    },
    Opt {
        name: "auto_create_topics",
        unit: "true or false",
        default: "true",
        meaning: "Whether a topic comes into being when a Kafka client first asks for it.",
        flag: None,
        field: Field::Switch(|config| &mut config.auto_create_topics),
    },
    Opt {
        name: "default_partitions",
        unit: "partitions",
        default: "4",
        meaning: "Partitions of a topic for which no number was given.",
        flag: None,
        field: Field::U32(|config| &mut config.default_partitions, 1, 10_000),
    },
    Opt {
        name: "message_bytes_max",
        unit: "bytes",
        default: "1048588",
        meaning: "Largest record batch accepted from a Kafka producer, unless the topic's max.message.bytes says otherwise.",
        flag: None,
        field: Field::U32(|config| &mut config.message_bytes_max, 1024, (16 * MIB) as u32),
    },
    Opt {
        name: "request_bytes_max",
        unit: "bytes",
        default: "100 MiB",
        meaning: "Largest Kafka request.",
        flag: None,
        field: Field::U32(|config| &mut config.request_bytes_max, (64 * KIB) as u32, (1024 * MIB) as u32),
    },
    Opt {
        name: "group_initial_rebalance_delay_ms",
        unit: "ms",
        default: "100",
        meaning: "How long a new consumer group waits for further members before its first assignment. \
                  Long enough for consumers that are started together, too short to be noticed by one alone.",
        flag: None,
        field: Field::U32(|config| &mut config.group_initial_rebalance_delay_ms, 0, 300_000),
    },
    Opt {
        name: "amqp_message_bytes_max",
        unit: "bytes",
        default: "16 MiB",
        meaning: "Largest AMQP message body.",
        flag: None,
        field: Field::U32(|config| &mut config.amqp_message_bytes_max, 1024, (16 * MIB) as u32),
    },
    Opt {
        name: "amqp_frame_bytes_max",
        unit: "bytes",
        default: "131072",
        meaning: "Largest AMQP frame offered to clients.",
        flag: None,
        field: Field::U32(|config| &mut config.amqp_frame_bytes_max, 4096, MIB as u32),
    },
    Opt {
        name: "amqp_heartbeat_s",
        unit: "s",
        default: "60",
        meaning: "AMQP heartbeat interval offered to clients; 0 offers none.",
        flag: None,
        field: Field::U16(|config| &mut config.amqp_heartbeat_s, 0, 3600),
    },
    Opt {
        name: "amqp_channels_max",
        unit: "channels",
        default: "2047",
        meaning: "Channels one AMQP connection may open.",
        flag: None,
        field: Field::U16(|config| &mut config.amqp_channels_max, 1, u16::MAX),
    },
];

impl Opt {
    /// The option called `name`.
    pub fn named(name: &str) -> Option<&'static Opt> {
        OPTIONS.iter().find(|option| option.name == name)
    }

    /// The name of its environment variable.
    pub fn variable(&self) -> String {
        format!("RINGMAIN_{}", self.name.to_ascii_uppercase())
    }

    /// Smallest and largest value, if it is a number.
    pub fn range(&self) -> Option<(u64, u64)> {
        match self.field {
            Field::U16(_, min, max) => Some((min.into(), max.into())),
            Field::U32(_, min, max) => Some((min.into(), max.into())),
            Field::U64(_, min, max) => Some((min, max)),
            _ => None,
        }
    }

    /// Sets the option's field. The error says what the text should have been.
    pub fn set(&self, config: &mut Config, text: &str) -> Result<(), String> {
        let text = text.trim();
        match self.field {
            Field::Path(get) if text.is_empty() => Err(format!("expected a path for {:?}", get(config))),
            Field::Path(get) => put(get(config), PathBuf::from(text)),
            Field::Address(get) => put(get(config), address(text)?),
            Field::Text(get) => put(get(config), (!text.is_empty()).then(|| text.to_string())),
            Field::Cores(get) => put(get(config), cores(text)?),
            Field::Io(get) => put(get(config), io(text)?),
            Field::Switch(get) => put(get(config), switch(text)?),
            Field::U16(get, min, max) => put(get(config), self.number(text, min, max)?),
            Field::U32(get, min, max) => put(get(config), self.number(text, min, max)?),
            Field::U64(get, min, max) => put(get(config), self.number(text, min, max)?),
        }
    }

    fn number<T>(&self, text: &str, min: T, max: T) -> Result<T, String>
    where
        T: TryFrom<u64> + PartialOrd + std::fmt::Display,
    {
        let expected = || format!("expected a number of {} from {min} to {max}", self.unit);
        let (digits, factor) = if self.unit == "bytes" { scaled(text) } else { (text, 1) };
        let number =
            digits.replace('_', "").parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
        let number = number.and_then(|number| T::try_from(number).ok()).ok_or_else(expected)?;
        if min <= number && number <= max { Ok(number) } else { Err(expected()) }
    }
}

fn put<T>(field: &mut T, value: T) -> Result<(), String> {
    *field = value;
    Ok(())
}

/// Splits a factor off numbers like `64 MiB`.
fn scaled(text: &str) -> (&str, u64) {
    for (suffix, factor) in [("KiB", KIB), ("MiB", MIB), ("GiB", 1 << 30)] {
        if let Some(digits) = text.strip_suffix(suffix) {
            return (digits.trim_end(), factor);
        }
    }
    (text, 1)
}

fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let found = text.to_socket_addrs().map_err(|error| format!("expected HOST:PORT ({error})"))?;
    // Names mostly have both kinds of address; older clients know the first kind only.
    let mut found: Vec<SocketAddr> = found.collect();
    found.sort_by_key(SocketAddr::is_ipv6);
    found.first().copied().ok_or_else(|| "the name has no address".to_string())
}

fn cores(text: &str) -> Result<Cores, String> {
    let expected = || "expected `all`, a count like `2`, or a list like `0,2-3`".to_string();
    if text == "all" {
        return Ok(Cores::All);
    }
    if let Ok(count) = text.parse::<u16>() {
        return if count > 0 { Ok(Cores::Count(count)) } else { Err(expected()) };
    }
    let mut list = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first: u16 = first.trim().parse().ok().ok_or_else(expected)?;
        let last: u16 = last.trim().parse().ok().ok_or_else(expected)?;
        if last < first || last > 4095 {
            return Err(expected());
        }
        list.extend(first..=last);
    }
    list.sort_unstable();
    list.dedup();
    Ok(Cores::List(list))
}

fn io(text: &str) -> Result<Io, String> {
    match text {
        "auto" => Ok(Io::Auto),
        "uring" => Ok(Io::Uring),
        "poll" => Ok(Io::Poll),
        _ => Err("expected auto, uring or poll".to_string()),
    }
}

fn switch(text: &str) -> Result<bool, String> {
    match text {
        "true" | "on" | "yes" | "1" => Ok(true),
        "false" | "off" | "no" | "0" => Ok(false),
        _ => Err("expected true or false".to_string()),
    }
}

/// Of all option names, the one with the fewest letters to change, unless that is most of them.
pub fn nearest(name: &str) -> Option<&'static str> {
    let near = OPTIONS.iter().map(|option| (distance(name, option.name), option.name)).min()?;
    (near.0 <= name.chars().count().max(3) / 2).then_some(near.1)
}

/// Letters to insert, delete or replace to make one of the other (Levenshtein), one row at a time.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, letter) in from.chars().enumerate() {
        let mut left = index + 1;
        let mut next = vec![left];
        for (other, above) in to.iter().zip(row.windows(2)) {
            let &[diagonal, above] = above else { break };
            left = (diagonal + usize::from(letter != *other)).min(above + 1).min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(usize::MAX)
}
