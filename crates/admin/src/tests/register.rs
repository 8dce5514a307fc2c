//! `POST /-/register`.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use portcullis_core::body::Body;
use portcullis_core::call::KeyHolder;
use portcullis_core::message::{FieldName, FieldValue};
use portcullis_core::ports::{Kind, Objects};
use portcullis_identity::{checksum_ok, hash_key};
use serde_json::{Value, json};

use super::{Answer, House, call};

const URL: &str = "http://127.0.0.1:9001";

fn orders() -> Value {
    json!({"name": "orders", "base_url": URL})
}

async fn registered(house: &House, body: Value) -> Value {
    let name = format!("for {}", body["name"]);
    let token = house.enrolment(json!({"name": name})).await;
    house.register(&token, body).await.fine(201).clone()
}

fn key(reply: &Value) -> &str {
    reply["registration_key"].as_str().expect("a key")
}

#[tokio::test]
async fn a_service_registers_itself() {
    let house = House::new().await;
    let reply = registered(&house, orders()).await;
    let (api_key, registration_key) = (reply["api_key"].as_str().expect("a key"), key(&reply));
    assert_eq!(
        reply,
        json!({"name": "orders", "version": "v1", "path": "/orders/v1", "api_key": api_key,
            "registration_key": registration_key})
    );
    assert!(api_key.starts_with("pck_") && checksum_ok(api_key));
    assert!(registration_key.starts_with("pcr_") && checksum_ok(registration_key));
    let service = house.get("/services/orders/v1").await;
    assert_eq!(service.fine(200)["owner"], "registration");
    assert_eq!(service.body["targets"], json!([{"url": URL, "weight": 1}]));
    assert_eq!(service.body["require"], json!([["bearer", "api_key"]]));
    let holder = house.directory.read(|entries| entries.holder(&hash_key(api_key)));
    assert!(matches!(holder, Some(KeyHolder::Service(name)) if &*name == "orders"));
    let rows = house.registry.all(Kind::Registration).await.expect("read");
    assert!(rows.len() == 1 && !rows[0].body.contains(registration_key));
    assert_eq!(house.get("/enrolment-tokens/for%20%22orders%22").await.fine(200)["uses"], 1);
}

#[tokio::test]
async fn a_taken_name_is_a_conflict_that_uses_nothing_up() {
    let house = House::new().await;
    registered(&house, orders()).await;
    let token = house.enrolment(json!({"name": "once", "max_uses": 1})).await;
    house.register(&token, orders()).await.refused(409, "conflict");
    house.register(&token, json!({"name": "orders", "base_url": URL, "version": "v2"})).await.refused(409, "conflict");
    let declared = json!({"targets": [{"url": URL}]});
    house.send("PUT", "/services/declared/v1", declared).await.fine(201);
    house.register(&token, json!({"name": "declared", "base_url": URL})).await.refused(409, "conflict");
    house.register(&token, json!({"name": "free", "base_url": URL})).await.fine(201);
    house.register(&token, json!({"name": "other", "base_url": URL})).await.refused(401, "invalid_credential");
}

#[tokio::test]
async fn the_registration_key_changes_what_was_registered() {
    let house = House::new().await;
    let reply = registered(&house, orders()).await;
    let update = async |body: Value| house.register(key(&reply), body).await;
    let without_keys = json!({"name": "orders", "version": "v1", "path": "/orders/v1"});
    assert_eq!(*update(orders()).await.fine(200), without_keys);
    assert_eq!(house.get("/services/orders/v1").await.fine(200)["revision"], 1, "nothing new was said");
    let moved = json!({"name": "orders", "base_url": "http://127.0.0.1:9002/x"});
    assert_eq!(*update(moved).await.fine(200), without_keys);
    let targets =
        async |version: &str| house.get(&format!("/services/orders/{version}")).await.fine(200)["targets"].clone();
    assert_eq!(targets("v1").await, json!([{"url": "http://127.0.0.1:9002/x", "weight": 1}]));
    let other = json!({"name": "orders", "base_url": URL, "version": "v2"});
    assert_eq!(update(other).await.fine(200)["path"], "/orders/v2");
    assert_eq!(targets("v2").await, json!([{"url": URL, "weight": 1}]));
    assert_eq!(house.get("/services/orders/v2").await.body["owner"], "registration");
    assert_eq!(house.all("/services/orders/api-keys", 10).await.len(), 1);
}

#[tokio::test]
async fn instances_have_targets_of_their_own() {
    let house = House::new().await;
    let reply = registered(&house, orders()).await;
    let update = async |url: &str, instance: Option<&str>| {
        let mut body = json!({"name": "orders", "base_url": url});
        if let Some(instance) = instance {
            body["instance"] = instance.into();
        }
        house.register(key(&reply), body).await.fine(200);
        house.get("/services/orders/v1").await.fine(200)["targets"].clone()
    };
    let first = json!({"url": URL, "weight": 1});
    let target = |url: &str, instance: &str| json!({"url": url, "weight": 1, "instance": instance});
    assert_eq!(update("http://a:1", Some("a")).await, json!([first, target("http://a:1", "a")]));
    assert_eq!(
        update("http://b:1", Some("b")).await,
        json!([first, target("http://a:1", "a"), target("http://b:1", "b")])
    );
    assert_eq!(
        update("http://a:2", Some("a")).await,
        json!([first, target("http://a:2", "a"), target("http://b:1", "b")])
    );
    assert_eq!(update("http://c:1", None).await, json!([{"url": "http://c:1", "weight": 1}]));
}

#[tokio::test]
async fn what_its_operator_set_survives_a_registration() {
    let house = House::new().await;
    let reply = registered(&house, orders()).await;
    let declared = json!({"targets": [{"url": URL, "weight": 3, "instance": "a"}], "require": [["api_key"]]});
    assert_eq!(house.send("PUT", "/services/orders/v1", declared).await.fine(200)["owner"], "registration");
    let body = json!({"name": "orders", "base_url": "http://a:2", "instance": "a"});
    house.register(key(&reply), body).await.fine(200);
    let service = house.get("/services/orders/v1").await;
    assert_eq!(service.fine(200)["targets"], json!([{"url": "http://a:2", "weight": 3, "instance": "a"}]));
    assert_eq!(service.body["require"], json!([["api_key"]]));
}

#[tokio::test]
async fn a_full_service_takes_no_more_instances() {
    let house = House::new().await;
    let reply = registered(&house, orders()).await;
    let targets: Vec<_> = (0..1_000).map(|port| json!({"url": format!("http://a:{}", port + 1)})).collect();
    house.send("PUT", "/services/orders/v1", json!({"targets": targets})).await.fine(200);
    let body = json!({"name": "orders", "base_url": URL, "instance": "one-more"});
    house.register(key(&reply), body).await.refused(409, "conflict");
}

#[tokio::test]
async fn a_registration_key_is_good_for_its_own_name_only() {
    let house = House::new().await;
    let reply = registered(&house, orders()).await;
    let billing = registered(&house, json!({"name": "billing", "base_url": URL})).await;
    for name in ["billing", "free"] {
        let answer = house.register(key(&reply), json!({"name": name, "base_url": URL})).await;
        answer.refused(401, "invalid_credential");
    }
    // The key with which apps call changes nothing.
    let answer = house.register(billing["api_key"].as_str().expect("a key"), orders()).await;
    answer.refused(401, "invalid_credential");
}

#[tokio::test]
async fn a_name_is_free_again_when_its_last_version_is_gone() {
    let house = House::new().await;
    let reply = registered(&house, orders()).await;
    house.delete("/services/orders/v1").await.fine(204);
    house.register(key(&reply), orders()).await.refused(401, "invalid_credential");
    let holds = |key: &str| house.directory.read(|entries| entries.holder(&hash_key(key)).is_some());
    assert!(!holds(reply["api_key"].as_str().expect("a key")));
    let token = house.enrolment(json!({"name": "again"})).await;
    house.register(&token, orders()).await.fine(201);
}

#[tokio::test]
async fn tokens_are_bound_by_pattern_time_and_use() {
    let house = House::new().await;
    let token = house.enrolment(json!({"name": "team", "pattern": "team-*", "max_uses": 1, "ttl": 60})).await;
    let register = async |name: &str| house.register(&token, json!({"name": name, "base_url": URL})).await;
    register("orders").await.refused(403, "forbidden");
    register("team-a").await.fine(201);
    let answer = register("team-b").await;
    answer.refused(401, "invalid_credential");
    assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"portcullis registration\"");
    let token = house.enrolment(json!({"name": "short", "ttl": "60s"})).await;
    house.clock.advance(Duration::from_secs(60));
    house.register(&token, orders()).await.refused(401, "invalid_credential");
    let token = house.enrolment(json!({"name": "deleted"})).await;
    house.delete("/enrolment-tokens/deleted").await.fine(204);
    house.register(&token, orders()).await.refused(401, "invalid_credential");
    house.register("pce_unknown", orders()).await.refused(401, "invalid_credential");
}

#[tokio::test]
async fn a_race_for_three_uses_has_three_winners() {
    let house = Arc::new(House::new().await);
    let token = house.enrolment(json!({"name": "three", "max_uses": 3})).await;
    let racers: Vec<_> = (0..40)
        .map(|number| {
            let (house, token) = (house.clone(), token.clone());
            tokio::spawn(async move {
                house.register(&token, json!({"name": format!("racer-{number}"), "base_url": URL})).await.status
            })
        })
        .collect();
    let mut won = 0;
    for racer in racers {
        match racer.await.expect("ran").as_u16() {
            201 => won += 1,
            status => assert_eq!(status, 401),
        }
    }
    assert_eq!((won, house.all("/services", 100).await.len()), (3, 3));
}

#[tokio::test]
async fn a_race_for_one_name_has_one_winner() {
    let house = Arc::new(House::new().await);
    let token = house.enrolment(json!({"name": "any"})).await;
    let racers: Vec<_> = (0..20)
        .map(|_| {
            let (house, token) = (house.clone(), token.clone());
            tokio::spawn(async move { house.register(&token, orders()).await.status.as_u16() })
        })
        .collect();
    let mut statuses = Vec::new();
    for racer in racers {
        statuses.push(racer.await.expect("ran"));
    }
    statuses.sort_unstable();
    assert_eq!((statuses[0], &statuses[1..]), (201, &[409; 19][..]));
    assert_eq!(house.get("/enrolment-tokens/any").await.fine(200)["uses"], 1);
}

#[tokio::test]
async fn what_cannot_be_registered_is_refused() {
    let house = House::new().await;
    let token = house.enrolment(json!({"name": "any"})).await;
    for (body, code) in [
        (json!({"name": "a b", "base_url": URL}), "bad_name"),
        (json!({"name": "", "base_url": URL}), "bad_name"),
        (json!({"name": "oauth", "base_url": URL}), "bad_name"),
        (json!({"name": ".well-known", "base_url": URL}), "bad_name"),
        (json!({"name": "x".repeat(65), "base_url": URL}), "bad_name"),
        (json!({"name": "a", "base_url": URL, "version": "v 1"}), "bad_version"),
        (json!({"name": "a", "base_url": URL, "instance": ""}), "bad_instance"),
        (json!({"name": "a", "base_url": "localhost:1"}), "bad_base_url"),
        (json!({"name": "a", "base_url": "file:///etc"}), "bad_base_url"),
        (json!({"name": "a", "base_url": "http://u:p@a/"}), "bad_base_url"),
        (json!({"name": "a", "base_url": ""}), "bad_base_url"),
        (json!({"name": "a"}), "malformed_json"),
        (json!({"name": 1, "base_url": URL}), "malformed_json"),
        (json!([]), "malformed_json"),
    ] {
        house.register(&token, body).await.refused(400, code);
    }
    house.register(&token, json!({"name": "a", "base_url": URL, "more": 1, "version": null})).await.fine(201);
}

#[tokio::test]
async fn the_request_itself_has_a_form() {
    let house = House::new().await;
    let token = house.enrolment(json!({"name": "any"})).await;
    let send = async |method: Method, body: String, fields: &[(&'static str, &str)]| -> Answer {
        let mut call = call(method, Body::full(body));
        for (name, value) in fields {
            let value = FieldValue::of(value).expect("a value");
            call.request.fields.add(FieldName::from_static(name), value);
        }
        house.answer(&mut call).await
    };
    let good = format!("Bearer {token}");
    let answer = send(Method::POST, orders().to_string(), &[]).await;
    answer.refused(401, "missing_credential");
    assert!(answer.header("www-authenticate").starts_with("Bearer "));
    send(Method::POST, orders().to_string(), &[("authorization", "Basic x")]).await.refused(401, "missing_credential");
    let twice = [("authorization", good.as_str()), ("authorization", good.as_str())];
    send(Method::POST, orders().to_string(), &twice).await.refused(401, "invalid_credential");
    let answer = send(Method::GET, String::new(), &[("authorization", &good)]).await;
    answer.refused(405, "method_not_allowed");
    assert_eq!(answer.header("allow"), "POST");
    let fields = [("authorization", good.as_str()), ("content-type", "text/plain")];
    send(Method::POST, orders().to_string(), &fields).await.refused(415, "unsupported_media_type");
    let large = format!("{}{}", orders(), " ".repeat(16 << 10));
    send(Method::POST, large, &[("authorization", &good)]).await.refused(413, "body_too_large");
    send(Method::POST, "{".into(), &[("authorization", &good)]).await.refused(400, "malformed_json");
    send(Method::POST, orders().to_string(), &[("authorization", &good)]).await.fine(201);
}
