//! DescribeConfigs (32), versions 1-4: settings of topics and of brokers.
//!
//! | version | change |
//! |---|---|
//! | 3 | request: whether documentation is wanted; response: type and documentation (KIP-569) |
//! | 4 | flexible |

use super::primitives::{Reader, WireError, Writer};

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DescribeConfigsRequest {
    pub resources: Vec<Resource>,
    pub include_synonyms: bool,
    /// From version 3.
    pub include_documentation: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Resource {
    /// 2: topic, 4: broker.
    pub resource_type: i8,
    pub resource_name: String,
    /// Null: all.
    pub configuration_keys: Option<Vec<String>>,
}

impl DescribeConfigsRequest {
    pub fn decode(reader: &mut Reader, version: i16) -> Result<DescribeConfigsRequest, WireError> {
        let resources = reader.array(|reader| {
            let resource = Resource {
                resource_type: reader.i8()?,
                resource_name: reader.string()?,
                configuration_keys: reader.nullable_array(Reader::string)?,
            };
            reader.tags()?;
            Ok(resource)
        })?;
        let include_synonyms = reader.bool()?;
        let include_documentation = version >= 3 && reader.bool()?;
        reader.tags()?;
        Ok(DescribeConfigsRequest { resources, include_synonyms, include_documentation })
    }

    pub fn encode(&self, writer: &mut Writer, version: i16) {
        writer.array(&self.resources, |writer, resource| {
            writer.i8(resource.resource_type);
            writer.string(&resource.resource_name);
            writer.nullable_array(resource.configuration_keys.as_deref(), |writer, key| writer.string(key));
            writer.tags();
        });
        writer.bool(self.include_synonyms);
        if version >= 3 {
            writer.bool(self.include_documentation);
        }
        writer.tags();
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DescribeConfigsResponse {
    pub throttle_time_ms: i32,
    pub results: Vec<DescribedResource>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DescribedResource {
    pub error_code: i16,
    pub error_message: Option<String>,
    pub resource_type: i8,
    pub resource_name: String,
    pub configs: Vec<DescribedConfig>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DescribedConfig {
    pub name: String,
    pub value: Option<String>,
    pub read_only: bool,
    /// Where the value is from: 1 the topic, 4 the broker's configuration, 5 the default.
    pub source: i8,
    pub sensitive: bool,
    pub synonyms: Vec<Synonym>,
    /// From version 3.
    pub config_type: i8,
    /// From version 3.
    pub documentation: Option<String>,
}

/// Another setting that decides the same, strongest first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Synonym {
    pub name: String,
    pub value: Option<String>,
    pub source: i8,
}

impl DescribeConfigsResponse {
    pub fn decode(reader: &mut Reader, version: i16) -> Result<DescribeConfigsResponse, WireError> {
        let throttle_time_ms = reader.i32()?;
        let results = reader.array(|reader| {
            let result = DescribedResource {
                error_code: reader.i16()?,
                error_message: reader.nullable_string()?,
                resource_type: reader.i8()?,
                resource_name: reader.string()?,
                configs: reader.array(|reader| DescribedConfig::decode(reader, version))?,
            };
            reader.tags()?;
            Ok(result)
        })?;
        reader.tags()?;
        Ok(DescribeConfigsResponse { throttle_time_ms, results })
    }

    pub fn encode(&self, writer: &mut Writer, version: i16) {
        writer.i32(self.throttle_time_ms);
        writer.array(&self.results, |writer, result| {
            writer.i16(result.error_code);
            writer.nullable_string(result.error_message.as_deref());
            writer.i8(result.resource_type);
            writer.string(&result.resource_name);
            writer.array(&result.configs, |writer, config| config.encode(writer, version));
            writer.tags();
        });
        writer.tags();
    }
}

impl DescribedConfig {
    fn decode(reader: &mut Reader, version: i16) -> Result<DescribedConfig, WireError> {
        let mut config = DescribedConfig {
            name: reader.string()?,
            value: reader.nullable_string()?,
            read_only: reader.bool()?,
            source: reader.i8()?,
            sensitive: reader.bool()?,
            synonyms: reader.array(Synonym::decode)?,
            ..Default::default()
        };
        if version >= 3 {
            config.config_type = reader.i8()?;
            config.documentation = reader.nullable_string()?;
        }
        reader.tags()?;
        Ok(config)
    }

    fn encode(&self, writer: &mut Writer, version: i16) {
        writer.string(&self.name);
        writer.nullable_string(self.value.as_deref());
        writer.bool(self.read_only);
        writer.i8(self.source);
        writer.bool(self.sensitive);
        writer.array(&self.synonyms, |writer, synonym| {
            writer.string(&synonym.name);
            writer.nullable_string(synonym.value.as_deref());
            writer.i8(synonym.source);
            writer.tags();
        });
        if version >= 3 {
            writer.i8(self.config_type);
            writer.nullable_string(self.documentation.as_deref());
        }
        writer.tags();
    }
}

impl Synonym {
    fn decode(reader: &mut Reader) -> Result<Synonym, WireError> {
        let synonym =
            Synonym { name: reader.string()?, value: reader.nullable_string()?, source: reader.i8()? };
        reader.tags()?;
        Ok(synonym)
    }
}
