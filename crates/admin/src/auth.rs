//! Who may speak to the control plane: the door every request passes before it is routed.
//!
//! A browser that was led here by a name it resolved to this machine (DNS rebinding), or by a page of another
//! origin, is turned away before its token is looked at; so is everybody without the admin token. What is counted has a
//! token of its own, which opens nothing else.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, StatusCode};
use portcullis_core::call::RequestId;
use portcullis_core::directory::KeyHash;
use portcullis_identity::hash_key;
use subtle::ConstantTimeEq;

use crate::ids::random;
use crate::problem::{self, ApiError};
use crate::state::AdminState;

/// The path that says whether the process lives; probes ask it by address.
pub(crate) const HEALTH: &str = "/-/health";
/// The path of the API's own description.
pub(crate) const DOCUMENT: &str = "/api/v1/openapi.json";
/// The path of what is counted.
pub(crate) const METRICS: &str = "/metrics";

/// Who may read what is counted.
pub enum MetricsAccess {
    /// Who shows the admin token, or the token with this hash.
    Token(KeyHash),
    /// Whoever reaches the control plane by one of its names.
    Open,
}

/// Lets a request in or not, and gives every answer its last form.
pub(crate) async fn authorize(State(state): State<Arc<AdminState>>, request: Request, next: Next) -> Response {
    let id = RequestId::from_random(random());
    let response = match admit(&state, &request) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    problem::finish(response, &id)
}

fn admit(state: &AdminState, request: &Request) -> Result<(), ApiError> {
    let path = request.uri().path();
    if path == HEALTH {
        return Ok(());
    }
    let host = host(request)?;
    if !is_ours(state, host.host()) {
        return Err(forbidden("forbidden_host", "this host name is none of the control plane's"));
    }
    check_origin(request.headers(), &host)?;
    match path {
        DOCUMENT => Ok(()),
        METRICS => match &state.metrics {
            MetricsAccess::Open => Ok(()),
            MetricsAccess::Token(token) => check_token(&[&state.token, token], request.headers()),
        },
        _ => check_token(&[&state.token], request.headers()),
    }
}

/// The authority that was asked for: of the target where it carries one, else of the one `Host` field (RFC 9112 section 3.2).
fn host(request: &Request) -> Result<Authority, ApiError> {
    let bad = || ApiError::malformed("bad_host", "expected one 'Host' field with a host and perhaps a port");
    let field = only(request.headers(), &HOST).map_err(|()| bad())?;
    if let Some(authority) = request.uri().authority() {
        return Ok(authority.clone());
    }
    let authority: Authority = field.ok_or_else(bad)?.parse().map_err(|_| bad())?;
    if authority.as_str().contains('@') { Err(bad()) } else { Ok(authority) }
}

/// The value of a field that may be there once, as text; an error if it is there twice or is no text.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, ()> {
    let mut values = headers.get_all(name).iter();
    let Some(first) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(());
    }
    first.to_str().map(Some).map_err(|_| ())
}

fn is_ours(state: &AdminState, host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let loopback = bare.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback());
    let is_certified = || state.tls.as_ref().is_some_and(|tls| tls.covers(&bare.to_ascii_lowercase()));
    loopback
        || is_certified()
        || state.hosts.iter().any(|ours| ours.trim_matches(['[', ']']).eq_ignore_ascii_case(bare))
}

/// A request that a page sent must come from a page of this very host.
fn check_origin(headers: &HeaderMap, host: &Authority) -> Result<(), ApiError> {
    let refused = || forbidden("forbidden_origin", "the request comes from a page of another origin");
    let Some(origin) = only(headers, &ORIGIN).map_err(|()| refused())? else { return Ok(()) };
    let (scheme, authority) = origin.split_once("://").ok_or_else(refused)?;
    let default = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return Err(refused()),
    };
    let authority: Authority = authority.parse().map_err(|_| refused())?;
    let port = |of: &Authority| of.port_u16().unwrap_or(default);
    let same = authority.host().eq_ignore_ascii_case(host.host()) && port(&authority) == port(host);
    if same { Ok(()) } else { Err(refused()) }
}

/// The token that is shown must be one of these.
fn check_token(good: &[&KeyHash], headers: &HeaderMap) -> Result<(), ApiError> {
    const REALM: &str = "Bearer realm=\"portcullis admin\"";
    let refuse =
        |code, detail: &'static str| ApiError::new(StatusCode::UNAUTHORIZED, code, detail).with_challenge(REALM);
    let shown = only(headers, &AUTHORIZATION).map_err(|()| refuse("invalid_credential", "the admin token is wrong"))?;
    let Some(token) = shown.and_then(bearer) else {
        return Err(refuse("missing_credential", "the admin token is needed in 'Authorization: Bearer …'"));
    };
    let shown = hash_key(token);
    // Each is compared, so that the time it takes does not tell which.
    let is_good = good.iter().fold(subtle::Choice::from(0), |found, good| found | shown.0.ct_eq(&good.0));
    if is_good.into() { Ok(()) } else { Err(refuse("invalid_credential", "the admin token is wrong")) }
}

/// The token in `Bearer <token>`; the scheme's case does not matter (RFC 9110 section 11.1).
pub(crate) fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn forbidden(code: &'static str, detail: &'static str) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, code, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn a_page_may_speak_to_its_own_host_only() {
        for (origin, host, fine) in [
            ("http://127.0.0.1:6501", "127.0.0.1:6501", true),
            ("http://LOCALHOST:6501", "localhost:6501", true),
            ("http://localhost", "localhost:80", true),
            ("https://localhost", "localhost", true),
            ("http://[::1]:6501", "[::1]:6501", true),
            ("http://127.0.0.1:6500", "127.0.0.1:6501", false),
            ("http://localhost:6501", "127.0.0.1:6501", false),
            ("http://evil.example", "127.0.0.1:6501", false),
            ("null", "127.0.0.1:6501", false),
            ("file://", "127.0.0.1:6501", false),
            ("127.0.0.1:6501", "127.0.0.1:6501", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ORIGIN, HeaderValue::from_static(origin));
            let host = host.parse().expect("an authority");
            assert_eq!(check_origin(&headers, &host).is_ok(), fine, "{origin} on {host}");
        }
    }

    #[test]
    fn the_bearer_scheme_is_read_in_any_case() {
        for (value, token) in [
            ("Bearer abc", Some("abc")),
            ("bearer  abc ", Some("abc")),
            ("Basic abc", None),
            ("Bearer", None),
            ("Bearer ", None),
            ("abc", None),
        ] {
            assert_eq!(bearer(value), token, "{value}");
        }
    }
}
