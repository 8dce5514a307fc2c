//! The one HTTP client that speaks in the gateway's own name. It goes where calls may go: addresses are judged after the
//! name has been resolved, and the gateway's own listeners are never connected to.
//!
//! Its connections belong to the runtime that uses it, which is the control plane's. Calls are forwarded by
//! [`crate::upstream`] instead.

mod server_stream;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use portcullis_core::model::{Problem, Scheme, TargetTls, TargetUrl};
use portcullis_core::ports::{Bounds, Outbound, OutboundError};
use portcullis_wire::stream::Stream;
use rustls::pki_types::ServerName;
use tower_service::Service;

use self::server_stream::ServerStream;
use crate::attempt::Class;
use crate::connect;
use crate::endpoint::Upstreams;
use crate::guard::Guard;
use crate::names::Names;
use crate::sockets::Sockets;
use crate::tls::Identity;

/// Connections to one server that are kept for the next request.
const KEPT: usize = 2;
/// How long they are kept.
const KEEP: Duration = Duration::from_secs(15);
/// Bytes of an answer's header block.
const HEAD: usize = 64 << 10;
/// Bytes of the largest body that anybody may ask for.
const LARGEST: usize = 256 << 10;
/// Bytes of all that comes in one exchange: interim answers, the header block, the body, and how that is framed. A body in pieces
/// of two bytes and more has room in it.
const MOST: usize = HEAD + 4 * LARGEST;

/// The client.
#[derive(Clone)]
pub struct HttpOutbound(Client<Connector, Full<Bytes>>);

impl std::fmt::Debug for HttpOutbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpOutbound").finish_non_exhaustive()
    }
}

impl HttpOutbound {
    /// One that goes where calls may go and proves others by the machine's roots, or by these authorities in PEM alone.
    pub fn over(upstreams: &Upstreams, ca: Option<String>) -> Result<Self, Vec<Problem>> {
        let identity = upstreams.identities().of(&TargetTls { ca, ..TargetTls::default() })?;
        let settings = upstreams.settings();
        Ok(Self::new(Connector {
            guard: Arc::new(settings.guard.clone()),
            sockets: Arc::clone(&settings.sockets),
            names: Arc::clone(&settings.names),
            within: settings.connect_timeout,
            identity,
        }))
    }

    fn new(connector: Connector) -> Self {
        let mut builder = Client::builder(TokioExecutor::new());
        builder
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(KEEP)
            .pool_max_idle_per_host(KEPT)
            .http1_max_buf_size(HEAD);
        Self(builder.build(connector))
    }
}

#[async_trait]
impl Outbound for HttpOutbound {
    async fn send(&self, request: Request<Bytes>, bounds: Bounds) -> Result<Response<Bytes>, OutboundError> {
        let uri = request.uri();
        if uri.authority().is_none() || !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(OutboundError::Url(uri.to_string()));
        }
        let limit = bounds.bytes.min(LARGEST);
        let exchange = async {
            let response = self.0.request(request.map(Full::new)).await.map_err(|error| failure(&error))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, limit).collect().await.map_err(|error| {
                if error.is::<LengthLimitError>() {
                    OutboundError::TooLarge { limit }
                } else {
                    OutboundError::Broken(error.to_string())
                }
            })?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        let in_time = tokio::time::timeout(bounds.time, exchange).await;
        in_time.map_err(|_| OutboundError::TimedOut(bounds.time))?
    }
}

/// Why a request has no answer: what was said when connecting, or else what the connection said last.
fn failure(error: &(dyn std::error::Error + 'static)) -> OutboundError {
    let mut cause = Some(error);
    let mut last = error;
    while let Some(found) = cause {
        if let Some(told) = found.downcast_ref::<OutboundError>() {
            return told.clone();
        }
        last = found;
        cause = found.source();
    }
    OutboundError::Broken(last.to_string())
}

/// Opens connections.
#[derive(Clone)]
struct Connector {
    guard: Arc<Guard>,
    sockets: Arc<Sockets>,
    names: Arc<Names>,
    within: Duration,
    identity: Arc<Identity>,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<ServerStream>;
    type Error = OutboundError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { connector.connect(&uri).await.map(TokioIo::new) })
    }
}

impl Connector {
    async fn connect(&self, uri: &Uri) -> Result<ServerStream, OutboundError> {
        let no_url = || OutboundError::Url(uri.to_string());
        let (scheme, authority) = uri.scheme_str().zip(uri.authority()).ok_or_else(no_url)?;
        let server: TargetUrl = format!("{scheme}://{authority}").parse().map_err(|_| no_url())?;
        let opened = connect::open(&self.guard, &self.sockets, &self.names, self.within, &server).await;
        let stream = opened.map_err(|failed| match failed.class {
            Class::Forbidden => OutboundError::Forbidden(failed.reason.into_owned()),
            _ => OutboundError::Unreachable(failed.reason.into_owned()),
        })?;
        stream.set_nodelay(true).map_err(|error| OutboundError::Unreachable(error.to_string()))?;
        if server.scheme() == Scheme::Http {
            return Ok(ServerStream::new(Stream::Plain(stream), MOST));
        }
        let name = ServerName::try_from(server.host().to_owned()).map_err(|_| no_url())?;
        let shaken = self.identity.shake_hands(name, vec![b"http/1.1".to_vec()], stream).await;
        let stream = shaken.map_err(|reason| OutboundError::Unreachable(format!("{server}: {reason}")))?;
        Ok(ServerStream::new(Stream::Tls(Box::new(stream)), MOST))
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::message::{FieldName, HasFields};
    use std::net::SocketAddr;

    use portcullis_core::memory::ManualClock;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::guard::Allow;
    use crate::names::ResolveBy;
    use crate::tls::Identities;

    fn client(own: Vec<SocketAddr>, allow: Vec<Allow>) -> HttpOutbound {
        client_that_knows(own, allow, Names::new(ResolveBy::System, 1, Duration::ZERO))
    }

    fn client_that_knows(own: Vec<SocketAddr>, allow: Vec<Allow>, names: Arc<Names>) -> HttpOutbound {
        let directory = tempfile::tempdir().expect("a directory");
        let identities = Identities::new(directory.path(), Arc::new(ManualClock::at(0)));
        let identity = identities.of(&Default::default()).expect("the machine has roots");
        let guard = Arc::new(Guard::new(allow, own));
        let within = Duration::from_secs(5);
        HttpOutbound::new(Connector { guard, sockets: Sockets::new(8), names, within, identity })
    }

    /// A server that answers every connection's requests with these bytes, and counts its connections.
    async fn server(answer: &'static [u8]) -> (SocketAddr, Arc<std::sync::atomic::AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.expect("accepted");
                counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                tokio::spawn(async move {
                    let mut buffer = [0; 4_096];
                    while stream.read(&mut buffer).await.is_ok_and(|length| length > 0) {
                        stream.write_all(answer).await.expect("written");
                    }
                });
            }
        });
        (address, count)
    }

    async fn get(client: &HttpOutbound, url: &str, bounds: Bounds) -> Result<Response<Bytes>, OutboundError> {
        client.send(Request::get(url).body(Bytes::new()).expect("a request"), bounds).await
    }

    #[tokio::test]
    async fn an_answer_comes_whole_and_the_connection_is_kept() {
        let (address, count) = server(b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\nX-A: b\r\n\r\nabc").await;
        let client = client(Vec::new(), vec![Allow::Loopback]);
        for _ in 0..3 {
            let answer = get(&client, &format!("http://{address}/x"), Bounds::default()).await.expect("answered");
            assert_eq!((answer.status().as_u16(), answer.body().as_ref()), (404, &b"abc"[..]));
            assert_eq!(answer.fields().text(FieldName::from_static("x-a")), Some("b"));
        }
        assert_eq!(count.load(std::sync::atomic::Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn nothing_is_sent_where_calls_do_not_go_either() {
        let (address, count) = server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        let url = format!("http://{address}/");
        let refused = get(&client(Vec::new(), vec![Allow::Public]), &url, Bounds::default()).await;
        assert!(matches!(&refused, Err(OutboundError::Forbidden(told)) if told.contains("127.0.0.1")), "{refused:?}");
        let own = client(vec![address], vec![Allow::Loopback]);
        assert!(matches!(get(&own, &url, Bounds::default()).await, Err(OutboundError::Forbidden(_))));
        assert_eq!(count.load(std::sync::atomic::Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn a_name_leads_to_whichever_of_its_addresses_answers_and_is_allowed() {
        let (address, count) = server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        let knows = |addresses: &[&str]| {
            let addresses = addresses.iter().map(|text| text.parse().expect("an IP")).collect();
            client_that_knows(Vec::new(), vec![Allow::Loopback], Names::knowing("pair.test", addresses))
        };
        let url = format!("http://pair.test:{}/", address.port());
        // At the first nobody listens, and the second is not even tried.
        let client = knows(&["127.0.77.9", "169.254.169.254", "127.0.0.1"]);
        assert_eq!(get(&client, &url, Bounds::default()).await.expect("answered").status(), 200);
        assert_eq!(count.load(std::sync::atomic::Ordering::SeqCst), 1);
        let refused = get(&knows(&["169.254.169.254"]), &url, Bounds::default()).await;
        assert!(matches!(&refused, Err(OutboundError::Forbidden(told)) if told.contains("169.254")), "{refused:?}");
        let refused = get(&knows(&["127.0.77.9"]), &url, Bounds::default()).await;
        assert!(
            matches!(&refused, Err(OutboundError::Unreachable(told)) if told.contains("127.0.77.9")),
            "{refused:?}"
        );
    }

    /// A server that says this, and then one thing for ever.
    async fn endless(first: &'static str, then: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("accepted");
            let mut request = [0; 4_096];
            let _ = stream.read(&mut request).await;
            let many = then.repeat((16 << 10) / then.len());
            let mut written = stream.write_all(first.as_bytes()).await;
            while written.is_ok() {
                written = stream.write_all(many.as_bytes()).await;
            }
        });
        address
    }

    #[tokio::test]
    async fn an_answer_that_never_ends_is_broken_off_whatever_it_consists_of() {
        let client = client(Vec::new(), vec![Allow::Loopback]);
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let extended = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;";
        let ended = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n";
        for (first, then) in [
            ("", "HTTP/1.1 103 E\r\n\r\n"),
            ("", "HTTP/1.1 100 Continue\r\nA: b\r\n\r\n"),
            ("HTTP/1.1 200 OK\r\n", "A: b\r\n"),
            (chunked, "0000000000000001\r\na\r\n"),
            (extended, "a=b;"),
            (ended, "A: b\r\n"),
        ] {
            let url = format!("http://{}/", endless(first, then).await);
            let patient = Bounds { time: Duration::from_secs(120), ..Bounds::default() };
            let got = get(&client, &url, patient).await;
            assert!(matches!(got, Err(OutboundError::Broken(_))), "{first:?} {then:?}: {got:?}");
        }
    }

    #[tokio::test]
    async fn an_answer_has_its_bounds() {
        let client = client(Vec::new(), vec![Allow::Loopback]);
        let (address, _) = server(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n").await;
        let url = format!("http://{address}/");
        let bounds = |bytes| Bounds { bytes, ..Bounds::default() };
        assert_eq!(get(&client, &url, bounds(4)).await.expect("answered").body().as_ref(), b"abcd");
        assert_eq!(get(&client, &url, bounds(3)).await.err(), Some(OutboundError::TooLarge { limit: 3 }));
        let endless = endless("HTTP/1.1 200 OK\r\n\r\n", "a").await;
        let got = get(&client, &format!("http://{endless}/"), bounds(usize::MAX)).await;
        assert_eq!(got.err(), Some(OutboundError::TooLarge { limit: LARGEST }));
        let (silent, _) = server(b"").await;
        let soon = Bounds { time: Duration::from_millis(50), ..Bounds::default() };
        let waited = get(&client, &format!("http://{silent}/"), soon).await;
        assert_eq!(waited.err(), Some(OutboundError::TimedOut(soon.time)));
        let (broken, _) = server(b"no HTTP\r\n\r\n").await;
        let refused = get(&client, &format!("http://{broken}/"), Bounds::default()).await;
        assert!(matches!(refused, Err(OutboundError::Broken(_))), "{refused:?}");
        for url in ["/x", "ftp://a/"] {
            assert!(matches!(get(&client, url, Bounds::default()).await, Err(OutboundError::Url(_))), "{url}");
        }
        let nobody = TcpListener::bind("127.0.0.1:0").await.expect("a free port").local_addr().expect("an address");
        let refused = get(&client, &format!("http://{nobody}/"), Bounds::default()).await;
        assert!(matches!(refused, Err(OutboundError::Unreachable(_))), "{refused:?}");
    }
}
