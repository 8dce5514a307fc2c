//! HTTP/1.1 or HTTP/2: over TLS as ALPN has agreed, unencrypted by the connection preface (prior knowledge, RFC 9113
//! section 3.4).

use bytes::BytesMut;

use crate::socket::Socket;

/// What every connection in HTTP/2 begins with (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What requests are read by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, and 1.0.
    Http1,
    /// HTTP/2.
    Http2,
}

/// What a connection in clear begins with: HTTP/2, where the caller knows that it is spoken here, or HTTP/1. What has
/// been read is given back. None if the connection ends here.
pub async fn begins(socket: &mut Socket) -> Option<Protocol> {
    let mut read = BytesMut::from(socket.take_ahead());
    loop {
        let length = read.len().min(PREFACE.len());
        if read[..length] != PREFACE[..length] || length == PREFACE.len() {
            let begins = read[..length] == *PREFACE;
            socket.give_back(read.freeze());
            return Some(if begins { Protocol::Http2 } else { Protocol::Http1 });
        }
        socket.read_unseen(&mut read, PREFACE.len()).await.ok()?;
    }
}
