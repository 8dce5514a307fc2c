//! Objects by kind and key, as rows.

use portcullis_core::audit::{Object, Sum};
use portcullis_core::model::Owner;
use portcullis_core::ports::{
    Changed, Commit, Ended, Expect, Kind, News, RegistryError, Row, SessionId, Version, Write,
};
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

const NEWEST: &str = "SELECT coalesce(max(version), 0) FROM object_changes";

/// Where the objects stand.
pub(crate) async fn version(readers: &SqlitePool) -> Result<Version, RegistryError> {
    let newest: i64 = sqlx::query_scalar(NEWEST).fetch_one(readers).await.map_err(storage)?;
    to_unsigned(newest).map(Version)
}

async fn version_within(connection: &mut SqliteConnection) -> Result<Version, RegistryError> {
    let newest: i64 = sqlx::query_scalar(NEWEST).fetch_one(connection).await.map_err(storage)?;
    to_unsigned(newest).map(Version)
}

/// What was changed after a version, as one moment shows it.
pub(crate) async fn changes(readers: &SqlitePool, after: Version) -> Result<News, RegistryError> {
    if version(readers).await? == after {
        return Ok(News::Changed(after, Vec::new()));
    }
    let mut transaction = readers.begin().await.map_err(storage)?;
    let newest = version_within(&mut transaction).await?;
    let oldest: Option<i64> = sqlx::query_scalar("SELECT min(version) FROM object_changes")
        .fetch_one(&mut *transaction)
        .await
        .map_err(storage)?;
    let oldest = oldest.map_or(Ok(1), to_unsigned)?;
    if after > newest || after.0 + 1 < oldest {
        return Ok(News::Unknown);
    }
    type Found = (i64, String, String, Option<i64>, Option<String>, Option<String>);
    let found: Vec<Found> = sqlx::query_as(
        "SELECT max(told.version) AS version, told.kind, told.key, objects.revision, objects.owner, objects.body \
         FROM object_changes AS told LEFT JOIN objects ON objects.kind = told.kind AND objects.key = told.key \
         WHERE told.version > ? GROUP BY told.kind, told.key ORDER BY version",
    )
    .bind(to_integer(after.0)?)
    .fetch_all(&mut *transaction)
    .await
    .map_err(storage)?;
    let mut changed = Vec::with_capacity(found.len());
    for (_, word, key, revision, owner, body) in found {
        // What another release keeps is none of this one's.
        let Some(kind) = Kind::audited(&word) else { continue };
        let columns = revision.zip(owner).zip(body);
        let row =
            columns.map(|((revision, owner), body)| row(kind, (key.clone(), revision, owner, body))).transpose()?;
        changed.push(Changed { kind, key, row });
    }
    Ok(News::Changed(newest, changed))
}

/// Does the writes in their order, each seeing those before it. What an error leaves is for the caller to undo.
/// `end` is that of the audit trail within this transaction, if it has grown already; the new one is returned
/// if it has grown, with what was done.
pub(crate) async fn apply(
    connection: &mut SqliteConnection,
    writes: Vec<Write>,
    trail: &Trail,
    end: Option<End>,
) -> Result<(Option<End>, Commit), RegistryError> {
    let (mut entries, mut ended, mut difference) = (Vec::new(), Vec::new(), Sum::NONE);
    let since = version_within(connection).await?;
    for (place, write) in writes.into_iter().enumerate() {
        let of = |session: SessionId| Ended { session, write: place };
        match write {
            Write::Put { row, expect } => difference.toggle(put(connection, row, expect, trail).await?),
            Write::Delete { kind, key, expect } => {
                difference.toggle(delete(connection, kind, &key, expect, trail).await?);
            }
            Write::Audit(entry) => entries.push(*entry),
            Write::EndSessions(whose) => {
                ended.extend(sessions::end_all(connection, &whose).await?.into_iter().map(of));
            }
            Write::UserInfo { user, user_info } => {
                ended.extend(sessions::tell(connection, &user, &user_info).await?.into_iter().map(of));
            }
        }
    }
    let end = trail.append(connection, entries, difference, end).await?;
    Ok((end, Commit { since, version: version_within(connection).await?, ended }))
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

/// Whether what is there is what a write expects.
fn met(expect: Expect, kind: Kind, key: &str, former: Option<&Columns>) -> Result<(), RegistryError> {
    let found = former.map(|(_, revision, ..)| to_unsigned(*revision)).transpose();
    let met = match expect {
        Expect::Any => true,
        Expect::Absent => found?.is_none(),
        Expect::Revision(revision) => found? == Some(revision),
    };
    if met { Ok(()) } else { Err(RegistryError::Conflict { kind: kind.as_str(), key: key.to_owned() }) }
}

/// Takes an object out; returns what that changes in the sum of those that the audit trail tells of.
async fn delete(
    connection: &mut SqliteConnection,
    kind: Kind,
    key: &str,
    expect: Expect,
    trail: &Trail,
) -> Result<Sum, RegistryError> {
    let mut difference = Sum::NONE;
    if expect != Expect::Any || kind.is_audited() {
        let former = find(connection, kind, key).await?;
        met(expect, kind, key, former.as_ref())?;
        former.iter().for_each(|former| difference.toggle(trail.sum(&object(kind, former))));
    }
    sqlx::query("DELETE FROM objects WHERE kind = ? AND key = ?")
        .bind(kind.as_str())
        .bind(key)
        .execute(connection)
        .await
        .map_err(storage)?;
    Ok(difference)
}

/// Makes or replaces an object; returns what that changes in the sum of those that the audit trail tells of.
async fn put(connection: &mut SqliteConnection, row: Row, expect: Expect, trail: &Trail) -> Result<Sum, RegistryError> {
    let mut difference = trail.sum(&Object::from(&row));
    if expect != Expect::Any || row.kind.is_audited() {
        let former = find(connection, row.kind, &row.key).await?;
        met(expect, row.kind, &row.key, former.as_ref())?;
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
        "import" => Owner::Import,
        _ => return Err(RegistryError::Storage(format!("{} '{key}' has an unknown owner", kind.as_str()))),
    };
    Ok(Row { kind, key, revision: to_unsigned(revision)?, owner, body })
}
