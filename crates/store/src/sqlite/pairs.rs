//! Pairs of opaque tokens: how one takes the place of another, and those that another gateway has issued.

use portcullis_core::ports::{ForeignPair, RegistryError, Replace, Replaced, Row, Session, SessionId};
use sqlx::sqlite::SqliteConnection;

use super::column::{storage, to_integer};
use super::{objects, sessions};

/// Puts a pair in the place of the one whose refresh token was shown.
pub(crate) async fn replace(connection: &mut SqliteConnection, replace: Replace) -> Result<Replaced, RegistryError> {
    let is_good = |held: &Session| {
        held.is_pair() && sessions::same(&held.refresh, &replace.shown) && held.expires_at > replace.now
    };
    if !sessions::get(&mut *connection, replace.id).await?.as_ref().is_some_and(is_good) {
        return Ok(Replaced::Gone);
    }
    objects::stand(connection, &replace.stands_on).await?;
    sessions::end(connection, replace.id).await?;
    sessions::insert(connection, &replace.successor).await?;
    Ok(Replaced::Done)
}

/// Takes on the pairs that were never taken on and that nobody knows; returns how many.
pub(crate) async fn import(
    connection: &mut SqliteConnection,
    pairs: &[ForeignPair],
    stands_on: &[Row],
) -> Result<u64, RegistryError> {
    objects::stand(connection, stands_on).await?;
    let mut taken = 0;
    for ForeignPair { session, remembered_until } in pairs {
        let is_known = sessions::get(&mut *connection, session.id).await?.is_some()
            || sessions::by_refresh(&mut *connection, &session.refresh).await?.is_some();
        if !is_known && remember(connection, session.id, *remembered_until).await? {
            sessions::insert(connection, session).await?;
            taken += 1;
        }
    }
    Ok(taken)
}

/// Remembers an id; `false` if it was remembered already.
async fn remember(connection: &mut SqliteConnection, id: SessionId, until: u64) -> Result<bool, RegistryError> {
    let done = sqlx::query("INSERT OR IGNORE INTO imported_pairs (id, until) VALUES (?, ?)")
        .bind(&id.0[..])
        .bind(to_integer(until)?)
        .execute(connection)
        .await
        .map_err(storage)?;
    Ok(done.rows_affected() > 0)
}
