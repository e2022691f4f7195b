//! Fetch (1), versions 4-18: record batches from partitions.
//!
//! | version | change |
//! |---|---|
//! | 5 | log start offset |
//! | 7 | fetch sessions; response: error of the whole |
//! | 9 | request: current leader epoch |
//! | 10 | zstd may be answered |
//! | 11 | request: rack; response: preferred read replica |
//! | 12 | flexible; request: last fetched epoch |
//! | 13 | topics by id instead of name |
//! | 15 | request: replica id becomes a tagged field |
//! | 16-18 | tagged fields that only brokers use |

use bytes::Bytes;

use super::primitives::{Reader, WireError, Writer};

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FetchRequest {
    /// -1: a consumer. Until version 14.
    pub replica_id: i32,
    pub max_wait_ms: i32,
    pub min_bytes: i32,
    pub max_bytes: i32,
    /// 0: everything below the high watermark; 1: below the last stable offset.
    pub isolation_level: i8,
    /// From version 7; 0: no session.
    pub session_id: i32,
    /// From version 7; -1: no session, 0: begin one.
    pub session_epoch: i32,
    pub topics: Vec<FetchTopic>,
    /// From version 7.
    pub forgotten_topics: Vec<ForgottenTopic>,
    /// From version 11.
    pub rack_id: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FetchTopic {
    /// Until version 12.
    pub name: String,
    /// From version 13.
    pub id: [u8; 16],
    pub partitions: Vec<FetchPartition>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FetchPartition {
    pub index: i32,
    /// From version 9; -1: not known.
    pub current_leader_epoch: i32,
    pub fetch_offset: i64,
    /// From version 12; -1: not known.
    pub last_fetched_epoch: i32,
    /// From version 5; of followers only.
    pub log_start_offset: i64,
    pub partition_max_bytes: i32,
}

/// Partitions that leave a fetch session.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ForgottenTopic {
    /// Until version 12.
    pub name: String,
    /// From version 13.
    pub id: [u8; 16],
    pub partitions: Vec<i32>,
}

impl FetchRequest {
    pub fn decode(reader: &mut Reader, version: i16) -> Result<FetchRequest, WireError> {
        let mut request = FetchRequest { replica_id: -1, session_epoch: -1, ..Default::default() };
        if version <= 14 {
            request.replica_id = reader.i32()?;
        }
        request.max_wait_ms = reader.i32()?;
        request.min_bytes = reader.i32()?;
        request.max_bytes = reader.i32()?;
        request.isolation_level = reader.i8()?;
        if version >= 7 {
            request.session_id = reader.i32()?;
            request.session_epoch = reader.i32()?;
        }
        request.topics = reader.array(|reader| {
            let (name, id) = decode_topic(reader, version)?;
            let partitions = reader.array(|reader| FetchPartition::decode(reader, version))?;
            reader.tags()?;
            Ok(FetchTopic { name, id, partitions })
        })?;
        if version >= 7 {
            request.forgotten_topics = reader.array(|reader| {
                let (name, id) = decode_topic(reader, version)?;
                let partitions = reader.array(Reader::i32)?;
                reader.tags()?;
                Ok(ForgottenTopic { name, id, partitions })
            })?;
        }
        if version >= 11 {
            request.rack_id = reader.string()?;
        }
        reader.tags()?;
        Ok(request)
    }

    pub fn encode(&self, writer: &mut Writer, version: i16) {
        if version <= 14 {
            writer.i32(self.replica_id);
        }
        writer.i32(self.max_wait_ms);
        writer.i32(self.min_bytes);
        writer.i32(self.max_bytes);
        writer.i8(self.isolation_level);
        if version >= 7 {
            writer.i32(self.session_id);
            writer.i32(self.session_epoch);
        }
        writer.array(&self.topics, |writer, topic| {
            encode_topic(writer, version, &topic.name, &topic.id);
            writer.array(&topic.partitions, |writer, partition| partition.encode(writer, version));
            writer.tags();
        });
        if version >= 7 {
            writer.array(&self.forgotten_topics, |writer, topic| {
                encode_topic(writer, version, &topic.name, &topic.id);
                writer.array(&topic.partitions, |writer, index| writer.i32(*index));
                writer.tags();
            });
        }
        if version >= 11 {
            writer.string(&self.rack_id);
        }
        writer.tags();
    }
}

impl FetchPartition {
    fn decode(reader: &mut Reader, version: i16) -> Result<FetchPartition, WireError> {
        let index = reader.i32()?;
        let current_leader_epoch = if version >= 9 { reader.i32()? } else { -1 };
        let fetch_offset = reader.i64()?;
        let last_fetched_epoch = if version >= 12 { reader.i32()? } else { -1 };
        let log_start_offset = if version >= 5 { reader.i64()? } else { -1 };
        let partition_max_bytes = reader.i32()?;
        reader.tags()?;
        Ok(FetchPartition {
            index,
            current_leader_epoch,
            fetch_offset,
            last_fetched_epoch,
            log_start_offset,
            partition_max_bytes,
        })
    }

    fn encode(&self, writer: &mut Writer, version: i16) {
        writer.i32(self.index);
        if version >= 9 {
            writer.i32(self.current_leader_epoch);
        }
        writer.i64(self.fetch_offset);
        if version >= 12 {
            writer.i32(self.last_fetched_epoch);
        }
        if version >= 5 {
            writer.i64(self.log_start_offset);
        }
        writer.i32(self.partition_max_bytes);
        writer.tags();
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FetchResponse {
    pub throttle_time_ms: i32,
    /// From version 7.
    pub error_code: i16,
    /// From version 7; 0: no session.
    pub session_id: i32,
    pub topics: Vec<FetchTopicResponse>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FetchTopicResponse {
    /// Until version 12.
    pub name: String,
    /// From version 13.
    pub id: [u8; 16],
    pub partitions: Vec<FetchPartitionResponse>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FetchPartitionResponse {
    pub index: i32,
    pub error_code: i16,
    pub high_watermark: i64,
    pub last_stable_offset: i64,
    /// From version 5.
    pub log_start_offset: i64,
    /// `None`: not asked for.
    pub aborted_transactions: Option<Vec<AbortedTransaction>>,
    /// From version 11; -1: none.
    pub preferred_read_replica: i32,
    /// Batches back to back, in any number of pieces.
    pub records: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AbortedTransaction {
    pub producer_id: i64,
    pub first_offset: i64,
}

impl FetchResponse {
    pub fn decode(reader: &mut Reader, version: i16) -> Result<FetchResponse, WireError> {
        let mut response = FetchResponse { throttle_time_ms: reader.i32()?, ..Default::default() };
        if version >= 7 {
            response.error_code = reader.i16()?;
            response.session_id = reader.i32()?;
        }
        response.topics = reader.array(|reader| {
            let (name, id) = decode_topic(reader, version)?;
            let partitions = reader.array(|reader| FetchPartitionResponse::decode(reader, version))?;
            reader.tags()?;
            Ok(FetchTopicResponse { name, id, partitions })
        })?;
        reader.tags()?;
        Ok(response)
    }

    pub fn encode(&self, writer: &mut Writer, version: i16) {
        writer.i32(self.throttle_time_ms);
        if version >= 7 {
            writer.i16(self.error_code);
            writer.i32(self.session_id);
        }
        writer.array(&self.topics, |writer, topic| {
            encode_topic(writer, version, &topic.name, &topic.id);
            writer.array(&topic.partitions, |writer, partition| partition.encode(writer, version));
            writer.tags();
        });
        writer.tags();
    }
}

impl FetchPartitionResponse {
    fn decode(reader: &mut Reader, version: i16) -> Result<FetchPartitionResponse, WireError> {
        let mut partition = FetchPartitionResponse {
            index: reader.i32()?,
            error_code: reader.i16()?,
            high_watermark: reader.i64()?,
            last_stable_offset: reader.i64()?,
            log_start_offset: -1,
            preferred_read_replica: -1,
            ..Default::default()
        };
        if version >= 5 {
            partition.log_start_offset = reader.i64()?;
        }
        partition.aborted_transactions = reader.nullable_array(|reader| {
            let aborted = AbortedTransaction { producer_id: reader.i64()?, first_offset: reader.i64()? };
            reader.tags()?;
            Ok(aborted)
        })?;
        if version >= 11 {
            partition.preferred_read_replica = reader.i32()?;
        }
        let records = reader.nullable_bytes()?;
        partition.records = records.into_iter().filter(|records| !records.is_empty()).collect();
        reader.tags()?;
        Ok(partition)
    }

    fn encode(&self, writer: &mut Writer, version: i16) {
        writer.i32(self.index);
        writer.i16(self.error_code);
        writer.i64(self.high_watermark);
        writer.i64(self.last_stable_offset);
        if version >= 5 {
            writer.i64(self.log_start_offset);
        }
        writer.nullable_array(self.aborted_transactions.as_deref(), |writer, aborted| {
            writer.i64(aborted.producer_id);
            writer.i64(aborted.first_offset);
            writer.tags();
        });
        if version >= 11 {
            writer.i32(self.preferred_read_replica);
        }
        writer.shared_bytes(&self.records);
        writer.tags();
    }
}

fn decode_topic(reader: &mut Reader, version: i16) -> Result<(String, [u8; 16]), WireError> {
    match version {
        13.. => Ok((String::new(), reader.uuid()?)),
        _ => Ok((reader.string()?, [0; 16])),
    }
}

fn encode_topic(writer: &mut Writer, version: i16, name: &str, id: &[u8; 16]) {
    match version {
        13.. => writer.uuid(id),
        _ => writer.string(name),
    }
}
