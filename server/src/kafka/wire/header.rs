//! What precedes every request and every response.
//!
//! | request, version | fields | for |
//! |---|---|---|
//! | 1 | key i16, version i16, correlation i32, client nullable string (classic) | classic versions |
//! | 2 | the same, then tagged fields | flexible versions |
//!
//! | response, version | fields | for |
//! |---|---|---|
//! | 0 | correlation i32 | classic versions, and every version of ApiVersions |
//! | 1 | the same, then tagged fields | flexible versions |
//!
//! The client id stays a classic string in version 2, so that a server can read it before it knows the version.

use super::primitives::{Reader, WireError, Writer};

/// ApiVersions, whose response header is always version 0: a client must be able to read it before it knows
/// what the server speaks.
const API_VERSIONS: i16 = 18;

/// Who asks for what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RequestHeader {
    pub key: i16,
    pub version: i16,
    pub correlation_id: i32,
    pub client_id: Option<String>,
    /// Whether this version of the request is encoded flexibly. Not on the wire.
    pub flexible: bool,
}

impl RequestHeader {
    /// Takes a header off `reader` and leaves it in the body's encoding. `is_flexible` answers for a key and
    /// a version.
    pub fn decode(
        reader: &mut Reader,
        is_flexible: fn(i16, i16) -> bool,
    ) -> Result<RequestHeader, WireError> {
        reader.set_flexible(false);
        let (key, version) = (reader.i16()?, reader.i16()?);
        let correlation_id = reader.i32()?;
        let client_id = reader.nullable_string()?;
        let flexible = is_flexible(key, version);
        reader.set_flexible(flexible);
        reader.tags()?;
        Ok(RequestHeader { key, version, correlation_id, client_id, flexible })
    }

    /// Appends the header and leaves `writer` in the body's encoding.
    pub fn encode(&self, writer: &mut Writer) {
        writer.set_flexible(false);
        writer.i16(self.key);
        writer.i16(self.version);
        writer.i32(self.correlation_id);
        writer.nullable_string(self.client_id.as_deref());
        writer.set_flexible(self.flexible);
        writer.tags();
    }

    /// Appends the header of the answer and leaves `writer` in the body's encoding.
    pub fn encode_response(&self, writer: &mut Writer) {
        writer.i32(self.correlation_id);
        writer.set_flexible(self.flexible && self.key != API_VERSIONS);
        writer.tags();
        writer.set_flexible(self.flexible);
    }

    /// Takes the header of the answer to this request off `reader`, leaves it in the body's encoding, and
    /// returns the correlation id.
    pub fn decode_response(&self, reader: &mut Reader) -> Result<i32, WireError> {
        let correlation_id = reader.i32()?;
        reader.set_flexible(self.flexible && self.key != API_VERSIONS);
        reader.tags()?;
        reader.set_flexible(self.flexible);
        Ok(correlation_id)
    }
}
