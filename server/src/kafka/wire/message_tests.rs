//! Every message of the log's request kinds in every version: there and back, cut short, and as noise.

use bytes::Bytes;

use super::acls::*;
use super::alter_configs::{AlterConfigsRequest, AlterConfigsResponse, AlteredResource, ReplacedConfigs};
use super::api_versions::{ApiRange, ApiVersionsRequest, ApiVersionsResponse};
use super::consumer_group_heartbeat::*;
use super::create_partitions::{CreatePartitionsRequest, CreatePartitionsResponse, GrowingTopic, GrownTopic};
use super::delete_records::*;
use super::describe_log_dirs::*;
use super::fetch::*;
use super::incremental_alter_configs::{ChangedConfig, ChangedConfigs, IncrementalAlterConfigsRequest};
use super::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use super::list_offsets::*;
use super::metadata::*;
use super::offset_for_leader_epoch::*;
use super::produce::*;
use super::{Reader, WireError, Writer};
use crate::broker::context::Random;
use crate::kafka::{api_of, is_flexible};

const NOISE_ROUNDS: usize = 200;

/// Takes `sample` there and back in every version that is served, refuses it cut short, and survives noise.
fn check<T: PartialEq + std::fmt::Debug>(
    key: i16,
    sample: impl Fn(i16) -> T,
    encode: impl Fn(&T, &mut Writer, i16),
    decode: impl Fn(&mut Reader, i16) -> Result<T, WireError>,
) {
    let api = api_of(key).expect("the kind is served");
    let mut random = Random(key as u64);
    for version in api.min..=api.max {
        let flexible = is_flexible(key, version);
        let message = sample(version);
        let mut writer = Writer::new(flexible);
        encode(&message, &mut writer, version);
        let bytes = writer.into_bytes();
        let mut reader = Reader::new(bytes.clone(), flexible);
        assert_eq!(decode(&mut reader, version).as_ref(), Ok(&message), "version {version}");
        assert_eq!(reader.remaining(), 0, "version {version}");
        for cut in 0..bytes.len() {
            let mut reader = Reader::new(bytes.slice(..cut), flexible);
            assert!(decode(&mut reader, version).is_err(), "version {version} cut at {cut}");
        }
        for _ in 0..NOISE_ROUNDS {
            let mut noise = bytes.to_vec();
            for _ in 0..3 {
                let place = random.next_u64() as usize % noise.len().max(1);
                if let Some(byte) = noise.get_mut(place) {
                    *byte = random.next_u64() as u8;
                }
            }
            let _ = decode(&mut Reader::new(noise.into(), flexible), version);
            let noise: Vec<u8> =
                (0..random.next_u64() % 64).map(|_| random.next_u64() as u8 & 0x8f).collect();
            let _ = decode(&mut Reader::new(noise.into(), flexible), version);
        }
    }
}

/// `value` where the version has the field, and what a decoder gives where it has not.
fn since<T>(has: bool, value: T, otherwise: T) -> T {
    if has { value } else { otherwise }
}

fn text(text: &str) -> String {
    text.to_string()
}

#[test]
fn api_versions() {
    check(
        18,
        |version| ApiVersionsRequest {
            client_software_name: since(version >= 3, text("kcat"), text("")),
            client_software_version: since(version >= 3, text("1.7"), text("")),
        },
        ApiVersionsRequest::encode,
        ApiVersionsRequest::decode,
    );
    check(
        18,
        |version| ApiVersionsResponse {
            error_code: 35,
            api_keys: vec![ApiRange { key: 18, min: 0, max: 4 }, ApiRange { key: 0, min: 0, max: 13 }],
            throttle_time_ms: since(version >= 1, 9, 0),
        },
        ApiVersionsResponse::encode,
        ApiVersionsResponse::decode,
    );
}

#[test]
fn metadata() {
    let topics = |version: i16| {
        vec![
            MetadataRequestTopic { id: [0; 16], name: Some(text("orders")) },
            MetadataRequestTopic {
                id: since(version >= 10, [3; 16], [0; 16]),
                name: since(version >= 10, None, Some(text("x"))),
            },
        ]
    };
    for all in [false, true] {
        check(
            3,
            |version| MetadataRequest {
                topics: if all { None } else { Some(topics(version)) },
                allow_auto_topic_creation: version < 4,
                include_cluster_authorized_operations: (8..=10).contains(&version),
                include_topic_authorized_operations: version >= 8,
            },
            MetadataRequest::encode,
            MetadataRequest::decode,
        );
    }
    check(
        3,
        |version| MetadataResponse {
            throttle_time_ms: since(version >= 3, 5, 0),
            brokers: vec![MetadataBroker {
                node_id: 1,
                host: text("localhost"),
                port: 9092,
                rack: since(version >= 1, Some(text("r1")), None),
            }],
            cluster_id: since(version >= 2, Some(text("cluster")), None),
            controller_id: since(version >= 1, 1, 0),
            topics: vec![MetadataTopic {
                error_code: 3,
                name: since(version >= 12, None, Some(text("orders"))),
                id: since(version >= 10, [4; 16], [0; 16]),
                is_internal: version >= 1,
                partitions: vec![MetadataPartition {
                    error_code: 9,
                    index: 2,
                    leader_id: 1,
                    leader_epoch: since(version >= 7, 6, 0),
                    replica_nodes: vec![1, 2],
                    isr_nodes: vec![1],
                    offline_replicas: since(version >= 5, vec![2], Vec::new()),
                }],
                authorized_operations: since(version >= 8, 3576, 0),
            }],
            cluster_authorized_operations: since((8..=10).contains(&version), 7, 0),
            error_code: since(version >= 13, 41, 0),
        },
        MetadataResponse::encode,
        MetadataResponse::decode,
    );
}

/// Topic name and id as versions from 13 on, or before, have them.
fn name_and_id(version: i16) -> (String, [u8; 16]) {
    since(version >= 13, (text(""), [8; 16]), (text("orders"), [0; 16]))
}

#[test]
fn produce() {
    check(
        0,
        |version| {
            let (name, id) = name_and_id(version);
            let partitions = vec![
                ProducePartition { index: 0, records: Some(Bytes::from_static(b"records")) },
                ProducePartition { index: 1, records: None },
            ];
            let topics = vec![ProduceTopic { name, id, partitions }];
            ProduceRequest { transactional_id: Some(text("tx")), acks: -1, timeout_ms: 30_000, topics }
        },
        ProduceRequest::encode,
        ProduceRequest::decode,
    );
    check(
        0,
        |version| {
            let (name, id) = name_and_id(version);
            let error = RecordError { batch_index: 3, message: Some(text("no key")) };
            let partitions = vec![ProducePartitionResponse {
                index: 1,
                error_code: 87,
                base_offset: 77,
                log_append_time_ms: -1,
                log_start_offset: since(version >= 5, 70, 0),
                record_errors: since(version >= 8, vec![error], Vec::new()),
                error_message: since(version >= 8, Some(text("refused")), None),
            }];
            let topics = vec![ProduceTopicResponse { name, id, partitions }];
            ProduceResponse { topics, throttle_time_ms: 4 }
        },
        ProduceResponse::encode,
        ProduceResponse::decode,
    );
}

#[test]
fn fetch() {
    check(
        1,
        |version| {
            let (name, id) = name_and_id(version);
            let partitions = vec![FetchPartition {
                index: 3,
                current_leader_epoch: since(version >= 9, 0, -1),
                fetch_offset: 1 << 40,
                last_fetched_epoch: since(version >= 12, 0, -1),
                log_start_offset: since(version >= 5, 12, -1),
                partition_max_bytes: 1 << 20,
            }];
            let forgotten = ForgottenTopic { name: name.clone(), id, partitions: vec![1, 2] };
            FetchRequest {
                replica_id: since(version <= 14, -2, -1),
                max_wait_ms: 500,
                min_bytes: 1,
                max_bytes: 50 << 20,
                isolation_level: 1,
                session_id: since(version >= 7, 5, 0),
                session_epoch: since(version >= 7, 6, -1),
                topics: vec![FetchTopic { name, id, partitions }],
                forgotten_topics: since(version >= 7, vec![forgotten], Vec::new()),
                rack_id: since(version >= 11, text("rack"), text("")),
            }
        },
        FetchRequest::encode,
        FetchRequest::decode,
    );
    check(
        1,
        |version| {
            let (name, id) = name_and_id(version);
            let partitions = vec![FetchPartitionResponse {
                index: 3,
                error_code: 0,
                high_watermark: 9,
                last_stable_offset: 8,
                log_start_offset: since(version >= 5, 2, -1),
                aborted_transactions: Some(vec![AbortedTransaction { producer_id: 1, first_offset: 2 }]),
                preferred_read_replica: since(version >= 11, 4, -1),
                records: vec![Bytes::from_static(b"batches")],
            }];
            FetchResponse {
                throttle_time_ms: 1,
                error_code: since(version >= 7, 70, 0),
                session_id: since(version >= 7, 2, 0),
                topics: vec![FetchTopicResponse { name, id, partitions }],
            }
        },
        FetchResponse::encode,
        FetchResponse::decode,
    );
}

#[test]
fn list_offsets() {
    check(
        2,
        |version| {
            let current_leader_epoch = since(version >= 4, 0, -1);
            let partitions = vec![ListOffsetsPartition { index: 1, current_leader_epoch, timestamp: -3 }];
            ListOffsetsRequest {
                replica_id: -1,
                isolation_level: since(version >= 2, 1, 0),
                topics: vec![ListOffsetsTopic { name: text("orders"), partitions }],
                timeout_ms: since(version >= 10, 1000, 0),
            }
        },
        ListOffsetsRequest::encode,
        ListOffsetsRequest::decode,
    );
    check(
        2,
        |version| {
            let partitions = vec![ListOffsetsPartitionResponse {
                index: 1,
                error_code: 0,
                timestamp: 1_700_000_000_000,
                offset: 17,
                leader_epoch: since(version >= 4, 0, -1),
            }];
            ListOffsetsResponse {
                throttle_time_ms: since(version >= 2, 1, 0),
                topics: vec![ListOffsetsTopicResponse { name: text("orders"), partitions }],
            }
        },
        ListOffsetsResponse::encode,
        ListOffsetsResponse::decode,
    );
}

#[test]
fn init_producer_id() {
    check(
        22,
        |version| InitProducerIdRequest {
            transactional_id: Some(text("tx")),
            transaction_timeout_ms: 60_000,
            producer_id: since(version >= 3, 5, -1),
            producer_epoch: since(version >= 3, 6, -1),
        },
        InitProducerIdRequest::encode,
        InitProducerIdRequest::decode,
    );
    check(
        22,
        |_| InitProducerIdResponse {
            throttle_time_ms: 1,
            error_code: 53,
            producer_id: -1,
            producer_epoch: -1,
        },
        InitProducerIdResponse::encode,
        InitProducerIdResponse::decode,
    );
}

#[test]
fn offset_for_leader_epoch() {
    check(
        23,
        |version| {
            let partitions = vec![EpochPartition { index: 1, current_leader_epoch: -1, leader_epoch: 0 }];
            OffsetForLeaderEpochRequest {
                replica_id: since(version >= 3, -1, -2),
                topics: vec![EpochTopic { name: text("orders"), partitions }],
            }
        },
        OffsetForLeaderEpochRequest::encode,
        OffsetForLeaderEpochRequest::decode,
    );
    check(
        23,
        |_| {
            let partition =
                EpochPartitionResponse { error_code: 0, index: 1, leader_epoch: 0, end_offset: 9 };
            OffsetForLeaderEpochResponse {
                throttle_time_ms: 0,
                topics: vec![EpochTopicResponse { name: text("orders"), partitions: vec![partition] }],
            }
        },
        OffsetForLeaderEpochResponse::encode,
        OffsetForLeaderEpochResponse::decode,
    );
}

fn records_to_delete() -> DeleteRecordsRequest {
    let partitions = vec![DeleteRecordsPartition { index: 1, offset: -1 }];
    let topics = vec![DeleteRecordsTopic { name: text("t"), partitions }];
    DeleteRecordsRequest { topics, timeout_ms: 1000 }
}

fn partitions_to_create() -> CreatePartitionsRequest {
    let assigned = Some(vec![vec![1], vec![2, 3]]);
    let topics = vec![
        GrowingTopic { name: text("t"), count: 4, assignments: assigned },
        GrowingTopic { name: text("u"), count: 2, assignments: None },
    ];
    CreatePartitionsRequest { topics, timeout_ms: 1000, validate_only: true }
}

fn configs_to_change() -> IncrementalAlterConfigsRequest {
    let config = |name, operation, value| ChangedConfig { name: text(name), operation, value };
    let configs = vec![config("k", 0, Some(text("v"))), config("l", 1, None)];
    let resources = vec![ChangedConfigs { resource_type: 2, resource_name: text("t"), configs }];
    IncrementalAlterConfigsRequest { resources, validate_only: true }
}

#[test]
fn alterations_of_topics() {
    check(21, |_| records_to_delete(), DeleteRecordsRequest::encode, DeleteRecordsRequest::decode);
    check(
        21,
        |_| {
            let partitions = vec![DeletedRecordsPartition { index: 1, low_watermark: 7, error_code: 44 }];
            let topics = vec![DeletedRecordsTopic { name: text("t"), partitions }];
            DeleteRecordsResponse { throttle_time_ms: 3, topics }
        },
        DeleteRecordsResponse::encode,
        DeleteRecordsResponse::decode,
    );
    check(37, |_| partitions_to_create(), CreatePartitionsRequest::encode, CreatePartitionsRequest::decode);
    check(
        37,
        |_| {
            let error_message = Some(text("why"));
            let results = vec![GrownTopic { name: text("t"), error_code: 37, error_message }];
            CreatePartitionsResponse { throttle_time_ms: 3, results }
        },
        CreatePartitionsResponse::encode,
        CreatePartitionsResponse::decode,
    );
    check(
        33,
        |_| {
            let configs = vec![(text("k"), Some(text("v"))), (text("l"), None)];
            let resources = vec![ReplacedConfigs { resource_type: 2, resource_name: text("t"), configs }];
            AlterConfigsRequest { resources, validate_only: true }
        },
        AlterConfigsRequest::encode,
        AlterConfigsRequest::decode,
    );
    check(
        44,
        |_| configs_to_change(),
        IncrementalAlterConfigsRequest::encode,
        IncrementalAlterConfigsRequest::decode,
    );
    for key in [33, 44] {
        check(
            key,
            |_| {
                let (error_message, resource_name) = (Some(text("why")), text("t"));
                let altered =
                    AlteredResource { error_code: 40, error_message, resource_type: 2, resource_name };
                AlterConfigsResponse { throttle_time_ms: 3, resources: vec![altered] }
            },
            AlterConfigsResponse::encode,
            AlterConfigsResponse::decode,
        );
    }
}

/// Written down from Apache Kafka's schemas.
#[test]
fn alterations_byte_by_byte() {
    let encoded = |flexible, encode: &dyn Fn(&mut Writer)| {
        let mut writer = Writer::new(flexible);
        encode(&mut writer);
        writer.into_bytes()
    };
    let delete = records_to_delete();
    let classic = b"\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\x01\xff\xff\xff\xff\xff\xff\xff\xff\0\0\x03\xe8";
    assert_eq!(encoded(false, &|writer| delete.encode(writer, 1)), classic[..]);
    let flexible = b"\x02\x02t\x02\0\0\0\x01\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0\x03\xe8\0";
    assert_eq!(encoded(true, &|writer| delete.encode(writer, 2)), flexible[..]);

    let create = partitions_to_create();
    let classic = b"\0\0\0\x02\0\x01t\0\0\0\x04\0\0\0\x02\0\0\0\x01\0\0\0\x01\0\0\0\x02\0\0\0\x02\0\0\0\x03\
        \0\x01u\0\0\0\x02\xff\xff\xff\xff\0\0\x03\xe8\x01";
    assert_eq!(encoded(false, &|writer| create.encode(writer, 1)), classic[..]);
    let flexible = b"\x03\x02t\0\0\0\x04\x03\x02\0\0\0\x01\0\x03\0\0\0\x02\0\0\0\x03\0\0\
        \x02u\0\0\0\x02\0\0\0\0\x03\xe8\x01\0";
    assert_eq!(encoded(true, &|writer| create.encode(writer, 3)), flexible[..]);

    let change = configs_to_change();
    let classic = b"\0\0\0\x01\x02\0\x01t\0\0\0\x02\0\x01k\0\0\x01v\0\x01l\x01\xff\xff\x01";
    assert_eq!(encoded(false, &|writer| change.encode(writer, 0)), classic[..]);
    let flexible = b"\x02\x02\x02t\x03\x02k\0\x02v\0\x02l\x01\0\0\0\x01\0";
    assert_eq!(encoded(true, &|writer| change.encode(writer, 1)), flexible[..]);
}

/// Byte strings written down from the protocol's description, not from this code.
#[test]
fn golden_bytes() {
    let request = b"\xff\xff\xff\xff\0\0\x75\x30\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\0\0\0\0\x02rr";
    let request = Bytes::from_static(request);
    let decoded = ProduceRequest::decode(&mut Reader::new(request.clone(), false), 3).unwrap();
    assert_eq!((decoded.acks, decoded.timeout_ms), (-1, 30_000));
    assert_eq!(decoded.topics[0].partitions[0].records.as_deref(), Some(&b"rr"[..]));
    let mut writer = Writer::new(false);
    decoded.encode(&mut writer, 3);
    assert_eq!(writer.into_bytes(), request);

    // All topics, none created, nothing about operations.
    let mut writer = Writer::new(true);
    MetadataRequest::default().encode(&mut writer, 12);
    assert_eq!(writer.into_bytes(), [0, 0, 0, 0].as_slice());
    let mut writer = Writer::new(true);
    ApiVersionsResponse { api_keys: vec![ApiRange { key: 18, min: 0, max: 4 }], ..Default::default() }
        .encode(&mut writer, 3);
    assert_eq!(writer.into_bytes(), [0, 0, 2, 0, 18, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0].as_slice());
}

/// Takes golden bytes there and back.
fn recode<T>(
    bytes: &Bytes,
    (key, version): (i16, i16),
    decode: impl Fn(&mut Reader, i16) -> Result<T, WireError>,
    encode: impl Fn(&T, &mut Writer, i16),
) -> Bytes {
    let flexible = is_flexible(key, version);
    let mut reader = Reader::new(bytes.clone(), flexible);
    let message = decode(&mut reader, version).expect("golden bytes are a message");
    assert_eq!(reader.remaining(), 0, "kind {key} version {version}");
    let mut writer = Writer::new(flexible);
    encode(&message, &mut writer, version);
    writer.into_bytes()
}

#[test]
fn bytes_written_from_kafkas_schemas_come_back_as_they_were() {
    let mut lines_count = 0;
    for line in include_str!("golden.txt").lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split(' ');
        let mut number = || words.next().and_then(|word| word.parse::<i16>().ok()).expect("a number");
        let at = (number(), number());
        let kind = words.next().expect("a kind");
        let hex = words.next().expect("bytes");
        let byte = |place: usize| u8::from_str_radix(&hex[place..place + 2], 16).expect("hexadecimal");
        let bytes: Bytes = (0..hex.len()).step_by(2).map(byte).collect();
        let again = match (at.0, kind) {
            (0, "request") => recode(&bytes, at, ProduceRequest::decode, ProduceRequest::encode),
            (0, _) => recode(&bytes, at, ProduceResponse::decode, ProduceResponse::encode),
            (1, "request") => recode(&bytes, at, FetchRequest::decode, FetchRequest::encode),
            (1, _) => recode(&bytes, at, FetchResponse::decode, FetchResponse::encode),
            (2, "request") => recode(&bytes, at, ListOffsetsRequest::decode, ListOffsetsRequest::encode),
            (2, _) => recode(&bytes, at, ListOffsetsResponse::decode, ListOffsetsResponse::encode),
            (3, "request") => recode(&bytes, at, MetadataRequest::decode, MetadataRequest::encode),
            (3, _) => recode(&bytes, at, MetadataResponse::decode, MetadataResponse::encode),
            (18, "request") => recode(&bytes, at, ApiVersionsRequest::decode, ApiVersionsRequest::encode),
            (18, _) => recode(&bytes, at, ApiVersionsResponse::decode, ApiVersionsResponse::encode),
            (22, "request") => {
                recode(&bytes, at, InitProducerIdRequest::decode, InitProducerIdRequest::encode)
            }
            (22, _) => recode(&bytes, at, InitProducerIdResponse::decode, InitProducerIdResponse::encode),
            (23, "request") => {
                recode(&bytes, at, OffsetForLeaderEpochRequest::decode, OffsetForLeaderEpochRequest::encode)
            }
            (23, _) => {
                recode(&bytes, at, OffsetForLeaderEpochResponse::decode, OffsetForLeaderEpochResponse::encode)
            }
            (key, _) => panic!("golden bytes of kind {key}"),
        };
        // Null records and no records are one thing to a consumer, and are written as none.
        if !(line.ends_with("null") && (at.0, kind) == (1, "response")) {
            assert_eq!(again, bytes, "kind {} version {} {kind}", at.0, at.1);
        }
        lines_count += 1;
    }
    assert_eq!(lines_count, 194);
}

#[test]
fn describe_log_dirs() {
    for all in [false, true] {
        let topics = || vec![(text("orders"), vec![0, 3]), (text("x"), Vec::new())];
        check(
            35,
            |_| DescribeLogDirsRequest { topics: (!all).then(topics) },
            DescribeLogDirsRequest::encode,
            DescribeLogDirsRequest::decode,
        );
    }
    let partition = LogDirPartition { index: 3, size_bytes: 1 << 40, offset_lag: 2, is_future: true };
    check(
        35,
        |version| DescribeLogDirsResponse {
            throttle_time_ms: 5,
            error_code: since(version >= 3, 31, 0),
            results: vec![LogDir {
                error_code: 56,
                path: text("/data"),
                topics: vec![LogDirTopic { name: text("orders"), partitions: vec![partition.clone()] }],
                total_bytes: since(version >= 4, 1 << 41, UNKNOWN),
                usable_bytes: since(version >= 4, 7, UNKNOWN),
            }],
        },
        DescribeLogDirsResponse::encode,
        DescribeLogDirsResponse::decode,
    );
}

#[test]
fn acls() {
    let filter = AclFilter {
        resource_type: 2,
        resource_name: Some(text("orders")),
        pattern_type: 3,
        principal: None,
        host: Some(text("*")),
        operation: 4,
        permission_type: 5,
    };
    let any =
        AclFilter { resource_name: None, principal: Some(text("User:a")), host: None, ..filter.clone() };
    let message = || Some(text("no"));
    check(
        29,
        |_| DescribeAclsRequest { filter: filter.clone() },
        DescribeAclsRequest::encode,
        DescribeAclsRequest::decode,
    );
    check(
        29,
        |_| DescribeAclsResponse { throttle_time_ms: 5, error_code: 54, error_message: message() },
        DescribeAclsResponse::encode,
        DescribeAclsResponse::decode,
    );
    let creation = NewAcl {
        resource_type: 2,
        resource_name: text("orders"),
        pattern_type: 3,
        principal: text("User:a"),
        host: text("*"),
        operation: 4,
        permission_type: 5,
    };
    check(
        30,
        |_| CreateAclsRequest { creations: vec![creation.clone(), NewAcl::default()] },
        CreateAclsRequest::encode,
        CreateAclsRequest::decode,
    );
    check(
        30,
        |_| CreateAclsResponse { throttle_time_ms: 5, results: vec![(54, message()), (0, None)] },
        CreateAclsResponse::encode,
        CreateAclsResponse::decode,
    );
    check(
        31,
        |_| DeleteAclsRequest { filters: vec![filter.clone(), any.clone()] },
        DeleteAclsRequest::encode,
        DeleteAclsRequest::decode,
    );
    check(
        31,
        |_| DeleteAclsResponse { throttle_time_ms: 5, results: vec![(54, message()), (0, None)] },
        DeleteAclsResponse::encode,
        DeleteAclsResponse::decode,
    );
}

#[test]
fn consumer_group_heartbeat() {
    for bare in [false, true] {
        check(
            68,
            |version| ConsumerGroupHeartbeatRequest {
                group_id: text("g"),
                member_id: text("m"),
                member_epoch: -1,
                instance_id: (!bare).then(|| text("i")),
                rack_id: (!bare).then(|| text("r")),
                rebalance_timeout_ms: 300_000,
                subscribed_topics: (!bare).then(|| vec![text("t"), text("u")]),
                subscribed_regex: since(version >= 1 && !bare, Some(text("t.*")), None),
                server_assignor: (!bare).then(|| text("uniform")),
                owned: (!bare).then(|| vec![([3; 16], vec![0, 1])]),
            },
            ConsumerGroupHeartbeatRequest::encode,
            ConsumerGroupHeartbeatRequest::decode,
        );
        check(
            68,
            |_| ConsumerGroupHeartbeatResponse {
                throttle_time_ms: 5,
                error_code: 35,
                error_message: (!bare).then(|| text("no")),
                member_id: (!bare).then(|| text("m")),
                member_epoch: 7,
                heartbeat_interval_ms: 5000,
            },
            ConsumerGroupHeartbeatResponse::encode,
            ConsumerGroupHeartbeatResponse::decode,
        );
    }
}
