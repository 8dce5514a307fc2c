//! Reading a small JSON body whole. Nothing of what it says reaches an answer or a record: it holds passwords.

use http::HeaderValue;
use http::header::CONTENT_TYPE;
use http_body::Body as _;
use http_body_util::BodyExt;
use portcullis_core::body::BodyError;
use portcullis_core::call::Call;
use portcullis_core::refusal::Refusal;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

/// The most bytes the body of a token request has.
pub const MAX_BODY_BYTES: u64 = 16 * 1024;

/// Takes the call's body and reads it; `expected` is what a caller is told that sent something else. Members
/// that are not known are passed over.
pub(super) async fn read_json<T: DeserializeOwned>(call: &mut Call, expected: &'static str) -> Result<T, Refusal> {
    if !call.request.headers.get_all(CONTENT_TYPE).iter().all(is_json) {
        return Err(Refusal::UnsupportedMediaType);
    }
    let mut body = call.take_body();
    let too_large = || Refusal::BodyTooLarge { limit: MAX_BODY_BYTES };
    if body.size_hint().lower() > MAX_BODY_BYTES {
        return Err(too_large());
    }
    let mut bytes = Zeroizing::new(Vec::new());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| match error {
            BodyError::TooLarge { limit } => Refusal::BodyTooLarge { limit },
            BodyError::Idle => Refusal::RequestTimeout,
            BodyError::Broken(_) => Refusal::malformed("body_broken", "the request's body broke off"),
            BodyError::Revoked => Refusal::Revoked,
        })?;
        let Some(data) = frame.data_ref() else { continue };
        if bytes.len() + data.len() > MAX_BODY_BYTES as usize {
            return Err(too_large());
        }
        bytes.extend_from_slice(data);
    }
    // What the parser says could repeat what was sent, so it is not told to anybody.
    serde_json::from_slice(&bytes).map_err(|_| Refusal::malformed("malformed_json", expected))
}

fn is_json(content_type: &HeaderValue) -> bool {
    let essence = content_type.to_str().unwrap_or("").split(';').next().unwrap_or("");
    essence.trim().eq_ignore_ascii_case("application/json")
}
