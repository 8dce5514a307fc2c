//! How many connections to services there may be in all, so that they leave file descriptors for everything else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Those that may still be opened, by all workers.
#[derive(Debug)]
pub struct Sockets(AtomicUsize);

/// One of them. Given back when it is dropped.
#[derive(Debug)]
pub struct Socket(Arc<Sockets>);

impl Sockets {
    /// So many at most.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self(AtomicUsize::new(most)))
    }

    /// One more, if there may be.
    pub fn take(self: &Arc<Self>) -> Option<Socket> {
        let taken = self.0.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
        taken.is_ok().then(|| Socket(Arc::clone(self)))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_so_many_and_no_more() {
        let sockets = Sockets::new(2);
        let (one, other) = (sockets.take().expect("one"), sockets.take().expect("another"));
        assert!(sockets.take().is_none());
        drop(one);
        let again = sockets.take().expect("one came back");
        assert!(sockets.take().is_none());
        drop((other, again));
        assert_eq!(sockets.0.load(Relaxed), 2);
    }
}
