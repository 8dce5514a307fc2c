//! A second writer at the same registry: another node, or an operator with a tool for databases.

use std::sync::Arc;

use portcullis_core::ports::{Expect, Kind, Objects, Row, Write};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{Answer, House};

fn at(port: u16) -> Value {
    json!({"targets": [{"url": format!("http://127.0.0.1:{port}")}]})
}

/// Objects of every kind that somebody can change while another does: where each is, what makes it and changes it, and what
/// it is to the registry.
fn objects() -> [(&'static str, Value, Kind, &'static str); 4] {
    [
        ("/services/a/v1", at(9001), Kind::Service, "a/v1"),
        ("/routes/r", json!({"service": "base/v1", "match": {"path": {"prefix": "/r"}}}), Kind::Route, "r"),
        ("/clients/c", json!({"services": ["*"]}), Kind::Client, "c"),
        ("/users/ada", json!({"user_info": {"id": 7}}), Kind::User, "ada"),
    ]
}

impl House {
    async fn with_objects() -> Self {
        let house = Self::new().await;
        house.send("PUT", "/services/base/v1", at(9000)).await.fine(201);
        house.send("PUT", "/services/a/v1", at(9001)).await.fine(201);
        let route = json!({"service": "base/v1", "match": {"path": {"prefix": "/r"}}});
        house.send("PUT", "/routes/r", route).await.fine(201);
        house.send("POST", "/clients", json!({"name": "c", "services": ["*"]})).await.fine(201);
        house.send("POST", "/users", json!({"username": "ada", "password": "p"})).await.fine(201);
        house
    }

    async fn row(&self, kind: Kind, key: &str) -> Row {
        self.registry.get(kind, key).await.expect("read").expect("there")
    }

    async fn put_if(&self, path: &str, condition: (&str, &str), body: &Value) -> Answer {
        let fields = [condition, ("content-type", "application/json")];
        self.send_with("PUT", &format!("/api/v1{path}"), &fields, body.to_string()).await
    }
}

/// Puts services at the same time, each once, and waits for all answers.
async fn put_all(house: &Arc<House>, services: impl IntoIterator<Item = String>) -> Vec<(String, Answer)> {
    let mut tasks = JoinSet::new();
    for (number, service) in services.into_iter().enumerate() {
        let house = Arc::clone(house);
        tasks.spawn(async move {
            let port = 10_000 + u16::try_from(number).expect("a small number");
            let answer = house.send("PUT", &format!("/services/{service}"), at(port)).await;
            (service, answer)
        });
    }
    tasks.join_all().await
}

fn put(row: Row) -> Vec<Write> {
    vec![Write::Put { row, expect: Expect::Any }]
}

fn later(row: &Row, by: u64) -> Row {
    Row { revision: row.revision + by, ..row.clone() }
}

fn delete(kind: Kind, key: &str) -> Vec<Write> {
    vec![Write::Delete { kind, key: key.to_owned(), expect: Expect::Any }]
}

/// What another writer writes: before the next change is decided, or, if it is faster, between its decision and its commit.
async fn written(house: &House, writes: Vec<Write>, faster: bool) {
    match faster {
        true => house.registry.rival(writes),
        false => drop(house.registry.commit(writes).await.expect("written")),
    }
}

#[tokio::test]
async fn what_somebody_else_has_changed_is_taken_up_before_a_change_is_decided() {
    for faster in [false, true] {
        for (path, body, kind, key) in objects() {
            let house = House::with_objects().await;
            let write = async |writes| written(&house, writes, faster).await;
            let row = house.row(kind, key).await;
            write(put(later(&row, 1))).await;
            let answer = house.send("PUT", path, body.clone()).await;
            assert_eq!(answer.fine(200)["revision"], 3, "{path} {faster}");
            assert_eq!(house.get(path).await.fine(200)["revision"], 3, "{path} {faster}");
            // Whoever has named a revision is told that it is another one, and whoever names the new one is not.
            write(put(later(&row, 3))).await;
            house.put_if(path, ("if-match", "\"3\""), &body).await.refused(412, "precondition_failed");
            house.put_if(path, ("if-match", "\"4\""), &body).await.fine(200);
            write(put(later(&row, 5))).await;
            let stale = [("if-match", "\"5\"")];
            let deleted = house.send_with("DELETE", &format!("/api/v1{path}"), &stale, "").await;
            deleted.refused(412, "precondition_failed");
            assert_eq!(house.row(kind, key).await.revision, 6, "{path} {faster}: not deleted in another revision");
            // What is gone is not deleted twice, and is not there.
            write(delete(kind, key)).await;
            house.delete(path).await.refused(404, "not_found");
            house.get(path).await.refused(404, "not_found");
        }
    }
}

#[tokio::test]
async fn what_somebody_else_has_made_or_deleted_counts() {
    for faster in [false, true] {
        for (path, body, kind, key) in objects() {
            let house = House::with_objects().await;
            let write = async |writes| written(&house, writes, faster).await;
            let row = house.row(kind, key).await;
            write(delete(kind, key)).await;
            let answer = house.put_if(path, ("if-match", "*"), &body).await;
            assert!(matches!(answer.status.as_u16(), 404 | 412), "{path} {faster}: {}", answer.body);
            house.get(path).await.refused(404, "not_found");
            write(put(row)).await;
            let answer = match kind {
                Kind::Client => house.send("POST", "/clients", json!({"name": "c", "services": []})).await,
                Kind::User => house.send("POST", "/users", json!({"username": "ada", "password": "p"})).await,
                _ => house.put_if(path, ("if-none-match", "*"), &body).await,
            };
            assert!(matches!(answer.status.as_u16(), 409 | 412), "{path} {faster}: {}", answer.body);
            house.get(path).await.fine(200);
        }
    }
}

#[tokio::test]
async fn what_somebody_else_changes_between_a_decision_and_its_commit_is_known_when_that_is_answered() {
    for (path, body, kind, key) in objects() {
        let house = House::with_objects().await;
        let row = house.row(kind, key).await;
        house.registry.rival(put(later(&row, 1)));
        house.send("PUT", "/services/beside/v1", at(9003)).await.fine(201);
        assert_eq!(house.get(path).await.fine(200)["revision"], 2, "{path}");
        house.put_if(path, ("if-match", "\"2\""), &body).await.fine(200);
    }
}

#[tokio::test]
async fn changes_of_other_objects_are_not_held_up_by_a_conflict() {
    let house = Arc::new(House::with_objects().await);
    let row = house.row(Kind::Service, "a/v1").await;
    // Somebody else is faster eleven times in a row.
    (0..11).for_each(|times| house.registry.rival(put(later(&row, 100 * (times + 1)))));
    let named = |number: u16| match number % 6 {
        0 => "a/v1".to_owned(),
        _ => format!("b{}/v1", number % 7),
    };
    for (service, answer) in put_all(&house, (0..120).map(named)).await {
        assert!(matches!(answer.status.as_u16(), 200 | 201), "{service}: {}", answer.body);
    }
}

#[tokio::test]
async fn a_change_is_decided_only_so_often_and_those_beside_it_are_made() {
    let house = Arc::new(House::with_objects().await);
    let row = house.row(Kind::Service, "a/v1").await;
    (0..200).for_each(|times| house.registry.rival(put(later(&row, times + 1))));
    let services = (0..40).map(|number| if number == 17 { "a/v1".to_owned() } else { format!("b{number}/v1") });
    for (service, answer) in put_all(&house, services).await {
        if service == "a/v1" {
            answer.refused(503, "contended");
            assert_eq!(answer.header("retry-after"), "1");
        } else {
            answer.fine(201);
        }
    }
}

#[tokio::test]
async fn who_was_away_for_more_than_is_told_reads_everything_again() {
    let house = House::with_objects().await;
    let row = house.row(Kind::Service, "a/v1").await;
    house.registry.commit(delete(Kind::Route, "r")).await.expect("written");
    let remembered = house.open_session(1, "ada", "c").await;
    for piece in 0..11_u64 {
        let writes =
            (0..1_000).map(|number| Write::Put { row: later(&row, piece * 1_000 + number), expect: Expect::Any });
        house.registry.commit(writes.collect()).await.expect("written");
    }
    house.send("PUT", "/services/b/v1", at(9002)).await.fine(201);
    assert_eq!(house.get("/services/a/v1").await.fine(200)["revision"], 11_000);
    assert!(house.state.sessions.cached(remembered).is_none(), "it may have ended meanwhile");
    house.get("/routes/r").await.refused(404, "not_found");
    house.get("/clients/c").await.fine(200);
}

#[tokio::test]
async fn what_somebody_else_has_changed_of_keys_and_clients_counts_for_calls() {
    let house = House::with_objects().await;
    let client = "c".parse().expect("a label");
    assert!(house.directory.read(|entries| entries.client(&client).is_some()));
    let mut row = house.row(Kind::Client, "c").await;
    row.body = row.body.replace("\"enabled\":true", "\"enabled\":false");
    house.registry.commit(put(later(&row, 1))).await.expect("written");
    house.send("PUT", "/services/b/v1", at(9002)).await.fine(201);
    assert!(house.directory.read(|entries| entries.client(&client).is_none()), "disabled is not known to calls");
    assert_eq!(house.get("/clients/c").await.fine(200)["enabled"], false);
}

#[tokio::test]
async fn what_cannot_be_read_is_left_as_it_is_known_and_stops_nothing_else() {
    let house = House::with_objects().await;
    let row = house.row(Kind::Service, "a/v1").await;
    house.registry.commit(put(Row { body: "{\"odd".into(), ..later(&row, 1) })).await.expect("written");
    house.send("PUT", "/services/b/v1", at(9002)).await.fine(201);
    assert_eq!(house.get("/services/a/v1").await.fine(200)["revision"], 1);
    house.send("PUT", "/services/a/v1", at(9001)).await.refused(503, "contended");
}

#[tokio::test]
async fn a_registry_that_is_away_is_told_at_every_place_that_asks_it() {
    let house = House::with_objects().await;
    let token = house.enrolment(json!({"name": "ci"})).await;
    house.registry.set_away(true);
    let route = json!({"service": "base/v1", "match": {"path": {"prefix": "/r2"}}});
    let places = [
        ("PUT", "/services/n/v1", at(9004)),
        ("DELETE", "/services/a/v1", Value::Null),
        ("PUT", "/routes/r2", route),
        ("DELETE", "/routes/r", Value::Null),
        ("PUT", "/hosts/a.example", json!({})),
        ("POST", "/clients", json!({"name": "d", "services": []})),
        ("PUT", "/clients/c", json!({"services": []})),
        ("DELETE", "/clients/c", Value::Null),
        ("POST", "/clients/c/api-keys", json!({})),
        ("POST", "/clients/c/secrets", json!({})),
        ("POST", "/services/a/api-keys", json!({})),
        ("POST", "/enrolment-tokens", json!({"name": "x"})),
        ("DELETE", "/enrolment-tokens/ci", Value::Null),
        ("POST", "/users", json!({"username": "eve", "password": "p"})),
        ("GET", "/users", Value::Null),
        ("GET", "/users/ada", Value::Null),
        ("PUT", "/users/ada", json!({"user_info": {}})),
        ("DELETE", "/users/ada", Value::Null),
        ("GET", "/users/ada/sessions", Value::Null),
        ("DELETE", "/users/ada/sessions", Value::Null),
        ("GET", "/audit", Value::Null),
        ("GET", "/audit/verify", Value::Null),
    ];
    for (method, path, body) in places {
        let answer = match body {
            Value::Null => house.send_with(method, &format!("/api/v1{path}"), &[], "").await,
            body => house.send(method, path, body).await,
        };
        assert_eq!(answer.status.as_u16(), 503, "{method} {path}: {}", answer.body);
        answer.refused(503, "registry_unavailable");
        assert_eq!(answer.header("retry-after"), "1", "{method} {path}");
    }
    let said = json!({"name": "self", "base_url": "http://127.0.0.1:9005"});
    let answer = house.register(&token, said.clone()).await;
    assert_eq!(answer.status.as_u16(), 503, "{}", answer.body);
    assert_eq!((answer.body["code"].as_str(), answer.header("retry-after")), (Some("registry_unavailable"), "1"));
    // Declarations are known without it, and it counts again as soon as it is back.
    house.get("/services/a/v1").await.fine(200);
    house.registry.set_away(false);
    house.register(&token, said).await.fine(201);
    house.send("PUT", "/services/n/v1", at(9004)).await.fine(201);
}

/// What is wrong with a route of a client, or with what it leads to, is no reason to leave the client alone.
#[tokio::test]
async fn a_client_is_switched_off_whatever_is_wrong_with_its_routes() {
    let house = House::with_objects().await;
    let route = json!({"service": "base/v1", "match": {"path": {"prefix": "/own"}, "client": "c"}});
    house.send("PUT", "/routes/own", route).await.fine(201);
    let row = house.row(Kind::Route, "own").await;
    let broken = row.body.replace("base/v1", "gone/v1");
    assert_ne!(broken, row.body);
    written(&house, put(Row { body: broken, ..later(&row, 1) }), false).await;
    house.send("PUT", "/clients/c", json!({"services": [], "enabled": false})).await.fine(200);
    // A client that somebody else has taken out from under its route comes back as it goes.
    let client = house.row(Kind::Client, "c").await;
    written(&house, delete(Kind::Client, "c"), false).await;
    house.send("PUT", "/services/beside/v1", at(9003)).await.fine(201);
    house.get("/clients/c").await.refused(404, "not_found");
    let own = || {
        let snapshot = house.publisher.latest().expect("published");
        let headers = portcullis_core::message::FieldMap::new();
        let host = portcullis_core::canonical::Host::parse(b"any").expect("a host");
        let path = portcullis_core::canonical::Path::parse("/own").expect("a path");
        let client = "c".parse().expect("a label");
        let wanted = portcullis_routing::routes::RouteQuery {
            client: Some(&client),
            host: &host,
            path: path.decision(),
            method: &http::Method::GET,
            headers: portcullis_core::message::HasFields::fields(&headers),
            query: None,
            announced: false,
            in_any_case: false,
        };
        let found = snapshot.find(&wanted).expect("its place is taken");
        (found.pipeline.route.name.to_string(), found.pipeline.steps().count() > 0)
    };
    assert_eq!(own(), ("own".to_owned(), false), "closed: nothing but a refusal stands there");
    written(&house, [put(later(&client, 1)), put(later(&row, 2))].concat(), false).await;
    house.send("PUT", "/services/beside/v1", at(9004)).await.fine(200);
    assert_eq!(own(), ("own".to_owned(), true));
}
