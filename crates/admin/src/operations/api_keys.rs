//! API keys of clients and of services: handed out once, kept as their hash.

use portcullis_core::directory::{KeyHash, KeyOwner};
use portcullis_core::model::ApiKey;
use portcullis_core::secret::Secret;
use portcullis_identity::{KeyKind, hash_key, mint};
use portcullis_routing::change::{ChangeError, Changes, Edit, Transaction, View};

use super::check_brought_key;
use crate::ids::handle;

/// API keys of one owner.
pub const MAX_KEYS: usize = 64;
const HANDLE_DIGITS: usize = 16;

/// A key as its owner is told once.
#[derive(Debug)]
pub struct Issued {
    /// The handle it goes by from now on.
    pub id: String,
    /// The key in clear.
    pub key: Secret,
}

/// Gives an owner one more key: a minted one, or the one its operator brings along.
pub async fn create(
    changes: &Changes,
    owner: KeyOwner,
    brought: Option<Secret>,
    now: u64,
) -> Result<Issued, ChangeError> {
    if let Some(key) = &brought {
        check_brought_key("api_key", key.expose())?;
    }
    let key = brought.unwrap_or_else(|| mint(KeyKind::Api));
    let (edit, id) = prepare(&key, owner.clone(), now);
    let hash = hash_key(key.expose());
    let decide = move |view: &View| {
        check_owner(view, &owner)?;
        if view.key(&hash).is_some() {
            return Err(ChangeError::Conflict("the API key is in use already".into()));
        }
        if view.keys_of(&owner).count() >= MAX_KEYS {
            return Err(ChangeError::Conflict(format!("at most {MAX_KEYS} API keys are kept; delete one first")));
        }
        Ok((Transaction::one(edit.clone()), ()))
    };
    changes.submit(decide).await?;
    Ok(Issued { id, key })
}

/// Takes a key out by its handle.
pub async fn delete(changes: &Changes, owner: KeyOwner, id: String) -> Result<(), ChangeError> {
    let decide = move |view: &View| {
        check_owner(view, &owner)?;
        let found = view.keys_of(&owner).find(|(_, key)| key.value.id == id).map(|(hash, _)| *hash);
        let hash: KeyHash = found.ok_or_else(|| ChangeError::NotFound(format!("API key '{id}'")))?;
        Ok((Transaction::one(Edit::ApiKey(hash, None)), ()))
    };
    changes.submit(decide).await.map(drop)
}

/// Refuses an owner that is not there.
pub fn check_owner(view: &View, owner: &KeyOwner) -> Result<(), ChangeError> {
    let (there, what) = match owner {
        KeyOwner::Client(name) => (view.client(name).is_some(), format!("client '{name}'")),
        KeyOwner::Service(name) => (!view.versions(name).is_empty(), format!("service '{name}'")),
    };
    if there { Ok(()) } else { Err(ChangeError::NotFound(what)) }
}

/// The edit that keeps a key, and the handle it goes by.
pub(super) fn prepare(key: &Secret, owner: KeyOwner, now: u64) -> (Edit, String) {
    let id = handle(HANDLE_DIGITS);
    let kept = ApiKey { id: id.clone(), owner, created_at: now };
    (Edit::ApiKey(hash_key(key.expose()), Some(kept)), id)
}
