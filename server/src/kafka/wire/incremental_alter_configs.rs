//! IncrementalAlterConfigs (44), versions 0-1: settings of resources that are changed one by one.
//!
//! | version | change |
//! |---|---|
//! | 1 | flexible |
//!
//! The response is that of [AlterConfigs](super::alter_configs::AlterConfigsResponse).

use super::primitives::{Reader, WireError, Writer};

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct IncrementalAlterConfigsRequest {
    pub resources: Vec<ChangedConfigs>,
    pub validate_only: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ChangedConfigs {
    pub resource_type: i8,
    pub resource_name: String,
    pub configs: Vec<ChangedConfig>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ChangedConfig {
    pub name: String,
    /// 0 set, 1 delete, 2 append to a list, 3 subtract from a list.
    pub operation: i8,
    /// Null for a deletion.
    pub value: Option<String>,
}

impl IncrementalAlterConfigsRequest {
    pub fn decode(reader: &mut Reader, _version: i16) -> Result<IncrementalAlterConfigsRequest, WireError> {
        let resources = reader.array(|reader| {
            let (resource_type, resource_name) = (reader.i8()?, reader.string()?);
            let configs = reader.array(|reader| {
                let (name, operation, value) = (reader.string()?, reader.i8()?, reader.nullable_string()?);
                reader.tags()?;
                Ok(ChangedConfig { name, operation, value })
            })?;
            reader.tags()?;
            Ok(ChangedConfigs { resource_type, resource_name, configs })
        })?;
        let validate_only = reader.bool()?;
        reader.tags()?;
        Ok(IncrementalAlterConfigsRequest { resources, validate_only })
    }

    pub fn encode(&self, writer: &mut Writer, _version: i16) {
        writer.array(&self.resources, |writer, resource| {
            writer.i8(resource.resource_type);
            writer.string(&resource.resource_name);
            writer.array(&resource.configs, |writer, config| {
                writer.string(&config.name);
                writer.i8(config.operation);
                writer.nullable_string(config.value.as_deref());
                writer.tags();
            });
            writer.tags();
        });
        writer.bool(self.validate_only);
        writer.tags();
    }
}
