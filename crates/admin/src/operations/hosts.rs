//! Hosts: putting one in its place, and taking it out.

use portcullis_core::model::{Host, HostName, Owner};
use portcullis_routing::change::{ChangeError, Changes, Edit, Transaction, View};

use super::{Put, there};
use crate::conditions::Conditions;

/// Makes or replaces a host. One that is there keeps its owner.
pub async fn put(
    changes: &Changes,
    name: HostName,
    host: Host,
    owner: Owner,
    conditions: Conditions,
) -> Result<Put, ChangeError> {
    let edit = Edit::Host(name.clone(), Some(host));
    super::put(changes, edit, owner, conditions, move |view| view.host(&name), |_| Ok(())).await
}

/// Takes a host out.
pub async fn delete(changes: &Changes, name: HostName, conditions: Conditions) -> Result<(), ChangeError> {
    let decide = move |view: &View| {
        there(view.host(&name), &conditions, || format!("host '{name}'"))?;
        Ok((Transaction::one(Edit::Host(name.clone(), None)), ()))
    };
    changes.submit(decide).await.map(drop)
}
