//! Routes that are declared to the login endpoints: what they refuse, and what is captured at them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{DIALECTS, House, PASSWORD, SHOP, over, pair, refused, said, until};

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

#[test]
fn codes_that_let_users_in_are_not_captured() {
    let house = House::new();
    let whole = json!({"headers": true, "body": true});
    declare(&house, &json!({"policies": {"capture": {"request": whole, "response": whole}}}));
    let codes = ["914702", "914703", "914704", "914705", "914706"];
    let body = json!({
        "name": "ada", "password": PASSWORD, "sms_code": codes[0], "code": codes[1], "verifyCode": codes[2],
        "captcha": codes[3],
    });
    let target = format!("/auth/v1/login?code={}", codes[4]);
    let answer = said(&house.post("fo", SHOP, &target, &body, &json!({})));
    let path = "/captures";
    let items = || house.gateway().admin_ok("GET", path, None, 200)["items"].as_array().expect("a list").clone();
    until("it is captured", || !items().is_empty());
    let id = items()[0]["request_id"].as_str().expect("an id").to_owned();
    let shown = house.gateway().admin_ok("GET", &format!("{path}/{id}"), None, 200);
    let text = shown.to_string();
    for code in codes.iter().chain([&PASSWORD]) {
        assert!(!text.contains(code) && !text.contains(&STANDARD.encode(code)), "{code}: {text}");
    }
    assert!(shown["request"]["body"]["text"].as_str().is_some_and(|text| text.contains("\"ada\"")), "{text}");
    // What came of it stays.
    let said = shown["response"]["body"]["text"].as_str().expect("a text");
    assert!(said.contains(&format!("\"code\":{}", answer["code"])), "{said}");
}
