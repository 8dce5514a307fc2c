//! Whatever the gateway refuses in any test, it must have said so beforehand: each refusal is asked about, and what
//! `explain` tells is held against what has happened.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::client::{Answer, call};

/// The admin APIs of the gateways that run, with their tokens, by the addresses of their data planes.
static GATEWAYS: Mutex<Option<HashMap<SocketAddr, (SocketAddr, String)>>> = Mutex::new(None);

/// What is decided behind the pipeline, or by what is in a body: there `explain` says that the call gets so far.
const DECIDED_LATER: [&str; 13] = [
    "broken_body",
    "body_too_large",
    "conflict",
    "internal",
    "overloaded",
    // A call that is only tried is noted nowhere.
    "replayed",
    "request_timeout",
    // By what a name resolves to.
    "upstream_address_refused",
    "upstream_broken",
    "upstream_busy",
    "upstream_timeout",
    "upstream_tls",
    "upstream_unreachable",
];

/// Bytes of a body that are sent with the question.
const LONGEST_BODY: usize = 64 << 10;

/// Calls to this data plane are asked about from now on.
pub(super) fn begin(data: SocketAddr, admin: SocketAddr, token: &str) {
    let mut gateways = GATEWAYS.lock().unwrap_or_else(PoisonError::into_inner);
    gateways.get_or_insert_default().insert(data, (admin, token.to_owned()));
}

/// They are no longer.
pub(super) fn end(data: SocketAddr) {
    let mut gateways = GATEWAYS.lock().unwrap_or_else(PoisonError::into_inner);
    gateways.get_or_insert_default().remove(&data);
}

/// Holds the answer to a request against what is told about the request.
pub(super) fn hold(address: SocketAddr, request: &[u8], answer: &Answer) {
    let found =
        GATEWAYS.lock().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(|all| all.get(&address).cloned());
    let Some((admin, token)) = found else { return };
    // What has come through from behind is not the gateway's own word.
    let is_own = answer.header("via").is_none();
    if !is_own
        || answer.header("content-type") != Some("application/problem+json")
        || TcpStream::connect(admin).is_err()
    {
        return;
    }
    let (Some(question), Ok(refusal)) = (question(request), serde_json::from_slice::<Value>(&answer.body)) else {
        return;
    };
    let bearer = format!("Bearer {token}");
    let fields = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let told = call(admin, "POST", "/api/v1/explain", &fields, question.to_string().as_bytes());
    assert_eq!(told.status, 200, "{question}: {}", told.text());
    let told = told.json();
    let (outcome, code) = (&told["outcome"], refusal["code"].as_str().unwrap_or_default());
    let agrees = match outcome["kind"].as_str() {
        // The gateway's own endpoints answer by what is in the body.
        Some("handled") => true,
        Some("forwarded") => DECIDED_LATER.contains(&code) || is_over(code, answer),
        Some("refused") if outcome["code"] == code => outcome["status"] == answer.status,
        Some("refused") => outcome["code"] == "too_many_requests" && took_the_last(answer),
        _ => false,
    };
    assert!(agrees, "it was refused like this: {refusal}\nbut told like this: {told}\n{question}");
}

/// Whether a limit may have let go since.
fn is_over(code: &str, answer: &Answer) -> bool {
    let wait = answer.header("retry-after").and_then(|wait| wait.parse::<u32>().ok());
    code == "too_many_requests" && wait.is_some_and(|wait| wait <= 2)
}

/// Whether the call itself has used up a limit, so that the next one meets it.
fn took_the_last(answer: &Answer) -> bool {
    answer.header("ratelimit").is_some_and(|state| state.contains(";r=0;"))
}

/// The first request of some bytes as a question; none if it is not plain HTTP/1.1 in text.
fn question(request: &[u8]) -> Option<Value> {
    let mut fields = [httparse::EMPTY_HEADER; 256];
    let mut head = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(length) = head.parse(request).ok()? else { return None };
    if head.version != Some(1) {
        return None;
    }
    // Signatures are verified over the body.
    let body = &request[length..];
    let is_whole = |value: &[u8]| std::str::from_utf8(value).is_ok_and(|value| value.parse() == Ok(body.len()));
    let mut lengths = head.headers.iter().filter(|field| field.name.eq_ignore_ascii_case("content-length"));
    let is_short = body.len() <= LONGEST_BODY && lengths.next().is_some_and(|field| is_whole(field.value));
    let body = is_short.then(|| STANDARD.encode(body));
    let named = |name: &str| head.headers.iter().any(|field| field.name.eq_ignore_ascii_case(name));
    let text = |field: &httparse::Header<'_>| Some(json!([field.name, std::str::from_utf8(field.value).ok()?]));
    let headers = head.headers.iter().map(text).collect::<Option<Vec<_>>>()?;
    // A question without a host is given one, and `*` and `host:port` are no URLs.
    let is_url = head.path.is_some_and(|target| target.starts_with('/') || target.contains("://"));
    (named("host") && is_url)
        .then(|| json!({"method": head.method, "url": head.path, "headers": headers, "body": body}))
}
