//! One stream: a request is taken from it, and its answer written to it as fast as the caller takes it.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::Request;
use http_body::Body as _;
use portcullis_core::body::{Body, Outcome};
use portcullis_core::call::Response;
use portcullis_core::message::HasFields;
use portcullis_core::message::names::X_REQUEST_ID;
use portcullis_wire::h2_head::{finished, is_whole, never_again, strip};
use portcullis_wire::incoming::IdleBody;
use portcullis_wire::pause::Pause;
use portcullis_wire::revocation::Revocation;

use super::body::RequestBody;
use crate::connection::ConnectionState;
use crate::door::Sender;
use crate::exchange::{self, Answered, Terms};
use crate::grpc;
use crate::interim::Interim;
use crate::node::Node;

/// Bytes of one answer that wait for the caller to take them.
pub(super) const SEND_BUFFER: usize = 64 << 10;

/// Answers the request of one stream. When the caller resets it, everything about the call is dropped.
///
/// It is moved once, into memory of its own: whoever keeps many of them would move each several times.
pub(super) fn serve(
    node: Arc<Node>,
    sender: Sender,
    watch: Arc<ConnectionState>,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    let (head, stream) = request.into_parts();
    let idle = grpc::silence(&node.timeouts, &head);
    let interim = Arc::new(Interim::default());
    let body = if stream.is_end_stream() {
        Body::empty()
    } else {
        // Many streams share a line that may be slow: how fast each of them comes says nothing.
        IdleBody::wrap(RequestBody::new(stream, head.fields(), &interim, &watch), idle, 0)
    };
    let request = Request::from_parts(head, body);
    // Not an `async fn`, which would hold each of these twice.
    Box::pin(async move {
        if is_reset(&mut respond).await {
            return;
        }
        let answer = {
            let terms = Terms { hints: Some(interim.clone()), ..Terms::default() };
            let answering = pin!(exchange::answer(&node, sender, &watch, request, terms));
            until_reset(&mut respond, &interim, answering).await
        };
        if let Some((answer, revocation)) = answer {
            write(&node, respond, answer, revocation.as_deref(), idle).await;
        }
    })
}

/// Whether the caller has reset the stream already. What was taken back at once costs nobody anything.
pub(super) async fn is_reset(respond: &mut SendResponse<Bytes>) -> bool {
    std::future::poll_fn(|context| Poll::Ready(respond.poll_reset(context).is_ready())).await
}

/// What is answered, unless the caller resets the stream before. Meanwhile it is told what is to be told at once.
pub(super) async fn until_reset(
    respond: &mut SendResponse<Bytes>,
    interim: &Interim,
    mut answering: Pin<&mut impl Future<Output = Answered>>,
) -> Option<Answered> {
    std::future::poll_fn(|context| {
        let answered = answering.as_mut().poll(context);
        while let Poll::Ready(said) = interim.poll(context) {
            // A stream that takes none any more has been reset, or has failed.
            let _ = respond.send_informational(said);
        }
        // Whoever has an answer is told by the stream that nobody takes it.
        if answered.is_pending() && respond.poll_reset(context).is_ready() {
            return Poll::Ready(None);
        }
        answered.map(Some)
    })
    .await
}

/// Writes an answer, of which the caller takes something at least this often, and which is not revoked meanwhile; a short one
/// goes out in one piece.
pub(super) async fn write(
    node: &Node,
    mut respond: SendResponse<Bytes>,
    answer: Response,
    revocation: Option<&Revocation>,
    idle: Duration,
) {
    let (head, body) = answer.into_parts();
    let is_whole = is_whole(&head, &body);
    let mut head = finished(node.clock.as_ref(), head, (!is_whole).then(|| body.size_hint().exact()).flatten());
    never_again(head.fields_mut(), &X_REQUEST_ID);
    match respond.send_response(head, is_whole) {
        Ok(stream) if !is_whole => write_body(stream, body, revocation, idle).await,
        Ok(_) => {}
        Err(error) => {
            tracing::debug!(%error, "an answer could not be written");
            respond.send_reset(Reason::INTERNAL_ERROR);
            body.abandon(Outcome::Dropped, 0);
        }
    }
}

/// What ends the writing of a body before its end.
enum Stop {
    /// The caller has reset the stream, or is gone.
    Gone,
    /// It has not taken anything for too long, or takes too little after it was sent away.
    Stalled,
}

async fn write_body(mut stream: SendStream<Bytes>, mut body: Body, revocation: Option<&Revocation>, idle: Duration) {
    let mut pause = Pause::new(idle);
    loop {
        let frame = std::future::poll_fn(|context| match Pin::new(&mut body).poll_frame(context) {
            Poll::Ready(frame) => Poll::Ready(Some(frame)),
            Poll::Pending => stream.poll_reset(context).map(|_| None),
        });
        let ended = match frame.await {
            // The caller has gone; what it has not taken is dropped.
            None => return,
            Some(None) => stream.send_data(Bytes::new(), true),
            Some(Some(Err(_))) => return stream.send_reset(Reason::INTERNAL_ERROR),
            Some(Some(Ok(frame))) => match frame.into_data() {
                Ok(mut data) => {
                    let is_last = body.is_end_stream();
                    pause.stir();
                    if let Err((stop, untaken)) = send(&mut stream, &mut data, is_last, revocation, &mut pause).await {
                        return give_up(&stop, stream, body, untaken);
                    }
                    if !is_last {
                        continue;
                    }
                    Ok(())
                }
                Err(frame) => {
                    let mut trailers = frame.into_trailers().unwrap_or_default();
                    strip(trailers.fields_mut());
                    stream.send_trailers(trailers)
                }
            },
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "an answer could not be ended");
        }
        return;
    }
}

/// Hands over one piece of a body, no more of it at a time than may wait for the caller. What stops it is told with how
/// much was not taken.
async fn send(
    stream: &mut SendStream<Bytes>,
    data: &mut Bytes,
    is_last: bool,
    revocation: Option<&Revocation>,
    pause: &mut Pause,
) -> Result<(), (Stop, usize)> {
    if data.is_empty() && is_last {
        return stream.send_data(Bytes::new(), true).map_err(|_| (Stop::Gone, 0));
    }
    while !data.is_empty() {
        stream.reserve_capacity(data.len().min(SEND_BUFFER));
        let mut room = stream.capacity();
        if room == 0 {
            let awaited = std::future::poll_fn(|context| match stream.poll_capacity(context) {
                Poll::Ready(Some(Ok(room))) => Poll::Ready(Ok(room)),
                Poll::Ready(_) => Poll::Ready(Err(Stop::Gone)),
                // Its body, which would break off, is not looked at before the caller has taken this.
                Poll::Pending if revocation.is_some_and(|revocation| revocation.poll_overdue(context).is_ready()) => {
                    Poll::Ready(Err(Stop::Stalled))
                }
                Poll::Pending => pause.poll(context).map(|_| Err(Stop::Stalled)),
            });
            room = awaited.await.map_err(|stop| (stop, data.len()))?;
            pause.stir();
        }
        let untaken = data.len();
        let piece = data.split_to(room.min(untaken));
        let ends = is_last && data.is_empty();
        stream.send_data(piece, ends).map_err(|_| (Stop::Gone, untaken))?;
    }
    Ok(())
}

/// Lets go of an answer that cannot go on; `untaken` bytes of it were read and not handed over.
fn give_up(stop: &Stop, mut stream: SendStream<Bytes>, body: Body, untaken: usize) {
    match stop {
        Stop::Gone => body.abandon(Outcome::Dropped, untaken as u64),
        Stop::Stalled => {
            body.abandon(Outcome::Stalled, untaken as u64);
            stream.send_reset(Reason::CANCEL);
        }
    }
}
