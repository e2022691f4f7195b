//! LeaveGroup: members go at once instead of timing out.

use crate::broker::groups::{GroupError, GroupReply, GroupRequest};
use crate::kafka::error::ErrorCode;
use crate::kafka::inflight::{Call, Handled};
use crate::kafka::wire::leave_group::{LeaveGroupRequest, LeaveGroupResponse, LeavingMember, LeftMember};
use crate::kafka::wire::{Reader, WireError};

use super::group_call::{ask_group, code_of};

/// From this version on each member has an error code of its own.
const BATCHED: i16 = 3;

pub fn handle(body: &mut Reader, call: &mut Call<'_, '_>) -> Result<Handled, WireError> {
    let version = call.header.version;
    let request = LeaveGroupRequest::decode(body, version)?;
    let members = request.members;
    let name = |member: &LeavingMember| (member.member_id.clone(), member.group_instance_id.clone());
    let leave = GroupRequest::Leave { members: members.iter().map(name).collect() };
    Ok(ask_group(call, request.group_id, leave, move |reply, call| {
        let GroupReply::Leave(results) = reply else { return None };
        let of_all = match results.first() {
            Some(first) if version < BATCHED => code_of(first),
            Some(Err(error @ GroupError::InvalidGroupId)) => ErrorCode::from(error).code(),
            _ => ErrorCode::None.code(),
        };
        let left = |(member, result): (LeavingMember, &Result<(), GroupError>)| LeftMember {
            member_id: member.member_id,
            group_instance_id: member.group_instance_id,
            error_code: code_of(result),
        };
        let members = members.into_iter().zip(&results).map(left).collect();
        let mut writer = call.response();
        LeaveGroupResponse { throttle_time_ms: 0, error_code: of_all, members }.encode(&mut writer, version);
        Some(writer)
    }))
}
