//! What can be done to the gateway's declarations and keys, whoever asks for it.
//!
//! Each operation is a function over [`Changes`]: it decides on the newest declarations, inside the one task
//! that changes them, so that two callers never decide on the same state.

pub mod api_keys;
pub mod clients;
pub mod declarations;
pub mod enrolments;
mod names;
pub mod registering;
pub mod registrations;
pub mod routes;
pub mod services;

use portcullis_core::model::Problem;
use portcullis_routing::change::{ChangeError, Changes, Committed, Transaction, View};
use tokio::sync::oneshot;

use crate::conditions::Conditions;

/// Makes a change and hands on what was found out while it was decided.
async fn submit<T: Send + 'static>(
    changes: &Changes,
    decide: impl FnOnce(&View) -> Result<(Transaction, T), ChangeError> + Send + 'static,
) -> Result<(Committed, T), ChangeError> {
    let (tell, told) = oneshot::channel();
    let committed = changes
        .submit(move |view| {
            let (transaction, found) = decide(view)?;
            // The receiver waits below, unless the caller has left.
            let _ = tell.send(found);
            Ok(transaction)
        })
        .await?;
    let found = told.await.map_err(|_| ChangeError::Stopping)?;
    Ok((committed, found))
}

/// Why an object that is not there cannot be changed: its absence, unless a condition already says no.
fn missing(what: String, conditions: &Conditions) -> ChangeError {
    conditions.check(None).err().unwrap_or(ChangeError::NotFound(what))
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
