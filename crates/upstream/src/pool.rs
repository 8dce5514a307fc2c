//! The connection pool of one worker, for each target and TLS identity: idle (keep-alive) connections in HTTP/1.1 to be used
//! again, and ones in HTTP/2 that many calls share (multiplexing). How many there may be, on all workers, and who is next where all are in
//! use, is known to the [capacity](crate::capacity) of the target.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use portcullis_wire::clock;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::attempt::Failed;
use crate::backend::Backend;
use crate::caller_id::CallerId;
use crate::capacity::{Asked, Holder, Permit, Promise, QUEUE, Turn};
use crate::connection::Connection;
use crate::demands::demands;
use crate::freshness::Freshness;
use crate::http2::shared::{BROKEN_OFF, STREAMS, Shared};
use crate::pool_key::{Hashed, PoolKey, Spoken};
use crate::pool_mark::{PoolMark, WaitingPlace};
use crate::rooms::Rooms;
use crate::settings::Settings;
use crate::sockets::Socket;

thread_local! {
    static POOLS: RefCell<HashMap<Arc<PoolKey>, Pool, BuildHasherDefault<Hashed>>> = RefCell::default();
}

struct Pool {
    /// What the node may have of the target.
    rooms: Arc<Rooms>,
    /// By which other workers know it.
    mark: Arc<PoolMark>,
    idle: Vec<Idle>,
    shared: Vec<Member>,
    /// Connections that stand or are being opened.
    open: usize,
    /// Those that are being opened, and the calls that wait for one of them to be.
    opening: usize,
    awaiting: VecDeque<oneshot::Sender<Result<(), Failed>>>,
    /// How many calls a connection is expected to carry at once: as many as the last one that was opened.
    expected: usize,
    keep_idle: u32,
    /// With which certificate of the gateway those that are lent were opened.
    generation: u64,
}

struct Idle {
    connection: Connection,
    since: u32,
}

/// A connection in HTTP/2.
struct Member {
    shared: Shared,
    /// Whether it is for callers alone that have no other: it was opened beyond the bound, and ends with its calls.
    is_extra: bool,
    /// Whose calls are under way.
    calls: Vec<CallerId>,
    /// Calls that were broken off.
    broken_off: usize,
    /// Whether it has carried a call before.
    used: bool,
    /// Since when none is.
    since: u32,
}

/// A connection that is open or being opened. What it takes up is given back when this is dropped.
pub struct Slot {
    key: Arc<PoolKey>,
    permit: Permit,
    /// Among those to all targets.
    _socket: Socket,
}

impl Slot {
    /// What the connection is for.
    pub fn key(&self) -> &Arc<PoolKey> {
        &self.key
    }

    /// Who has the connection.
    pub fn holder(&self) -> &Arc<Holder> {
        self.permit.holder()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        with(&self.key, |pool| pool.open -= 1);
    }
}

/// A connection is being opened. Until this is told to have ended or dropped, calls that could share it wait.
pub(crate) struct Opening {
    key: Option<Arc<PoolKey>>,
    /// Whether it is beyond the bound, and not for whoever waits.
    is_extra: bool,
}

impl Opening {
    /// Tells those that wait for it how it has ended: with how many calls it carries.
    pub(crate) fn ended(mut self, carries: Result<usize, &Failed>) {
        let Some(key) = self.key.take() else { return };
        with(&key, |pool| {
            pool.opening -= 1;
            if let Ok(carries) = carries {
                pool.expected = carries;
                if !self.is_extra {
                    // Those that wait for a whole connection find room on this one too: one call has it already.
                    pool.has_room(carries.saturating_sub(1));
                }
            }
            for call in std::mem::take(&mut pool.awaiting) {
                // A call that waits no longer does not matter.
                let _ = call.send(carries.map(drop).map_err(Failed::alike));
            }
        });
    }
}

impl Drop for Opening {
    /// The call that has opened it is gone: others look again.
    fn drop(&mut self) {
        if let Some(key) = &self.key {
            with(key, |pool| {
                pool.opening -= 1;
                pool.awaiting.clear();
            });
        }
    }
}

/// A place for one call on a connection in HTTP/2. Given back when it is dropped.
pub struct StreamSlot {
    /// The connection.
    pub shared: Shared,
    /// Whether it has carried a call before.
    pub reused: bool,
    /// Whether the call has come to its end.
    pub is_done: bool,
    key: Arc<PoolKey>,
    caller: CallerId,
}

impl StreamSlot {
    /// Lends the connection to nobody any more. The calls it carries go on.
    pub fn retire(&self) {
        retire(&self.key, self.shared.number);
    }
}

impl Drop for StreamSlot {
    fn drop(&mut self) {
        with(&self.key, |pool| {
            if let Some(member) = pool.shared.iter_mut().find(|member| member.shared.number == self.shared.number) {
                if let Some(place) = member.calls.iter().position(|caller| *caller == self.caller) {
                    member.calls.swap_remove(place);
                }
                member.since = clock::tick();
                member.broken_off += usize::from(!self.is_done);
                let (is_unused, is_extra) = (member.calls.is_empty(), member.is_extra);
                pool.shared.retain(|member| member.broken_off < BROKEN_OFF);
                // It is for callers that have none, or makes room for calls on another worker.
                let ends = if is_extra { is_unused } else { pool.has_room(1) == 0 && is_unused && pool.is_wanted() };
                if ends {
                    pool.shared.retain(|member| member.shared.number != self.shared.number);
                }
            }
        });
    }
}

fn with(key: &PoolKey, change: impl FnOnce(&mut Pool)) {
    POOLS.with_borrow_mut(|pools| {
        if let Some(pool) = pools.get_mut(key) {
            change(pool);
        }
    });
}

impl Pool {
    fn new(settings: &Settings, target: &Backend, key: &Arc<PoolKey>) -> Self {
        let mark = PoolMark::new(Arc::clone(key), demands(give_up));
        target.rooms.connections.add_pool(Arc::clone(&mark));
        Self {
            rooms: Arc::clone(&target.rooms),
            mark,
            idle: Vec::new(),
            shared: Vec::new(),
            open: 0,
            opening: 0,
            awaiting: VecDeque::new(),
            expected: if key.spoken == Spoken::Http1 { 1 } else { STREAMS },
            keep_idle: u32::try_from(settings.keep_alive.as_millis()).unwrap_or(u32::MAX),
            generation: 0,
        }
    }

    /// Lends nothing any more that was opened with another certificate than this. What is under way goes on.
    fn keep_to(&mut self, generation: u64) -> Vec<Idle> {
        if self.generation == generation {
            return Vec::new();
        }
        self.generation = generation;
        self.shared.clear();
        std::mem::take(&mut self.idle)
    }

    /// So many more calls find room on connections in HTTP/2: as many of those that wait are woken. How many.
    fn has_room(&self, places: usize) -> usize {
        self.rooms.connections.have_room(&self.mark, places)
    }

    /// Whether calls wait for connections to the target, maybe on other workers.
    fn is_wanted(&self) -> bool {
        self.rooms.connections.has_waiting()
    }

    /// An idle connection in HTTP/1.1 that is good, as far as its task has seen. So many are for others.
    fn idle(&mut self, for_others: usize) -> Option<Connection> {
        while self.idle.len() > for_others
            && let Some(idle) = self.idle.pop()
        {
            let old = clock::tick().wrapping_sub(idle.since) >= self.keep_idle;
            if !old && idle.connection.is_at_rest() {
                return Some(idle.connection);
            }
        }
        None
    }

    /// A place on a connection in HTTP/2 that is not older than this one. Those that take no more calls are let go.
    fn place(&mut self, key: &Arc<PoolKey>, not_before: u64, caller: CallerId) -> Option<StreamSlot> {
        self.shared.retain_mut(|member| member.shared.is_open());
        let takes_extra = self.shared.iter().any(|member| member.is_extra) && !self.carries(caller);
        let has_room = |member: &&mut Member| {
            let will_do = member.shared.number >= not_before && (takes_extra || !member.is_extra);
            will_do && member.calls.len() < member.shared.most_streams()
        };
        let member = self.shared.iter_mut().find(has_room)?;
        member.calls.push(caller);
        let reused = std::mem::replace(&mut member.used, true);
        Some(StreamSlot { shared: member.shared.clone(), reused, is_done: false, key: Arc::clone(key), caller })
    }

    /// Whether a call of this caller is under way on a connection in HTTP/2.
    fn carries(&self, caller: CallerId) -> bool {
        self.shared.iter().any(|member| member.calls.contains(&caller))
    }

    /// Whether the connections that are being opened will carry one more of the calls that wait for them.
    fn is_room_coming(&self) -> bool {
        self.awaiting.len() < self.opening * self.expected.saturating_sub(1)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.rooms.connections.remove_pool(&self.mark);
    }
}

/// Closes as many idle connections of a pool as calls wait for ones to the target.
fn give_up(mark: &Arc<PoolMark>) {
    mark.looks();
    let mut given_up = Vec::new();
    with(&mark.key, |pool| {
        if Arc::ptr_eq(&pool.mark, mark) {
            let (wanted, spare) = (pool.rooms.connections.waiting(), pool.idle.len().saturating_sub(mark.promised()));
            given_up.extend(pool.idle.drain(..wanted.min(spare)));
            let mut wanted = wanted - given_up.len();
            pool.shared.retain(|member| {
                let goes = wanted > 0 && member.calls.is_empty();
                wanted -= usize::from(goes);
                !goes
            });
        }
    });
    // Dropped outside of the borrow: their tasks give slots back.
    drop(given_up);
}

/// What there is for a call.
pub(crate) enum Found {
    /// A connection that stands.
    Idle(Connection),
    /// A place on one.
    Stream(StreamSlot),
    /// Room for a new one.
    Room(Slot, Opening),
    /// One that is being opened, and when that has ended.
    Await(oneshot::Receiver<Result<(), Failed>>),
    /// A turn in the queue.
    Wait(oneshot::Receiver<Turn>),
    /// Nothing.
    Full,
}

/// A connection in HTTP/2 joins those that stand, with its first call, if it was opened with the certificate that counts.
pub(crate) fn join(
    key: &Arc<PoolKey>,
    generation: u64,
    shared: Shared,
    caller: CallerId,
    is_extra: bool,
) -> StreamSlot {
    let place = StreamSlot { shared: shared.clone(), reused: false, is_done: false, key: Arc::clone(key), caller };
    let member = Member { shared, is_extra, calls: vec![caller], broken_off: 0, used: true, since: clock::tick() };
    with(key, |pool| {
        if pool.generation == generation {
            pool.shared.push(member);
        }
    });
    place
}

/// Who looks for a connection, for what, and with what they have waited for.
pub(crate) struct Search<'a> {
    pub(crate) target: &'a Backend,
    /// Out of those of this key of the target.
    pub(crate) key: &'a Arc<PoolKey>,
    pub(crate) wanted: Freshness,
    pub(crate) caller: CallerId,
}

/// Looks for a connection to a target, or for room for one.
pub(crate) fn look(settings: &Settings, search: &Search<'_>, turn: Option<Turn>) -> Found {
    let Search { target, key, wanted, caller } = *search;
    let mut former = Vec::new();
    let found = POOLS.with_borrow_mut(|pools| {
        let pool = match pools.get_mut(key) {
            Some(pool) => pool,
            None => pools.entry(Arc::clone(key)).or_insert_with(|| Pool::new(settings, target, key)),
        };
        former = pool.keep_to(target.generation());
        let (permit, promise) = match turn {
            None => (None, None),
            Some(Turn::Permit(permit)) => (Some(permit), None),
            Some(Turn::Look(promise)) => (None, Some(promise)),
        };
        // Where the call was promised one, it is among those that are kept.
        let own = promise.as_ref().is_some_and(Promise::is_idle);
        let for_others = pool.mark.promised().saturating_sub(usize::from(own));
        if let Some(promise) = promise {
            promise.keep();
        }
        if wanted == Freshness::Any
            && let Some(connection) = pool.idle(for_others)
        {
            connection.holder.set(Some(caller));
            return Found::Idle(connection);
        }
        let not_before = match wanted {
            Freshness::Any => 0,
            Freshness::OpenedSince(number) => number,
        };
        if let Some(place) = pool.place(key, not_before, caller) {
            return Found::Stream(place);
        }
        // Where too many wait for that, this one has a turn of its own.
        if pool.is_room_coming()
            && let Some(opened) = queue(&mut pool.awaiting)
        {
            return Found::Await(opened);
        }
        let permit = match permit {
            Some(permit) => permit,
            None => {
                let place = WaitingPlace {
                    pool: Arc::clone(&pool.mark),
                    wants_new: wanted != Freshness::Any,
                    lacks_shared: pool.open == 0 && pool.expected > 1,
                };
                match pool.rooms.connections.ask(caller, pool.carries(caller), &place) {
                    Asked::Permit(permit) => permit,
                    Asked::Wait(turn) => {
                        if wanted != Freshness::Any {
                            // An idle connection makes room for the fresh one that is asked for.
                            former.extend(pool.idle.pop());
                        }
                        return Found::Wait(turn);
                    }
                    Asked::Full => return Found::Full,
                }
            }
        };
        let Some(socket) = settings.sockets.take(permit.holder().is_first()) else { return Found::Full };
        pool.open += 1;
        pool.opening += 1;
        let opening = Opening { key: Some(Arc::clone(key)), is_extra: permit.holder().is_extra() };
        Found::Room(Slot { key: Arc::clone(key), permit, _socket: socket }, opening)
    });
    // Dropped outside of the borrow: their tasks give slots back.
    drop(former);
    found
}

/// A turn in a queue, if it is not full of calls that still wait.
fn queue<T>(queue: &mut VecDeque<oneshot::Sender<T>>) -> Option<oneshot::Receiver<T>> {
    if queue.len() >= QUEUE {
        queue.retain(|waiting| !waiting.is_closed());
        if queue.len() >= QUEUE {
            return None;
        }
    }
    let (turn, wait) = oneshot::channel();
    queue.push_back(turn);
    Some(wait)
}

/// Takes a connection back whose request and answer have both come to their ends. One whose task is a step behind is
/// waited for, for a moment; one on which something of the request is stuck is closed.
pub fn take_back(mut connection: Connection) {
    if connection.is_at_rest() {
        return keep(connection);
    }
    // As the gateway stops, what is left has nowhere to go.
    if let Ok(runtime) = Handle::try_current()
        && !connection.sender.is_closed()
    {
        runtime.spawn(async move {
            if connection.comes_to_rest().await {
                keep(connection);
            }
        });
    }
}

fn keep(connection: Connection) {
    connection.holder.set(None);
    let left = POOLS.with_borrow_mut(|pools| match pools.get_mut(&connection.key) {
        Some(pool) if connection.generation == pool.generation && pool.rooms.connections.has_come_free(&pool.mark) => {
            pool.idle.push(Idle { connection, since: clock::tick() });
            None
        }
        _ => Some(connection),
    });
    // Outside of the borrow.
    drop(left);
}

/// A connection in HTTP/2 takes so many more calls than before.
pub fn widen(key: &PoolKey, more: usize) {
    with(key, |pool| _ = pool.has_room(more));
}

/// Lends a connection in HTTP/2 to nobody any more.
pub fn retire(key: &PoolKey, number: u64) {
    with(key, |pool| pool.shared.retain(|member| member.shared.number != number));
}

/// What there is to one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figures {
    /// Its authority.
    pub target: Arc<str>,
    /// Connections that stand or are being opened.
    pub open: usize,
    /// Those among them that carry no call.
    pub idle: usize,
    /// Calls that wait for one.
    pub waiting: usize,
}

/// What this worker has to each target. One that is reached in several ways is there several times.
pub fn figures() -> Vec<Figures> {
    POOLS.with_borrow(|pools| {
        let of_pool = |(key, pool): (&Arc<PoolKey>, &Pool)| {
            let at_rest = pool.shared.iter().filter(|member| member.calls.is_empty()).count();
            let waits = pool.rooms.connections.waiting_in(&pool.mark);
            let awaits = pool.awaiting.iter().filter(|waiting| !waiting.is_closed()).count();
            let idle = pool.idle.len() + at_rest;
            Figures { target: Arc::clone(key.authority()), open: pool.open, idle, waiting: waits + awaits }
        };
        pools.iter().map(of_pool).collect()
    })
}

/// Closes what has been idle for too long, and forgets targets nobody uses any more.
pub fn sweep() {
    let now = clock::tick();
    let mut closed = Vec::new();
    POOLS.with_borrow_mut(|pools| {
        pools.retain(|_, pool| {
            let is_old = |since: u32| now.wrapping_sub(since) >= pool.keep_idle;
            let old = pool.idle.iter().take_while(|idle| is_old(idle.since)).count();
            closed.extend(pool.idle.drain(..old));
            pool.shared
                .retain_mut(|member| member.shared.is_open() && (!member.calls.is_empty() || !is_old(member.since)));
            pool.open > 0 || pool.rooms.connections.waiting_in(&pool.mark) > 0
        });
    });
    // Dropped outside of the borrow: their tasks give slots back.
    drop(closed);
}
