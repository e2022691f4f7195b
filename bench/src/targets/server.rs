//! A server that takes turns: ours on one core or on two, the least broker, or one of another make.
//!
//! In: a setting. Out: its addresses, its processor time, its memory. Never: one that runs on other cores than the
//! setting says; one that outlives its target.

use std::cell::RefCell;
use std::time::Duration;

use super::findings::Memory;
use super::setting::Setting;
use crate::broker::Broker;
use crate::compare::peer::Peer;
use crate::failure::Failure;
use crate::floor::disk::Keep;
use crate::floor::running::Running;
use crate::load::work::{Load, Protocol};
use crate::tune::MEMORY_DEFAULT;

enum Kind {
    Own { broker: Broker, cores: u64 },
    Floor(Running),
    Peer(RefCell<Peer>),
}

/// A running server. It ends with this value.
pub struct Server(Kind);

impl Server {
    /// Ours: on the last core, or on both.
    pub fn own(setting: &Setting<'_>, cores: u64) -> Result<Server, Failure> {
        Server::own_with(setting, cores, &[])
    }

    /// Ours on both cores, each of which has a port that clients are told of.
    pub fn core_listeners(setting: &Setting<'_>) -> Result<Server, Failure> {
        Server::own_with(setting, 2, &[("RINGMAIN_CORE_LISTENERS", "true")])
    }

    fn own_with(setting: &Setting<'_>, cores: u64, settings: &[(&str, &str)]) -> Result<Server, Failure> {
        let list = setting.cores.map(|place| match cores {
            1 => place.answering_list(),
            _ => place.both_list(),
        });
        let start = || Broker::start_with(settings, setting.dir, list.as_deref(), setting.interrupt);
        Ok(Server(Kind::Own { broker: setting.on_any(start)?, cores }))
    }

    /// The least broker, in the same places. It keeps nothing.
    pub fn floor(setting: &Setting<'_>, cores: u64) -> Result<Server, Failure> {
        Server::keeping_floor(setting, cores, Keep::Nothing)
    }

    /// The same, and it keeps so much.
    pub fn keeping_floor(setting: &Setting<'_>, cores: u64, keep: Keep) -> Result<Server, Failure> {
        let (listen, disk) = ("127.0.0.1:0", Some((setting.dir, keep)));
        let running = match cores {
            1 => Running::start(listen, disk, setting.cores, setting.interrupt)?,
            _ => Running::start_two(listen, disk, setting.cores, setting.interrupt)?,
        };
        Ok(Server(Kind::Floor(running)))
    }

    /// Another broker, on the last core.
    pub fn peer(setting: &Setting<'_>, name: &str, settings: &str, work: &Load) -> Result<Server, Failure> {
        let start = || Peer::start(name, settings, setting.dir, work, setting.interrupt);
        Ok(Server(Kind::Peer(RefCell::new(setting.on_answering(start)?))))
    }

    /// `HOST:PORT` of the listener that speaks `protocol`.
    pub fn target(&self, protocol: Protocol) -> String {
        match &self.0 {
            Kind::Own { broker, .. } if protocol == Protocol::Amqp => broker.amqp().to_owned(),
            Kind::Own { broker, .. } => broker.target().to_owned(),
            Kind::Floor(running) => running.target().to_owned(),
            Kind::Peer(peer) => peer.borrow().target().to_owned(),
        }
    }

    /// Processor time that it has used.
    pub fn time(&self) -> Duration {
        match &self.0 {
            Kind::Own { broker, .. } => broker.group().precise_time(),
            Kind::Floor(running) => running.time(),
            Kind::Peer(peer) => peer.borrow().group().time(),
        }
    }

    /// How often its threads went to sleep, and its resident memory.
    pub fn rest(&self) -> (u64, u64) {
        match &self.0 {
            Kind::Own { broker, .. } => (broker.group().sleeps(), broker.group().resident_bytes()),
            _ => (0, 0),
        }
    }

    /// The most memory it ever held, if it is ours.
    pub fn memory(&self) -> Option<Memory> {
        let Kind::Own { broker, cores } = &self.0 else { return None };
        let resident_bytes = broker.group().peak_bytes();
        Some(Memory { resident_bytes, limit_bytes: MEMORY_DEFAULT * cores })
    }

    /// One number of ours, as its admin page shows it; 0 of others.
    pub fn metric(&self, name: &str) -> Result<f64, Failure> {
        let Kind::Own { broker, .. } = &self.0 else { return Ok(0.0) };
        broker.metric(name)
    }

    /// The reason for a failure, with a peer's last words.
    pub fn explain(&self, failure: Failure) -> Failure {
        match &self.0 {
            Kind::Peer(peer) => peer.borrow_mut().explain(failure),
            _ => failure,
        }
    }
}
