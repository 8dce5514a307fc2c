//! Pairs of opaque tokens, as fomalhaut's clients have them: an access token that says nothing itself, and a refresh token
//! that is good once.
//!
//! A pair is a session like any other ([`Session::is_pair`]), so what ends, lists and prunes sessions does so with pairs. A
//! refresh ends the pair and opens another one in its place, in one transaction; of all who show the same refresh token one
//! gets a pair. Clients who may have pairs are told apart by their callers: each method has the client a call has proved to
//! be of, and to it the tokens of another client are those of nobody.

mod import;
mod whose;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::audit::Actor;
use portcullis_core::directory::KeyHash;
use portcullis_core::model::Label;
use portcullis_core::ports::{Beside, ChangeError, Replace, Replaced, Row, Session, SessionId};
use portcullis_core::refusal::Refusal;
use portcullis_core::secret::Secret;
use serde_json::Value;

use crate::lockout::{Elsewhere, LoginOrigin};
use crate::login::{
    LoginParts, LoginSettings, TRIES, Unproven, changing, last_end, may_be_done, millis, unless_changed,
};
use crate::opaque::{self, Use};
use crate::sessions::{AccessToken, LiveSession};
use crate::users::{UserChange, UserError};
use whose::{Untold, Whose};

pub use import::{Imported, ImportedPair, MAX_IMPORTED_PAIRS};
pub use whose::is_exact;

/// The most bytes that the information of a user whom an Auth API let in has as backends are sent it with every call: the value
/// of `X-User-Json`, base64 over JSON in ASCII. With the name of the field it stays below 8 KiB, which many servers have as
/// their bound of a field.
pub const MAX_FOREIGN_USER_JSON_BYTES: usize = 8_000;

/// For how long the tokens of a client are good, and whether a user has several pairs through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    /// The access token; not longer than the refresh token.
    pub access: Duration,
    /// The refresh token, unless it is used before; and not longer than a session lasts on this node.
    pub refresh: Duration,
    /// Whether a login ends every other session of the same user through the same client. Of whom an Auth API does not tell
    /// apart nobody ends another's.
    pub alone: bool,
}

/// A pair that was just made. Nobody can be given its tokens again.
#[derive(Debug)]
pub struct Pair {
    /// The access token.
    pub access_token: Secret,
    /// The refresh token.
    pub refresh_token: Secret,
    /// For how long the access token is good from now on.
    pub access_ttl: Duration,
    /// For how long the refresh token is good from now on.
    pub refresh_ttl: Duration,
    /// Until when the access token is good, in Unix seconds.
    pub access_until: u64,
    /// The user it speaks for: the name, or of one whom an Auth API let in what was made of its information.
    pub user: Label,
    /// The client it was issued to.
    pub client: Label,
    /// What backends are told of the user: compact JSON.
    pub user_info: Arc<str>,
}

/// What became of a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// It is the new one, and every session of the user has ended.
    Done,
    /// The old one is wrong, or there is no such user, or it is disabled.
    Wrong,
    /// The new one cannot be a password; why, in words for the user.
    Unfit(&'static str),
}

/// Issues pairs, exchanges and ends them. For the control runtime.
pub struct TokenPairs {
    parts: LoginParts,
    settings: LoginSettings,
}

impl fmt::Debug for TokenPairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenPairs").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// What became of a refresh token.
enum Exchanged {
    For(Pair),
    /// It is unknown, over, used, or another client's.
    Nobodys,
    /// User or client were changed meanwhile.
    Changing,
}

impl TokenPairs {
    /// Pairs with these parts. Of the settings, those count that say how long a session lasts and how many a user has.
    pub fn new(parts: LoginParts, settings: LoginSettings) -> Self {
        Self { parts, settings }
    }

    /// Opens a pair for a user of this gateway. An unknown user, one who is disabled and a wrong password look the same and
    /// cost the same (401); whoever has guessed too often is refused before anything is looked at.
    pub async fn log_in(
        &self,
        from: impl Into<LoginOrigin>,
        client: &Label,
        lifetimes: Lifetimes,
        username: &str,
        password: Secret,
    ) -> Result<Pair, Refusal> {
        let parts = &self.parts;
        // Nobody guesses through a client that is not let in.
        if parts.directory.read(|entries| entries.client(client).is_none()) {
            return Err(Refusal::DisabledClient);
        }
        let proven = parts.prove(from.into(), username, password).await?;
        for _ in 0..TRIES {
            let Some((row, stored)) = parts.unchanged(&proven).await? else {
                return Err(Unproven::Wrong("the user was changed during the login").into());
            };
            let whose = Whose {
                user: proven.user.clone(),
                user_info: stored.user_info.to_string().into(),
                sessions: self.settings.sessions_per_user,
                is_one: true,
            };
            if let Some(pair) = self.open(client, lifetimes, whose, Some(row)).await? {
                return Ok(pair);
            }
        }
        Err(changing())
    }

    /// Takes a password on that the Auth API of a client will judge; whoever has guessed too often is refused (429) before it is
    /// asked. The guess must be told how it was judged.
    pub fn admit_elsewhere(&self, client: &Label, from: impl Into<LoginOrigin>) -> Result<Elsewhere<'_>, Refusal> {
        self.parts.lockout.admit_elsewhere(client, from.into())
    }

    /// Opens a pair for somebody whom the Auth API of a client let in, with what it says of them: any JSON, of up to
    /// [`MAX_FOREIGN_USER_JSON_BYTES`], whose numbers can be kept as they are.
    pub async fn open_for(&self, client: &Label, lifetimes: Lifetimes, user_info: &Value) -> Result<Pair, Refusal> {
        let whose = Whose::foreign(client, user_info, self.settings.sessions_per_user).map_err(|untold| {
            let private = match untold {
                Untold::TooLarge => "the Auth API tells more of a user than backends can be told",
                Untold::Inexact => "the Auth API tells of a user with a number that cannot be kept as it is",
            };
            Refusal::AuthApiAnswer { private }
        })?;
        for _ in 0..TRIES {
            if let Some(pair) = self.open(client, lifetimes, whose.clone(), None).await? {
                return Ok(pair);
            }
        }
        Err(changing())
    }

    /// Opens a pair, if client and user are what they were when it looked at them.
    async fn open(
        &self,
        client: &Label,
        lifetimes: Lifetimes,
        whose: Whose,
        user_row: Option<Row>,
    ) -> Result<Option<Pair>, Refusal> {
        let stored = self.parts.client(client).await?.ok_or(Refusal::DisabledClient)?;
        let stands_on = user_row.into_iter().chain([stored.row]).collect();
        let now = self.parts.clock.unix_millis();
        let beside = Beside {
            limit: whose.sessions,
            alone: lifetimes.alone && whose.is_one,
            of_realm: Some(self.settings.auth_api_sessions),
        };
        let (session, pair) = self.made(client, lifetimes, whose, now, now);
        Ok(self.parts.open(&session, beside, stands_on).await?.then_some(pair))
    }

    /// A new pair, whose user logged in then.
    fn made(&self, client: &Label, lifetimes: Lifetimes, whose: Whose, created_at: u64, now: u64) -> (Session, Pair) {
        let (access_token, refresh_token) = (opaque::mint(), opaque::mint());
        let access = opaque::hash(Use::Access, access_token.expose());
        let refresh = opaque::hash(Use::Refresh, refresh_token.expose());
        let session =
            self.session(client, whose, [access, refresh], [lifetimes.access, lifetimes.refresh], created_at, now);
        let access_until = session.access_until.unwrap_or(now);
        let pair = Pair {
            access_token,
            refresh_token,
            access_ttl: Duration::from_millis(access_until.saturating_sub(now)),
            refresh_ttl: Duration::from_millis(session.expires_at.saturating_sub(now)),
            access_until: access_until / 1_000,
            user: session.user.clone(),
            client: session.client.clone(),
            user_info: Arc::clone(&session.user_info),
        };
        (session, pair)
    }

    /// Exchanges a refresh token of a client for another pair. None if it is unknown, over, used, or another client's.
    pub async fn refresh(
        &self,
        client: &Label,
        lifetimes: Lifetimes,
        refresh_token: &str,
    ) -> Result<Option<Pair>, Refusal> {
        if !opaque::is_opaque(refresh_token) {
            return Ok(None);
        }
        for _ in 0..TRIES {
            match self.exchange(client, lifetimes, refresh_token).await? {
                Exchanged::For(pair) => return Ok(Some(pair)),
                Exchanged::Nobodys => return Ok(None),
                Exchanged::Changing => {}
            }
        }
        Err(changing())
    }

    async fn exchange(&self, client: &Label, lifetimes: Lifetimes, refresh_token: &str) -> Result<Exchanged, Refusal> {
        let parts = &self.parts;
        let shown = opaque::hash(Use::Refresh, refresh_token);
        // Everything is looked at first, so that a refused refresh uses nothing up.
        let found = parts.registry.pair_by_refresh(&shown).await.map_err(Refusal::from)?;
        let now = parts.clock.unix_millis();
        let is_good =
            |pair: &Session| pair.client == *client && now < pair.expires_at.min(self.end_of(pair.created_at));
        let Some(old) = found.filter(is_good) else { return Ok(Exchanged::Nobodys) };
        let stored = parts.client(client).await?.ok_or(Refusal::DisabledClient)?;
        let mut stands_on = vec![stored.row];
        let mut whose =
            Whose { user: old.user.clone(), user_info: Arc::clone(&old.user_info), sessions: 0, is_one: true };
        if !old.user.is_of_another() {
            let Some((row, user)) = parts.users.stored(&old.user).await?.filter(|(_, user)| user.enabled) else {
                // A user's sessions end with the user; should that have been cut short, they end here.
                parts.end(old.id).await?;
                return Ok(Exchanged::Nobodys);
            };
            whose.user_info = user.user_info.to_string().into();
            stands_on.push(row);
        }
        let (successor, pair) = self.made(client, lifetimes, whose, old.created_at, now);
        let live = Arc::new(LiveSession::from(&successor));
        let epoch = parts.sessions.epoch(successor.id);
        let replaced = parts.registry.replace_session(Replace { id: old.id, shown, now, successor, stands_on }).await;
        if replaced.as_ref().map_or_else(may_be_done, |_| true) {
            // Gone either way.
            parts.sessions.forget(old.id);
        }
        Ok(match unless_changed(replaced)? {
            Some(Replaced::Done) => {
                parts.sessions.remember(&live, epoch);
                Exchanged::For(pair)
            }
            Some(Replaced::Gone) => Exchanged::Nobodys,
            None => Exchanged::Changing,
        })
    }

    /// For how long an access token of a client is still good. None if it is unknown, over, or another client's.
    pub async fn remaining(&self, client: &Label, access_token: &str) -> Result<Option<Duration>, Refusal> {
        let Some(id) = opaque::session_shown(access_token) else { return Ok(None) };
        let found = self.parts.sessions.fetch(id).await.map_err(Refusal::from)?;
        let now = self.parts.clock.unix_millis();
        let found = found.filter(|live| live.client == *client && live.is_shown_by(AccessToken::Opaque, now));
        Ok(found.and_then(|live| live.access_until).map(|until| Duration::from_millis(until.saturating_sub(now))))
    }

    /// Ends the pair of an access token of a client, also where only its refresh token is still good. One that is unknown, or
    /// another client's, is fine and changes nothing.
    pub async fn end_by_access(&self, client: &Label, access_token: &str) -> Result<(), Refusal> {
        let Some(id) = opaque::session_shown(access_token) else { return Ok(()) };
        let found = self.parts.registry.session(id).await.map_err(Refusal::from)?;
        match found.filter(|session| session.is_pair() && session.client == *client) {
            Some(session) => self.end(session.id).await,
            None => Ok(()),
        }
    }

    /// Ends a session, of whatever sort.
    pub async fn end(&self, session: SessionId) -> Result<(), Refusal> {
        self.parts.end(session).await
    }

    /// Gives a user of this gateway another password, for the old one; wrong old ones are counted like those of logins. Every
    /// session of the user ends.
    pub async fn change_password(
        &self,
        from: impl Into<LoginOrigin>,
        user: &Label,
        old: Secret,
        new: Secret,
    ) -> Result<Changed, Refusal> {
        let (parts, from) = (&self.parts, from.into());
        let proven = match parts.prove(from, user.as_str(), old).await {
            Ok(proven) => proven,
            Err(Unproven::Wrong(_)) => return Ok(Changed::Wrong),
            Err(Unproven::Refused(refusal)) => return Err(refusal),
        };
        let actor = Actor::user(user, Some(from.address));
        for _ in 0..TRIES {
            let Some((row, _)) = parts.unchanged(&proven).await? else { return Ok(Changed::Wrong) };
            let as_read = move |found: Option<u64>| match found {
                Some(revision) if revision == row.revision => Ok(()),
                other => Err(ChangeError::Stale(other.unwrap_or(0))),
            };
            let change = UserChange { password: Some(new.clone()), ..UserChange::default() };
            match parts.users.update(&actor, user, change, as_read).await {
                Ok(_) => return Ok(Changed::Done),
                Err(UserError::Change(ChangeError::Stale(_))) => {}
                Err(UserError::Invalid { reason, .. }) => return Ok(Changed::Unfit(reason)),
                Err(UserError::Refused(refusal)) => return Err(refusal),
                Err(UserError::Change(ChangeError::Registry(error))) => return Err(error.into()),
                Err(UserError::Change(ChangeError::Contended)) => return Err(changing()),
                Err(error @ UserError::Change(_)) => return Err(Refusal::internal(error.to_string())),
            }
        }
        Err(changing())
    }

    /// When a session that was opened then ends at the latest, in Unix milliseconds.
    fn end_of(&self, created_at: u64) -> u64 {
        last_end(self.settings.session_ttl, created_at)
    }

    /// A pair as it is kept: of the hashes of its tokens, access first, with for how long these are good from now on.
    fn session(
        &self,
        client: &Label,
        whose: Whose,
        [access, refresh]: [KeyHash; 2],
        [access_ttl, refresh_ttl]: [Duration; 2],
        created_at: u64,
        now: u64,
    ) -> Session {
        let expires_at = now.saturating_add(millis(refresh_ttl)).min(self.end_of(created_at)).min(LAST);
        Session {
            id: opaque::session_of(&access),
            user: whose.user,
            client: client.clone(),
            user_info: whose.user_info,
            created_at,
            expires_at,
            refresh,
            predecessor: None,
            rotated_at: now,
            access_until: Some(now.saturating_add(millis(access_ttl)).min(expires_at)),
        }
    }
}

/// The last time that can be kept, in Unix milliseconds.
const LAST: u64 = i64::MAX.unsigned_abs();

#[cfg(test)]
mod tests;
