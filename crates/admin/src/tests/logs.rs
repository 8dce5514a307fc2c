//! `/api/v1/logs`.

use std::sync::Arc;

use portcullis_core::ports::AccessLog;
use serde_json::{Value, json};

use super::{House, record};

fn write(house: &House, service: &str, user: &str, status: u16) {
    let mut record = record(&format!("/{service}/v1/x"), status);
    record.service = Some(service.into());
    record.version = Some("v1".into());
    record.user = Some(user.into());
    record.reason = Some("for the operator's file".into());
    house.state.log.write(&record);
}

async fn statuses(house: &House, query: &str) -> Vec<u64> {
    let answer = house.get(&format!("/logs{query}")).await;
    let items = answer.fine(200)["items"].as_array().expect("items").clone();
    items.iter().map(|item| item["status"].as_u64().expect("a status")).collect()
}

#[tokio::test]
async fn what_has_ended_is_found_at_once() {
    let house = House::new().await;
    write(&house, "orders", "ada", 200);
    write(&house, "billing", "ada", 404);
    write(&house, "orders", "bob", 503);
    for (query, found) in [
        ("", &[503, 404, 200][..]),
        ("?service=orders", &[503, 200]),
        ("?service=orders/v2", &[]),
        ("?user=ada", &[404, 200]),
        ("?status=5xx", &[503]),
        ("?status=404", &[404]),
        ("?path=/bill", &[404]),
        ("?since=2023-11-14T22:13:21Z", &[]),
        ("?client=shop", &[]),
        ("?service=orders&user=ada", &[200]),
        ("?after=0", &[200, 404, 503]),
        ("?after=2", &[503]),
    ] {
        assert_eq!(statuses(&house, query).await, found, "{query}");
    }
}

#[tokio::test]
async fn records_come_in_pages_without_the_private_reason() {
    let house = House::new().await;
    for status in 200..210 {
        write(&house, "orders", "ada", status);
    }
    let items = house.all("/logs", 3).await;
    let statuses: Vec<_> = items.iter().map(|item| item["status"].as_u64().expect("a status")).collect();
    assert_eq!(statuses, (200..210).rev().collect::<Vec<_>>());
    assert!(items[0].get("reason").is_none());
    let fields: Vec<_> = items[0].as_object().expect("an object").keys().map(String::as_str).collect();
    let document: Value = serde_json::from_str(&crate::openapi_json()).expect("JSON");
    let documented = document["components"]["schemas"]["LogRecord"]["properties"].as_object().expect("properties");
    let (mut found, mut documented): (Vec<_>, Vec<_>) = (fields, documented.keys().map(String::as_str).collect());
    found.sort_unstable();
    documented.sort_unstable();
    // Only calls of gRPC have the first, only records with a text that was too long the second, only calls that a time
    // limit has ended the third.
    documented.retain(|field| !["grpc_status", "cut", "limit"].contains(field));
    assert_eq!(found, documented);
}

#[tokio::test]
async fn bad_filters_are_refused_with_their_place() {
    let house = House::new().await;
    for (query, place) in [("status=abc", "status"), ("since=yesterday", "since"), ("service=a/b/c", "service")] {
        let answer = house.get(&format!("/logs?{query}")).await;
        assert_eq!(answer.refused(400, "bad_query").places(), [place]);
    }
    house.get("/logs?after=x").await.refused(400, "bad_cursor");
    house.get("/logs?after=1&cursor=1").await.refused(400, "bad_query");
}

#[tokio::test]
async fn a_following_search_always_has_a_next() {
    let house = House::new().await;
    let log: Arc<dyn AccessLog> = house.state.log.clone();
    let answer = house.get("/logs?after=0").await;
    assert_eq!(*answer.fine(200), json!({"items": [], "next": "0"}));
    log.write(&record("/", 200));
    assert_eq!(house.get("/logs?after=0").await.fine(200)["next"], "1");
    assert_eq!(*house.get("/logs?after=1").await.fine(200), json!({"items": [], "next": "1"}));
}
