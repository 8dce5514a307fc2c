//! One caller's connection: opened, and served in the version of HTTP that is spoken over it.

use std::net::SocketAddr;
use std::sync::Arc;

use portcullis_telemetry::{Counted, Spoken, Way};
use portcullis_wire::clock;
use tokio::net::TcpStream;

use crate::connection::ConnectionState;
use crate::http1;
use crate::http2;
use crate::node::Node;
use crate::opening::{self, Opened};
use crate::preface::Protocol;
use crate::watched::Watched;

/// Serves one connection until it ends; `tls`: whether it begins with a handshake.
pub async fn connection(node: Arc<Node>, stream: TcpStream, peer: SocketAddr, watch: Arc<ConnectionState>, tls: bool) {
    let mut counted = Counted::accepted(&node.counters, if tls { Way::Tls } else { Way::Clear });
    let Some(Opened { transport, protocol, sender }) = opening::open(&node, stream, peer, &watch, tls).await else {
        return;
    };
    if let Some(certificate) = &sender.certificate {
        certificate.watch(&watch);
    }
    counted.speaks(match protocol {
        Protocol::Http1 => Spoken::Http1,
        Protocol::Http2 => Spoken::Http2,
    });
    let stream = Watched::new(transport, Arc::clone(&watch), clock::tick);
    match protocol {
        Protocol::Http1 => http1::serve(node, stream, sender, watch).await,
        // Kept apart, so that connections in HTTP/1.1 do not carry its weight.
        Protocol::Http2 => Box::pin(http2::serve(node, stream, sender, watch)).await,
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::message::FieldValue;
    use std::time::{Duration, UNIX_EPOCH};

    use portcullis_core::memory::ManualClock;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::{connections, node};
    use portcullis_wire::date;

    const WELL: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    /// What hyper itself refuses.
    const MALFORMED: &str = "GET / HTTP/1.1\r\nno field\r\n\r\n";

    /// What requests are answered at a time of day and at another one, over a connection that is kept.
    async fn dates(moments: [u64; 2], requests: [&str; 2]) -> [String; 2] {
        let clock = Arc::new(ManualClock::at(moments[0]));
        let node = Arc::new(node::testing::at(clock.clone()));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let mut caller = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("connects");
        let (stream, peer) = listener.accept().await.expect("a connection");
        clock::set(1_000);
        date::now(node.clock.as_ref());
        let (watch, place) = connections::register();
        let serving = connection(Arc::clone(&node), stream, peer, watch, false);
        let asking = async {
            let mut found = [String::new(), String::new()];
            for (at, found) in found.iter_mut().enumerate() {
                caller.write_all(requests[at].as_bytes()).await.expect("sent");
                let mut answer = Vec::new();
                let date = loop {
                    let mut piece = [0; 4_096];
                    let length = caller.read(&mut piece).await.expect("an answer");
                    answer.extend_from_slice(&piece[..length]);
                    let text = String::from_utf8_lossy(&answer).into_owned();
                    if let Some((_, rest)) = text.split_once("\r\nDate: ") {
                        break rest.split_once("\r\n").expect("a line").0.to_owned();
                    }
                    assert!(length > 0 && !text.contains("\r\n\r\n"), "{text}");
                };
                *found = date;
                if at == 0 {
                    clock.set(moments[1]);
                    clock::set(1_200);
                    date::now(node.clock.as_ref());
                }
            }
            found
        };
        let found = tokio::select! {
            () = serving => panic!("the connection has ended"),
            found = asking => found,
        };
        drop(place);
        found
    }

    #[tokio::test]
    async fn the_date_follows_the_clock_wherever_it_is_set() {
        let wanted = |second: u64| date::of(UNIX_EPOCH + Duration::from_secs(second));
        for moments in [[1_000_000_000, 999_990_000], [1_000_000_000, 1_000_086_400], [86_400, 0]] {
            for requests in [[WELL, WELL], [WELL, MALFORMED]] {
                let found = dates(moments, requests).await.map(|date| FieldValue::try_from(date).expect("a value"));
                assert_eq!(moments.map(wanted), found, "{requests:?}");
            }
        }
    }
}
