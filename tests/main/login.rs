//! `/-/token` and what belongs to it: logging in, refreshing, logging out, and what an access token is worth.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use aws_lc_rs::{digest, hmac};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Value, json};

use crate::support::issuer::{Issuer, base64url, compact, now, parts};
use crate::support::scene::{PASSWORD, call_as, client, log_in, members, register, text, until};
use crate::support::{Answer, Backend, Gateway, Scene};

const ISSUER: &str = "http://gateway.example";

impl Scene {
    fn refresh(&self, token: &str) -> Answer {
        self.gateway.post("/-/token/refresh", &[], &json!({"refresh_token": token}))
    }

    fn revoke(&self, token: &str) -> Answer {
        self.gateway.post("/-/token/revoke", &[], &json!({"refresh_token": token}))
    }

    /// The status of a call with this access token and a good key.
    fn status_with(&self, token: &str) -> u16 {
        let answer = call_as(&self.gateway, "/orders/v1/x", token, &self.api_key);
        if answer.status == 401 {
            assert_eq!(answer.code(), "invalid_credential");
            let challenge = answer.header("www-authenticate").unwrap_or_default();
            assert!(challenge.starts_with("Bearer ") && challenge.contains("error=\"invalid_token\""), "{challenge}");
        }
        answer.status
    }

    /// That a refresh is refused as every wrong credential is.
    fn refuses_refresh(&self, token: &str) {
        let answer = self.refresh(token);
        assert_eq!((answer.status, answer.code().as_str()), (401, "invalid_credential"), "{}", answer.text());
        assert!(!answer.text().contains(token), "it is not repeated");
    }
}

/// A scene whose tokens outlive a restart, which moves the port.
fn scene(settings: &str) -> Scene {
    Scene::before(Backend::echo(), &format!("public_url = \"{ISSUER}\"\n{settings}"))
}

fn tokens(answer: &Answer) -> (String, String) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let body = answer.json();
    (text(&body, "access_token"), text(&body, "refresh_token"))
}

#[test]
fn a_login_is_answered_exactly() {
    let scene = scene("");
    let answer = scene.gateway.post("/-/token", &[], &json!({"username": "ada", "password": PASSWORD}));
    let check = |answer: &Answer| {
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let body = answer.json();
        let names = ["access_token", "expires_in", "refresh_expires_in", "refresh_token", "token_type"];
        assert_eq!(members(&body), names);
        assert_eq!(body["token_type"], "Bearer");
        assert_eq!((&body["expires_in"], &body["refresh_expires_in"]), (&json!(300), &json!(86_400)));
        body
    };
    let body = check(&answer);
    let (_, claims) = parts(&text(&body, "access_token"));
    assert_eq!((&claims["iss"], &claims["aud"], &claims["sub"]), (&json!(ISSUER), &json!(ISSUER), &json!("ada")));
    assert_eq!(claims["exp"].as_u64(), claims["iat"].as_u64().map(|issued| issued + 300));
    assert!(!claims.to_string().contains("Ada"), "what backends are told does not travel in the token");
    check(&scene.refresh(&text(&body, "refresh_token")));
    let record = scene.gateway.record("path=/-/token", |record| record["path"] == "/-/token");
    assert_eq!(
        (&record["user"], &record["client"], &record["service"]),
        (&json!("ada"), &json!("default"), &Value::Null)
    );
}

#[test]
fn the_issuer_is_the_public_url_and_never_the_host() {
    let scene = scene("");
    let headers = [("Host", "evil.example"), ("X-Forwarded-Host", "evil.example")];
    let token = text(&log_in(&scene.gateway, "ada", &headers), "access_token");
    assert_eq!(parts(&token).1["iss"], ISSUER);
    let gateway = Gateway::start();
    gateway.admin_ok("POST", "/users", Some(&json!({"username": "ada", "password": PASSWORD})), 201);
    let token = text(&log_in(&gateway, "ada", &headers), "access_token");
    assert_eq!(parts(&token).1["iss"], format!("http://{}", gateway.data));
}

#[test]
fn a_wrong_password_and_an_unknown_user_look_the_same() {
    let scene = scene("");
    let refused = |username: &str, password: &str| {
        let answer = scene.gateway.post("/-/token", &[], &json!({"username": username, "password": password}));
        assert_eq!((answer.status, answer.code().as_str()), (401, "invalid_credential"), "{username}");
        assert!(answer.header("www-authenticate").is_some());
        let mut body = answer.json();
        body.as_object_mut().expect("an object").remove("request_id").expect("an id");
        let kept = |(name, value): &(String, String)| {
            let changes = ["date", "x-request-id"].iter().any(|known| name.eq_ignore_ascii_case(known));
            (!changes).then(|| format!("{name}: {value}"))
        };
        // The id of a call is as long as any other, so the length is the same too.
        (body, answer.headers.iter().filter_map(kept).collect::<Vec<_>>())
    };
    let wrong = refused("ada", "wrong");
    for (username, password) in [
        ("bob", "wrong"),
        ("bob", PASSWORD),
        ("", ""),
        ("ada", ""),
        ("ada ", PASSWORD),
        ("ADA", PASSWORD),
        ("a/b\n", PASSWORD),
        ("ada\u{0}", PASSWORD),
        (&"x".repeat(1000), PASSWORD),
        ("ada", "correct horse "),
        ("ada", "Correct horse"),
        ("ada", "correct horse\u{0}"),
    ] {
        assert_eq!(refused(username, password), wrong, "{username:?} {password:?}");
    }
    let record = scene.gateway.record("status=401", |record| record["path"] == "/-/token");
    assert_eq!((&record["refusal"], &record["user"]), (&json!("invalid_credential"), &Value::Null));
}

#[test]
fn what_cannot_be_read_is_malformed() {
    let scene = scene("");
    let post = |path: &str, content_type: &str, body: &[u8]| {
        scene.gateway.call("POST", path, &[("Content-Type", content_type)], body)
    };
    for path in ["/-/token", "/-/token/refresh", "/-/token/revoke"] {
        for body in [
            "",
            "{",
            "[]",
            "null",
            "\"correct horse\"",
            "{}",
            "{\"username\":\"ada\"}",
            "{\"username\":1,\"password\":\"x\",\"refresh_token\":1}",
            "{\"username\":\"ada\",\"password\":null,\"refresh_token\":null}",
            "{\"username\":\"ada\",\"password\":\"correct horse\",\"refresh_token\":\"x\"} more",
            "username=ada&password=correct+horse",
        ] {
            let answer = post(path, "application/json", body.as_bytes());
            assert_eq!((answer.status, answer.code().is_empty()), (400, false), "{path} {body}");
            assert!(!answer.text().contains("correct horse"), "a password is not repeated: {}", answer.text());
        }
        assert_eq!(post(path, "application/json", b"{\"refresh_token\":\"\xff\"}").status, 400);
        assert_eq!(post(path, "text/plain", b"{}").code(), "unsupported_media_type");
        assert_eq!(post(path, "application/json", &vec![b' '; 1 << 20]).code(), "body_too_large");
        let answer = scene.gateway.call("GET", path, &[], b"");
        assert_eq!((answer.status, answer.code().as_str()), (405, "method_not_allowed"));
        assert_eq!(answer.header("allow"), Some("POST"));
        assert_eq!(scene.gateway.call("POST", &format!("{path}/more"), &[], b"").status, 404);
    }
}

#[test]
fn refresh_tokens_rotate_and_the_predecessor_gets_the_same_successor() {
    let scene = scene("");
    let first = scene.refresh_token.clone();
    let (access, second) = tokens(&scene.refresh(&first));
    assert_ne!(first, second);
    assert_eq!((scene.status_with(&scene.token), scene.status_with(&access)), (200, 200));
    // The answer was lost, or another tab was as quick: the same refresh token, and an access token that works.
    for _ in 0..2 {
        let (access, again) = tokens(&scene.refresh(&first));
        assert_eq!(again, second);
        assert_eq!(scene.status_with(&access), 200);
    }
    let (access, third) = tokens(&scene.refresh(&second));
    assert!(third != second && third != first);
    // The first is older than the predecessor now: somebody has a copy, and the session ends for everybody.
    scene.refuses_refresh(&first);
    for token in [&access, &scene.token] {
        assert_eq!(scene.status_with(token), 401);
    }
    for token in [&third, &second, &first] {
        scene.refuses_refresh(token);
    }
    assert_eq!(scene.backend.received().len(), 4, "none of the refused calls came through");
    // Another session of the same user lives on.
    let other = log_in(&scene.gateway, "ada", &[]);
    scene.refuses_refresh(&first);
    assert_eq!(scene.status_with(&text(&other, "access_token")), 200);
}

#[test]
fn two_tabs_that_refresh_at_once_agree() {
    let scene = scene("");
    for _ in 0..3 {
        let login = log_in(&scene.gateway, "ada", &[]);
        let token = text(&login, "refresh_token");
        let start = Barrier::new(8);
        let found: Vec<_> = thread::scope(|scope| {
            let refresh = || {
                start.wait();
                tokens(&scene.refresh(&token))
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(refresh)).collect();
            threads.into_iter().map(|thread| thread.join().expect("answered")).collect()
        });
        assert!(found.iter().all(|(_, refresh)| *refresh == found[0].1));
        assert!(found.iter().all(|(access, _)| scene.status_with(access) == 200));
        tokens(&scene.refresh(&found[0].1));
    }
}

#[test]
fn without_grace_a_token_is_good_once() {
    let scene = scene("[tokens]\nrefresh_grace = 0");
    let (access, second) = tokens(&scene.refresh(&scene.refresh_token));
    scene.refuses_refresh(&scene.refresh_token);
    scene.refuses_refresh(&second);
    assert_eq!(scene.status_with(&access), 401);
}

#[test]
fn after_the_grace_the_predecessor_ends_the_session() {
    let scene = scene("[tokens]\nrefresh_grace = \"1s\"");
    let (access, second) = tokens(&scene.refresh(&scene.refresh_token));
    until("the grace ends", || {
        let answer = scene.refresh(&scene.refresh_token);
        if answer.status == 200 {
            assert_eq!(tokens(&answer).1, second);
        }
        answer.status == 401
    });
    scene.refuses_refresh(&second);
    assert_eq!(scene.status_with(&access), 401);
}

#[test]
fn a_refresh_token_ends_too() {
    let scene = scene("[tokens]\naccess_ttl = 300\nrefresh_ttl = \"1s\"");
    assert!(scene.gateway.stderr().contains("refresh_ttl"), "a warning: {}", scene.gateway.stderr());
    let login = log_in(&scene.gateway, "ada", &[]);
    let opened = Instant::now();
    assert_eq!(login["refresh_expires_in"], 1);
    until("its life is over", || opened.elapsed() > Duration::from_millis(1_001));
    scene.refuses_refresh(&text(&login, "refresh_token"));
}

#[test]
fn revoking_ends_the_session_at_once() {
    let scene = scene("");
    assert_eq!(scene.status_with(&scene.token), 200);
    let other = log_in(&scene.gateway, "ada", &[]);
    let answer = scene.revoke(&scene.refresh_token);
    assert_eq!((answer.status, answer.body.is_empty()), (204, true));
    assert_eq!(scene.status_with(&scene.token), 401);
    scene.refuses_refresh(&scene.refresh_token);
    // Again, unknown, another kind of token, nonsense: the same answer, and no harm done.
    let (access, refresh) = (text(&other, "access_token"), text(&other, "refresh_token"));
    let altered = format!("{}{}", &refresh[..refresh.len() - 1], if refresh.ends_with('A') { 'B' } else { 'A' });
    for token in [&scene.refresh_token, "unknown", "", &access, &altered, &"x".repeat(4000)] {
        assert_eq!(scene.revoke(token).status, 204, "{token}");
    }
    assert_eq!(scene.status_with(&access), 200);
    tokens(&scene.refresh(&refresh));
    // A predecessor speaks for its session as well.
    assert_eq!(scene.revoke(&refresh).status, 204);
    assert_eq!(scene.status_with(&access), 401);
}

#[test]
fn a_token_of_one_kind_is_none_of_the_other() {
    let scene = scene("");
    scene.refuses_refresh(&scene.token);
    assert_eq!(scene.status_with(&scene.refresh_token), 401);
    assert_eq!(scene.status_with(&scene.api_key), 401);
    assert_eq!(scene.status_with(&scene.gateway.token), 401);
    scene.refuses_refresh(&scene.api_key);
    for token in ["", "x", "...", &"x".repeat(4_000)] {
        let answer = scene.refresh(token);
        assert_eq!(answer.code(), "invalid_credential", "{token}");
    }
}

#[test]
fn sessions_survive_restarts_and_so_do_their_ends() {
    let mut scene = scene("");
    let settings = format!("public_url = \"{ISSUER}\"");
    let ended = log_in(&scene.gateway, "ada", &[]);
    assert_eq!(scene.revoke(&text(&ended, "refresh_token")).status, 204);
    let (_, second) = tokens(&scene.refresh(&scene.refresh_token));
    scene.gateway = Gateway::restart(scene.gateway.kill(), &settings);
    assert_eq!(scene.status_with(&scene.token), 200, "killed, and nothing is forgotten");
    assert_eq!(scene.status_with(&text(&ended, "access_token")), 401);
    scene.refuses_refresh(&text(&ended, "refresh_token"));
    // The grace is part of it: the predecessor's successor is the same after the restart.
    assert_eq!(tokens(&scene.refresh(&scene.refresh_token)).1, second);
    let (_, third) = tokens(&scene.refresh(&second));
    scene.gateway.signal("TERM");
    assert!(scene.gateway.wait().success());
    scene.gateway = Gateway::restart(scene.gateway.kill(), &settings);
    scene.refuses_refresh(&scene.refresh_token);
    scene.refuses_refresh(&third);
    assert_eq!(scene.status_with(&scene.token), 401);
}

#[test]
fn a_login_with_a_key_belongs_to_the_keys_client() {
    let scene = scene("");
    let key = [("X-API-Key", scene.api_key.as_str())];
    let login = log_in(&scene.gateway, "ada", &key);
    let token = text(&login, "access_token");
    let stock = Backend::echo();
    let own = register(&scene.gateway, "stock", &stock.url());
    // What the client may not call, its tokens may not either, whoever's key comes with them.
    let answer = call_as(&scene.gateway, "/stock/v1/x", &token, &text(&own, "api_key"));
    assert_eq!((answer.status, answer.code().as_str()), (403, "forbidden"));
    assert_eq!(stock.connections(), 0);
    let answer = call_as(&scene.gateway, "/orders/v1/mine", &token, &text(&scene.registered, "api_key"));
    assert_eq!(answer.status, 200);
    let access_key = scene.gateway.admin_ok("GET", "/clients/shop", None, 200)["access_key"].clone();
    assert_eq!(scene.backend.received()[0].header("x-app-id"), access_key.as_str());
    for path in ["/-/token", "/orders/v1/mine"] {
        let record = scene.gateway.record(&format!("path={path}&client=shop"), |_| true);
        assert_eq!(record["user"], "ada", "{path}");
    }
    // A client that is off gets nothing; one that is gone takes its sessions along.
    let switch = |enabled: bool| {
        let body = json!({"services": ["orders/v1"], "enabled": enabled});
        scene.gateway.admin_ok("PUT", "/clients/shop", Some(&body), 200);
    };
    switch(false);
    let refused = scene.gateway.post("/-/token", &key, &json!({"username": "ada", "password": PASSWORD}));
    assert_eq!((refused.status, refused.code().as_str()), (401, "invalid_credential"));
    let call = |token: &str| call_as(&scene.gateway, "/orders/v1/x", token, &text(&scene.registered, "api_key")).status;
    assert_eq!(call(&token), 401);
    let refuses = |refresh: &str, key: &[(&str, &str)]| {
        let answer = scene.gateway.post("/-/token/refresh", key, &json!({"refresh_token": refresh}));
        assert_eq!((answer.status, answer.code().as_str()), (401, "invalid_credential"), "{}", answer.text());
    };
    refuses(&text(&login, "refresh_token"), &key);
    switch(true);
    assert_eq!(call(&token), 401, "its sessions have ended");
    refuses(&text(&login, "refresh_token"), &key);
    let login = log_in(&scene.gateway, "ada", &key);
    let (token, refresh) = (text(&login, "access_token"), text(&login, "refresh_token"));
    assert_eq!(call(&token), 200);
    scene.gateway.admin_ok("DELETE", "/clients/shop", None, 204);
    assert_eq!(call(&token), 401);
    refuses(&refresh, &key);
    // A client of the same name is another one.
    let key = client(&scene.gateway, "shop", &["*"]);
    assert_eq!(call(&token), 401);
    refuses(&refresh, &[("X-API-Key", &key)]);
}

#[test]
fn a_login_with_a_key_nobody_has_is_refused() {
    let scene = scene("");
    let login = |headers: &[(&str, &str)]| {
        let answer = scene.gateway.post("/-/token", headers, &json!({"username": "ada", "password": PASSWORD}));
        (answer.status, answer.code())
    };
    let wrong = (401, "invalid_credential".to_owned());
    for key in ["wrong", "", "pck_0000", &format!("{} ", &scene.api_key[1..]), &"x".repeat(4_000)] {
        assert_eq!(login(&[("X-API-Key", key)]), wrong, "{key}");
    }
    assert_eq!(login(&[("X-API-Key", &scene.api_key), ("X-API-Key", "wrong")]), wrong);
    assert_eq!(login(&[("X-API-Key", &scene.api_key), ("X-API-Key", &scene.api_key)]), wrong);
}

#[test]
fn a_user_who_is_gone_or_has_another_password_is_out_at_once() {
    let scene = scene("");
    assert_eq!(scene.status_with(&scene.token), 200);
    scene.gateway.admin_ok("PUT", "/users/ada", Some(&json!({"password": "another one"})), 200);
    assert_eq!(scene.status_with(&scene.token), 401);
    scene.refuses_refresh(&scene.refresh_token);
    let log_in = |password: &str| {
        let answer = scene.gateway.post("/-/token", &[], &json!({"username": "ada", "password": password}));
        if answer.status == 200 { Some(tokens(&answer)) } else { None }
    };
    assert!(log_in(PASSWORD).is_none());
    let (token, refresh) = log_in("another one").expect("logged in");
    assert_eq!(scene.status_with(&token), 200);
    scene.gateway.admin_ok("DELETE", "/users/ada", None, 204);
    assert_eq!(scene.status_with(&token), 401);
    scene.refuses_refresh(&refresh);
    assert!(log_in("another one").is_none());
    // Somebody else of that name is somebody else.
    scene.gateway.admin_ok("POST", "/users", Some(&json!({"username": "ada", "password": "third one"})), 201);
    assert_eq!(scene.status_with(&token), 401);
    scene.refuses_refresh(&refresh);
}

#[test]
fn more_logins_than_can_be_hashed_are_put_off() {
    // One user may have as many logins under way as it has free failures.
    let scene = scene("[passwords]\nparallel = 1\nqueue = 1\n[lockout]\nfailures = 16");
    let body = json!({"username": "ada", "password": PASSWORD});
    let mut seen: Vec<Answer> = Vec::new();
    until("the queue is full", || {
        let start = Barrier::new(16);
        seen.extend(thread::scope(|scope| {
            let login = || {
                start.wait();
                scene.gateway.post("/-/token", &[], &body)
            };
            let threads: Vec<_> = (0..16).map(|_| scope.spawn(login)).collect();
            threads.into_iter().map(|thread| thread.join().expect("answered")).collect::<Vec<_>>()
        }));
        seen.iter().any(|answer| answer.status == 503)
    });
    assert!(seen.iter().any(|answer| answer.status == 200), "some are served");
    for answer in seen.iter().filter(|answer| answer.status != 200) {
        assert_eq!((answer.status, answer.code().as_str()), (503, "overloaded"), "{}", answer.text());
        let after = answer.header("retry-after").and_then(|value| value.parse::<u64>().ok());
        assert!(after.is_some_and(|seconds| seconds > 0), "{answer:?}");
    }
    assert_eq!(scene.status_with(&scene.token), 200, "calls go on");
    log_in(&scene.gateway, "ada", &[]);
}

#[test]
fn an_access_token_ends() {
    let scene = scene("[tokens]\naccess_ttl = \"2s\"");
    let login = log_in(&scene.gateway, "ada", &[]);
    assert_eq!(login["expires_in"], 2);
    let token = text(&login, "access_token");
    let ends = parts(&token).1["exp"].as_u64().expect("an end");
    until("the access token expires", || scene.status_with(&token) == 401);
    assert!(now() >= ends, "not before its time");
    let (renewed, _) = tokens(&scene.refresh(&text(&login, "refresh_token")));
    assert_eq!(scene.status_with(&renewed), 200, "and its successor works");
}

#[test]
fn the_oldest_of_too_many_sessions_ends() {
    let scene = scene("");
    // The scene's own is the first of a hundred.
    let second = log_in(&scene.gateway, "ada", &[]);
    for _ in 0..98 {
        log_in(&scene.gateway, "ada", &[]);
    }
    assert_eq!(scene.status_with(&scene.token), 200);
    log_in(&scene.gateway, "ada", &[]);
    assert_eq!(scene.status_with(&scene.token), 401);
    assert_eq!(scene.status_with(&text(&second, "access_token")), 200);
}

#[test]
fn anybody_can_verify_an_access_token_with_the_published_keys() {
    let mut scene = scene("");
    let answer = scene.gateway.call("GET", "/.well-known/jwks.json", &[], b"");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let published = answer.json();
    let set: JwkSet = serde_json::from_value(published.clone()).expect("a key set");
    let header = decode_header(&scene.token).expect("a header");
    assert_eq!((header.alg, header.typ.as_deref()), (Algorithm::ES256, Some("at+jwt")));
    let kid = header.kid.expect("a key's id");
    let key = DecodingKey::from_jwk(set.find(&kid).expect("published")).expect("a key");
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[ISSUER]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    let claims = decode::<Value>(&scene.token, &key, &validation).expect("verified").claims;
    assert_eq!((&claims["sub"], &claims["client_id"]), (&json!("ada"), &json!("default")));
    let jwk = &published["keys"][0];
    assert!(jwk["d"].is_null() && !answer.text().contains("\"d\""), "the public part alone");
    // The id is the thumbprint (RFC 7638 section 3).
    let canonical = format!("{{\"crv\":{},\"kty\":{},\"x\":{},\"y\":{}}}", jwk["crv"], jwk["kty"], jwk["x"], jwk["y"]);
    assert_eq!(base64url(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref()), kid);
    // The same key in PEM.
    let pem = scene.gateway.call("GET", &format!("/.well-known/keys/{kid}.pem"), &[], b"");
    assert_eq!(pem.status, 200);
    let key = DecodingKey::from_ec_pem(&pem.body).expect("a key in PEM");
    decode::<Value>(&scene.token, &key, &validation).expect("verified");
    for path in ["unknown.pem", &kid, &format!("{kid}.txt"), "", ".pem", &format!("x/{kid}.pem")] {
        assert_eq!(scene.gateway.call("GET", &format!("/.well-known/keys/{path}"), &[], b"").status, 404, "{path}");
    }
    for path in ["jwks.json", &format!("keys/{kid}.pem")] {
        assert_eq!(scene.gateway.call("POST", &format!("/.well-known/{path}"), &[], b"").status, 405);
    }
    // The key is kept.
    scene.gateway = Gateway::restart(scene.gateway.kill(), &format!("public_url = \"{ISSUER}\""));
    assert_eq!(scene.gateway.call("GET", "/.well-known/jwks.json", &[], b"").json(), published);
}

#[test]
fn a_forged_token_is_worth_nothing() {
    let scene = scene("");
    assert_eq!(scene.status_with(&scene.token), 200);
    let (header, claims) = parts(&scene.token);
    let kid = text(&header, "kid");
    let jwk = scene.gateway.call("GET", "/.well-known/jwks.json", &[], b"").json()["keys"][0].clone();
    let pem = scene.gateway.call("GET", &format!("/.well-known/keys/{kid}.pem"), &[], b"").body;
    let split: Vec<&str> = scene.token.split('.').collect();
    let (head, body, signature) = (split[0], split[1], split[2]);
    let with = |member: &str, value: Value| {
        let mut header = header.clone();
        header[member] = value;
        header
    };
    let mut of_bob = claims.clone();
    of_bob["sub"] = json!("bob");
    let of_bob = base64url(of_bob.to_string().as_bytes());
    let other = Issuer::es256();
    let hs256 = |secret: &[u8]| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        compact(&with("alg", json!("HS256")), &claims, |text| hmac::sign(&key, text).as_ref().to_vec())
    };
    let mut longer_life = claims.clone();
    longer_life["exp"] = json!(now() + 1_000_000);
    let mut zeros = with("alg", json!("ES256"));
    zeros["kid"] = json!(kid);
    let mut forged = vec![
        ("tampered claims", format!("{head}.{of_bob}.{signature}")),
        ("no signature", format!("{head}.{body}.")),
        ("two parts", format!("{head}.{body}")),
        ("four parts", format!("{}.x", scene.token)),
        ("a signature cut short", scene.token[..scene.token.len() - 2].to_owned()),
        ("a signature of zeros", compact(&zeros, &claims, |_| vec![0; 64])),
        ("a space in it", format!("{head}. {body}.{signature}")),
        ("padding", format!("{}=", scene.token)),
        ("another key", other.sign(&header, &claims)),
        ("another key with a longer life", other.sign(&header, &longer_life)),
        ("another key that it brings along", other.sign(&with("jwk", other.jwk()), &claims)),
        ("another key from elsewhere", other.sign(&with("jku", json!("http://127.0.0.1:9/jwks")), &claims)),
        ("another key without an id", other.sign(&json!({"alg": "ES256", "typ": "at+jwt"}), &claims)),
        ("another key of another id", other.sign(&with("kid", json!("x")), &claims)),
        ("an id that is a path", other.sign(&with("kid", json!("../../../dev/null")), &claims)),
        ("the PEM as a secret", hs256(&pem)),
        ("the PEM without its last line end as a secret", hs256(pem.trim_ascii_end())),
        ("the JWK as a secret", hs256(jwk.to_string().as_bytes())),
        ("x as a secret", hs256(text(&jwk, "x").as_bytes())),
        ("nothing as a secret", hs256(b"")),
        ("nothing at all", String::new()),
        ("only dots", "..".to_owned()),
        ("no JSON", format!("{}.{}.{}", base64url(b"x"), base64url(b"y"), base64url(b"z"))),
        (
            "RSA by its name",
            format!("{}.{body}.{signature}", base64url(with("alg", json!("RS256")).to_string().as_bytes())),
        ),
        (
            "critical extensions",
            format!("{}.{body}.{signature}", base64url(with("crit", json!(["x"])).to_string().as_bytes())),
        ),
        ("much too long", format!("{head}.{}.{signature}", "A".repeat(20_000))),
    ];
    for none in ["none", "None", "NONE", "nOnE", ""] {
        forged.push(("alg none", compact(&with("alg", json!(none)), &claims, |_| Vec::new())));
        let head = base64url(with("alg", json!(none)).to_string().as_bytes());
        forged.push(("alg none with a good signature", format!("{head}.{body}.{signature}")));
    }
    for (what, token) in forged {
        let answer = call_as(&scene.gateway, "/orders/v1/x", &token, &scene.api_key);
        assert_eq!(answer.status, 401, "{what}: {}", answer.text());
        assert!(["invalid_credential", "missing_credential"].contains(&answer.code().as_str()), "{what}");
    }
    assert_eq!(scene.backend.received().len(), 1);
    // A gateway of another key, but of the same name, is another issuer.
    let elsewhere = Scene::before(Backend::echo(), &format!("public_url = \"{ISSUER}\""));
    assert_eq!(scene.status_with(&elsewhere.token), 401);
}
