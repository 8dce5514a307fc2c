//! Where registered services are called: behind everything that operators declare, or in a place of their own, or by
//! routes alone.

use super::*;

/// Whether a call comes to a backend.
fn reaches(house: &House, backend: &Backend, host: &str, target: &str) -> bool {
    let before = backend.received().len();
    let answer = house.gateway.call("GET", target, &[("Host", host)], b"");
    assert!(matches!(answer.status, 200 | 401 | 404), "{target}: {}", answer.text());
    backend.received().len() > before
}

#[test]
fn nobody_registers_at_or_below_what_is_declared_for_every_host() {
    let house = House::new();
    let shop = Backend::echo();
    house.declare("shop/v1", &shop.url(), &json!({}));
    let pay = json!({"name": "checkout", "version": "pay", "base_url": NOWHERE});
    for path in [
        json!({"prefix": "/checkout"}),
        json!({"prefix": "/checkout/pay"}),
        json!({"exact": "/checkout/pay"}),
        json!({"pattern": "/{x}/pay"}),
        json!({"pattern": "/checkout/{x}"}),
        json!({"pattern": "/{x}/{y}/*"}),
        json!({"pattern": "/checkout/*"}),
        json!({"prefix": "/CheckOut"}),
    ] {
        for conditions in [json!({}), json!({"methods": ["POST"]}), json!({"headers": {"X-Beta": "*"}})] {
            let mut matches = conditions;
            matches["path"] = path.clone();
            house.route("shop", &matches, "shop/v1");
            refused(&announce(&house.gateway, &house.enrolment, &pay), 409, "conflict");
        }
    }
    house.gateway.admin_ok("GET", "/services/checkout/pay", None, 404);
    assert_eq!(house.gateway.admin_ok("GET", "/enrolment-tokens/all", None, 200)["uses"], 0);
    // A new version of a name that stands elsewhere has to keep out as well.
    house.route("shop", &json!({"path": {"prefix": "/checkout/pay"}}), "shop/v1");
    let first = house.register(&json!({"name": "checkout", "version": "v1", "base_url": NOWHERE}));
    refused(&announce(&house.gateway, &text(&first, "registration_key"), &pay), 409, "conflict");
    // What takes every path, or no path at or above it, is in nobody's way.
    for path in [json!({"prefix": "/"}), json!({"exact": "/checkout"}), json!({"prefix": "/checkout/other/x"})] {
        house.route("shop", &json!({"path": path}), "shop/v1");
    }
    assert_eq!(announce(&house.gateway, &text(&first, "registration_key"), &pay).status, 200);
}

#[test]
fn declared_routes_keep_their_calls_on_their_hosts_and_in_their_depth() {
    let house = House::new();
    let (shop, other) = (Backend::echo(), Backend::echo());
    house.declare("shop/v1", &shop.url(), &json!({}));
    house.route("host", &json!({"hosts": ["shop.example"], "path": {"prefix": "/checkout"}}), "shop/v1");
    house.route("wild", &json!({"hosts": ["*.shops.example"], "path": {"prefix": "/"}}), "shop/v1");
    house.route("deep", &json!({"path": {"prefix": "/checkout/pay/admin"}}), "shop/v1");
    house.route("rest", &json!({"path": {"prefix": "/"}}), "shop/v1");
    house.register(&json!({"name": "checkout", "version": "pay", "base_url": other.url()}));
    house.declare("checkout/pay", &other.url(), &json!({}));
    assert_eq!(house.gateway.admin_ok("GET", "/services/checkout/pay", None, 200)["owner"], "registration");
    for (host, target, declared) in [
        ("any.example", "/checkout/pay/x", false),
        ("any.example", "/checkout/pay", false),
        ("any.example", "/checkout/pay/admin/x", true),
        ("any.example", "/checkout", true),
        ("any.example", "/checkout/payment", true),
        ("shop.example", "/checkout/pay/x", true),
        ("shop.example:80", "/checkout/pay", true),
        ("a.shops.example", "/checkout/pay/x", true),
        ("shops.example", "/checkout/pay/x", false),
    ] {
        let (taken, missed) = if declared { (&shop, &other) } else { (&other, &shop) };
        let before = missed.received().len();
        assert!(reaches(&house, taken, host, target), "{host}{target}");
        assert_eq!(missed.received().len(), before, "{host}{target}");
    }
    let told = house.gateway.admin_ok(
        "POST",
        "/explain",
        Some(&json!({"method": "GET", "url": "http://shop.example/checkout/pay/x"})),
        200,
    );
    assert_eq!(told["route"]["name"], "host");
    let others = told["others"].as_array().expect("a list");
    let why = others.iter().find(|other| other["name"] == "/checkout/pay").map(|other| &other["why_not"]);
    assert_eq!(why, Some(&json!("it matches, but declared routes go before registered services")));
}

#[test]
fn services_that_are_shadowed_later_are_named_everywhere() {
    let mut house = House::new();
    let (shop, other) = (Backend::echo(), Backend::echo());
    let first = house.register(&json!({"name": "checkout", "version": "pay", "base_url": other.url()}));
    house.declare("checkout/pay", &other.url(), &json!({}));
    house.declare("shop/v1", &shop.url(), &json!({}));
    assert!(reaches(&house, &other, "any.example", "/checkout/pay/x"));

    let file = house.gateway.directory().join("gate.yaml");
    let route = "version: 1\nroutes:\n  shop: {match: {path: {prefix: /checkout}}, service: shop/v1}\n  \
                 host: {match: {hosts: [a.example], path: {prefix: /}, methods: [GET]}, service: shop/v1}\n";
    std::fs::write(&file, route).expect("written");
    let file = file.display().to_string();
    let everywhere = "! registered service checkout/pay is shadowed by route shop";
    let on_host = "! registered service checkout/pay is partly shadowed by route host on a.example";
    for words in [&["diff", "-f", &file][..], &["apply", "-f", &file, "--yes"], &["diff", "-f", &file]] {
        let output = house.cli(words);
        let shown = stdout(&output);
        assert!(
            shown.lines().any(|line| line == everywhere) && shown.lines().any(|line| line == on_host),
            "{output:?}"
        );
    }
    assert!(reaches(&house, &shop, "any.example", "/checkout/pay/x"), "the declared route goes first");

    let service = house.gateway.admin_ok("GET", "/services/checkout/pay", None, 200);
    assert_eq!(service["shadowed_by"], json!(["host", "shop"]));
    assert_eq!(house.gateway.admin_ok("GET", "/routes/shop", None, 200)["shadows"], json!(["checkout/pay"]));
    let body = json!({"match": {"path": {"pattern": "/{x}/pay/*"}}, "service": "shop/v1"});
    assert_eq!(house.gateway.admin_ok("PUT", "/routes/more", Some(&body), 201)["shadows"], json!(["checkout/pay"]));
    house.gateway.admin_ok("DELETE", "/routes/more", None, 204);
    let audit = house.cli(&["check", "--security", "--live"]);
    assert!(stdout(&audit).contains("shadowed-service  services.checkout/pay"), "{audit:?}");
    // It says where it is as before: it stands, and stands behind.
    let moved = json!({"name": "checkout", "version": "pay", "base_url": NOWHERE});
    assert_eq!(announce(&house.gateway, &text(&first, "registration_key"), &moved).status, 200);

    let directory = house.gateway.kill();
    std::fs::remove_file(directory.path().join("stderr.txt")).expect("there");
    house.gateway = Gateway::restart(directory, "");
    let said = house.gateway.stderr();
    assert!(said.contains("registered service 'checkout/pay' is shadowed by route 'shop'"), "{said}");
    assert!(said.contains("is partly shadowed by route 'host' on a.example"), "{said}");
}

#[test]
fn registered_services_can_have_a_place_of_their_own() {
    let mut house = House::with("registration.prefix = '/svc'");
    let (registered, declared) = (Backend::echo(), Backend::echo());
    house.declare("own/v1", &declared.url(), &json!({}));
    let reply = house.register(&json!({"name": "orders", "base_url": registered.url()}));
    assert_eq!(reply["path"], "/svc/orders/v1");
    house.declare("orders/v1", &registered.url(), &json!({}));
    assert_eq!(house.gateway.admin_ok("GET", "/services/orders/v1", None, 200)["path"], "/svc/orders/v1");
    assert!(
        reaches(&house, &registered, "a", "/svc/orders/v1/x?y=1") && !reaches(&house, &registered, "a", "/orders/v1/x")
    );
    assert_eq!(registered.received()[0].target, "/x?y=1");
    assert!(reaches(&house, &declared, "a", "/own/v1/x") && !reaches(&house, &declared, "a", "/svc/own/v1/x"));
    // Below it alone: what is declared elsewhere is in nobody's way, and what is declared there is.
    house.route("elsewhere", &json!({"path": {"prefix": "/stock"}}), "own/v1");
    house.register(&json!({"name": "stock", "base_url": NOWHERE}));
    house.route("there", &json!({"path": {"prefix": "/svc/bills"}}), "own/v1");
    refused(
        &announce(&house.gateway, &house.enrolment, &json!({"name": "bills", "base_url": NOWHERE})),
        409,
        "conflict",
    );
    house.declare("svc/till", &declared.url(), &json!({}));
    refused(
        &announce(&house.gateway, &house.enrolment, &json!({"name": "till", "base_url": NOWHERE})),
        409,
        "conflict",
    );
    // What stood without it moves when it is set, and back.
    house.gateway = Gateway::restart(house.gateway.kill(), "");
    assert!(
        reaches(&house, &registered, "a", "/orders/v1/x") && !reaches(&house, &registered, "a", "/svc/orders/v1/x")
    );
}

#[test]
fn a_service_can_be_called_by_its_routes_alone() {
    let mut house = House::new();
    let backend = Backend::echo();
    let forbidden = json!({"default_route": false, "policies": {"ip_filter": {"deny": ["127.0.0.0/8"]}}});
    house.declare("orders/v1", &backend.url(), &forbidden);
    house.route("orders", &json!({"path": {"prefix": "/api/orders"}}), "orders/v1");
    let service = house.gateway.admin_ok("GET", "/services/orders/v1", None, 200);
    assert_eq!((&service["path"], &service["default_route"]), (&Value::Null, &json!(false)));
    refused(&house.gateway.call("GET", "/orders/v1/x", &[], b""), 404, "no_route");
    refused(&house.gateway.call("GET", "/api/orders/x", &[], b""), 403, "forbidden");
    // What is wrong with it is told nevertheless.
    let bad = json!({"targets": [{"url": NOWHERE}], "default_route": false, "policies": {"magic": {}}});
    refused(&house.gateway.admin("PUT", "/services/bad/v1", Some(&bad)), 422, "invalid_declaration");
    let bad = json!({"targets": [{"url": NOWHERE}], "default_route": "no"});
    refused(&house.gateway.admin("PUT", "/services/bad/v1", Some(&bad)), 422, "invalid_declaration");
    house.declare("orders/v1", &backend.url(), &json!({"default_route": true}));
    assert!(reaches(&house, &backend, "a", "/orders/v1/x"));
    house.declare("orders/v1", &backend.url(), &json!({}));
    assert!(reaches(&house, &backend, "a", "/orders/v1/x"), "as the node has it");
    let put = house.cli(&["service", "put", "cli/v1", "--target", NOWHERE, "--default-route", "false"]);
    assert_eq!(stdout(&put), format!("cli/v1 by its routes alone -> {NOWHERE}\n"));
    assert!(!stdout(&house.cli(&["route", "list"])).contains("cli/v1"));

    // One that registered itself, too.
    let reply = house.register(&json!({"name": "stock", "base_url": NOWHERE}));
    house.declare("stock/v1", &backend.url(), &json!({"default_route": false}));
    let again = json!({"name": "stock", "base_url": backend.url()});
    let renewed = announce(&house.gateway, &text(&reply, "registration_key"), &again);
    assert_eq!((renewed.status, &renewed.json()["path"]), (200, &Value::Null));
    refused(&house.gateway.call("GET", "/stock/v1/x", &[], b""), 404, "no_route");

    // And as a setting of the node, where a service may say otherwise.
    house.gateway = Gateway::restart(house.gateway.kill(), "default_route = false");
    refused(&house.gateway.call("GET", "/orders/v1/x", &[], b""), 404, "no_route");
    assert!(reaches(&house, &backend, "a", "/api/orders/x"));
    house.declare("orders/v1", &backend.url(), &json!({"default_route": true}));
    assert!(reaches(&house, &backend, "a", "/orders/v1/x"));
    let reply = house.register(&json!({"name": "api", "version": "orders", "base_url": NOWHERE}));
    assert_eq!(reply["path"], Value::Null, "it has no path that could be taken");
}
