//! Opening a connection to a target: resolve, ask the guard, connect, shake hands.

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

use super::Settings;
use super::pool::Slot;
use crate::worker;

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
pub async fn connect(settings: &Settings, target: &TargetUrl, slot: Slot) -> Result<Connection, Refusal> {
    let opened = tokio::time::timeout(settings.connect_timeout, open(settings, target)).await;
    let stream = opened.map_err(|_| unreachable(target, "no connection in time"))??;
    stream.set_nodelay(true).map_err(|error| unreachable(target, error))?;
    let read = Arc::new(AtomicU64::new(0));
    let written_at = Arc::new(AtomicU32::new(worker::tick()));
    let io = TokioIo::new(Noting { stream, read: Arc::clone(&read), written_at: Arc::clone(&written_at) });
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

async fn open(settings: &Settings, target: &TargetUrl) -> Result<TcpStream, Refusal> {
    let addresses = resolve(target).await?;
    let allowed: Vec<_> = addresses.iter().copied().filter(|address| settings.guard.admits(*address)).collect();
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
                    && settings.guard.is_own_connection(local, remote)
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

fn unreachable(target: &TargetUrl, reason: impl std::fmt::Display) -> Refusal {
    Refusal::UpstreamUnreachable { private: format!("{target}: {reason}").into() }
}

/// A socket that counts what is read from it, and notes when something was written to it.
struct Noting {
    stream: TcpStream,
    read: Arc<AtomicU64>,
    written_at: Arc<AtomicU32>,
}

impl Noting {
    fn note_write(&self, polled: &Poll<io::Result<usize>>) {
        if matches!(polled, Poll::Ready(Ok(_))) {
            self.written_at.store(worker::tick(), Relaxed);
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
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
