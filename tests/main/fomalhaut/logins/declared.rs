//! Routes that are declared to the login endpoints: what they refuse, and what is captured at them.

use serde_json::{Value, json};

use super::{DIALECTS, House, PASSWORD, SHOP, over, pair, refused, said};

/// Declares the route of `shop` to `/auth/v1` with these members.
fn declare(house: &House, more: &Value) {
    let route = json!({"match": {"client": "shop", "path": {"prefix": "/auth/v1"}}, "builtin": true});
    let answer = house.gateway().admin("PUT", "/routes/shop-auth", Some(&over(&route, more)));
    assert!(matches!(answer.status, 200 | 201), "{}", answer.text());
}

#[test]
fn an_open_endpoint_takes_nothing_that_is_sealed() {
    let house = House::new();
    declare(&house, &json!({"require": []}));
    for dialect in DIALECTS {
        let credentials = json!({"name": "ada", "password": PASSWORD});
        let post = |more: &Value| house.post(dialect, SHOP, "/auth/v1/login", &credentials, more);
        let encrypts = if dialect == "fo" { "X-Fo-Encrypt-Type" } else { "X-Api-Encrypt-Type" };
        let before = house.auth_api.received().len();
        // Whoever seals a call, or asks for a sealed answer, gets neither taken for the other nor tokens in clear.
        for sealed in [
            json!({"sealed_call": true}),
            json!({"sealed_call": true, "outer": "/auth/v1/login"}),
            json!({"sealed_call": true, "outer": "/auth/v1/login", "signed": false}),
            json!({"change": [[encrypts, "aes"]]}),
            json!({"change": [[encrypts, "zzz"]], "signed": false}),
        ] {
            let told = post(&sealed);
            refused(dialect, &told, 423, "AES Decrypt Failed");
        }
        assert_eq!(house.auth_api.received().len(), before, "it was asked nothing");
        let told = post(&json!({"signed": false, "asks": false}));
        let answer: Value = serde_json::from_slice(&told.body()).expect("JSON");
        pair(&answer["data"]);
    }
    // The others are open too, and say no as well.
    let sealed = json!({"change": [["X-Fo-Encrypt-Type", "aes"]]});
    refused("fo", &house.post("fo", SHOP, "/-/token", &json!({}), &sealed), 423, "AES Decrypt Failed");
}

#[test]
fn rules_and_the_endpoint_read_a_path_alike_with_a_slash_at_its_end_and_without() {
    let house = House::new();
    let credentials = json!({"name": "ada", "password": PASSWORD});
    for (rules, default, is_let) in [
        (json!([{"path": "^/login$", "effect": "deny"}]), "allow", false),
        (json!([{"path": "^/login/$", "effect": "deny"}]), "allow", false),
        (json!([{"path": "^/login.", "effect": "deny"}]), "allow", false),
        (json!([{"path": "/login", "effect": "deny"}]), "allow", false),
        (json!([{"path": "^/token$", "effect": "deny"}]), "allow", true),
        (json!([{"path": "^/login$", "effect": "allow"}]), "deny", true),
        (json!([{"path": "/login", "effect": "allow"}]), "deny", true),
        (json!([{"path": "^/login/$", "effect": "allow"}]), "deny", true),
        (json!([{"path": "^/login/$", "effect": "deny"}, {"path": "^/login$", "effect": "allow"}]), "deny", false),
    ] {
        declare(&house, &json!({"policies": {"acl": {"rules": rules, "default": default}}}));
        for path in ["/auth/v1/login", "/auth/v1/login/", "/auth/v1/login//", "/auth/v1//login/"] {
            let told = house.post("fo", SHOP, path, &credentials, &json!({}));
            if is_let {
                pair(&said(&told)["data"]);
            } else {
                refused("fo", &told, 432, "No Permission");
            }
        }
    }
}
