//! A map that is cheap to copy and to change: readers keep the copy they have, a writer copies only the shard it touches.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;

const SHARDS: usize = 256;

/// A copy-on-write hash map in 256 shards. A clone copies 256 pointers; a change after it copies one shard.
#[derive(Debug, Clone)]
pub struct Table<K, V> {
    shards: Box<[Arc<HashMap<K, V, RandomState>>]>,
    hasher: RandomState,
}

impl<K: Hash + Eq + Clone, V: Clone> Default for Table<K, V> {
    fn default() -> Self {
        let hasher = RandomState::new();
        let empty = Arc::new(HashMap::with_hasher(hasher.clone()));
        Self { shards: vec![empty; SHARDS].into_boxed_slice(), hasher }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Table<K, V> {
    fn shard<Q: Hash + ?Sized>(&self, key: &Q) -> usize {
        // The high bits: the maps inside use the low ones.
        (self.hasher.hash_one(key) >> 56) as usize % SHARDS
    }

    /// The value of a key.
    pub fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.shards[self.shard(key)].get(key)
    }

    /// Sets the value of a key and returns the former one.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let shard = self.shard(&key);
        Arc::make_mut(&mut self.shards[shard]).insert(key, value)
    }

    /// Takes a key out.
    pub fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let shard = self.shard(key);
        self.shards[shard].get(key)?;
        Arc::make_mut(&mut self.shards[shard]).remove(key)
    }

    /// Every entry, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.shards.iter().flat_map(|shard| shard.iter())
    }

    /// How many keys it holds.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.len()).sum()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.shards.iter().all(|shard| shard.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_does_not_see_later_changes() {
        let mut now = Table::default();
        for key in 0..2_000 {
            now.insert(key, key * 2);
        }
        let before = now.clone();
        now.insert(7, 0);
        now.remove(&8);
        assert_eq!((before.get(&7), before.get(&8), before.len()), (Some(&14), Some(&16), 2_000));
        assert_eq!((now.get(&7), now.get(&8), now.len()), (Some(&0), None, 1_999));
    }

    #[test]
    fn a_change_copies_one_shard() {
        let mut now: Table<u32, u32> = Table::default();
        for key in 0..2_000 {
            now.insert(key, key);
        }
        let before = now.clone();
        now.insert(5, 6);
        let shared = now.shards.iter().zip(&before.shards).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
        assert_eq!(shared, SHARDS - 1);
    }
}
