//! Heartbeat: keeps a member alive, and tells it of a rebalance.

use crate::broker::groups::{GroupReply, GroupRequest};
use crate::kafka::inflight::{Call, Handled};
use crate::kafka::wire::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use crate::kafka::wire::{Reader, WireError};

use super::group_call::{ask_group, code_of};

pub fn handle(body: &mut Reader, call: &mut Call<'_, '_>) -> Result<Handled, WireError> {
    let version = call.header.version;
    let request = HeartbeatRequest::decode(body, version)?;
    let beat = GroupRequest::Heartbeat {
        member_id: request.member_id,
        instance_id: request.group_instance_id,
        generation: request.generation_id,
    };
    Ok(ask_group(call, request.group_id, beat, move |reply, call| {
        let GroupReply::Heartbeat(result) = reply else { return None };
        let mut writer = call.response();
        HeartbeatResponse { throttle_time_ms: 0, error_code: code_of(&result) }.encode(&mut writer, version);
        Some(writer)
    }))
}
