//! What a caller is told before its answer: that it may send its body (RFC 9110 section 15.2.1).

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

/// What is still to be told on one call. Whoever asks for the body says it; whoever writes the answer tells the caller.
#[derive(Debug, Default)]
pub struct Interim {
    go_ahead: AtomicBool,
    waker: AtomicWaker,
}

impl Interim {
    /// The body is wanted.
    pub fn go_ahead(&self) {
        self.go_ahead.store(true, Relaxed);
        self.waker.wake();
    }

    /// Ready, once, when the caller is to be told to go ahead.
    pub fn poll_go_ahead(&self, context: &Context<'_>) -> Poll<()> {
        self.waker.register(context.waker());
        if self.go_ahead.swap(false, Relaxed) { Poll::Ready(()) } else { Poll::Pending }
    }
}
