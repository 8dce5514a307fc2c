//! One call on a stream of a connection in HTTP/2.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};

use h2::client::ResponseFuture;
use h2::{Reason, RecvStream};
use http::request::Parts;
use http::uri::{self, Authority, Uri};
use http::{Method, Request, StatusCode, Version};
use http_body::Body as _;
use portcullis_core::body::{Body, BodyError};
use portcullis_core::call::{Hints, Response};
use portcullis_core::message::HasFields;
use portcullis_core::message::names::{CONNECTION, CONTENT_LENGTH, HOST, TRACEPARENT, TRANSFER_ENCODING, X_REQUEST_ID};
use portcullis_core::model::Scheme;
use portcullis_wire::content_length::Remaining;
use portcullis_wire::h2_body::FromStream;
use portcullis_wire::h2_head::never_again;
use portcullis_wire::incoming::IdleBody;

use super::answer::{AnswerBody, Rest};
use super::body::{Halt, Progress, Sending};
use crate::attempt::{Class, Failed, Sent, in_time, is_idempotent, timed_out};
use crate::backend::Backend;
use crate::bound;
use crate::pool::StreamSlot;
use crate::pool_key::Spoken;
use crate::settings::Settings;
use crate::traffic::timeouts::Which;

/// Sends a request on a stream of its own; the place on the connection is given back when the answer has ended.
pub async fn send(
    settings: &Settings,
    place: StreamSlot,
    target: &Backend,
    request: Request<Body>,
    hints: Option<&Arc<dyn Hints>>,
) -> Result<Response, Failed> {
    let (parts, body) = request.into_parts();
    // In case that the target has not looked at it.
    let spare = parts.clone();
    let is_empty = body.is_empty();
    let is_repeatable = place.reused && is_empty && is_idempotent(&parts.method);
    let is_head = parts.method == Method::HEAD;
    let head = head(parts, &body, target.url.scheme())?;
    if bound::by_request(head.fields()) {
        place.retire();
    }
    let noted = Arc::clone(&place.shared.noted);
    let (written, read) = (noted.written.load(Relaxed), noted.read.load(Relaxed));
    // Nothing comes between these two, so that what the second says is about the request alone.
    let mut sender = place.shared.sender.clone();
    if let Err(error) = poll_fn(|context| sender.poll_ready(context)).await {
        return Err(unsent(&error, Class::Broken, Sent::Nothing, Request::from_parts(spare, body)));
    }
    let opened = sender.send_request(head, is_empty);
    let (answer, stream) = opened.map_err(|error| Failed::broken(error.to_string()))?;
    let progress = Progress::new(is_empty);
    let mut exchange = Exchange { answer, hints, sending: (!is_empty).then(|| Sending::new(stream, body)) };
    let answered = pin!(poll_fn(|context| exchange.poll(context, &progress)));
    let response = match in_time(settings, &progress.written_at, &progress.is_done, answered).await {
        None => {
            if noted.read.load(Relaxed) == read {
                // Nothing at all has come meanwhile: who knows whether anybody is there.
                place.retire();
            }
            return Err(timed_out(settings));
        }
        Some(Err(Stopped::Body(error))) => {
            return Err(Failed::new(Class::Caller(error), Sent::Maybe, "the request's body"));
        }
        Some(Err(Stopped::Stream(error))) => {
            let again = match exchange.sending {
                Some(sending) => sending.again(),
                None => is_empty.then(Body::empty),
            };
            let has_left = noted.written.load(Relaxed) != written;
            return Err(match (reached(&error, has_left, target), again) {
                (Reached::Nobody(class), Some(body)) => {
                    unsent(&error, class, Sent::NotProcessed, Request::from_parts(spare, body))
                }
                (Reached::Unknown, _) => {
                    let repeat = is_repeatable.then(|| Box::new(Request::from_parts(spare, Body::empty())));
                    Failed { request: repeat, ..Failed::new(Class::NoAnswer, Sent::Maybe, error.to_string()) }
                }
                _ => Failed::broken(error.to_string()),
            });
        }
        Some(Ok(response)) => response,
    };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Failed::broken("switched protocols, which there is no such thing as in HTTP/2"));
    }
    // Logging in a connection is not meant for HTTP/2. A target that does it all the same lets in the calls that are on it
    // already; at least no others come to it.
    if bound::by_answer(response.status(), response.fields()) {
        place.retire();
    }
    let left = Remaining::announced(response.fields());
    // One that announces a length all the same is not waited for: h2 takes its end for a body that is too short, and too
    // many of those end the connection.
    let is_bodiless = is_head
        || (matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) && !left.is_something());
    let rest = exchange.sending.filter(|_| !progress.is_done.load(Relaxed)).map(|sending| go_on(sending, progress));
    let idle = settings.idle_limit();
    Ok(response.map(|stream| {
        let stream = FromStream::new(stream, left, is_bodiless);
        IdleBody::of_answer(AnswerBody::new(stream, place, rest), idle.time, idle.told(Which::Idle))
    }))
}

/// An answer that is waited for, while the request's body is on its way.
struct Exchange<'a> {
    answer: ResponseFuture,
    /// What takes hints for the caller.
    hints: Option<&'a Arc<dyn Hints>>,
    sending: Option<Sending>,
}

/// Why none comes.
enum Stopped {
    Body(BodyError),
    Stream(h2::Error),
}

impl Exchange<'_> {
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        progress: &Progress,
    ) -> Poll<Result<http::Response<RecvStream>, Stopped>> {
        if let Some(hints) = self.hints {
            // What goes wrong is told by the answer.
            while let Poll::Ready(Some(Ok(early))) = self.answer.poll_informational(context) {
                if early.status() == StatusCode::EARLY_HINTS {
                    hints.hint(early.fields());
                }
            }
        }
        // First, so that nothing is taken out of the body of a request that was refused.
        if let Poll::Ready(answer) = Pin::new(&mut self.answer).poll(context) {
            return Poll::Ready(answer.map_err(Stopped::Stream));
        }
        match self.sending.as_mut().filter(|_| !progress.is_done.load(Relaxed)).map(|it| it.poll(context, progress)) {
            Some(Poll::Ready(Err(Halt::Body(error)))) => return Poll::Ready(Err(Stopped::Body(error))),
            // The target takes no more of it, and may answer nevertheless.
            Some(Poll::Ready(Err(Halt::Stream))) => self.sending = None,
            Some(Poll::Ready(Ok(())) | Poll::Pending) | None => {}
        }
        Poll::Pending
    }
}

fn go_on(mut sending: Sending, progress: Progress) -> Rest {
    let sending = tokio::spawn(async move {
        // What goes wrong ends the stream, and with it the answer.
        let _ = poll_fn(|context| sending.poll(context, &progress)).await;
    });
    Rest(sending.abort_handle())
}

/// The head as it stands in HTTP/2 (RFC 9113 section 8.3.1): the authority in place of `Host`, and nothing about the
/// connection.
fn head(mut parts: Parts, body: &Body, scheme: Scheme) -> Result<Request<()>, Failed> {
    let malformed = || Failed::broken("a target of our own that is no URI");
    let host = parts.fields_mut().remove(HOST);
    let authority = host.and_then(|host| Authority::try_from(host.as_bytes()).ok()).ok_or_else(malformed)?;
    let mut uri = uri::Parts::default();
    uri.scheme = Some(match scheme {
        Scheme::Http => uri::Scheme::HTTP,
        Scheme::Https => uri::Scheme::HTTPS,
    });
    uri.authority = Some(authority);
    uri.path_and_query = parts.uri.into_parts().path_and_query;
    parts.uri = Uri::from_parts(uri).map_err(|_| malformed())?;
    parts.version = Version::HTTP_2;
    parts.fields_mut().remove(CONNECTION);
    parts.fields_mut().remove(TRANSFER_ENCODING);
    never_again(parts.fields_mut(), &X_REQUEST_ID);
    never_again(parts.fields_mut(), &TRACEPARENT);
    if let Some(length) = body.size_hint().exact().filter(|length| *length > 0) {
        parts.fields_mut().set(CONTENT_LENGTH, length.into());
    }
    Ok(Request::from_parts(parts, ()))
}

fn unsent(reason: &h2::Error, class: Class, sent: Sent, request: Request<Body>) -> Failed {
    Failed { request: Some(Box::new(request)), ..Failed::new(class, sent, reason.to_string()) }
}

/// How far a request has got on which there is no answer.
enum Reached {
    /// No application has seen it, because of this.
    Nobody(Class),
    /// The connection has ended, and it may have been seen.
    Unknown,
    /// The target has ended its stream.
    Target,
}

fn reached(error: &h2::Error, has_left: bool, target: &Backend) -> Reached {
    match error.reason() {
        Some(Reason::HTTP_1_1_REQUIRED) if error.is_remote() && target.pool.spoken == Spoken::Either => {
            Reached::Nobody(Class::WantsHttp1)
        }
        Some(Reason::REFUSED_STREAM) if error.is_remote() => Reached::Nobody(Class::Broken),
        // A good-bye is told to the streams alone that it says have not been looked at (RFC 9113 section 6.8).
        _ if error.is_remote() && error.is_go_away() => Reached::Nobody(Class::Broken),
        _ if error.is_io() && has_left => Reached::Unknown,
        _ if error.is_io() => Reached::Nobody(Class::Broken),
        _ => Reached::Target,
    }
}
