//! Services: putting one in its place, and taking it out with everything that belongs to its name.

use portcullis_core::directory::KeyOwner;
use portcullis_core::model::{Name, Owner, Service, ServiceId};
use portcullis_routing::change::{ChangeError, Changes, Edit, Transaction, View};

use super::names::check_new;
use super::registrations::versions;
use super::{Put, routes, there};
use crate::bounds::MAX_TARGETS;
use crate::conditions::Conditions;

/// Versions of one service name.
pub const MAX_VERSIONS: usize = 1_000;

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
    let edit = Edit::Service(id.clone(), Some(service));
    let made = id.clone();
    let may_be_made = move |view: &View| {
        check_new(view, &made)?;
        check_versions(view, &made.name)
    };
    super::put(changes, edit, owner, conditions, move |view| view.service(&id), may_be_made).await
}

/// Takes a service out. With the last version that came by registration goes the registration, or whoever has its key would
/// make it anew; with the last of all go the name's own API keys.
pub async fn delete(changes: &Changes, id: ServiceId, conditions: Conditions) -> Result<(), ChangeError> {
    let decide = move |view: &View| {
        there(view.service(&id), &conditions, || format!("service '{id}'"))?;
        routes::none_left(view.routes_to(&id))?;
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
