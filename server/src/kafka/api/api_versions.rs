//! ApiVersions: tells clients the table of what is served. Answered in any version, known or not.

use crate::kafka::error::ErrorCode;
use crate::kafka::inflight::{Call, Handled};
use crate::kafka::wire::api_versions::{ApiRange, ApiVersionsRequest, ApiVersionsResponse};
use crate::kafka::wire::{Reader, WireError};
use crate::kafka::{API_VERSIONS_KEY, APIS, api_of};

/// From this version on a client says what software it is.
const SOFTWARE_VERSION: i16 = 3;

pub fn handle(body: &mut Reader, call: &mut Call<'_, '_>) -> Result<Handled, WireError> {
    let version = call.header.version;
    if !api_of(API_VERSIONS_KEY).is_some_and(|api| (api.min..=api.max).contains(&version)) {
        return Ok(unknown_version(call));
    }
    let request = ApiVersionsRequest::decode(body, version)?;
    let named =
        is_software_text(&request.client_software_name) && is_software_text(&request.client_software_version);
    let response = if version >= SOFTWARE_VERSION && !named {
        ApiVersionsResponse { error_code: ErrorCode::InvalidRequest.code(), ..Default::default() }
    } else {
        ApiVersionsResponse { api_keys: ranges(), ..Default::default() }
    };
    let mut writer = call.response();
    response.encode(&mut writer, version);
    Ok(Handled::answer(writer))
}

/// A newer client asks again with what it reads here, so the body is the oldest version's (KIP-511).
fn unknown_version(call: &Call<'_, '_>) -> Handled {
    let error_code = ErrorCode::UnsupportedVersion.code();
    let mut writer = call.response();
    writer.set_flexible(false);
    ApiVersionsResponse { error_code, api_keys: ranges(), ..Default::default() }.encode(&mut writer, 0);
    Handled::answer(writer)
}

fn ranges() -> Vec<ApiRange> {
    APIS.iter().map(|api| ApiRange { key: api.key, min: api.advertised_min, max: api.max }).collect()
}

/// Letters and digits, with dots and dashes between them.
fn is_software_text(text: &str) -> bool {
    let ends = text.bytes().next().zip(text.bytes().last());
    ends.is_some_and(|(first, last)| first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.')
}
