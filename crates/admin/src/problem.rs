//! How the control plane says no: RFC 9457 problem details, written in one place.
//!
//! A handler returns an [`ApiError`]; it travels as an extension of the answer until [`finish`] knows the
//! request's id and writes the body. Answers that come from elsewhere in the server are brought into the same form.

use std::borrow::Cow;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue, StatusCode};
use portcullis_core::call::RequestId;
use portcullis_core::message::names::X_REQUEST_ID;
use portcullis_core::model::Problem;
use portcullis_core::ports::RegistryError;
use portcullis_core::refusal::Refusal;
use portcullis_identity::UserError;
use portcullis_routing::change::ChangeError;
use serde::Serialize;
use utoipa::ToSchema;

/// The body of every error (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProblemDetails {
    /// `urn:portcullis:problem:` and the code.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// A short phrase, the same for every occurrence of the code.
    pub(crate) title: &'static str,
    /// The HTTP status.
    pub(crate) status: u16,
    /// What happened this time, in one sentence.
    pub(crate) detail: Cow<'static, str>,
    /// The stable code.
    pub(crate) code: &'static str,
    /// The id of the request, also in `X-Request-Id`.
    pub(crate) request_id: String,
    /// Everything that is wrong with what was sent, each with its place.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) problems: Vec<Mistake>,
}

/// One thing that is wrong with what was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Mistake {
    /// Where, as a dotted path from the top of the body: `targets[0].url`.
    pub(crate) path: String,
    /// What is wrong and what was expected.
    pub(crate) message: String,
    /// The line it stands in, from 1, where the body's form has lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<u64>,
}

impl From<Problem> for Mistake {
    fn from(problem: Problem) -> Self {
        Self { path: problem.path, message: problem.message, line: problem.line }
    }
}

/// A request that was not done, and why.
#[derive(Debug, Clone)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    detail: Cow<'static, str>,
    problems: Vec<Mistake>,
    challenge: Option<&'static str>,
}

impl ApiError {
    /// An error with a status, a stable code and one sentence.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code, detail: detail.into(), problems: Vec::new(), challenge: None }
    }

    /// 400: the request cannot be read.
    pub fn malformed(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// 422: everything that is wrong with a declaration.
    pub fn invalid(problems: Vec<Problem>) -> Self {
        let detail = match problems.as_slice() {
            [one] => one.to_string(),
            several => format!("the declaration has {} problems", several.len()),
        };
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_declaration", detail).with_problems(problems)
    }

    /// 404: the object is not there.
    pub fn not_found(what: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("{what} does not exist"))
    }

    /// 409: the object is there already, or a bound is reached.
    pub fn conflict(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", detail)
    }

    /// 500: a fault of the gateway; what happened goes to the operator's log only.
    pub fn internal(private: impl std::fmt::Display) -> Self {
        tracing::error!(reason = %private, "a request to the admin API failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the gateway failed on this request")
    }

    /// The same error with the places it is about.
    #[must_use]
    pub fn with_problems(mut self, problems: Vec<Problem>) -> Self {
        self.problems = problems.into_iter().map(Mistake::from).collect();
        self
    }

    /// The same error with a `WWW-Authenticate` challenge.
    #[must_use]
    pub fn with_challenge(mut self, challenge: &'static str) -> Self {
        self.challenge = Some(challenge);
        self
    }

    /// The form of errors that the server made without a handler.
    fn of_status(status: StatusCode) -> Self {
        let code = match status {
            StatusCode::NOT_FOUND => "not_found",
            StatusCode::METHOD_NOT_ALLOWED => "method_not_allowed",
            StatusCode::PAYLOAD_TOO_LARGE => "body_too_large",
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "unsupported_media_type",
            status if status.is_server_error() => "internal",
            _ => "bad_request",
        };
        Self::new(status, code, "the request cannot be answered")
    }
}

impl From<ChangeError> for ApiError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Invalid(problems) => Self::invalid(problems),
            ChangeError::NotFound(what) => Self::not_found(what),
            ChangeError::Conflict(detail) => Self::conflict(detail),
            ChangeError::Stale(revision) => {
                let detail = match revision {
                    0 => "the object does not exist".to_owned(),
                    revision => format!("the object is in revision {revision}"),
                };
                Self::new(StatusCode::PRECONDITION_FAILED, "precondition_failed", detail)
            }
            ChangeError::Forbidden(detail) => Self::new(StatusCode::FORBIDDEN, "forbidden", detail),
            ChangeError::Unauthenticated(_) => {
                Self::new(StatusCode::UNAUTHORIZED, "invalid_credential", "the credential is not good for this")
                    .with_challenge("Bearer realm=\"portcullis\"")
            }
            ChangeError::Registry(error) => Self::from(error),
            ChangeError::Contended => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "contended",
                "others change the same objects all the time; nothing was changed",
            ),
            ChangeError::Stopping => Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the gateway is stopping"),
        }
    }
}

impl From<UserError> for ApiError {
    fn from(error: UserError) -> Self {
        match error {
            UserError::Change(error) => error.into(),
            UserError::Invalid { field, reason } => Self::invalid(vec![Problem::new(field, reason)]),
            UserError::Refused(refusal) => refusal.into(),
        }
    }
}

impl From<RegistryError> for ApiError {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Storage(reason) => Self::internal(reason),
            error => Self::from(Refusal::from(error)),
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let facts = refusal.facts();
        if facts.status.is_server_error() {
            tracing::error!(code = facts.code, reason = refusal.private(), "a request to the admin API was refused");
        }
        Self::new(facts.status, facts.code, facts.detail.into_owned())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        response.extensions_mut().insert(self);
        response
    }
}

/// Gives an answer its last form: the request's id, no caching, and a problem body on every error.
pub(crate) fn finish(mut response: Response, id: &RequestId) -> Response {
    let carried = response.extensions_mut().remove::<ApiError>();
    let is_error = response.status().is_client_error() || response.status().is_server_error();
    if let Some(error) = carried.or_else(|| is_error.then(|| ApiError::of_status(response.status()))) {
        write(&mut response, error, id);
    }
    let headers = response.headers_mut();
    headers.insert(HeaderName::from(X_REQUEST_ID), id.header().into());
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn write(response: &mut Response, error: ApiError, id: &RequestId) {
    let status = error.status;
    let details = ProblemDetails {
        kind: format!("urn:portcullis:problem:{}", error.code),
        title: status.canonical_reason().unwrap_or("Error"),
        status: status.as_u16(),
        detail: error.detail,
        code: error.code,
        request_id: id.as_str().to_owned(),
        problems: error.problems,
    };
    *response.status_mut() = status;
    *response.body_mut() = Body::from(serde_json::to_vec(&details).unwrap_or_default());
    let headers = response.headers_mut();
    headers.remove(CONTENT_LENGTH);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if let Some(challenge) = error.challenge {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.entry(RETRY_AFTER).or_insert(HeaderValue::from_static("1"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    async fn check(error: ChangeError, status: u16, code: &str) -> String {
        let response = finish(ApiError::from(error).into_response(), &RequestId::from_random([1; 16]));
        assert_eq!(response.status().as_u16(), status);
        assert_eq!(response.headers().contains_key(RETRY_AFTER), status == 503);
        assert_eq!(response.headers().contains_key(WWW_AUTHENTICATE), status == 401);
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        let text = String::from_utf8(body.to_vec()).expect("text");
        assert!(text.contains(&format!("\"code\":\"{code}\"")), "{text}");
        text
    }

    #[tokio::test]
    async fn every_failed_change_is_a_problem_of_its_own() {
        check(ChangeError::Invalid(vec![Problem::new("a", "b")]), 422, "invalid_declaration").await;
        check(ChangeError::NotFound("x".into()), 404, "not_found").await;
        check(ChangeError::Conflict("x".into()), 409, "conflict").await;
        check(ChangeError::Stale(3), 412, "precondition_failed").await;
        check(ChangeError::Forbidden("x".into()), 403, "forbidden").await;
        check(ChangeError::Unauthenticated("x"), 401, "invalid_credential").await;
        check(ChangeError::Stopping, 503, "stopping").await;
        check(ChangeError::Contended, 503, "contended").await;
        let conflict = RegistryError::Conflict { kind: "client", key: "x".into() };
        check(conflict.into(), 409, "conflict").await;
    }

    #[tokio::test]
    async fn a_full_disk_is_told_as_one_and_not_where_it_is() {
        let text = check(RegistryError::Full("/var/lib/private is full".into()).into(), 507, "storage_full").await;
        assert!(text.contains("no room on its disk") && !text.contains("private"), "{text}");
    }

    #[tokio::test]
    async fn a_registry_that_is_away_is_told_as_one_that_may_come_back() {
        let away = RegistryError::Unavailable("/var/lib/private is locked".into());
        let text = check(away.into(), 503, "registry_unavailable").await;
        assert!(text.contains("cannot reach its registry") && !text.contains("private"), "{text}");
    }

    #[tokio::test]
    async fn what_failed_inside_stays_inside() {
        let text = check(RegistryError::Storage("/var/lib/private".into()).into(), 500, "internal").await;
        assert!(!text.contains("private"), "{text}");
    }

    #[tokio::test]
    async fn an_error_without_a_handler_has_the_same_form() {
        let mut response = Response::new(Body::from("plain text"));
        *response.status_mut() = StatusCode::IM_A_TEAPOT;
        let response = finish(response, &RequestId::from_random([1; 16]));
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        assert!(!body.windows(5).any(|part| part == b"plain"));
    }
}
