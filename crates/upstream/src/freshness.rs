//! In which order the connections of a worker are opened, and whether a call needs a fresh one.

use std::cell::Cell;

thread_local! {
    /// What the next connection in HTTP/2 is numbered.
    static NEXT: Cell<u64> = const { Cell::new(1) };
}

/// Which connections will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Any.
    Any,
    /// One that was opened after [`now`] gave this.
    OpenedSince(u64),
}

/// A mark in the order in which connections are opened.
pub fn now() -> Freshness {
    Freshness::OpenedSince(NEXT.get())
}

/// The number of a new connection in HTTP/2.
pub fn number() -> u64 {
    let number = NEXT.get();
    NEXT.set(number + 1);
    number
}
