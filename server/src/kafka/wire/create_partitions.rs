//! CreatePartitions (37), versions 0-3: topics that are to have more partitions.
//!
//! | version | change |
//! |---|---|
//! | 2 | flexible |

use super::primitives::{Reader, WireError, Writer};

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CreatePartitionsRequest {
    pub topics: Vec<GrowingTopic>,
    pub timeout_ms: i32,
    pub validate_only: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GrowingTopic {
    pub name: String,
    /// Partitions it is to have in total.
    pub count: i32,
    /// The brokers of each new partition; null: as the server likes.
    pub assignments: Option<Vec<Vec<i32>>>,
}

impl CreatePartitionsRequest {
    pub fn decode(reader: &mut Reader, _version: i16) -> Result<CreatePartitionsRequest, WireError> {
        let topics = reader.array(|reader| {
            let (name, count) = (reader.string()?, reader.i32()?);
            let assignments = reader.nullable_array(|reader| {
                let broker_ids = reader.array(Reader::i32)?;
                reader.tags()?;
                Ok(broker_ids)
            })?;
            reader.tags()?;
            Ok(GrowingTopic { name, count, assignments })
        })?;
        let (timeout_ms, validate_only) = (reader.i32()?, reader.bool()?);
        reader.tags()?;
        Ok(CreatePartitionsRequest { topics, timeout_ms, validate_only })
    }

    pub fn encode(&self, writer: &mut Writer, _version: i16) {
        writer.array(&self.topics, |writer, topic| {
            writer.string(&topic.name);
            writer.i32(topic.count);
            writer.nullable_array(topic.assignments.as_deref(), |writer, broker_ids| {
                writer.array(broker_ids, |writer, id| writer.i32(*id));
                writer.tags();
            });
            writer.tags();
        });
        writer.i32(self.timeout_ms);
        writer.bool(self.validate_only);
        writer.tags();
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CreatePartitionsResponse {
    pub throttle_time_ms: i32,
    pub results: Vec<GrownTopic>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GrownTopic {
    pub name: String,
    pub error_code: i16,
    pub error_message: Option<String>,
}

impl CreatePartitionsResponse {
    pub fn decode(reader: &mut Reader, _version: i16) -> Result<CreatePartitionsResponse, WireError> {
        let throttle_time_ms = reader.i32()?;
        let results = reader.array(|reader| {
            let (name, error_code) = (reader.string()?, reader.i16()?);
            let error_message = reader.nullable_string()?;
            reader.tags()?;
            Ok(GrownTopic { name, error_code, error_message })
        })?;
        reader.tags()?;
        Ok(CreatePartitionsResponse { throttle_time_ms, results })
    }

    pub fn encode(&self, writer: &mut Writer, _version: i16) {
        writer.i32(self.throttle_time_ms);
        writer.array(&self.results, |writer, topic| {
            writer.string(&topic.name);
            writer.i16(topic.error_code);
            writer.nullable_string(topic.error_message.as_deref());
            writer.tags();
        });
        writer.tags();
    }
}
