//! What can be done to the gateway's declarations and keys, whoever asks for it.
//!
//! Each operation is a function over [`Changes`](portcullis_routing::change::Changes): it decides on the newest declarations,
//! inside the one task that changes them, so that two callers never decide on the same state. It may have to decide again,
//! so a decision takes nothing along that it does not copy.

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
use portcullis_routing::change::ChangeError;

use crate::conditions::Conditions;

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
