//! The body of a request over HTTP/3.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h3::error::{Code, StreamError};
use h3::quic::RecvStream;
use h3::server::RequestStream;
use http_body::{Body as HttpBody, Frame, SizeHint};
use portcullis_core::body::{BodyError, Polled};
use portcullis_core::message::names::EXPECT;
use portcullis_core::message::{Fields, HasFields};
use portcullis_wire::content_length::Remaining;

use crate::connection::ConnectionState;
use crate::expansion;
use crate::interim::Interim;

/// What comes in on a stream. It is held to the length that was announced, which h3 does not look at.
pub(super) struct FromStream<S: RecvStream> {
    stream: RequestStream<S, Bytes>,
    /// What came while it was found out whether anything comes.
    first: Option<Bytes>,
    left: Remaining,
    data_ended: bool,
    ended: bool,
    /// Told when the body is first asked for, where the caller waits for that.
    waiting: Option<Arc<Interim>>,
    watch: Arc<ConnectionState>,
}

impl<S: RecvStream> FromStream<S> {
    /// What follows a head. The caller's go-ahead goes over `interim` if it asks for one.
    pub(super) fn new(
        stream: RequestStream<S, Bytes>,
        head: Fields<'_>,
        interim: &Arc<Interim>,
        watch: &Arc<ConnectionState>,
    ) -> Self {
        let left = Remaining::announced(head);
        let waits = head.has(EXPECT) && !left.is_nothing();
        let waiting = waits.then(|| Arc::clone(interim));
        Self { stream, first: None, left, data_ended: false, ended: false, waiting, watch: Arc::clone(watch) }
    }

    /// Whether a body was announced. Who waits until it is wanted has one.
    pub(super) fn is_announced(&self) -> bool {
        self.waiting.is_some() || self.left.is_something()
    }

    /// Waits until it is known whether there is a body: over HTTP/3 that shows when something comes, or nothing.
    pub(super) fn poll_begin(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        if self.first.is_none() && !self.data_ended {
            self.first = ready!(self.poll_data(context))?;
        }
        if self.data_ended && self.first.is_none() {
            self.ended = true;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>> {
        let Some(mut data) = ready!(self.stream.poll_recv_data(context)).map_err(|error| broken(&error))? else {
            self.data_ended = true;
            if self.left.is_something() {
                return Poll::Ready(Err(BodyError::Broken("it is shorter than announced".into())));
            }
            return Poll::Ready(Ok(None));
        };
        let data = data.copy_to_bytes(data.remaining());
        if !self.left.came(data.len()) {
            return Poll::Ready(Err(BodyError::Broken("it is longer than announced".into())));
        }
        if self.left.is_nothing() {
            self.look_for_end(context)?;
        }
        Poll::Ready(Ok(Some(data)))
    }

    /// Whoever knows the length reads no further than that. What ends the stream may be there already.
    fn look_for_end(&mut self, context: &mut Context<'_>) -> Result<(), BodyError> {
        match self.stream.poll_recv_data(context) {
            Poll::Ready(Ok(Some(_))) => Err(BodyError::Broken("it is longer than announced".into())),
            Poll::Ready(Ok(None)) => {
                self.data_ended = true;
                Ok(())
            }
            Poll::Ready(Err(error)) => Err(broken(&error)),
            Poll::Pending => Ok(()),
        }
    }
}

impl<S: RecvStream> Drop for FromStream<S> {
    /// Nobody wants the rest (RFC 9114 section 4.1).
    fn drop(&mut self) {
        if !self.data_ended {
            self.stream.stop_sending(Code::H3_NO_ERROR);
        }
    }
}

impl<S: RecvStream + Unpin> HttpBody for FromStream<S> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled {
        if let Some(interim) = self.waiting.take() {
            interim.go_ahead();
        }
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        if !self.data_ended
            && let Some(data) = ready!(self.poll_data(context))?
        {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        let trailers = ready!(self.stream.poll_recv_trailers(context)).map_err(|error| broken(&error))?;
        self.ended = true;
        if trailers
            .as_ref()
            .is_some_and(|trailers| !self.watch.expansion().admits(expansion::of_fields(trailers.fields())))
        {
            self.watch.drain();
            return Poll::Ready(Some(Err(BodyError::Broken("its trailers are larger than what they came in".into()))));
        }
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        self.left.hint(self.first.as_ref().map_or(0, Bytes::len))
    }
}

fn broken(error: &StreamError) -> BodyError {
    BodyError::Broken(error.to_string().into())
}
