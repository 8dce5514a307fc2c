//! A row of the registry that changes by comparing and setting alone.

use portcullis_core::model::Owner;
use portcullis_core::ports::{Expect, Kind, RegistryError, Row, Upkeep, Write};
use serde::Serialize;

/// Writes a row over this revision, or where there is none. Its revision; none if something else is there by now.
pub(super) async fn put_over(
    registry: &dyn Upkeep,
    (kind, key): (Kind, &str),
    over: Option<u64>,
    content: &impl Serialize,
) -> Result<Option<u64>, RegistryError> {
    let body = serde_json::to_string(content).map_err(|error| RegistryError::Storage(error.to_string()))?;
    let revision = over.unwrap_or(0) + 1;
    let row = Row { kind, key: key.to_owned(), revision, owner: Owner::Api, body };
    let expect = over.map_or(Expect::Absent, Expect::Revision);
    match registry.keep(vec![Write::Put { row, expect }]).await {
        Ok(()) => Ok(Some(revision)),
        Err(RegistryError::Conflict { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
