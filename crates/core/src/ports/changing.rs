//! The one way in which what is audited changes (optimistic concurrency control): decided on what is there, committed together
//! with what the audit trail says of it, and decided again where somebody else was faster.
//!
//! The node's memory holds declarations, and a change of these sees all of them (`routing::change`). What it does not hold,
//! because there can be a million of it, changes through [`Changing`]: by its row, which is read for the decision.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use thiserror::Error;

use super::{Expect, RegistryError, SessionsOf, Write};
use crate::audit::{Action, Actor, AuditEntry, sides};
use crate::model::{Label, Owner, Problem};
use crate::object::{Kind, Row};

/// How often a change is decided by itself because somebody else was faster; then it is [`ChangeError::Contended`].
pub const DECISIONS: u32 = 16;

/// Says what becomes of an object that stands like this; none if it is not there. It is asked again where somebody else was
/// faster, holds up every other change while it thinks, and so neither waits nor computes for long.
pub type Decide = Box<dyn Fn(Option<&Row>) -> Result<Decision, ChangeError> + Send>;

/// Changes objects that the node's memory does not hold.
#[async_trait]
pub trait Changing: Send + Sync {
    /// Has it decided what becomes of an object, and commits that. When it returns, the change is on disk; it is made or
    /// refused also where nobody waits for it any more.
    async fn change(&self, actor: &Actor, kind: Kind, key: &str, decide: Decide) -> Result<Outcome, ChangeError>;
}

/// What is decided of one object.
pub struct Decision {
    /// What becomes of it.
    pub object: Becomes,
    /// What happens to sessions in the same commit.
    pub sessions: Option<OfSessions>,
    /// What the audit trail shows of it as it was. What is kept under a secret's name is taken out of it.
    pub before: Option<Value>,
    /// What the audit trail shows of it as it is now; likewise.
    pub after: Option<Value>,
}

/// What becomes of an object.
pub enum Becomes {
    /// It stays as it is: what is told happens to something that belongs to it.
    Same,
    /// This, as JSON. One that was not there belongs to [`Owner::Api`].
    Body(String),
    /// It is gone.
    Gone,
}

/// What happens to sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OfSessions {
    /// These end.
    End(SessionsOf),
    /// What backends are told of a user is this from now on.
    Tell {
        /// The user name.
        user: Label,
        /// Compact JSON.
        user_info: Arc<str>,
    },
}

impl From<OfSessions> for Write {
    fn from(change: OfSessions) -> Self {
        match change {
            OfSessions::End(of) => Self::EndSessions(of),
            OfSessions::Tell { user, user_info } => Self::UserInfo { user, user_info },
        }
    }
}

/// What a change led to.
#[derive(PartialEq, Eq)]
pub struct Outcome {
    /// The object as it is now; none if it is gone.
    pub object: Option<Row>,
    /// How many sessions ended or changed with it.
    pub sessions: usize,
}

impl fmt::Debug for Outcome {
    /// Without the object, which may hold the hash of a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let revision = self.object.as_ref().map(|row| row.revision);
        f.debug_struct("Outcome").field("revision", &revision).field("sessions", &self.sessions).finish_non_exhaustive()
    }
}

impl Decision {
    /// What has to be written for it, where the object stood like this, and how it stands then. Nothing has to be for one
    /// that was not there and is not.
    pub fn writes(
        self,
        (kind, key): (Kind, &str),
        before: Option<Row>,
        actor: &Actor,
        now: u64,
    ) -> (Vec<Write>, Option<Row>) {
        let was = before.as_ref().map_or(0, |row| row.revision);
        let expect = before.as_ref().map_or(Expect::Absent, |row| Expect::Revision(row.revision));
        let owner = before.as_ref().map_or(Owner::Api, |row| row.owner);
        let was_there = before.is_some();
        let key = key.to_owned();
        let (object, after) = match self.object {
            Becomes::Same => (None, before),
            Becomes::Body(body) => {
                let row = Row { kind, key: key.clone(), revision: was + 1, owner, body };
                (Some(Write::Put { row: row.clone(), expect }), Some(row))
            }
            Becomes::Gone => (Some(Write::Delete { kind, key: key.clone(), expect }), None),
        };
        let Some(action) = Action::leading(was_there, after.is_some()) else { return (Vec::new(), None) };
        let revision = after.as_ref().map_or(was, |row| row.revision);
        let (before, shown) = sides(self.before, self.after);
        let told = AuditEntry {
            time: now,
            actor: actor.clone(),
            action,
            kind: kind.as_str().to_owned(),
            key,
            revision,
            before,
            after: shown,
        };
        let writes = object.into_iter().chain(self.sessions.map(Write::from));
        (writes.chain([Write::Audit(Box::new(told))]).collect(), after)
    }
}

/// Why a change did not happen. Nothing of it was written.
#[derive(Debug, Error)]
pub enum ChangeError {
    /// It does not compile; every problem at once.
    #[error("the change has problems: {}", List(.0))]
    Invalid(Vec<Problem>),
    /// The object it is about is not there.
    #[error("{0} does not exist")]
    NotFound(String),
    /// The object it would make is there already, or a bound is reached.
    #[error("{0}")]
    Conflict(String),
    /// Somebody changed the object since the caller looked at it.
    #[error("the object is in revision {0} now")]
    Stale(u64),
    /// The caller may not make this change.
    #[error("not allowed: {0}")]
    Forbidden(String),
    /// The caller did not show who it is.
    #[error("not authenticated: {0}")]
    Unauthenticated(&'static str),
    /// The registry failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Others changed the same objects each time it was about to be written.
    #[error("others change the same objects all the time")]
    Contended,
    /// The gateway is stopping.
    #[error("the gateway is stopping")]
    Stopping,
}

struct List<'a>(&'a [Problem]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, problem) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str("; ")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row(revision: u64) -> Row {
        Row { kind: Kind::User, key: "ada".into(), revision, owner: Owner::File, body: "{\"n\":1}".into() }
    }

    /// The writes of a decision, and the revision and owner that it leaves.
    fn decided(object: Becomes, before: Option<Row>) -> (Vec<Write>, Option<(u64, Owner)>) {
        let user = "ada".parse().expect("a label");
        let shown = |n: u64| Some(json!({"n": n, "same": true, "password": "s3cret"}));
        let sessions = Some(OfSessions::End(SessionsOf::User(user)));
        let decision = Decision { object, sessions, before: shown(1), after: shown(2) };
        let (writes, after) = decision.writes((Kind::User, "ada"), before, &Actor::gateway(), 7);
        (writes, after.map(|row| (row.revision, row.owner)))
    }

    #[track_caller]
    fn told(write: &Write, action: Action, revision: u64) {
        let Write::Audit(entry) = write else { panic!("no entry: {write:?}") };
        assert_eq!((entry.time, entry.action, entry.revision, entry.key.as_str()), (7, action, revision, "ada"));
        let sides = [&entry.before, &entry.after].map(Option::as_deref);
        assert_eq!(sides, [Some("{\"n\":1}"), Some("{\"n\":2}")], "what is different, without secrets");
    }

    #[test]
    fn a_decision_is_written_where_the_object_stands_as_it_was_read() {
        let body = || Becomes::Body("{\"n\":2}".to_owned());
        let (writes, after) = decided(body(), None);
        assert_eq!(after, Some((1, Owner::Api)));
        assert!(matches!(&writes[0], Write::Put { row, expect: Expect::Absent } if row.body == "{\"n\":2}"));
        told(&writes[2], Action::Created, 1);
        let (writes, after) = decided(body(), Some(row(4)));
        assert_eq!(after, Some((5, Owner::File)), "who it belongs to stays");
        assert!(matches!(&writes[0], Write::Put { expect: Expect::Revision(4), .. }));
        told(&writes[2], Action::Changed, 5);
        let (writes, after) = decided(Becomes::Gone, Some(row(4)));
        assert_eq!(after, None);
        assert!(matches!(&writes[0], Write::Delete { expect: Expect::Revision(4), .. }));
        told(&writes[2], Action::Deleted, 4);
        let (writes, after) = decided(Becomes::Same, Some(row(4)));
        assert_eq!((writes.len(), after), (2, Some((4, Owner::File))));
        assert!(matches!(&writes[0], Write::EndSessions(SessionsOf::User(_))));
        told(&writes[1], Action::Changed, 4);
        for nothing in [Becomes::Gone, Becomes::Same] {
            assert_eq!(decided(nothing, None), (Vec::new(), None));
        }
    }
}
