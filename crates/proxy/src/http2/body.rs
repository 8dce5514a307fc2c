//! The body of a request on a stream. The caller may send on as pieces are taken, so that a slow service slows it down.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, EXPECT};
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::interim::Interim;

/// What comes in on a stream.
pub(super) struct FromStream {
    stream: RecvStream,
    /// Bytes that are still to come, where that was said. h2 holds the caller to it.
    left: Option<u64>,
    data_ended: bool,
    /// Told when the body is first asked for, where the caller waits for that.
    waiting: Option<Arc<Interim>>,
}

impl FromStream {
    /// What follows a head. The caller's go-ahead goes over `interim` if it asks for one.
    pub(super) fn new(stream: RecvStream, head: &HeaderMap, interim: &Arc<Interim>) -> Self {
        let length = head.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let waits = head.contains_key(EXPECT) && !stream.is_end_stream();
        Self { left: length, data_ended: false, waiting: waits.then(|| Arc::clone(interim)), stream }
    }
}

impl HttpBody for FromStream {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let body = &mut *self;
        if let Some(interim) = body.waiting.take() {
            interim.go_ahead();
        }
        if !body.data_ended {
            match ready!(body.stream.poll_data(context)) {
                Some(Ok(data)) => {
                    body.stream.flow_control().release_capacity(data.len())?;
                    body.left = body.left.map(|left| left.saturating_sub(data.len() as u64));
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => body.data_ended = true,
            }
        }
        body.stream
            .poll_trailers(context)
            .map(|trailers| trailers.transpose().map(|trailers| trailers.map(Frame::trailers)))
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
