//! What a connection in clear is read from and written to, past its watch.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use portcullis_wire::date;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::connection::{CLOSE, CLOSE_WITH_408, ConnectionState, Ending, Phase};
use crate::smuggling::FramingScanner;
use crate::socket::Transport;

/// What is written to a caller whose request head did not arrive in time.
const REQUEST_TIMEOUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// What a caller says in clear, with a watch on it: the socket itself, or what is behind TLS.
pub struct Watched {
    transport: Transport,
    watch: Arc<ConnectionState>,
    tick: fn() -> u32,
    lines: FramingScanner,
    /// What is left of what comes before the next answer and has begun to be written.
    interim: Bytes,
    /// What has been read already and is to be read again.
    ahead: Bytes,
    /// Whether what reads and writes has only borrowed it: then an end is not that of the connection.
    lent: bool,
    /// How many calls had begun when everything had been written and none was under way; none while that is not so.
    quiet_since: Option<u32>,
}

impl Watched {
    /// Puts a watch on what comes over a transport; `tick` tells the worker's time in milliseconds.
    pub fn new(transport: Transport, watch: Arc<ConnectionState>, tick: fn() -> u32) -> Self {
        Self {
            transport,
            watch,
            tick,
            lines: FramingScanner::default(),
            interim: Bytes::new(),
            ahead: Bytes::new(),
            lent: false,
            quiet_since: Some(0),
        }
    }

    /// The same, for somebody who gives it back with [`Watched::put_back`] and does not end it before.
    pub fn lend(mut self) -> Self {
        self.lent = true;
        self
    }

    /// Takes it back, with what was read and not used. If that is something, the next head has begun.
    pub fn put_back(&mut self, unused: Bytes) {
        self.lent = false;
        if !unused.is_empty() && self.watch.phase() == Phase::Idle {
            self.watch.enter(Phase::Head, (self.tick)());
        }
        self.ahead = unused;
    }

    /// Waits for the next byte with as little as that needs. False if none comes and the connection is to be closed.
    pub async fn sleep(&mut self) -> io::Result<bool> {
        std::future::poll_fn(|context| {
            if !self.ahead.is_empty() {
                return Poll::Ready(Ok(true));
            }
            if self.watch.poll(context) == Ending::Drain {
                return Poll::Ready(Ok(false));
            }
            let mut first = [0; 256];
            let mut first = ReadBuf::new(&mut first);
            ready!(Pin::new(&mut *self).poll_read(context, &mut first))?;
            self.ahead = Bytes::copy_from_slice(first.filled());
            Poll::Ready(Ok(!self.ahead.is_empty()))
        })
        .await
    }

    /// What hyper answers by itself, to a request that it cannot read, has no date yet. It is the only thing that is written
    /// when all answers have been and no other call has begun.
    fn stamp(&mut self, bytes: &[u8]) -> bool {
        let is_own = self.quiet_since.take().is_some_and(|begun| begun == self.watch.begun());
        let is_answer = is_own && bytes.starts_with(b"HTTP/1.") && bytes.ends_with(b"\r\n\r\n");
        if is_answer && !self.watch.is_http2() {
            self.interim = date::stamped(bytes).into();
        }
        is_answer && !self.interim.is_empty()
    }

    /// Writes the rest of what has begun to be written before the next answer.
    fn poll_interim(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.interim.is_empty() {
            let written = ready!(Pin::new(&mut self.transport).poll_write(context, &self.interim))?;
            self.interim.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let watched = &mut *self;
        let verdict = watched.watch.verdict();
        if matches!(verdict, CLOSE | CLOSE_WITH_408) && watched.watch.phase() != Phase::Busy {
            // Nothing else is being written: a head is read only when the answer before it has gone.
            if verdict == CLOSE_WITH_408 {
                let _ = Pin::new(&mut watched.transport).poll_write(context, &date::stamped(REQUEST_TIMEOUT));
            }
            watched.transport.say_farewell(context);
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        // It has been looked at before.
        let again = watched.ahead.split_to(watched.ahead.len().min(buffer.remaining()));
        buffer.put_slice(&again);
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let mut polled = Pin::new(&mut watched.transport).poll_read(context, buffer);
        if !again.is_empty() {
            // That nothing is there behind it, or that the connection has failed, is told by the next read.
            polled = Poll::Ready(Ok(()));
        }
        let new = &buffer.filled()[before..];
        if !new.is_empty() {
            let begins = !watched.watch.is_http2();
            if !begins {
                watched.watch.hear(new.len(), (watched.tick)());
            }
            if watched.watch.phase() == Phase::New
                || (watched.watch.phase() == Phase::Idle && watched.watch.is_between_calls())
            {
                watched.watch.enter(Phase::Head, (watched.tick)());
            }
            if begins && watched.lines.scan(new) {
                watched.watch.note_framed_twice();
            }
        }
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(context))?;
        if self.stamp(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.transport).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(context))?;
        let mut filled = slices.iter().filter(|slice| !slice.is_empty());
        if let (Some(only), None) = (filled.next(), filled.next())
            && self.stamp(only)
        {
            return Poll::Ready(Ok(only.len()));
        }
        self.quiet_since = None;
        Pin::new(&mut self.transport).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    /// hyper flushes when it has nothing more to write, and a call hands over its answer only when all that comes before
    /// it has been told: what is told here stands between two answers.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_interim(context))?;
            match self.watch.take_interim() {
                Some(interim) => self.interim = interim,
                None => break,
            }
        }
        ready!(Pin::new(&mut self.transport).poll_flush(context))?;
        if self.watch.is_without_calls() {
            self.quiet_since = Some(self.watch.begun());
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lent {
            return self.poll_flush(context);
        }
        Pin::new(&mut self.transport).poll_shutdown(context)
    }
}
