//! Topics, queues, exchanges and bindings: one state machine, replayed on every core.
//!
//! In: changes, each already durable in the catalog's log, in the same order on every core. Out: look-ups.
//! Never: decides whether a change is allowed (that is the authority's part), or forgets one.
//!
//! A queue is a topic with one partition and [`QueueSettings`]; a stream is a topic read by offset.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use ringmain_engine::types::LogId;

use super::command::SessionId;

/// Ids of logs: the catalog gives every partition a number; the two lowest bits say what the log holds.
pub const ROLE_BITS: u32 = 2;
/// Role: records of a partition.
pub const ROLE_RECORDS: u64 = 0;
/// Role: settlements of the partition with the same number.
pub const ROLE_SETTLEMENTS: u64 = 1;
/// Role: the broker's own state.
pub const ROLE_STATE: u64 = 2;

/// The log of the catalog itself.
pub const CATALOG_LOG: LogId = LogId(ROLE_STATE);
/// Logs of group state; a group belongs to one of them for ever, by a hash of its name.
pub const GROUP_LOGS: u64 = 16;

/// The `index`-th log of group state.
pub fn group_log(index: u64) -> LogId {
    LogId((1 + index) << ROLE_BITS | ROLE_STATE)
}

/// Which of `shards` shards a log belongs to. Settlements go with their records, so that both are in one frame.
pub fn shard_of(log: LogId, shards: u16) -> u16 {
    ((log.0 >> ROLE_BITS) % u64::from(shards)) as u16
}

/// The log of the partition with this number.
pub fn records_log(number: u64) -> LogId {
    LogId(number << ROLE_BITS | ROLE_RECORDS)
}
/// Numbers below this are the broker's own.
pub const FIRST_NUMBER: u64 = 64;

/// The log of the settlements of the queue whose records are in `log`.
pub fn settlements_of(log: LogId) -> LogId {
    LogId(log.0 | ROLE_SETTLEMENTS)
}

/// One named sequence of partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub name: String,
    /// Never used again, not even by a later topic of the same name.
    pub id: [u8; 16],
    /// The log of each partition.
    pub partitions: Vec<LogId>,
    /// Settings by Kafka's names, only those that were given.
    pub configs: BTreeMap<String, String>,
    /// Present if it was declared as a queue.
    pub queue: Option<QueueSettings>,
}

impl Topic {
    /// Whether its records go one by one, as they are settled: a queue that is not a stream.
    pub fn is_settled(&self) -> bool {
        self.queue.as_ref().is_some_and(|queue| !queue.stream)
    }
}

/// What makes a topic a queue.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct QueueSettings {
    /// Survives a restart. (Its records are durable either way.)
    pub durable: bool,
    /// Deleted when its last consumer goes.
    pub auto_delete: bool,
    /// Belongs to this session, and goes with it.
    pub owner: Option<SessionId>,
    /// Read by offset, never settled.
    pub stream: bool,
    pub message_ttl_ms: Option<u64>,
    /// Deleted when unused for so long.
    pub expires_ms: Option<u64>,
    pub length_max: Option<u64>,
    pub length_bytes_max: Option<u64>,
    /// When full: refuse new records instead of dropping the oldest.
    pub reject_when_full: bool,
    /// Whether discarded records go to the dead-letter agent rather than nowhere.
    pub dead_letters: bool,
    pub single_active_consumer: bool,
    /// Deliveries before a record is discarded; `None`: no limit.
    pub delivery_limit: Option<u32>,
    /// The front end's own words about it, kept as they came.
    pub arguments: Bytes,
}

/// Where messages are published to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    pub name: String,
    /// "direct", "fanout", "topic", "headers".
    pub kind: String,
    pub durable: bool,
    pub auto_delete: bool,
    pub internal: bool,
    pub arguments: Bytes,
}

/// The two things a binding may lead to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Destination {
    Queue(String),
    Exchange(String),
}

/// A way from an exchange to a queue or to another exchange.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Binding {
    pub source: String,
    pub destination: Destination,
    pub routing_key: Vec<u8>,
    pub arguments: Bytes,
}

/// What a front end may ask of the catalog.
#[derive(Clone, Debug)]
pub enum CatalogRequest {
    CreateTopic {
        name: String,
        partitions: u32,
        configs: BTreeMap<String, String>,
        queue: Option<QueueSettings>,
    },
    DeleteTopic {
        name: String,
    },
    /// Gives a topic so many partitions in total, more than it has; queues and streams keep their one.
    AddPartitions {
        name: String,
        total: u32,
    },
    /// Replaces all settings of a topic or stream; a queue's are those of its declaration.
    SetConfigs {
        name: String,
        configs: BTreeMap<String, String>,
    },
    /// Changes single settings of a topic or stream; `None`: no longer given.
    ChangeConfigs {
        name: String,
        changes: BTreeMap<String, Option<String>>,
    },
    DeclareExchange(Exchange),
    DeleteExchange {
        name: String,
        if_unused: bool,
    },
    Bind(Binding),
    Unbind(Binding),
    AllocateProducerId,
}

/// Why the catalog was not changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CatalogError {
    /// It is there already.
    Exists,
    NotFound,
    /// The exchange has bindings.
    InUse,
    /// The name is empty, too long, or has characters that are not allowed.
    InvalidName,
    InvalidPartitions,
    /// The setting is not known, or its value makes no sense; the text says which.
    InvalidConfig(String),
    /// There are as many as there may be.
    TooMany,
    /// The journal could not be written.
    Storage,
}

/// A fact, as it lies in the catalog's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    TopicCreated(Topic),
    TopicDeleted {
        name: String,
    },
    ExchangeDeclared(Exchange),
    /// Takes its bindings with it.
    ExchangeDeleted {
        name: String,
    },
    Bound(Binding),
    Unbound(Binding),
    /// Producer ids below this one may have been given out.
    ProducerIds {
        below: i64,
    },
    /// Partitions have had numbers below this one. Needed in snapshots, when the last of them are deleted.
    Numbers {
        below: u64,
    },
    /// The topic has these partitions behind those it had.
    PartitionsAdded {
        name: String,
        partitions: Vec<LogId>,
    },
    /// The topic has these settings and no others.
    ConfigsSet {
        name: String,
        configs: BTreeMap<String, String>,
    },
}

/// The state.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    topics: BTreeMap<String, Topic>,
    by_id: HashMap<[u8; 16], String>,
    by_log: HashMap<LogId, String>,
    exchanges: BTreeMap<String, Exchange>,
    /// By source, in the order they were made.
    bindings: HashMap<String, Vec<Binding>>,
    /// The next partition's number.
    next_number: u64,
    producer_ids_below: i64,
    /// Changes applied so far.
    version: u64,
}

impl Catalog {
    /// Nothing but the predeclared exchanges of AMQP, which are not in the log.
    pub fn new() -> Catalog {
        let mut catalog = Catalog { next_number: FIRST_NUMBER, ..Catalog::default() };
        for (name, kind) in [
            ("", "direct"),
            ("amq.direct", "direct"),
            ("amq.fanout", "fanout"),
            ("amq.topic", "topic"),
            ("amq.headers", "headers"),
            ("amq.match", "headers"),
        ] {
            let (name, kind) = (name.to_string(), kind.to_string());
            let exchange = Exchange {
                name: name.clone(),
                kind,
                durable: true,
                auto_delete: false,
                internal: false,
                arguments: Bytes::new(),
            };
            catalog.exchanges.insert(name, exchange);
        }
        catalog
    }

    /// The topic or queue of this name.
    pub fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.get(name)
    }

    /// The topic with this id.
    pub fn topic_by_id(&self, id: &[u8; 16]) -> Option<&Topic> {
        self.by_id.get(id).and_then(|name| self.topics.get(name))
    }

    /// The topic one of whose partitions has its records in `log`.
    pub fn topic_of(&self, log: LogId) -> Option<&Topic> {
        self.by_log.get(&log).and_then(|name| self.topics.get(name))
    }

    /// All topics and queues, by name.
    pub fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.topics.values()
    }

    /// Partitions of all topics.
    pub fn partitions_count(&self) -> u64 {
        self.by_log.len() as u64
    }

    /// The exchange of this name; the default exchange is "".
    pub fn exchange(&self, name: &str) -> Option<&Exchange> {
        self.exchanges.get(name)
    }

    /// All exchanges, by name.
    pub fn exchanges(&self) -> impl Iterator<Item = &Exchange> {
        self.exchanges.values()
    }

    /// What is bound to the exchange `source`, oldest first.
    pub fn bindings(&self, source: &str) -> &[Binding] {
        self.bindings.get(source).map_or(&[], Vec::as_slice)
    }

    /// All bindings.
    pub fn all_bindings(&self) -> impl Iterator<Item = &Binding> {
        self.bindings.values().flatten()
    }

    /// Changes applied so far; two cores with the same version hold the same catalog.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The number the next partition gets.
    pub fn next_number(&self) -> u64 {
        self.next_number
    }

    /// Producer ids from here on were never given out.
    pub fn producer_ids_below(&self) -> i64 {
        self.producer_ids_below
    }

    /// Applies a change. A change to something that is not there does nothing: replay meets such when a
    /// deletion and what depended on it were written in one order and asked for in another.
    pub fn apply(&mut self, change: &Change) {
        self.version += 1;
        match change {
            Change::TopicCreated(topic) => {
                self.note_partitions(&topic.name, &topic.partitions);
                self.by_id.insert(topic.id, topic.name.clone());
                self.topics.insert(topic.name.clone(), topic.clone());
            }
            Change::TopicDeleted { name } => {
                if let Some(topic) = self.topics.remove(name) {
                    self.by_id.remove(&topic.id);
                    for log in &topic.partitions {
                        self.by_log.remove(log);
                    }
                    self.forget_destination(&Destination::Queue(name.clone()));
                }
            }
            Change::ExchangeDeclared(exchange) => {
                self.exchanges.insert(exchange.name.clone(), exchange.clone());
            }
            Change::ExchangeDeleted { name } => {
                self.exchanges.remove(name);
                self.bindings.remove(name);
                self.forget_destination(&Destination::Exchange(name.clone()));
            }
            Change::Bound(binding) => {
                let bindings = self.bindings.entry(binding.source.clone()).or_default();
                if !bindings.contains(binding) {
                    bindings.push(binding.clone());
                }
            }
            Change::Unbound(binding) => {
                if let Some(bindings) = self.bindings.get_mut(&binding.source) {
                    bindings.retain(|found| found != binding);
                }
            }
            Change::ProducerIds { below } => {
                self.producer_ids_below = self.producer_ids_below.max(*below);
            }
            Change::Numbers { below } => self.next_number = self.next_number.max(*below),
            Change::PartitionsAdded { name, partitions } => {
                if let Some(topic) = self.topics.get_mut(name) {
                    topic.partitions.extend(partitions);
                    self.note_partitions(name, partitions);
                }
            }
            Change::ConfigsSet { name, configs } => {
                if let Some(topic) = self.topics.get_mut(name) {
                    topic.configs.clone_from(configs);
                }
            }
        }
    }

    /// Changes that make a new catalog equal to this one.
    pub fn snapshot(&self) -> Vec<Change> {
        let predeclared = Catalog::new();
        let mut changes = vec![
            Change::Numbers { below: self.next_number },
            Change::ProducerIds { below: self.producer_ids_below },
        ];
        changes.extend(self.topics.values().cloned().map(Change::TopicCreated));
        let declared =
            self.exchanges.values().filter(|exchange| predeclared.exchange(&exchange.name).is_none());
        changes.extend(declared.cloned().map(Change::ExchangeDeclared));
        changes.extend(self.all_bindings().cloned().map(Change::Bound));
        changes
    }

    fn note_partitions(&mut self, name: &str, partitions: &[LogId]) {
        for log in partitions {
            self.next_number = self.next_number.max((log.0 >> ROLE_BITS) + 1);
            self.by_log.insert(*log, name.to_string());
        }
    }

    fn forget_destination(&mut self, gone: &Destination) {
        for bindings in self.bindings.values_mut() {
            bindings.retain(|binding| binding.destination != *gone);
        }
    }
}
