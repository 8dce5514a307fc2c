//! Secrets of clients: made or imported, changed in pairs (secret rotation), and retired.

use portcullis_core::model::{
    ClientSecret, Label, MAX_SECRETS, Owner, Problem, SECRET_PURPOSE, SecretUse, SecretUses, Stored,
};
use portcullis_core::ports::{RegistryError, Unseal as _};
use portcullis_core::secret::Secret;
use portcullis_identity::{KeyKind, MasterKey, mint};
use portcullis_routing::change::{ChangeError, Changes, Edit, Transaction, View};

use super::there;
use crate::conditions::Conditions;
use crate::ids::handle;
use crate::time::rfc3339;

/// Bytes of a secret that an operator brings along.
pub const MAX_SECRET_BYTES: usize = 1_024;
const HANDLE_DIGITS: usize = 16;

/// A secret to be made.
#[derive(Debug)]
pub struct NewSecret {
    /// The secret that its operator brings along; a minted one if absent.
    pub brought: Option<Secret>,
    /// What it may be used for.
    pub uses: SecretUses,
    /// From when on it is good no more, in Unix milliseconds; never if absent.
    pub not_after: Option<u64>,
}

/// A secret as its operator is told once.
#[derive(Debug)]
pub struct Issued {
    /// The handle it goes by from now on.
    pub id: String,
    /// The secret in clear.
    pub secret: Secret,
    /// Its revision.
    pub revision: u64,
}

/// A change of a secret.
#[derive(Debug)]
pub struct SecretChange {
    /// What it may be used for; stays if absent.
    pub uses: Option<SecretUses>,
    /// From when on it is good no more, in Unix milliseconds; never if absent.
    pub not_after: Option<u64>,
}

/// Gives a client one more secret. What has ended of its others is taken out.
pub async fn create(
    changes: &Changes,
    master: &MasterKey,
    now: u64,
    client: Label,
    new: NewSecret,
) -> Result<Issued, ChangeError> {
    check(Some(new.uses), new.not_after, now)?;
    if let Some(brought) = &new.brought {
        check_brought("secret", brought)?;
    }
    let secret = new.brought.unwrap_or_else(|| mint(KeyKind::ClientSecret));
    let kept = seal(master, now, &secret, new.uses, new.not_after)?;
    let id = handle(HANDLE_DIGITS);
    let added = Edit::ClientSecret(client.clone(), id.clone(), Some(kept));
    let decide = move |view: &View| {
        check_client(view, &client)?;
        let (live, ended): (Vec<_>, Vec<_>) = view.secrets(&client).partition(|(_, stored)| stored.value.is_live(now));
        if live.len() >= MAX_SECRETS {
            let oldest = live.iter().min_by_key(|(id, stored)| (stored.value.created_at, *id));
            let oldest = oldest.map(|(id, stored)| format!("'{id}', made {}", rfc3339(stored.value.created_at)));
            let message = format!(
                "client '{client}' has {MAX_SECRETS} secrets already; retire one first. The older is {}",
                oldest.unwrap_or_default()
            );
            return Err(ChangeError::Conflict(message));
        }
        let gone = ended.into_iter().map(|(id, _)| Edit::ClientSecret(client.clone(), id.to_owned(), None));
        let edits = std::iter::once(added.clone()).chain(gone).collect();
        Ok((Transaction { owner: Owner::Api, edits }, ()))
    };
    let (committed, ()) = changes.submit(decide).await?;
    Ok(Issued { id, secret, revision: committed.revision() })
}

/// Changes until when a secret is good, and for what. One that has ended stays so.
pub async fn change(
    changes: &Changes,
    now: u64,
    (client, id): (Label, String),
    change: SecretChange,
    conditions: Conditions,
) -> Result<Stored<ClientSecret>, ChangeError> {
    check(change.uses, change.not_after, now)?;
    let decide = move |view: &View| {
        check_client(view, &client)?;
        let stored = there(view.secret(&client, &id), &conditions, || format!("secret '{id}'"))?;
        if !stored.value.is_live(now) {
            return Err(ChangeError::Conflict(format!("secret '{id}' has ended; make another")));
        }
        let uses = change.uses.unwrap_or(stored.value.uses);
        let secret =
            ClientSecret { uses, not_after: change.not_after.or(stored.value.not_after), ..stored.value.clone() };
        let edit = Edit::ClientSecret(client.clone(), id.clone(), Some(secret.clone()));
        Ok((Transaction::one(edit), (secret, stored.owner)))
    };
    let (committed, (value, owner)) = changes.submit(decide).await?;
    Ok(Stored { value, owner, revision: committed.revision() })
}

/// Retires a secret at once.
pub async fn delete(
    changes: &Changes,
    (client, id): (Label, String),
    conditions: Conditions,
) -> Result<(), ChangeError> {
    let decide = move |view: &View| {
        check_client(view, &client)?;
        there(view.secret(&client, &id), &conditions, || format!("secret '{id}'"))?;
        Ok((Transaction::one(Edit::ClientSecret(client.clone(), id.clone(), None)), ()))
    };
    changes.submit(decide).await.map(drop)
}

/// Refuses a client that is not there.
pub fn check_client(view: &View, client: &Label) -> Result<(), ChangeError> {
    let found = view.client(client).map(drop);
    found.ok_or_else(|| ChangeError::NotFound(format!("client '{client}'")))
}

/// The edit that keeps the first secret of a client, which is good for everything.
pub(super) fn first(master: &MasterKey, now: u64, client: &Label, secret: &Secret) -> Result<Edit, ChangeError> {
    let kept = seal(master, now, secret, SecretUses::all(), None)?;
    Ok(Edit::ClientSecret(client.clone(), handle(HANDLE_DIGITS), Some(kept)))
}

/// Whether one of the secrets of a client that are good is this one.
pub(super) fn has(view: &View, master: &MasterKey, now: u64, client: &Label, secret: &Secret) -> bool {
    let mut live = view.secrets(client).filter(|(_, stored)| stored.value.is_live(now));
    live.any(|(_, stored)| master.unseal(SECRET_PURPOSE, &stored.value.sealed).is_some_and(|held| held == *secret))
}

/// A secret an operator brings along is taken as it is. Other issuers have other forms, so none is asked for.
pub(super) fn check_brought(path: &str, secret: &Secret) -> Result<(), ChangeError> {
    let text = secret.expose();
    let is_plain = !text.chars().any(char::is_control) && text.trim() == text;
    if (1..=MAX_SECRET_BYTES).contains(&text.len()) && is_plain {
        return Ok(());
    }
    let message =
        format!("expected 1 to {MAX_SECRET_BYTES} bytes without control characters, and without a space at either end");
    Err(ChangeError::Invalid(vec![Problem::new(path, message)]))
}

fn check(uses: Option<SecretUses>, not_after: Option<u64>, now: u64) -> Result<(), ChangeError> {
    let mut problems = Vec::new();
    if uses.is_some_and(SecretUses::is_empty) {
        let [first, second, third] = SecretUse::ALL;
        problems.push(Problem::new("uses", format!("expected at least one of '{first}', '{second}' and '{third}'")));
    }
    if not_after.is_some_and(|end| end <= now) {
        problems.push(Problem::new("not_after", "expected a time to come; deleting a secret retires it at once"));
    }
    if problems.is_empty() { Ok(()) } else { Err(ChangeError::Invalid(problems)) }
}

fn seal(
    master: &MasterKey,
    now: u64,
    secret: &Secret,
    uses: SecretUses,
    not_after: Option<u64>,
) -> Result<ClientSecret, ChangeError> {
    let sealed = master.seal_text(SECRET_PURPOSE, secret).map_err(|error| RegistryError::Storage(error.to_string()))?;
    Ok(ClientSecret { sealed, uses, created_at: now, not_after })
}
