//! The public keys that access tokens are verified with, under `/.well-known`: as a set, and one by one.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::StatusCode;
use portcullis_core::body::Body;
use portcullis_core::call::{Call, Response};
use portcullis_core::handler::takes;
use portcullis_core::message::names::{CACHE_CONTROL, CONTENT_TYPE, ETAG};
use portcullis_core::message::{FieldValue, HasFields};
use portcullis_core::policy::Endpoint;
use portcullis_core::refusal::Refusal;
use portcullis_identity::{SigningKeys, hash_all};

use crate::tags;

/// The methods that show something.
const SHOW: &str = "GET, HEAD";
/// Hexadecimal digits of an entity tag: 128 bits of SHA-256.
const TAG_DIGITS: usize = 32;

/// `GET /.well-known/jwks.json`: the key set that access tokens are verified with (RFC 7517).
pub struct KeySet {
    keys: Bytes,
    /// The entity tag, in its quotes.
    tag: String,
}

impl KeySet {
    /// Shows the set of these keys.
    pub fn new(keys: &SigningKeys) -> Self {
        let keys = keys.jwks().clone();
        let digits = hash_all([&keys[..]]).to_hex();
        let tag = format!("\"{}\"", digits.get(..TAG_DIGITS).unwrap_or(&digits));
        Self { keys, tag }
    }
}

#[async_trait]
impl Endpoint for KeySet {
    async fn answer(&self, call: &mut Call) -> Result<Response, Refusal> {
        takes(&call.request.method, SHOW)?;
        let mut response = if tags::has_already(call.request.fields(), &self.tag) {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        } else {
            shown("application/json", self.keys.clone())
        };
        let tag = FieldValue::of(&self.tag).map_err(|error| Refusal::internal(error.to_string()))?;
        may_be_kept(&mut response);
        response.fields_mut().set(ETAG, tag);
        Ok(response)
    }
}

/// `GET /.well-known/keys/{kid}.pem`: one public key in PEM. The endpoint's path ends before `/{kid}.pem`.
pub struct OneKey(Arc<SigningKeys>);

impl OneKey {
    /// Shows each of these keys.
    pub fn new(keys: Arc<SigningKeys>) -> Self {
        Self(keys)
    }
}

#[async_trait]
impl Endpoint for OneKey {
    async fn answer(&self, call: &mut Call) -> Result<Response, Refusal> {
        takes(&call.request.method, SHOW)?;
        let rest = call.rest().as_str();
        let kid = rest.strip_prefix('/').unwrap_or(rest).strip_suffix(".pem");
        let pem = kid.and_then(|kid| self.0.pem(kid)).ok_or(Refusal::NoRoute)?;
        let mut response = shown("application/x-pem-file", Bytes::copy_from_slice(pem.as_bytes()));
        may_be_kept(&mut response);
        Ok(response)
    }
}

fn shown(content_type: &'static str, body: Bytes) -> Response {
    let mut response = Response::new(Body::full(body));
    response.fields_mut().set(CONTENT_TYPE, FieldValue::from_static(content_type));
    response
}

/// For whoever keeps answers: keys are no secret, and change seldom.
fn may_be_kept(response: &mut Response) {
    response.fields_mut().set(CACHE_CONTROL, FieldValue::from_static("public, max-age=300"));
}

#[cfg(test)]
mod tests;
