//! A connection to a target over which HTTP/1.1 is spoken, and whether it is at rest.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use hyper::client::conn::http1::SendRequest;
use portcullis_core::body::Body;

use crate::bell::Held;
use crate::capacity::Holder;
use crate::counting_io::Counts;
use crate::pool_key::PoolKey;

/// How long a target may take nothing of what is on its way to it on a connection that nobody has any more.
pub(crate) const LAST_WORDS: Duration = Duration::from_millis(500);

/// A connection to a target over which HTTP/1.1 is spoken, and what has passed over it.
pub struct Connection {
    /// Where it is kept between calls.
    pub key: Arc<PoolKey>,
    /// Whose calls it carries.
    pub holder: Arc<Holder>,
    /// Sends requests over it.
    pub sender: SendRequest<Body>,
    /// What has passed over it.
    pub noted: Arc<Counts>,
    /// Keeps the connection counted as open, also when it goes on in another protocol, and wakes whoever drives it.
    pub held: Held,
    /// With which certificate of the gateway it was opened, or the one before.
    pub generation: u64,
}

impl Connection {
    /// Whether it has nothing to do but to wait for the next request: all of the last answer has come, and all of the last
    /// request has left.
    pub fn is_at_rest(&self) -> bool {
        self.sender.is_ready() && !self.noted.is_unflushed.load(Relaxed)
    }

    /// Waits until that is so, for no longer than a moment. Whether it is.
    pub async fn comes_to_rest(&mut self) -> bool {
        let ready = tokio::time::timeout(LAST_WORDS, self.sender.ready()).await;
        matches!(ready, Ok(Ok(()))) && self.is_at_rest()
    }
}
