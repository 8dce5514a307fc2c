//! A connection that goes on in another protocol than HTTP: WebSocket, or whatever a service and its caller agree on
//! (RFC 9110 section 7.8).
//!
//! To everything between the two a tunnel is two bodies: what the caller sends is the body of
//! [`portcullis_core::call::Upgrade`], what it is sent is that of the answer. So the call's record is closed when the
//! answer's body has ended, as always. This file is the caller's side; the service's is
//! [`portcullis_upstream::upgrade`].

mod frames;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::{Extensions, Method, Request, Version};
use http_body::{Body as _, Frame};
use http_body_util::BodyStream;
use hyper::body::Incoming;
use portcullis_core::body::{Body, BodyError};
use portcullis_core::message::names::{CONNECTION, UPGRADE};
use portcullis_core::message::{FieldValue, HasFields};
use portcullis_wire::clock;
use portcullis_wire::fields::lists_token;
use portcullis_wire::pause::TunnelIdle;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::connection::{ConnectionState, Ending};
use frames::Boundaries;

/// Bytes read from a caller at once.
const PIECE: usize = 8 << 10;
/// Pieces that wait for a service that reads slowly. Then nothing more is read from the caller.
const PIECES: usize = 2;
/// How long the end of a tunnel may take: whoever is on the other side need not end theirs.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How much later than the service's side the caller's side ends a tunnel through which nothing passes.
const BACKSTOP: Duration = Duration::from_secs(2);
/// The most protocols a caller may wish for, in bytes.
const LONGEST: usize = 256;
/// Going away (RFC 6455 section 7.4.1), as a whole frame from a server.
const GOING_AWAY: [u8; 4] = [0x88, 0x02, 0x03, 0xE9];

/// What a caller wishes for, where the request may switch at all: a GET in HTTP/1.1 without a body.
///
/// A wish for HTTP/2 or TLS on this connection is not heard: that is a matter of the gateway, not of services, and a
/// request may always be answered without a switch.
pub fn requested(request: &Request<Incoming>) -> Option<FieldValue> {
    let fits = request.method() == Method::GET && request.version() == Version::HTTP_11;
    let wish = request.fields().only(UPGRADE).ok().flatten().filter(|_| fits)?;
    let mut connection = request.fields().all(CONNECTION);
    let named = connection.any(|options| lists_token(options, "upgrade"));
    let foreign = wish.as_bytes().split(|byte| *byte == b',').any(|token| is_ours(token.trim_ascii()));
    let empty = request.body().is_end_stream() && wish.len() <= LONGEST;
    (named && empty && !foreign).then(|| wish.to_owned())
}

/// Whether a protocol is HTTP or TLS by any name.
fn is_ours(token: &[u8]) -> bool {
    let begins = |name: &[u8]| token.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
    begins(b"h2") || begins(b"h3") || begins(b"http") || begins(b"tls")
}

/// The caller's end of a tunnel that may be.
pub struct UpgradeRequest {
    pieces: mpsc::Sender<Bytes>,
}

impl UpgradeRequest {
    /// The caller's end, and the body that brings what it will send.
    pub fn new() -> (Self, Body) {
        let (pieces, mut arriving) = mpsc::channel(PIECES);
        let look = move |context: &mut Context<'_>| {
            arriving.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
        };
        (Self { pieces }, Body::from_poll(look))
    }

    /// The tunnel, once the switch was granted by an answer with this head; `to_caller` is what the service sends.
    pub fn granted(self, head: &Extensions, to_caller: Body, is_websocket: bool) -> Tunnel {
        // The service's side ends it first, and knows why.
        let idle = head.get::<TunnelIdle>().map(|TunnelIdle(idle)| idle.saturating_add(BACKSTOP));
        Tunnel { wish: self, to_caller, is_websocket, idle }
    }
}

/// A tunnel that was granted.
pub struct Tunnel {
    wish: UpgradeRequest,
    to_caller: Body,
    is_websocket: bool,
    /// How long it may be silent, where that is said.
    idle: Option<Duration>,
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnel").field("is_websocket", &self.is_websocket).finish_non_exhaustive()
    }
}

impl Tunnel {
    /// Carries bytes both ways over a connection until either side has ended it, nothing has passed for too long, or the connection is to
    /// end. When the gateway stops, a WebSocket is told with a close frame, and then has the time calls have to end.
    pub async fn run(self, connection: impl AsyncRead + AsyncWrite, watch: Arc<ConnectionState>) {
        let Self { wish: UpgradeRequest { pieces }, to_caller, is_websocket, idle } = self;
        watch.enter_tunnel(idle, clock::tick());
        let (from_caller, mut writer) = tokio::io::split(connection);
        let reading = read(from_caller, pieces, &watch);
        let writing = write(to_caller, &mut writer, &watch, is_websocket);
        let closed = std::future::poll_fn(|context| match watch.poll(context) {
            Ending::Close => Poll::Ready(()),
            _ => Poll::Pending,
        });
        let carried = async {
            let mut reading = std::pin::pin!(reading);
            let mut writing = std::pin::pin!(writing);
            tokio::select! {
                () = &mut writing => {}
                () = &mut reading => writing.await,
            }
        };
        tokio::select! {
            () = carried => {}
            () = closed => {}
        }
        // The connection ends with this, whether or not the caller hears of it.
        let _ = tokio::time::timeout(LAST_WORDS, writer.shutdown()).await;
    }
}

/// From the caller to the service, until the caller has ended its side or nobody takes it any more.
async fn read(mut from_caller: impl AsyncRead + Unpin, pieces: mpsc::Sender<Bytes>, watch: &ConnectionState) {
    let mut buffer = BytesMut::new();
    loop {
        let Ok(room) = pieces.reserve().await else { return };
        buffer.reserve(PIECE);
        match from_caller.read_buf(&mut buffer).await {
            Ok(1..) => {
                watch.stir(clock::tick());
                room.send(buffer.split().freeze());
            }
            Ok(0) | Err(_) => return,
        }
    }
}

/// From the service to the caller.
async fn write(to_caller: Body, writer: &mut (impl AsyncWrite + Unpin), watch: &ConnectionState, is_websocket: bool) {
    let mut frames = BodyStream::new(to_caller);
    let mut boundaries = Boundaries::default();
    loop {
        let next = std::future::poll_fn(|context| {
            if is_websocket && boundaries.is_between_frames() && watch.poll(context) == Ending::Drain {
                return Poll::Ready(Next::Stop);
            }
            // A caller that is gone need not be waited for.
            if let Poll::Ready(Err(_)) = Pin::new(&mut *writer).poll_flush(context) {
                return Poll::Ready(Next::End);
            }
            frames.poll_next_unpin(context).map(|frame| frame.map_or(Next::End, Next::Frame))
        });
        match next.await {
            Next::Frame(Ok(frame)) => {
                let Ok(data) = frame.into_data() else { continue };
                let passes =
                    if is_websocket && watch.is_draining() { boundaries.up_to_boundary(&data) } else { data.len() };
                watch.stir(clock::tick());
                boundaries.pass(&data[..passes]);
                if writer.write_all(&data[..passes]).await.is_err() || writer.flush().await.is_err() {
                    return;
                }
            }
            Next::Stop => {
                let told = writer.write_all(&GOING_AWAY).await.is_ok() && writer.flush().await.is_ok();
                if told {
                    // The caller closes; its close frame goes to the service, whose answer nobody waits for any more.
                    while frames.next().await.is_some_and(|frame| frame.is_ok()) {}
                }
                return;
            }
            Next::Frame(Err(_)) | Next::End => return,
        }
    }
}

enum Next {
    Frame(Result<Frame<Bytes>, BodyError>),
    Stop,
    End,
}
