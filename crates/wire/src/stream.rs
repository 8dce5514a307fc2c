//! The bytes to and from a caller or a target: in clear, or inside of TLS.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The most milliseconds that a socket's option takes.
pub const MOST_PATIENCE: Duration = Duration::from_millis(i32::MAX as u64);

/// So many bytes in several pieces are joined before they are sent.
const JOINED: usize = 2 << 10;

thread_local! {
    /// Where they are: not on the stack, which would have to be cleared each time.
    static ROOM: RefCell<[u8; JOINED]> = const { RefCell::new([0; JOINED]) };
}

/// Writes pieces to a socket. Most of what is written is small, and `send` of one piece costs the kernel a quarter of a
/// microsecond less than `writev`, which is much more than joining a few hundred bytes.
pub fn poll_send(
    stream: &mut TcpStream,
    context: &mut Context<'_>,
    pieces: &[io::IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    let mut filled = pieces.iter().filter(|piece| !piece.is_empty());
    let stream = Pin::new(stream);
    match (filled.next(), filled.next()) {
        (None, _) => return stream.poll_write(context, &[]),
        (Some(piece), None) => return stream.poll_write(context, piece),
        _ => {}
    }
    let length: usize = pieces.iter().map(|piece| piece.len()).sum();
    if length > JOINED {
        return stream.poll_write_vectored(context, pieces);
    }
    ROOM.with_borrow_mut(|joined| {
        let mut end = 0;
        for piece in pieces {
            joined[end..end + piece.len()].copy_from_slice(piece);
            end += piece.len();
        }
        stream.poll_write(context, &joined[..end])
    })
}

/// A connection in clear, or inside of TLS. What is read and written is plaintext.
pub enum Stream<P, T> {
    /// In clear.
    Plain(P),
    /// Inside of TLS. Much larger, so that it stands elsewhere.
    Tls(Box<T>),
}

impl<P, T: AsyncWrite + Unpin> Stream<P, T> {
    /// Says that nothing more will come, where that has to be said: without it whoever is on the other side of TLS cannot
    /// know that the end is one (RFC 8446 section 6.1).
    pub fn say_farewell(&mut self, context: &mut Context<'_>) {
        if let Self::Tls(stream) = self {
            let _ = Pin::new(stream).poll_shutdown(context);
        }
    }
}

/// Calls the same on whichever it is.
macro_rules! either {
    ($stream:expr, $method:ident($($argument:expr),*)) => {
        match $stream.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).$method($($argument),*),
            Stream::Tls(stream) => Pin::new(&mut **stream).$method($($argument),*),
        }
    };
}

impl<P: AsyncRead + Unpin, T: AsyncRead + Unpin> AsyncRead for Stream<P, T> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self, poll_read(context, buffer))
    }
}

impl<P: AsyncWrite + Unpin, T: AsyncWrite + Unpin> AsyncWrite for Stream<P, T> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, poll_shutdown(context))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::IoSlice;

    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn pieces_arrive_whole_and_in_their_order() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let mut near = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("connects");
        let (mut far, _) = listener.accept().await.expect("accepted");
        let piece = |length: usize, byte: u8| vec![byte; length];
        for lengths in [&[][..], &[0], &[5], &[0, 5], &[5, 0, 7], &[2_000, 48], &[2_000, 49], &[3_000], &[9, 20_000, 1]]
        {
            let pieces: Vec<Vec<u8>> = lengths.iter().zip(b'a'..).map(|(length, byte)| piece(*length, byte)).collect();
            let slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
            let all = pieces.concat();
            let written = poll_fn(|context| poll_send(&mut near, context, &slices)).await.expect("sent");
            assert_eq!(written, all.len(), "{lengths:?}");
            let mut read = vec![0; written];
            far.read_exact(&mut read).await.expect("arrived");
            assert!(read == all, "{lengths:?}");
        }
    }
}
