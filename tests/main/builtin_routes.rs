//! Routes that operators declare to the gateway's own endpoints: other policies and credentials there, for everybody or for
//! one client; and what no declaration can do to them.

use serde_json::{Value, json};

use crate::support::scene::{PASSWORD, client, log_in, text};
use crate::support::{Answer, Gateway};

const PAGE: &str = "https://app.example";

fn gateway() -> Gateway {
    let gateway = Gateway::start();
    gateway.admin_ok("POST", "/users", Some(&json!({"username": "ada", "password": PASSWORD})), 201);
    gateway
}

/// Declares a route with these members beside `builtin: true`.
fn declare(gateway: &Gateway, name: &str, matches: &Value, more: &Value) {
    let mut route = json!({"match": matches, "builtin": true});
    for (field, value) in more.as_object().expect("members") {
        route[field] = value.clone();
    }
    let answer = gateway.admin("PUT", &format!("/routes/{name}"), Some(&route));
    assert!(matches!(answer.status, 200 | 201), "{}", answer.text());
}

fn log_in_with(gateway: &Gateway, password: &str, fields: &[(&str, &str)]) -> Answer {
    gateway.post("/-/token", fields, &json!({"username": "ada", "password": password}))
}

fn preflight(gateway: &Gateway, path: &str, origin: &str) -> Answer {
    let fields = [
        ("Origin", origin),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "content-type"),
    ];
    gateway.call("OPTIONS", path, &fields, b"")
}

#[test]
fn a_page_logs_in_where_a_route_to_the_endpoint_allows_it() {
    let gateway = gateway();
    assert_eq!(preflight(&gateway, "/-/token", PAGE).status, 405);
    let policies = json!({"cors": {"origins": [PAGE], "methods": ["POST"]}});
    declare(&gateway, "token", &json!({"path": {"exact": "/-/token"}}), &json!({"policies": policies}));
    let asked = preflight(&gateway, "/-/token", PAGE);
    assert_eq!((asked.status, asked.header("access-control-allow-origin")), (204, Some(PAGE)));
    assert_eq!(asked.header("access-control-allow-methods"), Some("POST"));
    let elsewhere = preflight(&gateway, "/-/token", "https://evil.example");
    assert_eq!((elsewhere.status, elsewhere.header("access-control-allow-origin")), (403, None));
    for (password, status) in [(PASSWORD, 200), ("wrong", 401)] {
        let answer = log_in_with(&gateway, password, &[("Origin", PAGE)]);
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (status, Some(PAGE)), "{password}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    assert_eq!(log_in_with(&gateway, PASSWORD, &[]).header("access-control-allow-origin"), None);
    // It is about this endpoint and no other.
    assert_eq!(preflight(&gateway, "/-/token/refresh", PAGE).status, 405);
    // A body is bounded as before, and so is one of a length that is not told.
    let large = vec![b' '; 17 << 10];
    let answer = gateway.call("POST", "/-/token", &[("Content-Type", "application/json")], &large);
    assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"));
}

#[test]
fn logins_of_an_address_are_throttled_where_a_route_says_so() {
    let gateway = gateway();
    let policies = json!({"throttle": {"rate": 2, "per": "1h"}});
    declare(&gateway, "token", &json!({"path": {"exact": "/-/token"}}), &json!({"policies": policies}));
    // Preflights are answered without it where there is none to answer them.
    for status in [200, 401, 429, 429] {
        let password = if status == 401 { "wrong" } else { PASSWORD };
        let answer = log_in_with(&gateway, password, &[]);
        assert_eq!(answer.status, status, "{}", answer.text());
        assert_eq!(answer.header("retry-after").is_some(), status == 429);
    }
    let record = gateway.record("status=429", |record| record["path"] == "/-/token");
    assert_eq!((&record["refusal"], &record["user"]), (&json!("too_many_requests"), &Value::Null));
    // What is used up stays so when something else of the route changes, and is not what another route counts.
    let policies = json!({"throttle": {"rate": 2, "per": "1h"}, "cors": {"origins": [PAGE]}});
    declare(&gateway, "token", &json!({"path": {"exact": "/-/token"}}), &json!({"policies": policies}));
    assert_eq!(log_in_with(&gateway, PASSWORD, &[]).status, 429);
    gateway.admin_ok("DELETE", "/routes/token", None, 204);
    assert_eq!(log_in_with(&gateway, PASSWORD, &[]).status, 200);
}

#[test]
fn the_key_set_has_a_tag_and_may_be_read_by_pages() {
    let gateway = gateway();
    let policies = json!({"cors": {"origins": ["*"], "methods": ["GET"]}});
    let matches = json!({"path": {"exact": "/.well-known/jwks.json"}, "methods": ["GET"]});
    declare(&gateway, "keys", &matches, &json!({"policies": policies}));
    let get = |fields: &[(&str, &str)]| gateway.call("GET", "/.well-known/jwks.json", fields, b"");
    let first = get(&[("Origin", PAGE)]);
    assert_eq!((first.status, first.header("access-control-allow-origin")), (200, Some("*")));
    let tag = first.header("etag").expect("a tag").to_owned();
    assert!(tag.starts_with('"') && tag.ends_with('"') && first.json()["keys"].is_array());
    for known in [tag.clone(), format!("\"x\", W/{tag}"), "*".to_owned()] {
        let same = get(&[("If-None-Match", &known), ("Origin", PAGE)]);
        assert_eq!((same.status, same.header("etag"), same.body.len()), (304, Some(tag.as_str()), 0), "{known}");
        assert_eq!(same.header("cache-control"), Some("public, max-age=300"));
        assert_eq!(same.header("access-control-allow-origin"), Some("*"));
    }
    assert_eq!(get(&[("If-None-Match", "\"x\"")]).body, first.body);
    let head = gateway.call("HEAD", "/.well-known/jwks.json", &[("If-None-Match", &tag)], b"");
    assert_eq!((head.status, head.header("etag")), (304, Some(tag.as_str())));
    assert_eq!(gateway.call("DELETE", "/.well-known/jwks.json", &[], b"").status, 405);
}

#[test]
fn credentials_are_asked_for_where_a_route_says_so() {
    let gateway = gateway();
    let key = client(&gateway, "shop", &["orders/v1"]);
    declare(&gateway, "token", &json!({"path": {"exact": "/-/token"}}), &json!({"require": [["api_key"]]}));
    let answer = log_in_with(&gateway, PASSWORD, &[]);
    assert_eq!((answer.status, answer.code().as_str()), (401, "missing_credential"));
    assert_eq!(log_in_with(&gateway, PASSWORD, &[("X-API-Key", "wrong")]).status, 401);
    let answer = log_in_with(&gateway, PASSWORD, &[("X-API-Key", &key)]);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let record = gateway.record("path=/-/token", |record| record["status"] == 200);
    assert_eq!((&record["client"], &record["user"]), (&json!("shop"), &json!("ada")));
    // It holds over a restart.
    let gateway = Gateway::restart(gateway.kill(), "");
    assert_eq!(log_in_with(&gateway, PASSWORD, &[]).code(), "missing_credential");
    assert_eq!(log_in_with(&gateway, PASSWORD, &[("X-API-Key", &key)]).status, 200);
}

#[test]
fn a_route_of_one_client_is_switched_off_for_it_alone() {
    let gateway = gateway();
    let (shop, till) = (client(&gateway, "shop", &[]), client(&gateway, "till", &[]));
    let matches = json!({"path": {"exact": "/-/token"}, "client": "shop"});
    declare(&gateway, "shop-token", &matches, &json!({"enabled": false}));
    let said = |fields: &[(&str, &str)]| {
        let answer = log_in_with(&gateway, PASSWORD, fields);
        if answer.status == 200 { "in".to_owned() } else { answer.code() }
    };
    assert_eq!(said(&[("X-API-Key", &shop)]), "route_disabled");
    assert_eq!((said(&[("X-API-Key", &till)]), said(&[])), ("in".to_owned(), "in".to_owned()));
    let told = gateway.admin("DELETE", "/clients/shop", None);
    assert_eq!((told.status, told.code().as_str()), (409, "conflict"), "a route is for it");
    declare(&gateway, "shop-token", &matches, &json!({"policies": {"acl": {"default": "deny"}}}));
    assert_eq!(
        (said(&[("X-API-Key", &shop)]), said(&[("X-API-Key", &till)])),
        ("forbidden".to_owned(), "in".to_owned())
    );
}

#[test]
fn no_ordinary_route_takes_a_call_from_an_endpoint() {
    let gateway = gateway();
    let answer = json!({"status": 418});
    for (name, matches) in [
        ("exact", json!({"path": {"exact": "/-/token"}})),
        ("host", json!({"path": {"prefix": "/-"}, "hosts": ["localhost", "*.example"]})),
        ("all", json!({"path": {"prefix": "/"}})),
        ("pattern", json!({"path": {"pattern": "/{a}/{b}/*"}, "methods": ["POST", "GET"]})),
    ] {
        gateway.admin_ok("PUT", &format!("/routes/{name}"), Some(&json!({"match": matches, "answer": answer})), 201);
    }
    text(&log_in(&gateway, "ada", &[("Host", "localhost")]), "access_token");
    for (path, status) in [
        ("/-/health", 200),
        ("/-/ready", 200),
        ("/.well-known/jwks.json", 200),
        ("/.well-known/keys/x.pem", 404),
        ("/x", 418),
    ] {
        assert_eq!(gateway.call("GET", path, &[("Host", "localhost")], b"").status, status, "{path}");
    }
    // One that says so does, where endpoints answer.
    declare(
        &gateway,
        "off",
        &json!({"path": {"exact": "/-/ready"}, "hosts": ["a.example"]}),
        &json!({"enabled": false}),
    );
    let ready = |host: &str| gateway.call("GET", "/-/ready", &[("Host", host)], b"").status;
    assert_eq!((ready("a.example"), ready("b.example")), (404, 200));
    gateway.admin_ok("PUT", "/hosts/a.example", Some(&json!({"builtin": false})), 201);
    assert_eq!(ready("a.example"), 418, "nothing is left of it where no endpoint answers");
}

#[test]
fn a_file_declares_them_too() {
    let gateway = gateway();
    let route = |more: &str| {
        format!("version: 1\nroutes:\n  token:\n    match: {{path: {{exact: /-/token}}}}\n    builtin: true\n{more}")
    };
    let put = |text: &str| {
        let fields =
            [("Authorization", format!("Bearer {}", gateway.token)), ("Content-Type", "application/yaml".to_owned())];
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        crate::support::client::call(gateway.admin, "PUT", "/api/v1/declarations", &fields, text.as_bytes())
    };
    let told = put(&route("    policies: {throttle: {rate: 1, per: 1h}}\n"));
    assert_eq!(told.status, 200, "{}", told.text());
    let kinds = json!([{"route": "token", "kinds": {"throttle": "add"}}]);
    assert_eq!(told.json()["policies"], kinds, "{}", told.text());
    assert_eq!([200, 429].map(|_| log_in_with(&gateway, PASSWORD, &[]).status), [200, 429]);
    let told = put(&route("    strip: true\n"));
    assert_eq!((told.status, told.json()["problems"][0]["path"].as_str()), (422, Some("routes.token.strip")));
    let told = put("version: 1\n");
    assert_eq!((told.status, log_in_with(&gateway, PASSWORD, &[]).status), (200, 200), "{}", told.text());
}
