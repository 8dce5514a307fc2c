//! What calls look clients, their secrets and API keys up in ([`Entries`]), made of what is declared and kept.

use std::sync::Arc;

use portcullis_core::directory::{Directory, Entries};
use portcullis_core::live_secret::LiveSecret;
use portcullis_core::model::{ClientSecret, Label, SECRET_PURPOSE};
use portcullis_core::ports::Unseal;

use super::{Edit, View};

/// The directory with everything that a view holds.
pub(super) fn of(unseal: &dyn Unseal, directory: &Directory, view: &View) -> Entries {
    let mut entries = directory.copy();
    // Before the clients, each of which is made once then.
    for ((client, id), stored) in view.all_secrets() {
        entries.set_secret(client, id, opened(unseal, client, id, &stored.value));
    }
    for (name, stored) in view.clients() {
        entries.set_client(name, Some(stored.value.clone()));
    }
    for (hash, stored) in view.keys() {
        entries.set_key(*hash, Some(stored.value.owner.clone()));
    }
    entries
}

/// The directory after edits; none if they change nothing of it.
pub(super) fn after(unseal: &dyn Unseal, directory: &Directory, edits: &[Edit]) -> Option<Entries> {
    let is_of_it = |edit: &Edit| matches!(edit, Edit::Client(..) | Edit::ClientSecret(..) | Edit::ApiKey(..));
    if !edits.iter().any(is_of_it) {
        return None;
    }
    let mut entries = directory.copy();
    for edit in edits {
        match edit {
            Edit::Client(name, client) => entries.set_client(name, client.clone()),
            Edit::ClientSecret(client, id, secret) => {
                let open = |secret| opened(unseal, client, id, secret);
                entries.set_secret(client, id, secret.as_ref().and_then(open));
            }
            Edit::ApiKey(hash, key) => entries.set_key(*hash, key.as_ref().map(|key| key.owner.clone())),
            _ => {}
        }
    }
    Some(entries)
}

/// Opens a secret. One that cannot be opened is told in the log, and nobody can use it.
fn opened(unseal: &dyn Unseal, client: &Label, id: &str, kept: &ClientSecret) -> Option<LiveSecret> {
    let Some(text) = unseal.unseal(SECRET_PURPOSE, &kept.sealed) else {
        tracing::error!(%client, id, "a secret cannot be opened with this node's master key, and is not accepted");
        return None;
    };
    Some(LiveSecret::new(Arc::<str>::from(id), kept, text))
}

#[cfg(test)]
mod tests;
