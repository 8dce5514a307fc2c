//! A bound on what HTTP/3 holds of a frame: h3 keeps all but the data of bodies until it has come whole, however long its
//! header says it is. A frame that is longer than it may be ends the connection as soon as its header is there.

use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h3::error::Code;
use h3::quic::{
    BidiStream, Connection, ConnectionErrorIncoming, OpenStreams, RecvStream, SendStream, StreamErrorIncoming,
    StreamId, WriteBuf,
};

/// The type of a frame that carries a body (RFC 9114 section 7.2.1).
const DATA: u64 = 0;
/// H3_EXCESSIVE_LOAD (RFC 9114 section 8.1).
const EXCESSIVE_LOAD: quinn::VarInt = quinn::VarInt::from_u32(0x107);
/// The longest header of a frame: two integers.
const LONGEST: usize = 16;

/// A connection, or what opens streams on it, whose streams are guarded.
pub(super) struct Guarded<C> {
    inner: C,
    limit: u64,
    connection: quinn::Connection,
}

impl<C> Guarded<C> {
    /// No frame but those of bodies has more bytes than this.
    pub(super) fn new(inner: C, limit: u64, connection: quinn::Connection) -> Self {
        Self { inner, limit, connection }
    }

    fn guard<S>(&self, stream: S, frames: Frames) -> Stream<S> {
        Stream { inner: stream, frames, waits: false, connection: self.connection.clone() }
    }
}

impl<C: OpenStreams<Bytes>> OpenStreams<Bytes> for Guarded<C>
where
    C::BidiStream: RecvStream<Buf = Bytes>,
{
    type BidiStream = Stream<C::BidiStream>;
    type SendStream = C::SendStream;

    fn poll_open_bidi(&mut self, context: &mut Context<'_>) -> Poll<Result<Self::BidiStream, StreamErrorIncoming>> {
        let stream = ready!(self.inner.poll_open_bidi(context))?;
        Poll::Ready(Ok(self.guard(stream, Frames::of_request(self.limit))))
    }

    fn poll_open_send(&mut self, context: &mut Context<'_>) -> Poll<Result<C::SendStream, StreamErrorIncoming>> {
        self.inner.poll_open_send(context)
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        self.inner.close(code, reason);
    }
}

impl<C: Connection<Bytes>> Connection<Bytes> for Guarded<C>
where
    C::BidiStream: RecvStream<Buf = Bytes>,
    C::RecvStream: RecvStream<Buf = Bytes>,
{
    type RecvStream = Stream<C::RecvStream>;
    type OpenStreams = Guarded<C::OpenStreams>;

    fn poll_accept_recv(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Self::RecvStream, ConnectionErrorIncoming>> {
        let stream = ready!(self.inner.poll_accept_recv(context))?;
        Poll::Ready(Ok(self.guard(stream, Frames::of_connection(self.limit))))
    }

    fn poll_accept_bidi(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Self::BidiStream, ConnectionErrorIncoming>> {
        let stream = ready!(self.inner.poll_accept_bidi(context))?;
        Poll::Ready(Ok(self.guard(stream, Frames::of_request(self.limit))))
    }

    fn opener(&self) -> Self::OpenStreams {
        Guarded::new(self.inner.opener(), self.limit, self.connection.clone())
    }
}

/// A stream whose frames are looked at as they come.
pub(super) struct Stream<S> {
    inner: S,
    frames: Frames,
    /// Whether something is waited for. Then quinn's end cannot be told why nobody wants it; that it is so it hears anyway.
    waits: bool,
    connection: quinn::Connection,
}

impl<S: RecvStream<Buf = Bytes>> RecvStream for Stream<S> {
    type Buf = Bytes;

    fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        let polled = self.inner.poll_data(context);
        self.waits = polled.is_pending();
        let data = ready!(polled)?;
        if data.as_ref().is_some_and(|data| !self.frames.pass(data)) {
            self.connection.close(EXCESSIVE_LOAD, b"a frame is too long");
            return Poll::Ready(Err(StreamErrorIncoming::Unknown("a frame is too long".into())));
        }
        Poll::Ready(Ok(data))
    }

    fn stop_sending(&mut self, code: u64) {
        if !self.waits {
            self.inner.stop_sending(code);
        }
    }

    fn recv_id(&self) -> StreamId {
        self.inner.recv_id()
    }
}

impl<S: SendStream<Bytes>> SendStream<Bytes> for Stream<S> {
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.inner.poll_ready(context)
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        self.inner.send_data(data)
    }

    fn poll_finish(&mut self, context: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.inner.poll_finish(context)
    }

    fn reset(&mut self, code: u64) {
        self.inner.reset(code);
    }

    fn send_id(&self) -> StreamId {
        self.inner.send_id()
    }
}

impl<S: BidiStream<Bytes>> BidiStream<Bytes> for Stream<S>
where
    S: RecvStream<Buf = Bytes>,
    S::RecvStream: RecvStream<Buf = Bytes>,
{
    type SendStream = S::SendStream;
    type RecvStream = Stream<S::RecvStream>;

    fn split(self) -> (S::SendStream, Self::RecvStream) {
        let (send, receive) = self.inner.split();
        (send, Stream { inner: receive, frames: self.frames, waits: self.waits, connection: self.connection })
    }
}

/// How far a stream of frames has come.
#[derive(Debug)]
struct Frames {
    limit: u64,
    /// The header under way.
    header: [u8; LONGEST],
    held: usize,
    /// Bytes of the frame that are still to come.
    left: u64,
    /// Whether the stream begins with what it is for.
    typed: bool,
}

impl Frames {
    fn of_request(limit: u64) -> Self {
        Self { limit, header: [0; LONGEST], held: 0, left: 0, typed: false }
    }

    fn of_connection(limit: u64) -> Self {
        Self { typed: true, ..Self::of_request(limit) }
    }

    /// Lets bytes pass. False if a frame is longer than it may be.
    fn pass(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            if self.left > 0 {
                let step = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                self.left -= step as u64;
                bytes.advance(step);
                continue;
            }
            self.header[self.held] = bytes.get_u8();
            self.held += 1;
            let Some((first, rest)) = integer(&self.header[..self.held]) else { continue };
            if self.typed {
                (self.typed, self.held) = (false, 0);
                continue;
            }
            let Some((length, _)) = integer(rest) else { continue };
            if first != DATA && length > self.limit {
                return false;
            }
            (self.left, self.held) = (length, 0);
        }
        true
    }
}

/// An integer of variable length (RFC 9000 section 16), and what stands behind it.
fn integer(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let length = 1 << (bytes.first()? >> 6);
    let (integer, rest) = bytes.split_at_checked(length)?;
    let value = integer.iter().fold(0, |value: u64, byte| value << 8 | u64::from(*byte));
    Some((value & (u64::MAX >> (66 - 8 * length)), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(mut frames: Frames, bytes: &[u8]) -> bool {
        let whole = Frames { header: frames.header, ..frames }.pass(bytes);
        let pieces = bytes.chunks(1).all(|byte| frames.pass(byte));
        assert_eq!(whole, pieces, "however it comes");
        whole
    }

    #[test]
    fn integers_are_read_as_the_standard_shows() {
        let cases: [(&[u8], u64); 4] = [
            (&[0x25], 37),
            (&[0x7b, 0xbd], 15_293),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c], 151_288_809_941_952_652),
        ];
        for (bytes, value) in cases {
            assert_eq!(integer(bytes), Some((value, &[][..])));
            assert_eq!(integer(&bytes[..bytes.len() - 1]), None);
        }
    }

    #[test]
    fn only_bodies_may_be_longer_than_the_limit() {
        let request = || Frames::of_request(100);
        let frame = |kind: u8, length: u8| [&[kind, 0x40, length][..], &vec![7; length.into()]].concat();
        assert!(passes(request(), &[frame(1, 100), frame(0, 200), frame(0x21, 3), frame(1, 9)].concat()));
        for kind in [1, 3, 4, 7, 0x21] {
            assert!(!passes(request(), &[frame(0, 101), frame(kind, 101)].concat()), "{kind}");
        }
        // A header alone is enough.
        assert!(!passes(request(), &[1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]));
    }

    #[test]
    fn what_a_stream_is_for_stands_before_its_frames() {
        let control = || Frames::of_connection(100);
        assert!(passes(control(), &[0, 4, 2, 6, 9, 7, 1, 0]));
        assert!(!passes(control(), &[0, 4, 0x40, 101]));
    }
}
