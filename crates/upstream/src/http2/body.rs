//! The body of a request in HTTP/2, as it goes out on a stream.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::{Body as _, Frame};
use portcullis_core::body::{Body, BodyError};
use portcullis_wire::clock;

/// Bytes of one request that wait for the target to take them.
pub(super) const SEND_BUFFER: usize = 64 << 10;

/// How far a request has got.
pub(super) struct Progress {
    /// The worker's tick when its last piece went: since when an answer can be waited for.
    pub(super) written_at: AtomicU32,
    /// Whether all of it has gone.
    pub(super) is_done: AtomicBool,
}

impl Progress {
    /// Of a request whose head has just gone; `is_done`: and nothing follows it.
    pub(super) fn new(is_done: bool) -> Self {
        Self { written_at: AtomicU32::new(clock::tick()), is_done: AtomicBool::new(is_done) }
    }
}

/// Why a body goes no further.
#[derive(Debug)]
pub(super) enum Halt {
    /// It failed on the caller's side.
    Body(BodyError),
    /// The target takes no more of it.
    Stream,
}

/// A body on its way to a target, as fast as the target takes it. Dropped before its end, it resets the stream.
pub(super) struct Sending {
    stream: SendStream<Bytes>,
    body: Body,
    /// What was taken out of the body and has not gone.
    piece: Bytes,
    /// What was taken first, as long as nothing else has been.
    first: Option<Bytes>,
    is_begun: bool,
}

impl Sending {
    /// Nothing has been taken out of the body yet.
    pub(super) fn new(stream: SendStream<Bytes>, body: Body) -> Self {
        Self { stream, body, piece: Bytes::new(), first: None, is_begun: false }
    }

    /// Sends on. Ready when all of it has gone, or nothing more of it will.
    pub(super) fn poll(&mut self, context: &mut Context<'_>, progress: &Progress) -> Poll<Result<(), Halt>> {
        loop {
            if !self.piece.is_empty() {
                if ready!(self.poll_piece(context, progress))? {
                    return Poll::Ready(self.finish(progress));
                }
                continue;
            }
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else {
                // Whoever takes no more of it may say so while nothing comes.
                return self.stream.poll_reset(context).map(|_| Err(Halt::Stream));
            };
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => {
                    self.first = (!self.is_begun).then(|| data.clone());
                    self.is_begun = true;
                    self.piece = data;
                }
                Some(Ok(Err(frame))) => {
                    (self.first, self.is_begun) = (None, true);
                    let trailers = frame.into_trailers().unwrap_or_default();
                    self.stream.send_trailers(trailers).map_err(|_| Halt::Stream)?;
                    return Poll::Ready(self.finish(progress));
                }
                Some(Err(error)) => {
                    self.stream.send_reset(Reason::CANCEL);
                    return Poll::Ready(Err(Halt::Body(error)));
                }
                None => {
                    self.stream.send_data(Bytes::new(), true).map_err(|_| Halt::Stream)?;
                    return Poll::Ready(self.finish(progress));
                }
            }
        }
    }

    /// Sends as much of a piece as the target takes. True when the body has ended with it.
    fn poll_piece(&mut self, context: &mut Context<'_>, progress: &Progress) -> Poll<Result<bool, Halt>> {
        self.stream.reserve_capacity(self.piece.len().min(SEND_BUFFER));
        let room = match self.stream.capacity() {
            0 => match ready!(self.stream.poll_capacity(context)) {
                Some(Ok(room)) => room,
                Some(Err(_)) | None => return Poll::Ready(Err(Halt::Stream)),
            },
            room => room,
        };
        let part = self.piece.split_to(room.min(self.piece.len()));
        let is_last = self.piece.is_empty() && self.body.is_end_stream();
        if !part.is_empty() {
            self.stream.send_data(part, is_last).map_err(|_| Halt::Stream)?;
            progress.written_at.store(clock::tick(), Relaxed);
        }
        Poll::Ready(Ok(is_last))
    }

    fn finish(&mut self, progress: &Progress) -> Result<(), Halt> {
        // Whoever waits for its end is told now.
        self.body = Body::empty();
        progress.written_at.store(clock::tick(), Relaxed);
        progress.is_done.store(true, Relaxed);
        Ok(())
    }

    /// The body to be sent once more, if it is still here: nothing of it has been taken, or all of it at once.
    pub(super) fn again(self) -> Option<Body> {
        match self.first {
            // Whether it has left or waits for room, nothing follows it.
            Some(whole) if self.body.is_end_stream() => Some(Body::full(whole)),
            None if !self.is_begun => Some(self.body),
            _ => None,
        }
    }
}
