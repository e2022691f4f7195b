//! The neutral nouns both protocols are made of: topics, queues, exchanges, groups, settlement.
//!
//! No protocol is named below this folder, and no socket. One [`Broker`] per core: it carries out the commands
//! for what this core owns, on this core's shard of the engine.
//!
//! ```text
//!   Request ──> handle ──> shard, groups, queues ──(durable, read, woken)──> Answer
//!                  └── catalog: decided by the first core, durable, applied by every core, then answered
//! ```

pub mod authority;
pub mod catalog;
pub mod change;
pub mod cleaning;
pub mod command;
pub mod compression;
pub mod context;
mod coordination;
pub mod groups;
mod logs;
pub mod metrics;
pub mod nodes;
pub mod queue;
mod queues;
mod retention;
mod room;
pub mod settings;
mod start;
mod state_log;
#[cfg(test)]
mod tests;
pub mod topic_config;
mod topology;

use std::collections::HashMap;

use ringmain_engine::shard::{Shard, ShardEvent};
use ringmain_engine::types::{LogId, Now, Offset, Ticket};

use catalog::{CATALOG_LOG, Catalog, group_log, shard_of};
use command::{Answer, Command, Event, Request, SessionId};
use context::Random;
use metrics::{CoreStatus, Metrics};
use settings::Settings;

pub use start::{StartError, replay_catalog};
pub use topology::Notice;

/// Slot of the dead-letter agent of each core: a session without a socket.
pub const AGENT_SLOT: u32 = SessionId::SLOTS_MAX - 1;
/// Slot in whose name the broker itself asks; nobody hears the answers.
const SELF_SLOT: u32 = SessionId::SLOTS_MAX - 2;
/// Slots that sessions with a socket may use.
pub const SOCKET_SLOTS_MAX: u32 = SELF_SLOT;

/// Owner of the engine's tickets for what the broker itself waits for. No session packs to this number.
const INTERNAL: u64 = u64::MAX;

/// What the broker itself waits for.
#[derive(Debug)]
enum Pending {
    Seek(logs::Seek),
    QueueRead(LogId, queues::Life),
    GroupWrite(groups::StateWrite),
    CatalogWrite(topology::Decided),
    /// A snapshot in this log; what is before this offset goes when it is durable.
    Snapshot(LogId, Offset),
    Trim(logs::Trim),
    /// A state record nobody waits for.
    Nobody,
}

/// One core's part of the broker.
pub struct Broker {
    core: u16,
    shard: Shard,
    catalog: Catalog,
    settings: Settings,
    groups: groups::Groups,
    queues: queues::Queues,
    watches: logs::Watches,
    retention: retention::Retention,
    /// The log that was compacted last; the others come first.
    compacted_last: LogId,
    rooms: room::Rooms,
    topology: topology::Topology,
    state_logs: state_log::StateLogs,
    pending: HashMap<u64, Pending>,
    next_pending: u64,
    random: Random,
    answers: Vec<Answer>,
    requests: Vec<Request>,
    notices: Vec<(u16, Notice)>,
    log_lines: Vec<String>,
    metrics: Metrics,
    writing_since_us: Option<u64>,
    /// The turn's time.
    now: Now,
}

/// What a turn of the broker wants from the core around it.
#[derive(Default)]
pub struct Outcome {
    pub answers: Vec<Answer>,
    /// Asked by the broker itself.
    pub requests: Vec<Request>,
    /// For the brokers of other cores.
    pub notices: Vec<(u16, Notice)>,
    /// For the operator.
    pub log_lines: Vec<String>,
}

/// The core a command is carried out on.
pub fn core_of(command: &Command, cores: u16) -> u16 {
    match command {
        Command::Append { log, .. }
        | Command::Read { log, .. }
        | Command::Unwatch { log }
        | Command::Seek { log, .. }
        | Command::Trim { log, .. }
        | Command::Subscribe { log, .. }
        | Command::SetLimit { log, .. }
        | Command::Sent { log, .. }
        | Command::Cancel { log, .. }
        | Command::Get { log, .. }
        | Command::Settle { log, .. }
        | Command::Purge { log }
        | Command::QueueStatus { log } => shard_of(*log, cores),
        Command::Catalog(_) => shard_of(CATALOG_LOG, cores),
        Command::Group { group, .. } => shard_of(group_log(groups::log_index_of(group)), cores),
        Command::ListGroups { core } | Command::Status { core } | Command::Sizes { core, .. } => *core,
    }
}

impl Broker {
    /// A broker on `shard`, whose catalog was replayed; see [`start`] for the rest of its state.
    pub fn new(shard: Shard, catalog: Catalog, settings: Settings, seed: u64) -> Broker {
        let core = shard.index();
        Broker {
            core,
            groups: groups::Groups::new(settings.group_initial_rebalance_delay_ms),
            queues: queues::Queues::default(),
            watches: logs::Watches::default(),
            retention: retention::Retention::default(),
            compacted_last: LogId(0),
            rooms: room::Rooms::new(settings.cores),
            topology: topology::Topology::new(core, settings.cores, &catalog),
            state_logs: state_log::StateLogs::default(),
            shard,
            catalog,
            settings,
            pending: HashMap::new(),
            next_pending: 0,
            random: Random(seed),
            answers: Vec::new(),
            requests: Vec::new(),
            notices: Vec::new(),
            log_lines: Vec::new(),
            metrics: Metrics::default(),
            writing_since_us: None,
            now: Now::default(),
        }
    }

    /// This core's copy of the catalog.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// What the sessions are told of the world.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The engine below.
    pub fn shard(&mut self) -> &mut Shard {
        &mut self.shard
    }

    /// The numbers this core counts.
    pub fn metrics(&mut self) -> &mut Metrics {
        &mut self.metrics
    }

    /// Carries out a command for something this core owns.
    pub fn handle(&mut self, request: Request, now: Now) {
        self.metrics.command(&request.command);
        let Request { from, ticket, command } = request;
        match command {
            Command::Append { log, batch } => self.append(from, ticket, log, &batch),
            Command::Read { log, from: offset, bytes_max, watch } => {
                self.read(from, ticket, log, offset, bytes_max, watch);
            }
            Command::Unwatch { log } => self.watches.remove(log, from, ticket),
            Command::Seek { log, to } => self.seek(from, ticket, log, to),
            Command::Trim { log, before } => self.trim(from, ticket, log, before),
            Command::Catalog(asked) => self.change_catalog(from, ticket, asked),
            Command::Group { group, request } => self.group(from, ticket, &group, request, now),
            Command::ListGroups { .. } => self.answer(from, ticket, Event::Groups(self.groups.list())),
            Command::Sizes { logs, .. } => {
                let sizes = self.sizes(&logs);
                self.answer(from, ticket, Event::Sizes(sizes));
            }
            Command::Status { .. } => {
                let status = self.status();
                self.answer(from, ticket, Event::Status(Box::new(status)));
            }
            command => self.queue_command(from, ticket, command, now),
        }
    }

    /// Takes everything the engine has to say. The first call of a turn.
    pub fn take_shard_events(&mut self, now: Now) {
        self.now = now;
        self.note_room();
        while let Some(event) = self.shard.next_event() {
            match event {
                ShardEvent::Appended { ticket, base_offset, log_start, duplicate } => {
                    let appended = command::Appended { base_offset, log_start, duplicate };
                    if ticket.owner == INTERNAL {
                        self.state_durable(ticket.request);
                    } else {
                        let to = SessionId::unpack(ticket.owner);
                        self.answer(to, ticket.request, Event::Appended(Ok(appended)));
                    }
                }
                ShardEvent::Read { ticket, outcome } if ticket.owner == INTERNAL => {
                    self.internal_read(ticket.request, logs::outcome_of(outcome), now);
                }
                ShardEvent::Read { ticket, outcome } => {
                    let result = self.noted(logs::outcome_of(outcome));
                    self.answer(SessionId::unpack(ticket.owner), ticket.request, Event::Read(result));
                }
                ShardEvent::Advanced { log } => self.advanced(log),
                ShardEvent::Truncated { .. } => unreachable!("a broker truncates nothing"),
                ShardEvent::Failed { what } => self.log_lines.push(format!("this core has failed: {what}")),
            }
        }
    }

    /// Does everything that became possible since the last time; to be called when no request is left.
    pub fn flush(&mut self, now: Now) {
        self.flush_queues(now);
    }

    /// Does what is due.
    pub fn expire(&mut self, now: Now) {
        self.expire_groups(now);
        self.expire_queues(now);
        self.expire_retention(now);
    }

    /// When [`Broker::expire`] has something to do.
    pub fn next_deadline_us(&self) -> Option<u64> {
        let retention = self.retention.next_deadline_us();
        self.groups
            .next_deadline_us()
            .into_iter()
            .chain(self.queues.next_deadline_us())
            .chain(retention)
            .min()
    }

    /// When [`Broker::commit`] has something to do though nothing was gathered.
    pub fn next_seal_us(&self) -> Option<u64> {
        let at_once = self.room_has_changed().then_some(0);
        at_once.or(self.shard.next_deadline_us())
    }

    /// Sends what was gathered to the device, noting how long that takes.
    pub fn commit(&mut self, now: Now) {
        let before = self.shard.is_writing();
        self.shard.commit(now);
        if !before && self.shard.is_writing() {
            self.writing_since_us = Some(now.monotonic_us);
        }
    }

    /// Notes that a frame became durable, if one did.
    pub fn note_write(&mut self, now: Now) {
        if !self.shard.is_writing()
            && let Some(since) = self.writing_since_us.take()
        {
            self.metrics.journal.write.observe(now.monotonic_us - since);
        }
    }

    /// Moves what this broker wants done into `outcome`.
    pub fn collect(&mut self, outcome: &mut Outcome) {
        outcome.answers.append(&mut self.answers);
        outcome.requests.append(&mut self.requests);
        outcome.notices.append(&mut self.notices);
        outcome.log_lines.append(&mut self.log_lines);
    }

    /// The session in whose name the dead-letter agent of this core acts.
    pub fn agent(&self) -> SessionId {
        SessionId { core: self.core, slot: AGENT_SLOT, generation: 0 }
    }

    fn status(&mut self) -> CoreStatus {
        let counts = self.shard.counts();
        let retained = self.retained_bytes();
        let queues = self.queues.counts(self.metrics.queues.deliveries);
        let metrics = &mut self.metrics;
        metrics.appended.batches = counts.appended_batches;
        metrics.appended.records = counts.appended_records;
        metrics.appended.bytes = counts.appended_bytes;
        metrics.journal.frames = counts.journal.frames;
        metrics.journal.bytes = counts.journal.bytes;
        metrics.settled_bytes = counts.settled_bytes;
        metrics.placed_bytes = counts.placed_bytes;
        metrics.compactions = counts.compactions;
        metrics.compacted_bytes = counts.compacted_bytes;
        metrics.read_bytes_memory = counts.read_from_memory_bytes;
        metrics.read_bytes_device = counts.read_from_device_bytes;
        metrics.logs = counts.logs;
        metrics.memory_bytes = counts.memory_bytes;
        metrics.queues = queues;
        metrics.queues_count = self.catalog.topics().filter(|topic| topic.queue.is_some()).count() as u64;
        metrics.topics_count = self.catalog.topics().count() as u64 - metrics.queues_count;
        metrics.retained = retained;
        metrics.short_of_room = u64::from(self.shard.shortage().is_some());
        metrics.free_bytes = self.shard.free_bytes().unwrap_or_default();
        CoreStatus {
            failure: self.shard.failure().map(str::to_string),
            shortage: self.shard.shortage().map(room::explained),
            metrics: metrics.clone(),
        }
    }

    fn answer(&mut self, to: SessionId, ticket: u64, event: Event) {
        self.answers.push(Answer { to, ticket, event });
    }

    fn wait_for(&mut self, pending: Pending) -> Ticket {
        let request = self.next_pending;
        self.next_pending += 1;
        self.pending.insert(request, pending);
        Ticket { owner: INTERNAL, request }
    }
}
