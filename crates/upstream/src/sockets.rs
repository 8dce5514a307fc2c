//! How many connections to services there may be in all, so that they leave file descriptors for everything else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// How many in this many are kept for callers that have no connection to the target yet.
const KEPT: usize = 8;

/// Those that may still be opened, by all workers.
#[derive(Debug)]
pub struct Sockets {
    left: AtomicUsize,
    kept: usize,
    /// How many more there may be for addresses that are tried beside others.
    beside: AtomicUsize,
}

/// One of them. Given back when it is dropped.
#[derive(Debug)]
pub struct Socket {
    of: Arc<Sockets>,
    is_beside: bool,
}

impl Sockets {
    /// So many at most.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            left: AtomicUsize::new(most),
            kept: most / KEPT,
            beside: AtomicUsize::new(most.div_ceil(KEPT)),
        })
    }

    /// One more, if there may be: the last ones only for the first connection of a caller to a target.
    pub fn take(self: &Arc<Self>, is_first: bool) -> Option<Socket> {
        let kept = if is_first { 0 } else { self.kept };
        let taken = self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1).filter(|left| *left >= kept));
        taken.is_ok().then(|| Socket { of: Arc::clone(self), is_beside: false })
    }

    /// One to try another address beside the first: of these there are fewer, so that names with many addresses that are silent
    /// do not take what calls need.
    pub fn take_beside(self: &Arc<Self>) -> Option<Socket> {
        self.beside.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).ok()?;
        let mut taken = self.take(false);
        match &mut taken {
            Some(socket) => socket.is_beside = true,
            None => _ = self.beside.fetch_add(1, Relaxed),
        }
        taken
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.of.left.fetch_add(1, Relaxed);
        if self.is_beside {
            self.of.beside.fetch_add(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_so_many_and_no_more() {
        let sockets = Sockets::new(2);
        let (one, other) = (sockets.take(false).expect("one"), sockets.take(false).expect("another"));
        assert!(sockets.take(true).is_none());
        drop(one);
        let again = sockets.take(false).expect("one came back");
        assert!(sockets.take(true).is_none());
        drop((other, again));
        assert_eq!(sockets.left.load(Relaxed), 2);
    }

    #[test]
    fn few_are_for_other_addresses_beside_the_first() {
        let sockets = Sockets::new(16);
        let beside: Vec<_> = std::iter::from_fn(|| sockets.take_beside()).collect();
        assert_eq!(beside.len(), 2);
        assert!(sockets.take(false).is_some());
        drop(beside);
        assert!(sockets.take_beside().is_some());
    }

    #[test]
    fn the_last_ones_are_for_callers_without_a_connection() {
        let sockets = Sockets::new(16);
        let taken: Vec<_> = std::iter::from_fn(|| sockets.take(false)).collect();
        assert_eq!(taken.len(), 14);
        let first: Vec<_> = std::iter::from_fn(|| sockets.take(true)).collect();
        assert_eq!(first.len(), 2);
    }
}
