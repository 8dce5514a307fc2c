//! One call to one target: the request written anew from typed values, the answer taken apart the same way.

use std::future::{Future, ready};
use std::sync::Arc;

use futures_util::future::{BoxFuture, Either};
use futures_util::{FutureExt, TryFutureExt};
use http::{Method, Request, StatusCode, Uri, Version};
use http_body::Body as _;
use portcullis_core::body::Body;
use portcullis_core::call::{Call, ClientEntry, Hints, Response, fomalhaut};
use portcullis_core::dry_run::Destination;
use portcullis_core::message::names::{
    CONNECTION, CONTENT_LENGTH, HOST, TE, TRACEPARENT, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA, X_API_ACCESS_KEY,
    X_API_KEY, X_API_USER_JSON, X_APP_ID, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO, X_REQUEST_ID,
    X_USER_JSON,
};
use portcullis_core::message::{FieldName, FieldValue, FieldsMut, HasFields, Value};
use portcullis_core::model::{HostMode, TargetUrl};
use portcullis_core::refusal::Refusal;
use portcullis_wire::fields::strip_response;

use crate::attempt::Failed;
use crate::backend::Backend;
use crate::caller_id::CallerId;
use crate::checkout::Checkout;
use crate::http1::{self, Answered};
use crate::settings::{ForwardPath, Forwarding, Settings};
use crate::{forwarding_fields, http2, upgrade};

/// Sends a call to a target, and waits for its answer: the request that `again` holds, or else the call's own, which is
/// written then. No async function, so that nothing of the request is kept meanwhile.
pub fn begin<'a>(
    settings: &'a Settings,
    forwarding: &Forwarding,
    call: &'a mut Call,
    target: &'a Backend,
    lease: Checkout,
    again: Option<Box<Request<Body>>>,
) -> impl Future<Output = Result<Answered, Failed>> + use<'a> {
    match aimed(settings, forwarding, call, target, again) {
        Ok(request) => send(settings, lease, target, request, call.hints.as_ref()),
        Err(failed) => Either::Right(ready(Err(failed)).boxed()),
    }
}

/// The request as one target gets it.
fn aimed(
    settings: &Settings,
    forwarding: &Forwarding,
    call: &mut Call,
    target: &Backend,
    again: Option<Box<Request<Body>>>,
) -> Result<Request<Body>, Failed> {
    let mut request = match again {
        Some(request) => *request,
        None => {
            let mut request = Request::new(call.take_body());
            write(settings, call, &mut request)?;
            request
        }
    };
    *request.uri_mut() = uri(forwarding, call, &target.url)?;
    request.fields_mut().set(HOST, host(forwarding, call, target)?);
    Ok(request)
}

/// Makes the head of a target's answer what the caller gets.
pub fn pass_back(settings: &Settings, response: &mut Response) {
    let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let switched_to = if switches { response.fields_mut().remove(UPGRADE) } else { None };
    strip_response(response.fields_mut());
    if let Some(protocol) = switched_to {
        response.fields_mut().set(CONNECTION, FieldValue::from_static("upgrade"));
        response.fields_mut().set(UPGRADE, protocol);
    }
    let received = if response.version() == Version::HTTP_2 { Version::HTTP_2 } else { Version::HTTP_11 };
    response.fields_mut().add(VIA, settings.via.of(received));
    *response.version_mut() = Version::HTTP_11;
}

/// Makes a request what every target of the service gets. What is left is where it goes.
fn write(settings: &Settings, call: &mut Call, request: &mut Request<Body>) -> Result<(), Failed> {
    let mut headers = std::mem::take(&mut call.request.fields);
    write_fields(settings, call, headers.fields_mut())?;
    write_framing(&call.request.method, request.body(), headers.fields_mut());
    if let Some(upgrade) = &call.upgrade {
        headers.set(CONNECTION, FieldValue::from_static("upgrade"));
        headers.set(UPGRADE, upgrade.protocols.clone());
    }
    *request.method_mut() = call.request.method.clone();
    request.fields_mut().replace(headers);
    Ok(())
}

/// Where a call would go, and under which `Host`.
pub fn preview(forwarding: &Forwarding, call: &Call, target: &Backend) -> Result<Destination, Refusal> {
    let host = host(forwarding, call, target).map_err(Failed::into_refusal)?;
    let target = &target.url;
    let uri = uri(forwarding, call, target).map_err(Failed::into_refusal)?;
    Ok(Destination::Target {
        target: target.to_string(),
        url: format!("{}://{}{uri}", target.scheme().as_str(), target.authority()),
        host: String::from_utf8_lossy(host.as_bytes()).into_owned(),
    })
}

fn host(forwarding: &Forwarding, call: &Call, target: &Backend) -> Result<FieldValue, Failed> {
    match &forwarding.host {
        HostMode::Target => own(target.host.clone()),
        HostMode::Preserve => Ok(call.request.host.header()),
        HostMode::Named(host) => own(FieldValue::of(host).ok()),
    }
}

/// Base path, one slash, what the route makes of the path, query.
fn uri(forwarding: &Forwarding, call: &Call, target: &TargetUrl) -> Result<Uri, Failed> {
    let filled;
    let rest = match &forwarding.path {
        ForwardPath::Rest => call.forwarded_rest(),
        ForwardPath::Whole => call.request.path.forwarded(),
        ForwardPath::Template(template) => {
            filled = template.fill(call);
            &filled
        }
        ForwardPath::Nothing => "",
    };
    let query = call.request.query.as_deref().filter(|_| forwarding.query.is_keep());
    // The root is a slash also where nothing is behind it.
    let has_path = forwarding.path != ForwardPath::Nothing || target.base().is_empty();
    let slash = usize::from(has_path && !rest.starts_with('/'));
    // As long as it becomes: what is longer would be allocated a second time.
    let mut text = Vec::with_capacity(target.base().len() + slash + rest.len() + query.map_or(0, |it| 1 + it.len()));
    text.extend_from_slice(target.base().as_bytes());
    if slash > 0 {
        text.push(b'/');
    }
    text.extend_from_slice(rest.as_bytes());
    if let Some(query) = query {
        text.push(b'?');
        text.extend_from_slice(query);
    }
    Uri::try_from(text).map_err(|_| Failed::internal("a canonical target that is no URI"))
}

/// What the backend is told besides what the caller said, and what it is not told.
fn write_fields(settings: &Settings, call: &Call, mut headers: FieldsMut<'_>) -> Result<(), Failed> {
    // A key never travels, whoever let the call in.
    headers.remove(X_API_KEY);
    for name in call.caller.consumed.names() {
        headers.remove(name);
    }
    if let Some(user) = &call.caller.user {
        headers.set(X_USER_JSON, user.user_json.clone());
    }
    if let Some(client) = call.caller.client() {
        headers.set(X_APP_ID, client.app_id.clone());
    } else if let Some(client) = &call.caller.foreign_client {
        headers.set(X_APP_ID, client.app_id.clone());
    } else if let Some(client) = anybodys(call) {
        headers.set(X_APP_ID, client.app_id.clone());
    }
    if call.dialect.fomalhaut() == Some(fomalhaut::Form::Api) {
        write_for_api(call, &mut headers);
    }
    // None of these is there: the door has taken them away, and settings may not write them.
    headers.add(X_REQUEST_ID, call.id.header());
    headers.add(X_FORWARDED_FOR, own(forwarding_fields::address(call.peer.client_ip))?);
    headers.add(X_FORWARDED_PROTO, FieldValue::from_static(call.peer.scheme));
    headers.add(X_FORWARDED_HOST, call.request.host.header());
    headers.add(VIA, settings.via.of(call.request.version));
    headers.set(TRACEPARENT, own(forwarding_fields::trace_parent(headers.view().get(TRACEPARENT), &call.id))?);
    let says_so = |(name, value): &(FieldName, FieldValue)| *name == TE && says_trailers(value.value());
    if call.grpc.is_some() || headers.view().has(TRAILER) || call.raw.removed.iter().any(says_so) {
        headers.set(TE, FieldValue::from_static("trailers"));
    }
    Ok(())
}

/// The client of an open route that a call claims to be of, where nobody could prove to be that client: it has no secret and
/// no key to sign with, like the client `public` of fomalhaut.
fn anybodys(call: &Call) -> Option<&ClientEntry> {
    let client = call.claimed.as_deref().filter(|_| call.dialect.fomalhaut().is_some())?;
    let is_of_route = call.route.as_ref().is_some_and(|route| route.client.as_ref() == Some(&client.name));
    (is_of_route && client.secrets.is_empty() && client.keys.is_empty()).then_some(client)
}

/// What backends of fomalhaut's dialect `api` are told besides.
fn write_for_api(call: &Call, headers: &mut FieldsMut<'_>) {
    if let Some(user) = &call.caller.user {
        headers.set(X_API_USER_JSON, user.user_json.clone());
    }
    if let Some(client) = call.caller.client() {
        headers.set(X_API_ACCESS_KEY, client.app_id.clone());
    }
}

/// Says how the body is framed where hyper would say nothing: it drops a body of unknown length with a method that
/// seldom has one, and a method that is about a body says that there is none (RFC 9110 section 8.6).
fn write_framing(method: &Method, body: &Body, mut headers: FieldsMut<'_>) {
    if body.size_hint().exact().is_none() {
        headers.set(TRANSFER_ENCODING, FieldValue::from_static("chunked"));
    } else if body.is_empty() && matches!(*method, Method::POST | Method::PUT | Method::PATCH) {
        headers.set(CONTENT_LENGTH, FieldValue::from_static("0"));
    }
}

fn own(value: Option<FieldValue>) -> Result<FieldValue, Failed> {
    value.ok_or_else(|| Failed::internal("a header value of our own that is none"))
}

fn says_trailers(value: Value<'_>) -> bool {
    value.as_bytes().split(|byte| *byte == b',').any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

/// What most calls do without. Apart, so that they do not carry its weight.
type Seldom<'a> = BoxFuture<'a, Result<Answered, Failed>>;

/// Sends a request over a connection, and waits for its answer.
fn send<'a>(
    settings: &'a Settings,
    lease: Checkout,
    target: &'a Backend,
    request: Request<Body>,
    hints: Option<&'a Arc<dyn Hints>>,
) -> Either<impl Future<Output = Result<Answered, Failed>> + use<'a>, Seldom<'a>> {
    match lease {
        Checkout::Whole { connection, reused } => {
            Either::Left(http1::send(settings, connection, reused, request, hints))
        }
        Checkout::Stream(place) => {
            let answer = http2::send(settings, place, target, request, hints);
            Either::Right(answer.map(|answered| answered.map(Answered::Response)).boxed())
        }
    }
}

/// There are as many tunnels to the target as there may be.
pub fn no_tunnel() -> Failed {
    Failed::busy("there is no room for a tunnel")
}

/// An answer as it is passed on: one that switches protocols becomes a tunnel, if that was wished for.
pub fn settled(
    settings: &Settings,
    sent: Result<Answered, Failed>,
    call: &mut Call,
    target: &Backend,
) -> impl Future<Output = Result<Response, Failed>> + use<> {
    let (response, connection) = match sent {
        Ok(Answered::Response(response)) => return Either::Left(ready(Ok(response))),
        Err(failure) => return Either::Left(ready(Err(failure))),
        Ok(Answered::Switched(response, connection)) => (response, connection),
    };
    let Some(upgrade) = call.upgrade.take() else {
        let unasked = "switched protocols without being asked to";
        return Either::Left(ready(Err(Failed::broken(unasked))));
    };
    let Some(room) = target.rooms.tunnels.take(CallerId::of(call)) else {
        return Either::Left(ready(Err(no_tunnel())));
    };
    // It is no connection for calls any more.
    connection.holder.release();
    let tunnel = upgrade::tunnel(response, *upgrade, (connection.held, room), settings.tunnel_limit());
    Either::Right(Box::pin(tunnel.map_err(Failed::broken)))
}

#[cfg(test)]
mod tests {
    use std::time::{Instant, SystemTime};

    use portcullis_core::call::{Dialect, Peer, RawRequest, Request as CallRequest, RequestId};
    use portcullis_core::canonical::{Host, Path};
    use portcullis_core::message::FieldMap;
    use portcullis_core::model::QueryMode;
    use portcullis_core::ports::AccessLog;
    use portcullis_core::record::{OpenRecord, Record};

    use super::*;
    use crate::template::Template;
    use crate::testing;

    struct Nowhere;

    impl AccessLog for Nowhere {
        fn write(&self, _: &Record) {}
    }

    fn call(path: &str, matched: &str, query: Option<&'static str>) -> Call {
        let (id, client_ip) = (RequestId::from_random([7; 16]), [192, 0, 2, 7].into());
        let path = Path::parse(path).expect("a path");
        let record = Record::begun(SystemTime::UNIX_EPOCH, id.clone(), client_ip, Method::GET, path.shared());
        let peer =
            Peer { socket: (client_ip, 4711).into(), client_ip, shared: false, scheme: "http", certificate: None };
        let request = CallRequest {
            method: Method::GET,
            path,
            query: query.map(|query| query.as_bytes().into()),
            host: Host::parse(b"gate").expect("a host"),
            version: Version::HTTP_11,
            fields: FieldMap::new(),
            body: Body::empty(),
        };
        let raw = RawRequest { target: Uri::from_static("/"), removed: Vec::new() };
        let record = OpenRecord::new(record, Instant::now(), Arc::new(Nowhere));
        let mut call = Call::new(id, peer, request, raw, Dialect::Http, record);
        call.matched = matched.len();
        call
    }

    #[test]
    fn the_service_gets_what_the_route_makes_of_path_and_query() {
        let template = |text: &str| ForwardPath::Template(Template::parse(text, &[], "rewrite").expect("well formed"));
        for (base, path, query, want) in [
            ("", ForwardPath::Whole, QueryMode::Keep, "/orders/v1/7?a=1&b"),
            ("/p", ForwardPath::Whole, QueryMode::Drop, "/p/orders/v1/7"),
            ("/p", ForwardPath::Rest, QueryMode::Keep, "/p/7?a=1&b"),
            ("/p", template("/x"), QueryMode::Drop, "/p/x"),
            ("/p", template("/"), QueryMode::Drop, "/p/"),
            // The target's own URL, to the letter.
            ("/p", ForwardPath::Nothing, QueryMode::Drop, "/p"),
            ("/p", ForwardPath::Nothing, QueryMode::Keep, "/p?a=1&b"),
            ("", ForwardPath::Nothing, QueryMode::Drop, "/"),
            ("", ForwardPath::Nothing, QueryMode::Keep, "/?a=1&b"),
        ] {
            let target = testing::backend(&format!("http://target{base}"));
            let case = format!("{base} {path:?} {query:?}");
            let forwarding = Forwarding { path, query, host: HostMode::Target, is_registered: false };
            let call = call("/orders/v1/7", "/orders/v1", Some("a=1&b"));
            let Ok(Destination::Target { url, .. }) = preview(&forwarding, &call, &target) else { panic!("{case}") };
            assert_eq!(url, format!("http://target{want}"), "{case}");
        }
    }
}
