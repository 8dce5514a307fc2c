//! Opening a connection to a target: resolve, ask the guard, connect, prove who it is where that is TLS, shake hands.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use portcullis_core::body::Body;
use portcullis_core::model::TargetUrl;
use portcullis_core::refusal::Refusal;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::Settings;
use super::bell::Bell;
use super::guard::Guard;
use super::http2::{self, Shared, Silent};
use super::noting::{Noted, Noting};
use super::peer::{Peer, PoolKey, Spoken};
use super::pool::Slot;
use crate::stream::Stream;

/// After how much silence a target's machine is asked whether it is there, how often again, and how many times.
const QUIET: Duration = Duration::from_secs(15);
const PROBE: Duration = Duration::from_secs(5);
const PROBES: u32 = 3;

/// A connection to a target over which HTTP/1.1 is spoken, and what has passed over it.
pub struct Connection {
    /// Where it is kept between calls.
    pub key: Arc<PoolKey>,
    /// Sends requests over it.
    pub sender: SendRequest<Body>,
    /// What has passed over it.
    pub noted: Arc<Noted>,
    /// Keeps the connection counted as open, also when it goes on in another protocol.
    pub open: oneshot::Sender<()>,
    /// Wakes whoever drives it.
    pub bell: Arc<Bell>,
    /// With which certificate of the gateway it was opened, or the one before.
    pub generation: u64,
}

/// A connection that has just been opened.
pub enum Opened {
    /// For one call after another.
    Http1(Connection),
    /// For many at once.
    Http2(Shared),
}

/// Opens a connection. The slot is held by the task that drives it, until it is closed.
pub async fn connect(settings: &Settings, peer: &Peer, slot: Slot) -> Result<Opened, Refusal> {
    let target = &peer.url;
    let spoken = slot.key().spoken;
    let deadline = Instant::now() + settings.connect_timeout;
    let generation = peer.generation();
    let opened = timeout_at(deadline, open(&settings.guard, target)).await;
    let stream = opened.map_err(|_| unreachable(target, "no connection in time"))??;
    stream.set_nodelay(true).map_err(|error| unreachable(target, error))?;
    if spoken != Spoken::Http1 {
        watch_over(&stream, settings.first_byte + settings.body_idle).map_err(|error| unreachable(target, error))?;
    }
    let stream = match &peer.tls {
        None => Stream::Plain(stream),
        Some(tls) => {
            // Apart from the call's own future, which most calls have without ever connecting.
            let handshake = Box::pin(tls.identity.shake_hands(tls.name.clone(), spoken.offered(), stream));
            let shaken = timeout_at(deadline, handshake).await.unwrap_or_else(|_| Err("no handshake in time".into()));
            Stream::Tls(Box::new(shaken.map_err(|reason| unproved(target, &reason))?))
        }
    };
    let is_http2 = match (&stream, spoken) {
        (_, Spoken::Http1) => false,
        (Stream::Plain(_), _) => true,
        (Stream::Tls(stream), _) => stream.get_ref().1.alpn_protocol() == Some(b"h2"),
    };
    if spoken == Spoken::Http2 && !is_http2 {
        return Err(unproved(target, "it does not speak HTTP/2"));
    }
    let stream = Noting::new(stream);
    if is_http2 {
        let begun = timeout_at(deadline, Box::pin(http2::begin(settings, stream, slot))).await;
        let begun = begun.unwrap_or_else(|_| Err(Silent::Other("it has not begun to speak HTTP/2 in time".into())));
        return begun.map(Opened::Http2).map_err(|silent| match silent {
            Silent::Tls(reason) => unproved(target, &reason),
            Silent::Other(reason) => unreachable(target, reason),
        });
    }
    let noted = stream.noted();
    let (sender, connection) = http1::Builder::new()
        .max_header_size(settings.answer_head)
        .max_buf_size(settings.answer_head.max(8_192))
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| unreachable(target, error))?;
    let key = Arc::clone(slot.key());
    let (open, closed) = oneshot::channel();
    let bell = Arc::<Bell>::default();
    let driven = Arc::clone(&bell).drive(connection.with_upgrades());
    tokio::spawn(async move {
        // What went wrong is told to the call that waits for an answer.
        let _ = driven.await;
        // Nothing is ever sent: whoever has the connection, or the tunnel it has become, has dropped it.
        let _ = closed.await;
        drop(slot);
    });
    Ok(Opened::Http1(Connection { key, sender, noted, open, bell, generation }))
}

/// A machine that has gone without a word is noticed, be it while nothing passes or, after `patience`, while something
/// is on its way. A call alone on its connection has a limit of its own; one that is shared would get call after call.
fn watch_over(stream: &TcpStream, patience: Duration) -> io::Result<()> {
    let socket = SockRef::from(stream);
    let probes = TcpKeepalive::new().with_time(QUIET).with_interval(PROBE).with_retries(PROBES);
    socket.set_tcp_keepalive(&probes)?;
    socket.set_tcp_user_timeout(Some(patience))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_machine_that_has_gone_is_noticed() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let stream = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("connected");
        watch_over(&stream, Duration::from_secs(30)).expect("set");
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().expect("an option"));
        assert_eq!(socket.tcp_keepalive_time().expect("an option"), QUIET);
        assert_eq!(socket.tcp_user_timeout().expect("an option"), Some(Duration::from_secs(30)));
    }
}
