//! DescribeGroups: members and state of groups.

use crate::broker::groups::{GroupDescription, GroupReply, GroupRequest, MemberDescription};
use crate::kafka::error::ErrorCode;
use crate::kafka::inflight::{Call, Handled};
use crate::kafka::wire::describe_groups::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, DescribedMember, OPERATIONS_UNKNOWN,
};
use crate::kafka::wire::{Reader, WireError};

use super::group_call::ask_groups;

/// From this version on a group that is not there is an error; before, it is said to be dead.
const TELLS_UNKNOWN_GROUP: i16 = 6;
/// Read, delete and describe, by the numbers of Kafka's access control: all that can be done to a group here.
const OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8;

pub fn handle(body: &mut Reader, call: &mut Call<'_, '_>) -> Result<Handled, WireError> {
    let version = call.header.version;
    let request = DescribeGroupsRequest::decode(body, version)?;
    let operations = if request.include_authorized_operations { OPERATIONS } else { OPERATIONS_UNKNOWN };
    let questions = request.groups.iter().map(|group| (group.clone(), GroupRequest::Describe)).collect();
    Ok(ask_groups(call, questions, move |replies, call| {
        let mut groups = Vec::with_capacity(replies.len());
        for (group_id, reply) in request.groups.into_iter().zip(replies) {
            let GroupReply::Describe(description) = reply else { return None };
            let mut group = match description {
                Some(description) => described(group_id, description),
                None => unknown(group_id, version),
            };
            group.authorized_operations = operations;
            groups.push(group);
        }
        let mut writer = call.response();
        DescribeGroupsResponse { throttle_time_ms: 0, groups }.encode(&mut writer, version);
        Some(writer)
    }))
}

fn described(group_id: String, description: GroupDescription) -> DescribedGroup {
    let member = |member: MemberDescription| DescribedMember {
        member_id: member.member_id,
        group_instance_id: member.instance_id,
        client_id: member.client_id,
        client_host: member.client_host,
        metadata: member.metadata,
        assignment: member.assignment,
    };
    DescribedGroup {
        group_id,
        group_state: description.state.to_string(),
        protocol_type: description.protocol_type,
        protocol_data: description.protocol_name,
        members: description.members.into_iter().map(member).collect(),
        ..DescribedGroup::default()
    }
}

fn unknown(group_id: String, version: i16) -> DescribedGroup {
    let group_state = "Dead".to_string();
    if version < TELLS_UNKNOWN_GROUP {
        return DescribedGroup { group_id, group_state, ..DescribedGroup::default() };
    }
    DescribedGroup {
        error_code: ErrorCode::GroupIdNotFound.code(),
        error_message: Some(format!("there is no group {group_id}")),
        group_id,
        group_state,
        ..DescribedGroup::default()
    }
}
