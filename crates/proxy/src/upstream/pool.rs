//! The connections of one worker to each target, those of each TLS identity apart: idle ones to be used again, a bound on all of them, and a
//! short queue for when the bound is reached.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use portcullis_core::refusal::Refusal;
use tokio::sync::oneshot;

use super::Settings;
use super::connect::{Connection, connect};
use super::peer::{Peer, PoolKey};
use crate::worker;

/// Calls that wait for a connection to one target, on one worker.
const QUEUE: usize = 1_024;

thread_local! {
    static POOLS: RefCell<HashMap<Arc<PoolKey>, Pool>> = RefCell::default();
}

#[derive(Default)]
struct Pool {
    idle: Vec<Idle>,
    /// Connections that stand or are being opened.
    open: usize,
    waiting: VecDeque<oneshot::Sender<()>>,
    keep_idle: u32,
}

struct Idle {
    connection: Connection,
    since: u32,
}

/// The right to have one connection open. Given back when it is dropped.
pub struct Slot(Arc<PoolKey>);

impl Drop for Slot {
    fn drop(&mut self) {
        POOLS.with_borrow_mut(|pools| {
            if let Some(pool) = pools.get_mut(&self.0) {
                pool.open -= 1;
                pool.call_next();
            }
        });
    }
}

impl Pool {
    /// Wakes the call that has waited longest, if any still waits.
    fn call_next(&mut self) {
        while let Some(next) = self.waiting.pop_front() {
            if next.send(()).is_ok() {
                return;
            }
        }
    }
}

/// A connection lent to one call.
pub struct Lease {
    /// The connection.
    pub connection: Connection,
    /// Whether it has carried a call before.
    pub reused: bool,
}

enum Found {
    Idle(Connection),
    Room(Slot),
    Wait(oneshot::Receiver<()>),
    Full,
}

/// Lends a connection to a target: an idle one, a new one, or the next that comes free. `fresh` takes no idle one.
pub async fn lend(settings: &Settings, target: &Peer, fresh: bool) -> Result<Lease, Refusal> {
    let deadline = tokio::time::Instant::now() + settings.queue_wait;
    loop {
        match look(settings, target, fresh) {
            Found::Idle(mut connection) => {
                // Its task may be a step behind; a connection that has died meanwhile says so here.
                if connection.sender.ready().await.is_ok() {
                    return Ok(Lease { connection, reused: true });
                }
            }
            Found::Room(slot) => {
                let connection = connect(settings, target, slot).await?;
                return Ok(Lease { connection, reused: false });
            }
            Found::Wait(turn) => {
                if tokio::time::timeout_at(deadline, turn).await.is_err() {
                    return Err(Refusal::UpstreamBusy);
                }
            }
            Found::Full => return Err(Refusal::UpstreamBusy),
        }
    }
}

fn look(settings: &Settings, target: &Peer, fresh: bool) -> Found {
    POOLS.with_borrow_mut(|pools| {
        if !pools.contains_key(&target.pool) {
            let keep_idle = u32::try_from(settings.keep_alive.as_millis()).unwrap_or(u32::MAX);
            pools.insert(Arc::clone(&target.pool), Pool { keep_idle, ..Pool::default() });
        }
        let Some(pool) = pools.get_mut(&target.pool) else { return Found::Full };
        if fresh && pool.open >= settings.per_worker && !pool.idle.is_empty() {
            // An idle connection makes room for the fresh one that is asked for: its slot is given back soon.
            pool.idle.pop();
        }
        while let Some(idle) = if fresh { None } else { pool.idle.pop() } {
            let old = worker::tick().wrapping_sub(idle.since) >= pool.keep_idle;
            if !old && !idle.connection.sender.is_closed() {
                return Found::Idle(idle.connection);
            }
        }
        if pool.open < settings.per_worker {
            pool.open += 1;
            return Found::Room(Slot(Arc::clone(&target.pool)));
        }
        if pool.waiting.len() >= QUEUE {
            pool.waiting.retain(|waiting| !waiting.is_closed());
            if pool.waiting.len() >= QUEUE {
                return Found::Full;
            }
        }
        let (turn, wait) = oneshot::channel();
        pool.waiting.push_back(turn);
        Found::Wait(wait)
    })
}

/// Takes a connection back whose request and answer have both come to their ends.
pub fn take_back(key: &PoolKey, connection: Connection) {
    POOLS.with_borrow_mut(|pools| {
        if let Some(pool) = pools.get_mut(key)
            && !connection.sender.is_closed()
        {
            pool.idle.push(Idle { connection, since: worker::tick() });
            pool.call_next();
        }
    });
}

/// Closes what has been idle for too long, and forgets targets nobody uses any more.
pub fn sweep() {
    let now = worker::tick();
    let mut closed = Vec::new();
    POOLS.with_borrow_mut(|pools| {
        pools.retain(|_, pool| {
            let old = pool.idle.iter().take_while(|idle| now.wrapping_sub(idle.since) >= pool.keep_idle).count();
            closed.extend(pool.idle.drain(..old));
            pool.open > 0 || !pool.waiting.is_empty()
        });
    });
    // Dropped outside of the borrow: their tasks give slots back.
    drop(closed);
}
