//! Clients with two secrets while one takes the place of the other, and with secrets for one purpose alone.

use serde_json::{Value, json};

use super::{DIALECTS, SECRET, Scene, over, refused};

/// The second secret of the client.
const SECOND: &str = "a second secret";

/// Gives the client another secret, and returns the handles of both.
fn with_second(scene: &Scene, uses: &Value) -> (String, String) {
    let made = json!({"secret": SECOND, "uses": uses});
    let second = scene.gateway.admin_ok("POST", "/clients/shop/secrets", Some(&made), 201);
    let second = second["id"].as_str().expect("a handle").to_owned();
    let all = scene.gateway.admin_ok("GET", "/clients/shop/secrets", None, 200);
    let handles = all["items"].as_array().expect("a list").iter().filter_map(|secret| secret["id"].as_str());
    let first = handles.into_iter().find(|handle| *handle != second).expect("two").to_owned();
    (first, second)
}

#[test]
fn both_secrets_are_good_and_each_is_answered_with_itself() {
    let scene = Scene::new();
    let (first, _) = with_second(&scene, &json!(["oauth", "sign", "seal"]));
    let secrets = [SECRET, SECOND];
    for dialect in DIALECTS {
        for secret in secrets {
            for sealed in [false, true] {
                let (told, _) = scene.call_through(dialect, &json!({"secret": secret, "sealed_call": sealed}));
                assert_eq!(told.is_fine().opened(), b"get");
            }
        }
        refused(dialect, &scene.call(dialect, &json!({"secret": "a third"})), 431, "Invalid Signature");
    }
    // The old one goes, at once.
    scene.gateway.admin_ok("DELETE", &format!("/clients/shop/secrets/{first}"), None, 204);
    for dialect in DIALECTS {
        refused(dialect, &scene.call(dialect, &json!({"secret": SECRET})), 431, "Invalid Signature");
        scene.call_through(dialect, &json!({"secret": SECOND, "sealed_call": true})).0.is_fine();
    }
}

#[test]
fn a_secret_is_good_for_its_uses_alone() {
    let scene = Scene::new();
    let (first, second) = with_second(&scene, &json!(["sign"]));
    let signs = json!({"secret": SECOND});
    for dialect in DIALECTS {
        scene.call_through(dialect, &signs).0.is_fine();
        // Signed with the one, sealed with the other; so is the answer.
        let both = over(&signs, &json!({"sealed_call": true, "seal_with": SECRET}));
        let (told, _) = scene.call_through(dialect, &both);
        assert_eq!(told.is_fine().opened(), b"get");
        let wrong = over(&signs, &json!({"sealed_call": true}));
        refused(dialect, &scene.call(dialect, &wrong), 423, "AES Decrypt Failed");
    }
    let change = |handle: &str, uses: Value| {
        let change = json!({"uses": uses});
        scene.gateway.admin_ok("PUT", &format!("/clients/shop/secrets/{handle}"), Some(&change), 200);
    };
    change(&first, json!(["oauth"]));
    for dialect in DIALECTS {
        refused(dialect, &scene.call(dialect, &json!({"secret": SECRET})), 431, "Invalid Signature");
        let sealed = over(&signs, &json!({"sealed_call": true, "seal_with": SECRET}));
        refused(dialect, &scene.call(dialect, &sealed), 423, "AES Decrypt Failed");
    }
    change(&second, json!(["seal"]));
    for dialect in DIALECTS {
        refused(dialect, &scene.call(dialect, &signs), 431, "Invalid Signature");
    }
}
