//! One target as a member of its service's cluster: how it is reached, its share of the calls, and what is known of it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::peer::Peer;

/// A target of a service. Made anew whenever it is declared; its state is not.
#[derive(Debug)]
pub struct Member {
    /// How it is reached.
    pub peer: Peer,
    /// Its share of the calls.
    pub weight: u16,
    /// What is known of it.
    pub state: Arc<MemberState>,
}

/// What the state of a member is about, inside of its service: an authority that proves who it is in one way. Two base paths
/// of one server share it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MemberId {
    authority: Arc<str>,
    /// Which TLS identity; none is in clear.
    identity: Option<u64>,
}

impl MemberId {
    /// That of a target.
    pub fn of(peer: &Peer) -> Self {
        let identity = peer.tls.as_ref().map(|tls| tls.identity.id());
        Self { authority: Arc::clone(peer.url.authority()), identity }
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.authority)
    }
}

/// What is known of a member, on all workers and by all routes to its service, for as long as the service has it.
#[derive(Debug, Default)]
pub struct MemberState {
    /// Attempts in a row that failed by its fault.
    failures: AtomicU32,
}

impl MemberState {
    /// How many attempts in a row have failed by its fault.
    pub fn failures(&self) -> u32 {
        self.failures.load(Relaxed)
    }

    /// An attempt has failed by its fault. How many in a row that makes.
    pub fn has_failed(&self) -> u32 {
        // As many as there may ever be in a row: it does not start from the beginning again.
        let more = |failures: u32| Some(failures.saturating_add(1));
        let (Ok(before) | Err(before)) = self.failures.fetch_update(Relaxed, Relaxed, more);
        before.saturating_add(1)
    }

    /// It has answered. How many attempts in a row had failed before. Where none had, nothing is written: calls that go well
    /// do not contend.
    pub fn has_answered(&self) -> u32 {
        if self.failures() == 0 { 0 } else { self.failures.swap(0, Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_count_in_a_row() {
        let state = MemberState::default();
        assert_eq!((state.has_failed(), state.has_failed(), state.failures()), (1, 2, 2));
        assert_eq!((state.has_answered(), state.has_answered(), state.failures()), (2, 0, 0));
        let state = MemberState { failures: AtomicU32::new(u32::MAX) };
        assert_eq!((state.has_failed(), state.failures()), (u32::MAX, u32::MAX));
    }
}
