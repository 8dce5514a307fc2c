//! One call on a connection in HTTP/1.1.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, Waker, ready};

use http::{Request, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use pin_project_lite::pin_project;
use portcullis_core::body::{Body, BodyError, Outcome};
use portcullis_core::call::{Hints, Response};
use portcullis_core::message::HasFields;
use portcullis_wire::fields::has_other_coding;
use portcullis_wire::incoming::IdleBody;

use crate::attempt::{self, Class, Failed, Wait, is_idempotent};
use crate::connection::Connection;
use crate::pool::take_back;
use crate::replay::ExchangeGuard;
use crate::settings::Settings;
use crate::traffic::timeouts::Which;
use crate::{bound, tls};

/// That there is nothing more of a request without a body.
static NO_BODY: AtomicBool = AtomicBool::new(true);

/// What a target has answered.
pub enum Answered {
    /// An answer. Its connection goes back to the pool when both messages have ended.
    Response(Response),
    /// It goes on in another protocol, over this connection.
    Switched(http::Response<Incoming>, Box<Connection>),
}

/// Sends a request over a connection. It is sent already when this returns; what is returned waits for the answer.
pub fn send<'a>(
    settings: &'a Settings,
    mut connection: Connection,
    reused: bool,
    request: Request<Body>,
    hints: Option<&Arc<dyn Hints>>,
) -> impl Future<Output = Result<Answered, Failed>> + use<'a> {
    let may_repeat = reused && request.body().is_empty() && is_idempotent(request.method());
    let before = connection.noted.read.load(Relaxed);
    let is_bound = bound::by_request(request.fields());
    let request_done = (!request.body().is_empty()).then(|| Arc::new(AtomicBool::new(false)));
    let request = match request_done.clone() {
        None => request,
        Some(done) => {
            let noted = Arc::clone(&connection.noted);
            noted.is_taking.store(true, Relaxed);
            request.map(|body| {
                body.on_end(move |end| {
                    done.store(end.outcome == Outcome::Complete, Relaxed);
                    noted.is_taking.store(false, Relaxed);
                })
            })
        }
    };
    let under_way = connection.noted.exchange.begin(may_repeat, hints);
    let answer = connection.sender.try_send_request(request);
    let sent = Sent { connection, reused, may_repeat, before, request_done, is_bound, under_way };
    Sending { settings, wait: Wait::new(settings), sent: Some(sent), answer }
}

/// A request that was sent, and what there is to know about it.
struct Sent {
    connection: Connection,
    reused: bool,
    /// Whether it may be sent once more, if the connection dies without a byte of an answer.
    may_repeat: bool,
    /// Bytes that had been read before.
    before: u64,
    /// Set when its body has been taken to its end, where it has one.
    request_done: Option<Arc<AtomicBool>>,
    /// Whether it logs in its connection, which is nobody else's from then on.
    is_bound: bool,
    under_way: ExchangeGuard,
}

pin_project! {
    /// Waits for the answer. Written out, because an async function would have each of these twice.
    struct Sending<'a, F> {
        settings: &'a Settings,
        wait: Wait,
        sent: Option<Sent>,
        #[pin]
        answer: F,
    }
}

impl<F> Future for Sending<'_, F>
where
    F: Future<Output = Result<http::Response<Incoming>, TrySendError<Request<Body>>>>,
{
    type Output = Result<Answered, Failed>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let sending = self.project();
        let answered = sending.answer.poll(context);
        if let (Poll::Pending, Some(sent)) = (&answered, sending.sent.as_ref()) {
            let done = sent.request_done.as_deref().unwrap_or(&NO_BODY);
            ready!(sending.wait.poll(sending.settings, &sent.connection.noted.written_at, done, context));
            return Poll::Ready(Err(attempt::timed_out(sending.settings)));
        }
        let answered = ready!(answered);
        // It is there until the answer is.
        let Some(sent) = sending.sent.take() else { return Poll::Pending };
        Poll::Ready(match answered {
            Ok(response) => sent.answered(sending.settings, response),
            Err(error) => Err(sent.failed(error)),
        })
    }
}

impl Sent {
    fn answered(self, settings: &Settings, response: http::Response<Incoming>) -> Result<Answered, Failed> {
        let Self { connection, request_done, is_bound, under_way, .. } = self;
        drop(under_way);
        if has_other_coding(response.fields()) {
            return Err(Failed::broken("a transfer coding that nobody asked for"));
        }
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Answered::Switched(response, Box::new(connection)));
        }
        // A target that answers before it has all of the request may never look at the rest, nor at what comes behind it.
        let is_early =
            request_done.is_some_and(|done| !done.load(Relaxed)) || connection.noted.is_unflushed.load(Relaxed);
        let is_last = is_early || is_bound || bound::by_answer(response.status(), response.fields());
        // It waits for the next request: all of this exchange has come in.
        let is_over = !is_last && connection.sender.is_ready();
        let (head, mut incoming) = response.into_parts();
        if is_over && let Some(body) = connection.held.bell().muffled(|| all_of(&mut incoming)) {
            let response = http::Response::from_parts(head, body?);
            take_back(connection);
            return Ok(Answered::Response(response));
        }
        let idle = settings.idle_limit();
        let body = IdleBody::of_answer(incoming, idle.time, idle.told(Which::Idle)).on_end(move |end| {
            if end.outcome == Outcome::Complete && !is_last {
                take_back(connection);
            }
        });
        Ok(Answered::Response(http::Response::from_parts(head, body)))
    }

    fn failed(self, mut error: TrySendError<Request<Body>>) -> Failed {
        // What was never written comes back: the connection had died, or said something unasked.
        let unsent = error.take_message();
        let error = error.into_error();
        let has_read = self.connection.noted.read.load(Relaxed) != self.before;
        let unanswered = unsent.is_some() || error.is_canceled() || !has_read;
        if let Some(error) = body_error(&error) {
            return Failed::new(Class::Caller(error), attempt::Sent::Maybe, "the request's body");
        }
        // A target that wants a certificate says so only when it is asked for something (RFC 8446 section
        // 4.4.2.4). One that says so later ends a connection like any other.
        let ended_tls = tls::find_failure(&error).filter(|_| unanswered && !self.reused);
        match ended_tls {
            Some(failure) => Failed::new(Class::Tls, attempt::Sent::NotProcessed, tls::reason(failure)),
            None if unanswered => {
                let sent = if unsent.is_some() { attempt::Sent::Nothing } else { attempt::Sent::Maybe };
                let repeat = unsent.or_else(|| if self.may_repeat { self.under_way.again() } else { None });
                let failed = Failed::new(Class::NoAnswer, sent, error.to_string());
                Failed { request: repeat.map(Box::new), ..failed }
            }
            None => Failed::broken(error.to_string()),
        }
    }
}

/// An answer's body that has come in and is one piece, as that of a short answer of known length. None: it may be more than
/// one, or be followed by trailers.
fn all_of(incoming: &mut Incoming) -> Option<Result<Body, Failed>> {
    if incoming.is_end_stream() {
        return Some(Ok(Body::empty()));
    }
    let length = incoming.size_hint().exact()?;
    // Nobody is to be woken: whatever there is, is there.
    let polled = Pin::new(incoming).poll_frame(&mut Context::from_waker(Waker::noop()));
    Some(match polled {
        Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
            Ok(data) if data.len() as u64 == length => Ok(Body::full(data)),
            _ => Err(Failed::broken("an answer shorter than it says")),
        },
        Poll::Ready(Some(Err(error))) => Err(Failed::broken(error.to_string())),
        Poll::Ready(None) | Poll::Pending => Err(Failed::broken("an answer without its body")),
    })
}

/// The failure of the request's own body, somewhere among the causes.
fn body_error(error: &hyper::Error) -> Option<BodyError> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<BodyError>() {
            return Some(found.clone());
        }
        cause = error.source();
    }
    None
}
