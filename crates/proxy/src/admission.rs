//! Connection limits: how many connections callers may have open in all, and from each address. Shared by the workers.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use portcullis_core::network;

use crate::node::Node;

/// Who is let in: connections in all and of each peer. Shared by the workers, touched once a connection.
#[derive(Default)]
pub struct Admission {
    open: AtomicUsize,
    peers: Mutex<std::collections::HashMap<IpAddr, usize>>,
}

/// A connection that was let in.
pub(crate) struct Admitted {
    admission: Arc<Admission>,
    peer: IpAddr,
    node: Arc<Node>,
}

impl Admission {
    /// Connections open on all workers.
    pub fn open(&self) -> usize {
        self.open.load(Relaxed)
    }

    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr, node: &Arc<Node>) -> Option<Admitted> {
        // A trusted proxy brings the connections of many; those of its neighbours are not its own.
        let peer = if node.trusts(address) { address.to_canonical() } else { network::of(address) };
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let of_peer = peers.entry(peer).or_insert(0);
        if *of_peer >= node.limits.connections_per_peer && !node.trusts(address) {
            node.counters.connections_refused_peer.add_one();
            return None;
        }
        *of_peer += 1;
        drop(peers);
        self.open.fetch_add(1, Relaxed);
        node.counters.connections_accepted.add_one();
        node.counters.connections_open.up();
        Some(Admitted { admission: Arc::clone(self), peer, node: Arc::clone(node) })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut peers = self.admission.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_peer) = peers.get_mut(&self.peer) {
            *of_peer -= 1;
            if *of_peer == 0 {
                peers.remove(&self.peer);
            }
        }
        drop(peers);
        self.admission.open.fetch_sub(1, Relaxed);
        self.node.counters.connections_open.down();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::node::testing;

    /// Connections of which as many as may be are let in, one after the other.
    fn admitted(node: &Arc<Node>, peers: &[&str]) -> usize {
        let admission = Arc::<Admission>::default();
        let admit = |peer: &&str| admission.admit(peer.parse().expect("an address"), node);
        peers.iter().filter_map(admit).collect::<Vec<_>>().len()
    }

    #[test]
    fn connections_are_counted_by_whom_an_address_stands_for() {
        let limits = Limits { connections_per_peer: 2, ..Limits::default() };
        let trusted_proxies = vec!["2001:db8:9::7/128".parse().expect("a network")];
        let node = Arc::new(Node { limits, trusted_proxies, ..testing::node() });
        for (let_in, peers) in [
            (2, &["192.0.2.7", "192.0.2.7", "192.0.2.7"][..]),
            (2, &["192.0.2.7", "::ffff:192.0.2.7", "::ffff:192.0.2.7"]),
            (3, &["192.0.2.7", "192.0.2.7", "192.0.2.8"]),
            (2, &["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:0:ffff::1"]),
            (3, &["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "2001:db8::4"]),
            // A proxy that is trusted brings the connections of many, and takes none of its neighbours'.
            (
                5,
                &["2001:db8:9::7", "2001:db8:9::7", "2001:db8:9::7", "2001:db8:9::1", "2001:db8:9::2", "2001:db8:9::3"],
            ),
        ] {
            assert_eq!(admitted(&node, peers), let_in, "{peers:?}");
        }
    }

    #[test]
    fn a_place_is_given_back_to_whom_it_was_taken_from() {
        let limits = Limits { connections_per_peer: 1, ..Limits::default() };
        let node = Arc::new(Node { limits, ..testing::node() });
        let admission = Arc::<Admission>::default();
        let admit = |peer: &str| admission.admit(peer.parse().expect("an address"), &node);
        let first = admit("2001:db8::1").expect("let in");
        assert!(admit("2001:db8::2").is_none());
        drop(first);
        assert!(admit("2001:db8::2").is_some());
        assert!(admission.peers.lock().expect("no panic").is_empty() && admission.open() == 0);
    }
}
