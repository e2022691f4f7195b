//! OffsetFetch (9), versions 1-10: how far groups have read.
//!
//! | version | change |
//! |---|---|
//! | 2 | request: null topics for all; response: error code of the group |
//! | 3 | response: throttle time |
//! | 5 | response: leader epoch |
//! | 6 | flexible |
//! | 7 | request: only stable offsets (KIP-447) |
//! | 8 | many groups at once (KIP-709) |
//! | 9 | request: member id and epoch of the consumer protocol (KIP-848) |
//! | 10 | topics by id instead of by name (KIP-848) |

use super::offset_commit::{decode_topic, encode_topic};
use super::primitives::{Reader, WireError, Writer};

/// From this version on a request names many groups.
const BATCHED: i16 = 8;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OffsetFetchRequest {
    /// Exactly one before version 8.
    pub groups: Vec<FetchGroup>,
    /// From version 7.
    pub require_stable: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FetchGroup {
    pub group_id: String,
    /// From version 9.
    pub member_id: Option<String>,
    /// From version 9; -1: none.
    pub member_epoch: i32,
    /// `None`, from version 2: all topics.
    pub topics: Option<Vec<FetchTopic>>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FetchTopic {
    /// Before version 10.
    pub name: String,
    /// From version 10.
    pub topic_id: [u8; 16],
    pub partitions: Vec<i32>,
}

impl OffsetFetchRequest {
    pub fn decode(reader: &mut Reader, version: i16) -> Result<OffsetFetchRequest, WireError> {
        let groups = if BATCHED <= version {
            reader.array(|reader| {
                let group = FetchGroup::decode(reader, version)?;
                reader.tags()?;
                Ok(group)
            })?
        } else {
            vec![FetchGroup::decode(reader, version)?]
        };
        let require_stable = if 7 <= version { reader.bool()? } else { false };
        reader.tags()?;
        Ok(OffsetFetchRequest { groups, require_stable })
    }

    pub fn encode(&self, writer: &mut Writer, version: i16) {
        if BATCHED <= version {
            writer.array(&self.groups, |writer, group| {
                group.encode(writer, version);
                writer.tags();
            });
        } else if let Some(group) = self.groups.first() {
            group.encode(writer, version);
        }
        if 7 <= version {
            writer.bool(self.require_stable);
        }
        writer.tags();
    }
}

impl FetchGroup {
    fn decode(reader: &mut Reader, version: i16) -> Result<FetchGroup, WireError> {
        let group_id = reader.string()?;
        let member_id = if 9 <= version { reader.nullable_string()? } else { None };
        let member_epoch = if 9 <= version { reader.i32()? } else { -1 };
        let topic = |reader: &mut Reader| {
            let (name, topic_id) = decode_topic(reader, version)?;
            let partitions = reader.array(Reader::i32)?;
            reader.tags()?;
            Ok(FetchTopic { name, topic_id, partitions })
        };
        let topics = if 2 <= version { reader.nullable_array(topic)? } else { Some(reader.array(topic)?) };
        Ok(FetchGroup { group_id, member_id, member_epoch, topics })
    }

    fn encode(&self, writer: &mut Writer, version: i16) {
        writer.string(&self.group_id);
        if 9 <= version {
            writer.nullable_string(self.member_id.as_deref());
            writer.i32(self.member_epoch);
        }
        let topic = |writer: &mut Writer, topic: &FetchTopic| {
            encode_topic(writer, version, &topic.name, &topic.topic_id);
            writer.array(&topic.partitions, |writer, partition| writer.i32(*partition));
            writer.tags();
        };
        if 2 <= version {
            writer.nullable_array(self.topics.as_deref(), topic);
        } else {
            writer.array(self.topics.as_deref().unwrap_or_default(), topic);
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OffsetFetchResponse {
    /// From version 3.
    pub throttle_time_ms: i32,
    /// Exactly one before version 8.
    pub groups: Vec<FetchedGroup>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FetchedGroup {
    /// From version 8.
    pub group_id: String,
    pub topics: Vec<FetchedTopic>,
    /// From version 2.
    pub error_code: i16,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FetchedTopic {
    /// Before version 10.
    pub name: String,
    /// From version 10.
    pub topic_id: [u8; 16],
    pub partitions: Vec<FetchedPartition>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FetchedPartition {
    pub partition: i32,
    /// -1: none committed.
    pub offset: i64,
    /// From version 5; -1: unknown.
    pub leader_epoch: i32,
    pub metadata: Option<String>,
    pub error_code: i16,
}

impl OffsetFetchResponse {
    pub fn decode(reader: &mut Reader, version: i16) -> Result<OffsetFetchResponse, WireError> {
        let throttle_time_ms = if 3 <= version { reader.i32()? } else { 0 };
        let groups = if BATCHED <= version {
            reader.array(|reader| {
                let group_id = reader.string()?;
                let topics = reader.array(|reader| FetchedTopic::decode(reader, version))?;
                let error_code = reader.i16()?;
                reader.tags()?;
                Ok(FetchedGroup { group_id, topics, error_code })
            })?
        } else {
            let topics = reader.array(|reader| FetchedTopic::decode(reader, version))?;
            let error_code = if 2 <= version { reader.i16()? } else { 0 };
            vec![FetchedGroup { group_id: String::new(), topics, error_code }]
        };
        reader.tags()?;
        Ok(OffsetFetchResponse { throttle_time_ms, groups })
    }

    pub fn encode(&self, writer: &mut Writer, version: i16) {
        if 3 <= version {
            writer.i32(self.throttle_time_ms);
        }
        if BATCHED <= version {
            writer.array(&self.groups, |writer, group| {
                writer.string(&group.group_id);
                writer.array(&group.topics, |writer, topic| topic.encode(writer, version));
                writer.i16(group.error_code);
                writer.tags();
            });
        } else if let Some(group) = self.groups.first() {
            writer.array(&group.topics, |writer, topic| topic.encode(writer, version));
            if 2 <= version {
                writer.i16(group.error_code);
            }
        }
        writer.tags();
    }
}

impl FetchedTopic {
    fn decode(reader: &mut Reader, version: i16) -> Result<FetchedTopic, WireError> {
        let (name, topic_id) = decode_topic(reader, version)?;
        let partitions = reader.array(|reader| {
            let partition = reader.i32()?;
            let offset = reader.i64()?;
            let leader_epoch = if 5 <= version { reader.i32()? } else { -1 };
            let metadata = reader.nullable_string()?;
            let error_code = reader.i16()?;
            reader.tags()?;
            Ok(FetchedPartition { partition, offset, leader_epoch, metadata, error_code })
        })?;
        reader.tags()?;
        Ok(FetchedTopic { name, topic_id, partitions })
    }

    fn encode(&self, writer: &mut Writer, version: i16) {
        encode_topic(writer, version, &self.name, &self.topic_id);
        writer.array(&self.partitions, |writer, partition| {
            writer.i32(partition.partition);
            writer.i64(partition.offset);
            if 5 <= version {
                writer.i32(partition.leader_epoch);
            }
            writer.nullable_string(partition.metadata.as_deref());
            writer.i16(partition.error_code);
            writer.tags();
        });
        writer.tags();
    }
}
