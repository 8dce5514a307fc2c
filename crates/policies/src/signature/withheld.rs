//! A body that is passed on while its digest is still being computed.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use portcullis_core::body::{Body, BodyError, Polled};
use portcullis_signing::http::{ContentDigest, Digester};

/// A body whose last bytes come when all of it has had its digest; without that it breaks off. What comes behind them without
/// bytes of its own is no reason to let them go.
pub(super) struct Withheld {
    body: Body,
    digest: ContentDigest,
    digester: Option<Digester>,
    /// The last bytes that have come.
    held: Option<Bytes>,
    trailers: Option<Frame<Bytes>>,
    matched: Arc<AtomicBool>,
}

/// Whether all of a body has come and had its digest.
pub(super) struct Matched(Arc<AtomicBool>);

impl Matched {
    /// Whether it has by now.
    pub(super) fn by_now(&self) -> bool {
        self.0.load(SeqCst)
    }
}

impl Withheld {
    pub(super) fn until_it_matches(body: Body, digest: ContentDigest) -> (Body, Matched) {
        let (digester, matched) = (Some(digest.digester()), Arc::<AtomicBool>::default());
        let told = Matched(Arc::clone(&matched));
        (Body::stream(Self { body, digest, digester, held: None, trailers: None, matched }), told)
    }
}

impl HttpBody for Withheld {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled {
        let this = &mut *self;
        loop {
            match Pin::new(&mut this.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    let data = match frame.into_data() {
                        Ok(data) => data,
                        Err(trailers) => {
                            this.trailers = Some(trailers);
                            continue;
                        }
                    };
                    if data.is_empty() {
                        continue;
                    }
                    if let Some(digester) = &mut this.digester {
                        digester.update(&data);
                    }
                    if let Some(former) = this.held.replace(data) {
                        return Poll::Ready(Some(Ok(Frame::data(former))));
                    }
                }
                Poll::Ready(None) => {
                    let actual = this.digester.take().map(Digester::finish);
                    if actual.is_none_or(|actual| this.digest.check(&actual).is_ok()) {
                        this.matched.store(true, SeqCst);
                        let last = this.held.take().map(Frame::data).or_else(|| this.trailers.take());
                        return Poll::Ready(last.map(Ok));
                    }
                    (this.held, this.trailers) = (None, None);
                    let wrong = "the content is not what its signed digest says";
                    return Poll::Ready(Some(Err(BodyError::Broken(wrong.into()))));
                }
                other => return other,
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        // Before the digest was compared nobody may take it for complete.
        self.digester.is_none() && self.held.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let held = self.held.as_ref().map_or(0, |data| data.len() as u64);
        let rest = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + held);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + held);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::future::poll_fn;

    use portcullis_core::message::FieldMap;
    use portcullis_signing::http::DigestAlgorithm;
    use proptest::prelude::*;

    use super::*;

    /// Frames with these bytes; `None` stands for trailers.
    fn body(frames: &[Option<Vec<u8>>]) -> Body {
        let mut frames: VecDeque<_> = frames.to_vec().into();
        Body::from_poll(move |_| {
            let Some(frame) = frames.pop_front() else { return Poll::Ready(None) };
            let frame = match frame {
                Some(data) => Frame::data(Bytes::from(data)),
                None => Frame::trailers(FieldMap::new().into()),
            };
            Poll::Ready(Some(Ok(frame)))
        })
    }

    /// The bytes that come, how many trailers, and how it ends.
    fn read(mut body: Body) -> (Vec<u8>, usize, Option<BodyError>) {
        let (mut bytes, mut trailers) = (Vec::new(), 0);
        let mut context = Context::from_waker(std::task::Waker::noop());
        loop {
            let mut next = std::pin::pin!(poll_fn(|context| Pin::new(&mut body).poll_frame(context)));
            match next.as_mut().poll(&mut context) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => bytes.extend_from_slice(&data),
                    Err(_) => trailers += 1,
                },
                Poll::Ready(Some(Err(error))) => return (bytes, trailers, Some(error)),
                Poll::Ready(None) => return (bytes, trailers, None),
                Poll::Pending => panic!("nothing here waits"),
            }
        }
    }

    proptest! {
        #[test]
        fn the_last_bytes_come_with_the_right_digest_alone(
            frames in proptest::collection::vec(proptest::option::weighted(0.9, proptest::collection::vec(any::<u8>(), 0..4)), 1..6),
        ) {
            // Trailers end a body.
            let end = frames.iter().position(Option::is_none).map_or(frames.len(), |at| at + 1);
            let frames = &frames[..end];
            let content: Vec<u8> = frames.iter().flatten().flatten().copied().collect();
            let digest = ContentDigest::of(&content, DigestAlgorithm::Sha256);
            let (withheld, matched) = Withheld::until_it_matches(body(frames), digest);
            let (bytes, trailers, error) = read(withheld);
            prop_assert_eq!((&bytes, error, matched.by_now()), (&content, None, true));
            prop_assert_eq!(trailers, usize::from(frames.iter().any(Option::is_none)));
            let other = ContentDigest::of(b"something else, and longer", DigestAlgorithm::Sha256);
            let (withheld, matched) = Withheld::until_it_matches(body(frames), other);
            let (bytes, trailers, error) = read(withheld);
            prop_assert!(error.is_some() && trailers == 0 && !matched.by_now());
            prop_assert!(content.is_empty() || bytes.len() < content.len(), "{bytes:?} of {content:?}");
        }
    }
}
