//! The ports: everything the gateway needs from the world, as traits.

mod outbound;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use thiserror::Error;

use crate::audit::{AuditEntry, AuditQuery, ChainedEntry, Verdict};
use crate::call::Ties;
use crate::capture::{Budget, Exchange};
use crate::directory::KeyHash;
use crate::model::{Label, Owner};
use crate::record::Record;

pub use outbound::{Bounds, Outbound, OutboundError};

/// The kinds of object a registry keeps by key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Facts about the registry itself.
    Meta,
    /// Services, by `name/version`.
    Service,
    /// Routes, by name.
    Route,
    /// Clients, by name.
    Client,
    /// Secrets of clients, sealed, by `client/id`.
    ClientSecret,
    /// API keys, by the hex SHA-256 of the key.
    ApiKey,
    /// Registrations, by service name.
    Registration,
    /// Enrolment tokens, by name.
    Enrolment,
    /// Users, by user name.
    User,
    /// Signing keys, by key id, sealed.
    SigningKey,
    /// Accounts at certificate authorities, by the URL of their directory, sealed.
    AcmeAccount,
    /// Certificates that were obtained, with their keys, by host, sealed; and how it goes with the next.
    Certificate,
    /// What certificate authorities are to find, by host, while an order is under way.
    Challenge,
    /// Work that one node does at a time, by its name: who does it, and until when.
    Lease,
}

impl Kind {
    /// The kinds of which every change leaves an entry in the audit trail, so that the trail answers for what is there.
    /// The others are what the gateway makes for itself.
    pub const AUDITED: [Self; 8] = [
        Self::Service,
        Self::Route,
        Self::Client,
        Self::ClientSecret,
        Self::ApiKey,
        Self::Registration,
        Self::Enrolment,
        Self::User,
    ];

    /// Whether every change of such an object leaves an entry in the audit trail.
    pub fn is_audited(self) -> bool {
        match self {
            Self::Service | Self::Route | Self::Client | Self::ClientSecret | Self::ApiKey => true,
            Self::Registration | Self::Enrolment | Self::User => true,
            Self::Meta | Self::SigningKey | Self::AcmeAccount | Self::Certificate | Self::Challenge | Self::Lease => {
                false
            }
        }
    }

    /// The word the registry stores.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Service => "service",
            Self::Route => "route",
            Self::Client => "client",
            Self::ClientSecret => "client_secret",
            Self::ApiKey => "api_key",
            Self::Registration => "registration",
            Self::Enrolment => "enrolment",
            Self::User => "user",
            Self::SigningKey => "signing_key",
            Self::AcmeAccount => "acme_account",
            Self::Certificate => "certificate",
            Self::Challenge => "challenge",
            Self::Lease => "lease",
        }
    }
}

/// An object as it is stored: its body is JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What it is.
    pub kind: Kind,
    /// Its key, unique in its kind.
    pub key: String,
    /// Counts up with every change, from 1.
    pub revision: u64,
    /// Who it belongs to.
    pub owner: Owner,
    /// JSON.
    pub body: String,
}

/// What must be true of an object for a write to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Nothing.
    Any,
    /// It is not there.
    Absent,
    /// It is there in this revision.
    Revision(u64),
}

/// One change of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Makes or replaces it.
    Put {
        /// The object as it will be.
        row: Row,
        /// What must be true before.
        expect: Expect,
    },
    /// Takes it out; one that is not there stays away.
    Delete {
        /// What it is.
        kind: Kind,
        /// Its key.
        key: String,
    },
    /// Adds to the end of the audit trail what the writes before it did.
    Audit(Box<AuditEntry>),
    /// Ends sessions, with what ends them.
    EndSessions(SessionsOf),
    /// What backends are told of a user, in every session there is.
    UserInfo {
        /// The user name.
        user: Label,
        /// Compact JSON.
        user_info: Arc<str>,
    },
}

/// Why the registry did not do what it was asked.
#[derive(Debug, Clone, Error)]
pub enum RegistryError {
    /// An [`Expect`] was not met; nothing was written.
    #[error("{kind} '{key}' has been changed by somebody else")]
    Conflict {
        /// The kind of the object.
        kind: &'static str,
        /// Its key.
        key: String,
    },
    /// There is no room for what was to be written: the disk is full, or a quota is used up. Nothing was written.
    #[error("the registry has no room: {0}")]
    Full(String),
    /// The storage itself failed.
    #[error("the registry failed: {0}")]
    Storage(String),
}

/// The id of a session.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId(pub [u8; 16]);

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::call::hex(&self.0))
    }
}

/// One login of a user through a client. Times are Unix milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// The user name.
    pub user: Label,
    /// The client it was opened through.
    pub client: Label,
    /// Compact JSON of what backends are told of the user.
    pub user_info: Arc<str>,
    /// When it was opened.
    pub created_at: u64,
    /// When its refresh token ends, unless it is used before.
    pub expires_at: u64,
    /// The hash of the refresh token that is good now.
    pub refresh: KeyHash,
    /// The hash of the one before it.
    pub predecessor: Option<KeyHash>,
    /// When the refresh token was last rotated.
    pub rotated_at: u64,
}

/// A request to exchange a refresh token for its successor. Times are Unix milliseconds.
#[derive(Debug, Clone)]
pub struct Rotate {
    /// The session the token belongs to.
    pub id: SessionId,
    /// The hash of the token that was shown.
    pub shown: KeyHash,
    /// The hash of its successor.
    pub successor: KeyHash,
    /// Now.
    pub now: u64,
    /// For how long the predecessor is still answered with the same successor, in milliseconds.
    pub grace: u64,
    /// When the successor ends.
    pub expires_at: u64,
    /// What backends are told of the user from now on, as compact JSON.
    pub user_info: Arc<str>,
    /// The objects the session stands on, as they were read. If one of them is not there like this any more, a good token
    /// is not exchanged: it is a [`RegistryError::Conflict`], and nothing is used up.
    pub stands_on: Vec<Row>,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rotation {
    /// The token was good and its successor is good now.
    Rotated(Session),
    /// The token was the predecessor, within its grace: the same successor once more.
    Repeated(Session),
    /// An old token of a living session: the session has been ended.
    Reused,
    /// There is no such session any more.
    Gone,
}

/// Whether those who were let in are still welcome.
#[async_trait]
pub trait Welcome: Send + Sync {
    /// Whether nothing a caller was let in by has been taken back. What cannot be told now counts as standing.
    async fn stands(&self, ties: &Ties) -> bool;
}

/// The durable store: declarations, keys, users, sessions, and the audit trail of their changes.
#[async_trait]
pub trait Registry: Send + Sync {
    /// Every object of a kind, by key.
    async fn all(&self, kind: Kind) -> Result<Vec<Row>, RegistryError>;
    /// Up to `limit` objects of a kind whose key is greater than `after`, by key.
    async fn page(&self, kind: Kind, after: &str, limit: u32) -> Result<Vec<Row>, RegistryError>;
    /// One object.
    async fn get(&self, kind: Kind, key: &str) -> Result<Option<Row>, RegistryError>;
    /// Does all the writes or none of them; when it returns, they are on disk. Returns the sessions that have ended or
    /// changed with them: what is remembered of these does not hold any more.
    async fn write(&self, writes: Vec<Write>) -> Result<Vec<SessionId>, RegistryError>;
    /// Does all the writes or none of them, where none is about sessions.
    async fn commit(&self, writes: Vec<Write>) -> Result<(), RegistryError> {
        self.write(writes).await.map(drop)
    }
    /// Opens a session if every object it stands on is still there as it was read, else it is a
    /// [`RegistryError::Conflict`]. Where the user has more than `limit`, the oldest end; their ids are returned.
    async fn open_session(
        &self,
        session: Session,
        limit: u32,
        stands_on: Vec<Row>,
    ) -> Result<Vec<SessionId>, RegistryError>;
    /// A living session.
    async fn session(&self, id: SessionId) -> Result<Option<Session>, RegistryError>;
    /// The sessions of a user, the oldest first; some may have expired.
    async fn sessions(&self, user: &Label) -> Result<Vec<Session>, RegistryError>;
    /// Exchanges a refresh token, in one transaction.
    async fn rotate(&self, rotate: Rotate) -> Result<Rotation, RegistryError>;
    /// Ends a session; `false` if there was none.
    async fn end_session(&self, id: SessionId) -> Result<bool, RegistryError>;
    /// Ends every session of a user, or through a client; returns their ids.
    async fn end_sessions(&self, of: SessionsOf) -> Result<Vec<SessionId>, RegistryError> {
        self.write(vec![Write::EndSessions(of)]).await
    }
    /// Takes out sessions that have expired by `now`, up to `limit` of them; returns their ids.
    async fn prune_sessions(&self, now: u64, limit: u32) -> Result<Vec<SessionId>, RegistryError>;
    /// Entries of the audit trail.
    async fn audit(&self, query: AuditQuery) -> Result<Vec<ChainedEntry>, RegistryError>;
    /// Looks at every entry of the audit trail, as all of them stand at one moment.
    async fn verify_audit(&self) -> Result<Verdict, RegistryError>;
}

/// Whose sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionsOf {
    /// A user's.
    User(Label),
    /// Those opened through a client.
    Client(Label),
    /// A user's, if it has this id.
    One(Label, SessionId),
}

impl SessionsOf {
    /// Whether it is one of these.
    pub fn includes(&self, session: &Session) -> bool {
        match self {
            Self::User(user) => session.user == *user,
            Self::Client(client) => session.client == *client,
            Self::One(user, id) => session.user == *user && session.id == *id,
        }
    }
}

/// Where records go. Writing waits for nothing that takes long, and never fails; what cannot be kept is counted.
pub trait AccessLog: Send + Sync {
    /// Takes a record.
    fn write(&self, record: &Record);

    /// A way into the same log for one worker alone, which shares it with nobody; none if there is only this one.
    fn lane(&self) -> Option<Arc<dyn AccessLog>> {
        None
    }
}

/// Where captured exchanges go. Keeping never waits and never fails; what cannot be kept is counted.
pub trait Captures: Send + Sync {
    /// What exchanges on their way may take.
    fn budget(&self) -> &Arc<Budget>;
    /// Takes an exchange.
    fn keep(&self, exchange: Box<Exchange>);
    /// Counts an exchange that could not be copied, because there was no budget left.
    fn lost(&self);
}

/// The time of day, and a time that only ever moves on.
pub trait Clock: Send + Sync {
    /// Now. It may be set, forward and back.
    fn now(&self) -> SystemTime;

    /// Time since a start of no meaning. It never goes back, whatever happens to the time of day.
    fn monotonic(&self) -> Duration {
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed()
    }

    /// Now, in Unix milliseconds.
    fn unix_millis(&self) -> u64 {
        let since = self.now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the time of day")]
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}
