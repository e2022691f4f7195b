//! ListOffsets (2), versions 1-11: the offset at a time, or at an end.
//!
//! | version | change |
//! |---|---|
//! | 2 | request: isolation level; response: throttle time |
//! | 4 | leader epochs |
//! | 6 | flexible |
//! | 7 | timestamp -3: the record with the largest timestamp |
//! | 8 | timestamp -4: the earliest local offset |
//! | 9 | timestamp -5: the latest tiered offset |
//! | 10 | request: a time-out |
//! | 11 | timestamp -6: the earliest offset to be tiered |

use super::primitives::{Reader, WireError, Writer};

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ListOffsetsRequest {
    pub replica_id: i32,
    /// From version 2.
    pub isolation_level: i8,
    pub topics: Vec<ListOffsetsTopic>,
    /// From version 10.
    pub timeout_ms: i32,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ListOffsetsTopic {
    pub name: String,
    pub partitions: Vec<ListOffsetsPartition>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ListOffsetsPartition {
    pub index: i32,
    /// From version 4; -1: not known.
    pub current_leader_epoch: i32,
    /// Milliseconds, or one of the negative marks.
    pub timestamp: i64,
}

impl ListOffsetsRequest {
    pub fn decode(reader: &mut Reader, version: i16) -> Result<ListOffsetsRequest, WireError> {
        let replica_id = reader.i32()?;
        let isolation_level = if version >= 2 { reader.i8()? } else { 0 };
        let topics = reader.array(|reader| {
            let name = reader.string()?;
            let partitions = reader.array(|reader| {
                let index = reader.i32()?;
                let current_leader_epoch = if version >= 4 { reader.i32()? } else { -1 };
                let timestamp = reader.i64()?;
                reader.tags()?;
                Ok(ListOffsetsPartition { index, current_leader_epoch, timestamp })
            })?;
            reader.tags()?;
            Ok(ListOffsetsTopic { name, partitions })
        })?;
        let timeout_ms = if version >= 10 { reader.i32()? } else { 0 };
        reader.tags()?;
        Ok(ListOffsetsRequest { replica_id, isolation_level, topics, timeout_ms })
    }

    pub fn encode(&self, writer: &mut Writer, version: i16) {
        writer.i32(self.replica_id);
        if version >= 2 {
            writer.i8(self.isolation_level);
        }
        writer.array(&self.topics, |writer, topic| {
            writer.string(&topic.name);
            writer.array(&topic.partitions, |writer, partition| {
                writer.i32(partition.index);
                if version >= 4 {
                    writer.i32(partition.current_leader_epoch);
                }
                writer.i64(partition.timestamp);
                writer.tags();
            });
            writer.tags();
        });
        if version >= 10 {
            writer.i32(self.timeout_ms);
        }
        writer.tags();
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ListOffsetsResponse {
    /// From version 2.
    pub throttle_time_ms: i32,
    pub topics: Vec<ListOffsetsTopicResponse>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ListOffsetsTopicResponse {
    pub name: String,
    pub partitions: Vec<ListOffsetsPartitionResponse>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ListOffsetsPartitionResponse {
    pub index: i32,
    pub error_code: i16,
    /// -1: none.
    pub timestamp: i64,
    /// -1: none.
    pub offset: i64,
    /// From version 4; -1: none.
    pub leader_epoch: i32,
}

impl ListOffsetsResponse {
    pub fn decode(reader: &mut Reader, version: i16) -> Result<ListOffsetsResponse, WireError> {
        let throttle_time_ms = if version >= 2 { reader.i32()? } else { 0 };
        let topics = reader.array(|reader| {
            let name = reader.string()?;
            let partitions = reader.array(|reader| {
                let (index, error_code) = (reader.i32()?, reader.i16()?);
                let (timestamp, offset) = (reader.i64()?, reader.i64()?);
                let leader_epoch = if version >= 4 { reader.i32()? } else { -1 };
                reader.tags()?;
                Ok(ListOffsetsPartitionResponse { index, error_code, timestamp, offset, leader_epoch })
            })?;
            reader.tags()?;
            Ok(ListOffsetsTopicResponse { name, partitions })
        })?;
        reader.tags()?;
        Ok(ListOffsetsResponse { throttle_time_ms, topics })
    }

    pub fn encode(&self, writer: &mut Writer, version: i16) {
        if version >= 2 {
            writer.i32(self.throttle_time_ms);
        }
        writer.array(&self.topics, |writer, topic| {
            writer.string(&topic.name);
            writer.array(&topic.partitions, |writer, partition| {
                writer.i32(partition.index);
                writer.i16(partition.error_code);
                writer.i64(partition.timestamp);
                writer.i64(partition.offset);
                if version >= 4 {
                    writer.i32(partition.leader_epoch);
                }
                writer.tags();
            });
            writer.tags();
        });
        writer.tags();
    }
}
