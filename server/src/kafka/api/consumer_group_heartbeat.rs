//! ConsumerGroupHeartbeat: refused as by an Apache Kafka whose groups are classic ones only.

use crate::kafka::error::ErrorCode;
use crate::kafka::inflight::{Call, Handled};
use crate::kafka::wire::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
};
use crate::kafka::wire::{Reader, WireError};

const CLASSIC_ONLY: &str = "this broker serves classic groups only: set group.protocol=classic";

pub fn handle(body: &mut Reader, call: &mut Call<'_, '_>) -> Result<Handled, WireError> {
    ConsumerGroupHeartbeatRequest::decode(body, call.header.version)?;
    let response = ConsumerGroupHeartbeatResponse {
        error_code: ErrorCode::UnsupportedVersion.code(),
        error_message: Some(CLASSIC_ONLY.to_string()),
        ..Default::default()
    };
    let mut writer = call.response();
    response.encode(&mut writer, call.header.version);
    Ok(Handled::answer(writer))
}
