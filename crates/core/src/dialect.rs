//! How refusals are written: as problem details, as OAuth has them, or as gRPC ends its calls.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use serde::Serialize;

use crate::body::{Body, Response};
use crate::canonical::DecisionPath;
use crate::grpc;
use crate::message::names::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, RATELIMIT, RATELIMIT_POLICY, RETRY_AFTER, WWW_AUTHENTICATE,
};
use crate::message::{FieldMap, FieldValue, HasFields};
use crate::refusal::Refusal;
use crate::request_id::RequestId;

/// How refusals are written for this caller. Fixed at the door, before routing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// RFC 9457 problem details.
    Http,
    /// RFC 6749 section 5.2 error JSON.
    OAuth,
    /// gRPC over HTTP/2: 200 with the status in fields of the head.
    Grpc,
    /// gRPC-Web: 200 with the status in a frame of the body.
    GrpcWeb,
    /// The same in Base64.
    GrpcWebText,
}

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

#[derive(Serialize)]
struct OAuthError<'a> {
    error: &'a str,
    error_description: &'a str,
    code: &'a str,
    request_id: &'a str,
}

impl Dialect {
    /// The dialect of a path.
    pub fn of(path: DecisionPath<'_>) -> Self {
        let path = path.as_str();
        if path.starts_with("/oauth/") || path == "/verify_token" { Self::OAuth } else { Self::Http }
    }

    /// Whether it is one of gRPC's.
    pub fn is_grpc(self) -> bool {
        matches!(self, Self::Grpc | Self::GrpcWeb | Self::GrpcWebText)
    }

    /// Writes a refusal out: status, headers and a body, which is JSON but for gRPC.
    pub fn write(self, refusal: &Refusal, id: &RequestId) -> Response {
        let facts = refusal.facts();
        let mut status = facts.status;
        let mut fields = FieldMap::new();
        if self.is_grpc() {
            status = StatusCode::OK;
            fields = grpc::code::refused(&facts);
        }
        let (content_type, body) = match self {
            Self::Grpc => (FieldValue::from_static("application/grpc"), Ok(Vec::new())),
            Self::GrpcWeb => {
                let frame = grpc::web_trailers(std::mem::take(&mut fields).fields());
                (FieldValue::from_static("application/grpc-web+proto"), Ok(frame.into()))
            }
            Self::GrpcWebText => {
                let frame = grpc::web_trailers(std::mem::take(&mut fields).fields());
                let text = STANDARD.encode(frame).into_bytes();
                (FieldValue::from_static("application/grpc-web-text+proto"), Ok(text))
            }
            Self::Http => (
                FieldValue::from_static("application/problem+json"),
                serde_json::to_vec(&ProblemDetails {
                    kind: format!("urn:portcullis:problem:{}", facts.code),
                    title: facts.title,
                    status: facts.status.as_u16(),
                    detail: &facts.detail,
                    code: facts.code,
                    request_id: id.as_str(),
                }),
            ),
            Self::OAuth => (
                FieldValue::from_static("application/json"),
                serde_json::to_vec(&OAuthError {
                    error: oauth_error(refusal),
                    error_description: &facts.detail,
                    code: facts.code,
                    request_id: id.as_str(),
                }),
            ),
        };
        let mut response = Response::new(Body::full(body.unwrap_or_default()));
        *response.status_mut() = status;
        let mut headers = response.fields_mut();
        headers.replace(fields);
        headers.set(CONTENT_TYPE, content_type);
        headers.set(CACHE_CONTROL, FieldValue::from_static("no-store"));
        if let Some(challenge) = facts.challenge {
            headers.set(WWW_AUTHENTICATE, FieldValue::from_static(challenge));
        }
        if let Some(allow) = facts.allow {
            headers.set(ALLOW, FieldValue::from_static(allow));
        }
        if let Some(seconds) = facts.retry_after {
            headers.set(RETRY_AFTER, FieldValue::from(seconds));
        }
        if let Some(limits) = facts.limits {
            headers.set(RATELIMIT_POLICY, limits.policy.clone());
            headers.set(RATELIMIT, limits.state.clone());
        }
        response
    }
}

/// The error codes of RFC 6749 section 5.2.
fn oauth_error(refusal: &Refusal) -> &'static str {
    match refusal.facts().status.as_u16() {
        401 => "invalid_client",
        403 => "unauthorized_client",
        500.. => "temporarily_unavailable",
        _ => "invalid_request",
    }
}
