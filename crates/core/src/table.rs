//! A map that is cheap to copy and to change: readers keep the copy they have, a writer copies only the shard it touches.
//! One with few entries is small, so that there may be many of them.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;

use hashbrown::HashTable;

/// Shards of a map that is no longer small.
const SHARDS: usize = 256;
/// Entries of a map that is small.
const FEW: usize = 64;

type Shard<K, V> = Arc<HashTable<(K, V)>>;

/// A copy-on-write hash map: without shards as long as nothing is in it, in one shard while it has few entries, then in 256.
/// A clone copies as many pointers; a change after it copies one shard. A key is hashed once, with a secret of the process:
/// whoever chooses keys cannot choose where they stand.
#[derive(Debug, Clone)]
pub struct Table<K, V> {
    shards: Box<[Shard<K, V>]>,
    hasher: RandomState,
}

impl<K: Hash + Eq + Clone, V: Clone> Default for Table<K, V> {
    fn default() -> Self {
        Self { shards: Box::default(), hasher: RandomState::new() }
    }
}

/// The shard of a hash among so many. Inside of a shard the lowest bits say where to look, and the highest seven what to look
/// for.
fn shard(hash: u64, shards: usize) -> usize {
    // Their number is a power of two, or 0: then there is none at this place.
    (hash >> 48) as usize & shards.wrapping_sub(1)
}

impl<K: Hash + Eq + Clone, V: Clone> Table<K, V> {
    /// The value of a key.
    pub fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let hash = self.hasher.hash_one(key);
        let shard = self.shards.get(shard(hash, self.shards.len()))?;
        shard.find(hash, |(held, _)| held.borrow() == key).map(|(_, value)| value)
    }

    /// Sets the value of a key and returns the former one.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.make_room();
        let hash = self.hasher.hash_one(&key);
        let at = shard(hash, self.shards.len());
        let held = Arc::make_mut(&mut self.shards[at]);
        if let Some((_, former)) = held.find_mut(hash, |(held, _)| *held == key) {
            return Some(std::mem::replace(former, value));
        }
        held.insert_unique(hash, (key, value), |(held, _)| self.hasher.hash_one(held));
        None
    }

    /// Takes a key out.
    pub fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let hash = self.hasher.hash_one(key);
        let at = shard(hash, self.shards.len());
        let held = self.shards.get_mut(at)?;
        held.find(hash, |(held, _)| held.borrow() == key)?;
        let entry = Arc::make_mut(held).find_entry(hash, |(held, _)| held.borrow() == key).ok()?;
        let ((_, value), _) = entry.remove();
        Some(value)
    }

    /// Makes as many shards as one more entry needs.
    fn make_room(&mut self) {
        let needed = match self.shards.as_ref() {
            [] => 1,
            [only] if only.len() >= FEW => SHARDS,
            _ => return,
        };
        let mut shards = vec![HashTable::new(); needed];
        for (key, value) in self.iter() {
            let hash = self.hasher.hash_one(key);
            let entry = (key.clone(), value.clone());
            shards[shard(hash, needed)].insert_unique(hash, entry, |(held, _)| self.hasher.hash_one(held));
        }
        self.shards = shards.into_iter().map(Arc::new).collect();
    }

    /// Every entry, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.shards.iter().flat_map(|shard| shard.iter().map(|(key, value)| (key, value)))
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
    use std::collections::HashMap;

    use proptest::prelude::*;

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

    #[test]
    fn a_map_with_few_entries_is_small() {
        let mut now: Table<usize, usize> = Table::default();
        assert_eq!(now.get(&0), None);
        assert_eq!((now.remove(&0), now.shards.len()), (None, 0));
        for key in 0..3 * FEW {
            let before = now.clone();
            now.insert(key, key);
            assert_eq!(now.shards.len(), if key < FEW { 1 } else { SHARDS });
            assert!((0..=key).all(|held| now.get(&held) == Some(&held) && before.get(&held).is_some() == (held < key)));
        }
        assert_eq!((now.len(), now.iter().count()), (3 * FEW, 3 * FEW));
    }

    proptest! {
        #[test]
        fn it_holds_what_a_map_holds(changes in proptest::collection::vec((0_u8..200, any::<Option<u8>>()), 0..400)) {
            let (mut table, mut map): (Table<String, u8>, HashMap<String, u8>) = Default::default();
            for (key, value) in changes {
                let key = key.to_string();
                match value {
                    Some(value) => prop_assert_eq!(table.insert(key.clone(), value), map.insert(key.clone(), value)),
                    None => prop_assert_eq!(table.remove(key.as_str()), map.remove(&key)),
                }
                prop_assert_eq!(table.get(key.as_str()), map.get(&key));
            }
            prop_assert_eq!((table.len(), table.is_empty()), (map.len(), map.is_empty()));
            let all: HashMap<String, u8> = table.iter().map(|(key, value)| (key.clone(), *value)).collect();
            prop_assert_eq!(all, map);
        }
    }
}
