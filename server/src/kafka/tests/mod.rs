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
use super::wire::metadata::*;
use super::wire::produce::*;
use super::wire::{Reader, RequestHeader, Writer, frame};
use super::{APIS, is_flexible};
use crate::broker::catalog::{Catalog, CatalogError, CatalogRequest, Change, Topic};
use crate::broker::command::{Appended, CatalogReply, Command, Event, ReadData, Request, SessionId};
use crate::broker::context::{Context, Output, Random};
use crate::broker::nodes::Nodes;
use crate::broker::settings::Settings;

mod nodes;
mod records;

const ORDERS: [u8; 16] = [7; 16];

/// A session and the world it lives in.
struct World {
    session: Session,
    /// The core that serves it.
    core: u16,
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
            core: 0,
            catalog: Catalog::new(),
            settings: Settings {
                cluster_id: "cluster".to_string(),
                nodes: Nodes::new(1, "broker".to_string(), vec![9092]),
                cores: 1,
                data_dir: "/data".to_string(),
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

    /// Gives a topic a setting.
    fn set(&mut self, name: &str, config: &str, value: &str) {
        let mut configs = self.catalog.topic(name).unwrap().configs.clone();
        configs.insert(config.to_string(), value.to_string());
        self.catalog.apply(&Change::ConfigsSet { name: name.to_string(), configs });
    }

    fn log(&self, index: usize) -> LogId {
        self.catalog.topic("orders").unwrap().partitions[index]
    }

    fn call(&mut self, work: impl FnOnce(&mut Session, &mut Context<'_>)) {
        let mut cx = Context {
            short_of_room: false,
            now: self.now,
            session: SessionId { core: self.core, slot: 0, generation: 0 },
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

fn appended(base_offset: u64) -> Event {
    Event::Appended(Ok(Appended { base_offset, log_start: 3, duplicate: false }))
}

fn read(batches: Vec<Bytes>) -> Event {
    Event::Read(Ok(ReadData { batches, log_start: 0, high_watermark: 100 }))
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
    // Not "b d": queues may be called so, topics may not.
    assert_eq!(commands.len(), 2);
    world.create("new", [1; 16], 4);
    world.create("raced", [2; 16], 1);
    for (ticket, command) in commands {
        let Command::Catalog(CatalogRequest::CreateTopic { name, partitions, .. }) = command else {
            panic!("a creation")
        };
        assert_eq!(partitions, 4);
        let result = match name.as_str() {
            "new" => Ok(CatalogReply::Done),
            _ => Err(CatalogError::Exists),
        };
        world.event(ticket, Event::Catalog(result));
    }
    let topics = metadata_answer(&mut world, 9).unwrap().topics;
    let seen: Vec<_> = topics.iter().map(|topic| (topic.error_code, topic.partitions.len())).collect();
    assert_eq!(seen, [(0, 4), (0, 2), (0, 1), (17, 0), (0, 4)]);

    let mut asking = metadata_of(&["missing", "b d"]);
    asking.allow_auto_topic_creation = false;
    let errors = |response: MetadataResponse| -> Vec<i16> {
        response.topics.iter().map(|topic| topic.error_code).collect()
    };
    assert_eq!(errors(metadata(&mut world, 9, &asking).unwrap()), [3, 17]);
    world.settings.auto_create_topics = false;
    assert_eq!(errors(metadata(&mut world, 1, &asking).unwrap()), [3, 17]);
    assert!(world.commands().is_empty());

    world.create("b d", [3; 16], 1);
    assert_eq!(errors(metadata(&mut world, 9, &asking).unwrap()), [3, 0]);
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
    let page = include_str!("../../../../docs/KAFKA.md");
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
