//! DescribeCluster: the brokers that this process is, which is all there are.

use crate::broker::nodes::Node;
use crate::kafka::error::ErrorCode;
use crate::kafka::inflight::{Call, Handled};
use crate::kafka::wire::describe_cluster::{
    BROKERS, CONTROLLERS, ClusterBroker, DescribeClusterRequest, DescribeClusterResponse,
};
use crate::kafka::wire::{Reader, WireError};

/// Nobody asked what may be done.
const NOT_ASKED: i32 = i32::MIN;
/// Everything there is to do with a cluster: create, alter, describe, cluster action, describe configs, alter
/// configs, idempotent write, by the numbers of the operations.
const EVERYTHING: i32 = 1 << 5 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12;

pub fn handle(body: &mut Reader, call: &mut Call<'_, '_>) -> Result<Handled, WireError> {
    let version = call.header.version;
    let request = DescribeClusterRequest::decode(body, version)?;
    let settings = call.cx.settings;
    let mut response = DescribeClusterResponse {
        endpoint_type: request.endpoint_type,
        cluster_id: settings.cluster_id.clone(),
        controller_id: settings.nodes.controller().id,
        brokers: settings.nodes.all().map(broker).collect(),
        cluster_authorized_operations: if request.include_cluster_authorized_operations {
            EVERYTHING
        } else {
            NOT_ASKED
        },
        ..Default::default()
    };
    let refusal = match request.endpoint_type {
        BROKERS => None,
        CONTROLLERS => Some((ErrorCode::MismatchedEndpointType, "This is an endpoint for brokers.")),
        _ => Some((ErrorCode::UnsupportedEndpointType, "No such endpoint type.")),
    };
    if let Some((error, message)) = refusal {
        response.error_code = error.code();
        response.error_message = Some(message.to_string());
        response.brokers.clear();
        response.controller_id = -1;
    }
    let mut writer = call.response();
    response.encode(&mut writer, version);
    Ok(Handled::answer(writer))
}

fn broker(node: Node<'_>) -> ClusterBroker {
    ClusterBroker {
        broker_id: node.id,
        host: node.host.to_string(),
        port: i32::from(node.port),
        ..Default::default()
    }
}
