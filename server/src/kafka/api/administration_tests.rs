//! Topic administration through a whole session, in every version: bytes in, catalog changes, bytes out.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::{Bytes, BytesMut};
use ringmain_engine::types::{LogId, Now, Offset};

use crate::broker::authority::Authority;
use crate::broker::catalog::{Catalog, CatalogError, CatalogRequest, Change, Topic};
use crate::broker::command::{CatalogReply, Command, Event, ReadError, Request, SessionId};
use crate::broker::context::{Context, Output, Random};
use crate::broker::nodes::Nodes;
use crate::broker::settings::Settings;
use crate::broker::topic_config::TOPIC_CONFIGS;
use crate::kafka::wire::acls::*;
use crate::kafka::wire::create_topics::{
    Assignment, CreateTopicsRequest, CreateTopicsResponse, CreatedTopic, NewTopic,
};
use crate::kafka::wire::delete_topics::{
    DeleteTopicsRequest, DeleteTopicsResponse, DeletedTopic, DoomedTopic,
};
use crate::kafka::wire::describe_cluster::{DescribeClusterRequest, DescribeClusterResponse};
use crate::kafka::wire::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResponse, DescribedResource, Resource,
};
use crate::kafka::wire::{Reader, RequestHeader, WireError, Writer, frame};
use crate::kafka::{Session, api_of, is_flexible};

pub(super) struct Server {
    session: Session,
    settings: Settings,
    pub(super) catalog: Catalog,
    requests: Vec<Request>,
    output: Output,
}

impl Server {
    pub(super) fn new() -> Server {
        Server {
            session: Session::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 1))),
            settings: settings(),
            catalog: Catalog::new(),
            requests: Vec::new(),
            output: Output::default(),
        }
    }

    fn call(&mut self, call: impl FnOnce(&mut Session, &mut Context<'_>)) {
        let mut cx = Context {
            short_of_room: false,
            now: Now::default(),
            session: SessionId { core: 0, slot: 0, generation: 0 },
            catalog: &self.catalog,
            settings: &self.settings,
            requests: &mut self.requests,
            output: &mut self.output,
            random: &mut Random(1),
        };
        call(&mut self.session, &mut cx);
    }

    /// Sends a request, lets the catalog decide what it is asked, and reads the response to its last byte.
    pub(super) fn ask<T>(
        &mut self,
        key: i16,
        version: i16,
        encode: impl FnOnce(&mut Writer, i16),
        decode: impl FnOnce(&mut Reader, i16) -> Result<T, WireError>,
    ) -> T {
        let flexible = is_flexible(key, version);
        let header = RequestHeader { key, version, correlation_id: 7, client_id: None, flexible };
        let mut writer = frame::begin_request(&header);
        encode(&mut writer, version);
        let mut input = BytesMut::from(&frame::finish(writer).concat()[..]);
        self.call(|session, cx| session.on_bytes(&mut input, cx));
        self.decide();
        let bytes: Vec<u8> = self.output.chunks.drain(..).flatten().collect();
        let mut reader = Reader::new(Bytes::from(bytes).slice(frame::SIZE_BYTES..), false);
        assert_eq!(header.decode_response(&mut reader), Ok(7));
        let response = decode(&mut reader, version).unwrap();
        assert_eq!(reader.remaining(), 0, "request {key} version {version}");
        response
    }

    /// Answers what was asked of the catalog and of logs, the last first.
    fn decide(&mut self) {
        while let Some(Request { ticket, command, .. }) = self.requests.pop() {
            let event = match command {
                Command::Catalog(request) => Event::Catalog(self.change(request)),
                Command::Trim { log, before } => Event::Trimmed(self.trim(log, before)),
                other => panic!("{other:?}"),
            };
            self.call(|session, cx| session.on_event(ticket, event, cx));
        }
    }

    /// Every log holds the offsets from 2 to 10, except that of a queue, which refuses.
    fn trim(&self, log: LogId, before: Option<Offset>) -> Result<Offset, ReadError> {
        if self.catalog.topic_of(log).unwrap().is_settled() {
            return Err(ReadError::SettledLog);
        }
        match before {
            Some(offset) if offset > 10 => Err(ReadError::OutOfRange { log_start: 2, high_watermark: 10 }),
            offset => Ok(offset.unwrap_or(10).max(2)),
        }
    }

    fn change(&mut self, request: CatalogRequest) -> Result<CatalogReply, CatalogError> {
        match request {
            CatalogRequest::CreateTopic { name, .. } if name == "late" => Err(CatalogError::Exists),
            CatalogRequest::CreateTopic { name, partitions, configs, queue } => {
                let next = self.catalog.next_number();
                let partitions =
                    (next..next + u64::from(partitions)).map(|number| LogId(number << 2)).collect();
                let topic = Topic { name, id: [next as u8; 16], partitions, configs, queue };
                self.catalog.apply(&Change::TopicCreated(topic));
                Ok(CatalogReply::Done)
            }
            CatalogRequest::DeleteTopic { name } => {
                self.catalog.apply(&Change::TopicDeleted { name });
                Ok(CatalogReply::Done)
            }
            request => {
                let mut authority = Authority::new(self.catalog.clone());
                let (changes, reply) = authority.decide(request, &mut Random(1))?;
                changes.iter().for_each(|change| self.catalog.apply(change));
                Ok(reply)
            }
        }
    }

    pub(super) fn create(
        &mut self,
        version: i16,
        topics: Vec<NewTopic>,
        validate_only: bool,
    ) -> Vec<CreatedTopic> {
        let request = CreateTopicsRequest { topics, timeout_ms: 1000, validate_only };
        self.ask(19, version, |writer, version| request.encode(writer, version), CreateTopicsResponse::decode)
            .topics
    }

    fn delete(&mut self, version: i16, topics: Vec<DoomedTopic>) -> Vec<DeletedTopic> {
        let request = DeleteTopicsRequest { topics, timeout_ms: 1000 };
        let encode = |writer: &mut _, version| request.encode(writer, version);
        self.ask(20, version, encode, DeleteTopicsResponse::decode).responses
    }

    fn describe(&mut self, version: i16, resource: Resource) -> DescribedResource {
        let request = DescribeConfigsRequest {
            resources: vec![resource],
            include_synonyms: true,
            include_documentation: true,
        };
        let encode = |writer: &mut _, version| request.encode(writer, version);
        let mut response = self.ask(32, version, encode, DescribeConfigsResponse::decode);
        response.results.pop().unwrap()
    }
}

pub(super) fn topic(name: &str) -> NewTopic {
    NewTopic { name: name.to_string(), num_partitions: -1, replication_factor: -1, ..Default::default() }
}

pub(super) fn versions(key: i16) -> std::ops::RangeInclusive<i16> {
    let api = api_of(key).unwrap();
    api.min..=api.max
}

fn settings() -> Settings {
    Settings {
        cluster_id: "cluster".to_string(),
        nodes: Nodes::new(1, "127.0.0.1".to_string(), vec![19092]),
        cores: 1,
        data_dir: "/data".to_string(),
        auto_create_topics: true,
        default_partitions: 4,
        message_bytes_max: 1_048_588,
        request_bytes_max: 1 << 20,
        amqp_message_bytes_max: 1 << 20,
        amqp_frame_bytes_max: 131_072,
        amqp_heartbeat_s: 60,
        amqp_channels_max: 2047,
        group_initial_rebalance_delay_ms: 0,
        version: "1.2.3",
    }
}

#[test]
fn topics_come_and_go_in_every_version() {
    for version in versions(19) {
        let mut server = Server::new();
        let three = NewTopic {
            num_partitions: 3,
            replication_factor: 1,
            configs: vec![("retention.ms".into(), Some("1000".into()))],
            ..topic("three")
        };
        let created = server.create(version, vec![three, topic("default"), topic("late")], false);
        let codes: Vec<i16> = created.iter().map(|topic| topic.error_code).collect();
        assert_eq!(codes, [0, 0, 36]);
        let held = server.catalog.topic("three").unwrap();
        assert_eq!((held.partitions.len(), held.configs["retention.ms"].as_str()), (3, "1000"));
        assert_eq!(server.catalog.topic("default").unwrap().partitions.len(), 4);
        if version >= 5 {
            assert_eq!((created[0].num_partitions, created[0].replication_factor), (3, 1));
            let configs = created[0].configs.as_ref().unwrap();
            assert_eq!(configs.len(), TOPIC_CONFIGS.len());
            let given: Vec<_> = configs.iter().filter(|config| config.source == 1).collect();
            assert_eq!((given.len(), given[0].value.as_deref()), (1, Some("1000")));
            assert_eq!(created[2].num_partitions, -1);
        }
        if version >= 7 {
            assert_eq!((created[0].topic_id, created[2].topic_id), (held.id, [0; 16]));
        }
    }
    for version in versions(20) {
        let mut server = Server::new();
        server.create(7, vec![topic("a"), topic("b")], false);
        let named = |name: &str| DoomedTopic { name: Some(name.to_string()), topic_id: [0; 16] };
        let codes =
            |deleted: &[DeletedTopic]| -> Vec<i16> { deleted.iter().map(|topic| topic.error_code).collect() };
        let a = server.catalog.topic("a").unwrap().id;
        let deleted = server.delete(version, vec![named("a"), named("none")]);
        assert_eq!(codes(&deleted), [0, 3]);
        let ids = if version >= 6 { [a, [0; 16]] } else { [[0; 16]; 2] };
        assert_eq!([deleted[0].topic_id, deleted[1].topic_id], ids);
        assert!(server.catalog.topic("a").is_none());
        if version >= 6 {
            let id = server.catalog.topic("b").unwrap().id;
            let by_id = |topic_id| DoomedTopic { name: None, topic_id };
            let both = DoomedTopic { topic_id: id, ..named("b") };
            let deleted = server.delete(version, vec![by_id([9; 16]), both, by_id([0; 16]), by_id(id)]);
            assert_eq!(codes(&deleted), [100, 42, 42, 0]);
            assert!(server.catalog.topic("b").is_none());
        }
    }
}

#[test]
fn what_cannot_be_created_is_refused_and_the_rest_is_not() {
    let assigned = |partitions: &[(i32, &[i32])]| NewTopic {
        assignments: partitions
            .iter()
            .map(|(index, ids)| Assignment { partition_index: *index, broker_ids: ids.to_vec() })
            .collect(),
        ..topic("assigned")
    };
    let with = |name: &str, value: Option<&str>| NewTopic {
        configs: vec![(name.to_string(), value.map(str::to_string))],
        ..topic("with")
    };
    for (refused, code) in [
        (topic("a b"), 17),
        (topic("held"), 36),
        (NewTopic { num_partitions: 0, ..topic("x") }, 37),
        (NewTopic { num_partitions: 10_001, ..topic("x") }, 37),
        (NewTopic { num_partitions: -2, ..topic("x") }, 37),
        (NewTopic { replication_factor: 3, ..topic("x") }, 38),
        (NewTopic { replication_factor: 0, ..topic("x") }, 38),
        (assigned(&[(0, &[1]), (2, &[1])]), 39),
        (assigned(&[(0, &[1, 2])]), 39),
        (NewTopic { num_partitions: 1, ..assigned(&[(0, &[1])]) }, 42),
        (with("no.such.setting", Some("1")), 40),
        (with("cleanup.policy", Some("never")), 40),
        (with("retention.ms", None), 40),
    ] {
        let mut server = Server::new();
        server.create(7, vec![topic("held")], false);
        let created = server.create(7, vec![refused.clone(), topic("other")], false);
        assert_eq!((created[0].error_code, created[1].error_code), (code, 0), "{refused:?}");
        assert!(created[0].error_message.is_some() && created[0].configs.is_none());
        assert_eq!(server.catalog.topics().count(), 2);
    }
    let mut server = Server::new();
    let twice = server.create(7, vec![topic("twice"), topic("once"), topic("twice")], false);
    assert_eq!(twice.iter().map(|topic| topic.error_code).collect::<Vec<_>>(), [42, 0]);
    let created = server.create(7, vec![assigned(&[(1, &[1]), (0, &[1])])], false);
    assert_eq!((created[0].error_code, created[0].num_partitions), (0, 2));
    let checked = server.create(7, vec![topic("dry"), topic("once")], true);
    assert_eq!((checked[0].error_code, checked[1].error_code), (0, 36));
    assert!(checked[0].topic_id == [0; 16] && server.catalog.topic("dry").is_none());
}

#[test]
fn settings_are_described_in_every_version() {
    for version in versions(32) {
        let mut server = Server::new();
        let given = vec![("max.message.bytes".to_string(), Some("2000".to_string()))];
        server.create(7, vec![NewTopic { configs: given, ..topic("t") }], false);
        let resource = |resource_type, name: &str, keys: Option<&[&str]>| Resource {
            resource_type,
            resource_name: name.to_string(),
            configuration_keys: keys.map(|keys| keys.iter().map(|key| key.to_string()).collect()),
        };
        let all = server.describe(version, resource(2, "t", None));
        assert_eq!((all.error_code, all.configs.len()), (0, TOPIC_CONFIGS.len()));
        let one = server.describe(version, resource(2, "t", Some(&["max.message.bytes", "none"]))).configs;
        assert_eq!((one.len(), one[0].value.as_deref(), one[0].source), (1, Some("2000"), 1));
        let synonyms: Vec<_> =
            one[0].synonyms.iter().map(|found| (found.name.as_str(), found.source)).collect();
        assert_eq!(synonyms, [("max.message.bytes", 1), ("message.max.bytes", 5)]);
        assert_eq!(one[0].config_type, if version >= 3 { 3 } else { 0 });
        let broker = server.describe(version, resource(4, "1", None));
        let partitions = broker.configs.iter().find(|config| config.name == "num.partitions").unwrap();
        assert_eq!((partitions.value.as_deref(), partitions.read_only), (Some("4"), true));
        assert!(broker.configs.is_sorted_by(|left, right| left.name < right.name));
        assert_eq!(server.describe(version, resource(4, "", None)).error_code, 0);
        for (refused, code) in [((2, "none"), 3), ((2, "a b"), 17), ((4, "2"), 42), ((8, "1"), 42)] {
            let found = server.describe(version, resource(refused.0, refused.1, None));
            assert_eq!((found.error_code, found.configs.len()), (code, 0));
        }
    }
}

#[test]
fn the_cluster_is_described_in_every_version() {
    let mut server = Server::new();
    for version in versions(60) {
        let mut ask = |endpoint_type, include_cluster_authorized_operations| {
            let request = DescribeClusterRequest {
                endpoint_type,
                include_cluster_authorized_operations,
                include_fenced_brokers: true,
            };
            let encode = |writer: &mut _, version| request.encode(writer, version);
            server.ask(60, version, encode, DescribeClusterResponse::decode)
        };
        let found = ask(1, false);
        assert_eq!((found.error_code, found.cluster_id.as_str(), found.controller_id), (0, "cluster", 1));
        assert_eq!((found.brokers[0].host.as_str(), found.brokers[0].port), ("127.0.0.1", 19092));
        assert_eq!(found.cluster_authorized_operations, i32::MIN);
        assert_eq!(ask(1, true).cluster_authorized_operations, 8096);
        if version >= 1 {
            assert_eq!((ask(2, false).error_code, ask(3, false).error_code), (114, 115));
        }
    }
}

#[test]
fn who_asks_for_acls_is_told_that_there_are_none_in_every_version() {
    let mut server = Server::new();
    let refused = (54, Some("No Authorizer is configured.".to_string()));
    for version in versions(29) {
        let request = DescribeAclsRequest::default();
        let encode = |writer: &mut _, version| request.encode(writer, version);
        let found = server.ask(29, version, encode, DescribeAclsResponse::decode);
        assert_eq!((found.error_code, found.error_message), refused);
    }
    for version in versions(30) {
        let request = CreateAclsRequest { creations: vec![NewAcl::default(); 2] };
        let encode = |writer: &mut _, version| request.encode(writer, version);
        let created = server.ask(30, version, encode, CreateAclsResponse::decode);
        assert_eq!(created.results, vec![refused.clone(); 2]);
    }
    for version in versions(31) {
        let request = DeleteAclsRequest { filters: vec![AclFilter::default(); 3] };
        let encode = |writer: &mut _, version| request.encode(writer, version);
        let deleted = server.ask(31, version, encode, DeleteAclsResponse::decode);
        assert_eq!(deleted.results, vec![refused.clone(); 3]);
    }
}

#[test]
fn a_create_request_of_version_7_byte_by_byte() {
    let request = CreateTopicsRequest {
        topics: vec![NewTopic {
            name: "t".into(),
            num_partitions: 2,
            replication_factor: 1,
            assignments: vec![Assignment { partition_index: 0, broker_ids: vec![1] }],
            configs: vec![("k".into(), None)],
        }],
        timeout_ms: 1000,
        validate_only: true,
    };
    let mut writer = Writer::new(true);
    request.encode(&mut writer, 7);
    #[rustfmt::skip]
    let expected = [
        2, 2, b't', 0, 0, 0, 2, 0, 1,            // one topic: name, partitions, replication factor
        2, 0, 0, 0, 0, 2, 0, 0, 0, 1, 0,         // one assignment: partition 0 on broker 1
        2, 2, b'k', 0, 0,                        // one setting: null
        0, 0, 0, 3, 0xe8, 1, 0,                  // end of topic, time-out, validate only, end
    ];
    let bytes = writer.into_bytes();
    assert_eq!(bytes[..], expected);
    for cut in 0..bytes.len() {
        assert!(CreateTopicsRequest::decode(&mut Reader::new(bytes.slice(..cut), true), 7).is_err());
    }
    assert_eq!(CreateTopicsRequest::decode(&mut Reader::new(bytes, true), 7), Ok(request));
}
