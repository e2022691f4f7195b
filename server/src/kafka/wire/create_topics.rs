//! CreateTopics (19), versions 2-7: new topics, with their settings.
//!
//! | version | change |
//! |---|---|
//! | 4 | request: partitions and replication factor may be -1 without assignments (KIP-464) |
//! | 5 | flexible; response: partitions, replication factor and settings (KIP-525) |
//! | 7 | response: topic id (KIP-516) |

use super::primitives::{Reader, WireError, Writer};

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CreateTopicsRequest {
    pub topics: Vec<NewTopic>,
    pub timeout_ms: i32,
    pub validate_only: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NewTopic {
    pub name: String,
    /// -1: as many as the server thinks right.
    pub num_partitions: i32,
    /// -1: as many as the server thinks right.
    pub replication_factor: i16,
    pub assignments: Vec<Assignment>,
    pub configs: Vec<(String, Option<String>)>,
}

/// Which brokers a partition is to be on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Assignment {
    pub partition_index: i32,
    pub broker_ids: Vec<i32>,
}

impl CreateTopicsRequest {
    pub fn decode(reader: &mut Reader, _version: i16) -> Result<CreateTopicsRequest, WireError> {
        let topics = reader.array(NewTopic::decode)?;
        let request =
            CreateTopicsRequest { topics, timeout_ms: reader.i32()?, validate_only: reader.bool()? };
        reader.tags()?;
        Ok(request)
    }

    pub fn encode(&self, writer: &mut Writer, _version: i16) {
        writer.array(&self.topics, |writer, topic| topic.encode(writer));
        writer.i32(self.timeout_ms);
        writer.bool(self.validate_only);
        writer.tags();
    }
}

impl NewTopic {
    fn decode(reader: &mut Reader) -> Result<NewTopic, WireError> {
        let name = reader.string()?;
        let (num_partitions, replication_factor) = (reader.i32()?, reader.i16()?);
        let assignments = reader.array(|reader| {
            let partition_index = reader.i32()?;
            let broker_ids = reader.array(Reader::i32)?;
            reader.tags()?;
            Ok(Assignment { partition_index, broker_ids })
        })?;
        let configs = reader.array(|reader| {
            let config = (reader.string()?, reader.nullable_string()?);
            reader.tags()?;
            Ok(config)
        })?;
        reader.tags()?;
        Ok(NewTopic { name, num_partitions, replication_factor, assignments, configs })
    }

    fn encode(&self, writer: &mut Writer) {
        writer.string(&self.name);
        writer.i32(self.num_partitions);
        writer.i16(self.replication_factor);
        writer.array(&self.assignments, |writer, assignment| {
            writer.i32(assignment.partition_index);
            writer.array(&assignment.broker_ids, |writer, id| writer.i32(*id));
            writer.tags();
        });
        writer.array(&self.configs, |writer, (name, value)| {
            writer.string(name);
            writer.nullable_string(value.as_deref());
            writer.tags();
        });
        writer.tags();
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CreateTopicsResponse {
    pub throttle_time_ms: i32,
    pub topics: Vec<CreatedTopic>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CreatedTopic {
    pub name: String,
    /// From version 7; zero if it was not created.
    pub topic_id: [u8; 16],
    pub error_code: i16,
    pub error_message: Option<String>,
    /// From version 5; -1 if it was not created.
    pub num_partitions: i32,
    /// From version 5; -1 if it was not created.
    pub replication_factor: i16,
    /// From version 5.
    pub configs: Option<Vec<CreatedConfig>>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CreatedConfig {
    pub name: String,
    pub value: Option<String>,
    pub read_only: bool,
    pub source: i8,
    pub sensitive: bool,
}

impl CreateTopicsResponse {
    pub fn decode(reader: &mut Reader, version: i16) -> Result<CreateTopicsResponse, WireError> {
        let throttle_time_ms = reader.i32()?;
        let topics = reader.array(|reader| CreatedTopic::decode(reader, version))?;
        reader.tags()?;
        Ok(CreateTopicsResponse { throttle_time_ms, topics })
    }

    pub fn encode(&self, writer: &mut Writer, version: i16) {
        writer.i32(self.throttle_time_ms);
        writer.array(&self.topics, |writer, topic| topic.encode(writer, version));
        writer.tags();
    }
}

impl CreatedTopic {
    fn decode(reader: &mut Reader, version: i16) -> Result<CreatedTopic, WireError> {
        let mut topic = CreatedTopic { name: reader.string()?, ..Default::default() };
        if version >= 7 {
            topic.topic_id = reader.uuid()?;
        }
        topic.error_code = reader.i16()?;
        topic.error_message = reader.nullable_string()?;
        if version >= 5 {
            topic.num_partitions = reader.i32()?;
            topic.replication_factor = reader.i16()?;
            topic.configs = reader.nullable_array(CreatedConfig::decode)?;
        }
        reader.tags()?;
        Ok(topic)
    }

    fn encode(&self, writer: &mut Writer, version: i16) {
        writer.string(&self.name);
        if version >= 7 {
            writer.uuid(&self.topic_id);
        }
        writer.i16(self.error_code);
        writer.nullable_string(self.error_message.as_deref());
        if version >= 5 {
            writer.i32(self.num_partitions);
            writer.i16(self.replication_factor);
            writer.nullable_array(self.configs.as_deref(), |writer, config| config.encode(writer));
        }
        writer.tags();
    }
}

impl CreatedConfig {
    fn decode(reader: &mut Reader) -> Result<CreatedConfig, WireError> {
        let config = CreatedConfig {
            name: reader.string()?,
            value: reader.nullable_string()?,
            read_only: reader.bool()?,
            source: reader.i8()?,
            sensitive: reader.bool()?,
        };
        reader.tags()?;
        Ok(config)
    }

    fn encode(&self, writer: &mut Writer) {
        writer.string(&self.name);
        writer.nullable_string(self.value.as_deref());
        writer.bool(self.read_only);
        writer.i8(self.source);
        writer.bool(self.sensitive);
        writer.tags();
    }
}
