//! Declarations, keys and users, the trail of their changes, and what was changed after a moment.

use std::sync::Arc;

use async_trait::async_trait;

use super::{RegistryError, SessionsOf};
use crate::audit::{AuditEntry, AuditQuery, ChainedEntry, TrailVerdict};
use crate::model::Label;
use crate::object::{Kind, Row};
use crate::session_id::SessionId;

/// Changes of objects that [`Objects::changes`] can tell of, at least. Whoever was away for more reads everything again.
pub const TOLD_CHANGES: u64 = 10_000;

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
    /// Takes it out.
    Delete {
        /// What it is.
        kind: Kind,
        /// Its key.
        key: String,
        /// What must be true before; what is absent already stays away.
        expect: Expect,
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

/// Where the objects of a registry stand. It grows with every commit that changes one of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u64);

/// What a commit did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commit {
    /// Where the objects stood before it. Whoever knows them as they stood at an earlier version has missed something.
    pub since: Version,
    /// Where they stand after it.
    pub version: Version,
    /// The sessions that have ended or changed with it: what is remembered of these does not hold any more.
    pub ended: Vec<Ended>,
}

/// A session that has ended or changed with a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Which.
    pub session: SessionId,
    /// By which of the commit's writes, by its place among them.
    pub write: usize,
}

/// An object that was changed after a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// What it is.
    pub kind: Kind,
    /// Its key.
    pub key: String,
    /// As it is now; none if it is gone.
    pub row: Option<Row>,
}

/// What was changed after a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// These objects, each once, in the order of their last changes, which lead to this version.
    Changed(Version, Vec<Changed>),
    /// More than can be told, or the version is not one of this registry: everything has to be read again.
    Unknown,
}

/// What operators and services change: declarations, keys, users, and the audit trail that tells of it.
///
/// A commit is one transaction over objects, trail, and the sessions that end with them. A store without such transactions
/// cannot keep these rules.
#[async_trait]
pub trait Objects: Send + Sync {
    /// Every object of a kind, by key.
    async fn all(&self, kind: Kind) -> Result<Vec<Row>, RegistryError>;
    /// Up to `limit` objects of a kind whose key is greater than `after`, by key.
    async fn page(&self, kind: Kind, after: &str, limit: u32) -> Result<Vec<Row>, RegistryError>;
    /// One object.
    async fn get(&self, kind: Kind, key: &str) -> Result<Option<Row>, RegistryError>;
    /// Does all the writes or none of them; when it returns, they are on disk. Only kinds of which every change is
    /// [audited](Kind::is_audited) are changed here.
    async fn commit(&self, writes: Vec<Write>) -> Result<Commit, RegistryError>;
    /// Where the objects stand.
    async fn version(&self) -> Result<Version, RegistryError>;
    /// What was changed after a version, whoever did it, as it stands at one moment. Only kinds of which every change is
    /// [audited](Kind::is_audited) are told.
    async fn changes(&self, after: Version) -> Result<News, RegistryError>;
    /// Entries of the audit trail.
    async fn audit(&self, query: AuditQuery) -> Result<Vec<ChainedEntry>, RegistryError>;
    /// Looks at every entry of the audit trail, as all of them stand at one moment.
    async fn verify_audit(&self) -> Result<TrailVerdict, RegistryError>;
}
