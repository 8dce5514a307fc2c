//! `/api/v1/users`.

use serde_json::{Value, json};

use super::House;

#[tokio::test]
async fn a_user_is_made_shown_changed_and_deleted() {
    let house = House::new().await;
    let body = json!({"username": "ada", "password": "s3cret", "user_info": {"id": 7}});
    let answer = house.send("POST", "/users", body.clone()).await;
    let object = json!({
        "username": "ada", "user_info": {"id": 7}, "enabled": true, "created_at": "2023-11-14T22:13:20.000Z",
        "revision": 1,
    });
    assert_eq!(*answer.fine(201), object);
    house.send("POST", "/users", body).await.refused(409, "conflict");
    let shown = house.get("/users/ada").await;
    assert_eq!((shown.fine(200), shown.header("etag")), (&object, "\"1\""));
    let answer = house.send("PUT", "/users/ada", json!({"user_info": {"id": 8}, "password": "n3w"})).await;
    assert_eq!((&answer.fine(200)["user_info"], &answer.body["revision"]), (&json!({"id": 8}), &json!(2)));
    let answer = house.send("PUT", "/users/ada", json!({"enabled": false})).await;
    assert_eq!((&answer.fine(200)["enabled"], &answer.body["user_info"]), (&json!(false), &json!({"id": 8})));
    let answer = house.send("PUT", "/users/ada", json!({"user_info": {"id": 9}})).await;
    assert_eq!(answer.fine(200)["enabled"], false, "stays as it is");
    house.delete("/users/ada").await.fine(204);
    house.delete("/users/ada").await.refused(404, "not_found");
    house.get("/users/ada").await.refused(404, "not_found");
    house.send("PUT", "/users/ada", json!({})).await.refused(404, "not_found");
}

#[tokio::test]
async fn what_cannot_be_a_user_is_refused() {
    let house = House::new().await;
    for user_info in [json!([]), json!("x"), json!({"a": "x".repeat(4096)})] {
        let body = json!({"username": "ada", "password": "p", "user_info": user_info});
        let answer = house.send("POST", "/users", body).await;
        assert_eq!(answer.refused(422, "invalid_declaration").places(), ["user_info"]);
    }
    let answer = house.send("POST", "/users", json!({"username": "ada", "password": ""})).await;
    assert_eq!(answer.refused(422, "invalid_declaration").places(), ["password"]);
    for body in [json!({"username": "ada"}), json!({"password": "p"}), json!({"username": "a/b", "password": "p"})] {
        house.send("POST", "/users", body).await.refused(400, "invalid_body");
    }
    house.send("POST", "/users", json!({"username": "ada", "password": "p"})).await.fine(201);
    assert_eq!(house.get("/users/ada").await.fine(200)["user_info"], json!({}));
}

#[tokio::test]
async fn a_user_is_changed_on_the_revision_that_was_seen() {
    let house = House::new().await;
    house.send("POST", "/users", json!({"username": "ada", "password": "p"})).await.fine(201);
    let put = async |name: &str, value: &str| {
        let fields = [("if-match", value), ("content-type", "application/json")];
        house.send_with("PUT", &format!("/api/v1/users/{name}"), &fields, "{\"user_info\":{}}").await
    };
    put("ada", "\"2\"").await.refused(412, "precondition_failed");
    put("ada", "\"1\"").await.fine(200);
    put("bob", "*").await.refused(412, "precondition_failed");
    let delete = async |value: &str| house.send_with("DELETE", "/api/v1/users/ada", &[("if-match", value)], "").await;
    delete("\"1\"").await.refused(412, "precondition_failed");
    delete("*").await.fine(204);
}

#[tokio::test]
async fn users_come_in_pages_by_name() {
    let house = House::new().await;
    assert_eq!(house.all("/users", 3).await, Vec::<Value>::new());
    for name in ["d", "b", "a", "c@example.com"] {
        house.send("POST", "/users", json!({"username": name, "password": "p"})).await.fine(201);
    }
    for limit in [1, 2, 4, 1_000] {
        let items = house.all("/users", limit).await;
        let names: Vec<_> = items.iter().map(|item| item["username"].as_str().expect("a name")).collect();
        assert_eq!(names, ["a", "b", "c@example.com", "d"]);
        assert!(items.iter().all(|item| !item.to_string().contains("argon2")));
    }
}
