//! Users as the registry keeps them: created, read, changed and deleted by operators, verified at login.
//!
//! They change like everything that is audited ([`Changing`]), except that a password is hashed before, because a decision may
//! not take long. The password hash never leaves this crate but in the user's row.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use portcullis_core::audit::{Actor, NEW_SECRET};
use portcullis_core::call::hex;
use portcullis_core::model::Label;
use portcullis_core::ports::{
    Becomes, ChangeError, Changing, Clock, Decision, Kind, OfSessions, Outcome, Registry, RegistryError, Row, Session,
    SessionId, SessionsOf,
};
use portcullis_core::refusal::Refusal;
use portcullis_core::secret::Secret;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thiserror::Error;

use crate::passwords::Passwords;
use crate::sessions::Sessions;

/// The most bytes a user's information has as compact JSON.
pub const MAX_USER_INFO_BYTES: usize = 4096;

/// The most users on one page.
pub const MAX_PAGE: u32 = 1000;

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

/// Why a user was not read, created, changed or deleted.
#[derive(Debug, Error)]
pub enum UserError {
    /// There is none, it is there already or in another revision than was expected, or the registry failed.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// Something that was given cannot be taken.
    #[error("{field}: {reason}")]
    Invalid {
        /// `password` or `user_info`.
        field: &'static str,
        /// What was expected.
        reason: &'static str,
    },
    /// The password could not be hashed: the node is overloaded.
    #[error("refused: {}", .0.code())]
    Refused(Refusal),
}

impl From<RegistryError> for UserError {
    fn from(error: RegistryError) -> Self {
        Self::Change(error.into())
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
    fn read(row: &Row) -> Result<Self, RegistryError> {
        // What serde says of a value could repeat the value.
        let corrupt = |_| RegistryError::Storage(format!("the user '{}' is not well formed in the registry", row.key));
        serde_json::from_str(&row.body).map_err(corrupt)
    }

    /// What the audit trail shows of it: never the password or its hash.
    fn told(&self) -> Value {
        json!({"user_info": self.user_info, "enabled": self.enabled})
    }
}

/// The users of the registry.
pub struct Users {
    registry: Arc<dyn Registry>,
    changing: Arc<dyn Changing>,
    passwords: Arc<Passwords>,
    sessions: Arc<Sessions>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users").finish_non_exhaustive()
    }
}

impl Users {
    /// The users of a registry, and what they change through.
    pub fn new(
        registry: Arc<dyn Registry>,
        changing: Arc<dyn Changing>,
        passwords: Arc<Passwords>,
        sessions: Arc<Sessions>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { registry, changing, passwords, sessions, clock }
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
        // Who cannot be created costs no hash.
        absent(self.row(&username).await?.as_ref())?;
        let stored = StoredUser {
            password_hash: self.hash(actor, password).await?,
            user_info,
            created_at: self.clock.unix_millis(),
            enabled: true,
        };
        let decide = move |row: Option<&Row>| {
            absent(row)?;
            put(None, &stored, true)
        };
        self.change(actor, &username, decide).await.and_then(|done| now(&username, done))
    }

    /// One user.
    pub async fn get(&self, username: &Label) -> Result<Option<User>, UserError> {
        Ok(self.row(username).await?.as_ref().map(read).transpose()?)
    }

    /// Up to `limit` users, at most [`MAX_PAGE`], whose name comes after `after`, by name.
    pub async fn page(&self, after: &str, limit: u32) -> Result<Vec<User>, UserError> {
        let rows = self.registry.page(Kind::User, after, limit.min(MAX_PAGE)).await?;
        Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
    }

    /// Changes a user, where the condition holds of the revision it is in; it is asked with none where there is no such user.
    pub async fn update(
        &self,
        actor: &Actor,
        username: &Label,
        change: UserChange,
        condition: impl Fn(Option<u64>) -> Result<(), ChangeError> + Send + Sync + 'static,
    ) -> Result<User, UserError> {
        let UserChange { password, user_info, enabled } = change;
        user_info.as_ref().map_or(Ok(()), check_user_info)?;
        let password_hash = match password {
            Some(password) => {
                check_password(&password)?;
                // Who cannot be changed costs no hash.
                StoredUser::read(there(self.row(username).await?.as_ref(), username, &condition)?)?;
                Some(self.hash(actor, password).await?)
            }
            None => None,
        };
        let user = username.clone();
        let decide = move |row: Option<&Row>| {
            let former = StoredUser::read(there(row, &user, &condition)?)?;
            let stored = StoredUser {
                password_hash: password_hash.clone().unwrap_or_else(|| former.password_hash.clone()),
                user_info: user_info.clone().unwrap_or_else(|| former.user_info.clone()),
                created_at: former.created_at,
                enabled: enabled.unwrap_or(former.enabled),
            };
            put(Some((&user, &former)), &stored, password_hash.is_some())
        };
        self.change(actor, username, decide).await.and_then(|done| now(username, done))
    }

    /// Deletes a user, where the condition holds of its revision, and ends its sessions. One that cannot be read goes too.
    pub async fn delete(
        &self,
        actor: &Actor,
        username: &Label,
        condition: impl Fn(Option<u64>) -> Result<(), ChangeError> + Send + Sync + 'static,
    ) -> Result<(), UserError> {
        let user = username.clone();
        let decide = move |row: Option<&Row>| {
            let former = StoredUser::read(there(row, &user, &condition)?);
            Ok(Decision {
                object: Becomes::Gone,
                sessions: Some(OfSessions::End(SessionsOf::User(user.clone()))),
                before: former.ok().map(|former| former.told()),
                after: None,
            })
        };
        self.change(actor, username, decide).await.map(drop)
    }

    /// The sessions of a user that have not expired, the oldest first.
    pub async fn sessions(&self, username: &Label) -> Result<Vec<Session>, UserError> {
        there(self.row(username).await?.as_ref(), username, &always)?;
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
        let (of, which) = match id {
            Some(id) => (SessionsOf::One(username.clone(), id), hex(&id.0)),
            None => (SessionsOf::User(username.clone()), "all".to_owned()),
        };
        let user = username.clone();
        let decide = move |row: Option<&Row>| {
            there(row, &user, &always)?;
            Ok(Decision {
                object: Becomes::Same,
                sessions: Some(OfSessions::End(of.clone())),
                before: Some(json!({"sessions": which})),
                after: Some(json!({"sessions": "[ended]"})),
            })
        };
        self.change(actor, username, decide).await.map(|done| done.sessions)
    }

    /// A user with its password hash, for login.
    pub(crate) async fn stored(&self, username: &Label) -> Result<Option<(Row, StoredUser)>, Refusal> {
        let Some(row) = self.row(username).await? else { return Ok(None) };
        let stored = StoredUser::read(&row)?;
        Ok(Some((row, stored)))
    }

    async fn row(&self, username: &Label) -> Result<Option<Row>, RegistryError> {
        self.registry.get(Kind::User, username.as_str()).await
    }

    async fn change(
        &self,
        actor: &Actor,
        username: &Label,
        decide: impl Fn(Option<&Row>) -> Result<Decision, ChangeError> + Send + 'static,
    ) -> Result<Outcome, UserError> {
        Ok(self.changing.change(actor, Kind::User, username.as_str(), Box::new(decide)).await?)
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
}

/// Refuses to make a user that is there.
fn absent(row: Option<&Row>) -> Result<(), ChangeError> {
    row.map_or(Ok(()), |_| Err(ChangeError::Conflict("the user name is taken".to_owned())))
}

/// The row of a user that is there, in a revision of which the condition holds.
fn there<'row>(
    row: Option<&'row Row>,
    username: &Label,
    condition: &impl Fn(Option<u64>) -> Result<(), ChangeError>,
) -> Result<&'row Row, ChangeError> {
    condition(row.map(|row| row.revision))?;
    row.ok_or_else(|| missing(username))
}

/// The condition that holds of every revision.
pub(crate) fn always(_: Option<u64>) -> Result<(), ChangeError> {
    Ok(())
}

fn missing(username: &Label) -> ChangeError {
    ChangeError::NotFound(format!("user '{username}'"))
}

/// A user is written where `former`, of this name, was or nobody; with what that means for its sessions.
fn put(
    former: Option<(&Label, &StoredUser)>,
    stored: &StoredUser,
    new_password: bool,
) -> Result<Decision, ChangeError> {
    let body = serde_json::to_string(stored).map_err(|error| RegistryError::Storage(error.to_string()))?;
    let sessions = former.and_then(|(user, former)| {
        if new_password || !stored.enabled {
            return Some(OfSessions::End(SessionsOf::User(user.clone())));
        }
        let user_info = || stored.user_info.to_string().into();
        (former.user_info != stored.user_info).then(|| OfSessions::Tell { user: user.clone(), user_info: user_info() })
    });
    let mut after = stored.told();
    if new_password {
        after["password"] = NEW_SECRET.into();
    }
    let before = former.map(|(_, former)| former.told());
    Ok(Decision { object: Becomes::Body(body), sessions, before, after: Some(after) })
}

/// A user as a change has left it.
fn now(username: &Label, done: Outcome) -> Result<User, UserError> {
    let row = done.object.ok_or_else(|| missing(username))?;
    Ok(read(&row)?)
}

fn read(row: &Row) -> Result<User, RegistryError> {
    let nameless =
        |_| RegistryError::Storage(format!("the user '{}' has no well-formed name in the registry", row.key));
    let StoredUser { user_info, created_at, enabled, .. } = StoredUser::read(row)?;
    Ok(User { username: row.key.parse().map_err(nameless)?, user_info, enabled, created_at, revision: row.revision })
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
    use crate::passwords::PasswordLimits;
    use crate::sessions::LiveSession;
    use crate::testing::{HERE, actor, at, changes, label, limits, session};
    use portcullis_core::audit::{Action, AuditFrom, AuditQuery, ChainedEntry};
    use portcullis_core::memory::{ManualClock, MemoryRegistry};
    use portcullis_core::ports::{Beside, Expect, Objects as _, Sessions as _, Write};
    use serde_json::json;
    use std::time::Duration;

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
        let changing = changes(registry.clone(), &sessions, clock.clone());
        let users = Users::new(registry.clone(), changing, passwords.clone(), sessions.clone(), clock);
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
            self.registry.open_session(session, Beside::at_most(100), Vec::new()).await.expect("opened");
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
        assert!(matches!(fixture.create("ada", json!({})).await, Err(UserError::Change(ChangeError::Conflict(_)))));
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
        let user = fixture.users.update(&actor(), &label("ada"), change, at(1)).await.expect("changed");
        assert_eq!((user.revision, &user.user_info), (2, &json!({"id": 8})));
        assert!(
            fixture.registry.session(session).await.expect("read").is_some() && fixture.knows("ada", "s3cret").await
        );
        assert!(fixture.sessions.cached(session).is_none(), "what was remembered does not hold any more");
        let told = fixture.sessions.fetch(session).await.expect("read").expect("alive");
        assert_eq!(told.user_json, crate::sessions::user_json_header(r#"{"id":8}"#));
        let change = || UserChange { password: Some("n3w".into()), ..UserChange::default() };
        let stale = fixture.users.update(&actor(), &label("ada"), change(), at(1)).await;
        assert!(matches!(stale, Err(UserError::Change(ChangeError::Stale(_)))) && fixture.lives(session).await);
        fixture.users.update(&actor(), &label("ada"), change(), always).await.expect("changed");
        assert!(!fixture.lives(session).await);
        assert!(fixture.knows("ada", "n3w").await && !fixture.knows("ada", "s3cret").await);
        let unknown = fixture.users.update(&actor(), &label("bob"), change(), always).await;
        assert!(matches!(unknown, Err(UserError::Change(ChangeError::NotFound(_)))));
        let bad = UserChange { user_info: Some(json!(7)), ..UserChange::default() };
        assert!(matches!(
            fixture.users.update(&actor(), &label("ada"), bad, always).await,
            Err(UserError::Invalid { field: "user_info", .. })
        ));
    }

    #[tokio::test]
    async fn a_deleted_user_takes_its_sessions_along_and_nobody_elses() {
        let fixture = fixture();
        fixture.create("ada", json!({})).await.expect("created");
        let (hers, his) = (fixture.open_session(1, "ada").await, fixture.open_session(2, "bob").await);
        assert!(matches!(
            fixture.users.delete(&actor(), &label("ada"), at(9)).await,
            Err(UserError::Change(ChangeError::Stale(_)))
        ));
        assert!(fixture.lives(hers).await);
        fixture.users.delete(&actor(), &label("ada"), at(1)).await.expect("deleted");
        assert!(!fixture.lives(hers).await && fixture.lives(his).await);
        assert_eq!(fixture.users.get(&label("ada")).await.expect("read"), None);
        assert!(matches!(
            fixture.users.delete(&actor(), &label("ada"), always).await,
            Err(UserError::Change(ChangeError::NotFound(_)))
        ));
    }

    #[tokio::test]
    async fn a_disabled_user_has_no_sessions_and_keeps_everything_else() {
        let fixture = fixture();
        let user = fixture.create("ada", json!({"id": 7})).await.expect("created");
        assert!(user.enabled);
        let (hers, his) = (fixture.open_session(1, "ada").await, fixture.open_session(2, "bob").await);
        let set = |enabled: bool| UserChange { enabled: Some(enabled), ..UserChange::default() };
        let user = fixture.users.update(&actor(), &label("ada"), set(false), always).await.expect("changed");
        assert_eq!((user.enabled, &user.user_info), (false, &json!({"id": 7})));
        assert!(!fixture.lives(hers).await && fixture.lives(his).await);
        let user = fixture.users.update(&actor(), &label("ada"), set(true), always).await.expect("changed");
        assert!(user.enabled && fixture.knows("ada", "s3cret").await);
        assert!(!fixture.lives(hers).await);
    }

    #[tokio::test]
    async fn who_cannot_be_made_or_changed_costs_no_hash() {
        let Fixture { registry, sessions, users, .. } = fixture();
        users.create(&actor(), label("ada"), "s3cret".into(), json!({})).await.expect("created");
        // Somebody hashes all the time, and nobody may wait.
        let full = PasswordLimits { at_a_time: 1, queue: 0, ..limits() };
        let full = Arc::new(Passwords::new(full).expect("fine limits"));
        let _turn = full.turn(HERE).await.expect("the first");
        let clock = Arc::new(ManualClock::at(1_000));
        let changing = changes(registry.clone(), &sessions, clock.clone());
        let users = Users::new(registry.clone(), changing, full.clone(), sessions, clock);
        let change = || UserChange { password: Some("n3w".into()), ..UserChange::default() };
        let taken = users.create(&actor(), label("ada"), "s3cret".into(), json!({})).await;
        assert!(matches!(taken, Err(UserError::Change(ChangeError::Conflict(_)))), "{taken:?}");
        let unknown = users.update(&actor(), &label("bob"), change(), always).await;
        assert!(matches!(unknown, Err(UserError::Change(ChangeError::NotFound(_)))), "{unknown:?}");
        let stale = users.update(&actor(), &label("ada"), change(), at(9)).await;
        assert!(matches!(stale, Err(UserError::Change(ChangeError::Stale(1)))), "{stale:?}");
        for refused in [
            users.create(&actor(), label("bob"), "s3cret".into(), json!({})).await,
            users.update(&actor(), &label("ada"), change(), always).await,
        ] {
            assert!(matches!(refused, Err(UserError::Refused(Refusal::Overloaded { .. }))), "{refused:?}");
        }
        corrupt(&registry, "ada").await;
        let unreadable = users.update(&actor(), &label("ada"), change(), always).await;
        assert!(matches!(unreadable, Err(UserError::Change(ChangeError::Registry(_)))), "{unreadable:?}");
    }

    /// Writes half of what is stored of a user over it.
    async fn corrupt(registry: &MemoryRegistry, name: &str) {
        let mut row = registry.get(Kind::User, name).await.expect("read").expect("there");
        row.body.truncate(row.body.len() / 2);
        registry.commit(vec![Write::Put { row, expect: Expect::Any }]).await.expect("written");
    }

    #[tokio::test]
    async fn a_user_that_cannot_be_read_is_deleted_with_its_sessions_and_the_trail_tells_nothing_of_what_it_was() {
        let fixture = fixture();
        fixture.create("ada", json!({})).await.expect("created");
        let session = fixture.open_session(1, "ada").await;
        corrupt(&fixture.registry, "ada").await;
        let disable = UserChange { enabled: Some(false), ..UserChange::default() };
        let refused = fixture.users.update(&actor(), &label("ada"), disable, always).await.expect_err("not readable");
        assert_eq!(refused.to_string(), "the registry failed: the user 'ada' is not well formed in the registry");
        assert!(fixture.lives(session).await);
        fixture.users.delete(&actor(), &label("ada"), at(1)).await.expect("deleted");
        assert!(!fixture.lives(session).await);
        assert_eq!(fixture.users.get(&label("ada")).await.expect("read"), None);
        let query = AuditQuery { from: AuditFrom::Before(u64::MAX), limit: 1, kind: None, key: None };
        let trail = fixture.registry.audit(query).await.expect("read");
        let [ChainedEntry { entry, .. }] = trail.as_slice() else { panic!("not told: {trail:?}") };
        assert_eq!((entry.action, entry.revision, &entry.before, &entry.after), (Action::Deleted, 1, &None, &None));
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
        assert!(matches!(
            fixture.users.sessions(&label("eve")).await,
            Err(UserError::Change(ChangeError::NotFound(_)))
        ));
        let query = AuditQuery { from: AuditFrom::After(0), limit: 99, kind: None, key: None };
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
        let user = fixture.users.update(&actor(), &label("ada"), disable(), always).await.expect("changed");
        assert_eq!(
            (user.revision, user.enabled, user.user_info["id"].as_u64()),
            (3, false, Some(8)),
            "nothing is lost"
        );
        rival(5);
        let stale = fixture.users.update(&actor(), &label("ada"), disable(), at(3)).await;
        assert!(matches!(stale, Err(UserError::Change(ChangeError::Stale(_)))), "{stale:?}");
        (6..100).for_each(rival);
        let beaten = fixture.users.update(&actor(), &label("ada"), disable(), always).await;
        assert!(matches!(beaten, Err(UserError::Change(ChangeError::Contended))), "{beaten:?}");
    }
}
