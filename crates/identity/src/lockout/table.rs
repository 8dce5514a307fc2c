//! A table with a most: when it is full, what was not used for longest goes.

use std::collections::{BTreeMap, HashMap};

/// How many of the longest unused are looked at for one that says nothing any more.
const LOOKED_AT: usize = 8;

/// A keyed hash; nobody outside can choose or foresee one.
pub(super) type Key = u128;

/// Values by key, in the order in which they were used.
#[derive(Debug)]
pub(super) struct Table<V> {
    values: HashMap<Key, (u64, V)>,
    order: BTreeMap<u64, Key>,
    uses: u64,
    most: usize,
}

impl<V: Default> Table<V> {
    /// At most so many values, and at least one.
    pub(super) fn new(most: usize) -> Self {
        Self { values: HashMap::new(), order: BTreeMap::new(), uses: 0, most: most.max(1) }
    }

    /// A value, if it is there; looking is no use.
    pub(super) fn get(&self, key: Key) -> Option<&V> {
        self.values.get(&key).map(|(_, value)| value)
    }

    /// A value, made if it is not there, and the newest from now on. Where there is no room, one of the longest unused
    /// goes that is dispensable, or the very longest unused.
    pub(super) fn entry(&mut self, key: Key, dispensable: impl Fn(&V) -> bool) -> &mut V {
        match self.values.get(&key) {
            Some((used, _)) => drop(self.order.remove(used)),
            None if self.values.len() >= self.most => self.make_room(dispensable),
            None => {}
        }
        self.uses += 1;
        self.order.insert(self.uses, key);
        let (used, value) = self.values.entry(key).or_default();
        *used = self.uses;
        value
    }

    fn make_room(&mut self, dispensable: impl Fn(&V) -> bool) {
        let spare = |(_, key): &(&u64, &Key)| self.get(**key).is_none_or(&dispensable);
        let found = self.order.iter().take(LOOKED_AT).find(spare).or_else(|| self.order.iter().next());
        if let Some((used, key)) = found.map(|(used, key)| (*used, *key)) {
            self.order.remove(&used);
            self.values.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_unused_goes_and_what_says_nothing_before_it() {
        let mut table: Table<u32> = Table::new(3);
        let put = |table: &mut Table<u32>, key, value| *table.entry(key, |value| *value == 0) = value;
        for key in 1..=3 {
            put(&mut table, key, 7);
        }
        put(&mut table, 1, 8);
        put(&mut table, 4, 0);
        assert_eq!([1, 2, 3, 4].map(|key| table.get(key).copied()), [Some(8), None, Some(7), Some(0)]);
        put(&mut table, 5, 7);
        assert_eq!([1, 3, 4, 5].map(|key| table.get(key).copied()), [Some(8), Some(7), None, Some(7)]);
        (0..10_000).for_each(|key| put(&mut table, key, 1));
        assert_eq!((table.values.len(), table.order.len()), (3, 3));
    }
}
