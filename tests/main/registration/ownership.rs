//! What a registration may write, and what bounds it.

use super::*;
use crate::support::scene::copy_services;

fn update(house: &House, key: &str, version: &str, url: &str) -> Answer {
    announce(&house.gateway, key, &json!({"name": "orders", "version": version, "base_url": url}))
}

fn registered(house: &House) -> String {
    text(&house.register(&json!({"name": "orders", "base_url": NOWHERE})), "registration_key")
}

const MOVED: &str = "http://127.0.0.1:7";

#[test]
fn a_registration_writes_only_what_registration_made() {
    let house = House::new();
    let key = registered(&house);
    house.declare("orders/v2", NOWHERE, &json!({}));
    refused(&update(&house, &key, "v2", MOVED), 409, "conflict");
    let instance = json!({"name": "orders", "version": "v2", "base_url": MOVED, "instance": "b"});
    refused(&announce(&house.gateway, &key, &instance), 409, "conflict");
    refused(&update(&house, &key, "v2", NOWHERE), 409, "conflict");
    assert_eq!(house.targets("orders/v2"), json!([{"url": NOWHERE, "weight": 1}]));
    assert_eq!(update(&house, &key, "v1", MOVED).status, 200);
    assert_eq!(update(&house, &key, "v3", NOWHERE).status, 200, "a new version is its own");
    let shown = house.gateway.admin_ok("GET", "/services/orders/registration", None, 200);
    assert_eq!(shown["versions"], json!(["v1", "v3"]));
    // Adopting a version ends it there, and nowhere else.
    let file = house.gateway.directory().join("gate.yaml");
    std::fs::write(&file, format!("version: 1\nservices:\n  orders/v1: {{targets: [{{url: '{NOWHERE}'}}]}}\n"))
        .expect("written");
    let output = house.cli(&["apply", "--yes", "--adopt", "-f", &file.display().to_string()]);
    assert!(output.status.success(), "{output:?}");
    refused(&update(&house, &key, "v1", MOVED), 409, "conflict");
    refused(&update(&house, &key, "v1", NOWHERE), 409, "conflict");
    assert_eq!(house.targets("orders/v1"), json!([{"url": NOWHERE, "weight": 1}]));
    assert_eq!(update(&house, &key, "v3", MOVED).status, 200);
    let shown = house.gateway.admin_ok("GET", "/services/orders/registration", None, 200);
    assert_eq!(shown["versions"], json!(["v3"]));
}

#[test]
fn an_operator_sees_rotates_and_revokes_a_registration() {
    let house = House::new();
    let backend = Backend::echo();
    let reply = house.register(&json!({"name": "orders", "base_url": backend.url()}));
    let (key, api_key) = (text(&reply, "registration_key"), text(&reply, "api_key"));
    let path = "/services/orders/registration";
    let shown = house.gateway.admin_ok("GET", path, None, 200);
    assert_eq!(
        members(&shown),
        ["created_at", "enrolment", "last_used_at", "name", "rotated_at", "versions"],
        "nothing secret"
    );
    assert_eq!((&shown["enrolment"], &shown["rotated_at"]), (&json!("all"), &Value::Null));
    assert!(shown["last_used_at"].is_string() && shown["created_at"].is_string());

    let rotated = house.gateway.admin_ok("POST", &format!("{path}/rotate"), None, 200);
    let second = text(&rotated, "registration_key");
    assert!(second.starts_with("pcr_") && second != key);
    refused(&update(&house, &key, "v1", MOVED), 401, "invalid_credential");
    assert_eq!(update(&house, &second, "v1", &backend.url()).status, 200);
    assert!(house.gateway.admin_ok("GET", path, None, 200)["rotated_at"].is_string());
    let output = house.cli(&["service", "registration", "rotate", "orders"]);
    let third = stdout(&output).trim().to_owned();
    assert!(third.starts_with("pcr_"), "{output:?}");
    refused(&update(&house, &second, "v1", MOVED), 401, "invalid_credential");
    assert!(stdout(&house.cli(&["service", "registration", "get", "orders"])).contains("\"last_used_at\""));

    let output = house.cli(&["service", "registration", "revoke", "orders"]);
    assert!(output.status.success(), "{output:?}");
    for key in [&key, &second, &third] {
        refused(&update(&house, key, "v1", MOVED), 401, "invalid_credential");
    }
    // The service goes on, and its name stays taken.
    assert_eq!(call_as(&house.gateway, "/orders/v1/x", &house.token(), &api_key).status, 200);
    refused(&update(&house, &house.enrolment, "v2", NOWHERE), 409, "conflict");
    for (method, path) in [("GET", path), ("DELETE", path), ("POST", &format!("{path}/rotate"))] {
        house.gateway.admin_ok(method, path, None, 404);
    }
    house.gateway.admin_ok("GET", "/services/nobody/registration", None, 404);
    house.gateway.admin_ok("DELETE", "/services/orders/v1", None, 204);
    assert_eq!(update(&house, &house.enrolment, "v1", NOWHERE).status, 201, "and is free again");
    let trail = house.gateway.admin_ok("GET", "/audit?kind=registration&limit=100", None, 200).to_string();
    for secret in [key, second, third] {
        assert!(!trail.contains(&secret) && !house.gateway.stderr().contains(&secret));
    }
}

#[test]
fn what_an_operator_deletes_is_not_made_anew() {
    let house = House::new();
    let key = registered(&house);
    assert_eq!(update(&house, &key, "v2", NOWHERE).status, 200);
    house.declare("orders/v3", NOWHERE, &json!({}));
    house.gateway.admin_ok("DELETE", "/services/orders/v1", None, 204);
    assert_eq!(update(&house, &key, "v2", MOVED).status, 200, "one of its own is left");
    house.gateway.admin_ok("DELETE", "/services/orders/v2", None, 204);
    refused(&update(&house, &key, "v2", NOWHERE), 401, "invalid_credential");
    assert_eq!(
        house.gateway.admin_ok("GET", "/services/orders/api-keys", None, 200)["items"].as_array().map(Vec::len),
        Some(1)
    );
}

#[test]
fn names_are_taken_and_kept_whatever_their_case() {
    let house = House::new();
    let key = registered(&house);
    house.declare("shop/v1", NOWHERE, &json!({}));
    let announced = |bearer: &str, name: &str, version: &str| {
        announce(&house.gateway, bearer, &json!({"name": name, "version": version, "base_url": NOWHERE}))
    };
    for name in ["Shop", "SHOP", "sHop", "Orders", "ORDERS"] {
        refused(&announced(&house.enrolment, name, "v1"), 409, "conflict");
        refused(&announced(&house.enrolment, name, "v9"), 409, "conflict");
        let body = json!({"targets": [{"url": NOWHERE}]});
        refused(&house.gateway.admin("PUT", &format!("/services/{name}/v9"), Some(&body)), 409, "conflict");
    }
    refused(&announced(&key, "orders", "V1"), 409, "conflict");
    for name in ["Auth", "AUTH", "OAUTH", "OAuth", "Account", "Verify_Token"] {
        refused(&announced(&house.enrolment, name, "v1"), 400, "bad_name");
        let body = json!({"targets": [{"url": NOWHERE}]});
        let answer = house.gateway.admin("PUT", &format!("/services/{name}/v1"), Some(&body));
        refused(&answer, 422, "invalid_declaration");
        assert_eq!(answer.json()["problems"][0]["path"], "name");
    }
    for version in ["registration", "Registration", "api-keys"] {
        refused(&announced(&key, "orders", version), 400, "bad_version");
    }
    let file = house.gateway.directory().join("gate.yaml");
    let target = format!("{{targets: [{{url: '{NOWHERE}'}}]}}");
    let services = ["Shop/v1", "OAUTH/v1", "a/v1", "A/v2", "orders/V1", "fine/v1"];
    let lines: String = services.iter().map(|id| format!("  {id}: {target}\n")).collect();
    std::fs::write(&file, format!("version: 1\nservices:\n{lines}")).expect("written");
    let file = file.display().to_string();
    for words in [&["diff", "-f", &file][..], &["apply", "--yes", "-f", &file]] {
        let output = house.cli(words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success());
        for id in &services[..5] {
            assert!(said.contains(&format!("services.{id}: ")), "{id} in {said}");
        }
        assert!(!said.contains("fine/v1"), "{said}");
    }
    let items = house.gateway.admin_ok("GET", "/services", None, 200)["items"].as_array().expect("a list").len();
    assert_eq!(items, 2, "nothing was taken");
}

#[test]
fn twins_that_are_there_keep_running_and_get_no_new_versions() {
    let mut house = House::new();
    let backend = Backend::echo();
    let key = text(&house.register(&json!({"name": "orders", "base_url": backend.url()})), "registration_key");
    house.declare("orders/v1", &backend.url(), &json!({}));
    house.gateway.signal("TERM");
    assert!(house.gateway.wait().success());
    let directory = house.gateway.kill();
    copy_services(directory.path(), "orders/v1", &["Orders/v1", "OAUTH/v1"]);
    house.gateway = Gateway::restart(directory, "");
    for path in ["/orders/v1/x", "/Orders/v1/x", "/OAUTH/v1/x"] {
        assert_eq!(house.gateway.call("GET", path, &[], b"").status, 200, "{path}");
    }
    let said = house.gateway.stderr();
    for names in ["Orders, orders", "OAUTH, oauth"] {
        assert!(said.contains(&format!("the names {names} differ in case alone")), "{said}");
    }
    refused(&update(&house, &key, "v2", NOWHERE), 409, "conflict");
    let body = json!({"targets": [{"url": backend.url()}], "require": []});
    for (service, status) in [("orders/v2", 409), ("Orders/v2", 409), ("OAUTH/v2", 422)] {
        assert_eq!(
            house.gateway.admin("PUT", &format!("/services/{service}"), Some(&body)).status,
            status,
            "{service}"
        );
    }
    assert_eq!(update(&house, &key, "v1", &backend.url()).status, 200, "what is there can be renewed");
    for service in ["orders/v1", "Orders/v1", "OAUTH/v1"] {
        house.gateway.admin_ok("PUT", &format!("/services/{service}"), Some(&body), 200);
    }
    let audit = stdout(&house.cli(&["check", "--security", "--live"]));
    for service in ["orders/v1", "Orders/v1", "OAUTH/v1"] {
        assert!(audit.contains(&format!("look-alike-services  services.{service} ")), "{audit}");
    }
    house.gateway.admin_ok("DELETE", "/services/Orders/v1", None, 204);
    assert_eq!(update(&house, &key, "v2", NOWHERE).status, 200, "alone again");
}

fn trail(house: &House) -> usize {
    let items = house.gateway.admin_ok("GET", "/audit?after=0&limit=1000", None, 200)["items"].clone();
    items.as_array().expect("a list").len()
}

#[test]
fn changes_have_a_rate_and_renewals_are_free() {
    let house = House::with("registration.changes_at_once = 4\nregistration.changes_per_minute = 1");
    let key = registered(&house);
    for number in 1..4 {
        assert_eq!(update(&house, &key, "v1", &format!("http://127.0.0.1:{number}")).status, 200);
    }
    let before = trail(&house);
    for number in 4..40 {
        let answer = update(&house, &key, "v1", &format!("http://127.0.0.1:{number}"));
        refused(&answer, 429, "too_many_requests");
        let wait: u64 = answer.header("retry-after").expect("told when").parse().expect("seconds");
        assert!((1..=60).contains(&wait), "{wait}");
        assert!(answer.header("ratelimit").is_some_and(|value| value.contains("\"registration\"")));
    }
    refused(&update(&house, &key, "v2", NOWHERE), 429, "too_many_requests");
    for _ in 0..40 {
        assert_eq!(update(&house, &key, "v1", "http://127.0.0.1:3").status, 200, "it says what is known");
    }
    assert_eq!(trail(&house), before, "nothing was committed");
    assert_eq!(house.targets("orders/v1"), json!([{"url": "http://127.0.0.1:3", "weight": 1}]));
    house.register(&json!({"name": "stock", "base_url": NOWHERE}));
}

#[test]
fn an_enrolment_token_has_bounds() {
    let house = House::with(
        "registration.services_per_enrolment = 2\nregistration.versions_per_service = 2\n\
         registration.enrolment_changes_at_once = 6\nregistration.enrolment_changes_per_minute = 1",
    );
    let key = registered(&house);
    assert_eq!(update(&house, &key, "v2", NOWHERE).status, 200);
    refused(&update(&house, &key, "v3", NOWHERE), 409, "conflict");
    let stock = text(&house.register(&json!({"name": "stock", "base_url": NOWHERE})), "registration_key");
    let third = json!({"name": "third", "base_url": NOWHERE});
    refused(&announce(&house.gateway, &house.enrolment, &third), 409, "conflict");
    house.gateway.admin_ok("DELETE", "/services/stock/v1", None, 204);
    let third = house.register(&third);
    refused(
        &announce(&house.gateway, &stock, &json!({"name": "stock", "base_url": NOWHERE})),
        401,
        "invalid_credential",
    );
    let other = enrol(&house.gateway, &json!({"name": "other"}));
    assert_eq!(announce(&house.gateway, &other, &json!({"name": "fourth", "base_url": NOWHERE})).status, 201);
    // Four changes so far, over all that was registered with it.
    assert_eq!(update(&house, &key, "v1", MOVED).status, 200);
    assert_eq!(update(&house, &key, "v2", MOVED).status, 200);
    let move_third = json!({"name": "third", "base_url": MOVED});
    let answer = announce(&house.gateway, &text(&third, "registration_key"), &move_third);
    refused(&answer, 429, "too_many_requests");
    assert!(answer.header("ratelimit").is_some_and(|value| value.contains("\"enrolment\"")));
}

#[test]
fn the_trail_grows_by_what_was_changed() {
    let house = House::new();
    let key = registered(&house);
    let targets: Vec<_> = (1..300).map(|port| json!({"url": format!("http://127.0.0.1:{port}")})).collect();
    house.gateway.admin_ok("PUT", "/services/orders/v1", Some(&json!({"targets": targets})), 200);
    let more = json!({"name": "orders", "base_url": MOVED, "instance": "one-more"});
    assert_eq!(announce(&house.gateway, &key, &more).status, 200);
    let newest = house.gateway.admin_ok("GET", "/audit?limit=1", None, 200)["items"][0].clone();
    let target = json!({"url": MOVED, "weight": 1, "instance": "one-more"});
    assert_eq!((&newest["before"], &newest["after"]), (&json!({"targets": []}), &json!({"targets": [target]})));
}
