//! Where registered services are: at no target of a service with rules, and where `registration.allow_targets` lets them.

use super::*;

/// A service with rules at a base URL.
fn guard(house: &House, service: &str, url: &str, policies: &Value) {
    house.declare(service, url, &json!({"require": [["bearer", "api_key"]], "policies": policies}));
}

fn acl() -> Value {
    json!({"acl": {"rules": [{"path": "/admin", "effect": "deny"}]}})
}

/// The target of a backend, written in another way.
fn written(backend: &Backend, host: &str, base: &str) -> String {
    format!("http://{host}:{}{base}", backend.address.port())
}

#[test]
fn nobody_registers_at_a_target_with_rules_however_it_is_written() {
    let house = House::new();
    let backend = Backend::echo();
    let hosts = [
        "127.0.0.1",
        "localhost",
        "LOCALHOST.",
        "127.1",
        "127.8.9.1",
        "0x7f.1",
        "2130706433",
        "[::1]",
        "[::ffff:127.0.0.1]",
    ];
    let mut number = 0;
    let mut register = |url: &str| {
        number += 1;
        announce(&house.gateway, &house.enrolment, &json!({"name": format!("evil{number}"), "base_url": url}))
    };
    for (protected, base, asked, taken) in [
        (true, "", "", true),
        (true, "", "/a/b", true),
        (true, "/a", "", true),
        (true, "/a", "/A/%62", true),
        (true, "/a/b", "/a/c", false),
        (true, "/a", "/ab", false),
        (false, "", "", false),
        (false, "/a", "/a", false),
    ] {
        let policies = if protected { acl() } else { json!({}) };
        guard(&house, "pay/v1", &written(&backend, "127.0.0.1", base), &policies);
        for host in hosts {
            let url = written(&backend, host, asked);
            let answer = register(&url);
            if taken {
                refused(&answer, 409, "conflict");
                assert!(answer.text().contains("'pay/v1'") && !answer.text().contains("admin"), "{}", answer.text());
            } else {
                assert_eq!(answer.status, 201, "{url}: {}", answer.text());
            }
        }
    }
    guard(&house, "pay/v1", &backend.url(), &acl());
    refused(&register(&backend.url().replace("http:", "https:")), 409, "conflict");
    assert_eq!(register("http://127.0.0.1:9").status, 201, "another port is another place");
    assert_eq!(register(&written(&backend, "10.0.0.7", "")).status, 201, "and so is another host");
}

#[test]
fn rules_of_every_kind_and_of_routes_keep_others_away() {
    let house = House::new();
    let backend = Backend::echo();
    let evil = json!({"name": "evil", "base_url": backend.url()});
    let limit = json!({"rate": 100, "per": "1m"});
    for policies in [
        json!({"acl": {"default": "deny"}}),
        json!({"ip_filter": {"deny": ["10.0.0.0/8"]}}),
        json!({"throttle": limit}),
        json!({"rate_limit": limit}),
        json!({"request_limits": {"body_bytes": 1_000}}),
        json!({"bearer": {"subject": "client"}}),
    ] {
        guard(&house, "pay/v1", &backend.url(), &policies);
        refused(&announce(&house.gateway, &house.enrolment, &evil), 409, "conflict");
        // The rules of a route that leads there are as good.
        house.declare("pay/v1", &backend.url(), &json!({}));
        let body = json!({"match": {"path": {"prefix": "/p"}}, "service": "pay/v1", "policies": policies});
        house.gateway.admin("PUT", "/routes/p", Some(&body));
        refused(&announce(&house.gateway, &house.enrolment, &evil), 409, "conflict");
        house.gateway.admin_ok("DELETE", "/routes/p", None, 204);
    }
    assert_eq!(house.gateway.admin_ok("GET", "/enrolment-tokens/all", None, 200)["uses"], 0);
    house.declare("more/v1", &backend.url(), &json!({}));
    house.register(&evil);
}

#[test]
fn a_registration_key_leads_to_no_target_with_rules_either() {
    let house = House::new();
    let (pay, other) = (Backend::echo(), Backend::echo());
    guard(&house, "pay/v1", &pay.url(), &acl());
    let first = house.register(&json!({"name": "evil", "base_url": other.url()}));
    let key = text(&first, "registration_key");
    let say = |body: &Value| announce(&house.gateway, &key, body);
    refused(&say(&json!({"name": "evil", "base_url": pay.url()})), 409, "conflict");
    refused(&say(&json!({"name": "evil", "version": "v2", "base_url": pay.url()})), 409, "conflict");
    refused(&say(&json!({"name": "evil", "instance": "two", "base_url": pay.url()})), 409, "conflict");
    assert_eq!(house.targets("evil/v1")[0]["url"], other.url());
    assert_eq!(house.targets("evil/v1").as_array().map(Vec::len), Some(1));
    assert_eq!(say(&json!({"name": "evil", "version": "v2", "base_url": other.url()})).status, 200);

    // A version that was adopted and has rules now keeps other names away, and not its own.
    let file = house.gateway.directory().join("gate.yaml");
    let rules = "policies: {acl: {default: deny}}";
    let declared = format!("version: 1\nservices:\n  evil/v1: {{targets: [{{url: '{}'}}], {rules}}}\n", other.url());
    std::fs::write(&file, declared).expect("written");
    let file = file.display().to_string();
    assert!(house.cli(&["apply", "-f", &file, "--yes", "--adopt"]).status.success());
    refused(
        &announce(&house.gateway, &house.enrolment, &json!({"name": "third", "base_url": other.url()})),
        409,
        "conflict",
    );
    assert_eq!(say(&json!({"name": "evil", "version": "v3", "base_url": other.url()})).status, 200);
}

#[test]
fn services_that_shared_a_target_before_it_had_rules_are_named_everywhere() {
    let mut house = House::new();
    let backend = Backend::echo();
    let first = house.register(&json!({"name": "early", "base_url": backend.url()}));
    let file = house.gateway.directory().join("gate.yaml");
    let rules = "policies: {acl: {default: deny}}";
    let declared = format!("version: 1\nservices:\n  pay/v1: {{targets: [{{url: '{}'}}], {rules}}}\n", backend.url());
    std::fs::write(&file, declared).expect("written");
    let file = file.display().to_string();
    let line = "! registered service early/v1 is at a target of pay/v1, past the rules there";
    for words in [&["diff", "-f", &file][..], &["apply", "-f", &file, "--yes"], &["diff", "-f", &file]] {
        let output = house.cli(words);
        assert!(stdout(&output).lines().any(|told| told == line), "{output:?}");
    }
    let service = house.gateway.admin_ok("GET", "/services/early/v1", None, 200);
    assert_eq!(service["shares_target_with"], json!(["pay/v1"]));
    let audit = house.cli(&["check", "--security", "--live"]);
    assert!(stdout(&audit).contains("shared-target  services.early/v1"), "{audit:?}");
    // It stands: what it says again is no change.
    let again = json!({"name": "early", "base_url": backend.url()});
    assert_eq!(announce(&house.gateway, &text(&first, "registration_key"), &again).status, 200);

    let directory = house.gateway.kill();
    std::fs::remove_file(directory.path().join("stderr.txt")).expect("there");
    house.gateway = Gateway::restart(directory, "");
    let line = "registered service 'early/v1' is at a target of 'pay/v1', past the rules there";
    until("the log names it", || house.gateway.stderr().contains(line));
    // The rules of the service that is read at a start keep others away as before.
    refused(
        &announce(&house.gateway, &house.enrolment, &json!({"name": "late", "base_url": backend.url()})),
        409,
        "conflict",
    );
}

/// An open way to a service.
fn open_way(house: &House, name: &str, service: &str) {
    let body = json!({"match": {"path": {"prefix": format!("/{name}")}}, "service": service, "require": []});
    let put = house.gateway.admin("PUT", &format!("/routes/{name}"), Some(&body));
    assert!(matches!(put.status, 200 | 201), "{}", put.text());
}

#[test]
fn registered_services_are_where_a_setting_lets_them() {
    let house = House::with("registration.allow_targets = ['10.0.0.0/8', 'public']");
    let backend = Backend::echo();
    let by_name = written(&backend, "localhost", "");
    let say =
        |name: &str, url: &str| announce(&house.gateway, &house.enrolment, &json!({"name": name, "base_url": url}));
    // An address is refused at once, however it is written.
    for host in ["127.0.0.1", "127.1", "[::1]", "[::ffff:127.0.0.1]", "192.168.0.1", "[64:ff9b::7f00:1]"] {
        let answer = say("evil", &written(&backend, host, ""));
        refused(&answer, 400, "bad_base_url");
        assert!(answer.text().contains("registration.allow_targets"), "{}", answer.text());
    }
    for (number, url) in ["http://10.1.2.3", "http://[::ffff:10.1.2.3]", "http://1.1.1.1"].iter().enumerate() {
        assert_eq!(say(&format!("fine{number}"), url).status, 201, "{url}");
    }
    // It narrows what is allowed and does not widen it.
    refused(&say("evil", "http://169.254.169.254"), 400, "bad_base_url");
    // A name is judged by where it leads, at each connection. An operator's service may be there; its connections are not lent.
    house.declare("ours/v1", &by_name, &json!({}));
    let reply = house.register(&json!({"name": "evil", "base_url": by_name}));
    open_way(&house, "way", "evil/v1");
    let (token, key) = (house.token(), text(&reply, "api_key"));
    for _ in 0..3 {
        assert_eq!(house.gateway.call("GET", "/ours/v1/x", &[], b"").status, 200);
        refused(&call_as(&house.gateway, "/evil/v1/x", &token, &key), 502, "upstream_address_refused");
        refused(&house.gateway.call("GET", "/way", &[], b""), 502, "upstream_address_refused");
    }
    assert_eq!(backend.received().len(), 3);
    let moved = json!({"name": "evil", "base_url": backend.url()});
    refused(&announce(&house.gateway, &text(&reply, "registration_key"), &moved), 400, "bad_base_url");
    // Whatever an operator has adopted is where an operator's services may be.
    let file = house.gateway.directory().join("gate.yaml");
    let declared = format!("version: 1\nservices:\n  evil/v1: {{targets: [{{url: '{by_name}'}}]}}\n");
    std::fs::write(&file, declared).expect("written");
    let adopted = house.cli(&["apply", "-f", &file.display().to_string(), "--yes", "--adopt"]);
    assert!(adopted.status.success(), "{adopted:?}");
    assert_eq!(call_as(&house.gateway, "/evil/v1/x", &token, &key).status, 200);
    assert_eq!(house.gateway.call("GET", "/way", &[], b"").status, 200);
}

#[test]
fn a_setting_for_registered_services_counts_for_those_that_stand() {
    let mut house = House::with("");
    let backend = Backend::echo();
    let reply = house.register(&json!({"name": "early", "base_url": backend.url()}));
    open_way(&house, "way", "early/v1");
    let explain = |house: &House| {
        let ask = json!({"method": "GET", "url": "http://gate.example/way"});
        house.gateway.admin_ok("POST", "/explain", Some(&ask), 200)["outcome"].clone()
    };
    assert_eq!(
        (house.gateway.call("GET", "/way", &[], b"").status, &explain(&house)["kind"]),
        (200, &json!("forwarded"))
    );
    house.gateway = Gateway::restart(house.gateway.kill(), "registration.allow_targets = ['private']");
    refused(&house.gateway.call("GET", "/way", &[], b""), 502, "upstream_address_refused");
    let told = explain(&house);
    assert_eq!((&told["kind"], &told["status"]), (&json!("refused"), &json!(502)), "{told}");
    let again = json!({"name": "early", "base_url": backend.url()});
    assert_eq!(announce(&house.gateway, &text(&reply, "registration_key"), &again).status, 200, "it is no change");
    house.gateway = Gateway::restart(house.gateway.kill(), "");
    assert_eq!(house.gateway.call("GET", "/way", &[], b"").status, 200);
}
