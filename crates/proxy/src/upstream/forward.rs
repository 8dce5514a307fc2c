//! One call to one target: the request written anew from typed values, the answer taken apart the same way.

use std::error::Error;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use http::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, Version};
use http_body::Body as _;
use portcullis_core::body::{Body, BodyError, Outcome};
use portcullis_core::call::{Call, Consumed, Hints, Response, Upgrade};
use portcullis_core::model::{HostMode, TargetUrl};
use portcullis_core::refusal::Refusal;
use portcullis_core::trial::Destination;

use super::incoming::IdleBody;
use super::peer::Peer;
use super::pool::{self, Lease, Wanted, lend, take_back};
use super::{ForwardPath, Forwarding, Settings, http2, switched, tls, told};
use crate::fields::{
    TRACEPARENT, X_API_KEY, X_APP_ID, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO, X_REQUEST_ID, X_USER_JSON,
    has_other_coding, strip_response,
};
use crate::worker;

/// How often a request goes to one target that has not looked at it.
const SENDS: usize = 3;

/// Forwards a call over a connection and returns the answer's head with its body still to come.
///
/// A call without a body that may be repeated is sent once more over a fresh connection, if the reused one it was sent
/// over died without a byte of an answer. One that the target says it has not looked at is sent again whatever it is;
/// if that does not help, `unsent` gets the request, for another target. The next one finds it there.
pub async fn forward(
    settings: &Arc<Settings>,
    forwarding: &Forwarding,
    call: &mut Call,
    target: &Peer,
    lease: Lease,
    unsent: &mut Option<Box<Request<Body>>>,
) -> Result<Response, Refusal> {
    let mut request = match unsent.take() {
        Some(request) => *request,
        None => request(settings, call)?,
    };
    aim(&mut request, forwarding, call, &target.url)?;
    let started = Instant::now();
    let mut sent = send(settings, lease, target, request, &mut call.upgrade, call.hints.as_ref()).await;
    if let Err(Failure::NoAnswer { repeat: Some(_), .. } | Failure::Unsent { .. }) = sent {
        // Apart, so that calls that go well do not carry its weight.
        let again = send_again(settings, target, sent, &mut call.upgrade, unsent, call.hints.as_ref());
        sent = Box::pin(again).await?;
    }
    call.record.note(|record| record.upstream_duration = Some(started.elapsed()));
    let mut response = sent.map_err(|failure| failure.into_refusal(unsent))?;
    let switched_to = response.headers_mut().remove(UPGRADE);
    strip_response(response.headers_mut());
    if let Some(protocol) = switched_to.filter(|_| response.status() == StatusCode::SWITCHING_PROTOCOLS) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
        response.headers_mut().insert(UPGRADE, protocol);
    }
    let received = if response.version() == Version::HTTP_2 { Version::HTTP_2 } else { Version::HTTP_11 };
    response.headers_mut().append(VIA, settings.via.of(received));
    *response.version_mut() = Version::HTTP_11;
    Ok(response)
}

/// Sends a request again that has got no answer, over another connection.
async fn send_again(
    settings: &Settings,
    target: &Peer,
    mut sent: Result<Response, Failure>,
    upgrade: &mut Option<Box<Upgrade>>,
    unsent: &mut Option<Box<Request<Body>>>,
    hints: Option<&Arc<dyn Hints>>,
) -> Result<Result<Response, Failure>, Refusal> {
    // What the target has asked for once is kept to.
    let mut key = target.pool_of(upgrade.is_some());
    let mut is_repeated = false;
    for _ in 1..SENDS {
        if let Err(Failure::Unsent { wants_http1: true, .. }) = sent {
            key = &target.http1;
        }
        let (request, lease) = match sent {
            Err(Failure::NoAnswer { repeat: Some(request), .. }) if !is_repeated => {
                is_repeated = true;
                // It may have acted on the call: no other target is tried after this one.
                let gone = |refusal: Refusal| match refusal {
                    Refusal::UpstreamUnreachable { private } => Refusal::UpstreamBroken { private },
                    other => other,
                };
                (request, lend(settings, target, key, pool::now()).await.map_err(gone)?)
            }
            Err(Failure::Unsent { request, .. }) => match lend(settings, target, key, Wanted::Any).await {
                Ok(lease) => (request, lease),
                Err(refusal) => {
                    *unsent = (!is_repeated).then_some(request);
                    return Err(refusal);
                }
            },
            _ => break,
        };
        sent = send(settings, lease, target, *request, upgrade, hints).await;
    }
    Ok(match sent {
        Err(Failure::Unsent { reason, .. }) if is_repeated => Err(Failure::NoAnswer { reason, repeat: None }),
        sent => sent,
    })
}

/// RFC 9110 section 9.2.2.
pub fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE | Method::TRACE)
}

/// The request as every target of the service gets it. What is left is to [`aim`] it at one.
fn request(settings: &Settings, call: &mut Call) -> Result<Request<Body>, Refusal> {
    let body = call.take_body();
    let mut headers = std::mem::take(&mut call.request.headers);
    write_fields(settings, call, &mut headers)?;
    write_framing(&call.request.method, &body, &mut headers);
    if let Some(upgrade) = &call.upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, upgrade.protocols.clone());
    }
    let mut request = Request::new(body);
    *request.method_mut() = call.request.method.clone();
    *request.headers_mut() = headers;
    Ok(request)
}

fn aim(request: &mut Request<Body>, forwarding: &Forwarding, call: &Call, target: &TargetUrl) -> Result<(), Refusal> {
    *request.uri_mut() = uri(&forwarding.path, call, target)?;
    request.headers_mut().insert(HOST, host(forwarding, call, target)?);
    Ok(())
}

/// Where a call would go, and under which `Host`.
pub fn preview(forwarding: &Forwarding, call: &Call, target: &TargetUrl) -> Result<Destination, Refusal> {
    let host = host(forwarding, call, target)?;
    Ok(Destination::Target {
        target: target.to_string(),
        url: format!("{}://{}{}", target.scheme().as_str(), target.authority(), uri(&forwarding.path, call, target)?),
        host: String::from_utf8_lossy(host.as_bytes()).into_owned(),
    })
}

fn host(forwarding: &Forwarding, call: &Call, target: &TargetUrl) -> Result<HeaderValue, Refusal> {
    match forwarding.host {
        HostMode::Target => own(HeaderValue::from_str(target.authority()).ok()),
        HostMode::Preserve => Ok(call.request.host.header()),
    }
}

fn spare(request: &Request<Body>) -> Request<Body> {
    let mut spare = Request::new(Body::empty());
    *spare.method_mut() = request.method().clone();
    *spare.uri_mut() = request.uri().clone();
    spare.headers_mut().clone_from(request.headers());
    spare.extensions_mut().clone_from(request.extensions());
    spare
}

/// Base path, one slash, what the route makes of the path, query.
fn uri(path: &ForwardPath, call: &Call, target: &TargetUrl) -> Result<Uri, Refusal> {
    let filled;
    let rest = match path {
        ForwardPath::Rest => call.rest(),
        ForwardPath::Whole => call.request.path.as_str(),
        ForwardPath::Template(template) => {
            filled = template.fill(call);
            &filled
        }
    };
    let query = call.request.query.as_deref().unwrap_or_default();
    let mut text = Vec::with_capacity(target.base().len() + rest.len() + query.len() + 2);
    text.extend_from_slice(target.base().as_bytes());
    if !rest.starts_with('/') {
        text.push(b'/');
    }
    text.extend_from_slice(rest.as_bytes());
    if call.request.query.is_some() {
        text.push(b'?');
        text.extend_from_slice(query);
    }
    Uri::try_from(text).map_err(|_| Refusal::internal("a canonical target that is no URI"))
}

/// What the backend is told besides what the caller said, and what it is not told.
fn write_fields(settings: &Settings, call: &Call, headers: &mut HeaderMap) -> Result<(), Refusal> {
    headers.remove(X_API_KEY);
    let Consumed { authorization } = call.caller.consumed;
    if authorization {
        headers.remove(AUTHORIZATION);
    }
    if let Some(user) = &call.caller.user {
        headers.insert(X_USER_JSON, user.user_json.clone());
    }
    if let Some(client) = call.caller.client() {
        headers.insert(X_APP_ID, client.app_id.clone());
    }
    headers.insert(X_REQUEST_ID, call.id.header());
    headers.insert(X_FORWARDED_FOR, own(told::address(call.peer.client_ip))?);
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(call.peer.scheme));
    headers.insert(X_FORWARDED_HOST, call.request.host.header());
    headers.append(VIA, settings.via.of(call.request.version));
    headers.insert(TRACEPARENT, own(told::trace_parent(headers.get(TRACEPARENT), &call.id))?);
    let says_so = |(name, value): &(HeaderName, HeaderValue)| *name == TE && says_trailers(value);
    if call.grpc.is_some() || headers.contains_key(TRAILER) || call.raw.removed.iter().any(says_so) {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    Ok(())
}

/// Says how the body is framed where hyper would say nothing: it drops a body of unknown length with a method that
/// seldom has one, and a method that is about a body says that there is none (RFC 9110 section 8.6).
fn write_framing(method: &Method, body: &Body, headers: &mut HeaderMap) {
    if body.size_hint().exact().is_none() {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    } else if body.is_empty() && matches!(*method, Method::POST | Method::PUT | Method::PATCH) {
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
}

fn own(value: Option<HeaderValue>) -> Result<HeaderValue, Refusal> {
    value.ok_or_else(|| Refusal::internal("a header value of our own that is none"))
}

fn says_trailers(value: &HeaderValue) -> bool {
    value.as_bytes().split(|byte| *byte == b',').any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

/// Why there is no answer.
pub enum Failure {
    /// No application has seen the request.
    Unsent {
        /// Why not.
        reason: String,
        /// The request, to be sent again.
        request: Box<Request<Body>>,
        /// Whether the target wants it over HTTP/1.1.
        wants_http1: bool,
    },
    /// The connection ended before a byte of it.
    NoAnswer {
        /// Why.
        reason: String,
        /// The request, if it may be sent once more.
        repeat: Option<Box<Request<Body>>>,
    },
    /// The request's body failed on the caller's side.
    Body(BodyError),
    /// The target ended TLS instead of answering.
    Tls(String),
    /// It did not come in time.
    TimedOut,
    /// It began, and is none.
    Broken(String),
}

impl Failure {
    fn into_refusal(self, unsent: &mut Option<Box<Request<Body>>>) -> Refusal {
        match self {
            Self::Unsent { reason, request, .. } => {
                *unsent = Some(request);
                Refusal::UpstreamBroken { private: reason.into() }
            }
            Self::NoAnswer { reason, .. } | Self::Broken(reason) => Refusal::UpstreamBroken { private: reason.into() },
            Self::Body(error) => Refusal::of_body(&error),
            Self::Tls(reason) => Refusal::UpstreamTls { private: reason.into() },
            Self::TimedOut => Refusal::UpstreamTimeout,
        }
    }
}

/// Sends a request over a connection; the connection goes back to the pool when both messages have ended.
async fn send(
    settings: &Settings,
    lease: Lease,
    target: &Peer,
    request: Request<Body>,
    upgrade: &mut Option<Box<Upgrade>>,
    hints: Option<&Arc<dyn Hints>>,
) -> Result<Response, Failure> {
    let (mut connection, reused) = match lease {
        Lease::Whole { connection, reused } => (connection, reused),
        // Apart, so that calls over HTTP/1.1 do not carry its weight.
        Lease::Place(place) => return Box::pin(http2::send(settings, place, target, request, hints)).await,
    };
    let is_repeatable = reused && request.body().is_empty() && is_idempotent(request.method());
    let spare = is_repeatable.then(|| spare(&request));
    let before = connection.noted.read.load(Relaxed);
    // Set when the request's body has been taken to its end; a connection in the middle of one is not used again.
    let request_done = Arc::new(AtomicBool::new(request.body().is_empty()));
    let mut request = if request_done.load(Relaxed) {
        request
    } else {
        let done = Arc::clone(&request_done);
        request.map(|body| body.on_end(move |end| done.store(end.outcome == Outcome::Complete, Relaxed)))
    };
    if let Some(hints) = hints.cloned() {
        hyper::ext::on_informational(&mut request, move |early| {
            if early.status() == StatusCode::EARLY_HINTS {
                hints.hint(early.headers());
            }
        });
    }
    let sending = pin!(connection.sender.send_request(request));
    let response = match in_time(settings, &connection.noted.written_at, &request_done, sending).await {
        None => return Err(Failure::TimedOut),
        Some(Err(error)) => {
            // Cancelled is what was never written: the connection had died, or said something unasked.
            let unanswered = error.is_canceled() || connection.noted.read.load(Relaxed) == before;
            if let Some(error) = body_error(&error) {
                return Err(Failure::Body(error));
            }
            // A target that wants a certificate says so only when it is asked for something (RFC 8446 section
            // 4.4.2.4). One that says so later ends a connection like any other.
            let ended_tls = tls::find_failure(&error).filter(|_| unanswered && !reused);
            return Err(match ended_tls {
                Some(failure) => Failure::Tls(tls::reason(failure)),
                None if unanswered => Failure::NoAnswer { reason: error.to_string(), repeat: spare.map(Box::new) },
                None => Failure::Broken(error.to_string()),
            });
        }
        Some(Ok(response)) => response,
    };
    if has_other_coding(response.headers()) {
        return Err(Failure::Broken("a transfer coding that nobody asked for".to_owned()));
    }
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let Some(upgrade) = upgrade.take() else {
            return Err(Failure::Broken("switched protocols without being asked to".to_owned()));
        };
        let tunnel = Box::pin(switched::tunnel(response, *upgrade, connection.open));
        return tunnel.await.map_err(Failure::Broken);
    }
    let key = Arc::clone(&connection.key);
    Ok(response.map(|incoming| {
        IdleBody::wrap(incoming, settings.body_idle).on_end(move |end| {
            if end.outcome == Outcome::Complete && request_done.load(Relaxed) {
                take_back(&key, connection);
            }
        })
    }))
}

/// Waits for an answer's head: `first_byte` from the last byte of the request on. While the request is still being
/// sent, what the caller may pause comes on top, so that only a target that stops reading gets there.
pub async fn in_time<F: Future>(
    settings: &Settings,
    written_at: &AtomicU32,
    request_done: &AtomicBool,
    mut answer: Pin<&mut F>,
) -> Option<F::Output> {
    let mut wait = settings.first_byte;
    loop {
        if let Ok(answer) = tokio::time::timeout(wait, answer.as_mut()).await {
            return Some(answer);
        }
        let pause = if request_done.load(Relaxed) { Duration::ZERO } else { settings.body_idle };
        let limit = settings.first_byte + pause;
        let quiet = Duration::from_millis(worker::tick().wrapping_sub(written_at.load(Relaxed)).into());
        match limit.checked_sub(quiet) {
            // The tick runs a little behind; a remainder that short is none.
            Some(left) if left > Duration::from_millis(400).min(limit / 2) => wait = left,
            _ => return None,
        }
    }
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
