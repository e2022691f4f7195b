//! Group requests through a whole session, answered by real groups: from bytes to bytes.

use bytes::{Bytes, BytesMut};
use ringmain_engine::types::{LogId, Now};

use crate::broker::catalog::{Catalog, Change, Topic};
use crate::broker::command::{Command, Event, SessionId};
use crate::broker::context::{Context, Output, Random};
use crate::broker::groups::{GroupOutput, Groups, Waiter};
use crate::broker::nodes::Nodes;
use crate::broker::settings::Settings;
use crate::kafka::Session;
use crate::kafka::wire::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
};
use crate::kafka::wire::delete_groups::{DeleteGroupsRequest, DeleteGroupsResponse};
use crate::kafka::wire::describe_groups::{DescribeGroupsRequest, DescribeGroupsResponse};
use crate::kafka::wire::find_coordinator::{FindCoordinatorRequest, FindCoordinatorResponse};
use crate::kafka::wire::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use crate::kafka::wire::join_group::{JoinGroupRequest, JoinGroupResponse};
use crate::kafka::wire::leave_group::{LeaveGroupRequest, LeaveGroupResponse, LeavingMember};
use crate::kafka::wire::list_groups::{ListGroupsRequest, ListGroupsResponse};
use crate::kafka::wire::offset_commit::{
    CommitPartition, CommitTopic, OffsetCommitRequest, OffsetCommitResponse,
};
use crate::kafka::wire::offset_delete::{OffsetDeleteRequest, OffsetDeleteResponse};
use crate::kafka::wire::offset_fetch::{FetchGroup, FetchTopic, OffsetFetchRequest, OffsetFetchResponse};
use crate::kafka::wire::sync_group::{SyncGroupRequest, SyncGroupResponse};
use crate::kafka::wire::{Reader, RequestHeader, Writer, frame};
use crate::kafka::{error::ErrorCode, is_flexible};

const TOPIC_ID: [u8; 16] = [9; 16];

/// One connection to a node with two cores; every group is on one of them.
struct Node {
    session: Session,
    groups: Groups,
    catalog: Catalog,
    settings: Settings,
    random: Random,
    now: Now,
    output: Output,
}

impl Node {
    fn new() -> Node {
        let mut catalog = Catalog::new();
        catalog.apply(&Change::TopicCreated(Topic {
            name: text("t"),
            id: TOPIC_ID,
            partitions: vec![LogId(256), LogId(260)],
            configs: Default::default(),
            queue: None,
        }));
        Node {
            session: Session::new(([127, 0, 0, 1], 5000).into()),
            groups: Groups::new(0),
            catalog,
            settings: settings(),
            random: Random(1),
            now: Now::default(),
            output: Output::default(),
        }
    }

    /// Calls the session, and answers what it asks until it asks no more.
    fn visit(&mut self, work: &mut dyn FnMut(&mut Session, &mut Context<'_>)) {
        let mut requests = Vec::new();
        let mut cx = Context {
            short_of_room: false,
            now: self.now,
            session: SessionId { core: 0, slot: 3, generation: 2 },
            catalog: &self.catalog,
            settings: &self.settings,
            requests: &mut requests,
            output: &mut self.output,
            random: &mut self.random,
        };
        work(&mut self.session, &mut cx);
        for request in requests {
            match request.command {
                Command::Group { group, request: asked } => {
                    let waiter = Waiter { session: request.from, ticket: request.ticket };
                    let mut out = GroupOutput::default();
                    self.groups.handle(&group, asked, waiter, self.now, &mut self.random, &mut out);
                    let durable = out.writes.into_iter().filter_map(|write| write.reply);
                    let replies: Vec<_> = out.replies.into_iter().chain(durable).collect();
                    for (waiter, reply) in replies {
                        let mut event = Some(Event::Group(reply));
                        self.visit(&mut |session, cx| {
                            if let Some(event) = event.take() {
                                session.on_event(waiter.ticket, event, cx);
                            }
                        });
                    }
                }
                Command::ListGroups { core } => {
                    let groups = if core == 0 { self.groups.list() } else { Vec::new() };
                    self.visit(&mut |session, cx| {
                        session.on_event(request.ticket, Event::Groups(groups.clone()), cx);
                    });
                }
                other => panic!("no group request needs {other:?}"),
            }
        }
    }

    /// One request and its response.
    fn ask<Q, A>(
        &mut self,
        (key, version): (i16, i16),
        request: &Q,
        encode: fn(&Q, &mut Writer, i16),
        decode: fn(&mut Reader, i16) -> Result<A, crate::kafka::wire::WireError>,
    ) -> A {
        let flexible = is_flexible(key, version);
        let header = RequestHeader { key, version, correlation_id: 77, client_id: Some(text("c")), flexible };
        let mut writer = frame::begin_request(&header);
        encode(request, &mut writer, version);
        let mut input = BytesMut::from(&frame::finish(writer).concat()[..]);
        self.visit(&mut |session, cx| session.on_bytes(&mut input, cx));
        let answered: Vec<u8> = self.output.chunks.drain(..).flatten().collect();
        assert!(!self.output.close, "key {key} version {version} closed the connection");
        let mut reader = Reader::new(Bytes::from(answered), false);
        let size = reader.i32().unwrap();
        assert_eq!(usize::try_from(size), Ok(reader.remaining()), "key {key} version {version}");
        assert_eq!(header.decode_response(&mut reader), Ok(77));
        let response = decode(&mut reader, version).unwrap();
        assert_eq!(reader.remaining(), 0);
        response
    }

    fn join(&mut self, version: i16, member_id: &str) -> JoinGroupResponse {
        self.join_with(version, member_id, b"m")
    }

    fn join_with(&mut self, version: i16, member_id: &str, metadata: &'static [u8]) -> JoinGroupResponse {
        let request = JoinGroupRequest {
            group_id: text("g"),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 10_000,
            member_id: text(member_id),
            protocol_type: text("consumer"),
            protocols: vec![(text("range"), Bytes::from_static(metadata))],
            ..JoinGroupRequest::default()
        };
        self.ask((11, version), &request, JoinGroupRequest::encode, JoinGroupResponse::decode)
    }

    /// Becomes the only member of a stable group; member id and generation.
    fn become_member(&mut self, version: i16) -> (String, i32) {
        let mut joined = self.join(version, "");
        if joined.error_code == ErrorCode::MemberIdRequired.code() {
            assert!(version >= 4);
            joined = self.join(version, &joined.member_id);
        }
        assert_eq!((joined.error_code, joined.protocol_name.as_deref()), (0, Some("range")));
        assert_eq!((joined.members.len(), &joined.leader), (1, &joined.member_id));
        (joined.member_id, joined.generation_id)
    }

    fn sync(&mut self, version: i16, member_id: &str, generation_id: i32) -> SyncGroupResponse {
        let named = |name: &str| if version >= 5 { Some(text(name)) } else { None };
        let request = SyncGroupRequest {
            group_id: text("g"),
            generation_id,
            member_id: text(member_id),
            group_instance_id: None,
            protocol_type: named("consumer"),
            protocol_name: named("range"),
            assignments: vec![(text(member_id), Bytes::from_static(b"all"))],
        };
        self.ask((14, version), &request, SyncGroupRequest::encode, SyncGroupResponse::decode)
    }

    fn commit(
        &mut self,
        version: i16,
        member: (&str, i32),
        topics: Vec<CommitTopic>,
    ) -> Vec<Vec<(i32, i16)>> {
        let request = OffsetCommitRequest {
            group_id: text("g"),
            generation_id: member.1,
            member_id: text(member.0),
            group_instance_id: None,
            topics,
        };
        let response: OffsetCommitResponse =
            self.ask((8, version), &request, OffsetCommitRequest::encode, OffsetCommitResponse::decode);
        response.topics.into_iter().map(|topic| topic.partitions).collect()
    }
}

fn text(value: &str) -> String {
    value.to_string()
}

fn settings() -> Settings {
    Settings {
        cluster_id: text("cluster"),
        nodes: Nodes::new(4, text("broker"), vec![9092]),
        cores: 2,
        data_dir: "/data".to_string(),
        auto_create_topics: false,
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

fn commit_topic(name: &str, topic_id: [u8; 16], partitions: &[i32]) -> CommitTopic {
    let partition = |partition: &i32| CommitPartition {
        partition: *partition,
        offset: 40 + i64::from(*partition),
        leader_epoch: -1,
        metadata: None,
    };
    CommitTopic { name: text(name), topic_id, partitions: partitions.iter().map(partition).collect() }
}

#[test]
fn every_coordinator_is_this_node() {
    let mut node = Node::new();
    for version in 0..=6 {
        let keys = if version < 4 { vec![text("g")] } else { vec![text("g"), text("h")] };
        let no_transactions = match version {
            ..4 => ErrorCode::TransactionalIdAuthorizationFailed,
            _ => ErrorCode::UnsupportedVersion,
        };
        for (key_type, error) in [(0, ErrorCode::None), (1, no_transactions), (2, ErrorCode::InvalidRequest)]
        {
            let request = FindCoordinatorRequest { key_type, keys: keys.clone() };
            let response: FindCoordinatorResponse = node.ask(
                (10, version),
                &request,
                FindCoordinatorRequest::encode,
                FindCoordinatorResponse::decode,
            );
            assert_eq!(response.coordinators.len(), keys.len());
            // Before version 1 there is no key type: every key is a group's.
            let error = if version == 0 { ErrorCode::None } else { error };
            for coordinator in response.coordinators {
                assert_eq!(coordinator.error_code, error.code());
                let place = (coordinator.node_id, coordinator.host.as_str(), coordinator.port);
                let expected = if error == ErrorCode::None { (4, "broker", 9092) } else { (-1, "", -1) };
                assert_eq!(place, expected);
            }
        }
    }
}

#[test]
fn a_member_lives_in_every_version() {
    for version in 0..=9 {
        let mut node = Node::new();
        let (member_id, generation_id) = node.become_member(version);
        let sync_version = version.min(5);
        let synced = node.sync(sync_version, &member_id, generation_id);
        assert_eq!((synced.error_code, &synced.assignment[..]), (0, &b"all"[..]));
        let stale = node.sync(sync_version, &member_id, generation_id + 1);
        assert_eq!(stale.error_code, ErrorCode::IllegalGeneration.code());

        let beat = HeartbeatRequest {
            group_id: text("g"),
            generation_id,
            member_id: member_id.clone(),
            group_instance_id: None,
        };
        let beat_version = version.min(4);
        let beaten: HeartbeatResponse =
            node.ask((12, beat_version), &beat, HeartbeatRequest::encode, HeartbeatResponse::decode);
        assert_eq!(beaten.error_code, 0);

        let leave = LeaveGroupRequest {
            group_id: text("g"),
            members: vec![LeavingMember { member_id: member_id.clone(), ..LeavingMember::default() }],
        };
        for error in [ErrorCode::None, ErrorCode::UnknownMemberId] {
            let left: LeaveGroupResponse =
                node.ask((13, sync_version), &leave, LeaveGroupRequest::encode, LeaveGroupResponse::decode);
            let code = left.members.first().map_or(left.error_code, |member| member.error_code);
            assert_eq!(code, error.code());
        }
        let beaten: HeartbeatResponse =
            node.ask((12, beat_version), &beat, HeartbeatRequest::encode, HeartbeatResponse::decode);
        assert_eq!(beaten.error_code, ErrorCode::UnknownMemberId.code());
    }
}

#[test]
fn a_group_without_a_name_is_refused() {
    let mut node = Node::new();
    let leave = LeaveGroupRequest { members: vec![LeavingMember::default()], ..LeaveGroupRequest::default() };
    let left: LeaveGroupResponse =
        node.ask((13, 5), &leave, LeaveGroupRequest::encode, LeaveGroupResponse::decode);
    assert_eq!(left.error_code, ErrorCode::InvalidGroupId.code());
    let join = JoinGroupRequest { session_timeout_ms: 10_000, ..JoinGroupRequest::default() };
    let joined: JoinGroupResponse =
        node.ask((11, 9), &join, JoinGroupRequest::encode, JoinGroupResponse::decode);
    assert_eq!(joined.error_code, ErrorCode::InvalidGroupId.code());
    assert_eq!((joined.generation_id, joined.protocol_name), (-1, None));
}

#[test]
fn offsets_come_back_in_every_version() {
    for commit_version in 2..=10 {
        let mut node = Node::new();
        let (known, unknown) = if commit_version < 10 {
            (commit_topic("t", [0; 16], &[0, 5, 1]), commit_topic("u", [0; 16], &[0]))
        } else {
            (commit_topic("", TOPIC_ID, &[0, 5, 1]), commit_topic("", [3; 16], &[0]))
        };
        let results = node.commit(commit_version, ("", -1), vec![unknown, known]);
        let no_topic = if commit_version < 10 { 3 } else { 100 };
        assert_eq!(results, vec![vec![(0, no_topic)], vec![(0, 0), (5, 3), (1, 0)]]);

        for version in 1..=10 {
            let (name, topic_id) = if version < 10 { ("t", [0; 16]) } else { ("", TOPIC_ID) };
            let (other, other_id) = if version < 10 { ("u", [0; 16]) } else { ("", [3; 16]) };
            let fetch = |name, topic_id| FetchTopic { name: text(name), topic_id, partitions: vec![1, 7] };
            let topics = vec![fetch(other, other_id), fetch(name, topic_id)];
            let some = FetchGroup {
                group_id: text("g"),
                member_id: None,
                member_epoch: -1,
                topics: Some(topics.clone()),
            };
            let request = OffsetFetchRequest { groups: vec![some], require_stable: false };
            let response: OffsetFetchResponse =
                node.ask((9, version), &request, OffsetFetchRequest::encode, OffsetFetchResponse::decode);
            let [group] = &response.groups[..] else { panic!("one group was asked for") };
            let found: Vec<Vec<(i32, i64, i16)>> = group
                .topics
                .iter()
                .map(|topic| topic.partitions.iter().map(|p| (p.partition, p.offset, p.error_code)).collect())
                .collect();
            let no_topic = if version < 10 { 0 } else { 100 };
            assert_eq!(found, vec![vec![(1, -1, no_topic), (7, -1, no_topic)], vec![(1, 41, 0), (7, -1, 0)]]);
        }
    }
}

#[test]
fn many_groups_are_asked_at_once_and_for_everything() {
    let mut node = Node::new();
    node.commit(8, ("", -1), vec![commit_topic("t", [0; 16], &[0, 1])]);
    for version in [2, 8, 10] {
        let all =
            |group: &str| FetchGroup { group_id: text(group), member_epoch: -1, ..FetchGroup::default() };
        let groups = if version < 8 { vec![all("g")] } else { vec![all("nobody"), all("g")] };
        let request = OffsetFetchRequest { groups, require_stable: false };
        let response: OffsetFetchResponse =
            node.ask((9, version), &request, OffsetFetchRequest::encode, OffsetFetchResponse::decode);
        let Some(group) = response.groups.last() else { panic!("every group is answered") };
        let [topic] = &group.topics[..] else { panic!("one topic has offsets") };
        assert_eq!(topic.name, if version < 10 { "t" } else { "" });
        assert_eq!(topic.topic_id, if version < 10 { [0; 16] } else { TOPIC_ID });
        assert_eq!(topic.partitions.len(), 2);
        if version >= 8 {
            assert_eq!((response.groups.len(), response.groups[0].topics.len()), (2, 0));
        }
    }
}

#[test]
fn a_member_of_a_group_that_is_gone_is_told_so() {
    for (version, error) in [(8, ErrorCode::IllegalGeneration), (9, ErrorCode::GroupIdNotFound)] {
        let mut node = Node::new();
        let results = node.commit(version, ("m", 3), vec![commit_topic("t", [0; 16], &[0])]);
        assert_eq!(results, vec![vec![(0, error.code())]]);
    }
}

#[test]
fn administrators_see_groups_and_delete_them() {
    let mut node = Node::new();
    let (member_id, generation_id) = node.become_member(9);
    node.sync(5, &member_id, generation_id);
    for version in 0..=6 {
        let request = DescribeGroupsRequest {
            groups: vec![text("nobody"), text("g")],
            include_authorized_operations: version >= 3,
        };
        let response: DescribeGroupsResponse =
            node.ask((15, version), &request, DescribeGroupsRequest::encode, DescribeGroupsResponse::decode);
        let [nobody, group] = &response.groups[..] else { panic!("two groups were asked for") };
        assert_eq!((nobody.group_state.as_str(), nobody.members.len()), ("Dead", 0));
        let error = if version < 6 { ErrorCode::None } else { ErrorCode::GroupIdNotFound };
        assert_eq!(nobody.error_code, error.code());
        assert_eq!((group.group_state.as_str(), group.protocol_data.as_str()), ("Stable", "range"));
        let [member] = &group.members[..] else { panic!("the group has one member") };
        assert_eq!((member.client_id.as_str(), member.client_host.as_str()), ("c", "/127.0.0.1"));
        assert_eq!((&member.metadata[..], &member.assignment[..]), (&b"m"[..], &b"all"[..]));
    }
    for (version, states, count) in [(0, "", 1), (4, "stable", 1), (5, "Stable", 1), (5, "Empty", 0)] {
        let states_filter = if version < 4 { Vec::new() } else { vec![text(states)] };
        let request = ListGroupsRequest { states_filter, types_filter: Vec::new() };
        let response: ListGroupsResponse =
            node.ask((16, version), &request, ListGroupsRequest::encode, ListGroupsResponse::decode);
        assert_eq!((response.error_code, response.groups.len()), (0, count));
        let group_type = if version < 5 { "" } else { "classic" };
        assert!(response.groups.iter().all(|group| group.group_type == group_type));
    }
    let delete = DeleteGroupsRequest { groups: vec![text("g"), text("nobody")] };
    let deleted: DeleteGroupsResponse =
        node.ask((42, 2), &delete, DeleteGroupsRequest::encode, DeleteGroupsResponse::decode);
    assert_eq!(
        deleted.results,
        vec![
            (text("g"), ErrorCode::NonEmptyGroup.code()),
            (text("nobody"), ErrorCode::GroupIdNotFound.code())
        ]
    );
}

#[test]
fn offsets_are_deleted_unless_a_member_reads_the_topic() {
    let mut node = Node::new();
    let delete = |node: &mut Node, topics: &[(&str, &[i32])]| -> (i16, Vec<Vec<(i32, i16)>>) {
        let topics = topics.iter().map(|(name, partitions)| (text(name), partitions.to_vec())).collect();
        let request = OffsetDeleteRequest { group_id: text("g"), topics };
        let response: OffsetDeleteResponse =
            node.ask((47, 0), &request, OffsetDeleteRequest::encode, OffsetDeleteResponse::decode);
        (response.error_code, response.topics.into_iter().map(|(_, partitions)| partitions).collect())
    };
    assert_eq!(delete(&mut node, &[("t", &[0])]), (ErrorCode::GroupIdNotFound.code(), Vec::new()));
    // Nothing is left that the group has to decide on.
    assert_eq!(delete(&mut node, &[("u", &[0])]), (0, vec![vec![(0, 3)]]));

    node.commit(8, ("", -1), vec![commit_topic("t", [0; 16], &[0, 1])]);
    let deleted = delete(&mut node, &[("u", &[4]), ("t", &[0, 2, 0])]);
    assert_eq!(deleted, (0, vec![vec![(4, 3)], vec![(0, 0), (2, 3), (0, 0)]]));
    let all = FetchGroup { group_id: text("g"), member_epoch: -1, ..FetchGroup::default() };
    let request = OffsetFetchRequest { groups: vec![all], require_stable: false };
    let left: OffsetFetchResponse =
        node.ask((9, 8), &request, OffsetFetchRequest::encode, OffsetFetchResponse::decode);
    assert_eq!(left.groups[0].topics[0].partitions.len(), 1);

    let subscription = |topic: u8| match topic {
        b't' => &b"\0\x03\0\0\0\x01\0\x01t\xff\xff\xff\xff\0\0\0\0"[..],
        _ => &b"\0\0\0\0\0\x01\0\x01u\xff\xff\xff\xff"[..],
    };
    for (metadata, error) in [(subscription(b'u'), 0), (subscription(b't'), 86), (&b"m"[..], 86)] {
        let mut node = Node::new();
        let joined = node.join_with(3, "", metadata);
        node.sync(3, &joined.member_id, joined.generation_id);
        assert_eq!(delete(&mut node, &[("t", &[1])]), (0, vec![vec![(1, error)]]));
    }
}

#[test]
fn a_member_of_the_newer_protocol_is_told_that_there_are_only_classic_groups() {
    for version in 0..=1 {
        let mut node = Node::new();
        let request = ConsumerGroupHeartbeatRequest { group_id: text("g"), ..Default::default() };
        let response: ConsumerGroupHeartbeatResponse = node.ask(
            (68, version),
            &request,
            ConsumerGroupHeartbeatRequest::encode,
            ConsumerGroupHeartbeatResponse::decode,
        );
        assert_eq!(response.error_code, ErrorCode::UnsupportedVersion.code());
        assert!(response.error_message.unwrap().contains("group.protocol=classic"));
        assert!(node.groups.list().is_empty());
    }
}
