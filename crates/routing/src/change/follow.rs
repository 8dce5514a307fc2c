//! What somebody else has changed in the registry, as edits of the declarations.

use std::collections::HashSet;

use portcullis_core::directory::KeyHash;
use portcullis_core::ports::{Changed, Kind, Objects, RegistryError, Row};
use serde::de::DeserializeOwned;

use super::{Edit, View};

/// The kinds of objects that a view holds, in an order in which what stands on others comes after them.
pub(super) const KINDS: [Kind; 8] = [
    Kind::Service,
    Kind::Route,
    Kind::Client,
    Kind::Host,
    Kind::ClientSecret,
    Kind::ApiKey,
    Kind::Registration,
    Kind::Enrolment,
];

/// The declarations after what was changed, and the edits that lead there. What is the same already is none. A row that
/// cannot be read leaves its object as it is known, and is told in the log.
pub(super) fn taken_up(view: &View, changed: Vec<Changed>) -> (View, Vec<Edit>) {
    let (mut next, mut edits) = (view.clone(), Vec::new());
    for changed in changed.into_iter().filter(|changed| KINDS.contains(&changed.kind)) {
        let row = changed.row.as_ref();
        let edit = row.map_or_else(|| addressed(changed.kind, &changed.key), read);
        match edit.and_then(|edit| Ok((next.row(&edit)?, edit))) {
            Ok((known, _)) if known.as_ref() == row => {}
            Ok((_, edit)) => {
                next.take_up(edit.clone(), row.map(|row| (row.owner, row.revision)));
                edits.push(edit);
            }
            Err(error) => tracing::error!(%error, "what somebody else has written cannot be taken up"),
        }
    }
    (next, edits)
}

/// Everything there is, and what was there before and is gone.
pub(super) async fn everything(registry: &dyn Objects, view: &View) -> Result<Vec<Changed>, RegistryError> {
    let mut changed: Vec<Changed> = Vec::new();
    for kind in KINDS {
        let rows = registry.all(kind).await?;
        changed.extend(rows.into_iter().map(|row: Row| Changed { kind, key: row.key.clone(), row: Some(row) }));
    }
    let there: HashSet<_> = changed.iter().map(|found| (found.kind, found.key.clone())).collect();
    let gone = view.addresses().into_iter().filter(|address| !there.contains(address));
    let gone: Vec<_> = gone.map(|(kind, key)| Changed { kind, key, row: None }).collect();
    changed.extend(gone);
    Ok(changed)
}

/// The object in a row.
pub(super) fn read(row: &Row) -> Result<Edit, RegistryError> {
    Ok(match addressed(row.kind, &row.key)? {
        Edit::Service(id, _) => Edit::Service(id, Some(body(row)?)),
        Edit::Route(name, _) => Edit::Route(name, Some(body(row)?)),
        Edit::Client(name, _) => Edit::Client(name, Some(body(row)?)),
        Edit::Host(name, _) => Edit::Host(name, Some(body(row)?)),
        Edit::ClientSecret(client, id, _) => Edit::ClientSecret(client, id, Some(body(row)?)),
        Edit::ApiKey(hash, _) => Edit::ApiKey(hash, Some(body(row)?)),
        Edit::Registration(name, _) => Edit::Registration(name, Some(body(row)?)),
        Edit::Enrolment(name, _) => Edit::Enrolment(name, Some(body(row)?)),
        adopt @ Edit::Adopt(_) => adopt,
    })
}

/// The edit that takes an object out.
fn addressed(kind: Kind, key: &str) -> Result<Edit, RegistryError> {
    let unreadable = |reason: &dyn std::fmt::Display| unreadable(kind, key, reason);
    Ok(match kind {
        Kind::Service => Edit::Service(key.parse().map_err(|error| unreadable(&error))?, None),
        Kind::Route => Edit::Route(key.parse().map_err(|error| unreadable(&error))?, None),
        Kind::Client => Edit::Client(key.parse().map_err(|error| unreadable(&error))?, None),
        Kind::Host => Edit::Host(key.parse().map_err(|error| unreadable(&error))?, None),
        Kind::ClientSecret => {
            let (client, id) = key.split_once('/').ok_or_else(|| unreadable(&"its key"))?;
            Edit::ClientSecret(client.parse().map_err(|error| unreadable(&error))?, id.to_owned(), None)
        }
        Kind::ApiKey => Edit::ApiKey(KeyHash::from_hex(key).ok_or_else(|| unreadable(&"its key"))?, None),
        Kind::Registration => Edit::Registration(key.parse().map_err(|error| unreadable(&error))?, None),
        Kind::Enrolment => Edit::Enrolment(key.parse().map_err(|error| unreadable(&error))?, None),
        _ => return Err(unreadable(&"no declaration is of this kind")),
    })
}

/// The edit that takes the object of an edit out.
pub(super) fn emptied(edit: &Edit) -> Edit {
    match edit.clone() {
        Edit::Service(id, _) => Edit::Service(id, None),
        Edit::Route(name, _) => Edit::Route(name, None),
        Edit::Client(name, _) => Edit::Client(name, None),
        Edit::Host(name, _) => Edit::Host(name, None),
        Edit::ClientSecret(client, id, _) => Edit::ClientSecret(client, id, None),
        Edit::ApiKey(hash, _) => Edit::ApiKey(hash, None),
        Edit::Registration(name, _) => Edit::Registration(name, None),
        Edit::Enrolment(name, _) => Edit::Enrolment(name, None),
        adopt @ Edit::Adopt(_) => adopt,
    }
}

fn body<V: DeserializeOwned>(row: &Row) -> Result<V, RegistryError> {
    serde_json::from_str(&row.body).map_err(|error| unreadable(row.kind, &row.key, &error))
}

fn unreadable(kind: Kind, key: &str, reason: &dyn std::fmt::Display) -> RegistryError {
    RegistryError::Storage(format!("{} '{key}' cannot be read: {reason}", kind.as_str()))
}
