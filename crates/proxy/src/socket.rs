//! The socket of a caller, and what stands between it and HTTP: nothing, or TLS.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use portcullis_wire::stream::{Stream, poll_send};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::connection::{ConnectionState, Phase};
use crate::tls::TlsStream;

/// How many bytes of what still comes are read to nowhere.
const LINGER_BYTES: usize = 256 << 10;

/// The socket of a caller. It tells the watch when the first byte comes, when it is full, and when it closes.
pub struct Socket {
    stream: TcpStream,
    watch: Arc<ConnectionState>,
    tick: fn() -> u32,
    lingered: usize,
    /// Bytes that were read already and are to be read again.
    ahead: Bytes,
}

impl Socket {
    /// A socket under a watch; `tick` tells the worker's time in milliseconds.
    pub fn new(stream: TcpStream, watch: Arc<ConnectionState>, tick: fn() -> u32) -> Self {
        Self { stream, watch, tick, lingered: 0, ahead: Bytes::new() }
    }

    /// Reads more of what stands before everything else, without taking it for HTTP or TLS: at least one byte, and up
    /// to `most` in all.
    pub async fn read_unseen(&mut self, bytes: &mut BytesMut, most: usize) -> io::Result<()> {
        let room = most.saturating_sub(bytes.len());
        if self.stream.read_buf(&mut (&mut *bytes).limit(room)).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.begin();
        Ok(())
    }

    /// Takes what was given back, to read on behind it.
    pub fn take_ahead(&mut self) -> Bytes {
        std::mem::take(&mut self.ahead)
    }

    /// Gives back what was read too far; it will be read as if it came now.
    pub fn give_back(&mut self, bytes: Bytes) {
        self.ahead = bytes;
        self.watch.enter(Phase::New, (self.tick)());
    }

    /// The first byte, which stays where it is.
    pub async fn peek(&mut self) -> io::Result<u8> {
        if let Some(first) = self.ahead.first() {
            return Ok(*first);
        }
        let mut first = [0];
        match self.stream.peek(&mut first).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(first[0]),
        }
    }

    /// The first byte has come.
    fn begin(&self) {
        if self.watch.phase() == Phase::New {
            self.watch.enter(Phase::Head, (self.tick)());
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let socket = &mut *self;
        let before = buffer.filled().len();
        let polled = if socket.ahead.is_empty() {
            Pin::new(&mut socket.stream).poll_read(context, buffer)
        } else {
            buffer.put_slice(&socket.ahead.split_to(socket.ahead.len().min(buffer.remaining())));
            // What is there behind it comes along: whoever reads makes room for a whole piece each time. That nothing is
            // there, or that the connection has failed, is told by the next read.
            if buffer.remaining() > 0 {
                let _ = Pin::new(&mut socket.stream).poll_read(context, buffer);
            }
            Poll::Ready(Ok(()))
        };
        if buffer.filled().len() > before {
            socket.begin();
        }
        polled
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch.note_write(&polled, (self.tick)());
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = poll_send(&mut self.stream, context, slices);
        self.watch.note_write(&polled, (self.tick)());
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    /// Stops writing, and then reads what still comes to nowhere, up to a bound: closing a socket with unread
    /// bytes in it could take away the answer that is on its way.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket = &mut *self;
        if socket.watch.phase() != Phase::Closing {
            ready!(Pin::new(&mut socket.stream).poll_shutdown(context))?;
            socket.watch.enter(Phase::Closing, (socket.tick)());
        }
        let mut nowhere = [0; 4_096];
        while socket.lingered < LINGER_BYTES {
            let mut buffer = ReadBuf::new(&mut nowhere);
            ready!(Pin::new(&mut socket.stream).poll_read(context, &mut buffer))?;
            if buffer.filled().is_empty() {
                break;
            }
            socket.lingered += buffer.filled().len();
        }
        Poll::Ready(Ok(()))
    }
}

/// What HTTP goes over. The state of TLS is kept apart, so that connections in clear do not carry its weight.
pub type Transport = Stream<Socket, TlsStream<Socket>>;
