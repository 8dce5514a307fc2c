//! HTTP/2 on a caller's connection (RFC 9113): many calls at once, each of which goes the way of every call.
//!
//! All of them are driven by the connection's own task, and end with it.

mod body;
mod keep_alive;
mod stream;
mod tunnel;

use portcullis_core::message::HasFields;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use h2::Reason;
use h2::server::{Builder, Connection};
use http::Method;
use portcullis_wire::clock;

use crate::connection::{ConnectionState, Ending};
use crate::door::Sender;
use crate::expansion;
use crate::limits::Limits;
use crate::node::Node;
use crate::watched::Watched;
use keep_alive::KeepAlive;

/// Bytes a caller may send of one body, and of all of a connection, before they are taken.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Streams that are reset before anybody has looked at them, and those that had to be because of what they said. More
/// end the connection: that is an attack (CVE-2023-44487, CVE-2025-8671).
const RESET_UNSEEN: usize = 20;
const RESET_BY_FAULT: usize = 64;
/// Bytes of fields a caller may refer to later. None: a few bytes could become a whole head each time (see `expansion`).
const TABLE: u32 = 0;
/// Requests of a connection whose fields are too much larger than what they came in that are sent back. More end it.
const SENT_BACK: usize = 64;

/// Serves a connection on which HTTP/2 is spoken.
pub async fn serve(node: Arc<Node>, stream: Watched, sender: Sender, watch: Arc<ConnectionState>) {
    watch.speak_http2(clock::tick());
    let mut handshake = pin!(builder(&node.limits).handshake(stream));
    let opened = std::future::poll_fn(|context| match watch.poll(context) {
        Ending::Close => Poll::Ready(None),
        _ => handshake.as_mut().poll(context).map(Some),
    })
    .await;
    let ended = match opened {
        Some(Ok(connection)) => carry(&node, connection, &sender, &watch).await,
        Some(Err(error)) => Some(Err(error)),
        None => None,
    };
    match ended {
        Some(Err(error)) if !error.is_io() => node.counters.protocol_malformed.add_one(),
        None => node.counters.protocol_timed_out.add_one(),
        _ => {}
    }
}

fn builder(limits: &Limits) -> Builder {
    let mut builder = Builder::new();
    builder
        .header_table_size(TABLE)
        .max_concurrent_streams(limits.http2_streams)
        .max_header_list_size(u32::try_from(limits.header_block).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(RESET_UNSEEN)
        .max_local_error_reset_streams(Some(RESET_BY_FAULT))
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(stream::SEND_BUFFER)
        .enable_connect_protocol();
    builder
}

/// Takes calls from a connection and answers them until it ends. None if it was ended because it took too long.
async fn carry(
    node: &Arc<Node>,
    mut connection: Connection<Watched, Bytes>,
    sender: &Sender,
    watch: &Arc<ConnectionState>,
) -> Option<Result<(), h2::Error>> {
    let mut keep_alive = connection.ping_pong().map(KeepAlive::new);
    let mut streams = FuturesUnordered::new();
    let most = node.limits.http2_streams as usize;
    let (mut draining, mut sent_back) = (false, 0);
    std::future::poll_fn(|context| {
        match watch.poll(context) {
            // Polled once more, so that the caller learns which calls were not looked at: it may make those again.
            Ending::Close => {
                connection.abrupt_shutdown(Reason::NO_ERROR);
                let _ = connection.poll_accept(context);
                return Poll::Ready(None);
            }
            Ending::Drain if !draining => {
                draining = true;
                connection.graceful_shutdown();
            }
            _ => {}
        }
        if keep_alive.as_mut().is_some_and(|keep_alive| keep_alive.poll(context, watch.heard()).is_ready()) {
            return Poll::Ready(None);
        }
        loop {
            // Those that the caller has reset are let go of here, before there is room for others.
            if streams.len() >= most {
                while let Poll::Ready(Some(())) = streams.poll_next_unpin(context) {}
            }
            if streams.len() >= most {
                // What is under way goes on, and nothing more is taken.
                return connection.poll_closed(context).map(Some);
            }
            match connection.poll_accept(context) {
                Poll::Ready(Some(Ok((request, mut respond)))) => {
                    let size = expansion::of_request(request.method(), request.uri(), request.fields());
                    if !watch.expansion().admits(size) {
                        // Whoever means well makes the call again on another connection (RFC 9113 section 8.7).
                        respond.send_reset(Reason::REFUSED_STREAM);
                        watch.drain();
                        sent_back += 1;
                        if sent_back >= SENT_BACK {
                            connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                            let _ = connection.poll_accept(context);
                            node.counters.protocol_malformed.add_one();
                            return Poll::Ready(Some(Ok(())));
                        }
                        continue;
                    }
                    let (node, watch) = (Arc::clone(node), Arc::clone(watch));
                    streams.push(match *request.method() {
                        Method::CONNECT => Box::pin(tunnel::connect(node, sender.clone(), watch, request, respond)),
                        _ => stream::serve(node, sender.clone(), watch, request, respond),
                    });
                }
                Poll::Ready(ended) => return Poll::Ready(Some(ended.map_or(Ok(()), |ended| ended.map(drop)))),
                Poll::Pending => {
                    while let Poll::Ready(Some(())) = streams.poll_next_unpin(context) {}
                    return Poll::Pending;
                }
            }
        }
    })
    .await
}
