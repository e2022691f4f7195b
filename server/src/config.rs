//! The configuration: every option, where its value came from, and what the values may be together.
//!
//! In: flags, `RINGMAIN_*` variables and a TOML file, in this order of strength. Out: one [`Config`], and the
//! [`Settings`] that everything below the configuration acts on. Never: is read after the start.

pub mod options;
pub mod print;
pub mod sources;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use ringmain_engine::limits::BLOCK_BYTES;

use crate::broker::nodes::Nodes;
use crate::broker::settings::Settings;
use sources::{Flags, Origin, Values};

/// Everything that was decided before the start. The options' meanings are in [`options::OPTIONS`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub data_dir: PathBuf,
    pub kafka: SocketAddr,
    pub amqp: SocketAddr,
    pub admin: SocketAddr,
    pub advertise: Option<String>,
    pub core_listeners: bool,
    pub allow_unauthenticated_remote: bool,
    pub cores: Cores,
    pub io: Io,
    pub node_id: u32,
    pub connections_max: u32,
    pub memory_bytes: u64,
    pub disk_free_bytes_min: u64,
    pub journal_file_bytes: u64,
    pub auto_create_topics: bool,
    pub default_partitions: u32,
    pub message_bytes_max: u32,
    pub request_bytes_max: u32,
    pub group_initial_rebalance_delay_ms: u32,
    pub amqp_message_bytes_max: u32,
    pub amqp_frame_bytes_max: u32,
    pub amqp_heartbeat_s: u16,
    pub amqp_channels_max: u16,
}

/// Which cores to run on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cores {
    /// All that this process may use.
    All,
    /// The first so many of those.
    Count(u16),
    /// Exactly these, ascending, each once.
    List(Vec<u16>),
}

/// How the kernel is asked to do things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Io {
    Auto,
    Uring,
    Poll,
}

/// Why there is no configuration.
#[derive(Debug)]
pub enum ConfigError {
    File {
        path: PathBuf,
        source: std::io::Error,
    },
    Syntax {
        origin: Origin,
        reason: String,
    },
    UnknownKey {
        key: String,
        origin: Origin,
        nearest: Option<String>,
    },
    Value {
        name: &'static str,
        text: String,
        origin: Origin,
        reason: String,
    },
    /// Other machines could reach this listener, and nobody has to log in.
    Remote {
        name: &'static str,
        address: SocketAddr,
    },
    /// Clients cannot be told to connect to "every address".
    NothingToAdvertise {
        address: SocketAddr,
    },
    /// Neither HOST nor HOST:PORT.
    Advertise {
        text: String,
    },
    /// A size that is not a multiple of `unit` bytes.
    Alignment {
        name: &'static str,
        value: u64,
        unit: u64,
    },
    /// Not every core can have a number of its own.
    CoreListeners {
        name: &'static str,
        first: u64,
        cores: u16,
        max: u64,
    },
    /// A core that this process may not use, or more than there are.
    Cores {
        wanted: String,
        allowed: String,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::File { path, source } => write!(f, "{}: {source}", path.display()),
            ConfigError::Syntax { origin, reason } => write!(f, "{origin}: {reason}"),
            ConfigError::UnknownKey { key, origin, nearest } => {
                match origin {
                    Origin::Environment(_) => write!(f, "unknown environment variable {key}")?,
                    _ => write!(f, "{origin}: unknown option `{key}`")?,
                }
                match nearest {
                    Some(nearest) => write!(f, "; the nearest is `{nearest}`"),
                    None => write!(f, "; `ringmain config print` shows all"),
                }
            }
            ConfigError::Value { name, text, origin, reason } => {
                write!(f, "option `{name}` is {text:?} ({origin}): {reason}")
            }
            ConfigError::Remote { name, address } => write!(
                f,
                "option `{name}` is {address}, which other machines can reach, and no user is configured: \
                 use a loopback address, or set `allow_unauthenticated_remote = true` \
                 (RINGMAIN_ALLOW_UNAUTHENTICATED_REMOTE=true) if everybody on that network may do everything"
            ),
            ConfigError::NothingToAdvertise { address } => write!(
                f,
                "option `kafka` is {address}, which is no address a client can connect to: \
                 set `advertise` (--advertise HOST) to the name of this machine"
            ),
            ConfigError::Advertise { text } => {
                write!(f, "option `advertise` is {text:?}: expected HOST or HOST:PORT")
            }
            ConfigError::Alignment { name, value, unit } => {
                write!(f, "option `{name}` is {value}: expected a multiple of {unit}")
            }
            ConfigError::CoreListeners { name, first, cores, max } => write!(
                f,
                "option `{name}` is {first}: with `core_listeners` {cores} cores need as many numbers from there on, \
                 up to {max}"
            ),
            ConfigError::Cores { wanted, allowed } => {
                write!(f, "option `cores` asks for {wanted}; this process may use {allowed}")
            }
        }
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ConfigError::File { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl Config {
    /// The configuration that these flags, this process's environment and the file they name come to.
    pub fn load(flags: &Flags) -> Result<Config, ConfigError> {
        Config::from_values(&Values::gather(flags, std::env::vars_os())?)
    }

    /// Turns texts into a configuration and checks what options say together.
    pub fn from_values(values: &Values) -> Result<Config, ConfigError> {
        let mut config = Config::blank();
        for (option, text, origin) in values.iter() {
            option.set(&mut config, text).map_err(|reason| ConfigError::Value {
                name: option.name,
                text: text.to_string(),
                origin: origin.clone(),
                reason,
            })?;
        }
        config.check()?;
        Ok(config)
    }

    /// What every field is before its option is set; every option has at least a default.
    fn blank() -> Config {
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        Config {
            data_dir: PathBuf::new(),
            kafka: nowhere,
            amqp: nowhere,
            admin: nowhere,
            advertise: None,
            core_listeners: false,
            allow_unauthenticated_remote: false,
            cores: Cores::All,
            io: Io::Auto,
            node_id: 0,
            connections_max: 0,
            memory_bytes: 0,
            disk_free_bytes_min: 0,
            journal_file_bytes: 0,
            auto_create_topics: false,
            default_partitions: 0,
            message_bytes_max: 0,
            request_bytes_max: 0,
            group_initial_rebalance_delay_ms: 0,
            amqp_message_bytes_max: 0,
            amqp_frame_bytes_max: 0,
            amqp_heartbeat_s: 0,
            amqp_channels_max: 0,
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        for (name, address) in [("kafka", self.kafka), ("amqp", self.amqp), ("admin", self.admin)] {
            if !address.ip().to_canonical().is_loopback() && !self.allow_unauthenticated_remote {
                return Err(ConfigError::Remote { name, address });
            }
        }
        if self.kafka.ip().is_unspecified() && self.advertise.is_none() {
            return Err(ConfigError::NothingToAdvertise { address: self.kafka });
        }
        if let Some(text) = &self.advertise
            && host_and_port(text).is_none()
        {
            return Err(ConfigError::Advertise { text: text.clone() });
        }
        let unit = BLOCK_BYTES as u64;
        if !self.journal_file_bytes.is_multiple_of(unit) {
            return Err(ConfigError::Alignment {
                name: "journal_file_bytes",
                value: self.journal_file_bytes,
                unit,
            });
        }
        Ok(())
    }

    /// Where Kafka clients connect: one address, or one for each of `cores` cores.
    pub fn kafka_addresses(&self, cores: u16) -> Result<Vec<SocketAddr>, ConfigError> {
        if !self.core_listeners {
            return Ok(vec![self.kafka]);
        }
        let port = self.kafka.port();
        let advertised = self.advertise.as_deref().and_then(host_and_port).and_then(|(_, port)| port);
        for (name, first, max) in [
            ("kafka", u64::from(port), u64::from(u16::MAX)),
            ("advertise", u64::from(advertised.unwrap_or(0)), u64::from(u16::MAX)),
            ("node_id", u64::from(self.node_id), i32::MAX as u64),
        ] {
            if first + u64::from(cores) > max + 1 {
                return Err(ConfigError::CoreListeners { name, first, cores, max });
            }
        }
        // Port 0 is not one to count from: the system chooses each.
        let step = u16::from(port > 0);
        Ok((0..cores).map(|core| SocketAddr::new(self.kafka.ip(), port + core * step)).collect())
    }

    /// The cores to run on, of those this process may use.
    pub fn cores_of(&self, allowed: &[usize]) -> Result<Vec<usize>, ConfigError> {
        let refused = |wanted: String| ConfigError::Cores { wanted, allowed: format!("{allowed:?}") };
        match &self.cores {
            Cores::All => Ok(allowed.to_vec()),
            Cores::Count(count) => {
                let some =
                    allowed.get(..usize::from(*count)).ok_or_else(|| refused(format!("{count} cores")))?;
                Ok(some.to_vec())
            }
            Cores::List(list) => {
                let list: Vec<usize> = list.iter().map(|core| usize::from(*core)).collect();
                match list.iter().find(|core| !allowed.contains(core)) {
                    Some(core) => Err(refused(format!("core {core}"))),
                    None => Ok(list),
                }
            }
        }
    }
}

/// The settings sessions act on. `cores` is how many really run; `kafka_ports` is where Kafka's listeners really are:
/// one, or one for each core.
pub fn settings(config: &Config, cluster_id: String, cores: u16, kafka_ports: &[u16]) -> Settings {
    assert!(
        kafka_ports.len() == 1 || kafka_ports.len() == usize::from(cores),
        "one port, or one for each core"
    );
    let advertised = config.advertise.as_deref().and_then(host_and_port);
    let (host, port) = advertised.unwrap_or_else(|| (config.kafka.ip().to_string(), None));
    let ports = match port {
        Some(first) => (first..=u16::MAX).take(kafka_ports.len()).collect(),
        None => kafka_ports.to_vec(),
    };
    Settings {
        cluster_id,
        cores,
        data_dir: config.data_dir.display().to_string(),
        nodes: Nodes::new(config.node_id as i32, host, ports),
        auto_create_topics: config.auto_create_topics,
        default_partitions: config.default_partitions,
        message_bytes_max: config.message_bytes_max,
        request_bytes_max: config.request_bytes_max,
        amqp_message_bytes_max: config.amqp_message_bytes_max,
        amqp_frame_bytes_max: config.amqp_frame_bytes_max,
        amqp_heartbeat_s: config.amqp_heartbeat_s,
        amqp_channels_max: config.amqp_channels_max,
        group_initial_rebalance_delay_ms: config.group_initial_rebalance_delay_ms,
        version: env!("CARGO_PKG_VERSION"),
    }
}

/// Splits HOST or HOST:PORT. An IPv6 address needs brackets to be followed by a port.
fn host_and_port(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port.parse().ok()?)),
        _ => (text, None),
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let sound =
        !host.is_empty() && !host.contains(|letter: char| letter.is_whitespace() || "[]/".contains(letter));
    sound.then(|| (host.to_string(), port))
}
