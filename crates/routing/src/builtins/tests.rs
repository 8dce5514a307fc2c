//! Where declared routes to built-in endpoints stand, also those that do not compile any more.

use async_trait::async_trait;
use http::Method;
use portcullis_core::call::{Call, Response};
use portcullis_core::canonical::{Host, Path};
use portcullis_core::memory::ManualClock;
use portcullis_core::message::{FieldMap, HasFields};
use portcullis_core::model::PathOptions;
use portcullis_core::refusal::Refusal;
use serde_json::json;

use super::*;
use crate::compile::closed_route;
use crate::routes::RouteQuery;
use crate::snapshot::Snapshot;

/// Is never called.
struct Nobody;

#[async_trait]
impl Endpoint for Nobody {
    async fn answer(&self, _: &mut Call) -> Result<Response, Refusal> {
        Err(Refusal::NoRoute)
    }
}

fn builtins() -> Builtins {
    let at = |path, meets| Builtin {
        path,
        meets,
        grant: None,
        require: Vec::new(),
        policies: BTreeMap::new(),
        endpoint: Arc::new(Nobody),
    };
    Builtins::new(vec![
        at("/-/token", Meets::Whole),
        at("/-/token/refresh", Meets::Whole),
        at("/auth/v1", Meets::Below),
    ])
}

fn route(matches: &Value, more: &Value) -> Route {
    let mut route = json!({"match": matches, "builtin": true});
    more.as_object().into_iter().flatten().for_each(|(field, value)| route[field] = value.clone());
    serde_json::from_value(route).expect("a route")
}

/// The name of the route that a call takes, and whether it is refused there before anything else.
fn found(snapshot: &Snapshot, client: Option<&str>, path: &str) -> (String, bool) {
    let client: Option<Label> = client.map(|client| client.parse().expect("a label"));
    let headers = FieldMap::new();
    let (host, path) = (Host::parse(b"any").expect("a host"), Path::parse(path).expect("a path"));
    let wanted = RouteQuery {
        client: client.as_ref(),
        host: &host,
        path: path.decision(),
        method: &Method::POST,
        headers: headers.fields(),
        query: None,
        announced: false,
        in_any_case: false,
    };
    let found = snapshot.find(&wanted).expect("an endpoint");
    (found.pipeline.route.name.to_string(), found.pipeline.route.is_disabled)
}

#[tokio::test]
async fn a_route_that_does_not_compile_any_more_keeps_its_place_before_the_endpoint() {
    let (builtins, clock) = (builtins(), Arc::new(ManualClock::at(0)));
    let parts = Arc::new(Parts::for_dry_run("http://gate", clock).await.expect("keys"));
    let mut snapshot = Snapshot::of_builtin(Vec::new(), &builtins, &parts).expect("compiled");
    let closed = |name: &str, route: &Route| closed_route(&name.parse().expect("a name"), route, None, &builtins);
    let broken = json!({"policies": {"gone": {}}, "strip": true, "case_insensitive": true});
    for (name, matches) in [
        ("token", json!({"path": {"prefix": "/-/token"}})),
        ("login", json!({"path": {"exact": "/auth/v1/login"}, "client": "shop"})),
    ] {
        snapshot.set_route(&closed(name, &route(&matches, &broken)).expect("a place"));
    }
    for (client, path, want) in [
        (None, "/-/token", "token"),
        (Some("shop"), "/-/token", "token"),
        // What lies below it is another endpoint.
        (None, "/-/token/refresh", "/-/token/refresh"),
        (Some("shop"), "/auth/v1/login", "login"),
        (None, "/auth/v1/login", "/auth/v1"),
        (Some("shop"), "/auth/v1/token", "/auth/v1"),
    ] {
        assert_eq!(found(&snapshot, client, path).0, want, "{client:?} {path}");
    }
    // An endpoint that is not there any more has no place, and nothing falls to anybody else for it.
    assert!(closed("gone", &route(&json!({"path": {"exact": "/-/gone"}}), &json!({}))).is_none());
}

#[tokio::test]
async fn a_compiled_route_has_what_it_says_in_place_of_what_the_endpoint_says() {
    let clock = Arc::new(ManualClock::at(0));
    let parts = Arc::new(Parts::for_dry_run("http://gate", clock).await.expect("keys"));
    let builtin = Builtin {
        path: "/auth/v1",
        meets: Meets::Below,
        grant: Some("orders/v1".parse().expect("an id")),
        require: vec![vec!["signature".to_owned()]],
        policies: serde_json::from_value(json!({"request_limits": {"body_bytes": 9}})).expect("settings"),
        endpoint: Arc::new(Nobody),
    };
    let steps = |more: Value| {
        let route = route(&json!({"path": {"prefix": "/auth/v1"}}), &more);
        let path = DeclaredPath::parse(&route.matches.path, PathOptions::default()).expect("a path");
        let pipeline = builtin.compile_route(&"auth".parse().expect("a name"), &route, &path, &parts);
        let pipeline = pipeline.map_err(|problems| problems.iter().map(|it| it.path.clone()).collect::<Vec<_>>())?;
        assert_eq!((&pipeline.route.grant, &pipeline.route.service), (&builtin.grant, &None));
        Ok::<_, Vec<String>>(pipeline.steps().collect::<Vec<_>>())
    };
    assert_eq!(steps(json!({})), Ok(vec!["request_limits", "sign_response", "seal_response", "require", "acl"]));
    assert_eq!(steps(json!({"require": []})), Ok(vec!["request_limits", "require", "acl"]));
    let own =
        json!({"require": [], "policies": {"request_limits": {"body_bytes": 0}, "throttle": {"rate": 1, "per": "1m"}}});
    assert_eq!(steps(own), Ok(vec!["throttle", "require", "acl"]));
    let bad = json!({"strip": true, "require": [["nothing"]], "policies": {"throttle": {}}});
    let places = ["strip", "policies.throttle.per", "policies.throttle.rate", "require[0][0]"];
    let told = steps(bad).expect_err("bad");
    assert!(told.len() == places.len() && places.iter().all(|place| told.iter().any(|it| it == place)), "{told:?}");
}
