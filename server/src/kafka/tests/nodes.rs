//! Every core as a broker of its own: who is named as what, and that nobody is refused for asking the wrong one.

use super::{ORDERS, World, appended, batch_of, metadata};
use crate::broker::command::{Command, Event, Sizes};
use crate::broker::core_of;
use crate::broker::groups::GroupRequest;
use crate::broker::nodes::Nodes;
use crate::kafka::wire::create_partitions::*;
use crate::kafka::wire::create_topics::*;
use crate::kafka::wire::describe_cluster::*;
use crate::kafka::wire::describe_configs::*;
use crate::kafka::wire::describe_log_dirs::*;
use crate::kafka::wire::find_coordinator::*;
use crate::kafka::wire::list_groups::*;
use crate::kafka::wire::metadata::MetadataRequest;
use crate::kafka::wire::{Reader, WireError, Writer};

/// Two cores, a broker each: 5 and 6.
fn two() -> World {
    let mut world = World::new();
    world.settings.cores = 2;
    world.settings.nodes = Nodes::new(5, "broker".to_string(), vec![9092, 9100]);
    world
}

impl World {
    fn exchange<T>(
        &mut self,
        (key, version): (i16, i16),
        encode: impl FnOnce(&mut Writer, i16),
        decode: impl FnOnce(&mut Reader, i16) -> Result<T, WireError>,
    ) -> T {
        self.ask(key, version, encode);
        let (_, mut reader) = self.response(key, version).unwrap();
        let response = decode(&mut reader, version).unwrap();
        assert_eq!(reader.remaining(), 0);
        response
    }
}

#[test]
fn the_leader_of_a_partition_is_the_core_that_owns_it() {
    let mut world = two();
    world.create("spread", [1; 16], 5);
    for version in 0..=13 {
        let response = metadata(&mut world, version, &MetadataRequest::default()).unwrap();
        let brokers: Vec<_> = response
            .brokers
            .iter()
            .map(|broker| (broker.node_id, broker.host.as_str(), broker.port))
            .collect();
        assert_eq!(brokers, [(5, "broker", 9092), (6, "broker", 9100)]);
        assert_eq!(response.controller_id, if version >= 1 { 5 } else { 0 });
        let spread = response.topics.iter().find(|topic| topic.name.as_deref() == Some("spread")).unwrap();
        for partition in &spread.partitions {
            let log = world.catalog.topic("spread").unwrap().partitions[partition.index as usize];
            let owner = 5 + i32::from(core_of(&Command::Unwatch { log }, 2));
            assert_eq!(partition.leader_id, owner);
            assert_eq!(
                (&partition.replica_nodes[..], &partition.isr_nodes[..]),
                (&[owner][..], &[owner][..])
            );
        }
        let leaders = |id| spread.partitions.iter().filter(|partition| partition.leader_id == id).count();
        assert!(leaders(5) >= 2 && leaders(6) >= 2);
    }
}

#[test]
fn the_coordinator_of_a_group_is_the_core_that_owns_it() {
    let mut world = two();
    let names: Vec<String> = (0..20).map(|number| format!("group-{number}")).collect();
    let mut found_on = [0; 2];
    for name in names {
        for version in 0..=6 {
            let request = FindCoordinatorRequest { key_type: 0, keys: vec![name.clone()] };
            let found = world.exchange(
                (10, version),
                |writer, version| request.encode(writer, version),
                FindCoordinatorResponse::decode,
            );
            let command = Command::Group { group: name.clone(), request: GroupRequest::Describe };
            let core = core_of(&command, 2);
            let (id, port) = [(5, 9092), (6, 9100)][usize::from(core)];
            let coordinator = &found.coordinators[0];
            assert_eq!((coordinator.node_id, coordinator.port), (id, port));
            found_on[usize::from(core)] += 1;
        }
    }
    assert!(found_on.iter().all(|count| *count > 0), "{found_on:?}");
    let request = FindCoordinatorRequest { key_type: 1, keys: vec!["transaction".to_string()] };
    for (version, error) in [(1, 53), (2, 53), (3, 53), (4, 35), (6, 35)] {
        let encode = |writer: &mut _, version| request.encode(writer, version);
        let found = world.exchange((10, version), encode, FindCoordinatorResponse::decode);
        let Coordinator { node_id, error_code, error_message, .. } = &found.coordinators[0];
        assert_eq!((*node_id, *error_code), (-1, error));
        assert_eq!(error_message.as_deref(), Some("this broker does not serve transactions"));
    }
}

#[test]
fn the_cluster_and_the_settings_of_each_broker_are_described() {
    let mut world = two();
    for version in 0..=2 {
        let request = DescribeClusterRequest { endpoint_type: BROKERS, ..Default::default() };
        let encode = |writer: &mut _, version| request.encode(writer, version);
        let cluster = world.exchange((60, version), encode, DescribeClusterResponse::decode);
        let brokers: Vec<_> = cluster.brokers.iter().map(|broker| (broker.broker_id, broker.port)).collect();
        assert_eq!((cluster.controller_id, brokers), (5, vec![(5, 9092), (6, 9100)]));
    }
    // Any core says how any other is reached.
    for (name, listener) in
        [("5", Some("PLAINTEXT://broker:9092")), ("6", Some("PLAINTEXT://broker:9100")), ("7", None)]
    {
        let resource =
            Resource { resource_type: 4, resource_name: name.to_string(), configuration_keys: None };
        let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
        let encode = |writer: &mut _, version| request.encode(writer, version);
        let described = world.exchange((32, 4), encode, DescribeConfigsResponse::decode);
        let value = |wanted: &str| {
            let found = described.results[0].configs.iter().find(|config| config.name == wanted);
            found.and_then(|config| config.value.clone())
        };
        assert_eq!(value("advertised.listeners").as_deref(), listener);
        assert_eq!(value("node.id").as_deref(), listener.map(|_| name));
        assert_eq!(described.results[0].error_code, if listener.is_some() { 0 } else { 42 });
    }
}

#[test]
fn each_broker_lists_the_groups_of_its_core() {
    for (core, only) in [(0, false), (1, false), (1, true)] {
        let mut world = two();
        world.core = core;
        if only {
            world.settings.nodes = Nodes::new(5, "broker".to_string(), vec![9092]);
        }
        world.ask(16, 5, |writer, version| ListGroupsRequest::default().encode(writer, version));
        let asked = world.commands();
        let cores: Vec<u16> = asked.iter().map(|(_, command)| core_of(command, 2)).collect();
        assert_eq!(cores, if only { vec![0, 1] } else { vec![core] });
        for (ticket, _) in asked {
            world.event(ticket, Event::Groups(vec![("g".to_string(), "consumer".to_string(), "Empty")]));
        }
        let (_, mut reader) = world.response(16, 5).unwrap();
        let listed = ListGroupsResponse::decode(&mut reader, 5).unwrap();
        assert_eq!(listed.groups.len(), cores.len());
    }
}

#[test]
fn what_another_core_owns_is_asked_of_it_and_not_refused() {
    let mut world = two();
    for core in 0..2 {
        world.core = core;
        world.produce(9, -1, "orders", batch_of(1, 0));
        let asked = world.commands();
        assert_eq!(core_of(&asked[0].1, 2), world.settings.nodes.of_log(world.log(1)).id as u16 - 5);
        world.event(asked[0].0, appended(3));
        let answered = world.produced(9).unwrap();
        assert_eq!(answered.topics[0].partitions[0].error_code, 0);
    }
}

#[test]
fn brokers_that_are_cores_are_not_chosen_by_clients() {
    let mut world = two();
    let assignments = vec![Assignment { partition_index: 0, broker_ids: vec![5] }];
    let topic = NewTopic {
        name: "chosen".to_string(),
        num_partitions: -1,
        replication_factor: -1,
        assignments,
        configs: Vec::new(),
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 1, validate_only: false };
    let encode = |writer: &mut _, version| request.encode(writer, version);
    let created = world.exchange((19, 7), encode, CreateTopicsResponse::decode);
    assert_eq!(created.topics[0].error_code, 39);

    let more = GrowingTopic { name: "orders".to_string(), count: 3, assignments: Some(vec![vec![5]]) };
    let request = CreatePartitionsRequest { topics: vec![more], timeout_ms: 1, validate_only: false };
    let encode = |writer: &mut _, version| request.encode(writer, version);
    let grown = world.exchange((37, 3), encode, CreatePartitionsResponse::decode);
    assert_eq!(grown.results[0].error_code, 39);
    assert!(world.commands().is_empty());
    assert_eq!(world.catalog.topic("orders").unwrap().id, ORDERS);
}

/// Asks how large partitions are; each has a thousand bytes and its log's number. `gone`: a log that is deleted meanwhile.
fn sizes(
    world: &mut World,
    version: i16,
    topics: Option<&[(&str, &[i32])]>,
    gone: Option<u64>,
) -> (Vec<u16>, LogDir) {
    let named = |(name, partitions): &(&str, &[i32])| (name.to_string(), partitions.to_vec());
    let request = DescribeLogDirsRequest { topics: topics.map(|topics| topics.iter().map(named).collect()) };
    world.ask(35, version, |writer, version| request.encode(writer, version));
    let mut cores = Vec::new();
    for (ticket, command) in world.commands().into_iter().rev() {
        let core = core_of(&command, world.settings.cores);
        let Command::Sizes { logs, .. } = command else { panic!("only sizes are asked for") };
        assert!(
            logs.iter().all(|log| core_of(&Command::Unwatch { log: *log }, world.settings.cores) == core)
        );
        let bytes = logs.iter().map(|log| (Some(log.0) != gone).then_some(1000 + log.0)).collect();
        world.event(ticket, Event::Sizes(Sizes { bytes, free_bytes: Some(50 + u64::from(core)) }));
        cores.push(core);
    }
    let (_, mut reader) = world.response(35, version).unwrap();
    let mut response = DescribeLogDirsResponse::decode(&mut reader, version).unwrap();
    assert_eq!((reader.remaining(), response.error_code, response.results.len()), (0, 0, 1));
    cores.reverse();
    (cores, response.results.remove(0))
}

fn partitions_of(directory: &LogDir) -> Vec<(&str, i32, i64)> {
    let of_topic = |topic: &'_ LogDirTopic| -> Vec<(i32, i64)> {
        topic.partitions.iter().map(|partition| (partition.index, partition.size_bytes)).collect()
    };
    let named = |topic| of_topic(topic).into_iter().map(|(index, bytes)| (topic.name.as_str(), index, bytes));
    directory.topics.iter().flat_map(named).collect()
}

#[test]
fn every_core_says_what_its_partitions_hold() {
    let mut world = two();
    world.settings.nodes = Nodes::new(5, "broker".to_string(), vec![9092]);
    world.create("spread", [1; 16], 3);
    let mut expected = Vec::new();
    for name in ["orders", "spread"] {
        let logs = &world.catalog.topic(name).unwrap().partitions;
        expected.extend((0..).zip(logs).map(|(index, log)| (name, index, 1000 + log.0 as i64)));
    }
    for version in 1..=4 {
        let (cores, directory) = sizes(&mut world, version, None, None);
        assert_eq!((cores, partitions_of(&directory)), (vec![0, 1], expected.clone()));
        assert_eq!(directory.path, "/data");
        let room = if version >= 4 { 50 } else { UNKNOWN };
        assert_eq!((directory.error_code, directory.total_bytes, directory.usable_bytes), (0, UNKNOWN, room));
        let lag = |partition: &LogDirPartition| partition.offset_lag != 0 || partition.is_future;
        assert!(!directory.topics.iter().any(|topic| topic.partitions.iter().any(lag)));
    }
    let some: &[(&str, &[i32])] = &[("spread", &[2, 7, 2, -1]), ("nothing", &[0]), ("spread", &[1])];
    let (_, directory) = sizes(&mut world, 4, Some(some), None);
    assert_eq!(partitions_of(&directory), expected[3..]);
    let gone = world.catalog.topic("spread").unwrap().partitions[2].0;
    let (_, directory) = sizes(&mut world, 4, Some(some), Some(gone));
    assert_eq!(partitions_of(&directory), expected[3..4]);
    let (_, directory) = sizes(&mut world, 4, Some(&[]), None);
    assert!(directory.topics.is_empty());
}

#[test]
fn each_broker_says_what_the_partitions_of_its_core_hold() {
    let mut world = two();
    world.create("spread", [1; 16], 5);
    let mut found = Vec::new();
    for core in 0..2 {
        world.core = core;
        let (cores, directory) = sizes(&mut world, 4, None, None);
        assert_eq!((cores, directory.usable_bytes), (vec![core], 50 + i64::from(core)));
        let of_core: Vec<_> =
            partitions_of(&directory).iter().map(|(name, index, _)| format!("{name}-{index}")).collect();
        assert!(of_core.len() >= 3);
        found.extend(of_core);
    }
    found.sort();
    let all = ["orders-0", "orders-1", "spread-0", "spread-1", "spread-2", "spread-3", "spread-4"];
    assert_eq!(found, all);
}
