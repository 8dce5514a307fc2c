//! HTTP/1.1 on a caller's connection (server side): keep-alive, one request after the other, and idle
//! between them without buffers.
//!
//! Most connections are idle most of the time. One on which nothing has come for a moment gives back what reading and
//! writing needs, its buffers above all, and takes it up again with the next byte.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use futures_util::FutureExt;
use http::{Method, Request, StatusCode, Version};
use hyper::body::Incoming;
use hyper::ext::ReasonPhrase;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use portcullis_core::body::Body;
use portcullis_core::call::{Hints, Response, Upgrade, fomalhaut};
use portcullis_core::message::names::{DATE, UPGRADE};
use portcullis_core::message::{Fields, HasFields};
use portcullis_wire::date;
use portcullis_wire::fields::lists_token;
use portcullis_wire::incoming::IdleBody;
use tokio::io::AsyncWrite;

use crate::connection::{ConnectionState, Ending, Phase};
use crate::door::{self, Sender};
use crate::exchange::{Terms, answer};
use crate::node::Node;
use crate::tunnel::{self, Tunnel, UpgradeRequest};
use crate::watched::Watched;

/// Serves a connection on which HTTP/1.1 is spoken.
pub async fn serve(node: Arc<Node>, mut stream: Watched, sender: Sender, watch: Arc<ConnectionState>) {
    loop {
        let (left, mut ended) = talk(&node, stream, &sender, &watch).await;
        stream = left;
        if let Ended::Resting = ended {
            ended = match stream.sleep().await {
                Ok(true) => continue,
                Ok(false) => Ended::Orderly,
                Err(error) if error.kind() == io::ErrorKind::TimedOut => Ended::TimedOut,
                Err(_) => Ended::Broken,
            };
        }
        match ended {
            Ended::Resting | Ended::Orderly => return close(stream, &watch).await,
            Ended::Switched(tunnel) => return Box::pin(tunnel.run(stream, watch)).await,
            Ended::Malformed => {
                node.counters.protocol_malformed.add_one();
                return close(stream, &watch).await;
            }
            Ended::TimedOut => return node.counters.protocol_timed_out.add_one(),
            Ended::Broken => return,
        }
    }
}

/// Why nothing more is read by what has read so far.
enum Ended {
    /// Nothing has come for a while; it may go on.
    Resting,
    /// Both sides have said all.
    Orderly,
    /// It goes on in another protocol.
    Switched(Box<Tunnel>),
    /// What came was not HTTP, and has been told so.
    Malformed,
    /// The caller took too long.
    TimedOut,
    /// It has failed.
    Broken,
}

/// Answers requests until there are no more, or none come for a while.
async fn talk(node: &Arc<Node>, stream: Watched, sender: &Sender, watch: &Arc<ConnectionState>) -> (Watched, Ended) {
    let granted = Granted::default();
    let service = service_fn(|request| call(node, sender.clone(), watch, &granted, request).map(Ok::<_, Infallible>));
    let mut connection = Builder::new()
        .keep_alive(true)
        .half_close(false)
        .title_case_headers(true)
        .max_headers(node.limits.header_count)
        // The buffer may be read beyond its size; what is in it may not be longer than it.
        .max_header_size(node.limits.header_block)
        .max_buf_size(node.limits.header_block.max(8_192))
        // Written with every answer of a call, by the clock of the gateway.
        .auto_date_header(false)
        .serve_connection(TokioIo::new(stream.lend()), service);
    let (mut leaving, mut resting) = (false, false);
    let ended = std::future::poll_fn(|context| {
        match watch.poll(context) {
            // Polled once more, so that the connection can write its last words.
            Ending::Close => {
                let _ = Pin::new(&mut connection).poll(context);
                return Poll::Ready(None);
            }
            // A connection that was just let in is not sent away unheard.
            Ending::Drain if !leaving && watch.phase() != Phase::New => {
                leaving = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            // Between two calls this ends what reads, not what is read from.
            Ending::Rest if !leaving => {
                (leaving, resting) = (true, true);
                Pin::new(&mut connection).graceful_shutdown();
            }
            _ => {}
        }
        Pin::new(&mut connection).poll(context).map(Some)
    })
    .await;
    let parts = connection.into_parts();
    let mut stream = parts.io.into_inner();
    stream.put_back(parts.read_buf);
    let tunnel = granted.lock().unwrap_or_else(PoisonError::into_inner).take();
    let ended = match ended {
        Some(Ok(())) => match tunnel {
            Some(tunnel) => Ended::Switched(tunnel),
            None if resting => Ended::Resting,
            None => Ended::Orderly,
        },
        Some(Err(error)) if error.is_parse() => Ended::Malformed,
        Some(Err(_)) => Ended::Broken,
        None => Ended::TimedOut,
    };
    (stream, ended)
}

/// Ends a connection on which everything has been written.
async fn close(mut stream: Watched, watch: &ConnectionState) {
    let _ = std::future::poll_fn(|context| match watch.poll(context) {
        Ending::Close => Poll::Ready(Ok(())),
        _ => Pin::new(&mut stream).poll_shutdown(context),
    })
    .await;
}

/// What a connection becomes when its last answer has granted a switch.
type Granted = Mutex<Option<Box<Tunnel>>>;

/// Answers one request of a connection in HTTP/1.1. If the answer grants a switch, the connection becomes a tunnel.
fn call(
    node: &Arc<Node>,
    sender: Sender,
    watch: &Arc<ConnectionState>,
    granted: &Granted,
    request: Request<Incoming>,
) -> impl Future<Output = Response> {
    // A CONNECT may be followed by anything.
    let closes =
        request.method() == Method::CONNECT || door::is_framed_twice(request.fields()) || watch.was_framed_twice();
    let wished = tunnel::requested(&request).map(|protocols| {
        let (wish, from_caller) = UpgradeRequest::new();
        (wish, Upgrade { protocols, from_caller })
    });
    let (wish, upgrade) = wished.unzip();
    let request = request.map(|incoming| IdleBody::wrap(incoming, node.timeouts.body_idle, node.limits.body_rate));
    // In HTTP/1.0 nothing may come before the answer, and proxies in front that speak HTTP/1.1 (nginx before 1.29) take a
    // hint for the answer.
    let hints = (request.version() == Version::HTTP_11 && !sender.is_proxy).then(|| {
        watch.tell_through();
        Arc::clone(watch) as Arc<dyn Hints>
    });
    let answering = answer(node, sender, watch, request, Terms { upgrade, hints, closes });
    // Not one future around the other, which would be there twice.
    let node = Arc::clone(node);
    answering.then(async move |(mut response, _)| {
        response.fields_mut().set_if_absent(DATE, || date::now(node.clock.as_ref()));
        name_status(&mut response);
        // Whatever the service says from now on comes too late.
        watch.has_told().await;
        match wish {
            Some(wish) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                let (head, to_caller) = response.into_parts();
                let tunnel = wish.granted(&head.extensions, to_caller, says_websocket(head.fields()));
                *granted.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(tunnel));
                Response::from_parts(head, Body::empty())
            }
            _ => response,
        }
    })
}

/// Gives the statuses of fomalhaut's dialects the reason that its own gateway gives them. A service's stays.
fn name_status(response: &mut Response) {
    if matches!(response.status().as_u16(), fomalhaut::FO_STATUS | fomalhaut::API_STATUS)
        && response.extensions().get::<ReasonPhrase>().is_none()
    {
        response.extensions_mut().insert(ReasonPhrase::from_static(fomalhaut::REASON.as_bytes()));
    }
}

fn says_websocket(headers: Fields<'_>) -> bool {
    headers.get(UPGRADE).is_some_and(|protocol| lists_token(protocol, "websocket"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunnel_that_nobody_takes_ends_with_its_connection() {
        let watch = ConnectionState::new(1);
        let call = watch.begin(|| 1);
        let to_caller = Body::full("until then").on_end(move |_| drop(call));
        let granted =
            Granted::new(Some(Box::new(UpgradeRequest::new().0.granted(&http::Extensions::new(), to_caller, true))));
        let left = Arc::downgrade(&watch);
        drop(watch);
        assert!(left.upgrade().is_some());
        drop(granted);
        assert!(left.upgrade().is_none(), "the call holds on to the watch, and nobody to the call");
    }
}
