//! Bodies as they come in from a connection: with a limit on pauses.

use std::fmt::Display;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use portcullis_core::body::{Body, BodyError};

use crate::pause::Pause;

/// A body from a connection, that fails when nothing comes for too long.
pub struct IdleBody<B> {
    incoming: B,
    pause: Pause,
    /// Trailers have come: nothing follows them, and nobody asks whether something does.
    ended: bool,
}

impl<B> IdleBody<B>
where
    B: HttpBody<Data = Bytes, Error: Display> + Send + Unpin + 'static,
{
    /// Wraps what comes in; a message without a body stays without one.
    pub fn wrap(incoming: B, limit: Duration) -> Body {
        if incoming.is_end_stream() {
            return Body::empty();
        }
        Body::stream(Self { incoming, pause: Pause::new(limit), ended: false })
    }
}

impl<B> HttpBody for IdleBody<B>
where
    B: HttpBody<Data = Bytes, Error: Display> + Unpin,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match Pin::new(&mut self.incoming).poll_frame(context) {
            Poll::Ready(frame) => {
                self.pause.stir();
                self.ended |= matches!(&frame, Some(Ok(frame)) if frame.is_trailers());
                Poll::Ready(frame.map(|frame| frame.map_err(|error| BodyError::Broken(error.to_string().into()))))
            }
            Poll::Pending => {
                ready!(self.pause.poll(context));
                Poll::Ready(Some(Err(BodyError::Idle)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
