//! DeleteGroups: answered when the deletions are durable.

use crate::broker::groups::{GroupReply, GroupRequest};
use crate::kafka::inflight::{Call, Handled};
use crate::kafka::wire::delete_groups::{DeleteGroupsRequest, DeleteGroupsResponse};
use crate::kafka::wire::{Reader, WireError};

use super::group_call::{ask_groups, code_of};

pub fn handle(body: &mut Reader, call: &mut Call<'_, '_>) -> Result<Handled, WireError> {
    let version = call.header.version;
    let request = DeleteGroupsRequest::decode(body, version)?;
    let questions = request.groups.iter().map(|group| (group.clone(), GroupRequest::Delete)).collect();
    Ok(ask_groups(call, questions, move |replies, call| {
        let mut results = Vec::with_capacity(replies.len());
        for (group, reply) in request.groups.into_iter().zip(replies) {
            let GroupReply::Delete(result) = reply else { return None };
            results.push((group, code_of(&result)));
        }
        let mut writer = call.response();
        DeleteGroupsResponse { throttle_time_ms: 0, results }.encode(&mut writer, version);
        Some(writer)
    }))
}
