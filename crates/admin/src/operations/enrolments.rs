//! Enrolment tokens: what lets microservices register themselves.

use portcullis_core::model::{Enrolment, Label, Problem};
use portcullis_core::secret::Secret;
use portcullis_identity::{KeyKind, hash_key, mint};
use portcullis_routing::change::{ChangeError, Changes, Edit, Transaction, View};

/// An enrolment token to be made. Times are Unix milliseconds.
#[derive(Debug)]
pub struct NewEnrolment {
    /// What it is called.
    pub name: Label,
    /// Which service names it is good for; `*` stands for any run of characters.
    pub pattern: String,
    /// How many registrations it is good for.
    pub max_uses: Option<u64>,
    /// When it ends.
    pub expires_at: Option<u64>,
}

/// Makes an enrolment token, which is returned this once.
pub async fn create(changes: &Changes, now: u64, new: NewEnrolment) -> Result<Secret, ChangeError> {
    check(&new)?;
    let token = mint(KeyKind::Enrolment);
    let enrolment = Enrolment {
        token_hash: hash_key(token.expose()).to_hex(),
        pattern: new.pattern,
        max_uses: new.max_uses,
        uses: 0,
        created_at: now,
        expires_at: new.expires_at,
    };
    let name = new.name;
    let decide = move |view: &View| {
        if view.enrolment(&name).is_some() {
            return Err(ChangeError::Conflict(format!("enrolment token '{name}' already exists")));
        }
        Ok((Transaction::one(Edit::Enrolment(name.clone(), Some(enrolment.clone()))), ()))
    };
    changes.submit(decide).await?;
    Ok(token)
}

/// Takes an enrolment token out. What was registered with it stays.
pub async fn delete(changes: &Changes, name: Label) -> Result<(), ChangeError> {
    let decide = move |view: &View| {
        if view.enrolment(&name).is_none() {
            return Err(ChangeError::NotFound(format!("enrolment token '{name}'")));
        }
        Ok((Transaction::one(Edit::Enrolment(name.clone(), None)), ()))
    };
    changes.submit(decide).await.map(drop)
}

fn check(new: &NewEnrolment) -> Result<(), ChangeError> {
    let mut problems = Vec::new();
    let letters = new.pattern.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-*".contains(&byte));
    if !letters || !(1..=64).contains(&new.pattern.len()) {
        let message = "expected 1 to 64 characters out of A-Z, a-z, 0-9, '_', '-' and '*'";
        problems.push(Problem::new("pattern", message));
    }
    if new.max_uses == Some(0) {
        problems.push(Problem::new("max_uses", "expected at least 1, or nothing for no limit"));
    }
    if problems.is_empty() { Ok(()) } else { Err(ChangeError::Invalid(problems)) }
}
