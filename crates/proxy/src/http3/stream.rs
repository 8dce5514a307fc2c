//! One stream of HTTP/3: a request is taken from it, and its answer written to it.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use h3::error::{Code, StreamError};
use h3::quic::{BidiStream, RecvStream, SendStream};
use h3::server::{RequestResolver, RequestStream};
use http::{Method, Request, Version};
use http_body::Body as _;
use portcullis_core::body::Outcome;
use portcullis_core::call::Response;
use portcullis_core::message::HasFields;
use portcullis_wire::h2_head::{finished, is_whole, strip};
use portcullis_wire::incoming::IdleBody;
use portcullis_wire::pause::Pause;
use portcullis_wire::revocation::Revocation;

use super::body::FromStream;
use crate::connection::ConnectionState;
use crate::door::Sender;
use crate::exchange::{self, Terms};
use crate::expansion;
use crate::grpc;
use crate::interim::Interim;
use crate::node::Node;

/// Bytes of an answer that are handed over at once.
const PIECE: usize = 16 << 10;

/// Answers the request of one stream.
pub(super) async fn serve<C>(
    node: Arc<Node>,
    sender: Sender,
    watch: Arc<ConnectionState>,
    connection: quinn::Connection,
    resolver: RequestResolver<C, Bytes>,
) where
    C: h3::quic::Connection<Bytes>,
    C::BidiStream: BidiStream<Bytes>,
    <C::BidiStream as BidiStream<Bytes>>::RecvStream: RecvStream + Send + Unpin + 'static,
{
    // What is no request has been told so, or has ended its connection.
    let head = tokio::time::timeout(node.timeouts.head, resolver.resolve_request()).await;
    let Ok(Ok((request, stream))) = head else { return };
    let (mut to_caller, from_caller) = stream.split();
    let (mut head, ()) = request.into_parts();
    watch.expansion().has_received(connection.stats().udp_rx.bytes);
    drop(connection);
    if !watch.expansion().admits(expansion::of_request(&head.method, &head.uri, head.fields())) {
        // Whoever means well makes the call again on another connection (RFC 9114 section 4.1.1).
        watch.drain();
        return to_caller.stop_stream(Code::H3_REQUEST_REJECTED);
    }
    head.version = Version::HTTP_3;
    let interim = Arc::new(Interim::default());
    let mut body = FromStream::new(from_caller, head.fields(), &interim, &watch);
    let seldom = matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS | Method::DELETE | Method::CONNECT);
    if seldom && !body.is_announced() {
        let begins = tokio::time::timeout(node.timeouts.body_idle, std::future::poll_fn(|it| body.poll_begin(it)));
        if !matches!(begins.await, Ok(Ok(()))) {
            return to_caller.stop_stream(Code::H3_REQUEST_INCOMPLETE);
        }
    }
    let idle = grpc::silence(&node.timeouts, &head);
    let request = Request::from_parts(head, IdleBody::wrap(body, idle, 0));
    let terms = Terms { hints: Some(interim.clone()), ..Terms::default() };
    let mut answering = pin!(exchange::answer(&node, sender, &watch, request, terms));
    let mut pause = Pause::new(idle);
    let (answer, revocation) = loop {
        let told = tokio::select! {
            biased;
            answer = &mut answering => break answer,
            said = std::future::poll_fn(|context| interim.poll(context)) => {
                taken(to_caller.send_response(said), None, &mut pause).await
            }
        };
        if told.is_err() {
            return to_caller.stop_stream(Code::H3_REQUEST_CANCELLED);
        }
    };
    while let Some(said) = interim.take() {
        if let Err(outcome) = taken(to_caller.send_response(said), revocation.as_deref(), &mut pause).await {
            // A stream that takes none any more takes no answer either.
            answer.into_body().abandon(outcome, 0);
            return to_caller.stop_stream(Code::H3_REQUEST_CANCELLED);
        }
    }
    write(&node, to_caller, answer, revocation.as_deref(), pause).await;
}

/// Writes an answer, of which the caller takes something before every pause has become too long, and whose revocation is not cut
/// meanwhile.
async fn write<S: SendStream<Bytes>>(
    node: &Node,
    mut stream: RequestStream<S, Bytes>,
    answer: Response,
    revocation: Option<&Revocation>,
    mut pause: Pause,
) {
    let (head, mut body) = answer.into_parts();
    let is_whole = is_whole(&head, &body);
    let head = finished(node.clock.as_ref(), head, (!is_whole).then(|| body.size_hint().exact()).flatten());
    if let Err(outcome) = taken(stream.send_response(head), revocation, &mut pause).await {
        body.abandon(outcome, 0);
        return stream.stop_stream(Code::H3_REQUEST_CANCELLED);
    }
    if !is_whole {
        while let Some(frame) = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            let Ok(frame) = frame else { return stream.stop_stream(Code::H3_INTERNAL_ERROR) };
            match frame.into_data() {
                Ok(mut data) => {
                    if let Err(outcome) = send(&mut stream, &mut data, revocation, &mut pause).await {
                        body.abandon(outcome, data.len() as u64);
                        return stream.stop_stream(Code::H3_REQUEST_CANCELLED);
                    }
                }
                Err(frame) => {
                    let mut trailers = frame.into_trailers().unwrap_or_default();
                    strip(trailers.fields_mut());
                    if let Err(outcome) = taken(stream.send_trailers(trailers), revocation, &mut pause).await {
                        body.abandon(outcome, 0);
                        return stream.stop_stream(Code::H3_REQUEST_CANCELLED);
                    }
                }
            }
            if body.is_end_stream() {
                break;
            }
        }
    }
    // That the caller has gone when the answer is complete is its own affair.
    if taken(stream.finish(), revocation, &mut pause).await.is_err() {
        tracing::debug!("an answer could not be ended");
    }
    drop(body);
}

/// Hands over one piece of a body, as fast as the caller takes it. `data` keeps what was not taken.
async fn send<S: SendStream<Bytes>>(
    stream: &mut RequestStream<S, Bytes>,
    data: &mut Bytes,
    revocation: Option<&Revocation>,
    pause: &mut Pause,
) -> Result<(), Outcome> {
    while !data.is_empty() {
        let piece = data.slice(..data.len().min(PIECE));
        let length = piece.len();
        taken(stream.send_data(piece), revocation, pause).await?;
        *data = data.slice(length..);
    }
    Ok(())
}

/// Waits until something has been handed over, for as long as the caller may take nothing.
async fn taken(
    handing: impl Future<Output = Result<(), StreamError>>,
    revocation: Option<&Revocation>,
    pause: &mut Pause,
) -> Result<(), Outcome> {
    let mut handing = pin!(handing);
    pause.stir();
    std::future::poll_fn(|context| match handing.as_mut().poll(context) {
        Poll::Ready(handed) => Poll::Ready(handed.map_err(|_| Outcome::Dropped)),
        // The body, which would break off, is not looked at before the caller has taken this.
        Poll::Pending if revocation.is_some_and(|revocation| revocation.poll_overdue(context).is_ready()) => {
            Poll::Ready(Err(Outcome::Stalled))
        }
        Poll::Pending => pause.poll(context).map(|_| Err(Outcome::Stalled)),
    })
    .await?;
    pause.stir();
    Ok(())
}
