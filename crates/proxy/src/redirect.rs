//! Calls that come in clear are sent to TLS: the same target on the same host, and only on a host that is known here.

use std::sync::Arc;

use async_trait::async_trait;
use http::StatusCode;
use portcullis_core::body::Body;
use portcullis_core::call::{Call, Response, RouteFacts};
use portcullis_core::canonical::Host;
use portcullis_core::dry_run::Destination;
use portcullis_core::message::names::LOCATION;
use portcullis_core::message::{FieldValue, HasFields};
use portcullis_core::policy::{Endpoint, Pipeline};
use portcullis_core::refusal::Refusal;

/// What probes ask for. From this machine itself they may ask in clear.
const PROBES: [&str; 2] = ["/-/health", "/-/ready"];

/// Where calls in clear are sent.
#[derive(Debug, Clone, Copy)]
pub struct Redirect {
    /// The port that callers reach TLS on.
    pub port: u16,
}

/// What becomes of a call that has come in clear where it should not; none if it may go on. `is_known`: whether the node
/// goes by a host.
pub fn in_clear(
    redirect: Option<&Redirect>,
    is_known: impl FnOnce(&Host) -> bool,
    call: &Call,
) -> Option<Arc<Pipeline>> {
    let redirect = redirect?;
    let is_probe =
        PROBES.contains(&call.request.path.decision().as_str()) && call.peer.socket.ip().to_canonical().is_loopback();
    // A proxy in front that is believed may have ended TLS.
    if call.peer.scheme == "https" || is_probe {
        return None;
    }
    let host = &call.request.host;
    let location = is_known(host).then(|| location(host.name(), redirect.port, call)).flatten();
    let facts = RouteFacts::default();
    Some(Arc::new(Pipeline::new(Arc::new(facts), Vec::new(), Arc::new(Elsewhere(location)))))
}

/// The call's own target, as it was sent, on `https`.
fn location(host: &str, port: u16, call: &Call) -> Option<FieldValue> {
    let target = call.raw.target.path_and_query().map_or("/", |target| target.as_str());
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    FieldValue::of(&format!("https://{host}{port}{target}")).ok()
}

/// Sends a call on, or says that nothing is here.
struct Elsewhere(Option<FieldValue>);

#[async_trait]
impl Endpoint for Elsewhere {
    async fn answer(&self, _: &mut Call) -> Result<Response, Refusal> {
        let location = self.0.clone().ok_or(Refusal::NoRoute)?;
        let mut response = Response::new(Body::empty());
        // The method and the body stay what they were (RFC 9110 section 15.4.9).
        *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
        response.fields_mut().set(LOCATION, location);
        Ok(response)
    }

    fn preview(&self, _: &Call) -> Result<Destination, Refusal> {
        let location = self.0.as_ref().and_then(|location| location.text()).ok_or(Refusal::NoRoute)?;
        let status = StatusCode::PERMANENT_REDIRECT.as_u16();
        Ok(Destination::Answer { status, location: Some(location.to_owned()) })
    }
}
