//! LeaveGroup (13), versions 0-5: members go, or are thrown out by an administrator.
//!
//! | version | change |
//! |---|---|
//! | 1 | response: throttle time |
//! | 3 | many members at once, with instance ids (KIP-345) |
//! | 4 | flexible |
//! | 5 | request: reasons (KIP-800) |

use super::primitives::{Reader, WireError, Writer};

/// From this version on a request names many members.
const BATCHED: i16 = 3;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LeaveGroupRequest {
    pub group_id: String,
    /// Exactly one before version 3.
    pub members: Vec<LeavingMember>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LeavingMember {
    pub member_id: String,
    /// From version 3.
    pub group_instance_id: Option<String>,
    /// From version 5.
    pub reason: Option<String>,
}

impl LeaveGroupRequest {
    pub fn decode(reader: &mut Reader, version: i16) -> Result<LeaveGroupRequest, WireError> {
        let group_id = reader.string()?;
        let members = if BATCHED <= version {
            reader.array(|reader| {
                let member_id = reader.string()?;
                let group_instance_id = reader.nullable_string()?;
                let reason = if 5 <= version { reader.nullable_string()? } else { None };
                reader.tags()?;
                Ok(LeavingMember { member_id, group_instance_id, reason })
            })?
        } else {
            vec![LeavingMember { member_id: reader.string()?, ..LeavingMember::default() }]
        };
        reader.tags()?;
        Ok(LeaveGroupRequest { group_id, members })
    }

    pub fn encode(&self, writer: &mut Writer, version: i16) {
        writer.string(&self.group_id);
        if BATCHED <= version {
            writer.array(&self.members, |writer, member| {
                writer.string(&member.member_id);
                writer.nullable_string(member.group_instance_id.as_deref());
                if 5 <= version {
                    writer.nullable_string(member.reason.as_deref());
                }
                writer.tags();
            });
        } else {
            writer.string(self.members.first().map_or("", |member| &member.member_id));
        }
        writer.tags();
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LeaveGroupResponse {
    /// From version 1.
    pub throttle_time_ms: i32,
    pub error_code: i16,
    /// From version 3.
    pub members: Vec<LeftMember>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LeftMember {
    pub member_id: String,
    pub group_instance_id: Option<String>,
    pub error_code: i16,
}

impl LeaveGroupResponse {
    pub fn decode(reader: &mut Reader, version: i16) -> Result<LeaveGroupResponse, WireError> {
        let throttle_time_ms = if 1 <= version { reader.i32()? } else { 0 };
        let error_code = reader.i16()?;
        let members = if BATCHED <= version {
            reader.array(|reader| {
                let member_id = reader.string()?;
                let group_instance_id = reader.nullable_string()?;
                let error_code = reader.i16()?;
                reader.tags()?;
                Ok(LeftMember { member_id, group_instance_id, error_code })
            })?
        } else {
            Vec::new()
        };
        reader.tags()?;
        Ok(LeaveGroupResponse { throttle_time_ms, error_code, members })
    }

    pub fn encode(&self, writer: &mut Writer, version: i16) {
        if 1 <= version {
            writer.i32(self.throttle_time_ms);
        }
        writer.i16(self.error_code);
        if BATCHED <= version {
            writer.array(&self.members, |writer, member| {
                writer.string(&member.member_id);
                writer.nullable_string(member.group_instance_id.as_deref());
                writer.i16(member.error_code);
                writer.tags();
            });
        }
        writer.tags();
    }
}
