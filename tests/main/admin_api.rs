//! The admin API: who may speak to it, what it makes, shows, changes and takes away, and how it says no.

use serde_json::{Value, json};

use crate::support::scene::{PASSWORD, call_as, client, enrol, log_in, members, register, text};
use crate::support::{Answer, Backend, Gateway, Scene, call};

/// An address nobody listens on, for services that are not called.
const NOWHERE: &str = "http://127.0.0.1:9";

fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "{}", answer.text());
}

fn service() -> Value {
    json!({"targets": [{"url": NOWHERE}]})
}

impl Gateway {
    /// Makes a call on the admin API with these fields beside the token.
    fn admin_with(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        let own = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        call(self.admin, method, &format!("/api/v1{target}"), &[&own[..], headers].concat(), body.as_bytes())
    }

    /// The names in a list, over all its pages.
    fn names(&self, list: &str, member: &str, limit: usize) -> Vec<String> {
        let (mut names, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.admin_ok("GET", &format!("{list}?limit={limit}{cursor}"), None, 200);
            assert_eq!(members(&page), ["items", "next"]);
            let items = page["items"].as_array().expect("a list");
            assert!(items.len() <= limit);
            names.extend(items.iter().map(|item| text(item, member)));
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return names,
            }
            assert!(names.len() < 10_000, "a list without an end");
        }
    }
}

#[test]
fn only_the_admin_token_opens_it() {
    let scene = Scene::new();
    let gateway = &scene.gateway;
    let bearer = format!("Bearer {}", gateway.token);
    let enrolment = enrol(gateway, &json!({"name": "later"}));
    let ask = |headers: &[(&str, &str)]| call(gateway.admin, "GET", "/api/v1/services", headers, b"");
    for (headers, code) in [
        (vec![], "missing_credential"),
        (vec![("Authorization", "Basic YTpi")], "missing_credential"),
        (vec![("X-API-Key", gateway.token.as_str())], "missing_credential"),
        (vec![("Authorization", "Bearer wrong")], "invalid_credential"),
        (vec![("Authorization", &format!("Bearer {}", scene.token))], "invalid_credential"),
        (vec![("Authorization", &format!("Bearer {}", scene.api_key))], "invalid_credential"),
        (vec![("Authorization", &format!("Bearer {enrolment}"))], "invalid_credential"),
        (vec![("Authorization", &format!("{bearer}x"))], "invalid_credential"),
        (vec![("Authorization", &bearer[..bearer.len() - 1])], "invalid_credential"),
        (vec![("Authorization", &bearer), ("Authorization", "Bearer wrong")], "invalid_credential"),
    ] {
        let answer = ask(&headers);
        refused(&answer, 401, code);
        assert!(answer.header("www-authenticate").is_some_and(|value| value.starts_with("Bearer ")));
    }
    assert_eq!(ask(&[("Authorization", &bearer)]).status, 200);
    // Every path below the API is behind it, also those that are not there.
    for (method, path) in [
        ("GET", "/api/v1/logs"),
        ("GET", "/api/v1/users"),
        ("PUT", "/api/v1/services/a/v1"),
        ("POST", "/api/v1/enrolment-tokens"),
        ("DELETE", "/api/v1/clients/default"),
        ("GET", "/api/v1/nothing"),
        ("GET", "/"),
    ] {
        assert_eq!(call(gateway.admin, method, path, &[], b"").status, 401, "{method} {path}");
    }
    // Nor is it reached through the data plane.
    let there = gateway.call("GET", "/api/v1/services", &[("Authorization", &bearer)], b"");
    refused(&there, 404, "no_route");
}

#[test]
fn pages_of_other_origins_are_turned_away() {
    let gateway = Gateway::start();
    let port = gateway.admin.port();
    for host in
        ["evil.example", &format!("evil.example:{port}"), "127.0.0.1.evil.example", "10.0.0.1", "localhost.evil"]
    {
        let answer = gateway.admin_with("GET", "/services", &[("Host", host)], &Value::Null);
        refused(&answer, 403, "forbidden_host");
    }
    let own = gateway.admin.to_string();
    for host in [own.as_str(), &format!("localhost:{port}"), "LocalHost", &format!("[::1]:{port}")] {
        assert_eq!(gateway.admin_with("GET", "/services", &[("Host", host)], &Value::Null).status, 200, "{host}");
    }
    for origin in
        ["http://evil.example", "null", &format!("http://127.0.0.1:{}", gateway.data.port()), "http://127.0.0.1"]
    {
        let answer = gateway.admin_with("PUT", "/services/a/v1", &[("Origin", origin)], &service());
        refused(&answer, 403, "forbidden_origin");
    }
    gateway.admin_ok("GET", "/services/a/v1", None, 404);
    let same = format!("http://{own}");
    assert_eq!(gateway.admin_with("PUT", "/services/a/v1", &[("Origin", &same)], &service()).status, 201);
}

#[test]
fn what_it_cannot_answer_is_said_in_problem_details() {
    let gateway = Gateway::start();
    refused(&gateway.admin("GET", "/nothing", None), 404, "no_route");
    refused(&gateway.admin("PATCH", "/services", None), 405, "method_not_allowed");
    refused(&gateway.admin("DELETE", "/logs", None), 405, "method_not_allowed");
    refused(&gateway.admin("GET", "/services/a/v1", None), 404, "not_found");
    for (method, path) in [
        ("DELETE", "/services/a/v1"),
        ("GET", "/services/a%20b/v1"),
        ("GET", "/clients/nobody"),
        ("PUT", "/clients/nobody"),
        ("DELETE", "/clients/nobody"),
        ("POST", "/clients/nobody/api-keys"),
        ("DELETE", "/clients/default/api-keys/x"),
        ("GET", "/users/nobody"),
        ("DELETE", "/users/nobody"),
        ("GET", "/enrolment-tokens/nothing"),
        ("DELETE", "/enrolment-tokens/nothing"),
    ] {
        let body = (method == "PUT").then(|| json!({"services": []}));
        refused(&gateway.admin(method, path, body.as_ref()), 404, "not_found");
    }
    for (path, body) in [
        ("/users", "{"),
        ("/users", ""),
        ("/users", "[]"),
        ("/users", "{\"username\":\"a\"}"),
        ("/users", "{\"username\":7,\"password\":\"x\"}"),
        ("/users", "{\"username\":\"a\",\"password\":\"x\",\"admin\":true}"),
        ("/clients", "{\"services\":[]}"),
        ("/clients", "{\"name\":\"a\",\"services\":[\"a/b/c\"]}"),
        ("/enrolment-tokens", "{\"name\":\"a\",\"ttl\":\"soon\"}"),
        ("/enrolment-tokens", "{\"name\":\"a/b\"}"),
    ] {
        let bearer = format!("Bearer {}", gateway.token);
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        let answer = call(gateway.admin, "POST", &format!("/api/v1{path}"), &headers, body.as_bytes());
        assert_eq!(answer.status, 400, "{path} {body}: {}", answer.text());
        answer.code();
    }
    let plain = [("Content-Type", "text/plain"), ("Authorization", &format!("Bearer {}", gateway.token))];
    let answer = call(gateway.admin, "POST", "/api/v1/users", &plain, b"{\"username\":\"a\",\"password\":\"b\"}");
    refused(&answer, 415, "unsupported_media_type");
    let large = json!({"username": "a", "password": "b", "user_info": {"x": "y".repeat(2 << 20)}});
    refused(&gateway.admin("POST", "/users", Some(&large)), 413, "body_too_large");
    for query in ["limit=0", "limit=100000", "limit=x", "cursor=!", "colour=red"] {
        assert_eq!(gateway.admin("GET", &format!("/services?{query}"), None).status, 400, "{query}");
    }
    assert_eq!(gateway.names("/users", "username", 10), [""; 0]);
}

#[test]
fn a_service_is_made_replaced_and_taken_out() {
    let gateway = Gateway::start();
    let backend = Backend::echo();
    let body = json!({"targets": [{"url": backend.url(), "weight": 3}], "require": []});
    let made = gateway.admin("PUT", "/services/orders/v1", Some(&body));
    assert_eq!(made.status, 201, "{}", made.text());
    let tag = made.header("etag").expect("a tag").to_owned();
    let shown = made.json();
    assert_eq!((&shown["name"], &shown["version"], &shown["owner"]), (&json!("orders"), &json!("v1"), &json!("api")));
    assert_eq!((&shown["targets"][0]["weight"], &shown["require"]), (&json!(3), &json!([])));
    let found = gateway.admin("GET", "/services/orders/v1", None);
    assert_eq!((found.json(), found.header("etag")), (shown, Some(tag.as_str())));
    // The answer was given: every worker routes by it.
    for _ in 0..8 {
        assert_eq!(gateway.call("GET", "/orders/v1/x", &[], b"").status, 200);
    }
    // What is not said has its default again: this replaces.
    let replaced = gateway.admin("PUT", "/services/orders/v1", Some(&service()));
    assert_eq!(replaced.status, 200);
    assert_eq!(replaced.json()["require"], json!([["bearer", "api_key"]]));
    assert_eq!(gateway.call("GET", "/orders/v1/x", &[], b"").status, 401);
    let newer = replaced.header("etag").expect("a tag").to_owned();
    assert_ne!(tag, newer);
    // Whoever has seen an older one is told.
    for method in ["PUT", "DELETE"] {
        let body = if method == "PUT" { body.clone() } else { Value::Null };
        let stale = gateway.admin_with(method, "/services/orders/v1", &[("If-Match", &tag)], &body);
        refused(&stale, 412, "precondition_failed");
    }
    let only_new = gateway.admin_with("PUT", "/services/orders/v1", &[("If-None-Match", "*")], &body);
    refused(&only_new, 412, "precondition_failed");
    refused(&gateway.admin_with("PUT", "/services/new/v1", &[("If-Match", "*")], &body), 412, "precondition_failed");
    assert_eq!(
        gateway.admin("GET", "/services/orders/v1", None).header("etag"),
        Some(newer.as_str()),
        "nothing changed"
    );
    let fresh = gateway.admin_with("PUT", "/services/orders/v1", &[("If-Match", &newer)], &body);
    assert_eq!(fresh.status, 200);
    gateway.admin_ok("PUT", "/services/orders/v2", Some(&service()), 201);
    assert_eq!(gateway.names("/services", "version", 1), ["v1", "v2"]);
    gateway.admin_ok("DELETE", "/services/orders/v1", None, 204);
    gateway.admin_ok("GET", "/services/orders/v1", None, 404);
    refused(&gateway.call("GET", "/orders/v1/x", &[], b""), 404, "no_route");
}

#[test]
fn every_problem_is_told_at_once_and_nothing_changes() {
    let gateway = Gateway::start();
    gateway.admin_ok("PUT", "/services/orders/v1", Some(&service()), 201);
    let before = gateway.admin_ok("GET", "/services/orders/v1", None, 200);
    let bad = json!({
        "targts": [],
        "targets": [{"url": "ftp://a"}, {"url": NOWHERE, "weight": 0}, {"wait": 1}],
        "require": [["bearer", "magic"], []],
        "audiences": "orders",
        "policies": {"magic": {}, "request_limits": {"body_bytes": "many"}, "bearer": {"keys": [{"issuer": ""}]}},
    });
    let answer = gateway.admin("PUT", "/services/orders/v1", Some(&bad));
    refused(&answer, 422, "invalid_declaration");
    let problems = answer.json()["problems"].as_array().expect("a list").clone();
    let paths: Vec<String> = problems.iter().map(|problem| text(problem, "path")).collect();
    for part in [
        "targts",
        "targets[0].url",
        "targets[1].weight",
        "targets[2].url",
        "targets[2].wait",
        "require[1]",
        "audiences",
        "policies.magic",
        "policies.request_limits",
        "policies.bearer",
    ] {
        assert!(paths.iter().any(|path| path.starts_with(part)), "{part} in {paths:?}");
    }
    assert!(problems.iter().all(|problem| !text(problem, "message").is_empty()));
    assert_eq!(gateway.admin_ok("GET", "/services/orders/v1", None, 200), before);
    refused(&gateway.admin("PUT", "/services/stock/v1", Some(&bad)), 422, "invalid_declaration");
    gateway.admin_ok("GET", "/services/stock/v1", None, 404);
    for name in ["-", "auth", "account", "oauth", ".well-known", "verify_token", "a%20b", "%C3%A9", &"x".repeat(65)] {
        let answer = gateway.admin("PUT", &format!("/services/{name}/v1"), Some(&service()));
        refused(&answer, 422, "invalid_declaration");
        assert_eq!(answer.json()["problems"][0]["path"], "name", "{name}");
    }
    // A policy that does not exist is never just left out.
    let one = json!({"targets": [{"url": NOWHERE}], "require": [["bearer", "magic"]]});
    let answer = gateway.admin("PUT", "/services/orders/v1", Some(&one));
    refused(&answer, 422, "invalid_declaration");
    assert_eq!(answer.json()["problems"][0]["path"], "require[0][1]");
}

#[test]
fn users_clients_and_enrolment_tokens_come_and_go() {
    let gateway = Gateway::start();
    // Users.
    let ada = json!({"username": "ada@example.com", "password": PASSWORD, "user_info": {"a": 1}});
    let made = gateway.admin("POST", "/users", Some(&ada));
    assert_eq!((made.status, made.json()["user_info"].clone()), (201, json!({"a": 1})));
    refused(&gateway.admin("POST", "/users", Some(&ada)), 409, "conflict");
    let tag = made.header("etag").expect("a tag").to_owned();
    assert_eq!(gateway.admin("GET", "/users/ada@example.com", None).header("etag"), Some(tag.as_str()));
    let change = json!({"user_info": {"a": 2}});
    assert_eq!(gateway.admin_with("PUT", "/users/ada@example.com", &[("If-Match", &tag)], &change).status, 200);
    let stale = gateway.admin_with("PUT", "/users/ada@example.com", &[("If-Match", &tag)], &change);
    refused(&stale, 412, "precondition_failed");
    refused(
        &gateway.admin_with("DELETE", "/users/ada@example.com", &[("If-Match", &tag)], &Value::Null),
        412,
        "precondition_failed",
    );
    log_in(&gateway, "ada@example.com", &[]);
    gateway.admin_ok("DELETE", "/users/ada@example.com", None, 204);
    gateway.admin_ok("GET", "/users/ada@example.com", None, 404);
    for (field, bad) in [
        ("user_info", json!({"username": "b", "password": "x", "user_info": {"x": "y".repeat(4096)}})),
        ("user_info", json!({"username": "b", "password": "x", "user_info": [1]})),
        ("password", json!({"username": "b", "password": ""})),
        ("password", json!({"username": "b", "password": "x".repeat(1025)})),
    ] {
        let answer = gateway.admin("POST", "/users", Some(&bad));
        assert!([400, 422].contains(&answer.status), "{}", answer.text());
        answer.code();
        assert!(answer.text().contains(field), "{}", answer.text());
    }
    // Clients.
    let made = gateway.admin("POST", "/clients", Some(&json!({"name": "shop", "services": ["orders/v1"]})));
    assert_eq!(made.status, 201, "{}", made.text());
    let shop = made.json();
    assert!(text(&shop, "access_key").len() >= 16 && text(&shop, "secret_key").starts_with("pcs_"));
    let same_name = json!({"name": "shop", "services": []});
    refused(&gateway.admin("POST", "/clients", Some(&same_name)), 409, "conflict");
    let same_key = json!({"name": "other", "services": [], "access_key": shop["access_key"]});
    refused(&gateway.admin("POST", "/clients", Some(&same_key)), 409, "conflict");
    refused(&gateway.admin("POST", "/clients", Some(&json!({"name": "default", "services": []}))), 409, "conflict");
    let found = gateway.admin("GET", "/clients/shop", None);
    assert_eq!((&found.json()["services"], &found.json()["enabled"]), (&json!(["orders/v1"]), &json!(true)));
    assert_eq!(found.json()["access_key"], shop["access_key"]);
    let tag = found.header("etag").expect("a tag").to_owned();
    let change = json!({"services": ["*"]});
    assert_eq!(gateway.admin_with("PUT", "/clients/shop", &[("If-Match", &tag)], &change).status, 200);
    refused(&gateway.admin_with("PUT", "/clients/shop", &[("If-Match", &tag)], &change), 412, "precondition_failed");
    gateway.admin_ok("DELETE", "/clients/shop", None, 204);
    assert_eq!(gateway.names("/clients", "name", 10), ["default"]);
    // Enrolment tokens.
    let made = gateway.admin_ok(
        "POST",
        "/enrolment-tokens",
        Some(&json!({"name": "ci", "pattern": "a-*", "max_uses": 2, "ttl": "24h"})),
        201,
    );
    assert!(text(&made, "token").starts_with("pce_"));
    refused(&gateway.admin("POST", "/enrolment-tokens", Some(&json!({"name": "ci"}))), 409, "conflict");
    let found = gateway.admin_ok("GET", "/enrolment-tokens/ci", None, 200);
    assert_eq!((&found["pattern"], &found["max_uses"], &found["uses"]), (&json!("a-*"), &json!(2), &json!(0)));
    assert!(found["expires_at"].is_string());
    gateway.admin_ok("DELETE", "/enrolment-tokens/ci", None, 204);
    assert_eq!(gateway.names("/enrolment-tokens", "name", 10), [""; 0]);
}

#[test]
fn lists_come_in_pages() {
    let gateway = Gateway::start();
    let mut wanted: Vec<String> = (0..7).map(|number| format!("name-{}", (number * 5) % 7)).collect();
    for name in &wanted {
        gateway.admin_ok("POST", "/clients", Some(&json!({"name": name, "services": []})), 201);
        gateway.admin_ok("POST", "/users", Some(&json!({"username": name, "password": "x"})), 201);
        gateway.admin_ok("PUT", &format!("/services/{name}/v1"), Some(&service()), 201);
        enrol(&gateway, &json!({"name": name}));
    }
    wanted.sort();
    for limit in [1, 2, 3, 7, 100] {
        assert_eq!(gateway.names("/users", "username", limit), wanted);
        assert_eq!(gateway.names("/services", "name", limit), wanted);
        assert_eq!(gateway.names("/enrolment-tokens", "name", limit), wanted);
        let clients = gateway.names("/clients", "name", limit);
        assert_eq!((clients[0].as_str(), &clients[1..]), ("default", &wanted[..]));
    }
    // What comes and goes between two pages neither repeats nor hides the others.
    let first = gateway.admin_ok("GET", "/services?limit=3", None, 200);
    gateway.admin_ok("DELETE", "/services/name-2/v1", None, 204);
    gateway.admin_ok("PUT", "/services/name-1/v0", Some(&service()), 201);
    let rest = gateway.admin_ok("GET", &format!("/services?cursor={}", text(&first, "next")), None, 200);
    let names: Vec<_> = rest["items"].as_array().expect("a list").iter().map(|item| text(item, "name")).collect();
    assert_eq!(names, wanted[3..]);
}

#[test]
fn what_an_operator_brings_along_is_taken_as_it_is() {
    let scene = Scene::new();
    let gateway = &scene.gateway;
    let long = "k".repeat(256);
    for (number, key) in
        ["1", "legacy", "A+b/C==", "with a space", "pck_not-one-of-ours", "{\"x\":1}", &long].into_iter().enumerate()
    {
        let name = format!("old-{number}");
        let body = json!({"name": name, "services": ["orders"], "access_key": format!("id {key}"), "secret_key": key});
        let brought = if key.len() < 250 { body } else { json!({"name": name, "services": ["orders"]}) };
        let made = gateway.admin_ok("POST", "/clients", Some(&brought), 201);
        if key.len() < 250 {
            assert_eq!((&made["access_key"], &made["secret_key"]), (&json!(format!("id {key}")), &json!(key)));
        }
        let keys = format!("/clients/{name}/api-keys");
        let made = gateway.admin_ok("POST", &keys, Some(&json!({"api_key": key})), 201);
        assert_eq!(made["api_key"], *key);
        assert_eq!(call_as(gateway, "/orders/v1/x", &scene.token, key).status, 200, "{key}");
        assert_eq!(
            scene.backend.received().pop().expect("a call").header("x-app-id"),
            Some(text(&gateway.admin_ok("GET", &format!("/clients/{name}"), None, 200), "access_key").as_str())
        );
        refused(&gateway.admin("POST", "/clients/shop/api-keys", Some(&json!({"api_key": key}))), 409, "conflict");
    }
    // What no header field could carry cannot be a key.
    for bad in ["", " ", " a", "a ", "a\nb", "é", &"k".repeat(257)] {
        let answer = gateway.admin("POST", "/clients/shop/api-keys", Some(&json!({"api_key": bad})));
        refused(&answer, 422, "invalid_declaration");
        let body = json!({"name": "bad", "services": [], "access_key": bad});
        refused(&gateway.admin("POST", "/clients", Some(&body)), 422, "invalid_declaration");
    }
    // A secret never stands in a field, and those of fomalhaut are any text.
    for bad in ["", " ", " a", "a ", "a\nb", &"k".repeat(1_025)] {
        let body = json!({"name": "bad", "services": [], "secret_key": bad});
        refused(&gateway.admin("POST", "/clients", Some(&body)), 422, "invalid_declaration");
    }
    // Keys of services as well.
    gateway.admin_ok("POST", "/services/orders/api-keys", Some(&json!({"api_key": "service-own"})), 201);
    assert_eq!(call_as(gateway, "/orders/v1/x", &scene.token, "service-own").status, 200);
}

#[test]
fn a_client_has_so_many_keys_and_a_service_so_many_targets() {
    let gateway = Gateway::start();
    for path in ["/clients/shop/api-keys", "/services/orders/api-keys"] {
        match path.starts_with("/clients") {
            true => gateway.admin_ok("POST", "/clients", Some(&json!({"name": "shop", "services": []})), 201),
            false => gateway.admin_ok("PUT", "/services/orders/v1", Some(&service()), 201),
        };
        for _ in 0..64 {
            gateway.admin_ok("POST", path, None, 201);
        }
        refused(&gateway.admin("POST", path, None), 409, "conflict");
        let ids = gateway.names(path, "id", 50);
        assert_eq!(ids.len(), 64);
        gateway.admin_ok("DELETE", &format!("{path}/{}", ids[0]), None, 204);
        gateway.admin_ok("POST", path, None, 201);
        refused(&gateway.admin("POST", path, None), 409, "conflict");
    }
    let targets = |count: usize| json!({"targets": vec![json!({"url": NOWHERE}); count]});
    assert_eq!(gateway.admin("PUT", "/services/many/v1", Some(&targets(1_000))).status, 201);
    refused(&gateway.admin("PUT", "/services/more/v1", Some(&targets(1_001))), 409, "conflict");
}

#[test]
fn what_was_shown_once_is_never_shown_again() {
    let scene = Scene::new();
    let gateway = &scene.gateway;
    let machine = gateway.admin_ok("POST", "/clients", Some(&json!({"name": "machine", "services": ["*"]})), 201);
    let enrolment = enrol(gateway, &json!({"name": "later"}));
    let secrets = [
        scene.api_key.clone(),
        text(&machine, "secret_key"),
        text(&scene.registered, "api_key"),
        text(&scene.registered, "registration_key"),
        enrolment,
        PASSWORD.to_owned(),
        scene.refresh_token.clone(),
        gateway.token.clone(),
        "$argon2".to_owned(),
    ];
    for path in [
        "/clients",
        "/clients/machine",
        "/clients/shop/api-keys",
        "/clients/machine/api-keys",
        "/users",
        "/users/ada",
        "/enrolment-tokens",
        "/enrolment-tokens/later",
        "/services",
        "/services/orders/v1",
        "/services/orders/api-keys",
        "/logs",
        "/status",
    ] {
        let shown = gateway.admin_ok("GET", path, None, 200).to_string();
        for secret in &secrets {
            assert!(!shown.contains(secret), "{path} shows {secret}");
        }
        for member in ["\"password", "\"secret", "\"token\"", "\"hash", "_hash\""] {
            assert!(!shown.contains(member), "{path} has {member}: {shown}");
        }
    }
    // A change answers without them too.
    let changed = gateway.admin_ok("PUT", "/clients/machine", Some(&json!({"services": []})), 200).to_string();
    let user = gateway.admin_ok("PUT", "/users/ada", Some(&json!({"password": "n3w-passw0rd"})), 200).to_string();
    assert!(!changed.contains("secret") && !user.contains("n3w-passw0rd") && !user.contains("argon2"));
}

#[test]
fn the_log_is_searched() {
    let scene = Scene::new();
    let gateway = &scene.gateway;
    let stock = Backend::echo();
    register(gateway, "stock", &stock.url());
    let all = client(gateway, "all", &["*"]);
    gateway.admin_ok("POST", "/users", Some(&json!({"username": "zoë", "password": PASSWORD})), 201);
    let zoe = text(&log_in(gateway, "zoë", &[]), "access_token");
    assert_eq!(call_as(gateway, "/orders/v1/a/1", &scene.token, &scene.api_key).status, 200);
    assert_eq!(call_as(gateway, "/orders/v1/a/2", &zoe, &all).status, 200);
    assert_eq!(call_as(gateway, "/stock/v1/a", &scene.token, &all).status, 200);
    assert_eq!(call_as(gateway, "/stock/v1/a", &scene.token, &scene.api_key).status, 403);
    assert_eq!(gateway.call("GET", "/orders/v1/b?x=1", &[], b"").status, 401);
    assert_eq!(gateway.call("GET", "/nothing/v1", &[], b"").status, 404);
    let found = |query: &str| -> Vec<(String, u64)> {
        gateway
            .logs(query)
            .iter()
            .map(|item| (text(item, "path"), item["status"].as_u64().expect("a status")))
            .collect()
    };
    let of =
        |items: &[(&str, u64)]| items.iter().map(|(path, status)| ((*path).to_owned(), *status)).collect::<Vec<_>>();
    // Newest first.
    assert_eq!(found("service=orders"), of(&[("/orders/v1/b", 401), ("/orders/v1/a/2", 200), ("/orders/v1/a/1", 200)]));
    assert_eq!(found("service=stock/v1"), of(&[("/stock/v1/a", 403), ("/stock/v1/a", 200)]));
    assert_eq!(found("service=stock/v2"), []);
    assert_eq!(found("status=404"), of(&[("/nothing/v1", 404)]));
    assert_eq!(found("status=4xx").len(), 3);
    assert_eq!(found("client=all"), of(&[("/stock/v1/a", 200), ("/orders/v1/a/2", 200)]));
    assert_eq!(found("client=all&service=orders"), of(&[("/orders/v1/a/2", 200)]));
    assert_eq!(found("user=zo%C3%AB&path=/orders"), of(&[("/orders/v1/a/2", 200)]));
    assert_eq!(found("user=ada&status=200&path=/orders/v1/a"), of(&[("/orders/v1/a/1", 200)]));
    assert_eq!(found("path=/orders/v1/a").len(), 2);
    assert_eq!(found("path=orders"), []);
    assert_eq!(found("limit=1"), of(&[("/nothing/v1", 404)]));
    let refused_at = text(&gateway.logs("status=403")[0], "time");
    assert_eq!(
        found(&format!("since={refused_at}")),
        of(&[("/nothing/v1", 404), ("/orders/v1/b", 401), ("/stock/v1/a", 403)])
    );
    assert_eq!(found("since=2100-01-01T00:00:00Z"), []);
    // Every record has every member and no other.
    let whole = gateway.logs("");
    for record in &whole {
        let mut names = vec![
            "time",
            "request_id",
            "client_ip",
            "method",
            "path",
            "status",
            "service",
            "version",
            "client",
            "user",
            "duration_us",
            "upstream_duration_us",
            "bytes_in",
            "bytes_out",
            "refusal",
            "target",
        ];
        names.sort_unstable();
        assert_eq!(members(record), names);
        let time = text(record, "time");
        assert!(time.len() == 27 && time.ends_with('Z') && time.as_bytes()[19] == b'.', "with microseconds: {time}");
        assert_eq!(record["client_ip"], "127.0.0.1");
        assert!(record["duration_us"].is_u64() && record["bytes_in"].is_u64() && record["bytes_out"].is_u64());
        let called = record["service"].is_string() && record["status"] == 200;
        assert_eq!(record["target"].is_string() && record["upstream_duration_us"].is_u64(), called, "{record}");
        assert_eq!(record["refusal"].is_string(), record["status"].as_u64() >= Some(400), "{record}");
    }
    // Piece by piece it is the same.
    let (mut pieces, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = gateway.admin_ok("GET", &format!("/logs?limit=2{cursor}"), None, 200);
        pieces.extend(page["items"].as_array().expect("a list").clone());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(pieces, whole);
    assert!(whole.len() >= 10);
    for bad in ["status=x", "since=yesterday", "limit=0", "limit=1001", "cursor=x", "colour=red", "service="] {
        let answer = gateway.admin("GET", &format!("/logs?{bad}"), None);
        assert_eq!(answer.status, 400, "{bad}: {}", answer.text());
        answer.code();
    }
}

#[test]
fn a_member_that_stands_twice_is_refused_wherever_it_stands() {
    let gateway = Gateway::start();
    let bearer = format!("Bearer {}", gateway.token);
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    for (method, path, body) in [
        ("PUT", "/services/s/v1", r#"{"targets": [{"url": "http://h:1"}], "require": [["api_key"]], "require": []}"#),
        ("PUT", "/services/s/v1", r#"{"targets": [{"url": "http://h:1", "url": "http://i:1"}]}"#),
        ("PUT", "/services/s/v1", r#"{"targets": [{"url": "http://h:1"}], "policies": {"acl": {}, "acl": {}}}"#),
        (
            "PUT",
            "/routes/r",
            r#"{"match": {"path": {"prefix": "/"}}, "answer": {"status": 403}, "answer": {"status": 200}}"#,
        ),
        ("POST", "/clients", r#"{"name": "c", "services": [], "services": ["*"]}"#),
        (
            "POST",
            "/users",
            r#"{"username": "u", "password": "correct horse", "user_info": {"role": "a", "role": "b"}}"#,
        ),
    ] {
        let answer = call(gateway.admin, method, &format!("/api/v1{path}"), &headers, body.as_bytes());
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_body"), "{body}: {}", answer.text());
    }
    for list in ["/services", "/routes", "/users"] {
        let items = gateway.admin_ok("GET", list, None, 200)["items"].clone();
        assert_eq!(items, serde_json::json!([]), "{list}");
    }
}

#[test]
fn it_describes_itself() {
    let gateway = Gateway::start();
    let document = gateway.admin_ok("GET", "/openapi.json", None, 200);
    assert!(text(&document, "openapi").starts_with("3.1."), "{}", document["openapi"]);
    for (path, methods) in [
        ("/api/v1/enrolment-tokens", vec!["get", "post"]),
        ("/api/v1/enrolment-tokens/{name}", vec!["delete", "get"]),
        ("/api/v1/users", vec!["get", "post"]),
        ("/api/v1/users/{username}", vec!["delete", "get", "put"]),
        ("/api/v1/clients", vec!["get", "post"]),
        ("/api/v1/clients/{name}", vec!["delete", "get", "put"]),
        ("/api/v1/clients/{name}/api-keys", vec!["get", "post"]),
        ("/api/v1/clients/{name}/api-keys/{id}", vec!["delete"]),
        ("/api/v1/services", vec!["get"]),
        ("/api/v1/services/{name}/{version}", vec!["delete", "get", "put"]),
        ("/api/v1/services/{name}/api-keys", vec!["get", "post"]),
        ("/api/v1/services/{name}/api-keys/{id}", vec!["delete"]),
        ("/api/v1/logs", vec!["get"]),
        ("/api/v1/certificates", vec!["get"]),
        ("/api/v1/status", vec!["get"]),
        ("/api/v1/openapi.json", vec!["get"]),
        ("/metrics", vec!["get"]),
        ("/-/register", vec!["post"]),
        ("/-/token", vec!["post"]),
        ("/-/token/refresh", vec!["post"]),
        ("/-/token/revoke", vec!["post"]),
    ] {
        let mut found = members(&document["paths"][path]);
        found.retain(|member| ["get", "put", "post", "delete", "patch", "head", "options"].contains(member));
        assert_eq!(found, methods, "{path}");
    }
    // Nothing is promised that is not there.
    for (path, item) in document["paths"].as_object().expect("paths") {
        for method in members(item) {
            let target = path.replace(['{', '}'], "");
            let address = if target.starts_with("/-/") && target != "/-/health" { gateway.data } else { gateway.admin };
            let bearer = format!("Bearer {}", gateway.token);
            let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
            let answer = call(address, &method.to_uppercase(), &target, &headers, b"");
            let nothing = answer.status == 405 || (answer.status == 404 && answer.code() == "no_route");
            assert!(!nothing, "{method} {path}: {}", answer.text());
        }
    }
    // The document and what is sent agree about the members of a record and of a registration.
    let schemas = &document["components"]["schemas"];
    assert_eq!(members(&schemas["LogRecord"]["properties"]).len(), 19);
    let reply = members(&schemas["RegistrationReply"]["properties"]);
    assert_eq!(reply, ["api_key", "name", "path", "registration_key", "version"]);
}
