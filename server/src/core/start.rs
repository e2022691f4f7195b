//! Starting: the data directory is opened and recovered, listeners are bound, one thread per core begins.
//!
//! In: the configuration. Out: an exit code, at the end of everything. This is the only blocking code of a
//! server.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::{Arc, Barrier};

use ringmain_engine::error::OpenError;
use ringmain_engine::io::disk::Disk;
use ringmain_engine::io::driver::{Choice, Driver};
use ringmain_engine::io::{Descriptor, descriptors};
use ringmain_engine::limits::Sizes;
use ringmain_engine::shard::Shard;
use ringmain_engine::shard::recover::{OpenConfig, Opened, open};
use signal_hook::consts::{SIGINT, SIGTERM};

use super::connection::Protocol;
use super::listeners::{Listener, Listeners};
use super::{Core, mail, run};
use crate::broker::catalog::shard_of;
use crate::broker::context::Random;
use crate::broker::settings::Settings;
use crate::broker::{Broker, StartError, replay_catalog};
use crate::config::{self, Config, ConfigError, Io};

/// Why the server did not start.
#[derive(Debug)]
enum ServeError {
    Config(String),
    Open(OpenError),
    State(StartError),
    Listen { address: SocketAddr, source: std::io::Error },
    System { doing: &'static str, source: std::io::Error },
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServeError::Config(what) => write!(f, "{what}"),
            ServeError::Open(error) => write!(f, "{error}"),
            ServeError::State(error) => write!(f, "{error}"),
            ServeError::Listen { address, source } => write!(f, "cannot listen on {address}: {source}"),
            ServeError::System { doing, source } => write!(f, "cannot {doing}: {source}"),
        }
    }
}

/// Serves until a signal comes.
pub fn serve(config: &Config) -> ExitCode {
    match try_serve(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringmain: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The listeners of each core and where they really are.
struct Bound {
    cores: Vec<Vec<Listener>>,
    /// One, or one for each core.
    kafka: Vec<SocketAddr>,
    amqp: SocketAddr,
    admin: SocketAddr,
}

fn try_serve(config: &Config) -> Result<(), ServeError> {
    let descriptors = descriptors::raise_limit();
    let (choice, driver) = driver(config)?;
    let processors = processors(config)?;
    let cores = processors.len() as u16;
    let kafka_addresses = config.kafka_addresses(cores).map_err(configured)?;
    let mut random = Random(seed());
    // The rest is for connections, queues, groups, and what the allocator cannot use.
    let opened = open(&OpenConfig {
        directory: config.data_dir.clone(),
        disk: Disk::Machine,
        shards: cores,
        shard_of,
        node_id: config.node_id,
        new_cluster_id: random.uuid(),
        journal_file_bytes: config.journal_file_bytes,
        memory_bytes: (config.memory_bytes / 2) as usize,
        sizes: Sizes { free_bytes_min: config.disk_free_bytes_min, ..Sizes::default() },
    })
    .map_err(ServeError::Open)?;
    let Opened { shards, cluster_id, report, lock } = opened;
    eprintln!("ringmain: {report}");
    let bound = bind(config, &kafka_addresses, cores)?;
    let signals = signals()?;
    let kafka_ports: Vec<u16> = bound.kafka.iter().map(SocketAddr::port).collect();
    let settings = config::settings(config, base64(&cluster_id), cores, &kafka_ports);
    let brokers = brokers(shards, &settings, &mut random)?;
    let line = format!(
        "ringmain ready kafka={} amqp={} admin={} data={} durability=durable io={driver} cores={cores}",
        bound.kafka[0],
        bound.amqp,
        bound.admin,
        config.data_dir.display(),
    );
    let connections_max = connections_max(config.connections_max, descriptors);
    if connections_max < config.connections_max {
        eprintln!("ringmain: the limit of open files leaves room for {connections_max} connections");
    }
    // A signal is for all, and the first core tells the others.
    let signals = std::iter::once(signals).map(Some).chain(std::iter::repeat(None));
    let mut listeners =
        bound.cores.into_iter().zip(signals).map(|(sockets, signals)| Listeners::new(sockets, signals));
    let ready = Arc::new(Barrier::new(usize::from(cores) + 1));
    let mut threads = Vec::new();
    for ((broker, post), processor) in brokers.into_iter().zip(mail::posts(cores)).zip(processors) {
        let connections_max = connections_max.div_ceil(u32::from(cores));
        let core =
            Core::new(broker, post, listeners.next().unwrap_or_default(), connections_max, random.next_u64());
        let ready = ready.clone();
        let thread = std::thread::Builder::new()
            .name(format!("core-{}", threads.len()))
            .spawn(move || {
                run::run(core, processor, choice, || {
                    ready.wait();
                });
            })
            .map_err(|source| ServeError::System { doing: "start a thread", source })?;
        threads.push(thread);
    }
    ready.wait();
    let mut out = std::io::stdout();
    // A closed standard output is no reason not to serve.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    for thread in threads {
        if thread.join().is_err() {
            return Err(ServeError::Config("a core has panicked".into()));
        }
    }
    drop(lock);
    eprintln!("ringmain: stopped");
    Ok(())
}

/// Half of the files that may be open are left to the logs: a log that cannot open its next segment ends the
/// process, and whoever may connect must not be able to bring that about.
fn connections_max(configured: u32, descriptors: u64) -> u32 {
    configured.min(u32::try_from(descriptors / 2).unwrap_or(u32::MAX)).max(1)
}

/// Which way to the kernel every core takes, and its name.
fn driver(config: &Config) -> Result<(Choice, &'static str), ServeError> {
    let wanted = match config.io {
        Io::Auto => Choice::Auto,
        Io::Uring => Choice::Uring,
        Io::Poll => Choice::Poll,
    };
    let tried = Driver::open(wanted);
    let (driver, name, why) =
        tried.map_err(|source| ServeError::System { doing: "reach the kernel", source })?;
    if let Some(why) = why {
        eprintln!("ringmain: {why}; using epoll and threads instead, which is slower");
    }
    match driver {
        Driver::Uring(_) => Ok((Choice::Uring, name)),
        Driver::Poll(_) => Ok((Choice::Poll, name)),
    }
}

fn processors(config: &Config) -> Result<Vec<usize>, ServeError> {
    let allowed: Vec<usize> =
        core_affinity::get_core_ids().unwrap_or_default().iter().map(|core| core.id).collect();
    let allowed = if allowed.is_empty() { vec![0] } else { allowed };
    config.cores_of(&allowed).map_err(configured)
}

fn configured(error: ConfigError) -> ServeError {
    ServeError::Config(error.to_string())
}

/// The first core listens for everybody; Kafka addresses are one, or one for each core.
fn bind(config: &Config, kafka: &[SocketAddr], cores: u16) -> Result<Bound, ServeError> {
    let mut listeners: Vec<Vec<Listener>> = (0..cores).map(|_| Vec::new()).collect();
    let mut listen = |core: usize, address: SocketAddr, protocol, keeps| {
        let bound = TcpListener::bind(address).and_then(|listener| Ok((listener.local_addr()?, listener)));
        if let Ok((_, listener)) = &bound {
            descriptors::widen_backlog(listener);
        }
        let (local, listener) = bound.map_err(|source| ServeError::Listen { address, source })?;
        let socket = Descriptor::new(OwnedFd::from(listener));
        listeners[core].push(Listener { socket, protocol, keeps });
        Ok(local)
    };
    let kafka: Result<_, _> = (0..)
        .zip(kafka)
        .map(|(core, address)| listen(core, *address, Protocol::Kafka, config.core_listeners))
        .collect();
    let kafka = kafka?;
    let amqp = listen(0, config.amqp, Protocol::Amqp, false)?;
    let admin = listen(0, config.admin, Protocol::Admin, false)?;
    Ok(Bound { cores: listeners, kafka, amqp, admin })
}

fn signals() -> Result<Descriptor, ServeError> {
    let system = |source| ServeError::System { doing: "wait for signals", source };
    let (read, write) = UnixStream::pair().map_err(system)?;
    for signal in [SIGTERM, SIGINT] {
        let write = write.try_clone().map_err(system)?;
        signal_hook::low_level::pipe::register(signal, write).map_err(system)?;
    }
    Ok(Descriptor::new(OwnedFd::from(read)))
}

fn brokers(
    mut shards: Vec<Shard>,
    settings: &Settings,
    random: &mut Random,
) -> Result<Vec<Broker>, ServeError> {
    let catalog = match shards.first_mut() {
        Some(first) => replay_catalog(first).map_err(ServeError::State)?,
        None => return Err(ServeError::Config("there is no core to run on".into())),
    };
    let mut brokers = Vec::new();
    for shard in shards {
        let mut broker = Broker::new(shard, catalog.clone(), settings.clone(), random.next_u64());
        broker.restore().map_err(ServeError::State)?;
        brokers.push(broker);
    }
    Ok(brokers)
}

/// A number that differs from start to start, for names and ids.
fn seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// The cluster id as Kafka shows ids: 16 bytes in URL-safe base64, without padding.
fn base64(id: &[u8; 16]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let number = u128::from_be_bytes(*id);
    // 22 letters of 6 bits hold 132 bits: the last letter has 4 bits of nothing at its end.
    let letters = (0..22).map(|place| {
        let shift = 122 - 6 * place;
        let bits = if shift >= 0 { number >> shift } else { number << -shift };
        LETTERS[(bits & 63) as usize] as char
    });
    letters.collect()
}

/// Resident memory of the process, in bytes; 0 if the system does not say.
pub fn resident_bytes() -> u64 {
    const PAGE_BYTES: u64 = 4096;
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * PAGE_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_to_the_logs() {
        assert_eq!(connections_max(10_000, 1 << 20), 10_000);
        assert_eq!(connections_max(10_000, 1024), 512);
        assert_eq!(connections_max(10_000, u64::MAX), 10_000);
    }

    #[test]
    fn ids_are_shown_as_kafka_shows_them() {
        assert_eq!(base64(&[0; 16]), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(base64(&[0xff; 16]), "_____________________w");
        let mut id = [0; 16];
        id[15] = 1;
        assert_eq!(base64(&id), "AAAAAAAAAAAAAAAAAAAAAQ");
    }
}
