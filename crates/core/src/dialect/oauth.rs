//! Errors of OAuth 2.0 (RFC 6749 section 5.2).

use serde::Serialize;

use super::written::Written;
use crate::refusal::Facts;
use crate::request_id::RequestId;

#[derive(Serialize)]
struct OAuthError<'a> {
    error: &'a str,
    error_description: &'a str,
    code: &'a str,
    request_id: &'a str,
}

pub(super) fn write(facts: &Facts<'_>, id: &RequestId) -> Written {
    let body = serde_json::to_vec(&OAuthError {
        error: error(facts),
        error_description: &facts.detail,
        code: facts.code,
        request_id: id.as_str(),
    });
    Written::new(facts.status, "application/json", body)
}

/// The error codes of RFC 6749 section 5.2.
fn error(facts: &Facts<'_>) -> &'static str {
    match facts.status.as_u16() {
        401 => "invalid_client",
        403 => "unauthorized_client",
        500.. => "temporarily_unavailable",
        _ => "invalid_request",
    }
}
