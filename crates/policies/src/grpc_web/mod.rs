//! `grpc_web`: pages call gRPC services. What a browser can send and read becomes gRPC on the way to the service, and
//! its answer is turned back: the trailers, which a page never sees, become the last frame of the body.
//!
//! Everything passes in pieces as it comes; of a body no more than three characters of Base64 are ever held back.

mod text;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use portcullis_core::body::Body;
use portcullis_core::call::{Call, Dialect, Response};
use portcullis_core::grpc::{self, Form};
use portcullis_core::message::names::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, GRPC_STATUS, X_GRPC_WEB};
use portcullis_core::message::{self, FieldMap, FieldValue, FieldsMut, HasFields, Name};
use portcullis_core::model::Problem;
use portcullis_core::policy::{Next, Policy, Step};
use portcullis_core::refusal::Refusal;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::{PolicyContext, settings};

/// What every content type of gRPC begins with.
const GRPC: &[u8] = b"application/grpc";

/// The settings: there are none. That it stands there turns it on.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Settings {}

/// The JSON schema of its settings.
pub fn schema() -> Value {
    settings::schema::<Settings>()
}

/// Builds the step; none where it is not named.
pub fn build(_: &PolicyContext<'_>, value: Option<&Value>) -> Result<Option<Step>, Vec<Problem>> {
    if value.is_none() {
        return Ok(None);
    }
    let Settings {} = settings::read("grpc_web", value)?;
    Ok(Some(Step::Policy(Arc::new(GrpcWeb))))
}

struct GrpcWeb;

#[async_trait]
impl Policy for GrpcWeb {
    async fn handle(&self, call: &mut Call, next: Next<'_>) -> Result<Response, Refusal> {
        let is_text = match call.dialect {
            Dialect::Grpc(Form::Web) => false,
            Dialect::Grpc(Form::WebText) => true,
            _ => return Ok(next.run(call).await),
        };
        let sent = to_grpc(call, is_text);
        Ok(from_grpc(next.run(call).await, is_text, sent.as_ref().map(FieldValue::value)))
    }
}

/// What the page has sent, as gRPC. Returns as what the page has sent it.
fn to_grpc(call: &mut Call, is_text: bool) -> Option<FieldValue> {
    let mut headers = call.request.fields_mut();
    // A browser accepts what it has sent; to the service that says nothing.
    headers.remove(ACCEPT);
    headers.remove(X_GRPC_WEB);
    let written = with_infix(codec(headers.view().get(CONTENT_TYPE)), b"");
    let sent = headers.set(CONTENT_TYPE, written);
    if is_text {
        call.request.body = text::decoded(call.take_body());
    }
    sent
}

/// What the service has answered, as the page reads it. A refusal is written for it already, and what is not gRPC is
/// left alone. A service that does not name its codec has the page's.
fn from_grpc(mut response: Response, is_text: bool, sent: Option<message::Value<'_>>) -> Response {
    let spoken = response.fields().get(CONTENT_TYPE);
    if spoken.and_then(grpc::form) != Some(Form::Native) {
        return response;
    }
    let named = codec(spoken);
    let codec = if named.is_empty() { codec(sent) } else { named };
    let written = with_infix(codec, if is_text { b"-web-text" } else { b"-web" });
    let mut headers = response.fields_mut();
    headers.set(CONTENT_TYPE, written);
    headers.remove(CONTENT_LENGTH);
    let in_head = take_status(headers);
    response.map(|body| {
        let framed = match in_head {
            // Fields that are not in the body would have to be shown to the page by name.
            Some(trailers) => Body::full(grpc::web_trailers(trailers.fields())),
            None => text::with_trailers(body),
        };
        if is_text { text::encoded(framed) } else { framed }
    })
}

/// Takes out of a head how the call has ended, if it has.
fn take_status(mut headers: FieldsMut<'_>) -> Option<FieldMap> {
    if !headers.view().has(GRPC_STATUS) {
        return None;
    }
    let names: Vec<_> =
        headers.view().names().filter(|name| name.as_str().starts_with("grpc-")).map(Name::to_owned).collect();
    let mut taken = FieldMap::with_capacity(names.len());
    for name in names {
        headers.move_to(&name, &mut taken);
    }
    Some(taken)
}

/// What a content type names as the form of its messages, like `+proto`; empty if it names none.
fn codec(content_type: Option<message::Value<'_>>) -> &[u8] {
    let bytes = content_type.map_or(&[][..], message::Value::as_bytes);
    bytes.iter().position(|byte| *byte == b'+').map_or(&[][..], |at| &bytes[at..])
}

/// A content type of gRPC with this behind `application/grpc`, and with a codec.
fn with_infix(codec: &[u8], infix: &[u8]) -> FieldValue {
    let written = Bytes::from([GRPC, infix, codec].concat());
    FieldValue::from_shared(written).unwrap_or(FieldValue::from_static("application/grpc"))
}

#[cfg(test)]
mod tests;
