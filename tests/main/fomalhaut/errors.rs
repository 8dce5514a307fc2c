//! What is refused: with which code and in which order, to the letter, and what of it is signed and sealed.

use std::net::TcpListener;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{ACCESS_KEY, DIALECTS, Scene, Told, over, refused};

/// Everything that can be wrong with a call before it is verified, in the order in which it is looked at: what makes it right,
/// the code, its text.
fn faults(dialect: &str) -> Vec<(Value, u64, &'static str)> {
    let prefix = if dialect == "fo" { "X-Fo" } else { "X-Api" };
    vec![
        (json!({"client": "disabled"}), 510, "Bad Client Config"),
        (json!({"client": ACCESS_KEY}), 421, "Client Disabled"),
        (json!({"target": "/off/v1/resource"}), 432, "No Permission nowhere/v3"),
        (json!({"target": "/test_api/v1/forbidden/x"}), 422, "Endpoint Disabled"),
        (json!({"timestamp": "now"}), 400, "Bad Request"),
        (json!({"timestamp": "12"}), 400, "Bad Request"),
        (json!({"timestamp": null}), 430, "Expired Signature"),
        (json!({"signed": true, "secret": "another"}), 400, "Bad Request"),
        (json!({"secret": super::SECRET}), 431, "Invalid Signature"),
        (json!({"change": [[format!("{prefix}-Encrypt-Type"), "aes"]]}), 423, "AES Decrypt Failed"),
    ]
}

#[test]
fn one_fault_goes_before_the_other() {
    let scene =
        Scene::with("", &json!({"policies": {"acl": {"rules": [{"path": "^/forbidden/?", "effect": "deny"}]}}}));
    scene.add_client("disabled", "disabled", "12345678");
    let disabled = json!({"services": [], "enabled": false});
    scene.gateway.admin_ok("PUT", "/clients/disabled", Some(&disabled), 200);
    let off = json!({
        "match": {"client": "shop", "path": {"prefix": "/off/v1"}}, "service": "test_api/v1", "enabled": false,
    });
    scene.gateway.admin_ok("PUT", "/routes/off", Some(&off), 201);
    for dialect in DIALECTS {
        let prefix = if dialect == "fo" { "X-Fo" } else { "X-Api" };
        // Everything is wrong, and then one thing after the other is made right.
        let mut call = json!({
            "client": "nobody", "target": "/nowhere/v3/resource", "signed": false, "method": "POST",
            "change": [[format!("{prefix}-Timestamp"), null], [format!("{prefix}-Encrypt-Type"), "rot13"]],
        });
        for (place, (right, code, text)) in faults(dialect).into_iter().enumerate() {
            let told = scene.call(dialect, &call);
            refused(dialect, &told, code, text);
            if code == 423 {
                told.is_verified()
            } else {
                told.is_unsigned()
            };
            assert_eq!(told.field(&format!("{prefix}-Encrypt-Type")), None, "{code}");
            call = over(&call, &right);
            if place == 4 {
                // The time stamp is there from now on.
                call["change"] = json!([[format!("{prefix}-Encrypt-Type"), "rot13"]]);
            }
        }
        call = over(&call, &json!({"change": [], "sealed_call": true, "outer": "/test_api/v1/?_t=1"}));
        let told = scene.call(dialect, &call);
        refused(dialect, &told, 432, "No Permission");
        told.is_verified();
        assert_eq!(told.field(&format!("{prefix}-Encrypt-Type")), Some("aes"), "what is denied inside is told inside");
        call = over(&call, &json!({"target": "/test_api/v1/resource"}));
        scene.call_through(dialect, &call).0.is_fine();
    }
}

#[test]
fn a_target_of_too_few_parts_is_no_endpoint() {
    let scene = Scene::new();
    for dialect in DIALECTS {
        for target in ["/", "/test_api", "/test_api/", "/test_api/v1", "/test_api/v1?x=1/2/3", "//"] {
            refused(dialect, &scene.call(dialect, &json!({"target": target})), 400, "Bad Request");
        }
        for (target, endpoint) in
            [("/test_api/v2/x", "test_api/v2"), ("/Test_api/v1/", "Test_api/v1"), ("/a/b/c/d", "a/b")]
        {
            let told = scene.call(dialect, &json!({"target": target}));
            refused(dialect, &told, 432, &format!("No Permission {endpoint}"));
        }
    }
}

#[test]
fn time_stamps_are_whole_numbers_within_the_window() {
    let scene = Scene::new();
    for (dialect, prefix, window) in [("fo", "X-Fo", 600), ("api", "X-Api", 3_600)] {
        let name = format!("{prefix}-Timestamp");
        // Time goes on while a call is under way.
        for skew in [-window + 5, -window / 2, -1, 1, window / 2, window] {
            scene.call_through(dialect, &json!({"skew": skew})).0.is_fine();
        }
        for skew in [-window - 1, window + 5, -window * 10, window * 10, -1_700_000_000] {
            let told = scene.call(dialect, &json!({"skew": skew}));
            refused(dialect, &told, 430, "Expired Signature");
            told.is_unsigned();
        }
        for stamp in ["", "now", "1.5", "-1", "+1", "0x10", "1e9", "99999999999999999999999", "１"] {
            let told = scene.call(dialect, &json!({"timestamp": stamp}));
            assert!(told.status() != 200, "{stamp}");
            refused(dialect, &told, 400, "Bad Request");
        }
        refused(dialect, &scene.call(dialect, &json!({"change": [[name, null]]})), 400, "Bad Request");
    }
}

#[test]
fn what_is_no_signature_of_the_call_is_refused() {
    let scene = Scene::new();
    for (dialect, name) in [("fo", "X-Fo-Signature"), ("api", "X-Api-Signature")] {
        let told = scene.call(dialect, &json!({"after": [[name, null]]}));
        refused(dialect, &told, 400, "Bad Request");
        told.is_unsigned();
        let good = unsigned(&scene, dialect, name);
        let other = if good.starts_with('A') { "B" } else { "A" };
        for signature in [
            String::new(),
            "x".to_owned(),
            format!("{good}="),
            format!("{good}A"),
            good[1..].to_owned(),
            good.to_lowercase(),
            good.replacen(&good[..1], other, 1),
            good.chars().rev().collect(),
            format!("{good},{good}"),
            "A".repeat(good.len()),
            "A".repeat(10_000),
        ] {
            let told = scene.call(dialect, &json!({"nonce": "0.5", "timestamp": STAMP, "after": [[name, signature]]}));
            assert!(told.status() != 200, "{signature}");
        }
    }
    assert!(scene.backend.received().is_empty());
}

/// A time stamp far from now: a signature over it is never good, but is like others.
const STAMP: &str = "1500000000";

/// The signature of a call that is not sent.
fn unsigned(scene: &Scene, dialect: &str, name: &str) -> String {
    let bytes = scene.written(dialect, &json!({"nonce": "0.5"}));
    let text = String::from_utf8(STANDARD.decode(bytes).expect("Base64")).expect("text");
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}: "))).expect("a signature");
    line.to_owned()
}

/// A closed port of this machine.
fn nobody() -> String {
    format!("http://{}", TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port"))
}

#[test]
fn a_service_that_does_not_answer_is_told_in_the_dialect() {
    let scene = Scene::with("", &json!({"traffic": {"timeouts": {"first_byte": "200ms"}}}));
    let down = json!({"targets": [{"url": nobody()}], "default_route": false, "require": [["signature"]]});
    scene.gateway.admin_ok("PUT", "/services/down/v1", Some(&down), 201);
    let route =
        json!({"match": {"client": "shop", "path": {"prefix": "/down/v1"}}, "service": "down/v1", "strip": true});
    scene.gateway.admin_ok("PUT", "/routes/shop-down", Some(&route), 201);
    for dialect in DIALECTS {
        for target in ["/down/v1/x", "/test_api/v1/slow"] {
            let told = scene.call(dialect, &json!({"target": target}));
            refused(dialect, &told, 503, "Endpoint Request Error");
            told.is_verified();
            let told = scene.call(dialect, &json!({"target": target, "sealed_call": true, "method": "POST"}));
            refused(dialect, &told, 503, "Endpoint Request Error");
            told.is_verified();
            assert!(told.body() != told.opened(), "it is sealed like every answer");
        }
    }
}

#[test]
fn users_are_asked_for_behind_the_signature() {
    let scene = Scene::with("", &json!({"require": [["signature", "bearer"]]}));
    let user = json!({"username": "ada", "password": "correct horse", "user_info": {"id": 7, "name": "中文"}});
    scene.gateway.admin_ok("POST", "/users", Some(&user), 201);
    let log_in = |client: &str| {
        let key = scene.gateway.admin_ok("POST", &format!("/clients/{client}/api-keys"), None, 201);
        let key = key["api_key"].as_str().expect("a key").to_owned();
        let login = json!({"username": "ada", "password": "correct horse"});
        let answer = scene.gateway.post("/-/token", &[("X-API-Key", &key)], &login);
        answer.json()["access_token"].as_str().expect("a token").to_owned()
    };
    scene.add_client("other", "other", "12345678");
    let (token, foreign) = (log_in("shop"), log_in("other"));
    for dialect in DIALECTS {
        for sealed in [false, true] {
            let way = json!({"sealed_call": sealed});
            let (told, request) = scene.call_through(dialect, &over(&way, &json!({"token": token})));
            told.is_fine();
            let info = STANDARD.encode(r#"{"id":7,"name":"\u4e2d\u6587"}"#);
            let decoded = |name: &str| {
                let value = request.header(name).map(|value| STANDARD.decode(value).expect("Base64"));
                value.map(|value| serde_json::from_slice::<Value>(&value).expect("JSON"))
            };
            assert_eq!(decoded("x-user-json"), Some(json!({"id": 7, "name": "中文"})));
            let theirs = decoded("x-api-user-json");
            assert_eq!(theirs, (dialect == "api").then(|| json!({"id": 7, "name": "中文"})), "{request:?}");
            assert!(
                request.header("x-user-json") == Some(&info) || dialect == "api",
                "{:?}",
                request.header("x-user-json")
            );
            assert_eq!(request.header("authorization"), None);
            for wrong in [json!({}), json!({"token": "unknown"}), json!({"token": ""}), json!({"token": foreign})] {
                let told = scene.call(dialect, &over(&way, &wrong));
                refused(dialect, &told, 401, "Bad Access Token");
                told.is_verified();
                assert_eq!(told.body() != told.opened(), sealed);
            }
            // The signature is looked at first.
            let told = scene.call(dialect, &over(&way, &json!({"secret": "another", "seal_with": super::SECRET})));
            refused(dialect, &told, 431, "Invalid Signature");
        }
    }
}

#[test]
fn who_cannot_prove_what_it_claims_is_slowed_down() {
    let scene = Scene::with("[limits]\nfailed_signatures_per_minute = 1\n", &json!({}));
    let from = |source: &str, dialect: &str, more: Value| -> Told {
        scene.call(dialect, &over(&json!({"source": source}), &more))
    };
    let mut codes = Vec::new();
    for round in 0..70 {
        let dialect = DIALECTS[round % 2];
        // Whether the client is there is not told apart any more.
        let wrong = if round % 3 == 0 { json!({"client": "nobody"}) } else { json!({"secret": "another"}) };
        let told = from("127.77.0.1", dialect, wrong);
        codes.push(told.field("retry-after").is_some());
        if told.field("retry-after").is_some() {
            refused(dialect, &told, 429, "Too many requests");
            told.is_unsigned();
        }
    }
    let (free, held) = codes.split_at(60);
    assert!(free.iter().all(|held| !held), "{codes:?}");
    // One comes back in a minute.
    assert!(held.iter().filter(|held| **held).count() >= 8, "{codes:?}");
    from("127.77.0.1", "fo", json!({})).is_fine();
    refused("fo", &from("127.77.0.2", "fo", json!({"client": "nobody"})), 510, "Bad Client Config");
}

#[test]
fn an_answer_too_large_to_be_signed_is_a_bad_one() {
    let scene = Scene::new();
    for dialect in DIALECTS {
        let told = scene.call(dialect, &json!({"target": "/test_api/v1/huge"}));
        refused(dialect, &told, 502, "Bad Endpoint Response");
    }
}
