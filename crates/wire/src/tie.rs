//! Revocation of calls under way: they end when what their caller was let in by is taken back, whatever streams either way,
//! and in a wait for an answer.
//!
//! Nothing is asked about a call before it has lasted a while, which few do. From then on the worker asks once a second, for
//! all calls with the same credentials at once.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::mem;
use std::ptr;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::task::AtomicWaker;
use portcullis_core::body::{Body, BodyError};
use portcullis_core::call::{Call, ClientCertificate, Ties};
use portcullis_core::ports::Welcome;
use slab::Slab;

use crate::clock;

/// How long a call lasts before anything is asked about it.
pub const WHILE: Duration = Duration::from_secs(1);
/// How long one answer is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many questions are asked at once. Calls are served before the next ones are.
const AT_ONCE: usize = 64;

thread_local! {
    /// Those of this worker, until they are dropped.
    static TIED: RefCell<Slab<Weak<Tie>>> = const { RefCell::new(Slab::new()) };
    static ASKING: Cell<bool> = const { Cell::new(false) };
}

const STANDS: u8 = 0;
const CUT: u8 = 1;
/// It was cut a round of questions ago, and goes on.
const OVERDUE: u8 = 2;

/// Who is to be woken when a tie is cut.
#[derive(Debug, Clone, Copy)]
pub enum Side {
    /// Whoever takes the request's body.
    Request = 0,
    /// Whoever waits for the answer, or takes its body.
    Answer = 1,
}

/// What carries one call, and can be ended with it.
pub trait End: fmt::Debug + Send + Sync {
    /// Ends it now, whatever is under way.
    fn end(&self);
}

/// What a call is tied to. It does not leave its worker.
#[derive(Debug)]
pub struct Tie {
    ties: Ties,
    certificate: Option<Arc<ClientCertificate>>,
    since: u32,
    place: usize,
    state: AtomicU8,
    wakers: [AtomicWaker; 2],
    /// The connection that is ended where nothing else ends the call.
    connection: OnceLock<Weak<dyn End>>,
}

impl Tie {
    /// A tie of the call under way on this worker; none where its caller has shown nothing that can be taken back. It is
    /// asked about for as long as anybody holds it.
    pub fn of(call: &Call) -> Option<Arc<Self>> {
        let (ties, certificate) = (&call.caller.ties, &call.peer.certificate);
        let is_tied = !ties.are_none() || certificate.is_some();
        is_tied.then(|| Self::since(clock::tick(), ties.clone(), certificate.clone()))
    }

    fn since(since: u32, ties: Ties, certificate: Option<Arc<ClientCertificate>>) -> Arc<Self> {
        TIED.with_borrow_mut(|tied| {
            let place = tied.vacant_entry();
            let tie = Arc::new(Self {
                ties,
                certificate,
                since,
                place: place.key(),
                state: AtomicU8::new(STANDS),
                wakers: Default::default(),
                connection: OnceLock::new(),
            });
            place.insert(Arc::downgrade(&tie));
            tie
        })
    }

    fn is_without_certificate(&self) -> bool {
        self.certificate.as_ref().is_some_and(|certificate| certificate.has_ended())
    }

    /// Whether it was taken back.
    #[inline]
    pub fn is_cut(&self) -> bool {
        self.state.load(Relaxed) != STANDS
    }

    /// The same, for whoever is to be woken when it is.
    #[inline]
    pub fn is_cut_for(&self, side: Side, context: &Context<'_>) -> bool {
        self.wakers[side as usize].register(context.waker());
        self.is_cut()
    }

    /// Ready when it was cut a while ago and the answer goes on nevertheless: it waits for a caller who takes little of it,
    /// or nothing, and whoever writes it does not look at its body.
    #[inline]
    pub fn poll_overdue(&self, context: &Context<'_>) -> Poll<()> {
        self.wakers[Side::Answer as usize].register(context.waker());
        if self.state.load(Relaxed) == OVERDUE { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Has a connection ended that carries this call alone, where the call goes on after it was cut.
    pub fn ends<E: End + 'static>(&self, connection: &Arc<E>) {
        let connection: Weak<dyn End> = Arc::<E>::downgrade(connection);
        // There is one.
        let _ = self.connection.set(connection);
    }

    fn cut(&self) {
        self.turn(CUT);
    }

    /// Nothing has come of the cut.
    fn insist(&self) {
        self.turn(OVERDUE);
        if let Some(connection) = self.connection.get().and_then(Weak::upgrade) {
            connection.end();
        }
    }

    fn turn(&self, state: u8) {
        self.state.store(state, Relaxed);
        self.wakers.iter().for_each(AtomicWaker::wake);
    }
}

impl Drop for Tie {
    fn drop(&mut self) {
        let tie = TIED.try_with(|tied| {
            let mut tied = tied.borrow_mut();
            let is_own = tied.get(self.place).is_some_and(|tie| ptr::eq(tie.as_ptr(), self));
            is_own.then(|| tied.remove(self.place))
        });
        drop(tie);
    }
}

/// Whether so much time has passed since this tick that a call is asked about.
fn has_lasted(since: u32) -> bool {
    u128::from(clock::tick().wrapping_sub(since)) >= WHILE.as_millis()
}

/// A body that breaks off when its tie is cut.
pub fn tied(body: Body, tie: Arc<Tie>) -> Body {
    body.map_polls(move |context, polled| {
        let is_cut = if polled.is_pending() { tie.is_cut_for(Side::Answer, context) } else { tie.is_cut() };
        // What has come whole is not broken off.
        if is_cut && !matches!(polled, Poll::Ready(None)) {
            return Poll::Ready(Some(Err(BodyError::Revoked)));
        }
        polled
    })
}

/// A call that waits for its answer. It is tied when it has waited for a while; whoever waits for the head of
/// an answer has it looked at then.
///
/// None of it where its caller has shown nothing that can be taken back.
pub struct Waiting(Option<Shown>);

/// What the caller of a waiting call was let in by.
struct Shown {
    ties: Ties,
    certificate: Option<Arc<ClientCertificate>>,
    since: u32,
    tie: Option<Arc<Tie>>,
}

impl Waiting {
    /// Takes what the caller was let in by, until it ends.
    #[inline]
    pub fn begin(call: &mut Call) -> Self {
        let (ties, certificate) = (&mut call.caller.ties, &call.peer.certificate);
        let is_tied = !ties.are_none() || certificate.is_some();
        let shown =
            || Shown { ties: mem::take(ties), certificate: certificate.clone(), since: clock::tick(), tie: None };
        Self(is_tied.then(shown))
    }

    /// Whether the caller is not to get an answer any more.
    #[inline]
    pub fn is_cut(&mut self, context: &Context<'_>) -> bool {
        let Some(Shown { ties, certificate, since, tie }) = &mut self.0 else { return false };
        if tie.is_none() && !has_lasted(*since) {
            return false;
        }
        let tie = tie.get_or_insert_with(|| Tie::since(*since, ties.clone(), certificate.clone()));
        tie.is_cut_for(Side::Answer, context)
    }

    /// Gives it back.
    #[inline]
    pub fn end(self, call: &mut Call) {
        if let Some(shown) = self.0 {
            call.caller.ties = shown.ties;
        }
    }
}

/// Does `first`, where there is something to do, and then asks for the tied calls of this worker that have lasted a while
/// whether their callers still stand, and cuts those that do not. Nothing is done while the last round is under way.
pub fn ask(welcome: &Arc<dyn Welcome>, first: Option<impl Future<Output = ()> + Send + 'static>) {
    let tied: Vec<Arc<Tie>> = TIED.with_borrow(|tied| tied.iter().filter_map(|(_, tie)| tie.upgrade()).collect());
    if tied.is_empty() && first.is_none() || ASKING.replace(true) {
        return;
    }
    let (welcome, asking) = (Arc::clone(welcome), Asking);
    tokio::spawn(async move {
        if let Some(first) = first {
            first.await;
        }
        let (overdue, tied): (Vec<_>, Vec<_>) = tied.into_iter().partition(|tie| tie.is_cut());
        overdue.iter().for_each(|tie| tie.insist());
        tied.iter().filter(|tie| tie.is_without_certificate()).for_each(|tie| tie.cut());
        let mut alike: HashMap<&Ties, Vec<&Tie>> = HashMap::new();
        for tie in tied.iter().filter(|tie| !tie.ties.are_none() && has_lasted(tie.since)) {
            alike.entry(&tie.ties).or_default().push(tie);
        }
        let alike: Vec<_> = alike.into_iter().collect();
        for some in alike.chunks(AT_ONCE) {
            join_all(some.iter().map(async |(ties, tied)| {
                // What cannot be told in time counts as standing.
                if let Ok(false) = tokio::time::timeout(PATIENCE, welcome.stands(ties)).await {
                    tied.iter().for_each(|tie| tie.cut());
                }
            }))
            .await;
            tokio::task::yield_now().await;
        }
        drop(asking);
    });
}

/// The round of questions that is under way.
struct Asking;

impl Drop for Asking {
    fn drop(&mut self) {
        ASKING.set(false);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Ready;
    use std::sync::Mutex;
    use std::sync::atomic::AtomicBool;

    use async_trait::async_trait;
    use portcullis_core::ports::SessionId;

    use super::*;

    /// Counts whom it was asked about, and sends the first session away.
    #[derive(Default)]
    struct Asked(Mutex<Vec<Ties>>);

    #[async_trait]
    impl Welcome for Asked {
        async fn stands(&self, ties: &Ties) -> bool {
            self.0.lock().expect("not poisoned").push(ties.clone());
            ties.session != Some(SessionId([1; 16]))
        }
    }

    /// A connection, and whether it was ended.
    #[derive(Debug, Default)]
    struct Connection(AtomicBool);

    impl End for Connection {
        fn end(&self) {
            self.0.store(true, Relaxed);
        }
    }

    fn of(session: u8) -> Arc<Tie> {
        Tie::since(clock::tick(), Ties { session: Some(SessionId([session; 16])), ..Ties::default() }, None)
    }

    fn at(since: u32) {
        clock::set(since);
    }

    /// A round of questions, to its end.
    async fn round(welcome: &Arc<dyn Welcome>) {
        ask(welcome, None::<Ready<()>>);
        while ASKING.get() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn all_calls_that_have_lasted_are_asked_about_and_those_alike_once() {
        let asked = Arc::new(Asked::default());
        let welcome: Arc<dyn Welcome> = Arc::<Asked>::clone(&asked);
        let questions = || asked.0.lock().expect("not poisoned").len();
        at(1_000);
        let (gone, other) = ([of(1), of(1), of(1)], of(2));
        let connection = Arc::<Connection>::default();
        gone[0].ends(&connection);
        round(&welcome).await;
        assert_eq!(questions(), 0, "they have only begun");
        at(2_000);
        let young = of(1);
        round(&welcome).await;
        assert_eq!(questions(), 2, "one for each session");
        assert!(gone.iter().all(|tie| tie.is_cut()) && !other.is_cut() && !young.is_cut());
        let context = Context::from_waker(std::task::Waker::noop());
        assert!(gone[0].poll_overdue(&context).is_pending());
        assert!(!connection.0.load(Relaxed));
        round(&welcome).await;
        assert_eq!(questions(), 3, "what was cut is not asked about again");
        assert!(gone.iter().all(|tie| tie.poll_overdue(&context).is_ready()));
        assert!(connection.0.load(Relaxed));
        assert!(other.poll_overdue(&context).is_pending());
    }

    #[tokio::test]
    async fn more_than_are_asked_about_at_once_are_all_asked_about() {
        let asked = Arc::new(Asked::default());
        let welcome: Arc<dyn Welcome> = Arc::<Asked>::clone(&asked);
        at(1_000);
        let tied: Vec<_> = (0..=u8::MAX).map(of).collect();
        at(2_000);
        round(&welcome).await;
        assert_eq!(asked.0.lock().expect("not poisoned").len(), 256);
        assert_eq!(tied.iter().filter(|tie| tie.is_cut()).count(), 1);
    }

    #[test]
    fn a_tie_is_given_up_with_its_call() {
        at(1_000);
        let held: Vec<_> = (0..3).map(of).collect();
        let count = || TIED.with_borrow(Slab::len);
        assert_eq!(count(), 3);
        // One that is dropped elsewhere takes nobody's place.
        let left = held.into_iter().next_back().expect("one");
        assert_eq!(count(), 1);
        std::thread::spawn(move || drop(left)).join().expect("no panic");
        assert_eq!(count(), 1);
        drop(of(4));
        assert_eq!(count(), 1);
    }
}
