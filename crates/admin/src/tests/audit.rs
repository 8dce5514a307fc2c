//! `/api/v1/audit`: every change is told, by whom it was made, and without a secret.

use portcullis_core::audit::Actor;
use portcullis_core::model::{Client, Owner};
use portcullis_core::ports::{Kind, Objects};
use portcullis_identity::hash_key;
use portcullis_routing::change::{Edit, Transaction};
use serde_json::{Value, json};

use super::House;

fn one(port: u16) -> Value {
    json!({"targets": [{"url": format!("http://127.0.0.1:{port}")}]})
}

/// The whole trail in order, each entry in a few words.
async fn told(house: &House) -> Vec<String> {
    let trail = house.get("/audit?after=0&limit=1000").await;
    let items = trail.fine(200)["items"].as_array().expect("items").clone();
    let text = |item: &Value, field: &str| item[field].as_str().expect("a text").to_owned();
    items
        .iter()
        .map(|item| {
            let words = ["actor", "action", "kind", "key"].map(|field| text(item, field));
            format!("{} r{}", words.join(" "), item["revision"])
        })
        .collect()
}

#[tokio::test]
async fn every_change_leaves_who_what_and_what_was_before() {
    let house = House::new().await;
    house.send("PUT", "/services/orders/v1", one(1)).await.fine(201);
    house.send("PUT", "/services/orders/v1", one(2)).await.fine(200);
    house.delete("/services/orders/v1").await.fine(204);
    let trail = house.get("/audit").await;
    let items = trail.fine(200)["items"].as_array().expect("items");
    assert_eq!(trail.body["next"], Value::Null);
    let sides: Vec<_> = items
        .iter()
        .map(|item| ["before", "after"].map(|side| item[side].pointer("/targets/0/url").cloned()))
        .collect();
    let url = |port: u16| Some(json!(format!("http://127.0.0.1:{port}")));
    assert_eq!(sides, [[url(2), None], [url(1), url(2)], [None, url(1)]], "the newest first");
    let newest = &items[0];
    assert_eq!((&newest["seq"], &newest["action"], &newest["revision"]), (&json!(3), &json!("deleted"), &json!(2)));
    assert_eq!((&newest["kind"], &newest["key"]), (&json!("service"), &json!("orders/v1")));
    assert_eq!((&newest["actor"], &newest["time"]), (&json!("admin token"), &json!("2023-11-14T22:13:20.000Z")));
    assert_eq!((&newest["before"]["require"], &newest["after"]), (&json!([["bearer", "api_key"]]), &Value::Null));
    assert_eq!(newest["previous"], items[1]["hash"]);
    assert_eq!(items[2]["previous"], "0".repeat(64));
    let verdict = house.get("/audit/verify").await;
    assert_eq!(*verdict.fine(200), json!({"entries": 3, "intact": true, "head": newest["hash"]}));
}

#[tokio::test]
async fn what_is_refused_or_changes_nothing_leaves_nothing() {
    let house = House::new().await;
    house.send("PUT", "/services/orders/v1", json!({"targets": []})).await.fine(422);
    house.send("PUT", "/services/oauth/v1", one(1)).await.fine(422);
    house.delete("/services/orders/v1").await.fine(404);
    house.send("POST", "/users", json!({"username": "ada", "password": ""})).await.fine(422);
    let token = house.enrolment(json!({"name": "ci", "pattern": "orders"})).await;
    house.register("pce_wrong", json!({"name": "orders", "base_url": "http://127.0.0.1:1"})).await.fine(401);
    house.register(&token, json!({"name": "other", "base_url": "http://127.0.0.1:1"})).await.fine(403);
    let reply = house.register(&token, json!({"name": "orders", "base_url": "http://127.0.0.1:1"})).await;
    let key = reply.fine(201)["registration_key"].as_str().expect("a key").to_owned();
    let before = told(&house).await;
    // A service that says again what is known changes nothing.
    house.register(&key, json!({"name": "orders", "base_url": "http://127.0.0.1:1"})).await.fine(200);
    house.register(&token, json!({"name": "orders", "base_url": "http://127.0.0.1:2"})).await.fine(409);
    assert_eq!(told(&house).await, before);
    assert_eq!(before.len(), 5, "{before:?}");
}

#[tokio::test]
async fn a_registration_is_told_as_one_by_the_name_of_its_token() {
    let house = House::new().await;
    let token = house.enrolment(json!({"name": "ci"})).await;
    let reply = house.register(&token, json!({"name": "orders", "base_url": "http://127.0.0.1:1"})).await;
    let key = reply.fine(201)["registration_key"].as_str().expect("a key").to_owned();
    house.register(&key, json!({"name": "orders", "base_url": "http://127.0.0.1:2"})).await.fine(200);
    let keys = house.all("/services/orders/api-keys", 9).await;
    let id = keys[0]["id"].as_str().expect("an id");
    assert_eq!(
        told(&house).await,
        [
            "admin token created enrolment ci r1".to_owned(),
            "enrolment token ci changed enrolment ci r2".to_owned(),
            "enrolment token ci created registration orders r1".to_owned(),
            format!("enrolment token ci created api_key orders/{id} r1"),
            "enrolment token ci created service orders/v1 r1".to_owned(),
            "registration key of orders changed service orders/v1 r2".to_owned(),
        ]
    );
    let trail = house.get("/audit?key=orders").await;
    let items = trail.fine(200)["items"].as_array().expect("items");
    assert_eq!(items.len(), 4);
    assert!(items.iter().all(|item| item["address"] == "127.0.0.1"), "the call's own: {items:?}");
}

/// Makes and unmakes everything there is; returns every secret that was ever shown or sent, and its hash.
async fn everything(house: &House) -> Vec<String> {
    let mut secrets = vec!["first password".to_owned(), "second password".to_owned(), "brought along".to_owned()];
    let mut keep = |body: &Value| {
        for field in ["token", "api_key", "registration_key", "secret_key", "secret"] {
            secrets.extend(body[field].as_str().map(str::to_owned));
        }
    };
    let token = house.enrolment(json!({"name": "ci"})).await;
    keep(&json!({"token": token}));
    keep(house.register(&token, json!({"name": "orders", "base_url": "http://127.0.0.1:1"})).await.fine(201));
    keep(house.send("POST", "/services/orders/api-keys", json!({})).await.fine(201));
    keep(house.send("POST", "/clients", json!({"name": "shop"})).await.fine(201));
    keep(house.send("POST", "/clients", json!({"name": "old", "secret_key": "brought along"})).await.fine(201));
    let made = house.send("POST", "/clients/shop/api-keys", json!({"api_key": "brought along"})).await;
    keep(made.fine(201));
    let secret = house.send("POST", "/clients/old/secrets", json!({})).await;
    keep(secret.fine(201));
    let user =
        json!({"username": "ada", "password": "first password", "user_info": {"id": 7, "api_token": "brought along"}});
    house.send("POST", "/users", user).await.fine(201);
    house.send("PUT", "/users/ada", json!({"password": "second password"})).await.fine(200);
    let hashes: Vec<_> = house.registry.all(Kind::User).await.expect("read").into_iter().map(|row| row.body).collect();
    let sealed = house.registry.all(Kind::ClientSecret).await.expect("read").into_iter().map(|row| row.body);
    for body in hashes.into_iter().chain(sealed) {
        let body: Value = serde_json::from_str(&body).expect("JSON");
        secrets.extend(["password_hash", "sealed"].iter().filter_map(|field| body[*field].as_str()).map(str::to_owned));
    }
    house.send("PUT", "/clients/shop", json!({"services": ["orders"]})).await.fine(200);
    let id = secret.body["id"].as_str().expect("an id");
    house.send("PUT", &format!("/clients/old/secrets/{id}"), json!({"uses": ["sign"]})).await.fine(200);
    house.delete(&format!("/clients/old/secrets/{id}")).await.fine(204);
    let id = made.body["id"].as_str().expect("an id");
    house.delete(&format!("/clients/shop/api-keys/{id}")).await.fine(204);
    for path in ["/clients/shop", "/clients/old", "/services/orders/v1", "/enrolment-tokens/ci", "/users/ada"] {
        house.delete(path).await.fine(204);
    }
    let hashes: Vec<_> = secrets.iter().map(|secret| hash_key(secret).to_hex()).collect();
    secrets.extend(hashes);
    secrets
}

#[tokio::test]
async fn no_secret_and_no_hash_of_one_is_told() {
    let house = House::new().await;
    let secrets = everything(&house).await;
    assert!(secrets.len() > 20, "{}", secrets.len());
    let trail = house.get("/audit?after=0&limit=1000").await;
    let text = trail.fine(200).to_string();
    for secret in secrets {
        assert!(!text.contains(&secret), "a secret is told: {secret}");
    }
    assert!(!text.contains("argon2") && text.contains("\"password\":\"[new]\""));
    for (kind, entries) in [
        ("enrolment", 3),
        ("registration", 2),
        ("service", 2),
        ("api_key", 6),
        ("client", 5),
        ("client_secret", 7),
        ("user", 3),
    ] {
        let found = house.get(&format!("/audit?kind={kind}")).await;
        let items = found.fine(200)["items"].as_array().expect("items");
        assert_eq!(items.len(), entries, "{kind}: {items:?}");
    }
    let all = trail.body["items"].as_array().expect("items");
    let by: Vec<_> = all.iter().map(|item| item["actor"].as_str().expect("a text")).collect();
    assert!(by.iter().all(|actor| ["admin token", "enrolment token ci"].contains(actor)), "{by:?}");
    assert_eq!(house.get("/audit/verify").await.fine(200)["intact"], true);
}

#[tokio::test]
async fn the_trail_comes_in_pieces_and_can_be_followed() {
    let house = House::new().await;
    assert_eq!(*house.get("/audit?after=0").await.fine(200), json!({"items": [], "next": "0"}));
    for number in 0..7 {
        house.send("POST", "/enrolment-tokens", json!({"name": format!("t{number}")})).await.fine(201);
    }
    for limit in [1, 3, 7, 100] {
        let seqs: Vec<_> = house.all("/audit", limit).await.iter().map(|item| item["seq"].clone()).collect();
        assert_eq!(seqs, (1..=7).rev().collect::<Vec<u64>>());
    }
    let piece = house.get("/audit?after=2&limit=2").await;
    let seqs: Vec<_> = piece.fine(200)["items"].as_array().expect("items").iter().map(|item| &item["seq"]).collect();
    assert_eq!((seqs, &piece.body["next"]), (vec![&json!(3), &json!(4)], &json!("4")));
    for query in ["after=x", "cursor=x", "after=-1"] {
        house.get(&format!("/audit?{query}")).await.refused(400, "bad_cursor");
    }
    for query in ["after=1&cursor=1", "limit=0", "limit=1001", "since=1"] {
        house.get(&format!("/audit?{query}")).await.refused(400, "bad_query");
    }
}

#[tokio::test]
async fn what_nobody_asked_for_is_the_gateways_own() {
    let house = House::new().await;
    let client = |enabled| Client { enabled, ..Client::default() };
    let edit = move |enabled| Transaction {
        owner: Owner::Api,
        edits: vec![Edit::Client("default".parse().expect("a label"), Some(client(enabled)))],
    };
    house.state.changes.submit(move |_| Ok((edit(true), ()))).await.expect("made");
    let file = house.state.changes.by(Actor::file_apply(None));
    file.submit(move |_| Ok((edit(false), ()))).await.expect("changed");
    // Taking out what is not there is no change.
    let nothing = |name: &str| Edit::Client(name.parse().expect("a label"), None);
    let edits = vec![nothing("nobody")];
    file.submit(move |_| Ok((Transaction { owner: Owner::Api, edits: edits.clone() }, ())))
        .await
        .expect("nothing to do");
    assert_eq!(told(&house).await, ["gateway created client default r1", "file apply changed client default r2"]);
}
