//! One change of a good configuration for each rule, and what must be found in it.

use std::process::Command;

use serde_json::{Value, json};

/// A configuration with something wrong.
#[derive(Debug)]
pub(super) struct Case {
    settings: &'static str,
    pub(super) declarations: Value,
    pub(super) expected: Vec<(&'static str, &'static str)>,
}

impl Case {
    /// The file of settings.
    pub(super) fn settings(&self) -> String {
        let usual =
            ["listen = '127.0.0.1:6500'", "public_url = 'https://api.example.com'", "trusted_proxies = ['127.0.0.1']"];
        let key = |line: &str| line.split(' ').next().expect("a key").to_owned();
        let own: Vec<_> = self.settings.lines().map(key).collect();
        let kept = usual.into_iter().filter(|line| !own.contains(&key(line)));
        kept.chain(self.settings.lines()).filter(|line| !line.ends_with("= ")).collect::<Vec<_>>().join("\n")
    }
}

fn good() -> Value {
    let limits = json!({"throttle": {"rate": 10, "per": "1s"}, "rate_limit": {"rate": 10, "per": "1s"}});
    json!({
        "version": 1,
        "services": {"a/v1": {"targets": [{"url": "http://127.0.0.1:1"}], "require": [["bearer", "api_key"]], "policies": limits}},
        "routes": {
            "r": {"match": {"path": {"prefix": "/r"}}, "service": "a/v1"},
            "elsewhere": {"match": {"path": {"prefix": "/e"}}, "service": "b/v1"},
            "moved": {"match": {"path": {"prefix": "/m"}}, "redirect": {"to": "https://example.com/"}},
        },
        "clients": {"c": {"services": ["a"]}, "off": {"services": ["*"], "enabled": false}},
    })
}

/// With this at that place (a JSON pointer) of the declarations.
fn declared(at: &str, value: Value, expected: &[(&'static str, &'static str)]) -> Case {
    let mut declarations = good();
    let (parent, name) = at.rsplit_once('/').expect("a pointer");
    let name = name.replace("~1", "/");
    declarations.pointer_mut(parent).and_then(Value::as_object_mut).expect(at).insert(name, value);
    Case { settings: "", declarations, expected: expected.to_vec() }
}

/// With this policy of the service.
fn policy(kind: &str, value: Value, expected: &[(&'static str, &'static str)]) -> Case {
    declared(&format!("/services/a~1v1/policies/{kind}"), value, expected)
}

/// With these settings.
fn set(settings: &'static str, expected: &[(&'static str, &'static str)]) -> Case {
    Case { settings, declarations: good(), expected: expected.to_vec() }
}

/// A public key as PEM, fresh from openssl.
fn public_key(algorithm: &[&str]) -> String {
    let directory = tempfile::tempdir().expect("a directory");
    let private = directory.path().join("key.pem");
    let made = Command::new("openssl").arg("genpkey").args(algorithm).arg("-out").arg(&private).output();
    assert!(made.expect("openssl runs").status.success());
    let public = Command::new("openssl").args(["pkey", "-pubout", "-in"]).arg(&private).output().expect("openssl runs");
    String::from_utf8(public.stdout).expect("PEM")
}

/// Every case.
pub(super) fn all() -> Vec<Case> {
    let mut cases = callers();
    cases.extend(ways());
    cases.extend(places());
    cases.extend(policies());
    cases.extend(keys());
    cases.extend(settings());
    cases
}

fn callers() -> Vec<Case> {
    let limited = json!({"throttle": {"rate": 1, "per": 1}});
    vec![
        Case { settings: "", declarations: good(), expected: Vec::new() },
        declared("/services/a~1v1/require", json!([]), &[("open-access", "services.a/v1.require")]),
        declared(
            "/routes/r/require",
            json!([]),
            &[("open-access", "routes.r.require"), ("differing-ways", "routes.r")],
        ),
        declared("/routes/elsewhere/require", json!([]), &[("open-access", "routes.elsewhere.require")]),
        declared(
            "/routes/own",
            json!({"match": {"path": {"prefix": "/r"}, "client": "d"}, "service": "a/v1", "require": []}),
            &[("open-to-claims", "routes.own")],
        ),
        // A client that may call the service otherwise as well chooses between the ways.
        declared(
            "/routes/own",
            json!({"match": {"path": {"prefix": "/r"}, "client": "c"}, "service": "a/v1", "require": []}),
            &[("open-to-claims", "routes.own"), ("differing-ways", "routes.own")],
        ),
        declared(
            "/services/b~1v1",
            json!({"targets": [{"url": "http://[::1]:1"}], "require": []}),
            &[("open-without-limit", "services.b/v1.require"), ("open-access", "services.b/v1.require")],
        ),
        declared(
            "/services/b~1v1",
            json!({"targets": [{"url": "http://localhost:1"}], "require": [], "policies": limited}),
            &[("open-access", "services.b/v1.require")],
        ),
        declared(
            "/services/b~1v1",
            json!({"targets": [{"url": "http://127.9.9.9"}]}),
            &[("no-limit", "services.b/v1.policies")],
        ),
        declared(
            "/routes/r/policies",
            json!({"throttle": {"limits": []}, "rate_limit": {"limits": []}}),
            &[("differing-ways", "routes.r"), ("no-limit", "routes.r.policies")],
        ),
        declared(
            "/services/a~1v1/require",
            json!([["api_key"], ["bearer", "api_key"]]),
            &[("optional-credential", "services.a/v1.require[0]")],
        ),
        declared("/services/a~1v1/require", json!([["api_key"], ["bearer"]]), &[]),
        declared("/clients/c/services", json!(["a", "*"]), &[("wildcard-grant", "clients.c.services[1]")]),
        declared(
            "/clients/default",
            json!({"services": ["*"]}),
            &[("wide-default-client", "clients.default.services[0]")],
        ),
    ]
}

/// Two ways to one service, that hold calls to the same or do not.
fn ways() -> Vec<Case> {
    let differs = [("differing-ways", "routes.r")];
    let rules = json!([{"effect": "deny", "path": "/x"}]);
    let others = [
        ("ip_filter", json!({"allow": ["10.0.0.0/8"]})),
        ("throttle", json!({"rate": 9, "per": "1s"})),
        ("request_limits", json!({"body_bytes": 9})),
        ("bearer", json!({"subject": "any"})),
        ("acl", json!({"rules": rules})),
        ("rate_limit", json!({"rate": 9, "per": "1s"})),
    ];
    let of_route = |kind: &str, settings: &Value| {
        let mut policies = json!({});
        policies[kind] = settings.clone();
        policies
    };
    // By the route, and by the service where the route says otherwise.
    let mut cases: Vec<_> = others
        .iter()
        .map(|(kind, settings)| declared("/routes/r/policies", of_route(kind, settings), &differs))
        .collect();
    // Walked around in the settings of the service, and in those of the node.
    for (settings, default_route) in [("", json!(false)), ("default_route = false", Value::Null)] {
        let mut alone = declared("/routes/r/require", json!([["bearer"]]), &[]);
        alone.settings = settings;
        alone.declarations["services"]["a/v1"]["default_route"] = default_route;
        let mut two =
            Case { declarations: alone.declarations.clone(), ..declared("/routes/r/strip", json!(true), &[]) };
        two.settings = settings;
        two.declarations["routes"]["s"] = json!({"match": {"path": {"prefix": "/s"}}, "service": "a/v1"});
        two.expected = vec![("differing-ways", "routes.s")];
        let mut again =
            Case { declarations: two.declarations.clone(), ..declared("/routes/r/strip", json!(true), &[]) };
        again.settings = settings;
        again.declarations["services"]["a/v1"]["default_route"] = json!(true);
        again.expected = differs.to_vec();
        cases.extend([alone, two, again]);
    }
    let elsewhere = json!({"match": {"path": {"prefix": "/f"}}, "service": "b/v1", "require": [["api_key"]]});
    cases.extend([
        // The same in other words.
        declared("/routes/r/require", json!([["api_key", "bearer"]]), &[]),
        declared("/routes/r/policies", json!({"ip_filter": {}, "cors": {"origins": ["https://a.example"]}}), &[]),
        // What is declared elsewhere is not known here.
        declared("/routes/f", elsewhere, &[]),
    ]);
    cases
}

fn places() -> Vec<Case> {
    let target = |url: &str, expected: &[(&'static str, &'static str)]| {
        declared("/services/a~1v1/targets", json!([{"url": "http://127.0.0.1:1"}, {"url": url}]), expected)
    };
    let public = [("plain-http-public-target", "services.a/v1.targets[1].url")];
    let other = [("plain-http-target", "services.a/v1.targets[1].url")];
    vec![
        target("http://1.2.3.4:80", &public),
        target("http://[2600::1]:80", &public),
        target("http://10.0.0.7:80", &other),
        target("http://[fd00::7]:80", &other),
        target("http://orders.internal", &other),
        target("https://1.2.3.4", &[]),
        target("https://orders.internal:8443/base", &[]),
        declared(
            "/clients/c/login_auth_url",
            json!("http://users.internal/login"),
            &[("plain-http-auth-api", "clients.c.login_auth_url")],
        ),
        declared(
            "/clients/c/sms_change_password_url",
            json!("http://10.0.0.7/x?y"),
            &[("plain-http-auth-api", "clients.c.sms_change_password_url")],
        ),
        declared("/clients/c/change_password_url", json!("http://127.0.0.1:8001/password"), &[]),
        declared("/clients/c/login_auth_url", json!("https://users.internal/login"), &[]),
        declared(
            "/routes/moved/redirect",
            json!({"to": "http://example.com/"}),
            &[("plain-http-redirect", "routes.moved.redirect.to")],
        ),
    ]
}

fn policies() -> Vec<Case> {
    let path = "services.a/v1.policies.cors.origins[1]";
    let header = |change: &str, name: &str| json!({"request": {change: {name: "x"}}});
    vec![
        policy("cors", json!({"origins": ["https://a.example", "*"]}), &[("cors-any-origin", path)]),
        policy(
            "cors",
            json!({"origins": ["https://a.example", "https://*.b.example"], "credentials": true}),
            &[("cors-subdomains-with-credentials", path)],
        ),
        policy("cors", json!({"origins": ["https://*.b.example"]}), &[]),
        policy(
            "cors",
            json!({"origins": ["http://localhost:3000", "http://b.example"]}),
            &[("cors-plain-origin", path)],
        ),
        policy("bearer", json!({"query": true}), &[("token-in-query", "services.a/v1.policies.bearer.query")]),
        policy(
            "bearer",
            json!({"forward_credentials": true}),
            &[("forwarded-credentials", "services.a/v1.policies.bearer.forward_credentials")],
        ),
        policy(
            "signature",
            json!({"debug_signatures": true}),
            &[("debug-signatures", "services.a/v1.policies.signature.debug_signatures")],
        ),
        policy("signature", json!({"debug_signatures": false, "stream": true}), &[]),
        policy(
            "headers",
            header("set", "Authorization"),
            &[("credential-in-declarations", "services.a/v1.policies.headers.request.set.Authorization")],
        ),
        policy(
            "headers",
            header("add", "cookie"),
            &[("credential-in-declarations", "services.a/v1.policies.headers.request.add.cookie")],
        ),
        policy("headers", header("set", "X-Tenant"), &[]),
        policy(
            "headers",
            json!({"method_override": "allow"}),
            &[("method-override", "services.a/v1.policies.headers.method_override")],
        ),
        policy("headers", json!({"method_override": "strip"}), &[]),
        policy(
            "ip_filter",
            json!({"allow": ["10.0.0.0/8", "0.0.0.0/0"]}),
            &[("filter-of-everything", "services.a/v1.policies.ip_filter.allow[1]")],
        ),
        policy(
            "request_limits",
            json!({"body_bytes": 0}),
            &[("unlimited-body", "services.a/v1.policies.request_limits.body_bytes")],
        ),
        policy(
            "request_limits",
            json!({"body_bytes": 1_u64 << 31}),
            &[("unlimited-body", "services.a/v1.policies.request_limits.body_bytes")],
        ),
        policy("request_limits", json!({"body_bytes": 1000}), &[]),
        policy(
            "throttle",
            json!({"rate": 1, "per": 1, "key": ["header:X-Device"]}),
            &[("evadable-limit", "services.a/v1.policies.throttle.key")],
        ),
        policy(
            "throttle",
            json!({"limits": [{"rate": 1, "per": 1, "key": ["path"]}, {"name": "b", "rate": 1, "per": 1}]}),
            &[],
        ),
    ]
}

fn keys() -> Vec<Case> {
    let rsa = |bits: &str| public_key(&["-algorithm", "RSA", "-pkeyopt", &format!("rsa_keygen_bits:{bits}")]);
    let (short, long) = (rsa("2048"), rsa("3072"));
    let elliptic = public_key(&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    let key = |pem: &str, algorithm: &str, more: (&str, Value)| {
        let mut key =
            json!({"pem": pem, "algorithm": algorithm, "issuer": "https://i.example", "audience": "a", "kid": "k"});
        key[more.0] = more.1;
        json!({"keys": [key]})
    };
    let none = ("leeway", json!(60));
    let at = "services.a/v1.policies.bearer.keys[0]";
    let leeway = "services.a/v1.policies.bearer.keys[0].leeway";
    vec![
        policy("bearer", key(&long, "RS256", none.clone()), &[]),
        policy("bearer", key(&elliptic, "ES256", none.clone()), &[]),
        policy("bearer", key(&short, "RS256", none), &[("short-rsa-key", at)]),
        policy("bearer", key(&elliptic, "ES256", ("leeway", json!(301))), &[("foreign-key-leeway", leeway)]),
        policy("bearer", key(&elliptic, "ES256", ("audience", json!([]))), &[("foreign-key-without-audience", at)]),
    ]
}

fn settings() -> Vec<Case> {
    let trusted = "trusted_proxies";
    vec![
        set("listen = '0.0.0.0:1'\ntrusted_proxies = []", &[("clear-listener", "listen")]),
        set("listen = '0.0.0.0:1'", &[("listener-beside-proxy", "listen")]),
        set("listen = '0.0.0.0:1'\nproxy_protocol = 'required'", &[]),
        set("trusted_proxies = ['0.0.0.0/0']", &[("trusts-everybody", trusted)]),
        set("trusted_proxies = ['::/0']", &[("trusts-everybody", trusted)]),
        set("trusted_proxies = ['11.0.0.0/8']", &[("trusts-public-network", trusted)]),
        set("trusted_proxies = ['8.0.0.0/5']", &[("trusts-public-network", trusted)]),
        set("trusted_proxies = ['10.0.0.0/8', 'fc00::/7', '203.0.113.0/24']", &[]),
        set(
            "trusted_proxies = ['10.0.0.0/8']\nproxy_protocol = 'optional'",
            &[("optional-proxy-protocol", "proxy_protocol")],
        ),
        set("proxy_protocol = 'optional'", &[]),
        set("allow_targets = ['loopback', '169.254.0.0/16']", &[("metadata-targets", "allow_targets")]),
        set("allow_targets = ['loopback', 'private', 'public', '169.254.1.0/24']", &[]),
        set("public_url = ", &[("no-public-url", "public_url")]),
        set("public_url = 'http://api.example.com'", &[("plain-public-url", "public_url")]),
        set("public_url = 'http://localhost:6500'", &[]),
        set("tokens.access_ttl = '61m'", &[("long-access-token", "tokens.access_ttl")]),
        set("tokens.refresh_ttl = '91d'", &[("long-refresh-token", "tokens.refresh_ttl")]),
        set("tokens.session_ttl = '91d'", &[("long-session", "tokens.session_ttl")]),
        set("tokens.session_ttl = 0", &[("long-session", "tokens.session_ttl")]),
        set("tokens.refresh_grace = '2m'", &[("long-refresh-grace", "tokens.refresh_grace")]),
        set(
            "tokens.access_ttl = '1h'\ntokens.refresh_ttl = '90d'\ntokens.session_ttl = '90d'\ntokens.refresh_grace = '1m'",
            &[],
        ),
        set("timeouts.first_byte = '1h'", &[("slow-callers", "timeouts.first_byte")]),
        set("timeouts.head = '1h'", &[("slow-callers", "timeouts.head")]),
        set("timeouts.body_idle = '1h'", &[("slow-callers", "timeouts.body_idle")]),
        set("timeouts.connect = '2m'", &[("slow-targets", "timeouts.connect")]),
        set("timeouts.upstream_first_byte = '1h'", &[("slow-targets", "timeouts.upstream_first_byte")]),
        set("limits.body_bytes = 0", &[("unlimited-body-of-node", "limits.body_bytes")]),
        set("limits.body_bytes = '2GiB'", &[("unlimited-body-of-node", "limits.body_bytes")]),
        set("limits.header_bytes = '2MiB'", &[("large-heads", "limits.header_bytes")]),
        set("limits.connections_per_peer = 100000", &[("one-peer-takes-all", "limits.connections_per_peer")]),
        set("metrics.access = 'open'", &[("open-metrics", "metrics.access")]),
        set("log.log_queue_bytes = 0", &[("records-lost", "log.log_queue_bytes")]),
        set("log.access_log_keep = 0", &[("records-lost", "log.access_log_keep")]),
    ]
}
