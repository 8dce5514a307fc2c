//! Rate limiter state, what the limits of this node remember: for each key the moment up to which it has used its limit.
//!
//! A key is a keyed hash of the limit's identity (site, kind, name) and of what it counts by, so state outlives every
//! exchange of a snapshot and every change of a limit's numbers, and nothing needs to be told when a limit goes. The
//! state stands in shards, each behind a lock of its own that is held for some hundred nanoseconds; when a shard is
//! full, what has not been used for longest goes.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use portcullis_core::call::Effects;
use portcullis_core::network;

use crate::gcra::{Admittance, Pace};

/// Shards, and locks.
const SHARDS: usize = 64;
/// Memory for keys by default, in bytes.
const BUDGET: usize = 64 << 20;
/// Bytes a key takes at most: an entry and a place in the index, both in tables that have just doubled.
const KEY_BYTES: usize = 2 * size_of::<KeyState>() + 16 * (size_of::<(Key, u32)>() + 1) / 7;
/// How many of the longest unused are looked at for one that has nothing used up.
const LOOKED_AT: usize = 8;
const NONE: u32 = u32::MAX;

/// What is counted, as a keyed hash.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key([u8; 32]);

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(word(&self.0, 1));
    }
}

fn word(bytes: &[u8; 32], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at * 8..at * 8 + 8]);
    u64::from_ne_bytes(word)
}

/// The hash of a key is a part of it: nobody outside can choose it.
#[derive(Default)]
struct Taken(u64);

impl Hasher for Taken {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = word;
    }
}

struct KeyState {
    key: Key,
    horizon: u64,
    /// The pace the horizon was set by.
    pace: Pace,
    newer: u32,
    older: u32,
}

/// A part of the keys, in the order in which they were used.
struct Shard {
    index: HashMap<Key, u32, BuildHasherDefault<Taken>>,
    entries: Vec<KeyState>,
    newest: u32,
    oldest: u32,
    most: u32,
}

impl Shard {
    fn new(most: u32) -> Self {
        Self { index: HashMap::default(), entries: Vec::new(), newest: NONE, oldest: NONE, most }
    }

    /// The entry of a key, which is the newest from now on.
    fn entry(&mut self, key: Key, pace: Pace, now: u64) -> &mut KeyState {
        let at = match self.index.get(&key) {
            Some(at) => {
                let at = *at;
                self.unlink(at);
                at
            }
            None => self.make(key, pace, now),
        };
        self.link(at);
        &mut self.entries[at as usize]
    }

    fn make(&mut self, key: Key, pace: Pace, now: u64) -> u32 {
        let fresh = KeyState { key, horizon: 0, pace, newer: NONE, older: NONE };
        let count = u32::try_from(self.entries.len()).unwrap_or(NONE);
        let at = if count < self.most {
            self.entries.push(fresh);
            count
        } else {
            let at = self.dispensable(now);
            self.unlink(at);
            let former = std::mem::replace(&mut self.entries[at as usize], fresh);
            self.index.remove(&former.key);
            at
        };
        self.index.insert(key, at);
        at
    }

    /// Among the longest unused, the first that has nothing used up; else the very longest unused.
    fn dispensable(&self, now: u64) -> u32 {
        let mut at = self.oldest;
        for _ in 0..LOOKED_AT {
            let Some(entry) = self.entries.get(at as usize) else { break };
            if entry.horizon <= now {
                return at;
            }
            at = entry.newer;
        }
        self.oldest
    }

    fn unlink(&mut self, at: u32) {
        let KeyState { newer, older, .. } = self.entries[at as usize];
        match self.entries.get_mut(newer as usize) {
            Some(entry) => entry.older = older,
            None => self.newest = older,
        }
        match self.entries.get_mut(older as usize) {
            Some(entry) => entry.newer = newer,
            None => self.oldest = newer,
        }
    }

    fn link(&mut self, at: u32) {
        let former = std::mem::replace(&mut self.newest, at);
        match self.entries.get_mut(former as usize) {
            Some(entry) => entry.newer = at,
            None => self.oldest = at,
        }
        let entry = &mut self.entries[at as usize];
        (entry.older, entry.newer) = (former, NONE);
    }
}

/// The state of all limits of a node. One for each node, shared by everything that is compiled on it.
pub struct Limiters {
    secret: [u8; 32],
    shards: Box<[Mutex<Shard>]>,
}

impl Default for Limiters {
    fn default() -> Self {
        Self::with_budget(BUDGET)
    }
}

impl fmt::Debug for Limiters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiters").field("keys", &self.keys()).finish_non_exhaustive()
    }
}

impl Limiters {
    /// With memory for keys of so many bytes.
    pub fn with_budget(bytes: usize) -> Self {
        let most = u32::try_from((bytes / SHARDS / KEY_BYTES).max(1)).unwrap_or(NONE - 1);
        let mut secret = [0; 32];
        for (number, part) in secret.chunks_mut(8).enumerate() {
            part.copy_from_slice(&RandomState::new().hash_one(number).to_ne_bytes());
        }
        Self { secret, shards: (0..SHARDS).map(|_| Mutex::new(Shard::new(most))).collect() }
    }

    /// How many keys are remembered.
    pub fn keys(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).entries.len()).sum()
    }

    /// Begins to write down what is counted.
    pub(crate) fn text(&self) -> KeyText {
        let mut bytes = [0; KeyText::BYTES];
        bytes[..32].copy_from_slice(&self.secret);
        KeyText { bytes, length: 32 }
    }

    /// Takes units for a key, if it has as many left.
    pub(crate) fn take(&self, _: &Effects, key: Key, pace: Pace, units: u32, now: u64) -> Admittance {
        let mut shard = self.shard(key);
        let entry = shard.entry(key, pace, now);
        if entry.pace != pace {
            // The limit has other numbers now.
            entry.horizon = pace.take_over(entry.horizon, entry.pace, now);
            entry.pace = pace;
        }
        let verdict = pace.decide(entry.horizon, units, now);
        if verdict.admitted {
            entry.horizon = verdict.after;
        }
        verdict
    }

    /// What [`Self::take`] would say. Nothing is taken, and the key is no more recent than before.
    pub(crate) fn look(&self, key: Key, pace: Pace, units: u32, now: u64) -> Admittance {
        let shard = self.shard(key);
        let entry = shard.index.get(&key).map(|at| &shard.entries[*at as usize]);
        let horizon = entry.map_or(0, |entry| match entry.pace == pace {
            true => entry.horizon,
            false => pace.take_over(entry.horizon, entry.pace, now),
        });
        pace.decide(horizon, units, now)
    }

    /// Gives back what an admitted call has taken, and no more, also where others have taken of the key since.
    pub(crate) fn give_back(&self, key: Key, verdict: &Admittance) {
        let mut shard = self.shard(key);
        let Some(at) = shard.index.get(&key).copied() else { return };
        let entry = &mut shard.entries[at as usize];
        let taken = verdict.after.saturating_sub(verdict.before);
        // What is forgotten meanwhile has nothing to give back.
        if entry.horizon >= verdict.after {
            entry.horizon -= taken;
        }
    }

    fn shard(&self, key: Key) -> MutexGuard<'_, Shard> {
        lock(&self.shards[usize::from(key.0[0]) % SHARDS])
    }
}

/// A shard is whole at every point where something could panic.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is counted, written down so that no two things look the same: each part with a mark and its length, behind
/// the node's secret. A part that is long stands as its hash, so the text has its place on the stack.
pub(crate) struct KeyText {
    bytes: [u8; Self::BYTES],
    length: usize,
}

impl KeyText {
    const BYTES: usize = 32 + Self::PARTS * (2 + Self::LONGEST);
    /// Parts a text has at most.
    pub(crate) const PARTS: usize = 8;
    /// Bytes of a part that stands as it is.
    const LONGEST: usize = 48;
    /// The mark of a part that stands as its hash.
    const HASHED: u8 = 0x80;

    /// Adds a part. Marks are below 0x80; what is more than [`Self::PARTS`] does not count.
    pub(crate) fn push(&mut self, mark: u8, part: &[u8]) {
        match u8::try_from(part.len()) {
            Ok(length) if part.len() <= Self::LONGEST => self.write(mark, length, part),
            _ => self.write(mark | Self::HASHED, 32, digest(&SHA256, part).as_ref()),
        }
    }

    /// Adds an address, as the network of one caller.
    pub(crate) fn push_address(&mut self, address: IpAddr) {
        match network::of(address) {
            IpAddr::V4(address) => self.push(1, &address.octets()),
            IpAddr::V6(address) => self.push(1, &address.octets()),
        }
    }

    fn write(&mut self, mark: u8, length: u8, part: &[u8]) {
        let end = self.length + 2 + part.len();
        if let Some([at_mark, at_length, rest @ ..]) = self.bytes.get_mut(self.length..end) {
            (*at_mark, *at_length) = (mark, length);
            rest.copy_from_slice(part);
            self.length = end;
        }
    }

    /// The key it stands for.
    pub(crate) fn key(&self) -> Key {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, &self.bytes[..self.length]).as_ref());
        Key(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gcra::SECOND;
    use proptest::prelude::*;
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

    fn key(limiters: &Limiters, parts: &[&str]) -> Key {
        let mut text = limiters.text();
        parts.iter().for_each(|part| text.push(1, part.as_bytes()));
        text.key()
    }

    fn pace(units: u32, seconds: u32, burst: u32) -> Pace {
        Pace::new(units, seconds, burst).expect("a pace")
    }

    #[test]
    fn keys_differ_as_what_they_stand_for_differs() {
        let limiters = Limiters::default();
        let long = "x".repeat(600);
        let texts: [&[&str]; 6] = [&["ab", "c"], &["a", "bc"], &["abc"], &["", "abc"], &[&long], &[&long[1..]]];
        for (at, one) in texts.iter().enumerate() {
            for (other_at, other) in texts.iter().enumerate() {
                assert_eq!(key(&limiters, one) == key(&limiters, other), at == other_at, "{one:?} {other:?}");
            }
        }
        let elsewhere = Limiters::default();
        assert!(key(&limiters, &["a"]) != key(&elsewhere, &["a"]), "a secret of its own");
    }

    #[test]
    fn threads_together_are_admitted_no_more_than_one_alone() {
        // The time moves on while eight threads take as much as they can; none knows how far the others have read it.
        let (limiters, now, admitted) = (Limiters::default(), AtomicU64::new(0), AtomicU64::new(0));
        let (pace, key) = (pace(1_000, 1, 50), key(&limiters, &["one"]));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        let at = now.fetch_add(SECOND / 100_000, SeqCst);
                        if limiters.take(&Effects::outside_of_calls(), key, pace, 1, at).admitted {
                            admitted.fetch_add(1, SeqCst);
                        }
                    }
                });
            }
        });
        // 1.6 seconds have passed.
        assert_eq!(now.load(SeqCst), 16 * SECOND / 10);
        let admitted = admitted.load(SeqCst);
        assert!((1_500..=1_650).contains(&admitted), "{admitted}");
    }

    #[test]
    fn looking_says_what_taking_would_and_takes_nothing() {
        let limiters = Limiters::with_budget(0);
        let (narrow, wide) = (pace(1, 1, 2), pace(1, 1, 4));
        let (one, other) = (key(&limiters, &["one"]), key(&limiters, &["other"]));
        for round in 0..4 {
            for pace in [narrow, wide] {
                let seen = limiters.look(one, pace, 1, SECOND);
                assert_eq!(seen, limiters.look(one, pace, 1, SECOND), "a look changes nothing");
                let taken = limiters.take(&Effects::outside_of_calls(), one, pace, 1, SECOND);
                assert_eq!(seen, taken, "{round}");
            }
        }
        let known = limiters.keys();
        assert!(limiters.look(other, narrow, 1, SECOND).admitted);
        assert_eq!(limiters.keys(), known, "a key that is only looked at is not remembered");
    }

    proptest! {
        #[test]
        fn never_more_than_the_rate_and_a_burst(
            units in 1_u32..100, seconds in 1_u32..100, burst in 1_u32..10,
            calls in proptest::collection::vec((0..3 * SECOND, 0..SECOND, 1_u32..4, any::<bool>()), 1..80),
        ) {
            // Some read the clock before others and come to the lock after them; some give back what they took.
            let limiters = Limiters::default();
            let (pace, key) = (pace(units, seconds, burst), key(&limiters, &["one"]));
            let (mut clock, mut kept) = (SECOND, Vec::new());
            for (pause, late, cost, gives_back) in calls {
                clock += pause;
                let now = clock - late;
                let verdict = limiters.take(&Effects::outside_of_calls(), key, pace, cost, now);
                if verdict.admitted && gives_back {
                    limiters.give_back(key, &verdict);
                } else if verdict.admitted {
                    kept.push((now, u128::from(cost)));
                }
            }
            let (units, whole) = (u128::from(units), u128::from(seconds) * u128::from(SECOND));
            for (from, _) in &kept {
                for (to, _) in kept.iter().filter(|(to, _)| to >= from) {
                    let within = kept.iter().filter(|(at, _)| (from..=to).contains(&at));
                    let sum: u128 = within.map(|(_, cost)| cost).sum();
                    // sum <= elapsed * units / seconds + burst, without a fraction
                    prop_assert!(sum * whole <= u128::from(to - from) * units + u128::from(burst) * whole);
                }
            }
        }
    }

    #[test]
    fn new_numbers_count_at_once_and_forgive_nothing() {
        let limiters = Limiters::default();
        let key = key(&limiters, &["one"]);
        let slow = pace(1, 3_600, 10);
        assert!((0..10).all(|_| limiters.take(&Effects::outside_of_calls(), key, slow, 1, 0).admitted));
        assert!(!limiters.take(&Effects::outside_of_calls(), key, slow, 1, 0).admitted);
        // More is used than there is now: nothing is admitted, and it comes back as fast as the new numbers say.
        let fast = pace(1, 1, 5);
        assert!(!limiters.take(&Effects::outside_of_calls(), key, fast, 1, 0).admitted);
        assert!(limiters.take(&Effects::outside_of_calls(), key, fast, 1, SECOND).admitted);
        assert!(!limiters.take(&Effects::outside_of_calls(), key, fast, 1, SECOND).admitted);
        // Five are used; of seven, two are left.
        let wide = pace(1, 60, 7);
        assert!(limiters.take(&Effects::outside_of_calls(), key, wide, 2, SECOND).admitted);
        assert!(!limiters.take(&Effects::outside_of_calls(), key, wide, 1, SECOND).admitted);
    }

    #[test]
    fn what_is_given_back_can_be_taken_again_once() {
        let limiters = Limiters::default();
        let (pace, key) = (pace(1, 60, 1), key(&limiters, &["one"]));
        let verdict = limiters.take(&Effects::outside_of_calls(), key, pace, 1, 0);
        assert!(verdict.admitted && !limiters.take(&Effects::outside_of_calls(), key, pace, 1, 0).admitted);
        limiters.give_back(key, &verdict);
        limiters.give_back(key, &verdict);
        assert!(
            limiters.take(&Effects::outside_of_calls(), key, pace, 1, 0).admitted
                && !limiters.take(&Effects::outside_of_calls(), key, pace, 1, 0).admitted
        );
    }

    #[test]
    fn what_is_given_back_is_given_back_also_when_others_have_taken_since() {
        let limiters = Limiters::default();
        let (pace, key) = (pace(1, 60, 3), key(&limiters, &["one"]));
        let verdict = limiters.take(&Effects::outside_of_calls(), key, pace, 1, 0);
        assert!(limiters.take(&Effects::outside_of_calls(), key, pace, 1, 0).admitted);
        limiters.give_back(key, &verdict);
        let left: Vec<bool> =
            (0..3).map(|_| limiters.take(&Effects::outside_of_calls(), key, pace, 1, 0).admitted).collect();
        assert_eq!(left, [true, true, false], "one of three is used");
    }

    #[test]
    fn memory_is_bounded_and_the_longest_unused_goes() {
        let limiters = Limiters::with_budget(SHARDS * KEY_BYTES * 4);
        let pace = pace(1, 60, 1);
        let keep = key(&limiters, &["keep"]);
        assert!(limiters.take(&Effects::outside_of_calls(), keep, pace, 1, 0).admitted);
        for number in 0..10_000 {
            limiters.take(&Effects::outside_of_calls(), key(&limiters, &[&number.to_string()]), pace, 1, 0);
            assert!(!limiters.take(&Effects::outside_of_calls(), keep, pace, 1, 0).admitted, "a key in use stays");
        }
        assert_eq!(limiters.keys(), SHARDS * 4);
        for shard in &limiters.shards {
            let shard = lock(shard);
            assert_eq!((shard.index.len(), shard.entries.len()), (4, 4));
        }
    }

    #[test]
    fn a_key_takes_no_more_memory_than_is_counted_for_it() {
        for most in [1, 7, 8, 100, 5_000] {
            let mut shard = Shard::new(most);
            for number in 0..u64::from(most) + 10 {
                let mut bytes = [0; 32];
                bytes[8..16].copy_from_slice(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_ne_bytes());
                shard.entry(Key(bytes), pace(1, 1, 1), 0);
            }
            // The index has a byte more for each place, and seven in eight places are used at most.
            let index = shard.index.capacity() * 8 / 7 * (size_of::<(Key, u32)>() + 1);
            let bytes = shard.entries.capacity() * size_of::<KeyState>() + index;
            assert!(bytes <= most.max(8) as usize * KEY_BYTES, "{bytes} for {most}");
        }
    }

    #[test]
    fn what_has_nothing_used_up_goes_first() {
        let mut shard = Shard::new(3);
        let pace = pace(1, 1, 1);
        let key = |number: u8| Key([number; 32]);
        for (number, horizon) in [(1, 500), (2, 10), (3, 500)] {
            shard.entry(key(number), pace, 0).horizon = horizon;
        }
        shard.entry(key(4), pace, 100);
        assert!(!shard.index.contains_key(&key(2)) && shard.index.contains_key(&key(1)));
        shard.entry(key(5), pace, 100);
        assert!(!shard.index.contains_key(&key(4)), "never used: nothing is lost with it");
        shard.entry(key(5), pace, 100).horizon = 500;
        shard.entry(key(6), pace, 100);
        assert!(!shard.index.contains_key(&key(1)), "all have something used up: the longest unused");
    }
}
