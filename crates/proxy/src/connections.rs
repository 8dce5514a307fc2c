//! The connections of one worker, which looks at all of them a few times a second.

use std::cell::RefCell;
use std::sync::Arc;

use portcullis_wire::clock;
use slab::Slab;

use crate::connection::ConnectionState;

thread_local! {
    /// The watches on them.
    static CONNECTIONS: RefCell<Slab<Arc<ConnectionState>>> = const { RefCell::new(Slab::new()) };
}

/// A watch that this worker looks at, from now until the place is dropped.
pub fn register() -> (Arc<ConnectionState>, RegisterEntry) {
    let watch = ConnectionState::new(clock::tick());
    let place = RegisterEntry::take(&watch);
    (watch, place)
}

/// A place among them; given back when it is dropped.
pub struct RegisterEntry(usize);

impl RegisterEntry {
    fn take(watch: &Arc<ConnectionState>) -> Self {
        Self(CONNECTIONS.with_borrow_mut(|connections| connections.insert(Arc::clone(watch))))
    }
}

impl Drop for RegisterEntry {
    fn drop(&mut self) {
        let watch = CONNECTIONS.with_borrow_mut(|connections| connections.remove(self.0));
        // Outside of the borrow.
        drop(watch);
    }
}

/// Looks at each of them.
pub(crate) fn for_each(look: impl Fn(&ConnectionState)) {
    // Waking is all that is done, so nobody borrows the list a second time meanwhile.
    CONNECTIONS.with_borrow(|connections| connections.iter().for_each(|(_, watch)| look(watch)));
}

/// Whether there is none.
pub(crate) fn are_none() -> bool {
    CONNECTIONS.with_borrow(Slab::is_empty)
}
