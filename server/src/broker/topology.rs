//! How a change of the catalog becomes true: decided and made durable by the first core, applied by every core,
//! and only then answered.
//!
//! In: requests, durable decisions, the other cores' word that they have applied them. Out: notices to the other
//! cores, logs made and deleted here, answers. Never: answers while a core's catalog does not show the change.

use std::collections::VecDeque;
use std::sync::Arc;

use ringmain_engine::types::{LogId, Now};

use super::authority::Authority;
use super::catalog::{
    CATALOG_LOG, Catalog, CatalogRequest, Change, QueueSettings, Topic, settlements_of, shard_of,
};
use super::command::{CatalogReply, Event, SessionId};
use super::queue::Queue;
use super::{Broker, Pending, change, groups};

/// What brokers of different cores tell each other.
#[derive(Clone, Debug)]
pub enum Notice {
    /// The next change, durable.
    Change(Arc<Change>),
    /// The sender's catalog shows so many changes.
    Applied { core: u16, version: u64 },
    /// The sender refuses new records for want of room, or takes them again.
    Room { core: u16, short: bool },
    /// A session has ended; whatever it still holds goes back.
    SessionGone(SessionId),
}

/// Changes that are being made durable, and who asked.
#[derive(Debug)]
pub struct Decided {
    pub changes: Vec<Change>,
    pub to: SessionId,
    pub ticket: u64,
}

/// The way of changes, as this core sees it.
#[derive(Debug)]
pub struct Topology {
    /// On the first core only.
    authority: Option<Authority>,
    /// Changes each core has applied.
    applied: Vec<u64>,
    /// Answers, each with the version that every core must show first; in order.
    waiting: VecDeque<(u64, SessionId, u64, CatalogReply)>,
    /// Changes decided so far.
    decided_version: u64,
}

impl Topology {
    /// The beginning: every core has replayed the same catalog.
    pub fn new(core: u16, cores: u16, catalog: &Catalog) -> Topology {
        let is_first = core == shard_of(CATALOG_LOG, cores);
        Topology {
            authority: is_first.then(|| Authority::new(catalog.clone())),
            applied: vec![catalog.version(); usize::from(cores)],
            waiting: VecDeque::new(),
            decided_version: catalog.version(),
        }
    }
}

impl Broker {
    pub(super) fn change_catalog(&mut self, from: SessionId, ticket: u64, request: CatalogRequest) {
        let Some(authority) = &mut self.topology.authority else {
            unreachable!("catalog requests are routed to the first core")
        };
        match authority.decide(request, &mut self.random) {
            Ok((changes, reply)) => self.make_durable(changes, from, ticket, reply),
            Err(error) => self.answer(from, ticket, Event::Catalog(Err(error))),
        }
    }

    /// Has changes that are decided written; the answer waits for every core to show them.
    pub(super) fn make_durable(
        &mut self,
        changes: Vec<Change>,
        to: SessionId,
        ticket: u64,
        reply: CatalogReply,
    ) {
        self.topology.decided_version += changes.len() as u64;
        self.topology.waiting.push_back((self.topology.decided_version, to, ticket, reply));
        if changes.is_empty() {
            return self.answer_applied();
        }
        let records: Vec<Vec<u8>> = changes.iter().map(change::encode).collect();
        self.append_state(CATALOG_LOG, &records, Pending::CatalogWrite(Decided { changes, to, ticket }));
        self.snapshot_catalog();
    }

    fn snapshot_catalog(&mut self) {
        if !self.state_logs.wants_snapshot(CATALOG_LOG) {
            return;
        }
        let Some(authority) = &self.topology.authority else { return };
        let records: Vec<Vec<u8>> = authority.decided().snapshot().iter().map(change::encode).collect();
        self.append_snapshot(CATALOG_LOG, &records);
    }

    /// Changes decided here are durable: from now on they hold.
    pub(super) fn catalog_durable(&mut self, decided: Decided) {
        for change in decided.changes {
            let change = Arc::new(change);
            for core in (0..self.settings.cores).filter(|core| *core != self.core) {
                self.notices.push((core, Notice::Change(change.clone())));
            }
            self.apply(&change);
        }
        self.topology.applied[usize::from(self.core)] = self.catalog.version();
        self.answer_applied();
    }

    /// Another core's broker says something.
    pub fn notice(&mut self, notice: Notice, now: Now) {
        match notice {
            Notice::Change(change) => {
                self.apply(&change);
                let applied = Notice::Applied { core: self.core, version: self.catalog.version() };
                self.notices.push((shard_of(CATALOG_LOG, self.settings.cores), applied));
            }
            Notice::Applied { core, version } => {
                if let Some(applied) = self.topology.applied.get_mut(usize::from(core)) {
                    *applied = version;
                }
                self.answer_applied();
            }
            Notice::Room { core, short } => self.room_noticed(core, short),
            Notice::SessionGone(session) => self.session_gone(session, now),
        }
    }

    fn answer_applied(&mut self) {
        let shown = self.topology.applied.iter().copied().min().unwrap_or(0);
        while let Some((version, to, ticket, reply)) = self.topology.waiting.front().copied() {
            if version > shown {
                return;
            }
            self.topology.waiting.pop_front();
            self.answer(to, ticket, Event::Catalog(Ok(reply)));
        }
    }

    /// Shows a change in this core's catalog and carries out what it means for the logs here.
    fn apply(&mut self, change: &Change) {
        let deleted = match change {
            Change::TopicDeleted { name } => self.catalog.topic(name).cloned(),
            _ => None,
        };
        self.catalog.apply(change);
        match change {
            Change::TopicCreated(topic) => {
                self.create_logs(&topic.partitions, topic.queue.as_ref());
                self.note_retention(topic);
            }
            // Queues and streams never get any.
            Change::PartitionsAdded { name, partitions } => {
                self.create_logs(partitions, None);
                if let Some(topic) = self.catalog.topic(name).cloned() {
                    self.note_retention(&topic);
                }
            }
            Change::ConfigsSet { name, .. } => {
                if let Some(topic) = self.catalog.topic(name).cloned() {
                    self.note_retention(&topic);
                }
            }
            _ => {}
        }
        if let Some(topic) = deleted {
            self.delete_logs(&topic);
        }
    }

    fn create_logs(&mut self, partitions: &[LogId], queue: Option<&QueueSettings>) {
        for log in partitions {
            if shard_of(*log, self.settings.cores) != self.core {
                continue;
            }
            self.shard.create(*log);
            if let Some(queue) = queue {
                if !queue.stream {
                    self.shard.create(settlements_of(*log));
                }
                self.add_queue(*log, Queue::new(*log, queue.clone(), 0, 0));
            }
        }
    }

    fn delete_logs(&mut self, topic: &Topic) {
        for log in &topic.partitions {
            if shard_of(*log, self.settings.cores) == self.core {
                self.remove_queue(*log);
                self.shard.delete(*log);
                self.shard.delete(settlements_of(*log));
                self.state_logs.forget(settlements_of(*log));
                self.wake_watchers(*log);
            }
        }
        let mut out = groups::GroupOutput::default();
        self.groups.topic_deleted(&topic.name, self.now, &mut out);
        self.take_group_output(out);
    }

    /// On the first core: has what does not survive a restart deleted.
    pub(super) fn sweep(&mut self) {
        let Some(authority) = &mut self.topology.authority else { return };
        let changes = authority.sweep();
        if !changes.is_empty() {
            let nobody = self.myself();
            self.make_durable(changes, nobody, 0, CatalogReply::Done);
        }
    }

    /// The session in whose name the broker itself asks.
    pub(super) fn myself(&self) -> SessionId {
        SessionId { core: self.core, slot: super::SELF_SLOT, generation: 0 }
    }
}
