//! Logins: sessions and the rotation of their refresh tokens, and pairs of opaque tokens, which are sessions too.

use std::sync::Arc;

use async_trait::async_trait;

use super::RegistryError;
use crate::directory::KeyHash;
use crate::model::Label;
use crate::object::Row;
use crate::session_id::SessionId;

/// One login of a user through a client. Times are Unix milliseconds.
///
/// Its tokens are either signed access tokens, which name it, with refresh tokens that rotate; or a pair of opaque tokens, of
/// which the id and the refresh hash are made. A token of the one sort never finds a session of the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// The user name; of a user whom another system knows, the name that is made of what it says
    /// ([`Label::of_another`]).
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
    /// Of a pair of opaque tokens: until when its access token is good, not longer than the refresh token. None where the
    /// access tokens are signed.
    pub access_until: Option<u64>,
}

impl Session {
    /// Whether it is a pair of opaque tokens.
    pub fn is_pair(&self) -> bool {
        self.access_until.is_some()
    }
}

/// Which other sessions of its user a new one leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beside {
    /// How many sessions the user has at most, with the new one; at least that one. The oldest end.
    pub limit: u32,
    /// Whether the new one is to be the only one of its user through its client, of whatever sort the others are.
    pub alone: bool,
    /// How many sessions all have together who are known to the same client alone ([`Label::realm`]), where the user is one of
    /// them. Where there are as many, another is not opened ([`RegistryError::TooMany`]), unless one of the same user ends by
    /// it. Any number, if none.
    pub of_realm: Option<u32>,
}

impl Beside {
    /// So many with the new one, through whichever clients.
    pub fn at_most(limit: u32) -> Self {
        Self { limit, alone: false, of_realm: None }
    }
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

/// A request to exchange the refresh token of a pair for another pair. Times are Unix milliseconds.
#[derive(Debug, Clone)]
pub struct Replace {
    /// The pair the token belongs to.
    pub id: SessionId,
    /// The hash of the token that was shown.
    pub shown: KeyHash,
    /// Now.
    pub now: u64,
    /// The pair that takes its place.
    pub successor: Session,
    /// The objects the pair stands on, as they were read. If one of them is not there like this any more, a good token is
    /// not exchanged: it is a [`RegistryError::Conflict`], and nothing is used up.
    pub stands_on: Vec<Row>,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replaced {
    /// The pair is gone, and its successor is there.
    Done,
    /// There is no such pair any more, or it has expired, or this is not its refresh token. Nothing has changed.
    Gone,
}

/// A pair of opaque tokens that another gateway has issued. Times are Unix milliseconds.
#[derive(Debug, Clone)]
pub struct ForeignPair {
    /// The pair.
    pub session: Session,
    /// Until when its id is remembered, so that it is not taken once more.
    pub remembered_until: u64,
}

/// The sessions of users. What ends sessions together with objects is in the [`Commit`](super::Commit) that does it.
#[async_trait]
pub trait Sessions: Send + Sync {
    /// Opens a session if every object it stands on is still there as it was read, else it is a
    /// [`RegistryError::Conflict`]. Sessions that it does not leave end in the same transaction; their ids are returned.
    async fn open_session(
        &self,
        session: Session,
        beside: Beside,
        stands_on: Vec<Row>,
    ) -> Result<Vec<SessionId>, RegistryError>;
    /// A living session.
    async fn session(&self, id: SessionId) -> Result<Option<Session>, RegistryError>;
    /// The sessions of a user, the oldest first; some may have expired.
    async fn sessions(&self, user: &Label) -> Result<Vec<Session>, RegistryError>;
    /// The pair of opaque tokens with this hash of its refresh token; it may have expired.
    async fn pair_by_refresh(&self, refresh: &KeyHash) -> Result<Option<Session>, RegistryError>;
    /// Puts a pair in the place of another one, in one transaction: of all who show the same refresh token, one.
    async fn replace_session(&self, replace: Replace) -> Result<Replaced, RegistryError>;
    /// Takes on pairs that another gateway has issued, if every object they stand on is still there as it was read, else it
    /// is a [`RegistryError::Conflict`]. None is taken that was taken before, whatever became of it, or whose tokens are
    /// known otherwise; returns how many were taken. Nobody's sessions end by it.
    async fn import_pairs(&self, pairs: Vec<ForeignPair>, stands_on: Vec<Row>) -> Result<u64, RegistryError>;
    /// Exchanges a refresh token, in one transaction. A pair of opaque tokens has none to rotate, and is
    /// [`Rotation::Gone`].
    async fn rotate(&self, rotate: Rotate) -> Result<Rotation, RegistryError>;
    /// Ends a session; `false` if there was none.
    async fn end_session(&self, id: SessionId) -> Result<bool, RegistryError>;
    /// Ends every session of a user, or through a client; returns their ids.
    async fn end_sessions(&self, of: SessionsOf) -> Result<Vec<SessionId>, RegistryError>;
    /// Takes out sessions that have expired by `now`, up to `limit` of them; returns their ids. As many ids of imported
    /// pairs are forgotten whose time is over.
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
