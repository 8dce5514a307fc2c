//! The admin API as commands see it: one request at a time over HTTP/1.1, with the admin token.

use std::path::Path;

use anyhow::Context as _;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, ETAG, HOST, IF_MATCH};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use portcullis_core::model::Problem;
use portcullis_core::secret::Secret;
use serde_json::Value;

use super::exchange::{Peer, Way, exchange, exchange_patiently};
use super::failure::Failure;
use super::trust;

/// The most items the admin API gives at once.
pub(crate) const PAGE: u64 = 1_000;
/// No list has more pages; one that does goes in a circle.
const PAGES: usize = 100_000;

/// Where the admin API is, and the token to show there.
pub(crate) struct Admin {
    peer: Peer,
    base: String,
    token: HeaderValue,
}

/// A good answer.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The body; null where there is none.
    pub(crate) body: Value,
    /// The revision of the object, to be named when it is changed.
    pub(crate) etag: Option<HeaderValue>,
}

impl Admin {
    /// Speaks to the admin API under a URL like `http://127.0.0.1:6501`. Over `https` it is trusted by the roots of a
    /// file, else by those of the system. In clear the token goes to this machine alone, unless `insecure` insists.
    pub(crate) fn new(url: &str, token: &Secret, roots: Option<&Path>, insecure: bool) -> Result<Self, Failure> {
        let bad = |reason: &str| Failure::Usage(format!("'{url}' is no URL of an admin API: {reason}"));
        let uri: Uri = url.parse().map_err(|_| bad("it cannot be read"))?;
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
        let authority = authority.ok_or_else(|| bad("it has no host of its own"))?;
        let way = match uri.scheme_str() {
            Some("https") => Way::Tls(trust::client(roots)?),
            Some("http") if insecure => Way::ClearAnywhere,
            Some("http") => Way::ClearHere,
            _ => return Err(bad("expected http:// or https://")),
        };
        let mut token = HeaderValue::try_from(format!("Bearer {}", token.expose()))
            .map_err(|_| Failure::failed("the admin token has characters no token has"))?;
        token.set_sensitive(true);
        let base = uri.path().trim_end_matches('/').to_owned();
        Ok(Self { peer: Peer { authority: authority.as_str().to_owned(), way }, base, token })
    }

    /// Reads an object.
    pub(crate) async fn get(&self, path: &str) -> Result<Reply, Failure> {
        self.call(Method::GET, path, None, None).await
    }

    /// Makes an object whose name the gateway knows or chooses.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Reply, Failure> {
        self.call(Method::POST, path, Some(body), None).await
    }

    /// Makes or replaces an object; with an ETag, only if nobody has changed it since.
    pub(crate) async fn put(&self, path: &str, body: &Value, etag: Option<HeaderValue>) -> Result<Reply, Failure> {
        self.call(Method::PUT, path, Some(body), etag).await
    }

    /// Takes an object out.
    pub(crate) async fn delete(&self, path: &str) -> Result<Reply, Failure> {
        self.call(Method::DELETE, path, None, None).await
    }

    /// The newest items of a list, the newest first, and so many at most. `filter` is the end of a query.
    pub(crate) async fn newest(&self, path: &str, filter: &str, limit: u64) -> Result<Vec<Value>, Failure> {
        let mut found = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = (limit - found.len() as u64).min(PAGE);
            let (items, next) = items_of(self.get(&format!("{path}?limit={page}{filter}{cursor}")).await?.body)?;
            found.extend(items.into_iter().take(usize::try_from(page).unwrap_or(usize::MAX)));
            match next {
                Some(next) if (found.len() as u64) < limit => cursor = format!("&cursor={}", encode(&next)),
                _ => return Ok(found),
            }
        }
    }

    /// Every item of a list, over all its pages.
    pub(crate) async fn all(&self, path: &str) -> Result<Vec<Value>, Failure> {
        let mut items = Vec::new();
        let mut page = path.to_owned();
        for _ in 0..PAGES {
            let reply = self.get(&page).await?.body;
            let (more, next) = items_of(reply)?;
            items.extend(more);
            match next {
                Some(cursor) => page = format!("{path}?cursor={}", encode(&cursor)),
                None => return Ok(items),
            }
        }
        Err(Failure::failed("the gateway's list does not end"))
    }

    /// Sends a text as it is, with what it is called and, where there is one, the ETag it is meant for.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        text: (&'static str, Bytes),
        etag: Option<HeaderValue>,
    ) -> Result<Reply, Failure> {
        // Declarations may be many: the gateway compiles all of them before it answers.
        let request = self.request(method, path, Some(text), etag)?;
        self.read(exchange_patiently(&self.peer, request).await?)
    }

    /// Reads a text that is not JSON.
    pub(crate) async fn text(&self, path: &str) -> Result<String, Failure> {
        let request = self.request(Method::GET, path, None, None)?;
        let (head, bytes) = exchange(&self.peer, request).await?.into_parts();
        if !head.status.is_success() {
            return Err(refusal(head.status, &serde_json::from_slice(&bytes).unwrap_or_default()));
        }
        let text = String::from_utf8(bytes.to_vec());
        text.map_err(|_| Failure::failed(format!("{} did not answer in text", self.peer)))
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        etag: Option<HeaderValue>,
    ) -> Result<Reply, Failure> {
        let text = body.map(|body| ("application/json", Bytes::from(body.to_string())));
        self.exchange(method, path, text, etag).await
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        text: Option<(&'static str, Bytes)>,
        etag: Option<HeaderValue>,
    ) -> Result<Reply, Failure> {
        let request = self.request(method, path, text, etag)?;
        self.read(exchange(&self.peer, request).await?)
    }

    fn read(&self, answer: Response<Bytes>) -> Result<Reply, Failure> {
        let (head, bytes) = answer.into_parts();
        let body: Option<Value> = match bytes.as_ref() {
            [] => Some(Value::Null),
            bytes => serde_json::from_slice(bytes).ok(),
        };
        if !head.status.is_success() {
            return Err(refusal(head.status, &body.unwrap_or_default()));
        }
        let body = body.ok_or_else(|| Failure::failed(format!("{} did not answer in JSON", self.peer)))?;
        Ok(Reply { body, etag: head.headers.get(ETAG).cloned() })
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        text: Option<(&'static str, Bytes)>,
        etag: Option<HeaderValue>,
    ) -> Result<Request<Full<Bytes>>, Failure> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}/api/v1{path}", self.base))
            .header(HOST, &self.peer.authority)
            .header(AUTHORIZATION, &self.token);
        if let Some((kind, _)) = &text {
            request = request.header(CONTENT_TYPE, *kind);
        }
        if let Some(etag) = etag {
            request = request.header(IF_MATCH, etag);
        }
        let body = text.map(|(_, body)| body).unwrap_or_default();
        request.body(Full::new(body)).context("this cannot be asked").map_err(Failure::from)
    }
}

/// The items of a page and the cursor of the next.
pub(crate) fn items_of(mut reply: Value) -> Result<(Vec<Value>, Option<String>), Failure> {
    let next = reply.get("next").and_then(Value::as_str).map(str::to_owned);
    match reply.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) => Ok((items, next)),
        _ => Err(Failure::failed("the gateway's answer is no list")),
    }
}

/// The gateway's problem document in our words.
fn refusal(status: StatusCode, body: &Value) -> Failure {
    let text = |field: &str| body.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
    let detail = match (text("detail").or_else(|| text("title")), text("code")) {
        (Some(detail), Some(code)) => format!("{detail} ({}, {code})", status.as_u16()),
        (Some(detail), None) => format!("{detail} ({})", status.as_u16()),
        (None, _) => format!("the admin API answered {status}"),
    };
    let problem = |found: &Value| {
        let text = |field: &str| found.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        Problem::new(text("path"), text("message")).at(found.get("line").and_then(Value::as_u64))
    };
    let problems = body.get("problems").and_then(Value::as_array);
    Failure::Refused { detail, problems: problems.map(|all| all.iter().map(problem).collect()).unwrap_or_default() }
}

/// Conditions that were given as the end of a query.
pub(crate) fn conditions_of<const N: usize>(conditions: [(&str, &Option<String>); N]) -> String {
    let given = conditions.into_iter().filter_map(|(name, value)| value.as_ref().map(|value| (name, value)));
    given.map(|(name, value)| format!("&{name}={}", encode(value))).collect()
}

/// A text as one segment of a path or one value of a query.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
pub(super) mod tests {
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};

    use http::header::LOCATION;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use serde_json::json;
    use tokio::net::TcpListener;

    use super::*;

    /// A server that answers each request, given as `METHOD target`, with a status and a body, and what it saw.
    pub(in crate::cli) async fn server(
        answer: impl Fn(&str) -> (u16, String) + Send + Sync + 'static,
    ) -> (Admin, Arc<Mutex<Vec<String>>>) {
        answering(answer, None).await
    }

    /// A server that sends everybody elsewhere.
    async fn redirecting(status: u16, location: String) -> (Admin, Arc<Mutex<Vec<String>>>) {
        answering(move |_| (status, String::new()), Some(location)).await
    }

    async fn answering(
        answer: impl Fn(&str) -> (u16, String) + Send + Sync + 'static,
        location: Option<String>,
    ) -> (Admin, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/base/", listener.local_addr().expect("bound"));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, kept) = (Arc::new(answer), Arc::clone(&seen));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, kept, location) = (Arc::clone(&answer), Arc::clone(&kept), location.clone());
                let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                    let token = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
                    let asked = format!("{} {}", request.method(), request.uri());
                    kept.lock().expect("not poisoned").push(format!("{asked} {}", token.unwrap_or_default()));
                    let (status, body) = answer(&asked);
                    let mut response = Response::builder().status(status);
                    if let Some(location) = &location {
                        response = response.header(LOCATION, location);
                    }
                    let response = response.body(Full::new(Bytes::from(body)));
                    async move { Ok::<_, Infallible>(response.expect("a response")) }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        (Admin::new(&url, &Secret::from("t0ken"), None, false).expect("a URL"), seen)
    }

    #[tokio::test]
    async fn a_list_is_read_over_all_its_pages() {
        let (admin, seen) = server(|asked| match asked {
            "GET /base/api/v1/services" => (200, json!({"items": [1, 2], "next": "a/b"}).to_string()),
            "GET /base/api/v1/services?cursor=a%2Fb" => (200, json!({"items": [3], "next": null}).to_string()),
            _ => (500, String::new()),
        })
        .await;
        assert_eq!(admin.all("/services").await.expect("read"), [json!(1), json!(2), json!(3)]);
        let seen = seen.lock().expect("not poisoned");
        assert!(seen.len() == 2 && seen.iter().all(|asked| asked.ends_with(" Bearer t0ken")), "{seen:?}");
    }

    #[tokio::test]
    async fn a_refusal_is_told_with_its_problems() {
        let (admin, _) = server(|_| {
            let problems = json!([{"path": "targets", "message": "is missing"}]);
            (422, json!({"detail": "no good", "code": "invalid_declaration", "problems": problems}).to_string())
        })
        .await;
        match admin.put("/services/a/b", &json!({}), None).await {
            Err(Failure::Refused { detail, problems }) => {
                assert_eq!(detail, "no good (422, invalid_declaration)");
                assert_eq!(problems, [Problem::new("targets", "is missing")]);
            }
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn answers_that_are_none_of_the_admin_apis_are_failures() {
        for (status, body, words) in [
            (200, "<html>", "did not answer in JSON"),
            (502, "<html>", "the admin API answered 502"),
            (200, "{\"items\": 1}", "is no list"),
            (200, "", "is no list"),
        ] {
            let (admin, _) = server(move |_| (status, body.to_owned())).await;
            let failure = admin.all("/services").await.expect_err(words);
            assert!(failure.to_string().contains(words), "{failure}");
        }
    }

    #[tokio::test]
    async fn nobody_is_followed_elsewhere_with_the_token() {
        let (elsewhere, seen) = server(|_| (200, "{}".to_owned())).await;
        let target = format!("http://{}/base/api/v1/services", elsewhere.peer.authority);
        for status in [301, 302, 303, 307, 308] {
            let location = target.clone();
            let (admin, _) = redirecting(status, location).await;
            assert!(matches!(admin.get("/services").await, Err(Failure::Refused { .. })), "{status}");
            assert!(matches!(admin.post("/services", &json!({})).await, Err(Failure::Refused { .. })), "{status}");
        }
        assert_eq!(seen.lock().expect("not poisoned").len(), 0);
    }

    #[test]
    fn an_admin_url_is_http_with_a_host() {
        let token = Secret::from("t");
        assert!(Admin::new("http://localhost:6501", &token, None, false).is_ok());
        for bad in ["localhost", "/api", "ftp://localhost", "http://user@localhost", ""] {
            assert!(matches!(Admin::new(bad, &token, None, false), Err(Failure::Usage(_))), "{bad}");
        }
        assert!(matches!(Admin::new("http://a", &Secret::from("a\nb"), None, false), Err(Failure::Failed(_))));
    }

    #[test]
    fn a_name_is_one_segment() {
        assert_eq!(encode("a b/c?d#e%f~ü"), "a%20b%2Fc%3Fd%23e%25f~%C3%BC");
    }
}
