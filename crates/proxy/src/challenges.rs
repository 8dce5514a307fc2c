//! ACME challenges: what a certificate authority looks for here while it issues, an answer under a path that it chooses
//! (`http-01`, RFC 8555 section 8.3), or a certificate (`tls-alpn-01`, RFC 8737, in [`crate::tls`]).
//!
//! While nothing is pending for a host, the path is one like any other.

use std::sync::Arc;

use async_trait::async_trait;
use http::{Method, StatusCode};
use portcullis_core::body::Body;
use portcullis_core::call::{Call, Response, RouteFacts};
use portcullis_core::dry_run::Destination;
use portcullis_core::message::names::{CACHE_CONTROL, CONTENT_TYPE};
use portcullis_core::message::{FieldValue, HasFields};
use portcullis_core::policy::{Endpoint, Pipeline};
use portcullis_core::refusal::Refusal;
use rustls::sign::CertifiedKey;

/// Where `http-01` is answered; the token follows.
const PATH: &str = "/.well-known/acme-challenge/";
/// The longest token that is looked up.
const LONGEST_TOKEN: usize = 128;

/// What is to be shown to certificate authorities. Hosts are in lower case and without a port.
#[async_trait]
pub trait Challenges: Send + Sync {
    /// Whether anything may be pending. Asked at every handshake and for every call below the path, so it only looks.
    fn may_be_pending(&self) -> bool;
    /// What is to be answered, if this node knows it without asking anybody.
    fn known(&self, host: &str, token: &str) -> Option<Arc<str>>;
    /// What is to be answered for a token.
    async fn answer(&self, host: &str, token: &str) -> Option<Arc<str>>;
    /// The certificate that is to be shown for a host.
    async fn certificate(&self, host: &str) -> Option<Arc<CertifiedKey>>;
}

/// Puts the answer to a certificate authority before what else a call is chosen for.
pub(crate) fn before(challenges: Option<&Arc<dyn Challenges>>, call: &Call, otherwise: Arc<Pipeline>) -> Arc<Pipeline> {
    let Some(challenges) = challenges else { return otherwise };
    let Some(token) = call.request.path.decision().as_str().strip_prefix(PATH) else { return otherwise };
    if call.request.method != Method::GET || !is_token(token) || !challenges.may_be_pending() {
        return otherwise;
    }
    let host: Box<str> = call.request.host.name().into();
    // What a call would come to is told without asking other nodes.
    if call.dry_run.is_some() && challenges.known(&host, token).is_none() {
        return otherwise;
    }
    let facts = RouteFacts { name: PATH.into(), ..RouteFacts::default() };
    let endpoint = Proof { challenges: Arc::clone(challenges), host, token: token.into(), otherwise };
    Arc::new(Pipeline::new(Arc::new(facts), Vec::new(), Arc::new(endpoint)))
}

/// Whether it is written like one (RFC 8555 section 8.3).
fn is_token(text: &str) -> bool {
    let is_base64url = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=LONGEST_TOKEN).contains(&text.len()) && text.bytes().all(is_base64url)
}

/// Answers a certificate authority, or leaves the call to what it was chosen for.
struct Proof {
    challenges: Arc<dyn Challenges>,
    host: Box<str>,
    token: Box<str>,
    otherwise: Arc<Pipeline>,
}

#[async_trait]
impl Endpoint for Proof {
    async fn answer(&self, call: &mut Call) -> Result<Response, Refusal> {
        let Some(answer) = self.challenges.answer(&self.host, &self.token).await else {
            return Ok(self.otherwise.run(call).await);
        };
        // It was no call of the service that has the path at other times.
        call.route = None;
        call.record.note(|record| (record.service, record.version) = (None, None));
        let mut response = Response::new(Body::full(answer.as_bytes().to_vec()));
        let mut headers = response.fields_mut();
        headers.set(CONTENT_TYPE, FieldValue::from_static("application/octet-stream"));
        headers.set(CACHE_CONTROL, FieldValue::from_static("no-store"));
        Ok(response)
    }

    fn preview(&self, _: &Call) -> Result<Destination, Refusal> {
        Ok(Destination::Answer { status: StatusCode::OK.as_u16(), location: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_base64url_and_short() {
        for good in ["a", "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA", "_-"] {
            assert!(is_token(good), "{good}");
        }
        for bad in ["", "a/b", "a.b", "a%20", "ü", &"a".repeat(LONGEST_TOKEN + 1)] {
            assert!(!is_token(bad), "{bad}");
        }
    }
}
