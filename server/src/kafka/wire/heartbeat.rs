//! Heartbeat (12), versions 0-4: a group member's sign of life.
//!
//! | version | change |
//! |---|---|
//! | 1 | response: throttle time |
//! | 3 | request: instance id (KIP-345) |
//! | 4 | flexible |

use super::primitives::{Reader, WireError, Writer};

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HeartbeatRequest {
    pub group_id: String,
    pub generation_id: i32,
    pub member_id: String,
    /// From version 3.
    pub group_instance_id: Option<String>,
}

impl HeartbeatRequest {
    pub fn decode(reader: &mut Reader, version: i16) -> Result<HeartbeatRequest, WireError> {
        let group_id = reader.string()?;
        let generation_id = reader.i32()?;
        let member_id = reader.string()?;
        let group_instance_id = if 3 <= version { reader.nullable_string()? } else { None };
        reader.tags()?;
        Ok(HeartbeatRequest { group_id, generation_id, member_id, group_instance_id })
    }

    pub fn encode(&self, writer: &mut Writer, version: i16) {
        writer.string(&self.group_id);
        writer.i32(self.generation_id);
        writer.string(&self.member_id);
        if 3 <= version {
            writer.nullable_string(self.group_instance_id.as_deref());
        }
        writer.tags();
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HeartbeatResponse {
    /// From version 1.
    pub throttle_time_ms: i32,
    pub error_code: i16,
}

impl HeartbeatResponse {
    pub fn decode(reader: &mut Reader, version: i16) -> Result<HeartbeatResponse, WireError> {
        let throttle_time_ms = if 1 <= version { reader.i32()? } else { 0 };
        let error_code = reader.i16()?;
        reader.tags()?;
        Ok(HeartbeatResponse { throttle_time_ms, error_code })
    }

    pub fn encode(&self, writer: &mut Writer, version: i16) {
        if 1 <= version {
            writer.i32(self.throttle_time_ms);
        }
        writer.i16(self.error_code);
        writer.tags();
    }
}
