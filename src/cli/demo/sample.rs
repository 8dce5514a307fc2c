//! The demo's two services: small HTTP servers of their own that know nothing of the gateway, and whose answers
//! show what a service gets to see of a call.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// The largest body that is echoed.
const BODY_LIMIT: usize = 64 << 10;
/// Connections at a time; the next one waits.
const CONNECTIONS: usize = 256;
/// How long a request's head may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a service has to offer: a collection of things, each with an id.
#[derive(Debug, Clone, Copy)]
pub(super) struct Catalogue {
    /// The service's name.
    pub(super) name: &'static str,
    /// The path of the collection.
    pub(super) path: &'static str,
    /// The things, as JSON objects with an `id`.
    things: fn() -> Vec<Value>,
}

/// Orders somebody has placed.
pub(super) const ORDERS: Catalogue = Catalogue {
    name: "orders",
    path: "/orders",
    things: || {
        vec![
            json!({"id": "1001", "item": "lantern", "quantity": 2, "state": "shipped"}),
            json!({"id": "1002", "item": "rope", "quantity": 1, "state": "packed"}),
        ]
    },
};

/// Things that lie in a store.
pub(super) const INVENTORY: Catalogue = Catalogue {
    name: "inventory",
    path: "/items",
    things: || vec![json!({"id": "lantern", "stock": 14}), json!({"id": "rope", "stock": 3})],
};

/// A running service. It ends when it is dropped.
#[derive(Debug)]
pub(super) struct Sample {
    /// What it offers.
    pub(super) catalogue: Catalogue,
    /// Where it listens: a free port on loopback.
    pub(super) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Sample {
    /// Starts a service on a free port.
    pub(super) async fn start(catalogue: Catalogue) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        Ok(Self { catalogue, address, task: tokio::spawn(accept(listener, catalogue)) })
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, catalogue: Catalogue) {
    // The connections are the task's own: they end with it.
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        if connections.len() >= CONNECTIONS {
            connections.join_next().await;
        }
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.spawn(serve(stream, catalogue));
            }
            Err(error) => {
                tracing::warn!(%error, service = catalogue.name, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, catalogue: Catalogue) {
    let service = service_fn(move |request| async move { Ok::<_, Infallible>(answer(request, catalogue).await) });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, service = catalogue.name, "a connection broke off");
    }
}

async fn answer(request: Request<Incoming>, catalogue: Catalogue) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let (status, found) = match (&head.method, head.uri.path().strip_prefix(catalogue.path)) {
        (&Method::GET, Some("" | "/")) => (StatusCode::OK, json!((catalogue.things)())),
        (&Method::GET, Some(rest)) => match find(catalogue, rest) {
            Some(thing) => (StatusCode::OK, thing),
            None => (StatusCode::NOT_FOUND, json!("there is no such thing here")),
        },
        (&Method::POST, Some("" | "/")) => match Limited::new(body, BODY_LIMIT).collect().await {
            Ok(body) => (StatusCode::CREATED, echo(&body.to_bytes())),
            Err(_) => (StatusCode::PAYLOAD_TOO_LARGE, json!("the body did not arrive whole, or is too large")),
        },
        (_, Some(_)) => (StatusCode::METHOD_NOT_ALLOWED, json!("GET and POST are answered here")),
        (_, None) => (StatusCode::NOT_FOUND, json!(format!("try {}", catalogue.path))),
    };
    let body = json!({"service": catalogue.name, "answer": found, "received": received(&head.headers)});
    let mut response = Response::new(Full::new(Bytes::from(format!("{body}\n"))));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, POST"));
    }
    response
}

fn find(catalogue: Catalogue, rest: &str) -> Option<Value> {
    let id = rest.strip_prefix('/')?;
    (catalogue.things)().into_iter().find(|thing| thing["id"] == id)
}

fn echo(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_else(|_| String::from_utf8_lossy(body).into())
}

/// What the gateway told the service of the caller: the names of all fields, and who calls.
fn received(headers: &HeaderMap) -> Value {
    let names: Vec<&str> = headers.keys().map(http::HeaderName::as_str).collect();
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let user = text("x-user-json").and_then(|encoded| STANDARD.decode(encoded).ok());
    let user: Option<Value> = user.and_then(|json| serde_json::from_slice(&json).ok());
    json!({"headers": names, "user": user, "app_id": text("x-app-id"), "request_id": text("x-request-id")})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::exchange::{Peer, exchange};

    async fn call(method: Method, path: &str, body: &'static str) -> (StatusCode, Value) {
        let sample = Sample::start(ORDERS).await.expect("a free port");
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "orders")
            .header("x-app-id", "shop")
            .header("x-user-json", STANDARD.encode("{\"name\":\"Ada\"}"))
            .body(Full::new(Bytes::from(body)))
            .expect("a request");
        let response = exchange(&Peer::in_clear(sample.address.to_string()), request).await.expect("an answer");
        (response.status(), serde_json::from_slice(response.body()).expect("JSON"))
    }

    #[tokio::test]
    async fn a_service_shows_what_it_was_told_of_the_caller() {
        let (status, body) = call(Method::GET, "/orders/1002", "").await;
        assert_eq!((status, &body["answer"]["item"]), (StatusCode::OK, &json!("rope")));
        assert_eq!(body["received"]["user"], json!({"name": "Ada"}));
        assert_eq!(body["received"]["app_id"], "shop");
        let names = body["received"]["headers"].as_array().expect("a list");
        assert!(names.contains(&json!("x-user-json")), "{names:?}");
    }

    #[tokio::test]
    async fn a_service_answers_its_own_paths_only() {
        let (status, body) = call(Method::GET, "/orders", "").await;
        assert_eq!((status, body["answer"].as_array().map(Vec::len)), (StatusCode::OK, Some(2)));
        let (status, body) = call(Method::POST, "/orders", "{\"item\":\"boots\"}").await;
        assert_eq!((status, &body["answer"]), (StatusCode::CREATED, &json!({"item": "boots"})));
        assert_eq!(call(Method::GET, "/orders/9", "").await.0, StatusCode::NOT_FOUND);
        assert_eq!(call(Method::GET, "/ordersX", "").await.0, StatusCode::NOT_FOUND);
        assert_eq!(call(Method::GET, "/items", "").await.0, StatusCode::NOT_FOUND);
        assert_eq!(call(Method::DELETE, "/orders/1002", "").await.0, StatusCode::METHOD_NOT_ALLOWED);
    }
}
