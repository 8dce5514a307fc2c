//! All declarations at once: what they are, what a file of them would change, and changing it in one transaction.

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use portcullis_core::model::{Declarations, Label, Name, Owner, Problem, ServiceId};
use portcullis_identity::DEFAULT_CLIENT;
use portcullis_routing::change::plan::{Plan, Rules, plan};
use portcullis_routing::change::{ChangeError, Changes, DryRun, Transaction, View};
use serde::Serialize;

use super::clients::fresh_access_key;
use super::names;
use super::services::MAX_VERSIONS;
use crate::conditions::Conditions;
use crate::declaration::{Reading, unshadowed};

/// The declarations of one owner, or of all.
pub fn declared(view: &View, owner: Option<Owner>) -> Declarations {
    let is_meant = |of: Owner| owner.is_none_or(|owner| owner == of);
    let services = view.services().filter(|(_, stored)| is_meant(stored.owner));
    let routes = view.routes().filter(|(_, stored)| is_meant(stored.owner));
    let clients = view.clients().filter(|(_, stored)| is_meant(stored.owner));
    let hosts = view.hosts().filter(|(_, stored)| is_meant(stored.owner));
    Declarations {
        services: services.map(|(id, stored)| (id.clone(), stored.value.clone())).collect(),
        routes: routes.map(|(name, stored)| (name.clone(), stored.value.clone())).collect(),
        clients: clients.map(|(name, stored)| (name.clone(), stored.value.clone())).collect(),
        hosts: hosts.map(|(name, stored)| (name.clone(), stored.value.clone())).collect(),
        ..Declarations::default()
    }
}

/// A number that is another one when any declaration is: a part of the SHA-256 over all of them with their
/// revisions and owners.
pub fn fingerprint(view: &View) -> u64 {
    #[derive(Serialize)]
    struct Entry<'a, T> {
        name: String,
        revision: u64,
        owner: Owner,
        value: &'a T,
    }
    let mut entries: Vec<Vec<u8>> = Vec::new();
    let mut note = |kind: &str, entry: Result<Vec<u8>, serde_json::Error>| {
        entries.push([kind.as_bytes(), &entry.unwrap_or_default()].concat());
    };
    macro_rules! all {
        ($kind:literal, $objects:expr) => {
            for (name, stored) in $objects {
                let (revision, owner) = (stored.revision, stored.owner);
                note(
                    $kind,
                    serde_json::to_vec(&Entry { name: name.to_string(), revision, owner, value: &stored.value }),
                );
            }
        };
    }
    all!("service", view.services());
    all!("route", view.routes());
    all!("client", view.clients());
    all!("host", view.hosts());
    entries.sort_unstable();
    let mut hash = digest::Context::new(&digest::SHA256);
    for entry in entries {
        hash.update(&entry);
        hash.update(b"\n");
    }
    hash.finish().as_ref().iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// Whose declarations they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Whose objects are declared: what it owns and no longer declares is removed.
    pub owner: Owner,
    /// Whether it takes over objects of other owners that it declares otherwise.
    pub adopt: bool,
}

impl Terms {
    /// Those of a file.
    pub fn file(adopt: bool) -> Self {
        Self { owner: Owner::File, adopt }
    }

    /// Those that are taken over from another gateway.
    pub fn import(adopt: bool) -> Self {
        Self { owner: Owner::Import, adopt }
    }
}

/// What declarations would change. Everything that is wrong with them is in the plan's problems.
pub fn planned(view: &View, reading: &Reading, terms: Terms, dry_run: &DryRun) -> Plan {
    let mut plan = decide(view, &reading.declarations, terms);
    let compiled = dry_run.problems(view, &plan.edits);
    let mut problems = reading.problems.clone();
    problems.append(&mut plan.problems);
    let new = unshadowed(compiled, &problems);
    problems.extend(new);
    plan.problems = problems;
    plan
}

/// Makes the declarations what a file says, in one transaction, or changes nothing and tells everything that is
/// wrong. The sessions of clients that it removes or disables end with it.
pub async fn apply(
    changes: &Changes,
    reading: Reading,
    terms: Terms,
    conditions: Conditions,
    dry_run: DryRun,
) -> Result<Plan, ChangeError> {
    if !reading.problems.is_empty() {
        // What cannot be read does not keep other changes waiting.
        return Err(ChangeError::Invalid(planned(&changes.view(), &reading, terms, &dry_run).problems));
    }
    let (_, plan) = changes
        .submit(move |view| {
            if !conditions.is_empty() {
                conditions.check(Some(fingerprint(view)))?;
            }
            let mut plan = decide(view, &reading.declarations, terms);
            if !plan.problems.is_empty() {
                return Err(ChangeError::Invalid(planned(view, &reading, terms, &dry_run).problems));
            }
            let edits = std::mem::take(&mut plan.edits);
            Ok((Transaction { owner: terms.owner, edits }, plan))
        })
        .await?;
    Ok(plan)
}

pub(super) fn decide(view: &View, declared: &Declarations, Terms { owner, adopt }: Terms) -> Plan {
    let builtin: Label = DEFAULT_CLIENT.parse().expect("a word is a label");
    let rules = Rules { owner, adopt, builtin_client: &builtin, access_key: &fresh_access_key };
    let mut plan = plan(view, declared, &rules);
    plan.problems.extend(names::problems(view, declared, owner));
    let mut versions: BTreeMap<&Name, usize> = BTreeMap::new();
    for id in declared.services.keys() {
        // Those that are there and stay are counted once, with the first that is declared.
        let stay = |name| view.versions(name).iter().filter(|held| !declares(declared, name, held)).count();
        let count = versions.entry(&id.name).or_insert_with(|| stay(&id.name));
        *count += 1;
        if *count == MAX_VERSIONS + 1 {
            let message = format!("a service has at most {MAX_VERSIONS} versions");
            plan.problems.push(Problem::new(format!("services.{id}"), message));
        }
    }
    plan
}

fn declares(declared: &Declarations, name: &Name, version: &Name) -> bool {
    declared.services.contains_key(&ServiceId { name: name.clone(), version: version.clone() })
}
