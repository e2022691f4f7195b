//! Produce (0), versions 3-13: record batches for partitions.
//!
//! | version | change |
//! |---|---|
//! | 5 | response: log start offset |
//! | 7 | zstd is allowed |
//! | 8 | response: record errors and a message |
//! | 9 | flexible |
//! | 10 | response: current leader, node endpoints, as tagged fields (not used by a single broker) |
//! | 13 | topics by id instead of name |

use bytes::Bytes;

use super::primitives::{Reader, WireError, Writer};

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProduceRequest {
    pub transactional_id: Option<String>,
    /// 0: no answer; 1 and -1: an answer when the batches are durable.
    pub acks: i16,
    pub timeout_ms: i32,
    pub topics: Vec<ProduceTopic>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProduceTopic {
    /// Until version 12.
    pub name: String,
    /// From version 13.
    pub id: [u8; 16],
    pub partitions: Vec<ProducePartition>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProducePartition {
    pub index: i32,
    pub records: Option<Bytes>,
}

impl ProduceRequest {
    pub fn decode(reader: &mut Reader, version: i16) -> Result<ProduceRequest, WireError> {
        let transactional_id = reader.nullable_string()?;
        let (acks, timeout_ms) = (reader.i16()?, reader.i32()?);
        let topics = reader.array(|reader| {
            let mut topic = ProduceTopic::default();
            if version >= 13 {
                topic.id = reader.uuid()?;
            } else {
                topic.name = reader.string()?;
            }
            topic.partitions = reader.array(|reader| {
                let partition = ProducePartition { index: reader.i32()?, records: reader.nullable_bytes()? };
                reader.tags()?;
                Ok(partition)
            })?;
            reader.tags()?;
            Ok(topic)
        })?;
        reader.tags()?;
        Ok(ProduceRequest { transactional_id, acks, timeout_ms, topics })
    }

    pub fn encode(&self, writer: &mut Writer, version: i16) {
        writer.nullable_string(self.transactional_id.as_deref());
        writer.i16(self.acks);
        writer.i32(self.timeout_ms);
        writer.array(&self.topics, |writer, topic| {
            if version >= 13 {
                writer.uuid(&topic.id);
            } else {
                writer.string(&topic.name);
            }
            writer.array(&topic.partitions, |writer, partition| {
                writer.i32(partition.index);
                match &partition.records {
                    Some(records) => writer.shared_bytes(std::slice::from_ref(records)),
                    None => writer.nullable_bytes(None),
                }
                writer.tags();
            });
            writer.tags();
        });
        writer.tags();
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProduceResponse {
    pub topics: Vec<ProduceTopicResponse>,
    pub throttle_time_ms: i32,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProduceTopicResponse {
    /// Until version 12.
    pub name: String,
    /// From version 13.
    pub id: [u8; 16],
    pub partitions: Vec<ProducePartitionResponse>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProducePartitionResponse {
    pub index: i32,
    pub error_code: i16,
    pub base_offset: i64,
    /// -1: timestamps are the producer's.
    pub log_append_time_ms: i64,
    /// From version 5.
    pub log_start_offset: i64,
    /// From version 8.
    pub record_errors: Vec<RecordError>,
    /// From version 8.
    pub error_message: Option<String>,
}

/// A record that caused its batch to be refused.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RecordError {
    pub batch_index: i32,
    pub message: Option<String>,
}

impl ProduceResponse {
    pub fn decode(reader: &mut Reader, version: i16) -> Result<ProduceResponse, WireError> {
        let topics = reader.array(|reader| {
            let mut topic = ProduceTopicResponse::default();
            if version >= 13 {
                topic.id = reader.uuid()?;
            } else {
                topic.name = reader.string()?;
            }
            topic.partitions = reader.array(|reader| ProducePartitionResponse::decode(reader, version))?;
            reader.tags()?;
            Ok(topic)
        })?;
        let throttle_time_ms = reader.i32()?;
        reader.tags()?;
        Ok(ProduceResponse { topics, throttle_time_ms })
    }

    pub fn encode(&self, writer: &mut Writer, version: i16) {
        writer.array(&self.topics, |writer, topic| {
            if version >= 13 {
                writer.uuid(&topic.id);
            } else {
                writer.string(&topic.name);
            }
            writer.array(&topic.partitions, |writer, partition| partition.encode(writer, version));
            writer.tags();
        });
        writer.i32(self.throttle_time_ms);
        writer.tags();
    }
}

impl ProducePartitionResponse {
    fn decode(reader: &mut Reader, version: i16) -> Result<ProducePartitionResponse, WireError> {
        let mut partition = ProducePartitionResponse {
            index: reader.i32()?,
            error_code: reader.i16()?,
            base_offset: reader.i64()?,
            log_append_time_ms: reader.i64()?,
            ..Default::default()
        };
        if version >= 5 {
            partition.log_start_offset = reader.i64()?;
        }
        if version >= 8 {
            partition.record_errors = reader.array(|reader| {
                let error = RecordError { batch_index: reader.i32()?, message: reader.nullable_string()? };
                reader.tags()?;
                Ok(error)
            })?;
            partition.error_message = reader.nullable_string()?;
        }
        reader.tags()?;
        Ok(partition)
    }

    fn encode(&self, writer: &mut Writer, version: i16) {
        writer.i32(self.index);
        writer.i16(self.error_code);
        writer.i64(self.base_offset);
        writer.i64(self.log_append_time_ms);
        if version >= 5 {
            writer.i64(self.log_start_offset);
        }
        if version >= 8 {
            writer.array(&self.record_errors, |writer, error| {
                writer.i32(error.batch_index);
                writer.nullable_string(error.message.as_deref());
                writer.tags();
            });
            writer.nullable_string(self.error_message.as_deref());
        }
        writer.tags();
    }
}
