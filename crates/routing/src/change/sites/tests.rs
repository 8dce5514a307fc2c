//! Which targets share a place, which declarations are rules, and that the index follows what is declared.

use portcullis_core::model::{Owner, Route, Service};
use serde_json::{Value, json};

use super::*;
use crate::change::{Edit, View};

fn url(text: &str) -> TargetUrl {
    text.parse().expect("a URL")
}

fn shares(one: &str, other: &str) -> bool {
    let held: BTreeSet<String> = TargetSite::of(&url(one)).found_at().collect();
    TargetSite::of(&url(other)).asked_at().any(|place| held.contains(&place))
}

fn id(text: &str) -> ServiceId {
    text.parse().expect("an id")
}

fn put(view: &mut View, name: &str, owner: Owner, service: Value) {
    let service: Service = serde_json::from_value(service).expect("a service");
    view.apply(&Edit::Service(id(name), Some(service)), owner).expect("applied");
}

fn route(view: &mut View, name: &str, route: Option<Value>) {
    let route = route.map(|route| Box::new(serde_json::from_value::<Route>(route).expect("a route")));
    view.apply(&Edit::Route(name.parse().expect("a name"), route), Owner::Api).expect("applied");
}

fn is_guarded(view: &View, text: &str) -> bool {
    view.guarded_target(&"evil".parse().expect("a name"), &url(text)).is_some()
}

#[test]
fn one_place_is_one_however_it_is_written() {
    for (group, others) in [
        (
            &[
                "http://127.0.0.1:8080",
                "http://localhost:8080/",
                "HTTP://LOCALHOST:8080",
                "https://127.0.0.1:8080/a",
                "http://localhost.:8080",
                "http://pay.localhost:8080",
                "http://ip6-localhost:8080",
                "http://127.0.0.1.:8080",
                "http://127.1:8080",
                "http://127.255.0.9:8080/a/b",
                "http://0x7f000001:8080",
                "http://0177.0.0.1:8080",
                "http://2130706433:8080",
                "http://[::1]:8080",
                "http://[0:0:0:0:0:0:0:1]:8080",
                "http://[::ffff:127.0.0.1]:8080",
                "http://[::FFFF:7f00:1]:8080",
                "http://[64:ff9b::7f00:1]:8080",
                "http://0.0.0.0:8080",
                "http://[::]:8080",
            ][..],
            &["http://127.0.0.1:8081", "http://localhost", "http://notlocalhost:8080", "http://10.0.0.1:8080"][..],
        ),
        (
            &[
                "http://10.0.0.7:80",
                "http://10.0.0.7",
                "https://10.0.0.7:80",
                "http://10.0.7",
                "http://0xa.0.0.7/",
                "http://[::ffff:10.0.0.7]",
                "http://[::ffff:a00:7]",
                "http://[2002:a00:7::]",
            ],
            &["http://10.0.0.8", "https://10.0.0.7", "http://10.0.0.7:8080", "http://[2001:db8::7]"],
        ),
        (
            &["http://Pay.Internal", "http://pay.internal.", "https://pay.internal:80", "http://PAY.internal:80/x"],
            &["http://pay.internal:81", "https://pay.internal", "http://xpay.internal", "http://pay"],
        ),
        (&["http://[2001:db8::7]", "http://[2001:0db8:0:0::0007]:80"], &["http://[2001:db8::8]"]),
    ] {
        for one in group {
            for other in group {
                let is_below = |text: &str| text.matches('/').count() > 2 && !text.ends_with('/');
                assert!(shares(one, other) || (is_below(one) && is_below(other)), "{one} {other}");
            }
            for other in others {
                assert!(!shares(one, other) && !shares(other, one), "{one} {other}");
            }
        }
    }
}

#[test]
fn base_paths_share_a_place_if_one_begins_with_the_other() {
    let deep = "/s".repeat(2 * SEGMENTS);
    let deeper = format!("{deep}/t");
    for (one, other, wanted) in [
        ("", "", true),
        ("", "/a", true),
        ("/", "/a/b/c", true),
        ("/a", "/a/b", true),
        ("/a", "/A/", true),
        ("/a", "/%61", true),
        ("/a", "/a;x=1", true),
        ("/a", "/a%3Bx/b", true),
        ("/a/b", "/a%2Fb", true),
        ("/a/b", "/a%5cb", true),
        ("/a", "/b/../a", true),
        ("/a", "/b%2F..%2fa", true),
        ("/a", "//a", true),
        ("/a/*", "/a", true),
        ("/a/*", "/a/b", false),
        ("/a", "/ab", false),
        ("/a", "/b", false),
        ("/a/b", "/a/c", false),
        ("/a/b", "/b", false),
        ("/a/b", "/a/bc", false),
        (deep.as_str(), deeper.as_str(), true),
    ] {
        let (one, other) = (format!("http://h{one}"), format!("http://h{other}"));
        assert_eq!(shares(&one, &other), wanted, "{one} {other}");
        assert_eq!(shares(&other, &one), wanted, "{other} {one}");
    }
}

#[test]
fn rules_are_what_refuses_calls() {
    let limit = json!({"rate": 1, "per": "1h"});
    for (declared, wanted) in [
        (json!({}), false),
        (json!({"require": []}), false),
        (json!({"require": [["bearer", "api_key"]]}), false),
        (json!({"require": [["client_certificate"]]}), true),
        (json!({"require": [["bearer", "client_certificate"]]}), true),
        (json!({"policies": {"acl": {"rules": [{"effect": "allow"}]}}}), true),
        (json!({"policies": {"acl": {"default": "deny"}}}), true),
        (json!({"policies": {"acl": {"default": "allow", "rules": []}}}), false),
        (json!({"policies": {"ip_filter": {"allow": ["10.0.0.0/8"]}}}), true),
        (json!({"policies": {"ip_filter": {"deny": ["10.0.0.0/8"]}}}), true),
        (json!({"policies": {"ip_filter": {}}}), false),
        (json!({"policies": {"throttle": limit}}), true),
        (json!({"policies": {"rate_limit": limit}}), true),
        (json!({"policies": {"rate_limit": [limit]}}), true),
        (json!({"policies": {"rate_limit": []}}), false),
        (json!({"policies": {"request_limits": {"body_bytes": 1_000}}}), true),
        (json!({"policies": {"request_limits": {"body_bytes": 0}}}), false),
        (json!({"policies": {"request_limits": {}}}), false),
        (json!({"policies": {"bearer": {"subject": "client"}}}), true),
        (json!({"policies": {"bearer": {"subject": "any", "query": true}}}), false),
        (json!({"policies": {"cors": {"origins": ["https://a"]}, "headers": {}, "capture": {}}}), false),
    ] {
        let mut service = declared.clone();
        service["targets"] = json!([{"url": "http://h:1/a"}]);
        let mut of_service = View::default();
        put(&mut of_service, "pay/v1", Owner::Api, service);
        assert_eq!(is_guarded(&of_service, "https://h:1"), wanted, "{declared}");
        // A route that has it protects the service it leads to, whichever of the two is there first.
        let mut by_route = declared.clone();
        by_route["match"] = json!({"path": {"prefix": "/pay"}});
        by_route["service"] = json!("pay/v1");
        let open = json!({"targets": [{"url": "http://h:1/a"}], "require": []});
        for route_first in [true, false] {
            let mut view = View::default();
            if route_first {
                route(&mut view, "r", Some(by_route.clone()));
                put(&mut view, "pay/v1", Owner::Api, open.clone());
            } else {
                put(&mut view, "pay/v1", Owner::Api, open.clone());
                route(&mut view, "r", Some(by_route.clone()));
            }
            assert_eq!(is_guarded(&view, "http://h:1/a/b"), wanted, "{declared} of a route");
        }
    }
}

#[test]
fn places_follow_what_is_declared() {
    let limited = |url: &str| json!({"targets": [{"url": url}], "policies": {"throttle": {"rate": 1, "per": "1h"}}});
    let open = |url: &str| json!({"targets": [{"url": url}], "require": []});
    let mut view = View::default();
    put(&mut view, "pay/v1", Owner::Registration, limited("http://h:1"));
    put(&mut view, "pay/v2", Owner::Api, limited("http://h:1/b"));
    put(&mut view, "till/v1", Owner::Api, open("http://h:1"));
    assert!(is_guarded(&view, "http://h:1/a") && !is_guarded(&view, "http://h:2"));
    let own = "pay".parse().expect("a name");
    assert_eq!(view.guarded_target(&own, &url("http://h:1/b")), None, "its own name is nobody else");
    put(&mut view, "pay/v1", Owner::Api, limited("http://h:2"));
    assert!(
        !is_guarded(&view, "http://h:1/a") && is_guarded(&view, "http://h:1/b/c") && is_guarded(&view, "http://h:2")
    );
    put(&mut view, "pay/v1", Owner::Api, open("http://h:2"));
    assert!(!is_guarded(&view, "http://h:2"));
    // Two routes with rules, of which one goes after the other.
    let ruled = |to: &str| json!({"match": {"path": {"prefix": "/p"}}, "service": to, "policies": {"acl": {"default": "deny"}}});
    route(&mut view, "one", Some(ruled("pay/v1")));
    route(&mut view, "two", Some(ruled("pay/v1")));
    assert!(is_guarded(&view, "http://h:2"));
    put(&mut view, "pay/v1", Owner::Api, open("http://h:3"));
    assert!(!is_guarded(&view, "http://h:2") && is_guarded(&view, "http://h:3"));
    route(&mut view, "one", Some(ruled("pay/v1")));
    route(&mut view, "one", Some(ruled("till/v1")));
    assert!(is_guarded(&view, "http://h:3") && is_guarded(&view, "http://h:1/a"));
    route(&mut view, "two", None);
    assert!(!is_guarded(&view, "http://h:3") && is_guarded(&view, "http://h:1/a"));
    view.apply(&Edit::Service(id("till/v1"), None), Owner::Api).expect("applied");
    route(&mut view, "one", None);
    view.apply(&Edit::Service(id("pay/v2"), None), Owner::Api).expect("applied");
    assert!(["1", "1/b", "2", "3"].iter().all(|rest| !is_guarded(&view, &format!("http://h:{rest}"))));
    assert!(view.guarded().at.is_empty() && view.guarded().routes.is_empty());
}

#[test]
fn registered_services_at_guarded_targets_are_told() {
    use crate::change::sharing::SharedTargets;
    let at = |url: &str| json!({"targets": [{"url": url}]});
    let mut view = View::default();
    put(&mut view, "evil/v1", Owner::Registration, at("http://localhost:1/a"));
    put(&mut view, "fine/v1", Owner::Registration, at("http://localhost:2"));
    put(&mut view, "mine/v1", Owner::Api, at("http://localhost:1"));
    assert_eq!(SharedTargets::of(&view), SharedTargets::default());
    let mut limited = at("http://127.0.0.1:1");
    limited["policies"] = json!({"acl": {"default": "deny"}});
    put(&mut view, "pay/v1", Owner::File, limited.clone());
    put(&mut view, "evil/v2", Owner::File, limited);
    let found = SharedTargets::of(&view);
    let told: Vec<_> = found.told.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["registered service 'evil/v1' is at a target of 'pay/v1', past the rules there"]);
    let stored = view.service(&id("evil/v1")).expect("there");
    assert_eq!(SharedTargets::of_service(&view, &id("evil/v1"), &stored.value, stored.owner), ["pay/v1"]);
}

/// Each kind with settings by which it refuses calls; a new one fails here until somebody has asked whether it does.
#[test]
fn every_kind_of_policy_is_a_rule_or_known_to_be_none() {
    // These refuse nothing that a caller past them would get: `require` is looked at by itself, a credential by that.
    let never = [
        "capture",
        "cors",
        "grpc_web",
        "api_key",
        "client_certificate",
        "require",
        "headers",
        "signature",
        "sealed",
        "sign_response",
        "seal_response",
    ];
    let refusing = [
        ("acl", json!({"default": "deny"})),
        ("ip_filter", json!({"deny": ["10.0.0.0/8"]})),
        ("throttle", json!({"rate": 1, "per": "1h"})),
        ("rate_limit", json!({"rate": 1, "per": "1h"})),
        ("request_limits", json!({"body_bytes": 1})),
        ("bearer", json!({"subject": "client"})),
    ];
    for kind in portcullis_policies::KINDS.iter().map(|kind| kind.name) {
        if let Some((_, settings)) = refusing.iter().find(|(name, _)| *name == kind) {
            assert!(refuses(kind, settings), "{kind}");
        } else {
            assert!(never.contains(&kind), "'{kind}' is new: does it refuse calls? Then `refuses` must know it");
        }
    }
}
