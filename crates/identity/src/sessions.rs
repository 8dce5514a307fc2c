//! The sessions a node has met: what a call needs of them, remembered within a byte budget.
//!
//! [`Sessions::cached`] is for the way of a call and never waits; [`Sessions::fetch`] asks the registry. A session
//! that ends while it is being read must not come back into the cache: every end counts up the epoch of the
//! session's stripe, and what was read is remembered only in the epoch in which the reading began.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use portcullis_core::model::Label;
use portcullis_core::ports::{Registry, RegistryError, Session, SessionId};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

/// The budget of the cache in bytes, where nothing else is set.
pub const DEFAULT_BUDGET: u64 = 64 * 1024 * 1024;

const STRIPES: usize = 64;
/// After so many ends in its stripe a session is handed out without being remembered.
const TRIES: usize = 8;

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
    /// base64 of the compact JSON of the user's information, in ASCII: `X-User-Json`.
    pub user_json: HeaderValue,
}

impl From<&Session> for LiveSession {
    fn from(session: &Session) -> Self {
        Self {
            id: session.id,
            user: session.user.shared(),
            client: session.client.clone(),
            created_at: session.created_at,
            user_json: user_json_header(&session.user_info),
        }
    }
}

/// Compact JSON as `X-User-Json` carries it: standard base64 with padding over JSON whose every character beyond
/// ASCII is written `\uXXXX`, so that a backend decodes it right whatever it takes for the encoding.
pub fn user_json_header(compact: &str) -> HeaderValue {
    let mut ascii = String::with_capacity(compact.len());
    // Beyond ASCII there are only characters inside of strings, where the escape means the same.
    for character in compact.chars() {
        if character.is_ascii() {
            ascii.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            ascii.push_str(&format!("\\u{unit:04x}"));
        }
    }
    HeaderValue::try_from(STANDARD.encode(ascii)).expect("base64 is made of header characters")
}

#[derive(Clone)]
struct Size;

impl Weighter<SessionId, Arc<LiveSession>> for Size {
    fn weight(&self, _: &SessionId, session: &Arc<LiveSession>) -> u64 {
        // What an entry takes beside its texts: the shared session itself, its counts, and its place in the cache.
        const FIXED: usize = size_of::<LiveSession>() + 128;
        (FIXED + session.user.len() + session.client.as_str().len() + session.user_json.len()) as u64
    }
}

/// The epoch in which reading a session began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epoch(u64);

/// The sessions this node remembers.
pub struct Sessions {
    registry: Arc<dyn Registry>,
    cache: Cache<SessionId, Arc<LiveSession>, Size>,
    epochs: Box<[Mutex<u64>]>,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions").field("remembered", &self.cache.len()).finish_non_exhaustive()
    }
}

impl Sessions {
    /// Remembers at most so many bytes; see [`DEFAULT_BUDGET`].
    pub fn new(registry: Arc<dyn Registry>, budget: u64) -> Self {
        // An entry is seldom smaller than this, so the cache's own tables seldom grow.
        let entries = usize::try_from(budget / 512).unwrap_or(usize::MAX).max(1);
        let epochs = (0..STRIPES).map(|_| Mutex::new(0)).collect();
        Self { registry, cache: Cache::with_weighter(entries, budget, Size), epochs }
    }

    /// A session this node remembers. Never waits for anything but the cache itself.
    pub fn cached(&self, id: SessionId) -> Option<Arc<LiveSession>> {
        self.cache.get(&id)
    }

    /// A living session, from the registry if it is not remembered. For the control runtime.
    pub async fn fetch(&self, id: SessionId) -> Result<Option<Arc<LiveSession>>, RegistryError> {
        let mut tries = 0;
        loop {
            if let Some(session) = self.cached(id) {
                return Ok(Some(session));
            }
            let epoch = self.epoch(id);
            let Some(session) = self.registry.session(id).await? else { return Ok(None) };
            let session = Arc::new(LiveSession::from(&session));
            tries += 1;
            if self.remember(&session, epoch) || tries == TRIES {
                return Ok(Some(session));
            }
        }
    }

    /// The epoch to hand to [`Sessions::remember`]; taken before the session is read or opened.
    pub fn epoch(&self, id: SessionId) -> Epoch {
        Epoch(*self.stripe(id))
    }

    /// Remembers a session, unless one of its stripe has ended since the epoch was taken; says whether it did.
    pub fn remember(&self, session: &Arc<LiveSession>, since: Epoch) -> bool {
        let epoch = self.stripe(session.id);
        let unbroken = Epoch(*epoch) == since;
        if unbroken {
            self.cache.insert(session.id, Arc::clone(session));
        }
        unbroken
    }

    /// Forgets a session that has ended. To be called after it has ended in the registry.
    pub fn forget(&self, id: SessionId) {
        let mut epoch = self.stripe(id);
        *epoch += 1;
        self.cache.remove(&id);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Gate, GatedRegistry, session};
    use portcullis_core::memory::MemoryRegistry;

    fn id(number: u8) -> SessionId {
        SessionId([number; 16])
    }

    async fn opened(numbers: &[u8]) -> Arc<MemoryRegistry> {
        let registry = Arc::new(MemoryRegistry::default());
        for number in numbers {
            registry.open_session(session(id(*number), "ada", r#"{"a":1}"#), 100, Vec::new()).await.expect("opened");
        }
        registry
    }

    #[tokio::test]
    async fn a_session_is_fetched_once_and_then_remembered_until_it_is_forgotten() {
        let registry = opened(&[1]).await;
        let sessions = Sessions::new(registry.clone(), DEFAULT_BUDGET);
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
        let sessions = Arc::new(Sessions::new(registry.clone(), DEFAULT_BUDGET));
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
        let sessions = Sessions::new(opened(&[]).await, DEFAULT_BUDGET);
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
        let sessions = Sessions::new(Arc::new(MemoryRegistry::default()), budget);
        for number in 0..10_000_u128 {
            let id = SessionId(number.to_be_bytes());
            let live = Arc::new(LiveSession::from(&session(id, "ada", "{}")));
            sessions.remember(&live, sessions.epoch(id));
        }
        assert!(sessions.cache.weight() <= budget, "{}", sessions.cache.weight());
        assert!(!sessions.cache.is_empty());
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
        assert_eq!(user_json_header("{}").to_str().expect("ASCII"), "e30=");
    }
}
