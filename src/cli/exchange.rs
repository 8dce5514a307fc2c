//! One request over a connection of its own: the HTTP/1.1 client of commands and of the demo.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::failure::Failure;

/// The largest answer that is read.
const REPLY_LIMIT: usize = 16 << 20;
/// From connecting to the answer's last byte.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends a request to `host[:port]` and reads the whole answer, within 10 seconds and 16 MiB.
pub(crate) async fn exchange(authority: &str, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Failure> {
    let exchange = tokio::time::timeout(PATIENCE, send(authority, request)).await;
    exchange
        .map_err(|_| Failure::failed(format!("no answer from http://{authority} within {} s", PATIENCE.as_secs())))?
}

async fn send(authority: &str, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Failure> {
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
    let address = if has_port { authority.to_owned() } else { format!("{authority}:80") };
    let stream = TcpStream::connect(&address).await.map_err(|error| {
        Failure::failed(format!("cannot reach http://{authority}: {error}; is 'portcullis serve' running there?"))
    })?;
    let broken =
        |error: hyper::Error| Failure::failed(format!("the exchange with http://{authority} broke off: {error}"));
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
        Failure::failed(format!("the answer of http://{authority} cannot be read: {reason}"))
    })?;
    Ok(Response::from_parts(head, body.to_bytes()))
}
