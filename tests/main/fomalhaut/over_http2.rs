//! Callers over HTTP/2, where names are in lower case.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::{DIALECTS, Scene, binary, over};
use crate::support::issuer::now;

#[test]
fn the_dialects_are_spoken_over_http_2_too() {
    let scene = Scene::new();
    for dialect in DIALECTS {
        for sealed in [false, true] {
            let way = json!({"http": 2, "sealed_call": sealed});
            let (told, request) = scene.call_through(dialect, &way);
            assert_eq!(told.is_fine().opened(), b"get");
            assert_eq!(request.target, "/resource/");
            for method in ["POST", "PUT"] {
                let body = binary();
                let post = json!({"method": method, "target": "/test_api/v1/echo?q=1", "body": STANDARD.encode(&body)});
                let (told, request) = scene.call_through(dialect, &over(&way, &post));
                assert!(told.is_fine().opened() == body && request.body == body);
                assert_eq!(told.body() != body, sealed);
            }
            let told = scene.call(dialect, &over(&way, &json!({"secret": "another"})));
            assert_eq!(told.status(), if dialect == "fo" { 949 } else { 600 });
            told.is_unsigned();
            let told = scene.call(dialect, &over(&way, &json!({"host": "a.example"})));
            told.is_fine();
        }
    }
}

#[test]
fn a_call_that_has_passed_in_one_version_does_not_in_the_other() {
    let scene = Scene::new();
    let stamp = now();
    for (first, second) in [(1, 2), (2, 1)] {
        let same = json!({"nonce": format!("0.{first}"), "timestamp": stamp});
        scene.call_through("fo", &over(&same, &json!({"http": first}))).0.is_fine();
        for version in [second, first] {
            let told = scene.call("fo", &over(&same, &json!({"http": version})));
            assert_eq!(told.status(), 949);
            assert_eq!(told.body(), br#"{"code":431,"value":null,"message":"431 Invalid Signature"}"#);
        }
    }
}
