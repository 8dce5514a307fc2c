//! What an operator may do to a registration: take its key away, or exchange it.

use portcullis_core::model::{Name, Owner, Registration, Stored};
use portcullis_core::secret::Secret;
use portcullis_identity::{KeyKind, hash_key, mint};
use portcullis_routing::change::{ChangeError, Changes, Edit, Transaction, View};

/// Takes a registration out: its key is none any more. The services stay, with their API keys, and go on being called.
pub async fn revoke(changes: &Changes, name: Name) -> Result<(), ChangeError> {
    let decide = move |view: &View| {
        find(view, &name)?;
        Ok((Transaction::one(Edit::Registration(name.clone(), None)), ()))
    };
    changes.submit(decide).await.map(drop)
}

/// Gives a registration another key, which is returned this once; the former is none any more. `now` in Unix
/// milliseconds.
pub async fn rotate(changes: &Changes, name: Name, now: u64) -> Result<Secret, ChangeError> {
    let key = mint(KeyKind::Registration);
    let key_hash = hash_key(key.expose()).to_hex();
    let decide = move |view: &View| {
        let held = find(view, &name)?.value.clone();
        let rotated = Registration { key_hash: key_hash.clone(), rotated_at: Some(now), ..held };
        Ok((Transaction::one(Edit::Registration(name.clone(), Some(rotated))), ()))
    };
    changes.submit(decide).await?;
    Ok(key)
}

/// The registration of a name.
pub fn find<'a>(view: &'a View, name: &Name) -> Result<&'a Stored<Registration>, ChangeError> {
    let held = view.registration(name).map(AsRef::as_ref);
    held.ok_or_else(|| ChangeError::NotFound(format!("a registration of '{name}'")))
}

/// The versions of a name that came by registration and were not adopted since, in order.
pub fn versions<'a>(view: &'a View, name: &'a Name) -> Vec<&'a Name> {
    let is_own = |version: &&Name| {
        let id = portcullis_core::model::ServiceId { name: name.clone(), version: (*version).clone() };
        view.service(&id).is_some_and(|stored| stored.owner == Owner::Registration)
    };
    let mut versions: Vec<_> = view.versions(name).iter().filter(is_own).collect();
    versions.sort();
    versions
}
