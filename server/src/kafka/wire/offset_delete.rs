//! OffsetDelete (47), version 0: forgets how far a group has read. Never flexible.

use super::primitives::{Reader, WireError, Writer};

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OffsetDeleteRequest {
    pub group_id: String,
    /// Names and partitions.
    pub topics: Vec<(String, Vec<i32>)>,
}

impl OffsetDeleteRequest {
    pub fn decode(reader: &mut Reader, _version: i16) -> Result<OffsetDeleteRequest, WireError> {
        let group_id = reader.string()?;
        let topics = reader.array(|reader| Ok((reader.string()?, reader.array(Reader::i32)?)))?;
        Ok(OffsetDeleteRequest { group_id, topics })
    }

    pub fn encode(&self, writer: &mut Writer, _version: i16) {
        writer.string(&self.group_id);
        writer.array(&self.topics, |writer, (name, partitions)| {
            writer.string(name);
            writer.array(partitions, |writer, partition| writer.i32(*partition));
        });
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OffsetDeleteResponse {
    /// Of the whole request; then there are no topics.
    pub error_code: i16,
    pub throttle_time_ms: i32,
    /// Names, and partitions with their error codes.
    pub topics: Vec<(String, Vec<(i32, i16)>)>,
}

impl OffsetDeleteResponse {
    pub fn decode(reader: &mut Reader, _version: i16) -> Result<OffsetDeleteResponse, WireError> {
        let (error_code, throttle_time_ms) = (reader.i16()?, reader.i32()?);
        let topics = reader.array(|reader| {
            Ok((reader.string()?, reader.array(|reader| Ok((reader.i32()?, reader.i16()?)))?))
        })?;
        Ok(OffsetDeleteResponse { error_code, throttle_time_ms, topics })
    }

    pub fn encode(&self, writer: &mut Writer, _version: i16) {
        writer.i16(self.error_code);
        writer.i32(self.throttle_time_ms);
        writer.array(&self.topics, |writer, (name, partitions)| {
            writer.string(name);
            writer.array(partitions, |writer, (partition, error_code)| {
                writer.i32(*partition);
                writer.i16(*error_code);
            });
        });
    }
}
