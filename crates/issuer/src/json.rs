//! Small JSON bodies, in and out. Nothing of what a caller says reaches an answer or a record: it holds passwords.

use bytes::Bytes;
use http::Response;
use portcullis_core::handler::Asked;
use portcullis_core::message::names::{CACHE_CONTROL, CONTENT_TYPE};
use portcullis_core::message::{FieldValue, HasFields, Value};
use portcullis_core::refusal::Refusal;
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

/// The most bytes the body of a token request has.
pub const MAX_BODY_BYTES: u64 = 16 * 1024;

/// Refuses what says that it is no JSON. `asked` has the content type among its fields.
pub fn check_type(asked: &Asked) -> Result<(), Refusal> {
    if asked.fields().all(CONTENT_TYPE).all(is_json) { Ok(()) } else { Err(Refusal::UnsupportedMediaType) }
}

/// Reads a body; `expected` is what a caller is told that sent something else. Members that are not known are passed over.
pub fn read<T: DeserializeOwned>(body: &[u8], expected: &'static str) -> Result<T, Refusal> {
    // What the parser says could repeat what was sent, so it is not told to anybody.
    serde_json::from_slice(body).map_err(|_| Refusal::malformed("malformed_json", expected))
}

/// An answer that holds secrets, for its caller alone.
pub fn answer<T: Serialize>(value: &T) -> Result<Response<Bytes>, Refusal> {
    let written = serde_json::to_vec(value).map_err(|_| Refusal::internal("an answer cannot be written as JSON"))?;
    let body = Zeroizing::new(written);
    let mut response = Response::new(Bytes::copy_from_slice(&body));
    let mut headers = response.fields_mut();
    headers.set(CONTENT_TYPE, FieldValue::from_static("application/json"));
    headers.set(CACHE_CONTROL, FieldValue::from_static("no-store"));
    Ok(response)
}

fn is_json(content_type: Value<'_>) -> bool {
    let essence = content_type.text().unwrap_or("").split(';').next().unwrap_or("");
    essence.trim().eq_ignore_ascii_case("application/json")
}
