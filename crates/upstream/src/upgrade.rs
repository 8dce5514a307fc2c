//! An upgraded connection, the service's side of a tunnel: it goes on in another protocol than HTTP.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use http_body::Frame;
use http_body_util::BodyStream;
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use portcullis_core::body::{Body, BodyError, Polled};
use portcullis_core::call::{Response, Upgrade};
use portcullis_core::message::HasFields;
use portcullis_core::message::names::UPGRADE;
use portcullis_wire::alarm::Alarm;
use portcullis_wire::clock;
use portcullis_wire::fields::lists_token;
use portcullis_wire::pause::TunnelIdle;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf, ReadHalf, WriteHalf};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::bell::Held;
use crate::capacity::Permit;
use crate::traffic::timeouts::{Limit, Which};

/// Bytes read from a target at once.
const PIECE: usize = 8 << 10;

/// How long a target may take for the last bytes of a tunnel that has ended.
const LAST_WORDS: Duration = Duration::from_secs(1);

type Stream = TokioIo<Upgraded>;

/// Makes a tunnel of an answer that switches protocols: its body is what the target sends from now on, and what the
/// caller sends goes to the target until one of the two has ended, or nothing has passed either way for as long as `idle`
/// says. What is held keeps the connection counted.
pub async fn tunnel(
    mut answer: http::Response<Incoming>,
    upgrade: Upgrade,
    held: (Held, Permit),
    idle: Limit,
) -> Result<Response, String> {
    let wished =
        |protocol: &[u8]| std::str::from_utf8(protocol).is_ok_and(|it| lists_token(upgrade.protocols.value(), it));
    match answer.fields().only(UPGRADE) {
        Ok(Some(protocol)) if wished(protocol.as_bytes().trim_ascii()) => {}
        _ => return Err("switched to a protocol that nobody has asked for".to_owned()),
    }
    let upgraded = hyper::upgrade::on(&mut answer).await.map_err(|error| error.to_string())?;
    let (from_target, to_target) = tokio::io::split(TokioIo::new(upgraded));
    let held = Arc::new(held);
    let passed = Arc::new(AtomicU32::new(clock::tick()));
    let sending =
        tokio::spawn(send(upgrade.from_caller, to_target, Arc::clone(&passed), Arc::clone(&held))).abort_handle();
    let buffer = vec![0; PIECE].into_boxed_slice();
    answer.extensions_mut().insert(TunnelIdle(idle.time));
    let mut coming = FromTarget { from_target, buffer, sending, passed, idle, alarm: None, _held: held };
    Ok(answer.map(|_| Body::from_poll(move |context| coming.poll(context))))
}

/// From the caller to the target, until there is nothing more.
async fn send(from_caller: Body, mut to_target: WriteHalf<Stream>, passed: Arc<AtomicU32>, _held: Arc<(Held, Permit)>) {
    let mut frames = BodyStream::new(from_caller);
    while let Some(frame) = frames.next().await {
        // Not ended as if that had been all.
        let Ok(frame) = frame else { return };
        let Ok(data) = frame.into_data() else { continue };
        passed.store(clock::tick(), Relaxed);
        if to_target.write_all(&data).await.is_err() || to_target.flush().await.is_err() {
            return;
        }
    }
    // The target may have gone before.
    let _ = to_target.shutdown().await;
}

/// What a target sends through a tunnel.
struct FromTarget {
    from_target: ReadHalf<Stream>,
    buffer: Box<[u8]>,
    sending: AbortHandle,
    /// When something has last passed, either way.
    passed: Arc<AtomicU32>,
    idle: Limit,
    alarm: Option<Alarm>,
    _held: Arc<(Held, Permit)>,
}

impl FromTarget {
    /// Ready when nothing has passed for too long.
    fn poll_silence(&mut self, context: &Context<'_>) -> Poll<()> {
        let alarm = self.alarm.get_or_insert_with(|| Alarm::after(self.idle.time));
        ready!(alarm.poll(context));
        alarm.set_after(self.passed.load(Relaxed), self.idle.time);
        alarm.poll(context)
    }
}

impl Drop for FromTarget {
    /// The last bytes may still go; a target that does not take them is not waited for.
    fn drop(&mut self) {
        let sending = self.sending.clone();
        if let Ok(runtime) = Handle::try_current()
            && !sending.is_finished()
        {
            runtime.spawn(async move {
                tokio::time::sleep(LAST_WORDS).await;
                sending.abort();
            });
        }
    }
}

impl FromTarget {
    fn poll(&mut self, context: &mut Context<'_>) -> Polled {
        let mut read = ReadBuf::new(&mut self.buffer);
        let polled: io::Result<()> = match Pin::new(&mut self.from_target).poll_read(context, &mut read) {
            Poll::Ready(polled) => polled,
            Poll::Pending => {
                ready!(self.poll_silence(context));
                return Poll::Ready(Some(Err(BodyError::Silent(self.idle.told(Which::Idle)))));
            }
        };
        self.passed.store(clock::tick(), Relaxed);
        Poll::Ready(match polled {
            Ok(()) if read.filled().is_empty() => None,
            Ok(()) => Some(Ok(Frame::data(Bytes::copy_from_slice(read.filled())))),
            Err(error) => Some(Err(BodyError::Broken(error.to_string().into()))),
        })
    }
}
