//! One request over a connection of its own: the HTTP/1.1 client of commands and of the demo.

use std::fmt;
use std::net::SocketAddr;
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
/// The same where the other side has much to do.
const LONG_PATIENCE: Duration = Duration::from_secs(600);

/// Somebody who is spoken to: `host[:port]`, in clear or over TLS.
#[derive(Clone)]
pub(crate) struct Peer {
    /// The host, and the port if it is not the usual one.
    pub(crate) authority: String,
    /// How it is spoken to.
    pub(crate) way: Way,
}

/// How somebody is spoken to.
#[derive(Clone)]
pub(crate) enum Way {
    /// Over TLS, and whom to trust.
    Tls(Arc<ClientConfig>),
    /// In clear, on this machine alone: what is sent is a secret, and others on the way could read it.
    ClearHere,
    /// In clear, wherever that leads.
    ClearAnywhere,
}

impl Peer {
    /// Somebody who is spoken to in clear, and is sent no secret that counts elsewhere.
    pub(crate) fn in_clear(authority: impl Into<String>) -> Self {
        Self { authority: authority.into(), way: Way::ClearAnywhere }
    }

    fn is_secured(&self) -> bool {
        matches!(self.way, Way::Tls(_))
    }

    /// The addresses to connect to. Where nothing may leave this machine, they are this machine's, or there are none: a name
    /// counts by where it leads, not by how it is written.
    async fn addresses(&self, address: &str) -> Result<Vec<SocketAddr>, Failure> {
        let found = tokio::net::lookup_host(address).await.map_err(|error| self.unreachable(&error))?;
        let found: Vec<_> = found.collect();
        let elsewhere = found.iter().find(|found| !found.ip().to_canonical().is_loopback());
        match (&self.way, elsewhere) {
            (Way::ClearHere, Some(elsewhere)) => Err(Failure::Usage(format!(
                "{self} leads to {}, another machine, and the admin token is not sent there in clear: expected https://, or a \
                 tunnel from an address of this machine; --insecure sends it all the same",
                elsewhere.ip()
            ))),
            _ => Ok(found),
        }
    }

    fn unreachable(&self, error: &std::io::Error) -> Failure {
        Failure::failed(format!("cannot reach {self}: {error}; is 'portcullis serve' running there?"))
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.is_secured() { "https" } else { "http" }, self.authority)
    }
}

/// Sends a request and reads the whole answer, within 10 seconds and 16 MiB.
pub(crate) async fn exchange(peer: &Peer, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Failure> {
    within(PATIENCE, peer, request).await
}

/// The same within 10 minutes, for what takes its time.
pub(crate) async fn exchange_patiently(peer: &Peer, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Failure> {
    within(LONG_PATIENCE, peer, request).await
}

async fn within(patience: Duration, peer: &Peer, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Failure> {
    let exchange = tokio::time::timeout(patience, send(peer, request)).await;
    exchange.map_err(|_| Failure::failed(format!("no answer from {peer} within {} s", patience.as_secs())))?
}

async fn send(peer: &Peer, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Failure> {
    let authority = &peer.authority;
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
    let usual = if peer.is_secured() { 443 } else { 80 };
    let address = if has_port { authority.clone() } else { format!("{authority}:{usual}") };
    let addresses = peer.addresses(&address).await?;
    let stream = TcpStream::connect(addresses.as_slice()).await.map_err(|error| peer.unreachable(&error))?;
    let Way::Tls(tls) = &peer.way else { return converse(stream, peer, request).await };
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

#[cfg(test)]
mod tests {
    use super::*;

    async fn leads(authority: &str, way: Way) -> Result<Vec<SocketAddr>, Failure> {
        let peer = Peer { authority: authority.to_owned(), way };
        peer.addresses(authority).await
    }

    #[tokio::test]
    async fn in_clear_a_secret_stays_on_this_machine() {
        for here in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "localhost:1", "LOCALHOST:1"] {
            assert!(leads(here, Way::ClearHere).await.is_ok_and(|found| !found.is_empty()), "{here}");
        }
        // The resolver reads some numbers in other ways than they look.
        for elsewhere in
            ["10.0.0.1:1", "0.0.0.0:1", "192.0.2.1:1", "[::]:1", "[fe80::1]:1", "[::ffff:10.0.0.1]:1", "167772161:1"]
        {
            match leads(elsewhere, Way::ClearHere).await {
                Err(Failure::Usage(words)) => assert!(words.contains("--insecure"), "{words}"),
                other => panic!("{elsewhere}: {other:?}"),
            }
            assert!(leads(elsewhere, Way::ClearAnywhere).await.is_ok(), "{elsewhere}");
        }
    }
}
