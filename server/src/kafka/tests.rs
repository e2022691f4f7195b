//! A connection as its peer and the broker see it: bytes in, commands answered by hand, bytes out.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use ringmain_engine::format::batch;
use ringmain_engine::format::record::BatchBuilder;
use ringmain_engine::types::{LogId, Now};

use super::inflight::REQUESTS_MAX;
use super::session::{Session, UNSENT_BYTES_MAX};
use super::wire::api_versions::*;
use super::wire::fetch::*;
use super::wire::init_producer_id::*;
use super::wire::list_offsets::*;
use super::wire::metadata::*;
use super::wire::offset_for_leader_epoch::*;
use super::wire::produce::*;
use super::wire::{Reader, RequestHeader, Writer, frame};
use super::{APIS, is_flexible};
use crate::broker::catalog::{Catalog, CatalogError, CatalogRequest, Change, Topic};
use crate::broker::command::{
    AppendError, Appended, CatalogReply, Command, Event, ReadData, ReadError, Request, SeekTo, SessionId,
    Sought,
};
use crate::broker::context::{Context, Output, Random};
use crate::broker::settings::Settings;

const ORDERS: [u8; 16] = [7; 16];

/// A session and the world it lives in.
struct World {
    session: Session,
    catalog: Catalog,
    settings: Settings,
    requests: Vec<Request>,
    output: Output,
    random: Random,
    now: Now,
    /// The next correlation id.
    correlation: i32,
    received: BytesMut,
}

impl World {
    fn new() -> World {
        let mut world = World {
            session: Session::new("127.0.0.1:5000".parse().unwrap()),
            catalog: Catalog::new(),
            settings: Settings {
                cluster_id: "cluster".to_string(),
                node_id: 1,
                cores: 1,
                advertised_host: "broker".to_string(),
                advertised_port: 9092,
                auto_create_topics: true,
                default_partitions: 4,
                message_bytes_max: 1 << 20,
                request_bytes_max: 1 << 22,
                amqp_message_bytes_max: 0,
                amqp_frame_bytes_max: 0,
                amqp_heartbeat_s: 0,
                amqp_channels_max: 0,
                group_initial_rebalance_delay_ms: 0,
                version: "0",
            },
            requests: Vec::new(),
            output: Output::default(),
            random: Random(1),
            now: Now { monotonic_us: 1_000_000, wall_ms: 1 },
            correlation: 0,
            received: BytesMut::new(),
        };
        world.create("orders", ORDERS, 2);
        world
    }

    fn create(&mut self, name: &str, id: [u8; 16], partitions: u64) {
        let first = self.catalog.next_number();
        self.catalog.apply(&Change::TopicCreated(Topic {
            name: name.to_string(),
            id,
            partitions: (0..partitions).map(|index| LogId((first + index) << 2)).collect(),
            configs: BTreeMap::new(),
            queue: None,
        }));
    }

    fn log(&self, index: usize) -> LogId {
        self.catalog.topic("orders").unwrap().partitions[index]
    }

    fn call(&mut self, work: impl FnOnce(&mut Session, &mut Context<'_>)) {
        let mut cx = Context {
            now: self.now,
            session: SessionId { core: 0, slot: 0, generation: 0 },
            catalog: &self.catalog,
            settings: &self.settings,
            requests: &mut self.requests,
            output: &mut self.output,
            random: &mut self.random,
        };
        work(&mut self.session, &mut cx);
    }

    fn feed(&mut self, bytes: &[u8]) -> BytesMut {
        let mut input = BytesMut::from(bytes);
        self.call(|session, cx| session.on_bytes(&mut input, cx));
        input
    }

    fn frame(&mut self, key: i16, version: i16, body: impl FnOnce(&mut Writer, i16)) -> Vec<u8> {
        self.correlation += 1;
        let header = RequestHeader {
            key,
            version,
            correlation_id: self.correlation,
            client_id: Some("test".to_string()),
            flexible: is_flexible(key, version),
        };
        let mut writer = frame::begin_request(&header);
        body(&mut writer, version);
        frame::finish(writer).concat()
    }

    fn ask(&mut self, key: i16, version: i16, body: impl FnOnce(&mut Writer, i16)) {
        let bytes = self.frame(key, version, body);
        let left = self.feed(&bytes);
        assert!(left.is_empty());
    }

    fn event(&mut self, ticket: u64, event: Event) {
        self.call(|session, cx| session.on_event(ticket, event, cx));
    }

    fn commands(&mut self) -> Vec<(u64, Command)> {
        self.requests.drain(..).map(|request| (request.ticket, request.command)).collect()
    }

    /// The next response, if one was sent: its correlation id and its body.
    fn response(&mut self, key: i16, version: i16) -> Option<(i32, Reader)> {
        for chunk in self.output.chunks.drain(..) {
            self.received.extend_from_slice(&chunk);
        }
        self.output.bytes_count = 0;
        let Ok(frame::Front::Frame(bytes)) = frame::take(&mut self.received, u32::MAX >> 1) else {
            assert!(self.received.is_empty(), "half a response");
            return None;
        };
        let flexible = is_flexible(key, version);
        let header = RequestHeader { key, version, correlation_id: 0, client_id: None, flexible };
        let mut reader = Reader::new(bytes, false);
        Some((header.decode_response(&mut reader).unwrap(), reader))
    }

    fn produced(&mut self, version: i16) -> Option<ProduceResponse> {
        let (_, mut reader) = self.response(0, version)?;
        Some(ProduceResponse::decode(&mut reader, version).unwrap())
    }

    fn fetched(&mut self, version: i16) -> Option<FetchResponse> {
        let (_, mut reader) = self.response(1, version)?;
        Some(FetchResponse::decode(&mut reader, version).unwrap())
    }

    fn produce(&mut self, version: i16, acks: i16, name: &str, records: Bytes) {
        let partitions = vec![ProducePartition { index: 1, records: Some(records) }];
        let topic = ProduceTopic { name: name.to_string(), id: ORDERS, partitions };
        let request = ProduceRequest { acks, timeout_ms: 1000, topics: vec![topic], transactional_id: None };
        self.ask(0, version, |writer, version| request.encode(writer, version));
    }

    fn fetch(&mut self, version: i16, request: &FetchRequest) {
        self.ask(1, version, |writer, version| request.encode(writer, version));
    }
}

fn batch_of(records: u64, base_offset: u64) -> Bytes {
    let mut builder = BatchBuilder::new(1000);
    for _ in 0..records {
        builder.push(1000, None, Some(b"value"), &[]);
    }
    let mut bytes = builder.finish().bytes().to_vec();
    batch::stamp(&mut bytes, base_offset, 0);
    Bytes::from(bytes)
}

/// The batch with these attributes and a checksum that fits.
fn with_attributes(records: &Bytes, attributes: i16) -> Bytes {
    let mut bytes = records.to_vec();
    bytes[21..23].copy_from_slice(&attributes.to_be_bytes());
    let crc = ringmain_engine::format::crc::crc32c(&bytes[batch::CRC_START..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    Bytes::from(bytes)
}

fn appended(base_offset: u64) -> Event {
    Event::Appended(Ok(Appended { base_offset, log_start: 3, duplicate: false }))
}

fn read(batches: Vec<Bytes>) -> Event {
    Event::Read(Ok(ReadData { batches, log_start: 0, high_watermark: 100 }))
}

/// A patient fetch of both partitions from 0.
fn fetch_request() -> FetchRequest {
    let partition = |index| FetchPartition {
        index,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
        partition_max_bytes: 1000,
        ..Default::default()
    };
    FetchRequest {
        replica_id: -1,
        max_wait_ms: 500,
        min_bytes: 1,
        max_bytes: 1 << 20,
        session_epoch: -1,
        topics: vec![FetchTopic {
            name: "orders".to_string(),
            id: ORDERS,
            partitions: vec![partition(0), partition(1)],
        }],
        ..Default::default()
    }
}

#[test]
fn api_versions_names_the_table_in_every_version() {
    let mut world = World::new();
    for version in [0, 1, 2, 3, 4, 5, 99, -1] {
        let known = (0..=4).contains(&version);
        let request = ApiVersionsRequest {
            client_software_name: "librdkafka".to_string(),
            client_software_version: "2.15.0".to_string(),
        };
        world.ask(18, version, |writer, version| request.encode(writer, version));
        let body_version = if known { version } else { 0 };
        let (_, mut reader) = world.response(18, body_version).unwrap();
        let response = ApiVersionsResponse::decode(&mut reader, body_version).unwrap();
        assert_eq!(response.error_code, if known { 0 } else { 35 });
        assert_eq!(response.api_keys.len(), APIS.len());
        assert!(response.api_keys.contains(&ApiRange { key: 0, min: 0, max: 13 }));
        assert_eq!(reader.remaining(), 0);
    }
    for name in ["", "-x", "x y", "x."] {
        let request = ApiVersionsRequest {
            client_software_name: name.to_string(),
            client_software_version: "1".to_string(),
        };
        world.ask(18, 3, |writer, version| request.encode(writer, version));
        let (_, mut reader) = world.response(18, 3).unwrap();
        assert_eq!(ApiVersionsResponse::decode(&mut reader, 3).unwrap().error_code, 42, "{name:?}");
    }
}

#[test]
fn answers_leave_in_the_order_of_the_requests() {
    let mut world = World::new();
    world.produce(9, -1, "orders", batch_of(1, 0));
    world.produce(9, 1, "orders", batch_of(1, 0));
    world.ask(3, 9, |writer, version| MetadataRequest::default().encode(writer, version));
    let commands = world.commands();
    assert_eq!(commands.len(), 2);
    assert!(world.response(0, 9).is_none());
    world.event(commands[1].0, appended(6));
    assert!(world.response(0, 9).is_none());
    world.event(commands[0].0, appended(5));
    for (correlation, key) in [(1, 0), (2, 0), (3, 3)] {
        assert_eq!(world.response(key, 9).unwrap().0, correlation);
    }
    world.event(commands[0].0, appended(5));
    assert!(world.response(0, 9).is_none() && !world.output.close);
}

#[test]
fn a_batch_is_appended_as_it_came_and_answered_when_durable() {
    for version in 3..=13 {
        let mut world = World::new();
        let records = batch_of(3, 0);
        world.produce(version, -1, "orders", records.clone());
        let [(ticket, Command::Append { log, batch })] = &world.commands()[..] else { panic!("one append") };
        assert_eq!((*log, batch.bytes()), (world.log(1), &records));
        assert!(world.produced(version).is_none());
        world.event(*ticket, appended(41));
        let response = world.produced(version).unwrap();
        let answered = &response.topics[0].partitions[0];
        assert_eq!((answered.index, answered.error_code, answered.base_offset), (1, 0, 41));
        assert_eq!(answered.log_append_time_ms, -1);
        assert_eq!(answered.log_start_offset, if version >= 5 { 3 } else { 0 });
        let id = if version >= 13 { ORDERS } else { [0; 16] };
        assert_eq!(response.topics[0].id, id);
    }
}

#[test]
fn what_cannot_be_appended_is_refused_with_kafkas_codes() {
    let sound = batch_of(1, 0);
    let changed = |place: usize, value: u8| {
        let mut bytes = sound.to_vec();
        bytes[place] = value;
        Bytes::from(bytes)
    };
    let two = Bytes::from([&sound[..], &sound[..]].concat());
    let cases = [
        (9, "orders", changed(sound.len() - 1, 0xee), 2),
        (9, "orders", sound.slice(..sound.len() - 1), 2),
        (9, "orders", Bytes::new(), 2),
        (9, "orders", changed(16, 1), 87),
        (9, "orders", two, 87),
        (9, "orders", with_attributes(&sound, 0x20), 87),
        (9, "orders", with_attributes(&sound, 0x10), 48),
        (9, "orders", with_attributes(&sound, 5), 76),
        (6, "orders", with_attributes(&sound, 4), 76),
        (9, "orders", Bytes::from(vec![0; (1 << 20) + 1]), 10),
        (9, "nothing", sound.clone(), 3),
    ];
    for (version, name, records, code) in cases {
        let mut world = World::new();
        world.produce(version, -1, name, records);
        let response = world.produced(version).unwrap();
        assert_eq!(response.topics[0].partitions[0].error_code, code);
        assert!(world.commands().is_empty());
    }
    let mut world = World::new();
    world.produce(9, 2, "orders", sound.clone());
    assert_eq!(world.produced(9).unwrap().topics[0].partitions[0].error_code, 21);
    world.catalog = Catalog::new();
    world.produce(13, 1, "", sound.clone());
    assert_eq!(world.produced(13).unwrap().topics[0].partitions[0].error_code, 100);
}

#[test]
fn what_the_log_refuses_is_told() {
    for (error, code) in [
        (AppendError::UnknownLog, 3),
        (AppendError::OutOfOrderSequence, 45),
        (AppendError::FencedProducer, 47),
        (AppendError::TooLarge, 10),
        (AppendError::QueueFull, 44),
        (AppendError::Storage, 56),
    ] {
        let mut world = World::new();
        world.produce(9, 1, "orders", batch_of(1, 0));
        let ticket = world.commands()[0].0;
        world.event(ticket, Event::Appended(Err(error)));
        let answered = world.produced(9).unwrap().topics[0].partitions[0].clone();
        assert_eq!((answered.error_code, answered.base_offset), (code, -1));
    }
}

#[test]
fn without_acks_there_is_no_answer_and_a_failure_closes() {
    let mut world = World::new();
    world.produce(9, 0, "orders", batch_of(1, 0));
    world.ask(18, 0, |writer, version| ApiVersionsRequest::default().encode(writer, version));
    let ticket = world.commands()[0].0;
    assert!(world.response(18, 0).is_none());
    world.event(ticket, appended(0));
    assert_eq!(world.response(18, 0).unwrap().0, 2);
    assert!(!world.output.close);
    world.produce(9, 0, "nothing", batch_of(1, 0));
    assert!(world.output.close && world.response(0, 9).is_none() && !world.session.wants_input());
}

fn metadata(world: &mut World, version: i16, request: &MetadataRequest) -> Option<MetadataResponse> {
    world.ask(3, version, |writer, version| request.encode(writer, version));
    metadata_answer(world, version)
}

fn metadata_answer(world: &mut World, version: i16) -> Option<MetadataResponse> {
    let (_, mut reader) = world.response(3, version)?;
    let response = MetadataResponse::decode(&mut reader, version).unwrap();
    assert_eq!(reader.remaining(), 0);
    Some(response)
}

fn metadata_of(names: &[&str]) -> MetadataRequest {
    let topic = |name: &&str| MetadataRequestTopic { id: [0; 16], name: Some(name.to_string()) };
    MetadataRequest {
        topics: Some(names.iter().map(topic).collect()),
        allow_auto_topic_creation: true,
        ..Default::default()
    }
}

#[test]
fn metadata_shows_this_broker_and_the_topics() {
    let mut world = World::new();
    for version in 0..=13 {
        let response = metadata(&mut world, version, &MetadataRequest::default()).unwrap();
        assert_eq!((response.brokers[0].node_id, response.brokers[0].port), (1, 9092));
        assert_eq!(response.topics.len(), 1);
        let topic = &response.topics[0];
        assert_eq!((topic.name.as_deref(), topic.partitions.len()), (Some("orders"), 2));
        assert_eq!(topic.partitions[1].replica_nodes, [1]);
        assert_eq!(topic.id, if version >= 10 { ORDERS } else { [0; 16] });
    }
    let by_id = |id| {
        let topics = Some(vec![MetadataRequestTopic { id, name: None }]);
        MetadataRequest { topics, ..Default::default() }
    };
    let known = metadata(&mut world, 12, &by_id(ORDERS)).unwrap();
    assert_eq!((known.topics[0].error_code, known.topics[0].name.as_deref()), (0, Some("orders")));
    let unknown = metadata(&mut world, 12, &by_id([9; 16])).unwrap();
    assert_eq!((unknown.topics[0].error_code, unknown.topics[0].name.as_deref()), (100, None));
    let none = MetadataRequest { topics: Some(Vec::new()), ..Default::default() };
    assert!(metadata(&mut world, 9, &none).unwrap().topics.is_empty());
}

#[test]
fn metadata_creates_what_is_missing_and_answers_when_it_is_there() {
    let mut world = World::new();
    let request = metadata_of(&["new", "orders", "raced", "b d", "new"]);
    assert!(metadata(&mut world, 9, &request).is_none());
    let commands = world.commands();
    assert_eq!(commands.len(), 3);
    world.create("new", [1; 16], 4);
    world.create("raced", [2; 16], 1);
    for (ticket, command) in commands {
        let Command::Catalog(CatalogRequest::CreateTopic { name, partitions, .. }) = command else {
            panic!("a creation")
        };
        assert_eq!(partitions, 4);
        let result = match name.as_str() {
            "new" => Ok(CatalogReply::Done),
            "raced" => Err(CatalogError::Exists),
            _ => Err(CatalogError::InvalidName),
        };
        world.event(ticket, Event::Catalog(result));
    }
    let topics = metadata_answer(&mut world, 9).unwrap().topics;
    let seen: Vec<_> = topics.iter().map(|topic| (topic.error_code, topic.partitions.len())).collect();
    assert_eq!(seen, [(0, 4), (0, 2), (0, 1), (17, 0), (0, 4)]);

    let mut asking = metadata_of(&["missing"]);
    asking.allow_auto_topic_creation = false;
    assert_eq!(metadata(&mut world, 9, &asking).unwrap().topics[0].error_code, 3);
    world.settings.auto_create_topics = false;
    assert_eq!(metadata(&mut world, 1, &asking).unwrap().topics[0].error_code, 3);
    assert!(world.commands().is_empty());
}

#[test]
fn a_fetch_is_answered_with_the_bytes_that_were_read() {
    for version in 4..=18 {
        let mut world = World::new();
        world.fetch(version, &fetch_request());
        let commands = world.commands();
        assert!(matches!(
            commands[..],
            [
                (_, Command::Read { from: 0, bytes_max: 1000, watch: true, .. }),
                (_, Command::Read { from: 0, bytes_max: 1000, watch: true, .. })
            ]
        ));
        let found = batch_of(2, 0);
        world.event(commands[1].0, read(vec![found.clone()]));
        assert!(world.output.chunks.is_empty());
        world.event(commands[0].0, read(Vec::new()));
        let shared = |chunk: &Bytes| chunk.as_ptr() == found.as_ptr() && chunk.len() == found.len();
        assert!(world.output.chunks.iter().any(shared), "the records were copied");
        let response = world.fetched(version).unwrap();
        assert_eq!((response.error_code, response.session_id), (0, 0));
        let partitions = &response.topics[0].partitions;
        assert_eq!((partitions[0].index, partitions[0].records.len()), (0, 0));
        assert_eq!((partitions[1].index, &partitions[1].records[0]), (1, &found));
        assert_eq!((partitions[1].high_watermark, partitions[1].last_stable_offset), (100, 100));
        assert!(partitions[1].aborted_transactions.is_none());
        let log = world.log(0);
        let [(ticket, Command::Unwatch { log: unwatched })] = world.commands()[..] else { panic!("unwatch") };
        assert_eq!((ticket, unwatched), (commands[0].0, log));
    }
}

#[test]
fn a_fetch_waits_for_something_to_read() {
    let mut world = World::new();
    world.fetch(12, &fetch_request());
    let commands = world.commands();
    for (ticket, _) in &commands {
        world.event(*ticket, read(Vec::new()));
    }
    assert!(world.fetched(12).is_none());
    assert_eq!(world.output.wake_at_us, Some(1_500_000));
    world.event(commands[1].0, Event::Readable);
    let again = world.commands();
    assert!(matches!(again[..], [(ticket, Command::Read { watch: true, .. })] if ticket == commands[1].0));
    world.event(commands[1].0, read(vec![batch_of(1, 0)]));
    assert_eq!(world.fetched(12).unwrap().topics[0].partitions[1].records.len(), 1);
    assert!(matches!(world.commands()[..], [(_, Command::Unwatch { .. })]));
}

#[test]
fn a_fetch_ends_at_its_deadline_with_what_there_is() {
    let mut world = World::new();
    let mut request = fetch_request();
    request.min_bytes = 1000;
    world.fetch(12, &request);
    let commands = world.commands();
    let found = batch_of(2, 5);
    world.event(commands[0].0, read(vec![found.clone()]));
    world.event(commands[1].0, read(Vec::new()));
    let again = world.commands();
    let [(ticket, Command::Read { from: 7, watch: true, .. })] = again[..] else { panic!("reads on") };
    world.now.monotonic_us += 499_999;
    world.call(|session, cx| session.on_time(cx));
    world.event(ticket, read(Vec::new()));
    assert!(world.fetched(12).is_none());
    world.now.monotonic_us += 1;
    world.output.wake_at_us = None;
    world.call(|session, cx| session.on_time(cx));
    let response = world.fetched(12).unwrap();
    assert_eq!(response.topics[0].partitions[0].records, [found]);
    assert_eq!(world.commands().len(), 2, "both watches end");
    assert_eq!(world.output.wake_at_us, None);
}

#[test]
fn a_deadline_during_a_read_ends_with_that_read() {
    let mut world = World::new();
    world.fetch(12, &fetch_request());
    let commands = world.commands();
    world.now.monotonic_us += 600_000;
    world.output.wake_at_us = None;
    world.call(|session, cx| session.on_time(cx));
    assert!(world.fetched(12).is_none() && world.output.wake_at_us.is_none());
    world.event(commands[0].0, read(Vec::new()));
    world.event(commands[1].0, read(Vec::new()));
    assert!(world.fetched(12).is_some());
}

#[test]
fn a_fetch_keeps_to_the_bytes_it_was_allowed() {
    let mut world = World::new();
    let mut request = fetch_request();
    let one = batch_of(1, 0).len();
    request.max_bytes = one as i32 + 1;
    request.topics[0].partitions[1].partition_max_bytes = 1 << 20;
    world.fetch(12, &request);
    // All that is allowed may go to the first partition, so the second has to wait for it.
    let commands = world.commands();
    assert_eq!(commands.len(), 1);
    world.event(commands[0].0, read(Vec::new()));
    let second = world.commands();
    assert!(matches!(second[..], [(_, Command::Read { bytes_max, .. })] if bytes_max as usize == one + 1));
    let three = Bytes::from([batch_of(1, 0), batch_of(1, 1), batch_of(1, 2)].concat());
    world.event(second[0].0, read(vec![three]));
    let response = world.fetched(12).unwrap();
    assert_eq!(response.topics[0].partitions[1].records, [batch_of(1, 0)]);
    world.commands();

    // The first batch goes however large it is, and nothing is read behind it.
    request.max_bytes = 1;
    world.fetch(12, &request);
    let commands = world.commands();
    world.event(commands[0].0, read(vec![batch_of(9, 0)]));
    let [(ticket, Command::Seek { to: SeekTo::HighWatermark, .. })] = world.commands()[..] else {
        panic!("only the end of the second")
    };
    let end = Sought { offset: Some(44), timestamp_ms: None, leader_epoch: 0 };
    world.event(ticket, Event::Sought(Ok(end)));
    let partitions = world.fetched(12).unwrap().topics[0].partitions.clone();
    assert_eq!(partitions[0].records, [batch_of(9, 0)]);
    assert_eq!((partitions[1].high_watermark, partitions[1].records.len()), (44, 0));
}

#[test]
fn a_fetch_that_cannot_be_served_says_why() {
    let mut world = World::new();
    let answered = |request: &FetchRequest, version| {
        let mut world = World::new();
        world.fetch(version, request);
        for (ticket, _) in world.commands() {
            world.event(ticket, read(Vec::new()));
        }
        world.fetched(version).unwrap().topics[0].partitions[0].error_code
    };
    let mut request = fetch_request();
    request.max_wait_ms = 0;
    assert_eq!(answered(&request, 12), 0);
    for (epoch, code) in [(0, 0), (1, 75), (-2, 74)] {
        request.topics[0].partitions[0].current_leader_epoch = epoch;
        assert_eq!(answered(&request, 12), code);
    }
    request.topics[0].partitions[0].current_leader_epoch = -1;
    request.topics[0].partitions[0].fetch_offset = -1;
    assert_eq!(answered(&request, 12), 1);
    request.topics[0].partitions[0] = FetchPartition { index: 2, ..request.topics[0].partitions[1].clone() };
    assert_eq!(answered(&request, 12), 3);
    request.topics[0].id = [1; 16];
    assert_eq!(answered(&request, 13), 100);

    world.fetch(12, &fetch_request());
    let commands = world.commands();
    let error = ReadError::OutOfRange { log_start: 5, high_watermark: 9 };
    world.event(commands[0].0, Event::Read(Err(error)));
    world.event(commands[1].0, read(Vec::new()));
    assert_eq!(world.fetched(12).unwrap().topics[0].partitions[0].error_code, 1);

    world.fetch(12, &FetchRequest { session_id: 4, session_epoch: 2, ..fetch_request() });
    assert_eq!(world.fetched(12).unwrap().error_code, 70);
}

#[test]
fn an_old_consumer_is_not_sent_what_it_cannot_decompress() {
    for (version, code) in [(9, 76), (10, 0)] {
        let mut world = World::new();
        world.fetch(version, &FetchRequest { isolation_level: 1, ..fetch_request() });
        let commands = world.commands();
        world.event(commands[0].0, read(vec![with_attributes(&batch_of(1, 0), 4)]));
        world.event(commands[1].0, read(Vec::new()));
        let partition = world.fetched(version).unwrap().topics[0].partitions[0].clone();
        assert_eq!((partition.error_code, partition.records.len()), (code, usize::from(code == 0)));
        assert_eq!(partition.aborted_transactions, Some(Vec::new()));
    }
}

#[test]
fn a_closed_connection_ends_its_watches() {
    let mut world = World::new();
    world.fetch(12, &fetch_request());
    let commands = world.commands();
    world.event(commands[0].0, read(Vec::new()));
    world.call(|session, cx| session.on_close(cx));
    let ended = world.commands();
    assert!(ended.iter().all(|(_, command)| matches!(command, Command::Unwatch { .. })));
    assert_eq!(ended.len(), 2);
    world.event(commands[0].0, Event::Readable);
    assert!(world.commands().is_empty() && world.output.chunks.is_empty());
}

#[test]
fn offsets_are_found_by_end_and_by_time() {
    let mut world = World::new();
    let seeks = [
        (-1, Some(SeekTo::HighWatermark)),
        (-2, Some(SeekTo::Start)),
        (-3, Some(SeekTo::MaxTimestamp)),
        (-4, Some(SeekTo::Start)),
        (-5, None),
        (-6, None),
        (1234, Some(SeekTo::Time(1234))),
    ];
    for version in 1..=11 {
        for (timestamp, seek) in &seeks {
            let partition =
                ListOffsetsPartition { index: 1, current_leader_epoch: -1, timestamp: *timestamp };
            let topics = vec![ListOffsetsTopic { name: "orders".to_string(), partitions: vec![partition] }];
            let request = ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
            world.ask(2, version, |writer, version| request.encode(writer, version));
            let commands = world.commands();
            assert_eq!(commands.len(), usize::from(seek.is_some()));
            for (ticket, command) in commands {
                assert!(matches!(command, Command::Seek { to, .. } if Some(to) == *seek));
                let found = Sought { offset: Some(8), timestamp_ms: Some(1240), leader_epoch: 0 };
                world.event(ticket, Event::Sought(Ok(found)));
            }
            let (_, mut reader) = world.response(2, version).unwrap();
            let response = ListOffsetsResponse::decode(&mut reader, version).unwrap();
            let partition = &response.topics[0].partitions[0];
            let expected = if seek.is_some() { (0, 8, 1240) } else { (0, -1, -1) };
            assert_eq!((partition.error_code, partition.offset, partition.timestamp), expected);
        }
    }
}

#[test]
fn the_only_epoch_ends_at_the_high_watermark() {
    let mut world = World::new();
    for (leader_epoch, expected) in [(0, (0, 0, 50)), (3, (0, -1, -1))] {
        let partition = EpochPartition { index: 0, current_leader_epoch: 0, leader_epoch };
        let topics = vec![EpochTopic { name: "orders".to_string(), partitions: vec![partition] }];
        let request = OffsetForLeaderEpochRequest { replica_id: -1, topics };
        world.ask(23, 4, |writer, version| request.encode(writer, version));
        for (ticket, _) in world.commands() {
            let end = Sought { offset: Some(50), timestamp_ms: None, leader_epoch: 0 };
            world.event(ticket, Event::Sought(Ok(end)));
        }
        let (_, mut reader) = world.response(23, 4).unwrap();
        let response = OffsetForLeaderEpochResponse::decode(&mut reader, 4).unwrap();
        let partition = &response.topics[0].partitions[0];
        assert_eq!((partition.error_code, partition.leader_epoch, partition.end_offset), expected);
    }
}

#[test]
fn a_producer_gets_an_id_but_no_transactions() {
    let mut world = World::new();
    for (transactional_id, expected) in
        [(None, (0, 4000, 0)), (Some("t"), (53, -1, -1)), (Some(""), (42, -1, -1))]
    {
        let transactional_id = transactional_id.map(str::to_string);
        let request = InitProducerIdRequest { transactional_id, ..Default::default() };
        world.ask(22, 4, |writer, version| request.encode(writer, version));
        for (ticket, _) in world.commands() {
            world.event(ticket, Event::Catalog(Ok(CatalogReply::ProducerId(4000))));
        }
        let (_, mut reader) = world.response(22, 4).unwrap();
        let response = InitProducerIdResponse::decode(&mut reader, 4).unwrap();
        assert_eq!((response.error_code, response.producer_id, response.producer_epoch), expected);
    }
}

#[test]
fn too_much_in_flight_stops_the_input_and_what_came_is_kept() {
    let mut world = World::new();
    let mut bytes = Vec::new();
    let partitions = vec![ProducePartition { index: 0, records: Some(batch_of(1, 0)) }];
    let topic = ProduceTopic { name: "orders".to_string(), id: ORDERS, partitions };
    let request = ProduceRequest { acks: 1, topics: vec![topic], ..Default::default() };
    for _ in 0..REQUESTS_MAX + 3 {
        bytes.extend(world.frame(0, 9, |writer, version| request.encode(writer, version)));
    }
    let half = bytes.len() - 5;
    assert!(world.feed(&bytes[..half]).is_empty());
    assert!(!world.session.wants_input());
    let commands = world.commands();
    assert_eq!(commands.len(), REQUESTS_MAX);
    for (ticket, _) in &commands[..2] {
        world.event(*ticket, appended(0));
    }
    assert_eq!(world.commands().len(), 2);
    assert!(!world.session.wants_input());
    for (ticket, _) in &commands[2..] {
        world.event(*ticket, appended(0));
    }
    assert!(world.session.wants_input());
    let left = world.feed(&bytes[half..]);
    assert!(left.is_empty());
    assert_eq!(world.commands().len(), 1);
    for correlation in 1..=REQUESTS_MAX as i32 {
        assert_eq!(world.response(0, 9).unwrap().0, correlation);
    }
}

#[test]
fn a_peer_that_does_not_read_is_not_read() {
    let mut world = World::new();
    world.ask(3, 9, |writer, version| MetadataRequest::default().encode(writer, version));
    world.call(|session, cx| session.on_sent(UNSENT_BYTES_MAX, cx));
    assert!(!world.session.wants_input());
    world.call(|session, cx| session.on_sent(0, cx));
    assert!(world.session.wants_input());
}

#[test]
fn half_a_frame_is_left_in_the_input_and_its_size_told() {
    let mut world = World::new();
    let bytes = world.frame(3, 9, |writer, version| MetadataRequest::default().encode(writer, version));
    for cut in 0..bytes.len() {
        assert_eq!(world.feed(&bytes[..cut]).len(), cut);
        assert_eq!(world.session.input_hint(), if cut < 4 { 4 } else { bytes.len() });
    }
    assert!(world.output.chunks.is_empty());
}

#[test]
fn what_is_no_request_closes_the_connection() {
    let closes = |bytes: &[u8]| {
        let mut world = World::new();
        world.feed(bytes);
        world.output.close && !world.session.wants_input() && world.output.chunks.is_empty()
    };
    let mut world = World::new();
    assert!(closes(&world.frame(4, 0, |_, _| {})), "an unknown kind");
    assert!(closes(&world.frame(0, 2, |_, _| {})), "a version advertised but not served");
    assert!(closes(&world.frame(3, 14, |_, _| {})), "a version too new");
    assert!(closes(&world.frame(3, 9, |_, _| {})), "an empty body");
    assert!(closes(b"GET / HTTP/1.1\r\n\r\n"), "another protocol");
    assert!(closes(&[0, 0, 0, 0]), "an empty frame");
    assert!(closes(&[0xff; 8]), "a negative size");
    assert!(!closes(&world.frame(18, 0, |_, _| {})));
}

#[test]
fn noise_never_panics() {
    let mut random = Random(42);
    for round in 0..3000u64 {
        let mut world = World::new();
        let api = &APIS[random.next_u64() as usize % APIS.len()];
        let version = api.min + (random.next_u64() % (api.max - api.min + 1) as u64) as i16;
        let body: Vec<u8> = (0..random.next_u64() % 80)
            .map(|_| if round % 2 == 0 { random.next_u64() as u8 } else { random.next_u64() as u8 & 3 })
            .collect();
        let bytes =
            world.frame(api.key, version, |writer, _| body.iter().for_each(|byte| writer.i8(*byte as i8)));
        world.feed(&bytes);
        for (ticket, _) in world.commands() {
            world.event(ticket, Event::Readable);
            world.event(ticket, read(vec![Bytes::from_static(b"not a batch")]));
        }
        world.call(|session, cx| session.on_close(cx));
    }
}

/// The documentation's table says what the code's table says.
#[test]
fn the_documented_apis_are_the_served_ones() {
    let page = include_str!("../../../docs/KAFKA.md");
    let mut documented = Vec::new();
    for line in page.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if let [_, key, name, versions, ..] = cells[..]
            && let Ok(key) = key.parse::<i16>()
        {
            documented.push((key, name, versions.to_string()));
        }
    }
    let served: Vec<_> =
        APIS.iter().map(|api| (api.key, api.name, format!("{}-{}", api.min, api.max))).collect();
    assert_eq!(documented, served);
}
