//! The body of a message on its way: nothing, one piece, or a stream, with what happens when it has ended.
//!
//! Whatever must last until a message has *ended* (a count, a permit, the record of the call) is put on its
//! body with [`Body::on_end`], which runs exactly once: also when the peer has gone and the body is dropped.

use std::borrow::Cow;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use thiserror::Error;

use crate::budget::Share;

/// An answer on its way back.
pub type Response = http::Response<Body>;

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
    /// The sender was slower than it may be.
    #[error("the body came too slowly")]
    Slow,
    /// An answer has paused for too long: which limit that is, and whose.
    #[error("{0}")]
    Silent(&'static str),
    /// The time of the whole call is up: which limit that is, and whose.
    #[error("{0}")]
    TimedOut(&'static str),
    /// The sender broke off or broke the framing.
    #[error("the body broke off: {0}")]
    Broken(Cow<'static, str>),
    /// What the caller was let in by was taken back while it was under way.
    #[error("what the caller was let in by was taken back")]
    Revoked,
    /// It has to be held whole, and there is no room for it.
    #[error("there is no room to hold the body")]
    NoRoom,
}

/// A body that is held whole, and the room it takes until nobody holds it any more.
#[derive(Debug, Clone, Default)]
pub struct Whole {
    bytes: Bytes,
    share: Option<Arc<Share>>,
}

impl Whole {
    /// Bytes, and the room that was taken for them.
    pub fn held(bytes: impl Into<Bytes>, share: Share) -> Self {
        let bytes = bytes.into();
        let share = (!bytes.is_empty()).then(|| Arc::new(share));
        Self { bytes, share }
    }

    /// What it says.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The room of this one for something made out of it, of about the same length.
    #[must_use]
    pub fn holding(self, bytes: impl Into<Bytes>) -> Self {
        Self { bytes: bytes.into(), ..self }
    }

    /// A body that says the same, and gives the room back when it has ended.
    pub fn into_body(self) -> Body {
        let Self { bytes, share } = self;
        if bytes.is_empty() {
            return Body::empty();
        }
        Body(Kind::Piece(Piece::source(Some(bytes), share)))
    }
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

/// What a stream must be to be a body.
type AnyStream = dyn HttpBody<Data = Bytes, Error = BodyError> + Send + Unpin;

/// A message body. Implements [`http_body::Body`].
///
/// Small, because messages are moved often: all it knows but that there is nothing stands elsewhere, in one piece of memory.
pub struct Body(Kind);

enum Kind {
    Empty,
    /// What is already there, or nothing that somebody waits for the end of.
    Piece(Box<Source<Piece>>),
    Stream(Box<Source<AnyStream>>),
}

/// What a body comes from, and what is to happen when it has ended.
struct Source<S: ?Sized> {
    passed: u64,
    expected: Option<u64>,
    hooks: Hooks,
    stream: S,
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

    fn run(&mut self, end: &End) {
        let Self { first, more } = std::mem::take(self);
        for hook in first.into_iter().flatten().chain(more) {
            hook(end);
        }
    }
}

impl<S: HttpBody<Data = Bytes, Error = BodyError> + Unpin + ?Sized> Source<S> {
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Polled {
        let polled = Pin::new(&mut self.stream).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            self.passed += data.len() as u64;
        }
        polled
    }

    /// How it ends if nobody looks at it any more.
    fn left(&self) -> Outcome {
        // A writer that knows the length stops at the last byte and never asks for the end.
        let complete = self.stream.is_end_stream() || self.expected == Some(self.passed);
        if complete { Outcome::Complete } else { Outcome::Dropped }
    }

    /// It goes before anybody hears of its end.
    fn finish(mut self: Box<Self>, outcome: Outcome) {
        let (mut hooks, bytes) = (std::mem::take(&mut self.hooks), self.passed);
        drop(self);
        if !hooks.is_empty() {
            hooks.run(&End { outcome, bytes });
        }
    }
}

impl Body {
    /// Reads the rest of it behind what is there, up to so many bytes; more is [`BodyError::TooLarge`], and is not waited for
    /// where the body says so itself.
    pub async fn read_into(&mut self, bytes: &mut Vec<u8>, limit: u64) -> Result<(), BodyError> {
        if self.size_hint().lower() > limit {
            return Err(BodyError::TooLarge { limit });
        }
        let mut room = limit;
        while let Some(frame) = poll_fn(|context| Pin::new(&mut *self).poll_frame(context)).await {
            let Ok(data) = frame?.into_data() else { continue };
            room = room.checked_sub(data.len() as u64).ok_or(BodyError::TooLarge { limit })?;
            bytes.extend_from_slice(&data);
        }
        Ok(())
    }

    /// Holds it whole: up to so many bytes, and as long as the share has room for them. What is longer is
    /// [`BodyError::TooLarge`], and is not waited for where the body says so itself; without room it is
    /// [`BodyError::NoRoom`]. A body that comes in one piece is not copied.
    pub async fn whole(mut self, limit: u64, mut share: Share) -> Result<Whole, BodyError> {
        let expected = self.size_hint().lower();
        if expected > limit {
            return Err(BodyError::TooLarge { limit });
        }
        if let Kind::Piece(source) = &mut self.0 {
            // It is whole already.
            let bytes = source.stream.bytes.take().unwrap_or_default();
            source.passed += bytes.len() as u64;
            if !bytes.is_empty() && !share.take(bytes.len()) {
                return Err(BodyError::NoRoom);
            }
            self.finish(Outcome::Complete);
            return Ok(Whole::held(bytes, share));
        }
        let (mut first, mut rest): (Option<Bytes>, Vec<u8>) = (None, Vec::new());
        let mut room = limit;
        while let Some(frame) = poll_fn(|context| Pin::new(&mut self).poll_frame(context)).await {
            let Ok(data) = frame?.into_data() else { continue };
            room = room.checked_sub(data.len() as u64).ok_or(BodyError::TooLarge { limit })?;
            if !share.take(data.len()) {
                return Err(BodyError::NoRoom);
            }
            match first.take() {
                None if rest.is_empty() => first = Some(data),
                None => rest.extend_from_slice(&data),
                Some(piece) => {
                    // What is announced is not believed further than what has come.
                    rest.reserve(usize::try_from(expected).unwrap_or_default().min(2 * (piece.len() + data.len())));
                    rest.extend_from_slice(&piece);
                    rest.extend_from_slice(&data);
                }
            }
        }
        Ok(Whole::held(first.unwrap_or_else(|| rest.into()), share))
    }

    /// No body at all.
    pub fn empty() -> Self {
        Self(Kind::Empty)
    }

    /// One piece, already there.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        if bytes.is_empty() {
            return Self::empty();
        }
        Self(Kind::Piece(Piece::source(Some(bytes), None)))
    }

    /// A stream. One that is already at its end becomes an empty body without an allocation.
    pub fn stream<B>(stream: B) -> Self
    where
        B: HttpBody<Data = Bytes, Error = BodyError> + Send + Unpin + 'static,
    {
        if stream.is_end_stream() {
            return Self::empty();
        }
        let expected = stream.size_hint().exact();
        Self(Kind::Stream(Box::new(Source { passed: 0, expected, hooks: Hooks::default(), stream })))
    }

    /// What these looks bring, until one brings nothing; how long it is nobody knows.
    pub fn from_poll(look: impl FnMut(&mut Context<'_>) -> Polled + Send + Unpin + 'static) -> Self {
        Self::stream(Looks(look))
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        match &self.0 {
            Kind::Empty => true,
            Kind::Piece(source) => source.stream.bytes.is_none(),
            Kind::Stream(_) => false,
        }
    }

    /// Whether it comes from a stream, and may take its time.
    pub fn is_stream(&self) -> bool {
        matches!(self.0, Kind::Stream(_))
    }

    /// The bytes of a body that is one piece, already there.
    pub fn piece(&self) -> Option<&Bytes> {
        match &self.0 {
            Kind::Piece(source) => source.stream.bytes.as_ref(),
            Kind::Empty | Kind::Stream(_) => None,
        }
    }

    /// What is held of it, where it is held whole and takes room: it shares that room.
    pub fn held(&self) -> Option<Whole> {
        let Kind::Piece(source) = &self.0 else { return None };
        let Piece { bytes, share } = &source.stream;
        Some(Whole { bytes: bytes.clone()?, share: Some(share.clone()?) })
    }

    /// Looks at what each look into the stream inside brings, and may bring something else instead; `look` gets the
    /// context, so that it can have itself woken. Length and end stay those of the stream. Bodies that are already here
    /// stay as they are.
    #[must_use]
    pub fn map_polls(mut self, look: impl FnMut(&mut Context<'_>, Polled) -> Polled + Send + Unpin + 'static) -> Self {
        self.0 = match std::mem::replace(&mut self.0, Kind::Empty) {
            // What has passed and what happens at the end are told by the one outside from now on.
            Kind::Stream(mut inside) => Kind::Stream(Box::new(Source {
                passed: inside.passed,
                expected: inside.expected,
                hooks: std::mem::take(&mut inside.hooks),
                stream: Mapped { inside, look },
            })),
            other => other,
        };
        self
    }

    /// Runs once when the body has ended, however it ends; hooks run in the order they were added.
    ///
    /// ```
    /// use std::sync::mpsc;
    /// use portcullis_core::body::{Body, Outcome};
    ///
    /// let (tell, told) = mpsc::channel();
    /// let body = Body::full("seven b").on_end(move |end| tell.send(end.clone()).expect("somebody listens"));
    /// drop(body); // The peer has gone before anybody took a byte.
    /// let end = told.recv().expect("it runs exactly once");
    /// assert_eq!((end.outcome, end.bytes), (Outcome::Dropped, 0));
    /// ```
    #[must_use]
    pub fn on_end(mut self, hook: impl FnOnce(&End) + Send + 'static) -> Self {
        let hook = Box::new(hook);
        match &mut self.0 {
            Kind::Stream(source) => source.hooks.push(hook),
            Kind::Piece(source) => source.hooks.push(hook),
            Kind::Empty => {
                let mut nothing = Piece::source(None, None);
                nothing.hooks.push(hook);
                self.0 = Kind::Piece(nothing);
            }
        }
        self
    }

    /// Ends it early: so many of the bytes that have passed were not taken in the end.
    pub fn abandon(mut self, outcome: Outcome, untaken: u64) {
        match &mut self.0 {
            Kind::Empty => return,
            Kind::Piece(source) => source.passed = source.passed.saturating_sub(untaken),
            Kind::Stream(source) => source.passed = source.passed.saturating_sub(untaken),
        }
        self.finish(outcome);
    }

    fn finish(&mut self, outcome: Outcome) {
        match std::mem::replace(&mut self.0, Kind::Empty) {
            Kind::Empty => {}
            Kind::Piece(source) => source.finish(outcome),
            Kind::Stream(source) => source.finish(outcome),
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled {
        let polled = match &mut self.0 {
            Kind::Empty => return Poll::Ready(None),
            Kind::Piece(source) => source.poll_frame(context),
            Kind::Stream(source) => source.poll_frame(context),
        };
        match &polled {
            Poll::Ready(None) => self.finish(Outcome::Complete),
            Poll::Ready(Some(Err(error))) => self.finish(Outcome::Error(error.clone())),
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Empty => true,
            Kind::Piece(source) => source.stream.is_end_stream(),
            Kind::Stream(source) => source.stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Piece(source) => source.stream.size_hint(),
            Kind::Stream(source) => source.stream.size_hint(),
        }
    }
}

/// What is there at once, or nothing.
struct Piece {
    bytes: Option<Bytes>,
    /// The room that it takes until it has ended.
    share: Option<Arc<Share>>,
}

impl Piece {
    fn source(bytes: Option<Bytes>, share: Option<Arc<Share>>) -> Box<Source<Self>> {
        let expected = Some(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64));
        Box::new(Source { passed: 0, expected, hooks: Hooks::default(), stream: Self { bytes, share } })
    }
}

impl HttpBody for Piece {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Polled {
        Poll::Ready(self.bytes.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

/// A stream of what each look brings.
struct Looks<F>(F);

impl<F: FnMut(&mut Context<'_>) -> Polled + Unpin> HttpBody for Looks<F> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled {
        (self.0)(context)
    }
}

/// A stream and what looks at it.
struct Mapped<F> {
    inside: Box<Source<AnyStream>>,
    look: F,
}

impl<F: FnMut(&mut Context<'_>, Polled) -> Polled + Unpin> HttpBody for Mapped<F> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled {
        let mapped = &mut *self;
        let polled = Pin::new(&mut mapped.inside.stream).poll_frame(context);
        (mapped.look)(context, polled)
    }

    fn is_end_stream(&self) -> bool {
        self.inside.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inside.stream.size_hint()
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let outcome = match &self.0 {
            Kind::Empty => return,
            Kind::Piece(source) => source.left(),
            Kind::Stream(source) => source.left(),
        };
        self.finish(outcome);
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("size", &self.size_hint()).finish_non_exhaustive()
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
    fn what_is_held_takes_room_until_nobody_holds_it() {
        let budget = crate::budget::Budget::new(10);
        let (whole, ends) = watched(Body::full("abc"));
        let mut whole = std::pin::pin!(whole.whole(3, Share::of(&budget)));
        let Poll::Ready(Ok(whole)) = whole.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop())) else {
            panic!("it is here");
        };
        assert_eq!(*ends.lock().expect("not poisoned"), [End { outcome: Outcome::Complete, bytes: 3 }]);
        let mut body = whole.into_body();
        let held = body.held().expect("held");
        assert_eq!((held.bytes().as_ref(), budget.taken()), (&b"abc"[..], 3));
        while poll(&mut body).is_some() {}
        assert!(body.held().is_none() && budget.taken() == 3);
        let other = held.holding("abcd").into_body();
        assert_eq!((other.piece().map(Bytes::len), budget.taken()), (Some(4), 3), "the same room");
        drop(other);
        assert_eq!(budget.taken(), 0);
        assert!(Body::full("abc").held().is_none() && Body::empty().held().is_none(), "these take none");
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
    fn what_a_body_comes_from_has_gone_when_its_end_is_told() {
        struct Endless {
            _held: Arc<()>,
        }

        impl HttpBody for Endless {
            type Data = Bytes;
            type Error = BodyError;

            fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Polled {
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"abc")))))
            }
        }

        let ends: [fn(Body); 3] =
            [drop, |body| body.abandon(Outcome::Stalled, 0), |body| drop(body.map_polls(|_, polled| polled))];
        for end in ends {
            let source = Arc::new(());
            let held = Arc::clone(&source);
            let (body, told) = watched(
                Body::stream(Endless { _held: source }).on_end(move |_| assert_eq!(Arc::strong_count(&held), 1)),
            );
            end(body);
            assert_eq!(told.lock().expect("not poisoned").len(), 1);
        }
    }

    #[test]
    fn an_empty_body_is_complete_when_it_is_dropped() {
        let (body, ends) = watched(Body::full(""));
        drop(body);
        assert_eq!(ends.lock().expect("not poisoned")[0].outcome, Outcome::Complete);
    }
}
