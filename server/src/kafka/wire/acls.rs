//! DescribeAcls (29), CreateAcls (30) and DeleteAcls (31), versions 1-3: who may do what.
//!
//! There are no rules, so no answer has any: what would hold them is written empty, and refused when it is not.
//!
//! | version | change |
//! |---|---|
//! | 2 | flexible |
//! | 3 | resources may be users (KIP-373) |

use super::primitives::{Reader, WireError, Writer};

/// Which rules are meant. `None` and 1 mean any.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AclFilter {
    pub resource_type: i8,
    pub resource_name: Option<String>,
    pub pattern_type: i8,
    pub principal: Option<String>,
    pub host: Option<String>,
    pub operation: i8,
    pub permission_type: i8,
}

impl AclFilter {
    fn decode(reader: &mut Reader) -> Result<AclFilter, WireError> {
        let filter = AclFilter {
            resource_type: reader.i8()?,
            resource_name: reader.nullable_string()?,
            pattern_type: reader.i8()?,
            principal: reader.nullable_string()?,
            host: reader.nullable_string()?,
            operation: reader.i8()?,
            permission_type: reader.i8()?,
        };
        reader.tags()?;
        Ok(filter)
    }

    fn encode(&self, writer: &mut Writer) {
        writer.i8(self.resource_type);
        writer.nullable_string(self.resource_name.as_deref());
        writer.i8(self.pattern_type);
        writer.nullable_string(self.principal.as_deref());
        writer.nullable_string(self.host.as_deref());
        writer.i8(self.operation);
        writer.i8(self.permission_type);
        writer.tags();
    }
}

/// The whole body is one filter.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DescribeAclsRequest {
    pub filter: AclFilter,
}

impl DescribeAclsRequest {
    pub fn decode(reader: &mut Reader, _version: i16) -> Result<DescribeAclsRequest, WireError> {
        Ok(DescribeAclsRequest { filter: AclFilter::decode(reader)? })
    }

    pub fn encode(&self, writer: &mut Writer, _version: i16) {
        self.filter.encode(writer);
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DescribeAclsResponse {
    pub throttle_time_ms: i32,
    pub error_code: i16,
    pub error_message: Option<String>,
}

impl DescribeAclsResponse {
    pub fn decode(reader: &mut Reader, _version: i16) -> Result<DescribeAclsResponse, WireError> {
        let throttle_time_ms = reader.i32()?;
        let (error_code, error_message) = (reader.i16()?, reader.nullable_string()?);
        no_rules(reader)?;
        reader.tags()?;
        Ok(DescribeAclsResponse { throttle_time_ms, error_code, error_message })
    }

    pub fn encode(&self, writer: &mut Writer, _version: i16) {
        writer.i32(self.throttle_time_ms);
        writer.i16(self.error_code);
        writer.nullable_string(self.error_message.as_deref());
        writer.array::<()>(&[], |_, ()| {});
        writer.tags();
    }
}

/// A rule that is to be.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NewAcl {
    pub resource_type: i8,
    pub resource_name: String,
    pub pattern_type: i8,
    pub principal: String,
    pub host: String,
    pub operation: i8,
    pub permission_type: i8,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CreateAclsRequest {
    pub creations: Vec<NewAcl>,
}

impl CreateAclsRequest {
    pub fn decode(reader: &mut Reader, _version: i16) -> Result<CreateAclsRequest, WireError> {
        let creations = reader.array(|reader| {
            let creation = NewAcl {
                resource_type: reader.i8()?,
                resource_name: reader.string()?,
                pattern_type: reader.i8()?,
                principal: reader.string()?,
                host: reader.string()?,
                operation: reader.i8()?,
                permission_type: reader.i8()?,
            };
            reader.tags()?;
            Ok(creation)
        })?;
        reader.tags()?;
        Ok(CreateAclsRequest { creations })
    }

    pub fn encode(&self, writer: &mut Writer, _version: i16) {
        writer.array(&self.creations, |writer, creation| {
            writer.i8(creation.resource_type);
            writer.string(&creation.resource_name);
            writer.i8(creation.pattern_type);
            writer.string(&creation.principal);
            writer.string(&creation.host);
            writer.i8(creation.operation);
            writer.i8(creation.permission_type);
            writer.tags();
        });
        writer.tags();
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CreateAclsResponse {
    pub throttle_time_ms: i32,
    /// Error code and message, in the order of the request.
    pub results: Vec<(i16, Option<String>)>,
}

impl CreateAclsResponse {
    pub fn decode(reader: &mut Reader, _version: i16) -> Result<CreateAclsResponse, WireError> {
        let throttle_time_ms = reader.i32()?;
        let results = reader.array(|reader| {
            let result = (reader.i16()?, reader.nullable_string()?);
            reader.tags()?;
            Ok(result)
        })?;
        reader.tags()?;
        Ok(CreateAclsResponse { throttle_time_ms, results })
    }

    pub fn encode(&self, writer: &mut Writer, _version: i16) {
        writer.i32(self.throttle_time_ms);
        writer.array(&self.results, |writer, (error_code, error_message)| {
            writer.i16(*error_code);
            writer.nullable_string(error_message.as_deref());
            writer.tags();
        });
        writer.tags();
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeleteAclsRequest {
    pub filters: Vec<AclFilter>,
}

impl DeleteAclsRequest {
    pub fn decode(reader: &mut Reader, _version: i16) -> Result<DeleteAclsRequest, WireError> {
        let filters = reader.array(AclFilter::decode)?;
        reader.tags()?;
        Ok(DeleteAclsRequest { filters })
    }

    pub fn encode(&self, writer: &mut Writer, _version: i16) {
        writer.array(&self.filters, |writer, filter| filter.encode(writer));
        writer.tags();
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeleteAclsResponse {
    pub throttle_time_ms: i32,
    /// Error code and message, in the order of the request.
    pub results: Vec<(i16, Option<String>)>,
}

impl DeleteAclsResponse {
    pub fn decode(reader: &mut Reader, _version: i16) -> Result<DeleteAclsResponse, WireError> {
        let throttle_time_ms = reader.i32()?;
        let results = reader.array(|reader| {
            let result = (reader.i16()?, reader.nullable_string()?);
            no_rules(reader)?;
            reader.tags()?;
            Ok(result)
        })?;
        reader.tags()?;
        Ok(DeleteAclsResponse { throttle_time_ms, results })
    }

    pub fn encode(&self, writer: &mut Writer, _version: i16) {
        writer.i32(self.throttle_time_ms);
        writer.array(&self.results, |writer, (error_code, error_message)| {
            writer.i16(*error_code);
            writer.nullable_string(error_message.as_deref());
            writer.array::<()>(&[], |_, ()| {});
            writer.tags();
        });
        writer.tags();
    }
}

/// The empty array where rules would be.
fn no_rules(reader: &mut Reader) -> Result<(), WireError> {
    reader.array(|_| Err::<(), _>(WireError::Value))?;
    Ok(())
}
