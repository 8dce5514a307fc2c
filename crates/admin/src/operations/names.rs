//! Which services may be made: names are taken, and kept for the gateway, without regard to the case of their letters.
//! Services from when that was otherwise are there as before, and get no new versions.

use std::collections::BTreeMap;

use portcullis_core::model::{Declarations, Name, Owner, Problem, ServiceId, is_reserved_service_name};
use portcullis_routing::change::{ChangeError, View};

/// Words that stand behind a name in the admin API, where a version could not be told from them.
const RESERVED_VERSIONS: [&str; 2] = ["api-keys", "registration"];

/// Refuses a service that is not there yet and whose name or version is kept, or taken by one that differs in case alone.
pub(super) fn check_new(view: &View, id: &ServiceId) -> Result<(), ChangeError> {
    check_kept(id).map_err(|problem| ChangeError::Invalid(vec![problem]))?;
    let others = view.spellings(id.name.as_str());
    if let Some(other) = others.iter().find(|other| **other != id.name) {
        return Err(ChangeError::Conflict(like(&id.name, other, "name")));
    }
    match view.versions(&id.name).iter().find(|held| is_twin(held, &id.version)) {
        Some(other) => Err(ChangeError::Conflict(like(&id.version, other, "version"))),
        None => Ok(()),
    }
}

/// Refuses names and versions that the gateway keeps for itself, however they are written.
fn check_kept(id: &ServiceId) -> Result<(), Problem> {
    let message = |name: &Name| format!("'{name}' is reserved for the gateway itself, in upper and in lower case");
    if is_reserved_service_name(id.name.as_str()) {
        return Err(Problem::new("name", message(&id.name)));
    }
    if RESERVED_VERSIONS.iter().any(|kept| kept.eq_ignore_ascii_case(id.version.as_str())) {
        return Err(Problem::new("version", message(&id.version)));
    }
    Ok(())
}

/// Everything that is wrong with the names of the services that declarations of an owner make.
pub(super) fn problems(view: &View, declared: &Declarations, owner: Owner) -> Vec<Problem> {
    let mut after: BTreeMap<String, Vec<ServiceId>> = BTreeMap::new();
    let lower = |name: &Name| name.as_str().to_ascii_lowercase();
    for id in declared.services.keys() {
        after.entry(lower(&id.name)).or_insert_with(|| staying(view, declared, owner, &id.name)).push(id.clone());
    }
    let mut found = Vec::new();
    for id in declared.services.keys().filter(|id| view.service(id).is_none()) {
        let mut wrong = |message: String| found.push(Problem::new(format!("services.{id}"), message));
        if let Err(problem) = check_kept(id) {
            wrong(problem.message);
        }
        let others = after.get(&lower(&id.name)).map_or(&[][..], Vec::as_slice);
        if let Some(other) = others.iter().find(|other| other.name != id.name) {
            wrong(like(&id.name, &other.name, "name"));
        } else if let Some(other) = others.iter().find(|other| is_twin(&other.version, &id.version)) {
            wrong(like(&id.version, &other.version, "version"));
        }
    }
    found
}

/// The services of a name, however it is written, that an owner's declarations neither declare nor remove.
fn staying(view: &View, declared: &Declarations, owner: Owner, name: &Name) -> Vec<ServiceId> {
    let mut stay = Vec::new();
    for name in view.spellings(name.as_str()) {
        for version in view.versions(name) {
            let id = ServiceId { name: name.clone(), version: version.clone() };
            let is_removed = view.service(&id).is_some_and(|stored| stored.owner == owner);
            if !is_removed && !declared.services.contains_key(&id) {
                stay.push(id);
            }
        }
    }
    stay
}

/// Whether two names differ in the case of their letters alone.
fn is_twin(one: &Name, other: &Name) -> bool {
    one != other && one.as_str().eq_ignore_ascii_case(other.as_str())
}

fn like(wanted: &Name, held: &Name, what: &str) -> String {
    format!("the {what} '{wanted}' is taken by '{held}', from which it differs in case alone")
}
