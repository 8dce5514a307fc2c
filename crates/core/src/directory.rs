//! Who may show which key: clients and API keys as every call looks them up.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};

use crate::live_key::LiveKey;
use crate::live_secret::LiveSecret;
use crate::message::FieldValue;
use crate::model::{Client, Label, Name, SecretUse, ServiceId};
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
    /// Its secrets, the oldest first; none if it is disabled.
    pub secrets: Arc<[Arc<LiveSecret>]>,
    /// Its public keys.
    pub keys: Vec<Arc<LiveKey>>,
}

impl ClientEntry {
    /// Prepares a declared client, without secrets.
    pub fn new(name: Label, client: Client) -> Self {
        let shown = client.access_key.as_deref().unwrap_or(name.as_str());
        let app_id = FieldValue::of(shown).unwrap_or(FieldValue::from_static(""));
        let keys = client.keys.iter().cloned().map(LiveKey::from).map(Arc::new).collect();
        Self { name, client, app_id, secrets: Arc::default(), keys }
    }

    /// Has secrets, and keeps of a former entry the keys that are still the same: what was prepared of them stays.
    fn following(mut self, former: Option<&Self>, secrets: Arc<[Arc<LiveSecret>]>) -> Self {
        self.secrets = secrets;
        for key in &mut self.keys {
            let same = former.and_then(|former| former.keys.iter().find(|held| held.declared == key.declared));
            if let Some(same) = same {
                *key = Arc::clone(same);
            }
        }
        self
    }

    /// Its public key that signatures call by this id.
    pub fn key(&self, id: &str) -> Option<&Arc<LiveKey>> {
        self.keys.iter().find(|key| key.declared.id.as_str() == id)
    }

    /// Its secrets that may be used for this at this time, in Unix milliseconds; the oldest first.
    pub fn secrets_for(&self, wanted: SecretUse, now: u64) -> impl Iterator<Item = &Arc<LiveSecret>> {
        self.secrets.iter().filter(move |secret| secret.is_good_for(wanted, now))
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
    /// The same clients by their access keys.
    access_keys: Table<String, Arc<ClientEntry>>,
    /// The secrets of clients, also of those that are disabled, the oldest first.
    secrets: Table<Label, Arc<[Arc<LiveSecret>]>>,
    keys: Table<KeyHash, KeyOwner>,
}

impl Entries {
    /// A client by its name, unless it is disabled.
    pub fn client(&self, name: &Label) -> Option<&Arc<ClientEntry>> {
        self.clients.get(name).filter(|entry| entry.client.enabled)
    }

    /// The client with an access key, also if it is disabled: `client.enabled` says so. It has no secrets then.
    pub fn by_access_key(&self, access_key: &str) -> Option<&Arc<ClientEntry>> {
        self.access_keys.get(access_key)
    }

    /// The secrets of a client, also of one that is disabled; the oldest first.
    pub fn secrets(&self, client: &Label) -> &[Arc<LiveSecret>] {
        self.secrets.get(client).map_or(&[], |secrets| secrets)
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
        let former = self.clients.remove(name);
        let former = former.as_deref();
        // Where clients exchange their access keys, another may have this one's already.
        if let Some(former) = former.and_then(|former| former.client.access_key.as_deref())
            && self.access_keys.get(former).is_some_and(|holder| holder.name == *name)
        {
            self.access_keys.remove(former);
        }
        let Some(client) = client else { return };
        let secrets = self.secrets.get(name).filter(|_| client.enabled).cloned().unwrap_or_default();
        let entry = Arc::new(ClientEntry::new(name.clone(), client).following(former, secrets));
        if let Some(access_key) = &entry.client.access_key {
            self.access_keys.insert(access_key.clone(), Arc::clone(&entry));
        }
        self.clients.insert(name.clone(), entry);
    }

    /// Sets or takes out a secret of a client, by its handle. A client that is not there yet gets it when it is set.
    pub fn set_secret(&mut self, client: &Label, id: &str, secret: Option<LiveSecret>) {
        let (mut others, mut former) = (Vec::new(), None);
        for held in self.secrets(client) {
            if *held.id == *id { former = Some(Arc::clone(held)) } else { others.push(Arc::clone(held)) }
        }
        if secret.is_none() && former.is_none() {
            return;
        }
        others.extend(secret.map(|secret| {
            Arc::new(match &former {
                Some(former) => secret.following(former),
                None => secret,
            })
        }));
        others.sort_by(|one, other| (one.created_at, &one.id).cmp(&(other.created_at, &other.id)));
        if others.is_empty() {
            self.secrets.remove(client);
        } else {
            self.secrets.insert(client.clone(), others.into());
        }
        if let Some(entry) = self.clients.get(client).cloned() {
            self.set_client(&entry.name, Some(entry.client.clone()));
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

/// A moment in which something was read on this thread: nothing has changed for it as long as the moment is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    changes: u64,
    step: u64,
}

/// The directory: one writer publishes, every call reads, and nobody waits.
///
/// A change of clients and keys alone counts at once. One that goes together with a change of routes is published in
/// advance ([`Directory::prepare`]), and counts on each worker from the moment in which it takes up these routes.
#[derive(Debug, Default)]
pub struct Directory {
    published: ArcSwap<Published>,
    steps: AtomicU64,
    /// Counts what was published, behind each of it: whoever sees the count sees what is counted.
    changes: AtomicU64,
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

    /// The moment that it is on this thread. What is read behind it is as new as the moment or newer, so that it need not be read
    /// again as long as the moment lasts.
    ///
    /// ```
    /// # use portcullis_core::directory::Directory;
    /// let directory = Directory::default();
    /// let then = directory.moment();
    /// assert_eq!(directory.moment(), then);
    /// directory.publish(directory.copy());
    /// assert_ne!(directory.moment(), then);
    /// ```
    pub fn moment(&self) -> Moment {
        Moment { changes: self.changes.load(Ordering::Acquire), step: STEP.get() }
    }

    fn store(&self, published: Published) {
        self.published.store(Arc::new(published));
        self.changes.fetch_add(1, Ordering::AcqRel);
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
        self.store(Published { now: Arc::new(entries), before: None });
    }

    /// Replaces the state for those who take the step that is returned; everybody else reads the former. One change is
    /// prepared at a time, and ended with [`Directory::publish`].
    pub fn prepare(&self, entries: Entries) -> u64 {
        let step = self.steps.fetch_add(1, Ordering::AcqRel) + 1;
        let before = Arc::clone(&self.published.load().now);
        self.store(Published { now: Arc::new(entries), before: Some((before, step)) });
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
mod tests;
