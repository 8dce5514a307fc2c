//! One request over a connection of its own: the HTTP/1.1 client of commands and of the demo.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::failure::Failure;

/// The largest answer that is read.
const REPLY_LIMIT: usize = 16 << 20;
/// From connecting to the answer's last byte.
const PATIENCE: Duration = Duration::from_secs(10);

/// Somebody who is spoken to: `host[:port]`, in clear or over TLS.
#[derive(Clone)]
pub(crate) struct Peer {
    /// The host, and the port if it is not the usual one.
    pub(crate) authority: String,
    /// TLS, and whom it trusts.
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

impl Peer {
    /// Somebody who is spoken to in clear.
    pub(crate) fn in_clear(authority: impl Into<String>) -> Self {
        Self { authority: authority.into(), tls: None }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls.is_some() { "https" } else { "http" }, self.authority)
    }
}

/// Sends a request and reads the whole answer, within 10 seconds and 16 MiB.
pub(crate) async fn exchange(peer: &Peer, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Failure> {
    let exchange = tokio::time::timeout(PATIENCE, send(peer, request)).await;
    exchange.map_err(|_| Failure::failed(format!("no answer from {peer} within {} s", PATIENCE.as_secs())))?
}

async fn send(peer: &Peer, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Failure> {
    let authority = &peer.authority;
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
    let usual = if peer.tls.is_some() { 443 } else { 80 };
    let address = if has_port { authority.clone() } else { format!("{authority}:{usual}") };
    let stream = TcpStream::connect(&address).await.map_err(|error| {
        Failure::failed(format!("cannot reach {peer}: {error}; is 'portcullis serve' running there?"))
    })?;
    let Some(tls) = &peer.tls else { return converse(stream, peer, request).await };
    let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned());
    let name = name.map_err(|_| Failure::failed(format!("{peer}: '{host}' is no name a certificate could have")))?;
    let secured = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await.map_err(|error| {
        Failure::failed(format!("no TLS with {peer}: {error}; --admin-ca FILE says by which roots to trust it"))
    })?;
    Box::pin(converse(secured, peer, request)).await
}

async fn converse<S>(stream: S, peer: &Peer, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |error: hyper::Error| Failure::failed(format!("the exchange with {peer} broke off: {error}"));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // What goes wrong on the connection shows in the answer; the connection ends with this exchange.
    let mut driver = tokio::task::JoinSet::new();
    driver.spawn(connection);
    let (head, body) = sender.send_request(request).await.map_err(broken)?.into_parts();
    let body = Limited::new(body, REPLY_LIMIT).collect().await.map_err(|error| {
        let reason = match error.is::<LengthLimitError>() {
            true => format!("it has more than {REPLY_LIMIT} bytes"),
            false => error.to_string(),
        };
        Failure::failed(format!("the answer of {peer} cannot be read: {reason}"))
    })?;
    Ok(Response::from_parts(head, body.to_bytes()))
}
