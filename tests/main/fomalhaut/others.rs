//! Nobody passes for another client.

use serde_json::{Value, json};

use super::{ACCESS_KEY, DIALECTS, SECRET, Scene, over, refused};

/// A second client with a route of its own to the same service, and an API key and a token of it.
fn with_another(route: &Value) -> (Scene, String, String) {
    let scene = Scene::with("", route);
    scene.add_client("other", "other-key", "other-secret");
    scene.route("other", &json!({}));
    let key = scene.gateway.admin_ok("POST", "/clients/other/api-keys", None, 201);
    let key = key["api_key"].as_str().expect("a key").to_owned();
    let user = json!({"username": "ada", "password": "correct horse"});
    scene.gateway.admin_ok("POST", "/users", Some(&user), 201);
    let login = scene.gateway.post("/-/token", &[("X-API-Key", &key)], &user);
    let token = login.json()["access_token"].as_str().expect("a token").to_owned();
    (scene, key, token)
}

#[test]
fn nobody_signs_for_another() {
    let (scene, ..) = with_another(&json!({}));
    for dialect in DIALECTS {
        scene.call_through(dialect, &json!({"client": "other-key", "secret": "other-secret"})).0.is_fine();
    }
    let before = scene.backend.received().len();
    for dialect in DIALECTS {
        let claim = if dialect == "fo" { "X-Fo-App-Id" } else { "X-Api-Access-Key" };
        for wrong in [
            json!({"client": ACCESS_KEY, "secret": "other-secret"}),
            json!({"client": "other-key", "secret": SECRET}),
            json!({"client": "other-key", "secret": "other-secret", "after": [[claim, ACCESS_KEY]]}),
            json!({"client": "shop", "secret": SECRET}),
            json!({"client": "ABCD", "secret": SECRET}),
            json!({"client": "", "secret": SECRET}),
        ] {
            let told = scene.call(dialect, &wrong);
            assert!(told.is_unsigned().status() != 200, "{wrong}");
        }
        // Two claims are none.
        let twice = json!({"fields": [[claim, "other-key"]]});
        let told = scene.call(dialect, &twice);
        assert!(told.status() != 200, "{told:?}");
    }
    assert_eq!(scene.backend.received().len(), before);
}

#[test]
fn the_two_dialects_are_not_mixed() {
    let (scene, ..) = with_another(&json!({}));
    for (dialect, name, value) in [
        ("fo", "X-Api-Access-Key", "other-key"),
        ("fo", "X-Api-Access-Key", ACCESS_KEY),
        ("api", "X-Fo-App-Id", "other-key"),
        ("api", "X-Fo-Signature", "x"),
    ] {
        let told = scene.call(dialect, &json!({"after": [[name, value]]}));
        let came = scene.backend.received();
        let ours = came.iter().all(|request| request.header("x-app-id") == Some(ACCESS_KEY));
        assert!(ours, "{name}: {came:?} {told:?}");
    }
}

#[test]
fn credentials_of_one_client_do_not_go_with_the_claim_of_another() {
    for require in [
        json!([["signature"]]),
        json!([["api_key"]]),
        json!([["bearer"]]),
        json!([["signature", "api_key"]]),
        json!([["signature"], ["api_key"], ["bearer"]]),
        json!([]),
    ] {
        let (scene, key, token) = with_another(&json!({"require": require}));
        let bearer = format!("Bearer {token}");
        let (key, bearer) = (json!(["X-API-Key", key]), json!(["Authorization", bearer]));
        for dialect in DIALECTS {
            for fields in [json!([key]), json!([bearer]), json!([key, bearer])] {
                // The claim is of `shop`; what is shown, of `other`, or also the signature of `shop`.
                for signed in [false, true] {
                    let before = scene.backend.received().len();
                    let told = scene.call(dialect, &json!({"fields": fields, "signed": signed}));
                    let came = scene.backend.received();
                    if came.len() > before {
                        let of_shop = came.last().is_some_and(|request| request.header("x-app-id") == Some(ACCESS_KEY));
                        let is_open = require == json!([]);
                        assert!(is_open || signed && of_shop, "{require} {fields} {signed}: {came:?}");
                    } else {
                        let status = if dialect == "fo" { 949 } else { 600 };
                        assert_eq!(told.status(), status, "{require} {fields} {signed}");
                    }
                }
            }
        }
    }
}

#[test]
fn the_code_says_which_it_was() {
    let (scene, key, _) = with_another(&json!({"require": [["api_key"]]}));
    // What one credential claims is of no use where another client's is asked for.
    let wrong = json!({"fields": [["X-API-Key", key]]});
    refused("fo", &scene.call("fo", &wrong), 432, "No Permission");
    // Without a claim there is no such route, and an API key claims its own client's.
    let answer = scene.gateway.call("GET", "/test_api/v1/resource", &[], b"");
    assert_eq!((answer.status, answer.code().as_str()), (404, "no_route"));
    let answer = scene.gateway.call("GET", "/test_api/v1/resource", &[("X-API-Key", &key)], b"");
    assert_eq!((answer.status, answer.code().as_str()), (401, "missing_credential"));
    assert!(scene.backend.received().is_empty());
}

#[test]
fn a_client_that_is_disabled_or_loses_its_secret_is_out_at_once() {
    let scene = Scene::new();
    for dialect in DIALECTS {
        scene.call_through(dialect, &json!({})).0.is_fine();
    }
    let client = json!({"services": [], "enabled": true});
    scene.gateway.admin_ok("PUT", "/clients/shop", Some(&over(&client, &json!({"enabled": false}))), 200);
    for dialect in DIALECTS {
        refused(dialect, &scene.call(dialect, &json!({})), 421, "Client Disabled");
    }
    scene.gateway.admin_ok("PUT", "/clients/shop", Some(&client), 200);
    for dialect in DIALECTS {
        scene.call_through(dialect, &json!({})).0.is_fine();
    }
    scene.gateway.admin_ok("DELETE", "/routes/shop-test_api", None, 204);
    refused("fo", &scene.call("fo", &json!({})), 432, "No Permission test_api/v1");
    scene.gateway.admin_ok("DELETE", "/clients/shop", None, 204);
    for dialect in DIALECTS {
        refused(dialect, &scene.call(dialect, &json!({})), 510, "Bad Client Config");
    }
}
