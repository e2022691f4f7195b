//! ApiVersions (18), versions 0-4: what the server speaks.
//!
//! | version | change |
//! |---|---|
//! | 1 | response: throttle time |
//! | 3 | flexible; request: client software; response: features as tagged fields |
//! | 4 | features may have a minimum of 0, which this server does not use |
//!
//! The response header is version 0 in every version (KIP-511).

use super::primitives::{Reader, WireError, Writer};

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ApiVersionsRequest {
    /// From version 3.
    pub client_software_name: String,
    /// From version 3.
    pub client_software_version: String,
}

impl ApiVersionsRequest {
    pub fn decode(reader: &mut Reader, version: i16) -> Result<ApiVersionsRequest, WireError> {
        let mut request = ApiVersionsRequest::default();
        if version >= 3 {
            request.client_software_name = reader.string()?;
            request.client_software_version = reader.string()?;
        }
        reader.tags()?;
        Ok(request)
    }

    pub fn encode(&self, writer: &mut Writer, version: i16) {
        if version >= 3 {
            writer.string(&self.client_software_name);
            writer.string(&self.client_software_version);
        }
        writer.tags();
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ApiVersionsResponse {
    pub error_code: i16,
    pub api_keys: Vec<ApiRange>,
    /// From version 1.
    pub throttle_time_ms: i32,
}

/// Versions of one request kind, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ApiRange {
    pub key: i16,
    pub min: i16,
    pub max: i16,
}

impl ApiVersionsResponse {
    pub fn decode(reader: &mut Reader, version: i16) -> Result<ApiVersionsResponse, WireError> {
        let error_code = reader.i16()?;
        let api_keys = reader.array(|reader| {
            let range = ApiRange { key: reader.i16()?, min: reader.i16()?, max: reader.i16()? };
            reader.tags()?;
            Ok(range)
        })?;
        let throttle_time_ms = if version >= 1 { reader.i32()? } else { 0 };
        reader.tags()?;
        Ok(ApiVersionsResponse { error_code, api_keys, throttle_time_ms })
    }

    pub fn encode(&self, writer: &mut Writer, version: i16) {
        writer.i16(self.error_code);
        writer.array(&self.api_keys, |writer, range| {
            writer.i16(range.key);
            writer.i16(range.min);
            writer.i16(range.max);
            writer.tags();
        });
        if version >= 1 {
            writer.i32(self.throttle_time_ms);
        }
        writer.tags();
    }
}
