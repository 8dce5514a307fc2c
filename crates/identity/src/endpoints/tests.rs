//! The endpoints as calls meet them.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Instant, SystemTime};

use http::Version;
use http_body_util::BodyExt;
use portcullis_core::body::BodyError;
use portcullis_core::call::{Dialect, Peer, RawRequest, Request, RequestId};
use portcullis_core::canonical::{Host, Path};
use portcullis_core::jobs::{Job, QueueFull};
use portcullis_core::message::{FieldMap, FieldValue, HasFields};
use portcullis_core::ports::AccessLog;
use portcullis_core::record::{OpenRecord, Record};
use serde_json::{Value, json};

use super::*;
use crate::login::LoginSettings;
use crate::testing::{CLIENT_KEY, HERE, House, SERVICE_KEY};

/// A control runtime that is the test's own, with room or without.
struct Control {
    full: bool,
}

impl Jobs for Control {
    fn submit(&self, job: Job) -> Result<(), QueueFull> {
        if self.full {
            return Err(QueueFull);
        }
        tokio::spawn(job);
        Ok(())
    }
}

#[derive(Default)]
struct Log(Mutex<Vec<Record>>);

impl AccessLog for Log {
    fn write(&self, record: &Record) {
        self.0.lock().expect("not poisoned").push(record.clone());
    }
}

struct Desk {
    house: House,
    jobs: Arc<dyn Jobs>,
    log: Arc<Log>,
}

async fn desk() -> Desk {
    let house = House::new(LoginSettings::default()).await;
    house.create_user("ada", "s3cret", json!({"id": 7})).await;
    Desk { house, jobs: Arc::new(Control { full: false }), log: Arc::default() }
}

impl Desk {
    fn token(&self) -> TokenEndpoint {
        TokenEndpoint::new(self.house.login.clone(), self.house.parts.directory.clone(), self.jobs.clone())
    }

    fn refresh(&self) -> RefreshEndpoint {
        RefreshEndpoint::new(self.house.login.clone(), self.house.parts.directory.clone(), self.jobs.clone())
    }

    fn revoke(&self) -> RevokeEndpoint {
        RevokeEndpoint::new(self.house.login.clone(), self.jobs.clone())
    }

    fn call(&self, method: Method, path: &str, body: Body) -> Call {
        let socket = SocketAddr::from(([127, 0, 0, 1], 1));
        let path = Path::parse(path).expect("a path");
        let id = RequestId::from_random([1; 16]);
        let record = Record::begun(SystemTime::UNIX_EPOCH, id.clone(), HERE, method.clone(), path.shared());
        Call::new(
            id,
            Peer { socket, client_ip: HERE, shared: false, scheme: "http", certificate: None },
            Request {
                method,
                path,
                query: None,
                host: Host::parse(b"gate").expect("a host"),
                version: Version::HTTP_11,
                fields: FieldMap::new(),
                body,
            },
            RawRequest { target: "/".parse().expect("a target"), removed: Vec::new() },
            Dialect::Http,
            OpenRecord::new(record, Instant::now(), self.log.clone()),
        )
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
        let record = self.log.0.lock().expect("not poisoned").pop().expect("recorded");
        assert_eq!(record.user.as_deref(), Some("ada"));
        let client = self.house.parts.tokens.verify(&token).expect("verified").client_id.to_string();
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
    assert_eq!((&issued["token_type"], &issued["expires_in"]), (&json!("Bearer"), &json!(300)));
    let body = json!({"refresh_token": issued["refresh_token"]});
    let mut call = desk.post(&body);
    let renewed = read(desk.refresh().answer(&mut call).await.expect("renewed")).await;
    drop(call);
    let record = desk.log.0.lock().expect("not poisoned").pop().expect("recorded");
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
    let endpoints: [&dyn Endpoint; 2] =
        [&JwksEndpoint::new(desk.house.keys.clone()), &PemEndpoint::new(desk.house.keys.clone())];
    for endpoint in endpoints {
        let refusal = endpoint.answer(&mut desk.post(&json!({}))).await.expect_err("another method");
        assert_eq!(refusal, Refusal::MethodNotAllowed { allow: "GET, HEAD" });
    }
}

#[tokio::test]
async fn a_full_control_queue_is_503() {
    let mut desk = desk().await;
    desk.jobs = Arc::new(Control { full: true });
    let endpoints: [&dyn Endpoint; 3] = [&desk.token(), &desk.refresh(), &desk.revoke()];
    for endpoint in endpoints {
        let body = json!({"username": "ada", "password": "s3cret", "refresh_token": "x"});
        let refusal = endpoint.answer(&mut desk.post(&body)).await.expect_err("full");
        assert_eq!((refusal.code(), refusal.facts().retry_after), ("overloaded", Some(1)));
    }
}

#[tokio::test]
async fn keys_are_published_as_set_and_as_pem() {
    let desk = desk().await;
    let keys = &desk.house.keys;
    let mut call = desk.call(Method::GET, "/.well-known/jwks.json", Body::empty());
    let response = JwksEndpoint::new(keys.clone()).answer(&mut call).await.expect("answered");
    assert_eq!(response.fields().text(CACHE_CONTROL), Some("public, max-age=300"));
    assert_eq!(response.fields().text(CONTENT_TYPE), Some("application/json"));
    assert_eq!(response.into_body().collect().await.expect("a body").to_bytes(), keys.jwks());
    let pem = |file: String| {
        let prefix = "/.well-known/keys";
        let mut call = desk.call(Method::GET, &format!("{prefix}/{file}"), Body::empty());
        call.matched = prefix.len();
        let endpoint = PemEndpoint::new(keys.clone());
        async move { endpoint.answer(&mut call).await }
    };
    let kid = keys.active_kid();
    let response = pem(format!("{kid}.pem")).await.expect("answered");
    assert_eq!(response.fields().text(CACHE_CONTROL), Some("public, max-age=300"));
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    assert_eq!(body, keys.pem(kid).expect("our key").as_bytes());
    for file in [kid.to_owned(), "other.pem".to_owned(), ".pem".to_owned(), format!("{kid}.pem/x"), String::new()] {
        assert_eq!(pem(file.clone()).await.expect_err("no key"), Refusal::NoRoute, "{file}");
    }
}
