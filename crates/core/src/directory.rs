//! Who may show which key: clients and API keys as every call looks them up.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};

use crate::message::FieldValue;
use crate::model::{Client, Label, Name, ServiceId};
use crate::table::Table;

/// SHA-256 of a key or token: what is stored and looked up in its stead.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyHash(pub [u8; 32]);

impl KeyHash {
    /// As 64 lower-case hex digits, the form in which it is stored.
    pub fn to_hex(&self) -> String {
        crate::digits::hex(&self.0)
    }

    /// Reads 64 hex digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut hash = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(Self(hash))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(…)")
    }
}

/// Whose key it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyOwner {
    /// A service, in every version of the name.
    Service(Name),
    /// A client.
    Client(Label),
}

/// A principal an API key speaks for.
#[derive(Debug, Clone)]
pub enum KeyHolder {
    /// The service itself, in every version of that name.
    Service(Arc<str>),
    /// A client.
    Client(Arc<ClientEntry>),
}

/// A client as calls see it.
#[derive(Debug)]
pub struct ClientEntry {
    /// Its name.
    pub name: Label,
    /// What it may call.
    pub client: Client,
    /// Its access key (or its name, if it has none) as `X-App-Id` carries it.
    pub app_id: FieldValue,
}

impl ClientEntry {
    /// Prepares a declared client.
    pub fn new(name: Label, client: Client) -> Self {
        let shown = client.access_key.as_deref().unwrap_or(name.as_str());
        let app_id = FieldValue::of(shown).unwrap_or(FieldValue::from_static(""));
        Self { name, client, app_id }
    }

    /// Whether it may call the service.
    pub fn may_call(&self, service: &ServiceId) -> bool {
        self.client.enabled && self.client.may_call(service)
    }
}

/// The state of the directory at one moment.
#[derive(Debug, Clone, Default)]
pub struct Entries {
    clients: Table<Label, Arc<ClientEntry>>,
    keys: Table<KeyHash, KeyOwner>,
}

impl Entries {
    /// A client by its name, unless it is disabled.
    pub fn client(&self, name: &Label) -> Option<&Arc<ClientEntry>> {
        self.clients.get(name).filter(|entry| entry.client.enabled)
    }

    /// Who a key speaks for; nobody, if it is unknown or its client is gone or disabled.
    pub fn holder(&self, key: &KeyHash) -> Option<KeyHolder> {
        match self.keys.get(key)? {
            KeyOwner::Service(name) => Some(KeyHolder::Service(name.shared())),
            KeyOwner::Client(name) => self.client(name).cloned().map(KeyHolder::Client),
        }
    }

    /// Sets or takes out a client.
    pub fn set_client(&mut self, name: &Label, client: Option<Client>) {
        match client {
            Some(client) => {
                self.clients.insert(name.clone(), Arc::new(ClientEntry::new(name.clone(), client)));
            }
            None => {
                self.clients.remove(name);
            }
        }
    }

    /// Sets or takes out a key.
    pub fn set_key(&mut self, key: KeyHash, owner: Option<KeyOwner>) {
        match owner {
            Some(owner) => {
                self.keys.insert(key, owner);
            }
            None => {
                self.keys.remove(&key);
            }
        }
    }
}

/// The newest state, and what counts for a worker that still routes by what was before it.
#[derive(Debug, Clone, Default)]
struct Published {
    now: Arc<Entries>,
    /// What counts up to a step, and the step from which the newest counts.
    before: Option<(Arc<Entries>, u64)>,
}

thread_local! {
    /// The last step that this thread has taken; one that takes none reads the newest.
    static STEP: Cell<u64> = const { Cell::new(u64::MAX) };
}

/// The directory: one writer publishes, every call reads, and nobody waits.
///
/// A change of clients and keys alone counts at once. One that goes together with a change of routes is published in
/// advance ([`Directory::prepare`]), and counts on each worker from the moment in which it takes up these routes.
#[derive(Debug, Default)]
pub struct Directory {
    published: ArcSwap<Published>,
    steps: AtomicU64,
}

impl Directory {
    /// Reads the newest state that counts on this thread. The result must not be kept across an `.await`.
    pub fn read<T>(&self, look: impl FnOnce(&Entries) -> T) -> T {
        let published = self.published.load();
        match &published.before {
            Some((before, step)) if STEP.get() < *step => look(before),
            _ => look(&published.now),
        }
    }

    /// A copy of the newest state, to be changed and published.
    pub fn copy(&self) -> Entries {
        Entries::clone(&self.published.load().now)
    }

    /// Replaces the state, at once and for everybody.
    ///
    /// ```
    /// use portcullis_core::directory::{Directory, KeyHash, KeyOwner};
    ///
    /// let directory = Directory::default();
    /// let (key, service) = (KeyHash([1; 32]), "orders".parse().expect("a name"));
    /// let mut entries = directory.copy();
    /// entries.set_key(key, Some(KeyOwner::Service(service)));
    /// assert!(directory.read(|entries| entries.holder(&key).is_none())); // Calls still read the former state.
    /// directory.publish(entries);
    /// assert!(directory.read(|entries| entries.holder(&key).is_some()));
    /// ```
    pub fn publish(&self, entries: Entries) {
        self.published.store(Arc::new(Published { now: Arc::new(entries), before: None }));
    }

    /// Replaces the state for those who take the step that is returned; everybody else reads the former. One change is
    /// prepared at a time, and ended with [`Directory::publish`].
    pub fn prepare(&self, entries: Entries) -> u64 {
        let step = self.steps.fetch_add(1, Ordering::AcqRel) + 1;
        let before = Arc::clone(&self.published.load().now);
        self.published.store(Arc::new(Published { now: Arc::new(entries), before: Some((before, step)) }));
        step
    }

    /// The last step that was prepared.
    pub fn step(&self) -> u64 {
        self.steps.load(Ordering::Acquire)
    }

    /// Takes a step on this thread: from now on it reads what was prepared with it.
    pub fn take(step: u64) {
        STEP.set(step);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(enabled: bool) -> Entries {
        let mut entries = Entries::default();
        let client = Client { services: Vec::new(), access_key: None, enabled };
        entries.set_client(&"shop".parse().expect("a label"), Some(client));
        entries
    }

    #[test]
    fn what_was_prepared_counts_from_the_step_on_and_what_was_published_at_once() {
        let directory = Directory::default();
        let name: Label = "shop".parse().expect("a label");
        let knows = || directory.read(|entries| entries.client(&name).is_some());
        let (first, ()) =
            (directory.prepare(entries(true)), assert!(knows(), "whoever takes no steps reads the newest"));
        Directory::take(first - 1);
        assert!(!knows(), "not yet");
        Directory::take(first);
        assert!(knows());
        directory.publish(entries(true));
        let second = directory.prepare(entries(false));
        assert!((second > first, directory.step()) == (true, second) && knows());
        Directory::take(second);
        assert!(!knows());
        // What is taken back alone waits for nobody.
        directory.publish(entries(true));
        Directory::take(0);
        assert!(knows());
        directory.publish(entries(false));
        assert!(!knows());
    }
}
