//! The gateway's own endpoints in fomalhaut's dialects, where a route to them asks for a signature.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{DIALECTS, Scene, over, refused};
use crate::support::scene::PASSWORD;

/// A login with this password.
fn login(password: &str) -> Value {
    let body = json!({"username": "ada", "password": password}).to_string();
    let fields = [["Content-Type", "application/json"]];
    json!({"method": "POST", "target": "/-/token/", "body": STANDARD.encode(body), "fields": fields})
}

#[test]
fn a_signed_or_sealed_login_is_answered_like_that() {
    let scene = Scene::new();
    scene.gateway.admin_ok("POST", "/users", Some(&json!({"username": "ada", "password": PASSWORD})), 201);
    for (require, is_sealed) in [(json!([["signature"]]), false), (json!([["signature", "sealed"]]), true)] {
        let route = json!({"match": {"path": {"exact": "/-/token"}}, "builtin": true, "require": require});
        let answer = scene.gateway.admin("PUT", "/routes/token", Some(&route));
        assert!(matches!(answer.status, 200 | 201), "{}", answer.text());
        let kind = if is_sealed { json!({"sealed_call": true}) } else { json!({}) };
        for dialect in DIALECTS {
            let told = scene.call(dialect, &over(&login(PASSWORD), &kind));
            let body: Value = serde_json::from_slice(&told.is_fine().opened()).expect("JSON");
            assert_eq!(body["token_type"], "Bearer", "{body}");
            assert_eq!(is_sealed, told.body() != told.opened());
            // The session is that of the client that has signed.
            let record = scene.gateway.record("path=/-/token", |record| record["status"] == 200);
            assert_eq!((&record["client"], &record["user"]), (&json!("shop"), &json!("ada")));
            let told = scene.call(dialect, &over(&login("wrong"), &kind));
            refused(dialect, &told, 401, "Bad Access Token");
            told.is_verified();
            let told = scene.call(dialect, &over(&over(&login(PASSWORD), &kind), &json!({"secret": "other"})));
            assert!(matches!(told.status(), 949 | 600) && !told.opened().windows(5).any(|part| part == b"token"));
        }
    }
}
