//! DeleteRecords (21), versions 0-2: partitions that are to begin later.
//!
//! | version | change |
//! |---|---|
//! | 2 | flexible |

use super::primitives::{Reader, WireError, Writer};

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeleteRecordsRequest {
    pub topics: Vec<DeleteRecordsTopic>,
    pub timeout_ms: i32,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeleteRecordsTopic {
    pub name: String,
    pub partitions: Vec<DeleteRecordsPartition>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeleteRecordsPartition {
    pub index: i32,
    /// What is below goes; -1: the high watermark.
    pub offset: i64,
}

impl DeleteRecordsRequest {
    pub fn decode(reader: &mut Reader, _version: i16) -> Result<DeleteRecordsRequest, WireError> {
        let topics = reader.array(|reader| {
            let name = reader.string()?;
            let partitions = reader.array(|reader| {
                let partition = DeleteRecordsPartition { index: reader.i32()?, offset: reader.i64()? };
                reader.tags()?;
                Ok(partition)
            })?;
            reader.tags()?;
            Ok(DeleteRecordsTopic { name, partitions })
        })?;
        let timeout_ms = reader.i32()?;
        reader.tags()?;
        Ok(DeleteRecordsRequest { topics, timeout_ms })
    }

    pub fn encode(&self, writer: &mut Writer, _version: i16) {
        writer.array(&self.topics, |writer, topic| {
            writer.string(&topic.name);
            writer.array(&topic.partitions, |writer, partition| {
                writer.i32(partition.index);
                writer.i64(partition.offset);
                writer.tags();
            });
            writer.tags();
        });
        writer.i32(self.timeout_ms);
        writer.tags();
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeleteRecordsResponse {
    pub throttle_time_ms: i32,
    pub topics: Vec<DeletedRecordsTopic>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeletedRecordsTopic {
    pub name: String,
    pub partitions: Vec<DeletedRecordsPartition>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeletedRecordsPartition {
    pub index: i32,
    /// Where the partition begins now; -1 with an error.
    pub low_watermark: i64,
    pub error_code: i16,
}

impl DeleteRecordsResponse {
    pub fn decode(reader: &mut Reader, _version: i16) -> Result<DeleteRecordsResponse, WireError> {
        let throttle_time_ms = reader.i32()?;
        let topics = reader.array(|reader| {
            let name = reader.string()?;
            let partitions = reader.array(|reader| {
                let (index, low_watermark, error_code) = (reader.i32()?, reader.i64()?, reader.i16()?);
                reader.tags()?;
                Ok(DeletedRecordsPartition { index, low_watermark, error_code })
            })?;
            reader.tags()?;
            Ok(DeletedRecordsTopic { name, partitions })
        })?;
        reader.tags()?;
        Ok(DeleteRecordsResponse { throttle_time_ms, topics })
    }

    pub fn encode(&self, writer: &mut Writer, _version: i16) {
        writer.i32(self.throttle_time_ms);
        writer.array(&self.topics, |writer, topic| {
            writer.string(&topic.name);
            writer.array(&topic.partitions, |writer, partition| {
                writer.i32(partition.index);
                writer.i64(partition.low_watermark);
                writer.i16(partition.error_code);
                writer.tags();
            });
            writer.tags();
        });
        writer.tags();
    }
}
