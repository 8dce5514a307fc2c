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
/// Entries of one that is tiny.
const TINY: usize = 4;

type Shard<K, V> = Arc<HashTable<(K, V)>>;

/// A copy-on-write hash map: as long as it is tiny it is a list, while it has few entries one table, then 256 of them. A clone
/// copies as many pointers; a change after it copies one shard. A key is hashed once, with a secret of the process: whoever
/// chooses keys cannot choose where they stand.
#[derive(Debug, Clone)]
pub struct Table<K, V> {
    held: Held<K, V>,
    hasher: RandomState,
}

#[derive(Debug, Clone)]
enum Held<K, V> {
    Nothing,
    /// Entries side by side, which are compared one by one: where there are many such maps, and each call looks into another
    /// one, what costs is how many places in memory it looks at.
    List(Arc<[(K, V)]>),
    /// A power of two of shards.
    Shards(Box<[Shard<K, V>]>),
}

impl<K: Hash + Eq + Clone, V: Clone> Default for Table<K, V> {
    fn default() -> Self {
        Self { held: Held::Nothing, hasher: RandomState::new() }
    }
}

/// The shard of a hash among so many. Inside of a shard the lowest bits say where to look, and the highest seven what to look
/// for.
fn shard(hash: u64, shards: usize) -> usize {
    // Their number is a power of two.
    (hash >> 48) as usize & (shards - 1)
}

impl<K: Hash + Eq + Clone, V: Clone> Table<K, V> {
    /// The value of a key.
    pub fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.entry(key).map(|(_, value)| value)
    }

    /// A key as it stands here, and its value.
    pub fn entry<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<(&K, &V)>
    where
        K: Borrow<Q>,
    {
        let found = match &self.held {
            Held::Nothing => None,
            Held::List(list) => list.iter().find(|(held, _)| held.borrow() == key),
            Held::Shards(shards) => {
                let hash = self.hasher.hash_one(key);
                shards[shard(hash, shards.len())].find(hash, |(held, _)| held.borrow() == key)
            }
        };
        found.map(|(key, value)| (key, value))
    }

    /// Sets the value of a key and returns the former one.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.make_room(&key);
        match &mut self.held {
            Held::Nothing => {
                self.held = Held::List(Arc::new([(key, value)]));
                None
            }
            Held::List(list) => {
                let at = list.iter().position(|(held, _)| *held == key);
                if let Some(at) = at {
                    return Some(std::mem::replace(&mut Arc::make_mut(list)[at].1, value));
                }
                *list = list.iter().cloned().chain([(key, value)]).collect();
                None
            }
            Held::Shards(shards) => {
                let hash = self.hasher.hash_one(&key);
                let at = shard(hash, shards.len());
                let held = Arc::make_mut(&mut shards[at]);
                if let Some((_, former)) = held.find_mut(hash, |(held, _)| *held == key) {
                    return Some(std::mem::replace(former, value));
                }
                held.insert_unique(hash, (key, value), |(held, _)| self.hasher.hash_one(held));
                None
            }
        }
    }

    /// Takes a key out.
    pub fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        match &mut self.held {
            Held::Nothing => None,
            Held::List(list) => {
                let at = list.iter().position(|(held, _)| held.borrow() == key)?;
                let value = list[at].1.clone();
                if list.len() == 1 {
                    self.held = Held::Nothing;
                } else {
                    let others = list.iter().enumerate().filter(|(other, _)| *other != at);
                    *list = others.map(|(_, entry)| entry.clone()).collect();
                }
                Some(value)
            }
            Held::Shards(shards) => {
                let hash = self.hasher.hash_one(key);
                let at = shard(hash, shards.len());
                let held = &mut shards[at];
                held.find(hash, |(held, _)| held.borrow() == key)?;
                let entry = Arc::make_mut(held).find_entry(hash, |(held, _)| held.borrow() == key).ok()?;
                let ((_, value), _) = entry.remove();
                Some(value)
            }
        }
    }

    /// Makes as many shards as one more entry needs, if this key is not there.
    fn make_room(&mut self, key: &K) {
        let needed = match &self.held {
            Held::List(list) if list.len() >= TINY && list.iter().all(|(held, _)| held != key) => 1,
            Held::Shards(shards) if shards.len() == 1 && shards[0].len() >= FEW => SHARDS,
            _ => return,
        };
        let mut shards = vec![HashTable::new(); needed];
        for (key, value) in self.iter() {
            let hash = self.hasher.hash_one(key);
            let entry = (key.clone(), value.clone());
            shards[shard(hash, needed)].insert_unique(hash, entry, |(held, _)| self.hasher.hash_one(held));
        }
        self.held = Held::Shards(shards.into_iter().map(Arc::new).collect());
    }

    /// Every entry, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let list = if let Held::List(list) = &self.held { &list[..] } else { &[] };
        let shards = if let Held::Shards(shards) = &self.held { &shards[..] } else { &[] };
        list.iter().chain(shards.iter().flat_map(|shard| shard.iter())).map(|(key, value)| (key, value))
    }

    /// How many keys it holds.
    pub fn len(&self) -> usize {
        match &self.held {
            Held::Nothing => 0,
            Held::List(list) => list.len(),
            Held::Shards(shards) => shards.iter().map(|shard| shard.len()).sum(),
        }
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        match &self.held {
            Held::Nothing => true,
            Held::List(_) => false,
            Held::Shards(shards) => shards.iter().all(|shard| shard.is_empty()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    /// How many shards there are; none for a list.
    fn shards<K, V>(table: &Table<K, V>) -> &[Shard<K, V>] {
        match &table.held {
            Held::Shards(shards) => shards,
            Held::Nothing | Held::List(_) => &[],
        }
    }

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
        let shared = shards(&now).iter().zip(shards(&before)).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
        assert_eq!(shared, SHARDS - 1);
    }

    #[test]
    fn a_map_with_few_entries_is_small() {
        let mut now: Table<usize, usize> = Table::default();
        assert_eq!(now.get(&0), None);
        assert_eq!((now.remove(&0), shards(&now).len()), (None, 0));
        for key in 0..3 * FEW {
            let before = now.clone();
            now.insert(key, key);
            let expected = match key {
                0..TINY => 0,
                TINY..FEW => 1,
                _ => SHARDS,
            };
            assert_eq!(shards(&now).len(), expected);
            assert!((0..=key).all(|held| now.get(&held) == Some(&held) && before.get(&held).is_some() == (held < key)));
        }
        assert_eq!((now.len(), now.iter().count()), (3 * FEW, 3 * FEW));
    }

    proptest! {
        #[test]
        fn it_holds_what_a_map_holds(
            keys in prop_oneof![Just(TINY as u8), Just(TINY as u8 + 2), Just(200)],
            changes in proptest::collection::vec((any::<u8>(), any::<Option<u8>>()), 0..400),
        ) {
            let (mut table, mut map): (Table<String, u8>, HashMap<String, u8>) = Default::default();
            for (key, value) in changes {
                let key = (key % keys).to_string();
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
