//! FindCoordinator (10), versions 0-6: which node coordinates a group, a transaction or a share group.
//!
//! | version | change |
//! |---|---|
//! | 1 | request: key type; response: throttle time, error message |
//! | 3 | flexible |
//! | 4 | many keys at once (KIP-699) |
//! | 6 | key type 2 (KIP-932) |

use super::primitives::{Reader, WireError, Writer};

/// From this version on a request names many keys.
pub const BATCHED: i16 = 4;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FindCoordinatorRequest {
    /// 0 group, 1 transaction, 2 share group. From version 1.
    pub key_type: i8,
    /// Exactly one before version 4.
    pub keys: Vec<String>,
}

impl FindCoordinatorRequest {
    pub fn decode(reader: &mut Reader, version: i16) -> Result<FindCoordinatorRequest, WireError> {
        let mut request = FindCoordinatorRequest::default();
        if version < BATCHED {
            request.keys.push(reader.string()?);
        }
        if 1 <= version {
            request.key_type = reader.i8()?;
        }
        if BATCHED <= version {
            request.keys = reader.array(Reader::string)?;
        }
        reader.tags()?;
        Ok(request)
    }

    pub fn encode(&self, writer: &mut Writer, version: i16) {
        if version < BATCHED {
            writer.string(self.keys.first().map_or("", String::as_str));
        }
        if 1 <= version {
            writer.i8(self.key_type);
        }
        if BATCHED <= version {
            writer.array(&self.keys, |writer, key| writer.string(key));
        }
        writer.tags();
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FindCoordinatorResponse {
    /// From version 1.
    pub throttle_time_ms: i32,
    /// Exactly one before version 4.
    pub coordinators: Vec<Coordinator>,
}

/// The node of one key.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Coordinator {
    /// From version 4.
    pub key: String,
    pub node_id: i32,
    pub host: String,
    pub port: i32,
    pub error_code: i16,
    /// From version 1.
    pub error_message: Option<String>,
}

impl FindCoordinatorResponse {
    pub fn decode(reader: &mut Reader, version: i16) -> Result<FindCoordinatorResponse, WireError> {
        let throttle_time_ms = if 1 <= version { reader.i32()? } else { 0 };
        let coordinators = if BATCHED <= version {
            reader.array(|reader| {
                let mut coordinator = Coordinator { key: reader.string()?, ..Coordinator::default() };
                coordinator.decode_node(reader)?;
                coordinator.error_code = reader.i16()?;
                coordinator.error_message = reader.nullable_string()?;
                reader.tags()?;
                Ok(coordinator)
            })?
        } else {
            let mut coordinator = Coordinator { error_code: reader.i16()?, ..Coordinator::default() };
            if 1 <= version {
                coordinator.error_message = reader.nullable_string()?;
            }
            coordinator.decode_node(reader)?;
            vec![coordinator]
        };
        reader.tags()?;
        Ok(FindCoordinatorResponse { throttle_time_ms, coordinators })
    }

    pub fn encode(&self, writer: &mut Writer, version: i16) {
        if 1 <= version {
            writer.i32(self.throttle_time_ms);
        }
        if BATCHED <= version {
            writer.array(&self.coordinators, |writer, coordinator| {
                writer.string(&coordinator.key);
                coordinator.encode_node(writer);
                writer.i16(coordinator.error_code);
                writer.nullable_string(coordinator.error_message.as_deref());
                writer.tags();
            });
        } else if let Some(coordinator) = self.coordinators.first() {
            writer.i16(coordinator.error_code);
            if 1 <= version {
                writer.nullable_string(coordinator.error_message.as_deref());
            }
            coordinator.encode_node(writer);
        }
        writer.tags();
    }
}

impl Coordinator {
    fn decode_node(&mut self, reader: &mut Reader) -> Result<(), WireError> {
        self.node_id = reader.i32()?;
        self.host = reader.string()?;
        self.port = reader.i32()?;
        Ok(())
    }

    fn encode_node(&self, writer: &mut Writer) {
        writer.i32(self.node_id);
        writer.string(&self.host);
        writer.i32(self.port);
    }
}
