//! The everyday policies as callers, backends and operators meet them: limits, pages, addresses, header fields, rules.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use serde_json::{Value, json};

use crate::support::scene::{client, log_in, register};
use crate::support::{Answer, Backend, Gateway, Scene};

/// `orders/v1` with these policies, and open or not.
fn declared(scene: &Scene, require: &Value, policies: &Value) -> Value {
    json!({"targets": [{"url": scene.backend.url()}], "require": require, "policies": policies})
}

fn open_with(backend: Backend, settings: &str, policies: &Value) -> Scene {
    let scene = Scene::before(backend, settings);
    scene.declare(&declared(&scene, &json!([]), policies));
    scene
}

fn all<'a>(answer: &'a Answer, name: &str) -> Vec<&'a str> {
    let named = answer.headers.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name));
    named.map(|(_, value)| value.as_str()).collect()
}

fn get(gateway: &Gateway, path: &str) -> Answer {
    gateway.call("GET", &format!("/orders/v1{path}"), &[], b"")
}

/// The paths of the problems that a declaration is refused with.
fn problems(scene: &Scene, policies: &Value) -> Vec<String> {
    let declared = declared(scene, &json!([]), policies);
    let answer = scene.gateway.admin("PUT", "/services/orders/v1", Some(&declared));
    assert!((400..500).contains(&answer.status), "{}", answer.text());
    let body = answer.json();
    let found = body["problems"].as_array().unwrap_or_else(|| panic!("problems in {body}"));
    let mut paths: Vec<_> = found.iter().filter_map(|it| it["path"].as_str()).map(str::to_owned).collect();
    paths.sort_unstable();
    paths
}

#[test]
fn a_limit_is_told_on_every_answer_and_ends_in_429() {
    let policies = json!({"rate_limit": {"rate": 3, "per": "1h"}});
    let scene = open_with(Backend::echo(), "", &policies);
    for left in [2, 1, 0] {
        let answer = get(&scene.gateway, "/a");
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("ratelimit-policy"), Some("\"default\";q=3;w=3600"));
        let state = answer.header("ratelimit").expect("a state");
        assert!(state.starts_with(&format!("\"default\";r={left};t=")), "{state}");
    }
    let answer = get(&scene.gateway, "/a");
    assert_eq!((answer.status, answer.code().as_str()), (429, "too_many_requests"));
    assert_eq!(answer.header("ratelimit-policy"), Some("\"default\";q=3;w=3600"));
    let retry: u64 = answer.header("retry-after").expect("a time").parse().expect("seconds");
    assert!((1..=1_200).contains(&retry), "{retry}");
    assert_eq!(answer.header("ratelimit"), Some(format!("\"default\";r=0;t={retry}").as_str()));
    assert!(answer.headers.iter().any(|(name, _)| name == "Ratelimit"), "names are in title case: {answer:?}");
    assert_eq!(scene.backend.received().len(), 3, "what is refused does not reach the backend");
    let record = scene.gateway.record("limit=10", |record| record["status"] == 429);
    assert_eq!(record["refusal"], "too_many_requests", "{record}");
    assert!(scene.gateway.access_log().contains("\"reason\":\"default\""), "the operator reads which limit it was");
}

#[test]
fn known_callers_have_limits_of_their_own_and_strangers_are_throttled_before() {
    let scene = Scene::new();
    let require = json!([["bearer", "api_key"]]);
    scene.declare(&declared(
        &scene,
        &require,
        &json!({
            "throttle": {"name": "door", "rate": 8, "per": "1h"},
            "rate_limit": {"limits": [
                {"name": "client", "rate": 2, "per": "1h", "key": ["client"]},
                {"name": "both", "rate": 100, "per": "1h", "key": ["client", "user"], "cost": 5},
            ]},
        }),
    ));
    let other = client(&scene.gateway, "other", &["orders/v1"]);
    let bearer = format!("Bearer {}", scene.token);
    let as_other = [("Authorization", bearer.as_str()), ("X-API-Key", other.as_str())];
    let first = scene.call("GET", "/orders/v1/a", &[], b"");
    assert_eq!(first.status, 200, "{}", first.text());
    let policies = ["\"client\";q=2;w=3600, \"both\";q=100;w=3600", "\"door\";q=8;w=3600"];
    assert_eq!(all(&first, "ratelimit-policy"), policies, "of each policy that limits");
    assert!(all(&first, "ratelimit")[0].contains("\"both\";r=95;"), "{first:?}");
    assert_eq!(scene.call("GET", "/orders/v1/a", &[], b"").status, 200);
    let refused = scene.call("GET", "/orders/v1/a", &[], b"");
    assert_eq!((refused.status, all(&refused, "ratelimit").len()), (429, 2), "{refused:?}");
    assert_eq!(scene.gateway.call("GET", "/orders/v1/a", &as_other, b"").status, 200, "another client");
    // Four of eight are left at the door, for credentials that are good, bad or missing.
    for _ in 0..2 {
        assert_eq!(get(&scene.gateway, "/a").code(), "missing_credential");
        assert_eq!(
            scene.gateway.call("GET", "/orders/v1/a", &[("Authorization", "Bearer x"), ("X-API-Key", "y")], b"").status,
            401
        );
    }
    let answer = scene.gateway.call("GET", "/orders/v1/a", &as_other, b"");
    assert_eq!((answer.status, answer.header("ratelimit-policy")), (429, Some("\"door\";q=8;w=3600")));
}

#[test]
fn limits_outlive_changes_of_declarations() {
    let limit = json!({"rate": 2, "per": "1h"});
    let scene = open_with(Backend::echo(), "", &json!({"rate_limit": limit}));
    assert_eq!((get(&scene.gateway, "/a").status, get(&scene.gateway, "/a").status), (200, 200));
    // Another policy of the service, other credentials, another service.
    scene.declare(&declared(&scene, &json!([]), &json!({"rate_limit": limit, "request_limits": {"body_bytes": 10}})));
    assert_eq!(get(&scene.gateway, "/a").status, 429);
    register(&scene.gateway, "another", "http://127.0.0.1:9");
    assert_eq!(get(&scene.gateway, "/a").status, 429);
    let two = json!({"limits": [limit, {"name": "more", "rate": 100, "per": "1h"}]});
    scene.declare(&declared(&scene, &json!([]), &json!({"rate_limit": two})));
    assert_eq!(get(&scene.gateway, "/a").status, 429, "another limit beside it");
    // Other numbers count at once, and what was used is not forgotten.
    scene.declare(&declared(&scene, &json!([]), &json!({"rate_limit": {"rate": 3, "per": "1h"}})));
    assert_eq!((get(&scene.gateway, "/a").status, get(&scene.gateway, "/a").status), (200, 429));
    // A service of its own has limits of its own.
    let another = json!({"targets": [{"url": scene.backend.url()}], "require": [], "policies": {"rate_limit": limit}});
    scene.gateway.admin_ok("PUT", "/services/another/v1", Some(&another), 200);
    assert_eq!(scene.gateway.call("GET", "/another/v1/a", &[], b"").status, 200);
}

#[test]
fn together_callers_get_exactly_the_burst() {
    let policies = json!({"throttle": {"rate": 1, "per": "1h", "burst": 25}});
    let scene = open_with(Backend::echo(), "workers = 2", &policies);
    let admitted = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..10 {
                    match get(&scene.gateway, "/a").status {
                        200 => admitted.fetch_add(1, SeqCst),
                        429 => 0,
                        other => panic!("{other}"),
                    };
                }
            });
        }
    });
    assert_eq!((admitted.load(SeqCst), scene.backend.received().len()), (25, 25));
}

#[test]
fn a_throttle_counts_the_address_of_the_client_and_ipv6_by_its_network() {
    let policies = json!({"throttle": {"rate": 1, "per": "1h"}});
    let scene = open_with(Backend::echo(), "trusted_proxies = [\"127.0.0.1/32\"]", &policies);
    let from = |address: &str| scene.gateway.call("GET", "/orders/v1/a", &[("X-Forwarded-For", address)], b"").status;
    for (address, expected) in [
        ("192.0.2.1", 200),
        ("192.0.2.1", 429),
        ("::ffff:192.0.2.1", 429),
        ("6.6.6.6, 192.0.2.1", 429),
        ("192.0.2.2", 200),
        ("2001:db8::1", 200),
        ("2001:db8::ffff:0:0:1", 429),
        ("2001:db8:0:1::1", 200),
    ] {
        assert_eq!(from(address), expected, "{address}");
    }
}

const PAGE: &str = "https://app.example.com";

fn cors() -> Value {
    json!({
        "origins": [PAGE, "https://*.example.org"], "methods": ["GET", "PUT"], "headers": ["authorization", "x-api-key"],
        "expose": ["x-backend"], "credentials": true, "max_age": 60,
    })
}

#[test]
fn a_preflight_is_answered_before_credentials() {
    let scene = Scene::new();
    scene.declare(&declared(
        &scene,
        &json!([["bearer", "api_key"]]),
        &json!({"cors": cors(), "throttle": {"rate": 1, "per": "1h"}}),
    ));
    let preflight = |origin: &str| {
        let fields = [
            ("Origin", origin),
            ("Access-Control-Request-Method", "PUT"),
            ("Access-Control-Request-Headers", "x-other"),
        ];
        scene.gateway.call("OPTIONS", "/orders/v1/a", &fields, b"")
    };
    for origin in [PAGE, "https://shop.eu.example.org", PAGE] {
        let answer = preflight(origin);
        assert_eq!((answer.status, answer.body.len()), (204, 0), "{}", answer.text());
        for (name, value) in [
            ("access-control-allow-origin", origin),
            ("access-control-allow-credentials", "true"),
            ("access-control-allow-methods", "GET, PUT"),
            ("access-control-allow-headers", "authorization, x-api-key"),
            ("access-control-max-age", "60"),
            ("vary", "Origin"),
        ] {
            assert_eq!(all(&answer, name), [value], "{name}");
        }
    }
    for origin in ["https://evil.example", "https://example.org", "null"] {
        let answer = preflight(origin);
        assert_eq!((answer.status, answer.code().as_str()), (403, "forbidden"), "{origin}");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{origin}");
    }
    assert_eq!(scene.backend.received().len(), 0);
    // Without a method that is asked for it is an ordinary call, which needs credentials.
    assert_eq!(scene.gateway.call("OPTIONS", "/orders/v1/a", &[("Origin", PAGE)], b"").status, 401);
}

#[test]
fn pages_can_read_answers_and_refusals() {
    let backend = Backend::answering(|_| {
        b"HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nAccess-Control-Max-Age: 9\r\nVary: Accept\r\nX-Backend: yes\r\nContent-Length: 0\r\n\r\n".to_vec()
    });
    let scene = Scene::before(backend, "");
    let require = json!([["bearer", "api_key"]]);
    scene.declare(&declared(&scene, &require, &json!({"cors": cors(), "rate_limit": {"rate": 2, "per": "1h"}})));
    let allowed = |answer: &Answer| {
        assert_eq!(all(answer, "access-control-allow-origin"), [PAGE], "{answer:?}");
        assert_eq!(all(answer, "access-control-allow-credentials"), ["true"]);
        assert_eq!(all(answer, "access-control-expose-headers"), ["x-backend"]);
        assert!(all(answer, "vary").contains(&"Origin"), "{answer:?}");
    };
    let answer = scene.call("GET", "/orders/v1/a", &[("Origin", PAGE)], b"");
    assert_eq!(
        (answer.status, answer.header("access-control-max-age"), all(&answer, "vary")),
        (200, None, vec!["Accept", "Origin"])
    );
    allowed(&answer);
    let answer = scene.gateway.call("GET", "/orders/v1/a", &[("Origin", PAGE)], b"");
    assert_eq!((answer.status, answer.code().as_str()), (401, "missing_credential"));
    assert!(answer.header("www-authenticate").is_some());
    allowed(&answer);
    // Other pages get their answer without leave to read it, and nobody keeps it for the others.
    for fields in [&[("Origin", "https://evil.example")][..], &[("Origin", PAGE), ("Origin", PAGE)], &[]] {
        let answer = scene.gateway.call("GET", "/orders/v1/a", fields, b"");
        assert_eq!(
            (answer.status, answer.header("access-control-allow-origin"), answer.header("vary")),
            (401, None, Some("Origin"))
        );
    }
    assert_eq!(scene.call("GET", "/orders/v1/a", &[], b"").status, 200);
    let answer = scene.call("GET", "/orders/v1/a", &[("Origin", PAGE)], b"");
    assert_eq!(answer.status, 429);
    allowed(&answer);
}

#[test]
fn every_page_may_call_where_the_origin_is_a_star() {
    let policies = json!({"cors": {"origins": ["*"], "headers": ["*"]}});
    let scene = open_with(Backend::echo(), "", &policies);
    let answer = scene.gateway.call("GET", "/orders/v1/a", &[("Origin", "https://any.example")], b"");
    assert_eq!(all(&answer, "access-control-allow-origin"), ["*"]);
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    let asked = [
        ("Origin", "https://any.example"),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "x-one, Authorization"),
    ];
    let answer = scene.gateway.call("OPTIONS", "/orders/v1/a", &asked, b"");
    assert_eq!((answer.status, answer.header("access-control-allow-headers")), (204, Some("x-one, Authorization")));
    assert_eq!(all(&answer, "vary"), ["Origin", "Access-Control-Request-Headers"]);
}

#[test]
fn addresses_are_let_in_or_not() {
    let policies = json!({"ip_filter": {"allow": ["192.0.2.0/24", "2001:db8::/32"], "deny": ["192.0.2.66"]}});
    let scene = open_with(Backend::echo(), "trusted_proxies = [\"127.0.0.1/32\"]", &policies);
    let from = |address: &str| scene.gateway.call("GET", "/orders/v1/a", &[("X-Forwarded-For", address)], b"");
    for (address, expected) in [
        ("192.0.2.1", 200),
        ("::ffff:192.0.2.1", 200),
        ("192.0.2.66", 403),
        ("::ffff:192.0.2.66", 403),
        ("198.51.100.1", 403),
        ("192.0.2.1, 198.51.100.1", 403),
        ("2001:db8::7", 200),
        ("2001:db9::7", 403),
    ] {
        assert_eq!(from(address).status, expected, "{address}");
    }
    assert_eq!(from("192.0.2.66").code(), "forbidden");
    assert_eq!(get(&scene.gateway, "/a").status, 403, "the proxy itself");
    scene.declare(&declared(&scene, &json!([]), &json!({"ip_filter": {"deny": ["10.0.0.0/8"]}})));
    assert_eq!(get(&scene.gateway, "/a").status, 200);
    // Without a trusted proxy the address is the connection's, whatever the caller says.
    let scene = open_with(Backend::echo(), "", &json!({"ip_filter": {"deny": ["127.0.0.0/8"]}}));
    let answer = scene.gateway.call("GET", "/orders/v1/a", &[("X-Forwarded-For", "192.0.2.1")], b"");
    assert_eq!(answer.status, 403);
}

#[test]
fn header_fields_change_on_both_ways() {
    let backend = Backend::answering(|_| {
        b"HTTP/1.1 200 OK\r\nServer: secret/1.0\r\nX-Kept: 1\r\nX-Both: backend\r\nContent-Length: 2\r\n\r\nok".to_vec()
    });
    let scene = Scene::before(backend, "");
    scene.declare(&declared(
        &scene,
        &json!([["bearer", "api_key"]]),
        &json!({"headers": {
            "request": {
                "set": {"X-Tenant": "acme", "Authorization": "Basic YmFja2VuZDpzZWNyZXQ="},
                "add": {"X-List": "gateway"},
                "remove": ["Cookie"],
            },
            "response": {
                "set": {"Strict-Transport-Security": "max-age=63072000"},
                "add": {"X-Both": "gateway"},
                "remove": ["Server"],
            },
        }}),
    ));
    let sent = [
        ("X-Tenant", "other"),
        ("X-Tenant", "third"),
        ("X-List", "caller"),
        ("Cookie", "a=1"),
        ("X-User-Json", "forged"),
        ("x_user_json", "forged"),
    ];
    let answer = scene.call("GET", "/orders/v1/a", &sent, b"");
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"), "{answer:?}");
    assert_eq!(answer.header("server"), None);
    assert_eq!((answer.header("x-kept"), all(&answer, "x-both")), (Some("1"), vec!["backend", "gateway"]));
    assert_eq!(answer.header("strict-transport-security"), Some("max-age=63072000"));
    let seen = scene.backend.received().pop().expect("a request");
    assert_eq!((seen.all("x-tenant"), seen.all("x-list")), (vec!["acme"], vec!["caller", "gateway"]));
    assert_eq!((seen.all("cookie").len(), seen.all("x_user_json").len(), seen.all("x-api-key").len()), (0, 0, 0));
    assert_eq!(
        seen.header("authorization"),
        Some("Basic YmFja2VuZDpzZWNyZXQ="),
        "what the gateway is told to say there"
    );
    let user = seen.header("x-user-json").expect("a user");
    assert!(user != "forged" && !user.is_empty());
}

#[test]
fn rules_decide_by_path_method_and_client() {
    let scene = Scene::new();
    scene.declare(&declared(
        &scene,
        &json!([["bearer", "api_key"]]),
        &json!({"acl": {
            "rules": [
                {"path": "/admin", "clients": ["root"], "effect": "allow"},
                {"path": "/admin", "effect": "deny"},
                {"path": "^/items/[0-9]+$", "effect": "allow"},
                {"path": "/items", "methods": ["GET"], "effect": "allow"},
            ],
            "default": "deny",
        }}),
    ));
    let root = client(&scene.gateway, "root", &["orders/v1"]);
    let stranger = client(&scene.gateway, "stranger", &["others/v1"]);
    let login = log_in(&scene.gateway, "ada", &[]);
    let bearer = format!("Bearer {}", login["access_token"].as_str().expect("a token"));
    let call = |method: &str, path: &str, key: &str| {
        let fields = [("Authorization", bearer.as_str()), ("X-API-Key", key)];
        scene.gateway.call(method, &format!("/orders/v1{path}"), &fields, b"")
    };
    for (method, path, expected) in [
        ("GET", "/items", 200),
        ("HEAD", "/items", 200),
        ("POST", "/items", 403),
        ("PUT", "/items/7", 200),
        ("PUT", "/items/7/x", 403),
        ("GET", "/other", 403),
        ("GET", "", 403),
        ("GET", "/admin", 403),
        ("GET", "/items/../admin", 403),
        ("GET", "/%61dmin/x", 403),
        ("GET", "/items/%2e%2e/admin", 403),
        ("GET", "//admin", 403),
        ("GET", "/admin;a=1/x", 400),
        ("GET", "/items;/../admin", 400),
        ("GET", "/items/%2f..%2fadmin", 400),
        ("GET", "/items/..;/admin", 400),
    ] {
        assert_eq!(call(method, path, &scene.api_key).status, expected, "{method} {path}");
    }
    assert_eq!(call("GET", "/admin/x", &root).status, 200);
    assert_eq!(call("GET", "/admin/x", &scene.api_key).code(), "forbidden");
    assert_eq!(call("GET", "/items", &stranger).status, 403, "rules give no grant");
    let reached: Vec<_> = scene.backend.received().into_iter().map(|request| request.target).collect();
    assert_eq!(reached, ["/items", "/items", "/items/7", "/admin/x"]);
}

#[test]
fn all_mistakes_are_told_at_once_and_nothing_changes() {
    let scene = open_with(Backend::echo(), "", &json!({}));
    let found = problems(
        &scene,
        &json!({
            "cors": {"origins": ["*", "ftp:/x"], "credentials": true},
            "ip_filter": {"allow": ["10.0.0.0/40"], "deny": ["x"]},
            "throttle": {"rate": 1, "per": 60, "key": ["user"]},
            "rate_limit": {"limits": [{"rate": 0, "per": "1w"}, {"name": "a", "rate": 1, "per": 1, "key": ["nobody"]}]},
            "acl": {"rules": [{"path": "^(", "effect": "deny"}, {"path": "admin", "effect": "allow"}]},
            "headers": {"request": {"set": {"X-User-Json": "e30="}}, "response": {"add": {"X-A": "1\r\nX-B: 2"}}},
        }),
    );
    let expected = [
        "acl.rules[0].path",
        "acl.rules[1].path",
        "cors.credentials",
        "cors.origins[1]",
        "headers.request.set.X-User-Json",
        "headers.response.add.X-A",
        "ip_filter.allow[0]",
        "ip_filter.deny[0]",
        "rate_limit.limits[0].burst",
        "rate_limit.limits[0].cost",
        "rate_limit.limits[0].per",
        "rate_limit.limits[0].rate",
        "rate_limit.limits[1].key[0]",
        "throttle.key[0]",
    ];
    let expected: Vec<_> = expected.into_iter().map(|path| format!("policies.{path}")).collect();
    assert_eq!(found, expected);
    assert_eq!(get(&scene.gateway, "/a").status, 200);
}

#[test]
fn the_examples_of_the_reference_are_taken() {
    let reference = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/policies.md");
    let text = std::fs::read_to_string(reference).expect("a page");
    let examples: Vec<Value> = text
        .split("```json\n")
        .skip(1)
        .map(|block| serde_json::from_str(block.split("```").next().expect("a block")).expect("JSON"))
        .collect();
    assert!(examples.len() >= 7, "{}", examples.len());
    let scene = open_with(Backend::echo(), "", &json!({}));
    for example in examples {
        let declared = declared(&scene, &json!([]), &example["policies"]);
        let answer = scene.gateway.admin("PUT", "/services/orders/v1", Some(&declared));
        assert_eq!(answer.status, 200, "{example}: {}", answer.text());
    }
}
