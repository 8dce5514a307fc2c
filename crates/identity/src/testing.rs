//! What the tests of this crate share: cheap hashing, a house with everything in it, and a registry that waits.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use portcullis_core::audit::{Actor, AuditQuery, ChainedEntry, TrailVerdict};
use portcullis_core::directory::{Directory, KeyHash, KeyOwner};
use portcullis_core::jobs::{Class, Job, Jobs, QueueFull};
use portcullis_core::memory::{ManualClock, MemoryChanges, MemoryRegistry};
use portcullis_core::model::{Client, Grant, Label, Owner};
use portcullis_core::ports::{
    self, Beside, ChangeError, Changing, Clock, Commit, Expect, ForeignPair, Kind, News, Objects, RegistryError,
    Replace, Replaced, Rotate, Rotation, Row, Session, SessionId, SessionsOf, Upkeep, Version, Write,
};
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::access_tokens::AccessTokens;
use crate::keys::hash_key;
use crate::lockout::{Lockout, LockoutSettings};
use crate::login::{DEFAULT_CLIENT, Login, LoginParts, LoginSettings};
use crate::master::MasterKey;
use crate::passwords::{Cost, PasswordLimits, Passwords};
use crate::sessions::Sessions;
use crate::signing_keys::SigningKeys;
use crate::users::Users;

pub(crate) const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
pub(crate) const CLIENT_KEY: &str = "key-of-the-shop";
pub(crate) const SERVICE_KEY: &str = "key-of-orders";

/// An operator at [`HERE`].
pub(crate) fn actor() -> Actor {
    Actor::admin_token(Some(HERE))
}

/// Limits with the cheapest hash there is.
pub(crate) fn limits() -> PasswordLimits {
    let cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };
    PasswordLimits { cost, at_a_time: 2, queue: 16, per_address: 16 }
}

pub(crate) fn label(text: &str) -> Label {
    text.parse().expect("a label")
}

pub(crate) fn session(id: SessionId, user: &str, user_info: &str) -> Session {
    Session {
        id,
        user: label(user),
        client: label(DEFAULT_CLIENT),
        user_info: user_info.into(),
        created_at: 0,
        expires_at: u64::MAX,
        refresh: KeyHash([0; 32]),
        predecessor: None,
        rotated_at: 0,
        access_until: None,
    }
}

fn stored(kind: Kind, key: &str, body: String) -> Row {
    Row { kind, key: key.to_owned(), revision: 1, owner: Owner::Api, body }
}

/// Changes of a registry's objects, of which those who remember its sessions hear.
pub(crate) fn changes(
    registry: Arc<dyn Objects>,
    sessions: &Arc<Sessions>,
    clock: Arc<dyn Clock>,
) -> Arc<dyn Changing> {
    let sessions = Arc::clone(sessions);
    Arc::new(MemoryChanges::new(registry, clock, move |writes| {
        let sessions = Arc::clone(&sessions);
        async move { sessions.write(writes).await }
    }))
}

/// The condition that holds of one revision.
pub(crate) fn at(revision: u64) -> impl Fn(Option<u64>) -> Result<(), ChangeError> + Send + Sync + 'static {
    move |current| match current {
        Some(current) if current == revision => Ok(()),
        current => Err(ChangeError::Stale(current.unwrap_or(0))),
    }
}

/// Runs jobs where it is.
pub(crate) struct Control;

impl Jobs for Control {
    fn submit(&self, _: Class, job: Job) -> Result<(), QueueFull> {
        tokio::spawn(job);
        Ok(())
    }
}

/// Everything a login needs, over one registry in memory.
pub(crate) struct House {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) gate: Gate,
    pub(crate) memory: Arc<MemoryRegistry>,
    pub(crate) parts: LoginParts,
    pub(crate) login: Arc<Login>,
}

impl House {
    /// With the clients `default`, `shop` (which has [`CLIENT_KEY`]) and `disabled`, and the service `orders`.
    pub(crate) async fn new(settings: LoginSettings) -> Self {
        let clock = Arc::new(ManualClock::at(1_700_000_000));
        let gate = Gate::opened();
        let memory = Arc::new(MemoryRegistry::default());
        let registry = Arc::new(GatedRegistry::new(memory.clone(), gate.clone()));
        let master = Arc::new(MasterKey::generate().0);
        let keys = SigningKeys::load_or_create(registry.as_ref(), &master, clock.as_ref()).await.expect("keys");
        let keys = Arc::new(keys);
        let passwords = Arc::new(Passwords::new(limits()).expect("fine limits"));
        let sessions = Arc::new(Sessions::new(registry.clone(), clock.clone(), settings.session_ttl, 1 << 20));
        let changing = changes(registry.clone(), &sessions, clock.clone());
        let users = Users::new(registry.clone(), changing, passwords.clone(), sessions.clone(), clock.clone());
        let parts = LoginParts {
            registry,
            users: Arc::new(users),
            passwords,
            lockout: Arc::new(Lockout::new(&LockoutSettings::default(), clock.clone())),
            tokens: Arc::new(AccessTokens::new(keys, "http://gate", clock.clone())),
            sessions,
            master,
            directory: Arc::new(Directory::default()),
            clock: clock.clone(),
        };
        let login = Arc::new(Login::new(parts.clone(), settings));
        let house = Self { clock, gate, memory, parts, login };
        house.enable(DEFAULT_CLIENT, true).await;
        house.enable("shop", true).await;
        house.enable("disabled", false).await;
        for key in [CLIENT_KEY, SERVICE_KEY] {
            let row = stored(Kind::ApiKey, &hash_key(key).to_hex(), "{}".to_owned());
            house.write(vec![Write::Put { row, expect: Expect::Any }]).await;
        }
        let mut entries = house.parts.directory.copy();
        entries.set_key(hash_key(CLIENT_KEY), Some(KeyOwner::Client(label("shop"))));
        entries.set_key(hash_key(SERVICE_KEY), Some(KeyOwner::Service("orders".parse().expect("a name"))));
        house.parts.directory.publish(entries);
        house
    }

    /// Makes a client or changes it; one that is disabled loses its sessions.
    pub(crate) async fn enable(&self, client: &str, enabled: bool) {
        self.declare(client, Client { services: vec![Grant::All], enabled, ..Client::default() }).await;
    }

    /// The same, declared like this.
    pub(crate) async fn declare(&self, client: &str, value: Client) {
        let body = serde_json::to_string(&value).expect("JSON");
        let put = Write::Put { row: stored(Kind::Client, client, body), expect: Expect::Any };
        let end = (!value.enabled).then(|| Write::EndSessions(SessionsOf::Client(label(client))));
        self.write(std::iter::once(put).chain(end).collect()).await;
        self.publish(client, Some(value));
    }

    /// Takes a client out, with its sessions.
    pub(crate) async fn delete_client(&self, client: &str) {
        let delete = Write::Delete { kind: Kind::Client, key: client.to_owned(), expect: Expect::Any };
        self.write(vec![delete, Write::EndSessions(SessionsOf::Client(label(client)))]).await;
        self.publish(client, None);
    }

    pub(crate) async fn write(&self, writes: Vec<Write>) {
        self.parts.sessions.write(writes).await.expect("written");
    }

    fn publish(&self, client: &str, value: Option<Client>) {
        let mut entries = self.parts.directory.copy();
        entries.set_client(&label(client), value);
        self.parts.directory.publish(entries);
    }

    pub(crate) async fn create_user(&self, name: &str, password: &str, user_info: Value) {
        self.parts.users.create(&actor(), label(name), password.into(), user_info).await.expect("created");
    }
}

/// Holds the answer of [`ports::Sessions::session`], or the start of [`ports::Sessions::open_session`],
/// [`ports::Sessions::rotate`] and [`ports::Sessions::replace_session`], until it is opened.
#[derive(Clone)]
pub(crate) struct Gate(Arc<GateState>);

struct GateState {
    reading: AtomicBool,
    opening: AtomicBool,
    arrived: Semaphore,
    released: Semaphore,
    reads: AtomicUsize,
}

impl Default for Gate {
    /// A gate that holds the answers of reads.
    fn default() -> Self {
        let gate = Self::opened();
        gate.0.reading.store(true, Ordering::SeqCst);
        gate
    }
}

impl Gate {
    pub(crate) fn opened() -> Self {
        Self(Arc::new(GateState {
            reading: AtomicBool::new(false),
            opening: AtomicBool::new(false),
            arrived: Semaphore::new(0),
            released: Semaphore::new(0),
            reads: AtomicUsize::new(0),
        }))
    }

    /// Holds whoever opens a session.
    pub(crate) fn close_opening(&self) {
        self.0.opening.store(true, Ordering::SeqCst);
    }

    /// Holds the answer of whoever reads a session.
    pub(crate) fn close_reading(&self) {
        self.0.reading.store(true, Ordering::SeqCst);
    }

    /// Lets everybody through, those who wait and those who come.
    pub(crate) fn open(&self) {
        self.0.reading.store(false, Ordering::SeqCst);
        self.0.opening.store(false, Ordering::SeqCst);
        self.0.released.add_permits(1000);
    }

    /// Returns as soon as somebody waits at the gate.
    pub(crate) async fn wait_for_reader(&self) {
        self.0.arrived.acquire().await.expect("never closed").forget();
    }

    pub(crate) fn reads(&self) -> usize {
        self.0.reads.load(Ordering::SeqCst)
    }

    async fn pass(&self, closed: &AtomicBool) {
        if closed.load(Ordering::SeqCst) {
            self.0.arrived.add_permits(1);
            self.0.released.acquire().await.expect("never closed").forget();
        }
    }
}

/// A registry in memory with a [`Gate`].
pub(crate) struct GatedRegistry {
    inner: Arc<MemoryRegistry>,
    gate: Gate,
}

impl GatedRegistry {
    pub(crate) fn new(inner: Arc<MemoryRegistry>, gate: Gate) -> Self {
        Self { inner, gate }
    }
}

#[async_trait]
impl Objects for GatedRegistry {
    async fn all(&self, kind: Kind) -> Result<Vec<Row>, RegistryError> {
        self.inner.all(kind).await
    }

    async fn page(&self, kind: Kind, after: &str, limit: u32) -> Result<Vec<Row>, RegistryError> {
        self.inner.page(kind, after, limit).await
    }

    async fn get(&self, kind: Kind, key: &str) -> Result<Option<Row>, RegistryError> {
        self.inner.get(kind, key).await
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<Commit, RegistryError> {
        self.inner.commit(writes).await
    }

    async fn version(&self) -> Result<Version, RegistryError> {
        self.inner.version().await
    }

    async fn changes(&self, after: Version) -> Result<News, RegistryError> {
        self.inner.changes(after).await
    }

    async fn audit(&self, query: AuditQuery) -> Result<Vec<ChainedEntry>, RegistryError> {
        self.inner.audit(query).await
    }

    async fn verify_audit(&self) -> Result<TrailVerdict, RegistryError> {
        self.inner.verify_audit().await
    }
}

#[async_trait]
impl ports::Sessions for GatedRegistry {
    async fn open_session(
        &self,
        session: Session,
        beside: Beside,
        stands_on: Vec<Row>,
    ) -> Result<Vec<SessionId>, RegistryError> {
        self.gate.pass(&self.gate.0.opening).await;
        self.inner.open_session(session, beside, stands_on).await
    }

    async fn sessions(&self, user: &Label) -> Result<Vec<Session>, RegistryError> {
        self.inner.sessions(user).await
    }

    async fn session(&self, id: SessionId) -> Result<Option<Session>, RegistryError> {
        self.gate.0.reads.fetch_add(1, Ordering::SeqCst);
        let answer = self.inner.session(id).await;
        self.gate.pass(&self.gate.0.reading).await;
        answer
    }

    async fn rotate(&self, rotate: Rotate) -> Result<Rotation, RegistryError> {
        self.gate.pass(&self.gate.0.opening).await;
        self.inner.rotate(rotate).await
    }

    async fn pair_by_refresh(&self, refresh: &KeyHash) -> Result<Option<Session>, RegistryError> {
        self.inner.pair_by_refresh(refresh).await
    }

    async fn replace_session(&self, replace: Replace) -> Result<Replaced, RegistryError> {
        self.gate.pass(&self.gate.0.opening).await;
        self.inner.replace_session(replace).await
    }

    async fn import_pairs(&self, pairs: Vec<ForeignPair>, stands_on: Vec<Row>) -> Result<u64, RegistryError> {
        self.inner.import_pairs(pairs, stands_on).await
    }

    async fn end_session(&self, id: SessionId) -> Result<bool, RegistryError> {
        self.inner.end_session(id).await
    }

    async fn prune_sessions(&self, now: u64, limit: u32) -> Result<Vec<SessionId>, RegistryError> {
        self.inner.prune_sessions(now, limit).await
    }

    async fn end_sessions(&self, of: SessionsOf) -> Result<Vec<SessionId>, RegistryError> {
        self.inner.end_sessions(of).await
    }
}

#[async_trait]
impl Upkeep for GatedRegistry {
    async fn all_kept(&self, kind: Kind) -> Result<Vec<Row>, RegistryError> {
        self.inner.all_kept(kind).await
    }

    async fn kept(&self, kind: Kind, key: &str) -> Result<Option<Row>, RegistryError> {
        self.inner.kept(kind, key).await
    }

    async fn keep(&self, writes: Vec<Write>) -> Result<(), RegistryError> {
        self.inner.keep(writes).await
    }
}
