//! The bytes to and from a server. What is bounded elsewhere is the body: here it is everything that comes, interim answers,
//! the framing of pieces and trailers too, and how much of it is taken before others have their turn.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::counting_io::TargetStream;

/// Bytes that are read at once.
const PIECE: usize = 8 << 10;
/// Pieces that are read one after the other before others have their turn: what came in them has to be parsed as well.
const TURN: usize = 4;

/// A connection to a server, which answers one request at a time.
pub(super) struct ServerStream {
    stream: TargetStream,
    /// Bytes that may come in one exchange.
    most: usize,
    /// What is left of these. With nothing left, the connection is of no more use.
    left: usize,
    /// Whether anything has come since the request: what is written then is the next one.
    is_answering: bool,
    /// Pieces that were read since others had their turn.
    read: usize,
}

impl ServerStream {
    /// A connection on which so many bytes may come in answer to a request.
    pub(super) fn new(stream: TargetStream, most: usize) -> Self {
        Self { stream, most, left: most, is_answering: false, read: 0 }
    }

    fn asks(&mut self) {
        if std::mem::take(&mut self.is_answering) {
            self.left = self.most;
        }
    }
}

impl Connection for ServerStream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for ServerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left == 0 {
            return Poll::Ready(Err(io::Error::other("more comes than belongs to any answer")));
        }
        if self.read == TURN {
            self.read = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.read += 1;
        let room = PIECE.min(self.left).min(buffer.remaining());
        let mut piece = ReadBuf::new(buffer.initialize_unfilled_to(room));
        let polled = Pin::new(&mut self.stream).poll_read(context, &mut piece);
        let length = piece.filled().len();
        if polled.is_pending() {
            self.read = 0;
        }
        ready!(polled)?;
        buffer.advance(length);
        self.left -= length;
        self.is_answering |= length > 0;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ServerStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.asks();
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.asks();
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use portcullis_wire::stream::Stream;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// A connection on which this much has come already, and its other end.
    async fn filled(bytes: usize, most: usize) -> (ServerStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (ours, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (ours, mut other) = (ours.expect("connected"), accepted.expect("accepted").0);
        other.write_all(&vec![b'x'; bytes]).await.expect("written");
        let mut seen = vec![0; bytes];
        while ours.peek(&mut seen).await.expect("peeked") < bytes {}
        (ServerStream::new(Stream::Plain(ours), most), other)
    }

    /// How much can be read until others have their turn.
    async fn turn(stream: &mut ServerStream) -> usize {
        let mut bytes = 0;
        let mut held = vec![0; 64 << 10];
        let reading = poll_fn(|context| {
            loop {
                let mut buffer = ReadBuf::new(&mut held);
                match Pin::new(&mut *stream).poll_read(context, &mut buffer) {
                    Poll::Ready(read) => {
                        read.expect("read");
                        bytes += buffer.filled().len();
                    }
                    Poll::Pending => return Poll::Ready(()),
                }
            }
        });
        tokio::task::unconstrained(reading).await;
        bytes
    }

    #[tokio::test]
    async fn whoever_sends_without_end_leaves_others_their_turn() {
        let (mut stream, _other) = filled(96 << 10, usize::MAX).await;
        for _ in 0..3 {
            assert_eq!(turn(&mut stream).await, TURN * PIECE);
        }
        assert_eq!(turn(&mut stream).await, 0);
    }

    #[tokio::test]
    async fn what_may_come_is_bounded_for_each_exchange() {
        let (mut stream, mut other) = filled(10, 6).await;
        let mut held = [0; 6];
        stream.read_exact(&mut held).await.expect("within its bound");
        assert!(stream.read(&mut held).await.is_err(), "there is more");
        stream.write_all(b"next").await.expect("written");
        stream.read_exact(&mut held[..4]).await.expect("what is left");
        // A request may leave in several pieces before anything comes.
        stream.write_all(b"next").await.expect("written");
        stream.write_all(b"and the rest").await.expect("written");
        other.write_all(b"1234567").await.expect("written");
        stream.read_exact(&mut held).await.expect("within its bound");
        assert!(stream.read(&mut held).await.is_err(), "there is more");
    }
}
