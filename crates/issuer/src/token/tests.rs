//! The endpoints as calls meet them.

use std::sync::Arc;

use http::Method;
use http_body_util::BodyExt;
use portcullis_core::body::{Body, BodyError};
use portcullis_core::call::{Call, Response};
use portcullis_core::handler::OnControl;
use portcullis_core::message::FieldValue;
use portcullis_core::policy::Endpoint;
use serde_json::{Value, json};

use super::*;
use crate::testing::{CLIENT_KEY, Control, House, SERVICE_KEY, access_ttl};

struct Desk {
    house: House,
    jobs: Arc<Control>,
}

async fn desk() -> Desk {
    Desk { house: House::new().await, jobs: Arc::default() }
}

impl Desk {
    fn on_control<H: Handler>(&self, handler: H) -> OnControl<H> {
        OnControl::new(handler, self.jobs.clone())
    }

    fn token(&self) -> OnControl<LogIn> {
        self.on_control(LogIn::new(self.house.login.clone(), self.house.directory.clone()))
    }

    fn refresh(&self) -> OnControl<Refresh> {
        self.on_control(Refresh::new(self.house.login.clone(), self.house.directory.clone()))
    }

    fn revoke(&self) -> OnControl<LogOut> {
        self.on_control(LogOut::new(self.house.login.clone()))
    }

    fn call(&self, method: Method, path: &str, body: Body) -> Call {
        self.house.call(method, path, body)
    }

    fn post(&self, body: &Value) -> Call {
        self.call(Method::POST, "/-/token", Body::full(body.to_string()))
    }

    /// The client the login through these keys belongs to, as the access token says it, or the refusal's code.
    async fn client_of(&self, keys: &[&str]) -> Result<String, &'static str> {
        let mut call = self.post(&credentials());
        for key in keys {
            call.request.fields.add(X_API_KEY, FieldValue::of(key).expect("a header"));
        }
        let response = self.token().answer(&mut call).await.map_err(|refusal| {
            assert_eq!(refusal.facts().challenge.map(|text| text.starts_with("ApiKey")), Some(true), "{refusal:?}");
            refusal.code()
        })?;
        let token = read(response).await["access_token"].as_str().expect("a token").to_owned();
        drop(call);
        let record = self.house.record();
        assert_eq!(record.user.as_deref(), Some("ada"));
        let client = self.house.tokens.verify(&token).expect("verified").client_id.to_string();
        assert_eq!(record.client.as_deref(), Some(client.as_str()));
        Ok(client)
    }
}

fn credentials() -> Value {
    json!({"username": "ada", "password": "s3cret", "remember_me": true})
}

async fn read(response: Response) -> Value {
    assert_eq!(response.fields().text(CONTENT_TYPE), Some("application/json"));
    assert_eq!(response.fields().text(CACHE_CONTROL), Some("no-store"));
    serde_json::from_slice(&response.into_body().collect().await.expect("a body").to_bytes()).expect("JSON")
}

#[tokio::test]
async fn tokens_are_issued_refreshed_and_revoked() {
    let desk = desk().await;
    let issued = read(desk.token().answer(&mut desk.post(&credentials())).await.expect("issued")).await;
    assert_eq!((&issued["token_type"], &issued["expires_in"]), (&json!("Bearer"), &json!(access_ttl().as_secs())));
    let body = json!({"refresh_token": issued["refresh_token"]});
    let mut call = desk.post(&body);
    let renewed = read(desk.refresh().answer(&mut call).await.expect("renewed")).await;
    drop(call);
    let record = desk.house.record();
    assert_eq!((record.user.as_deref(), record.client.as_deref()), (Some("ada"), Some("default")));
    let body = json!({"refresh_token": renewed["refresh_token"]});
    for body in [&body, &body, &json!({"refresh_token": "unknown"})] {
        let response = desk.revoke().answer(&mut desk.post(body)).await.expect("revoked");
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        assert!(response.body().is_empty());
    }
    let ended = desk.refresh().answer(&mut desk.post(&body)).await.expect_err("ended");
    assert_eq!((ended.code(), ended.facts().status.as_u16()), ("invalid_credential", 401));
}

#[tokio::test]
async fn wrong_credentials_are_401_with_a_challenge() {
    let desk = desk().await;
    for body in [json!({"username": "ada", "password": "x"}), json!({"username": "eve", "password": "x"})] {
        let refusal = desk.token().answer(&mut desk.post(&body)).await.expect_err("wrong");
        assert_eq!(refusal.facts().status, StatusCode::UNAUTHORIZED);
        assert!(refusal.facts().challenge.is_some());
    }
}

#[tokio::test]
async fn a_login_belongs_to_the_client_of_the_key() {
    let desk = desk().await;
    assert_eq!(desk.client_of(&[]).await.as_deref(), Ok("default"));
    assert_eq!(desk.client_of(&[CLIENT_KEY]).await.as_deref(), Ok("shop"));
    assert_eq!(desk.client_of(&[SERVICE_KEY]).await.as_deref(), Ok("default"));
    for keys in [&["unknown"][..], &[""], &[CLIENT_KEY, CLIENT_KEY], &["é"]] {
        assert_eq!(desk.client_of(keys).await, Err("invalid_credential"), "{keys:?}");
    }
    desk.house.enable("shop", false).await;
    assert_eq!(desk.client_of(&[CLIENT_KEY]).await, Err("invalid_credential"));
    desk.house.enable("default", false).await;
    let refusal = desk.token().answer(&mut desk.post(&credentials())).await.expect_err("no default client");
    assert_eq!(refusal.code(), "invalid_credential");
}

#[tokio::test]
async fn what_is_no_token_request_is_refused_without_repeating_it() {
    let desk = desk().await;
    for body in [
        "",
        "{",
        "[]",
        "null",
        r#"{"username":"ada"}"#,
        r#"{"username":"ada","password":12345}"#,
        r#"{"username":"ada","password":"a","password":"b"}"#,
        "\"s3cret\"",
        "\u{feff}{}",
    ] {
        let mut call = desk.call(Method::POST, "/-/token", Body::full(body));
        let refusal = desk.token().answer(&mut call).await.expect_err(body);
        assert_eq!((refusal.code(), refusal.facts().status.as_u16()), ("malformed_json", 400), "{body}");
        let told = format!("{refusal:?} {}", refusal.facts().detail);
        assert!(!told.contains("12345") && !told.contains("s3cret"), "{told}");
        let mut call = desk.call(Method::POST, "/-/token/refresh", Body::full(body));
        assert_eq!(desk.refresh().answer(&mut call).await.expect_err(body).code(), "malformed_json");
        let mut call = desk.call(Method::POST, "/-/token/revoke", Body::full(body));
        assert_eq!(desk.revoke().answer(&mut call).await.expect_err(body).code(), "malformed_json");
    }
}

#[tokio::test]
async fn a_content_type_is_json_or_absent() {
    let desk = desk().await;
    for (content_type, fine) in [
        ("application/json", true),
        ("Application/JSON; charset=utf-8", true),
        ("application/x-www-form-urlencoded", false),
        ("text/json", false),
        ("application/jsonp", false),
        ("", false),
    ] {
        let mut call = desk.post(&credentials());
        call.request.fields_mut().set(CONTENT_TYPE, FieldValue::from_static(content_type));
        let found = desk.token().answer(&mut call).await.map(drop).map_err(|refusal| refusal.code());
        assert_eq!(found, if fine { Ok(()) } else { Err("unsupported_media_type") }, "{content_type}");
    }
}

/// A body in pieces, of a length that is not told beforehand.
struct Pieces(Vec<Result<Bytes, BodyError>>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        let piece = if self.0.is_empty() { None } else { Some(self.0.remove(0)) };
        std::task::Poll::Ready(piece.map(|piece| piece.map(http_body::Frame::data)))
    }
}

#[tokio::test]
async fn a_body_has_a_bound_and_may_fail() {
    let desk = desk().await;
    let padded = |length: usize| {
        let text = credentials().to_string();
        format!("{text}{}", " ".repeat(length - text.len()))
    };
    let limit = MAX_BODY_BYTES as usize;
    let pieces = |text: String| {
        let pieces = text.as_bytes().chunks(1000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        Body::stream(Pieces(pieces))
    };
    for (body, expected) in [
        (Body::full(padded(limit)), Ok(())),
        (Body::full(padded(limit + 1)), Err("body_too_large")),
        (pieces(padded(limit)), Ok(())),
        (pieces(padded(limit + 1)), Err("body_too_large")),
        (Body::stream(Pieces(vec![Ok(Bytes::from_static(b"{")), Err(BodyError::Idle)])), Err("request_timeout")),
        (Body::stream(Pieces(vec![Err(BodyError::TooLarge { limit: 9 })])), Err("body_too_large")),
        (Body::stream(Pieces(vec![Err(BodyError::Broken("x".into()))])), Err("broken_body")),
    ] {
        let mut call = desk.call(Method::POST, "/-/token", body);
        let found = desk.token().answer(&mut call).await.map(drop).map_err(|refusal| refusal.code());
        assert_eq!(found, expected);
    }
}

/// A body that tells its length and must not be asked for it.
struct Announced(u64);

impl http_body::Body for Announced {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        panic!("the length alone is reason enough")
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.0)
    }
}

#[tokio::test]
async fn a_body_announced_too_large_is_not_read() {
    let desk = desk().await;
    let mut call = desk.call(Method::POST, "/-/token", Body::stream(Announced(MAX_BODY_BYTES + 1)));
    let refusal = desk.token().answer(&mut call).await.expect_err("too large");
    assert_eq!(refusal, Refusal::BodyTooLarge { limit: MAX_BODY_BYTES });
}

#[tokio::test]
async fn other_methods_are_told_which_there_is() {
    let desk = desk().await;
    for method in [Method::GET, Method::PUT, Method::OPTIONS] {
        let endpoints: [&dyn Endpoint; 3] = [&desk.token(), &desk.refresh(), &desk.revoke()];
        for endpoint in endpoints {
            let refusal = endpoint.answer(&mut desk.call(method.clone(), "/-/token", Body::empty())).await;
            assert_eq!(refusal.expect_err("another method"), Refusal::MethodNotAllowed { allow: "POST" });
        }
    }
}

#[tokio::test]
async fn a_full_control_queue_is_503() {
    let mut desk = desk().await;
    desk.jobs = Arc::new(Control { full: Some(Class::Logins), ..Control::default() });
    let endpoints: [&dyn Endpoint; 3] = [&desk.token(), &desk.refresh(), &desk.revoke()];
    for endpoint in endpoints {
        let body = json!({"username": "ada", "password": "s3cret", "refresh_token": "x"});
        let refusal = endpoint.answer(&mut desk.post(&body)).await.expect_err("full");
        assert_eq!((refusal.code(), refusal.facts().retry_after), ("overloaded", Some(1)));
    }
}

#[tokio::test]
async fn what_is_refused_at_once_is_no_job_and_reads_no_body() {
    let desk = desk().await;
    for (name, value, code) in
        [(X_API_KEY, "unknown", "invalid_credential"), (CONTENT_TYPE, "text/plain", "unsupported_media_type")]
    {
        let mut call = desk.call(Method::POST, "/-/token", Body::stream(Announced(9)));
        call.request.fields_mut().set(name, FieldValue::from_static(value));
        assert_eq!(desk.token().answer(&mut call).await.expect_err("refused").code(), code);
    }
    let jobs = || std::mem::take(&mut *desk.jobs.seen.lock().expect("not poisoned"));
    assert_eq!(jobs(), []);
    desk.token().answer(&mut desk.post(&credentials())).await.expect("issued");
    assert_eq!(jobs(), [Class::Logins]);
}
