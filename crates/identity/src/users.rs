//! Users as the registry keeps them: created, read, changed and deleted by operators, verified at login.
//!
//! The password hash never leaves this crate.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::audit::{Action, Actor, AuditEntry, redacted};
use portcullis_core::call::hex;
use portcullis_core::model::{Label, Owner};
use portcullis_core::ports::{
    Clock, Expect, Kind, Registry, RegistryError, Row, Session, SessionId, SessionsOf, Write,
};
use portcullis_core::refusal::Refusal;
use portcullis_core::secret::Secret;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thiserror::Error;
use tokio::sync::Mutex;

use crate::passwords::Passwords;
use crate::sessions::Sessions;

/// The most bytes a user's information has as compact JSON.
pub const MAX_USER_INFO_BYTES: usize = 4096;

/// The most users on one page.
pub const MAX_PAGE: u32 = 1000;

/// How often a change of a user is decided because somebody else was faster.
const TRIES: u32 = 16;

/// A user as operators see one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct User {
    /// The user name.
    pub username: Label,
    /// What backends are told of the user: a JSON object.
    pub user_info: Value,
    /// Whether it may log in.
    pub enabled: bool,
    /// When it was created, in Unix milliseconds.
    pub created_at: u64,
    /// Counts up with every change, from 1.
    pub revision: u64,
}

/// A change of a user; what is absent stays.
#[derive(Debug, Default)]
pub struct UserChange {
    /// A new password. Ends every session of the user.
    pub password: Option<Secret>,
    /// New information, which backends are told from the next call on.
    pub user_info: Option<Value>,
    /// Whether it may log in. A user who may not has no sessions.
    pub enabled: Option<bool>,
}

/// Why a user was not created, changed or deleted.
#[derive(Debug, Error)]
pub enum UserError {
    /// The name is taken.
    #[error("the user name is taken")]
    Taken,
    /// There is no such user.
    #[error("there is no such user")]
    Unknown,
    /// The user is in another revision than was expected, or was changed at the same moment.
    #[error("the user has been changed by somebody else")]
    Stale,
    /// Something that was given cannot be taken.
    #[error("{field}: {reason}")]
    Invalid {
        /// `password` or `user_info`.
        field: &'static str,
        /// What was expected.
        reason: &'static str,
    },
    /// The node could not do it: overloaded, or its registry failed.
    #[error("refused: {}", .0.code())]
    Refused(Refusal),
}

impl From<RegistryError> for UserError {
    fn from(error: RegistryError) -> Self {
        Self::Refused(error.into())
    }
}

/// A user as it is stored.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct StoredUser {
    pub(crate) password_hash: String,
    pub(crate) user_info: Value,
    pub(crate) created_at: u64,
    #[serde(default = "yes")]
    pub(crate) enabled: bool,
}

fn yes() -> bool {
    true
}

impl StoredUser {
    fn read(row: &Row) -> Result<Self, UserError> {
        let corrupt = |_| Refusal::internal(format!("the user '{}' is not well formed in the registry", row.key));
        serde_json::from_str(&row.body).map_err(corrupt).map_err(UserError::Refused)
    }
}

/// The users of the registry.
pub struct Users {
    registry: Arc<dyn Registry>,
    passwords: Arc<Passwords>,
    sessions: Arc<Sessions>,
    clock: Arc<dyn Clock>,
    /// Held from reading a user to having written it, so that the audit trail tells what really was before.
    changing: Mutex<()>,
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users").finish_non_exhaustive()
    }
}

impl Users {
    /// The users of a registry.
    pub fn new(
        registry: Arc<dyn Registry>,
        passwords: Arc<Passwords>,
        sessions: Arc<Sessions>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { registry, passwords, sessions, clock, changing: Mutex::default() }
    }

    /// Creates a user. The address of the actor has its share of the password queue.
    pub async fn create(
        &self,
        actor: &Actor,
        username: Label,
        password: Secret,
        user_info: Value,
    ) -> Result<User, UserError> {
        check_user_info(&user_info)?;
        check_password(&password)?;
        if self.registry.get(Kind::User, username.as_str()).await?.is_some() {
            return Err(UserError::Taken);
        }
        let stored = StoredUser {
            password_hash: self.hash(actor, password).await?,
            user_info,
            created_at: self.clock.unix_millis(),
            enabled: true,
        };
        match self.put(actor, &username, None, &stored, true).await {
            Err(UserError::Stale) => Err(UserError::Taken),
            other => other.map(|()| shown(username, 1, stored)),
        }
    }

    /// One user.
    pub async fn get(&self, username: &Label) -> Result<Option<User>, UserError> {
        match self.registry.get(Kind::User, username.as_str()).await? {
            Some(row) => read(&row).map(Some),
            None => Ok(None),
        }
    }

    /// Up to `limit` users, at most [`MAX_PAGE`], whose name comes after `after`, by name.
    pub async fn page(&self, after: &str, limit: u32) -> Result<Vec<User>, UserError> {
        let rows = self.registry.page(Kind::User, after, limit.min(MAX_PAGE)).await?;
        rows.iter().map(read).collect()
    }

    /// Changes a user, in the revision that is expected where one is.
    pub async fn update(
        &self,
        actor: &Actor,
        username: &Label,
        change: UserChange,
        expected: Option<u64>,
    ) -> Result<User, UserError> {
        change.user_info.as_ref().map_or(Ok(()), check_user_info)?;
        change.password.as_ref().map_or(Ok(()), check_password)?;
        // Whoever cannot be changed costs no hash.
        self.expected(username, expected).await?;
        let new_password = change.password.is_some();
        let password_hash = match change.password {
            Some(password) => Some(self.hash(actor, password).await?),
            None => None,
        };
        for _ in 0..TRIES {
            let row = self.expected(username, expected).await?;
            let former = StoredUser::read(&row)?;
            let stored = StoredUser {
                password_hash: password_hash.clone().unwrap_or_else(|| former.password_hash.clone()),
                user_info: change.user_info.clone().unwrap_or_else(|| former.user_info.clone()),
                created_at: former.created_at,
                enabled: change.enabled.unwrap_or(former.enabled),
            };
            match self.put(actor, username, Some((row.revision, &former)), &stored, new_password).await {
                // Somebody else was faster: decided again on what that has left, unless another revision was expected.
                Err(UserError::Stale) if expected.is_none() => {}
                done => return done.map(|()| shown(username.clone(), row.revision + 1, stored)),
            }
        }
        let retry_after = Duration::from_secs(1);
        Err(UserError::Refused(Refusal::Overloaded { private: "others change the user all the time", retry_after }))
    }

    /// Deletes a user and ends its sessions.
    pub async fn delete(&self, actor: &Actor, username: &Label, expected: Option<u64>) -> Result<(), UserError> {
        let changing = self.changing.lock().await;
        let row = self.expected(username, expected).await?;
        let told = self.told(actor, username, row.revision, StoredUser::read(&row).ok().as_ref(), None, false);
        let expect = Expect::Revision(row.revision);
        let delete = Write::Delete { kind: Kind::User, key: username.as_str().to_owned(), expect };
        let end = Write::EndSessions(SessionsOf::User(username.clone()));
        let done = self.sessions.write(vec![delete, end, told]).await;
        drop(changing);
        match done {
            Err(RegistryError::Conflict { .. }) => Err(UserError::Stale),
            other => Ok(other.map(drop)?),
        }
    }

    /// The sessions of a user that have not expired, the oldest first.
    pub async fn sessions(&self, username: &Label) -> Result<Vec<Session>, UserError> {
        self.expected(username, None).await?;
        let mut sessions = self.registry.sessions(username).await?;
        sessions.retain(|session| self.sessions.lasts(session));
        Ok(sessions)
    }

    /// Ends the sessions of a user, or the one with this id; returns how many there were.
    pub async fn end_sessions(
        &self,
        actor: &Actor,
        username: &Label,
        id: Option<SessionId>,
    ) -> Result<usize, UserError> {
        let changing = self.changing.lock().await;
        let row = self.expected(username, None).await?;
        let (of, which) = match id {
            Some(id) => (SessionsOf::One(username.clone(), id), hex(&id.0)),
            None => (SessionsOf::User(username.clone()), "all".to_owned()),
        };
        let told = Write::Audit(Box::new(AuditEntry {
            time: self.clock.unix_millis(),
            actor: actor.clone(),
            action: Action::Changed,
            kind: Kind::User.as_str().to_owned(),
            key: username.to_string(),
            revision: row.revision,
            before: Some(json!({"sessions": which}).to_string()),
            after: Some(json!({"sessions": "[ended]"}).to_string()),
        }));
        let done = self.sessions.write(vec![Write::EndSessions(of), told]).await?;
        drop(changing);
        Ok(done.ended.len())
    }

    /// A user with its password hash, for login.
    pub(crate) async fn stored(&self, username: &Label) -> Result<Option<(Row, StoredUser)>, Refusal> {
        let row = self.registry.get(Kind::User, username.as_str()).await.map_err(Refusal::from)?;
        let Some(row) = row else { return Ok(None) };
        match StoredUser::read(&row) {
            Ok(stored) => Ok(Some((row, stored))),
            Err(UserError::Refused(refusal)) => Err(refusal),
            Err(other) => Err(Refusal::internal(other.to_string())),
        }
    }

    async fn expected(&self, username: &Label, expected: Option<u64>) -> Result<Row, UserError> {
        let row = self.registry.get(Kind::User, username.as_str()).await?.ok_or(UserError::Unknown)?;
        if expected.is_some_and(|revision| revision != row.revision) { Err(UserError::Stale) } else { Ok(row) }
    }

    async fn hash(&self, actor: &Actor, password: Secret) -> Result<String, UserError> {
        let from = actor.address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        self.passwords.hash(from, password).await.map_err(|refusal| match refusal {
            Refusal::Malformed { .. } => {
                UserError::Invalid { field: "password", reason: "a password has at most 1024 bytes" }
            }
            other => UserError::Refused(other),
        })
    }

    /// Writes a user where `former`, with its revision, is still what is there, with what that means for its sessions, and
    /// tells the audit trail of it.
    async fn put(
        &self,
        actor: &Actor,
        username: &Label,
        former: Option<(u64, &StoredUser)>,
        stored: &StoredUser,
        new_password: bool,
    ) -> Result<(), UserError> {
        let body = serde_json::to_string(stored)
            .map_err(|_| UserError::Refused(Refusal::internal("a user cannot be written as JSON")))?;
        let (before, expect) = match former {
            Some((revision, _)) => (revision, Expect::Revision(revision)),
            None => (0, Expect::Absent),
        };
        let revision = before + 1;
        let told = self.told(actor, username, revision, former.map(|(_, user)| user), Some(stored), new_password);
        let row = Row { kind: Kind::User, key: username.as_str().to_owned(), revision, owner: Owner::Api, body };
        let mut writes = vec![Write::Put { row, expect }, told];
        let user = username.clone();
        if former.is_some() && (new_password || !stored.enabled) {
            writes.push(Write::EndSessions(SessionsOf::User(user)));
        } else if former.is_some_and(|(_, former)| former.user_info != stored.user_info) {
            writes.push(Write::UserInfo { user, user_info: stored.user_info.to_string().into() });
        }
        let _changing = self.changing.lock().await;
        match self.sessions.write(writes).await {
            Err(RegistryError::Conflict { .. }) => Err(UserError::Stale),
            other => Ok(other.map(drop)?),
        }
    }

    /// What the audit trail says of a change: never the password or its hash, only that there is a new one.
    fn told(
        &self,
        actor: &Actor,
        username: &Label,
        revision: u64,
        before: Option<&StoredUser>,
        after: Option<&StoredUser>,
        new_password: bool,
    ) -> Write {
        let shown = |user: &StoredUser| json!({"user_info": redacted(user.user_info.clone()), "enabled": user.enabled});
        let mut latter = after.map(shown);
        if let (true, Some(latter)) = (new_password, &mut latter) {
            latter["password"] = "[new]".into();
        }
        let action = match (before, after) {
            (_, None) => Action::Deleted,
            (None, Some(_)) => Action::Created,
            (Some(_), Some(_)) => Action::Changed,
        };
        Write::Audit(Box::new(AuditEntry {
            time: self.clock.unix_millis(),
            actor: actor.clone(),
            action,
            kind: Kind::User.as_str().to_owned(),
            key: username.to_string(),
            revision,
            before: before.map(|user| shown(user).to_string()),
            after: latter.map(|user| user.to_string()),
        }))
    }
}

fn read(row: &Row) -> Result<User, UserError> {
    let username = row.key.parse().map_err(|_| {
        UserError::Refused(Refusal::internal(format!("the user '{}' has no well-formed name in the registry", row.key)))
    })?;
    Ok(shown(username, row.revision, StoredUser::read(row)?))
}

fn shown(username: Label, revision: u64, stored: StoredUser) -> User {
    let StoredUser { user_info, created_at, enabled, .. } = stored;
    User { username, user_info, enabled, created_at, revision }
}

fn check_user_info(user_info: &Value) -> Result<(), UserError> {
    let invalid = |reason| Err(UserError::Invalid { field: "user_info", reason });
    if !user_info.is_object() {
        return invalid("expected a JSON object");
    }
    if user_info.to_string().len() > MAX_USER_INFO_BYTES {
        return invalid("at most 4096 bytes as compact JSON");
    }
    Ok(())
}

fn check_password(password: &Secret) -> Result<(), UserError> {
    if password.expose().is_empty() {
        return Err(UserError::Invalid { field: "password", reason: "a password has at least one character" });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sessions::LiveSession;
    use crate::testing::{HERE, actor, label, limits, session};
    use portcullis_core::memory::{ManualClock, MemoryRegistry};
    use portcullis_core::ports::{Objects as _, Sessions as _};
    use serde_json::json;

    struct Fixture {
        registry: Arc<MemoryRegistry>,
        sessions: Arc<Sessions>,
        passwords: Arc<Passwords>,
        users: Users,
    }

    fn fixture() -> Fixture {
        let registry = Arc::new(MemoryRegistry::default());
        let clock = Arc::new(ManualClock::at(1_000));
        let sessions = Arc::new(Sessions::new(registry.clone(), clock.clone(), Duration::ZERO, 1 << 20));
        let passwords = Arc::new(Passwords::new(limits()).expect("fine limits"));
        let users = Users::new(registry.clone(), passwords.clone(), sessions.clone(), clock);
        Fixture { registry, sessions, passwords, users }
    }

    impl Fixture {
        async fn create(&self, name: &str, user_info: Value) -> Result<User, UserError> {
            self.users.create(&actor(), label(name), "s3cret".into(), user_info).await
        }

        async fn knows(&self, name: &str, password: &str) -> bool {
            let stored = self.users.stored(&label(name)).await.expect("read").map(|(_, user)| user.password_hash);
            self.passwords.verify(HERE, stored, password.into()).await.expect("verified")
        }

        async fn open_session(&self, number: u8, user: &str) -> SessionId {
            let session = session(SessionId([number; 16]), user, "{}");
            let (id, live) = (session.id, Arc::new(LiveSession::from(&session)));
            self.registry.open_session(session, 100, Vec::new()).await.expect("opened");
            assert!(self.sessions.remember(&live, self.sessions.epoch(id)));
            id
        }

        async fn lives(&self, id: SessionId) -> bool {
            let stored = self.registry.session(id).await.expect("read").is_some();
            assert_eq!(stored, self.sessions.cached(id).is_some(), "the cache and the registry agree");
            stored
        }
    }

    #[tokio::test]
    async fn a_user_is_created_once_and_shown_without_its_hash() {
        let fixture = fixture();
        let user = fixture.create("ada", json!({"id": 7})).await.expect("created");
        assert_eq!((user.revision, user.created_at), (1, 1_000_000));
        assert_eq!(fixture.users.get(&label("ada")).await.expect("read"), Some(user.clone()));
        assert!(matches!(fixture.create("ada", json!({})).await, Err(UserError::Taken)));
        assert!(fixture.knows("ada", "s3cret").await && !fixture.knows("ada", "other").await);
        let text = format!("{user:?} {}", serde_json::to_string(&user).expect("JSON"));
        assert!(!text.contains("argon2") && !text.contains("s3cret"), "{text}");
        let row = fixture.registry.get(Kind::User, "ada").await.expect("read").expect("there");
        let stored: Value = serde_json::from_str(&row.body).expect("JSON");
        assert!(stored["password_hash"].as_str().is_some_and(|hash| hash.starts_with("$argon2id$")));
        assert!(!row.body.contains("s3cret"));
        assert_eq!(fixture.users.get(&label("bob")).await.expect("read"), None);
    }

    #[tokio::test]
    async fn what_cannot_be_a_user_is_refused() {
        let fixture = fixture();
        for user_info in [json!(null), json!([]), json!("x"), json!({"a": "x".repeat(MAX_USER_INFO_BYTES - 7)})] {
            let found = fixture.create("ada", user_info).await;
            assert!(matches!(found, Err(UserError::Invalid { field: "user_info", .. })));
        }
        assert!(fixture.create("ada", json!({"a": "x".repeat(MAX_USER_INFO_BYTES - 8)})).await.is_ok());
        for password in ["".to_owned(), "x".repeat(1025)] {
            let found = fixture.users.create(&actor(), label("bob"), password.into(), json!({})).await;
            assert!(matches!(found, Err(UserError::Invalid { field: "password", .. })));
        }
    }

    #[tokio::test]
    async fn users_come_in_pages() {
        let fixture = fixture();
        for name in ["c", "a", "b"] {
            fixture.create(name, json!({})).await.expect("created");
        }
        let names = |users: Vec<User>| users.into_iter().map(|user| user.username.to_string()).collect::<Vec<_>>();
        assert_eq!(names(fixture.users.page("", 2).await.expect("read")), ["a", "b"]);
        assert_eq!(names(fixture.users.page("b", 2).await.expect("read")), ["c"]);
    }

    #[tokio::test]
    async fn a_new_password_ends_the_sessions_and_new_information_does_not() {
        let fixture = fixture();
        fixture.create("ada", json!({"id": 7})).await.expect("created");
        let session = fixture.open_session(1, "ada").await;
        let change = UserChange { user_info: Some(json!({"id": 8})), ..UserChange::default() };
        let user = fixture.users.update(&actor(), &label("ada"), change, Some(1)).await.expect("changed");
        assert_eq!((user.revision, &user.user_info), (2, &json!({"id": 8})));
        assert!(
            fixture.registry.session(session).await.expect("read").is_some() && fixture.knows("ada", "s3cret").await
        );
        assert!(fixture.sessions.cached(session).is_none(), "what was remembered does not hold any more");
        let told = fixture.sessions.fetch(session).await.expect("read").expect("alive");
        assert_eq!(told.user_json, crate::sessions::user_json_header(r#"{"id":8}"#));
        let change = || UserChange { password: Some("n3w".into()), ..UserChange::default() };
        let stale = fixture.users.update(&actor(), &label("ada"), change(), Some(1)).await;
        assert!(matches!(stale, Err(UserError::Stale)) && fixture.lives(session).await);
        fixture.users.update(&actor(), &label("ada"), change(), None).await.expect("changed");
        assert!(!fixture.lives(session).await);
        assert!(fixture.knows("ada", "n3w").await && !fixture.knows("ada", "s3cret").await);
        let unknown = fixture.users.update(&actor(), &label("bob"), change(), None).await;
        assert!(matches!(unknown, Err(UserError::Unknown)));
        let bad = UserChange { user_info: Some(json!(7)), ..UserChange::default() };
        assert!(matches!(
            fixture.users.update(&actor(), &label("ada"), bad, None).await,
            Err(UserError::Invalid { field: "user_info", .. })
        ));
    }

    #[tokio::test]
    async fn a_deleted_user_takes_its_sessions_along_and_nobody_elses() {
        let fixture = fixture();
        fixture.create("ada", json!({})).await.expect("created");
        let (hers, his) = (fixture.open_session(1, "ada").await, fixture.open_session(2, "bob").await);
        assert!(matches!(fixture.users.delete(&actor(), &label("ada"), Some(9)).await, Err(UserError::Stale)));
        assert!(fixture.lives(hers).await);
        fixture.users.delete(&actor(), &label("ada"), Some(1)).await.expect("deleted");
        assert!(!fixture.lives(hers).await && fixture.lives(his).await);
        assert_eq!(fixture.users.get(&label("ada")).await.expect("read"), None);
        assert!(matches!(fixture.users.delete(&actor(), &label("ada"), None).await, Err(UserError::Unknown)));
    }

    #[tokio::test]
    async fn a_disabled_user_has_no_sessions_and_keeps_everything_else() {
        let fixture = fixture();
        let user = fixture.create("ada", json!({"id": 7})).await.expect("created");
        assert!(user.enabled);
        let (hers, his) = (fixture.open_session(1, "ada").await, fixture.open_session(2, "bob").await);
        let set = |enabled: bool| UserChange { enabled: Some(enabled), ..UserChange::default() };
        let user = fixture.users.update(&actor(), &label("ada"), set(false), None).await.expect("changed");
        assert_eq!((user.enabled, &user.user_info), (false, &json!({"id": 7})));
        assert!(!fixture.lives(hers).await && fixture.lives(his).await);
        let user = fixture.users.update(&actor(), &label("ada"), set(true), None).await.expect("changed");
        assert!(user.enabled && fixture.knows("ada", "s3cret").await);
        assert!(!fixture.lives(hers).await);
    }

    #[tokio::test]
    async fn users_written_before_they_could_be_disabled_are_enabled() {
        let stored: StoredUser =
            serde_json::from_str(r#"{"password_hash":"x","user_info":{},"created_at":1}"#).expect("read");
        assert!(stored.enabled);
    }

    #[tokio::test]
    async fn sessions_are_listed_and_ended_one_by_one_or_all_and_the_trail_tells() {
        let fixture = fixture();
        fixture.create("ada", json!({})).await.expect("created");
        for (number, user) in [(1, "ada"), (2, "ada"), (3, "ada"), (4, "bob")] {
            fixture.open_session(number, user).await;
        }
        let id = |number: u8| SessionId([number; 16]);
        let ids = async || {
            let sessions = fixture.users.sessions(&label("ada")).await.expect("read");
            sessions.iter().map(|session| session.id.0[0]).collect::<Vec<_>>()
        };
        assert_eq!(ids().await, [1, 2, 3]);
        let end = async |id| fixture.users.end_sessions(&actor(), &label("ada"), id).await.expect("ended");
        assert_eq!((end(Some(id(2))).await, end(Some(id(2))).await, end(Some(id(4))).await), (1, 0, 0));
        assert_eq!(ids().await, [1, 3]);
        assert!(!fixture.lives(id(2)).await && fixture.lives(id(1)).await);
        assert_eq!((end(None).await, ids().await), (2, vec![]));
        assert!(!fixture.lives(id(1)).await && fixture.lives(id(4)).await, "nobody else's");
        assert!(matches!(fixture.users.sessions(&label("eve")).await, Err(UserError::Unknown)));
        let query = portcullis_core::audit::AuditQuery {
            from: portcullis_core::audit::AuditFrom::After(0),
            limit: 99,
            kind: None,
            key: None,
        };
        let trail = fixture.registry.audit(query).await.expect("read");
        let told = trail.iter().filter(|it| it.entry.after.as_deref() == Some(r#"{"sessions":"[ended]"}"#)).count();
        assert_eq!(told, 4);
    }

    #[tokio::test]
    async fn a_change_of_a_user_is_decided_again_where_somebody_else_was_faster() {
        let fixture = fixture();
        fixture.create("ada", json!({"id": 7})).await.expect("created");
        let row = fixture.registry.get(Kind::User, "ada").await.expect("read").expect("there");
        let rival = |times: u64| {
            let body = row.body.replace("\"id\":7", &format!("\"id\":{}", 7 + times));
            let row = Row { revision: row.revision + times, body, ..row.clone() };
            fixture.registry.rival(vec![Write::Put { row, expect: Expect::Any }]);
        };
        rival(1);
        let disable = || UserChange { enabled: Some(false), ..UserChange::default() };
        let user = fixture.users.update(&actor(), &label("ada"), disable(), None).await.expect("changed");
        assert_eq!(
            (user.revision, user.enabled, user.user_info["id"].as_u64()),
            (3, false, Some(8)),
            "nothing is lost"
        );
        rival(5);
        let stale = fixture.users.update(&actor(), &label("ada"), disable(), Some(3)).await;
        assert!(matches!(stale, Err(UserError::Stale)), "{stale:?}");
        (6..100).for_each(rival);
        let beaten = fixture.users.update(&actor(), &label("ada"), disable(), None).await;
        let Err(UserError::Refused(refusal)) = beaten else { panic!("changed: {beaten:?}") };
        assert_eq!((refusal.code(), refusal.facts().retry_after), ("overloaded", Some(1)));
    }
}
