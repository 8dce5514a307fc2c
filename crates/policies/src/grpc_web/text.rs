//! Bodies of gRPC-Web as they pass: out of Base64 and into it, and with their trailers at the end of what can be read.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use portcullis_core::body::{Body, BodyError, Polled};
use portcullis_core::grpc;
use portcullis_core::message::HasFields;

/// Characters that stand for three bytes.
const QUAD: usize = 4;

/// A body out of Base64. What is none breaks it off.
pub(super) fn decoded(body: Body) -> Body {
    if body.is_empty() { body } else { Body::stream(Decoded { body, decoder: Decoder::default() }) }
}

struct Decoded {
    body: Body,
    decoder: Decoder,
}

impl HttpBody for Decoded {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled {
        let this = &mut *self;
        loop {
            let Some(frame) = ready!(Pin::new(&mut this.body).poll_frame(context)?) else {
                return Poll::Ready((!this.decoder.is_between()).then(|| Err(not_base64())));
            };
            // Callers of gRPC-Web have no trailers to send.
            let Ok(data) = frame.into_data() else { continue };
            match this.decoder.pass(&data) {
                None => return Poll::Ready(Some(Err(not_base64()))),
                // Nothing whole has come yet.
                Some(bytes) if bytes.is_empty() => {}
                Some(bytes) => return Poll::Ready(Some(Ok(Frame::data(bytes.into())))),
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

fn not_base64() -> BodyError {
    BodyError::Broken("it is not Base64".into())
}

/// Reads Base64 in pieces that end anywhere. Every group of four may be padded: a sender pads whenever it has nothing
/// more for the moment.
#[derive(Debug, Default)]
struct Decoder {
    held: [u8; QUAD],
    have: usize,
}

impl Decoder {
    /// The bytes of all groups that are whole; none if it is no Base64.
    fn pass(&mut self, mut text: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = Vec::with_capacity((self.have + text.len()) / QUAD * 3);
        if self.have > 0 {
            let taken = text.len().min(QUAD - self.have);
            self.held[self.have..self.have + taken].copy_from_slice(&text[..taken]);
            self.have += taken;
            text = &text[taken..];
            if self.have < QUAD {
                return Some(bytes);
            }
            STANDARD.decode_vec(self.held, &mut bytes).ok()?;
            self.have = 0;
        }
        let (mut whole, rest) = text.split_at(text.len() / QUAD * QUAD);
        while !whole.is_empty() {
            // As far as the first padding, in one go.
            let padding = memchr::memchr(b'=', whole);
            let end = padding.map_or(whole.len(), |at| at / QUAD * QUAD + QUAD);
            STANDARD.decode_vec(&whole[..end], &mut bytes).ok()?;
            whole = &whole[end..];
        }
        self.held[..rest.len()].copy_from_slice(rest);
        self.have = rest.len();
        Some(bytes)
    }

    /// Whether everything was whole.
    fn is_between(&self) -> bool {
        self.have == 0
    }
}

/// A body in Base64: each piece by itself, so that none waits for the next.
pub(super) fn encoded(body: Body) -> Body {
    if let Some(piece) = body.piece() {
        return Body::full(STANDARD.encode(piece));
    }
    mapped(body, |frame| match frame.into_data() {
        Ok(data) => Frame::data(STANDARD.encode(data).into()),
        Err(other) => other,
    })
}

/// A body whose trailers have become its last frame.
pub(super) fn with_trailers(body: Body) -> Body {
    mapped(body, |frame| match frame.into_trailers() {
        Ok(trailers) => Frame::data(grpc::web_trailers(trailers.fields())),
        Err(other) => other,
    })
}

fn mapped(body: Body, change: impl Fn(Frame<Bytes>) -> Frame<Bytes> + Send + Unpin + 'static) -> Body {
    if body.is_empty() { body } else { Body::stream(Mapped { body, change }) }
}

/// A body whose frames are changed. It has no length any more.
struct Mapped<F> {
    body: Body,
    change: F,
}

impl<F: Fn(Frame<Bytes>) -> Frame<Bytes> + Unpin> HttpBody for Mapped<F> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled {
        let this = &mut *self;
        let polled = Pin::new(&mut this.body).poll_frame(context);
        polled.map(|frame| frame.map(|frame| frame.map(&this.change)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn decode(pieces: &[&[u8]]) -> Option<Vec<u8>> {
        let mut decoder = Decoder::default();
        let mut all = Vec::new();
        for piece in pieces {
            all.extend(decoder.pass(piece)?);
        }
        decoder.is_between().then_some(all)
    }

    proptest! {
        #[test]
        fn whatever_was_encoded_is_decoded_however_it_is_cut(
            parts in vec(vec(any::<u8>(), 0..50), 0..6),
            cuts in vec(1_usize..9, 1..20),
        ) {
            // Each part is padded by itself, so that padding stands in the middle.
            let text: String = parts.iter().map(|part| STANDARD.encode(part)).collect();
            let mut pieces = Vec::new();
            let mut rest = text.as_bytes();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, behind) = rest.split_at(rest.len().min(*cut));
                pieces.push(piece);
                rest = behind;
            }
            prop_assert_eq!(decode(&pieces), Some(parts.concat()));
        }

        #[test]
        fn anything_else_is_refused_and_never_panics(pieces in vec(vec(any::<u8>(), 0..20), 0..6)) {
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            let whole = pieces.concat();
            // Groups of four, each as the library reads it alone.
            let alone: Option<Vec<u8>> = whole.chunks(QUAD).try_fold(Vec::new(), |mut all, quad| {
                let bytes = (quad.len() == QUAD).then(|| STANDARD.decode(quad).ok()).flatten()?;
                all.extend(bytes);
                Some(all)
            });
            prop_assert_eq!(decode(&pieces), alone);
        }
    }

    #[test]
    fn padding_may_stand_in_the_middle_and_nowhere_else() {
        assert_eq!(decode(&[b"AA==AAAA"]), Some(vec![0; 4]));
        assert_eq!(decode(&[b"A", b"A=", b"=AAA="]), Some(vec![0; 3]));
        for bad in [&b"AAA"[..], b"A===", b"=AAA", b"AA=A", b"AA==A", b"AA A", b"AAAA\n", b"____"] {
            assert_eq!(decode(&[bad]), None, "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn fuzz_grpc_web_text() {
        let seeds = ["AAAAAAMxMjM=", "QQ==QUI=QUJD", "QQ=", "====", "QUJD\nQUJD"];
        crate::fuzzing::run("grpc_web_text", &seeds, |input| {
            let whole = decode(&[input]);
            for size in [1, 3, 5] {
                assert_eq!(decode(&input.chunks(size).collect::<Vec<_>>()), whole, "however it is cut");
            }
            // Another reader, group by group.
            let groups = input.chunks(QUAD).map(|group| STANDARD.decode(group).ok().filter(|_| group.len() == QUAD));
            assert_eq!(groups.collect::<Option<Vec<_>>>().map(|groups| groups.concat()), whole);
            whole.map(|bytes| bytes.len().min(30))
        });
    }
}
