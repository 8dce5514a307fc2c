//! Health checks, the liveness and readiness probes `/-/health` and `/-/ready`: whether the process lives, and whether
//! it takes calls.

use async_trait::async_trait;
use http::{Method, StatusCode};
use portcullis_core::body::Body;
use portcullis_core::call::{Call, Response};
use portcullis_core::message::names::{CACHE_CONTROL, CONTENT_TYPE};
use portcullis_core::message::{FieldValue, HasFields};
use portcullis_core::policy::Endpoint;
use portcullis_core::refusal::Refusal;
use tokio::sync::watch;

use crate::stage::Stage;

/// Answers 200 as long as the process answers at all.
pub struct Health;

#[async_trait]
impl Endpoint for Health {
    async fn answer(&self, call: &mut Call) -> Result<Response, Refusal> {
        probe(call, StatusCode::OK, r#"{"status":"live"}"#)
    }
}

/// Answers 200 while the gateway takes calls, and 503 from the moment on it is asked to stop.
pub struct Ready(pub watch::Receiver<Stage>);

#[async_trait]
impl Endpoint for Ready {
    async fn answer(&self, call: &mut Call) -> Result<Response, Refusal> {
        if *self.0.borrow() == Stage::Serving {
            probe(call, StatusCode::OK, r#"{"status":"ready"}"#)
        } else {
            probe(call, StatusCode::SERVICE_UNAVAILABLE, r#"{"status":"stopping"}"#)
        }
    }
}

fn probe(call: &Call, status: StatusCode, body: &'static str) -> Result<Response, Refusal> {
    if !matches!(call.request.method, Method::GET | Method::HEAD) {
        return Err(Refusal::MethodNotAllowed { allow: "GET, HEAD" });
    }
    let mut response = Response::new(Body::full(body));
    *response.status_mut() = status;
    let mut headers = response.fields_mut();
    headers.set(CONTENT_TYPE, FieldValue::from_static("application/json"));
    headers.set(CACHE_CONTROL, FieldValue::from_static("no-store"));
    Ok(response)
}
