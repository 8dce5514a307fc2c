//! Services: putting one in its place, and taking it out with everything that belongs to its name.

use portcullis_core::directory::KeyOwner;
use portcullis_core::model::{Name, Owner, Service, ServiceId};
use portcullis_routing::change::{ChangeError, Changes, Edit, Transaction, View};

use super::missing;
use super::names::check_new;
use super::registrations::versions;
use crate::bounds::MAX_TARGETS;
use crate::conditions::Conditions;

/// Versions of one service name.
pub const MAX_VERSIONS: usize = 1_000;

/// A service that was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Put {
    /// The revision it has now.
    pub revision: u64,
    /// Who it belongs to.
    pub owner: Owner,
    /// Whether it was not there before.
    pub created: bool,
}

/// Makes or replaces a service. One that is there keeps its owner.
pub async fn put(
    changes: &Changes,
    id: ServiceId,
    service: Service,
    owner: Owner,
    conditions: Conditions,
) -> Result<Put, ChangeError> {
    if service.targets.len() > MAX_TARGETS {
        return Err(too_many_targets());
    }
    let (committed, (owner, created)) = changes
        .submit(move |view| {
            let former = view.service(&id);
            conditions.check(former.map(|former| former.revision))?;
            let found = (former.map_or(owner, |former| former.owner), former.is_none());
            if former.is_none() {
                check_new(view, &id)?;
                check_versions(view, &id.name)?;
            }
            Ok((Transaction { owner, edits: vec![Edit::Service(id.clone(), Some(service.clone()))] }, found))
        })
        .await?;
    let revision = committed.revisions.first().copied().unwrap_or_default();
    Ok(Put { revision, owner, created })
}

/// Takes a service out. With the last version that came by registration goes the registration, or whoever has its key would
/// make it anew; with the last of all go the name's own API keys.
pub async fn delete(changes: &Changes, id: ServiceId, conditions: Conditions) -> Result<(), ChangeError> {
    let decide = move |view: &View| {
        let Some(former) = view.service(&id) else { return Err(missing(format!("service '{id}'"), &conditions)) };
        conditions.check(Some(former.revision))?;
        if let [first, ..] = view.routes_to(&id) {
            let routes = view.routes_to(&id).len();
            let others = if routes > 1 { format!(" and {} more", routes - 1) } else { String::new() };
            return Err(ChangeError::Conflict(format!("delete route '{first}'{others} first")));
        }
        let mut edits = Vec::new();
        let mut others = view.versions(&id.name).iter().filter(|version| **version != id.version);
        let is_registered = !versions(view, &id.name).iter().all(|version| **version == id.version);
        if !is_registered && view.registration(&id.name).is_some() {
            edits.push(Edit::Registration(id.name.clone(), None));
        }
        if others.next().is_none() {
            let own = KeyOwner::Service(id.name.clone());
            edits.extend(view.keys_of(&own).map(|(hash, _)| Edit::ApiKey(*hash, None)));
        }
        edits.push(Edit::Service(id.clone(), None));
        Ok((Transaction { owner: Owner::Api, edits }, ()))
    };
    changes.submit(decide).await.map(drop)
}

/// Refuses one more version of a name that has as many as it may have.
pub(super) fn check_versions(view: &View, name: &Name) -> Result<(), ChangeError> {
    if view.versions(name).len() < MAX_VERSIONS {
        return Ok(());
    }
    Err(ChangeError::Conflict(format!("a service has at most {MAX_VERSIONS} versions")))
}

/// The refusal of more targets than a service may have.
pub(crate) fn too_many_targets() -> ChangeError {
    ChangeError::Conflict(format!("a service has at most {MAX_TARGETS} targets"))
}
