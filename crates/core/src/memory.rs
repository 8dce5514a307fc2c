//! The ports in memory: a registry that forgets everything with the process, somebody to send requests to, and a clock
//! that is set by hand.

mod changes;
mod sessions;
mod state;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};

use crate::audit::{AuditFrom, AuditQuery, ChainedEntry, Head, Link, Object, Sum, TrailVerdict, Walk};
use crate::budget::Budget;
use crate::capture::{Capture, Exchange};
use crate::ports::{
    Bounds, Captures, Changed, Clock, Commit, Ended, Expect, Kind, News, Objects, Outbound, OutboundError,
    RegistryError, Row, Session, SessionId, TOLD_CHANGES, Upkeep, Version, Write,
};

pub use changes::MemoryChanges;
pub use state::{MemoryState, Nonce, Noted, StateReport, owner_of};

#[derive(Debug, Default)]
struct State {
    rows: BTreeMap<(Kind, String), Row>,
    sessions: HashMap<SessionId, Session>,
    /// The ids of imported pairs, and until when they are remembered.
    imported: HashMap<SessionId, u64>,
    trail: Vec<ChainedEntry>,
    /// The objects as the trail leaves them.
    told: Sum,
    /// What was changed last, up to [`TOLD_CHANGES`].
    changes: VecDeque<(Version, Kind, String)>,
    /// What somebody else commits just before each of the next commits.
    rivals: VecDeque<Vec<Write>>,
    is_away: bool,
}

impl State {
    fn version(&self) -> Version {
        self.changes.back().map_or(Version::default(), |(version, ..)| *version)
    }

    /// Notes that an object has been changed.
    fn note(&mut self, kind: Kind, key: String) {
        let Version(version) = self.version();
        self.changes.push_back((Version(version + 1), kind, key));
        if self.changes.len() as u64 > TOLD_CHANGES {
            self.changes.pop_front();
        }
    }

    /// Whether objects are there as they were read.
    fn stand(&self, objects: &[Row]) -> Result<(), RegistryError> {
        let changed = |row: &&Row| self.rows.get(&(row.kind, row.key.clone())) != Some(*row);
        objects
            .iter()
            .find(changed)
            .map_or(Ok(()), |row| Err(RegistryError::Conflict { kind: row.kind.as_str(), key: row.key.clone() }))
    }

    /// Does the writes, or none of them.
    fn commit(&mut self, writes: Vec<Write>) -> Result<Commit, RegistryError> {
        let (mut rows, mut sessions) = (self.rows.clone(), self.sessions.clone());
        let (mut ended, mut changed) = (Vec::new(), Vec::new());
        let mut added: Vec<ChainedEntry> = Vec::new();
        let mut difference = Sum::NONE;
        let mut toggle = |row: Option<&Row>| {
            let audited = row.filter(|row| row.kind.is_audited());
            audited.into_iter().for_each(|row| difference.toggle(Link::unkeyed().sum(&Object::from(row))));
        };
        for (place, write) in writes.into_iter().enumerate() {
            let of = |session: &Session| Ended { session: session.id, write: place };
            match write {
                Write::Put { row, expect } => {
                    let key = (row.kind, row.key.clone());
                    met(expect, row.kind, &row.key, rows.get(&key))?;
                    changed.push(key.clone());
                    toggle(Some(&row));
                    toggle(rows.insert(key, row).as_ref());
                }
                Write::Delete { kind, key, expect } => {
                    let key = (kind, key);
                    met(expect, kind, &key.1, rows.get(&key))?;
                    if let Some(former) = rows.remove(&key) {
                        changed.push(key);
                        toggle(Some(&former));
                    }
                }
                Write::Audit(entry) => {
                    let head = added.last().or(self.trail.last()).map_or(Head::EMPTY, ChainedEntry::head);
                    added.push(Link::unkeyed().chain(&head, *entry));
                }
                Write::EndSessions(whose) => {
                    ended.extend(sessions.values().filter(|session| whose.includes(session)).map(of));
                    sessions.retain(|_, session| !whose.includes(session));
                }
                Write::UserInfo { user, user_info } => {
                    for session in sessions.values_mut().filter(|session| session.user == user) {
                        session.user_info = Arc::clone(&user_info);
                        ended.push(of(session));
                    }
                }
            }
        }
        self.rows = rows;
        self.sessions = sessions;
        if !added.is_empty() {
            self.told.toggle(difference);
        }
        self.trail.extend(added);
        let since = self.version();
        changed.into_iter().filter(|(kind, _)| kind.is_audited()).for_each(|(kind, key)| self.note(kind, key));
        Ok(Commit { since, version: self.version(), ended })
    }
}

/// Whether what is there is what a write expects.
fn met(expect: Expect, kind: Kind, key: &str, found: Option<&Row>) -> Result<(), RegistryError> {
    let met = match expect {
        Expect::Any => true,
        Expect::Absent => found.is_none(),
        Expect::Revision(revision) => found.is_some_and(|row| row.revision == revision),
    };
    if met { Ok(()) } else { Err(RegistryError::Conflict { kind: kind.as_str(), key: key.to_owned() }) }
}

/// A registry in memory, for tests and for looking at the rules of the port.
#[derive(Debug, Default)]
pub struct MemoryRegistry(Mutex<State>);

impl MemoryRegistry {
    /// Cannot be reached from now on, or again.
    pub fn set_away(&self, is_away: bool) {
        self.held().is_away = is_away;
    }

    /// Has somebody else commit this just before the next commit; called again, just before the one after it.
    pub fn rival(&self, writes: Vec<Write>) {
        self.held().rivals.push_back(writes);
    }

    fn write(&self, writes: Vec<Write>) -> Result<Commit, RegistryError> {
        let mut state = self.state()?;
        if let Some(rival) = state.rivals.pop_front() {
            state.commit(rival)?;
        }
        state.commit(writes)
    }

    fn held(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> Result<MutexGuard<'_, State>, RegistryError> {
        let state = self.held();
        if state.is_away {
            return Err(RegistryError::Unavailable("it was sent away".to_owned()));
        }
        Ok(state)
    }
}

#[async_trait]
impl Objects for MemoryRegistry {
    async fn all(&self, kind: Kind) -> Result<Vec<Row>, RegistryError> {
        self.page(kind, "", u32::MAX).await
    }

    async fn page(&self, kind: Kind, after: &str, limit: u32) -> Result<Vec<Row>, RegistryError> {
        let state = self.state()?;
        let rows = state.rows.range((kind, after.to_owned())..).take_while(|((found, _), _)| *found == kind);
        Ok(rows.filter(|((_, key), _)| key.as_str() > after).map(|(_, row)| row.clone()).take(limit as usize).collect())
    }

    async fn get(&self, kind: Kind, key: &str) -> Result<Option<Row>, RegistryError> {
        Ok(self.state()?.rows.get(&(kind, key.to_owned())).cloned())
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<Commit, RegistryError> {
        Write::none_upkeep(&writes)?;
        self.write(writes)
    }

    async fn version(&self) -> Result<Version, RegistryError> {
        Ok(self.state()?.version())
    }

    async fn changes(&self, after: Version) -> Result<News, RegistryError> {
        let state = self.state()?;
        let oldest = state.changes.front().map_or(Version(1), |(version, ..)| *version);
        if after > state.version() || after.0 + 1 < oldest.0 {
            return Ok(News::Unknown);
        }
        let mut told = BTreeSet::new();
        let newest_first = state.changes.iter().rev().take_while(|(version, ..)| *version > after);
        let mut changed: Vec<_> = newest_first
            .filter(|(_, kind, key)| told.insert((*kind, key.clone())))
            .map(|(_, kind, key)| Changed {
                kind: *kind,
                key: key.clone(),
                row: state.rows.get(&(*kind, key.clone())).cloned(),
            })
            .collect();
        changed.reverse();
        Ok(News::Changed(state.version(), changed))
    }

    async fn audit(&self, query: AuditQuery) -> Result<Vec<ChainedEntry>, RegistryError> {
        let state = self.state()?;
        let wanted = state.trail.iter().filter(|found| query.wants(&found.entry));
        let limit = query.limit as usize;
        Ok(match query.from {
            AuditFrom::After(seq) => wanted.filter(|found| found.seq > seq).take(limit).cloned().collect(),
            AuditFrom::Before(seq) => wanted.rev().filter(|found| found.seq < seq).take(limit).cloned().collect(),
        })
    }

    async fn verify_audit(&self) -> Result<TrailVerdict, RegistryError> {
        let state = self.state()?;
        let mut walk = Walk::new(Link::unkeyed());
        state.trail.iter().for_each(|found| walk.step(Some(found.clone())));
        state.rows.values().for_each(|row| walk.object(&Object::from(row)));
        let kept = state.trail.last().map(ChainedEntry::head);
        Ok(walk.finish(kept.map(|head| (head, Link::unkeyed().seal(&head, &state.told)))))
    }
}

#[async_trait]
impl Upkeep for MemoryRegistry {
    async fn all_kept(&self, kind: Kind) -> Result<Vec<Row>, RegistryError> {
        self.all(kind).await
    }

    async fn kept(&self, kind: Kind, key: &str) -> Result<Option<Row>, RegistryError> {
        self.get(kind, key).await
    }

    async fn keep(&self, writes: Vec<Write>) -> Result<(), RegistryError> {
        Write::all_upkeep(&writes)?;
        self.write(writes).map(drop)
    }
}

/// Captured exchanges in memory, as they would be kept.
#[derive(Debug)]
pub struct MemoryCaptures {
    budget: Arc<Budget>,
    kept: Mutex<Vec<Capture>>,
    lost: AtomicU64,
}

impl MemoryCaptures {
    /// With so many bytes for exchanges on their way.
    pub fn new(budget: usize) -> Self {
        Self { budget: Budget::new(budget), kept: Mutex::default(), lost: AtomicU64::new(0) }
    }

    /// Takes out what was kept so far, and how many could not be copied.
    pub fn take(&self) -> (Vec<Capture>, u64) {
        let kept = std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner));
        (kept, self.lost.swap(0, Relaxed))
    }
}

impl Captures for MemoryCaptures {
    fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    fn keep(&self, exchange: Box<Exchange>) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).push(exchange.shown());
    }

    fn lost(&self) {
        self.lost.fetch_add(1, Relaxed);
    }
}

/// Somebody in this process who answers requests that would go out.
pub struct MemoryOutbound<F>(F);

impl<F> MemoryOutbound<F>
where
    F: Fn(Request<Bytes>) -> Result<Response<Bytes>, OutboundError> + Send + Sync,
{
    /// Answers what this answers. The bytes of an answer are bounded like those of any other.
    pub fn answering(answer: F) -> Self {
        Self(answer)
    }
}

#[async_trait]
impl<F> Outbound for MemoryOutbound<F>
where
    F: Fn(Request<Bytes>) -> Result<Response<Bytes>, OutboundError> + Send + Sync,
{
    async fn send(&self, request: Request<Bytes>, bounds: Bounds) -> Result<Response<Bytes>, OutboundError> {
        let uri = request.uri();
        if uri.authority().is_none() || !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(OutboundError::Url(uri.to_string()));
        }
        let response = (self.0)(request)?;
        if response.body().len() > bounds.bytes {
            return Err(OutboundError::TooLarge { limit: bounds.bytes });
        }
        Ok(response)
    }
}

/// A clock that stands still until it is moved.
///
/// ```
/// use std::time::Duration;
/// use portcullis_core::memory::ManualClock;
/// use portcullis_core::ports::Clock;
///
/// let clock = ManualClock::at(1_700_000_000);
/// clock.advance(Duration::from_millis(1_500));
/// assert_eq!((clock.unix_millis(), clock.monotonic()), (1_700_000_001_500, Duration::from_millis(1_500)));
/// clock.set(1); // An operator sets the time of day; the other one never goes back.
/// assert_eq!((clock.unix_millis(), clock.monotonic()), (1_000, Duration::from_millis(1_500)));
/// ```
#[derive(Debug)]
pub struct ManualClock(Mutex<Hands>);

#[derive(Debug)]
struct Hands {
    now: SystemTime,
    monotonic: Duration,
}

impl ManualClock {
    /// A clock at so many seconds after the Unix epoch.
    pub fn at(seconds: u64) -> Self {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        Self(Mutex::new(Hands { now, monotonic: Duration::ZERO }))
    }

    /// Moves it on.
    pub fn advance(&self, by: Duration) {
        let mut hands = self.hands();
        hands.now += by;
        hands.monotonic += by;
    }

    /// Sets the time of day alone, as an operator does: to so many seconds after the Unix epoch.
    pub fn set(&self, seconds: u64) {
        self.hands().now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    }

    fn hands(&self) -> MutexGuard<'_, Hands> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        self.hands().now
    }

    fn monotonic(&self) -> Duration {
        self.hands().monotonic
    }
}
