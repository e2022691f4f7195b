//! Alterations of topics through a whole session, in every version: partitions, settings, dropped records.

use std::collections::BTreeMap;

use ringmain_engine::types::LogId;

use super::administration_tests::{Server, topic, versions};
use crate::broker::authority::PARTITIONS_MAX;
use crate::broker::catalog::{Change, QueueSettings, Topic};
use crate::kafka::wire::alter_configs::{
    AlterConfigsRequest, AlterConfigsResponse, AlteredResource, ReplacedConfigs,
};
use crate::kafka::wire::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, GrowingTopic, GrownTopic,
};
use crate::kafka::wire::create_topics::NewTopic;
use crate::kafka::wire::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsResponse, DeleteRecordsTopic,
};
use crate::kafka::wire::incremental_alter_configs::{
    ChangedConfig, ChangedConfigs, IncrementalAlterConfigsRequest,
};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;

/// Type and name of a resource, and what is asked for each of its settings.
type Of<'a, T> = (i8, &'a str, &'a [T]);
/// A setting: name and value.
type Given<'a> = (&'a str, Option<&'a str>);
/// A setting's change: name, operation, value.
type Operation<'a> = (&'a str, i8, Option<&'a str>);

/// A topic "t" with two partitions and one setting, a queue "q" and a stream "s".
fn server() -> Server {
    let mut server = Server::new();
    let configs = vec![("retention.ms".to_string(), Some("1000".to_string()))];
    server.create(7, vec![NewTopic { num_partitions: 2, configs, ..topic("t") }], false);
    for (name, number, stream) in [("q", 100, false), ("s", 101, true)] {
        let queue = Some(QueueSettings { stream, ..QueueSettings::default() });
        let (name, partitions) = (name.to_string(), vec![LogId(number << 2)]);
        let topic = Topic { name, id: [number as u8; 16], partitions, configs: BTreeMap::new(), queue };
        server.catalog.apply(&Change::TopicCreated(topic));
    }
    server
}

fn grow(
    server: &mut Server,
    version: i16,
    topics: Vec<GrowingTopic>,
    validate_only: bool,
) -> Vec<GrownTopic> {
    let request = CreatePartitionsRequest { topics, timeout_ms: 1000, validate_only };
    let encode = |writer: &mut _, version| request.encode(writer, version);
    server.ask(37, version, encode, CreatePartitionsResponse::decode).results
}

fn to(name: &str, count: i32) -> GrowingTopic {
    GrowingTopic { name: name.to_string(), count, assignments: None }
}

#[test]
fn topics_grow_in_every_version() {
    for version in versions(37) {
        let mut server = server();
        let before = server.catalog.topic("t").unwrap().clone();
        let assignments = Some(vec![vec![1], vec![1], vec![1]]);
        let checked = grow(&mut server, version, vec![to("t", 5), to("none", 5)], true);
        assert_eq!((checked[0].error_code, checked[1].error_code), (0, 3));
        assert_eq!(server.catalog.topic("t"), Some(&before), "only checked");
        let grown = grow(&mut server, version, vec![GrowingTopic { assignments, ..to("t", 5) }], false);
        assert_eq!((grown[0].name.as_str(), grown[0].error_code), ("t", 0));
        assert_eq!(grown[0].error_message, None);
        let after = server.catalog.topic("t").unwrap();
        assert_eq!((after.partitions.len(), &after.partitions[..2]), (5, &before.partitions[..]));
        assert_eq!((after.id, &after.configs), (before.id, &before.configs));
    }
}

#[test]
fn what_cannot_grow_is_refused_and_the_rest_is_not() {
    let assigned = |ids: &[&[i32]]| GrowingTopic {
        assignments: Some(ids.iter().map(|ids| ids.to_vec()).collect()),
        ..to("t", 4)
    };
    for (refused, code) in [
        (to("none", 3), 3),
        (to("t", 2), 37),
        (to("t", 1), 37),
        (to("t", 0), 37),
        (to("t", -1), 37),
        (to("t", PARTITIONS_MAX as i32 + 1), 37),
        (to("q", 2), 37),
        (to("s", 2), 37),
        (assigned(&[&[1]]), 39),
        (assigned(&[&[1], &[2]]), 39),
        (assigned(&[&[1], &[1, 2]]), 39),
        (assigned(&[&[1], &[]]), 39),
    ] {
        let mut server = server();
        server.create(7, vec![NewTopic { num_partitions: 1, ..topic("other") }], false);
        let grown = grow(&mut server, 3, vec![refused.clone(), to("other", 2)], false);
        assert_eq!((grown[0].error_code, grown[1].error_code), (code, 0), "{refused:?}");
        assert!(grown[0].error_message.is_some());
        assert_eq!(server.catalog.topic("t").unwrap().partitions.len(), 2);
    }
    let twice = grow(&mut server(), 3, vec![to("t", 3), to("t", 4)], false);
    assert_eq!(twice.iter().map(|topic| topic.error_code).collect::<Vec<_>>(), [42]);
}

fn replace(
    server: &mut Server,
    version: i16,
    resources: &[Of<'_, Given<'_>>],
    validate_only: bool,
) -> Vec<AlteredResource> {
    let resources = resources.iter().map(|(resource_type, name, configs)| ReplacedConfigs {
        resource_type: *resource_type,
        resource_name: name.to_string(),
        configs: configs.iter().map(|(name, value)| (name.to_string(), value.map(str::to_string))).collect(),
    });
    let request = AlterConfigsRequest { resources: resources.collect(), validate_only };
    let encode = |writer: &mut _, version| request.encode(writer, version);
    server.ask(33, version, encode, AlterConfigsResponse::decode).resources
}

fn change(
    server: &mut Server,
    version: i16,
    resources: &[Of<'_, Operation<'_>>],
    validate_only: bool,
) -> Vec<AlteredResource> {
    let changed = |(name, operation, value): &Operation<'_>| ChangedConfig {
        name: name.to_string(),
        operation: *operation,
        value: value.map(str::to_string),
    };
    let resources = resources.iter().map(|(resource_type, name, configs)| ChangedConfigs {
        resource_type: *resource_type,
        resource_name: name.to_string(),
        configs: configs.iter().map(changed).collect(),
    });
    let request = IncrementalAlterConfigsRequest { resources: resources.collect(), validate_only };
    let encode = |writer: &mut _, version| request.encode(writer, version);
    server.ask(44, version, encode, AlterConfigsResponse::decode).resources
}

fn held(server: &Server, name: &str) -> Vec<(String, String)> {
    server.catalog.topic(name).unwrap().configs.clone().into_iter().collect()
}

fn settings(settings: &[(&str, &str)]) -> Vec<(String, String)> {
    settings.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

#[test]
fn settings_are_replaced_as_a_whole_in_every_version() {
    for version in versions(33) {
        let mut server = server();
        let bytes: &[_] = &[("retention.bytes", Some("5"))];
        let checked = replace(&mut server, version, &[(TOPIC, "t", bytes)], true);
        assert_eq!((checked[0].error_code, checked[0].error_message.as_deref()), (0, None));
        assert_eq!(held(&server, "t"), settings(&[("retention.ms", "1000")]), "only checked");
        let altered = replace(&mut server, version, &[(TOPIC, "t", bytes), (TOPIC, "s", bytes)], false);
        assert_eq!((altered[0].resource_type, altered[0].resource_name.as_str()), (TOPIC, "t"));
        assert_eq!((altered[0].error_code, altered[1].error_code), (0, 0));
        assert_eq!(held(&server, "t"), settings(&[("retention.bytes", "5")]));
        assert_eq!(held(&server, "s"), settings(&[("retention.bytes", "5")]));
        replace(&mut server, version, &[(TOPIC, "t", &[])], false);
        assert_eq!(held(&server, "t"), []);
    }
}

#[test]
fn single_settings_are_changed_in_every_version() {
    for version in versions(44) {
        let mut server = server();
        let configs: &[_] = &[("retention.bytes", 0, Some("5")), ("retention.ms", 1, None)];
        assert_eq!(change(&mut server, version, &[(TOPIC, "t", configs)], true)[0].error_code, 0);
        assert_eq!(held(&server, "t"), settings(&[("retention.ms", "1000")]), "only checked");
        change(&mut server, version, &[(TOPIC, "t", &configs[..1])], false);
        assert_eq!(held(&server, "t"), settings(&[("retention.bytes", "5"), ("retention.ms", "1000")]));
        change(&mut server, version, &[(TOPIC, "t", &configs[1..])], false);
        assert_eq!(held(&server, "t"), settings(&[("retention.bytes", "5")]));
        let append: &[_] = &[("cleanup.policy", 2, Some("delete"))];
        assert_eq!(change(&mut server, version, &[(TOPIC, "t", append)], false)[0].error_code, 0);
        let expected = settings(&[("cleanup.policy", "delete"), ("retention.bytes", "5")]);
        assert_eq!(held(&server, "t"), expected);
        let gone: &[_] = &[("leader.replication.throttled.replicas", 3, Some("0:1, 1:1"))];
        assert_eq!(change(&mut server, version, &[(TOPIC, "t", gone)], false)[0].error_code, 0);
    }
}

#[test]
fn settings_that_cannot_be_are_refused_with_a_reason() {
    let cases: &[(Of<'_, Operation<'_>>, i16, &str)] = &[
        ((TOPIC, "none", &[]), 3, "none"),
        ((TOPIC, "q", &[("retention.ms", 0, Some("5"))]), 42, "declared"),
        ((BROKER, "1", &[("log.retention.ms", 0, Some("5"))]), 42, "at its start"),
        ((BROKER, "", &[]), 42, "at its start"),
        ((BROKER_LOGGER, "1", &[]), 42, "resource type"),
        ((TOPIC, "t", &[("no.such", 0, Some("5"))]), 40, "no.such"),
        ((TOPIC, "t", &[("retention.ms", 0, Some("soon"))]), 40, "soon"),
        ((TOPIC, "t", &[("compression.type", 0, Some("zstd"))]), 40, "not implemented"),
        ((TOPIC, "t", &[("cleanup.policy", 2, Some("never"))]), 40, "delete,never"),
        ((TOPIC, "t", &[("cleanup.policy", 3, Some("delete"))]), 40, "cleanup.policy"),
        ((TOPIC, "t", &[("retention.ms", 2, Some("5"))]), 40, "not a list"),
        ((TOPIC, "t", &[("retention.ms", 0, None)]), 42, "Null"),
        ((TOPIC, "t", &[("retention.ms", 4, Some("5"))]), 42, "operation"),
        ((TOPIC, "t", &[("retention.ms", 0, Some("5")), ("retention.ms", 1, None)]), 42, "Duplicate"),
    ];
    for (refused, code, reason) in cases {
        let mut server = server();
        let other: Of<'_, Operation<'_>> = (TOPIC, "s", &[("retention.ms", 0, Some("7"))]);
        let altered = change(&mut server, 1, &[*refused, other], false);
        assert_eq!((altered[0].error_code, altered[1].error_code), (*code, 0), "{refused:?}");
        let message = altered[0].error_message.as_deref().unwrap();
        assert!(message.contains(reason), "{refused:?}: {message}");
        assert_eq!(held(&server, "t"), settings(&[("retention.ms", "1000")]));
        assert_eq!(held(&server, "s"), settings(&[("retention.ms", "7")]));
    }
    let mut server = server();
    let twice: Of<'_, Operation<'_>> = (TOPIC, "t", &[("retention.ms", 1, None)]);
    let altered = change(&mut server, 1, &[twice, twice], false);
    assert_eq!((altered[0].error_code, altered[1].error_code), (42, 42));
    for (configs, code) in [
        (&[("retention.ms", None)][..], 42),
        (&[("retention.ms", Some("1")), ("retention.ms", Some("2"))], 42),
        (&[("retention.ms", Some("-5"))], 40),
    ] {
        assert_eq!(replace(&mut server, 2, &[(TOPIC, "t", configs)], false)[0].error_code, code);
    }
    assert_eq!(held(&server, "t"), settings(&[("retention.ms", "1000")]));
}

#[test]
fn records_are_dropped_in_every_version() {
    for version in versions(21) {
        let mut server = server();
        for (name, policy) in [("kept", "compact"), ("both", "compact,delete")] {
            let configs = vec![("cleanup.policy".to_string(), Some(policy.to_string()))];
            server.create(7, vec![NewTopic { num_partitions: 1, configs, ..topic(name) }], false);
        }
        let topic = |name: &str, partitions: &[(i32, i64)]| DeleteRecordsTopic {
            name: name.to_string(),
            partitions: partitions
                .iter()
                .map(|(index, offset)| DeleteRecordsPartition { index: *index, offset: *offset })
                .collect(),
        };
        let request = DeleteRecordsRequest {
            topics: vec![
                topic("t", &[(1, 5), (0, -1), (0, 1), (1, 11), (2, 0), (-1, 0), (0, -2)]),
                topic("none", &[(0, 0)]),
                topic("q", &[(0, 0)]),
                topic("s", &[(0, 10)]),
                topic("kept", &[(0, 0)]),
                topic("both", &[(0, 0)]),
            ],
            timeout_ms: 1000,
        };
        let encode = |writer: &mut _, version| request.encode(writer, version);
        let response = server.ask(21, version, encode, DeleteRecordsResponse::decode);
        let answered: Vec<(&str, Vec<_>)> = response
            .topics
            .iter()
            .map(|topic| {
                let partitions = topic.partitions.iter();
                let partitions = partitions.map(|found| (found.index, found.low_watermark, found.error_code));
                (topic.name.as_str(), partitions.collect())
            })
            .collect();
        let of_t = vec![(1, 5, 0), (0, 10, 0), (0, 2, 0), (1, -1, 1), (2, -1, 3), (-1, -1, 3), (0, -1, 1)];
        let expected = [
            ("t", of_t),
            ("none", vec![(0, -1, 3)]),
            ("q", vec![(0, -1, 44)]),
            ("s", vec![(0, 10, 0)]),
            ("kept", vec![(0, -1, 44)]),
            ("both", vec![(0, 2, 0)]),
        ];
        assert_eq!(answered, expected);
    }
}
