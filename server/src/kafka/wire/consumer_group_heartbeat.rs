//! ConsumerGroupHeartbeat (68), versions 0-1: a member of a group of the newer protocol (KIP-848). Flexible from the first
//! version.
//!
//! | version | change |
//! |---|---|
//! | 1 | request: topics by a regular expression |

use super::primitives::{Reader, WireError, Writer};

/// Topic id and partitions.
pub type TopicPartitions = ([u8; 16], Vec<i32>);

/// What stands for a struct that is not there.
const ABSENT: i8 = -1;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ConsumerGroupHeartbeatRequest {
    pub group_id: String,
    pub member_id: String,
    pub member_epoch: i32,
    pub instance_id: Option<String>,
    pub rack_id: Option<String>,
    pub rebalance_timeout_ms: i32,
    pub subscribed_topics: Option<Vec<String>>,
    /// From version 1.
    pub subscribed_regex: Option<String>,
    pub server_assignor: Option<String>,
    pub owned: Option<Vec<TopicPartitions>>,
}

impl ConsumerGroupHeartbeatRequest {
    pub fn decode(reader: &mut Reader, version: i16) -> Result<ConsumerGroupHeartbeatRequest, WireError> {
        let request = ConsumerGroupHeartbeatRequest {
            group_id: reader.string()?,
            member_id: reader.string()?,
            member_epoch: reader.i32()?,
            instance_id: reader.nullable_string()?,
            rack_id: reader.nullable_string()?,
            rebalance_timeout_ms: reader.i32()?,
            subscribed_topics: reader.nullable_array(Reader::string)?,
            subscribed_regex: if version >= 1 { reader.nullable_string()? } else { None },
            server_assignor: reader.nullable_string()?,
            owned: reader.nullable_array(|reader| {
                let topic = (reader.uuid()?, reader.array(Reader::i32)?);
                reader.tags()?;
                Ok(topic)
            })?,
        };
        reader.tags()?;
        Ok(request)
    }

    pub fn encode(&self, writer: &mut Writer, version: i16) {
        writer.string(&self.group_id);
        writer.string(&self.member_id);
        writer.i32(self.member_epoch);
        writer.nullable_string(self.instance_id.as_deref());
        writer.nullable_string(self.rack_id.as_deref());
        writer.i32(self.rebalance_timeout_ms);
        writer.nullable_array(self.subscribed_topics.as_deref(), |writer, topic| writer.string(topic));
        if version >= 1 {
            writer.nullable_string(self.subscribed_regex.as_deref());
        }
        writer.nullable_string(self.server_assignor.as_deref());
        writer.nullable_array(self.owned.as_deref(), |writer, (id, partitions)| {
            writer.uuid(id);
            writer.array(partitions, |writer, partition| writer.i32(*partition));
            writer.tags();
        });
        writer.tags();
    }
}

/// A refusal: there is never an assignment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ConsumerGroupHeartbeatResponse {
    pub throttle_time_ms: i32,
    pub error_code: i16,
    pub error_message: Option<String>,
    pub member_id: Option<String>,
    pub member_epoch: i32,
    pub heartbeat_interval_ms: i32,
}

impl ConsumerGroupHeartbeatResponse {
    pub fn decode(reader: &mut Reader, _version: i16) -> Result<ConsumerGroupHeartbeatResponse, WireError> {
        let response = ConsumerGroupHeartbeatResponse {
            throttle_time_ms: reader.i32()?,
            error_code: reader.i16()?,
            error_message: reader.nullable_string()?,
            member_id: reader.nullable_string()?,
            member_epoch: reader.i32()?,
            heartbeat_interval_ms: reader.i32()?,
        };
        if reader.i8()? != ABSENT {
            return Err(WireError::Value);
        }
        reader.tags()?;
        Ok(response)
    }

    pub fn encode(&self, writer: &mut Writer, _version: i16) {
        writer.i32(self.throttle_time_ms);
        writer.i16(self.error_code);
        writer.nullable_string(self.error_message.as_deref());
        writer.nullable_string(self.member_id.as_deref());
        writer.i32(self.member_epoch);
        writer.i32(self.heartbeat_interval_ms);
        writer.i8(ABSENT);
        writer.tags();
    }
}
