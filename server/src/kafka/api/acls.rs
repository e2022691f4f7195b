//! DescribeAcls, CreateAcls and DeleteAcls: refused as by an Apache Kafka that has no authorizer.

use crate::kafka::error::ErrorCode;
use crate::kafka::inflight::{Call, Handled};
use crate::kafka::wire::acls::{
    CreateAclsRequest, CreateAclsResponse, DeleteAclsRequest, DeleteAclsResponse, DescribeAclsRequest,
    DescribeAclsResponse,
};
use crate::kafka::wire::{Reader, WireError};

/// Apache Kafka's words: tools show them, or look for them.
const NO_AUTHORIZER: &str = "No Authorizer is configured.";

pub fn describe(body: &mut Reader, call: &mut Call<'_, '_>) -> Result<Handled, WireError> {
    DescribeAclsRequest::decode(body, call.header.version)?;
    let (error_code, error_message) = refusal();
    let mut writer = call.response();
    DescribeAclsResponse { throttle_time_ms: 0, error_code, error_message }
        .encode(&mut writer, call.header.version);
    Ok(Handled::answer(writer))
}

pub fn create(body: &mut Reader, call: &mut Call<'_, '_>) -> Result<Handled, WireError> {
    let request = CreateAclsRequest::decode(body, call.header.version)?;
    let results = request.creations.iter().map(|_| refusal()).collect();
    let mut writer = call.response();
    CreateAclsResponse { throttle_time_ms: 0, results }.encode(&mut writer, call.header.version);
    Ok(Handled::answer(writer))
}

pub fn delete(body: &mut Reader, call: &mut Call<'_, '_>) -> Result<Handled, WireError> {
    let request = DeleteAclsRequest::decode(body, call.header.version)?;
    let results = request.filters.iter().map(|_| refusal()).collect();
    let mut writer = call.response();
    DeleteAclsResponse { throttle_time_ms: 0, results }.encode(&mut writer, call.header.version);
    Ok(Handled::answer(writer))
}

fn refusal() -> (i16, Option<String>) {
    (ErrorCode::SecurityDisabled.code(), Some(NO_AUTHORIZER.to_string()))
}
