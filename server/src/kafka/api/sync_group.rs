//! SyncGroup: answered when the leader has brought the assignment.

use crate::broker::groups::{GroupReply, GroupRequest, Synced};
use crate::kafka::error::ErrorCode;
use crate::kafka::inflight::{Call, Handled};
use crate::kafka::wire::sync_group::{SyncGroupRequest, SyncGroupResponse};
use crate::kafka::wire::{Reader, WireError};

use super::group_call::ask_group;

/// From this version on members say which protocol they believe was chosen.
const NAMES_PROTOCOL: i16 = 5;

pub fn handle(body: &mut Reader, call: &mut Call<'_, '_>) -> Result<Handled, WireError> {
    let version = call.header.version;
    let request = SyncGroupRequest::decode(body, version)?;
    let names_protocol = request.protocol_type.is_some() && request.protocol_name.is_some();
    if NAMES_PROTOCOL <= version && !names_protocol {
        let error_code = ErrorCode::InconsistentGroupProtocol.code();
        let mut writer = call.response();
        SyncGroupResponse { error_code, ..SyncGroupResponse::default() }.encode(&mut writer, version);
        return Ok(Handled::answer(writer));
    }
    let sync = GroupRequest::Sync {
        member_id: request.member_id,
        instance_id: request.group_instance_id,
        generation: request.generation_id,
        protocol_type: request.protocol_type,
        protocol_name: request.protocol_name,
        assignments: request.assignments,
    };
    Ok(ask_group(call, request.group_id, sync, move |reply, call| {
        let GroupReply::Sync(result) = reply else { return None };
        let response = match result {
            Ok(Synced { protocol_type, protocol_name, assignment }) => SyncGroupResponse {
                protocol_type: Some(protocol_type),
                protocol_name: Some(protocol_name),
                assignment,
                ..SyncGroupResponse::default()
            },
            Err(error) => SyncGroupResponse {
                error_code: ErrorCode::from(&error).code(),
                ..SyncGroupResponse::default()
            },
        };
        let mut writer = call.response();
        response.encode(&mut writer, version);
        Some(writer)
    }))
}
