//! Logins: sessions and the rotation of their refresh tokens.

use std::sync::Arc;

use async_trait::async_trait;

use super::RegistryError;
use crate::directory::KeyHash;
use crate::model::Label;
use crate::object::Row;
use crate::session_id::SessionId;

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

/// The sessions of users. What ends sessions together with objects is in the [`Commit`](super::Commit) that does it.
#[async_trait]
pub trait Sessions: Send + Sync {
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
    async fn end_sessions(&self, of: SessionsOf) -> Result<Vec<SessionId>, RegistryError>;
    /// Takes out sessions that have expired by `now`, up to `limit` of them; returns their ids.
    async fn prune_sessions(&self, now: u64, limit: u32) -> Result<Vec<SessionId>, RegistryError>;
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
