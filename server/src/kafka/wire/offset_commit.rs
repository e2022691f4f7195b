//! OffsetCommit (8), versions 2-10: how far a group has read.
//!
//! | version | change |
//! |---|---|
//! | 3 | response: throttle time |
//! | 5 | request: no retention time |
//! | 6 | request: leader epoch |
//! | 7 | request: instance id (KIP-345) |
//! | 8 | flexible |
//! | 10 | topics by id instead of by name (KIP-848) |

use super::primitives::{Reader, WireError, Writer};

/// From this version on topics are named by id.
const TOPIC_IDS: i16 = 10;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OffsetCommitRequest {
    pub group_id: String,
    /// -1: from outside the group protocol.
    pub generation_id: i32,
    pub member_id: String,
    /// From version 7.
    pub group_instance_id: Option<String>,
    pub topics: Vec<CommitTopic>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CommitTopic {
    /// Before version 10.
    pub name: String,
    /// From version 10.
    pub topic_id: [u8; 16],
    pub partitions: Vec<CommitPartition>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CommitPartition {
    pub partition: i32,
    pub offset: i64,
    /// From version 6; -1: unknown.
    pub leader_epoch: i32,
    pub metadata: Option<String>,
}

impl OffsetCommitRequest {
    pub fn decode(reader: &mut Reader, version: i16) -> Result<OffsetCommitRequest, WireError> {
        let group_id = reader.string()?;
        let generation_id = reader.i32()?;
        let member_id = reader.string()?;
        let group_instance_id = if 7 <= version { reader.nullable_string()? } else { None };
        if version < 5 {
            // The retention time, which is the server's to decide.
            reader.i64()?;
        }
        let topics = reader.array(|reader| {
            let (name, topic_id) = decode_topic(reader, version)?;
            let partitions = reader.array(|reader| {
                let partition = reader.i32()?;
                let offset = reader.i64()?;
                let leader_epoch = if 6 <= version { reader.i32()? } else { -1 };
                let metadata = reader.nullable_string()?;
                reader.tags()?;
                Ok(CommitPartition { partition, offset, leader_epoch, metadata })
            })?;
            reader.tags()?;
            Ok(CommitTopic { name, topic_id, partitions })
        })?;
        reader.tags()?;
        Ok(OffsetCommitRequest { group_id, generation_id, member_id, group_instance_id, topics })
    }

    pub fn encode(&self, writer: &mut Writer, version: i16) {
        writer.string(&self.group_id);
        writer.i32(self.generation_id);
        writer.string(&self.member_id);
        if 7 <= version {
            writer.nullable_string(self.group_instance_id.as_deref());
        }
        if version < 5 {
            writer.i64(-1);
        }
        writer.array(&self.topics, |writer, topic| {
            encode_topic(writer, version, &topic.name, &topic.topic_id);
            writer.array(&topic.partitions, |writer, partition| {
                writer.i32(partition.partition);
                writer.i64(partition.offset);
                if 6 <= version {
                    writer.i32(partition.leader_epoch);
                }
                writer.nullable_string(partition.metadata.as_deref());
                writer.tags();
            });
            writer.tags();
        });
        writer.tags();
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OffsetCommitResponse {
    /// From version 3.
    pub throttle_time_ms: i32,
    pub topics: Vec<CommittedTopic>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CommittedTopic {
    /// Before version 10.
    pub name: String,
    /// From version 10.
    pub topic_id: [u8; 16],
    /// Partition and error code.
    pub partitions: Vec<(i32, i16)>,
}

impl OffsetCommitResponse {
    pub fn decode(reader: &mut Reader, version: i16) -> Result<OffsetCommitResponse, WireError> {
        let throttle_time_ms = if 3 <= version { reader.i32()? } else { 0 };
        let topics = reader.array(|reader| {
            let (name, topic_id) = decode_topic(reader, version)?;
            let partitions = reader.array(|reader| {
                let partition = (reader.i32()?, reader.i16()?);
                reader.tags()?;
                Ok(partition)
            })?;
            reader.tags()?;
            Ok(CommittedTopic { name, topic_id, partitions })
        })?;
        reader.tags()?;
        Ok(OffsetCommitResponse { throttle_time_ms, topics })
    }

    pub fn encode(&self, writer: &mut Writer, version: i16) {
        if 3 <= version {
            writer.i32(self.throttle_time_ms);
        }
        writer.array(&self.topics, |writer, topic| {
            encode_topic(writer, version, &topic.name, &topic.topic_id);
            writer.array(&topic.partitions, |writer, (partition, error_code)| {
                writer.i32(*partition);
                writer.i16(*error_code);
                writer.tags();
            });
            writer.tags();
        });
        writer.tags();
    }
}

/// A topic's name, or from version 10 its id, as OffsetCommit and OffsetFetch both have it.
pub(super) fn decode_topic(reader: &mut Reader, version: i16) -> Result<(String, [u8; 16]), WireError> {
    if TOPIC_IDS <= version { Ok((String::new(), reader.uuid()?)) } else { Ok((reader.string()?, [0; 16])) }
}

/// The inverse of [`decode_topic`].
pub(super) fn encode_topic(writer: &mut Writer, version: i16, name: &str, topic_id: &[u8; 16]) {
    if TOPIC_IDS <= version {
        writer.uuid(topic_id);
    } else {
        writer.string(name);
    }
}
