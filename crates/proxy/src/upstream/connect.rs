//! Opening a connection to a target: resolve, ask the guard, connect, prove who it is where that is TLS, shake hands.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use portcullis_core::body::Body;
use portcullis_core::model::TargetUrl;
use portcullis_core::refusal::Refusal;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::client::TlsStream;

use super::Settings;
use super::guard::Guard;
use super::peer::Peer;
use super::pool::Slot;
use crate::stream::Stream;
use crate::worker;

/// The bytes to and from a target.
type TargetStream = Stream<TcpStream, TlsStream<TcpStream>>;

/// A connection to a target, and how many bytes have come over it.
pub struct Connection {
    /// Sends requests over it.
    pub sender: SendRequest<Body>,
    /// Bytes read so far: whether a failed request had any answer.
    pub read: Arc<AtomicU64>,
    /// The worker's tick at the last write: since when an answer can be waited for.
    pub written_at: Arc<AtomicU32>,
    /// Keeps the connection counted as open, also when it goes on in another protocol.
    pub open: oneshot::Sender<()>,
}

/// Opens a connection. The slot is held by the task that drives it, until it is closed.
pub async fn connect(settings: &Settings, peer: &Peer, slot: Slot) -> Result<Connection, Refusal> {
    let target = &peer.url;
    let deadline = Instant::now() + settings.connect_timeout;
    let opened = timeout_at(deadline, open(&settings.guard, target)).await;
    let stream = opened.map_err(|_| unreachable(target, "no connection in time"))??;
    stream.set_nodelay(true).map_err(|error| unreachable(target, error))?;
    let stream = match &peer.tls {
        None => Stream::Plain(stream),
        Some(tls) => {
            // Apart from the call's own future, which most calls have without ever connecting.
            let handshake = Box::pin(tls.identity.shake_hands(tls.name.clone(), stream));
            let shaken = timeout_at(deadline, handshake).await.unwrap_or_else(|_| Err("no handshake in time".into()));
            Stream::Tls(Box::new(shaken.map_err(|reason| unproved(target, &reason))?))
        }
    };
    let read = Arc::new(AtomicU64::new(0));
    let written_at = Arc::new(AtomicU32::new(worker::tick()));
    let noting = Noting { stream, read: Arc::clone(&read), written_at: Arc::clone(&written_at), is_unflushed: false };
    let io = TokioIo::new(noting);
    let (sender, connection) = http1::Builder::new()
        .max_header_size(settings.answer_head)
        .max_buf_size(settings.answer_head.max(8_192))
        .max_headers(256)
        .handshake(io)
        .await
        .map_err(|error| unreachable(target, error))?;
    let (open, closed) = oneshot::channel();
    tokio::spawn(async move {
        // What went wrong is told to the call that waits for an answer.
        let _ = connection.with_upgrades().await;
        // Nothing is ever sent: whoever has the connection, or the tunnel it has become, has dropped it.
        let _ = closed.await;
        drop(slot);
    });
    Ok(Connection { sender, read, written_at, open })
}

/// Refuses a target whose URL itself names an address that is not connected to. Names are judged by what they
/// resolve to, when it is time.
pub fn admit(settings: &Settings, target: &TargetUrl) -> Result<(), Refusal> {
    match literal(target) {
        Some(address) if !settings.guard.admits(address) => Err(forbidden(target, address)),
        _ => Ok(()),
    }
}

/// A connection to where a target's name leads, if the guard admits it.
pub(crate) async fn open(guard: &Guard, target: &TargetUrl) -> Result<TcpStream, Refusal> {
    let addresses = resolve(target).await?;
    let allowed: Vec<_> = addresses.iter().copied().filter(|address| guard.admits(*address)).collect();
    if allowed.is_empty() {
        return Err(addresses
            .first()
            .map_or_else(|| unreachable(target, "no address"), |found| forbidden(target, *found)));
    }
    let mut last = None;
    for address in allowed {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                let ends = (stream.local_addr(), stream.peer_addr());
                if let (Ok(local), Ok(remote)) = ends
                    && guard.is_own_connection(local, remote)
                {
                    return Err(Refusal::UpstreamForbidden { private: format!("{target} is this gateway").into() });
                }
                return Ok(stream);
            }
            Err(error) => last = Some(error),
        }
    }
    Err(unreachable(target, last.map_or_else(|| "no address".to_owned(), |error| error.to_string())))
}

async fn resolve(target: &TargetUrl) -> Result<Vec<SocketAddr>, Refusal> {
    if let Some(address) = literal(target) {
        return Ok(vec![address]);
    }
    let found = tokio::net::lookup_host((target.host(), target.port())).await;
    // A name with very many addresses is not tried to its end.
    found.map(|addresses| addresses.take(16).collect()).map_err(|error| unreachable(target, error))
}

/// The address of a target that is not a name.
fn literal(target: &TargetUrl) -> Option<SocketAddr> {
    let ip = target.host().parse::<IpAddr>().ok()?;
    Some(SocketAddr::new(ip, target.port()))
}

fn forbidden(target: &TargetUrl, found: SocketAddr) -> Refusal {
    Refusal::UpstreamForbidden { private: format!("{target} is at {found}").into() }
}

fn unproved(target: &TargetUrl, reason: &str) -> Refusal {
    Refusal::UpstreamTls { private: format!("{target}: {reason}").into() }
}

fn unreachable(target: &TargetUrl, reason: impl std::fmt::Display) -> Refusal {
    Refusal::UpstreamUnreachable { private: format!("{target}: {reason}").into() }
}

/// A connection that counts what is read from it, and notes when something was written to it.
struct Noting {
    stream: TargetStream,
    read: Arc<AtomicU64>,
    written_at: Arc<AtomicU32>,
    /// Something was written that may not have left: TLS keeps what the socket does not take.
    is_unflushed: bool,
}

impl Noting {
    fn note_write(&mut self, polled: &Poll<io::Result<usize>>) {
        if matches!(polled, Poll::Ready(Ok(_))) {
            self.written_at.store(worker::tick(), Relaxed);
            self.is_unflushed = true;
        }
    }
}

impl AsyncRead for Noting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.read.fetch_add((buffer.filled().len() - before) as u64, Relaxed);
        polled
    }
}

impl AsyncWrite for Noting {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note_write(&polled);
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.note_write(&polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        // Only the first flush after a write is one of something; there are many of nothing.
        if polled.is_ready() && std::mem::take(&mut self.is_unflushed) {
            self.written_at.store(worker::tick(), Relaxed);
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
        let written_at = Arc::new(AtomicU32::new(LONG_AGO));
        let mut noting = Noting {
            stream: Stream::Plain(stream),
            read: Arc::default(),
            written_at: Arc::clone(&written_at),
            is_unflushed: false,
        };
        assert_ne!(worker::tick(), LONG_AGO);
        let mut step = async |bytes: Option<&[u8]>| {
            written_at.store(LONG_AGO, Relaxed);
            poll_fn(|context| match bytes {
                Some(bytes) => Pin::new(&mut noting).poll_write(context, bytes).map_ok(drop),
                None => Pin::new(&mut noting).poll_flush(context),
            })
            .await
            .expect("sent");
            written_at.load(Relaxed) != LONG_AGO
        };
        assert!(!step(None).await, "a flush of nothing");
        assert!(step(Some(b"bytes")).await, "a write");
        assert!(step(None).await, "its flush, which may have had to wait");
        assert!(!step(None).await, "another flush of nothing");
    }
}
