//! DeleteGroups (42), versions 0-2: forgets groups and their offsets.
//!
//! | version | change |
//! |---|---|
//! | 2 | flexible |

use super::primitives::{Reader, WireError, Writer};

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeleteGroupsRequest {
    pub groups: Vec<String>,
}

impl DeleteGroupsRequest {
    pub fn decode(reader: &mut Reader, _version: i16) -> Result<DeleteGroupsRequest, WireError> {
        let groups = reader.array(Reader::string)?;
        reader.tags()?;
        Ok(DeleteGroupsRequest { groups })
    }

    pub fn encode(&self, writer: &mut Writer, _version: i16) {
        writer.array(&self.groups, |writer, group| writer.string(group));
        writer.tags();
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeleteGroupsResponse {
    pub throttle_time_ms: i32,
    /// Group and error code.
    pub results: Vec<(String, i16)>,
}

impl DeleteGroupsResponse {
    pub fn decode(reader: &mut Reader, _version: i16) -> Result<DeleteGroupsResponse, WireError> {
        let throttle_time_ms = reader.i32()?;
        let results = reader.array(|reader| {
            let result = (reader.string()?, reader.i16()?);
            reader.tags()?;
            Ok(result)
        })?;
        reader.tags()?;
        Ok(DeleteGroupsResponse { throttle_time_ms, results })
    }

    pub fn encode(&self, writer: &mut Writer, _version: i16) {
        writer.i32(self.throttle_time_ms);
        writer.array(&self.results, |writer, (group, error_code)| {
            writer.string(group);
            writer.i16(*error_code);
            writer.tags();
        });
        writer.tags();
    }
}
