//! Rules of a client's route cannot be gone around by another spelling of the path.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{DIALECTS, Scene};

/// The rules of fomalhaut's own tests: regular expressions that hold from the beginning of the path.
fn rules() -> Value {
    json!({"policies": {"acl": {"rules": [
        {"path": "^/forbidden/?", "effect": "deny"},
        {"path": "^/a@b", "effect": "deny"},
        {"path": "^/resource/?", "effect": "allow"},
    ]}}})
}

/// Spellings of a path that is denied.
const DENIED: [&str; 29] = [
    "/forbidden",
    "/forbidden/",
    "/forbidden?x=1",
    "/forbidden/x",
    "/forbiddenx",
    "/%66orbidden",
    "/%66%6f%72%62%69%64%64%65%6e",
    "/forb%69dden/x",
    "//forbidden",
    "///forbidden",
    "/./forbidden",
    "/x/../forbidden",
    "/x/%2e%2e/forbidden",
    "/x/.%2E/forbidden",
    "/%2e/forbidden",
    "/resource/../forbidden",
    "/resource/../resource/../forbidden/",
    "/a@b",
    "/a%40b",
    "/%61%40b/c",
    "/x/..//forbidden",
    "/../v1/forbidden",
    "/%2e%2e/v1/forbidden",
    "/forbidden#x",
    "/resource/%2e%2e/%66orbidden",
    "//x//..//forbidden",
    "/forbidden%3F",
    "/forbidden%20",
    "/forbidden/../forbidden",
];

/// Spellings that a service could read as one that is denied: nothing of them gets through.
const AMBIGUOUS: [&str; 18] = [
    "/;/forbidden",
    "/;a=b/forbidden",
    "/forbidden;",
    "/forbidden;x=1",
    "/x/..;/forbidden",
    "/%3b/forbidden",
    "/x/%2e%2e%3b/forbidden",
    "/%2fforbidden",
    "/x%2f..%2fforbidden",
    "/x/..%2fforbidden",
    "/\\forbidden",
    "/x\\..\\forbidden",
    "/%5cforbidden",
    "/x/..%5cforbidden",
    "/%00/forbidden",
    "/forbidden%00",
    "/%0a/forbidden",
    "/forbidden%0d",
];

/// Escapes of escapes: read once, these are other paths, and go on as they are.
const TWICE: [&str; 4] = ["/%2566orbidden", "/x/%252e%252e/forbidden", "/%252fforbidden", "/forbid%2564en"];

fn target(rest: &str) -> String {
    format!("/test_api/v1{rest}")
}

#[test]
fn no_spelling_of_a_denied_path_gets_through() {
    let scene = Scene::with("", &rules());
    for dialect in DIALECTS {
        for sealed in [false, true] {
            for rest in DENIED.into_iter().chain(AMBIGUOUS) {
                let told = scene
                    .call(dialect, &json!({"target": target(rest), "sealed_call": sealed, "outer": target("/?_t=1")}));
                let status = if dialect == "fo" { 949 } else { 600 };
                assert_eq!(told.status(), status, "{rest}");
                assert!(scene.backend.received().is_empty(), "{rest}: {:?}", scene.backend.received());
                let code = String::from_utf8(told.opened()).expect("text");
                let denied = DENIED.contains(&rest) && !rest.contains('#');
                assert!(
                    !denied || code.contains("432") || dialect == "api" && code.contains("No Permission"),
                    "{rest}: {code}"
                );
            }
        }
    }
}

#[test]
fn a_path_is_read_once() {
    let scene = Scene::with("", &rules());
    for dialect in DIALECTS {
        for rest in TWICE {
            let (told, request) = scene.call_through(dialect, &json!({"target": target(rest)}));
            told.is_fine();
            // Read once, the service has what the rules have seen.
            assert!(request.target.contains("%25"), "{rest}: {}", request.target);
        }
        for rest in ["/resource", "/resource/", "/x/../resource", "/", "/xforbidden", "/x/forbidden"] {
            scene.call_through(dialect, &json!({"target": target(rest)})).0.is_fine();
        }
    }
}

#[test]
fn a_raw_byte_in_the_path_gets_nobody_through() {
    let scene = Scene::with("", &rules());
    let good = STANDARD.decode(scene.written("fo", &json!({"target": target("/Qforbidden")}))).expect("Base64");
    let at = good.iter().position(|byte| *byte == b'Q').expect("there");
    for byte in (0..=255).filter(|byte| *byte != b'Q') {
        let mut bytes = good.clone();
        bytes[at] = byte;
        let said = scene.driver.try_to(
            "raw",
            &json!({"address": scene.gateway.data.to_string(), "data": STANDARD.encode(&bytes),
                    "source": format!("127.8.0.{byte}")}),
        );
        assert!(said["status"] != 200, "{byte}: {said}");
    }
    assert!(scene.backend.received().is_empty());
}
