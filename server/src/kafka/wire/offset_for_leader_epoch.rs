//! OffsetForLeaderEpoch (23), versions 2-4: where a leader's epoch ended, for consumers that look for truncation.
//!
//! | version | change |
//! |---|---|
//! | 3 | request: replica id |
//! | 4 | flexible |

use super::primitives::{Reader, WireError, Writer};

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OffsetForLeaderEpochRequest {
    /// From version 3; -1 or -2: a consumer.
    pub replica_id: i32,
    pub topics: Vec<EpochTopic>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EpochTopic {
    pub name: String,
    pub partitions: Vec<EpochPartition>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EpochPartition {
    pub index: i32,
    /// -1: not known.
    pub current_leader_epoch: i32,
    pub leader_epoch: i32,
}

impl OffsetForLeaderEpochRequest {
    pub fn decode(reader: &mut Reader, version: i16) -> Result<OffsetForLeaderEpochRequest, WireError> {
        let replica_id = if version >= 3 { reader.i32()? } else { -2 };
        let topics = reader.array(|reader| {
            let name = reader.string()?;
            let partitions = reader.array(|reader| {
                let (index, current_leader_epoch) = (reader.i32()?, reader.i32()?);
                let leader_epoch = reader.i32()?;
                reader.tags()?;
                Ok(EpochPartition { index, current_leader_epoch, leader_epoch })
            })?;
            reader.tags()?;
            Ok(EpochTopic { name, partitions })
        })?;
        reader.tags()?;
        Ok(OffsetForLeaderEpochRequest { replica_id, topics })
    }

    pub fn encode(&self, writer: &mut Writer, version: i16) {
        if version >= 3 {
            writer.i32(self.replica_id);
        }
        writer.array(&self.topics, |writer, topic| {
            writer.string(&topic.name);
            writer.array(&topic.partitions, |writer, partition| {
                writer.i32(partition.index);
                writer.i32(partition.current_leader_epoch);
                writer.i32(partition.leader_epoch);
                writer.tags();
            });
            writer.tags();
        });
        writer.tags();
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OffsetForLeaderEpochResponse {
    pub throttle_time_ms: i32,
    pub topics: Vec<EpochTopicResponse>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EpochTopicResponse {
    pub name: String,
    pub partitions: Vec<EpochPartitionResponse>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EpochPartitionResponse {
    pub error_code: i16,
    pub index: i32,
    /// -1: no such epoch.
    pub leader_epoch: i32,
    /// -1: no such epoch.
    pub end_offset: i64,
}

impl OffsetForLeaderEpochResponse {
    pub fn decode(reader: &mut Reader, _version: i16) -> Result<OffsetForLeaderEpochResponse, WireError> {
        let throttle_time_ms = reader.i32()?;
        let topics = reader.array(|reader| {
            let name = reader.string()?;
            let partitions = reader.array(|reader| {
                let (error_code, index) = (reader.i16()?, reader.i32()?);
                let (leader_epoch, end_offset) = (reader.i32()?, reader.i64()?);
                reader.tags()?;
                Ok(EpochPartitionResponse { error_code, index, leader_epoch, end_offset })
            })?;
            reader.tags()?;
            Ok(EpochTopicResponse { name, partitions })
        })?;
        reader.tags()?;
        Ok(OffsetForLeaderEpochResponse { throttle_time_ms, topics })
    }

    pub fn encode(&self, writer: &mut Writer, _version: i16) {
        writer.i32(self.throttle_time_ms);
        writer.array(&self.topics, |writer, topic| {
            writer.string(&topic.name);
            writer.array(&topic.partitions, |writer, partition| {
                writer.i16(partition.error_code);
                writer.i32(partition.index);
                writer.i32(partition.leader_epoch);
                writer.i64(partition.end_offset);
                writer.tags();
            });
            writer.tags();
        });
        writer.tags();
    }
}
