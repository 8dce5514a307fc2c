//! How many connections to one target this node has, on all workers, and who is next where all are in use: a fair queue.
//!
//! Each connection has a [`Permit`]. Where there is none left, calls wait, and callers take turns: each time one comes free,
//! the next caller gets it, however many calls it has waiting. A caller may have all permits as long as nobody else wants one.
//! So that whoever comes then does not depend on when calls of others end, a few are kept beyond the bound, for callers that
//! have no connection at all ([ADR 26](../../../docs/adr/0026-callers-share-the-connections-of-a-target.md)).
//!
//! Connections are used by the worker that has opened them. One that comes free goes to a call on the same worker, as long
//! as nobody on another has waited for [`PATIENCE`]; then it is closed, and its permit goes there.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::AcqRel, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::caller_id::CallerId;
use crate::pool_mark::{PoolMark, WaitingPlace};

/// The most calls that wait for a connection to one target.
pub const QUEUE: usize = 1_024;

/// How long a call waits at most while connections that come free go to calls on their own workers.
const PATIENCE: Duration = Duration::from_millis(100);

/// How many permits in this many are kept for callers that have none, beyond the bound; at least one.
const KEPT: usize = 8;

/// The permits for one target.
pub struct Capacity {
    most: usize,
    /// Beyond these, for callers that have none.
    kept: usize,
    /// Calls that wait, as far as is known without the lock.
    waiting: AtomicUsize,
    /// Permits that are held, the same way.
    held: AtomicUsize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    held: Vec<Arc<Holder>>,
    /// Callers that have calls waiting, each once, the next one first.
    turns: VecDeque<CallerId>,
    waiting: HashMap<CallerId, VecDeque<Waiting>>,
    /// Where there may be idle connections.
    pools: Vec<Arc<PoolMark>>,
}

/// A call that waits.
struct Waiting {
    place: WaitingPlace,
    /// Whether its caller is known to have a part of a connection.
    has_one: bool,
    since: Instant,
    turn: oneshot::Sender<Turn>,
}

/// What a waiting call gets.
#[derive(Debug)]
pub enum Turn {
    /// The permit for a new connection.
    Permit(Permit),
    /// Something has come free in its pool, kept for it where that is an idle connection.
    Look(Promise),
}

/// What has come free in a pool, and is for one call: an idle connection, which is kept for it, or a place on one that calls
/// share. If the call never comes, the next gets it.
#[derive(Debug)]
pub struct Promise {
    of: Option<(Arc<Capacity>, Arc<PoolMark>)>,
    is_idle: bool,
}

impl Promise {
    fn new(capacity: &Arc<Capacity>, pool: &Arc<PoolMark>, is_idle: bool) -> Self {
        if is_idle {
            pool.promise();
        }
        Self { of: Some((Arc::clone(capacity), Arc::clone(pool))), is_idle }
    }

    /// Whether it is an idle connection.
    pub fn is_idle(&self) -> bool {
        self.is_idle
    }

    /// The call has come.
    pub fn keep(mut self) {
        self.end();
    }

    fn end(&mut self) -> Option<(Arc<Capacity>, Arc<PoolMark>)> {
        self.of.take().inspect(|(_, pool)| {
            if self.is_idle {
                pool.redeem();
            }
        })
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        let Some((capacity, pool)) = self.end() else { return };
        if !self.is_idle {
            capacity.have_room(&pool, 1);
        } else if !capacity.has_come_free(&pool) {
            // It is wanted elsewhere.
            pool.ask();
        }
    }
}

/// How asking for a permit has ended.
#[derive(Debug)]
pub enum Asked {
    /// Here it is.
    Permit(Permit),
    /// There is none now.
    Wait(oneshot::Receiver<Turn>),
    /// There is none, nor room in the queue.
    Full,
}

/// Who has the connection of a permit.
pub struct Holder {
    capacity: Arc<Capacity>,
    /// The caller whose call it carries; 0 is nobody's, or those of many at once.
    caller: AtomicU64,
    is_released: AtomicBool,
    /// Whether the caller it was given to had none before.
    is_first: bool,
    /// Whether it is one beyond the bound, for a caller that had none.
    is_extra: bool,
}

impl Holder {
    /// Whether it is one beyond the bound: its connection is for callers that have no other.
    pub fn is_extra(&self) -> bool {
        self.is_extra
    }

    /// Whether the caller it was given to had none before.
    pub fn is_first(&self) -> bool {
        self.is_first
    }

    /// The connection carries a call of this caller now, or none.
    pub fn set(&self, caller: Option<CallerId>) {
        self.caller.store(caller.map_or(0, CallerId::get), Relaxed);
    }

    /// Gives the permit back, also while the connection stands: it is counted elsewhere then.
    pub fn release(self: &Arc<Self>) {
        if !self.is_released.swap(true, AcqRel) {
            self.capacity.give_back(self);
        }
    }

    fn is_of(&self, caller: CallerId) -> bool {
        self.caller.load(Relaxed) == caller.get()
    }
}

/// The right to have one connection open. Given back when it is dropped.
pub struct Permit(Arc<Holder>);

impl Permit {
    /// Who has the connection.
    pub fn holder(&self) -> &Arc<Holder> {
        &self.0
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.release();
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}

impl fmt::Debug for Capacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { most, kept, held, waiting, .. } = self;
        let mut shown = f.debug_struct("Capacity");
        shown.field("most", most).field("kept", kept).field("held", held).field("waiting", waiting);
        shown.finish_non_exhaustive()
    }
}

impl Capacity {
    /// For so many, and a few more for callers that have none.
    pub fn new(most: usize) -> Arc<Self> {
        let kept = (most / KEPT).max(1);
        let (waiting, held) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self { most, kept, waiting, held, inner: Mutex::default() })
    }

    /// Whether calls wait, maybe on other workers.
    pub fn has_waiting(&self) -> bool {
        self.waiting.load(Relaxed) > 0
    }

    /// How many calls wait, as far as is known without a lock.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    /// Whether more are held than the bound, so that one that comes free is not kept.
    fn is_beyond(&self) -> bool {
        self.held.load(Relaxed) > self.most
    }

    /// Whether there is a permit for a caller now.
    pub fn has_room_for(&self, caller: CallerId) -> bool {
        self.room(&self.lock(), Wish::of(caller)).is_some()
    }

    /// A permit for a caller, if there is one for it without waiting.
    pub fn take(self: &Arc<Self>, caller: CallerId) -> Option<Permit> {
        self.permit(&mut self.lock(), Wish::of(caller))
    }

    /// A permit for a caller, or a turn in the queue. `has_one` is whether it is known to have a connection, or a part of
    /// one. Pools of other workers with idle connections are asked to give some up.
    pub fn ask(self: &Arc<Self>, caller: CallerId, has_one: bool, place: &WaitingPlace) -> Asked {
        let mut inner = self.lock();
        if let Some(permit) = self.permit(&mut inner, Wish { caller, has_one, lacks_shared: place.lacks_shared }) {
            return Asked::Permit(permit);
        }
        let Some(wait) = self.queue(&mut inner, caller, has_one, place.clone()) else { return Asked::Full };
        for pool in inner.pools.iter().filter(|pool| !Arc::ptr_eq(pool, &place.pool)) {
            pool.ask();
        }
        Asked::Wait(wait)
    }

    /// A pool of connections for the target is there, until it is told to be gone.
    pub fn add_pool(&self, pool: Arc<PoolMark>) {
        self.lock().pools.push(pool);
    }

    /// A pool is gone.
    pub fn remove_pool(&self, pool: &Arc<PoolMark>) {
        self.lock().pools.retain(|other| !Arc::ptr_eq(other, pool));
    }

    /// A connection of a pool has come free: whether the pool may keep it for whoever wants it, and has woken the call that
    /// is next. If not, it is to be closed.
    pub fn has_come_free(self: &Arc<Self>, pool: &Arc<PoolMark>) -> bool {
        // What is beyond the bound goes only to callers that have none: by its permit.
        if self.is_beyond() {
            return false;
        }
        if self.has_waiting() {
            let mut inner = self.lock();
            while let Some(waiting) = self.next(&mut inner, |place| !place.wants_new && Arc::ptr_eq(&place.pool, pool))
            {
                match waiting {
                    Next::Elsewhere => return false,
                    Next::Here(waiting) => match waiting.turn.send(Turn::Look(Promise::new(self, pool, true))) {
                        Ok(()) => return true,
                        // It waits no longer. Not dropped, which would ask for the lock again.
                        Err(Turn::Look(promise)) => promise.keep(),
                        Err(_) => {}
                    },
                }
            }
        }
        true
    }

    /// Places have come free on connections of a pool that carry many calls: as many calls that wait there are woken. How
    /// many there were.
    pub fn have_room(self: &Arc<Self>, pool: &Arc<PoolMark>, places: usize) -> usize {
        let mut woken = 0;
        while woken < places && self.has_waiting() {
            let mut inner = self.lock();
            let Some(waiting) = self.first(&mut inner, |waiting| Arc::ptr_eq(&waiting.place.pool, pool)) else { break };
            match waiting.turn.send(Turn::Look(Promise::new(self, pool, false))) {
                Ok(()) => woken += 1,
                // It waits no longer. Not dropped, which would ask for the lock again.
                Err(Turn::Look(promise)) => promise.keep(),
                Err(_) => {}
            }
        }
        woken
    }

    /// How many calls wait for connections of a pool.
    pub fn waiting_in(&self, pool: &Arc<PoolMark>) -> usize {
        if !self.has_waiting() {
            return 0;
        }
        let inner = self.lock();
        let waits = |waiting: &&Waiting| Arc::ptr_eq(&waiting.place.pool, pool) && !waiting.turn.is_closed();
        inner.waiting.values().flatten().filter(waits).count()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is a permit for a caller, and which.
    fn room(&self, inner: &Inner, wish: Wish) -> Option<Room> {
        let is_first = !wish.has_one && !inner.has_any(wish.caller);
        match inner.held.len() {
            held if held < self.most => Some(Room { is_first, is_extra: false }),
            // One for each worker that has none, at most.
            _ if wish.lacks_shared => Some(Room { is_first, is_extra: false }),
            held if held < self.most + self.kept && is_first => Some(Room { is_first, is_extra: true }),
            _ => None,
        }
    }

    /// One of those there are, or one of those that are kept, for a caller that has none. Whoever waits has come to the bound
    /// before, and gets the next that is given back.
    fn permit(self: &Arc<Self>, inner: &mut Inner, wish: Wish) -> Option<Permit> {
        let Room { is_first, is_extra } = self.room(inner, wish)?;
        let holder = Arc::new(Holder {
            capacity: Arc::clone(self),
            caller: AtomicU64::new(wish.caller.get()),
            is_released: AtomicBool::new(false),
            is_first,
            is_extra,
        });
        inner.held.push(Arc::clone(&holder));
        self.held.store(inner.held.len(), Relaxed);
        Some(Permit(holder))
    }

    /// A turn in the queue. Where it is full, the caller with the most calls in it gives up its last, if it has more than
    /// this one then has.
    fn queue(
        &self,
        inner: &mut Inner,
        caller: CallerId,
        has_one: bool,
        place: WaitingPlace,
    ) -> Option<oneshot::Receiver<Turn>> {
        if self.waiting.load(Relaxed) >= QUEUE {
            inner.waiting.retain(|_, waiting| {
                waiting.retain(|waiting| !waiting.turn.is_closed());
                !waiting.is_empty()
            });
            let Inner { turns, waiting, .. } = &mut *inner;
            turns.retain(|caller| waiting.contains_key(caller));
            let count = inner.waiting.values().map(VecDeque::len).sum();
            self.waiting.store(count, Relaxed);
            if count >= QUEUE {
                let own = inner.waiting.get(&caller).map_or(0, VecDeque::len);
                let most = inner.waiting.values_mut().max_by_key(|waiting| waiting.len())?;
                if most.len() <= own + 1 {
                    return None;
                }
                // It hears that by its turn being gone.
                drop(most.pop_back());
                self.waiting.fetch_sub(1, Relaxed);
            }
        }
        let (turn, wait) = oneshot::channel();
        let waiting = inner.waiting.entry(caller).or_default();
        waiting.push_back(Waiting { place, has_one, since: Instant::now(), turn });
        if !inner.turns.contains(&caller) {
            inner.turns.push_back(caller);
        }
        self.waiting.fetch_add(1, Relaxed);
        Some(wait)
    }

    /// The call that gets what has come free in a pool: that of the caller whose turn it is, out of those that are `here`.
    /// One elsewhere comes before them if it has waited for long, and if there are none.
    fn next(&self, inner: &mut Inner, here: impl Fn(&WaitingPlace) -> bool) -> Option<Next> {
        loop {
            let caller = *inner.turns.front()?;
            let oldest = inner.waiting.get(&caller).and_then(VecDeque::front)?;
            if oldest.turn.is_closed() {
                self.take_out(inner, 0, 0);
                continue;
            }
            if !here(&oldest.place) && oldest.since.elapsed() >= PATIENCE {
                return Some(Next::Elsewhere);
            }
            let first = self.first(inner, |waiting| here(&waiting.place));
            return Some(first.map_or(Next::Elsewhere, Next::Here));
        }
    }

    /// Takes the first call that will do out of the queue, by the turns of callers.
    fn first(&self, inner: &mut Inner, will_do: impl Fn(&Waiting) -> bool) -> Option<Waiting> {
        let found = inner.turns.iter().enumerate().find_map(|(turn, caller)| {
            let place = inner.waiting.get(caller)?.iter().position(&will_do)?;
            Some((turn, place))
        });
        let (turn, place) = found?;
        self.take_out(inner, turn, place)
    }

    /// A call out of those of the caller with this turn. The caller has had it then.
    fn take_out(&self, inner: &mut Inner, turn: usize, place: usize) -> Option<Waiting> {
        let caller = inner.turns.remove(turn)?;
        let waiting = inner.waiting.get_mut(&caller)?;
        let taken = waiting.remove(place);
        if waiting.is_empty() {
            inner.waiting.remove(&caller);
        } else {
            inner.turns.push_back(caller);
        }
        self.waiting.fetch_sub(usize::from(taken.is_some()), Relaxed);
        taken
    }

    /// A permit is held no more.
    fn take_back(&self, inner: &mut Inner, holder: &Arc<Holder>) {
        inner.held.retain(|other| !Arc::ptr_eq(other, holder));
        self.held.store(inner.held.len(), Relaxed);
    }

    /// A permit has come back: whoever is next gets it.
    fn give_back(self: &Arc<Self>, holder: &Arc<Holder>) {
        let mut inner = self.lock();
        self.take_back(&mut inner, holder);
        while self.has_waiting() {
            let held = inner.held.len();
            if held >= self.most + self.kept {
                return;
            }
            // Those beyond the bound are for callers that have none.
            let has_none = |caller: CallerId| {
                let first = inner.waiting.get(&caller).and_then(VecDeque::front);
                first.is_some_and(|waiting| !waiting.has_one) && !inner.has_any(caller)
            };
            let mut turns = inner.turns.iter().copied().enumerate();
            let Some((turn, caller)) = turns.find(|(_, caller)| held < self.most || has_none(*caller)) else { return };
            // The call that has waited longest of those that the caller has.
            let Some(waiting) = self.take_out(&mut inner, turn, 0) else { return };
            let Some(permit) = self.permit(&mut inner, Wish::of(caller)) else { return };
            match waiting.turn.send(Turn::Permit(permit)) {
                Ok(()) => return,
                // It waits no longer. Not dropped, which would ask for the lock again.
                Err(Turn::Permit(permit)) => {
                    permit.0.is_released.store(true, Relaxed);
                    self.take_back(&mut inner, &permit.0);
                }
                Err(Turn::Look(_)) => {}
            }
        }
    }
}

/// For whom a permit is.
#[derive(Clone, Copy)]
struct Wish {
    caller: CallerId,
    /// Whether it is known to have a connection, or a part of one.
    has_one: bool,
    lacks_shared: bool,
}

impl Wish {
    /// That of a caller of which nothing more is known.
    fn of(caller: CallerId) -> Self {
        Self { caller, has_one: false, lacks_shared: false }
    }
}

/// Which permit there is.
struct Room {
    is_first: bool,
    is_extra: bool,
}

/// Who is next.
enum Next {
    /// A call in the pool.
    Here(Waiting),
    /// One that has waited for long somewhere else.
    Elsewhere,
}

impl Inner {
    /// Whether a caller has a connection.
    fn has_any(&self, caller: CallerId) -> bool {
        self.held.iter().any(|holder| holder.is_of(caller))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::sync::mpsc;
    use tokio::sync::oneshot::error::TryRecvError;

    use super::*;
    use crate::pool_key::{PoolKey, Spoken};

    fn caller(number: u64) -> CallerId {
        CallerId::from_number(number).expect("not 0")
    }

    fn pool() -> (Arc<PoolMark>, mpsc::UnboundedReceiver<Arc<PoolMark>>) {
        let (worker, demands) = mpsc::unbounded_channel();
        let key = PoolKey::new(&"a:80".into(), None, Spoken::Http1, false);
        (PoolMark::new(Arc::new(key), worker), demands)
    }

    fn place(pool: &Arc<PoolMark>) -> WaitingPlace {
        WaitingPlace { pool: Arc::clone(pool), wants_new: false, lacks_shared: false }
    }

    fn permit(asked: Asked) -> Permit {
        match asked {
            Asked::Permit(permit) => permit,
            other => panic!("no permit: {other:?}"),
        }
    }

    fn wait(asked: Asked) -> oneshot::Receiver<Turn> {
        match asked {
            Asked::Wait(turn) => turn,
            other => panic!("it does not wait: {other:?}"),
        }
    }

    /// Whether a turn has come.
    fn has_come(turn: &mut oneshot::Receiver<Turn>) -> Option<Turn> {
        turn.try_recv().ok()
    }

    #[test]
    fn one_caller_may_have_all_and_others_get_one_each_beyond() {
        let capacity = Capacity::new(8);
        let (pool, _demands) = pool();
        let all: Vec<_> = (0..8).map(|_| permit(capacity.ask(caller(1), false, &place(&pool)))).collect();
        let mut more = wait(capacity.ask(caller(1), false, &place(&pool)));
        let other = permit(capacity.ask(caller(2), false, &place(&pool)));
        let mut second = wait(capacity.ask(caller(2), false, &place(&pool)));
        let mut third = wait(capacity.ask(caller(3), false, &place(&pool)));
        assert!(capacity.is_beyond());
        // The one that was kept is for a caller without any.
        drop(other);
        let Some(Turn::Permit(_kept)) = has_come(&mut second) else { panic!("it has none now, and is next") };
        assert!(has_come(&mut more).is_none() && has_come(&mut third).is_none());
        drop(all);
        assert!(matches!(has_come(&mut third), Some(Turn::Permit(_))));
        assert!(matches!(has_come(&mut more), Some(Turn::Permit(_))));
    }

    #[test]
    fn a_caller_that_has_a_part_of_a_connection_gets_none_that_are_kept() {
        let capacity = Capacity::new(1);
        let (pool, _demands) = pool();
        let shared = permit(capacity.ask(caller(1), false, &place(&pool)));
        shared.holder().set(None);
        let mut more = wait(capacity.ask(caller(1), true, &place(&pool)));
        drop(permit(capacity.ask(caller(2), false, &place(&pool))));
        assert!(has_come(&mut more).is_none(), "nor the one that comes back");
        drop(shared);
        assert!(has_come(&mut more).is_some());
    }

    #[test]
    fn callers_take_turns_however_many_calls_they_have() {
        let capacity = Capacity::new(1);
        let (pool, _demands) = pool();
        let first = permit(capacity.ask(caller(9), false, &place(&pool)));
        let _kept = permit(capacity.ask(caller(8), false, &place(&pool)));
        let mut turns: Vec<_> = [1, 1, 1, 1, 2, 2, 3]
            .map(|number| (number, wait(capacity.ask(caller(number), false, &place(&pool)))))
            .into();
        drop(first);
        let mut served = Vec::new();
        while !turns.is_empty() {
            let next = turns.iter_mut().position(|(_, turn)| !turn.is_empty()).expect("somebody is next");
            let (number, mut turn) = turns.remove(next);
            served.push(number);
            // Given back at once.
            drop(has_come(&mut turn));
        }
        assert_eq!(served, [1, 2, 3, 1, 2, 1, 1]);
        assert!(!capacity.has_waiting() && capacity.lock().turns.is_empty());
    }

    #[test]
    fn whoever_waits_no_longer_is_passed_over() {
        let capacity = Capacity::new(1);
        let (pool, _demands) = pool();
        let held = permit(capacity.ask(caller(1), false, &place(&pool)));
        let gone = wait(capacity.ask(caller(1), false, &place(&pool)));
        let mut there = wait(capacity.ask(caller(1), false, &place(&pool)));
        drop(gone);
        drop(held);
        assert!(matches!(has_come(&mut there), Some(Turn::Permit(_))));
        drop(there);
        assert!(capacity.lock().held.is_empty());
    }

    #[test]
    fn a_connection_that_comes_free_is_for_a_call_of_its_pool() {
        let capacity = Capacity::new(1);
        let ((here, _), (there, _)) = (pool(), pool());
        assert!(capacity.has_come_free(&here), "nobody waits");
        let _held = permit(capacity.ask(caller(1), false, &place(&here)));
        let kept = permit(capacity.ask(caller(2), false, &place(&here)));
        let more = wait(capacity.ask(caller(1), false, &place(&here)));
        assert!(!capacity.has_come_free(&here), "there are more than the bound, and those are for callers without any");
        drop((kept, more));
        let mut remote = wait(capacity.ask(caller(1), false, &place(&there)));
        assert!(!capacity.has_come_free(&here), "for the other worker");
        let mut local = wait(capacity.ask(caller(1), false, &place(&here)));
        assert!(capacity.has_come_free(&here));
        let Some(Turn::Look(promise)) = has_come(&mut local) else { panic!("it is woken") };
        assert_eq!(here.promised(), 1);
        assert!(has_come(&mut remote).is_none());
        // One that was woken and does not come leaves it to the next.
        let mut next = wait(capacity.ask(caller(1), false, &place(&here)));
        drop(promise);
        let Some(Turn::Look(promise)) = has_come(&mut next) else { panic!("it is woken in its place") };
        promise.keep();
        assert_eq!(here.promised(), 0);
        // What wants a new connection does not take one that stands.
        let wants_new = WaitingPlace { wants_new: true, ..place(&here) };
        let _new = wait(capacity.ask(caller(1), false, &wants_new));
        assert!(!capacity.has_come_free(&here));
    }

    #[test]
    fn nobody_waits_for_ever_for_those_of_another_worker() {
        let capacity = Capacity::new(1);
        let ((here, _), (there, _)) = (pool(), pool());
        let _held = permit(capacity.ask(caller(1), false, &place(&here)));
        let _remote = wait(capacity.ask(caller(1), false, &place(&there)));
        let mut local = wait(capacity.ask(caller(1), false, &place(&here)));
        assert!(capacity.has_come_free(&here), "one here comes first");
        assert!(has_come(&mut local).is_some());
        let mut local = wait(capacity.ask(caller(1), false, &place(&here)));
        for waiting in capacity.lock().waiting.values_mut().flatten() {
            waiting.since = Instant::now().checked_sub(PATIENCE).expect("the machine runs for longer");
        }
        assert!(!capacity.has_come_free(&here), "it has waited for long");
        assert!(has_come(&mut local).is_none());
    }

    #[test]
    fn pools_of_other_workers_are_asked_once_until_they_look() {
        let capacity = Capacity::new(1);
        let ((here, mut own), (there, mut demands)) = (pool(), pool());
        capacity.add_pool(Arc::clone(&here));
        capacity.add_pool(Arc::clone(&there));
        let _held = permit(capacity.ask(caller(1), false, &place(&here)));
        let _waiting: Vec<_> = (0..3).map(|_| wait(capacity.ask(caller(1), false, &place(&here)))).collect();
        assert!(demands.try_recv().is_ok() && demands.try_recv().is_err() && own.try_recv().is_err());
        there.looks();
        let _more = wait(capacity.ask(caller(1), false, &place(&here)));
        assert!(demands.try_recv().is_ok());
        capacity.remove_pool(&there);
        there.looks();
        let _more = wait(capacity.ask(caller(1), false, &place(&here)));
        assert!(demands.try_recv().is_err());
    }

    #[test]
    fn who_fills_the_queue_gives_way() {
        let capacity = Capacity::new(1);
        let (pool, _demands) = pool();
        let _held = permit(capacity.ask(caller(1), false, &place(&pool)));
        let _kept = permit(capacity.ask(caller(2), false, &place(&pool)));
        let mut flood: Vec<_> = (0..QUEUE).map(|_| wait(capacity.ask(caller(1), false, &place(&pool)))).collect();
        assert!(matches!(capacity.ask(caller(1), false, &place(&pool)), Asked::Full));
        let _other = wait(capacity.ask(caller(2), false, &place(&pool)));
        assert!(matches!(flood[QUEUE - 1].try_recv(), Err(TryRecvError::Closed)), "its last gives way");
        assert!(matches!(flood[QUEUE - 2].try_recv(), Err(TryRecvError::Empty)));
        assert_eq!(capacity.waiting_in(&pool), QUEUE);
        // Those that have gone make room for anybody.
        drop(flood);
        let _same = wait(capacity.ask(caller(1), false, &place(&pool)));
        assert_eq!((capacity.waiting_in(&pool), capacity.waiting()), (2, 2));
    }

    proptest! {
        /// Whatever happens, no more permits are held than the bound and those that are kept, nobody waits while there is one
        /// for him, and all comes back.
        #[test]
        fn permits_are_never_lost(most in 1..12_usize, steps in prop::collection::vec((0..4_u8, 1..6_u64), 1..200)) {
            let capacity = Capacity::new(most);
            let (pool, _demands) = pool();
            let (mut held, mut waiting) = (Vec::new(), Vec::new());
            for (step, number) in steps {
                match step {
                    0 | 1 => match capacity.ask(caller(number), false, &place(&pool)) {
                        Asked::Permit(permit) => held.push(permit),
                        Asked::Wait(turn) => waiting.push(turn),
                        Asked::Full => prop_assert!(false, "the queue is not full"),
                    },
                    2 if !held.is_empty() => drop(held.remove(number as usize % held.len())),
                    3 if !waiting.is_empty() => drop(waiting.remove(number as usize % waiting.len())),
                    _ => {}
                }
                for turn in &mut waiting {
                    if let Ok(Turn::Permit(permit)) = turn.try_recv() {
                        held.push(permit);
                    }
                }
                waiting.retain(|turn| !turn.is_terminated());
                prop_assert!(held.len() <= most + (most / KEPT).max(1));
                prop_assert!(waiting.is_empty() || held.len() >= most);
                prop_assert_eq!(capacity.lock().held.len(), held.len());
            }
            drop((held, waiting));
            prop_assert!(capacity.lock().held.is_empty());
        }
    }
}
