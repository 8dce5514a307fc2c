//! HTTP/3 on a worker's own UDP socket (RFC 9114): connections over QUIC, whose calls go the way of every call.

mod body;
mod guard;
mod stream;

use std::net::{SocketAddr, UdpSocket};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use portcullis_core::vital;
use portcullis_telemetry::{Counted, Spoken, Way};
use portcullis_wire::clock;
use quinn::{Connecting, Endpoint, EndpointConfig, IdleTimeout, Incoming, ServerConfig, TokioRuntime, TransportConfig};
use quinn::{VarInt, crypto::rustls::QuicServerConfig};
use tokio::sync::watch;

use crate::admission::{Admission, Admitted};
use crate::connection::{ConnectionState, Ending, Phase};
use crate::connections;
use crate::door::Sender;
use crate::limits::Limits;
use crate::node::Node;
use crate::stage::{self, Stage};
use crate::tls::Termination;
use guard::Guarded;

/// Handshakes a worker has under way before callers must show that they are where they say (RFC 9000 section 8.1).
const UNPROVEN: usize = 64;
/// Handshakes that wait for the worker, and bytes of theirs.
const WAITING: usize = 1_024;
const WAITING_BYTES: u64 = 4 << 20;
/// Bytes a caller may send of one body, and of all of a connection, before they are taken; and those of answers on the
/// way to a caller.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
const SEND_BUFFER: u64 = 1 << 20;
/// Streams beside those of calls: a caller has three, and may open some to see whether they are borne.
const OTHER_STREAMS: u32 = 8;
/// How often a caller that says nothing is asked whether it is there, and after how long it is taken to be gone.
const PING: Duration = Duration::from_secs(30);
const GONE: Duration = Duration::from_secs(50);
/// H3_NO_ERROR (RFC 9114 section 8.1).
const NO_ERROR: VarInt = VarInt::from_u32(0x100);
/// How long calls are taken at least after a caller was told to make no more.
const LEAST_GRACE: Duration = Duration::from_millis(100);
/// How long the last bytes of a connection may take to arrive.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Takes connections from a socket until no more are to be taken.
pub(crate) async fn accept(
    node: &Arc<Node>,
    socket: UdpSocket,
    admission: &Arc<Admission>,
    mut stage: watch::Receiver<Stage>,
) {
    let Some(crypto) = node.tls.as_ref().and_then(|tls| tls.quic()) else { return };
    let base = server_config(crypto, &node.limits);
    let runtime = Arc::new(TokioRuntime);
    let endpoint = match Endpoint::new(EndpointConfig::default(), Some(base.clone()), socket, runtime) {
        Ok(endpoint) => endpoint,
        Err(error) => {
            return vital::lost("a worker's socket for HTTP/3", &format!("it cannot be used: {error}"));
        }
    };
    let handshakes = Arc::new(AtomicUsize::new(0));
    loop {
        tokio::select! {
            biased;
            reached = stage::reached(&mut stage) => {
                if reached >= Stage::Closing {
                    break;
                }
            }
            incoming = endpoint.accept() => match incoming {
                Some(incoming) => take(node, admission, incoming, &base, &handshakes),
                None => return vital::lost("a worker's endpoint for HTTP/3", "it has ended"),
            },
        }
    }
    // Whoever comes now is refused; the last words of those that are there still go out.
    endpoint.set_server_config(None);
    let (_, place) = connections::register();
    tokio::spawn(async move {
        endpoint.wait_idle().await;
        drop(place);
    });
}

fn server_config(crypto: Arc<QuicServerConfig>, limits: &Limits) -> ServerConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(limits.http2_streams))
        .max_concurrent_uni_streams(VarInt::from_u32(OTHER_STREAMS))
        .max_idle_timeout(IdleTimeout::try_from(GONE).ok())
        .keep_alive_interval(Some(PING))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW))
        .send_window(SEND_BUFFER)
        .datagram_receive_buffer_size(None);
    let mut config = ServerConfig::with_crypto(crypto);
    config
        .transport_config(Arc::new(transport))
        // The kernel chooses a worker by the caller's address: from another one it would reach another worker.
        .migration(false)
        .max_incoming(WAITING)
        .incoming_buffer_size(WAITING_BYTES / 64)
        .incoming_buffer_size_total(WAITING_BYTES);
    config
}

/// Lets a connection in, or sends it away.
fn take(
    node: &Arc<Node>,
    admission: &Arc<Admission>,
    incoming: Incoming,
    base: &ServerConfig,
    handshakes: &Arc<AtomicUsize>,
) {
    if handshakes.load(Relaxed) >= UNPROVEN && !incoming.remote_address_validated() {
        // One that cannot be asked any more has been asked.
        let _ = incoming.retry();
        return;
    }
    if admission.open() >= node.limits.connections {
        node.counters.connections_refused_limit.add_one();
        return Incoming::refuse(incoming);
    }
    let peer = incoming.remote_address();
    let Some(admitted) = admission.admit(peer.ip(), node) else { return Incoming::refuse(incoming) };
    let mut config = base.clone();
    if let Some(newest) = node.tls.as_ref().and_then(|tls| tls.quic()) {
        config.crypto = newest;
    }
    match incoming.accept_with(Arc::new(config)) {
        Ok(connecting) => {
            let (node, open) = (Arc::clone(node), Handshake::begin(handshakes));
            tokio::spawn(connection(node, connecting, peer, admitted, open));
        }
        Err(error) => {
            node.counters.tls_failed.add_one();
            tracing::debug!(peer = %peer.ip(), %error, "a connection over QUIC could not begin");
        }
    }
}

/// A handshake under way.
struct Handshake(Arc<AtomicUsize>);

impl Handshake {
    fn begin(all: &Arc<AtomicUsize>) -> Self {
        all.fetch_add(1, Relaxed);
        Self(Arc::clone(all))
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// One connection from its first packet to its last.
async fn connection(
    node: Arc<Node>,
    connecting: Connecting,
    peer: SocketAddr,
    admitted: Admitted,
    handshake: Handshake,
) {
    let mut counted = Counted::accepted(&node.counters, Way::Quic);
    let (watch, place) = connections::register();
    let mut connecting = pin!(connecting);
    let opened = std::future::poll_fn(|context| match watch.poll(context) {
        Ending::Close => Poll::Ready(None),
        _ => connecting.as_mut().poll(context).map(Some),
    })
    .await;
    drop(handshake);
    match opened {
        Some(Ok(connection)) => {
            node.counters.tls_established.add_one();
            counted.speaks(Spoken::Http3);
            let certificate = node.tls.as_deref().map_or(Ok(None), |tls| Termination::client_of(tls, &connection));
            if let Ok(certificate) = certificate {
                if let Some(certificate) = &certificate {
                    certificate.watch(&watch);
                }
                let sender = Sender { tls: true, certificate, ..Sender::at(peer, node.trusts(peer.ip())) };
                carry(&node, &connection, &sender, &watch).await;
            }
            connection.close(NO_ERROR, b"");
        }
        Some(Err(error)) => {
            node.counters.tls_failed.add_one();
            tracing::debug!(peer = %peer.ip(), %error, "a handshake over QUIC failed");
        }
        None => node.counters.tls_failed.add_one(),
    }
    drop((place, admitted));
}

/// Takes calls from a connection and answers them until it ends.
async fn carry(node: &Arc<Node>, connection: &quinn::Connection, sender: &Sender, watch: &Arc<ConnectionState>) {
    watch.speak_http2(clock::tick());
    let limit = node.limits.header_block as u64;
    let guarded = Guarded::new(h3_quinn::Connection::new(connection.clone()), limit, connection.clone());
    let mut builder = h3::server::builder();
    let mut building = pin!(builder.max_field_section_size(limit).send_grease(false).build(guarded));
    // A caller need not take even the settings.
    let built = std::future::poll_fn(|context| match watch.poll(context) {
        Ending::Close => Poll::Ready(None),
        _ => building.as_mut().poll(context).map(Some),
    })
    .await;
    let mut calls = match built {
        Some(Ok(calls)) => calls,
        Some(Err(_)) => return node.counters.protocol_malformed.add_one(),
        None => return node.counters.protocol_timed_out.add_one(),
    };
    let mut streams = FuturesUnordered::new();
    let most = node.limits.http2_streams as usize;
    let (mut draining, mut closed) = (false, false);
    let mut last_call = pin!(tokio::time::sleep(Duration::ZERO));
    while !(closed && streams.is_empty()) {
        tokio::select! {
            ending = ending(watch, draining) => {
                if ending == Ending::Close {
                    node.counters.protocol_timed_out.add_one();
                    return;
                }
                draining = true;
                // What is on its way here is still taken, as long as it takes until the caller knows (RFC 9114 section 5.2).
                if calls.shutdown(most).await.is_err() {
                    return;
                }
                last_call.as_mut().reset(tokio::time::Instant::now() + (connection.rtt() * 3).max(LEAST_GRACE));
            }
            () = &mut last_call, if draining && !closed => {
                closed = true;
                if calls.shutdown(0).await.is_err() {
                    return;
                }
            }
            Some(()) = streams.next() => {}
            accepted = calls.accept(), if streams.len() < most => match accepted {
                Ok(Some(resolver)) => {
                    let (node, watch) = (Arc::clone(node), Arc::clone(watch));
                    streams.push(stream::serve(node, sender.clone(), watch, connection.clone(), resolver));
                }
                Ok(None) => break,
                Err(error) => {
                    if !error.is_h3_no_error() && connection.close_reason().is_some_and(|why| is_fault(&why)) {
                        node.counters.protocol_malformed.add_one();
                    }
                    return;
                }
            },
        }
    }
    while streams.next().await.is_some() {}
    // A caller that knows that nothing more comes closes by itself, and one that has read everything need not be waited
    // for. Calls that were under way meanwhile are told that nobody has looked at them.
    let rejecting = async {
        for _ in 0..most {
            if calls.accept().await.is_err() {
                break;
            }
        }
    };
    let gone = async { tokio::join!(rejecting, connection.closed()) };
    let _ = tokio::time::timeout(LAST_WORDS, gone).await;
}

/// Whether the caller has broken the protocol, and has not only gone.
fn is_fault(why: &quinn::ConnectionError) -> bool {
    matches!(why, quinn::ConnectionError::TransportError(_) | quinn::ConnectionError::LocallyClosed)
}

/// Waits until the connection is to end, or to begin to.
async fn ending(watch: &ConnectionState, draining: bool) -> Ending {
    std::future::poll_fn(|context| match watch.poll(context) {
        Ending::None => Poll::Pending,
        Ending::Drain if draining || watch.phase() == Phase::New => Poll::Pending,
        ending => Poll::Ready(ending),
    })
    .await
}
