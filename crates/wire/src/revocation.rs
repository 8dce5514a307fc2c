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
use portcullis_core::call::{AdmittedBy, Call, ClientCertificate};
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
    static TIED: RefCell<Slab<Weak<Revocation>>> = const { RefCell::new(Slab::new()) };
    static ASKING: Cell<bool> = const { Cell::new(false) };
}

const STANDS: u8 = 0;
const CUT: u8 = 1;
/// It was cut a round of questions ago, and goes on.
const OVERDUE: u8 = 2;

/// Who is to be woken when a call is revoked.
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
pub struct Revocation {
    admitted_by: AdmittedBy,
    certificate: Option<Arc<ClientCertificate>>,
    since: u32,
    place: usize,
    state: AtomicU8,
    wakers: [AtomicWaker; 2],
    /// The connection that is ended where nothing else ends the call.
    connection: OnceLock<Weak<dyn End>>,
}

impl Revocation {
    /// The revocation of the call under way on this worker; none where its caller has shown nothing that can be taken back. It is
    /// asked about for as long as anybody holds it.
    pub fn of(call: &Call) -> Option<Arc<Self>> {
        let (admitted_by, certificate) = (&call.caller.admitted_by, &call.peer.certificate);
        let is_tied = !admitted_by.are_none() || certificate.is_some();
        is_tied.then(|| Self::since(clock::tick(), admitted_by.clone(), certificate.clone()))
    }

    fn since(since: u32, admitted_by: AdmittedBy, certificate: Option<Arc<ClientCertificate>>) -> Arc<Self> {
        TIED.with_borrow_mut(|tied| {
            let place = tied.vacant_entry();
            let revocation = Arc::new(Self {
                admitted_by,
                certificate,
                since,
                place: place.key(),
                state: AtomicU8::new(STANDS),
                wakers: Default::default(),
                connection: OnceLock::new(),
            });
            place.insert(Arc::downgrade(&revocation));
            revocation
        })
    }

    fn is_without_certificate(&self) -> bool {
        self.certificate.as_ref().is_some_and(|certificate| certificate.has_ended())
    }

    /// Whether it was taken back.
    #[inline]
    pub fn is_revoked(&self) -> bool {
        self.state.load(Relaxed) != STANDS
    }

    /// The same, for whoever is to be woken when it is.
    #[inline]
    pub fn is_revoked_for(&self, side: Side, context: &Context<'_>) -> bool {
        self.wakers[side as usize].register(context.waker());
        self.is_revoked()
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

impl Drop for Revocation {
    fn drop(&mut self) {
        let revocation = TIED.try_with(|tied| {
            let mut tied = tied.borrow_mut();
            let is_own = tied.get(self.place).is_some_and(|revocation| ptr::eq(revocation.as_ptr(), self));
            is_own.then(|| tied.remove(self.place))
        });
        drop(revocation);
    }
}

/// Whether so much time has passed since this tick that a call is asked about.
fn has_lasted(since: u32) -> bool {
    u128::from(clock::tick().wrapping_sub(since)) >= WHILE.as_millis()
}

/// A body that breaks off when the call is revoked.
pub fn revocable(body: Body, revocation: Arc<Revocation>) -> Body {
    body.map_polls(move |context, polled| {
        let is_revoked = if polled.is_pending() {
            revocation.is_revoked_for(Side::Answer, context)
        } else {
            revocation.is_revoked()
        };
        // What has come whole is not broken off.
        if is_revoked && !matches!(polled, Poll::Ready(None)) {
            return Poll::Ready(Some(Err(BodyError::Revoked)));
        }
        polled
    })
}

/// A call that waits for its answer. It is tied when it has waited for a while; whoever waits for the head of
/// an answer has it looked at then.
///
/// None of it where its caller has shown nothing that can be taken back.
pub struct Waiting(Option<AdmittedWith>);

/// What the caller of a waiting call was let in by.
struct AdmittedWith {
    admitted_by: AdmittedBy,
    certificate: Option<Arc<ClientCertificate>>,
    since: u32,
    revocation: Option<Arc<Revocation>>,
}

impl Waiting {
    /// Takes what the caller was let in by, until it ends.
    #[inline]
    pub fn begin(call: &mut Call) -> Self {
        let (admitted_by, certificate) = (&mut call.caller.admitted_by, &call.peer.certificate);
        let is_tied = !admitted_by.are_none() || certificate.is_some();
        let shown = || AdmittedWith {
            admitted_by: mem::take(admitted_by),
            certificate: certificate.clone(),
            since: clock::tick(),
            revocation: None,
        };
        Self(is_tied.then(shown))
    }

    /// Whether the caller is not to get an answer any more.
    #[inline]
    pub fn is_revoked(&mut self, context: &Context<'_>) -> bool {
        let Some(AdmittedWith { admitted_by, certificate, since, revocation }) = &mut self.0 else { return false };
        if revocation.is_none() && !has_lasted(*since) {
            return false;
        }
        let revocation =
            revocation.get_or_insert_with(|| Revocation::since(*since, admitted_by.clone(), certificate.clone()));
        revocation.is_revoked_for(Side::Answer, context)
    }

    /// Gives it back.
    #[inline]
    pub fn end(self, call: &mut Call) {
        if let Some(shown) = self.0 {
            call.caller.admitted_by = shown.admitted_by;
        }
    }
}

/// Does `first`, where there is something to do, and then asks for the tied calls of this worker that have lasted a while
/// whether their callers still stand, and cuts those that do not. Nothing is done while the last round is under way.
pub fn ask(welcome: &Arc<dyn Welcome>, first: Option<impl Future<Output = ()> + Send + 'static>) {
    let tied: Vec<Arc<Revocation>> =
        TIED.with_borrow(|tied| tied.iter().filter_map(|(_, revocation)| revocation.upgrade()).collect());
    if tied.is_empty() && first.is_none() || ASKING.replace(true) {
        return;
    }
    let (welcome, asking) = (Arc::clone(welcome), Asking);
    tokio::spawn(async move {
        if let Some(first) = first {
            first.await;
        }
        let (overdue, tied): (Vec<_>, Vec<_>) = tied.into_iter().partition(|revocation| revocation.is_revoked());
        overdue.iter().for_each(|revocation| revocation.insist());
        tied.iter().filter(|revocation| revocation.is_without_certificate()).for_each(|revocation| revocation.cut());
        let mut alike: HashMap<&AdmittedBy, Vec<&Revocation>> = HashMap::new();
        for revocation in
            tied.iter().filter(|revocation| !revocation.admitted_by.are_none() && has_lasted(revocation.since))
        {
            alike.entry(&revocation.admitted_by).or_default().push(revocation);
        }
        let alike: Vec<_> = alike.into_iter().collect();
        for some in alike.chunks(AT_ONCE) {
            join_all(some.iter().map(async |(admitted_by, tied)| {
                // What cannot be told in time counts as standing.
                if let Ok(false) = tokio::time::timeout(PATIENCE, welcome.stands(admitted_by)).await {
                    tied.iter().for_each(|revocation| revocation.cut());
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
    struct Asked(Mutex<Vec<AdmittedBy>>);

    #[async_trait]
    impl Welcome for Asked {
        async fn stands(&self, admitted_by: &AdmittedBy) -> bool {
            self.0.lock().expect("not poisoned").push(admitted_by.clone());
            admitted_by.session != Some(SessionId([1; 16]))
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

    fn of(session: u8) -> Arc<Revocation> {
        Revocation::since(
            clock::tick(),
            AdmittedBy { session: Some(SessionId([session; 16])), ..AdmittedBy::default() },
            None,
        )
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
        assert!(gone.iter().all(|revocation| revocation.is_revoked()) && !other.is_revoked() && !young.is_revoked());
        let context = Context::from_waker(std::task::Waker::noop());
        assert!(gone[0].poll_overdue(&context).is_pending());
        assert!(!connection.0.load(Relaxed));
        round(&welcome).await;
        assert_eq!(questions(), 3, "what was cut is not asked about again");
        assert!(gone.iter().all(|revocation| revocation.poll_overdue(&context).is_ready()));
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
        assert_eq!(tied.iter().filter(|revocation| revocation.is_revoked()).count(), 1);
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
