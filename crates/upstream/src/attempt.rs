//! One attempt to get an answer from a target: how long its head is waited for, why there is none, and what may be sent
//! again.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Method, Request};
use portcullis_core::body::{Body, BodyError};
use portcullis_core::refusal::Refusal;
use portcullis_wire::alarm::Alarm;
use portcullis_wire::clock;
use portcullis_wire::tie;

use crate::settings::Settings;

/// RFC 9110 section 9.2.2.
pub fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE | Method::TRACE)
}

/// Why there is no answer.
pub enum Failure {
    /// There is no such request.
    Refused(Refusal),
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
    pub(crate) fn into_refusal(self, unsent: &mut Option<Box<Request<Body>>>) -> Refusal {
        match self {
            Self::Refused(refusal) => refusal,
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

/// How long an answer's head is waited for: `first_byte` from the last byte of the request on. While the request is
/// still being sent, what the caller may pause comes on top, so that only a target that stops reading gets there.
///
/// It wakes whoever waits once before, when the call has lasted a while: whether its caller still may call is asked from
/// then on (see `tie`).
pub struct Wait {
    alarm: Alarm,
    since: u32,
}

impl Wait {
    /// Begins now.
    pub fn new(settings: &Settings) -> Self {
        Self { alarm: Alarm::after(settings.first_byte.min(tie::WHILE)), since: clock::tick() }
    }

    /// Ready when it has been waited for long enough.
    pub fn poll(
        &mut self,
        settings: &Settings,
        written_at: &AtomicU32,
        request_done: &AtomicBool,
        context: &Context<'_>,
    ) -> Poll<()> {
        std::task::ready!(self.alarm.poll(context));
        let pause = if request_done.load(Relaxed) { Duration::ZERO } else { settings.body_idle };
        let written_at = written_at.load(Relaxed);
        // The last thing written over a connection may belong to the call before.
        let is_before = self.since.wrapping_sub(written_at) <= u32::MAX / 2;
        self.alarm.set_after(if is_before { self.since } else { written_at }, settings.first_byte + pause);
        self.alarm.poll(context)
    }
}

/// An answer's head, if it comes in time.
pub async fn in_time<F: Future>(
    settings: &Settings,
    written_at: &AtomicU32,
    request_done: &AtomicBool,
    mut answer: Pin<&mut F>,
) -> Option<F::Output> {
    let mut wait = Wait::new(settings);
    poll_fn(|context| match answer.as_mut().poll(context) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending => wait.poll(settings, written_at, request_done, context).map(|()| None),
    })
    .await
}
