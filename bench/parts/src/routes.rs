//! The route of a call is found, among few and among many.

use std::hint::black_box;
use std::sync::Arc;

use async_trait::async_trait;
use http::Method;
use portcullis_core::call::{Call, Response, RouteFacts};
use portcullis_core::canonical::{Host, Path};
use portcullis_core::message::{FieldMap, HasFields};
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

fn table(services: usize) -> Routes {
    let facts = Arc::new(RouteFacts { name: "any".into(), ..RouteFacts::default() });
    let pipeline = Arc::new(Pipeline::new(facts, Vec::new(), Arc::new(Nowhere)));
    let mut routes = Routes::new(Vec::new());
    for number in 0..services {
        let path = format!("/service-{number}/v1");
        let candidate = Candidate {
            name: path.as_str().into(),
            meets: Meets::Below,
            conditions: Conditions::default(),
            pipeline: Arc::clone(&pipeline),
        };
        routes.set(None, &[], &DeclaredPath::plain(&path, Meets::Below), &path, Some(&candidate));
    }
    routes
}

/// Finds one of so many services.
pub(crate) fn find(services: usize) -> Part {
    let (routes, headers) = (table(services), FieldMap::new());
    let host = Host::parse(b"api.example.com:8443").expect("a host");
    let path = Path::parse("/service-7/v1/items/7").expect("a path");
    Box::new(move || {
        let wanted = RouteQuery {
            client: None,
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
