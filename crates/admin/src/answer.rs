//! What handlers answer with: an object as JSON, with its revision as the entity tag (RFC 9110 section 8.8.3).

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::ETAG;
use serde::Serialize;

use crate::conditions::etag;
use crate::operations::Put;

/// An object as it stands.
pub(crate) fn shown(revision: u64, object: impl Serialize) -> Response {
    ([(ETAG, etag(revision))], Json(object)).into_response()
}

/// 201: an object that was not there before.
pub(crate) fn made(revision: u64, object: impl Serialize) -> Response {
    (StatusCode::CREATED, shown(revision, object)).into_response()
}

/// An object that was put in its place.
pub(crate) fn put(put: &Put, object: impl Serialize) -> Response {
    if put.created { made(put.revision, object) } else { shown(put.revision, object) }
}
