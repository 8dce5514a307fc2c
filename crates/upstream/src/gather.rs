//! Request buffering: a call with a body has no connection lent to it while the beginning of its body is still to come, so
//! that who sends slowly has none for that long.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use portcullis_core::body::{Body, BodyError, Polled};
use portcullis_core::budget::{Budget, Share};
use portcullis_core::call::Call;
use tokio::time::sleep;

/// Bytes of a body after which the rest is not waited for.
const ENOUGH: usize = 64 << 10;
/// How long bytes are waited for.
const LONG: Duration = Duration::from_millis(100);

/// Whether a call's body is waited for: one whose length is declared and that is still to come. A body of unknown length may
/// be a stream, and gRPC's are: what such a call waits for may be the answer.
pub fn is_worth(call: &Call) -> bool {
    let body = &call.request.body;
    body.is_stream() && body.size_hint().exact().is_some() && call.grpc.is_none() && call.upgrade.is_none()
}

/// Waits for the beginning of a call's body: [`ENOUGH`] bytes of it, all of it, or [`LONG`]. Where the budget is spent, it
/// waits for nothing.
pub async fn gather(budget: &Arc<Budget>, call: &mut Call) -> Result<(), BodyError> {
    let whole = call.request.body.size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok());
    let mut share = Share::of(budget);
    if share.take(whole.unwrap_or(usize::MAX).min(ENOUGH)) {
        let rest = std::mem::replace(&mut call.request.body, Body::empty());
        call.request.body = beginning(rest, share).await?;
    }
    Ok(())
}

/// The same body, with what there is of it after the wait in one piece.
async fn beginning(mut rest: Body, share: Share) -> Result<Body, BodyError> {
    let (mut first, mut more) = (Bytes::new(), BytesMut::new());
    let mut trailers = None;
    let mut enough = pin!(None);
    while first.len().max(more.len()) < ENOUGH && !rest.is_end_stream() {
        let frame = poll_fn(|context| match Pin::new(&mut rest).poll_frame(context) {
            Poll::Ready(frame) => Poll::Ready(Some(frame)),
            Poll::Pending => {
                if enough.is_none() {
                    enough.set(Some(sleep(LONG)));
                }
                enough.as_mut().as_pin_mut().map_or(Poll::Pending, |enough| enough.poll(context)).map(|()| None)
            }
        });
        match frame.await {
            // It has taken long enough, or is over.
            None | Some(None) => break,
            Some(Some(frame)) => match frame?.into_data() {
                Ok(data) if first.is_empty() => first = data,
                Ok(data) => {
                    if more.is_empty() {
                        more.extend_from_slice(&first);
                    }
                    more.extend_from_slice(&data);
                }
                Err(frame) => {
                    trailers = Some(frame);
                    break;
                }
            },
        }
    }
    let first = if more.is_empty() { first } else { more.freeze() };
    if trailers.is_none() && rest.is_end_stream() {
        // Whoever waits for its end hears of it.
        drop(rest);
        return Ok(Body::full(first).on_end(move |_| drop(share)));
    }
    Ok(Body::stream(Begun { first: Some(first).filter(|first| !first.is_empty()), trailers, rest, share: Some(share) }))
}

/// A body whose beginning is there.
struct Begun {
    first: Option<Bytes>,
    trailers: Option<Frame<Bytes>>,
    rest: Body,
    share: Option<Share>,
}

impl HttpBody for Begun {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled {
        if let Some(first) = self.first.take() {
            // It is on its way now, like any other piece.
            self.share = None;
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        match self.trailers.take() {
            Some(trailers) => Poll::Ready(Some(Ok(trailers))),
            None => Pin::new(&mut self.rest).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.trailers.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let there = self.first.as_ref().map_or(0, |first| first.len() as u64);
        let rest = self.rest.size_hint();
        let mut hint = SizeHint::new();
        // First the upper bound: the lower is never above it.
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + there);
        }
        hint.set_lower(rest.lower() + there);
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use portcullis_core::body::Outcome;

    use super::*;

    /// What comes of a body, in order. Where nothing is left, nothing comes any more.
    #[derive(Default)]
    struct Coming {
        frames: VecDeque<Result<Frame<Bytes>, BodyError>>,
        left: u64,
    }

    impl Coming {
        fn of(declared: u64, pieces: &[&'static [u8]]) -> Body {
            let frames = pieces.iter().map(|piece| Ok(Frame::data(Bytes::from_static(piece)))).collect();
            Body::stream(Self { frames, left: declared })
        }
    }

    impl HttpBody for Coming {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Polled {
            let Some(frame) = self.frames.pop_front() else {
                return if self.left == 0 { Poll::Ready(None) } else { Poll::Pending };
            };
            let data = frame.as_ref().ok().and_then(Frame::data_ref);
            self.left -= data.map_or(0, |data| data.len() as u64);
            Poll::Ready(Some(frame))
        }

        fn is_end_stream(&self) -> bool {
            self.left == 0 && self.frames.is_empty()
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(self.left)
        }
    }

    async fn gathered(body: Body) -> Result<Body, BodyError> {
        let mut share = Share::of(&Budget::new(ENOUGH));
        assert!(share.take(ENOUGH));
        beginning(body, share).await
    }

    async fn all(mut body: Body) -> Vec<u8> {
        let mut bytes = Vec::new();
        body.read_into(&mut bytes, u64::MAX).await.expect("it comes to its end");
        bytes
    }

    #[tokio::test]
    async fn what_has_come_whole_is_one_piece() {
        for pieces in [&[b"abcdef".as_slice()][..], &[b"a", b"", b"bc", b"def"]] {
            let ends = Arc::new(Mutex::new(Vec::new()));
            let seen = Arc::clone(&ends);
            let body = Coming::of(6, pieces).on_end(move |end| seen.lock().expect("not poisoned").push(end.clone()));
            let body = gathered(body).await.expect("it has come");
            assert_eq!(body.piece().map(|piece| &piece[..]), Some(&b"abcdef"[..]));
            let ends = ends.lock().expect("not poisoned");
            assert_eq!((ends.len(), &ends[0].outcome, ends[0].bytes), (1, &Outcome::Complete, 6));
        }
    }

    #[tokio::test]
    async fn what_comes_slowly_is_not_waited_for_for_long() {
        let since = std::time::Instant::now();
        let body = gathered(Coming::of(6, &[b"abc"])).await.expect("it goes on");
        assert!(since.elapsed() >= LONG);
        assert_eq!((body.size_hint().exact(), body.is_stream(), body.is_end_stream()), (Some(6), true, false));
        let body = gathered(Coming::of(6, &[])).await.expect("it goes on");
        assert_eq!(body.size_hint().exact(), Some(6));
    }

    #[tokio::test]
    async fn what_is_long_is_not_waited_for_whole() {
        static PIECE: [u8; 40 << 10] = [7; 40 << 10];
        let body = gathered(Coming::of(4 * (40 << 10), &[&PIECE[..]; 4])).await.expect("it goes on");
        assert_eq!(body.size_hint().exact(), Some(4 * (40 << 10)));
        assert_eq!(all(body).await, [7; 4 * (40 << 10)]);
    }

    #[tokio::test]
    async fn what_breaks_off_is_told_before_anybody_is_connected_to() {
        let mut coming = Coming { left: 9, ..Coming::default() };
        coming.frames.extend([Ok(Frame::data(Bytes::from_static(b"abc"))), Err(BodyError::TooLarge { limit: 2 })]);
        assert_eq!(gathered(Body::stream(coming)).await.err(), Some(BodyError::TooLarge { limit: 2 }));
    }

    #[tokio::test]
    async fn trailers_come_behind_it() {
        let mut coming = Coming { left: 3, ..Coming::default() };
        let trailers = http::HeaderMap::from_iter([(http::header::ETAG, http::HeaderValue::from_static("x"))]);
        coming.frames.extend([Ok(Frame::data(Bytes::from_static(b"abc"))), Ok(Frame::trailers(trailers.clone()))]);
        let mut body = gathered(Body::stream(coming)).await.expect("it has come");
        let mut next = async || poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
        assert_eq!(next().await.expect("data").expect("data").into_data().ok().as_deref(), Some(&b"abc"[..]));
        assert_eq!(next().await.expect("trailers").expect("trailers").into_trailers().ok(), Some(trailers));
        assert!(next().await.is_none());
    }

    #[tokio::test]
    async fn the_budget_is_given_back_when_the_beginning_is_gone() {
        let budget = Budget::new(ENOUGH);
        for (declared, pieces) in [(3, &[b"abc".as_slice()][..]), (200_000, &[b"abc"])] {
            let mut share = Share::of(&budget);
            assert!(share.take(ENOUGH));
            let body = beginning(Coming::of(declared, pieces), share).await.expect("it goes on");
            assert_eq!(budget.taken(), ENOUGH);
            if declared == 3 {
                drop(body);
            } else {
                let mut body = body;
                let first = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
                assert!(first.is_some_and(|first| first.is_ok()));
            }
            assert_eq!(budget.taken(), 0);
        }
    }
}
