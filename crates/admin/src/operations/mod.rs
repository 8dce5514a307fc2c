//! What can be done to the gateway's declarations and keys, whoever asks for it.
//!
//! Each operation is a function over [`Changes`](portcullis_routing::change::Changes): it decides on the newest declarations,
//! inside the one task that changes them, so that two callers never decide on the same state. It may have to decide again,
//! so a decision takes nothing along that it does not copy.

pub mod api_keys;
pub mod client_secrets;
pub mod clients;
pub mod declarations;
pub mod enrolments;
pub mod hosts;
pub mod import;
mod names;
pub mod registering;
pub mod registrations;
pub mod routes;
pub mod services;

use std::sync::Arc;

use portcullis_core::model::{Owner, Problem, Stored};
use portcullis_routing::change::{ChangeError, Changes, Edit, Transaction, View};

use crate::conditions::Conditions;

/// An object that was put in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Put {
    /// The revision it has now.
    pub revision: u64,
    /// Who it belongs to.
    pub owner: Owner,
    /// Whether it was not there before.
    pub created: bool,
}

/// Makes or replaces an object where the conditions hold of it. One that is there keeps its owner; `may_be_made` is asked of one
/// that is not.
async fn put<T>(
    changes: &Changes,
    edit: Edit,
    owner: Owner,
    conditions: Conditions,
    former: impl Fn(&View) -> Option<&Arc<Stored<T>>> + Send + 'static,
    may_be_made: impl Fn(&View) -> Result<(), ChangeError> + Send + 'static,
) -> Result<Put, ChangeError> {
    let decide = move |view: &View| {
        let former = former(view);
        conditions.check(former.map(|former| former.revision))?;
        if former.is_none() {
            may_be_made(view)?;
        }
        let found = (former.map_or(owner, |former| former.owner), former.is_none());
        Ok((Transaction { owner, edits: vec![edit.clone()] }, found))
    };
    let (committed, (owner, created)) = changes.submit(decide).await?;
    Ok(Put { revision: committed.revision(), owner, created })
}

/// An object that is to be changed or deleted: it is there, in a revision of which the conditions hold.
fn there<'view, T>(
    stored: Option<&'view Arc<Stored<T>>>,
    conditions: &Conditions,
    what: impl FnOnce() -> String,
) -> Result<&'view Arc<Stored<T>>, ChangeError> {
    conditions.check(stored.map(|stored| stored.revision))?;
    stored.ok_or_else(|| ChangeError::NotFound(what()))
}

/// A key an operator brings along is taken as it is, if it can stand in a header field at all.
fn check_brought_key(path: &str, key: &str) -> Result<(), ChangeError> {
    let printable = key.bytes().all(|byte| (0x20..=0x7e).contains(&byte));
    if (1..=256).contains(&key.len()) && printable && key.trim() == key {
        return Ok(());
    }
    let message = "expected 1 to 256 printable ASCII characters, without a space at either end";
    Err(ChangeError::Invalid(vec![Problem::new(path, message)]))
}
