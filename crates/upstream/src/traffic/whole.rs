//! Request timeout: the limit on a whole call, until the last byte of its answer.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body as HttpBody, Frame, SizeHint};
use portcullis_core::body::{Body, BodyError};
use portcullis_core::call::Response;
use portcullis_core::refusal::Refusal;
use tokio::time::{Sleep, sleep_until, timeout_at};

use super::timeouts::{Limit, Which};

/// An answer, if its head comes in time; its body breaks off when the time is up. A connection that has switched protocols
/// goes on.
pub async fn within(
    limit: Limit,
    started: Instant,
    answer: impl Future<Output = Result<Response, Refusal>>,
) -> Result<Response, Refusal> {
    let deadline = (started + limit.time).into();
    let told = limit.told(Which::Call);
    match timeout_at(deadline, answer).await {
        Ok(Ok(response)) if response.status() != StatusCode::SWITCHING_PROTOCOLS => Ok(response.map(|body| {
            if !body.is_stream() {
                return body;
            }
            Body::stream(Whole { body, told, alarm: Box::pin(sleep_until(deadline)) })
        })),
        Ok(answered) => answered,
        Err(_) => Err(Refusal::UpstreamTimeout { private: told.into() }),
    }
}

/// A body that breaks off when the time of its call is up.
struct Whole {
    body: Body,
    told: &'static str,
    alarm: Pin<Box<Sleep>>,
}

impl HttpBody for Whole {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.alarm.as_mut().poll(context).is_ready() {
            self.body = Body::empty();
            return Poll::Ready(Some(Err(BodyError::TimedOut(self.told))));
        }
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
