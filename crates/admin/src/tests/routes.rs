//! `/api/v1/routes`.

use serde_json::{Value, json};

use super::House;

fn one() -> Value {
    json!({"match": {"path": {"prefix": "/api/users"}}, "service": "users/v1", "strip": true})
}

async fn house() -> House {
    let house = House::new().await;
    house.send("PUT", "/services/users/v1", json!({"targets": [{"url": "http://127.0.0.1:9001"}]})).await.fine(201);
    house
}

#[tokio::test]
async fn a_route_is_made_replaced_shown_and_deleted() {
    let house = house().await;
    let answer = house.send("PUT", "/routes/users", one()).await;
    let object = json!({
        "name": "users", "match": {"path": {"prefix": "/api/users"}}, "service": "users/v1", "strip": true,
        "revision": 1, "owner": "api",
    });
    assert_eq!((answer.fine(201), answer.header("etag")), (&object, "\"1\""));
    let redirect = json!({"match": {"path": {"exact": "/old"}}, "redirect": {"to": "/new"}});
    let answer = house.send("PUT", "/routes/users", redirect).await;
    assert_eq!((&answer.fine(200)["redirect"]["status"], &answer.body["revision"]), (&json!(308), &json!(2)));
    let shown = house.get("/routes/users").await;
    assert_eq!((shown.fine(200), shown.header("etag")), (&answer.body, "\"2\""));
    assert_eq!(house.all("/routes", 1).await, [answer.body]);
    house.delete("/routes/users").await.fine(204);
    house.get("/routes/users").await.refused(404, "not_found");
    house.delete("/routes/users").await.refused(404, "not_found");
    house.get("/routes/a%20b").await.refused(404, "not_found");
}

#[tokio::test]
async fn changes_happen_on_the_revision_their_author_saw() {
    let house = house().await;
    let put = async |field: &str, value: &str| {
        let fields = [(field, value), ("content-type", "application/json")];
        house.send_with("PUT", "/api/v1/routes/users", &fields, one().to_string()).await
    };
    put("if-match", "\"1\"").await.refused(412, "precondition_failed");
    put("if-none-match", "*").await.fine(201);
    put("if-none-match", "*").await.refused(412, "precondition_failed");
    put("if-match", "\"1\"").await.fine(200);
    put("if-match", "\"1\"").await.refused(412, "precondition_failed");
    let delete =
        async |value: &str| house.send_with("DELETE", "/api/v1/routes/users", &[("if-match", value)], "").await;
    delete("\"1\"").await.refused(412, "precondition_failed");
    delete("\"2\"").await.fine(204);
}

#[tokio::test]
async fn every_mistake_is_told_at_once() {
    let house = house().await;
    let body = json!({
        "match": {"path": {"prefix": "/a"}, "methods": ["get"], "hosts": 1},
        "service": "users/v1", "strip": "yes", "policies": {"teleport": {}}, "hots": "target",
    });
    let answer = house.send("PUT", "/routes/a%20b", body).await;
    let places = answer.refused(422, "invalid_declaration").places();
    assert_eq!(places, ["name", "hots", "match.hosts", "strip", "policies.teleport"]);
    let body = json!({
        "match": {"path": {"prefix": "a"}, "methods": ["get"], "hosts": ["a:1"]}, "service": "nobody/v1",
    });
    let answer = house.send("PUT", "/routes/users", body).await;
    let places = answer.refused(422, "invalid_declaration").places();
    assert!(
        ["match.hosts[0]", "match.methods[0]", "match.path.prefix"].iter().all(|at| places.contains(at)),
        "{places:?}"
    );
    let body = json!({"match": {"path": {"prefix": "/a"}}, "service": "nobody/v1"});
    assert_eq!(
        house.send("PUT", "/routes/users", body).await.refused(422, "invalid_declaration").places(),
        ["service"]
    );
    assert_eq!(house.all("/routes", 10).await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_service_that_a_route_leads_to_stays() {
    let house = house().await;
    house.send("PUT", "/routes/users", one()).await.fine(201);
    let answer = house.delete("/services/users/v1").await;
    assert!(answer.refused(409, "conflict").body["detail"].as_str().expect("words").contains("'users'"));
    house.get("/services/users/v1").await.fine(200);
    house.delete("/routes/users").await.fine(204);
    house.delete("/services/users/v1").await.fine(204);
}
