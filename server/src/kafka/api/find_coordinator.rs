//! FindCoordinator: the node that coordinates a group. Transactions are refused, in the words that each kind of client shows.
//!
//! It is the first request of a transactional producer, and the only one whose answer has a message. Java's client and those
//! that ask in its way show that message for errors they have no words for; librdkafka shows it for those it takes as final,
//! and asks again after any other.

use crate::kafka::error::ErrorCode;
use crate::kafka::inflight::{Call, Handled};
use crate::kafka::wire::find_coordinator::{
    BATCHED, Coordinator, FindCoordinatorRequest, FindCoordinatorResponse,
};
use crate::kafka::wire::{Reader, WireError};

const KEY_GROUP: i8 = 0;
const KEY_TRANSACTION: i8 = 1;
const NO_TRANSACTIONS: &str = "this broker does not serve transactions";

/// Node id and port where there is no coordinator.
const NOWHERE: i32 = -1;

pub fn handle(body: &mut Reader, call: &mut Call<'_, '_>) -> Result<Handled, WireError> {
    let version = call.header.version;
    let request = FindCoordinatorRequest::decode(body, version)?;
    let refused = match request.key_type {
        KEY_GROUP => None,
        // Earlier versions are those of librdkafka.
        KEY_TRANSACTION if version < BATCHED => {
            Some((ErrorCode::TransactionalIdAuthorizationFailed, NO_TRANSACTIONS))
        }
        KEY_TRANSACTION => Some((ErrorCode::UnsupportedVersion, NO_TRANSACTIONS)),
        _ => Some((ErrorCode::InvalidRequest, "this kind of coordinator does not exist here")),
    };
    let nodes = &call.cx.settings.nodes;
    let coordinator = |key: String| match refused {
        None => {
            let node = nodes.of_group(&key);
            let (host, port) = (node.host.to_string(), i32::from(node.port));
            Coordinator { key, node_id: node.id, host, port, ..Coordinator::default() }
        }
        Some((error, message)) => Coordinator {
            key,
            node_id: NOWHERE,
            port: NOWHERE,
            error_code: error.code(),
            error_message: Some(message.to_string()),
            ..Coordinator::default()
        },
    };
    let coordinators = request.keys.into_iter().map(coordinator).collect();
    let mut writer = call.response();
    FindCoordinatorResponse { throttle_time_ms: 0, coordinators }.encode(&mut writer, version);
    Ok(Handled::answer(writer))
}
