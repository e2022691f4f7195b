//! DescribeCluster: this broker, which is all there is.

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
        controller_id: settings.node_id,
        brokers: vec![ClusterBroker {
            broker_id: settings.node_id,
            host: settings.advertised_host.clone(),
            port: settings.advertised_port.into(),
            ..Default::default()
        }],
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
