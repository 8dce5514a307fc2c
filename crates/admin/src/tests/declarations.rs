//! `/api/v1/declarations`.

use serde_json::{Value, json};

use super::{Answer, House};

const FILE: &str = r"
version: 1
services:
  users/v1: {targets: [{url: 'http://127.0.0.1:9001'}], require: []}
routes:
  users: {match: {path: {prefix: /api/users}}, service: users/v1}
clients:
  shop: {services: [users]}
";

/// A file with twelve mistakes: in form, in what is compiled, and in whose objects they are.
const BAD: &str = r"version: 1
servces: {}
services:
  orders/v1:
    targets: [{url: 'ftp://a'}]
    require: [[fingerprint]]
    policies: {teleport: {}}
  oauth/v1:
    targets: [{url: 'http://127.0.0.1:1'}]
  mine/v1:
    targets: [{url: 'http://127.0.0.1:2'}]
routes:
  one:
    match: {path: {prefix: /a}, methods: [get]}
    service: nobody/v1
  two:
    match: {path: {exact: b}}
    redirect: {to: /c, kept: 1}
  three:
    service: orders/v1
clients:
  shop:
    services: [a/b/c]
";

impl House {
    pub(super) async fn yaml(&self, method: &str, path: &str, fields: &[(&str, &str)], text: &str) -> Answer {
        let fields = [&[("content-type", "application/yaml")], fields].concat();
        self.send_with(method, &format!("/api/v1/declarations{path}"), &fields, text.to_owned()).await
    }
}

#[tokio::test]
async fn a_file_is_planned_applied_and_shown() {
    let house = House::new().await;
    let plan = house.yaml("POST", "/plan", &[], FILE).await;
    let steps = json!([
        {"action": "add", "kind": "service", "name": "users/v1"},
        {"action": "add", "kind": "route", "name": "users"},
        {"action": "add", "kind": "client", "name": "shop"},
    ]);
    assert_eq!((&plan.fine(200)["steps"], &plan.body["unchanged"]), (&steps, &json!(0)));
    house.get("/services/users/v1").await.refused(404, "not_found");

    let done = house.yaml("PUT", "", &[], FILE).await;
    assert_eq!((done.fine(200), &done.body["steps"]), (&plan.body, &steps));
    assert_eq!(house.get("/routes/users").await.fine(200)["owner"], "file");
    let client = house.get("/clients/shop").await;
    assert!(client.fine(200)["access_key"].as_str().is_some_and(|key| key.len() == 20), "{}", client.body);

    let shown = house.get("/declarations").await;
    assert_eq!(shown.fine(200)["services"]["users/v1"]["require"], json!([]));
    assert_eq!(shown.header("etag"), done.header("etag"));
    for text in [FILE.to_owned(), shown.body.to_string()] {
        let again = house.yaml("PUT", "", &[], &text).await;
        assert_eq!(*again.fine(200), json!({"steps": [], "policies": [], "unchanged": 3}));
    }
    assert_eq!(house.get("/routes/users").await.fine(200)["revision"], 1);
    assert_eq!(*house.get("/declarations?owner=api").await.fine(200), json!({"version": 1}));
}

#[tokio::test]
async fn every_problem_of_a_bad_file_is_told_and_nothing_changes() {
    let house = House::new().await;
    let body = json!({"targets": [{"url": "http://127.0.0.1:1"}]});
    house.send("PUT", "/services/mine/v1", body).await.fine(201);
    for (method, path) in [("PUT", ""), ("POST", "/plan")] {
        let answer = house.yaml(method, path, &[], BAD).await;
        answer.refused(422, "invalid_declaration");
        let mut found: Vec<_> = answer.body["problems"]
            .as_array()
            .expect("problems")
            .iter()
            .map(|problem| (problem["line"].as_u64().expect("a line"), problem["path"].as_str().expect("a path")))
            .collect();
        found.sort_unstable();
        let want = [
            (2, "servces"),
            (5, "services.orders/v1.targets[0].url"),
            (6, "services.orders/v1.require[0][0]"),
            (7, "services.orders/v1.policies.teleport"),
            (8, "services.oauth/v1"),
            (10, "services.mine/v1"),
            (14, "routes.one.match.methods[0]"),
            (15, "routes.one.service"),
            (17, "routes.two.match.path.exact"),
            (18, "routes.two.redirect.kept"),
            (19, "routes.three.match"),
            (23, "clients.shop.services[0]"),
        ];
        assert_eq!(found, want, "{}", answer.body);
    }
    let shown = house.get("/declarations").await;
    assert_eq!(shown.fine(200)["services"].as_object().expect("services").len(), 1);
    assert!(shown.body.get("routes").is_none() && shown.body.get("clients").is_none());
}

#[tokio::test]
async fn a_stale_author_is_told_so() {
    let house = House::new().await;
    let tag = house.get("/declarations").await.header("etag").to_owned();
    house.yaml("PUT", "", &[("if-match", &tag)], FILE).await.fine(200);
    house.yaml("PUT", "", &[("if-match", &tag)], FILE).await.refused(412, "precondition_failed");
    let tag = house.get("/declarations").await.header("etag").to_owned();
    house.send("PUT", "/services/b/v1", json!({"targets": [{"url": "http://127.0.0.1:1"}]})).await.fine(201);
    house.yaml("PUT", "", &[("if-match", &tag)], FILE).await.refused(412, "precondition_failed");
}

#[tokio::test]
async fn only_what_the_file_owns_is_removed_and_others_are_adopted_when_asked_for() {
    let house = House::new().await;
    let token = house.enrolment(json!({"name": "e"})).await;
    let said = json!({"name": "orders", "base_url": "http://127.0.0.1:1"});
    let registered = house.register(&token, said.clone()).await;
    let key = registered.fine(201)["registration_key"].as_str().expect("a key").to_owned();
    house.send("POST", "/clients", json!({"name": "hand"})).await.fine(201);
    house.yaml("PUT", "", &[], FILE).await.fine(200);
    house.send("POST", "/clients/shop/api-keys", json!({"api_key": "its own"})).await.fine(201);

    let orders = "version: 1\nservices: {orders/v1: {targets: [{url: 'http://127.0.0.1:2'}]}}\n";
    let answer = house.yaml("PUT", "", &[], orders).await;
    assert_eq!(answer.refused(422, "invalid_declaration").places(), ["services.orders/v1"]);
    let done = house.yaml("PUT", "?adopt=true", &[], orders).await;
    let removed: Vec<_> = done.fine(200)["steps"].as_array().expect("steps").iter().collect();
    assert_eq!(removed.iter().filter(|step| step["action"] == "remove").count(), 3, "{removed:?}");
    assert_eq!(house.get("/services/orders/v1").await.fine(200)["owner"], "file");
    house.get("/clients/hand").await.fine(200);
    house.get("/clients/shop").await.refused(404, "not_found");
    // What was adopted is its operator's; the registration may make other versions of the name.
    house.register(&key, said).await.refused(409, "conflict");
    let said = json!({"name": "orders", "version": "v2", "base_url": "http://127.0.0.1:1"});
    house.register(&key, said).await.fine(200);
    house.yaml("PUT", "", &[], "version: 1\n").await.fine(200);
    house.register(&key, json!({"name": "orders", "base_url": "http://127.0.0.1:3"})).await.fine(200);
    assert_eq!(house.get("/audit/verify").await.fine(200)["intact"], true, "every step of it was told");
}

#[tokio::test]
async fn a_body_is_yaml_or_json_and_not_too_long() {
    let house = House::new().await;
    let fields = [("content-type", "text/csv")];
    let answer = house.send_with("PUT", "/api/v1/declarations", &fields, "a").await;
    answer.refused(415, "unsupported_media_type");
    let answer = house.yaml("PUT", "", &[], "version: 1\nversion: 1\n").await;
    assert_eq!(answer.refused(400, "malformed_declarations").body["problems"][0]["line"], 2);
    let answer = house.yaml("PUT", "", &[], &"#".repeat((16 << 20) + 1)).await;
    answer.refused(413, "body_too_large");
    house.get("/declarations?format=toml").await.refused(400, "bad_query");
    assert_eq!(
        house.send("PUT", "/declarations", Value::Null).await.refused(422, "invalid_declaration").places(),
        [""]
    );
}
