//! The body of a request on an HTTP/2 stream, with back-pressure: the caller gets new flow-control window only as pieces are
//! taken, so that a slow service slows it down.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream};
use http_body::{Body as HttpBody, Frame, SizeHint};
use portcullis_core::message::names::EXPECT;
use portcullis_core::message::{Fields, HasFields};
use portcullis_wire::content_length::Remaining;
use portcullis_wire::h2_body::FromStream;

use crate::connection::ConnectionState;
use crate::expansion;
use crate::interim::Interim;

/// What a caller sends.
pub(super) struct RequestBody {
    /// None when it is dropped.
    stream: Option<FromStream>,
    /// Told when the body is first asked for, where the caller waits for that.
    waiting: Option<Arc<Interim>>,
    watch: Arc<ConnectionState>,
}

impl RequestBody {
    /// What follows a head. The caller's go-ahead goes over `interim` if it asks for one.
    pub(super) fn new(
        stream: RecvStream,
        head: Fields<'_>,
        interim: &Arc<Interim>,
        watch: &Arc<ConnectionState>,
    ) -> Self {
        let waits = head.has(EXPECT) && !stream.is_end_stream();
        let stream = FromStream::new(stream, Remaining::announced(head), false);
        Self { waiting: waits.then(|| Arc::clone(interim)), stream: Some(stream), watch: Arc::clone(watch) }
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if let Some(interim) = self.waiting.take() {
            interim.go_ahead();
        }
        let Some(stream) = &mut self.stream else { return Poll::Ready(None) };
        let frame = ready!(stream.poll_frame(context));
        let trailers = frame.as_ref().and_then(|frame| frame.as_ref().ok()).and_then(Frame::trailers_ref);
        if trailers.is_some_and(|trailers| !self.watch.expansion().admits(expansion::of_fields(trailers.fields()))) {
            self.watch.drain();
            return Poll::Ready(Some(Err(Reason::ENHANCE_YOUR_CALM.into())));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.stream.as_ref().is_none_or(FromStream::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.stream.as_ref().map_or_else(SizeHint::default, FromStream::size_hint)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Some(stream) = self.stream.take() {
            stream.close(drop);
        }
    }
}
