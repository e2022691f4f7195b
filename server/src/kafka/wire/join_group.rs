//! JoinGroup (11), versions 0-9: the first half of a rebalance.
//!
//! | version | change |
//! |---|---|
//! | 1 | request: rebalance timeout |
//! | 2 | response: throttle time |
//! | 4 | a new member is told its id first and comes back with it (KIP-394) |
//! | 5 | instance ids (KIP-345) |
//! | 6 | flexible |
//! | 7 | response: protocol type, nullable protocol name (KIP-559) |
//! | 8 | request: reason (KIP-800) |
//! | 9 | response: skip assignment (KIP-814) |

use bytes::Bytes;

use super::primitives::{Reader, WireError, Writer};

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct JoinGroupRequest {
    pub group_id: String,
    pub session_timeout_ms: i32,
    /// The session timeout before version 1.
    pub rebalance_timeout_ms: i32,
    /// Empty: a new member.
    pub member_id: String,
    /// From version 5.
    pub group_instance_id: Option<String>,
    pub protocol_type: String,
    /// In order of preference: name and metadata.
    pub protocols: Vec<(String, Bytes)>,
    /// From version 8.
    pub reason: Option<String>,
}

impl JoinGroupRequest {
    pub fn decode(reader: &mut Reader, version: i16) -> Result<JoinGroupRequest, WireError> {
        let group_id = reader.string()?;
        let session_timeout_ms = reader.i32()?;
        let rebalance_timeout_ms = if 1 <= version { reader.i32()? } else { session_timeout_ms };
        let member_id = reader.string()?;
        let group_instance_id = if 5 <= version { reader.nullable_string()? } else { None };
        let protocol_type = reader.string()?;
        let protocols = reader.array(|reader| {
            let protocol = (reader.string()?, reader.bytes()?);
            reader.tags()?;
            Ok(protocol)
        })?;
        let reason = if 8 <= version { reader.nullable_string()? } else { None };
        reader.tags()?;
        Ok(JoinGroupRequest {
            group_id,
            session_timeout_ms,
            rebalance_timeout_ms,
            member_id,
            group_instance_id,
            protocol_type,
            protocols,
            reason,
        })
    }

    pub fn encode(&self, writer: &mut Writer, version: i16) {
        writer.string(&self.group_id);
        writer.i32(self.session_timeout_ms);
        if 1 <= version {
            writer.i32(self.rebalance_timeout_ms);
        }
        writer.string(&self.member_id);
        if 5 <= version {
            writer.nullable_string(self.group_instance_id.as_deref());
        }
        writer.string(&self.protocol_type);
        writer.array(&self.protocols, |writer, (name, metadata)| {
            writer.string(name);
            writer.bytes(metadata);
            writer.tags();
        });
        if 8 <= version {
            writer.nullable_string(self.reason.as_deref());
        }
        writer.tags();
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct JoinGroupResponse {
    /// From version 2.
    pub throttle_time_ms: i32,
    pub error_code: i16,
    pub generation_id: i32,
    /// From version 7.
    pub protocol_type: Option<String>,
    /// Null only from version 7; before, an empty text.
    pub protocol_name: Option<String>,
    pub leader: String,
    /// From version 9.
    pub skip_assignment: bool,
    pub member_id: String,
    pub members: Vec<JoinedMember>,
}

/// A member, as its leader sees it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct JoinedMember {
    pub member_id: String,
    /// From version 5.
    pub group_instance_id: Option<String>,
    pub metadata: Bytes,
}

impl JoinGroupResponse {
    pub fn decode(reader: &mut Reader, version: i16) -> Result<JoinGroupResponse, WireError> {
        let throttle_time_ms = if 2 <= version { reader.i32()? } else { 0 };
        let error_code = reader.i16()?;
        let generation_id = reader.i32()?;
        let protocol_type = if 7 <= version { reader.nullable_string()? } else { None };
        let protocol_name = if 7 <= version { reader.nullable_string()? } else { Some(reader.string()?) };
        let leader = reader.string()?;
        let skip_assignment = if 9 <= version { reader.bool()? } else { false };
        let member_id = reader.string()?;
        let members = reader.array(|reader| {
            let member_id = reader.string()?;
            let group_instance_id = if 5 <= version { reader.nullable_string()? } else { None };
            let metadata = reader.bytes()?;
            reader.tags()?;
            Ok(JoinedMember { member_id, group_instance_id, metadata })
        })?;
        reader.tags()?;
        Ok(JoinGroupResponse {
            throttle_time_ms,
            error_code,
            generation_id,
            protocol_type,
            protocol_name,
            leader,
            skip_assignment,
            member_id,
            members,
        })
    }

    pub fn encode(&self, writer: &mut Writer, version: i16) {
        if 2 <= version {
            writer.i32(self.throttle_time_ms);
        }
        writer.i16(self.error_code);
        writer.i32(self.generation_id);
        if 7 <= version {
            writer.nullable_string(self.protocol_type.as_deref());
            writer.nullable_string(self.protocol_name.as_deref());
        } else {
            writer.string(self.protocol_name.as_deref().unwrap_or_default());
        }
        writer.string(&self.leader);
        if 9 <= version {
            writer.bool(self.skip_assignment);
        }
        writer.string(&self.member_id);
        writer.array(&self.members, |writer, member| {
            writer.string(&member.member_id);
            if 5 <= version {
                writer.nullable_string(member.group_instance_id.as_deref());
            }
            writer.bytes(&member.metadata);
            writer.tags();
        });
        writer.tags();
    }
}
