//! Sealed calls: the backend gets what was inside, and the client can open what comes back.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{DIALECTS, Scene, binary, over, refused};
use crate::support::backend::Received;

/// What makes a call a sealed one.
fn sealed(more: &Value) -> Value {
    over(&json!({"sealed_call": true}), more)
}

/// A field of a dialect.
fn field(dialect: &str, name: &str) -> String {
    format!("{}-{name}", if dialect == "fo" { "X-Fo" } else { "X-Api" })
}

fn echoed(scene: &Scene, dialect: &str, method: &str, body: &[u8], more: &Value) -> Received {
    let wanted = json!({"method": method, "target": "/test_api/v1/echo?q=%e4+1", "body": STANDARD.encode(body)});
    let (told, request) = scene.call_through(dialect, &sealed(&over(&wanted, more)));
    told.is_fine();
    assert!(told.opened() == body, "{method} {dialect} {}", body.len());
    let kind = if body.is_empty() { "raw" } else { "aes" };
    assert_eq!(told.field(&field(dialect, "Encrypt-Type")), Some(kind));
    assert!(body.is_empty() || told.body() != body);
    assert!(told.target().starts_with("/test_api/v1/?_t="), "{told:?}");
    assert_eq!((request.method.as_str(), request.target.as_str()), (method, "/echo?q=%e4+1"));
    assert!(request.body == body);
    request
}

#[test]
fn what_was_inside_gets_through_and_comes_back_sealed() {
    let scene = Scene::new();
    for dialect in DIALECTS {
        for block in [16, 32] {
            for method in ["POST", "PUT", "PATCH"] {
                for length in [0, 1, 15, 16, 17, 31, 32, 33, 1_000] {
                    echoed(&scene, dialect, method, &binary()[..length], &json!({"block": block}));
                }
            }
            for body in ["{\"c\":\"中文\"}".as_bytes(), &[16; 16], &[1; 32], &vec![7; 100_000]] {
                echoed(&scene, dialect, "POST", body, &json!({"block": block}));
            }
            for method in ["GET", "DELETE", "OPTIONS"] {
                let (told, request) = scene.call_through(dialect, &sealed(&json!({"method": method, "block": block})));
                assert_eq!(told.is_fine().opened(), method.to_ascii_lowercase().into_bytes());
                assert_eq!((request.method.as_str(), request.target.as_str()), (method, "/resource/"));
            }
            let (told, _) = scene.call_through(dialect, &sealed(&json!({"method": "HEAD", "block": block})));
            assert!(told.is_fine().body().is_empty());
        }
    }
}

#[test]
fn inner_fields_go_over_outer_ones() {
    let scene = Scene::new();
    for dialect in DIALECTS {
        let request =
            echoed(&scene, dialect, "POST", b"{}", &json!({"fields": [["Content-Type", "application/json"]]}));
        assert_eq!(request.header("content-type"), Some("application/json"));
        let request = echoed(&scene, dialect, "POST", b"{}", &json!({}));
        assert_eq!(request.header("content-type"), Some("application/octet-stream"), "what is outside stands");
        let fields = json!([["X-Mine", "ä €"], ["Cookie", "a=1"], ["accept", "b/c"]]);
        let request = echoed(&scene, dialect, "POST", b"{}", &json!({"fields": fields}));
        assert_eq!(request.header("accept"), Some("b/c"), "the last of two spellings is what a client means");
        assert_eq!((request.header("x-mine"), request.header("cookie")), (Some("ä €"), Some("a=1")));
        assert_eq!(request.header("content-length"), Some("2"));
    }
}

#[test]
fn what_a_caller_may_not_say_is_not_said_inside_either() {
    let scene = Scene::new();
    let names = [
        "Host",
        "X-App-Id",
        "X-User-Json",
        "X-Api-User-Json",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "Forwarded",
        "X-Fo-App-Id",
        "X-Fo-Encrypt-Type",
        "X-Fo-Anything",
        "X-Api-Access-Key",
        "X-Api-Nonce",
        "X-API-Key",
        "X_App_Id",
        "x_user_json",
        "Authorization",
    ];
    for dialect in DIALECTS {
        for name in names {
            let fields =
                json!({"fields": [[name, "forged"]], "method": "POST", "body": "e30=", "target": "/test_api/v1/echo"});
            let told = scene.call(dialect, &sealed(&fields));
            if told.status() != 200 {
                refused(dialect, &told, 423, "AES Decrypt Failed");
                continue;
            }
            let request = scene.backend.received().pop().expect("one");
            super::holds_no_field_of_the_dialects(&request);
            assert!(request.headers.iter().all(|(_, value)| value != "forged"), "{name}: {request:?}");
            assert_eq!(request.header("x-app-id"), Some(super::ACCESS_KEY));
        }
        for framing in [["Content-Length", "1"], ["Transfer-Encoding", "chunked"], ["Connection", "close, x-app-id"]] {
            let fields = json!({"fields": [framing], "method": "POST", "body": "e30=", "target": "/test_api/v1/echo"});
            let told = scene.call(dialect, &sealed(&fields));
            let request = scene.backend.received().pop().expect("one");
            assert!(told.status() != 200 || request.body == b"{}", "{framing:?}: {request:?}");
            assert_eq!(request.header("x-app-id"), Some(super::ACCESS_KEY));
        }
    }
}

#[test]
fn the_uri_inside_is_the_one_that_counts() {
    let scene = Scene::new();
    for dialect in DIALECTS {
        for (inner, expected) in [
            ("/test_api/v1/", "/"),
            ("/test_api/v1/a/b?c=d", "/a/b?c=d"),
            ("/test_api/v1/%E4%B8%AD?q=中", "/%E4%B8%AD?q=中"),
            ("/test_api/v1/a@b:c?x=1&x=2", "/a@b:c?x=1&x=2"),
        ] {
            let (told, request) = scene.call_through(dialect, &sealed(&json!({"target": inner})));
            told.is_fine();
            assert_eq!(request.target, expected);
        }
        // Without one, the outer URI is taken.
        let change = json!([[field(dialect, "Encrypted-Uri"), null]]);
        let outer = json!({"change": change, "outer": "/test_api/v1/outside?a=b"});
        let (told, request) = scene.call_through(dialect, &sealed(&outer));
        told.is_fine();
        assert_eq!(request.target, "/outside?a=b");
    }
}

#[test]
fn another_endpoint_inside_is_not_opened() {
    let scene = Scene::new();
    let service =
        json!({"targets": [{"url": scene.backend.url()}], "default_route": false, "require": [["signature"]]});
    for (name, path) in [("other/v1", "/other/v1"), ("test_api/v2", "/test_api/v2")] {
        scene.gateway.admin_ok("PUT", &format!("/services/{name}"), Some(&service), 201);
        let matches = json!({"client": "shop", "path": {"prefix": path}});
        let route = json!({"match": matches, "service": name, "strip": true});
        scene.gateway.admin_ok("PUT", &format!("/routes/{}", name.replace('/', "-")), Some(&route), 201);
    }
    for dialect in DIALECTS {
        scene.call_through(dialect, &json!({"target": "/other/v1/resource"})).0.is_fine();
    }
    let before = scene.backend.received().len();
    for dialect in DIALECTS {
        for inner in [
            "/other/v1/resource",
            "/test_api/v2/resource",
            "/test_api/v1/../v2/x",
            "/nowhere/v1/",
            "/",
            "/test_api/v1%2fx",
        ] {
            let told = scene.call(dialect, &sealed(&json!({"target": inner, "outer": "/test_api/v1/?_t=1"})));
            refused(dialect, &told, 423, "AES Decrypt Failed");
            told.is_verified();
        }
    }
    assert_eq!(scene.backend.received().len(), before);
}

#[test]
fn a_call_that_is_not_sealed_is_answered_in_clear() {
    let scene = Scene::new();
    for dialect in DIALECTS {
        let encrypt_type = field(dialect, "Encrypt-Type");
        let (told, _) = scene.call_through(dialect, &json!({}));
        assert_eq!(told.is_fine().field(&encrypt_type), Some("raw"));
        // A word that is not known is neither taken for sealed nor for clear.
        for word in ["AES", "rsa", "aes,raw", "none"] {
            let told = scene.call(dialect, &json!({"change": [[encrypt_type, word]]}));
            refused(dialect, &told, 423, "AES Decrypt Failed");
        }
        let (told, _) = scene.call_through(dialect, &json!({"change": [[encrypt_type, null]]}));
        told.is_fine();
    }
}
