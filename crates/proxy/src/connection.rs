//! State and timeouts of a caller's connection: what it is doing (reading a head, busy, keep-alive, tunnel), and when
//! that has taken too long.
//!
//! A connection has no timers of its own. It notes in its [`ConnectionState`] what it does and since which tick; the
//! worker looks at all of them a few times a second and wakes those whose time is up.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use portcullis_core::call::Hints;
use portcullis_core::message::Fields;
use portcullis_wire::revocation::End;

use crate::expansion::Expansion;
use crate::interim::{self, Interim};
use crate::limits::Timeouts;

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Accepted; nothing has come yet.
    New = 0,
    /// Part of a request's head has come.
    Head = 1,
    /// A call is under way.
    Busy = 2,
    /// Between two calls.
    Idle = 3,
    /// Everything is written; what still comes is read to nowhere.
    Closing = 4,
    /// It goes on in another protocol.
    Tunnel = 5,
}

/// How long what still comes is read to nowhere.
const LINGER: Duration = Duration::from_secs(1);

/// How long after it was accepted a connection that is to end may still send its first byte: the caller has been let in
/// and its request may be on the way.
const LAST_CALL: Duration = Duration::from_secs(1);

/// How long nothing comes between two calls until what reads is put away.
const REST: Duration = Duration::from_secs(1);

/// What is to become of a connection.
const GO_ON: u8 = 0;
const DRAIN: u8 = 1;
pub(crate) const CLOSE: u8 = 2;
pub(crate) const CLOSE_WITH_408: u8 = 3;

/// What a connection is doing, as its worker sees it. Written and read on one thread.
#[derive(Debug, Default)]
pub struct ConnectionState {
    phase: AtomicU8,
    since: AtomicU32,
    /// When it was accepted, and whether that is so long ago that its next answer is its last.
    born: u32,
    is_aged: AtomicBool,
    /// The tick at which a write found the socket full; 0 while it is not.
    stuck_since: AtomicU32,
    verdict: AtomicU8,
    /// Whether what reads may be put away until something comes.
    may_rest: AtomicBool,
    /// Whether the caller has been told that this was the last answer. What still comes is no request: it may be the rest
    /// of a body that a service goes on reading.
    is_last: AtomicBool,
    framed_twice: AtomicBool,
    /// Whether HTTP/2 is spoken: many calls at once, and what comes between them begins no head.
    is_http2: AtomicBool,
    /// Calls under way, and those that have ever begun.
    calls: AtomicU32,
    begun: AtomicU32,
    /// When something was last heard over HTTP/2.
    heard: AtomicU32,
    /// How much has come over it, and what that has become.
    expansion: Expansion,
    /// How long a tunnel may be silent, in milliseconds; 0: as long as on all connections.
    tunnel_idle: AtomicU32,
    waker: AtomicWaker,
    /// What is told over HTTP/1.1 before the answer under way, and whether anything may be.
    interim: Interim,
    tells: AtomicBool,
}

impl ConnectionState {
    /// A watch on a connection accepted at this tick.
    pub fn new(tick: u32) -> Arc<Self> {
        Arc::new(Self { since: AtomicU32::new(tick), born: tick, ..Self::default() })
    }

    /// What it is doing.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Relaxed) {
            0 => Phase::New,
            1 => Phase::Head,
            2 => Phase::Busy,
            3 => Phase::Idle,
            4 => Phase::Closing,
            _ => Phase::Tunnel,
        }
    }

    /// Notes what it does from this tick on.
    pub fn enter(&self, phase: Phase, tick: u32) {
        self.phase.store(phase as u8, Relaxed);
        self.since.store(tick, Relaxed);
        self.may_rest.store(false, Relaxed);
    }

    /// It goes on in another protocol, and may be silent for so long; as long as all, if it is not said.
    pub(crate) fn enter_tunnel(&self, idle: Option<Duration>, tick: u32) {
        let most = u32::MAX / 2;
        let millis = idle.map_or(0, |idle| u32::try_from(idle.as_millis()).map_or(most, |millis| millis.min(most)));
        self.tunnel_idle.store(millis, Relaxed);
        self.enter(Phase::Tunnel, tick);
    }

    fn tunnel_idle(&self) -> Option<Duration> {
        let millis = self.tunnel_idle.load(Relaxed);
        (millis > 0).then(|| Duration::from_millis(millis.into()))
    }

    /// A call begins; it ends when what is returned is dropped.
    pub fn begin(self: &Arc<Self>, tick: fn() -> u32) -> CallGuard {
        self.calls.fetch_add(1, Relaxed);
        self.begun.fetch_add(1, Relaxed);
        self.enter(Phase::Busy, tick());
        CallGuard { watch: Arc::clone(self), tick }
    }

    /// HTTP/2 is spoken from now on.
    pub fn speak_http2(&self, tick: u32) {
        self.is_http2.store(true, Relaxed);
        self.heard.store(tick, Relaxed);
        self.enter(Phase::Idle, tick);
    }

    /// How much fields may be larger than what they come in.
    pub fn expansion(&self) -> &Expansion {
        &self.expansion
    }

    /// So many bytes have come over HTTP/2.
    pub(crate) fn hear(&self, bytes: usize, tick: u32) {
        self.heard.store(tick, Relaxed);
        self.expansion.receive(bytes);
    }

    /// Whether HTTP/2 is spoken.
    pub(crate) fn is_http2(&self) -> bool {
        self.is_http2.load(Relaxed)
    }

    /// How many calls have ever begun.
    pub(crate) fn begun(&self) -> u32 {
        self.begun.load(Relaxed)
    }

    /// Whether no call is under way.
    pub(crate) fn is_without_calls(&self) -> bool {
        self.calls.load(Relaxed) == 0
    }

    /// What is to become of it.
    pub(crate) fn verdict(&self) -> u8 {
        self.verdict.load(Relaxed)
    }

    /// The tick at which something was last heard over HTTP/2.
    pub fn heard(&self) -> u32 {
        self.heard.load(Relaxed)
    }

    /// Looks whether its time is up. `tick` counts milliseconds.
    pub fn judge(&self, tick: u32, timeouts: &Timeouts) {
        let over = |since: u32, limit: Duration| {
            let age = tick.wrapping_sub(since);
            // What lies ahead of the clock has only just begun; it is not 49 days old.
            age <= u32::MAX / 2 && u128::from(age) > limit.as_millis()
        };
        let since = self.since.load(Relaxed);
        let stuck = self.stuck_since.load(Relaxed);
        if timeouts.connection_age.is_some_and(|age| over(self.born, age)) {
            self.is_aged.store(true, Relaxed);
            // In HTTP/1.1 that is told with the next answer: a request may be on its way.
            if self.is_http2.load(Relaxed) {
                self.drain();
            }
        }
        let is_draining = self.is_draining();
        let verdict = match self.phase() {
            Phase::New if over(since, timeouts.first_byte) => CLOSE,
            Phase::New if is_draining && over(since, LAST_CALL) => CLOSE,
            Phase::Closing if over(since, LINGER) => CLOSE,
            Phase::Tunnel if over(since, self.tunnel_idle().unwrap_or(timeouts.tunnel_idle)) => CLOSE,
            Phase::Busy | Phase::Tunnel if stuck != 0 && over(stuck, timeouts.body_idle) => CLOSE,
            // The call is over but for what the caller has not taken yet: until then nothing else is waited for.
            Phase::Head | Phase::Idle if stuck != 0 && over(stuck, timeouts.body_idle.max(timeouts.keep_alive)) => {
                CLOSE
            }
            Phase::Head | Phase::Idle if stuck != 0 => return,
            Phase::Head if over(since, timeouts.head) => CLOSE_WITH_408,
            Phase::Idle if over(since, timeouts.keep_alive) => CLOSE,
            Phase::Idle if over(since, REST) && self.is_between_calls() => {
                if !self.may_rest.swap(true, Relaxed) {
                    self.waker.wake();
                }
                return;
            }
            _ => return,
        };
        self.decide(verdict);
    }

    /// Whether the next thing that comes begins another call in HTTP/1.1.
    pub(crate) fn is_between_calls(&self) -> bool {
        !self.is_http2.load(Relaxed) && !self.is_last.load(Relaxed)
    }

    /// Asks it to end when the call under way has been answered.
    pub fn drain(&self) {
        if self.verdict.load(Relaxed) == GO_ON {
            self.decide(DRAIN);
        }
    }

    /// Notes whether a write has found the socket full.
    pub fn note_write(&self, polled: &Poll<io::Result<usize>>, tick: u32) {
        let is_stuck = self.stuck_since.load(Relaxed) != 0;
        match polled {
            Poll::Pending if !is_stuck => self.stuck_since.store(tick.max(1), Relaxed),
            Poll::Ready(_) if is_stuck => {
                self.stuck_since.store(0, Relaxed);
                // One waits for the next call from when all of the last has been taken. In HTTP/2 more is written than answers.
                if !self.is_http2.load(Relaxed) && matches!(self.phase(), Phase::Head | Phase::Idle) {
                    self.since.store(tick, Relaxed);
                }
            }
            _ => {}
        }
    }

    fn decide(&self, verdict: u8) {
        self.verdict.store(verdict, Relaxed);
        self.waker.wake();
    }

    /// Registers whoever drives the connection, and says what is to become of it.
    pub fn poll(&self, context: &Context<'_>) -> Ending {
        self.waker.register(context.waker());
        match self.verdict.load(Relaxed) {
            GO_ON if self.may_rest.load(Relaxed) => Ending::Rest,
            GO_ON => Ending::None,
            DRAIN => Ending::Drain,
            _ => Ending::Close,
        }
    }

    /// Whether it was asked to end when it can.
    pub fn is_draining(&self) -> bool {
        self.verdict.load(Relaxed) == DRAIN
    }

    /// What is said from now on before the next answer in HTTP/1.1 is told to the caller.
    pub fn tell_through(&self) {
        self.tells.store(true, Relaxed);
    }

    /// Nothing more comes before the answer; what was said so far is waited for.
    pub async fn has_told(&self) {
        self.tells.store(false, Relaxed);
        self.interim.told().await;
        self.interim.begin_anew();
    }

    /// Takes what the caller is to be told before its answer, as it is written.
    pub(crate) fn take_interim(&self) -> Option<Bytes> {
        self.interim.take().map(|interim| interim::written(&interim))
    }

    /// Something has passed through the tunnel.
    pub fn stir(&self, tick: u32) {
        self.since.store(tick, Relaxed);
    }

    /// A head came with `Transfer-Encoding` before `Content-Length`.
    pub(crate) fn note_framed_twice(&self) {
        self.framed_twice.store(true, Relaxed);
    }

    /// Whether a head came with `Transfer-Encoding` before `Content-Length`: hyper hides the latter.
    pub fn was_framed_twice(&self) -> bool {
        self.framed_twice.load(Relaxed)
    }
}

/// What the service of the call under way over HTTP/1.1 hints at. Whoever drives the connection has its waker here.
impl Hints for ConnectionState {
    fn hint(&self, fields: Fields<'_>) {
        if self.tells.load(Relaxed) {
            self.interim.hint(fields);
            self.waker.wake();
        }
    }
}

impl End for ConnectionState {
    fn end(&self) {
        self.decide(CLOSE);
    }
}

/// A call under way on a connection.
pub struct CallGuard {
    watch: Arc<ConnectionState>,
    tick: fn() -> u32,
}

impl CallGuard {
    /// The watch on the connection.
    pub fn watch(&self) -> &Arc<ConnectionState> {
        &self.watch
    }

    /// Whether no other call is to follow on the connection.
    pub fn is_to_be_last(&self) -> bool {
        self.watch.is_draining() || self.watch.is_aged.load(Relaxed)
    }

    /// The caller is told that no further answer follows on this connection.
    pub fn is_last(&self) {
        self.watch.is_last.store(true, Relaxed);
    }
}

impl Drop for CallGuard {
    fn drop(&mut self) {
        if self.watch.calls.fetch_sub(1, Relaxed) == 1 {
            self.watch.enter(Phase::Idle, (self.tick)());
        }
    }
}

/// What is to become of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Nothing special.
    None,
    /// Nothing has come for a while between two calls.
    Rest,
    /// It ends after the call under way.
    Drain,
    /// It ends now.
    Close,
}

#[cfg(test)]
mod tests {
    use portcullis_core::message::names::LINK;
    use portcullis_core::message::{FieldMap, FieldValue, HasFields};

    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn a_connection_that_is_to_end_may_still_make_its_call() {
        let timeouts = Timeouts::default();
        let watch = ConnectionState::new(1_000);
        let context = Context::from_waker(std::task::Waker::noop());
        watch.drain();
        watch.judge(2_000, &timeouts);
        assert_eq!(watch.poll(&context), Ending::Drain);
        watch.enter(Phase::Busy, 2_000);
        watch.judge(9_000, &timeouts);
        assert_eq!(watch.poll(&context), Ending::Drain);
        watch.enter(Phase::New, 9_000);
        watch.judge(10_001, &timeouts);
        assert_eq!(watch.poll(&context), Ending::Close);
    }

    #[test]
    fn a_connection_of_age_ends_as_its_protocol_allows() {
        let timeouts = Timeouts { connection_age: Some(Duration::from_secs(60)), ..Timeouts::default() };
        let context = Context::from_waker(std::task::Waker::noop());
        let forever = Timeouts { connection_age: None, ..Timeouts::default() };
        for (is_http2, at_60, at_61) in [(false, Ending::None, Ending::None), (true, Ending::None, Ending::Drain)] {
            let watch = ConnectionState::new(1_000);
            if is_http2 {
                watch.speak_http2(1_000);
            }
            let under_way = watch.begin(|| 1_000);
            watch.judge(61_000_000, &forever);
            watch.judge(61_000, &timeouts);
            assert!(watch.poll(&context) == at_60 && !under_way.is_to_be_last());
            watch.judge(61_001, &timeouts);
            assert!(watch.poll(&context) == at_61 && under_way.is_to_be_last());
        }
    }

    #[test]
    fn what_is_hinted_at_after_the_answer_is_not_told() {
        let watch = ConnectionState::new(1_000);
        let mut fields = FieldMap::new();
        fields.set(LINK, FieldValue::from_static("</a>"));
        watch.hint(fields.fields());
        assert!(watch.take_interim().is_none(), "nobody is to be told anything yet");
        watch.tell_through();
        watch.hint(fields.fields());
        assert!(watch.take_interim().is_some());
        assert!(watch.take_interim().is_none());
        assert_eq!(watch.has_told().now_or_never(), Some(()));
        watch.hint(fields.fields());
        assert!(watch.take_interim().is_none());
    }

    #[test]
    fn a_connection_is_judged_by_what_it_does() {
        let timeouts = Timeouts::default();
        let watch = ConnectionState::new(1_000);
        let context = Context::from_waker(std::task::Waker::noop());
        for tick in [11_000, 999, 0] {
            watch.judge(tick, &timeouts);
            assert_eq!(watch.poll(&context), Ending::None, "{tick}");
        }
        watch.enter(Phase::Busy, 11_000);
        watch.judge(4_000_000, &timeouts);
        assert_eq!(watch.poll(&context), Ending::None);
        watch.enter(Phase::Idle, 11_000);
        watch.judge(12_000, &timeouts);
        assert_eq!(watch.poll(&context), Ending::None);
        for tick in [12_001, 86_000] {
            watch.judge(tick, &timeouts);
            assert_eq!(watch.poll(&context), Ending::Rest);
        }
        watch.enter(Phase::Head, 86_000);
        assert_eq!(watch.poll(&context), Ending::None, "it has rested");
        // What is left of an answer is waited for like the rest of it.
        for phase in [Phase::Idle, Phase::Head] {
            watch.enter(phase, 100_000);
            watch.note_write(&Poll::Pending, 180_000);
            watch.judge(209_999, &timeouts);
            assert_eq!(watch.poll(&context), Ending::None);
            watch.note_write(&Poll::Ready(Ok(1)), 209_999);
            watch.judge(210_000, &timeouts);
            assert_eq!(watch.poll(&context), Ending::None);
            watch.note_write(&Poll::Pending, 210_000);
            watch.judge(285_001, &timeouts);
            assert_eq!(watch.poll(&context), Ending::Close);
            watch.verdict.store(GO_ON, Relaxed);
            watch.note_write(&Poll::Ready(Ok(1)), 285_001);
        }
        // Over HTTP/2 that something is written is no sign of a call.
        watch.enter(Phase::Idle, 300_000);
        watch.is_http2.store(true, Relaxed);
        watch.note_write(&Poll::Pending, 374_000);
        watch.note_write(&Poll::Ready(Ok(1)), 375_000);
        watch.judge(375_001, &timeouts);
        assert_eq!(watch.poll(&context), Ending::Close);
        watch.verdict.store(GO_ON, Relaxed);
        watch.is_http2.store(false, Relaxed);
        watch.enter(Phase::Idle, 11_000);
        watch.judge(86_001, &timeouts);
        assert_eq!(watch.poll(&context), Ending::Close);
    }
}
