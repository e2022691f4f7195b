//! Metadata (3), versions 0-13: brokers, topics and where their partitions are.
//!
//! | version | change |
//! |---|---|
//! | 0 | request: an empty array of topics means all |
//! | 1 | request: null means all topics; response: rack, controller, internal topics |
//! | 2 | response: cluster id |
//! | 3 | response: throttle time |
//! | 4 | request: whether topics may be created |
//! | 5 | response: offline replicas |
//! | 7 | response: leader epoch |
//! | 8 | authorized operations, of the cluster until 10 only |
//! | 9 | flexible |
//! | 10 | topic ids; request: the name may be null from here |
//! | 12 | topics are found by id; response: the name may be null |
//! | 13 | response: error of the whole |

use super::primitives::{Reader, WireError, Writer};

/// What stands where the authorized operations were not asked for.
pub const OPERATIONS_NOT_ASKED: i32 = i32::MIN;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MetadataRequest {
    /// `None`: all topics.
    pub topics: Option<Vec<MetadataRequestTopic>>,
    /// From version 4; before it, topics may always be created.
    pub allow_auto_topic_creation: bool,
    /// Versions 8-10.
    pub include_cluster_authorized_operations: bool,
    /// From version 8.
    pub include_topic_authorized_operations: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MetadataRequestTopic {
    /// From version 10; zero: look by name.
    pub id: [u8; 16],
    pub name: Option<String>,
}

impl MetadataRequest {
    pub fn decode(reader: &mut Reader, version: i16) -> Result<MetadataRequest, WireError> {
        let mut topics = reader.nullable_array(|reader| {
            let id = if version >= 10 { reader.uuid()? } else { [0; 16] };
            let name = if version >= 10 { reader.nullable_string()? } else { Some(reader.string()?) };
            reader.tags()?;
            Ok(MetadataRequestTopic { id, name })
        })?;
        if version == 0 {
            topics = Some(topics.ok_or(WireError::Null)?).filter(|topics| !topics.is_empty());
        }
        let mut request = MetadataRequest { topics, allow_auto_topic_creation: true, ..Default::default() };
        if version >= 4 {
            request.allow_auto_topic_creation = reader.bool()?;
        }
        if (8..=10).contains(&version) {
            request.include_cluster_authorized_operations = reader.bool()?;
        }
        if version >= 8 {
            request.include_topic_authorized_operations = reader.bool()?;
        }
        reader.tags()?;
        Ok(request)
    }

    pub fn encode(&self, writer: &mut Writer, version: i16) {
        let topics = self.topics.as_deref();
        let topics = if version == 0 { Some(topics.unwrap_or_default()) } else { topics };
        writer.nullable_array(topics, |writer, topic| {
            if version >= 10 {
                writer.uuid(&topic.id);
                writer.nullable_string(topic.name.as_deref());
            } else {
                writer.string(topic.name.as_deref().unwrap_or_default());
            }
            writer.tags();
        });
        if version >= 4 {
            writer.bool(self.allow_auto_topic_creation);
        }
        if (8..=10).contains(&version) {
            writer.bool(self.include_cluster_authorized_operations);
        }
        if version >= 8 {
            writer.bool(self.include_topic_authorized_operations);
        }
        writer.tags();
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MetadataResponse {
    pub throttle_time_ms: i32,
    pub brokers: Vec<MetadataBroker>,
    pub cluster_id: Option<String>,
    pub controller_id: i32,
    pub topics: Vec<MetadataTopic>,
    /// Versions 8-10.
    pub cluster_authorized_operations: i32,
    /// From version 13.
    pub error_code: i16,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MetadataBroker {
    pub node_id: i32,
    pub host: String,
    pub port: i32,
    pub rack: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MetadataTopic {
    pub error_code: i16,
    /// Null from version 12 only, when an id was asked for that is not known.
    pub name: Option<String>,
    pub id: [u8; 16],
    pub is_internal: bool,
    pub partitions: Vec<MetadataPartition>,
    pub authorized_operations: i32,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MetadataPartition {
    pub error_code: i16,
    pub index: i32,
    pub leader_id: i32,
    pub leader_epoch: i32,
    pub replica_nodes: Vec<i32>,
    pub isr_nodes: Vec<i32>,
    pub offline_replicas: Vec<i32>,
}

impl MetadataResponse {
    pub fn decode(reader: &mut Reader, version: i16) -> Result<MetadataResponse, WireError> {
        let mut response = MetadataResponse::default();
        if version >= 3 {
            response.throttle_time_ms = reader.i32()?;
        }
        response.brokers = reader.array(|reader| {
            let (node_id, host, port) = (reader.i32()?, reader.string()?, reader.i32()?);
            let rack = if version >= 1 { reader.nullable_string()? } else { None };
            reader.tags()?;
            Ok(MetadataBroker { node_id, host, port, rack })
        })?;
        if version >= 2 {
            response.cluster_id = reader.nullable_string()?;
        }
        if version >= 1 {
            response.controller_id = reader.i32()?;
        }
        response.topics = reader.array(|reader| MetadataTopic::decode(reader, version))?;
        if (8..=10).contains(&version) {
            response.cluster_authorized_operations = reader.i32()?;
        }
        if version >= 13 {
            response.error_code = reader.i16()?;
        }
        reader.tags()?;
        Ok(response)
    }

    pub fn encode(&self, writer: &mut Writer, version: i16) {
        if version >= 3 {
            writer.i32(self.throttle_time_ms);
        }
        writer.array(&self.brokers, |writer, broker| {
            writer.i32(broker.node_id);
            writer.string(&broker.host);
            writer.i32(broker.port);
            if version >= 1 {
                writer.nullable_string(broker.rack.as_deref());
            }
            writer.tags();
        });
        if version >= 2 {
            writer.nullable_string(self.cluster_id.as_deref());
        }
        if version >= 1 {
            writer.i32(self.controller_id);
        }
        writer.array(&self.topics, |writer, topic| topic.encode(writer, version));
        if (8..=10).contains(&version) {
            writer.i32(self.cluster_authorized_operations);
        }
        if version >= 13 {
            writer.i16(self.error_code);
        }
        writer.tags();
    }
}

impl MetadataTopic {
    fn decode(reader: &mut Reader, version: i16) -> Result<MetadataTopic, WireError> {
        let mut topic = MetadataTopic { error_code: reader.i16()?, ..Default::default() };
        topic.name = if version >= 12 { reader.nullable_string()? } else { Some(reader.string()?) };
        if version >= 10 {
            topic.id = reader.uuid()?;
        }
        if version >= 1 {
            topic.is_internal = reader.bool()?;
        }
        topic.partitions = reader.array(|reader| MetadataPartition::decode(reader, version))?;
        if version >= 8 {
            topic.authorized_operations = reader.i32()?;
        }
        reader.tags()?;
        Ok(topic)
    }

    fn encode(&self, writer: &mut Writer, version: i16) {
        writer.i16(self.error_code);
        if version >= 12 {
            writer.nullable_string(self.name.as_deref());
        } else {
            writer.string(self.name.as_deref().unwrap_or_default());
        }
        if version >= 10 {
            writer.uuid(&self.id);
        }
        if version >= 1 {
            writer.bool(self.is_internal);
        }
        writer.array(&self.partitions, |writer, partition| partition.encode(writer, version));
        if version >= 8 {
            writer.i32(self.authorized_operations);
        }
        writer.tags();
    }
}

impl MetadataPartition {
    fn decode(reader: &mut Reader, version: i16) -> Result<MetadataPartition, WireError> {
        let (error_code, index, leader_id) = (reader.i16()?, reader.i32()?, reader.i32()?);
        let leader_epoch = if version >= 7 { reader.i32()? } else { 0 };
        let replica_nodes = reader.array(Reader::i32)?;
        let isr_nodes = reader.array(Reader::i32)?;
        let offline_replicas = if version >= 5 { reader.array(Reader::i32)? } else { Vec::new() };
        reader.tags()?;
        Ok(MetadataPartition {
            error_code,
            index,
            leader_id,
            leader_epoch,
            replica_nodes,
            isr_nodes,
            offline_replicas,
        })
    }

    fn encode(&self, writer: &mut Writer, version: i16) {
        writer.i16(self.error_code);
        writer.i32(self.index);
        writer.i32(self.leader_id);
        if version >= 7 {
            writer.i32(self.leader_epoch);
        }
        writer.array(&self.replica_nodes, |writer, node| writer.i32(*node));
        writer.array(&self.isr_nodes, |writer, node| writer.i32(*node));
        if version >= 5 {
            writer.array(&self.offline_replicas, |writer, node| writer.i32(*node));
        }
        writer.tags();
    }
}
