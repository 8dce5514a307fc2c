//! The body of a message on its way: nothing, one piece, or a stream, with what happens when it has ended.
//!
//! Whatever must last until a message has *ended* (a count, a permit, the record of the call) is put on its
//! body with [`Body::on_end`], which runs exactly once: also when the peer has gone and the body is dropped.

use std::borrow::Cow;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use thiserror::Error;

/// Why a body did not come to its end.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum BodyError {
    /// More bytes than were allowed.
    #[error("the body has more than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The sender paused for too long.
    #[error("the body stopped arriving")]
    Idle,
    /// The sender broke off or broke the framing.
    #[error("the body broke off: {0}")]
    Broken(Cow<'static, str>),
}

/// How a body ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All of it was taken.
    Complete,
    /// Its source failed.
    Error(BodyError),
    /// Whoever was taking it went away.
    Dropped,
    /// Whoever was to take it took nothing for too long.
    Stalled,
}

/// How a body ended, and how much of it had passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// The way it ended.
    pub outcome: Outcome,
    /// Payload bytes that passed.
    pub bytes: u64,
}

/// What a look at a stream brings.
pub type Polled = Poll<Option<Result<Frame<Bytes>, BodyError>>>;

type Hook = Box<dyn FnOnce(&End) + Send>;
type Stream = Pin<Box<dyn HttpBody<Data = Bytes, Error = BodyError> + Send>>;

enum Kind {
    Empty,
    Full(Bytes),
    Stream(Stream),
}

/// A message body. Implements [`http_body::Body`].
pub struct Body {
    kind: Kind,
    passed: u64,
    expected: Option<u64>,
    hooks: Hooks,
}

/// What runs at the end. The first two, more of which few bodies have, are kept without an allocation.
#[derive(Default)]
struct Hooks {
    first: [Option<Hook>; 2],
    more: Vec<Hook>,
}

impl Hooks {
    fn is_empty(&self) -> bool {
        self.first[0].is_none()
    }

    fn push(&mut self, hook: Hook) {
        match self.first.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some(hook),
            None => self.more.push(hook),
        }
    }
}

impl Body {
    /// No body at all.
    pub fn empty() -> Self {
        Self { kind: Kind::Empty, passed: 0, expected: Some(0), hooks: Hooks::default() }
    }

    /// One piece, already there.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        if bytes.is_empty() {
            return Self::empty();
        }
        Self { expected: Some(bytes.len() as u64), kind: Kind::Full(bytes), passed: 0, hooks: Hooks::default() }
    }

    /// A stream. One that is already at its end becomes an empty body without an allocation.
    pub fn stream<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes, Error = BodyError> + Send + 'static,
    {
        if body.is_end_stream() {
            return Self::empty();
        }
        Self {
            expected: body.size_hint().exact(),
            kind: Kind::Stream(Box::pin(body)),
            passed: 0,
            hooks: Hooks::default(),
        }
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        matches!(self.kind, Kind::Empty)
    }

    /// The bytes of a body that is one piece, already there.
    pub fn piece(&self) -> Option<&Bytes> {
        match &self.kind {
            Kind::Full(bytes) => Some(bytes),
            Kind::Empty | Kind::Stream(_) => None,
        }
    }

    /// Wraps the stream inside, keeping the hooks where they are. Bodies that are already here stay as they are.
    #[must_use]
    pub fn map_stream<B>(mut self, wrap: impl FnOnce(Stream) -> B) -> Self
    where
        B: HttpBody<Data = Bytes, Error = BodyError> + Send + 'static,
    {
        self.kind = match std::mem::replace(&mut self.kind, Kind::Empty) {
            Kind::Stream(stream) => Kind::Stream(Box::pin(wrap(stream))),
            other => other,
        };
        self
    }

    /// Looks at what each look into the stream inside brings, and may bring something else instead; `look` gets the
    /// context, so that it can have itself woken. Length and end stay those of the stream. Bodies that are already here
    /// stay as they are.
    #[must_use]
    pub fn map_polls(self, look: impl FnMut(&mut Context<'_>, Polled) -> Polled + Send + Unpin + 'static) -> Self {
        self.map_stream(|stream| Mapped { stream, look })
    }

    /// Runs once when the body has ended, however it ends; hooks run in the order they were added.
    #[must_use]
    pub fn on_end(mut self, hook: impl FnOnce(&End) + Send + 'static) -> Self {
        self.hooks.push(Box::new(hook));
        self
    }

    /// Ends it early: so many of the bytes that have passed were not taken in the end.
    pub fn abandon(mut self, outcome: Outcome, untaken: u64) {
        self.passed = self.passed.saturating_sub(untaken);
        self.finish(outcome);
    }

    fn finish(&mut self, outcome: Outcome) {
        self.kind = Kind::Empty;
        if self.hooks.is_empty() {
            return;
        }
        let end = End { outcome, bytes: self.passed };
        let Hooks { first, more } = std::mem::take(&mut self.hooks);
        for hook in first.into_iter().flatten().chain(more) {
            hook(&end);
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let body = &mut *self;
        let frame = match &mut body.kind {
            Kind::Empty => None,
            Kind::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                body.passed += bytes.len() as u64;
                body.kind = Kind::Empty;
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            Kind::Stream(stream) => match stream.as_mut().poll_frame(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(frame) => frame,
            },
        };
        match frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    body.passed += data.len() as u64;
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                body.finish(Outcome::Error(error.clone()));
                Poll::Ready(Some(Err(error)))
            }
            None => {
                body.finish(Outcome::Complete);
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Empty => true,
            Kind::Full(_) => false,
            Kind::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Stream(stream) => stream.size_hint(),
        }
    }
}

/// A stream and what looks at it.
struct Mapped<F> {
    stream: Stream,
    look: F,
}

impl<F: FnMut(&mut Context<'_>, Polled) -> Polled + Unpin> HttpBody for Mapped<F> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled {
        let mapped = &mut *self;
        let polled = mapped.stream.as_mut().poll_frame(context);
        (mapped.look)(context, polled)
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.stream.size_hint()
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if self.hooks.is_empty() {
            return;
        }
        // A writer that knows the length stops at the last byte and never asks for the end.
        let complete = self.is_end_stream() || self.expected == Some(self.passed);
        self.finish(if complete { Outcome::Complete } else { Outcome::Dropped });
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("size", &self.size_hint()).field("passed", &self.passed).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    fn poll(body: &mut Body) -> Option<Result<Frame<Bytes>, BodyError>> {
        match Pin::new(body).poll_frame(&mut Context::from_waker(std::task::Waker::noop())) {
            Poll::Ready(frame) => frame,
            Poll::Pending => panic!("pending"),
        }
    }

    fn watched(body: Body) -> (Body, Arc<Mutex<Vec<End>>>) {
        let ends = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&ends);
        (body.on_end(move |end| seen.lock().expect("not poisoned").push(end.clone())), ends)
    }

    #[test]
    fn the_end_is_told_once_when_read_to_the_end() {
        let (mut body, ends) = watched(Body::full("abc"));
        while poll(&mut body).is_some() {}
        drop(body);
        assert_eq!(*ends.lock().expect("not poisoned"), [End { outcome: Outcome::Complete, bytes: 3 }]);
    }

    #[test]
    fn a_reader_that_stops_at_the_known_length_took_all_of_it() {
        let (mut body, ends) = watched(Body::full("abc"));
        poll(&mut body);
        drop(body);
        assert_eq!(ends.lock().expect("not poisoned")[0].outcome, Outcome::Complete);
    }

    #[test]
    fn a_body_that_is_dropped_early_says_so() {
        let (body, ends) = watched(Body::full("abc"));
        drop(body);
        assert_eq!(*ends.lock().expect("not poisoned"), [End { outcome: Outcome::Dropped, bytes: 0 }]);
    }

    #[test]
    fn what_was_read_and_not_taken_does_not_count() {
        let (mut body, ends) = watched(Body::full("abc"));
        poll(&mut body);
        body.abandon(Outcome::Stalled, 2);
        assert_eq!(*ends.lock().expect("not poisoned"), [End { outcome: Outcome::Stalled, bytes: 1 }]);
    }

    #[test]
    fn hooks_run_in_the_order_they_were_added() {
        let order = Arc::new(Mutex::new(Vec::new()));
        let body = (0..5).fold(Body::full("abc"), |body, number| {
            let order = Arc::clone(&order);
            body.on_end(move |_| order.lock().expect("not poisoned").push(number))
        });
        drop(body);
        assert_eq!(*order.lock().expect("not poisoned"), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn an_empty_body_is_complete_when_it_is_dropped() {
        let (body, ends) = watched(Body::full(""));
        drop(body);
        assert_eq!(ends.lock().expect("not poisoned")[0].outcome, Outcome::Complete);
    }
}
