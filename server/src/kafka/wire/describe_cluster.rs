//! DescribeCluster (60), versions 0-2: which brokers there are. Flexible from the first version.
//!
//! | version | change |
//! |---|---|
//! | 1 | both: endpoint type, brokers or controllers (KIP-919) |
//! | 2 | both: fenced brokers (KIP-1073) |

use super::primitives::{Reader, WireError, Writer};

/// The endpoint type of brokers, which is meant where there is none.
pub const BROKERS: i8 = 1;
/// The endpoint type of controllers.
pub const CONTROLLERS: i8 = 2;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DescribeClusterRequest {
    pub include_cluster_authorized_operations: bool,
    /// From version 1.
    pub endpoint_type: i8,
    /// From version 2.
    pub include_fenced_brokers: bool,
}

impl DescribeClusterRequest {
    pub fn decode(reader: &mut Reader, version: i16) -> Result<DescribeClusterRequest, WireError> {
        let include_cluster_authorized_operations = reader.bool()?;
        let endpoint_type = if version >= 1 { reader.i8()? } else { BROKERS };
        let include_fenced_brokers = version >= 2 && reader.bool()?;
        reader.tags()?;
        Ok(DescribeClusterRequest {
            include_cluster_authorized_operations,
            endpoint_type,
            include_fenced_brokers,
        })
    }

    pub fn encode(&self, writer: &mut Writer, version: i16) {
        writer.bool(self.include_cluster_authorized_operations);
        if version >= 1 {
            writer.i8(self.endpoint_type);
        }
        if version >= 2 {
            writer.bool(self.include_fenced_brokers);
        }
        writer.tags();
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DescribeClusterResponse {
    pub throttle_time_ms: i32,
    pub error_code: i16,
    pub error_message: Option<String>,
    /// From version 1.
    pub endpoint_type: i8,
    pub cluster_id: String,
    pub controller_id: i32,
    pub brokers: Vec<ClusterBroker>,
    pub cluster_authorized_operations: i32,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClusterBroker {
    pub broker_id: i32,
    pub host: String,
    pub port: i32,
    pub rack: Option<String>,
    /// From version 2.
    pub is_fenced: bool,
}

impl DescribeClusterResponse {
    pub fn decode(reader: &mut Reader, version: i16) -> Result<DescribeClusterResponse, WireError> {
        let response = DescribeClusterResponse {
            throttle_time_ms: reader.i32()?,
            error_code: reader.i16()?,
            error_message: reader.nullable_string()?,
            endpoint_type: if version >= 1 { reader.i8()? } else { BROKERS },
            cluster_id: reader.string()?,
            controller_id: reader.i32()?,
            brokers: reader.array(|reader| ClusterBroker::decode(reader, version))?,
            cluster_authorized_operations: reader.i32()?,
        };
        reader.tags()?;
        Ok(response)
    }

    pub fn encode(&self, writer: &mut Writer, version: i16) {
        writer.i32(self.throttle_time_ms);
        writer.i16(self.error_code);
        writer.nullable_string(self.error_message.as_deref());
        if version >= 1 {
            writer.i8(self.endpoint_type);
        }
        writer.string(&self.cluster_id);
        writer.i32(self.controller_id);
        writer.array(&self.brokers, |writer, broker| {
            writer.i32(broker.broker_id);
            writer.string(&broker.host);
            writer.i32(broker.port);
            writer.nullable_string(broker.rack.as_deref());
            if version >= 2 {
                writer.bool(broker.is_fenced);
            }
            writer.tags();
        });
        writer.i32(self.cluster_authorized_operations);
        writer.tags();
    }
}

impl ClusterBroker {
    fn decode(reader: &mut Reader, version: i16) -> Result<ClusterBroker, WireError> {
        let broker = ClusterBroker {
            broker_id: reader.i32()?,
            host: reader.string()?,
            port: reader.i32()?,
            rack: reader.nullable_string()?,
            is_fenced: version >= 2 && reader.bool()?,
        };
        reader.tags()?;
        Ok(broker)
    }
}
