//! One attempt to get an answer from a target: the timeout for its head (time to first byte), the kinds of failure (most
//! become 502, 503 or 504), and which of them may be retried.

use std::borrow::Cow;
use std::fmt;
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
use portcullis_wire::revocation;

use crate::settings::Settings;
use crate::traffic::timeouts::Which;

/// RFC 9110 section 9.2.2.
pub fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE | Method::TRACE)
}

/// What has gone wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Class {
    /// There is no connection to the target.
    Unreachable,
    /// The target has not proved who it is, or has ended TLS instead of answering.
    Tls,
    /// No connection has come free in time.
    Busy,
    /// The connection ended before a byte of an answer.
    NoAnswer,
    /// What came is no answer, or the target has ended the exchange.
    Broken,
    /// The target wants the request over HTTP/1.1.
    WantsHttp1,
    /// The answer's head did not come in time.
    TimedOut,
    /// The target is at an address that is not connected to.
    Forbidden,
    /// The request's body failed on the caller's side.
    Caller(BodyError),
    /// There is no such request.
    Internal,
}

/// How far a request has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// Nothing of it has left.
    Nothing,
    /// No application has seen it (RFC 9113 section 8.7).
    NotProcessed,
    /// It may have been acted upon.
    Maybe,
}

/// An attempt that has led to no answer.
pub struct Failed {
    /// What has gone wrong.
    pub class: Class,
    /// How far the request has got.
    pub sent: Sent,
    /// Why, for the operator only.
    pub reason: Cow<'static, str>,
    /// Within how many milliseconds connecting was to succeed, if that was the reason; 0 otherwise.
    pub within: u32,
    /// The request, if it was begun and is there to be sent again, whole.
    pub request: Option<Box<Request<Body>>>,
}

impl Failed {
    /// A failure after which there is nothing to send again.
    pub fn new(class: Class, sent: Sent, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { class, sent, reason: reason.into(), within: 0, request: None }
    }

    /// What came is no answer.
    pub fn broken(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Class::Broken, Sent::Maybe, reason)
    }

    /// There was no connection within the time limit, by this reason.
    #[must_use]
    pub fn late(self, limit: Duration) -> Self {
        Self { within: u32::try_from(limit.as_millis()).unwrap_or(u32::MAX), ..self }
    }

    /// Whether it may be otherwise for a call that has more time to connect: another one has opened the connection.
    pub fn is_otherwise_within(&self, limit: Duration) -> bool {
        self.within > 0 && u128::from(self.within) < limit.as_millis()
    }

    /// There is no connection to be lent.
    pub fn busy(reason: &'static str) -> Self {
        Self::new(Class::Busy, Sent::Nothing, reason)
    }

    /// A request that cannot be, by a fault of the gateway's own.
    pub fn internal(reason: &'static str) -> Self {
        Self::new(Class::Internal, Sent::Nothing, reason)
    }

    /// The same failure for another call that has waited for the same connection: its request is its own.
    #[must_use]
    pub fn alike(&self) -> Self {
        Self { within: self.within, ..Self::new(self.class.clone(), self.sent, self.reason.clone()) }
    }

    /// How the call is refused, if this is how it ends.
    pub fn into_refusal(self) -> Refusal {
        let private = self.reason;
        match self.class {
            Class::Unreachable => Refusal::UpstreamUnreachable { private },
            Class::Tls => Refusal::UpstreamTls { private },
            Class::Busy => Refusal::UpstreamBusy,
            Class::NoAnswer | Class::Broken | Class::WantsHttp1 => Refusal::UpstreamBroken { private },
            Class::TimedOut => Refusal::UpstreamTimeout { private },
            Class::Forbidden => Refusal::UpstreamForbidden { private },
            Class::Caller(error) => Refusal::of_body(&error),
            Class::Internal => Refusal::internal(private),
        }
    }
}

impl fmt::Debug for Failed {
    /// Without the request, which may carry secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has_request = self.request.is_some();
        f.debug_struct("Failed")
            .field("class", &self.class)
            .field("sent", &self.sent)
            .field("reason", &self.reason)
            .field("has_request", &has_request)
            .finish()
    }
}

/// The answer's head did not come in time.
pub fn timed_out(settings: &Settings) -> Failed {
    Failed::new(Class::TimedOut, Sent::Maybe, settings.first_byte_limit().told(Which::FirstByte))
}

/// What a failed attempt means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Whether the call may be sent again, as far as this attempt goes.
    pub again: Again,
    /// Whether the target is to blame.
    pub is_targets_fault: bool,
}

/// Whether a call may be sent again after a failed attempt, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// To another target: there is no connection to this one.
    Elsewhere,
    /// To the same target, and if that does not help, to another: nobody has looked at it.
    Here,
    /// Once, to the same target over a fresh connection: the one it was sent over had died. It may have been acted upon, so
    /// it goes to no other target.
    Afresh,
    /// Nowhere.
    Never,
}

/// What a failed attempt means. Everybody who has to know whether a call may be sent again, or who was to blame, asks here.
pub fn classify(failed: &Failed) -> Outcome {
    let again = match (&failed.class, failed.sent) {
        (Class::Unreachable | Class::Tls, Sent::Nothing) => Again::Elsewhere,
        _ if failed.request.is_none() => Again::Never,
        // What is not idempotent has come without its request, unless it has not been written (RFC 9110 section 9.2.2).
        (Class::NoAnswer, _) => Again::Afresh,
        (Class::Broken | Class::WantsHttp1, Sent::Nothing | Sent::NotProcessed) => Again::Here,
        _ => Again::Never,
    };
    let is_targets_fault = match failed.class {
        Class::Unreachable | Class::Tls | Class::TimedOut => true,
        // A connection may end between two calls, and a target may say that it takes no more.
        Class::NoAnswer | Class::Broken => again == Again::Never,
        Class::Busy | Class::WantsHttp1 | Class::Forbidden | Class::Caller(_) | Class::Internal => false,
    };
    Outcome { again, is_targets_fault }
}

/// How long an answer's head is waited for: `first_byte` from the last byte of the request on. While the request is
/// still being sent, what the caller may pause comes on top, so that only a target that stops reading gets there.
///
/// It wakes whoever waits once before, when the call has lasted a while: whether its caller still may call is asked from
/// then on (see `portcullis_wire::revocation`).
pub struct Wait {
    alarm: Alarm,
    since: u32,
}

impl Wait {
    /// Begins now.
    pub fn new(settings: &Settings) -> Self {
        Self { alarm: Alarm::after(settings.first_byte_limit().time.min(revocation::WHILE)), since: clock::tick() }
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
        self.alarm.set_after(if is_before { self.since } else { written_at }, settings.first_byte_limit().time + pause);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_shows_nothing_of_the_request() {
        let request = Request::get("/a?token=hidden").header("authorization", "hidden").body(Body::full("hidden"));
        let request = Some(Box::new(request.expect("a request")));
        let failed = Failed { request, ..Failed::new(Class::Broken, Sent::NotProcessed, "refused") };
        let shown = format!("{failed:?}");
        assert!(!shown.contains("hidden") && shown.contains("refused"), "{shown}");
        assert!(failed.alike().request.is_none());
    }
}
