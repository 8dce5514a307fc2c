//! The body of an answer in HTTP/2, as it comes in on a stream.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http_body::{Body as HttpBody, Frame, SizeHint};

/// What comes in on a stream. The target may send on as far as it is taken. Dropped before its end, it resets the
/// stream.
pub(super) struct AnswerBody {
    stream: RecvStream,
    /// What is still to come, where the head has said so; it is held against what comes.
    left: Option<u64>,
}

impl AnswerBody {
    /// The body of an answer whose head has said that it is so long.
    pub(super) fn new(stream: RecvStream, length: Option<u64>) -> Self {
        Self { stream, left: length }
    }
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let body = &mut *self;
        match ready!(body.stream.poll_data(context)) {
            Some(Ok(data)) => {
                // Fails where the stream has ended, when nobody waits for room.
                let _ = body.stream.flow_control().release_capacity(data.len());
                body.left = body.left.map(|left| left.saturating_sub(data.len() as u64));
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
            None => {
                Poll::Ready(ready!(body.stream.poll_trailers(context)).map(|it| it.map(Frame::trailers)).transpose())
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
