//! The route of a call is found, among few and among many.

use std::hint::black_box;
use std::sync::Arc;

use async_trait::async_trait;
use http::Method;
use portcullis_core::call::{Call, Response, RouteFacts};
use portcullis_core::canonical::{Host, Path};
use portcullis_core::message::{FieldMap, HasFields};
use portcullis_core::model::Label;
use portcullis_core::policy::{Endpoint, Pipeline};
use portcullis_core::refusal::Refusal;
use portcullis_routing::routes::{Candidate, Conditions, DeclaredPath, Meets, RouteQuery, Routes};

use crate::Part;

struct Nowhere;

#[async_trait]
impl Endpoint for Nowhere {
    async fn answer(&self, _: &mut Call) -> Result<Response, Refusal> {
        Err(Refusal::NoRoute)
    }
}

/// What stands in a table under a name.
fn candidate(name: &str) -> Candidate {
    let facts = Arc::new(RouteFacts { name: "any".into(), ..RouteFacts::default() });
    let pipeline = Arc::new(Pipeline::new(facts, Vec::new(), Arc::new(Nowhere)));
    Candidate { name: name.into(), meets: Meets::Below, conditions: Conditions::default(), pipeline }
}

fn table(services: usize) -> Routes {
    let mut routes = Routes::new(Vec::new());
    for number in 0..services {
        let path = format!("/service-{number}/v1");
        routes.set(None, &[], &DeclaredPath::plain(&path, Meets::Below), &path, Some(&candidate(&path)));
    }
    routes
}

/// So many clients, each with a route at the same path.
fn table_of_clients(clients: usize) -> Routes {
    let mut routes = table(10);
    let path = DeclaredPath::plain("/service-7/v1", Meets::Below);
    for number in 0..clients {
        let (client, name) = (label(number), format!("route-{number}"));
        routes.set(Some(&client), &[], &path, &name, Some(&candidate(&name)));
    }
    routes
}

fn label(number: usize) -> Label {
    format!("client-{number}").parse().expect("a label")
}

/// Finds one of so many services.
pub(crate) fn find(services: usize) -> Part {
    find_in(table(services), None)
}

/// Finds the route of one of so many clients.
pub(crate) fn find_of_client(clients: usize) -> Part {
    find_in(table_of_clients(clients), Some(label(7)))
}

fn find_in(routes: Routes, client: Option<Label>) -> Part {
    let headers = FieldMap::new();
    let host = Host::parse(b"api.example.com:8443").expect("a host");
    let path = Path::parse("/service-7/v1/items/7").expect("a path");
    Box::new(move || {
        let wanted = RouteQuery {
            client: black_box(client.as_ref()),
            host: black_box(&host),
            path: black_box(path.decision()),
            method: &Method::GET,
            headers: headers.fields(),
            query: None,
            announced: false,
            in_any_case: false,
        };
        assert!(black_box(routes.find(&wanted)).is_some(), "declared");
    })
}
