//! `request_limits`: how large a request body may be, and of a gRPC call how large each message.

use std::sync::Arc;
use std::task::Poll;

use http_body::Body as HttpBody;
use portcullis_core::body::BodyError;
use portcullis_core::call::Call;
use portcullis_core::grpc::is_framed;
use portcullis_core::grpc::messages::Messages;
use portcullis_core::message::HasFields;
use portcullis_core::model::{Problem, Protocol};
use portcullis_core::policy::{Check, Step};
use portcullis_core::refusal::Refusal;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::{PolicyContext, settings};

/// The settings.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// Bytes a request body may have, or each message of a gRPC call; 0: no limit. The node's own limit, if absent.
    body_bytes: Option<u64>,
}

/// The JSON schema of its settings.
pub fn schema() -> Value {
    settings::schema::<Settings>()
}

/// Builds the step; none where there is no limit.
pub fn build(site: &PolicyContext<'_>, value: Option<&Value>) -> Result<Option<Step>, Vec<Problem>> {
    let settings: Settings = settings::read("request_limits", value)?;
    // To others a content type is all it would take to send without a limit.
    let by_message = matches!(site.service.protocol, Protocol::H2 | Protocol::H2c);
    Ok(step(settings.body_bytes.unwrap_or(site.parts.body_limit), by_message))
}

/// The step for a limit in bytes, which is one for each message of gRPC calls if `by_message`; none for 0.
fn step(limit: u64, by_message: bool) -> Option<Step> {
    (limit > 0).then(|| Step::Check(Arc::new(RequestLimits { limit, by_message })))
}

struct RequestLimits {
    limit: u64,
    by_message: bool,
}

impl Check for RequestLimits {
    fn check(&self, call: &mut Call) -> Result<(), Refusal> {
        if call.request.body.is_empty() {
            return Ok(());
        }
        if self.by_message && call.grpc.is_some() && is_framed(call.request.fields()) {
            // A stream may go on for as long as it likes; what is held of it at a time is a message.
            let (limit, mut messages) = (self.limit, Messages::default());
            call.request.body = call.take_body().map_polls(move |_, polled| {
                let Poll::Ready(Some(Ok(frame))) = &polled else { return polled };
                let passed =
                    frame.data_ref().map_or(Ok(()), |data| messages.pass(data, |length| u64::from(length) <= limit));
                if passed.is_err() { Poll::Ready(Some(Err(BodyError::TooLarge { limit }))) } else { polled }
            });
            return Ok(());
        }
        match call.request.body.size_hint().exact() {
            Some(length) if length > self.limit => Err(Refusal::BodyTooLarge { limit: self.limit }),
            Some(_) => Ok(()),
            None => {
                let (limit, mut left) = (self.limit, self.limit);
                call.request.body = call.take_body().map_polls(move |_, polled| {
                    let passing = match &polled {
                        Poll::Ready(Some(Ok(frame))) => frame.data_ref().map_or(0, |data| data.len() as u64),
                        _ => return polled,
                    };
                    match left.checked_sub(passing) {
                        Some(less) => left = less,
                        None => return Poll::Ready(Some(Err(BodyError::TooLarge { limit }))),
                    }
                    polled
                });
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use http_body::Frame;
    use http_body_util::{BodyExt, StreamBody};
    use portcullis_core::body::Body;
    use portcullis_core::grpc::GrpcCall;

    use super::*;
    use crate::testing::call;

    /// What passes of these pieces.
    async fn passes(is_grpc: bool, by_message: bool, pieces: &[&'static [u8]]) -> Result<usize, BodyError> {
        let mut call = call("POST", "/a.B/C", &[("content-type", "application/grpc")]);
        call.grpc = is_grpc.then(|| Arc::new(GrpcCall::until(None)));
        let frames: Vec<_> = pieces.iter().map(|piece| Ok(Frame::data(Bytes::from_static(piece)))).collect();
        call.request.body = Body::stream(StreamBody::new(futures_util::stream::iter(frames)));
        let Some(Step::Check(check)) = step(8, by_message) else { panic!("a step") };
        check.check(&mut call).expect("nothing to refuse yet");
        call.take_body().collect().await.map(|body| body.to_bytes().len())
    }

    #[tokio::test]
    async fn messages_of_grpc_are_limited_one_by_one() {
        let messages: [&[u8]; 3] = [b"\0\0\0\0\x0812345678", b"\0\0\0\0\x03abc\0\0", b"\0\0\0"];
        assert_eq!(passes(true, true, &messages).await, Ok(26));
        assert_eq!(
            passes(true, true, &[b"\0\0\0\0\x01a\0\0", b"\0\0\x09"]).await,
            Err(BodyError::TooLarge { limit: 8 })
        );
        // Nobody gets around the limit by a content type alone.
        assert_eq!(passes(true, false, &messages).await, Err(BodyError::TooLarge { limit: 8 }));
        assert_eq!(passes(false, true, &messages).await, Err(BodyError::TooLarge { limit: 8 }));
    }
}
