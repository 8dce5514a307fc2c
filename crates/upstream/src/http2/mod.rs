//! Connections to targets over which HTTP/2 is spoken (RFC 9113): opened once, shared by many calls.

mod answer;
mod body;
mod exchange;
pub mod shared;

pub use exchange::send;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection};
use h2::{Ping, PingPong};
use tokio::time::{Instant, sleep};

use crate::counting_io::{CountingIo, Counts};
use crate::freshness;
use crate::pool::{self, Slot};
use crate::settings::Settings;
use body::SEND_BUFFER;
use shared::{BROKEN_OFF, STREAMS, Shared};

/// Bytes of one answer that a target may send before the caller takes them. What a connection may hold is as much for
/// each of its calls, so that a caller who takes nothing holds up nobody else's.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * STREAMS as u32;
/// Streams that had to be reset because of what was said on them. More end the connection.
const RESET_BY_FAULT: usize = 64;
/// After how much silence a target is asked whether it is there, and how long it may take to say so. gRPC's servers
/// hang up on whoever asks more often than once in five minutes.
const SILENCE: Duration = Duration::from_secs(320);
const PONG: Duration = Duration::from_secs(20);

/// Why a target does not speak HTTP/2.
pub enum Silent {
    /// It has ended TLS instead.
    Tls(String),
    /// Something else.
    Other(String),
}

/// Begins to speak HTTP/2, and waits until the target does. The slot is held until the connection is closed.
pub async fn begin(settings: &Settings, stream: CountingIo, slot: Slot) -> Result<Shared, Silent> {
    let noted = stream.noted();
    let (sender, mut connection) = Builder::new()
        .enable_push(false)
        // None are sent before the target has said how many it takes.
        .initial_max_send_streams(0)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(u32::try_from(settings.answer_head).unwrap_or(u32::MAX))
        .max_concurrent_reset_streams(BROKEN_OFF + STREAMS)
        .max_local_error_reset_streams(Some(RESET_BY_FAULT))
        .max_send_buffer_size(SEND_BUFFER)
        .handshake(stream)
        .await
        .map_err(|error| Silent::Other(error.to_string()))?;
    let begun = poll_fn(|context| match pin!(&mut connection).poll(context) {
        Poll::Ready(ended) => Poll::Ready(Err(ended.err())),
        Poll::Pending if connection.max_concurrent_send_streams() > 0 => Poll::Ready(Ok(())),
        Poll::Pending => Poll::Pending,
    })
    .await;
    if let Err(ended) = begun {
        // A target that wants a certificate says so only after the handshake (RFC 8446 section 4.4.2.4).
        return Err(match (noted.tls_failure.get(), ended) {
            (Some(reason), _) => Silent::Tls(reason.clone()),
            (None, Some(error)) => Silent::Other(format!("it does not speak HTTP/2: {error}")),
            (None, None) => Silent::Other("it has closed the connection".to_owned()),
        });
    }
    let number = freshness::number();
    let shared = Shared::new(sender, Arc::clone(&noted), number);
    tokio::spawn(async move {
        let widened = |more| pool::widen(slot.key(), more);
        drive(connection, &noted, widened, (SILENCE, PONG)).await;
        pool::retire(slot.key(), number);
        drop(slot);
    });
    Ok(shared)
}

/// Drives a connection until it is closed, or the target does not say any more that it is there. What goes wrong is told
/// to the calls that wait for answers.
async fn drive(
    mut connection: Connection<CountingIo, Bytes>,
    noted: &Counts,
    widened: impl Fn(usize),
    (silence, patience): (Duration, Duration),
) {
    let mut pings = connection.ping_pong();
    let mut alarm = pin!(sleep(silence));
    let (mut heard, mut is_asked) = (noted.read.load(Relaxed), false);
    let mut most = connection.max_concurrent_send_streams();
    poll_fn(|context| {
        loop {
            if pin!(&mut connection).poll(context).is_ready() {
                return Poll::Ready(());
            }
            let takes = connection.max_concurrent_send_streams();
            let more = takes.saturating_sub(std::mem::replace(&mut most, takes));
            if more > 0 {
                widened(more);
            }
            if is_asked && pings.as_mut().is_some_and(|pings| pings.poll_pong(context).is_ready()) {
                is_asked = false;
            }
            if alarm.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            let read = noted.read.load(Relaxed);
            let is_silent = std::mem::replace(&mut heard, read) == read;
            if is_silent && is_asked {
                return Poll::Ready(());
            }
            if is_silent {
                is_asked = pings.as_mut().is_some_and(ask);
            }
            alarm.as_mut().reset(Instant::now() + if is_asked { patience } else { silence });
        }
    })
    .await;
}

fn ask(pings: &mut PingPong) -> bool {
    pings.send_ping(Ping::opaque()).is_ok()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use portcullis_wire::stream::Stream;

    const PREFACE: usize = 24;
    const PING: u8 = 6;

    /// The next frame: its kind, its flags and what is in it.
    async fn frame(stream: &mut TcpStream) -> Option<(u8, u8, Vec<u8>)> {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.ok()?;
        let mut body = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut body).await.ok()?;
        Some((head[3], head[4], body))
    }

    #[tokio::test]
    async fn a_silent_target_is_asked_and_given_up_when_it_says_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let stream = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("connected");
        let noting = CountingIo::new(Stream::Plain(stream));
        let noted = noting.noted();
        let (_sender, connection) = Builder::new().handshake(noting).await.expect("begun");
        let short = Duration::from_millis(30);
        let driving = drive(connection, &noted, |_| (), (short, short));
        let target = async {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            stream.read_exact(&mut [0; PREFACE]).await.expect("the preface");
            stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.expect("settings");
            let mut asked = 0;
            while let Some((kind, flags, body)) = frame(&mut stream).await {
                if kind == PING && flags == 0 {
                    asked += 1;
                    // Three times it says so, then it is stuck.
                    if asked <= 3 {
                        stream.write_all(&[&[0, 0, 8, PING, 1, 0, 0, 0, 0], &body[..]].concat()).await.expect("a pong");
                    }
                }
            }
            asked
        };
        let ((), asked) = tokio::join!(driving, target);
        assert_eq!(asked, 4);
    }
}
