//! Clients of other issuers: who they are to limits, rules, records and services; and which tokens are none of theirs.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::issuer::{Issuer, now};
use crate::support::scene::client;
use crate::support::{Answer, Scene};

const ONE: &str = "https://id.example";
const OTHER: &str = "https://other.example/realms/a";

/// A scene whose service takes tokens of two issuers.
struct Elsewhere {
    scene: Scene,
    one: Issuer,
    other: Issuer,
}

impl Elsewhere {
    fn new() -> Self {
        Self { scene: Scene::new(), one: Issuer::es256(), other: Issuer::es256() }
    }

    /// Declares `orders/v1` with both keys, which have these settings beside their own.
    fn declare(&self, require: &Value, subject: &str, key: &Value, policies: &Value) {
        let declared = |issuer: &Issuer, name: &str| {
            let mut declared = json!({"jwk": issuer.jwk(), "algorithm": "ES256", "issuer": name});
            declared.as_object_mut().expect("an object").extend(key.as_object().expect("an object").clone());
            declared
        };
        let mut policies = policies.clone();
        policies["bearer"] =
            json!({"subject": subject, "keys": [declared(&self.one, ONE), declared(&self.other, OTHER)]});
        let targets = json!([{"url": self.scene.backend.url()}]);
        self.scene.declare(&json!({"targets": targets, "require": require, "policies": policies}));
    }

    fn token(&self, issuer: &str, header: &Value, more: &Value) -> String {
        let mut claims = json!({"iss": issuer, "sub": "ada", "aud": "orders", "exp": now() + 60});
        claims.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let mut full = json!({"alg": "ES256"});
        full.as_object_mut().expect("an object").extend(header.as_object().expect("an object").clone());
        if issuer == ONE { self.one.sign(&full, &claims) } else { self.other.sign(&full, &claims) }
    }

    fn call(&self, path: &str, token: &str, key: Option<&str>) -> Answer {
        let bearer = format!("Bearer {token}");
        let mut fields = vec![("Authorization", bearer.as_str())];
        fields.extend(key.map(|key| ("X-API-Key", key)));
        self.scene.gateway.call("GET", path, &fields, b"")
    }

    /// The status of a call with a token of this client.
    fn status(&self, issuer: &str, id: &str) -> u16 {
        let token = self.token(issuer, &json!({}), &json!({"client_id": id}));
        self.call("/orders/v1/x", &token, None).status
    }
}

#[test]
fn a_foreign_client_is_somebody() {
    let house = Elsewhere::new();
    house.declare(&json!([["bearer"]]), "any", &json!({}), &json!({}));
    for (number, (issuer, id, name)) in [
        (ONE, "batch", "https://id.example#batch"),
        (OTHER, "batch", "https://other.example/realms/a#batch"),
        // One of this name is declared here, and is somebody else.
        (ONE, "shop", "https://id.example#shop"),
        (ONE, "a b#\n\u{fc}", "https://id.example#a%20b%23%0A%C3%BC"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/orders/v1/{number}");
        let token = house.token(issuer, &json!({}), &json!({"client_id": id}));
        assert_eq!(house.call(&path, &token, None).status, 200, "{id:?}");
        let seen = house.scene.backend.received().pop().expect("a call");
        assert_eq!(seen.all("x-app-id"), [name]);
        let facts = STANDARD.decode(seen.header("x-user-json").expect("a user")).expect("base64");
        assert_eq!(serde_json::from_slice::<Value>(&facts).expect("JSON"), json!({"iss": issuer, "sub": "ada"}));
        let record = house.scene.gateway.record(&format!("path={path}"), |_| true);
        assert_eq!((&record["client"], &record["user"]), (&json!(name), &json!("ada")));
    }
    let record = house.scene.gateway.record("client=https://id.example%23batch", |_| true);
    assert_eq!(record["path"], "/orders/v1/0");
    // Without a client in the token there is none.
    let token = house.token(ONE, &json!({}), &json!({}));
    assert_eq!(house.call("/orders/v1/nobody", &token, None).status, 200);
    assert_eq!(house.scene.backend.received().pop().expect("a call").header("x-app-id"), None);
    assert_eq!(house.scene.gateway.record("path=/orders/v1/nobody", |_| true)["client"], Value::Null);
    // An id that cannot be one is no client, and no nobody either.
    for id in [json!(""), json!(7), json!(null), json!("x".repeat(257)), json!(["batch"])] {
        let token = house.token(ONE, &json!({}), &json!({"client_id": id}));
        assert_eq!(house.call("/orders/v1/x", &token, None).status, 401, "{id}");
    }
}

#[test]
fn the_client_of_an_api_key_goes_before_that_of_a_token() {
    let house = Elsewhere::new();
    let (key, own) = (house.scene.api_key.as_str(), house.scene.registered["api_key"].as_str().expect("a key"));
    for (round, require) in [json!([["bearer", "api_key"]]), json!([["api_key", "bearer"]])].into_iter().enumerate() {
        house.declare(&require, "any", &json!({}), &json!({}));
        for (key, client) in [(key, "shop"), (own, "https://id.example#batch")] {
            let path = format!("/orders/v1/{round}/{}", client.len());
            let token = house.token(ONE, &json!({}), &json!({"client_id": "batch"}));
            assert_eq!(house.call(&path, &token, Some(key)).status, 200, "{require} {client}");
            let record = house.scene.gateway.record(&format!("path={path}"), |_| true);
            assert_eq!(record["client"], client, "{require}");
        }
    }
}

#[test]
fn limits_count_each_foreign_client_by_itself() {
    let house = Elsewhere::new();
    let limit = json!({"rate_limit": {"rate": 1, "per": "1h", "key": ["client"]}});
    house.declare(&json!([["bearer"]]), "any", &json!({}), &limit);
    for (issuer, id, status) in
        [(ONE, "a", 200), (ONE, "a", 429), (ONE, "b", 200), (OTHER, "a", 200), (OTHER, "a", 429), (ONE, "shop", 200)]
    {
        assert_eq!(house.status(issuer, id), status, "{issuer} {id}");
    }
    // The client of that name that is declared here has a limit of its own.
    let declare = |kinds: Value| house.declare(&kinds, "any", &json!({}), &limit);
    declare(json!([["api_key"]]));
    let by_key = || house.scene.gateway.call("GET", "/orders/v1/x", &[("X-API-Key", &house.scene.api_key)], b"").status;
    assert_eq!((by_key(), by_key()), (200, 429));
    // So have users of the same name.
    let limit = json!({"rate_limit": {"name": "user", "rate": 1, "per": "1h", "key": ["user"]}});
    house.declare(&json!([["bearer"]]), "any", &json!({}), &limit);
    assert_eq!([house.status(ONE, "a"), house.status(ONE, "b"), house.status(OTHER, "a")], [200, 429, 200]);
    assert_eq!(house.call("/orders/v1/x", &house.scene.token, None).status, 200);
}

#[test]
fn rules_name_a_foreign_client_by_issuer_and_id() {
    let house = Elsewhere::new();
    let only = |name: &str| {
        let rules = json!({"acl": {"rules": [{"clients": [name], "effect": "allow"}], "default": "deny"}});
        house.declare(&json!([["bearer"]]), "any", &json!({}), &rules);
    };
    only("https://id.example#batch");
    assert_eq!([house.status(ONE, "batch"), house.status(ONE, "other"), house.status(OTHER, "batch")], [200, 403, 403]);
    // A plain name is that of a client declared here, whoever else calls itself so.
    only("shop");
    assert_eq!([house.status(ONE, "shop"), house.status(OTHER, "shop")], [403, 403]);
    client(&house.scene.gateway, "batch", &["*"]);
    only("batch");
    assert_eq!(house.status(ONE, "batch"), 403);
}

#[test]
fn what_marks_a_clients_own_token_is_declared() {
    let house = Elsewhere::new();
    let try_both = |key: &Value, claims: &Value| {
        ["user", "client"].map(|subject| {
            house.declare(&json!([["bearer"]]), subject, key, &json!({}));
            house.call("/orders/v1/x", &house.token(ONE, &json!({}), claims), None).status
        })
    };
    let (user, client, neither) = ([200, 403], [403, 200], [401, 401]);
    let marked = json!({"client_marker": {"claim": "gty", "value": "client-credentials"}});
    let equal = json!({"client_marker": {"claim": "sub"}});
    let azure = json!({"client_claim": "azp", "client_marker": {"claim": "idtyp", "value": "app"}});
    for (key, claims, expected) in [
        // A subject that happens to be the client's id marks nothing.
        (&json!({}), json!({"client_id": "ada"}), user),
        (&marked, json!({"client_id": "ada"}), user),
        (&marked, json!({"client_id": "app", "gty": "password"}), user),
        (&marked, json!({"client_id": "app", "gty": "client-credentials"}), client),
        (&marked, json!({"gty": "client-credentials"}), neither),
        (&equal, json!({"client_id": "ada"}), client),
        (&equal, json!({"client_id": "app"}), user),
        (&equal, json!({}), user),
        (&azure, json!({"azp": "app", "idtyp": "app"}), client),
        (&azure, json!({"azp": "app", "idtyp": "user"}), user),
        (&azure, json!({"client_id": "app", "idtyp": "app"}), neither),
    ] {
        assert_eq!(try_both(key, &claims), expected, "{key} {claims}");
    }
    house.declare(&json!([["bearer"]]), "any", &azure, &json!({}));
    let token = house.token(ONE, &json!({}), &json!({"azp": "app", "idtyp": "app", "sub": "4711"}));
    assert_eq!(house.call("/orders/v1/machine", &token, None).status, 200);
    let seen = house.scene.backend.received().pop().expect("a call");
    assert_eq!((seen.header("x-app-id"), seen.header("x-user-json")), (Some("https://id.example#app"), None));
    let record = house.scene.gateway.record("path=/orders/v1/machine", |_| true);
    assert_eq!((&record["client"], &record["user"]), (&json!("https://id.example#app"), &Value::Null));
    // Settings that cannot be are told with their place.
    let bad = json!({"targets": [{"url": house.scene.backend.url()}], "policies": {"bearer": {"keys": [
        {"jwk": house.one.jwk(), "algorithm": "ES256", "issuer": ONE, "client_claim": ""},
        {"jwk": house.one.jwk(), "algorithm": "ES256", "issuer": ONE, "client_marker": {"claim": "a", "value": []}},
    ]}}});
    let answer = house.scene.gateway.admin("PUT", "/services/bad/v1", Some(&bad));
    assert_eq!(answer.status, 422);
    assert!(answer.text().contains("keys[0]") && answer.text().contains("keys[1]"), "{}", answer.text());
}

#[test]
fn only_access_tokens_are_taken() {
    let house = Elsewhere::new();
    let status = |header: &Value, claims: &Value| {
        let answer = house.call("/orders/v1/x", &house.token(ONE, header, claims), None);
        assert!(answer.status == 200 || answer.code() == "invalid_credential", "{}", answer.text());
        answer.status
    };
    for (strict, open) in [(false, 200), (true, 401)] {
        let key = if strict { json!({"typ": "strict"}) } else { json!({}) };
        house.declare(&json!([["bearer"]]), "any", &key, &json!({}));
        for typ in ["at+jwt", "application/at+jwt", "AT+JWT"] {
            assert_eq!(status(&json!({"typ": typ}), &json!({})), 200, "{typ}");
        }
        for typ in ["JWT", "jwt", "application/jwt", "application/vnd.example.access+jwt", "acme+jwt"] {
            assert_eq!(status(&json!({"typ": typ}), &json!({})), open, "{typ}");
        }
        assert_eq!(status(&json!({}), &json!({})), open);
        for typ in [
            "logout+jwt",
            "secevent+jwt",
            "dpop+jwt",
            "refresh+jwt",
            "application/LOGOUT+jwt",
            "kb+jwt",
            "oauth-authz-req+jwt",
            "token-introspection+jwt",
            "entity-statement+jwt",
            "statuslist+jwt",
            "client-authentication+jwt",
            "JOSE",
            "id+jwt",
            "",
        ] {
            assert_eq!(status(&json!({"typ": typ}), &json!({})), 401, "{typ}");
        }
        for typ in [json!(7), json!(null), json!(["at+jwt"])] {
            let found = status(&json!({"typ": typ}), &json!({}));
            assert_eq!(found, if typ.is_null() { open } else { 401 }, "{typ}");
        }
        for claims in [json!({"nonce": "n"}), json!({"at_hash": "h"}), json!({"typ": "ID"}), json!({"token_use": "id"})]
        {
            assert_eq!(status(&json!({"typ": "JWT"}), &claims), 401, "{claims}");
        }
    }
    // Of two keys of one issuer each is held to its own.
    let key = |typ: &str| json!({"jwk": house.one.jwk(), "algorithm": "ES256", "issuer": ONE, "typ": typ});
    let declare = |keys: Value| {
        let targets = json!([{"url": house.scene.backend.url()}]);
        let policies = json!({"bearer": {"subject": "any", "keys": keys}});
        house.scene.declare(&json!({"targets": targets, "require": [["bearer"]], "policies": policies}));
    };
    declare(json!([key("strict")]));
    assert_eq!(status(&json!({"typ": "JWT"}), &json!({})), 401);
    declare(json!([key("usual")]));
    assert_eq!(status(&json!({"typ": "JWT"}), &json!({})), 200);
}
