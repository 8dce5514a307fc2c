//! What a call must show to reach its service, what it is refused otherwise, and what the service sees of it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::client::{connect, read_answer};
use crate::support::issuer::{Issuer, compact, now};
use crate::support::scene::{PASSWORD, call_as, client, enrol, log_in, register, text, until};
use crate::support::{Answer, Backend, Scene};

/// Somebody else who issues tokens.
const ELSEWHERE: &str = "https://id.example";

fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "{}", answer.text());
}

impl Scene {
    /// Declares `orders/v1` with these requirements and policies.
    fn protect(&self, require: &Value, policies: &Value) {
        let targets = json!([{"url": self.backend.url()}]);
        self.declare(&json!({"targets": targets, "require": require, "policies": policies}));
    }

    /// Declares `orders/v1` behind bearer tokens alone, with these settings.
    fn behind_bearer(&self, settings: &Value) {
        self.protect(&json!([["bearer"]]), &json!({"bearer": settings}));
    }

    /// Calls with these fields.
    fn with(&self, headers: &[(&str, &str)]) -> Answer {
        self.gateway.call("GET", "/orders/v1/x", headers, b"")
    }

    fn with_bearer(&self, token: &str) -> Answer {
        self.with(&[("Authorization", &format!("Bearer {token}"))])
    }

    /// How many calls the service has got.
    fn came_through(&self) -> usize {
        self.backend.received().len()
    }
}

#[test]
fn a_missing_credential_is_named() {
    let scene = Scene::new();
    let bearer = format!("Bearer {}", scene.token);
    let (token, key) = (("Authorization", bearer.as_str()), ("X-API-Key", scene.api_key.as_str()));
    for (headers, named, scheme) in [
        (vec![key], "Authorization", "Bearer "),
        (vec![token], "X-API-Key", "ApiKey "),
        (vec![key, ("Authorization", "Basic YTpi")], "Authorization", "Bearer "),
        (vec![], "Authorization", "Bearer "),
    ] {
        let answer = scene.with(&headers);
        refused(&answer, 401, "missing_credential");
        assert!(text(&answer.json(), "detail").contains(named), "{named} in {}", answer.text());
        let challenge = answer.header("www-authenticate").expect("a challenge");
        assert!(challenge.starts_with(scheme), "{challenge}");
        assert!(!challenge.contains("error="), "RFC 6750 section 3.1: no error where nothing was shown");
        let id = text(&answer.json(), "request_id");
        let record = scene.gateway.record("status=401", |record| record["request_id"] == id.as_str());
        assert_eq!((&record["service"], &record["version"]), (&json!("orders"), &json!("v1")));
        assert_eq!((&record["refusal"], &record["target"]), (&json!("missing_credential"), &Value::Null));
    }
    assert_eq!(scene.backend.connections(), 0);
    // Where there is no route, nobody looks at credentials.
    for headers in [vec![], vec![token, key], vec![("X-API-Key", "wrong")]] {
        for path in ["/nothing/v1/x", "/orders/v2/x", "/orders", "/", "/ordersx/v1", "/orders/v1x"] {
            let answer = scene.gateway.call("GET", path, &headers, b"");
            refused(&answer, 404, "no_route");
            assert!(answer.header("www-authenticate").is_none());
        }
    }
}

#[test]
fn a_wrong_credential_is_refused() {
    let scene = Scene::new();
    let bearer = format!("Bearer {}", scene.token);
    let token = ("Authorization", bearer.as_str());
    let shorter = &scene.api_key[..scene.api_key.len() - 1];
    for key in ["wrong", "", shorter, &format!("{}0", scene.api_key), &scene.api_key.to_uppercase(), &"x".repeat(9000)]
    {
        let answer = scene.with(&[token, ("X-API-Key", key)]);
        refused(&answer, 401, "invalid_credential");
        assert!(answer.header("www-authenticate").is_some_and(|value| value.starts_with("ApiKey ")));
        assert!(key.len() < 2 || !answer.text().contains(key), "it is not repeated");
    }
    for second in [scene.api_key.as_str(), "wrong"] {
        let answer = scene.with(&[token, ("X-API-Key", &scene.api_key), ("X-API-Key", second)]);
        refused(&answer, 401, "invalid_credential");
    }
    for value in ["Bearer wrong", "Bearer ", "bearer x.y.z", &format!("Bearer {} x", scene.token)] {
        let answer = scene.with(&[("Authorization", value), ("X-API-Key", &scene.api_key)]);
        assert_eq!(answer.status, 401, "{value}");
        assert!(answer.header("www-authenticate").is_some_and(|value| value.starts_with("Bearer ")));
    }
    let twice = [token, ("Authorization", "Bearer other"), ("X-API-Key", &scene.api_key)];
    refused(&scene.with(&twice), 401, "invalid_credential");
    assert_eq!(scene.backend.connections(), 0);
    // The scheme's name is read in any case (RFC 9110 section 11.1).
    for scheme in ["bearer", "BEARER"] {
        let value = format!("{scheme} {}", scene.token);
        assert_eq!(scene.with(&[("authorization", &value), ("x-api-key", &scene.api_key)]).status, 200);
    }
}

#[test]
fn a_client_calls_what_it_is_granted() {
    let scene = Scene::new();
    for (number, (services, status)) in [
        (vec!["orders/v1"], 200),
        (vec!["orders"], 200),
        (vec!["orders/*"], 200),
        (vec!["*"], 200),
        (vec!["stock", "orders/v1"], 200),
        (vec!["orders/v2"], 403),
        (vec!["order", "orders2", "Orders"], 403),
        (vec![], 403),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("client-{number}");
        let key = client(&scene.gateway, &name, &services);
        let before = scene.came_through();
        let answer = call_as(&scene.gateway, "/orders/v1/x", &scene.token, &key);
        assert_eq!(answer.status, status, "{services:?}");
        assert_eq!(scene.came_through() - before, usize::from(status == 200), "{services:?}");
        if status == 403 {
            assert_eq!(answer.code(), "forbidden");
            assert!(answer.header("www-authenticate").is_none());
            let record = scene.gateway.record(&format!("client={name}"), |_| true);
            assert_eq!((&record["refusal"], &record["user"]), (&json!("forbidden"), &json!("ada")));
        }
    }
}

#[test]
fn a_change_of_a_client_counts_at_once() {
    let scene = Scene::new();
    let status = || call_as(&scene.gateway, "/orders/v1/x", &scene.token, &scene.api_key).status;
    let change = |body: Value| {
        scene.gateway.admin_ok("PUT", "/clients/shop", Some(&body), 200);
    };
    assert_eq!(status(), 200);
    change(json!({"services": ["stock"]}));
    assert_eq!(status(), 403);
    change(json!({"services": ["orders"]}));
    assert_eq!(status(), 200);
    change(json!({"services": ["*"], "enabled": false}));
    assert_eq!(status(), 401, "a client that is off is like an unknown one");
    change(json!({"services": ["*"]}));
    assert_eq!(status(), 401, "and stays off until it is put on");
    change(json!({"services": ["*"], "enabled": true}));
    assert_eq!(status(), 200);
    let keys = scene.gateway.admin_ok("GET", "/clients/shop/api-keys", None, 200);
    let id = text(&keys["items"][0], "id");
    scene.gateway.admin_ok("DELETE", &format!("/clients/shop/api-keys/{id}"), None, 204);
    assert_eq!(status(), 401);
}

#[test]
fn the_built_in_client_calls_everything_until_it_is_narrowed() {
    let scene = Scene::new();
    let stock = Backend::echo();
    let own = text(&register(&scene.gateway, "stock", &stock.url()), "api_key");
    assert_eq!(call_as(&scene.gateway, "/stock/v1/x", &scene.token, &own).status, 200);
    scene.gateway.admin_ok("PUT", "/clients/default", Some(&json!({"services": ["orders"]})), 200);
    refused(&call_as(&scene.gateway, "/stock/v1/x", &scene.token, &own), 403, "forbidden");
    assert_eq!(scene.call("GET", "/orders/v1/x", &[], b"").status, 200);
    // Nor does another client's key help the token.
    let all = client(&scene.gateway, "all", &["*"]);
    refused(&call_as(&scene.gateway, "/stock/v1/x", &scene.token, &all), 403, "forbidden");
    assert_eq!(stock.received().len(), 1);
    scene.gateway.admin_ok("DELETE", "/clients/default", None, 409);
}

#[test]
fn alternatives_are_each_enough() {
    let scene = Scene::new();
    let good = format!("Bearer {}", scene.token);
    let (token, key) = (("Authorization", good.as_str()), ("X-API-Key", scene.api_key.as_str()));
    let (bad_token, bad_key) = (("Authorization", "Bearer wrong"), ("X-API-Key", "wrong"));
    let shown = [
        vec![],
        vec![token],
        vec![key],
        vec![token, key],
        vec![bad_token],
        vec![bad_key],
        vec![bad_token, key],
        vec![token, bad_key],
        vec![bad_token, bad_key],
    ];
    for (require, statuses) in [
        (json!([["bearer", "api_key"]]), [401, 401, 401, 200, 401, 401, 401, 401, 401]),
        (json!([["api_key", "bearer"]]), [401, 401, 401, 200, 401, 401, 401, 401, 401]),
        (json!([["bearer"]]), [401, 200, 401, 200, 401, 401, 401, 200, 401]),
        (json!([["api_key"]]), [401, 401, 200, 200, 401, 401, 200, 401, 401]),
        (json!([["bearer", "api_key"], ["api_key"]]), [401, 401, 200, 200, 401, 401, 200, 401, 401]),
        (json!([["bearer"], ["api_key"]]), [401, 200, 200, 200, 401, 401, 200, 200, 401]),
        (json!([]), [200; 9]),
    ] {
        scene.protect(&require, &json!({}));
        for (headers, status) in shown.iter().zip(statuses) {
            let before = scene.came_through();
            let answer = scene.with(headers);
            assert_eq!(answer.status, status, "{require} {headers:?}");
            assert_eq!(scene.came_through() - before, usize::from(status == 200), "{require} {headers:?}");
            if status == 401 {
                answer.code();
                assert!(answer.header("www-authenticate").is_some());
            }
        }
    }
    // What a failed alternative has found out counts for nothing: the key's client calls, and no user.
    scene.protect(&json!([["bearer", "api_key"], ["bearer"]]), &json!({}));
    assert_eq!(scene.with(&[token, bad_key]).status, 200);
    let seen = scene.backend.received().pop().expect("a call");
    assert_eq!(seen.header("x-app-id"), Some("default"));
    // A permission is asked for on every way in.
    let narrow = client(&scene.gateway, "narrow", &["stock"]);
    scene.protect(&json!([["api_key"]]), &json!({}));
    refused(&scene.with(&[("X-API-Key", &narrow)]), 403, "forbidden");
}

#[test]
fn credentials_of_the_gateway_reach_no_service() {
    let scene = Scene::new();
    let bearer = format!("Bearer {}", scene.token);
    let both = [("Authorization", bearer.as_str()), ("X-API-Key", scene.api_key.as_str())];
    for (require, query) in [
        (json!([["bearer", "api_key"]]), false),
        (json!([["bearer"]]), false),
        (json!([["bearer"], ["api_key"]]), false),
        (json!([["bearer"]]), true),
        (json!([["api_key"]]), false),
        (json!([["api_key"], ["bearer"]]), false),
    ] {
        scene.protect(&require, &json!({"bearer": {"query": query}}));
        assert_eq!(scene.with(&both).status, 200, "{require}");
        let seen = format!("{:?}", scene.backend.received().pop().expect("a call"));
        assert!(!seen.contains(&scene.api_key), "{require}: the key");
        assert!(!seen.contains(&scene.token), "{require}: the token");
    }
    // An open service may have credentials of its own; the gateway's are none of them.
    scene.protect(&json!([]), &json!({}));
    let target = format!("/orders/v1/x?access_token=own&access_token={}&a", scene.token);
    assert_eq!(scene.gateway.call("GET", &target, &both, b"").status, 200);
    let seen = scene.backend.received().pop().expect("a call");
    assert_eq!((seen.target.as_str(), seen.header("authorization"), seen.header("x-api-key")), ("/x?a", None, None));
    let answer = scene.gateway.call("GET", "/orders/v1/x?access_token=own", &[("Authorization", "Bearer own")], b"");
    assert_eq!(answer.json()["target"], "/x?access_token=own");
    assert_eq!(scene.backend.received().pop().expect("a call").header("authorization"), Some("Bearer own"));
    let own = [("Authorization", "Basic YTpi"), ("X-API-Key", scene.api_key.as_str())];
    assert_eq!(scene.with(&own).status, 200);
    let seen = scene.backend.received().pop().expect("a call");
    assert_eq!((seen.header("authorization"), seen.header("x-api-key")), (Some("Basic YTpi"), None));
}

#[test]
fn a_service_that_verifies_tokens_itself_may_have_them() {
    let scene = Scene::new();
    let both = json!([["bearer", "api_key"]]);
    scene.protect(&both, &json!({"bearer": {"forward_credentials": true, "query": true}}));
    assert_eq!(scene.call("GET", "/orders/v1/x", &[], b"").status, 200);
    let seen = scene.backend.received().pop().expect("a call");
    assert_eq!(seen.header("authorization"), Some(format!("Bearer {}", scene.token).as_str()));
    assert_eq!(seen.header("x-api-key"), None, "keys never pass");
    assert!(seen.header("x-user-json").is_some());
    // Query tokens never pass.
    let target = format!("/orders/v1/x?access_token={}", scene.token);
    let answer = scene.gateway.call("GET", &target, &[("X-API-Key", &scene.api_key)], b"");
    assert_eq!(answer.json()["target"], "/x");
    assert!(!answer.text().contains(&scene.token));
}

#[test]
fn a_token_in_the_query_counts_where_the_route_allows_it_and_never_travels() {
    let scene = Scene::new();
    let token = &scene.token;
    let call = |target: &str| scene.gateway.call("GET", target, &[("X-API-Key", &scene.api_key)], b"");
    let by_default = call(&format!("/orders/v1/x?access_token={token}"));
    refused(&by_default, 401, "missing_credential");
    scene.protect(&json!([["bearer", "api_key"]]), &json!({"bearer": {"query": true}}));
    for (query, left) in [
        (format!("access_token={token}"), "/x"),
        (format!("a=1&access_token={token}&b=%20"), "/x?a=1&b=%20"),
        (format!("access_token={token}&a"), "/x?a"),
        (format!("a=access_token&access_token={token}"), "/x?a=access_token"),
    ] {
        let answer = call(&format!("/orders/v1/x?{query}"));
        assert_eq!(answer.status, 200, "{query}: {}", answer.text());
        assert_eq!(answer.json()["target"], left, "{query}");
    }
    let through = scene.came_through();
    refused(&call("/orders/v1/x?access_token=wrong"), 401, "invalid_credential");
    refused(&call("/orders/v1/x?xaccess_token=a"), 401, "missing_credential");
    // Two tokens are one too many (RFC 6750 section 2).
    let two = scene.call("GET", &format!("/orders/v1/x?access_token={token}"), &[], b"");
    assert!([400, 401].contains(&two.status), "{}", two.text());
    let doubled = call(&format!("/orders/v1/x?access_token=wrong&access_token={token}"));
    assert_eq!(doubled.status, 401);
    assert_eq!(scene.came_through(), through);
    // On a route that takes none from the query, it does not travel either.
    scene.protect(&json!([["bearer", "api_key"]]), &json!({}));
    let answer = scene.call("GET", &format!("/orders/v1/x?a=1&access_token={token}&b=2"), &[], b"");
    assert_eq!(answer.json()["target"], "/x?a=1&b=2", "query tokens never pass");
    assert!(!scene.gateway.access_log().contains(token.as_str()));
    assert!(!scene.gateway.stderr().contains(token.as_str()));
}

#[test]
fn tokens_of_other_issuers_are_taken_by_their_declared_keys() {
    let scene = Scene::new();
    let (rsa, ec) = (Issuer::rs256(), Issuer::es256());
    scene.behind_bearer(&json!({"keys": [
        {"jwk": rsa.jwk(), "algorithm": "RS256", "issuer": ELSEWHERE, "kid": "rsa"},
        {"pem": ec.pem(), "algorithm": "ES256", "issuer": "https://other.example"},
    ]}));
    let claims = |issuer: &str| json!({"iss": issuer, "sub": "bob", "aud": "orders", "exp": now() + 60});
    for (issuer, name, header) in [
        (&rsa, ELSEWHERE, json!({"alg": "RS256", "kid": "rsa"})),
        (&rsa, ELSEWHERE, json!({"alg": "RS256"})),
        (&ec, "https://other.example", json!({"alg": "ES256", "typ": "JWT", "kid": "anything"})),
    ] {
        let token = issuer.sign(&header, &claims(name));
        assert_eq!(scene.with_bearer(&token).status, 200, "{header}");
        let seen = scene.backend.received().pop().expect("a call");
        assert!(!format!("{seen:?}").contains(&token));
        assert_eq!(user_json(&seen.headers)["sub"], "bob");
        scene.gateway.record("user=bob", |record| record["status"] == 200);
    }
    // The gateway's own are taken beside them.
    assert_eq!(scene.with_bearer(&scene.token).status, 200);
    let through = scene.came_through();
    let es = |claims: Value| ec.token(&claims);
    let changed = |member: &str, value: Value| {
        let mut claims = claims("https://other.example");
        match value {
            Value::Null => claims.as_object_mut().expect("an object").remove(member).map(drop).unwrap_or_default(),
            value => claims[member] = value,
        }
        claims
    };
    let stranger = Issuer::es256();
    let hs256 = |secret: &[u8]| {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
        compact(&json!({"alg": "HS256"}), &claims(ELSEWHERE), |text| {
            aws_lc_rs::hmac::sign(&key, text).as_ref().to_vec()
        })
    };
    for (what, token) in [
        ("the issuer of the other key", es(claims(ELSEWHERE))),
        ("an unknown issuer", es(claims("https://evil.example"))),
        ("the gateway's own name", es(claims(&format!("http://{}", scene.gateway.data)))),
        ("no issuer", es(changed("iss", Value::Null))),
        ("another audience", es(changed("aud", json!("stock")))),
        ("the wrong version", es(changed("aud", json!("orders/v2")))),
        ("no audience", es(changed("aud", Value::Null))),
        ("an audience that is no text", es(changed("aud", json!(7)))),
        ("expired", es(changed("exp", json!(now() - 1)))),
        ("without an end", es(changed("exp", Value::Null))),
        ("an end that is a text", es(changed("exp", json!("4102444800")))),
        ("not yet", es(changed("nbf", json!(now() + 600)))),
        ("nobody", es(changed("sub", Value::Null))),
        ("another key", stranger.token(&claims("https://other.example"))),
        (
            "a key it brings along",
            stranger.sign(&json!({"alg": "ES256", "jwk": stranger.jwk()}), &claims("https://other.example")),
        ),
        ("another key's id", rsa.sign(&json!({"alg": "RS256", "kid": "other"}), &claims(ELSEWHERE))),
        ("the PEM as a secret", hs256(ec.pem().as_bytes())),
        ("the JWK as a secret", hs256(rsa.jwk().to_string().as_bytes())),
        ("alg none", compact(&json!({"alg": "none"}), &claims(ELSEWHERE), |_| Vec::new())),
        ("critical extensions", ec.sign(&json!({"alg": "ES256", "crit": ["x"]}), &claims("https://other.example"))),
        ("the signature of another", format!("{}x", es(claims("https://other.example")))),
    ] {
        let answer = scene.with_bearer(&token);
        assert_eq!((answer.status, answer.code().as_str()), (401, "invalid_credential"), "{what}");
    }
    assert_eq!(scene.came_through(), through);
    scene.behind_bearer(&json!({}));
    let gone = rsa.sign(&json!({"alg": "RS256", "kid": "rsa"}), &claims(ELSEWHERE));
    refused(&scene.with_bearer(&gone), 401, "invalid_credential");
}

fn user_json(headers: &[(String, String)]) -> Value {
    let values: Vec<_> = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("x-user-json")).collect();
    assert_eq!(values.len(), 1, "{headers:?}");
    serde_json::from_slice(&STANDARD.decode(&values[0].1).expect("base64")).expect("JSON")
}

#[test]
fn a_token_that_was_good_before_is_held_to_what_holds_now() {
    let scene = Scene::before(Backend::echo(), "workers = 1\n");
    let (issuer, other) = (Issuer::rs256(), Issuer::rs256());
    let key = |issuer: &Issuer| json!({"jwk": issuer.jwk(), "algorithm": "RS256", "issuer": ELSEWHERE});
    let token = issuer.token(&json!({"iss": ELSEWHERE, "sub": "bob", "aud": "orders", "exp": now() + 60}));
    let short = issuer.token(&json!({"iss": ELSEWHERE, "sub": "eve", "aud": "orders", "exp": now() + 3}));
    let twice = |token: &str| [(); 2].map(|()| scene.with_bearer(token).status);
    scene.behind_bearer(&json!({"keys": [key(&issuer)]}));
    assert_eq!((twice(&token), twice(&short), twice(&scene.token)), ([200; 2], [200; 2], [200; 2]));
    // A byte of the signature, with the same claims in front of it.
    let (claims, signature) = token.rsplit_once('.').expect("three parts");
    let first = if signature.starts_with('A') { "B" } else { "A" };
    assert_eq!(twice(&format!("{claims}.{first}{}", &signature[1..])), [401; 2]);
    assert_eq!(twice(&format!("{token}.")), [401; 2]);
    // Its end comes while it is remembered.
    until("the token to end", || scene.with_bearer(&short).status == 401);
    // Its key is replaced, and comes back.
    scene.behind_bearer(&json!({"keys": [key(&other)]}));
    assert_eq!(twice(&token), [401; 2]);
    scene.behind_bearer(&json!({"subject": "client", "keys": [key(&issuer)]}));
    assert_eq!((twice(&token), twice(&scene.token)), ([403; 2], [403; 2]));
    scene.behind_bearer(&json!({"keys": [key(&issuer)]}));
    assert_eq!(twice(&token), [200; 2]);
    // Its session ends.
    assert_eq!(twice(&scene.token), [200; 2]);
    let answer = scene.gateway.admin("DELETE", "/users/ada", None);
    assert!(answer.status < 300, "{}", answer.text());
    assert_eq!(twice(&scene.token), [401; 2]);
}

#[test]
fn a_token_is_for_the_audiences_it_names() {
    let scene = Scene::new();
    let issuer = Issuer::es256();
    let key = |audience: Option<Value>| {
        let mut key = json!({"jwk": issuer.jwk(), "algorithm": "ES256", "issuer": ELSEWHERE});
        if let Some(audience) = audience {
            key["audience"] = audience;
        }
        json!({"bearer": {"keys": [key]}})
    };
    let declare = |audience: Option<Value>, audiences: &Value| {
        let targets = json!([{"url": scene.backend.url()}]);
        let policies = key(audience);
        scene.declare(
            &json!({"targets": targets, "require": [["bearer"]], "audiences": audiences, "policies": policies}),
        );
    };
    let status = |aud: Value| {
        let claims = json!({"iss": ELSEWHERE, "sub": "bob", "aud": aud, "exp": now() + 60});
        scene.with_bearer(&issuer.token(&claims)).status
    };
    let gateway = format!("http://{}", scene.gateway.data);
    declare(None, &json!(["shop-api"]));
    for aud in [json!("orders"), json!("orders/v1"), json!(gateway), json!("shop-api"), json!(["x", "orders"])] {
        assert_eq!(status(aud.clone()), 200, "{aud}");
    }
    for aud in
        [json!("order"), json!("Orders"), json!("orders/v2"), json!("*"), json!([]), json!(""), json!("shop-api/")]
    {
        assert_eq!(status(aud.clone()), 401, "{aud}");
    }
    // A key with audiences of its own is held to those.
    for audience in [json!("mine"), json!(["mine", "yours"])] {
        declare(Some(audience), &json!([]));
        assert_eq!(status(json!(["mine"])), 200);
        assert_eq!(status(json!("orders")), 401);
    }
    assert_eq!(scene.with_bearer(&scene.token).status, 200, "the gateway's own are for the gateway");
}

#[test]
fn a_route_says_whose_tokens_it_takes() {
    let scene = Scene::new();
    let issuer = Issuer::es256();
    let marker = json!({"claim": "gty", "value": "client-credentials"});
    let key = json!({"jwk": issuer.jwk(), "algorithm": "ES256", "issuer": ELSEWHERE, "client_marker": marker});
    let ends = now() + 60;
    let claims = |gty: &str| json!({"iss": ELSEWHERE, "sub": "robot", "client_id": "robot", "gty": gty, "aud": "orders", "exp": ends});
    let (machine, person) = (issuer.token(&claims("client-credentials")), issuer.token(&claims("password")));
    for (subject, of_machine, of_person) in [("user", 403, 200), ("client", 200, 403), ("any", 200, 200)] {
        scene.behind_bearer(&json!({"subject": subject, "keys": [key]}));
        assert_eq!(scene.with_bearer(&machine).status, of_machine, "{subject}");
        assert_eq!(scene.with_bearer(&person).status, of_person, "{subject}");
        assert_eq!(scene.with_bearer(&scene.token).status, of_person, "{subject}: of our own user");
    }
}

#[test]
fn a_body_may_be_as_large_as_its_route_says() {
    let scene = Scene::before(Backend::echo(), "[limits]\nbody_bytes = \"1KiB\"");
    let post = |length: usize| scene.call("POST", "/orders/v1/x", &[], &vec![b'x'; length]);
    let chunked = |length: usize| {
        let mut stream = connect(scene.gateway.data);
        let head = format!(
            "POST /orders/v1/x HTTP/1.1\r\nHost: a\r\n{}Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n",
            scene.credentials()
        );
        let body = format!("{length:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(length));
        std::io::Write::write_all(&mut stream, (head + &body).as_bytes()).expect("sent");
        read_answer(&mut stream, false)
    };
    let both = json!([["bearer", "api_key"]]);
    for (policies, most) in [
        (json!({}), 1024),
        (json!({"request_limits": {"body_bytes": 10}}), 10),
        (json!({"request_limits": {"body_bytes": 4096}}), 4096),
        (json!({"request_limits": {}}), 1024),
    ] {
        scene.protect(&both, &policies);
        assert_eq!((post(most).status, chunked(most).status), (200, 200), "{policies}");
        let whole = scene.came_through();
        for answer in [post(most + 1), chunked(most + 1)] {
            refused(&answer, 413, "body_too_large");
        }
        assert_eq!(scene.came_through(), whole, "no service got such a body whole: {policies}");
    }
    scene.protect(&both, &json!({"request_limits": {"body_bytes": 0}}));
    assert_eq!((post(100_000).status, chunked(100_000).status), (200, 200), "0 is no limit");
    // Too large is too large, whoever asks.
    scene.protect(&both, &json!({"request_limits": {"body_bytes": 10}}));
    let stranger = scene.gateway.call("POST", "/orders/v1/x", &[], &[b'x'; 11]);
    refused(&stranger, 413, "body_too_large");
    scene.gateway.record("status=413", |record| record["refusal"] == "body_too_large" && record["service"] == "orders");
}

#[test]
fn a_service_is_told_who_calls() {
    let scene = Scene::new();
    let user_info = json!({"id": 7, "name": "Zoë ☃ 😀", "quote": "\"a\\b\"\n", "list": [1, {"x": null}], "ratio": 0.5});
    let user = json!({"username": "zoë", "password": PASSWORD, "user_info": user_info});
    scene.gateway.admin_ok("POST", "/users", Some(&user), 201);
    scene.gateway.admin_ok("POST", "/users", Some(&json!({"username": "nobody", "password": PASSWORD})), 201);
    let access_key = text(&scene.gateway.admin_ok("GET", "/clients/shop", None, 200), "access_key");
    let seen = |token: &str, key: &str| {
        assert_eq!(call_as(&scene.gateway, "/orders/v1/x", token, key).status, 200);
        scene.backend.received().pop().expect("a call")
    };
    let token = text(&log_in(&scene.gateway, "zoë", &[]), "access_token");
    let first = seen(&token, &scene.api_key);
    let encoded = first.header("x-user-json").expect("the user");
    let json = STANDARD.decode(encoded).expect("base64 with its padding");
    assert!(json.is_ascii(), "a reader of any encoding understands it: {}", String::from_utf8_lossy(&json));
    assert!(!json.windows(2).any(|pair| pair == b": " || pair == b", "), "compact");
    assert_eq!(serde_json::from_slice::<Value>(&json).expect("JSON"), user_info);
    // The client of the key, by the id that is its access key.
    assert_eq!(first.header("x-app-id"), Some(access_key.as_str()));
    let record = scene.gateway.record("client=shop", |record| record["user"] == "zoë");
    assert_eq!(record["client"], "shop");
    // With the service's own key: the client of the login.
    let second = seen(&token, &text(&scene.registered, "api_key"));
    assert_eq!(second.header("x-app-id"), Some("default"));
    let token_of_shop = text(&log_in(&scene.gateway, "zoë", &[("X-API-Key", &scene.api_key)]), "access_token");
    assert_eq!(seen(&token_of_shop, &text(&scene.registered, "api_key")).header("x-app-id"), Some(access_key.as_str()));
    // Somebody of whom nothing is said.
    let nobody = text(&log_in(&scene.gateway, "nobody", &[]), "access_token");
    assert_eq!(user_json(&seen(&nobody, &scene.api_key).headers), json!({}));
    // What is said of a user is what is known now, also with a token that is older.
    scene.gateway.admin_ok("PUT", "/users/zo%C3%AB", Some(&json!({"user_info": {"new": 1}})), 200);
    assert_eq!(user_json(&seen(&token, &scene.api_key).headers), json!({"new": 1}));
    let later = text(&log_in(&scene.gateway, "zoë", &[]), "access_token");
    assert_eq!(user_json(&seen(&later, &scene.api_key).headers), json!({"new": 1}));
    // Without a user there is no user.
    scene.protect(&json!([["api_key"]]), &json!({}));
    assert_eq!(scene.with(&[("X-API-Key", &scene.api_key), ("X-User-Json", "e30="), ("X-App-Id", "x")]).status, 200);
    let alone = scene.backend.received().pop().expect("a call");
    assert_eq!((alone.header("x-user-json"), alone.header("x-app-id")), (None, Some(access_key.as_str())));
}

#[test]
fn no_secret_is_in_any_log() {
    let scene = Scene::before(Backend::echo(), "");
    let gateway = &scene.gateway;
    let wrong = "wr0ng-passw0rd-of-ada";
    let enrolment = enrol(gateway, &json!({"name": "later"}));
    let created =
        json!({"name": "machine", "services": ["*"], "access_key": "known-id", "secret_key": "s3cret-of-machine"});
    gateway.admin_ok("POST", "/clients", Some(&created), 201);
    let answer = gateway.post("/-/token", &[], &json!({"username": "ada", "password": wrong}));
    assert_eq!(answer.status, 401);
    // Calls, good and refused, with the secrets in every place that is logged or might be.
    let (token, key) = (scene.token.clone(), scene.api_key.clone());
    assert_eq!(call_as(gateway, "/orders/v1/x", &token, &key).status, 200);
    for target in [format!("/orders/v1/x?access_token={token}"), format!("/orders/v1/x?api_key={key}&a=1")] {
        gateway.call("GET", &target, &[], b"");
        call_as(gateway, &target, &token, "wr0ng-key-of-shop");
        call_as(gateway, &target, "wr0ng.token.0f-ada", &key);
    }
    gateway.post("/-/token/refresh", &[], &json!({"refresh_token": scene.refresh_token}));
    gateway.post("/-/token/refresh", &[], &json!({"refresh_token": "wr0ng-refresh-token"}));
    gateway.post("/-/token", &[("X-API-Key", "wr0ng-key-of-shop")], &json!({"username": "ada", "password": PASSWORD}));
    gateway.post(
        "/-/register",
        &[("Authorization", "Bearer wr0ng-enrolment")],
        &json!({"name": "a", "base_url": "http://a"}),
    );
    gateway.admin("PUT", "/users/ada", Some(&json!({"password": 5})));
    gateway.admin("POST", "/clients", Some(&json!({"name": "x", "services": 1, "secret_key": "s3cret-of-machine"})));
    let mut secrets = vec![token.clone(), key, scene.refresh_token.clone(), enrolment, gateway.token.clone()];
    secrets.extend(["api_key", "registration_key"].map(|member| text(&scene.registered, member)));
    secrets.extend([PASSWORD, wrong, "s3cret-of-machine", "wr0ng"].map(str::to_owned));
    secrets.push(token.rsplit('.').next().expect("a signature").to_owned());
    let access_log = gateway.access_log();
    assert!(access_log.lines().count() >= 10, "{access_log}");
    let searched = json!(gateway.logs("limit=1000")).to_string();
    for secret in &secrets {
        assert!(!access_log.contains(secret), "in the access log: {secret}");
        assert!(!searched.contains(secret), "in the searched log: {secret}");
        assert!(!gateway.stderr().contains(secret), "on stderr: {secret}");
    }
    // Nor are they in the registry in clear, save for what is a hash.
    gateway.signal("TERM");
    let Scene { mut gateway, .. } = scene;
    assert!(gateway.wait().success());
    for entry in std::fs::read_dir(gateway.directory()).expect("a directory") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() || ["admin.token", "master.key"].contains(&name.as_str()) {
            continue;
        }
        let bytes = std::fs::read(&path).expect("readable");
        for secret in &secrets {
            assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()), "in {name}: {secret}");
        }
    }
}
