//! Logging in, refreshing and logging out: the use cases behind the token endpoints.
//!
//! A login opens a session: a family of refresh tokens of which only the newest is good. One that was already
//! used ends the session, because somebody has a copy; except that the immediate predecessor is answered with
//! the same successor for a short grace, because answers get lost and browsers have two tabs.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::directory::Directory;
use portcullis_core::model::Label;
use portcullis_core::ports::{Clock, Kind, Registry, Rotate, Rotation, Session, SessionId};
use portcullis_core::refusal::{Credential, Refusal};
use portcullis_core::secret::Secret;
use serde::{Serialize, Serializer};

use crate::access_tokens::AccessTokens;
use crate::error::{refuse_fault, refuse_registry};
use crate::lockout::{Lockout, Whence};
use crate::master::MasterKey;
use crate::passwords::Passwords;
use crate::random::random;
use crate::refresh_tokens::RefreshToken;
use crate::sessions::{LiveSession, Sessions};
use crate::users::Users;

/// The client a login belongs to that names none.
pub const DEFAULT_CLIENT: &str = "default";

/// How long tokens last, and how many sessions a user has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoginSettings {
    /// For how long an access token is good.
    pub access_ttl: Duration,
    /// For how long a refresh token is good, unless it is used before.
    pub refresh_ttl: Duration,
    /// For how long a used refresh token is answered with the same successor again. Zero: not at all.
    pub refresh_grace: Duration,
    /// How many sessions a user has; one more ends the oldest.
    pub sessions_per_user: u32,
}

impl Default for LoginSettings {
    fn default() -> Self {
        Self {
            access_ttl: Duration::from_secs(300),
            refresh_ttl: Duration::from_secs(86_400),
            refresh_grace: Duration::from_secs(10),
            sessions_per_user: 100,
        }
    }
}

/// What a login or a refresh gives back; serializes as the answer's body.
#[derive(Debug, Serialize)]
pub struct TokenReply {
    /// The access token.
    #[serde(serialize_with = "exposed")]
    pub access_token: Secret,
    /// The refresh token.
    #[serde(serialize_with = "exposed")]
    pub refresh_token: Secret,
    /// `Bearer`.
    pub token_type: &'static str,
    /// For how many seconds the access token is good.
    pub expires_in: u64,
    /// For how many seconds the refresh token is good.
    pub refresh_expires_in: u64,
    /// The user the tokens speak for; not part of the answer.
    #[serde(skip)]
    pub user: Label,
    /// The client they were issued to; not part of the answer.
    #[serde(skip)]
    pub client: Label,
}

fn exposed<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}

/// What a [`Login`] works with.
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

/// Opens, renews and ends sessions. For the control runtime.
pub struct Login {
    parts: LoginParts,
    settings: LoginSettings,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Login {
    /// Logins with these parts and settings.
    pub fn new(parts: LoginParts, settings: LoginSettings) -> Self {
        Self { parts, settings }
    }

    /// Opens a session for a user through a client. An unknown user and a wrong password look the same and
    /// cost the same. Whoever has guessed too often is refused before anything is looked at.
    pub async fn log_in(
        &self,
        from: impl Into<Whence>,
        client: Label,
        username: &str,
        password: Secret,
    ) -> Result<TokenReply, Refusal> {
        let Login { parts, settings } = self;
        self.check_client(&client)?;
        let from = from.into();
        let attempt = parts.lockout.admit(username, from)?;
        let user: Option<Label> = username.parse().ok();
        let stored = match &user {
            Some(user) => parts.users.stored(user).await?,
            None => None,
        };
        let hash = stored.as_ref().map(|stored| stored.password_hash.clone());
        let verified = parts.passwords.verify(from.address, hash, password).await?;
        let (Some(user), Some(stored), true) = (user, stored, verified) else {
            attempt.failed();
            return Err(refused("unknown user or wrong password"));
        };
        attempt.succeeded();

        let now = parts.clock.unix_millis();
        let token = RefreshToken::first(SessionId(random()));
        let session = Session {
            id: token.session,
            user,
            client,
            user_info: stored.user_info.to_string().into(),
            created_at: now,
            expires_at: now.saturating_add(millis(settings.refresh_ttl)),
            refresh: token.hash(&parts.master),
            predecessor: None,
            rotated_at: now,
        };
        let epoch = parts.sessions.epoch(session.id);
        let ended = parts.registry.open_session(session.clone(), settings.sessions_per_user).await;
        for oldest in ended.map_err(refuse_registry)? {
            parts.sessions.forget(oldest);
        }
        // While the password was verified the user may have been deleted or got another one, which ends the
        // sessions there were; this one was opened after that, and must not outlive it.
        let still = parts.users.stored(&session.user).await?;
        if still.is_none_or(|now| now.password_hash != stored.password_hash || now.created_at != stored.created_at) {
            self.end(session.id).await?;
            return Err(refused("the user was changed during the login"));
        }
        parts.sessions.remember(&Arc::new(LiveSession::from(&session)), epoch);
        self.reply(&session, token)
    }

    /// Exchanges a refresh token for a new access token and its successor.
    pub async fn refresh(&self, refresh_token: &str) -> Result<TokenReply, Refusal> {
        let Login { parts, settings } = self;
        let shown = RefreshToken::read(refresh_token, &parts.master).ok_or_else(|| refused("not a refresh token"))?;
        let successor = shown.successor().ok_or_else(|| refused("the session has run out of refresh tokens"))?;
        // The client is looked at first, so that a refused refresh uses nothing up.
        let session = parts.registry.session(shown.session).await.map_err(refuse_registry)?;
        let session = session.ok_or_else(|| refused("the session has ended"))?;
        self.check_client(&session.client)?;
        // A user's sessions end with the user; should that have been cut short, they end here.
        if parts.registry.get(Kind::User, session.user.as_str()).await.map_err(refuse_registry)?.is_none() {
            self.end(session.id).await?;
            return Err(refused("the user is gone"));
        }
        let now = parts.clock.unix_millis();
        let rotate = Rotate {
            id: shown.session,
            shown: shown.hash(&parts.master),
            successor: successor.hash(&parts.master),
            now,
            grace: millis(settings.refresh_grace),
            expires_at: now.saturating_add(millis(settings.refresh_ttl)),
        };
        match parts.registry.rotate(rotate).await.map_err(refuse_registry)? {
            Rotation::Rotated(session) | Rotation::Repeated(session) => self.reply(&session, successor),
            Rotation::Reused => {
                parts.sessions.forget(shown.session);
                Err(refused("a refresh token was used again; its session has been ended"))
            }
            Rotation::Gone => {
                parts.sessions.forget(shown.session);
                Err(refused("the session has ended"))
            }
        }
    }

    /// Ends the session of a refresh token of any generation. A token that is not known is fine (RFC 7009 section 2.2).
    pub async fn revoke(&self, refresh_token: &str) -> Result<(), Refusal> {
        match RefreshToken::read(refresh_token, &self.parts.master) {
            Some(token) => self.end(token.session).await,
            None => Ok(()),
        }
    }

    async fn end(&self, session: SessionId) -> Result<(), Refusal> {
        self.parts.registry.end_session(session).await.map_err(refuse_registry)?;
        self.parts.sessions.forget(session);
        Ok(())
    }

    fn check_client(&self, client: &Label) -> Result<(), Refusal> {
        if self.parts.directory.read(|entries| entries.client(client).is_some()) {
            return Ok(());
        }
        Err(refused(format!("the client '{client}' is not known or is disabled")))
    }

    fn reply(&self, session: &Session, refresh: RefreshToken) -> Result<TokenReply, Refusal> {
        let Login { parts, settings } = self;
        let claims = parts.tokens.claims_for(&session.user, &session.client, session.id, settings.access_ttl);
        Ok(TokenReply {
            access_token: parts.tokens.issue(&claims).map_err(refuse_fault)?.into(),
            refresh_token: refresh.text(&parts.master),
            token_type: "Bearer",
            expires_in: settings.access_ttl.as_secs(),
            refresh_expires_in: session.expires_at.saturating_sub(parts.clock.unix_millis()).div_ceil(1000),
            user: session.user.clone(),
            client: session.client.clone(),
        })
    }
}

fn refused(reason: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::invalid(Credential::Login, reason)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
