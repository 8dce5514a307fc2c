//! `request_limits`: how large a request body may be.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use portcullis_core::body::BodyError;
use portcullis_core::call::Call;
use portcullis_core::model::Problem;
use portcullis_core::policy::{Check, Step};
use portcullis_core::refusal::Refusal;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::{Site, settings};

/// The settings.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// Bytes a request body may have; 0: no limit. The node's own limit, if absent.
    body_bytes: Option<u64>,
}

/// The JSON schema of its settings.
pub fn schema() -> Value {
    settings::schema::<Settings>()
}

/// Builds the step; none where there is no limit.
pub fn build(site: &Site<'_>, value: Option<&Value>) -> Result<Option<Step>, Vec<Problem>> {
    let settings: Settings = settings::read("request_limits", value)?;
    Ok(step(settings.body_bytes.unwrap_or(site.parts.body_limit)))
}

/// The step for a limit in bytes; none for 0.
pub fn step(limit: u64) -> Option<Step> {
    (limit > 0).then(|| Step::Check(Arc::new(RequestLimits { limit })))
}

struct RequestLimits {
    limit: u64,
}

impl Check for RequestLimits {
    fn check(&self, call: &mut Call) -> Result<(), Refusal> {
        if call.request.body.is_empty() {
            return Ok(());
        }
        match call.request.body.size_hint().exact() {
            Some(length) if length > self.limit => Err(Refusal::BodyTooLarge { limit: self.limit }),
            Some(_) => Ok(()),
            None => {
                let body = call.take_body();
                call.request.body = body.map_stream(|body| Limited { body, left: self.limit, limit: self.limit });
                Ok(())
            }
        }
    }
}

/// A body of unknown length that fails when it grows beyond the limit.
struct Limited<B> {
    body: B,
    left: u64,
    limit: u64,
}

impl<B: HttpBody<Data = Bytes, Error = BodyError> + Unpin> HttpBody for Limited<B> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            match self.left.checked_sub(data.len() as u64) {
                Some(left) => self.left = left,
                None => return Poll::Ready(Some(Err(BodyError::TooLarge { limit: self.limit }))),
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
