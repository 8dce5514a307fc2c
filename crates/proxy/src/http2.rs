//! HTTP/2 on a caller's connection (RFC 9113): many calls at once, each of which goes the way of every call.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use http::header::{CONNECTION, HeaderName, HeaderValue, UPGRADE};
use http::{Method, Request, StatusCode, Version};
use hyper::body::Incoming;
use hyper::ext;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use portcullis_core::body::Body;
use portcullis_core::call::{Response, Upgrade};
use portcullis_core::refusal::Refusal;

use crate::connection::{Ending, Watch, Watched};
use crate::door::{self, Sender};
use crate::node::Node;
use crate::opening::Protocol;
use crate::serve::{self, Received};
use crate::socket::Socket;
use crate::tunnel::Wish;
use crate::worker;

/// What every connection in HTTP/2 begins with (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes a caller may send of one body, and of all of a connection, before they are taken.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Bytes of one answer that wait for the caller to take them.
const SEND_BUFFER: usize = 64 << 10;
/// Streams that are reset before anybody has looked at them, and those that had to be because of what they said. More
/// end the connection: that is an attack (CVE-2023-44487, CVE-2025-8671).
const RESET_UNSEEN: usize = 20;
const RESET_BY_FAULT: usize = 64;
/// How often a caller that says nothing is asked whether it is there, and how long it may take to say so.
const PING: Duration = Duration::from_secs(30);
const PONG: Duration = Duration::from_secs(20);

const SEC_WEBSOCKET_KEY: HeaderName = HeaderName::from_static("sec-websocket-key");
const SEC_WEBSOCKET_ACCEPT: HeaderName = HeaderName::from_static("sec-websocket-accept");

/// What a connection in clear begins with: HTTP/2, where the caller knows that it is spoken here, or HTTP/1. What has
/// been read is given back. None if the connection ends here.
pub async fn begins(socket: &mut Socket) -> Option<Protocol> {
    let mut read = BytesMut::from(socket.take_ahead());
    loop {
        let length = read.len().min(PREFACE.len());
        if read[..length] != PREFACE[..length] || length == PREFACE.len() {
            let begins = read[..length] == *PREFACE;
            socket.give_back(read.freeze());
            return Some(if begins { Protocol::Http2 } else { Protocol::Http1 });
        }
        socket.read_unseen(&mut read, PREFACE.len()).await.ok()?;
    }
}

/// Serves a connection on which HTTP/2 is spoken.
pub async fn serve(node: Arc<Node>, stream: Watched, sender: Sender, watch: Arc<Watch>) {
    watch.speak_http2(worker::tick());
    let service = service_fn(|request| {
        let (node, watch, sender) = (Arc::clone(&node), Arc::clone(&watch), sender.clone());
        async move { Ok::<_, Infallible>(serve::answer(&node, sender, &watch, request).await) }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(node.limits.http2_streams)
        .max_header_list_size(u32::try_from(node.limits.header_block).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(RESET_UNSEEN)
        .max_local_error_reset_streams(RESET_BY_FAULT)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG)
        .enable_connect_protocol();
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut draining = false;
    let ended = std::future::poll_fn(|context| {
        match watch.poll(context) {
            // Polled once more, so that the caller learns which calls were not looked at.
            Ending::Close => {
                connection.as_mut().graceful_shutdown();
                let _ = connection.as_mut().poll(context);
                return Poll::Ready(None);
            }
            Ending::Drain if !draining => {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
            _ => {}
        }
        connection.as_mut().poll(context).map(Some)
    })
    .await;
    match ended {
        Some(Err(error)) if is_fault(&error) => node.counters.protocol_malformed.add_one(),
        None => node.counters.protocol_timed_out.add_one(),
        _ => {}
    }
}

/// Whether the caller has broken the protocol, and has not only gone.
fn is_fault(error: &hyper::Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.is::<std::io::Error>() {
            return false;
        }
        cause = error.source();
    }
    !error.is_closed()
}

/// A CONNECT: over HTTP/2 it may be a wish for a WebSocket on this stream (RFC 8441). To the service it is the wish
/// it knows, in HTTP/1.1. Any other is refused at the door.
pub async fn connect(node: &Arc<Node>, sender: Sender, watch: &Arc<Watch>, mut request: Request<Incoming>) -> Response {
    let under_way = watch.begin(worker::tick);
    let is_websocket =
        request.extensions().get::<ext::Protocol>().is_some_and(|protocol| protocol.as_str() == "websocket");
    let (wish, from_caller) = Wish::of(&mut request);
    let (mut head, _) = request.into_parts();
    let received = Received::through_tunnel();
    // In HTTP/1 a CONNECT may be followed by anything.
    let closes = head.version < Version::HTTP_2;
    if is_websocket {
        head.method = Method::GET;
        head.headers.insert(SEC_WEBSOCKET_KEY, fresh_key());
    }
    let over_tls = sender.tls;
    let (mut call, refusal) = door::enter(node, sender, head, Body::empty());
    if is_websocket {
        let protocols = HeaderValue::from_static("websocket");
        call.upgrade = Some(Box::new(Upgrade { protocols, from_caller: received.count(from_caller) }));
    }
    let pipeline = serve::pipeline(node, &mut call, refusal, worker::find);
    let mut answer = pipeline.run(&mut call).await;
    if is_websocket && answer.status().is_success() {
        // Over HTTP/2 a success would tell the caller that there is a WebSocket (RFC 8441 section 5).
        let private = "answered a wish for a WebSocket without one".into();
        answer = serve::refusing(Refusal::UpstreamBroken { private }).run(&mut call).await;
    }
    serve::tell_of_tls(node, over_tls, &mut answer);
    let answer = serve::leave(call, answer, received, under_way, closes, false);
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return answer;
    }
    // Over HTTP/2 a switch that was granted is a success (RFC 8441 section 5).
    let (mut head, to_caller) = answer.into_parts();
    head.status = StatusCode::OK;
    for name in [CONNECTION, UPGRADE, SEC_WEBSOCKET_ACCEPT] {
        head.headers.remove(name);
    }
    let (watch, place) = worker::watch();
    tokio::spawn(async move {
        wish.granted(to_caller, true).run(watch).await;
        drop(place);
    });
    Response::from_parts(head, Body::empty())
}

/// A key as every opening handshake in HTTP/1.1 carries one (RFC 6455 section 4.1). It keeps no secret.
fn fresh_key() -> HeaderValue {
    let key = STANDARD.encode(door::fresh_bytes());
    HeaderValue::try_from(key).unwrap_or(HeaderValue::from_static("AAAAAAAAAAAAAAAAAAAAAA=="))
}

/// The body of an answer, of which it is noted when a piece was taken and none was asked for since: a caller that opens
/// no window does not hold it for ever.
pub fn handed(body: Body, at: Arc<AtomicU32>) -> Body {
    body.map_polls(move |_, polled| {
        at.store(if matches!(polled, Poll::Ready(Some(Ok(_)))) { worker::tick() } else { 0 }, Relaxed);
        polled
    })
}
