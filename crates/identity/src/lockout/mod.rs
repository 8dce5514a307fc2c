//! Brute-force protection of logins (lockout): password guessing is slowed down, and nobody can lock a stranger out for
//! long by it.
//!
//! Five things are remembered, each in a table with a most, under keyed hashes of what callers choose: failures of a
//! user from an address block, failures of a block with any user, failures of a user from blocks that are strange to
//! it, from which blocks a user has logged in, and failures of a block at the Auth API of a client (`elsewhere`). Every guess is counted before its password is looked at, so guesses
//! made at once are no way around. `docs/adr/0008` tells the reasons.

mod counter;
mod elsewhere;
mod table;

use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use portcullis_core::network;
use portcullis_core::ports::Clock;
use portcullis_core::refusal::Refusal;
use serde::Serialize;

use counter::{Counter, Pace};
use table::{Key, Table};

pub use elsewhere::Elsewhere;

/// Counters of a kind that a node remembers, where nothing else is set; some 200 bytes each.
pub const DEFAULT_ENTRIES: usize = 65_536;
/// Blocks a user is remembered to have logged in from.
const KNOWN_BLOCKS: usize = 8;
/// In this time one failure from a strange block is forgotten.
const STRANGE: u64 = 60_000_000_000;
/// The first wait of counters that many share.
const SECOND: u64 = 1_000_000_000;
/// How often the node says that it cannot tell callers apart.
const LOUD: Duration = Duration::from_secs(60);

/// How patient a node is with wrong passwords.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockoutSettings {
    /// Failures of one user from one block at which the first wait begins.
    pub failures: usize,
    /// The first wait; each further failure doubles it.
    pub first_wait: Duration,
    /// The longest wait.
    pub longest_wait: Duration,
    /// Failures of one user from blocks strange to it, beyond which a strange block waits before its first guess.
    pub user_failures: usize,
    /// For how long it waits.
    pub user_wait: Duration,
    /// Failures of one block with any users at which it begins to wait.
    pub address_failures: usize,
    /// The longest wait of a block.
    pub address_wait: Duration,
    /// Counters of a kind that are remembered.
    pub entries: usize,
}

impl Default for LockoutSettings {
    fn default() -> Self {
        Self {
            failures: 10,
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(900),
            user_failures: 50,
            user_wait: Duration::from_secs(15),
            address_failures: 100,
            address_wait: Duration::from_secs(60),
            entries: DEFAULT_ENTRIES,
        }
    }
}

/// Where a login comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoginOrigin {
    /// The caller's address, as far as it is known.
    pub address: IpAddr,
    /// That it is the address of a proxy, behind which nobody can be told apart.
    pub shared: bool,
}

impl From<IpAddr> for LoginOrigin {
    fn from(address: IpAddr) -> Self {
        Self { address, shared: false }
    }
}

/// What has happened since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LockoutReport {
    /// Passwords that were wrong.
    pub failed: u64,
    /// Logins refused before their password was looked at.
    pub refused: u64,
    /// Logins for which nothing could be counted by address, because a proxy is not trusted.
    pub by_untrusted_proxies: u64,
    /// The last such proxy.
    pub untrusted_proxy: Option<IpAddr>,
}

/// A user and a block.
#[derive(Debug, Default)]
struct Pair {
    counter: Counter,
    /// It has asked while strange blocks had to wait, and waits or has waited.
    knocked: bool,
}

struct Tables {
    pairs: Table<Pair>,
    blocks: Table<Counter>,
    users: Table<Counter>,
    /// The latest first.
    known: Table<Vec<u64>>,
    /// Failures at Auth APIs.
    elsewhere: Table<Counter>,
    report: LockoutReport,
    loud_again: Duration,
}

/// The counters of a node.
pub struct Lockout {
    own: Pace,
    strict: Pace,
    block: Pace,
    strangers: Pace,
    shared: Pace,
    user_wait: u64,
    hashers: [RandomState; 2],
    tables: Mutex<Tables>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Lockout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lockout").field("own", &self.own).finish_non_exhaustive()
    }
}

impl Lockout {
    /// With nothing counted yet.
    pub fn new(settings: &LockoutSettings, clock: Arc<dyn Clock>) -> Self {
        let pace = |free: usize, first: u64, longest: Duration| {
            let longest = nanos(longest).max(1);
            Pace { free: (free as u64).max(1), first: first.clamp(1, longest), longest }
        };
        let most = settings.entries;
        Self {
            own: pace(settings.failures, nanos(settings.first_wait), settings.longest_wait),
            strict: pace(1, nanos(settings.user_wait), settings.longest_wait),
            block: pace(settings.address_failures, SECOND, settings.address_wait),
            strangers: Pace { free: (settings.user_failures as u64).max(1), first: STRANGE, longest: STRANGE },
            shared: pace(settings.user_failures, SECOND, settings.user_wait),
            user_wait: nanos(settings.user_wait),
            hashers: [RandomState::new(), RandomState::new()],
            tables: Mutex::new(Tables {
                pairs: Table::new(most),
                blocks: Table::new(most),
                users: Table::new(most),
                known: Table::new(most),
                elsewhere: Table::new(most),
                report: LockoutReport::default(),
                loud_again: Duration::ZERO,
            }),
            clock,
        }
    }

    /// What has happened since the start.
    pub fn report(&self) -> LockoutReport {
        self.tables().report.clone()
    }

    /// Takes a guess on, or says how long to wait. Whether there is such a user makes no difference.
    pub(crate) fn admit(&self, username: &str, from: LoginOrigin) -> Result<Attempt<'_>, Refusal> {
        let block = network::of(from.address);
        let mut attempt = Attempt {
            lockout: self,
            user: self.key((0_u8, username)),
            pair: self.key((1_u8, from.shared, username, block)),
            block: (!from.shared).then(|| self.key((2_u8, block))),
            mark: self.hashers[0].hash_one(block),
            known: false,
            open: false,
        };
        let now = self.now();
        let mut tables = self.tables();
        if from.shared {
            self.complain(&mut tables, from.address);
        }
        attempt.known = tables.known.get(attempt.user).is_some_and(|blocks| blocks.contains(&attempt.mark));
        if let Err((private, wait)) = self.ask(&mut tables, &attempt, now) {
            tables.report.refused += 1;
            return Err(Refusal::LoginLocked { private, retry_after: Duration::from_nanos(wait) });
        }
        attempt.open = true;
        Ok(attempt)
    }

    /// Counts a guess in everything it may fail in, unless something makes it wait.
    fn ask(&self, tables: &mut Tables, attempt: &Attempt<'_>, now: u64) -> Result<(), (&'static str, u64)> {
        let check = |wait: u64, which| if wait == 0 { Ok(()) } else { Err((which, wait)) };
        let pace = self.pace(tables, attempt, now);
        let pair = tables.pairs.get(attempt.pair);
        check(pair.map_or(0, |pair| pair.counter.wait(pace, now)), "this user from this address")?;
        if let Some(block) = attempt.block {
            let wait = tables.blocks.get(block).map_or(0, |counter| counter.wait(self.block, now));
            if !attempt.known {
                check(wait, "this address")?;
                let fresh = pair.is_none_or(|pair| !pair.knocked && pair.counter.level(self.own, now) == 0);
                if fresh && self.is_beset(tables, attempt.user, now) && self.user_wait > 0 {
                    let pair = tables.pairs.entry(attempt.pair, |pair| pair.counter.is_clean(now));
                    pair.knocked = true;
                    pair.counter.close_for(self.user_wait, now);
                    return Err(("this user from new addresses", self.user_wait));
                }
            }
            tables.blocks.entry(block, |counter| counter.is_clean(now)).reserve();
        }
        tables.pairs.entry(attempt.pair, |pair| pair.counter.is_clean(now)).counter.reserve();
        Ok(())
    }

    /// What applies to a user and a block: less patience where somebody is at work already.
    fn pace(&self, tables: &Tables, attempt: &Attempt<'_>, now: u64) -> Pace {
        let Some(block) = attempt.block else { return self.shared };
        let beset = if attempt.known {
            let counter = tables.blocks.get(block);
            counter.is_some_and(|counter| counter.level(self.block, now) >= self.block.free)
        } else {
            self.is_beset(tables, attempt.user, now)
        };
        if beset { self.strict } else { self.own }
    }

    /// Whether a user is being guessed at from many strange blocks.
    fn is_beset(&self, tables: &Tables, user: Key, now: u64) -> bool {
        tables.users.get(user).is_some_and(|counter| counter.level(self.strangers, now) >= self.strangers.free)
    }

    fn complain(&self, tables: &mut Tables, proxy: IpAddr) {
        tables.report.by_untrusted_proxies += 1;
        tables.report.untrusted_proxy = Some(proxy);
        let now = self.clock.monotonic();
        if now >= tables.loud_again {
            tables.loud_again = now + LOUD;
            tracing::warn!(
                %proxy,
                "logins come through a proxy that is not trusted or does not say for whom it speaks: lock-out by address \
                 is OFF for them; name it in 'trusted_proxies' and let it set X-Forwarded-For"
            );
        }
    }

    /// What a caller chose, as nobody can foresee it.
    fn key(&self, what: impl Hash + Copy) -> Key {
        let [high, low] = self.hashers.each_ref().map(|hasher| u128::from(hasher.hash_one(what)));
        high << 64 | low
    }

    fn now(&self) -> u64 {
        nanos(self.clock.monotonic())
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A guess that was taken on. It must be told how it ended; one that is dropped was not verified and does not count.
#[must_use]
pub(crate) struct Attempt<'a> {
    lockout: &'a Lockout,
    user: Key,
    pair: Key,
    /// None where the address is not the caller's.
    block: Option<Key>,
    /// The block among those the user is known from.
    mark: u64,
    known: bool,
    open: bool,
}

impl Attempt<'_> {
    /// The password was wrong, or there is no such user.
    pub(crate) fn failed(mut self) {
        self.open = false;
        let (lockout, now) = (self.lockout, self.lockout.now());
        let mut tables = lockout.tables();
        tables.report.failed += 1;
        let pace = lockout.pace(&tables, &self, now);
        let pair = tables.pairs.entry(self.pair, |pair| pair.counter.is_clean(now));
        pair.knocked = false;
        pair.counter.fail(pace, now);
        let Some(block) = self.block else { return };
        tables.blocks.entry(block, |counter| counter.is_clean(now)).fail(lockout.block, now);
        if !self.known {
            tables.users.entry(self.user, |counter| counter.is_clean(now)).note(lockout.strangers, now);
        }
    }

    /// The password was right.
    pub(crate) fn succeeded(mut self) {
        self.open = false;
        let now = self.lockout.now();
        let mut tables = self.lockout.tables();
        let pair = tables.pairs.entry(self.pair, |pair| pair.counter.is_clean(now));
        pair.knocked = false;
        let Some(block) = self.block else {
            // Whoever shares the proxy with the guesser does not wipe the guesses away.
            pair.counter.release();
            return;
        };
        pair.counter.succeed();
        // With a password of one's own the guesses at others' are not wiped away.
        tables.blocks.entry(block, |counter| counter.is_clean(now)).release();
        let blocks = tables.known.entry(self.user, |_| false);
        blocks.retain(|mark| *mark != self.mark);
        blocks.insert(0, self.mark);
        blocks.truncate(KNOWN_BLOCKS);
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        let now = self.lockout.now();
        let mut tables = self.lockout.tables();
        tables.pairs.entry(self.pair, |pair| pair.counter.is_clean(now)).counter.release();
        if let Some(block) = self.block {
            tables.blocks.entry(block, |counter| counter.is_clean(now)).release();
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
