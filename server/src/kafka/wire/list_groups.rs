//! ListGroups (16), versions 0-5: the groups that are there.
//!
//! | version | change |
//! |---|---|
//! | 1 | response: throttle time |
//! | 3 | flexible |
//! | 4 | states (KIP-518) |
//! | 5 | types (KIP-848) |

use super::primitives::{Reader, WireError, Writer};

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ListGroupsRequest {
    /// From version 4; empty: all.
    pub states_filter: Vec<String>,
    /// From version 5; empty: all.
    pub types_filter: Vec<String>,
}

impl ListGroupsRequest {
    pub fn decode(reader: &mut Reader, version: i16) -> Result<ListGroupsRequest, WireError> {
        let states_filter = if 4 <= version { reader.array(Reader::string)? } else { Vec::new() };
        let types_filter = if 5 <= version { reader.array(Reader::string)? } else { Vec::new() };
        reader.tags()?;
        Ok(ListGroupsRequest { states_filter, types_filter })
    }

    pub fn encode(&self, writer: &mut Writer, version: i16) {
        if 4 <= version {
            writer.array(&self.states_filter, |writer, state| writer.string(state));
        }
        if 5 <= version {
            writer.array(&self.types_filter, |writer, kind| writer.string(kind));
        }
        writer.tags();
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ListGroupsResponse {
    /// From version 1.
    pub throttle_time_ms: i32,
    pub error_code: i16,
    pub groups: Vec<ListedGroup>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ListedGroup {
    pub group_id: String,
    pub protocol_type: String,
    /// From version 4.
    pub group_state: String,
    /// From version 5.
    pub group_type: String,
}

impl ListGroupsResponse {
    pub fn decode(reader: &mut Reader, version: i16) -> Result<ListGroupsResponse, WireError> {
        let throttle_time_ms = if 1 <= version { reader.i32()? } else { 0 };
        let error_code = reader.i16()?;
        let groups = reader.array(|reader| {
            let group_id = reader.string()?;
            let protocol_type = reader.string()?;
            let group_state = if 4 <= version { reader.string()? } else { String::new() };
            let group_type = if 5 <= version { reader.string()? } else { String::new() };
            reader.tags()?;
            Ok(ListedGroup { group_id, protocol_type, group_state, group_type })
        })?;
        reader.tags()?;
        Ok(ListGroupsResponse { throttle_time_ms, error_code, groups })
    }

    pub fn encode(&self, writer: &mut Writer, version: i16) {
        if 1 <= version {
            writer.i32(self.throttle_time_ms);
        }
        writer.i16(self.error_code);
        writer.array(&self.groups, |writer, group| {
            writer.string(&group.group_id);
            writer.string(&group.protocol_type);
            if 4 <= version {
                writer.string(&group.group_state);
            }
            if 5 <= version {
                writer.string(&group.group_type);
            }
            writer.tags();
        });
        writer.tags();
    }
}
