//! The sessions a node has met: what a call needs of them, remembered within a byte budget.
//!
//! [`Sessions::cached`] is for the way of a call and never waits; [`Sessions::fetch`] asks the registry. A session
//! that ends while it is being read must not come back into the cache: every end counts up the epoch of the
//! session's stripe, and what was read is remembered only in the epoch in which the reading began.
//!
//! A session may be found by its id whatever its sort; who has an access token of it also asks
//! [`LiveSession::is_shown_by`].
//!
//! What is remembered knows its end, as the registry does, and is nobody's after it. Where all sessions of a user or a
//! client end, what was remembered of them before does not hold any more, whatever the registry still had of them.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use portcullis_core::ascii_json::escaped;
use portcullis_core::message::FieldValue;
use portcullis_core::model::Label;
use portcullis_core::ports::{Clock, Commit, Registry, RegistryError, Session, SessionId, SessionsOf, Write};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::login::last_end;

/// The budget of the cache in bytes, where nothing else is set.
pub const DEFAULT_BUDGET: u64 = 64 * 1024 * 1024;

const STRIPES: usize = 64;
/// After so many ends in its stripe a session is handed out without being remembered.
const TRIES: usize = 8;
/// Places in which the ends of users are counted, and those of clients. Those who share one are read from the registry again.
const PLACES: usize = 4_096;
/// Sessions that are taken out of the registry in one write at most.
const PRUNED_AT_ONCE: u32 = 1_000;

/// What calls need of a living session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveSession {
    /// Its id.
    pub id: SessionId,
    /// The user name.
    pub user: Arc<str>,
    /// The client it was opened through.
    pub client: Label,
    /// When it was opened, in Unix milliseconds.
    pub created_at: u64,
    /// When it ends unless it is refreshed before, in Unix milliseconds.
    pub expires_at: u64,
    /// Of a pair of opaque tokens: until when its access token is good, in Unix milliseconds. None where the access tokens
    /// are signed.
    pub access_until: Option<u64>,
    /// base64 of the compact JSON of the user's information, in ASCII: `X-User-Json`.
    pub user_json: FieldValue,
}

impl From<&Session> for LiveSession {
    fn from(session: &Session) -> Self {
        Self {
            id: session.id,
            user: session.user.shared(),
            client: session.client.clone(),
            created_at: session.created_at,
            expires_at: session.expires_at,
            access_until: session.access_until,
            user_json: user_json_header(&session.user_info),
        }
    }
}

/// The two sorts of access tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessToken {
    /// A signed one, which names its session.
    Signed,
    /// An opaque one, of which the id of its session is made.
    Opaque,
}

impl LiveSession {
    /// Whether an access token of this sort speaks for it at this time, in Unix milliseconds. A signed one never does for a
    /// pair of opaque tokens, nor an opaque one for anything else, whatever its id.
    pub fn is_shown_by(&self, token: AccessToken, now: u64) -> bool {
        match (token, self.access_until) {
            (AccessToken::Signed, None) => true,
            (AccessToken::Opaque, Some(until)) => now < until,
            (AccessToken::Signed, Some(_)) | (AccessToken::Opaque, None) => false,
        }
    }
}

/// Compact JSON as `X-User-Json` carries it: standard base64 with padding over JSON whose every character beyond
/// ASCII is written `\uXXXX`, so that a backend decodes it right whatever it takes for the encoding.
pub fn user_json_header(compact: &str) -> FieldValue {
    FieldValue::try_from(STANDARD.encode(escaped(compact))).expect("base64 is made of header characters")
}

/// How many bytes [`user_json_header`] makes of compact JSON.
pub(crate) fn user_json_bytes(compact: &str) -> usize {
    escaped(compact).len().div_ceil(3).saturating_mul(4)
}

/// A session as it was when it was read.
#[derive(Clone)]
struct Remembered {
    session: Arc<LiveSession>,
    /// When it is over, in Unix milliseconds.
    ends_at: u64,
    /// How many ends there had been before it was read.
    since: u64,
    user: u16,
    client: u16,
}

#[derive(Clone)]
struct Size;

impl Weighter<SessionId, Remembered> for Size {
    fn weight(&self, _: &SessionId, remembered: &Remembered) -> u64 {
        // What an entry takes beside its texts: the shared session itself, its counts, and its place in the cache.
        const FIXED: usize = size_of::<LiveSession>() + size_of::<Remembered>() + 128;
        let session = &remembered.session;
        (FIXED + session.user.len() + session.client.as_str().len() + session.user_json.len()) as u64
    }
}

/// When the sessions of users and clients were last ended, all at once: counted, in places that are found by their names.
struct Ends {
    count: AtomicU64,
    users: Box<[AtomicU64]>,
    clients: Box<[AtomicU64]>,
    hasher: RandomState,
}

impl Ends {
    fn new() -> Self {
        let places = || (0..PLACES).map(|_| AtomicU64::new(0)).collect();
        Self { count: AtomicU64::new(0), users: places(), clients: places(), hasher: RandomState::new() }
    }

    fn place(&self, name: &str) -> u16 {
        // Less than the number of places, which is a small one.
        (self.hasher.hash_one(name) % PLACES as u64) as u16
    }

    fn end(&self, place: &AtomicU64) {
        let number = self.count.fetch_add(1, Ordering::AcqRel) + 1;
        place.fetch_max(number, Ordering::AcqRel);
    }

    /// Whether neither the user nor the client had sessions ended after so many ends.
    fn none_since(&self, remembered: &Remembered) -> bool {
        let ended = |places: &[AtomicU64], place: u16| places[usize::from(place)].load(Ordering::Acquire);
        ended(&self.users, remembered.user) <= remembered.since
            && ended(&self.clients, remembered.client) <= remembered.since
    }
}

/// The epoch in which reading a session began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epoch {
    stripe: u64,
    ends: u64,
}

/// The sessions this node remembers.
pub struct Sessions {
    registry: Arc<dyn Registry>,
    clock: Arc<dyn Clock>,
    session_ttl: Duration,
    cache: Cache<SessionId, Remembered, Size>,
    epochs: Box<[Mutex<u64>]>,
    ends: Ends,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions").field("remembered", &self.cache.len()).finish_non_exhaustive()
    }
}

impl Sessions {
    /// The sessions of a registry, which last so long however often they are refreshed (zero: for ever). Remembers at most
    /// `budget` bytes; see [`DEFAULT_BUDGET`].
    pub fn new(registry: Arc<dyn Registry>, clock: Arc<dyn Clock>, session_ttl: Duration, budget: u64) -> Self {
        // An entry is seldom smaller than this, so the cache's own tables seldom grow.
        let entries = usize::try_from(budget / 512).unwrap_or(usize::MAX).max(1);
        let epochs = (0..STRIPES).map(|_| Mutex::new(0)).collect();
        let cache = Cache::with_weighter(entries, budget, Size);
        Self { registry, clock, session_ttl, cache, epochs, ends: Ends::new() }
    }

    /// A living session this node remembers. Never waits for anything but the cache itself.
    pub fn cached(&self, id: SessionId) -> Option<Arc<LiveSession>> {
        self.cached_at(id, self.clock.unix_millis())
    }

    /// The same for who knows the time already, in Unix milliseconds.
    pub fn cached_at(&self, id: SessionId, now: u64) -> Option<Arc<LiveSession>> {
        let remembered = self.cache.get(&id)?;
        (now < remembered.ends_at && self.ends.none_since(&remembered)).then_some(remembered.session)
    }

    /// Whether the time of a session is over by what this node remembers of it.
    pub(crate) fn has_run_out(&self, id: SessionId) -> bool {
        let now = self.clock.unix_millis();
        self.cache.get(&id).is_some_and(|remembered| now >= remembered.ends_at)
    }

    /// Whether the time of a session in the registry is not over.
    pub fn lasts(&self, session: &Session) -> bool {
        self.clock.unix_millis() < self.end_of(session.expires_at, session.created_at)
    }

    fn end_of(&self, expires_at: u64, created_at: u64) -> u64 {
        expires_at.min(last_end(self.session_ttl, created_at))
    }

    /// A living session, from the registry if it is not remembered. For the control runtime.
    pub async fn fetch(&self, id: SessionId) -> Result<Option<Arc<LiveSession>>, RegistryError> {
        let mut tries = 0;
        loop {
            if let Some(session) = self.cached(id) {
                return Ok(Some(session));
            }
            let epoch = self.epoch(id);
            let found = self.registry.session(id).await?.filter(|session| self.lasts(session));
            let Some(session) = found else { return Ok(None) };
            let session = Arc::new(LiveSession::from(&session));
            tries += 1;
            if self.remember(&session, epoch) || tries == TRIES {
                return Ok(Some(session));
            }
        }
    }

    /// The epoch to hand to [`Sessions::remember`]; taken before the session is read, opened or refreshed.
    pub fn epoch(&self, id: SessionId) -> Epoch {
        let stripe = *self.stripe(id);
        Epoch { stripe, ends: self.ends.count.load(Ordering::Acquire) }
    }

    /// Remembers a session, unless it may have ended since the epoch was taken; says whether it did.
    pub fn remember(&self, session: &Arc<LiveSession>, since: Epoch) -> bool {
        let epoch = self.stripe(session.id);
        let remembered = Remembered {
            session: Arc::clone(session),
            ends_at: self.end_of(session.expires_at, session.created_at),
            since: since.ends,
            user: self.ends.place(&session.user),
            client: self.ends.place(session.client.as_str()),
        };
        let unbroken = *epoch == since.stripe && self.ends.none_since(&remembered);
        if unbroken {
            self.cache.insert(session.id, remembered);
        }
        unbroken
    }

    /// Forgets a session that has ended. To be called after it has ended in the registry.
    pub fn forget(&self, id: SessionId) {
        let mut epoch = self.stripe(id);
        *epoch += 1;
        self.cache.remove(&id);
    }

    /// Commits writes, and forgets what is remembered of every session they are about, whatever the registry had of them.
    /// It is done to its end, also where nobody waits for it any more.
    pub async fn write(self: &Arc<Self>, writes: Vec<Write>) -> Result<Commit, RegistryError> {
        let sessions = Arc::clone(self);
        let done = tokio::spawn(async move { sessions.write_and_forget(writes).await }).await;
        done.unwrap_or_else(|error| Err(RegistryError::Storage(format!("a write was cut off: {error}"))))
    }

    async fn write_and_forget(&self, writes: Vec<Write>) -> Result<Commit, RegistryError> {
        let whose: Vec<_> = writes.iter().filter_map(about).collect();
        let written = self.registry.commit(writes).await;
        // Also where it failed: it may be on disk all the same.
        whose.iter().for_each(|of| self.forget_all_of(of));
        let done = written?;
        done.ended.iter().for_each(|ended| self.forget(ended.session));
        Ok(done)
    }

    /// Takes sessions whose time is over out of the registry and out of what is remembered; returns how many.
    pub async fn prune(&self) -> Result<u64, RegistryError> {
        let mut pruned = 0;
        loop {
            let gone = self.registry.prune_sessions(self.clock.unix_millis(), PRUNED_AT_ONCE).await?;
            gone.iter().for_each(|session| self.forget(*session));
            pruned += gone.len() as u64;
            if gone.len() < PRUNED_AT_ONCE as usize {
                return Ok(pruned);
            }
        }
    }

    /// Forgets what was read of these sessions before, for they may have ended or changed without this node.
    pub fn forget_all_of(&self, of: &SessionsOf) {
        let Ends { users, clients, .. } = &self.ends;
        match of {
            SessionsOf::User(name) => self.ends.end(&users[usize::from(self.ends.place(name.as_str()))]),
            SessionsOf::Client(name) => self.ends.end(&clients[usize::from(self.ends.place(name.as_str()))]),
            SessionsOf::One(user, id) => {
                let of_another = |held: Remembered| *held.session.user != *user.as_str();
                if !self.cache.get(id).is_some_and(of_another) {
                    self.forget(*id);
                }
            }
        }
    }

    /// Forgets every session; for a node that may have missed the end of some.
    pub fn forget_all(&self) {
        let mut stripes: Vec<_> =
            self.epochs.iter().map(|stripe| stripe.lock().unwrap_or_else(PoisonError::into_inner)).collect();
        for epoch in &mut stripes {
            **epoch += 1;
        }
        self.cache.clear();
    }

    fn stripe(&self, id: SessionId) -> MutexGuard<'_, u64> {
        let stripe = &self.epochs[usize::from(id.0[15]) % STRIPES];
        stripe.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whose sessions end or change with a write.
fn about(write: &Write) -> Option<SessionsOf> {
    match write {
        Write::EndSessions(of) => Some(of.clone()),
        Write::UserInfo { user, .. } => Some(SessionsOf::User(user.clone())),
        Write::Put { .. } | Write::Delete { .. } | Write::Audit(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Gate, GatedRegistry, session};
    use portcullis_core::memory::{ManualClock, MemoryRegistry};
    use portcullis_core::ports::{Beside, Sessions as _};

    fn id(number: u8) -> SessionId {
        SessionId([number; 16])
    }

    /// The sessions of a registry that last for ever.
    fn lasting(registry: Arc<dyn Registry>, budget: u64) -> Sessions {
        Sessions::new(registry, Arc::new(ManualClock::at(1)), Duration::ZERO, budget)
    }

    async fn opened(numbers: &[u8]) -> Arc<MemoryRegistry> {
        let registry = Arc::new(MemoryRegistry::default());
        for number in numbers {
            registry
                .open_session(session(id(*number), "ada", r#"{"a":1}"#), Beside::at_most(100), Vec::new())
                .await
                .expect("opened");
        }
        registry
    }

    #[tokio::test]
    async fn a_session_is_fetched_once_and_then_remembered_until_it_is_forgotten() {
        let registry = opened(&[1]).await;
        let sessions = lasting(registry.clone(), DEFAULT_BUDGET);
        assert!(sessions.cached(id(1)).is_none());
        let fetched = sessions.fetch(id(1)).await.expect("read").expect("alive");
        assert_eq!((fetched.user.as_ref(), fetched.client.as_str()), ("ada", "default"));
        assert!(Arc::ptr_eq(&fetched, &sessions.cached(id(1)).expect("remembered")));
        assert!(sessions.fetch(id(2)).await.expect("read").is_none());
        registry.end_session(id(1)).await.expect("ended");
        sessions.forget(id(1));
        assert!(sessions.cached(id(1)).is_none());
        assert!(sessions.fetch(id(1)).await.expect("read").is_none());
    }

    #[tokio::test]
    async fn a_session_that_ends_while_it_is_read_does_not_come_back() {
        let gate = Gate::default();
        let registry = Arc::new(GatedRegistry::new(opened(&[1]).await, gate.clone()));
        let sessions = Arc::new(lasting(registry.clone(), DEFAULT_BUDGET));
        let reading = tokio::spawn({
            let sessions = Arc::clone(&sessions);
            async move { sessions.fetch(id(1)).await.expect("read") }
        });
        // The registry has answered, but the answer has not arrived yet.
        gate.wait_for_reader().await;
        registry.end_session(id(1)).await.expect("ended");
        sessions.forget(id(1));
        gate.open();
        assert!(reading.await.expect("no panic").is_none(), "read again, and gone");
        assert!(sessions.cached(id(1)).is_none());
        assert_eq!(gate.reads(), 2);
    }

    #[tokio::test]
    async fn a_session_opened_before_an_end_is_not_remembered_after_it() {
        let sessions = lasting(opened(&[]).await, DEFAULT_BUDGET);
        let live = Arc::new(LiveSession::from(&session(id(1), "ada", "{}")));
        let epoch = sessions.epoch(id(1));
        sessions.forget(id(1));
        assert!(!sessions.remember(&live, epoch) && sessions.cached(id(1)).is_none());
        let epoch = sessions.epoch(id(1));
        sessions.forget(id(2));
        assert!(sessions.remember(&live, epoch) && sessions.cached(id(1)).is_some());
        let epoch = sessions.epoch(id(1));
        sessions.forget_all();
        assert!(!sessions.remember(&live, epoch) && sessions.cached(id(1)).is_none());
    }

    #[test]
    fn the_cache_keeps_to_its_budget() {
        let budget = 64 * 1024;
        let sessions = lasting(Arc::new(MemoryRegistry::default()), budget);
        for number in 0..10_000_u128 {
            let id = SessionId(number.to_be_bytes());
            let live = Arc::new(LiveSession::from(&session(id, "ada", "{}")));
            sessions.remember(&live, sessions.epoch(id));
        }
        assert!(sessions.cache.weight() <= budget, "{}", sessions.cache.weight());
        assert!(!sessions.cache.is_empty());
    }

    /// With times that are not those of the tests' sessions, which last for ever.
    fn timed(number: u8, created_at: u64, expires_at: u64) -> Session {
        Session { created_at, expires_at, ..session(id(number), "ada", "{}") }
    }

    #[tokio::test]
    async fn what_is_remembered_ends_when_the_session_does() {
        let end = 100_000;
        for (ttl, created_at, expires_at) in
            [(0, 0, end), (1_000, 0, end), (50, 50_000, u64::MAX), (50, 50_000, 999_000), (50, 50_000, end)]
        {
            for remembered in [true, false] {
                let registry = Arc::new(MemoryRegistry::default());
                let opened = timed(1, created_at, expires_at);
                let live = Arc::new(LiveSession::from(&opened));
                registry.open_session(opened.clone(), Beside::at_most(9), Vec::new()).await.expect("opened");
                let clock = Arc::new(ManualClock::at(99));
                let sessions = Sessions::new(registry, clock.clone(), Duration::from_secs(ttl), DEFAULT_BUDGET);
                assert!(!remembered || sessions.remember(&live, sessions.epoch(id(1))));
                clock.advance(Duration::from_millis(999));
                assert!(sessions.lasts(&opened) && !sessions.has_run_out(id(1)));
                assert_eq!(sessions.cached(id(1)).is_some(), remembered, "{ttl} {expires_at}");
                assert!(sessions.fetch(id(1)).await.expect("read").is_some());
                clock.advance(Duration::from_millis(1));
                assert!(sessions.cached(id(1)).is_none() && !sessions.lasts(&opened), "{ttl} {expires_at}");
                assert!(sessions.fetch(id(1)).await.expect("read").is_none(), "{ttl} {expires_at}");
                assert!(sessions.has_run_out(id(1)));
            }
        }
    }

    #[tokio::test]
    async fn what_is_pruned_is_forgotten_and_does_not_come_back() {
        let registry = Arc::new(MemoryRegistry::default());
        let clock = Arc::new(ManualClock::at(1));
        let sessions = Sessions::new(registry.clone(), clock.clone(), Duration::ZERO, DEFAULT_BUDGET);
        let over = u64::from(PRUNED_AT_ONCE) + 7;
        for number in 0..=over {
            let expires_at = if number == over { 9_999 } else { 2_000 };
            let id = SessionId((u128::from(number) << 64).to_be_bytes());
            let opened = Session { id, ..timed(0, number, expires_at) };
            sessions.remember(&Arc::new(LiveSession::from(&opened)), sessions.epoch(id));
            registry.open_session(opened, Beside::at_most(u32::MAX), Vec::new()).await.expect("opened");
        }
        assert_eq!(sessions.prune().await.expect("pruned"), 0);
        assert_eq!(sessions.cache.len() as u64, over + 1);
        let before = sessions.epoch(SessionId([0; 16]));
        clock.advance(Duration::from_secs(1));
        assert_eq!(sessions.prune().await.expect("pruned"), over, "however many writes it takes");
        assert_eq!(sessions.cache.len(), 1, "the one that goes on");
        // Who has read one of them before does not bring it back, not even with an end of its own.
        assert!(!sessions.remember(&Arc::new(LiveSession::from(&timed(0, 0, u64::MAX))), before));
    }

    #[tokio::test]
    async fn the_end_of_a_user_or_client_ends_what_was_read_before_whatever_the_registry_has() {
        let label = |name: &str| name.parse().expect("a label");
        let info = || Write::UserInfo { user: label("ada"), user_info: "{}".into() };
        let end = Write::EndSessions;
        for (write, ends) in [
            (end(SessionsOf::User(label("ada"))), true),
            (end(SessionsOf::Client(label("default"))), true),
            (end(SessionsOf::One(label("ada"), id(1))), true),
            (info(), true),
            (end(SessionsOf::User(label("default"))), false),
            (end(SessionsOf::Client(label("ada"))), false),
            (end(SessionsOf::One(label("ada"), id(2))), false),
        ] {
            let sessions = Arc::new(lasting(opened(&[]).await, DEFAULT_BUDGET));
            let live = Arc::new(LiveSession::from(&session(id(1), "ada", "{}")));
            let before = sessions.epoch(id(1));
            assert!(sessions.remember(&live, before));
            let done = sessions.write(vec![write.clone()]).await.expect("written");
            assert!(done.ended.is_empty(), "the registry has none");
            assert_eq!(sessions.cached(id(1)).is_none(), ends, "{write:?}");
            assert_eq!(sessions.remember(&live, before), !ends, "{write:?}: read before, remembered after");
            assert!(sessions.remember(&live, sessions.epoch(id(1))) && sessions.cached(id(1)).is_some(), "a new one");
        }
    }

    #[test]
    fn user_json_is_base64_of_ascii_json() {
        for (compact, ascii) in [
            (r#"{"id":7}"#, r#"{"id":7}"#),
            (r#"{"n":"Ada"}"#, r#"{"n":"Ada"}"#),
            (r#"{"n":"né"}"#, r#"{"n":"n\u00e9"}"#),
            (r#"{"n":"東\n"}"#, r#"{"n":"\u6771\n"}"#),
            (r#"{"n":"😀"}"#, r#"{"n":"\ud83d\ude00"}"#),
        ] {
            let header = user_json_header(compact);
            assert_eq!(header.as_bytes(), STANDARD.encode(ascii).as_bytes(), "{compact}");
            let [decoded, plain] =
                [ascii, compact].map(|text| serde_json::from_str::<serde_json::Value>(text).expect("JSON"));
            assert_eq!(decoded, plain);
        }
        for compact in ["", "1", "12", "123", "\"\u{e9}\"", "\"\u{1f600}!\""] {
            assert_eq!(user_json_bytes(compact), user_json_header(compact).as_bytes().len(), "{compact}");
        }
        assert_eq!(user_json_header("{}").text().expect("ASCII"), "e30=");
    }
}
