//! How the ACME client speaks to the authority: over the port for requests in the gateway's own name.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request};
use http_body_util::{BodyExt, Full};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use portcullis_core::ports::{Bounds, Clock, Outbound};
use time::PrimitiveDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

/// What an answer may take. Authorities sign while one waits.
const BOUNDS: Bounds = Bounds { bytes: 256 << 10, time: Duration::from_secs(30) };
/// How clients are to call themselves (RFC 8555 section 6.1).
const AGENT: &str = concat!("portcullis/", env!("CARGO_PKG_VERSION"));
/// The form of a date in HTTP (RFC 9110 section 5.6.7).
const HTTP_DATE: &[BorrowedFormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

/// Sends requests, and remembers for how long an authority that has refused one wants to be left alone.
#[derive(Clone)]
pub(super) struct Transport {
    outbound: Arc<dyn Outbound>,
    clock: Arc<dyn Clock>,
    retry_after: Arc<Mutex<Option<Duration>>>,
}

impl Transport {
    /// Over this port.
    pub(super) fn new(outbound: Arc<dyn Outbound>, clock: Arc<dyn Clock>) -> Self {
        Self { outbound, clock, retry_after: Arc::default() }
    }

    /// What the last refusal has said since this was asked last.
    pub(super) fn take_retry_after(&self) -> Option<Duration> {
        self.retry_after.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn send(self, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, Error> {
        let (mut head, body) = request.into_parts();
        let body = body.collect().await.map_err(|never| Error::Other(Box::new(never)))?.to_bytes();
        head.headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        let answer = self.outbound.send(Request::from_parts(head, body), BOUNDS).await;
        let answer = answer.map_err(|error| Error::Other(Box::new(error)))?;
        if !answer.status().is_success() {
            let said = retry_after(answer.headers(), self.clock.as_ref());
            *self.retry_after.lock().unwrap_or_else(PoisonError::into_inner) = said;
        }
        Ok(BytesResponse::from(answer.map(Full::new)))
    }
}

impl HttpClient for Transport {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        Box::pin(self.clone().send(request))
    }
}

/// `Retry-After`: seconds, or a date.
fn retry_after(headers: &HeaderMap, clock: &dyn Clock) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = PrimitiveDateTime::parse(text, HTTP_DATE).ok()?.assume_utc();
    let millis = u64::try_from(date.unix_timestamp()).ok()?.saturating_mul(1_000);
    Some(Duration::from_millis(millis.saturating_sub(clock.unix_millis())))
}

/// Why an answer is none, as the operator is told.
pub(super) fn words(error: &Error) -> String {
    match error {
        Error::Api(problem) => {
            let kind = problem.r#type.as_deref().unwrap_or("about:blank");
            let mut words = format!("{} ({kind})", problem.detail.as_deref().unwrap_or("no detail"));
            for part in problem.subproblems.iter().take(8) {
                words.push_str("; ");
                words.push_str(part.detail.as_deref().unwrap_or("no detail"));
            }
            // What others write is not shown at any length.
            words.chars().take(1_000).collect()
        }
        other => other.to_string().chars().take(1_000).collect(),
    }
}

#[cfg(test)]
mod tests {
    use http::Response;
    use portcullis_core::memory::{ManualClock, MemoryOutbound};

    use super::*;

    #[test]
    fn a_wait_is_seconds_or_a_date() {
        let clock = ManualClock::at(784_111_700);
        let said = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_str(text).expect("a value"));
            retry_after(&headers, &clock)
        };
        assert_eq!(said("120"), Some(Duration::from_secs(120)));
        assert_eq!(said("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::from_secs(77)));
        assert_eq!(said("Sat, 05 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        assert_eq!(said("soon"), None);
    }

    #[tokio::test]
    async fn a_refusal_is_remembered_once_and_requests_say_who_asks() {
        let outbound = MemoryOutbound::answering(|request| {
            assert_eq!(request.headers()[USER_AGENT], AGENT);
            let status = if request.uri().path() == "/no" { 429 } else { 200 };
            let answer = Response::builder().status(status).header(RETRY_AFTER, "7").body(Bytes::new());
            Ok(answer.expect("an answer"))
        });
        let transport = Transport::new(Arc::new(outbound), Arc::new(ManualClock::at(0)));
        let request = |path: &str| {
            let request = Request::get(format!("https://ca.example{path}")).body(BodyWrapper::default());
            transport.request(request.expect("a request"))
        };
        assert_eq!(request("/yes").await.expect("answered").parts.status, 200);
        assert_eq!(transport.take_retry_after(), None);
        assert_eq!(request("/no").await.expect("answered").parts.status, 429);
        assert_eq!([(); 2].map(|()| transport.take_retry_after()), [Some(Duration::from_secs(7)), None]);
    }
}
