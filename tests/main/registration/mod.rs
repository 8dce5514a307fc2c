//! `POST /-/register`: how a microservice takes its name, keeps it and moves, and what it is refused.

mod ownership;
mod places;
mod targets;

use std::process::Output;
use std::sync::Barrier;
use std::thread;

use serde_json::{Value, json};

use crate::support::gateway::command;
use crate::support::scene::{PASSWORD, announce, call_as, client, enrol, log_in, members, text, until};
use crate::support::{Answer, Backend, Gateway};

/// An address nobody listens on, for services that are not called.
const NOWHERE: &str = "http://127.0.0.1:9";

/// A gateway with an enrolment token for everything, and a user.
struct House {
    gateway: Gateway,
    enrolment: String,
}

impl House {
    fn with(settings: &str) -> Self {
        let gateway = Gateway::with(settings);
        let enrolment = enrol(&gateway, &json!({"name": "all"}));
        gateway.admin_ok("POST", "/users", Some(&json!({"username": "ada", "password": PASSWORD})), 201);
        Self { gateway, enrolment }
    }

    fn new() -> Self {
        Self::with("")
    }

    fn token(&self) -> String {
        text(&log_in(&self.gateway, "ada", &[]), "access_token")
    }

    fn register(&self, body: &Value) -> Value {
        let answer = announce(&self.gateway, &self.enrolment, body);
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()
    }

    /// Declares a service that is open to everybody.
    fn declare(&self, service: &str, url: &str, more: &Value) {
        let mut body = json!({"targets": [{"url": url}], "require": []});
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let answer = self.gateway.admin("PUT", &format!("/services/{service}"), Some(&body));
        assert!(matches!(answer.status, 200 | 201), "{}", answer.text());
    }

    /// Declares a route to a service.
    fn route(&self, name: &str, matches: &Value, service: &str) -> Value {
        let body = json!({"match": matches, "service": service});
        let answer = self.gateway.admin("PUT", &format!("/routes/{name}"), Some(&body));
        assert!(matches!(answer.status, 200 | 201), "{}", answer.text());
        answer.json()
    }

    /// Runs a command of the binary against the gateway.
    fn cli(&self, arguments: &[&str]) -> Output {
        let admin = format!("http://{}", self.gateway.admin);
        command(self.gateway.directory()).args(["--admin", &admin]).args(arguments).output().expect("it runs")
    }

    fn targets(&self, service: &str) -> Value {
        self.gateway.admin_ok("GET", &format!("/services/{service}"), None, 200)["targets"].clone()
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "{}", answer.text());
}

#[test]
fn a_service_registers_itself() {
    let house = House::new();
    let backend = Backend::echo();
    let answer = announce(&house.gateway, &house.enrolment, &json!({"name": "orders", "base_url": backend.url()}));
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"), "keys are kept by nobody on the way");
    let body = answer.json();
    assert_eq!(members(&body), ["api_key", "name", "path", "registration_key", "version"]);
    assert_eq!(
        (&body["name"], &body["version"], &body["path"]),
        (&json!("orders"), &json!("v1"), &json!("/orders/v1"))
    );
    assert!(text(&body, "api_key").starts_with("pck_") && text(&body, "registration_key").starts_with("pcr_"));
    assert!(house.enrolment.starts_with("pce_"));
    assert_eq!(backend.connections(), 0, "no probe is sent");

    let service = house.gateway.admin_ok("GET", "/services/orders/v1", None, 200);
    assert_eq!(service["require"], json!([["bearer", "api_key"]]), "protected until its operator says otherwise");
    assert_eq!(service["owner"], "registration");
    assert_eq!(house.targets("orders/v1")[0]["url"], backend.url());
    // Both credentials, and not one of them.
    let (token, key) = (house.token(), text(&body, "api_key"));
    refused(&house.gateway.call("GET", "/orders/v1/x", &[("X-API-Key", &key)], b""), 401, "missing_credential");
    let bearer = format!("Bearer {token}");
    refused(&house.gateway.call("GET", "/orders/v1/x", &[("Authorization", &bearer)], b""), 401, "missing_credential");
    assert_eq!(backend.connections(), 0);
    assert_eq!(call_as(&house.gateway, "/orders/v1/x", &token, &key).status, 200);
    // `/orders/v1` is `/orders/v1/`.
    for target in ["/orders/v1", "/orders/v1/", "/orders/v1?a=1"] {
        assert_eq!(call_as(&house.gateway, target, &token, &key).status, 200, "{target}");
    }
    let targets: Vec<_> = backend.received().into_iter().map(|request| request.target).collect();
    assert_eq!(targets, ["/x", "/", "/", "/?a=1"]);
}

#[test]
fn a_version_and_a_base_path_are_taken_over() {
    let house = House::new();
    let backend = Backend::echo();
    let body = json!({"name": "A_b-9", "version": "2026-01", "base_url": format!("{}/base/", backend.url())});
    let registered = house.register(&body);
    assert_eq!((&registered["version"], &registered["path"]), (&json!("2026-01"), &json!("/A_b-9/2026-01")));
    let answer = call_as(&house.gateway, "/A_b-9/2026-01/x?q=1", &house.token(), &text(&registered, "api_key"));
    assert_eq!(answer.json()["target"], "/base/x?q=1");
    assert_eq!(backend.received()[0].header("host"), Some(backend.address.to_string().as_str()));
}

#[test]
fn the_api_key_calls_its_own_service_and_nothing_else() {
    let house = House::new();
    let (orders, stock) = (Backend::echo(), Backend::echo());
    let first = house.register(&json!({"name": "orders", "base_url": orders.url()}));
    house.register(&json!({"name": "stock", "base_url": stock.url()}));
    let (key, registration) = (text(&first, "api_key"), text(&first, "registration_key"));
    let second = json!({"name": "orders", "version": "v2", "base_url": orders.url()});
    assert_eq!(announce(&house.gateway, &registration, &second).status, 200);
    let token = house.token();
    for target in ["/orders/v1/x", "/orders/v2/x"] {
        assert_eq!(call_as(&house.gateway, target, &token, &key).status, 200, "{target}");
    }
    refused(&call_as(&house.gateway, "/stock/v1/x", &token, &key), 403, "forbidden");
    assert_eq!(stock.connections(), 0);
    // It only calls: it registers nothing, and it is nobody's login.
    let move_away = json!({"name": "orders", "base_url": stock.url()});
    refused(&announce(&house.gateway, &key, &move_away), 401, "invalid_credential");
    // The registration key calls nothing.
    refused(&call_as(&house.gateway, "/orders/v1/x", &token, &registration), 401, "invalid_credential");
    refused(&call_as(&house.gateway, "/orders/v1/x", &registration, &key), 401, "invalid_credential");
    assert_eq!(orders.received().len(), 2);
}

#[test]
fn a_taken_name_stays_with_its_owner_in_every_version() {
    let house = House::new();
    house.register(&json!({"name": "orders", "base_url": NOWHERE}));
    let stranger = enrol(&house.gateway, &json!({"name": "other"}));
    let other = announce(&house.gateway, &stranger, &json!({"name": "stock", "base_url": NOWHERE})).json();
    for body in [
        json!({"name": "orders", "base_url": "http://127.0.0.1:7"}),
        json!({"name": "orders", "version": "v2", "base_url": "http://127.0.0.1:7"}),
        json!({"name": "orders", "instance": "b", "base_url": "http://127.0.0.1:7"}),
    ] {
        for token in [&stranger, &house.enrolment] {
            refused(&announce(&house.gateway, token, &body), 409, "conflict");
        }
        let answer = announce(&house.gateway, &text(&other, "registration_key"), &body);
        refused(&answer, 401, "invalid_credential");
    }
    assert_eq!(house.targets("orders/v1"), json!([{"url": NOWHERE, "weight": 1}]));
    house.gateway.admin_ok("GET", "/services/orders/v2", None, 404);
    // What an operator declared belongs to the operator.
    let declared = json!({"targets": [{"url": NOWHERE}]});
    house.gateway.admin_ok("PUT", "/services/billing/v1", Some(&declared), 201);
    let billing = json!({"name": "billing", "version": "v2", "base_url": NOWHERE});
    refused(&announce(&house.gateway, &stranger, &billing), 409, "conflict");
}

#[test]
fn the_registration_key_moves_the_service_at_once() {
    let house = House::new();
    let (old, new) = (Backend::echo(), Backend::echo());
    let first = house.register(&json!({"name": "orders", "base_url": old.url()}));
    let (token, key) = (house.token(), text(&first, "api_key"));
    assert_eq!(call_as(&house.gateway, "/orders/v1/1", &token, &key).status, 200);
    let moved = json!({"name": "orders", "base_url": new.url()});
    let answer = announce(&house.gateway, &text(&first, "registration_key"), &moved);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json(), json!({"name": "orders", "version": "v1", "path": "/orders/v1"}), "without keys");
    for _ in 0..8 {
        assert_eq!(call_as(&house.gateway, "/orders/v1/2", &token, &key).status, 200, "the key is good as before");
    }
    assert_eq!((old.received().len(), new.received().len()), (1, 8));
    assert_eq!(house.targets("orders/v1"), json!([{"url": new.url(), "weight": 1}]));
}

#[test]
fn instances_stand_side_by_side() {
    let house = House::new();
    let (a, b, c) = (Backend::echo(), Backend::echo(), Backend::echo());
    let first = house.register(&json!({"name": "orders", "base_url": a.url(), "instance": "a"}));
    let (registration, key) = (text(&first, "registration_key"), text(&first, "api_key"));
    let set = |instance: &str, backend: &Backend| {
        let body = json!({"name": "orders", "base_url": backend.url(), "instance": instance});
        assert_eq!(announce(&house.gateway, &registration, &body).status, 200);
    };
    set("b", &b);
    let token = house.token();
    let call = || {
        for _ in 0..20 {
            assert_eq!(call_as(&house.gateway, "/orders/v1/x", &token, &key).status, 200);
        }
    };
    call();
    let before = [&a, &b].map(|backend| backend.received().len());
    assert!(before.iter().all(|count| *count > 0) && before.iter().sum::<usize>() == 20, "{before:?}");
    // The instance moves, the other stays.
    set("a", &c);
    call();
    assert_eq!(a.received().len(), before[0]);
    assert!(!c.received().is_empty() && b.received().len() > before[1]);
    assert_eq!(house.targets("orders/v1").as_array().map(Vec::len), Some(2));
    // Without an instance, the one target replaces them all.
    let alone = json!({"name": "orders", "base_url": a.url()});
    assert_eq!(announce(&house.gateway, &registration, &alone).status, 200);
    assert_eq!(house.targets("orders/v1"), json!([{"url": a.url(), "weight": 1}]));
}

#[test]
fn what_an_operator_has_set_survives_a_move() {
    let house = House::new();
    let backend = Backend::echo();
    let first = house.register(&json!({"name": "orders", "base_url": NOWHERE}));
    let open = json!({"targets": [{"url": NOWHERE}], "require": [], "audiences": ["x"]});
    house.gateway.admin_ok("PUT", "/services/orders/v1", Some(&open), 200);
    let moved = json!({"name": "orders", "base_url": backend.url()});
    assert_eq!(announce(&house.gateway, &text(&first, "registration_key"), &moved).status, 200);
    assert_eq!(house.gateway.call("GET", "/orders/v1/x", &[], b"").status, 200);
    let service = house.gateway.admin_ok("GET", "/services/orders/v1", None, 200);
    assert_eq!((&service["require"], &service["audiences"]), (&json!([]), &json!(["x"])));
}

#[test]
fn only_a_good_enrolment_token_registers() {
    let house = House::new();
    let gateway = &house.gateway;
    let body = |name: &str| json!({"name": name, "base_url": NOWHERE});
    let absent = gateway.post("/-/register", &[], &body("a"));
    refused(&absent, 401, "missing_credential");
    assert!(absent.header("www-authenticate").is_some_and(|value| value.starts_with("Bearer")), "{absent:?}");
    let basic = gateway.post("/-/register", &[("Authorization", "Basic YTpi")], &body("a"));
    assert_eq!(basic.status, 401);
    for wrong in ["pce_wrong", "x", gateway.token.as_str(), &format!("{}x", house.enrolment)] {
        let answer = announce(gateway, wrong, &body("a"));
        refused(&answer, 401, "invalid_credential");
        assert!(answer.header("www-authenticate").is_some());
        assert!(!answer.text().contains(wrong) || wrong == "x", "it is not repeated");
    }
    // Used up: one name each.
    let twice = enrol(gateway, &json!({"name": "twice", "max_uses": 2}));
    assert_eq!(announce(gateway, &twice, &body("one")).status, 201);
    refused(&announce(gateway, &twice, &body("one")), 409, "conflict");
    assert_eq!(announce(gateway, &twice, &body("two")).status, 201, "a refused try uses nothing up");
    refused(&announce(gateway, &twice, &body("three")), 401, "invalid_credential");
    // Of another pattern: known, but not for this name.
    let team = enrol(gateway, &json!({"name": "team", "pattern": "team-*"}));
    for name in ["orders", "team", "xteam-a", "Team-a"] {
        refused(&announce(gateway, &team, &body(name)), 403, "forbidden");
    }
    assert_eq!(announce(gateway, &team, &body("team-a")).status, 201);
    // Expired.
    let brief = enrol(gateway, &json!({"name": "brief", "ttl": "1s"}));
    let mut number = 0;
    until("the enrolment token expires", || {
        number += 1;
        let answer = announce(gateway, &brief, &body(&format!("brief-{number}")));
        assert!(matches!(answer.status, 201 | 401), "{}", answer.text());
        answer.status == 401 && answer.code() == "invalid_credential"
    });
    // Taken out.
    gateway.admin_ok("DELETE", "/enrolment-tokens/team", None, 204);
    refused(&announce(gateway, &team, &body("team-b")), 401, "invalid_credential");
    gateway.admin_ok("GET", "/services/team-a/v1", None, 200);
    for name in ["a", "three", "orders", "team-b"] {
        gateway.admin_ok("GET", &format!("/services/{name}/v1"), None, 404);
    }
}

#[test]
fn names_and_urls_that_cannot_be_are_refused() {
    let house = House::new();
    let refuse = |body: Value, named: &str| {
        let answer = announce(&house.gateway, &house.enrolment, &body);
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
        answer.code();
        assert!(text(&answer.json(), "detail").contains(named), "{named} in {}", answer.text());
    };
    for name in ["-", "auth", "account", "oauth", ".well-known", "verify_token"] {
        refuse(json!({"name": name, "base_url": NOWHERE}), "name");
    }
    for name in ["", " ", "a b", "a/b", "é", "..", ".", "a%2fb", "a\u{0}", "a.b", &"x".repeat(65)] {
        refuse(json!({"name": name, "base_url": NOWHERE}), "name");
        refuse(json!({"name": "good", "version": name, "base_url": NOWHERE}), "version");
        refuse(json!({"name": "good", "instance": name, "base_url": NOWHERE}), "instance");
    }
    for url in [
        "",
        "orders",
        "/base",
        "127.0.0.1:80",
        "ftp://a/",
        "file:///etc/passwd",
        "http://",
        "http://:80",
        "http://user:pw@a/",
        "http://a/?q=1",
        "http://a/#f",
        "http://a:0",
        "http://a:65536",
        "http://a b/",
        "http://a\r\nb/",
    ] {
        refuse(json!({"name": "good", "base_url": url}), "base_url");
    }
    assert_eq!(house.gateway.admin_ok("GET", "/services", None, 200)["items"], json!([]), "nothing was taken");
    house.register(&json!({"name": "x".repeat(64), "base_url": NOWHERE}));
}

#[test]
fn bodies_that_cannot_be_read_are_refused() {
    let house = House::new();
    let bearer = format!("Bearer {}", house.enrolment);
    let post = |content_type: &str, body: &[u8]| {
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", content_type)];
        house.gateway.call("POST", "/-/register", &headers, body)
    };
    let good = json!({"name": "orders", "base_url": NOWHERE}).to_string();
    for bad in ["", "{", "[]", "\"a\"", "null", "{\"name\":1,\"base_url\":\"http://a\"}", "{\"name\":\"a\"}", "\u{0}"] {
        let answer = post("application/json", bad.as_bytes());
        assert_eq!(answer.status, 400, "{bad}: {}", answer.text());
        answer.code();
    }
    assert_eq!(post("application/json", &[b"{\"name\":\"\xff".as_slice(), b"\"}"].concat()).status, 400);
    for content_type in ["text/plain", "application/x-www-form-urlencoded"] {
        refused(&post(content_type, good.as_bytes()), 415, "unsupported_media_type");
    }
    let large = json!({"name": "orders", "base_url": NOWHERE, "more": "x".repeat(1 << 20)}).to_string();
    refused(&post("application/json", large.as_bytes()), 413, "body_too_large");
    for method in ["GET", "PUT", "DELETE"] {
        let answer = house.gateway.call(method, "/-/register", &[("Authorization", &bearer)], b"");
        refused(&answer, 405, "method_not_allowed");
        assert_eq!(answer.header("allow"), Some("POST"));
    }
    assert_eq!(post("application/json; charset=utf-8", good.as_bytes()).status, 201);
}

#[test]
fn many_at_once_get_what_there_is_and_no_more() {
    let house = House::new();
    let few = enrol(&house.gateway, &json!({"name": "few", "max_uses": 5}));
    let race = |names: &[String], token: &str| {
        let start = &Barrier::new(names.len());
        let gateway = &house.gateway;
        let mut statuses: Vec<u16> = thread::scope(|scope| {
            let threads: Vec<_> = names
                .iter()
                .map(|name| {
                    scope.spawn(move || {
                        start.wait();
                        announce(gateway, token, &json!({"name": name, "base_url": NOWHERE})).status
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("answered")).collect()
        });
        statuses.sort_unstable();
        statuses
    };
    let names: Vec<_> = (0..16).map(|number| format!("service-{number}")).collect();
    let statuses = race(&names, &few);
    assert_eq!(statuses, [&[201; 5][..], &[401; 11]].concat());
    assert_eq!(house.gateway.admin_ok("GET", "/enrolment-tokens/few", None, 200)["uses"], 5);
    assert_eq!(house.gateway.admin_ok("GET", "/services", None, 200)["items"].as_array().map(Vec::len), Some(5));
    // One name: one owner.
    let statuses = race(&vec!["one".to_owned(); 12], &house.enrolment);
    assert_eq!(statuses, [&[201][..], &[409; 11]].concat());
    assert_eq!(house.gateway.admin_ok("GET", "/enrolment-tokens/all", None, 200)["uses"], 1);
}

#[test]
fn fifty_in_a_row_are_each_called_at_once() {
    let house = House::with("workers = 4");
    let backend = Backend::echo();
    let token = house.token();
    for number in 0..50 {
        let name = format!("s{number}");
        let registered = house.register(&json!({"name": name, "base_url": backend.url()}));
        // Each call is over a connection of its own, which any worker may get.
        for _ in 0..3 {
            let answer = call_as(&house.gateway, &format!("/{name}/v1/x"), &token, &text(&registered, "api_key"));
            assert_eq!(answer.status, 200, "service {number}: {}", answer.text());
        }
    }
    assert_eq!(backend.received().len(), 150);
}

#[test]
fn registrations_survive_being_killed() {
    const SETTINGS: &str = "public_url = \"http://gateway.example\"";
    let mut house = House::with(SETTINGS);
    let backend = Backend::echo();
    let first = house.register(&json!({"name": "orders", "base_url": backend.url()}));
    let (token, key) = (house.token(), text(&first, "api_key"));
    // The answer was given, so it is on disk.
    house.gateway = Gateway::restart(house.gateway.kill(), SETTINGS);
    assert_eq!(call_as(&house.gateway, "/orders/v1/x", &token, &key).status, 200);
    refused(
        &announce(&house.gateway, &house.enrolment, &json!({"name": "orders", "base_url": NOWHERE})),
        409,
        "conflict",
    );
    let again = Backend::echo();
    let moved = json!({"name": "orders", "base_url": again.url()});
    assert_eq!(announce(&house.gateway, &text(&first, "registration_key"), &moved).status, 200);
    // And after an orderly end.
    house.gateway.signal("TERM");
    assert!(house.gateway.wait().success());
    house.gateway = Gateway::restart(house.gateway.kill(), SETTINGS);
    assert_eq!(call_as(&house.gateway, "/orders/v1/x", &token, &key).status, 200);
    assert_eq!((backend.received().len(), again.received().len()), (1, 1));
    assert_eq!(house.gateway.admin_ok("GET", "/enrolment-tokens/all", None, 200)["uses"], 1);
}

#[test]
fn a_deleted_service_gives_its_name_and_its_keys_back() {
    let house = House::new();
    let backend = Backend::echo();
    let first = house.register(&json!({"name": "orders", "base_url": backend.url()}));
    let (token, key) = (house.token(), text(&first, "api_key"));
    house.gateway.admin_ok("DELETE", "/services/orders/v1", None, 204);
    refused(&call_as(&house.gateway, "/orders/v1/x", &token, &key), 404, "no_route");
    let back = json!({"name": "orders", "base_url": backend.url()});
    refused(&announce(&house.gateway, &text(&first, "registration_key"), &back), 401, "invalid_credential");
    let second = house.register(&back);
    refused(&call_as(&house.gateway, "/orders/v1/x", &token, &key), 401, "invalid_credential");
    assert_eq!(call_as(&house.gateway, "/orders/v1/x", &token, &text(&second, "api_key")).status, 200);
}

#[test]
fn addresses_that_are_no_services_are_not_called() {
    let house = House::new();
    let shop = client(&house.gateway, "shop", &["*"]);
    let token = house.token();
    let (data, admin) = (house.gateway.data.port(), house.gateway.admin.port());
    for (name, url, code) in [
        ("own-by-name", format!("http://localhost:{admin}"), "upstream_address_refused"),
        ("own-data", format!("http://127.0.0.1:{data}"), "upstream_address_refused"),
        ("own-admin", format!("http://127.0.0.1:{admin}/api/v1"), "upstream_address_refused"),
        ("own-mapped", format!("http://[::ffff:127.0.0.1]:{admin}"), "upstream_address_refused"),
        ("nobody", NOWHERE.to_owned(), "upstream_unreachable"),
    ] {
        house.register(&json!({"name": name, "base_url": url}));
        refused(&call_as(&house.gateway, &format!("/{name}/v1/services"), &token, &shop), 502, code);
    }
}
