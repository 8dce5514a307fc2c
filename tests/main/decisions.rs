//! Decisions are made on one form of a path and host: no spelling gets a call past a route, a rule or a limit, and what is
//! forwarded is what the caller asked for.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{Answer, Backend, Gateway};

/// What may stand in a path unescaped beside letters, digits and `/` (RFC 3986 section 3.3), but for `;`.
const PCHARS: &str = "-._~!$&'()*+,=:@";

/// Every way to write a character in a path.
fn spellings(character: char) -> [String; 3] {
    let byte = u32::from(character);
    [character.to_string(), format!("%{byte:02x}"), format!("%{byte:02X}")]
}

/// A gateway before an open service `s/v1` with these further fields.
struct Gate {
    gateway: Gateway,
    backend: Backend,
}

impl Gate {
    fn new(fields: &Value) -> Self {
        let gate = Self { gateway: Gateway::with(""), backend: Backend::echo() };
        gate.service("s/v1", fields);
        gate
    }

    fn service(&self, name: &str, fields: &Value) {
        let mut service = json!({"targets": [{"url": self.backend.url()}], "require": []});
        let members = service.as_object_mut().expect("an object");
        members.extend(fields.as_object().expect("an object").clone());
        let put = self.gateway.admin("PUT", &format!("/services/{name}"), Some(&service));
        assert!(put.status < 300, "{}", put.text());
    }

    fn route(&self, name: &str, matches: &Value, fields: &Value) {
        let mut route = json!({"match": matches, "service": "s/v1"});
        let members = route.as_object_mut().expect("an object");
        members.extend(fields.as_object().expect("an object").clone());
        if members.contains_key("answer") {
            members.remove("service");
        }
        let put = self.gateway.admin("PUT", &format!("/routes/{name}"), Some(&route));
        assert!(put.status < 300, "{}", put.text());
    }

    fn get(&self, target: &str) -> Answer {
        self.gateway.call("GET", target, &[], b"")
    }

    fn at(&self, host: &str, target: &str) -> Answer {
        self.gateway.call("GET", target, &[("Host", host)], b"")
    }

    /// The target that the service got, last.
    fn forwarded(&self) -> String {
        self.backend.received().last().expect("a call").target.clone()
    }
}

/// 400 with its code, or the status alone.
fn said(answer: &Answer) -> String {
    if answer.status == 400 { answer.code() } else { answer.status.to_string() }
}

#[test]
fn every_spelling_of_a_character_is_one_path_to_routes_and_rules() {
    let gate = Gate::new(&json!({}));
    gate.route("all", &json!({"path": {"prefix": "/"}}), &json!({"strip": true}));
    let rules: Vec<Value> =
        PCHARS.chars().map(|character| json!({"path": format!("/r{character}x"), "effect": "deny"})).collect();
    gate.service("s/v1", &json!({"policies": {"acl": {"rules": rules}}}));
    for (at, character) in PCHARS.chars().enumerate() {
        let answer = json!({"answer": {"status": 418}});
        gate.route(&format!("exact-{at}"), &json!({"path": {"exact": format!("/e{character}x")}}), &answer);
        gate.route(&format!("below-{at}"), &json!({"path": {"prefix": format!("/p{character}x")}}), &answer);
        gate.route(&format!("under-{at}"), &json!({"path": {"pattern": format!("/{{a}}/q{character}x/*")}}), &answer);
        for spelling in spellings(character) {
            for (path, want) in [
                (format!("/e{spelling}x"), 418),
                (format!("/e{spelling}x/"), 418),
                (format!("/p{spelling}x/7"), 418),
                (format!("/z/q{spelling}x/7"), 418),
                (format!("/s/v1/r{spelling}x/7"), 403),
                (format!("/s/v1/y{spelling}x"), 200),
            ] {
                assert_eq!(gate.get(&path).status, want, "{path}");
            }
            // The service gets it as it was written, but for what is never escaped.
            let kept = if "-._~".contains(character) { character.to_string() } else { spelling.to_ascii_uppercase() };
            assert_eq!(gate.forwarded(), format!("/y{kept}x"));
        }
    }
}

#[test]
fn a_declared_path_is_met_however_it_was_declared() {
    let gate = Gate::new(&json!({"policies": {"acl": {"rules": [
        {"path": "/keys%3Apurge", "effect": "deny"}, {"path": "^/users/%40me$", "effect": "deny"},
    ]}}}));
    gate.route("me", &json!({"path": {"exact": "/users/%40me"}}), &json!({"answer": {"status": 418}}));
    for path in ["/users/@me", "/users/%40me"] {
        assert_eq!(gate.get(path).status, 418, "{path}");
        assert_eq!(gate.get(&format!("/s/v1{path}")).status, 403, "{path}");
    }
    for path in ["/s/v1/keys:purge", "/s/v1/keys%3apurge/x"] {
        assert_eq!(gate.get(path).status, 403, "{path}");
    }
}

#[test]
fn parameters_and_encoded_slashes_are_refused_until_a_route_takes_them() {
    let gate = Gate::new(&json!({}));
    gate.route("all", &json!({"path": {"prefix": "/"}}), &json!({}));
    gate.route("admin", &json!({"path": {"prefix": "/admin"}}), &json!({"require": [["api_key"]]}));
    gate.route("internal", &json!({"path": {"prefix": "/internal"}}), &json!({"answer": {"status": 403}}));
    for path in [
        "/admin;a=1/x",
        "/admin%3Ba=1/x",
        "/;/admin/x",
        "/%3b/admin/x",
        "/internal;x/y",
        "/internal%3bx/y",
        "/s/v1/x;y",
        "/s/v1/x;y/../z",
        "/nowhere;x",
        "/-/health;x",
    ] {
        assert_eq!(said(&gate.get(path)), "path_parameters", "{path}");
    }
    for path in ["/admin%2Fx", "/s/v1/a%2fb", "/-%2Fhealth", "/internal%2F"] {
        assert_eq!(said(&gate.get(path)), "encoded_slash", "{path}");
    }
    assert_eq!(gate.backend.connections(), 0);
}

#[test]
fn kept_parameters_lead_nowhere_else_and_are_forwarded_as_sent() {
    let gate = Gate::new(&json!({
        "path_parameters": "keep", "policies": {"acl": {"rules": [{"path": "/secret", "effect": "deny"}]}},
    }));
    gate.route("all", &json!({"path": {"prefix": "/"}}), &json!({"strip": true}));
    gate.route("admin", &json!({"path": {"prefix": "/admin"}}), &json!({"require": [["api_key"]], "strip": true}));
    gate.route("internal", &json!({"path": {"prefix": "/internal"}}), &json!({"answer": {"status": 403}}));
    gate.route("strict", &json!({"path": {"prefix": "/strict"}}), &json!({"path_parameters": "refuse", "strip": true}));
    for (path, want) in [
        ("/a;b=1/c", "200"),
        ("/a%3Bb", "200"),
        ("/s/v1/x;y/z", "200"),
        ("/s/v1/secret/x;y", "403"),
        ("/admin/x;y", "401"),
        ("/admin;a=1/x", "path_parameters"),
        ("/admin%3Ba/x", "path_parameters"),
        ("/;/admin/x", "path_parameters"),
        ("/;x;y/admin", "path_parameters"),
        ("/%3B/admin/x", "path_parameters"),
        ("/internal;x/y", "path_parameters"),
        ("/internal/x;y", "path_parameters"),
        ("/s/v1/secret;x", "path_parameters"),
        ("/s/v1/secret%3bx", "path_parameters"),
        ("/s/v1/;/secret", "path_parameters"),
        ("/s;x/v1/y", "path_parameters"),
        ("/strict/x;y", "path_parameters"),
        ("/x/..;/admin", "dot_segment_parameter"),
        ("/x/%2e%2e%3b/admin", "dot_segment_parameter"),
    ] {
        let before = gate.backend.received().len();
        assert_eq!(said(&gate.get(path)), want, "{path}");
        let received = gate.backend.received().split_off(before);
        let targets: Vec<_> = received.iter().map(|request| request.target.as_str()).collect();
        let expected = if want == "200" { vec![path.strip_prefix("/s/v1").unwrap_or(path)] } else { vec![] };
        assert_eq!(targets, expected, "{path}");
    }
}

#[test]
fn a_kept_encoded_slash_separates_nothing() {
    let gate = Gate::new(&json!({"encoded_slash": "keep"}));
    let project = json!({"path": {"pattern": "/projects/{id}/files/*"}});
    gate.route("project", &project, &json!({"rewrite": "/p/{id}/{rest}"}));
    gate.route("scope", &json!({"path": {"exact": "/@acme%2Ftool"}}), &json!({"rewrite": "/tool"}));
    for (path, want) in [
        ("/s/v1/@acme%2ftool", "/@acme%2Ftool"),
        ("/s/v1/%40acme%2Ftool", "/%40acme%2Ftool"),
        ("/projects/a%2Fb/files/c%2Fd", "/p/a%2Fb/c%2Fd"),
        ("/%40acme%2ftool", "/tool"),
    ] {
        assert_eq!(gate.get(path).status, 200, "{path}");
        assert_eq!(gate.forwarded(), want);
    }
    for (path, want) in [
        ("/s%2Fv1/x", "encoded_slash"),
        ("/projects/a%2Fb%2Ffiles/c", "encoded_slash"),
        ("/s/v1/x%2F..%2Fy", "encoded_slash"),
        ("/s/v1/..%2fy", "encoded_slash"),
        ("/s/v1/a%5Cb", "backslash_in_path"),
    ] {
        assert_eq!(said(&gate.get(path)), want, "{path}");
    }
}

#[test]
fn without_regard_to_case_no_spelling_leads_elsewhere() {
    let gate = Gate::new(&json!({
        "case_insensitive": true, "policies": {"acl": {"rules": [{"path": "/Secret", "effect": "deny"}]}},
    }));
    gate.route("all", &json!({"path": {"prefix": "/"}}), &json!({"case_insensitive": false, "strip": true}));
    let admin = json!({"require": [["api_key"]], "strip": true});
    gate.route("admin", &json!({"path": {"prefix": "/Admin"}}), &admin);
    let answer = json!({"answer": {"status": 418}});
    gate.route("exact", &json!({"path": {"exact": "/TokensX"}}), &answer);
    gate.route("keys", &json!({"path": {"prefix": "/s/v1/keys"}}), &answer);
    for (path, want) in [
        // A route that regards case has its path alone; in another case the service would read the same.
        ("/s/v1/keys/x", "418"),
        ("/s/v1/KEYS/x", "doubtful_case"),
        ("/S/v1/keys", "doubtful_case"),
        ("/S/v1/other", "200"),
        ("/admin/x", "401"),
        ("/ADMIN", "401"),
        ("/%61dMiN/x", "401"),
        ("/S/V1/x", "200"),
        ("/s/v1/SECRET/x", "403"),
        ("/S/v1/secret", "403"),
        ("/adm%C4%B1n/x", "doubtful_case"),
        ("/s/v1/%C5%BFecret", "doubtful_case"),
        ("/tokensx", "200"),
        ("/TokensX", "418"),
    ] {
        assert_eq!(said(&gate.get(path)), want, "{path}");
    }
    assert_eq!(gate.get("/S/v1/MiXed").status, 200);
    assert_eq!(gate.forwarded(), "/MiXed");
}

/// Every spelling of a segment in another case, with and without parameters, against routes and rules below a service that
/// takes all of these.
#[test]
fn no_case_of_a_path_with_parameters_leads_elsewhere() {
    let options = json!({
        "case_insensitive": true, "path_parameters": "keep", "policies": {"acl": {"rules": [{"path": "/secret", "effect": "deny"}]}},
    });
    let gate = Gate::new(&options);
    let strict = json!({"case_insensitive": false, "require": [["api_key"]], "strip": true});
    gate.route("strict", &json!({"path": {"prefix": "/s/v1/admin"}}), &strict);
    let keeping =
        json!({"case_insensitive": false, "path_parameters": "keep", "require": [["api_key"]], "strip": true});
    gate.route("keeping", &json!({"path": {"prefix": "/s/v1/staff"}}), &keeping);
    gate.route("answer", &json!({"path": {"prefix": "/s/v1/gone"}}), &json!({"answer": {"status": 418}}));
    // With capitals, which the path in lower case is not.
    gate.route("capital", &json!({"path": {"prefix": "/s/v1/Internal"}}), &json!({"answer": {"status": 418}}));
    gate.route("capitals", &json!({"path": {"pattern": "/s/v1/{id}/KEYS/*"}}), &strict);
    gate.route("letter", &json!({"path": {"prefix": "/s/v1/%C3%9Cber"}}), &strict);
    let debug = json!({"path": {"prefix": "/s/v1/dbg"}, "headers": {"X-Debug": "*"}});
    gate.route("debug", &debug, &strict);
    let parameters = ["", ";", ";x=1", "%3B", "%3bx", "%3B%41;b"];
    for segment in ["admin", "staff", "gone", "secret", "dbg"] {
        let capital = format!("{}{}", segment[..1].to_ascii_uppercase(), &segment[1..]);
        let escaped = format!("%{:02x}{}", segment.as_bytes()[0] & 0xDF, &segment[1..]);
        for spelling in [segment.to_owned(), capital, segment.to_ascii_uppercase(), escaped] {
            for parameters in parameters {
                for tail in ["", "/", "/users", "/USERS;y"] {
                    let before = gate.backend.received().len();
                    let path = format!("/s/v1/{spelling}{parameters}{tail}");
                    let answer = gate.gateway.call("GET", &path, &[("X_Debug", "1")], b"");
                    let said = answer.status;
                    assert!(matches!(said, 400 | 401 | 403 | 418), "{path}: {said}");
                    assert_eq!(gate.backend.received().len(), before, "{path}");
                }
            }
        }
    }
    for path in [
        "/s/v1/internal",
        "/s/v1/INTERNAL/x",
        "/s/v1/internal;x",
        "/S/V1/iNTERNAL",
        "/s/v1/7/keys",
        "/s/v1/7/Keys/x",
        "/S/v1/x;y/keys",
        "/s/v1/%C3%BCber",
        "/s/v1/%C3%BCBER/x",
    ] {
        assert_eq!(said(&gate.get(path)), "doubtful_case", "{path}");
    }
    for (path, want) in [("/s/v1/Internal/x", "418"), ("/s/v1/7/KEYS/x", "401"), ("/s/v1/%C3%9Cber", "401")] {
        assert_eq!(said(&gate.get(path)), want, "{path}");
    }
    for path in ["/s/v1/Other;x=1", "/S/V1/other%3Bx", "/s/v1/dbg;x"] {
        assert_eq!(gate.get(path).status, 200, "{path}");
    }
    for letter in ["%C3%9F", "%EF%AC%81", "%CF%82", "%C4%B0"] {
        assert_eq!(said(&gate.get(&format!("/s/v1/x{letter}y;z"))), "doubtful_case", "{letter}");
    }
}

/// A service may read the first of several values, the last, or all.
#[test]
fn a_condition_is_not_met_by_one_of_several_values() {
    let gate = Gate::new(&json!({"require": [["api_key"]]}));
    let listing = json!({"path": {"prefix": "/s/v1"}, "methods": ["GET"], "query": {"action": "list"}});
    gate.route("listing", &listing, &json!({"require": [], "strip": true}));
    let debug = json!({"path": {"prefix": "/s/v1"}, "headers": {"X-Action": "list"}});
    gate.route("field", &debug, &json!({"require": [], "strip": true}));
    for (query, want) in [
        ("action=list", "200"),
        ("action=list&action=list&a=b", "200"),
        ("action=delete", "401"),
        ("action=list&action=delete", "several_values"),
        ("action=delete&action=list", "several_values"),
        ("%61ction=delete&action=l%69st", "several_values"),
        ("action&action=list", "several_values"),
        ("action=delete&action=drop", "401"),
    ] {
        assert_eq!(said(&gate.get(&format!("/s/v1/x?{query}"))), want, "{query}");
    }
    for (values, want) in [
        (&["list"][..], "200"),
        (&["list", "list"], "200"),
        (&["delete", "list"], "several_values"),
        (&["list", "delete"], "several_values"),
        (&["list,delete"], "401"),
    ] {
        let fields: Vec<_> = values.iter().map(|value| ("X-Action", *value)).collect();
        assert_eq!(said(&gate.gateway.call("GET", "/s/v1/x", &fields, b"")), want, "{values:?}");
    }
}

#[test]
fn a_route_for_the_own_path_of_a_service_takes_its_calls() {
    let gate = Gate::new(&json!({}));
    assert_eq!(gate.get("/s/v1/x").status, 200);
    for (name, matches) in [
        ("a", json!({"path": {"prefix": "/s/v1"}})),
        ("z", json!({"path": {"prefix": "/s/v1/"}})),
        ("p", json!({"path": {"pattern": "/s/v1/*"}})),
    ] {
        for folded in [false, true] {
            let answer = json!({"answer": {"status": 418}, "case_insensitive": folded});
            gate.route(name, &matches, &answer);
            // Declared again, the service stands behind it still.
            for _ in 0..2 {
                assert_eq!(gate.get("/s/v1/x").status, 418, "{name} {folded}");
                gate.service("s/v1", &json!({}));
            }
            gate.gateway.admin_ok("DELETE", &format!("/routes/{name}"), None, 204);
            assert_eq!(gate.get("/s/v1/x").status, 200);
        }
    }
}

#[test]
fn controls_and_false_utf8_are_refused_and_other_bytes_match_nothing() {
    let gate = Gate::new(&json!({}));
    for byte in (0..=0x1F).chain([0x7F]) {
        let want = if byte == 0 { "nul_in_path" } else { "control_in_path" };
        assert_eq!(said(&gate.get(&format!("/s/v1/a%{byte:02x}b"))), want, "{byte}");
    }
    for path in ["%c0%af", "%C0%AE%C0%AE", "%e0%80%af", "%f0%80%80%af", "%ED%A0%80"] {
        assert_eq!(said(&gate.get(&format!("/s/v1/{path}"))), "bad_utf8", "{path}");
    }
    assert_eq!(gate.get("/s/v1/%E9%ff").status, 200);
    assert_eq!(gate.forwarded(), "/%E9%FF");
    for path in ["/caf%E9", "/a;b", "/a%2Fb", "/a%0Ab"] {
        let route = json!({"match": {"path": {"exact": path}}, "service": "s/v1"});
        let put = gate.gateway.admin("PUT", "/routes/bad", Some(&route));
        assert_eq!((put.status, put.json()["problems"][0]["path"].as_str()), (422, Some("match.path.exact")), "{path}");
    }
}

#[test]
fn a_host_is_found_in_every_spelling_and_with_any_number_of_labels() {
    let gate = Gate::new(&json!({}));
    gate.route("any", &json!({"path": {"prefix": "/"}}), &json!({}));
    let answers = |status: u16| json!({"answer": {"status": status}});
    gate.route("exact", &json!({"hosts": ["admin.example.com"], "path": {"prefix": "/"}}), &answers(410));
    gate.route("dotted", &json!({"hosts": ["API.example.com."], "path": {"prefix": "/"}}), &answers(411));
    gate.route("wild", &json!({"hosts": ["*.corp.example.com"], "path": {"prefix": "/"}}), &answers(412));
    gate.route("nearer", &json!({"hosts": ["*.t.corp.example.com."], "path": {"prefix": "/"}}), &answers(413));
    gate.route("six", &json!({"hosts": ["[2001:db8:0:0::1]"], "path": {"prefix": "/"}}), &answers(414));
    let labels = |count: usize| format!("{}corp.example.com", "a.".repeat(count));
    let mut hosts: BTreeMap<String, &str> = BTreeMap::new();
    for count in 1..=118 {
        hosts.insert(labels(count), "412");
    }
    for (host, want) in [
        ("admin.example.com", "410"),
        ("ADMIN.Example.com.", "410"),
        ("admin.example.com:", "410"),
        ("admin.example.com.:6500", "410"),
        ("api.example.com", "411"),
        ("api.example.com.:80", "411"),
        ("corp.example.com", "200"),
        ("t.corp.example.com", "412"),
        ("a.t.corp.example.com", "413"),
        ("a.b.c.d.e.f.g.h.i.j.k.t.corp.example.com.", "413"),
        ("[2001:DB8::1]", "414"),
        ("[2001:db8:0000::0001]:80", "414"),
        ("a..t.corp.example.com", "bad_host"),
        (".corp.example.com", "bad_host"),
        ("..corp.example.com", "bad_host"),
        ("admin.example.com..", "bad_host"),
        (".", "bad_host"),
        ("a.corp.example.com:x", "bad_host"),
    ] {
        hosts.insert(host.to_owned(), want);
    }
    hosts.insert(labels(119), "bad_host");
    for (host, want) in &hosts {
        assert_eq!(said(&gate.at(host, "/x")), *want, "{host}");
    }
    // A wildcard that is gone is gone for all of them.
    gate.gateway.admin_ok("DELETE", "/routes/wild", None, 204);
    assert_eq!(gate.at(&labels(9), "/x").status, 200);
    assert_eq!(gate.at("a.t.corp.example.com", "/x").status, 413);
}

#[test]
fn get_stands_for_head_on_routes() {
    let gate = Gate::new(&json!({}));
    gate.route("all", &json!({"path": {"prefix": "/a"}}), &json!({"answer": {"status": 410}}));
    gate.route("get", &json!({"path": {"prefix": "/a"}, "methods": ["GET"]}), &json!({"answer": {"status": 411}}));
    gate.route("alone", &json!({"path": {"prefix": "/b"}, "methods": ["GET"]}), &json!({"answer": {"status": 412}}));
    gate.route("own", &json!({"path": {"prefix": "/b"}, "methods": ["HEAD"]}), &json!({"answer": {"status": 413}}));
    for (method, path, want) in [
        ("GET", "/a", 411),
        ("HEAD", "/a", 411),
        ("POST", "/a", 410),
        ("GET", "/b", 412),
        ("HEAD", "/b", 413),
        ("POST", "/b", 404),
    ] {
        assert_eq!(gate.gateway.call(method, path, &[], b"").status, want, "{method} {path}");
    }
}

#[test]
fn query_conditions_see_what_the_service_reads() {
    let gate = Gate::new(&json!({}));
    gate.route("all", &json!({"path": {"prefix": "/a"}}), &json!({}));
    let debug = json!({"path": {"prefix": "/a"}, "query": {"debug": "a b"}});
    gate.route("debug", &debug, &json!({"answer": {"status": 403}}));
    for (query, want) in [
        ("debug=a+b", 403),
        ("%64ebug=a%20b", 403),
        ("x=1&debu%67=%61+b", 403),
        // The service may read the second.
        ("x=1&debu%67=%61+b&debug=2", 400),
        ("debug=a%2Bb", 200),
        ("debug", 200),
    ] {
        assert_eq!(gate.get(&format!("/a?{query}")).status, want, "{query}");
    }
}

/// What a browser asks before it makes a call from another origin.
fn preflight(gate: &Gate, path: &str, method: &str, fields: Option<&str>) -> Answer {
    let mut headers = vec![("Origin", "https://app.example"), ("Access-Control-Request-Method", method)];
    headers.extend(fields.map(|fields| ("Access-Control-Request-Headers", fields)));
    gate.gateway.call("OPTIONS", path, &headers, b"")
}

#[test]
fn a_preflight_takes_the_route_of_the_call_that_it_announces() {
    let gate = Gate::new(&json!({"policies": {"cors": {"origins": ["https://app.example"], "headers": ["x-beta"]}}}));
    gate.service("o/v1", &json!({"policies": {"cors": {"origins": ["https://other.example"]}}}));
    gate.service("plain/v1", &json!({}));
    gate.route("methods", &json!({"path": {"prefix": "/m"}, "methods": ["GET", "POST"]}), &json!({}));
    gate.route("headers", &json!({"path": {"prefix": "/h"}, "headers": {"X-Beta": "*"}}), &json!({}));
    gate.route("value", &json!({"path": {"prefix": "/v"}, "headers": {"X-Beta": "1"}}), &json!({}));
    gate.route("rest", &json!({"path": {"prefix": "/p"}}), &json!({"service": "o/v1"}));
    gate.route("post", &json!({"path": {"prefix": "/p"}, "methods": ["POST"]}), &json!({}));
    gate.route("no-cors", &json!({"path": {"prefix": "/n"}, "methods": ["GET"]}), &json!({"service": "plain/v1"}));
    for (path, method, fields, want) in [
        ("/m", "GET", None, 204),
        ("/m", "HEAD", None, 204),
        ("/m", "POST", None, 204),
        ("/m", "PUT", None, 404),
        ("/h", "GET", Some("x-beta"), 204),
        ("/h", "GET", Some("x-other, X-BETA"), 204),
        ("/h", "GET", Some("x-other"), 404),
        ("/h", "GET", None, 404),
        ("/v", "GET", Some("x-beta"), 204),
        ("/p", "POST", None, 204),
        ("/p", "GET", None, 403),
        // Nothing answers preflights there, and the route takes no OPTIONS.
        ("/n", "GET", None, 404),
        ("/n", "a b", None, 404),
    ] {
        assert_eq!(preflight(&gate, path, method, fields).status, want, "{path} {method} {fields:?}");
    }
    assert_eq!(gate.backend.connections(), 0);
    // What is no preflight goes by its own method.
    assert_eq!(gate.gateway.call("OPTIONS", "/m", &[], b"").status, 404);
    let question = json!({"method": "OPTIONS", "url": "/p", "headers": [
        ["Origin", "https://app.example"], ["Access-Control-Request-Method", "POST"],
    ]});
    let told = gate.gateway.admin_ok("POST", "/explain", Some(&question), 200);
    assert_eq!((&told["route"]["name"], &told["request"]["preflight_for"]), (&json!("post"), &json!("POST")));
    assert_eq!(told["outcome"]["status"], 204);
}

#[test]
fn no_way_to_a_service_has_limits_of_its_own_unless_it_says_so() {
    let limit = |rate: u32| json!({"rate_limit": {"rate": rate, "per": "1h", "key": ["address"]}});
    let gate = Gate::new(&json!({"policies": limit(3)}));
    for name in ["one", "two"] {
        gate.route(name, &json!({"path": {"prefix": format!("/{name}")}}), &json!({"strip": true}));
    }
    gate.route("own", &json!({"path": {"prefix": "/own"}}), &json!({"policies": limit(1)}));
    for (path, want) in [
        ("/one/x", 200),
        ("/two/x", 200),
        ("/s/v1/x", 200),
        ("/one/x", 429),
        ("/two/x", 429),
        ("/s/v1/x", 429),
        ("/own/x", 200),
        ("/own/x", 429),
    ] {
        assert_eq!(gate.get(path).status, want, "{path}");
    }
    // A route that is named anew has nothing left either.
    gate.route("three", &json!({"path": {"prefix": "/three"}}), &json!({}));
    assert_eq!(gate.get("/three/x").status, 429);
}

#[test]
fn no_spelling_of_a_path_is_counted_apart() {
    let limit = json!({"rate_limit": {"rate": 1, "per": "1h", "burst": 1, "key": ["path"]}});
    let gate = Gate::new(&json!({"path_parameters": "keep", "case_insensitive": true, "policies": limit}));
    assert_eq!(gate.get("/s/v1/a:b").status, 200);
    for path in
        ["/s/v1/a:b", "/s/v1/a%3Ab", "/s/v1/%61:b/", "/s/v1/A:B", "/s/v1/a:b;x", "/s/v1/a%3ab;y=2/", "/s/v1//a:b%3b"]
    {
        assert_eq!(gate.get(path).status, 429, "{path}");
    }
    assert_eq!(gate.get("/s/v1/a:c").status, 200);
}
