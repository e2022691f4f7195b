//! Group messages: round trips in every version, golden bytes, and bytes that are cut short.

use bytes::Bytes;

use super::delete_groups::{DeleteGroupsRequest, DeleteGroupsResponse};
use super::describe_groups::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, DescribedMember, OPERATIONS_UNKNOWN,
};
use super::find_coordinator::{Coordinator, FindCoordinatorRequest, FindCoordinatorResponse};
use super::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use super::join_group::{JoinGroupRequest, JoinGroupResponse, JoinedMember};
use super::leave_group::{LeaveGroupRequest, LeaveGroupResponse, LeavingMember, LeftMember};
use super::list_groups::{ListGroupsRequest, ListGroupsResponse, ListedGroup};
use super::offset_commit::{
    CommitPartition, CommitTopic, CommittedTopic, OffsetCommitRequest, OffsetCommitResponse,
};
use super::offset_delete::{OffsetDeleteRequest, OffsetDeleteResponse};
use super::offset_fetch::{
    FetchGroup, FetchTopic, FetchedGroup, FetchedPartition, FetchedTopic, OffsetFetchRequest,
    OffsetFetchResponse,
};
use super::sync_group::{SyncGroupRequest, SyncGroupResponse};
use super::{Reader, WireError, Writer};
use crate::kafka::is_flexible;

fn text(value: &str) -> String {
    value.to_string()
}

/// Keeps a value from this version on.
fn from<T: Default>(version: i16, since: i16, value: T) -> T {
    if since <= version { value } else { T::default() }
}

/// Writes a message, reads it back, and refuses it when a byte is missing. Returns its bytes.
fn round_trip<T: PartialEq + std::fmt::Debug>(
    (key, version): (i16, i16),
    message: &T,
    encode: fn(&T, &mut Writer, i16),
    decode: fn(&mut Reader, i16) -> Result<T, WireError>,
) -> Bytes {
    let flexible = is_flexible(key, version);
    let mut writer = Writer::new(flexible);
    encode(message, &mut writer, version);
    let bytes = writer.into_bytes();
    let mut reader = Reader::new(bytes.clone(), flexible);
    assert_eq!(decode(&mut reader, version).as_ref(), Ok(message), "key {key} version {version}");
    assert_eq!(reader.remaining(), 0, "key {key} version {version}");
    for length in 0..bytes.len() {
        let cut = decode(&mut Reader::new(bytes.slice(..length), flexible), version);
        assert!(cut.is_err(), "key {key} version {version} cut to {length} bytes");
    }
    bytes
}

#[test]
fn find_coordinator() {
    for version in 0..=6 {
        let keys = if version < 4 { vec![text("g")] } else { vec![text("g"), text("h")] };
        let request = FindCoordinatorRequest { key_type: from(version, 1, 1), keys: keys.clone() };
        round_trip((10, version), &request, FindCoordinatorRequest::encode, FindCoordinatorRequest::decode);
        let coordinator = |key| Coordinator {
            key: from(version, 4, key),
            node_id: 1,
            host: text("host"),
            port: 9092,
            error_code: 15,
            error_message: from(version, 1, Some(text("no"))),
        };
        let response = FindCoordinatorResponse {
            throttle_time_ms: from(version, 1, 5),
            coordinators: keys.into_iter().map(coordinator).collect(),
        };
        round_trip(
            (10, version),
            &response,
            FindCoordinatorResponse::encode,
            FindCoordinatorResponse::decode,
        );
    }
}

#[test]
fn join_group() {
    for version in 0..=9 {
        let request = JoinGroupRequest {
            group_id: text("g"),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: if version < 1 { 10_000 } else { 60_000 },
            member_id: text("m"),
            group_instance_id: from(version, 5, Some(text("i"))),
            protocol_type: text("consumer"),
            protocols: vec![(text("range"), Bytes::from_static(b"meta")), (text("sticky"), Bytes::new())],
            reason: from(version, 8, Some(text("why"))),
        };
        round_trip((11, version), &request, JoinGroupRequest::encode, JoinGroupRequest::decode);
        let response = JoinGroupResponse {
            throttle_time_ms: from(version, 2, 5),
            error_code: 27,
            generation_id: 3,
            protocol_type: from(version, 7, Some(text("consumer"))),
            protocol_name: Some(text("range")),
            leader: text("l"),
            skip_assignment: from(version, 9, true),
            member_id: text("m"),
            members: vec![JoinedMember {
                member_id: text("m"),
                group_instance_id: from(version, 5, Some(text("i"))),
                metadata: Bytes::from_static(b"meta"),
            }],
        };
        round_trip((11, version), &response, JoinGroupResponse::encode, JoinGroupResponse::decode);
    }
    let refused = JoinGroupResponse { error_code: 25, generation_id: -1, ..JoinGroupResponse::default() };
    round_trip((11, 7), &refused, JoinGroupResponse::encode, JoinGroupResponse::decode);
}

#[test]
fn sync_group() {
    for version in 0..=5 {
        let request = SyncGroupRequest {
            group_id: text("g"),
            generation_id: 3,
            member_id: text("m"),
            group_instance_id: from(version, 3, Some(text("i"))),
            protocol_type: from(version, 5, Some(text("consumer"))),
            protocol_name: from(version, 5, Some(text("range"))),
            assignments: vec![(text("m"), Bytes::from_static(b"part"))],
        };
        round_trip((14, version), &request, SyncGroupRequest::encode, SyncGroupRequest::decode);
        let response = SyncGroupResponse {
            throttle_time_ms: from(version, 1, 5),
            error_code: 22,
            protocol_type: from(version, 5, Some(text("consumer"))),
            protocol_name: from(version, 5, Some(text("range"))),
            assignment: Bytes::from_static(b"part"),
        };
        round_trip((14, version), &response, SyncGroupResponse::encode, SyncGroupResponse::decode);
    }
}

#[test]
fn heartbeat() {
    for version in 0..=4 {
        let request = HeartbeatRequest {
            group_id: text("g"),
            generation_id: 3,
            member_id: text("m"),
            group_instance_id: from(version, 3, Some(text("i"))),
        };
        round_trip((12, version), &request, HeartbeatRequest::encode, HeartbeatRequest::decode);
        let response = HeartbeatResponse { throttle_time_ms: from(version, 1, 5), error_code: 27 };
        round_trip((12, version), &response, HeartbeatResponse::encode, HeartbeatResponse::decode);
    }
}

#[test]
fn leave_group() {
    for version in 0..=5 {
        let member = LeavingMember {
            member_id: text("m"),
            group_instance_id: from(version, 3, Some(text("i"))),
            reason: from(version, 5, Some(text("why"))),
        };
        let members = if version < 3 { vec![member] } else { vec![member.clone(), member] };
        let request = LeaveGroupRequest { group_id: text("g"), members };
        round_trip((13, version), &request, LeaveGroupRequest::encode, LeaveGroupRequest::decode);
        let left = LeftMember { member_id: text("m"), group_instance_id: Some(text("i")), error_code: 25 };
        let response = LeaveGroupResponse {
            throttle_time_ms: from(version, 1, 5),
            error_code: 15,
            members: from(version, 3, vec![left]),
        };
        round_trip((13, version), &response, LeaveGroupResponse::encode, LeaveGroupResponse::decode);
    }
}

/// A topic's name or id, as the version has it.
fn topic(version: i16) -> (String, [u8; 16]) {
    if version < 10 { (text("t"), [0; 16]) } else { (String::new(), [7; 16]) }
}

#[test]
fn offset_commit() {
    for version in 2..=10 {
        let (name, topic_id) = topic(version);
        let partition = CommitPartition {
            partition: 4,
            offset: 1 << 40,
            leader_epoch: if version < 6 { -1 } else { 2 },
            metadata: Some(text("here")),
        };
        let bare = CommitPartition { metadata: None, ..partition.clone() };
        let request = OffsetCommitRequest {
            group_id: text("g"),
            generation_id: 3,
            member_id: text("m"),
            group_instance_id: from(version, 7, Some(text("i"))),
            topics: vec![CommitTopic { name: name.clone(), topic_id, partitions: vec![partition, bare] }],
        };
        round_trip((8, version), &request, OffsetCommitRequest::encode, OffsetCommitRequest::decode);
        let response = OffsetCommitResponse {
            throttle_time_ms: from(version, 3, 5),
            topics: vec![CommittedTopic { name, topic_id, partitions: vec![(4, 0), (5, 12)] }],
        };
        round_trip((8, version), &response, OffsetCommitResponse::encode, OffsetCommitResponse::decode);
    }
}

#[test]
fn offset_fetch() {
    for version in 1..=10 {
        let (name, topic_id) = topic(version);
        let group = FetchGroup {
            group_id: text("g"),
            member_id: from(version, 9, Some(text("m"))),
            member_epoch: if version < 9 { -1 } else { 6 },
            topics: Some(vec![FetchTopic { name: name.clone(), topic_id, partitions: vec![0, 1] }]),
        };
        let all = FetchGroup { topics: if version < 2 { Some(Vec::new()) } else { None }, ..group.clone() };
        let requests = if version < 8 { vec![vec![group], vec![all]] } else { vec![vec![group, all]] };
        for groups in requests {
            let request = OffsetFetchRequest { groups, require_stable: from(version, 7, true) };
            round_trip((9, version), &request, OffsetFetchRequest::encode, OffsetFetchRequest::decode);
        }
        let partition = FetchedPartition {
            partition: 1,
            offset: 9,
            leader_epoch: if version < 5 { -1 } else { 2 },
            metadata: Some(text("here")),
            error_code: 0,
        };
        let response = OffsetFetchResponse {
            throttle_time_ms: from(version, 3, 5),
            groups: vec![FetchedGroup {
                group_id: from(version, 8, text("g")),
                topics: vec![FetchedTopic { name, topic_id, partitions: vec![partition] }],
                error_code: from(version, 2, 16),
            }],
        };
        round_trip((9, version), &response, OffsetFetchResponse::encode, OffsetFetchResponse::decode);
    }
}

#[test]
fn describe_groups() {
    for version in 0..=6 {
        let request = DescribeGroupsRequest {
            groups: vec![text("g"), text("h")],
            include_authorized_operations: from(version, 3, true),
        };
        round_trip((15, version), &request, DescribeGroupsRequest::encode, DescribeGroupsRequest::decode);
        let member = DescribedMember {
            member_id: text("m"),
            group_instance_id: from(version, 4, Some(text("i"))),
            client_id: text("c"),
            client_host: text("/127.0.0.1"),
            metadata: Bytes::from_static(b"meta"),
            assignment: Bytes::from_static(b"part"),
        };
        let response = DescribeGroupsResponse {
            throttle_time_ms: from(version, 1, 5),
            groups: vec![DescribedGroup {
                error_code: 69,
                error_message: from(version, 6, Some(text("no"))),
                group_id: text("g"),
                group_state: text("Stable"),
                protocol_type: text("consumer"),
                protocol_data: text("range"),
                members: vec![member],
                authorized_operations: if version < 3 { OPERATIONS_UNKNOWN } else { 8 },
            }],
        };
        round_trip((15, version), &response, DescribeGroupsResponse::encode, DescribeGroupsResponse::decode);
    }
}

#[test]
fn list_and_delete_groups() {
    for version in 0..=5 {
        let request = ListGroupsRequest {
            states_filter: from(version, 4, vec![text("Stable")]),
            types_filter: from(version, 5, vec![text("classic")]),
        };
        round_trip((16, version), &request, ListGroupsRequest::encode, ListGroupsRequest::decode);
        let response = ListGroupsResponse {
            throttle_time_ms: from(version, 1, 5),
            error_code: 15,
            groups: vec![ListedGroup {
                group_id: text("g"),
                protocol_type: text("consumer"),
                group_state: from(version, 4, text("Stable")),
                group_type: from(version, 5, text("Classic")),
            }],
        };
        round_trip((16, version), &response, ListGroupsResponse::encode, ListGroupsResponse::decode);
    }
    for version in 0..=2 {
        let request = DeleteGroupsRequest { groups: vec![text("g"), text("h")] };
        round_trip((42, version), &request, DeleteGroupsRequest::encode, DeleteGroupsRequest::decode);
        let response =
            DeleteGroupsResponse { throttle_time_ms: 5, results: vec![(text("g"), 0), (text("h"), 68)] };
        round_trip((42, version), &response, DeleteGroupsResponse::encode, DeleteGroupsResponse::decode);
    }
}

#[test]
fn offset_delete() {
    let request = OffsetDeleteRequest {
        group_id: text("g"),
        topics: vec![(text("t"), vec![0, 7]), (text("u"), Vec::new())],
    };
    let bytes = round_trip((47, 0), &request, OffsetDeleteRequest::encode, OffsetDeleteRequest::decode);
    let expected: &[u8] = &[
        0, 1, b'g', 0, 0, 0, 2, // group, two topics
        0, 1, b't', 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 7, // two partitions
        0, 1, b'u', 0, 0, 0, 0, // none
    ];
    assert_eq!(bytes, expected);
    let response = OffsetDeleteResponse {
        error_code: 68,
        throttle_time_ms: 5,
        topics: vec![(text("t"), vec![(0, 86), (7, 0)])],
    };
    let bytes = round_trip((47, 0), &response, OffsetDeleteResponse::encode, OffsetDeleteResponse::decode);
    let expected: &[u8] = &[
        0, 68, 0, 0, 0, 5, 0, 0, 0, 1, // error, throttle, one topic
        0, 1, b't', 0, 0, 0, 2, 0, 0, 0, 0, 0, 86, 0, 0, 0, 7, 0, 0, // two partitions
    ];
    assert_eq!(bytes, expected);
}

/// Counted out by hand from the message descriptions, so that an error made the same way twice shows.
#[test]
fn the_bytes_are_as_described() {
    let request = JoinGroupRequest {
        group_id: text("g"),
        session_timeout_ms: 1,
        rebalance_timeout_ms: 2,
        member_id: String::new(),
        group_instance_id: None,
        protocol_type: text("c"),
        protocols: vec![(text("r"), Bytes::from_static(b"m"))],
        reason: None,
    };
    let bytes = round_trip((11, 8), &request, JoinGroupRequest::encode, JoinGroupRequest::decode);
    let expected: &[u8] = &[
        2, b'g', 0, 0, 0, 1, 0, 0, 0, 2, 1, 0, 2, b'c', // group, timeouts, member, instance, type
        2, 2, b'r', 2, b'm', 0, // one protocol
        0, 0, // reason, tags
    ];
    assert_eq!(bytes, expected);
    let bytes = round_trip((11, 5), &request, JoinGroupRequest::encode, JoinGroupRequest::decode);
    let expected: &[u8] = &[
        0, 1, b'g', 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0xff, 0xff, 0, 1, b'c', // as above
        0, 0, 0, 1, 0, 1, b'r', 0, 0, 0, 1, b'm', // one protocol
    ];
    assert_eq!(bytes, expected);

    let coordinator = Coordinator { key: text("g"), host: text("h"), port: 9, ..Coordinator::default() };
    let response = FindCoordinatorResponse { throttle_time_ms: 0, coordinators: vec![coordinator] };
    let bytes =
        round_trip((10, 4), &response, FindCoordinatorResponse::encode, FindCoordinatorResponse::decode);
    let expected: &[u8] = &[
        0, 0, 0, 0, 2, 2, b'g', 0, 0, 0, 0, 2, b'h', 0, 0, 0, 9, 0, 0, 0,
        0, // throttle, one coordinator
        0, // tags
    ];
    assert_eq!(bytes, expected);

    let groups = vec![FetchGroup {
        group_id: text("g"),
        member_id: None,
        member_epoch: -1,
        topics: Some(vec![FetchTopic { name: String::new(), topic_id: [7; 16], partitions: vec![1] }]),
    }];
    let request = OffsetFetchRequest { groups, require_stable: true };
    let bytes = round_trip((9, 10), &request, OffsetFetchRequest::encode, OffsetFetchRequest::decode);
    let expected: &[u8] = &[
        2, 2, b'g', 0, 0xff, 0xff, 0xff, 0xff, 2, // one group: member, epoch; one topic
        7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 2, 0, 0, 0, 1, 0, // id, one partition, tags
        0, 1, 0, // tags of the group, stable, tags
    ];
    assert_eq!(bytes, expected);
}
