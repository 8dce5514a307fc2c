//! Calls that go on for long end when what their caller was let in by is taken back: an event stream, a WebSocket.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use portcullis_core::body::{Body, BodyError};
use portcullis_core::call::{Call, ClientCertificate, Ties};

use crate::node::Node;
use crate::tls::certified;

/// How long one answer is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

thread_local! {
    /// Those of this worker.
    static TIED: RefCell<Vec<Weak<Tie>>> = RefCell::default();
    static ASKING: Cell<bool> = const { Cell::new(false) };
}

/// What one answer without a length is tied to.
#[derive(Debug)]
pub struct Tie {
    ties: Ties,
    certificate: Option<Arc<ClientCertificate>>,
    is_cut: AtomicBool,
    waker: AtomicWaker,
}

impl Tie {
    /// A tie of the call under way on this worker; none where its caller has shown nothing that can be taken back.
    pub fn of(call: &Call) -> Option<Arc<Self>> {
        let (ties, certificate) = (call.caller.ties.clone(), call.peer.certificate.clone());
        let is_tied = !ties.are_none() || certificate.is_some();
        is_tied.then(|| Arc::new(Self { ties, certificate, is_cut: AtomicBool::new(false), waker: AtomicWaker::new() }))
    }

    fn is_without_certificate(&self) -> bool {
        self.certificate.as_ref().is_some_and(|certificate| certificate.has_ended())
    }

    /// Whether it was taken back.
    pub fn is_cut(&self) -> bool {
        self.is_cut.load(Relaxed)
    }

    /// The same, for whoever is to be woken when it is.
    pub fn is_cut_for(&self, context: &Context<'_>) -> bool {
        self.waker.register(context.waker());
        self.is_cut()
    }

    /// Has it asked about from now on, for as long as anybody holds it.
    pub fn watch(self: &Arc<Self>) {
        TIED.with_borrow_mut(|tied| tied.push(Arc::downgrade(self)));
    }

    fn cut(&self) {
        self.is_cut.store(true, Relaxed);
        self.waker.wake();
    }
}

/// A body that breaks off when its tie is cut, from now on.
pub fn tied(body: Body, tie: Arc<Tie>) -> Body {
    tie.watch();
    body.map_polls(move |context, polled| {
        if tie.is_cut_for(context) {
            return Poll::Ready(Some(Err(BodyError::Broken("its caller was sent away".into()))));
        }
        polled
    })
}

/// Asks for every tied call of this worker whether its caller still stands, and cuts those that do not. Connections whose
/// client certificate is not good any more take no further call.
pub fn ask(node: &Arc<Node>) {
    let tied: Vec<Arc<Tie>> = TIED.with_borrow_mut(|tied| {
        tied.retain(|tie| tie.strong_count() > 0);
        tied.iter().filter_map(Weak::upgrade).collect()
    });
    let now = i64::try_from(node.clock.unix_millis() / 1_000).unwrap_or(i64::MAX);
    let certified = node.tls.as_ref().map_or(Vec::new(), |tls| certified::due(tls, now));
    if tied.is_empty() && certified.is_empty() || ASKING.replace(true) {
        return;
    }
    let (node, asking) = (Arc::clone(node), Asking);
    tokio::spawn(async move {
        let mut ended = Vec::new();
        for (certified, watch) in certified {
            if node.tls.as_ref().is_some_and(|tls| !tls.admits(&certified, now)) {
                ended.push(watch);
            }
            // Signatures are verified: calls are served in between.
            tokio::task::yield_now().await;
        }
        tied.iter().filter(|tie| tie.is_without_certificate()).for_each(|tie| tie.cut());
        ended.iter().for_each(|watch| watch.drain());
        for tie in tied.iter().filter(|tie| !tie.ties.are_none()) {
            // What cannot be told in time counts as standing.
            if let Ok(false) = tokio::time::timeout(PATIENCE, node.welcome.stands(&tie.ties)).await {
                tie.cut();
            }
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
