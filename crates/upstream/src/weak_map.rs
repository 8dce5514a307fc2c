//! Values that are shared for as long as somebody holds them.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Entries before those that nobody holds are looked for.
pub(crate) const FEW: usize = 16;

/// Values by what they are about, each for as long as somebody holds it. There are never many more entries than there are
/// values held: as soon as there are twice as many as the last time, those that nobody holds are let go.
pub(crate) struct WeakMap<K, V>(Mutex<Entries<K, V>>);

struct Entries<K, V> {
    held: HashMap<K, Weak<V>>,
    most: usize,
}

impl<K: Hash + Eq + Clone, V> WeakMap<K, V> {
    /// The value for a key: the one that somebody holds, or a new one.
    pub(crate) fn of(&self, key: &K, make: impl FnOnce() -> V) -> Arc<V> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = entries.held.get(key).and_then(Weak::upgrade) {
            return value;
        }
        if entries.held.len() >= entries.most {
            entries.held.retain(|_, value| value.strong_count() > 0);
            entries.most = entries.held.len() * 2 + FEW;
        }
        let value = Arc::new(make());
        entries.held.insert(key.clone(), Arc::downgrade(&value));
        value
    }

    /// How many entries there are, with those that nobody holds any more.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).held.len()
    }
}

impl<K, V> Default for WeakMap<K, V> {
    fn default() -> Self {
        Self(Mutex::new(Entries { held: HashMap::new(), most: FEW }))
    }
}

impl<K, V> fmt::Debug for WeakMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakMap").finish_non_exhaustive()
    }
}
