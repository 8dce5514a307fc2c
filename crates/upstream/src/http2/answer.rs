//! The body of an answer in HTTP/2, as it comes in on a stream, and the call's place on the connection, which is given
//! back when the stream has ended.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use portcullis_wire::h2_body::FromStream;
use tokio::task::AbortHandle;

use crate::pool::StreamSlot;

/// The rest of a request's body, on its way while the answer comes. It ends with the answer.
pub(super) struct Rest(pub(super) AbortHandle);

impl Drop for Rest {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a target sends. Dropped before all of it has come, it resets the stream.
pub(super) struct AnswerBody {
    /// None when it is dropped.
    held: Option<(FromStream, StreamSlot)>,
    rest: Option<Rest>,
}

impl AnswerBody {
    /// What follows an answer's head.
    pub(super) fn new(stream: FromStream, place: StreamSlot, rest: Option<Rest>) -> Self {
        Self { held: Some((stream, place)), rest }
    }
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        self.held.as_mut().map_or(Poll::Ready(None), |(stream, _)| stream.poll_frame(context))
    }

    fn is_end_stream(&self) -> bool {
        self.held.as_ref().is_none_or(|(stream, _)| stream.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.held.as_ref().map_or_else(SizeHint::default, |(stream, _)| stream.size_hint())
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        let is_sent = self.rest.take().is_none_or(|rest| rest.0.is_finished());
        if let Some((stream, mut place)) = self.held.take() {
            stream.close(move |is_ended| {
                place.is_done = is_ended && is_sent;
                drop(place);
            });
        }
    }
}
