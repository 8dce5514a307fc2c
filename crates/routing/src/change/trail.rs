//! What the audit trail says of an edit: the object before and after, without secrets and their hashes.

use portcullis_core::audit::{self, Action, Actor, AuditEntry};
use portcullis_core::model::ApiKey;
use portcullis_core::ports::{RegistryError, Write};
use serde::Serialize;
use serde_json::Value;

use super::{Edit, View};

/// The entry for an edit, as far as it can be told before the edit is applied.
pub(super) struct PendingEntry(AuditEntry);

impl PendingEntry {
    /// The entry for an object that is in this revision now; 0 if it is gone.
    pub(super) fn leading_to(mut self, revision: u64) -> Write {
        if self.0.action != Action::Deleted {
            self.0.revision = revision;
        }
        Write::Audit(Box::new(self.0))
    }
}

/// What is to be told of an edit that is about to be applied to `view`; `None` if it does nothing.
pub(super) fn told(view: &View, edit: &Edit, actor: &Actor, now: u64) -> Result<Option<PendingEntry>, RegistryError> {
    let (revision, before, after) = match edit {
        Edit::Service(id, after) => sides(view.service(id).map(|it| (it.revision, &it.value)), after.as_ref()),
        Edit::Route(name, after) => sides(view.route(name).map(|it| (it.revision, &it.value)), after.as_deref()),
        Edit::Client(name, after) => sides(view.client(name).map(|it| (it.revision, &it.value)), after.as_ref()),
        Edit::Host(name, after) => sides(view.host(name).map(|it| (it.revision, &it.value)), after.as_ref()),
        Edit::ClientSecret(client, id, after) => {
            sides(view.secret(client, id).map(|it| (it.revision, &it.value)), after.as_ref())
        }
        Edit::ApiKey(hash, after) => sides(view.key(hash).map(|it| (it.revision, &it.value)), after.as_ref()),
        Edit::Registration(name, after) => {
            sides(view.registration(name).map(|it| (it.revision, &it.value)), after.as_ref())
        }
        // It is written with the edit of the same object that follows it, and told there.
        Edit::Adopt(_) => return Ok(None),
        Edit::Enrolment(name, after) => sides(view.enrolment(name).map(|it| (it.revision, &it.value)), after.as_ref()),
    }?;
    let Some(action) = Action::leading(before.is_some(), after.is_some()) else { return Ok(None) };
    let (kind, key) = called(view, edit);
    let (before, after) = audit::sides(before, after);
    let actor = actor.clone();
    Ok(Some(PendingEntry(AuditEntry { time: now, actor, action, kind, key, revision, before, after })))
}

type Sides = (u64, Option<Value>, Option<Value>);

/// The revision it has, and both sides of the change.
fn sides<T: Serialize>(before: Option<(u64, &T)>, after: Option<&T>) -> Result<Sides, RegistryError> {
    let show = |value: Option<&T>| {
        value.map(serde_json::to_value).transpose().map_err(|error| RegistryError::Storage(error.to_string()))
    };
    let revision = before.map_or(0, |(revision, _)| revision);
    Ok((revision, show(before.map(|(_, value)| value))?, show(after)?))
}

/// What the object is called in the trail. An API key goes by its owner and its handle: the registry's own key of
/// it is the hash.
fn called(view: &View, edit: &Edit) -> (String, String) {
    let (kind, key) = super::view::address(edit);
    let key = match edit {
        Edit::ApiKey(hash, after) => {
            let key = after.as_ref().or_else(|| view.key(hash).map(|held| &held.value));
            key.map(ApiKey::called).unwrap_or_default()
        }
        _ => key,
    };
    (kind.as_str().to_owned(), key)
}
