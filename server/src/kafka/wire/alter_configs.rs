//! AlterConfigs (33), versions 0-2: resources whose settings are replaced as a whole.
//!
//! | version | change |
//! |---|---|
//! | 2 | flexible |

use super::primitives::{Reader, WireError, Writer};

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AlterConfigsRequest {
    pub resources: Vec<ReplacedConfigs>,
    pub validate_only: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ReplacedConfigs {
    pub resource_type: i8,
    pub resource_name: String,
    pub configs: Vec<(String, Option<String>)>,
}

impl AlterConfigsRequest {
    pub fn decode(reader: &mut Reader, _version: i16) -> Result<AlterConfigsRequest, WireError> {
        let resources = reader.array(|reader| {
            let (resource_type, resource_name) = (reader.i8()?, reader.string()?);
            let configs = reader.array(|reader| {
                let config = (reader.string()?, reader.nullable_string()?);
                reader.tags()?;
                Ok(config)
            })?;
            reader.tags()?;
            Ok(ReplacedConfigs { resource_type, resource_name, configs })
        })?;
        let validate_only = reader.bool()?;
        reader.tags()?;
        Ok(AlterConfigsRequest { resources, validate_only })
    }

    pub fn encode(&self, writer: &mut Writer, _version: i16) {
        writer.array(&self.resources, |writer, resource| {
            writer.i8(resource.resource_type);
            writer.string(&resource.resource_name);
            writer.array(&resource.configs, |writer, (name, value)| {
                writer.string(name);
                writer.nullable_string(value.as_deref());
                writer.tags();
            });
            writer.tags();
        });
        writer.bool(self.validate_only);
        writer.tags();
    }
}

/// The response of AlterConfigs and of IncrementalAlterConfigs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AlterConfigsResponse {
    pub throttle_time_ms: i32,
    pub resources: Vec<AlteredResource>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AlteredResource {
    pub error_code: i16,
    pub error_message: Option<String>,
    pub resource_type: i8,
    pub resource_name: String,
}

impl AlterConfigsResponse {
    pub fn decode(reader: &mut Reader, _version: i16) -> Result<AlterConfigsResponse, WireError> {
        let throttle_time_ms = reader.i32()?;
        let resources = reader.array(|reader| {
            let (error_code, error_message) = (reader.i16()?, reader.nullable_string()?);
            let (resource_type, resource_name) = (reader.i8()?, reader.string()?);
            reader.tags()?;
            Ok(AlteredResource { error_code, error_message, resource_type, resource_name })
        })?;
        reader.tags()?;
        Ok(AlterConfigsResponse { throttle_time_ms, resources })
    }

    pub fn encode(&self, writer: &mut Writer, _version: i16) {
        writer.i32(self.throttle_time_ms);
        writer.array(&self.resources, |writer, resource| {
            writer.i16(resource.error_code);
            writer.nullable_string(resource.error_message.as_deref());
            writer.i8(resource.resource_type);
            writer.string(&resource.resource_name);
            writer.tags();
        });
        writer.tags();
    }
}
