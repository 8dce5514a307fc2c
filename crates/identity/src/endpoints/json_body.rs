//! Reading a small JSON body whole. Nothing of what it says reaches an answer or a record: it holds passwords.

use portcullis_core::call::Call;
use portcullis_core::message::names::CONTENT_TYPE;
use portcullis_core::message::{HasFields, Value};
use portcullis_core::refusal::Refusal;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

/// The most bytes the body of a token request has.
pub const MAX_BODY_BYTES: u64 = 16 * 1024;

/// Takes the call's body and reads it; `expected` is what a caller is told that sent something else. Members
/// that are not known are passed over.
pub(super) async fn read_json<T: DeserializeOwned>(call: &mut Call, expected: &'static str) -> Result<T, Refusal> {
    if !call.request.fields().all(CONTENT_TYPE).all(is_json) {
        return Err(Refusal::UnsupportedMediaType);
    }
    let mut bytes = Zeroizing::new(Vec::new());
    let read = call.take_body().read_into(&mut bytes, MAX_BODY_BYTES).await;
    read.map_err(|error| Refusal::of_body(&error))?;
    // What the parser says could repeat what was sent, so it is not told to anybody.
    serde_json::from_slice(&bytes).map_err(|_| Refusal::malformed("malformed_json", expected))
}

fn is_json(content_type: Value<'_>) -> bool {
    let essence = content_type.text().unwrap_or("").split(';').next().unwrap_or("");
    essence.trim().eq_ignore_ascii_case("application/json")
}
