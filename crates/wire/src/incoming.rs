//! Idle timeout of bodies as they come in from a connection, and their minimum rate where the length is declared.

use std::fmt::Display;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, SizeHint};
use portcullis_core::body::{Body, BodyError, Polled};
use portcullis_core::message::HasFields;

use crate::fields::strip_answer_trailers;
use crate::pause::{Pause, TooLong};

/// A body from a connection, that fails when nothing comes for too long.
pub struct IdleBody<B> {
    incoming: B,
    pause: Pause,
    /// Trailers have come: nothing follows them, and nobody asks whether something does.
    ended: bool,
    /// What is told of an answer that is silent for too long. Its trailers carry nothing that belongs to a head.
    of_answer: Option<&'static str>,
}

impl<B> IdleBody<B>
where
    B: HttpBody<Data = Bytes, Error: Display> + Send + Unpin + 'static,
{
    /// Wraps what comes in from a caller; a message without a body stays without one. One whose length is declared comes with
    /// `least` bytes a second at least (see [`Pause::with_least`]); one of unknown length may be a stream that has nothing to
    /// say for now.
    pub fn wrap(incoming: B, limit: Duration, least: u64) -> Body {
        let least = if incoming.size_hint().exact().is_some() { least } else { 0 };
        Self::of(incoming, Pause::with_least(limit, least), None)
    }

    /// The same for the answer of a target; `told` says which limit it is, and whose.
    pub fn of_answer(incoming: B, limit: Duration, told: &'static str) -> Body {
        Self::of(incoming, Pause::new(limit), Some(told))
    }

    fn of(incoming: B, pause: Pause, of_answer: Option<&'static str>) -> Body {
        if incoming.is_end_stream() {
            return Body::empty();
        }
        Body::stream(Self { incoming, pause, ended: false, of_answer })
    }
}

impl<B> HttpBody for IdleBody<B>
where
    B: HttpBody<Data = Bytes, Error: Display> + Unpin,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled {
        match Pin::new(&mut self.incoming).poll_frame(context) {
            Poll::Ready(mut frame) => {
                let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
                self.pause.stir_by(data.map_or(0, |data| data.len() as u64));
                if let Some(Ok(frame)) = &mut frame
                    && let Some(trailers) = frame.trailers_mut()
                {
                    self.ended = true;
                    if self.of_answer.is_some() {
                        strip_answer_trailers(trailers.fields_mut());
                    }
                }
                Poll::Ready(frame.map(|frame| frame.map_err(|error| BodyError::Broken(error.to_string().into()))))
            }
            Poll::Pending => Poll::Ready(Some(Err(match (ready!(self.pause.poll(context)), self.of_answer) {
                (TooLong::Idle, None) => BodyError::Idle,
                (TooLong::Idle, Some(told)) => BodyError::Silent(told),
                (TooLong::Slow, _) => BodyError::Slow,
            }))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
