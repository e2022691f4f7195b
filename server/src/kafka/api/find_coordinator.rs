//! FindCoordinator: the node that coordinates a group. Transactions are told the controller, and refused there.

use crate::kafka::error::ErrorCode;
use crate::kafka::inflight::{Call, Handled};
use crate::kafka::wire::find_coordinator::{Coordinator, FindCoordinatorRequest, FindCoordinatorResponse};
use crate::kafka::wire::{Reader, WireError};

const KEY_GROUP: i8 = 0;
const KEY_TRANSACTION: i8 = 1;

/// Node id and port where there is no coordinator.
const NOWHERE: i32 = -1;

pub fn handle(body: &mut Reader, call: &mut Call<'_, '_>) -> Result<Handled, WireError> {
    let version = call.header.version;
    let request = FindCoordinatorRequest::decode(body, version)?;
    let is_served = matches!(request.key_type, KEY_GROUP | KEY_TRANSACTION);
    let nodes = &call.cx.settings.nodes;
    let coordinator = |key: String| {
        if is_served {
            let node = if request.key_type == KEY_GROUP { nodes.of_group(&key) } else { nodes.controller() };
            return Coordinator {
                key,
                node_id: node.id,
                host: node.host.to_string(),
                port: i32::from(node.port),
                ..Coordinator::default()
            };
        }
        Coordinator {
            key,
            node_id: NOWHERE,
            port: NOWHERE,
            error_code: ErrorCode::InvalidRequest.code(),
            error_message: Some("this kind of coordinator does not exist here".to_string()),
            ..Coordinator::default()
        }
    };
    let coordinators = request.keys.into_iter().map(coordinator).collect();
    let mut writer = call.response();
    FindCoordinatorResponse { throttle_time_ms: 0, coordinators }.encode(&mut writer, version);
    Ok(Handled::answer(writer))
}
