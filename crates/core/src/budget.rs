//! Byte budgets: how much memory may be held for one purpose, whoever holds it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use crate::network;

/// The part of a budget that may be taken for one network, where a budget is parted by them: one in so many.
const NETWORKS: usize = 4;

/// Bytes that may be held at once for one purpose, on all of a node.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    taken: AtomicUsize,
    /// What is taken for each network now; none is here that has nothing.
    networks: Mutex<HashMap<IpAddr, usize>>,
}

impl Budget {
    /// A budget of so many bytes.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, taken: AtomicUsize::new(0), networks: Mutex::default() })
    }

    /// Bytes that are taken now.
    pub fn taken(&self) -> usize {
        self.taken.load(Relaxed)
    }

    /// Whether half of it is taken, so that there may be too little soon.
    pub fn is_half_taken(&self) -> bool {
        self.taken() >= self.limit / 2
    }

    /// Takes bytes for a network; `false` if it has a quarter of all already.
    fn take_for(&self, network: IpAddr, bytes: usize) -> bool {
        let mut networks = self.networks.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = networks.entry(network);
        let taken = if let Entry::Occupied(entry) = &entry { *entry.get() } else { 0 };
        let fits = taken.saturating_add(bytes) <= self.limit / NETWORKS;
        if fits {
            *entry.or_default() += bytes;
        }
        fits
    }

    fn give_back_for(&self, network: IpAddr, bytes: usize) {
        let mut networks = self.networks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut entry) = networks.entry(network) {
            *entry.get_mut() = entry.get().saturating_sub(bytes);
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

/// The part of a budget that one holder has taken; given back when it is dropped.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    network: Option<IpAddr>,
    bytes: usize,
}

impl Share {
    /// Nothing taken yet.
    pub fn of(budget: &Arc<Budget>) -> Self {
        Self { budget: Arc::clone(budget), network: None, bytes: 0 }
    }

    /// Nothing taken yet, on behalf of whoever calls from an address: the network of one address may have a quarter of the
    /// budget, so that nobody takes all of it.
    pub fn of_caller(budget: &Arc<Budget>, address: IpAddr) -> Self {
        Self { budget: Arc::clone(budget), network: Some(network::of(address)), bytes: 0 }
    }

    /// Takes more; `false` if there is not so much left, and then nothing is taken.
    #[must_use]
    pub fn take(&mut self, bytes: usize) -> bool {
        if self.network.is_some_and(|network| !self.budget.take_for(network, bytes)) {
            return false;
        }
        let before = self.budget.taken.fetch_add(bytes, Relaxed);
        if before.saturating_add(bytes) > self.budget.limit {
            self.budget.taken.fetch_sub(bytes, Relaxed);
            if let Some(network) = self.network {
                self.budget.give_back_for(network, bytes);
            }
            return false;
        }
        self.bytes += bytes;
        true
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.taken.fetch_sub(self.bytes, Relaxed);
        if let Some(network) = self.network {
            self.budget.give_back_for(network, self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_given_back() {
        let budget = Budget::new(10);
        let (mut one, mut other) = (Share::of(&budget), Share::of(&budget));
        assert!(one.take(6) && other.take(4) && !other.take(1));
        assert_eq!(budget.taken(), 10);
        drop(one);
        assert!(other.take(6) && !other.take(1));
        drop(other);
        assert_eq!(budget.taken(), 0);
    }

    #[test]
    fn one_network_takes_a_quarter_at_most() {
        let budget = Budget::new(100);
        let share = |address: &str| Share::of_caller(&budget, address.parse().expect("an address"));
        let (mut one, mut again, mut other) = (share("2001:db8::1"), share("2001:db8::2"), share("192.0.2.1"));
        assert!(one.take(20) && !again.take(6) && again.take(5));
        assert!(other.take(25) && !other.take(1));
        drop((one, again));
        assert!(share("2001:db8::3").take(25));
        assert_eq!(budget.taken(), 25);
        drop(other);
        assert_eq!((budget.taken(), budget.networks.lock().expect("not poisoned").len()), (0, 0));
        // What the whole budget has no room for is not counted for the network either.
        let mut rest = Share::of(&budget);
        assert!(rest.take(90));
        let mut one = share("192.0.2.1");
        assert!(!one.take(11) && one.take(10));
    }
}
