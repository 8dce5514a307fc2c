//! The door: an HTTP request becomes a canonical [`Call`], or a call that can only be refused.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{Method, Uri, Version, request};
use portcullis_core::body::Body;
use portcullis_core::call::{Call, Dialect, Peer, RawRequest, Request, RequestId};
use portcullis_core::canonical::{Host, Path};
use portcullis_core::dialect::Head;
use portcullis_core::fresh;
use portcullis_core::message::names::{
    CONTENT_LENGTH, COOKIE, EXPECT, HOST, SIGNATURE_INPUT, TRANSFER_ENCODING, VIA, X_REQUEST_ID,
};
use portcullis_core::message::{FieldName, FieldValue, Fields, FieldsMut, HasFields, Value};
use portcullis_core::record::{OpenRecord, Record};
use portcullis_core::refusal::{Credential, Refusal};
use portcullis_routing::snapshot::{self, HostFacts, Snapshot};
use portcullis_wire::fields::strip_request;
use portcullis_wire::trace;

use crate::forwarded::{Origin, Scheme, speaks_for_others};
use crate::grpc;
use crate::node::Node;
use crate::tls::Certified;

/// Characters of a path that cannot be made canonical that are kept for the record, which says itself what it cuts.
const SHOWN: usize = 2 << 10;

/// Who sends the requests of a connection.
#[derive(Debug, Clone)]
pub struct Sender {
    /// The address of the socket, or the one a trusted proxy has announced.
    pub address: SocketAddr,
    /// Whether that is a proxy whose word counts.
    pub is_proxy: bool,
    /// Whether they come over TLS that ends here.
    pub tls: bool,
    /// The certificate that was shown there.
    pub certificate: Option<Arc<Certified>>,
}

impl Sender {
    /// Whoever sends from an address, in clear.
    pub fn at(address: SocketAddr, is_proxy: bool) -> Self {
        Self { address, is_proxy, tls: false, certificate: None }
    }
}

/// What the door asks of what is declared.
pub(crate) trait Known {
    /// What is declared of a host.
    fn host(&self, host: &Host) -> Option<Arc<HostFacts>>;
    /// Whether any route is one of a client.
    fn has_routes_of_clients(&self) -> bool;
}

/// What the worker routes by.
pub(crate) struct OfWorker;

impl Known for OfWorker {
    fn host(&self, host: &Host) -> Option<Arc<HostFacts>> {
        snapshot::host(host)
    }

    fn has_routes_of_clients(&self) -> bool {
        snapshot::has_routes_of_clients()
    }
}

impl Known for Option<Arc<Snapshot>> {
    fn host(&self, host: &Host) -> Option<Arc<HostFacts>> {
        self.as_ref()?.host(host).cloned()
    }

    fn has_routes_of_clients(&self) -> bool {
        self.as_ref().is_some_and(|snapshot| snapshot.has_routes_of_clients())
    }
}

/// Brings a request into canonical form. Where that cannot be done the call says why, and is refused with it.
///
/// `known` says what is declared of the host, and whether there are routes of clients.
pub(crate) fn enter(
    node: &Node,
    known: &impl Known,
    sender: Sender,
    head: request::Parts,
    body: Body,
) -> (Box<Call>, Option<Refusal>) {
    let (started, time) = (Instant::now(), node.clock.now());
    let request::Parts { method, uri, version, mut headers, .. } = head;
    let read = read(node, &method, &uri, version, headers.fields());
    join_cookies(version, headers.fields_mut());
    let grpc = grpc::enter(&method, version, headers.fields(), started);
    let Sender { address: socket, is_proxy: trusted, tls, certificate } = sender;
    let removed = strip_request(headers.fields_mut(), trusted);
    if trusted {
        trace::keep_one(headers.fields_mut());
    }

    let peer = socket.ip().to_canonical();
    let origin = if trusted { Origin::told(peer, |hop| node.trusts(hop), &removed) } else { Origin::unsaid(peer) };
    let client_ip = origin.client;
    let shared = if trusted { origin.cut || node.trusts(client_ip) } else { speaks_for_others(peer, &removed) };
    let https = origin.scheme.map_or(tls, |scheme| scheme == Scheme::Https);
    let from_proxy = |name: FieldName| {
        removed.iter().filter(move |(found, _)| trusted && *found == name).map(|(_, value)| value.value())
    };
    let id = from_proxy(X_REQUEST_ID).next().and_then(RequestId::from_header).unwrap_or_else(fresh_id);

    let (path, host, refusal) = match read {
        Ok((path, host)) => (path, origin.host.filter(|host| node.goes_by(host)).or(host), None),
        Err(refusal) => (None, None, Some(refusal)),
    };
    let (of_grpc, grpc) = match grpc {
        None => (None, Ok(None)),
        Some((form, grpc)) => (Some(form), grpc.map(Some)),
    };
    let (grpc, refusal) = match grpc {
        Ok(grpc) => (grpc, refusal),
        Err(malformed) => (None, refusal.or(Some(malformed))),
    };
    let refusal = if is_certified(node, certificate.as_deref(), time) { refusal } else { Some(no_longer_certified()) };
    let certificate = certificate.map(|certified| Arc::clone(certified.facts()));
    let shown = path.as_ref().map_or_else(|| printable(uri.path()), Path::shared);
    let record = Record::begun(time, id.clone(), client_ip, method.clone(), shown);
    let path = path.unwrap_or_else(Path::root);
    let declared = host.as_ref().and_then(|host| known.host(host));
    let of_host = declared.as_ref().and_then(|host| host.dialect.form());
    let is_signed = of_host.is_some() && headers.fields().has(SIGNATURE_INPUT);
    let head = Head { grpc: of_grpc, removed: &removed, path: path.decision(), host: of_host, is_signed };
    let dialect = Dialect::of(&head);
    let peer = Peer { socket, client_ip, shared, scheme: if https { "https" } else { "http" }, certificate };
    let query = uri.query().map(|query| Bytes::copy_from_slice(query.as_bytes()));
    let host = host.unwrap_or_else(Host::unnamed);
    let request = Request { method, path, query, host, version, fields: headers.into(), body };
    let record = OpenRecord::new(record, started, Arc::clone(&node.log));
    let mut call = Box::new(Call::new(id, peer, request, RawRequest { target: uri, removed }, dialect, record));
    call.grpc = grpc;
    call.public_url = declared.and_then(|host| host.public_url.clone());
    if let Some(claims) = &node.claims {
        claims.note(&mut call, known.has_routes_of_clients());
    }
    (call, refusal)
}

/// Whether the certificate that came with the connection, if any did, is still good.
fn is_certified(node: &Node, certificate: Option<&Certified>, time: SystemTime) -> bool {
    let Some(certificate) = certificate else { return true };
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    node.tls.as_ref().is_some_and(|tls| tls.admits(certificate, i64::try_from(seconds).unwrap_or(i64::MAX)))
}

fn no_longer_certified() -> Refusal {
    Refusal::invalid(Credential::ClientCertificate, "the certificate has expired or was revoked since the handshake")
}

/// What one look at all fields of a request shows of those that the door asks about.
#[derive(Default)]
struct Seen<'a> {
    host: Option<Value<'a>>,
    hosts: usize,
    lengths: usize,
    codings: usize,
    has_other_coding: bool,
    expects_other: bool,
    was_here: bool,
}

impl<'a> Seen<'a> {
    fn of(headers: Fields<'a>, own: &[u8]) -> Self {
        let mut seen = Self::default();
        for (name, value) in headers.iter() {
            if name == HOST {
                seen.host = Some(value);
                seen.hosts += 1;
            } else if name == CONTENT_LENGTH {
                seen.lengths += 1;
            } else if name == TRANSFER_ENCODING {
                seen.codings += 1;
                seen.has_other_coding |= !value.as_bytes().eq_ignore_ascii_case(b"chunked");
            } else if name == EXPECT {
                seen.expects_other |= !value.as_bytes().eq_ignore_ascii_case(b"100-continue");
            } else if name == VIA {
                seen.was_here |= value.as_bytes().windows(own.len()).any(|part| part == own);
            }
        }
        seen
    }
}

/// Path and host in canonical form, and everything that makes a request unfit to be read.
fn read(
    node: &Node,
    method: &Method,
    uri: &Uri,
    version: Version,
    headers: Fields<'_>,
) -> Result<(Option<Path>, Option<Host>), Refusal> {
    // A tunnel is not what this is for, and TRACE would show the caller what only the backend is told.
    if matches!(*method, Method::CONNECT | Method::TRACE) {
        return Err(Refusal::MethodNotAllowed { allow: "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS" });
    }
    let target = uri.path_and_query().map_or(0, |target| target.as_str().len());
    let authority = uri.authority().map_or(0, |authority| authority.as_str().len());
    if method.as_str().len() + authority + target > node.limits.request_line {
        return Err(Refusal::TargetTooLong { limit: node.limits.request_line });
    }
    let seen = Seen::of(headers, node.pseudonym.as_bytes());
    let host = read_host(uri, version, &seen)?;
    // Methods are told apart by case, but not by everybody.
    if method.as_str().bytes().any(|byte| byte.is_ascii_lowercase()) {
        return Err(Refusal::malformed("bad_method", "a method has no lower-case letters"));
    }
    if uri.path_and_query().is_none() {
        return Err(Refusal::malformed("bad_target", "the request target is a path or an absolute URL"));
    }
    let path = Path::parse(if uri.path().is_empty() { "/" } else { uri.path() })?;
    // Over HTTP/1.1 the parser counts.
    if headers.len() > node.limits.header_count {
        return Err(Refusal::TooManyFields { limit: node.limits.header_count });
    }
    // RFC 9113 section 8.2.1, RFC 9114 section 4.2. In HTTP/1.1 the same stands beside a value and is none of it: a service
    // would get another value than that which was decided on.
    if version >= Version::HTTP_2 && headers.iter().any(|(_, value)| is_padded(value)) {
        return Err(Refusal::malformed("bad_field", "the value of a field neither begins nor ends with white space"));
    }
    if seen.has_other_coding || seen.codings > 1 {
        return Err(Refusal::UnknownTransferCoding);
    }
    if seen.expects_other {
        return Err(Refusal::ExpectationFailed);
    }
    if seen.lengths > 1 {
        return Err(Refusal::malformed("bad_length", "a request has one Content-Length"));
    }
    if seen.was_here {
        return Err(Refusal::Loop);
    }
    Ok((Some(path), Some(host)))
}

/// Whether a value begins or ends with white space.
pub fn is_padded(value: Value<'_>) -> bool {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    is_space(value.as_bytes().first()) || is_space(value.as_bytes().last())
}

/// Over HTTP/2 a caller may send each cookie in a field of its own; to HTTP/1.1 it is one (RFC 9113 section 8.2.3).
fn join_cookies(version: Version, mut headers: FieldsMut<'_>) {
    if version < Version::HTTP_2 || headers.view().all(COOKIE).nth(1).is_none() {
        return;
    }
    let crumbs: Vec<_> = headers.view().all(COOKIE).map(Value::as_bytes).collect();
    if let Ok(joined) = FieldValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.set(COOKIE, joined);
    }
}

/// The host a request is for: that of an absolute target, else the one `Host` field (RFC 9112 section 3.2).
fn read_host(uri: &Uri, version: Version, seen: &Seen<'_>) -> Result<Host, Refusal> {
    if seen.hosts > 1 {
        return Err(Refusal::malformed("bad_host", "a request has one Host field"));
    }
    let field = match seen.host {
        Some(field) => Some(Host::parse(field.as_bytes())?),
        None if version == Version::HTTP_11 || (version >= Version::HTTP_2 && uri.authority().is_none()) => {
            return Err(Refusal::malformed("missing_host", "a request names its host"));
        }
        None => None,
    };
    match (uri.authority(), field) {
        (Some(authority), _) if uri.scheme_str().is_some_and(|scheme| scheme != "http" && scheme != "https") => {
            Err(Refusal::malformed("bad_target", format!("the scheme of '{authority}' is not http or https")))
        }
        // Over HTTP/2 both are the same host, or one of them is meant for somebody else (RFC 9113 section 8.3.1).
        (Some(authority), Some(field)) if version >= Version::HTTP_2 => {
            let host = Host::parse(authority.as_str().as_bytes())?;
            let same = host.as_str() == field.as_str();
            same.then_some(host).ok_or_else(|| Refusal::malformed("bad_host", "':authority' and 'host' differ"))
        }
        (Some(authority), _) => Host::parse(authority.as_str().as_bytes()),
        (None, Some(field)) => Ok(field),
        (None, None) => Ok(Host::unnamed()),
    }
}

/// Whether a request that is refused like this ends its connection, where that is HTTP/1.1. What could not be read may end
/// elsewhere than it seems to, or be for somebody else than whoever stands in front took it to be: nothing behind it is
/// answered.
pub fn ends_connection(refusal: &Refusal) -> bool {
    // These were read well, and are refused for what they ask.
    let is_read = matches!(refusal, Refusal::MethodNotAllowed { .. } | Refusal::ExpectationFailed | Refusal::Loop);
    !is_read
}

/// Whether the connection must be closed after the answer because of how the request was framed: a length and
/// a coding together can be an attempt to smuggle (RFC 9112 section 6.1).
pub fn is_framed_twice(headers: Fields<'_>) -> bool {
    headers.has(TRANSFER_ENCODING) && headers.has(CONTENT_LENGTH)
}

fn printable(raw: &str) -> Arc<str> {
    let fine = raw.chars().filter(|character| !character.is_control());
    fine.take(SHOWN).collect::<String>().into()
}

/// An id that no other call has; unpredictable enough not to be met by chance, but no secret.
fn fresh_id() -> RequestId {
    RequestId::from_random(fresh::bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_core::message::FieldMap;

    #[test]
    fn fuzz_cookies() {
        let seeds = ["a=1\nb=2; c=3", "a=\"x;y\"\n\n;", "session=a; session=b\ntheme=dark", "=\n=\n="];
        crate::fuzzing::run("cookies", &seeds, |input| {
            let crumbs: Vec<_> = input.split(|byte| *byte == b'\n').collect();
            let mut headers = FieldMap::new();
            for crumb in &crumbs {
                headers.add(COOKIE, FieldValue::from_bytes(crumb).ok()?);
            }
            let mut as_sent = headers.clone();
            join_cookies(Version::HTTP_11, as_sent.fields_mut());
            assert_eq!(as_sent, headers, "over HTTP/1.1 they stay as they came");
            join_cookies(Version::HTTP_2, headers.fields_mut());
            // One field, in which nothing is lost, added or moved.
            let joined: Vec<_> = headers.fields().all(COOKIE).map(Value::as_bytes).collect();
            assert_eq!(joined, [crumbs.join(&b"; "[..])]);
            Some((crumbs.len().min(8), joined[0].len().min(40)))
        });
    }
}
