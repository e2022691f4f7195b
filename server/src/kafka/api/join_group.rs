//! JoinGroup: answered when the group's rebalance has got so far.

use crate::broker::groups::{GroupError, GroupReply, GroupRequest, Joined};
use crate::kafka::error::ErrorCode;
use crate::kafka::inflight::{Call, Handled};
use crate::kafka::wire::join_group::{JoinGroupRequest, JoinGroupResponse, JoinedMember};
use crate::kafka::wire::{Reader, WireError};

use super::group_call::ask_group;

/// From this version on a new member is told its id before it may join.
const MEMBER_ID_FIRST: i16 = 4;
/// From this version on a missing protocol name is null.
const NULL_PROTOCOL: i16 = 7;
/// From this version on a leader can be told to leave the assignment as it is.
const SKIPS_ASSIGNMENT: i16 = 9;

pub fn handle(body: &mut Reader, call: &mut Call<'_, '_>) -> Result<Handled, WireError> {
    let version = call.header.version;
    let request = JoinGroupRequest::decode(body, version)?;
    let member_id = request.member_id.clone();
    let join = GroupRequest::Join {
        member_id: request.member_id,
        member_id_required: MEMBER_ID_FIRST <= version && request.group_instance_id.is_none(),
        instance_id: request.group_instance_id,
        client_id: call.header.client_id.clone().unwrap_or_default(),
        client_host: format!("/{}", call.peer.ip()),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: request.rebalance_timeout_ms,
        protocol_type: request.protocol_type,
        protocols: request.protocols,
        skips_assignment: SKIPS_ASSIGNMENT <= version,
    };
    Ok(ask_group(call, request.group_id, join, move |reply, call| {
        let GroupReply::Join(result) = reply else { return None };
        let response = match result {
            Ok(joined) => accepted(joined),
            Err(error) => refused(&error, member_id, version),
        };
        let mut writer = call.response();
        response.encode(&mut writer, version);
        Some(writer)
    }))
}

fn accepted(joined: Joined) -> JoinGroupResponse {
    let member =
        |(member_id, group_instance_id, metadata)| JoinedMember { member_id, group_instance_id, metadata };
    JoinGroupResponse {
        throttle_time_ms: 0,
        error_code: ErrorCode::None.code(),
        generation_id: joined.generation,
        protocol_type: Some(joined.protocol_type),
        protocol_name: Some(joined.protocol_name),
        leader: joined.leader,
        skip_assignment: joined.skip_assignment,
        member_id: joined.member_id,
        members: joined.members.into_iter().map(member).collect(),
    }
}

fn refused(error: &GroupError, member_id: String, version: i16) -> JoinGroupResponse {
    let member_id = match error {
        GroupError::MemberIdRequired(given) => given.clone(),
        _ => member_id,
    };
    JoinGroupResponse {
        error_code: ErrorCode::from(error).code(),
        generation_id: -1,
        protocol_name: (version < NULL_PROTOCOL).then(String::new),
        member_id,
        ..JoinGroupResponse::default()
    }
}
