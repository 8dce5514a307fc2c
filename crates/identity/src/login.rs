//! Logging in, refreshing and logging out: the use cases behind the issuer's endpoints.
//!
//! A login opens a session: a family of refresh tokens of which only the newest is good. One that was already
//! used ends the session, because somebody has a copy; except that the immediate predecessor is answered with
//! the same successor for a short grace, because answers get lost and browsers have two tabs.

mod parts;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::directory::KeyHash;
use portcullis_core::model::Label;
use portcullis_core::ports::{Beside, Kind, Rotate, Rotation, Row, Session, SessionId};
use portcullis_core::refusal::Refusal;
use portcullis_core::secret::Secret;
use serde::{Serialize, Serializer};

use crate::error::refuse_fault;
use crate::lockout::LoginOrigin;
use crate::random::random;
use crate::refresh_tokens::RefreshToken;
use crate::sessions::LiveSession;

pub use parts::LoginParts;
pub(crate) use parts::{Proven, TRIES, Unproven, changing, last_end, may_be_done, millis, refused, unless_changed};

/// The client a login belongs to that names none.
pub const DEFAULT_CLIENT: &str = "default";

/// How long tokens last, and how many sessions a user has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoginSettings {
    /// For how long an access token is good.
    pub access_ttl: Duration,
    /// For how long a refresh token is good, unless it is used before.
    pub refresh_ttl: Duration,
    /// How long a session lasts, however often it is refreshed. Zero: for ever.
    pub session_ttl: Duration,
    /// For how long a used refresh token is answered with the same successor again. Zero: not at all.
    pub refresh_grace: Duration,
    /// How many sessions a user has; one more ends the oldest.
    pub sessions_per_user: u32,
    /// How many sessions users have together whom the Auth API of one client lets in; one more is refused.
    pub auth_api_sessions: u32,
}

impl Default for LoginSettings {
    fn default() -> Self {
        Self {
            access_ttl: Duration::from_secs(300),
            refresh_ttl: Duration::from_secs(86_400),
            session_ttl: Duration::from_secs(30 * 86_400),
            refresh_grace: Duration::from_secs(10),
            sessions_per_user: 100,
            auth_api_sessions: 1_000_000,
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

/// The client a login belongs to, and the API key that has shown it.
#[derive(Debug, Clone)]
pub struct Through {
    /// The client.
    pub client: Label,
    /// The key; the session is not opened if it is gone by then.
    pub key: Option<KeyHash>,
}

impl From<Label> for Through {
    fn from(client: Label) -> Self {
        Self { client, key: None }
    }
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

    /// Opens a session for a user through a client. An unknown user, one who is disabled and a wrong password look the
    /// same and cost the same. Whoever has guessed too often is refused before anything is looked at.
    pub async fn log_in(
        &self,
        from: impl Into<LoginOrigin>,
        through: impl Into<Through>,
        username: &str,
        password: Secret,
    ) -> Result<TokenReply, Refusal> {
        let parts = &self.parts;
        let (from, through) = (from.into(), through.into());
        self.check_client(&through.client)?;
        let proven = parts.prove(from, username, password).await?;
        for _ in 0..TRIES {
            if let Some(reply) = self.open(&proven, &through).await? {
                return Ok(reply);
            }
        }
        Err(changing())
    }

    /// Opens a session for a user whose password was verified, if user, client and key are still what they were then. They
    /// are looked at in the transaction that opens it; none if one of them was changed meanwhile.
    async fn open(&self, proven: &Proven, through: &Through) -> Result<Option<TokenReply>, Refusal> {
        let Login { parts, settings } = self;
        let (row, stored) =
            parts.unchanged(proven).await?.ok_or_else(|| refused("the user was changed during the login"))?;
        let client = parts.client(&through.client).await?.ok_or_else(|| unknown_client(&through.client))?;
        let beside = Beside { alone: client.client.single_login, ..Beside::at_most(settings.sessions_per_user) };
        let mut stands_on = vec![row, client.row];
        if let Some(key) = &through.key {
            let row = parts.registry.get(Kind::ApiKey, &key.to_hex()).await.map_err(Refusal::from)?;
            stands_on.push(row.ok_or_else(|| refused("the API key was taken back during the login"))?);
        }
        let now = parts.clock.unix_millis();
        let token = RefreshToken::first(SessionId(random()));
        let session = Session {
            id: token.session,
            user: proven.user.clone(),
            client: through.client.clone(),
            user_info: stored.user_info.to_string().into(),
            created_at: now,
            expires_at: now.saturating_add(millis(settings.refresh_ttl)).min(self.end_of(now)),
            refresh: token.hash(&parts.master),
            predecessor: None,
            rotated_at: now,
            access_until: None,
        };
        if !parts.open(&session, beside, stands_on).await? {
            return Ok(None);
        }
        self.reply(&session, token).map(Some)
    }

    /// Exchanges a refresh token for a new access token and its successor, for the client the session was opened through.
    pub async fn refresh(&self, client: &Label, refresh_token: &str) -> Result<TokenReply, Refusal> {
        let shown =
            RefreshToken::read(refresh_token, &self.parts.master).ok_or_else(|| refused("not a refresh token"))?;
        for _ in 0..TRIES {
            if let Some(reply) = self.exchange(client, shown).await? {
                return Ok(reply);
            }
        }
        Err(changing())
    }

    /// Exchanges a refresh token, if user and client are still what they were when it looked at them; else none.
    async fn exchange(&self, client: &Label, shown: RefreshToken) -> Result<Option<TokenReply>, Refusal> {
        let Login { parts, settings } = self;
        let successor = shown.successor().ok_or_else(|| refused("the session has run out of refresh tokens"))?;
        // Everything is looked at first, so that a refused refresh uses nothing up.
        let session = parts.registry.session(shown.session).await.map_err(Refusal::from)?;
        let Some(session) = session.filter(|session| !session.is_pair()) else {
            parts.sessions.forget(shown.session);
            return Err(refused("the session has ended"));
        };
        if session.client != *client {
            return Err(refused(format!("the session was opened through the client '{}'", session.client)));
        }
        self.check_client(&session.client)?;
        let now = parts.clock.unix_millis();
        let end = self.end_of(session.created_at);
        let stored = parts.users.stored(&session.user).await?.filter(|(_, stored)| stored.enabled);
        let (Some((row, stored)), true) = (stored, now < end) else {
            // A user's sessions end with the user; should that have been cut short, they end here.
            parts.end(session.id).await?;
            let reason = if now < end { "the user is gone or disabled" } else { "the session has lasted its time" };
            return Err(refused(reason));
        };
        let user_info: Arc<str> = stored.user_info.to_string().into();
        let rotate = Rotate {
            id: shown.session,
            shown: shown.hash(&parts.master),
            successor: successor.hash(&parts.master),
            now,
            grace: millis(settings.refresh_grace),
            expires_at: now.saturating_add(millis(settings.refresh_ttl)).min(end),
            user_info,
            stands_on: vec![row, self.client_row(&session.client).await?],
        };
        let epoch = parts.sessions.epoch(shown.session);
        let Some(rotation) = unless_changed(parts.registry.rotate(rotate).await)? else { return Ok(None) };
        let is_remembered = match &rotation {
            // What is remembered has the end that the session has now.
            Rotation::Rotated(session) => parts.sessions.remember(&Arc::new(LiveSession::from(session)), epoch),
            Rotation::Repeated(_) => true,
            Rotation::Reused | Rotation::Gone => false,
        };
        if !is_remembered {
            parts.sessions.forget(shown.session);
        }
        match rotation {
            Rotation::Rotated(session) | Rotation::Repeated(session) => self.reply(&session, successor).map(Some),
            Rotation::Reused => Err(refused("a refresh token was used again; its session has been ended")),
            Rotation::Gone => Err(refused("the session has ended")),
        }
    }

    /// When a session that was opened then ends at the latest, in Unix milliseconds.
    fn end_of(&self, created_at: u64) -> u64 {
        last_end(self.settings.session_ttl, created_at)
    }

    /// The row of a client.
    async fn client_row(&self, client: &Label) -> Result<Row, Refusal> {
        self.parts.client(client).await?.map(|client| client.row).ok_or_else(|| unknown_client(client))
    }

    /// Ends the session of a refresh token of any generation. A token that is not known is fine (RFC 7009 section 2.2).
    pub async fn revoke(&self, refresh_token: &str) -> Result<(), Refusal> {
        match RefreshToken::read(refresh_token, &self.parts.master) {
            Some(token) => self.parts.end(token.session).await,
            None => Ok(()),
        }
    }

    fn check_client(&self, client: &Label) -> Result<(), Refusal> {
        if self.parts.directory.read(|entries| entries.client(client).is_some()) {
            return Ok(());
        }
        Err(unknown_client(client))
    }

    fn reply(&self, session: &Session, refresh: RefreshToken) -> Result<TokenReply, Refusal> {
        let Login { parts, settings } = self;
        let now = parts.clock.unix_millis();
        // No token outlives the session as it is now, also where it is not refreshed any more.
        let left = session.expires_at.min(self.end_of(session.created_at)).saturating_sub(now) / 1000;
        let access_ttl = settings.access_ttl.min(Duration::from_secs(left));
        let claims = parts.tokens.claims_for(&session.user, &session.client, session.id, access_ttl);
        Ok(TokenReply {
            access_token: parts.tokens.issue(&claims).map_err(refuse_fault)?.into(),
            refresh_token: refresh.text(&parts.master),
            token_type: "Bearer",
            expires_in: access_ttl.as_secs(),
            refresh_expires_in: session.expires_at.saturating_sub(now).div_ceil(1000),
            user: session.user.clone(),
            client: session.client.clone(),
        })
    }
}

fn unknown_client(client: &Label) -> Refusal {
    refused(format!("the client '{client}' is not known or is disabled"))
}

#[cfg(test)]
mod tests;
