//! `/api/v1/import` and `/api/v1/clients/{name}/tokens`: what another gateway has.

use portcullis_core::ports::Sessions as _;
use portcullis_identity::opaque::{self, Use};
use serde_json::{Value, json};

use super::{House, millis};

fn body(services: &Value, secret: &str) -> Value {
    json!({
        "declarations": {
            "version": 1, "services": services,
            "clients": {"shop": {"services": [], "access_key": "app"}},
        },
        "secrets": {"shop": secret},
    })
}

fn one() -> Value {
    json!({"orders/v1": {"targets": [{"url": "http://127.0.0.1:9001"}], "require": [["signature"]]}})
}

#[tokio::test]
async fn declarations_and_secrets_come_together_and_but_once() {
    let house = House::new().await;
    let plan = house.send("POST", "/import?dry_run=true", body(&one(), "sesame")).await;
    let etag = plan.header("etag").to_owned();
    assert_eq!(
        plan.fine(200)["secrets"],
        json!({"added": ["shop"], "known": [], "other": [], "changed": [], "full": []})
    );
    assert_eq!(plan.body["plan"]["steps"].as_array().map(Vec::len), Some(2));
    assert!(house.all("/clients", 9).await.iter().all(|client| client["name"] != "shop"));

    let fields = [("content-type", "application/json"), ("if-match", etag.as_str())];
    let send = || house.send_with("POST", "/api/v1/import", &fields, body(&one(), "sesame").to_string());
    assert_eq!(send().await.fine(200)["secrets"]["added"], json!(["shop"]));
    send().await.refused(412, "precondition_failed");
    assert_eq!(house.live(), ["sesame"]);
    assert_eq!(house.get("/services/orders/v1").await.fine(200)["owner"], "import");

    let again = house.send("POST", "/import", body(&one(), "sesame")).await;
    assert_eq!(again.fine(200)["plan"]["steps"], json!([]));
    assert_eq!(again.body["secrets"], json!({"added": [], "known": ["shop"], "other": [], "changed": [], "full": []}));
    // One that was retired here stays so.
    let id = house.all("/clients/shop/secrets", 9).await[0]["id"].as_str().expect("an id").to_owned();
    house.delete(&format!("/clients/shop/secrets/{id}")).await.fine(204);
    let again = house.send("POST", "/import", body(&one(), "sesame")).await;
    assert_eq!(
        again.fine(200)["secrets"],
        json!({"added": [], "known": [], "other": ["shop"], "changed": [], "full": []})
    );
    assert!(house.live().is_empty());
    // What is declared no longer goes; what others made stays.
    house.send("PUT", "/services/mine/v1", json!({"targets": [{"url": "http://127.0.0.1:9002"}]})).await.fine(201);
    house.send("POST", "/import", body(&json!({}), "sesame")).await.fine(200);
    house.get("/services/orders/v1").await.refused(404, "not_found");
    house.get("/services/mine/v1").await.fine(200);
    let trail = house.all("/audit", 50).await;
    assert!(
        trail.iter().any(|entry| entry["actor"] == "import") && !Value::Array(trail).to_string().contains("sesame")
    );
}

#[tokio::test]
async fn a_secret_that_changes_there_comes_beside_the_former_and_none_is_revived() {
    let house = House::new().await;
    let import = async |secret: &str| {
        let planned =
            house.send("POST", "/import?dry_run=true", body(&one(), secret)).await.fine(200)["secrets"].clone();
        let done = house.send("POST", "/import", body(&one(), secret)).await.fine(200)["secrets"].clone();
        assert_eq!(planned, done);
        done
    };
    let retire = async |secret: &Value| {
        let path = format!("/clients/shop/secrets/{}", secret.as_str().expect("an id"));
        house.delete(&path).await.fine(204);
    };
    assert_eq!(import("first").await["added"], json!(["shop"]));
    let first = house.all("/clients/shop/secrets", 9).await[0]["id"].clone();
    let changed = import("second").await;
    assert_eq!(changed["changed"], json!([{"client": "shop", "former": first}]));
    let live = || house.live().into_iter().collect::<std::collections::BTreeSet<_>>();
    assert_eq!(live(), ["first", "second"].map(str::to_owned).into());
    assert_eq!(import("second").await["known"], json!(["shop"]));
    assert_eq!(import("third").await["full"], json!(["shop"]));
    // The second is retired here, and does not come back, nor does another take its place.
    let secrets = house.all("/clients/shop/secrets", 9).await;
    let second = secrets.iter().find(|secret| secret["id"] != first).expect("it is there")["id"].clone();
    retire(&second).await;
    for secret in ["second", "third"] {
        assert_eq!(import(secret).await["other"], json!(["shop"]), "{secret}");
    }
    assert_eq!(live(), ["first".to_owned()].into());
    retire(&first).await;
    assert_eq!(import("third").await["other"], json!(["shop"]));
    // One that was made here is followed by none.
    house.send("POST", "/clients/shop/secrets", json!({"secret": "of our own"})).await.fine(201);
    assert_eq!(import("third").await["other"], json!(["shop"]));
    assert_eq!(live(), ["of our own".to_owned()].into());
}

#[tokio::test]
async fn an_import_with_problems_changes_nothing() {
    let house = House::new().await;
    for (wrong, place) in [
        (body(&json!({"orders/v1": {"targets": [{"url": "ftp://a"}]}}), "x"), "services.orders/v1.targets[0].url"),
        (
            body(&json!({"orders/v1": {"targets": [{"url": "http://10.0.0.1"}]}}), "x"),
            "services.orders/v1.targets[0].url",
        ),
        (body(&one(), " sesame"), "secrets.shop"),
        (json!({"declarations": {"version": 1}, "secrets": {"shop": "sesame"}}), "secrets.shop"),
    ] {
        for path in ["/import?dry_run=true", "/import"] {
            let answer = house.send("POST", path, wrong.clone()).await;
            answer.refused(422, "invalid_declaration");
            assert!(answer.places().contains(&place), "{:?}", answer.body);
            assert!(!answer.body.to_string().contains("sesame"));
        }
    }
    let answer = house.send("POST", "/import", json!({"declarations": {}, "secrets": {"shop": ["sesame"]}})).await;
    assert!(answer.status.as_u16() == 400 && !answer.body.to_string().contains("sesame"), "{}", answer.body);
    assert!(house.get("/services/orders/v1").await.status.as_u16() == 404);
    // An object of another owner that differs is a problem, unless it is taken over.
    house.send("PUT", "/services/orders/v1", json!({"targets": [{"url": "http://127.0.0.1:9"}]})).await.fine(201);
    house.send("POST", "/import", body(&one(), "x")).await.refused(422, "invalid_declaration");
    house.send("POST", "/import?adopt=true", body(&one(), "x")).await.fine(200);
    assert_eq!(house.get("/services/orders/v1").await.fine(200)["owner"], "import");
}

#[tokio::test]
async fn pairs_of_tokens_are_taken_once_and_told_without_values() {
    let house = House::new().await;
    house.send("POST", "/import", body(&one(), "sesame")).await.fine(200);
    let hex =
        |what, token: &str| opaque::hash(what, token).0.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let pair = |number: usize, ttl: u64| {
        let token = |kind: char| format!("{kind}{number:026}");
        json!({
            "access": hex(Use::Access, &token('a')), "refresh": hex(Use::Refresh, &token('r')),
            "user_info": {"id": 7}, "access_ttl": ttl, "refresh_ttl": ttl * 2,
        })
    };
    let path = "/clients/shop/tokens";
    let (mut rounded, mut long) = (pair(4, 60), pair(5, 60));
    rounded["user_info"] = serde_json::from_str(r#"{"id": 12345678901234567890123}"#).expect("JSON");
    long["user_info"] = json!({"id": "\u{e9}".repeat(5_000)});
    let done = house.send("POST", path, json!({"tokens": [pair(1, 60), pair(2, 0), rounded, long]})).await;
    assert_eq!(done.fine(200), &json!({"taken": 1, "known": 0, "expired": 1, "too_large": 1, "inexact": 1}));
    let id = opaque::session_shown(&format!("a{:026}", 1)).expect("opaque");
    let session = house.registry.session(id).await.expect("read").expect("it is there");
    assert_eq!((session.client.as_str(), session.access_until), ("shop", Some(millis(&house) + 60_000)));
    assert!(house.registry.end_session(id).await.expect("ended"));
    let again = house.send("POST", path, json!({"tokens": [pair(1, 60)]})).await;
    assert_eq!(again.fine(200)["known"], 1);
    assert!(house.registry.session(id).await.expect("read").is_none(), "an ended pair came back");

    for (wrong, status) in [
        (
            json!({"tokens": [{"access": "00", "refresh": "00", "user_info": {}, "access_ttl": 1, "refresh_ttl": 1}]}),
            400,
        ),
        (json!({"tokens": vec![pair(1, 1); 1_001]}), 422),
    ] {
        assert_eq!(house.send("POST", path, wrong).await.status.as_u16(), status);
    }
    let mut unnamed = pair(3, 60);
    unnamed["user_info"] = json!([1]);
    assert_eq!(house.send("POST", path, json!({"tokens": [unnamed]})).await.places(), ["tokens[0].user_info"]);
    house.send("POST", "/clients/till/tokens", json!({"tokens": []})).await.refused(404, "not_found");
    let trail = house.get("/audit?kind=token_pairs&limit=9").await.fine(200)["items"].to_string();
    assert!(trail.contains("shop") && !trail.contains(&hex(Use::Access, &format!("a{:026}", 1))), "{trail}");
}
