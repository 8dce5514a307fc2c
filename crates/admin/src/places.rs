//! Which connections of the control plane are kept when there are too many.
//!
//! Whoever can reach the address can open connections and say nothing on them, or never finish what they began to say;
//! on loopback every operator has the same address as they. So no connection waits for another to end: of those on
//! which no request is under way the oldest makes room for the newest, first among those of the same network.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portcullis_core::network;
use tokio::sync::oneshot;

/// Connections at a time, where the process may have enough file descriptors.
const MOST: usize = 512;

/// The connections there are.
pub(crate) struct Places {
    most: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    /// By what they are numbered.
    places: BTreeMap<u64, Held>,
    next: u64,
    /// Counts how often any of them has begun to wait.
    waits: u64,
}

struct Held {
    network: IpAddr,
    /// Since when it waits for a request, in the order of waits; none while one is under way.
    waiting_since: Option<u64>,
    /// Dropped when the place is given to somebody else.
    _keeps: oneshot::Sender<()>,
}

impl Places {
    /// Room for so many connections, or for [`MOST`].
    pub(crate) fn at_most(connections: usize) -> Arc<Self> {
        Arc::new(Self { most: connections.clamp(1, MOST), taken: Mutex::default() })
    }

    /// Connections of one network on which no request is under way.
    fn of_one_network(&self) -> usize {
        (self.most / 4 * 3).max(1)
    }

    /// A place for a connection from this address, and what tells it that it is to make room. None if requests are under
    /// way on all others.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Option<(ConnectionPlace, oneshot::Receiver<()>)> {
        let network = network::of(address);
        let mut taken = self.taken();
        if taken.waiting_of(network) >= self.of_one_network() {
            taken.free_one_of(network);
        } else if taken.places.len() >= self.most {
            let crowded = taken.most_crowded()?;
            taken.free_one_of(crowded);
        }
        let (keeps, gone) = oneshot::channel();
        let (number, wait) = (taken.next, taken.waits);
        taken.next += 1;
        taken.waits += 1;
        taken.places.insert(number, Held { network, waiting_since: Some(wait), _keeps: keeps });
        Some((ConnectionPlace { places: Arc::clone(self), number }, gone))
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn waiting_of(&self, network: IpAddr) -> usize {
        self.places.values().filter(|held| held.network == network && held.waiting_since.is_some()).count()
    }

    /// The network with the most connections that wait, if any do.
    fn most_crowded(&self) -> Option<IpAddr> {
        let mut crowds = BTreeMap::<IpAddr, usize>::new();
        for held in self.places.values().filter(|held| held.waiting_since.is_some()) {
            *crowds.entry(held.network).or_default() += 1;
        }
        crowds.into_iter().max_by_key(|(_, number)| *number).map(|(network, _)| network)
    }

    /// Gives up the place of the connection that has waited longest of all from this network.
    fn free_one_of(&mut self, network: IpAddr) {
        let waiting = self.places.iter().filter(|(_, held)| held.network == network);
        let oldest = waiting.filter_map(|(number, held)| Some((held.waiting_since?, *number))).min();
        if let Some((_, number)) = oldest {
            self.places.remove(&number);
        }
    }
}

/// A connection's place. It is free again when this is dropped.
pub(crate) struct ConnectionPlace {
    places: Arc<Places>,
    number: u64,
}

impl ConnectionPlace {
    /// A request is under way until what is returned is dropped. None if the place has been given to somebody else.
    pub(crate) fn begin(self: &Arc<Self>) -> Option<RequestGuard> {
        let mut taken = self.places.taken();
        taken.places.get_mut(&self.number)?.waiting_since = None;
        Some(RequestGuard(Arc::clone(self)))
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        self.places.taken().places.remove(&self.number);
    }
}

/// A request under way on a connection.
pub(crate) struct RequestGuard(Arc<ConnectionPlace>);

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let mut taken = self.0.places.taken();
        let wait = taken.waits;
        taken.waits += 1;
        if let Some(held) = taken.places.get_mut(&self.0.number) {
            held.waiting_since = Some(wait);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Kept = (Arc<ConnectionPlace>, oneshot::Receiver<()>);

    fn take(places: &Arc<Places>, address: &str) -> Option<Kept> {
        places.take(address.parse().expect("an address")).map(|(place, gone)| (Arc::new(place), gone))
    }

    fn is_gone((_, gone): &mut Kept) -> bool {
        gone.try_recv() == Err(oneshot::error::TryRecvError::Closed)
    }

    #[test]
    fn the_oldest_that_says_nothing_makes_room_among_its_own() {
        let places = Places::at_most(MOST);
        let mut other = take(&places, "192.0.2.1").expect("room");
        let mut crowd: Vec<_> = (0..3_000)
            .map(|host| take(&places, &format!("2001:db8::{host:x}")).expect("the oldest has made room"))
            .collect();
        let gone = crowd.iter_mut().map(is_gone).collect::<Vec<_>>();
        assert_eq!(gone.iter().filter(|gone| !**gone).count(), places.of_one_network());
        assert!(gone.is_sorted_by_key(|gone| !gone), "the oldest");
        assert!(!is_gone(&mut other), "one of another network");
    }

    #[test]
    fn a_request_under_way_is_left_alone_and_one_that_has_ended_counts_as_new() {
        let places = Places::at_most(MOST);
        let mut first = take(&places, "127.0.0.1").expect("room");
        let under_way = first.0.begin().expect("its place");
        let mut second = take(&places, "127.0.0.1").expect("room");
        let _crowd: Vec<_> = (0..places.of_one_network()).map(|_| take(&places, "::ffff:127.0.0.1")).collect();
        assert!(is_gone(&mut second) && !is_gone(&mut first));
        assert!(second.0.begin().is_none(), "it has no place any more");
        drop(under_way);
        let third = take(&places, "127.0.0.1");
        assert!(third.is_some() && !is_gone(&mut first), "it waits since just now");
    }

    #[test]
    fn of_all_together_the_most_crowded_network_makes_room() {
        let places = Places::at_most(MOST);
        let mut few: Vec<_> = (0..100).map(|_| take(&places, "192.0.2.1").expect("room")).collect();
        let mut many: Vec<_> =
            (0..MOST - 100).map(|at| take(&places, "192.0.2.2").unwrap_or_else(|| panic!("{at}"))).collect();
        let mut strangers: Vec<_> =
            (0..200).map(|host| take(&places, &format!("198.51.100.{host}")).expect("room")).collect();
        assert!(!few.iter_mut().any(is_gone) && !strangers.iter_mut().any(is_gone));
        assert_eq!(many.iter_mut().filter_map(|kept| is_gone(kept).then_some(())).count(), 200);
        let busy: Vec<_> = few.iter().chain(&many).chain(&strangers).filter_map(|(place, _)| place.begin()).collect();
        assert_eq!(busy.len(), MOST);
        assert!(take(&places, "203.0.113.1").is_none(), "requests are under way on all");
        drop((busy, few, many, strangers));
        assert!(places.taken().places.is_empty());
    }
}
