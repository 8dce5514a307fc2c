//! What a verified signature says of a call, and answers that are held whole to be signed or sealed: what the policies
//! `signature` and `sealed` share.

use std::borrow::Cow;
use std::future::{Future, poll_fn};
use std::io::Read;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::{Method, StatusCode, Version};
use http_body::Body as _;
use portcullis_core::body::{Body, BodyError, Whole};
use portcullis_core::budget::{Budget, Share};
use portcullis_core::call::fomalhaut::Form;
use portcullis_core::call::{Call, ClientEntry, Response};
use portcullis_core::grpc;
use portcullis_core::live_secret::LiveSecret;
use portcullis_core::message::names::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, TRAILER};
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

/// What is prepared of a secret to seal with; none if it is empty.
pub(crate) fn sealing_key(secret: &LiveSecret) -> Option<&SigningKey> {
    let key = secret.prepared.get_or_init(|| SigningKey::new(secret.text.expose().as_bytes()).ok());
    key.as_ref()
}

/// What a call says in a field of a dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said<'a> {
    /// Nothing.
    Never,
    /// This, as it came.
    Once(&'a FieldValue),
    /// Several values, of which none counts.
    Often,
}

impl<'a> Said<'a> {
    /// The one value.
    pub(crate) fn once(self) -> Option<&'a FieldValue> {
        match self {
            Self::Once(value) => Some(value),
            Self::Never | Self::Often => None,
        }
    }
}

/// What a call says in a field of a dialect.
pub(crate) fn said<'a>(call: &'a Call, name: &str) -> Said<'a> {
    let mut found = call.raw.removed.iter().filter(|(removed, _)| removed.as_str() == name).map(|(_, value)| value);
    match (found.next(), found.next()) {
        (None, _) => Said::Never,
        (Some(value), None) => Said::Once(value),
        (Some(_), Some(_)) => Said::Often,
    }
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

/// Time that a body may take which is held for a caller who has proved nothing yet: this, and a second for so many bytes.
const LEAST_TIME: Duration = Duration::from_secs(10);
const BYTES_A_SECOND: u64 = 16 << 10;
/// The same where half of the room is taken.
const LEAST_TIME_IN_NEED: Duration = Duration::from_secs(2);
const BYTES_A_SECOND_IN_NEED: u64 = 128 << 10;

/// Bounds on what is held whole: bodies of requests that are signed over, and answers. They have budgets of their own, so
/// that callers who have proved nothing take no room from the answers of those who have.
#[derive(Debug, Clone)]
pub struct Holding {
    /// Room for bodies of requests, on the whole node.
    pub requests: Arc<Budget>,
    /// Room for answers, and for what was opened.
    pub answers: Arc<Budget>,
    /// Bytes a request body may have that has to be held.
    pub request: u64,
    /// Bytes an answer may have that has to be held.
    pub answer: u64,
}

impl Default for Holding {
    fn default() -> Self {
        Self::new(256 << 20, 1 << 20, 8 << 20)
    }
}

impl Holding {
    /// So many bytes on the whole node, half of them for requests; the largest request and answer.
    pub fn new(bytes: usize, request: u64, answer: u64) -> Self {
        Self { requests: Budget::new(bytes / 2), answers: Budget::new(bytes / 2), request, answer }
    }

    /// Holds the body of a request whose caller has not been verified; the call has it as before. It has to come within a
    /// time, which is shorter where room is short: who sends slowly makes room for who sends.
    pub(crate) async fn request(&self, call: &mut Call) -> Result<Whole, Refusal> {
        let body = call.take_body();
        let share = Share::of_caller(&self.requests, call.peer.client_ip);
        let expected = body.size_hint().upper().unwrap_or(self.request).min(self.request);
        let is_short = self.requests.is_half_taken();
        let mut whole = pin!(body.whole(self.request, share));
        // Most bodies are here already: for these no time is taken.
        let whole = match poll_fn(|context| Poll::Ready(whole.as_mut().poll(context))).await {
            Poll::Ready(whole) => whole,
            Poll::Pending => {
                let (least, rate) = match is_short {
                    false => (LEAST_TIME, BYTES_A_SECOND),
                    true => (LEAST_TIME_IN_NEED, BYTES_A_SECOND_IN_NEED),
                };
                let time = least + Duration::from_secs(expected.div_ceil(rate));
                tokio::time::timeout(time, whole).await.unwrap_or(Err(BodyError::Slow))
            }
        };
        let whole = whole.map_err(|error| Refusal::of_body(&error))?;
        call.request.body = whole.clone().into_body();
        Ok(whole)
    }

    /// Room for what is made of an answer.
    pub(crate) fn room(&self, call: &Call) -> Share {
        Share::of_caller(&self.answers, call.peer.client_ip)
    }

    /// Takes the body out of an answer and holds it: nothing, where no body will be sent.
    pub(crate) async fn answer(&self, call: &mut Call, response: &mut Response) -> Result<Whole, Refusal> {
        let body = std::mem::replace(response.body_mut(), Body::empty());
        if has_no_body(call, response.status()) {
            return Ok(Whole::default());
        }
        let whole = body.whole(self.answer, self.room(call)).await.map_err(|error| match error {
            BodyError::TooLarge { limit } => Refusal::AnswerTooLarge { limit },
            BodyError::NoRoom => Refusal::no_room(),
            BodyError::Silent(limit) | BodyError::TimedOut(limit) => Refusal::UpstreamTimeout { private: limit.into() },
            BodyError::Revoked => Refusal::Revoked,
            error => Refusal::UpstreamBroken { private: error.to_string().into() },
        })?;
        self.decoded(call, response, whole)
    }

    /// The same without a content coding. Clients take it off before they look at what was signed or sealed, so it must not be
    /// there; services are asked not to use any, and some do nevertheless.
    fn decoded(&self, call: &Call, response: &mut Response, whole: Whole) -> Result<Whole, Refusal> {
        let Ok(coding) = response.fields().only(CONTENT_ENCODING) else {
            return Err(Refusal::UpstreamBroken { private: "an answer with several content codings".into() });
        };
        let coding = coding.and_then(|coding| coding.text()).unwrap_or("identity").to_ascii_lowercase();
        let decoder: Box<dyn Read> = match coding.as_str() {
            "identity" => return Ok(whole),
            "gzip" | "x-gzip" => Box::new(flate2::read::MultiGzDecoder::new(&whole.bytes()[..])),
            "deflate" => Box::new(flate2::read::ZlibDecoder::new(&whole.bytes()[..])),
            _ => return Err(Refusal::UpstreamBroken { private: "an answer in an unknown content coding".into() }),
        };
        let (mut plain, mut room) = (Vec::new(), self.room(call));
        let read = decoder.take(self.answer + 1).read_to_end(&mut plain);
        read.map_err(|_| Refusal::UpstreamBroken { private: "an answer that is not in its content coding".into() })?;
        if plain.len() as u64 > self.answer {
            return Err(Refusal::AnswerTooLarge { limit: self.answer });
        }
        if !room.take(plain.len()) {
            return Err(Refusal::no_room());
        }
        response.fields_mut().remove(CONTENT_ENCODING);
        response.fields_mut().remove(CONTENT_LENGTH);
        Ok(Whole::held(plain, room))
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
    // A body that was held has none.
    response.fields_mut().remove(TRAILER);
    *response.body_mut() = body;
}

/// The names of the fields that the gateway writes into answers.
pub(crate) struct Names {
    pub(crate) timestamp: FieldName,
    pub(crate) nonce: FieldName,
    pub(crate) signature: FieldName,
    pub(crate) encrypt_type: FieldName,
    pub(crate) request_nonce: FieldName,
    pub(crate) status: FieldName,
}

impl Names {
    /// Those of a dialect.
    pub(crate) fn of(dialect: Dialect) -> &'static Self {
        static FO: Names = Names::new(Dialect::Fo, "x-fo-request-nonce", "x-fo-status");
        static API: Names = Names::new(Dialect::Api, "x-api-request-nonce", "x-api-status");
        match dialect {
            Dialect::Fo => &FO,
            Dialect::Api => &API,
        }
    }

    const fn new(dialect: Dialect, request_nonce: &'static str, status: &'static str) -> Self {
        Self {
            timestamp: FieldName::from_static(dialect.timestamp()),
            nonce: FieldName::from_static(dialect.nonce()),
            signature: FieldName::from_static(dialect.signature()),
            encrypt_type: FieldName::from_static(dialect.encrypt_type()),
            request_nonce: FieldName::from_static(request_nonce),
            status: FieldName::from_static(status),
        }
    }
}

/// The name of a field that is written in the source.
pub(crate) fn field(name: &'static str) -> FieldName {
    FieldName::from_static(name)
}

/// The type of a stream of events.
const EVENTS: &str = "text/event-stream";

/// Whether an answer is a stream that ends when its service likes, or no message at all: such an answer is never held. Answers
/// of gRPC are streams, and end in trailers.
pub(crate) fn is_endless(response: &Response) -> bool {
    let fields = response.fields();
    let begins = |kind: &str| kind.get(..EVENTS.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(EVENTS));
    let is_events = fields.text(CONTENT_TYPE).is_some_and(begins);
    let is_grpc = fields.get(CONTENT_TYPE).and_then(grpc::form).is_some();
    response.status() == StatusCode::SWITCHING_PROTOCOLS || is_events || is_grpc
}
