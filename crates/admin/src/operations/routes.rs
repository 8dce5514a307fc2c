//! Routes: putting one in its place, and taking it out.

use portcullis_core::model::{Name, Owner, Route};
use portcullis_routing::change::{ChangeError, Changes, Edit, Transaction, View};

use super::{Put, there};
use crate::conditions::Conditions;

/// Makes or replaces a route. One that is there keeps its owner.
pub async fn put(
    changes: &Changes,
    name: Name,
    route: Route,
    owner: Owner,
    conditions: Conditions,
) -> Result<Put, ChangeError> {
    let edit = Edit::Route(name.clone(), Some(Box::new(route)));
    super::put(changes, edit, owner, conditions, move |view| view.route(&name), |_| Ok(())).await
}

/// Refuses to take out what these routes lead to, or are for.
pub(super) fn none_left(routes: &[Name]) -> Result<(), ChangeError> {
    let Some(first) = routes.first() else { return Ok(()) };
    let others = if routes.len() > 1 { format!(" and {} more", routes.len() - 1) } else { String::new() };
    Err(ChangeError::Conflict(format!("delete route '{first}'{others} first")))
}

/// Takes a route out.
pub async fn delete(changes: &Changes, name: Name, conditions: Conditions) -> Result<(), ChangeError> {
    let decide = move |view: &View| {
        there(view.route(&name), &conditions, || format!("route '{name}'"))?;
        Ok((Transaction::one(Edit::Route(name.clone(), None)), ()))
    };
    changes.submit(decide).await.map(drop)
}
