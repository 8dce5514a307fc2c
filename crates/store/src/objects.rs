//! Objects by kind and key, as rows.

use portcullis_core::audit::Head;
use portcullis_core::model::Owner;
use portcullis_core::ports::{Expect, Kind, RegistryError, Row, SessionId, Write};
use sqlx::sqlite::{SqliteConnection, SqlitePool};

use crate::audit::Trail;
use crate::registry::{storage, to_integer, to_unsigned};
use crate::sessions;

type Columns = (String, i64, String, String);

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
/// `head` is that of the audit trail within this transaction, if it has grown already; the new one is returned
/// if it has grown, with the sessions that ended or changed.
pub(crate) async fn apply(
    connection: &mut SqliteConnection,
    writes: Vec<Write>,
    trail: &Trail,
    head: Option<Head>,
) -> Result<(Option<Head>, Vec<SessionId>), RegistryError> {
    let (mut entries, mut touched) = (Vec::new(), Vec::new());
    for write in writes {
        match write {
            Write::Put { row, expect } => put(connection, row, expect).await?,
            Write::Delete { kind, key } => {
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
    Ok((trail.append(connection, entries, head).await?, touched))
}

/// Whether objects are there as they were read.
pub(crate) async fn stand(connection: &mut SqliteConnection, objects: &[Row]) -> Result<(), RegistryError> {
    for wanted in objects {
        let found: Option<Columns> =
            sqlx::query_as("SELECT key, revision, owner, body FROM objects WHERE kind = ? AND key = ?")
                .bind(wanted.kind.as_str())
                .bind(&wanted.key)
                .fetch_optional(&mut *connection)
                .await
                .map_err(storage)?;
        if found.map(|columns| row(wanted.kind, columns)).transpose()?.as_ref() != Some(wanted) {
            return Err(RegistryError::Conflict { kind: wanted.kind.as_str(), key: wanted.key.clone() });
        }
    }
    Ok(())
}

async fn put(connection: &mut SqliteConnection, row: Row, expect: Expect) -> Result<(), RegistryError> {
    if expect != Expect::Any {
        let found: Option<i64> = sqlx::query_scalar("SELECT revision FROM objects WHERE kind = ? AND key = ?")
            .bind(row.kind.as_str())
            .bind(&row.key)
            .fetch_optional(&mut *connection)
            .await
            .map_err(storage)?;
        let found = found.map(to_unsigned).transpose()?;
        let met = match expect {
            Expect::Any => true,
            Expect::Absent => found.is_none(),
            Expect::Revision(revision) => found == Some(revision),
        };
        if !met {
            return Err(RegistryError::Conflict { kind: row.kind.as_str(), key: row.key });
        }
    }
    sqlx::query(
        "INSERT INTO objects (kind, key, revision, owner, body) VALUES (?, ?, ?, ?, ?) \
         ON CONFLICT (kind, key) DO UPDATE \
         SET revision = excluded.revision, owner = excluded.owner, body = excluded.body",
    )
    .bind(row.kind.as_str())
    .bind(row.key)
    .bind(to_integer(row.revision)?)
    .bind(owner_word(row.owner))
    .bind(row.body)
    .execute(connection)
    .await
    .map_err(storage)?;
    Ok(())
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

fn owner_word(owner: Owner) -> &'static str {
    match owner {
        Owner::File => "file",
        Owner::Api => "api",
        Owner::Registration => "registration",
    }
}
