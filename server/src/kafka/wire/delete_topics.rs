//! DeleteTopics (20), versions 1-6: topics that are to go, by name or by id.
//!
//! | version | change |
//! |---|---|
//! | 4 | flexible |
//! | 5 | response: error text |
//! | 6 | a topic may be named by its id instead (KIP-516) |

use super::primitives::{Reader, WireError, Writer};

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeleteTopicsRequest {
    pub topics: Vec<DoomedTopic>,
    pub timeout_ms: i32,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DoomedTopic {
    /// Always there before version 6.
    pub name: Option<String>,
    /// From version 6; zero if it has a name.
    pub topic_id: [u8; 16],
}

impl DeleteTopicsRequest {
    pub fn decode(reader: &mut Reader, version: i16) -> Result<DeleteTopicsRequest, WireError> {
        let topics = reader.array(|reader| {
            if version < 6 {
                return Ok(DoomedTopic { name: Some(reader.string()?), ..Default::default() });
            }
            let topic = DoomedTopic { name: reader.nullable_string()?, topic_id: reader.uuid()? };
            reader.tags()?;
            Ok(topic)
        })?;
        let timeout_ms = reader.i32()?;
        reader.tags()?;
        Ok(DeleteTopicsRequest { topics, timeout_ms })
    }

    pub fn encode(&self, writer: &mut Writer, version: i16) {
        writer.array(&self.topics, |writer, topic| {
            if version < 6 {
                return writer.string(topic.name.as_deref().unwrap_or_default());
            }
            writer.nullable_string(topic.name.as_deref());
            writer.uuid(&topic.topic_id);
            writer.tags();
        });
        writer.i32(self.timeout_ms);
        writer.tags();
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeleteTopicsResponse {
    pub throttle_time_ms: i32,
    pub responses: Vec<DeletedTopic>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeletedTopic {
    /// Null only from version 6.
    pub name: Option<String>,
    /// From version 6.
    pub topic_id: [u8; 16],
    pub error_code: i16,
    /// From version 5.
    pub error_message: Option<String>,
}

impl DeleteTopicsResponse {
    pub fn decode(reader: &mut Reader, version: i16) -> Result<DeleteTopicsResponse, WireError> {
        let throttle_time_ms = reader.i32()?;
        let responses = reader.array(|reader| {
            let mut topic = DeletedTopic { name: reader.nullable_string()?, ..Default::default() };
            if version >= 6 {
                topic.topic_id = reader.uuid()?;
            }
            topic.error_code = reader.i16()?;
            if version >= 5 {
                topic.error_message = reader.nullable_string()?;
            }
            reader.tags()?;
            Ok(topic)
        })?;
        reader.tags()?;
        Ok(DeleteTopicsResponse { throttle_time_ms, responses })
    }

    pub fn encode(&self, writer: &mut Writer, version: i16) {
        writer.i32(self.throttle_time_ms);
        writer.array(&self.responses, |writer, topic| {
            writer.nullable_string(topic.name.as_deref());
            if version >= 6 {
                writer.uuid(&topic.topic_id);
            }
            writer.i16(topic.error_code);
            if version >= 5 {
                writer.nullable_string(topic.error_message.as_deref());
            }
            writer.tags();
        });
        writer.tags();
    }
}
