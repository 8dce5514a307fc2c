//! What comes before the first request on a connection: the header of the PROXY protocol, and the TLS handshake.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use portcullis_wire::clock;
use portcullis_wire::date;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::connection::{ConnectionState, Ending, Phase};
use crate::door::Sender;
use crate::node::Node;
use crate::preface::{self, Protocol};
use crate::proxy_protocol::{self, ProxyProtocol, Source};
use crate::socket::{Socket, Transport};
use crate::tls::{Secured, Termination, is_about_certificate};

/// What is written where the PROXY protocol has to be spoken and is not.
const BAD_REQUEST: &[u8] = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
/// What is written to somebody who speaks HTTP where TLS is spoken.
const NOT_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\n\
    Content-Length: 42\r\n\r\nthis port speaks TLS; use https:// instead";

/// Refused certificates a worker tells of in a second; the counter has them all.
const TOLD_A_SECOND: u32 = 20;

thread_local! {
    static TOLD: Cell<LogLimit> = const { Cell::new(LogLimit { second: 0, number: 0 }) };
}

/// How much was told in this second.
#[derive(Debug, Clone, Copy)]
struct LogLimit {
    second: u32,
    number: u32,
}

impl LogLimit {
    /// One more at this tick, or as much as there may be.
    fn and_one_more(self, tick: u32) -> Option<Self> {
        let second = tick / 1_000;
        let number = if second == self.second { self.number } else { 0 };
        (number < TOLD_A_SECOND).then_some(Self { second, number: number + 1 })
    }
}

/// A connection on which requests can be read.
pub struct Opened {
    /// What they come over.
    pub transport: Transport,
    /// What they are read by, as was agreed in the handshake.
    pub protocol: Protocol,
    /// Who sends them.
    pub sender: Sender,
}

/// Does all that comes before the first request. None if the connection has ended here.
pub async fn open(
    node: &Node,
    stream: TcpStream,
    peer: SocketAddr,
    watch: &Arc<ConnectionState>,
    tls: bool,
) -> Option<Opened> {
    let mut socket = Socket::new(stream, Arc::clone(watch), clock::tick);
    let sender = watched(node, watch, introduce(node, &mut socket, peer)).await?;
    match node.tls.as_ref().filter(|_| tls) {
        None => {
            let protocol = watched(node, watch, preface::begins(&mut socket)).await?;
            Some(Opened { transport: Transport::Plain(socket), protocol, sender })
        }
        // A handshake needs more room than all that comes after it.
        Some(tls) => Box::pin(secured(node, tls, watch, socket, sender)).await,
    }
}

/// Does a part of it, unless the connection is to end meanwhile.
async fn watched<T>(node: &Node, watch: &ConnectionState, work: impl Future<Output = Option<T>>) -> Option<T> {
    let mut work = pin!(work);
    std::future::poll_fn(|context| match watch.poll(context) {
        Ending::Close => {
            // What is read to nowhere at the end is not missed.
            if watch.phase() != Phase::Closing {
                node.counters.protocol_timed_out.add_one();
            }
            Poll::Ready(None)
        }
        _ => work.as_mut().poll(context),
    })
    .await
}

/// Who sends the requests of a connection: its peer, or whoever a trusted proxy announces before the first of them.
async fn introduce(node: &Node, socket: &mut Socket, peer: SocketAddr) -> Option<Sender> {
    let trusted = node.trusts(peer.ip());
    let itself = Sender::at(peer, trusted);
    match node.proxy_protocol {
        ProxyProtocol::Off => return Some(itself),
        ProxyProtocol::Optional if !trusted => return Some(itself),
        ProxyProtocol::Required if !trusted => {}
        mode => match proxy_protocol::take(socket).await {
            Ok(Some(Source::Address(address))) => return Some(Sender::at(address, node.trusts(address.ip()))),
            // Somebody speaks through the proxy, and the proxy has not read what they say.
            Ok(Some(Source::Unknown)) => return Some(Sender::at(peer, false)),
            Ok(Some(Source::Proxy)) => return Some(itself),
            Ok(None) if mode == ProxyProtocol::Optional => return Some(itself),
            Err(error) if error.kind() != io::ErrorKind::InvalidData => return None,
            Ok(None) | Err(_) => {}
        },
    }
    node.counters.protocol_malformed.add_one();
    refuse(socket, BAD_REQUEST).await;
    None
}

/// The connection behind its handshake, and who its client has shown to be.
async fn secured(
    node: &Node,
    tls: &Termination,
    watch: &Arc<ConnectionState>,
    mut socket: Socket,
    sender: Sender,
) -> Option<Opened> {
    // What does not speak TLS is told so in words: no handshake begins with a letter.
    let first = watched(node, watch, async { socket.peek().await.ok() }).await?;
    if first.is_ascii_alphabetic() {
        node.counters.tls_failed.add_one();
        return watched(node, watch, async {
            refuse(&mut socket, NOT_TLS).await;
            None
        })
        .await;
    }
    let challenges = node.challenges.as_deref().filter(|challenges| challenges.may_be_pending());
    let handshake = async {
        Some(match challenges {
            Some(challenges) => tls.accept_or_prove(socket, challenges).await,
            None => tls.accept(socket).await.map(Some).map_err(|(error, socket)| (error, Some(socket))),
        })
    };
    match watched(node, watch, handshake).await {
        Some(Ok(None)) => {
            node.counters.tls_established.add_one();
            tracing::debug!(peer = %sender.address.ip(), "a certificate authority was shown what it looked for");
            None
        }
        Some(Ok(Some(Secured { stream, client, is_resumed }))) => {
            node.counters.tls_established.add_one();
            if is_resumed {
                node.counters.tls_resumed.add_one();
            }
            // The first request may take as long as on a connection that has just been accepted.
            watch.enter(Phase::New, clock::tick());
            let sender = Sender { tls: true, certificate: client, ..sender };
            let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            let protocol = if is_http2 { Protocol::Http2 } else { Protocol::Http1 };
            Some(Opened { transport: Transport::Tls(Box::new(stream)), protocol, sender })
        }
        Some(Err((error, socket))) => {
            node.counters.tls_failed.add_one();
            tell(node, &sender, &error);
            let mut socket = socket?;
            // The alert is on its way; it must not be overtaken by a reset.
            watched(node, watch, async { socket.shutdown().await.ok() }).await?;
            None
        }
        None => {
            node.counters.tls_failed.add_one();
            tracing::debug!(peer = %sender.address.ip(), "a TLS handshake took too long");
            None
        }
    }
}

/// Tells the operator why a handshake has failed.
fn tell(node: &Node, sender: &Sender, error: &io::Error) {
    let peer = sender.address.ip();
    if is_about_certificate(error) {
        node.counters.tls_client_certificate_refused.add_one();
        // Anybody can fail as often as they like, and each line is written before the next call is served.
        if let Some(told) = TOLD.get().and_one_more(clock::tick()) {
            TOLD.set(told);
            tracing::info!(%peer, %error, "a client certificate was refused");
        }
    } else {
        tracing::debug!(%peer, %error, "a TLS handshake failed");
    }
}

/// Says why, and closes. The connection ends, whether or not this arrives.
async fn refuse(socket: &mut Socket, words: &[u8]) {
    let _ = socket.write_all(&date::stamped(words)).await;
    let _ = socket.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_told_in_a_second_than_may_be() {
        let mut told = LogLimit { second: 0, number: 0 };
        let mut tell = |tick| {
            let more = told.and_one_more(tick);
            told = more.unwrap_or(told);
            more.is_some()
        };
        assert_eq!((0..1_000).filter(|tick| tell(*tick)).count(), 20);
        assert_eq!((1_000..3_000).filter(|tick| tell(*tick)).count(), 40);
    }
}
