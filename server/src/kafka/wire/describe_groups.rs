//! DescribeGroups (15), versions 0-6: groups as an administrator sees them.
//!
//! | version | change |
//! |---|---|
//! | 1 | response: throttle time |
//! | 3 | authorized operations (KIP-430) |
//! | 4 | response: instance ids (KIP-345) |
//! | 5 | flexible |
//! | 6 | response: error message; a group that is not there is an error (KIP-1043) |

use bytes::Bytes;

use super::primitives::{Reader, WireError, Writer};

/// Operations were not asked for.
pub const OPERATIONS_UNKNOWN: i32 = i32::MIN;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DescribeGroupsRequest {
    pub groups: Vec<String>,
    /// From version 3.
    pub include_authorized_operations: bool,
}

impl DescribeGroupsRequest {
    pub fn decode(reader: &mut Reader, version: i16) -> Result<DescribeGroupsRequest, WireError> {
        let groups = reader.array(Reader::string)?;
        let include_authorized_operations = if 3 <= version { reader.bool()? } else { false };
        reader.tags()?;
        Ok(DescribeGroupsRequest { groups, include_authorized_operations })
    }

    pub fn encode(&self, writer: &mut Writer, version: i16) {
        writer.array(&self.groups, |writer, group| writer.string(group));
        if 3 <= version {
            writer.bool(self.include_authorized_operations);
        }
        writer.tags();
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DescribeGroupsResponse {
    /// From version 1.
    pub throttle_time_ms: i32,
    pub groups: Vec<DescribedGroup>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DescribedGroup {
    pub error_code: i16,
    /// From version 6.
    pub error_message: Option<String>,
    pub group_id: String,
    pub group_state: String,
    pub protocol_type: String,
    pub protocol_data: String,
    pub members: Vec<DescribedMember>,
    /// From version 3.
    pub authorized_operations: i32,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DescribedMember {
    pub member_id: String,
    /// From version 4.
    pub group_instance_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub metadata: Bytes,
    pub assignment: Bytes,
}

impl DescribeGroupsResponse {
    pub fn decode(reader: &mut Reader, version: i16) -> Result<DescribeGroupsResponse, WireError> {
        let throttle_time_ms = if 1 <= version { reader.i32()? } else { 0 };
        let groups = reader.array(|reader| DescribedGroup::decode(reader, version))?;
        reader.tags()?;
        Ok(DescribeGroupsResponse { throttle_time_ms, groups })
    }

    pub fn encode(&self, writer: &mut Writer, version: i16) {
        if 1 <= version {
            writer.i32(self.throttle_time_ms);
        }
        writer.array(&self.groups, |writer, group| group.encode(writer, version));
        writer.tags();
    }
}

impl DescribedGroup {
    fn decode(reader: &mut Reader, version: i16) -> Result<DescribedGroup, WireError> {
        let error_code = reader.i16()?;
        let error_message = if 6 <= version { reader.nullable_string()? } else { None };
        let group_id = reader.string()?;
        let group_state = reader.string()?;
        let protocol_type = reader.string()?;
        let protocol_data = reader.string()?;
        let members = reader.array(|reader| DescribedMember::decode(reader, version))?;
        let authorized_operations = if 3 <= version { reader.i32()? } else { OPERATIONS_UNKNOWN };
        reader.tags()?;
        Ok(DescribedGroup {
            error_code,
            error_message,
            group_id,
            group_state,
            protocol_type,
            protocol_data,
            members,
            authorized_operations,
        })
    }

    fn encode(&self, writer: &mut Writer, version: i16) {
        writer.i16(self.error_code);
        if 6 <= version {
            writer.nullable_string(self.error_message.as_deref());
        }
        writer.string(&self.group_id);
        writer.string(&self.group_state);
        writer.string(&self.protocol_type);
        writer.string(&self.protocol_data);
        writer.array(&self.members, |writer, member| member.encode(writer, version));
        if 3 <= version {
            writer.i32(self.authorized_operations);
        }
        writer.tags();
    }
}

impl DescribedMember {
    fn decode(reader: &mut Reader, version: i16) -> Result<DescribedMember, WireError> {
        let member_id = reader.string()?;
        let group_instance_id = if 4 <= version { reader.nullable_string()? } else { None };
        let client_id = reader.string()?;
        let client_host = reader.string()?;
        let metadata = reader.bytes()?;
        let assignment = reader.bytes()?;
        reader.tags()?;
        Ok(DescribedMember { member_id, group_instance_id, client_id, client_host, metadata, assignment })
    }

    fn encode(&self, writer: &mut Writer, version: i16) {
        writer.string(&self.member_id);
        if 4 <= version {
            writer.nullable_string(self.group_instance_id.as_deref());
        }
        writer.string(&self.client_id);
        writer.string(&self.client_host);
        writer.bytes(&self.metadata);
        writer.bytes(&self.assignment);
        writer.tags();
    }
}
