//! InitProducerId (22), versions 0-5: an identity for a producer whose batches are kept once.
//!
//! | version | change |
//! |---|---|
//! | 2 | flexible |
//! | 3 | request: the identity the producer has had |
//! | 4, 5 | error codes of transactions only |

use super::primitives::{Reader, WireError, Writer};

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct InitProducerIdRequest {
    pub transactional_id: Option<String>,
    pub transaction_timeout_ms: i32,
    /// From version 3; -1: none.
    pub producer_id: i64,
    /// From version 3; -1: none.
    pub producer_epoch: i16,
}

impl InitProducerIdRequest {
    pub fn decode(reader: &mut Reader, version: i16) -> Result<InitProducerIdRequest, WireError> {
        let transactional_id = reader.nullable_string()?;
        let transaction_timeout_ms = reader.i32()?;
        let (producer_id, producer_epoch) =
            if version >= 3 { (reader.i64()?, reader.i16()?) } else { (-1, -1) };
        reader.tags()?;
        Ok(InitProducerIdRequest { transactional_id, transaction_timeout_ms, producer_id, producer_epoch })
    }

    pub fn encode(&self, writer: &mut Writer, version: i16) {
        writer.nullable_string(self.transactional_id.as_deref());
        writer.i32(self.transaction_timeout_ms);
        if version >= 3 {
            writer.i64(self.producer_id);
            writer.i16(self.producer_epoch);
        }
        writer.tags();
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct InitProducerIdResponse {
    pub throttle_time_ms: i32,
    pub error_code: i16,
    /// -1: none.
    pub producer_id: i64,
    pub producer_epoch: i16,
}

impl InitProducerIdResponse {
    pub fn decode(reader: &mut Reader, _version: i16) -> Result<InitProducerIdResponse, WireError> {
        let (throttle_time_ms, error_code) = (reader.i32()?, reader.i16()?);
        let (producer_id, producer_epoch) = (reader.i64()?, reader.i16()?);
        reader.tags()?;
        Ok(InitProducerIdResponse { throttle_time_ms, error_code, producer_id, producer_epoch })
    }

    pub fn encode(&self, writer: &mut Writer, _version: i16) {
        writer.i32(self.throttle_time_ms);
        writer.i16(self.error_code);
        writer.i64(self.producer_id);
        writer.i16(self.producer_epoch);
        writer.tags();
    }
}
