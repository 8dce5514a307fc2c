//! How the ACME client speaks to the authority: over the port for requests in the gateway's own name.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{Entry, RETRY_AFTER, USER_AGENT};
use http::uri::Scheme;
use http::{HeaderMap, HeaderValue, Request};
use http_body_util::{BodyExt, Full};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use portcullis_core::ports::{Bounds, Clock, Outbound};
use time::PrimitiveDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

/// What an answer may take. Authorities sign while one waits.
const BOUNDS: Bounds = Bounds { bytes: 256 << 10, time: Duration::from_secs(30) };
/// The longest wait that an authority is believed, in seconds: a week. Nobody waits longer, and the client that ACME is
/// spoken by adds what it is told to the time without looking.
const LONGEST_WAIT: u64 = 7 * 86_400;
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
        // The authority names the URLs that come after its directory. They are no way into what does without TLS here.
        if head.uri.scheme() != Some(&Scheme::HTTPS) {
            let reason =
                format!("the authority leads to '{}', which is not an https URL (RFC 8555 section 6.1)", head.uri);
            return Err(Error::Other(reason.into()));
        }
        let body = body.collect().await.map_err(|never| Error::Other(Box::new(never)))?.to_bytes();
        head.headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        let answer = self.outbound.send(Request::from_parts(head, body), BOUNDS).await;
        let mut answer = answer.map_err(|error| Error::Other(Box::new(error)))?;
        let said = retry_after(answer.headers(), self.clock.as_ref());
        if let Entry::Occupied(mut found) = answer.headers_mut().entry(RETRY_AFTER) {
            match said {
                Some(wait) => drop(found.insert(HeaderValue::from(wait.as_secs()))),
                None => drop(found.remove()),
            }
        }
        if !answer.status().is_success() {
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

/// `Retry-After`: seconds, or a date. No longer than anybody would wait.
fn retry_after(headers: &HeaderMap, clock: &dyn Clock) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(LONGEST_WAIT.min(seconds)));
    }
    let date = PrimitiveDateTime::parse(text, HTTP_DATE).ok()?.assume_utc();
    let millis = u64::try_from(date.unix_timestamp()).ok()?.saturating_mul(1_000);
    Some(Duration::from_millis(millis.saturating_sub(clock.unix_millis())).min(Duration::from_secs(LONGEST_WAIT)))
}

/// Whether the authority has refused something for this reason.
pub(super) fn is_problem(error: &Error, kind: &str) -> bool {
    matches!(error, Error::Api(problem) if problem.r#type.as_deref() == Some(kind))
}

/// Why an answer is none, as the operator is told. What others write is not shown at any length, nor does it move the
/// cursor of whoever reads it.
pub(super) fn words(error: &Error) -> String {
    let said = match error {
        Error::Api(problem) => {
            let kind = problem.r#type.as_deref().unwrap_or("about:blank");
            let mut words = format!("{} ({kind})", problem.detail.as_deref().unwrap_or("no detail"));
            for part in problem.subproblems.iter().take(8) {
                words.push_str("; ");
                words.push_str(part.detail.as_deref().unwrap_or("no detail"));
            }
            words
        }
        other => other.to_string(),
    };
    said.chars().take(1_000).map(|sign| if sign.is_control() { ' ' } else { sign }).collect()
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
        let week = Some(Duration::from_secs(LONGEST_WAIT));
        assert_eq!([said(&u64::MAX.to_string()), said("Fri, 31 Dec 9999 23:59:59 GMT")], [week, week]);
    }

    fn answering(
        answer: impl Fn(Request<Bytes>) -> Response<Bytes> + Send + Sync + 'static,
    ) -> impl AsyncFn(&str) -> Result<BytesResponse, Error> {
        let outbound = MemoryOutbound::answering(move |request| Ok(answer(request)));
        let transport = Transport::new(Arc::new(outbound), Arc::new(ManualClock::at(0)));
        async move |url: &str| {
            let request = Request::get(url).body(BodyWrapper::default()).expect("a request");
            transport.request(request).await
        }
    }

    #[tokio::test]
    async fn a_wait_that_nobody_would_wait_does_not_reach_the_client() {
        let get = answering(|request| {
            let said = request.uri().path().trim_start_matches('/').to_owned();
            Response::builder().header(RETRY_AFTER, said).body(Bytes::new()).expect("an answer")
        });
        for (said, heard) in
            [("7", Some("7")), ("18446744073709551615", Some("604800")), ("99999999999999999999", None)]
        {
            let answer = get(&format!("https://ca.example/{said}")).await.expect("answered");
            let found = answer.parts.headers.get(RETRY_AFTER).map(|found| found.to_str().expect("text"));
            assert_eq!(found, heard, "{said}");
        }
    }

    #[tokio::test]
    async fn nothing_but_https_is_asked_for() {
        let get = answering(|_| Response::new(Bytes::new()));
        assert!(get("https://ca.example/").await.is_ok());
        for url in ["http://ca.example/", "http://169.254.169.254/latest", "/new-order"] {
            let said = get(url).await.err().expect(url).to_string();
            assert!(said.contains("not an https URL"), "{url}: {said}");
        }
    }

    #[test]
    fn what_the_authority_says_cannot_forge_a_line() {
        let detail = "no\n\u{1b}[2Kall is well\u{9b}2K";
        let problem = serde_json::json!({"type": "t\r", "detail": detail, "subproblems": []});
        let said = words(&Error::Api(serde_json::from_value(problem).expect("a problem")));
        assert_eq!(said, "no  [2Kall is well 2K (t )");
        assert_eq!(words(&Error::Other("a\nb".into())).lines().count(), 1);
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
