//! What logins work with, and what all of them do: verify a password, look whether user and client are still what they were,
//! open a session and end it.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::directory::Directory;
use portcullis_core::model::{Client, Label};
use portcullis_core::ports::{Beside, Clock, Kind, Registry, RegistryError, Row, Session, SessionId, SessionsOf};
use portcullis_core::refusal::{Credential, Refusal};
use portcullis_core::secret::Secret;

use crate::access_tokens::AccessTokens;
use crate::lockout::{Lockout, LoginOrigin};
use crate::master::MasterKey;
use crate::passwords::Passwords;
use crate::sessions::{LiveSession, Sessions};
use crate::users::{StoredUser, Users};

/// How often user and client are looked at anew when they change under a login or a refresh.
pub(crate) const TRIES: usize = 8;

/// What logins work with.
#[derive(Clone)]
pub struct LoginParts {
    /// Where sessions are kept.
    pub registry: Arc<dyn Registry>,
    /// The users.
    pub users: Arc<Users>,
    /// Password verification.
    pub passwords: Arc<Passwords>,
    /// Who has to wait before the next guess.
    pub lockout: Arc<Lockout>,
    /// Access tokens.
    pub tokens: Arc<AccessTokens>,
    /// The sessions this node remembers.
    pub sessions: Arc<Sessions>,
    /// What refresh tokens are made with.
    pub master: Arc<MasterKey>,
    /// Which clients there are.
    pub directory: Arc<Directory>,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
}

/// A user whose password was verified, as it was stored then.
pub(crate) struct Proven {
    pub(crate) user: Label,
    stored: StoredUser,
}

/// Why a user is not proven.
pub(crate) enum Unproven {
    /// There is no such user, it is disabled, or this is not its password; which, for the operator only.
    Wrong(&'static str),
    /// The password was not looked at.
    Refused(Refusal),
}

impl From<Refusal> for Unproven {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Unproven> for Refusal {
    fn from(unproven: Unproven) -> Self {
        match unproven {
            Unproven::Wrong(reason) => refused(reason),
            Unproven::Refused(refusal) => refusal,
        }
    }
}

/// A client that is enabled, as it stands in the registry.
pub(crate) struct StoredClient {
    pub(crate) row: Row,
    pub(crate) client: Client,
}

impl LoginParts {
    /// Verifies a password. An unknown user, one who is disabled and a wrong password look the same and cost the same.
    /// Whoever has guessed too often is refused before anything is looked at.
    pub(crate) async fn prove(&self, from: LoginOrigin, username: &str, password: Secret) -> Result<Proven, Unproven> {
        let attempt = self.lockout.admit(username, from)?;
        let user: Option<Label> = username.parse().ok();
        let stored = match &user {
            Some(user) => self.users.stored(user).await?.map(|(_, stored)| stored),
            None => None,
        };
        let hash = stored.as_ref().map(|stored| stored.password_hash.clone());
        let verified = self.passwords.verify(from.address, hash, password).await?;
        let (Some(user), Some(stored), true) = (user, stored, verified) else {
            attempt.failed();
            return Err(Unproven::Wrong("unknown user or wrong password"));
        };
        if !stored.enabled {
            attempt.failed();
            return Err(Unproven::Wrong("the user is disabled"));
        }
        attempt.succeeded();
        Ok(Proven { user, stored })
    }

    /// A proven user as it stands now; none if it is another one, or has another password, or is disabled.
    pub(crate) async fn unchanged(&self, proven: &Proven) -> Result<Option<(Row, StoredUser)>, Refusal> {
        let Proven { user, stored: was } = proven;
        let is_same = |stored: &StoredUser| {
            stored.enabled && stored.password_hash == was.password_hash && stored.created_at == was.created_at
        };
        Ok(self.users.stored(user).await?.filter(|(_, stored)| is_same(stored)))
    }

    /// A client as it stands in the registry, which knows of a change before the directory does; none if it is not there or
    /// is disabled.
    pub(crate) async fn client(&self, name: &Label) -> Result<Option<StoredClient>, Refusal> {
        let row = self.registry.get(Kind::Client, name.as_str()).await.map_err(Refusal::from)?;
        let stored = row.and_then(|row| Some(StoredClient { client: serde_json::from_str(&row.body).ok()?, row }));
        Ok(stored.filter(|stored| stored.client.enabled))
    }

    /// Opens a session and remembers it. Those it does not leave have ended everywhere when this returns. `false` if
    /// something it would stand on was changed meanwhile.
    pub(crate) async fn open(&self, session: &Session, beside: Beside, on: Vec<Row>) -> Result<bool, Refusal> {
        let epoch = self.sessions.epoch(session.id);
        let opened = self.registry.open_session(session.clone(), beside, on).await;
        if opened.as_ref().is_err_and(may_be_done) {
            self.sessions.forget_all_of(&SessionsOf::User(session.user.clone()));
        }
        let Some(ended) = unless_changed(opened)? else { return Ok(false) };
        ended.into_iter().for_each(|ended| self.sessions.forget(ended));
        self.sessions.remember(&Arc::new(LiveSession::from(session)), epoch);
        Ok(true)
    }

    /// Ends a session, also where this node remembers it.
    pub(crate) async fn end(&self, session: SessionId) -> Result<(), Refusal> {
        let ended = self.registry.end_session(session).await;
        if ended.as_ref().map_or_else(may_be_done, |_| true) {
            self.sessions.forget(session);
        }
        ended.map(drop).map_err(Refusal::from)
    }
}

/// A login or a refresh that is refused, with the reason for the operator.
pub(crate) fn refused(reason: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::invalid(Credential::Login, reason)
}

pub(crate) fn changing() -> Refusal {
    Refusal::Overloaded { private: "a user or client changes all the time", retry_after: Duration::from_secs(1) }
}

/// Whether a change that has failed may be on disk all the same.
pub(crate) fn may_be_done(error: &RegistryError) -> bool {
    matches!(error, RegistryError::Storage(_))
}

/// What the registry did; none if something it would stand on was changed meanwhile.
pub(crate) fn unless_changed<T>(done: Result<T, RegistryError>) -> Result<Option<T>, Refusal> {
    match done {
        Ok(done) => Ok(Some(done)),
        Err(RegistryError::Conflict { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// When a session that was opened then ends at the latest, in Unix milliseconds; never, if it may last for ever.
pub(crate) fn last_end(session_ttl: Duration, created_at: u64) -> u64 {
    if session_ttl.is_zero() { u64::MAX } else { created_at.saturating_add(millis(session_ttl)) }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
