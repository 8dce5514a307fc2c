//! Problem details (RFC 9457).

use serde::Serialize;

use super::written::Written;
use crate::refusal::Facts;
use crate::request_id::RequestId;

#[derive(Serialize)]
struct ProblemDetails<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    request_id: &'a str,
}

pub(super) fn write(facts: &Facts<'_>, id: &RequestId) -> Written {
    let body = serde_json::to_vec(&ProblemDetails {
        kind: format!("urn:portcullis:problem:{}", facts.code),
        title: facts.title,
        status: facts.status.as_u16(),
        detail: &facts.detail,
        code: facts.code,
        request_id: id.as_str(),
    });
    Written::new(facts.status, "application/problem+json", body)
}
