//! SyncGroup (14), versions 0-5: the second half of a rebalance.
//!
//! | version | change |
//! |---|---|
//! | 1 | response: throttle time |
//! | 3 | request: instance id (KIP-345) |
//! | 4 | flexible |
//! | 5 | protocol type and name both ways (KIP-559) |

use bytes::Bytes;

use super::primitives::{Reader, WireError, Writer};

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SyncGroupRequest {
    pub group_id: String,
    pub generation_id: i32,
    pub member_id: String,
    /// From version 3.
    pub group_instance_id: Option<String>,
    /// From version 5.
    pub protocol_type: Option<String>,
    /// From version 5.
    pub protocol_name: Option<String>,
    /// From the leader: member id and assignment.
    pub assignments: Vec<(String, Bytes)>,
}

impl SyncGroupRequest {
    pub fn decode(reader: &mut Reader, version: i16) -> Result<SyncGroupRequest, WireError> {
        let mut request = SyncGroupRequest {
            group_id: reader.string()?,
            generation_id: reader.i32()?,
            member_id: reader.string()?,
            ..SyncGroupRequest::default()
        };
        if 3 <= version {
            request.group_instance_id = reader.nullable_string()?;
        }
        if 5 <= version {
            request.protocol_type = reader.nullable_string()?;
            request.protocol_name = reader.nullable_string()?;
        }
        request.assignments = reader.array(|reader| {
            let assignment = (reader.string()?, reader.bytes()?);
            reader.tags()?;
            Ok(assignment)
        })?;
        reader.tags()?;
        Ok(request)
    }

    pub fn encode(&self, writer: &mut Writer, version: i16) {
        writer.string(&self.group_id);
        writer.i32(self.generation_id);
        writer.string(&self.member_id);
        if 3 <= version {
            writer.nullable_string(self.group_instance_id.as_deref());
        }
        if 5 <= version {
            writer.nullable_string(self.protocol_type.as_deref());
            writer.nullable_string(self.protocol_name.as_deref());
        }
        writer.array(&self.assignments, |writer, (member_id, assignment)| {
            writer.string(member_id);
            writer.bytes(assignment);
            writer.tags();
        });
        writer.tags();
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SyncGroupResponse {
    /// From version 1.
    pub throttle_time_ms: i32,
    pub error_code: i16,
    /// From version 5.
    pub protocol_type: Option<String>,
    /// From version 5.
    pub protocol_name: Option<String>,
    pub assignment: Bytes,
}

impl SyncGroupResponse {
    pub fn decode(reader: &mut Reader, version: i16) -> Result<SyncGroupResponse, WireError> {
        let throttle_time_ms = if 1 <= version { reader.i32()? } else { 0 };
        let error_code = reader.i16()?;
        let protocol_type = if 5 <= version { reader.nullable_string()? } else { None };
        let protocol_name = if 5 <= version { reader.nullable_string()? } else { None };
        let assignment = reader.bytes()?;
        reader.tags()?;
        Ok(SyncGroupResponse { throttle_time_ms, error_code, protocol_type, protocol_name, assignment })
    }

    pub fn encode(&self, writer: &mut Writer, version: i16) {
        if 1 <= version {
            writer.i32(self.throttle_time_ms);
        }
        writer.i16(self.error_code);
        if 5 <= version {
            writer.nullable_string(self.protocol_type.as_deref());
            writer.nullable_string(self.protocol_name.as_deref());
        }
        writer.bytes(&self.assignment);
        writer.tags();
    }
}
