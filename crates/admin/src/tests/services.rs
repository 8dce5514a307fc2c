//! `/api/v1/services`.

use serde_json::{Value, json};

use super::House;

fn one() -> Value {
    json!({"targets": [{"url": "http://127.0.0.1:9001/base/"}]})
}

#[tokio::test]
async fn a_service_is_made_replaced_shown_and_deleted() {
    let house = House::new().await;
    let answer = house.send("PUT", "/services/orders/v1", one()).await;
    let object = json!({
        "name": "orders", "version": "v1", "path": "/orders/v1",
        "targets": [{"url": "http://127.0.0.1:9001/base", "weight": 1}],
        "require": [["bearer", "api_key"]], "audiences": [], "policies": {},
        "revision": 1, "owner": "api",
    });
    assert_eq!(*answer.fine(201), object);
    assert_eq!(answer.header("etag"), "\"1\"");
    let changed = json!({"targets": [{"url": "http://127.0.0.1:9002", "weight": 7}], "require": []});
    let answer = house.send("PUT", "/services/orders/v1", changed).await;
    assert_eq!((&answer.fine(200)["revision"], &answer.body["require"]), (&json!(2), &json!([])));
    assert_eq!(answer.header("etag"), "\"2\"");
    let shown = house.get("/services/orders/v1").await;
    assert_eq!((shown.fine(200), shown.header("etag")), (&answer.body, "\"2\""));
    house.delete("/services/orders/v1").await.fine(204);
    house.get("/services/orders/v1").await.refused(404, "not_found");
    house.delete("/services/orders/v1").await.refused(404, "not_found");
    for path in ["/services/a%20b/v1", "/services/oauth/v1"] {
        house.get(path).await.refused(404, "not_found");
        house.delete(path).await.refused(404, "not_found");
    }
}

#[tokio::test]
async fn changes_happen_on_the_revision_their_author_saw() {
    let house = House::new().await;
    let put = async |field: &str, value: &str| {
        let fields = [(field, value), ("content-type", "application/json")];
        house.send_with("PUT", "/api/v1/services/orders/v1", &fields, one().to_string()).await
    };
    let delete =
        async |value: &str| house.send_with("DELETE", "/api/v1/services/orders/v1", &[("if-match", value)], "").await;
    put("if-match", "*").await.refused(412, "precondition_failed");
    put("if-match", "\"1\"").await.refused(412, "precondition_failed");
    delete("*").await.refused(412, "precondition_failed");
    put("if-none-match", "*").await.fine(201);
    put("if-none-match", "*").await.refused(412, "precondition_failed");
    put("if-match", "\"1\"").await.fine(200);
    put("if-match", "\"1\"").await.refused(412, "precondition_failed");
    put("if-match", "\"1\", \"2\"").await.fine(200);
    put("if-match", "W/\"3\"").await.refused(412, "precondition_failed");
    put("if-match", "3").await.refused(400, "bad_condition");
    delete("\"2\"").await.refused(412, "precondition_failed");
    delete("\"3\"").await.fine(204);
}

#[tokio::test]
async fn every_mistake_is_told_at_once() {
    let house = House::new().await;
    let body = json!({
        "targets": [{"url": "ftp://a"}, {"url": "http://b", "weight": 1001}, {"weight": 1}, "x"],
        "require": [["bearer"], ["fingerprint"], 7],
        "audience": [],
        "audiences": "me",
        "policies": {"request_limits": {"body_bytes": "many"}, "teleport": {}},
    });
    let answer = house.send("PUT", "/services/oauth/v%201", body).await;
    answer.refused(422, "invalid_declaration");
    let places = answer.places();
    for place in [
        "version",
        "targets[0].url",
        "targets[1].weight",
        "targets[2].url",
        "targets[3]",
        "require[2]",
        "audience",
        "audiences",
        "policies.teleport",
    ] {
        assert!(places.contains(&place), "{place} in {places:?}");
    }
    assert!(places.iter().any(|place| place.starts_with("policies.request_limits")), "{places:?}");
    house.get("/services").await.fine(200);
    assert_eq!(house.all("/services", 10).await, Vec::<Value>::new());
}

#[tokio::test]
async fn what_only_compiling_finds_is_told_with_its_place() {
    let house = House::new().await;
    let mut body = one();
    body["require"] = json!([["fingerprint"]]);
    body["policies"] = json!({"teleport": {}});
    let answer = house.send("PUT", "/services/orders/v1", body).await;
    let places = answer.refused(422, "invalid_declaration").places();
    assert!(places.iter().any(|place| place.starts_with("require[0]")), "{places:?}");
    assert!(places.contains(&"policies.teleport"), "{places:?}");
}

#[tokio::test]
async fn names_and_shapes_are_refused() {
    let house = House::new().await;
    for (path, place) in [
        ("/services/auth/v1", "name"),
        ("/services/-/v1", "name"),
        ("/services/a.b/v1", "name"),
        ("/services/a/v.1", "version"),
        (&format!("/services/{}/v1", "x".repeat(65)), "name"),
    ] {
        let answer = house.send("PUT", path, one()).await;
        assert_eq!(answer.refused(422, "invalid_declaration").places(), [place], "{path}");
    }
    for body in [json!([]), json!(null), json!({}), json!({"targets": []})] {
        house.send("PUT", "/services/orders/v1", body).await.refused(422, "invalid_declaration");
    }
}

#[tokio::test]
async fn a_service_has_a_thousand_targets_and_no_more() {
    let house = House::new().await;
    let targets = |count| json!({"targets": vec![json!({"url": "http://127.0.0.1:1"}); count]});
    house.send("PUT", "/services/orders/v1", targets(1_001)).await.refused(409, "conflict");
    house.send("PUT", "/services/orders/v1", targets(1_000)).await.fine(201);
}

#[tokio::test]
async fn services_come_in_pages_by_name() {
    let house = House::new().await;
    let names = ["a-b/v1", "a/v10", "a/v2", "b/v1", "c/v1"];
    for name in names.iter().rev() {
        house.send("PUT", &format!("/services/{name}"), one()).await.fine(201);
    }
    for limit in [1, 2, 5, 6] {
        let items = house.all("/services", limit).await;
        let found: Vec<_> = items.iter().map(|item| item["path"].as_str().expect("a path")).collect();
        assert_eq!(found, ["/a/v10", "/a/v2", "/a-b/v1", "/b/v1", "/c/v1"], "by name, then by version");
    }
}

#[tokio::test]
async fn the_last_version_takes_the_keys_of_its_name_along() {
    let house = House::new().await;
    house.send("POST", "/services/orders/api-keys", json!({})).await.refused(404, "not_found");
    house.send("PUT", "/services/orders/v1", one()).await.fine(201);
    house.send("PUT", "/services/orders/v2", one()).await.fine(201);
    let answer = house.send("POST", "/services/orders/api-keys", json!({"api_key": "brought along"})).await;
    assert_eq!(answer.fine(201)["api_key"], "brought along");
    let holds =
        || house.directory.read(|entries| entries.holder(&portcullis_identity::hash_key("brought along")).is_some());
    house.delete("/services/orders/v1").await.fine(204);
    assert!(holds());
    house.delete("/services/orders/v2").await.fine(204);
    assert!(!holds());
    house.send("PUT", "/services/orders/v1", one()).await.fine(201);
    assert_eq!(house.all("/services/orders/api-keys", 10).await, Vec::<Value>::new());
}

#[tokio::test]
async fn keys_of_a_service_are_listed_without_the_key_and_deleted() {
    let house = House::new().await;
    house.send("PUT", "/services/orders/v1", one()).await.fine(201);
    let answer = house.send_with("POST", "/api/v1/services/orders/api-keys", &[], "").await;
    let key = answer.fine(201)["api_key"].as_str().expect("a key").to_owned();
    assert!(portcullis_identity::checksum_ok(&key) && key.starts_with("pck_"));
    let listed = house.all("/services/orders/api-keys", 10).await;
    assert_eq!(listed, [json!({"id": answer.body["id"], "created_at": "2023-11-14T22:13:20.000Z"})]);
    let path = format!("/services/orders/api-keys/{}", answer.body["id"].as_str().expect("an id"));
    house.delete(&path).await.fine(204);
    house.delete(&path).await.refused(404, "not_found");
}
