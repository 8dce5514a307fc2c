//! A map that is cheap to copy and to change: readers keep the copy they have, a writer copies only the shard it touches.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;

use hashbrown::HashTable;

const SHARDS: usize = 256;

type Shard<K, V> = Arc<HashTable<(K, V)>>;

/// A copy-on-write hash map in 256 shards. A clone copies 256 pointers; a change after it copies one shard. A key is hashed
/// once, with a secret of the process: whoever chooses keys cannot choose where they stand.
#[derive(Debug, Clone)]
pub struct Table<K, V> {
    shards: Box<[Shard<K, V>]>,
    hasher: RandomState,
}

impl<K: Hash + Eq + Clone, V: Clone> Default for Table<K, V> {
    fn default() -> Self {
        let empty = Arc::new(HashTable::new());
        Self { shards: vec![empty; SHARDS].into_boxed_slice(), hasher: RandomState::new() }
    }
}

/// The shard of a hash. Inside of a shard the lowest bits say where to look, and the highest seven what to look for.
fn shard(hash: u64) -> usize {
    (hash >> 48) as usize % SHARDS
}

impl<K: Hash + Eq + Clone, V: Clone> Table<K, V> {
    /// The value of a key.
    pub fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let hash = self.hasher.hash_one(key);
        self.shards[shard(hash)].find(hash, |(held, _)| held.borrow() == key).map(|(_, value)| value)
    }

    /// Sets the value of a key and returns the former one.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let hash = self.hasher.hash_one(&key);
        let held = Arc::make_mut(&mut self.shards[shard(hash)]);
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
        let held = &mut self.shards[shard(hash)];
        held.find(hash, |(held, _)| held.borrow() == key)?;
        let entry = Arc::make_mut(held).find_entry(hash, |(held, _)| held.borrow() == key).ok()?;
        let ((_, value), _) = entry.remove();
        Some(value)
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

    proptest! {
        #[test]
        fn it_holds_what_a_map_holds(changes in proptest::collection::vec((0_u8..40, any::<Option<u8>>()), 0..200)) {
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
