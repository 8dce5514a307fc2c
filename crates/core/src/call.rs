//! One request on its way through the gateway.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_REQUEST_METHOD, ALLOW, CACHE_CONTROL, CONTENT_TYPE, ORIGIN, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version};
use serde::Serialize;

use crate::body::Body;
use crate::canonical::{DecisionPath, Host, Path};
pub use crate::digits::hex;
use crate::directory::KeyHash;
use crate::fields::{RATELIMIT, RATELIMIT_POLICY};
use crate::grpc::{self, Code, GrpcCall};
use crate::model::{Label, PathOptions, ServiceId};
use crate::ports::SessionId;
use crate::record::OpenRecord;
use crate::refusal::Refusal;
pub use crate::request_id::RequestId;
use crate::trial::Trial;

/// An answer on its way back.
pub type Response = http::Response<Body>;

/// The other end of the connection a call came over.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The address of the socket, or the one a trusted proxy has announced for the connection.
    pub socket: SocketAddr,
    /// The address the call came from; the socket's, unless a trusted proxy says otherwise.
    pub client_ip: IpAddr,
    /// Whether that looks like the address of a proxy which does not say, or is not believed about, whose the call is.
    pub shared: bool,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The certificate the other end of the connection has shown, if it was asked for one.
    pub certificate: Option<Arc<ClientCertificate>>,
}

/// A client certificate that has passed the handshake: who it is for, and which it is.
#[derive(Debug, Default)]
pub struct ClientCertificate {
    /// SHA-256 of its DER form, as 64 lower-case hex digits.
    pub fingerprint: Box<str>,
    /// The DNS names among its subject's alternative names, in lower case.
    pub dns_names: Vec<Box<str>>,
    /// The URIs among them, as they stand there.
    pub uris: Vec<Box<str>>,
    /// Whether it is not good any more.
    pub ended: AtomicBool,
}

impl ClientCertificate {
    /// Notes that it is not good any more: it has expired, or was taken back.
    pub fn end(&self) {
        self.ended.store(true, Relaxed);
    }

    /// Whether it is not good any more.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Relaxed)
    }
}

/// How refusals are written for this caller. Fixed at the door, before routing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// RFC 9457 problem details.
    Http,
    /// RFC 6749 section 5.2 error JSON.
    OAuth,
    /// gRPC over HTTP/2: 200 with the status in fields of the head.
    Grpc,
    /// gRPC-Web: 200 with the status in a frame of the body.
    GrpcWeb,
    /// The same in Base64.
    GrpcWebText,
}

/// A request in canonical form.
#[derive(Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The canonical path.
    pub path: Path,
    /// The query, as sent, without `?`.
    pub query: Option<Bytes>,
    /// The host asked for.
    pub host: Host,
    /// The HTTP version it came in.
    pub version: Version,
    /// The header fields, without hop-by-hop fields and without identity fields from outside.
    pub headers: HeaderMap,
    /// The body.
    pub body: Body,
}

impl Request {
    /// The method of the call that a browser announces with this request, if it is a preflight (the CORS protocol of the
    /// Fetch standard).
    pub fn announced_method(&self) -> Option<Method> {
        if self.method != Method::OPTIONS || !self.headers.contains_key(ORIGIN) {
            return None;
        }
        let mut announced = self.headers.get_all(ACCESS_CONTROL_REQUEST_METHOD).into_iter();
        let (Some(method), None) = (announced.next(), announced.next()) else { return None };
        Method::from_bytes(method.as_bytes()).ok()
    }
}

/// The request as it stood on the wire; for signatures alone.
#[derive(Debug)]
pub struct RawRequest {
    /// The request target.
    pub target: Uri,
    /// Fields that were removed on the way to canonical form.
    pub removed: Vec<(HeaderName, HeaderValue)>,
}

/// A wish to go on in another protocol over what has been the connection of a request (RFC 9110 section 7.8). If the
/// endpoint grants it with 101, what the caller sends from then on is a body, and so is what it is sent.
#[derive(Debug)]
pub struct Upgrade {
    /// The protocols that are wished for, as sent.
    pub protocols: HeaderValue,
    /// What the caller sends after the switch.
    pub from_caller: Body,
}

/// Takes what a service says before its answer: what the caller may look for meanwhile (RFC 8297).
pub trait Hints: Send + Sync {
    /// Passes the fields of one `103 Early Hints` on to the caller.
    fn hint(&self, fields: &HeaderMap);
}

/// What of a call may go on for long before it is answered: the request's body.
pub trait Lasting: Send + Sync {
    /// The call has passed every policy, and its endpoint is about to answer it: who calls is known.
    fn let_in(&self, call: &Call);
}

/// What a compiled route tells about itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RouteFacts {
    /// The route's name.
    pub name: Arc<str>,
    /// The service behind it; none for a built-in route.
    pub service: Option<ServiceId>,
    /// Which paths it takes that are refused otherwise.
    pub paths: PathOptions,
}

/// A principal an API key speaks for.
#[derive(Debug, Clone)]
pub enum KeyHolder {
    /// The service itself, in every version of that name.
    Service(Arc<str>),
    /// A client.
    Client(Arc<crate::directory::ClientEntry>),
}

/// The user behind a token, as backends are told.
#[derive(Debug, Clone)]
pub struct UserFacts {
    /// The user name.
    pub name: Arc<str>,
    /// base64 of the compact JSON of the user's information: `X-User-Json`.
    pub user_json: HeaderValue,
}

/// A client of another issuer, as a verified token names it. None of this gateway's own has such a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignClient {
    /// Issuer and id, written `issuer#id`; two that differ in either have different names.
    pub name: Arc<str>,
    /// The same as `X-App-Id` carries it.
    pub app_id: HeaderValue,
}

/// Who is calling, as far as credentials have shown it.
#[derive(Debug, Default)]
pub struct Caller {
    /// Who the API key speaks for.
    pub key: Option<KeyHolder>,
    /// The client a verified token was issued to, where this gateway knows it.
    pub token_client: Option<Arc<crate::directory::ClientEntry>>,
    /// The client a verified token of a foreign issuer was issued to.
    pub foreign_client: Option<ForeignClient>,
    /// Issuer and `sub` of a verified token of a foreign issuer.
    pub token_subject: Option<Arc<str>>,
    /// The user a verified token speaks for.
    pub user: Option<UserFacts>,
    /// What stands for the caller as long as the call goes on.
    pub ties: Ties,
    /// Which credentials were used up here and do not travel on.
    pub consumed: Consumed,
}

/// What a caller was let in by, and what can be taken back: a call that goes on for long ends with it.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash)]
pub struct Ties {
    /// The API key.
    pub key: Option<KeyHash>,
    /// The session behind a token.
    pub session: Option<SessionId>,
    /// The client a token was issued to.
    pub client: Option<Label>,
    /// The client a certificate stands for.
    pub certified: Option<Label>,
    /// When a token ends that no session stands behind, in Unix seconds.
    pub until: Option<u64>,
}

impl Ties {
    /// Whether there are none: the caller has shown nothing that can be taken back.
    pub fn are_none(&self) -> bool {
        let Self { key, session, client, certified, until } = self;
        key.is_none() && session.is_none() && client.is_none() && certified.is_none() && until.is_none()
    }
}

/// Credentials that a policy has used.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Consumed {
    /// `Authorization`.
    pub authorization: bool,
}

impl Caller {
    /// Notes whom a key or a certificate speaks for. False if another one speaks for somebody else.
    pub fn speaks_for(&mut self, holder: KeyHolder) -> bool {
        let same = match (&self.key, &holder) {
            (None, _) => true,
            (Some(KeyHolder::Client(one)), KeyHolder::Client(other)) => one.name == other.name,
            (Some(KeyHolder::Service(one)), KeyHolder::Service(other)) => one == other,
            _ => false,
        };
        if same {
            self.key = Some(holder);
        }
        same
    }

    /// The client of another issuer that calls, where none of this gateway's own does.
    pub fn foreign(&self) -> Option<&ForeignClient> {
        if self.client().is_some() { None } else { self.foreign_client.as_ref() }
    }

    /// What stands for the calling client in the record.
    pub fn client_name(&self) -> Option<Arc<str>> {
        match self.client() {
            Some(client) => Some(client.name.shared()),
            None => self.foreign_client.as_ref().map(|client| Arc::clone(&client.name)),
        }
    }

    /// The client of this gateway that calls: that of the API key, else of the token.
    pub fn client(&self) -> Option<&Arc<crate::directory::ClientEntry>> {
        match &self.key {
            Some(KeyHolder::Client(client)) => Some(client),
            _ => self.token_client.as_ref(),
        }
    }
}

/// One request on its way: who sent it, what it says, where it goes, and what is recorded of it.
pub struct Call {
    /// Its id.
    pub id: RequestId,
    /// Where it came from.
    pub peer: Peer,
    /// What it says, in canonical form.
    pub request: Request,
    /// What stood on the wire.
    pub raw: RawRequest,
    /// How refusals are written.
    pub dialect: Dialect,
    /// Set where the caller wishes to go on in another protocol.
    pub upgrade: Option<Box<Upgrade>>,
    /// Set where it is a gRPC call.
    pub grpc: Option<Arc<GrpcCall>>,
    /// Set where the caller can be told something before its answer. Policies do not see it.
    pub hints: Option<Arc<dyn Hints>>,
    /// Told when the call has been let in, where its body is still to come. Policies do not see it.
    pub lasting: Option<Arc<dyn Lasting>>,
    /// The route that matched.
    pub route: Option<Arc<RouteFacts>>,
    /// How many bytes of the path that is decided on the route has matched.
    pub matched: usize,
    /// The same for each other reading of a path with parameters.
    pub matched_readings: Vec<usize>,
    /// Who is calling.
    pub caller: Caller,
    /// What is recorded.
    pub record: OpenRecord,
    /// Set where the call is only tried.
    pub trial: Option<Box<Trial>>,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("id", &self.id).field("path", &self.request.path).finish_non_exhaustive()
    }
}

impl Call {
    /// A call that has just entered: not routed yet, and nobody known.
    #[inline]
    pub fn new(
        id: RequestId,
        peer: Peer,
        request: Request,
        raw: RawRequest,
        dialect: Dialect,
        record: OpenRecord,
    ) -> Self {
        Self {
            id,
            peer,
            request,
            raw,
            dialect,
            upgrade: None,
            grpc: None,
            hints: None,
            lasting: None,
            route: None,
            matched: 0,
            matched_readings: Vec::new(),
            caller: Caller::default(),
            record,
            trial: None,
        }
    }

    /// What of the path is left behind what the route has matched, to be decided on.
    pub fn rest(&self) -> DecisionPath<'_> {
        self.request.path.decision().behind(self.matched)
    }

    /// The same for each other reading of a path with parameters: nothing, for nearly all calls. What decides by the rest
    /// of a path must come to one decision on all of them.
    pub fn other_rests(&self) -> impl Iterator<Item = DecisionPath<'_>> {
        let readings = self.request.path.readings().zip(&self.matched_readings);
        readings.map(|(reading, matched)| reading.behind(*matched))
    }

    /// What is left of the path as it is forwarded; empty or beginning with `/`.
    pub fn forwarded_rest(&self) -> &str {
        self.request.path.forwarded_behind(self.matched)
    }

    /// Takes the body out, leaving an empty one.
    pub fn take_body(&mut self) -> Body {
        std::mem::replace(&mut self.request.body, Body::empty())
    }

    /// Does this for a call that is only tried.
    pub(crate) fn tried<T>(&mut self, note: impl FnOnce(&mut Trial) -> T) -> Option<T> {
        self.trial.as_mut().map(|trial| note(trial))
    }

    /// Writes a refusal for this caller and notes it in the record.
    pub(crate) fn refuse(&mut self, refusal: &Refusal) -> Response {
        self.tried(|trial| _ = trial.refusal.get_or_insert_with(|| refusal.clone()));
        self.record.note(|record| {
            record.refusal = Some(refusal.code());
            record.reason = refusal.private().map(Into::into);
        });
        if self.dialect.is_grpc() {
            let status = refusal.facts().status;
            self.record.note(|record| {
                record.status = status.as_u16();
                record.grpc_status = Some(Code::of(status) as u8);
            });
        }
        self.dialect.write(refusal, &self.id)
    }
}

#[derive(Serialize)]
struct ProblemDetails<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    request_id: &'a str,
}

#[derive(Serialize)]
struct OAuthError<'a> {
    error: &'a str,
    error_description: &'a str,
    code: &'a str,
    request_id: &'a str,
}

impl Dialect {
    /// The dialect of a path.
    pub fn of(path: DecisionPath<'_>) -> Self {
        let path = path.as_str();
        if path.starts_with("/oauth/") || path == "/verify_token" { Self::OAuth } else { Self::Http }
    }

    /// Whether it is one of gRPC's.
    pub fn is_grpc(self) -> bool {
        matches!(self, Self::Grpc | Self::GrpcWeb | Self::GrpcWebText)
    }

    /// Writes a refusal out: status, headers and a body, which is JSON but for gRPC.
    pub fn write(self, refusal: &Refusal, id: &RequestId) -> Response {
        let facts = refusal.facts();
        let mut status = facts.status;
        let mut fields = HeaderMap::new();
        if self.is_grpc() {
            status = StatusCode::OK;
            fields = grpc::code::refused(&facts);
        }
        let (content_type, body) = match self {
            Self::Grpc => (HeaderValue::from_static("application/grpc"), Ok(Vec::new())),
            Self::GrpcWeb => {
                let frame = grpc::web_trailers(&std::mem::take(&mut fields));
                (HeaderValue::from_static("application/grpc-web+proto"), Ok(frame.into()))
            }
            Self::GrpcWebText => {
                let frame = grpc::web_trailers(&std::mem::take(&mut fields));
                let text = STANDARD.encode(frame).into_bytes();
                (HeaderValue::from_static("application/grpc-web-text+proto"), Ok(text))
            }
            Self::Http => (
                HeaderValue::from_static("application/problem+json"),
                serde_json::to_vec(&ProblemDetails {
                    kind: format!("urn:portcullis:problem:{}", facts.code),
                    title: facts.title,
                    status: facts.status.as_u16(),
                    detail: &facts.detail,
                    code: facts.code,
                    request_id: id.as_str(),
                }),
            ),
            Self::OAuth => (
                HeaderValue::from_static("application/json"),
                serde_json::to_vec(&OAuthError {
                    error: oauth_error(refusal),
                    error_description: &facts.detail,
                    code: facts.code,
                    request_id: id.as_str(),
                }),
            ),
        };
        let mut response = Response::new(Body::full(body.unwrap_or_default()));
        *response.status_mut() = status;
        *response.headers_mut() = fields;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, content_type);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(challenge) = facts.challenge {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(allow) = facts.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if let Some(seconds) = facts.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(limits) = facts.limits {
            headers.insert(RATELIMIT_POLICY, limits.policy.clone());
            headers.insert(RATELIMIT, limits.state.clone());
        }
        response
    }
}

/// The error codes of RFC 6749 section 5.2.
fn oauth_error(refusal: &Refusal) -> &'static str {
    match refusal.facts().status.as_u16() {
        401 => "invalid_client",
        403 => "unauthorized_client",
        500.. => "temporarily_unavailable",
        _ => "invalid_request",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_in_hex_and_shared_without_a_copy() {
        let id = RequestId::from_random(*b"\x00\x01\x0f\x10 portcullis!");
        assert_eq!(id.as_str(), "00010f1020706f727463756c6c697321");
        let (one, other) = (id.header(), id.header());
        assert_eq!((one.as_bytes(), id.size()), (id.as_str().as_bytes(), 32));
        assert!(std::ptr::eq(one.as_bytes(), other.as_bytes()));
    }
}
