//! A shard of the replay cache: nonces, found by their hash and dropped bucket by bucket when they are over.
//!
//! Entries stand in one vector, in a chain for each place of the index and in a list for each bucket of time. Its room is
//! reserved with the first entry and does not grow, so nothing is allocated or moved for an entry, and a nonce is never
//! dropped before it is over.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use crate::ports::Unavailable;

/// Seconds of a bucket. A nonce is kept up to so much longer than it has to be.
pub(super) const BUCKET: u64 = 16;
/// Entries a shard has room for at least.
const LEAST: usize = 16;
/// Bytes of an entry, with its place in the index.
const ENTRY_BYTES: usize = size_of::<Entry>() + size_of::<u32>();
/// Bytes of an owner, in a table that is half empty, and of a bucket, in a tree whose nodes are.
const NODE_BYTES: usize = 40;
const NONE: u32 = u32::MAX;
/// A table of owners with fewer than one in so many places taken is made smaller.
const SPARSE: usize = 8;

/// What is kept of something that may happen once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nonce {
    /// What it is, as a hash.
    pub key: [u8; 32],
    /// On whose account it is kept, as [`owner_of`](super::owner_of) says.
    pub owner: u64,
    /// The last second in which it would be taken for the first time if it was not kept.
    pub until: u64,
}

struct Entry {
    key: [u8; 32],
    owner: u64,
    /// The next of its chain in the index.
    chain: u32,
    /// The next of its bucket, or the next free place.
    next: u32,
}

/// How many entries each owner has. Of many owners each call looks at another one, so that what counts is how far apart in
/// memory the places are that it looks at.
struct Owners {
    counts: HashTable<(u64, u32)>,
    /// Whoever chooses names cannot choose where they stand.
    secret: [u64; 2],
}

impl Owners {
    fn new(hasher: &RandomState) -> Self {
        Self { counts: HashTable::new(), secret: [hasher.hash_one(0), hasher.hash_one(1) | 1] }
    }

    fn len(&self) -> usize {
        self.counts.len()
    }

    /// An owner is a hash already, which is mixed with the secret by one multiplication.
    fn hash(secret: [u64; 2], owner: u64) -> u64 {
        let product = u128::from(owner ^ secret[0]) * u128::from(secret[1]);
        product as u64 ^ (product >> 64) as u64
    }

    fn get(&self, owner: u64) -> Option<u32> {
        let found = self.counts.find(Self::hash(self.secret, owner), |(held, _)| *held == owner);
        found.map(|(_, count)| *count)
    }

    fn add_one(&mut self, owner: u64) {
        let secret = self.secret;
        let hash = |(held, _): &(u64, u32)| Self::hash(secret, *held);
        let entry = self.counts.entry(Self::hash(secret, owner), |(held, _)| *held == owner, hash);
        entry.or_insert((owner, 0)).into_mut().1 += 1;
    }

    fn take_one(&mut self, owner: u64) {
        let secret = self.secret;
        let Ok(mut entry) = self.counts.find_entry(Self::hash(secret, owner), |(held, _)| *held == owner) else {
            return;
        };
        entry.get_mut().1 -= 1;
        if entry.get().1 > 0 {
            return;
        }
        entry.remove();
        if self.counts.len() < self.counts.capacity() / SPARSE {
            // What it does not need any more is the entries'.
            self.counts.shrink_to(self.counts.len() * 2, |(held, _)| Self::hash(secret, *held));
        }
    }
}

pub(super) struct Shard {
    entries: Vec<Entry>,
    index: Box<[u32]>,
    free: u32,
    held: usize,
    owners: Owners,
    /// The first entry of each bucket.
    buckets: BTreeMap<u64, u32>,
    budget: usize,
    hasher: RandomState,
}

impl Shard {
    /// With so many bytes for entries, and with the hasher their hashes come from.
    pub(super) fn new(budget: usize, hasher: RandomState) -> Self {
        Self {
            entries: Vec::new(),
            index: Box::default(),
            free: NONE,
            held: 0,
            owners: Owners::new(&hasher),
            buckets: BTreeMap::new(),
            budget: budget.clamp(LEAST * ENTRY_BYTES, NONE as usize * ENTRY_BYTES),
            hasher,
        }
    }

    pub(super) fn held(&self) -> usize {
        self.held
    }

    pub(super) fn bytes(&self) -> usize {
        self.held * ENTRY_BYTES + (self.owners.len() + self.buckets.len()) * NODE_BYTES
    }

    /// Entries there is room for at most.
    fn most(&self) -> usize {
        self.budget / ENTRY_BYTES
    }

    pub(super) fn has(&self, hash: u64, key: &[u8; 32]) -> bool {
        let mut at = self.index.get(self.place(hash)).copied().unwrap_or(NONE);
        while let Some(entry) = self.entries.get(at as usize) {
            if entry.key == *key {
                return true;
            }
            at = entry.chain;
        }
        false
    }

    /// Whether there is room for one more of an owner. One owner has half of the room at most, and the last eighth is for
    /// those who have less than a 64th.
    pub(super) fn has_room_for(&self, nonce: &Nonce) -> Result<(), Unavailable> {
        let (most, own) = (self.most(), self.owners.get(nonce.owner).map_or(0, |count| count as usize));
        if !self.fits(nonce) {
            return Err(Unavailable("the memory for nonces is full"));
        }
        if own >= most / 2 {
            return Err(Unavailable("one client has taken half of the memory for nonces"));
        }
        if self.bytes() >= self.budget - self.budget / 8 && own >= (most / 64).max(1) {
            return Err(Unavailable("the rest of the memory for nonces is for clients that have few"));
        }
        Ok(())
    }

    /// Whether there is room for one more, whose ever it is.
    pub(super) fn fits(&self, nonce: &Nonce) -> bool {
        let is_new = [self.owners.get(nonce.owner).is_some(), self.buckets.contains_key(&(nonce.until / BUCKET))];
        let nodes = is_new.into_iter().filter(|there| !there).count();
        self.held < self.most() && self.bytes() + ENTRY_BYTES + nodes * NODE_BYTES <= self.budget
    }

    /// Adds one that is not there, and that fits.
    pub(super) fn add(&mut self, hash: u64, nonce: &Nonce) {
        if self.index.is_empty() {
            self.entries.reserve_exact(self.most());
            // As many places as there are entries at most, and a power of two.
            self.index = vec![NONE; 1 << self.most().ilog2()].into();
        }
        let place = self.place(hash);
        let first = self.buckets.entry(nonce.until / BUCKET).or_insert(NONE);
        let entry = Entry { key: nonce.key, owner: nonce.owner, chain: self.index[place], next: *first };
        let at = match self.entries.get_mut(self.free as usize) {
            Some(free) => {
                let at = self.free;
                self.free = std::mem::replace(free, entry).next;
                at
            }
            None => {
                self.entries.push(entry);
                u32::try_from(self.entries.len() - 1).unwrap_or(NONE)
            }
        };
        self.index[place] = at;
        *first = at;
        self.owners.add_one(nonce.owner);
        self.held += 1;
    }

    /// Drops entries of buckets that are over, so many at most. Tells the last second of the latest bucket that it has
    /// begun to drop: of what was to be taken until then, nothing is known any more.
    pub(super) fn drop_over(&mut self, now: u64, most: usize) -> Option<u64> {
        let mut horizon = None;
        for _ in 0..most {
            let Some(first) = self.buckets.first_entry() else { break };
            let (bucket, at) = (*first.key(), *first.get());
            if !is_over(bucket, now) {
                break;
            }
            horizon = Some(last_of(bucket));
            match self.entries[at as usize].next {
                NONE => drop(first.remove()),
                next => *first.into_mut() = next,
            }
            self.release(at);
        }
        horizon
    }

    fn release(&mut self, at: u32) {
        let Entry { key, owner, chain, .. } = &self.entries[at as usize];
        let (place, owner, chain) = (self.place(self.hasher.hash_one(key)), *owner, *chain);
        let mut before = self.index[place];
        if before == at {
            self.index[place] = chain;
        } else {
            while let Some(entry) = self.entries.get_mut(before as usize) {
                if entry.chain == at {
                    entry.chain = chain;
                    break;
                }
                before = entry.chain;
            }
        }
        self.entries[at as usize].next = std::mem::replace(&mut self.free, at);
        self.held -= 1;
        self.owners.take_one(owner);
    }

    fn place(&self, hash: u64) -> usize {
        // The index has a power of two of places. What is cut off of a hash on a small machine does not matter.
        hash as usize & self.index.len().wrapping_sub(1)
    }
}

/// The last second of a bucket.
pub(super) fn last_of(bucket: u64) -> u64 {
    bucket.saturating_mul(BUCKET).saturating_add(BUCKET - 1)
}

/// Whether what was to be taken in a bucket would not be taken any more.
pub(super) fn is_over(bucket: u64, now: u64) -> bool {
    last_of(bucket) < now
}

#[cfg(test)]
impl Shard {
    pub(super) fn report_most(&self) -> usize {
        self.most()
    }

    pub(super) fn owners(&self) -> usize {
        self.owners.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nonce(number: u64, owner: u64, until: u64) -> Nonce {
        let mut key = [7; 32];
        key[..8].copy_from_slice(&number.to_le_bytes());
        Nonce { key, owner, until }
    }

    fn add(shard: &mut Shard, nonce: &Nonce) {
        let hash = shard.hasher.hash_one(nonce.key);
        shard.add(hash, nonce);
    }

    fn has(shard: &Shard, nonce: &Nonce) -> bool {
        shard.has(shard.hasher.hash_one(nonce.key), &nonce.key)
    }

    #[test]
    fn places_are_used_again_and_nothing_is_moved() {
        let mut shard = Shard::new(100 * ENTRY_BYTES + 20 * NODE_BYTES, RandomState::new());
        let (mut from, mut reserved) = (0, None);
        for round in 0..50_u64 {
            let until = 1_000 + round * BUCKET;
            let nonces: Vec<_> = (0..100).map(|number| nonce(from + number, number % 3, until)).collect();
            from += 100;
            for nonce in &nonces {
                assert!(shard.fits(nonce) && !has(&shard, nonce));
                add(&mut shard, nonce);
            }
            assert!(nonces.iter().all(|nonce| has(&shard, nonce)));
            let room = (shard.entries.capacity(), shard.entries.as_ptr(), shard.index.len());
            assert_eq!(*reserved.get_or_insert(room), room);
            assert_eq!(shard.drop_over(until, 1_000), None, "it would still be taken");
            let horizon = last_of(until / BUCKET);
            assert_eq!(shard.drop_over(horizon + 1, 30), Some(horizon), "a few at a time");
            assert_eq!(nonces.iter().filter(|nonce| has(&shard, nonce)).count(), 70);
            assert_eq!(shard.drop_over(horizon + 1, 1_000), Some(horizon));
            assert!(!nonces.iter().any(|nonce| has(&shard, nonce)));
            assert_eq!((shard.held, shard.bytes(), shard.owners.len(), shard.buckets.len()), (0, 0, 0, 0));
        }
    }

    #[test]
    fn owners_and_buckets_count_too() {
        let budget = 100 * ENTRY_BYTES;
        let mut shard = Shard::new(budget, RandomState::new());
        let mut number = 0;
        while shard.fits(&nonce(number, number, number * BUCKET)) {
            add(&mut shard, &nonce(number, number, number * BUCKET));
            number += 1;
        }
        let each = ENTRY_BYTES + 2 * NODE_BYTES;
        assert_eq!(number as usize, budget / each);
        assert!(shard.bytes() <= budget);
        assert_eq!(size_of::<Entry>(), 48);
    }
}
