//! A connection to a target that notes what passes over it.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use portcullis_wire::clock;
use portcullis_wire::stream::{Stream, poll_send};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::replay::Exchange;
use crate::tls;

/// The bytes to and from a target.
pub type TargetStream = Stream<TcpStream, TlsStream<TcpStream>>;

/// What has passed over a connection.
#[derive(Debug)]
pub struct Counts {
    /// Bytes read so far: whether a failed request had any answer.
    pub read: AtomicU64,
    /// Bytes written so far: whether anything of a request can have left.
    pub written: AtomicU64,
    /// The worker's tick at the last write: since when an answer can be waited for.
    pub written_at: AtomicU32,
    /// Whether there is something to write that may not have left: the socket has not taken all of it, or TLS keeps what
    /// the socket did not take.
    pub is_unflushed: AtomicBool,
    /// Whether the body of a request in HTTP/1.1 is still being taken from its caller.
    pub is_taking: AtomicBool,
    /// Why TLS has ended, if it failed while something was to be read.
    pub tls_failure: OnceLock<String>,
    /// The exchange under way, where it is one at a time.
    pub exchange: Arc<Exchange>,
}

impl Counts {
    fn new() -> Self {
        Self {
            read: AtomicU64::new(0),
            written: AtomicU64::new(0),
            written_at: AtomicU32::new(clock::tick()),
            is_unflushed: AtomicBool::new(false),
            is_taking: AtomicBool::new(false),
            tls_failure: OnceLock::new(),
            exchange: Arc::default(),
        }
    }
}

/// A connection that counts what is read from it, and notes when something was written to it.
pub struct CountingIo {
    stream: TargetStream,
    noted: Arc<Counts>,
}

impl CountingIo {
    /// Notes from now on.
    pub fn new(stream: TargetStream) -> Self {
        Self { stream, noted: Arc::new(Counts::new()) }
    }

    /// What it notes.
    pub fn noted(&self) -> Arc<Counts> {
        Arc::clone(&self.noted)
    }

    fn note_write(&self, polled: &Poll<io::Result<usize>>) {
        match polled {
            Poll::Ready(Ok(length)) => {
                self.noted.written.fetch_add(*length as u64, Relaxed);
                self.noted.written_at.store(clock::tick(), Relaxed);
            }
            Poll::Ready(Err(_)) => return,
            // The socket is full.
            Poll::Pending => {}
        }
        self.noted.is_unflushed.store(true, Relaxed);
    }
}

impl AsyncRead for CountingIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        let new = &buffer.filled()[before..];
        self.noted.read.fetch_add(new.len() as u64, Relaxed);
        self.noted.exchange.has_read(new);
        if let Poll::Ready(Err(error)) = &polled
            && let Some(failure) = tls::find_failure(error)
        {
            self.noted.tls_failure.get_or_init(|| tls::reason(failure));
        }
        polled
    }
}

impl AsyncWrite for CountingIo {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.noted.exchange.writes(std::iter::once(bytes));
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note_write(&polled);
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.noted.exchange.writes(slices.iter().map(|slice| &**slice));
        let polled = match &mut self.stream {
            Stream::Plain(stream) => poll_send(stream, context, slices),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_write_vectored(context, slices),
        };
        self.note_write(&polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        // Only the first flush after a write is one of something; there are many of nothing.
        if polled.is_ready() && self.noted.is_unflushed.load(Relaxed) {
            self.noted.is_unflushed.store(false, Relaxed);
            self.noted.written_at.store(clock::tick(), Relaxed);
        }
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn what_leaves_late_is_noted_and_what_does_not_leave_is_not() {
        /// What no tick of a test is.
        const LONG_AGO: u32 = 77;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let stream = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("connected");
        let mut noting = CountingIo::new(Stream::Plain(stream));
        let noted = noting.noted();
        assert_ne!(clock::tick(), LONG_AGO);
        let mut step = async |bytes: Option<&[u8]>| {
            noted.written_at.store(LONG_AGO, Relaxed);
            poll_fn(|context| match bytes {
                Some(bytes) => Pin::new(&mut noting).poll_write(context, bytes).map_ok(drop),
                None => Pin::new(&mut noting).poll_flush(context),
            })
            .await
            .expect("sent");
            noted.written_at.load(Relaxed) != LONG_AGO
        };
        assert!(!step(None).await, "a flush of nothing");
        assert!(step(Some(b"bytes")).await, "a write");
        assert!(step(None).await, "its flush, which may have had to wait");
        assert!(!step(None).await, "another flush of nothing");
        assert_eq!(noted.written.load(Relaxed), 5);
    }
}
