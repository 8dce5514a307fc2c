//! Routes: putting one in its place, and taking it out.

use portcullis_core::model::{Name, Owner, Route};
use portcullis_routing::change::{ChangeError, Changes, Edit, Transaction, View};

use super::missing;
use super::services::Put;
use crate::conditions::Conditions;

/// Makes or replaces a route. One that is there keeps its owner.
pub async fn put(
    changes: &Changes,
    name: Name,
    route: Route,
    owner: Owner,
    conditions: Conditions,
) -> Result<Put, ChangeError> {
    let (committed, (owner, created)) = changes
        .submit(move |view| {
            let former = view.route(&name);
            conditions.check(former.map(|former| former.revision))?;
            let found = (former.map_or(owner, |former| former.owner), former.is_none());
            Ok((Transaction { owner, edits: vec![Edit::Route(name.clone(), Some(Box::new(route.clone())))] }, found))
        })
        .await?;
    let revision = committed.revisions.first().copied().unwrap_or_default();
    Ok(Put { revision, owner, created })
}

/// Takes a route out.
pub async fn delete(changes: &Changes, name: Name, conditions: Conditions) -> Result<(), ChangeError> {
    let decide = move |view: &View| {
        let Some(former) = view.route(&name) else { return Err(missing(format!("route '{name}'"), &conditions)) };
        conditions.check(Some(former.revision))?;
        Ok((Transaction { owner: Owner::Api, edits: vec![Edit::Route(name.clone(), None)] }, ()))
    };
    changes.submit(decide).await.map(drop)
}
