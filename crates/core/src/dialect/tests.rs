//! Which dialect a request is in, and how refusals read in those of fomalhaut.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;

use super::fomalhaut::Form;
use super::*;
use crate::canonical::Path;
use crate::refusal::Credential;

fn removed(names: &[&'static str]) -> Vec<(FieldName, FieldValue)> {
    names.iter().map(|name| (FieldName::from_static(name), FieldValue::from_static("x"))).collect()
}

fn of(fields: &[&'static str], path: &str, host: Option<Form>) -> Dialect {
    let (removed, path) = (removed(fields), Path::parse(path).expect("a path"));
    Dialect::of(&Head { grpc: None, removed: &removed, path: path.decision(), host, is_signed: false })
}

#[test]
fn the_whole_head_decides_which_dialect_it_is() {
    let (fo, api) = (Dialect::Fomalhaut(Form::Fo), Dialect::Fomalhaut(Form::Api));
    for (fields, path, host, expected) in [
        (&[][..], "/orders", None, Dialect::Http),
        (&[], "/oauth/token", None, Dialect::OAuth),
        (&[], "/verify_token", None, Dialect::OAuth),
        (&[], "/orders", Some(Form::Fo), fo),
        (&[], "/oauth/token", Some(Form::Fo), Dialect::OAuth),
        (&["x-fo-app-id"], "/orders", None, fo),
        (&["x-fo-signature"], "/oauth/token", None, fo),
        (&["x-fo-timestamp"], "/orders", None, fo),
        (&["x-fo-unknown"], "/orders", None, Dialect::Http),
        (&["x-forwarded-for"], "/orders", None, Dialect::Http),
        (&["x-api-access-key"], "/orders", None, api),
        (&["x-fo-app-id", "x-api-access-key"], "/orders", None, api),
        (&["x-api-timestamp"], "/orders", None, Dialect::Http),
        (&["x-api-access-key"], "/orders", Some(Form::Fo), api),
    ] {
        assert_eq!(of(fields, path, host), expected, "{fields:?} {path} {host:?}");
    }
}

fn written(form: Form, refusal: &Refusal) -> (u16, Option<String>, String) {
    let id = RequestId::from_random([7; 16]);
    let time = UNIX_EPOCH + Duration::from_secs(1_500_000_000);
    let response = Dialect::Fomalhaut(form).write(refusal, Refused { id: &id, time });
    assert_eq!(response.fields().text(CONTENT_TYPE), Some("application/json; charset=utf-8"));
    let stamp = response.fields().iter().find(|(name, _)| name.as_str() == "x-fo-timestamp");
    let stamp = stamp.map(|(_, value)| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let (head, body) = response.into_parts();
    let body: Bytes = body.piece().cloned().unwrap_or_default();
    (head.status.as_u16(), stamp, String::from_utf8_lossy(&body).into_owned())
}

#[test]
fn fomalhaut_reads_a_result_code_and_a_text() {
    let signature = |private: &'static str| Refusal::invalid(Credential::Signature, private);
    for (refusal, code, text) in [
        (Refusal::MissingCredential(Credential::Signature), 400, "Bad Request"),
        (Refusal::malformed("bad_timestamp", "no number"), 400, "Bad Request"),
        (Refusal::MissingCredential(Credential::Bearer), 401, "Bad Access Token"),
        (Refusal::invalid(Credential::Bearer, "gone"), 401, "Bad Access Token"),
        (Refusal::DisabledClient, 421, "Client Disabled"),
        (Refusal::RouteDisabled, 422, "Endpoint Disabled"),
        (Refusal::NotOpened { private: "padding" }, 423, "AES Decrypt Failed"),
        (Refusal::SignatureExpired { private: "too old".into() }, 430, "Expired Signature"),
        (signature("another secret"), 431, "Invalid Signature"),
        (Refusal::Replayed, 431, "Invalid Signature"),
        (Refusal::NoEndpoint { endpoint: "orders/v1".into() }, 432, "No Permission orders/v1"),
        (Refusal::Forbidden { detail: "a rule".into() }, 432, "No Permission"),
        (Refusal::internal("a fault"), 500, "Internal Error"),
        (Refusal::UpstreamUnreachable { private: "refused".into() }, 503, "Endpoint Request Error"),
        (Refusal::UpstreamTimeout { private: "slow".into() }, 503, "Endpoint Request Error"),
        (Refusal::AnswerTooLarge { limit: 8 }, 502, "Bad Endpoint Response"),
        (Refusal::AuthApiFailed { private: "slow".into() }, 503, "Endpoint Request Error"),
        (Refusal::AuthApiAnswer { private: "no JSON" }, 502, "Bad Endpoint Response"),
        (Refusal::NoAuthApi, 510, "Bad Client Config"),
        (Refusal::UnknownClient, 510, "Bad Client Config"),
        (Refusal::BodyTooLarge { limit: 1 }, 413, "Content too large"),
    ] {
        let stamp = Some("1500000000".to_owned());
        let body = format!("{{\"code\":{code},\"value\":null,\"message\":\"{code} {text}\"}}");
        assert_eq!(written(Form::Fo, &refusal), (949, stamp, body), "{refusal:?}");
        let body = format!("{{\"code\":600,\"data\":null,\"msg\":\"600 {text}\"}}");
        assert_eq!(written(Form::Api, &refusal), (600, None, body), "{refusal:?}");
    }
}

#[test]
fn an_unavailable_gateway_says_when_to_come_again() {
    let id = RequestId::from_random([7; 16]);
    let refused = Refused { id: &id, time: UNIX_EPOCH };
    let response = Dialect::Fomalhaut(Form::Fo).write(&Refusal::no_room(), refused);
    assert_eq!(response.fields().text(RETRY_AFTER), Some("1"));
    assert_eq!(
        response
            .body()
            .piece()
            .map(|body| body.starts_with(b"{\"code\":503,\"value\":null,\"message\":\"503 Overloaded")),
        Some(true)
    );
}
