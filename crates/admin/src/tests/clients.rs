//! `/api/v1/clients`, with their keys, secrets and sessions.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use portcullis_core::model::{Client, Grant, Label, Owner, SECRET_PURPOSE};
use portcullis_core::ports::{Kind, Objects, Sessions};
use portcullis_identity::{checksum_ok, hash_key};
use portcullis_routing::change::{Edit, Transaction};
use serde_json::{Value, json};

use super::House;

fn label(text: &str) -> Label {
    text.parse().expect("a label")
}

/// The built-in client, as the start of the gateway makes it.
async fn with_default() -> House {
    let house = House::new().await;
    let client = Client { services: vec![Grant::All], ..Client::default() };
    let edits = vec![Edit::Client(label("default"), Some(client))];
    house
        .state
        .changes
        .submit(move |_| Ok((Transaction { owner: Owner::Api, edits: edits.clone() }, ())))
        .await
        .expect("made");
    house
}

#[tokio::test]
async fn a_client_shows_its_secret_once() {
    let house = House::new().await;
    let answer = house.send("POST", "/clients", json!({"name": "shop", "services": ["orders/v1", "*"]})).await;
    let body = answer.fine(201);
    assert_eq!((&body["name"], &body["services"]), (&json!("shop"), &json!(["orders/v1", "*"])));
    let (access_key, secret) =
        (body["access_key"].as_str().expect("a key"), body["secret_key"].as_str().expect("a secret"));
    assert!(access_key.len() == 20 && access_key.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    assert!(secret.starts_with("pcs_") && checksum_ok(secret));
    let shown = house.get("/clients/shop").await;
    let object = json!({
        "name": "shop", "access_key": access_key, "services": ["orders/v1", "*"], "enabled": true,
        "revision": 1, "owner": "api",
    });
    assert_eq!((shown.fine(200), shown.header("etag")), (&object, "\"1\""));
    assert_eq!(house.all("/clients", 10).await, [object]);
    let rows = house.registry.all(Kind::ClientSecret).await.expect("read");
    assert!(rows.len() == 1 && !rows[0].body.contains(secret));
    let stored: Value = serde_json::from_str(&rows[0].body).expect("JSON");
    assert_eq!(stored["uses"], json!(["oauth", "sign", "seal"]));
    let sealed = STANDARD.decode(stored["sealed"].as_str().expect("a text")).expect("base64");
    let opened = house.state.master.open(SECRET_PURPOSE, &sealed).expect("opens");
    assert_eq!(opened.as_slice(), secret.as_bytes());
}

#[tokio::test]
async fn what_an_operator_brings_along_is_taken_as_it_is() {
    let house = House::new().await;
    let body = json!({"name": "old", "access_key": "app 7", "secret_key": "x"});
    let answer = house.send("POST", "/clients", body).await;
    assert_eq!((&answer.fine(201)["access_key"], &answer.body["secret_key"]), (&json!("app 7"), &json!("x")));
    for bad in ["", " x", "x ", "ü", "a\nb", &"x".repeat(257)] {
        let answer = house.send("POST", "/clients", json!({"name": "new", "access_key": bad})).await;
        assert_eq!(answer.refused(422, "invalid_declaration").places(), ["access_key"], "{bad}");
    }
    for bad in ["", "a\nb", &"x".repeat(1_025)] {
        let answer = house.send("POST", "/clients", json!({"name": "new", "secret_key": bad})).await;
        assert_eq!(answer.refused(422, "invalid_declaration").places(), ["secret_key"], "{bad}");
    }
}

#[tokio::test]
async fn names_and_access_keys_are_taken_once() {
    let house = with_default().await;
    house.send("POST", "/clients", json!({"name": "shop", "access_key": "app"})).await.fine(201);
    for body in [
        json!({"name": "shop"}),
        json!({"name": "other", "access_key": "app"}),
        json!({"name": "default"}),
        json!({"name": "other", "access_key": "default"}),
    ] {
        house.send("POST", "/clients", body).await.refused(409, "conflict");
    }
    for body in [json!({"name": "a/b"}), json!({"name": "x", "services": ["a/b/c"]}), json!({"name": "x", "more": 1})] {
        house.send("POST", "/clients", body).await.refused(400, "invalid_body");
    }
    let answer = house.send("POST", "/clients", json!({"name": "x", "services": ["ok", "a b"]})).await;
    assert_eq!(answer.refused(400, "invalid_body").places(), ["services[1]"]);
    let many = json!({"name": "x", "services": vec!["a"; 1_001]});
    house.send("POST", "/clients", many).await.refused(422, "invalid_declaration");
}

#[tokio::test]
async fn a_client_is_changed_on_the_revision_that_was_seen() {
    let house = with_default().await;
    house.send("POST", "/clients", json!({"name": "shop", "access_key": "app"})).await.fine(201);
    let answer = house.send("PUT", "/clients/shop", json!({"services": ["orders"], "enabled": false})).await;
    assert_eq!((&answer.fine(200)["enabled"], &answer.body["revision"]), (&json!(false), &json!(2)));
    let answer = house.send("PUT", "/clients/shop", json!({"services": []})).await;
    assert_eq!((&answer.fine(200)["enabled"], &answer.body["access_key"]), (&json!(false), &json!("app")));
    house.send("PUT", "/clients/shop", json!({"enabled": true})).await.refused(400, "invalid_body");
    house.send("PUT", "/clients/none", json!({"services": []})).await.refused(404, "not_found");
    let put = async |name: &str, value: &str| {
        let fields = [("if-match", value), ("content-type", "application/json")];
        house.send_with("PUT", &format!("/api/v1/clients/{name}"), &fields, json!({"services": []}).to_string()).await
    };
    put("shop", "\"2\"").await.refused(412, "precondition_failed");
    put("shop", "\"3\"").await.fine(200);
    put("none", "*").await.refused(412, "precondition_failed");
    house.send("PUT", "/clients/default", json!({"services": ["orders"]})).await.fine(200);
    house.delete("/clients/default").await.refused(409, "conflict");
}

#[tokio::test]
async fn a_client_goes_with_all_that_is_its_own() {
    let house = House::new().await;
    for name in ["shop", "other"] {
        house.send("POST", "/clients", json!({"name": name})).await.fine(201);
        let path = format!("/clients/{name}/api-keys");
        house.send("POST", &path, json!({"api_key": format!("key of {name}")})).await.fine(201);
    }
    let (gone, stays) = (house.open_session(1, "ada", "shop").await, house.open_session(2, "ada", "other").await);
    house.delete("/clients/shop").await.fine(204);
    house.delete("/clients/shop").await.refused(404, "not_found");
    assert!(house.state.sessions.cached(gone).is_none() && house.state.sessions.cached(stays).is_some());
    assert_eq!(house.registry.session(gone).await.expect("read"), None);
    let holds = |key: &str| house.directory.read(|entries| entries.holder(&hash_key(key)).is_some());
    assert!(!holds("key of shop") && holds("key of other"));
    for kind in [Kind::ApiKey, Kind::ClientSecret, Kind::Client] {
        assert_eq!(house.registry.all(kind).await.expect("read").len(), 1, "{kind:?}");
    }
}

#[tokio::test]
async fn a_client_has_64_keys_and_no_more() {
    let house = House::new().await;
    house.send("POST", "/clients/shop/api-keys", json!({})).await.refused(404, "not_found");
    house.get("/clients/shop/api-keys").await.refused(404, "not_found");
    house.send("POST", "/clients", json!({"name": "shop"})).await.fine(201);
    let first = house.send("POST", "/clients/shop/api-keys", json!({"api_key": "mine"})).await;
    house.send("POST", "/clients/shop/api-keys", json!({"api_key": "mine"})).await.refused(409, "conflict");
    house.send("POST", "/clients/shop/api-keys", json!({"api_key": ""})).await.refused(422, "invalid_declaration");
    for _ in 1..64 {
        let answer = house.send_with("POST", "/api/v1/clients/shop/api-keys", &[], "").await;
        assert!(checksum_ok(answer.fine(201)["api_key"].as_str().expect("a key")));
    }
    house.send("POST", "/clients/shop/api-keys", json!({})).await.refused(409, "conflict");
    let listed = house.all("/clients/shop/api-keys", 10).await;
    assert_eq!(listed.len(), 64);
    assert!(listed.iter().all(|key| key.get("api_key").is_none()));
    let path = format!("/clients/shop/api-keys/{}", first.fine(201)["id"].as_str().expect("an id"));
    house.delete(&path).await.fine(204);
    house.delete(&path).await.refused(404, "not_found");
    house.send("POST", "/clients/shop/api-keys", json!({"api_key": "mine"})).await.fine(201);
}

#[tokio::test]
async fn clients_come_in_pages_by_name() {
    let house = House::new().await;
    for number in (0..7).rev() {
        house.send("POST", "/clients", json!({"name": format!("client {number}")})).await.fine(201);
    }
    for limit in [1, 3, 7] {
        let items = house.all("/clients", limit).await;
        let names: Vec<_> = items.iter().map(|item| item["name"].as_str().expect("a name").to_owned()).collect();
        assert_eq!(names, (0..7).map(|number| format!("client {number}")).collect::<Vec<_>>());
    }
}

const PEM: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n";

#[tokio::test]
async fn public_keys_are_declared_with_the_client() {
    let house = House::new().await;
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    let keys =
        json!([{"id": "a", "algorithm": "ed25519", "jwk": jwk}, {"id": "b", "algorithm": "ed25519", "pem": PEM}]);
    let body = json!({"name": "shop", "access_key": "app", "keys": keys, "least_algorithm": "sha256"});
    house.send("POST", "/clients", body).await.fine(201);
    let shown = house.get("/clients/shop").await;
    assert_eq!((&shown.fine(200)["keys"], &shown.body["least_algorithm"]), (&keys, &json!("sha256")));
    let seen = |id: &str| {
        house.directory.read(|entries| entries.by_access_key("app").is_some_and(|entry| entry.key(id).is_some()))
    };
    assert!(seen("a") && seen("b") && !seen("c"));
    // What is absent stays; what is there counts.
    let put = house.send("PUT", "/clients/shop", json!({"services": ["*"]})).await;
    assert_eq!((&put.fine(200)["keys"], &put.body["least_algorithm"]), (&keys, &json!("sha256")));
    let put = house.send("PUT", "/clients/shop", json!({"services": [], "keys": [], "least_algorithm": "sha1"})).await;
    assert_eq!((put.fine(200).get("keys"), put.body.get("least_algorithm")), (None, None));
    assert!(!seen("a"));
}

#[tokio::test]
async fn how_users_log_in_is_declared_with_the_client() {
    let house = House::new().await;
    let logins = json!({
        "login_auth_url": "https://users.example.com/login?app=shop", "sms_login_auth_url": "http://10.0.0.7/sms",
        "change_password_url": "https://users.example.com/password", "sms_change_password_url": "http://10.0.0.7/sms/password",
        "access_token_ttl": "1h", "refresh_token_ttl": 7_200, "single_login": true,
    });
    let with = |mut body: Value, more: &Value| {
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        body
    };
    let of = |shown: &Value| {
        let fields = logins.as_object().expect("an object").keys();
        Value::Object(fields.filter_map(|name| Some((name.clone(), shown.get(name)?.clone()))).collect())
    };
    let shown_logins = with(logins.clone(), &json!({"refresh_token_ttl": "2h"}));
    house.send("POST", "/clients", with(json!({"name": "shop"}), &logins)).await.fine(201);
    assert_eq!(of(house.get("/clients/shop").await.fine(200)), shown_logins);
    // What is absent stays; null takes it away.
    let put = house.send("PUT", "/clients/shop", json!({"services": ["*"]})).await;
    assert_eq!(of(put.fine(200)), shown_logins);
    let change = json!({"services": [], "sms_login_auth_url": null, "refresh_token_ttl": null, "single_login": false});
    let left = of(house.send("PUT", "/clients/shop", change).await.fine(200));
    let gone = ["sms_login_auth_url", "refresh_token_ttl", "single_login"];
    assert!(gone.iter().all(|name| left.get(name).is_none()), "{left}");
    assert_eq!(left["login_auth_url"], logins["login_auth_url"]);
    // A refresh token that ends first would be worth nothing.
    let short = json!({"services": [], "refresh_token_ttl": "1h"});
    let refused = house.send("PUT", "/clients/shop", short.clone()).await;
    assert_eq!(refused.refused(422, "invalid_declaration").places(), ["refresh_token_ttl"]);
    let refused = house.send("POST", "/clients", json!({"name": "new", "access_token_ttl": "20d"})).await;
    assert_eq!(refused.refused(422, "invalid_declaration").places(), ["refresh_token_ttl"]);
    let file = json!({"version": 1, "clients": {"till.eu": {
        "access_token_ttl": "2h", "refresh_token_ttl": "2h", "login_auth_url": "ftp://a", "single_login": 1,
    }}});
    for (method, path) in [("POST", "/declarations/plan"), ("PUT", "/declarations")] {
        let answer = house.send(method, path, file.clone()).await;
        let places =
            ["login_auth_url", "single_login", "refresh_token_ttl"].map(|field| format!("clients.till.eu.{field}"));
        assert_eq!(answer.refused(422, "invalid_declaration").places(), places);
    }
    let bad = json!({"services": [], "login_auth_url": "http://ada:sesame@users/"});
    let refused = house.send("PUT", "/clients/shop", bad).await;
    assert_eq!(refused.refused(400, "invalid_body").places(), ["login_auth_url"]);
    assert!(!refused.body.to_string().contains("sesame"), "{}", refused.body);
    // The trail has the addresses, also where a name of one sounds like a secret's.
    let trail = house.get("/audit").await.body.to_string();
    assert!(trail.contains("https://users.example.com/password"), "{trail}");
}

#[tokio::test]
async fn a_private_key_is_refused_wherever_it_comes_and_never_repeated() {
    let house = House::new().await;
    house.send("POST", "/clients", json!({"name": "ada@example.com"})).await.fine(201);
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qY", "d": "c2VjcmV0"});
    let pem = PEM.replace("PUBLIC", "PRIVATE").replace("MCow", "c2VjcmV0");
    let key = |field: &str, value: &Value| json!([{"id": "a", "algorithm": "ed25519", field: value}]);
    for (field, value) in [("jwk", &jwk), ("pem", &json!(pem))] {
        let keys = key(field, value);
        for answer in [
            house.send("PUT", "/clients/ada@example.com", json!({"services": [], "keys": keys})).await,
            house.send("POST", "/clients", json!({"name": "new", "keys": keys})).await,
        ] {
            assert_eq!(answer.refused(422, "invalid_declaration").places(), [format!("keys[0].{field}")]);
            let text = answer.body.to_string();
            assert!(text.contains("is a private key") && !text.contains("c2VjcmV0"), "{text}");
        }
        let file = json!({"version": 1, "clients": {"till.eu": {"services": ["a/b/c"], "keys": keys}}});
        for (method, path) in [("POST", "/declarations/plan"), ("PUT", "/declarations")] {
            let answer = house.send(method, path, file.clone()).await;
            let places = [format!("clients.till.eu.keys[0].{field}"), "clients.till.eu.services[0]".to_owned()];
            let mut found = answer.refused(422, "invalid_declaration").places();
            found.sort_unstable();
            assert_eq!(found, places, "{}", answer.body);
            let text = answer.body.to_string();
            assert!(text.contains("is a private key") && !text.contains("c2VjcmV0"), "{text}");
        }
    }
    // In a place where none is expected, it is not repeated either.
    for (bad, place) in [
        (json!(pem), "keys"),
        (json!([pem]), "keys[0]"),
        (key("jwk", &json!(pem)), "keys[0].jwk"),
        (key("pem", &jwk), "keys[0].pem"),
        (json!([{"id": "a", "algorithm": pem, "pem": PEM}]), "keys[0].algorithm"),
        (json!([{"id": "a", "algorithm": "ed25519"}]), "keys[0]"),
    ] {
        let answer = house.send("PUT", "/clients/ada@example.com", json!({"services": [], "keys": bad})).await;
        assert_eq!(answer.refused(422, "invalid_declaration").places(), [place], "{}", answer.body);
        assert!(!answer.body.to_string().contains("c2VjcmV0"), "{}", answer.body);
    }
}
