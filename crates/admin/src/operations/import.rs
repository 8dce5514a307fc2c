//! Taking over what another gateway has: its declarations and the secrets of its clients, in one transaction.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_core::model::{ClientSecret, Label, MAX_SECRETS, Owner, Problem, Stored};
use portcullis_core::secret::Secret;
use portcullis_identity::MasterKey;
use portcullis_routing::change::plan::Plan;
use portcullis_routing::change::{ChangeError, Changes, DryRun, Edit, Transaction, View};
use serde::Serialize;

use super::client_secrets;
use super::declarations::{Terms, decide, fingerprint, planned};
use crate::conditions::Conditions;
use crate::declaration::Reading;

/// What is taken over.
#[derive(Debug)]
pub struct Import {
    /// The declarations.
    pub reading: Reading,
    /// Secrets of clients among them.
    pub secrets: BTreeMap<Label, Secret>,
    /// Whether objects of other owners that are declared otherwise are taken over.
    pub adopt: bool,
}

/// What became of secrets, by the clients they are of.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct ImportedSecrets {
    /// Taken over: their clients were not there before.
    pub added: Vec<Label>,
    /// There already.
    pub known: Vec<Label>,
    /// Left out: their clients were there before and have other secrets, or none. A secret that was retired here is not revived.
    pub other: Vec<Label>,
    /// Added beside the one that was imported before and is no longer the one there; that stays good until it is retired.
    pub changed: Vec<ChangedSecret>,
    /// Like those, but left out: there is no room for another secret.
    pub full: Vec<Label>,
}

/// A secret that is another one there now.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct ChangedSecret {
    /// Its client.
    pub client: Label,
    /// The handle of the one that was imported before.
    pub former: String,
}

/// Says what an import would change, and changes nothing.
pub fn plan(
    view: &View,
    import: &Import,
    master: &MasterKey,
    now: u64,
    dry_run: &DryRun,
) -> Result<(Plan, ImportedSecrets), ChangeError> {
    let mut plan = planned(view, &import.reading, Terms::import(import.adopt), dry_run);
    plan.problems.extend(strays(import));
    if !plan.problems.is_empty() {
        return Err(ChangeError::Invalid(plan.problems));
    }
    check(import)?;
    Ok((plan, sorted(view, import, master, now)))
}

/// Takes it over: everything, or nothing.
pub async fn import(
    changes: &Changes,
    import: Import,
    conditions: Conditions,
    master: Arc<MasterKey>,
    now: u64,
    dry_run: DryRun,
) -> Result<(Plan, ImportedSecrets), ChangeError> {
    if !import.reading.problems.is_empty() {
        return plan(&changes.view(), &import, &master, now, &dry_run);
    }
    check(&import)?;
    let mut sealed = BTreeMap::new();
    for (client, secret) in &import.secrets {
        sealed.insert(client.clone(), client_secrets::first(&master, now, client, secret)?);
    }
    let decide = move |view: &View| {
        if !conditions.is_empty() {
            conditions.check(Some(fingerprint(view)))?;
        }
        let terms = Terms::import(import.adopt);
        let mut plan = decide(view, &import.reading.declarations, terms);
        plan.problems.extend(strays(&import));
        if !plan.problems.is_empty() {
            return Err(self::plan(view, &import, &master, now, &dry_run).err().unwrap_or(ChangeError::Contended));
        }
        let secrets = sorted(view, &import, &master, now);
        let mut edits: Vec<Edit> = std::mem::take(&mut plan.edits);
        edits.extend(secrets.added.iter().filter_map(|client| sealed.get(client).cloned()));
        for changed in &secrets.changed {
            edits.extend(sealed.get(&changed.client).cloned());
            edits.extend(followed(view, now, changed));
        }
        Ok((Transaction { owner: terms.owner, edits }, (plan, secrets)))
    };
    let (_, done) = changes.submit(decide).await?;
    Ok(done)
}

/// Secrets of clients that are not declared along with them.
fn strays(import: &Import) -> Vec<Problem> {
    let is_stray = |client: &&Label| !import.reading.declarations.clients.contains_key(*client);
    let strays = import.secrets.keys().filter(is_stray);
    strays
        .map(|client| Problem::new(format!("secrets.{client}"), "is the secret of no client that is declared"))
        .collect()
}

fn check(import: &Import) -> Result<(), ChangeError> {
    let mut problems = Vec::new();
    for (client, secret) in &import.secrets {
        if let Err(ChangeError::Invalid(found)) = client_secrets::check_brought(&format!("secrets.{client}"), secret) {
            problems.extend(found);
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(ChangeError::Invalid(problems)) }
}

fn sorted(view: &View, import: &Import, master: &MasterKey, now: u64) -> ImportedSecrets {
    let mut told = ImportedSecrets::default();
    for (client, secret) in &import.secrets {
        let list = match view.client(client) {
            None => &mut told.added,
            Some(_) if client_secrets::has(view, master, now, client, secret) => &mut told.known,
            Some(held) => match former(view, now, client).filter(|_| held.owner == Owner::Import) {
                None => &mut told.other,
                Some(_) if view.secrets(client).filter(|(_, held)| held.value.is_live(now)).count() >= MAX_SECRETS => {
                    &mut told.full
                }
                Some(former) => {
                    told.changed.push(ChangedSecret { client: client.clone(), former });
                    continue;
                }
            },
        };
        list.push(client.clone());
    }
    told
}

/// The handle of the secret that a client has from an import, if it is as it came: neither changed here, nor followed by another.
/// Of a client whose secrets were retired or changed here nobody knows that it is the other side that has changed.
fn former(view: &View, now: u64, client: &Label) -> Option<String> {
    let mut live = view.secrets(client).filter(|(_, stored)| stored.value.is_live(now));
    let found = live.find(|(_, stored)| stored.owner == Owner::Import && stored.revision == 1);
    found.map(|(id, _)| id.to_owned())
}

/// What becomes of the others where a secret is added: the former one gets another revision, so that no third follows it once the
/// second is retired, and what has ended goes.
fn followed(view: &View, now: u64, changed: &ChangedSecret) -> Vec<Edit> {
    let client = &changed.client;
    let edit = |(id, stored): (&str, &Arc<Stored<ClientSecret>>)| match stored.value.is_live(now) {
        true if id == changed.former => {
            Some(Edit::ClientSecret(client.clone(), id.to_owned(), Some(stored.value.clone())))
        }
        true => None,
        false => Some(Edit::ClientSecret(client.clone(), id.to_owned(), None)),
    };
    view.secrets(client).filter_map(edit).collect()
}
