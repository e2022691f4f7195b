//! One core's broker on real files, with every operation carried out when the test says so.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ringmain_engine::format::record::BatchBuilder;
use ringmain_engine::io::disk::{DirectoryLock, Disk};
use ringmain_engine::io::{Op, Token};
use ringmain_engine::shard::recover::{OpenConfig, Opened, open};
use ringmain_engine::types::{LogId, Now};

use super::catalog::{CATALOG_LOG, CatalogRequest, QueueSettings, settlements_of, shard_of};
use super::command::{self, Command, Consumer, Event, Request, SessionId, Start};
use super::nodes::Nodes;
use super::settings::Settings;
use super::{Broker, Outcome, replay_catalog};

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("ringmain-broker-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Rig {
    broker: Broker,
    outcome: Outcome,
    wanted: Vec<(Token, Op)>,
    now: Now,
    _lock: DirectoryLock,
}

fn settings() -> Settings {
    Settings {
        cluster_id: "cluster".into(),
        nodes: Nodes::new(1, "localhost".to_string(), vec![9092]),
        cores: 1,
        data_dir: "/data".to_string(),
        auto_create_topics: true,
        default_partitions: 1,
        message_bytes_max: 1 << 20,
        request_bytes_max: 1 << 20,
        amqp_message_bytes_max: 1 << 20,
        amqp_frame_bytes_max: 1 << 17,
        amqp_heartbeat_s: 60,
        amqp_channels_max: 100,
        group_initial_rebalance_delay_ms: 0,
        version: "0",
    }
}

impl Rig {
    fn open(directory: &Path) -> Rig {
        let config = OpenConfig {
            disk: Disk::default(),
            sizes: ringmain_engine::limits::Sizes::default(),
            directory: directory.to_path_buf(),
            shards: 1,
            shard_of,
            node_id: 1,
            new_cluster_id: [1; 16],
            journal_file_bytes: 4 << 20,
            memory_bytes: 1 << 20,
        };
        let Opened { mut shards, lock, .. } = open(&config).unwrap();
        let catalog = replay_catalog(&mut shards[0]).unwrap();
        let mut broker = Broker::new(shards.remove(0), catalog, settings(), 1);
        broker.restore().unwrap();
        let mut rig =
            Rig { broker, outcome: Outcome::default(), wanted: Vec::new(), now: Now::default(), _lock: lock };
        rig.finish();
        rig
    }

    fn ask(&mut self, slot: u32, ticket: u64, command: Command) {
        let from = SessionId { core: 0, slot, generation: 1 };
        self.broker.handle(Request { from, ticket, command }, self.now);
    }

    /// The end of a turn: what is wanted of the device is known, and not begun.
    fn commit(&mut self) {
        self.now.monotonic_us += 10_000;
        self.broker.flush(self.now);
        self.broker.commit(self.now);
        self.broker.shard().collect(&mut self.wanted);
        self.broker.collect(&mut self.outcome);
    }

    /// Carries out what was wanted.
    fn complete(&mut self) {
        for (token, op) in std::mem::take(&mut self.wanted) {
            self.broker.shard().complete(Disk::default().execute(token, op));
        }
        self.broker.take_shard_events(self.now);
        self.broker.collect(&mut self.outcome);
    }

    /// Turns until nothing is left to do.
    fn finish(&mut self) {
        loop {
            self.commit();
            if self.wanted.is_empty() && self.broker.shard().is_quiet() {
                return;
            }
            self.complete();
        }
    }

    fn create(&mut self, name: &str) {
        let (name, configs) = (name.to_string(), BTreeMap::new());
        let request = CatalogRequest::CreateTopic { name, partitions: 1, configs, queue: None };
        self.ask(0, 0, Command::Catalog(request));
        self.finish();
    }

    fn log_of(&self, name: &str) -> LogId {
        self.broker.catalog().topic(name).unwrap().partitions[0]
    }

    fn append(&mut self, log: LogId, value: &[u8]) {
        let mut builder = BatchBuilder::new(0);
        builder.push(0, None, Some(value), &[]);
        self.ask(0, 0, Command::Append { log, batch: builder.finish() });
    }
}

fn from_the_first() -> Consumer {
    Consumer { limit: 0, settles: true, exclusive: false, priority: 0, start: Start::First }
}

#[test]
fn a_read_for_readers_who_left_is_not_taken_for_that_of_those_who_came() {
    let scratch = Scratch::new("readers");
    let mut rig = Rig::open(&scratch.0);
    rig.create("topic");
    let log = rig.log_of("topic");
    rig.append(log, b"value");
    rig.finish();
    drop(rig);
    // Nothing is in memory after a start.
    let mut rig = Rig::open(&scratch.0);
    rig.ask(1, 1, Command::Subscribe { log, consumer: from_the_first() });
    rig.commit();
    assert_eq!(rig.wanted.len(), 1, "the record is to be read");
    rig.ask(1, 2, Command::Cancel { log, consumer: 1 });
    rig.commit();
    rig.ask(1, 3, Command::Subscribe { log, consumer: from_the_first() });
    rig.commit();
    rig.outcome.answers.clear();
    rig.finish();
    let delivered = rig.outcome.answers.iter().filter_map(|answer| match &answer.event {
        Event::Deliver(deliveries) => Some((answer.ticket, deliveries.len())),
        _ => None,
    });
    assert_eq!(delivered.collect::<Vec<_>>(), vec![(3, 1)]);
}

#[test]
fn a_snapshot_takes_the_place_of_what_was_before_it_when_it_is_durable() {
    let scratch = Scratch::new("snapshot");
    let mut rig = Rig::open(&scratch.0);
    rig.create("topic");
    let before = rig.broker.shard().marks(CATALOG_LOG).unwrap();
    rig.broker.append_snapshot(CATALOG_LOG, &[b"snapshot".to_vec()]);
    rig.commit();
    assert_eq!(rig.broker.shard().marks(CATALOG_LOG).unwrap().start, before.start);
    rig.finish();
    assert_eq!(rig.broker.shard().marks(CATALOG_LOG).unwrap().start, before.end);
}

#[test]
fn what_a_queue_has_settled_is_told_before_it_is_dropped() {
    let scratch = Scratch::new("told");
    let mut rig = Rig::open(&scratch.0);
    let (configs, queue) = (BTreeMap::new(), Some(QueueSettings::default()));
    let request = CatalogRequest::CreateTopic { name: "queue".to_string(), partitions: 1, configs, queue };
    rig.ask(0, 0, Command::Catalog(request));
    rig.finish();
    let log = rig.log_of("queue");
    (0..4).for_each(|_| rig.append(log, b"value"));
    rig.finish();
    for ticket in 1..5 {
        rig.ask(1, ticket, Command::Get { log, settle: false });
        rig.finish();
    }
    let settle = |offset| Command::Settle {
        log,
        offsets: std::iter::once(offset..offset + 1).collect(),
        outcome: command::Outcome::Accept,
    };
    rig.ask(1, 5, settle(1));
    rig.finish();
    // Another in the turn in which it is looked what may be dropped.
    rig.now.monotonic_us += 60_000_000;
    let settlements = settlements_of(log);
    let before = rig.broker.shard().marks(settlements).unwrap().end;
    rig.ask(1, 6, settle(3));
    rig.broker.expire(rig.now);
    let after = rig.broker.shard().marks(settlements).unwrap().end;
    assert_eq!(after, before + 1, "offset 3 may be dropped, and nothing says that it is settled");
}

#[test]
fn a_log_is_as_large_as_its_segments() {
    let scratch = Scratch::new("sizes");
    let mut rig = Rig::open(&scratch.0);
    rig.create("large");
    rig.create("empty");
    let (large, empty) = (rig.log_of("large"), rig.log_of("empty"));
    rig.append(large, &[7; 5000]);
    rig.finish();
    let expect = |rig: &mut Rig| {
        rig.outcome.answers.clear();
        rig.ask(0, 1, Command::Sizes { core: 0, logs: vec![empty, large, LogId(u64::MAX)] });
        rig.finish();
        let Some(Event::Sizes(sizes)) = rig.outcome.answers.pop().map(|answer| answer.event) else {
            panic!("answered at once")
        };
        assert_eq!((sizes.bytes[0], sizes.bytes[2]), (Some(0), None));
        assert!(sizes.bytes[1].is_some_and(|bytes| (5000..20_000).contains(&bytes)), "{:?}", sizes.bytes);
    };
    expect(&mut rig);
    drop(rig);
    // What the journal held is in segments after a start.
    expect(&mut Rig::open(&scratch.0));
}
