//! `/api/v1/captures`.

use std::sync::Arc;

use portcullis_core::audit::{AuditFrom, AuditQuery};
use portcullis_core::budget::Share;
use portcullis_core::capture::{Copied, Exchange, Message};
use portcullis_core::ports::{Captures, Clock, Objects};
use serde_json::{Value, json};

use super::House;

fn keep(house: &House, id: &str, service: &str) {
    let copied = Copied { bytes: b"{\"password\":\"s3cret\"}".to_vec(), size: 30, ..Copied::default() };
    house.state.captures.keep(Box::new(Exchange {
        time: house.clock.unix_millis(),
        request_id: id.to_owned(),
        route: service.into(),
        service: Some(service.parse().expect("a service")),
        client_ip: "192.0.2.1".to_owned(),
        method: "POST".to_owned(),
        path: "/x".into(),
        query: Some("token=s3cret".into()),
        status: Some(200),
        request: Message { body: Some(copied), ..Message::default() },
        response: Message::default(),
        redaction: Arc::default(),
        share: Share::of(house.state.captures.budget()),
    }));
}

async fn trail(house: &House) -> Vec<(String, String, String)> {
    let query = AuditQuery { kind: Some("capture".to_owned()), key: None, from: AuditFrom::After(0), limit: 100 };
    let entries = house.registry.audit(query).await.expect("a trail");
    let told = entries.into_iter().map(|found| {
        let entry = found.entry;
        (entry.action.as_str().to_owned(), entry.key, entry.before.unwrap_or_default())
    });
    told.collect()
}

#[tokio::test]
async fn exchanges_are_listed_in_pieces_and_by_what_is_asked() {
    let house = House::new().await;
    for number in 0..7 {
        keep(&house, &format!("call-{number}"), if number % 2 == 0 { "orders/v1" } else { "billing/v2" });
    }
    let ids: Vec<Value> = house.all("/captures", 3).await.into_iter().map(|item| item["request_id"].clone()).collect();
    assert_eq!(ids, ["call-6", "call-5", "call-4", "call-3", "call-2", "call-1", "call-0"]);
    for (query, count) in [
        ("service=orders", 4),
        ("service=billing/v2", 3),
        ("service=billing/v1", 0),
        ("route=orders/v1", 4),
        ("request_id=call-3", 1),
    ] {
        let found = house.get(&format!("/captures?{query}")).await;
        assert_eq!(found.fine(200)["items"].as_array().expect("items").len(), count, "{query}");
    }
    house.get("/captures?cursor=x").await.refused(400, "bad_cursor");
    house.get("/captures?limit=0").await.refused(400, "bad_query");
    house.get("/captures?user=x").await.refused(400, "bad_query");
}

#[tokio::test]
async fn reading_and_clearing_go_to_the_audit_trail() {
    let house = House::new().await;
    keep(&house, "a b/c", "orders/v1");
    let answer = house.get("/captures/a%20b%2Fc").await;
    let shown = answer.fine(200);
    assert_eq!((&shown["query"], &shown["status"]), (&json!("token=[redacted]"), &json!(200)));
    let body = json!({"bytes": 30, "complete": false, "truncated": true, "text": "{\"password\":\"[redacted]\"}",
        "base64": null, "note": null});
    assert_eq!(shown["request"], json!({"headers": null, "headers_truncated": false, "body": body}));
    house.get("/captures/another").await.refused(404, "not_found");
    assert_eq!(*house.delete("/captures").await.fine(200), json!({"cleared": 1}));
    house.get("/captures/a%20b%2Fc").await.refused(404, "not_found");
    let told = |action: &str, key: &str, before: &str| (action.to_owned(), key.to_owned(), before.to_owned());
    assert_eq!(trail(&house).await, [told("read", "a b/c", ""), told("deleted", "all", "{\"exchanges\":1}")]);
    let verdict = house.get("/audit/verify").await;
    assert_eq!(verdict.fine(200)["intact"], true);
}
