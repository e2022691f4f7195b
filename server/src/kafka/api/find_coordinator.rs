//! FindCoordinator: one node coordinates everything.

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
    let settings = call.cx.settings;
    let coordinator = |key: String| {
        if is_served {
            return Coordinator {
                key,
                node_id: settings.node_id,
                host: settings.advertised_host.clone(),
                port: i32::from(settings.advertised_port),
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
