//! `/api/v1/hosts`, and hosts in a file.

use portcullis_core::canonical::Host;
use portcullis_core::model::HostDialect;
use serde_json::json;

use super::House;

impl House {
    /// What workers route by says of a host: its dialect and its public URL.
    fn seen(&self, host: &str) -> Option<(HostDialect, Option<String>)> {
        let snapshot = self.publisher.latest().expect("published");
        let facts = snapshot.host(&Host::parse(host.as_bytes()).expect("a host"))?.clone();
        Some((facts.dialect, facts.public_url.as_deref().map(str::to_owned)))
    }
}

#[tokio::test]
async fn a_host_is_declared_changed_and_taken_out() {
    let house = House::new().await;
    assert_eq!(house.seen("api.example.com"), None);
    let body = json!({"dialect": "fo", "public_url": "https://api.example.com/", "builtin": true});
    let made = house.send("PUT", "/hosts/api.example.com", body).await;
    let object = json!({
        "name": "api.example.com", "dialect": "fo", "public_url": "https://api.example.com", "builtin": true,
        "revision": 1, "owner": "api",
    });
    assert_eq!((made.fine(201), made.header("etag")), (&object, "\"1\""));
    let url = Some("https://api.example.com".to_owned());
    for host in ["api.example.com", "API.example.com.", "api.example.com:8443"] {
        assert_eq!(house.seen(host), Some((HostDialect::Fo, url.clone())), "{host}");
    }
    assert_eq!(house.seen("other.example.com"), None);
    assert_eq!(*house.get("/hosts/api.example.com").await.fine(200), object);
    let put = house.send("PUT", "/hosts/api.example.com", json!({})).await;
    let object = json!({"name": "api.example.com", "revision": 2, "owner": "api"});
    assert_eq!(put.fine(200), &object, "defaults are not shown");
    assert_eq!(house.seen("api.example.com"), Some((HostDialect::Http, None)));
    house.send("PUT", "/hosts/%5B2001:db8::1%5D", json!({"dialect": "api"})).await.fine(201);
    assert_eq!(house.seen("[2001:DB8::1]:80"), Some((HostDialect::Api, None)));
    assert_eq!(house.all("/hosts", 1).await.len(), 2);
    let fields = [("if-match", "\"1\""), ("content-type", "application/json")];
    house.send_with("PUT", "/api/v1/hosts/api.example.com", &fields, "{}").await.refused(412, "precondition_failed");
    house.send_with("DELETE", "/api/v1/hosts/api.example.com", &fields, "").await.refused(412, "precondition_failed");
    house.delete("/hosts/api.example.com").await.fine(204);
    house.delete("/hosts/api.example.com").await.refused(404, "not_found");
    house.get("/hosts/api.example.com").await.refused(404, "not_found");
    assert_eq!(house.seen("api.example.com"), None);
    let trail = house.get("/audit?kind=host").await;
    assert_eq!(trail.fine(200)["items"].as_array().map(Vec::len), Some(4));
}

#[tokio::test]
async fn everything_that_is_wrong_with_a_host_is_told() {
    let house = House::new().await;
    for name in ["API.example.com", "a.example:443", "*.example.com", "a..b", "a b"] {
        let path = format!("/hosts/{}", name.replace(' ', "%20"));
        let body = json!({"dialect": "gopher", "public_url": "a.example", "builtin": 1, "more": 1});
        let mut places = house.send("PUT", &path, body).await.refused(422, "invalid_declaration").places().join(" ");
        places.truncate(44);
        assert_eq!(places, "name more builtin dialect public_url", "{name}");
        house.get(&path).await.refused(404, "not_found");
    }
    let answer = house.send("PUT", "/hosts/API.example.com", json!({})).await;
    assert!(answer.body.to_string().contains("write this host 'api.example.com'"), "{}", answer.body);
}

#[tokio::test]
async fn a_file_has_hosts_too() {
    let house = House::new().await;
    house.send("PUT", "/hosts/b.example", json!({})).await.fine(201);
    let file = json!({"version": 1, "hosts": {"a.example": {"dialect": "fo"}, "b.example": {}}});
    let plan = house.send("POST", "/declarations/plan", file.clone()).await;
    let steps = json!([{"action": "add", "kind": "host", "name": "a.example"}]);
    assert_eq!((&plan.fine(200)["steps"], &plan.body["unchanged"]), (&steps, &json!(1)));
    let empty = house.get("/declarations").await;
    house.send("PUT", "/declarations", file.clone()).await.fine(200);
    assert_eq!(house.get("/hosts/a.example").await.fine(200)["owner"], "file");
    assert_eq!(house.seen("a.example"), Some((HostDialect::Fo, None)));
    let shown = house.get("/declarations").await;
    assert_eq!(shown.fine(200)["hosts"], file["hosts"]);
    assert_ne!(shown.header("etag"), empty.header("etag"));
    // What another owner declares otherwise is taken over only when that is asked for.
    let file = json!({"version": 1, "hosts": {"b.example": {"dialect": "api"}}});
    let answer = house.send("PUT", "/declarations", file.clone()).await;
    assert_eq!(answer.refused(422, "invalid_declaration").places(), ["hosts.b.example"]);
    let done = house.send("PUT", "/declarations?adopt=true", file).await;
    let steps = json!([
        {"action": "change", "kind": "host", "name": "b.example", "fields": ["dialect", "owner"]},
        {"action": "remove", "kind": "host", "name": "a.example"},
    ]);
    assert_eq!(done.fine(200)["steps"], steps);
    assert_eq!((house.seen("a.example"), house.seen("b.example")), (None, Some((HostDialect::Api, None))));
}
