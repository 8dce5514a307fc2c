//! What comes in on a stream in HTTP/2, from callers and from targets, up to the end of the stream.
//!
//! Whoever knows the length of a body asks for no more than that. The end of its stream, which is another thing, may come
//! along with the last byte, in an empty frame behind it, or later; dropped before, the stream would be reset.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::{Error, RecvStream};
use http_body::{Frame, SizeHint};
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::content_length::Remaining;

/// How long the end of a stream may come after the last byte that was announced, when nobody reads on.
const END: Duration = Duration::from_secs(1);

/// The receiving side of a stream. The other side may send on as far as it is taken.
pub struct FromStream {
    stream: RecvStream,
    /// h2 holds the other side to it.
    left: Remaining,
    /// No message of its kind has a body, whatever length it announces.
    is_bodiless: bool,
    data_ended: bool,
}

impl FromStream {
    /// What follows a head that announces so much. `is_bodiless`: and will send nothing.
    pub fn new(stream: RecvStream, left: Remaining, is_bodiless: bool) -> Self {
        Self { stream, left, is_bodiless, data_ended: false }
    }

    /// As [`http_body::Body::poll_frame`].
    pub fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if !self.data_ended {
            match ready!(self.stream.poll_data(context)) {
                Some(Ok(data)) => {
                    // Fails where the stream has ended, when nobody waits for room.
                    let _ = self.stream.flow_control().release_capacity(data.len());
                    let _ = self.left.came(data.len());
                    if self.left.is_nothing() {
                        // What goes wrong here is told to whoever asks for more.
                        let _ = self.poll_data_end(context);
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => self.data_ended = true,
            }
        }
        let trailers = ready!(self.stream.poll_trailers(context));
        Poll::Ready(trailers.transpose().map(|trailers| trailers.map(Frame::trailers)))
    }

    /// As [`http_body::Body::is_end_stream`].
    #[inline]
    pub fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    /// As [`http_body::Body::size_hint`].
    pub fn size_hint(&self) -> SizeHint {
        self.left.hint(0)
    }

    /// Lets go of the stream, and then tells whether it has ended. One that has only to end is waited for a little; any
    /// other is reset.
    pub fn close(mut self, then: impl FnOnce(bool) + Send + 'static) {
        let is_ended = self.stream.is_end_stream();
        let is_awaited = !is_ended && (self.is_bodiless || self.left.is_nothing());
        if let Some(runtime) = is_awaited.then(Handle::try_current).and_then(Result::ok) {
            runtime.spawn(async move {
                let is_ended = timeout(END, poll_fn(|context| self.poll_end(context))).await.unwrap_or(false);
                drop(self);
                then(is_ended);
            });
            return;
        }
        drop(self);
        then(is_ended);
    }

    /// Ready when no more data comes: then that is known from now on.
    fn poll_data_end(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        // An empty frame is told of only where it ends the stream, and no other is left to come.
        ready!(self.stream.poll_data(context)).transpose()?;
        self.data_ended = true;
        Poll::Ready(Ok(()))
    }

    /// Ready with whether the stream has ended, when it has or has failed.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        if !self.data_ended && ready!(self.poll_data_end(context)).is_err() {
            return Poll::Ready(false);
        }
        self.stream.poll_trailers(context).map(|_| self.stream.is_end_stream())
    }
}

#[cfg(test)]
mod tests {
    use h2::{Reason, SendStream};
    use http::{Request, Response};
    use portcullis_core::message::HasFields;
    use portcullis_core::message::names::CONTENT_LENGTH;
    use tokio::sync::oneshot;

    use super::*;

    /// An answer of four bytes, and the other side of its stream. `ends`: and its end is on the way with them.
    async fn answered(ends: bool) -> (FromStream, SendStream<Bytes>) {
        let (here, there) = tokio::io::duplex(1 << 16);
        let (client, server) = tokio::join!(h2::client::handshake(here), h2::server::handshake(there));
        let (mut sender, connection) = client.expect("a client");
        tokio::spawn(connection);
        let (answer, _) =
            sender.send_request(Request::get("http://a/").body(()).expect("a request"), true).expect("sent");
        let mut server = server.expect("a server");
        let (_, mut respond) = server.accept().await.expect("a stream").expect("a request");
        tokio::spawn(async move { while server.accept().await.is_some() {} });
        let head = Response::builder().header(CONTENT_LENGTH, 4).body(()).expect("a head");
        let mut stream = respond.send_response(head, false).expect("sent");
        stream.send_data(Bytes::from_static(b"body"), false).expect("sent");
        if ends {
            stream.send_data(Bytes::new(), true).expect("sent");
        }
        let answer = answer.await.expect("an answer");
        let left = Remaining::announced(answer.fields());
        (FromStream::new(answer.into_body(), left, false), stream)
    }

    async fn take(stream: &mut FromStream) -> Bytes {
        let frame = poll_fn(|context| stream.poll_frame(context)).await.expect("a frame").expect("no error");
        frame.into_data().expect("data")
    }

    fn close(stream: FromStream) -> oneshot::Receiver<bool> {
        let (tell, told) = oneshot::channel();
        stream.close(|is_ended| tell.send(is_ended).expect("awaited"));
        told
    }

    #[tokio::test]
    async fn an_end_that_is_there_is_seen_with_the_last_byte() {
        let (mut stream, _other) = answered(true).await;
        assert_eq!(take(&mut stream).await, "body");
        assert!(stream.is_end_stream());
        assert_eq!(close(stream).try_recv(), Ok(true));
    }

    #[tokio::test]
    async fn the_end_of_what_has_come_whole_is_waited_for() {
        let (mut stream, mut other) = answered(false).await;
        assert_eq!(take(&mut stream).await, "body");
        assert!(!stream.is_end_stream());
        let mut told = close(stream);
        tokio::task::yield_now().await;
        assert!(told.try_recv().is_err(), "it may still end");
        other.send_data(Bytes::new(), true).expect("not reset");
        assert_eq!(told.await, Ok(true));
    }

    #[tokio::test]
    async fn one_that_does_not_come_has_not_been_the_end() {
        let (mut stream, mut other) = answered(false).await;
        take(&mut stream).await;
        let told = close(stream);
        let reset = poll_fn(|context| other.poll_reset(context)).await;
        assert_eq!(reset.expect("a reset"), Reason::CANCEL);
        assert_eq!(told.await, Ok(false));
    }

    #[tokio::test]
    async fn what_has_not_come_whole_is_not_waited_for() {
        let (stream, _other) = answered(false).await;
        assert_eq!(close(stream).try_recv(), Ok(false));
    }
}
