//! Replay cache: [`SharedState`] in memory, and what a journal needs to keep it over a restart.
//!
//! The nonces stand in shards, each behind a lock of its own that is held for some hundred nanoseconds. A nonce that is not
//! over is never dropped: what finds no room is refused. What was dropped is known by its horizon, the last second up to
//! which something may have been dropped, so a clock that is set back opens nothing again.
//!
//! With a journal, what is noted waits under the lock of its shard until the journal takes it, in rounds that visit every
//! shard. Whether a call may go on before its nonce is written is decided under the same lock, so what a crash can make the
//! journal forget has stamps in a known span ([`MemoryState::unwritten_stamps`]).

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;

use async_trait::async_trait;

use crate::effects::Effects;
use crate::metrics::Counter;
use crate::ports::{Clock, Once, SharedState, Spent, Unavailable};

pub use shard::Nonce;
use shard::{BUCKET, Shard, is_over, last_of};

mod shard;

/// Shards, and locks.
const SHARDS: usize = 64;
/// Seconds ahead of now that a nonce may have to be kept. It bounds buckets, and how long a clock that was ahead is felt.
const FARTHEST: u64 = 24 * 60 * 60;
/// Entries that a call drops at most on its way. It adds one, so dropping keeps up.
const DROPPED_AT_ONCE: usize = 32;
/// Nonces of a shard that may wait for the journal.
const WAITING: usize = 1_024;
/// Milliseconds that a stamp may be away from now, and that the last round of the journal may be ago, for a call that does
/// not wait until its nonce is written.
const FRESH: u64 = 1_000;

/// What has become of something that may happen once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noted {
    /// It has happened before, or that cannot be excluded.
    Again,
    /// It is the first.
    First,
    /// It is the first once the journal has written this round.
    FirstAfter(u64),
}

/// What there is, and what has happened, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StateReport {
    /// Nonces that are remembered.
    pub nonces: usize,
    /// The memory they take, in bytes.
    pub bytes: usize,
    /// Requests that were refused because there was no room for their nonces.
    pub full: u64,
    /// Requests that waited until their nonces were written.
    pub waited: u64,
    /// Failed attempts to write the journal.
    pub write_errors: u64,
}

/// A shard, and what waits for the journal.
struct Part {
    shard: Shard,
    waiting: Vec<Nonce>,
    /// The latest stamp of what waits.
    latest: u64,
    /// The last round of the journal that was here, and when it began, in Unix milliseconds.
    round: u64,
    taken_at: u64,
    closed: bool,
}

/// [`SharedState`] in memory, with a bound on its bytes.
pub struct MemoryState {
    parts: Box<[Mutex<Part>]>,
    hasher: RandomState,
    clock: Arc<dyn Clock>,
    horizon: AtomicU64,
    holes: Vec<RangeInclusive<u64>>,
    has_journal: bool,
    /// Whether the journal cannot be written; so it is until its first round.
    is_failing: AtomicBool,
    /// When the last round began that is written, in Unix milliseconds.
    written_at: AtomicU64,
    is_asleep: AtomicBool,
    writer: OnceLock<Thread>,
    full: Counter,
    waited: Counter,
    write_errors: Counter,
}

impl fmt::Debug for MemoryState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryState").field("report", &self.report()).finish_non_exhaustive()
    }
}

impl MemoryState {
    /// With so many bytes for nonces. A restart forgets them.
    pub fn new(bytes: usize, clock: Arc<dyn Clock>) -> Self {
        let hasher = RandomState::new();
        let part = || Part {
            shard: Shard::new(bytes / SHARDS, hasher.clone()),
            waiting: Vec::new(),
            latest: 0,
            round: 0,
            taken_at: 0,
            closed: false,
        };
        Self {
            parts: (0..SHARDS).map(|_| Mutex::new(part())).collect(),
            hasher,
            clock,
            horizon: AtomicU64::new(0),
            holes: Vec::new(),
            has_journal: false,
            is_failing: AtomicBool::new(false),
            written_at: AtomicU64::new(0),
            is_asleep: AtomicBool::new(false),
            writer: OnceLock::new(),
            full: Counter::default(),
            waited: Counter::default(),
            write_errors: Counter::default(),
        }
    }

    /// The same for a journal. Nothing is taken before its first round is written.
    pub fn with_journal(bytes: usize, clock: Arc<dyn Clock>) -> Self {
        Self { has_journal: true, is_failing: AtomicBool::new(true), ..Self::new(bytes, clock) }
    }

    /// Notes that something happens.
    pub fn note(&self, _: &Effects, what: &Once<'_>) -> Result<Noted, Unavailable> {
        let nonce = Nonce { key: what.key, owner: owner_of(what.owner), until: what.until };
        let hash = self.hasher.hash_one(nonce.key);
        let mut part = self.part(hash);
        // Under the lock, so that no round of the journal lies between this moment and the nonce.
        let millis = self.clock.unix_millis();
        self.drop_over(&mut part.shard, millis / 1_000, DROPPED_AT_ONCE);
        let is_forgotten = nonce.until <= self.horizon() || self.holes.iter().any(|hole| hole.contains(&what.stamp));
        if is_forgotten || part.shard.has(hash, &nonce.key) {
            return Ok(Noted::Again);
        }
        if nonce.until > millis / 1_000 + FARTHEST {
            return Err(Unavailable("a nonce cannot be kept for more than a day"));
        }
        if self.has_journal && (self.is_failing.load(SeqCst) || part.closed) {
            return Err(Unavailable("the journal of nonces cannot be written"));
        }
        let has_room = part.shard.has_room_for(&nonce).and_then(|()| match part.waiting.len() < WAITING {
            true => Ok(()),
            false => Err(Unavailable("too many nonces wait for the journal")),
        });
        has_room.inspect_err(|_| self.full.add_one())?;
        part.shard.add(hash, &nonce);
        if !self.has_journal {
            return Ok(Noted::First);
        }
        part.waiting.push(nonce);
        part.latest = part.latest.max(what.stamp);
        // Neither before what is in the journal nor long after it, as a clock that is set could have it.
        let written_at = self.written_at.load(SeqCst);
        let span = part.taken_at.max(written_at)..=written_at.saturating_add(FRESH);
        let is_fresh = span.contains(&millis) && what.stamp.saturating_mul(1_000).abs_diff(millis) <= FRESH;
        let round = part.round + 1;
        drop(part);
        self.wake();
        if is_fresh {
            return Ok(Noted::First);
        }
        self.waited.add_one();
        Ok(Noted::FirstAfter(round))
    }

    /// What there is, and what has happened.
    pub fn report(&self) -> StateReport {
        let mut report = StateReport {
            full: self.full.get(),
            waited: self.waited.get(),
            write_errors: self.write_errors.get(),
            ..StateReport::default()
        };
        for part in &self.parts {
            let part = lock(part);
            report.nonces += part.shard.held();
            report.bytes += part.shard.bytes();
        }
        report
    }

    /// The last second up to which something may have been forgotten. What is to be taken until then is never the first.
    pub fn horizon(&self) -> u64 {
        self.horizon.load(SeqCst)
    }

    /// Nothing is known any more of what was to be taken until this second.
    pub fn raise_horizon(&self, until: u64) {
        self.horizon.fetch_max(until, SeqCst);
    }

    fn drop_over(&self, shard: &mut Shard, now: u64, most: usize) {
        if let Some(horizon) = shard.drop_over(now, most) {
            self.raise_horizon(horizon);
        }
    }

    fn part(&self, hash: u64) -> MutexGuard<'_, Part> {
        // The low bits of the hash are the place in the shard.
        lock(&self.parts[(hash >> 58) as usize % SHARDS])
    }

    fn wake(&self) {
        if self.is_asleep.load(SeqCst)
            && self.is_asleep.swap(false, SeqCst)
            && let Some(writer) = self.writer.get()
        {
            writer.unpark();
        }
    }
}

/// What a journal does.
impl MemoryState {
    /// The stamps of what a crash may make the journal forget, if the last round that it has written began at this moment,
    /// in Unix milliseconds. What was noted later and let a call go on unwritten was noted within [`FRESH`] of it, with a
    /// stamp within [`FRESH`] of that.
    pub fn unwritten_stamps(written_at: u64) -> RangeInclusive<u64> {
        written_at.saturating_sub(FRESH) / 1_000..=written_at.saturating_add(2 * FRESH).div_ceil(1_000)
    }

    /// The last second in which anything with a stamp up to this one may have to be kept.
    pub fn farthest_until(stamp: u64) -> u64 {
        stamp.saturating_add(FARTHEST)
    }

    /// Refuses what has a stamp of these spans.
    pub fn refuse_stamps(&mut self, holes: Vec<RangeInclusive<u64>>) {
        self.holes = holes;
    }

    /// Takes back what was kept. `false` if there is no room for it. What is over is not kept, and raises the horizon.
    pub fn restore(&self, nonce: &Nonce) -> bool {
        let bucket = nonce.until / BUCKET;
        if is_over(bucket, self.clock.unix_millis() / 1_000) {
            self.raise_horizon(last_of(bucket));
            return true;
        }
        let hash = self.hasher.hash_one(nonce.key);
        let shard = &mut self.part(hash).shard;
        if shard.has(hash, &nonce.key) {
            return true;
        }
        let fits = shard.fits(nonce);
        if fits {
            shard.add(hash, nonce);
        }
        fits
    }

    /// Says which thread writes the journal, and is woken.
    pub fn is_written_by(&self, writer: Thread) {
        // A memory has one journal.
        let _ = self.writer.set(writer);
    }

    /// Takes what waits in every shard, for a round; says when the round began, in Unix milliseconds, and the latest stamp of
    /// what it took. After the last round nothing is noted any more.
    pub fn take(&self, round: u64, is_last: bool, taken: &mut Vec<Nonce>) -> (u64, u64) {
        let (millis, mut latest) = (self.clock.unix_millis(), 0);
        for part in &self.parts {
            let mut part = lock(part);
            taken.append(&mut part.waiting);
            latest = latest.max(std::mem::take(&mut part.latest));
            (part.round, part.taken_at, part.closed) = (round, millis, is_last);
        }
        (millis, latest)
    }

    /// A round is written that began at this moment.
    pub fn written(&self, at: u64) {
        self.written_at.store(at, SeqCst);
        self.is_failing.store(false, SeqCst);
    }

    /// A round could not be written: nothing is taken until one is.
    pub fn not_written(&self) {
        self.is_failing.store(true, SeqCst);
        self.write_errors.add_one();
    }

    /// Lets the thread of the journal rest, unless something waits for it. From then on it is woken.
    pub fn rest(&self, rest: impl FnOnce()) {
        self.is_asleep.store(true, SeqCst);
        // Whoever adds something later sees that the thread is asleep; what was added before is seen here.
        if self.parts.iter().all(|part| lock(part).waiting.is_empty()) {
            rest();
        }
        self.is_asleep.store(false, SeqCst);
    }

    /// Drops everything that is over.
    pub fn drop_all_over(&self) {
        let now = self.clock.unix_millis() / 1_000;
        for part in &self.parts {
            // The lock is given back now and then, for calls that come by.
            loop {
                let shard = &mut lock(part).shard;
                let before = shard.held();
                self.drop_over(shard, now, 1_024);
                if shard.held() == before {
                    break;
                }
            }
        }
    }
}

#[async_trait]
impl SharedState for MemoryState {
    async fn once(&self, effects: &Effects, what: Once<'_>) -> Result<Spent, Unavailable> {
        match self.note(effects, &what)? {
            Noted::Again => Ok(Spent::Again),
            Noted::First => Ok(Spent::First),
            Noted::FirstAfter(_) => Err(Unavailable("nobody waits for the journal here")),
        }
    }
}

/// A shard is whole at every point where something could panic.
fn lock(part: &Mutex<Part>) -> MutexGuard<'_, Part> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A number for an owner, the same in every process (FNV-1a). Two owners that share one share their room, and nothing else.
pub fn owner_of(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests;
