//! What a verified signature says of a call, and answers that are held whole to be signed or sealed: what the policies
//! `signature` and `sealed` share.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use http::{Method, StatusCode, Version};
use portcullis_core::body::{Body, BodyError, Whole};
use portcullis_core::budget::{Budget, Share};
use portcullis_core::call::fomalhaut::Form;
use portcullis_core::call::{Call, ClientEntry, Response};
use portcullis_core::dialect::removed_value;
use portcullis_core::live_secret::LiveSecret;
use portcullis_core::message::names::{CONTENT_LENGTH, CONTENT_TYPE};
use portcullis_core::message::{FieldName, FieldValue, HasFields};
use portcullis_core::refusal::Refusal;
use portcullis_signing::fomalhaut::{Algorithm, Dialect, SigningKey};

/// That a call in one of fomalhaut's dialects has been verified, and by what.
pub(crate) struct Signed {
    /// Which dialect.
    pub(crate) form: Form,
    /// The client that has signed.
    pub(crate) client: Arc<ClientEntry>,
    /// The secret it has signed with.
    pub(crate) secret: Arc<LiveSecret>,
    /// How it has signed; its answer is signed the same way.
    pub(crate) algorithm: Algorithm,
    /// The method, as it stood on the wire.
    pub(crate) method: Method,
}

/// That a sealed request has been opened, and with which secret.
pub(crate) struct Opened {
    /// The secret that its answer is sealed with.
    pub(crate) secret: Arc<LiveSecret>,
}

impl Signed {
    /// The dialect, as the library of signatures knows it.
    pub(crate) fn dialect(&self) -> Dialect {
        dialect(self.form)
    }
}

/// A dialect, as the library of signatures knows it.
pub(crate) fn dialect(form: Form) -> Dialect {
    match form {
        Form::Fo => Dialect::Fo,
        Form::Api => Dialect::Api,
    }
}

/// What is prepared of a secret to sign and to seal with; none if it is empty.
pub(crate) fn signing_key(secret: &LiveSecret) -> Option<&SigningKey> {
    let key = secret.prepared.get_or_init(|| SigningKey::new(secret.text.expose().as_bytes()).ok());
    key.as_ref()
}

/// The one value of a field of a dialect, as it came.
pub(crate) fn said<'a>(call: &'a Call, name: &str) -> Option<&'a FieldValue> {
    removed_value(&call.raw.removed, name)
}

/// The request target, as it stood on the wire. Over HTTP/2 and HTTP/3 scheme and host come in fields of their own.
pub(crate) fn target(call: &Call) -> Cow<'_, str> {
    match call.raw.target.path_and_query() {
        Some(target) if call.request.version >= Version::HTTP_2 || call.raw.target.scheme().is_none() => {
            Cow::Borrowed(target.as_str())
        }
        _ => Cow::Owned(call.raw.target.to_string()),
    }
}

/// How often a field of a dialect came.
pub(crate) fn times_said(call: &Call, name: &str) -> usize {
    call.raw.removed.iter().filter(|(removed, _)| removed.as_str() == name).count()
}

/// Bounds on what is held whole: bodies of requests that are signed over, and answers.
#[derive(Debug, Clone)]
pub struct Holding {
    /// Room on the whole node.
    pub budget: Arc<Budget>,
    /// Bytes a request body may have that has to be held.
    pub request: u64,
    /// Bytes an answer may have that has to be held.
    pub answer: u64,
}

impl Default for Holding {
    fn default() -> Self {
        Self { budget: Budget::new(256 << 20), request: 1 << 20, answer: 8 << 20 }
    }
}

impl Holding {
    /// Room for what is held for a call.
    fn share(&self, address: IpAddr) -> Share {
        Share::of_caller(&self.budget, address)
    }

    /// Holds the body of a request; the call has it as before.
    pub(crate) async fn request(&self, call: &mut Call) -> Result<Whole, Refusal> {
        let share = self.share(call.peer.client_ip);
        let whole = call.take_body().whole(self.request, share).await.map_err(|error| Refusal::of_body(&error))?;
        call.request.body = whole.clone().into_body();
        Ok(whole)
    }

    /// Takes the body out of an answer and holds it: nothing, where no body will be sent.
    pub(crate) async fn answer(&self, call: &mut Call, response: &mut Response) -> Result<Whole, Refusal> {
        let body = std::mem::replace(response.body_mut(), Body::empty());
        if has_no_body(call, response.status()) {
            return Ok(Whole::default());
        }
        body.whole(self.answer, self.share(call.peer.client_ip)).await.map_err(|error| match error {
            BodyError::TooLarge { limit } => Refusal::AnswerTooLarge { limit },
            BodyError::NoRoom => Refusal::no_room(),
            BodyError::Silent(limit) | BodyError::TimedOut(limit) => Refusal::UpstreamTimeout { private: limit.into() },
            BodyError::Revoked => Refusal::Revoked,
            error => Refusal::UpstreamBroken { private: error.to_string().into() },
        })
    }
}

/// Whether an answer is sent without a body, whatever it says (RFC 9110 sections 6.4.1 and 9.3.2).
fn has_no_body(call: &Call, status: StatusCode) -> bool {
    let is_head = call.request.method == Method::HEAD;
    is_head || status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// Gives an answer another body, and what its fields say of its length.
pub(crate) fn set_body(response: &mut Response, body: Body) {
    response.fields_mut().remove(CONTENT_LENGTH);
    *response.body_mut() = body;
}

/// The name of a field that is written in the source.
pub(crate) fn field(name: &'static str) -> FieldName {
    FieldName::from_static(name)
}

/// Whether an answer is a stream that ends when its service likes, or no message at all: such an answer is never held.
pub(crate) fn is_endless(response: &Response) -> bool {
    let is_events = response.fields().text(CONTENT_TYPE).is_some_and(|kind| kind.starts_with("text/event-stream"));
    response.status() == StatusCode::SWITCHING_PROTOCOLS || is_events
}
