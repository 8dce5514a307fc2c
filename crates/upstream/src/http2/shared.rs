//! A connection in HTTP/2 as the calls share it that are sent over it.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::client::SendRequest;

use crate::counting_io::Counts;

/// Calls at once on one connection, where the target does not want fewer.
pub const STREAMS: usize = 100;
/// Calls on one connection that are broken off before their end. After so many it gets no more of them, so that what is
/// still sent on their streams is always known to be late: too much of what is not known ends a connection.
pub const BROKEN_OFF: usize = 1_000;
/// A connection that calls share.
#[derive(Clone)]
pub struct Shared {
    /// Opens streams. A clone of it is used for each.
    pub(super) sender: SendRequest<Bytes>,
    /// What has passed over it.
    pub(super) noted: Arc<Counts>,
    /// Greater than that of every connection that was opened before on this worker.
    pub number: u64,
}

impl Shared {
    /// One that requests are sent over by this.
    pub(super) fn new(sender: SendRequest<Bytes>, noted: Arc<Counts>, number: u64) -> Self {
        Self { sender, noted, number }
    }

    /// Whether it takes new calls. One that the target has said good-bye on does not, though it goes on.
    pub fn is_open(&mut self) -> bool {
        // Whether a stream that was not opened yet holds it up does not matter: this handle has opened none.
        !matches!(self.sender.poll_ready(&mut Context::from_waker(Waker::noop())), Poll::Ready(Err(_)))
    }

    /// How many calls it takes at once.
    pub fn most_streams(&self) -> usize {
        self.sender.current_max_send_streams().min(STREAMS)
    }
}
