//! Objects by kind and key, as rows.

use portcullis_core::audit::{Object, Sum};
use portcullis_core::model::Owner;
use portcullis_core::ports::{Expect, Kind, RegistryError, Row, SessionId, Write};
use sqlx::sqlite::{SqliteConnection, SqlitePool};

use super::audit::{End, Trail};
use super::column::{storage, to_integer, to_unsigned};
use super::sessions;

type Columns = (String, i64, String, String);

/// Rows that are read at a time when all of them are looked at.
pub(crate) const PIECE: i64 = 256;

/// Looks at every object of the kinds that audit trails tell of.
pub(crate) async fn audited(
    connection: &mut SqliteConnection,
    mut look: impl FnMut(&Object<'_>),
) -> Result<(), RegistryError> {
    for kind in Kind::AUDITED {
        let mut after: Option<String> = None;
        loop {
            let rows: Vec<Columns> = sqlx::query_as(
                "SELECT key, revision, owner, body FROM objects \
                 WHERE kind = ?1 AND (?2 IS NULL OR key > ?2) ORDER BY key LIMIT ?3",
            )
            .bind(kind.as_str())
            .bind(&after)
            .bind(PIECE)
            .fetch_all(&mut *connection)
            .await
            .map_err(storage)?;
            rows.iter().for_each(|columns| look(&object(kind, columns)));
            let Some((last, ..)) = rows.into_iter().next_back() else { break };
            after = Some(last);
        }
    }
    Ok(())
}

/// The object in a row, whoever has written it.
fn object(kind: Kind, (key, revision, owner, body): &Columns) -> Object<'_> {
    Object { kind, key, revision: revision.cast_unsigned(), owner, body }
}

/// The row of an object, as it is.
async fn find(connection: &mut SqliteConnection, kind: Kind, key: &str) -> Result<Option<Columns>, RegistryError> {
    sqlx::query_as("SELECT key, revision, owner, body FROM objects WHERE kind = ? AND key = ?")
        .bind(kind.as_str())
        .bind(key)
        .fetch_optional(connection)
        .await
        .map_err(storage)
}

/// Up to `limit` objects whose key is greater than `after`, by key.
pub(crate) async fn page(readers: &SqlitePool, kind: Kind, after: &str, limit: u32) -> Result<Vec<Row>, RegistryError> {
    let rows: Vec<Columns> = sqlx::query_as(
        "SELECT key, revision, owner, body FROM objects WHERE kind = ? AND key > ? ORDER BY key LIMIT ?",
    )
    .bind(kind.as_str())
    .bind(after)
    .bind(i64::from(limit))
    .fetch_all(readers)
    .await
    .map_err(storage)?;
    rows.into_iter().map(|columns| row(kind, columns)).collect()
}

/// One object.
pub(crate) async fn get(readers: &SqlitePool, kind: Kind, key: &str) -> Result<Option<Row>, RegistryError> {
    let found: Option<Columns> =
        sqlx::query_as("SELECT key, revision, owner, body FROM objects WHERE kind = ? AND key = ?")
            .bind(kind.as_str())
            .bind(key)
            .fetch_optional(readers)
            .await
            .map_err(storage)?;
    found.map(|columns| row(kind, columns)).transpose()
}

/// Does the writes in their order, each seeing those before it. What an error leaves is for the caller to undo.
/// `end` is that of the audit trail within this transaction, if it has grown already; the new one is returned
/// if it has grown, with the sessions that ended or changed.
pub(crate) async fn apply(
    connection: &mut SqliteConnection,
    writes: Vec<Write>,
    trail: &Trail,
    end: Option<End>,
) -> Result<(Option<End>, Vec<SessionId>), RegistryError> {
    let (mut entries, mut touched, mut difference) = (Vec::new(), Vec::new(), Sum::NONE);
    for write in writes {
        match write {
            Write::Put { row, expect } => difference.toggle(put(connection, row, expect, trail).await?),
            Write::Delete { kind, key } => {
                if kind.is_audited()
                    && let Some(former) = find(connection, kind, &key).await?
                {
                    difference.toggle(trail.sum(&object(kind, &former)));
                }
                sqlx::query("DELETE FROM objects WHERE kind = ? AND key = ?")
                    .bind(kind.as_str())
                    .bind(key)
                    .execute(&mut *connection)
                    .await
                    .map_err(storage)?;
            }
            Write::Audit(entry) => entries.push(*entry),
            Write::EndSessions(of) => touched.extend(sessions::end_all(connection, &of).await?),
            Write::UserInfo { user, user_info } => {
                touched.extend(sessions::tell(connection, &user, &user_info).await?);
            }
        }
    }
    Ok((trail.append(connection, entries, difference, end).await?, touched))
}

/// Whether objects are there as they were read.
pub(crate) async fn stand(connection: &mut SqliteConnection, objects: &[Row]) -> Result<(), RegistryError> {
    for wanted in objects {
        let found = find(connection, wanted.kind, &wanted.key).await?;
        if found.map(|columns| row(wanted.kind, columns)).transpose()?.as_ref() != Some(wanted) {
            return Err(RegistryError::Conflict { kind: wanted.kind.as_str(), key: wanted.key.clone() });
        }
    }
    Ok(())
}

/// Makes or replaces an object; returns what that changes in the sum of those that the audit trail tells of.
async fn put(connection: &mut SqliteConnection, row: Row, expect: Expect, trail: &Trail) -> Result<Sum, RegistryError> {
    let mut difference = trail.sum(&Object::from(&row));
    if expect != Expect::Any || row.kind.is_audited() {
        let former = find(connection, row.kind, &row.key).await?;
        let found = former.as_ref().map(|(_, revision, ..)| to_unsigned(*revision)).transpose();
        let met = match expect {
            Expect::Any => true,
            Expect::Absent => found?.is_none(),
            Expect::Revision(revision) => found? == Some(revision),
        };
        if !met {
            return Err(RegistryError::Conflict { kind: row.kind.as_str(), key: row.key });
        }
        former.iter().for_each(|former| difference.toggle(trail.sum(&object(row.kind, former))));
    }
    sqlx::query(
        "INSERT INTO objects (kind, key, revision, owner, body) VALUES (?, ?, ?, ?, ?) \
         ON CONFLICT (kind, key) DO UPDATE \
         SET revision = excluded.revision, owner = excluded.owner, body = excluded.body",
    )
    .bind(row.kind.as_str())
    .bind(row.key)
    .bind(to_integer(row.revision)?)
    .bind(row.owner.as_str())
    .bind(row.body)
    .execute(connection)
    .await
    .map_err(storage)?;
    Ok(difference)
}

fn row(kind: Kind, (key, revision, owner, body): Columns) -> Result<Row, RegistryError> {
    let owner = match owner.as_str() {
        "file" => Owner::File,
        "api" => Owner::Api,
        "registration" => Owner::Registration,
        _ => return Err(RegistryError::Storage(format!("{} '{key}' has an unknown owner", kind.as_str()))),
    };
    Ok(Row { kind, key, revision: to_unsigned(revision)?, owner, body })
}
