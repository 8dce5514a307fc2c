//! A WebSocket on a stream (RFC 8441). To the service it is the wish it knows, in HTTP/1.1.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use h2::ext::Protocol;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{Method, Request, StatusCode};
use portcullis_core::body::Body;
use portcullis_core::call::Upgrade;
use portcullis_core::fresh;
use portcullis_core::message::names::{SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY};
use portcullis_core::message::{FieldValue, HasFields};
use portcullis_wire::clock;
use portcullis_wire::h2_head::finished;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::stream::{SEND_BUFFER, is_reset, until_reset, write};
use crate::connection::ConnectionState;
use crate::connections;
use crate::door::Sender;
use crate::exchange::{self, Terms};
use crate::node::Node;
use crate::tunnel::UpgradeRequest;

/// A CONNECT: it may be a wish for a WebSocket on this stream. Any other is refused at the door.
pub(super) async fn connect(
    node: Arc<Node>,
    sender: Sender,
    watch: Arc<ConnectionState>,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    if is_reset(&mut respond).await {
        return;
    }
    let (mut head, stream) = request.into_parts();
    let is_websocket = head.extensions.get::<Protocol>().is_some_and(|protocol| protocol.as_str() == "websocket");
    let mut wished = None;
    if is_websocket {
        head.method = Method::GET;
        head.fields_mut().set(SEC_WEBSOCKET_KEY, fresh_key());
        wished = Some(UpgradeRequest::new());
    }
    let (wish, upgrade) = wished
        .map(|(wish, from_caller)| (wish, Upgrade { protocols: FieldValue::from_static("websocket"), from_caller }))
        .unzip();
    let request = Request::from_parts(head, Body::empty());
    let answer = {
        let answering = pin!(exchange::answer(&node, sender, &watch, request, Terms { upgrade, ..Terms::default() }));
        until_reset(&mut respond, &Default::default(), answering).await
    };
    let Some((answer, revocation)) = answer else { return };
    let Some(wish) = wish.filter(|_| answer.status() == StatusCode::SWITCHING_PROTOCOLS) else {
        return write(&node, respond, answer, revocation.as_deref(), node.timeouts.body_idle).await;
    };
    // Over HTTP/2 a switch that was granted is a success (RFC 8441 section 5).
    let (mut head, to_caller) = answer.into_parts();
    let tunnel = wish.granted(&head.extensions, to_caller, true);
    head.status = StatusCode::OK;
    head.fields_mut().remove(SEC_WEBSOCKET_ACCEPT);
    match respond.send_response(finished(node.clock.as_ref(), head, None), false) {
        Ok(to) => {
            let (watch, place) = connections::register();
            if let Some(revocation) = revocation {
                revocation.ends(&watch);
            }
            let duplex = Duplex { from: stream, read: Bytes::new(), to, watch: Arc::clone(&watch) };
            tunnel.run(duplex, watch).await;
            drop(place);
        }
        Err(_) => respond.send_reset(Reason::INTERNAL_ERROR),
    }
}

/// A key as every opening handshake in HTTP/1.1 carries one (RFC 6455 section 4.1). It keeps no secret.
fn fresh_key() -> FieldValue {
    let key = STANDARD.encode(fresh::bytes());
    FieldValue::try_from(key).unwrap_or(FieldValue::from_static("AAAAAAAAAAAAAAAAAAAAAA=="))
}

/// A stream as bytes both ways.
struct Duplex {
    from: RecvStream,
    /// What has come and was not yet read.
    read: Bytes,
    to: SendStream<Bytes>,
    watch: Arc<ConnectionState>,
}

impl AsyncRead for Duplex {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let duplex = &mut *self;
        while duplex.read.is_empty() {
            match ready!(duplex.from.poll_data(context)) {
                Some(Ok(data)) => duplex.read = data,
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                None => return Poll::Ready(Ok(())),
            }
        }
        let piece = duplex.read.split_to(duplex.read.len().min(buffer.remaining()));
        buffer.put_slice(&piece);
        Poll::Ready(duplex.from.flow_control().release_capacity(piece.len()).map_err(io::Error::other))
    }
}

impl AsyncWrite for Duplex {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let duplex = &mut *self;
        let polled = duplex.poll_send(context, bytes);
        duplex.watch.note_write(&polled, clock::tick());
        polled
    }

    /// What was written is h2's affair. That the caller has reset the stream is told here: a tunnel through which
    /// nothing passes hears of it in no other way.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.to.poll_reset(context) {
            Poll::Ready(_) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            Poll::Pending => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.to.send_data(Bytes::new(), true).map_err(io::Error::other))
    }
}

impl Duplex {
    fn poll_send(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.to.reserve_capacity(bytes.len().min(SEND_BUFFER));
        let mut room = self.to.capacity();
        if room == 0 {
            room = match ready!(self.to.poll_capacity(context)) {
                Some(Ok(room)) => room,
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            };
        }
        let piece = Bytes::copy_from_slice(&bytes[..room.min(bytes.len())]);
        let length = piece.len();
        Poll::Ready(self.to.send_data(piece, false).map(|()| length).map_err(io::Error::other))
    }
}
