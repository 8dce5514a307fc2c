//! By what other workers know a pool: they ask it for idle connections, and keep these for calls that they wake.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::AcqRel, Ordering::Relaxed};

use tokio::sync::mpsc;

use crate::pool_key::PoolKey;

/// The pool of one worker for connections of one kind to the target.
#[derive(Debug)]
pub struct PoolMark {
    /// Which connections.
    pub key: Arc<PoolKey>,
    /// Whether it has been asked to give idle ones up, and has not looked yet.
    is_asked: AtomicBool,
    /// Idle connections that are kept for calls which have been woken.
    promised: AtomicUsize,
    worker: mpsc::UnboundedSender<Arc<Self>>,
}

impl PoolMark {
    /// Of the worker that takes such demands.
    pub fn new(key: Arc<PoolKey>, worker: mpsc::UnboundedSender<Arc<Self>>) -> Arc<Self> {
        Arc::new(Self { key, is_asked: AtomicBool::new(false), promised: AtomicUsize::new(0), worker })
    }

    /// Asks its worker to give up idle connections. As long as it has not looked, it is asked once.
    pub(crate) fn ask(self: &Arc<Self>) {
        if !self.is_asked.swap(true, AcqRel) {
            // A worker that is gone has no connections.
            let _ = self.worker.send(Arc::clone(self));
        }
    }

    /// How many idle connections are kept for calls that have been woken.
    pub fn promised(&self) -> usize {
        self.promised.load(Relaxed)
    }

    /// One more is kept.
    pub(crate) fn promise(&self) {
        self.promised.fetch_add(1, Relaxed);
    }

    /// One is not kept any more: the call has come, or never will.
    pub(crate) fn redeem(&self) {
        self.promised.fetch_sub(1, Relaxed);
    }

    /// The worker looks now.
    pub fn looks(&self) {
        self.is_asked.swap(false, AcqRel);
    }
}

/// Where a call waits, and for what.
#[derive(Debug, Clone)]
pub struct WaitingPlace {
    /// The pool of its worker that it would take a connection from.
    pub pool: Arc<PoolMark>,
    /// Whether it wants a permit for a new connection, and none that stands.
    pub wants_new: bool,
    /// Whether the pool has no connection yet, and one would carry many calls: a worker that had none could not take part in
    /// those of others.
    pub lacks_shared: bool,
}
