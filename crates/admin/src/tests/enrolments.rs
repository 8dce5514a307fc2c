//! `/api/v1/enrolment-tokens`.

use portcullis_core::ports::{Kind, Objects};
use serde_json::json;

use super::House;

#[tokio::test]
async fn an_enrolment_token_is_shown_once() {
    let house = House::new().await;
    let body = json!({"name": "team a", "pattern": "team-*", "max_uses": 2, "ttl": "24h"});
    let answer = house.send("POST", "/enrolment-tokens", body).await;
    let token = answer.fine(201)["token"].as_str().expect("a token").to_owned();
    assert!(token.starts_with("pce_") && portcullis_identity::checksum_ok(&token));
    let expires_at = "2023-11-15T22:13:20.000Z";
    let created =
        json!({"name": "team a", "token": token, "pattern": "team-*", "max_uses": 2, "expires_at": expires_at});
    assert_eq!(answer.body, created);
    let object = json!({
        "name": "team a", "pattern": "team-*", "max_uses": 2, "uses": 0, "created_at": "2023-11-14T22:13:20.000Z",
        "expires_at": expires_at, "revision": 1, "owner": "api",
    });
    assert_eq!(*house.get("/enrolment-tokens/team%20a").await.fine(200), object);
    assert_eq!(house.all("/enrolment-tokens", 10).await, [object]);
    let rows = house.registry.all(Kind::Enrolment).await.expect("read");
    assert!(!rows[0].body.contains(&token));
    house.delete("/enrolment-tokens/team%20a").await.fine(204);
    house.delete("/enrolment-tokens/team%20a").await.refused(404, "not_found");
    house.get("/enrolment-tokens/team%20a").await.refused(404, "not_found");
}

#[tokio::test]
async fn what_is_absent_is_without_limit() {
    let house = House::new().await;
    let answer = house.send("POST", "/enrolment-tokens", json!({"name": "all"})).await;
    let body = answer.fine(201);
    assert_eq!((&body["pattern"], &body["max_uses"], &body["expires_at"]), (&json!("*"), &json!(null), &json!(null)));
    house.send("POST", "/enrolment-tokens", json!({"name": "all"})).await.refused(409, "conflict");
    let answer = house.send("POST", "/enrolment-tokens", json!({"name": "seconds", "ttl": 60})).await;
    assert_eq!(answer.fine(201)["expires_at"], "2023-11-14T22:14:20.000Z");
}

#[tokio::test]
async fn bad_enrolments_are_refused_with_their_place() {
    let house = House::new().await;
    for (body, place) in [
        (json!({"name": "a/b"}), "name"),
        (json!({"name": "a", "ttl": "soon"}), "ttl"),
        (json!({"name": "a", "ttl": 0}), "ttl"),
        (json!({"name": "a", "max_uses": -1}), "max_uses"),
        (json!({"name": "a", "pattern": 1}), "pattern"),
        (json!({"name": "a", "uses": 1}), "uses"),
    ] {
        let answer = house.send("POST", "/enrolment-tokens", body.clone()).await;
        assert_eq!(answer.refused(400, "invalid_body").places(), [place], "{body}");
    }
    house.send("POST", "/enrolment-tokens", json!({})).await.refused(400, "invalid_body");
    let body = json!({"name": "a", "pattern": "a.b", "max_uses": 0});
    let answer = house.send("POST", "/enrolment-tokens", body).await;
    assert_eq!(answer.refused(422, "invalid_declaration").places(), ["pattern", "max_uses"]);
}
