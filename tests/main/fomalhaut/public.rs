//! Calls that name no client: on a host declared for fomalhaut they are those of the client `public`.

use serde_json::{Value, json};

use super::{DIALECTS, Scene, refused};
use crate::support::Answer;

/// A scene with the client `public`, to whom this route is open.
fn with_public(require: &Value) -> Scene {
    let scene = Scene::new();
    scene.add_client("public-app", "public", "12345678");
    scene.route("public-app", &json!({"require": require}));
    scene
}

fn get(scene: &Scene, host: &str, path: &str) -> Answer {
    scene.gateway.call("GET", path, &[("Host", host)], b"")
}

#[test]
fn who_says_nothing_is_the_public() {
    let scene = with_public(&json!([]));
    scene.gateway.admin_ok("PUT", "/hosts/apps.example", Some(&json!({"dialect": "fo"})), 201);
    let answer = get(&scene, "apps.example", "/test_api/v1/resource/");
    assert_eq!((answer.status, answer.text().as_str()), (200, "get"));
    let request = scene.backend.received().pop().expect("one");
    assert_eq!(request.header("x-app-id"), None, "nobody has proved who it is");
    let answer = scene.gateway.call("POST", "/test_api/v1/echo", &[("Host", "apps.example")], b"{}");
    assert_eq!((answer.status, answer.text().as_str()), (200, "{}"));
    let answer = get(&scene, "apps.example", "/nowhere/v1/x");
    let body = r#"{"code":432,"value":null,"message":"432 No Permission nowhere/v1"}"#;
    assert_eq!((answer.status, answer.text().as_str()), (949, body));
    // Elsewhere nobody is the public without saying so.
    let answer = get(&scene, "other.example", "/test_api/v1/resource/");
    assert_eq!((answer.status, answer.code().as_str()), (404, "no_route"));
    for dialect in DIALECTS {
        let told = scene.call(dialect, &json!({"client": "public", "signed": false, "asks": false}));
        assert_eq!((told.status(), told.body()), (200, b"get".to_vec()));
    }
}

#[test]
fn the_public_gets_nothing_of_others() {
    let scene = with_public(&json!([["signature"]]));
    scene.gateway.admin_ok("PUT", "/hosts/apps.example", Some(&json!({"dialect": "fo"})), 201);
    let answer = get(&scene, "apps.example", "/test_api/v1/resource/");
    let body = r#"{"code":400,"value":null,"message":"400 Bad Request"}"#;
    assert_eq!((answer.status, answer.text().as_str()), (949, body));
    refused("fo", &scene.call("fo", &json!({"client": "public"})), 431, "Invalid Signature");
    scene.gateway.admin_ok("DELETE", "/routes/public-app-test_api", None, 204);
    scene.gateway.admin_ok("DELETE", "/clients/public-app", None, 204);
    let answer = get(&scene, "apps.example", "/test_api/v1/resource/");
    let body = r#"{"code":510,"value":null,"message":"510 Bad Client Config"}"#;
    assert_eq!((answer.status, answer.text().as_str()), (949, body));
    assert!(scene.backend.received().is_empty());
}
