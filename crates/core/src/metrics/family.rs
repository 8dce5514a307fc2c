//! Counting by labels within a bound, in shards that workers do not share.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::Counter;

/// Apart from others in memory, so that two workers do not write to one line of a cache.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Shard<T>(pub T);

/// The same once for each worker.
#[derive(Debug)]
pub struct Shards<T>(Mutex<Vec<Arc<Shard<T>>>>);

impl<T> Default for Shards<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Shards<T> {
    /// Puts one more beside the others. They stay as long as the process: there are as many as workers, and a few.
    pub fn open(&self, shard: T) -> Arc<Shard<T>> {
        let shard = Arc::new(Shard(shard));
        locked(&self.0).push(Arc::clone(&shard));
        shard
    }

    /// Looks at each of them.
    pub fn each(&self, mut look: impl FnMut(&T)) {
        locked(&self.0).iter().for_each(|shard| look(&shard.0));
    }
}

/// Where in a shard a label set is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Slot(u32);

impl Slot {
    /// That of what has no labels.
    pub const NONE: Self = Self(0);
    /// That of all label sets beyond the bound.
    pub const OTHER: Self = Self(1);
    const FIRST: usize = 2;

    fn index(self) -> usize {
        self.0 as usize
    }
}

/// What one worker counts by label set. Room for one is made when it is first counted there.
pub struct Cells<C>(Box<[OnceLock<Box<C>>]>);

impl<C> fmt::Debug for Cells<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cells").field("slots", &self.0.len()).finish_non_exhaustive()
    }
}

impl<C: Default> Cells<C> {
    fn new(bound: usize) -> Self {
        Self((0..bound + Slot::FIRST).map(|_| OnceLock::new()).collect())
    }

    /// What is counted at a slot; one that is of no family of this size counts with the others.
    #[inline]
    pub fn at(&self, slot: Slot) -> &C {
        let cell = self.0.get(slot.index()).unwrap_or(&self.0[Slot::OTHER.index()]);
        cell.get_or_init(Box::default)
    }

    fn seen(&self, at: usize) -> Option<&C> {
        self.0.get(at)?.get().map(|cell| &**cell)
    }
}

/// What is counted by labels: at most so many sets of them, beside one for all others and one for what has none.
pub struct Family<L, C> {
    bound: usize,
    known: Mutex<Known<L>>,
    shards: Shards<Cells<C>>,
}

struct Known<L> {
    slots: HashMap<L, Slot>,
    labels: Vec<L>,
}

/// Whose numbers are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Labels<'a, L> {
    /// What has no labels.
    None,
    /// Everything beyond the bound.
    Other,
    /// One label set.
    Of(&'a L),
}

impl<L, C> fmt::Debug for Family<L, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Family").field("bound", &self.bound).finish_non_exhaustive()
    }
}

impl<L: Hash + Eq + Clone, C: Default> Family<L, C> {
    /// With a bound on its label sets.
    pub fn with_bound(bound: usize) -> Self {
        let known = Known { slots: HashMap::new(), labels: Vec::new() };
        Self { bound, known: Mutex::new(known), shards: Shards::default() }
    }

    /// One worker's own part.
    pub fn shard(&self) -> Arc<Shard<Cells<C>>> {
        self.shards.open(Cells::new(self.bound))
    }

    /// The slot of a label set, which is its own from now on if there was room. Takes a lock: whoever counts often
    /// keeps it.
    pub fn slot(&self, labels: &L) -> Slot {
        let mut known = locked(&self.known);
        if let Some(slot) = known.slots.get(labels) {
            return *slot;
        }
        let number = known.labels.len();
        match u32::try_from(number + Slot::FIRST) {
            Ok(slot) if number < self.bound => {
                known.labels.push(labels.clone());
                known.slots.insert(labels.clone(), Slot(slot));
                Slot(slot)
            }
            _ => Slot::OTHER,
        }
    }

    /// Looks at what was counted: for each label set that was, at its cells in all shards.
    pub fn each(&self, mut look: impl FnMut(Labels<'_, L>, &[&C])) {
        let labels = locked(&self.known).labels.clone();
        let shards: Vec<_> = locked(&self.shards.0).clone();
        for at in 0..labels.len() + Slot::FIRST {
            let cells: Vec<_> = shards.iter().filter_map(|shard| shard.0.seen(at)).collect();
            if cells.is_empty() {
                continue;
            }
            match at.checked_sub(Slot::FIRST).map(|at| &labels[at]) {
                Some(labels) => look(Labels::Of(labels), &cells),
                None if at == Slot::OTHER.index() => look(Labels::Other, &cells),
                None => look(Labels::None, &cells),
            }
        }
    }
}

/// Counting by texts that stand in the program, like the codes of refusals: found without a lock and without a hash.
#[derive(Debug)]
pub struct Texts {
    known: [(OnceLock<&'static str>, Counter); Self::MOST],
    others: Counter,
}

impl Default for Texts {
    fn default() -> Self {
        Self { known: std::array::from_fn(|_| Default::default()), others: Counter::default() }
    }
}

impl Texts {
    /// So many texts are told apart.
    pub const MOST: usize = 128;
    /// What the others are told as. No text that is counted reads so.
    pub const OTHER: &'static str = "other";

    /// Counts one.
    pub fn add_one(&self, text: &'static str) {
        let counter = self.known.iter().find(|(known, _)| *known.get_or_init(|| text) == text);
        counter.map_or(&self.others, |(_, counter)| counter).add_one();
    }

    /// Looks at each text with its count.
    pub fn each(&self, mut look: impl FnMut(&'static str, u64)) {
        for (text, counter) in &self.known {
            let Some(text) = text.get() else { break };
            look(text, counter.get());
        }
        if self.others.get() > 0 {
            look(Self::OTHER, self.others.get());
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(family: &Family<String, Counter>) -> Vec<(String, u64)> {
        let mut told = Vec::new();
        family.each(|labels, cells| {
            let name = match labels {
                Labels::None => "-",
                Labels::Other => "other",
                Labels::Of(name) => name,
            };
            told.push((name.to_owned(), cells.iter().map(|cell| cell.get()).sum()));
        });
        told
    }

    #[test]
    fn shards_are_added_up_and_what_exceeds_the_bound_is_one_set() {
        let family = Family::<String, Counter>::with_bound(2);
        let (one, other) = (family.shard(), family.shard());
        assert!(told(&family).is_empty(), "nothing was counted yet");
        for name in ["a", "b", "c", "d", "a"] {
            let slot = family.slot(&name.to_owned());
            one.0.at(slot).add_one();
            other.0.at(slot).add(10);
        }
        other.0.at(Slot::NONE).add_one();
        let wanted = [("-", 1), ("other", 22), ("a", 22), ("b", 11)];
        assert_eq!(told(&family), wanted.map(|(name, count)| (name.to_owned(), count)));
        // However many come, there are no more.
        for number in 0..10_000 {
            assert_eq!(family.slot(&number.to_string()), Slot::OTHER);
        }
        assert_eq!(told(&family).len(), 4);
        assert_eq!(family.slot(&"b".to_owned()), family.slot(&"b".to_owned()));
    }

    #[test]
    fn a_slot_of_a_larger_family_counts_with_the_others() {
        let (large, small) = (Family::<u32, Counter>::with_bound(10), Family::<u32, Counter>::with_bound(1));
        let slots: Vec<_> = (0..10).map(|number| large.slot(&number)).collect();
        let shard = small.shard();
        slots.iter().for_each(|slot| shard.0.at(*slot).add_one());
        assert_eq!(shard.0.at(Slot::OTHER).get(), 9);
    }

    #[test]
    fn texts_are_told_apart_by_what_they_say() {
        let texts = Texts::default();
        // The same text from elsewhere in memory.
        let copy: &'static str = Box::leak("no_route".to_owned().into_boxed_str());
        for text in ["no_route", "revoked", copy] {
            texts.add_one(text);
        }
        let told = |texts: &Texts| {
            let mut told = Vec::new();
            texts.each(|text, count| told.push((text, count)));
            told
        };
        assert_eq!(told(&texts), [("no_route", 2), ("revoked", 1)]);
        for number in 0..200 {
            texts.add_one(Box::leak(number.to_string().into_boxed_str()));
        }
        let told = told(&texts);
        assert_eq!((told.len(), told.last()), (Texts::MOST + 1, Some(&("other", 200 - (Texts::MOST as u64 - 2)))));
    }
}
