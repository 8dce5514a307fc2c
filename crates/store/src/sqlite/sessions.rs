//! Sessions as rows, and the rotation of their refresh tokens. Pairs of opaque tokens are in `pairs`.

use portcullis_core::directory::KeyHash;
use portcullis_core::model::Label;
use portcullis_core::ports::{Beside, RegistryError, Rotate, Rotation, Row, Session, SessionId, SessionsOf};
use sqlx::sqlite::{SqliteConnection, SqliteExecutor, SqlitePool};
use subtle::ConstantTimeEq;

use super::column::{storage, to_integer, to_unsigned};
use super::objects;
use super::realms::Realms;

type Columns = (Vec<u8>, String, String, String, i64, i64, Vec<u8>, Option<Vec<u8>>, i64, Option<i64>);

/// The columns of a session, in the order in which they are read.
macro_rules! select {
    ($which:literal) => {
        concat!(
            "SELECT id, user, client, user_info, created_at, expires_at, refresh, predecessor, rotated_at, access_until \
             FROM sessions WHERE ",
            $which
        )
    };
}

/// A session that has not been ended; it may have expired.
pub(crate) async fn get(from: impl SqliteExecutor<'_>, id: SessionId) -> Result<Option<Session>, RegistryError> {
    let found: Option<Columns> =
        sqlx::query_as(select!("id = ?")).bind(&id.0[..]).fetch_optional(from).await.map_err(storage)?;
    found.map(session).transpose()
}

/// The pair of opaque tokens with this refresh token; it may have expired.
pub(crate) async fn by_refresh(
    from: impl SqliteExecutor<'_>,
    refresh: &KeyHash,
) -> Result<Option<Session>, RegistryError> {
    let statement = select!("refresh = ? AND access_until IS NOT NULL LIMIT 1");
    let found: Option<Columns> =
        sqlx::query_as(statement).bind(&refresh.0[..]).fetch_optional(from).await.map_err(storage)?;
    found.map(session).transpose()
}

/// The sessions of a user, the oldest first.
pub(crate) async fn of_user(readers: &SqlitePool, user: &Label) -> Result<Vec<Session>, RegistryError> {
    let found: Vec<Columns> = sqlx::query_as(select!("user = ? ORDER BY created_at, id"))
        .bind(user.as_str())
        .fetch_all(readers)
        .await
        .map_err(storage)?;
    found.into_iter().map(session).collect()
}

/// Opens a session if what it stands on is as it was read, ending those of its user that it does not leave.
pub(crate) async fn open(
    connection: &mut SqliteConnection,
    session: Session,
    beside: Beside,
    stands_on: &[Row],
    realms: &mut Realms,
) -> Result<Vec<SessionId>, RegistryError> {
    objects::stand(connection, stands_on).await?;
    let mut ended = Vec::new();
    if beside.alone {
        let others: Vec<Vec<u8>> =
            sqlx::query_scalar("DELETE FROM sessions WHERE user = ? AND client = ? AND id <> ? RETURNING id")
                .bind(session.user.as_str())
                .bind(session.client.as_str())
                .bind(&session.id.0[..])
                .fetch_all(&mut *connection)
                .await
                .map_err(storage)?;
        ended = others.into_iter().map(session_id).collect::<Result<_, _>>()?;
    }
    let held: i64 = sqlx::query_scalar("SELECT count(*) FROM sessions WHERE user = ?")
        .bind(session.user.as_str())
        .fetch_one(&mut *connection)
        .await
        .map_err(storage)?;
    let over = held - i64::from(beside.limit.max(1) - 1);
    if over > 0 {
        let oldest: Vec<Vec<u8>> =
            sqlx::query_scalar("SELECT id FROM sessions WHERE user = ? ORDER BY created_at, id LIMIT ?")
                .bind(session.user.as_str())
                .bind(over)
                .fetch_all(&mut *connection)
                .await
                .map_err(storage)?;
        for id in oldest {
            let id = session_id(id)?;
            end(connection, id).await?;
            ended.push(id);
        }
    }
    match (beside.of_realm, session.user.realm(), ended.len().checked_sub(1)) {
        (Some(most), Some(realm), None) => realms.admit(connection, realm, most).await?,
        // Whoever gives one up for it takes no room.
        (_, _, more) => realms.left(session.user.as_str(), more.unwrap_or_default()),
    }
    insert(connection, &session).await?;
    Ok(ended)
}

/// Writes a session, in place of one with the same id.
pub(crate) async fn insert(connection: &mut SqliteConnection, session: &Session) -> Result<(), RegistryError> {
    sqlx::query(
        "INSERT OR REPLACE INTO sessions \
         (id, user, client, user_info, created_at, expires_at, refresh, predecessor, rotated_at, access_until) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&session.id.0[..])
    .bind(session.user.as_str())
    .bind(session.client.as_str())
    .bind(session.user_info.as_ref())
    .bind(to_integer(session.created_at)?)
    .bind(to_integer(session.expires_at)?)
    .bind(&session.refresh.0[..])
    .bind(session.predecessor.as_ref().map(|hash| &hash.0[..]))
    .bind(to_integer(session.rotated_at)?)
    .bind(session.access_until.map(to_integer).transpose()?)
    .execute(connection)
    .await
    .map(drop)
    .map_err(storage)
}

/// Exchanges a refresh token for its successor; an old token ends the session.
pub(crate) async fn rotate(connection: &mut SqliteConnection, rotate: Rotate) -> Result<Rotation, RegistryError> {
    let found = get(&mut *connection, rotate.id).await?;
    let Some(mut held) = found.filter(|held| held.expires_at > rotate.now && !held.is_pair()) else {
        return Ok(Rotation::Gone);
    };
    if same(&held.refresh, &rotate.shown) {
        objects::stand(connection, &rotate.stands_on).await?;
        held.user_info = rotate.user_info;
        held.predecessor = Some(rotate.shown);
        held.refresh = rotate.successor;
        held.rotated_at = rotate.now;
        held.expires_at = rotate.expires_at;
        let statement = "UPDATE sessions SET user_info = ?, predecessor = ?, refresh = ?, rotated_at = ?, expires_at = ? \
                         WHERE id = ?";
        sqlx::query(statement)
            .bind(held.user_info.as_ref())
            .bind(&rotate.shown.0[..])
            .bind(&rotate.successor.0[..])
            .bind(to_integer(rotate.now)?)
            .bind(to_integer(rotate.expires_at)?)
            .bind(&rotate.id.0[..])
            .execute(connection)
            .await
            .map_err(storage)?;
        return Ok(Rotation::Rotated(held));
    }
    let is_predecessor = held.predecessor.as_ref().is_some_and(|hash| same(hash, &rotate.shown));
    let in_grace = rotate.now < held.rotated_at.saturating_add(rotate.grace);
    if is_predecessor && same(&held.refresh, &rotate.successor) && in_grace {
        objects::stand(connection, &rotate.stands_on).await?;
        return Ok(Rotation::Repeated(held));
    }
    end(connection, rotate.id).await?;
    Ok(Rotation::Reused)
}

/// Ends a session; returns whose it was, if there was one.
pub(crate) async fn end(connection: &mut SqliteConnection, id: SessionId) -> Result<Option<String>, RegistryError> {
    let ended = sqlx::query_scalar("DELETE FROM sessions WHERE id = ? RETURNING user").bind(&id.0[..]);
    ended.fetch_optional(connection).await.map_err(storage)
}

/// Ends sessions; returns their ids.
pub(crate) async fn end_all(
    connection: &mut SqliteConnection,
    of: &SessionsOf,
) -> Result<Vec<SessionId>, RegistryError> {
    let ids: Result<Vec<Vec<u8>>, _> = match of {
        SessionsOf::User(user) => {
            let ended = sqlx::query_scalar("DELETE FROM sessions WHERE user = ? RETURNING id").bind(user.as_str());
            ended.fetch_all(connection).await
        }
        SessionsOf::Client(client) => {
            let ended = sqlx::query_scalar("DELETE FROM sessions WHERE client = ? RETURNING id").bind(client.as_str());
            ended.fetch_all(connection).await
        }
        SessionsOf::One(user, id) => {
            let ended = sqlx::query_scalar("DELETE FROM sessions WHERE user = ? AND id = ? RETURNING id");
            ended.bind(user.as_str()).bind(&id.0[..]).fetch_all(connection).await
        }
    };
    ids.map_err(storage)?.into_iter().map(session_id).collect()
}

/// Changes what backends are told of a user, in every session; returns their ids.
pub(crate) async fn tell(
    connection: &mut SqliteConnection,
    user: &Label,
    user_info: &str,
) -> Result<Vec<SessionId>, RegistryError> {
    let ids: Vec<Vec<u8>> = sqlx::query_scalar("UPDATE sessions SET user_info = ? WHERE user = ? RETURNING id")
        .bind(user_info)
        .bind(user.as_str())
        .fetch_all(connection)
        .await
        .map_err(storage)?;
    ids.into_iter().map(session_id).collect()
}

/// Takes out sessions that have expired by `now`, up to `limit` of them; returns their ids. As many ids of imported pairs
/// are forgotten.
pub(crate) async fn prune(
    connection: &mut SqliteConnection,
    now: u64,
    limit: u32,
) -> Result<Vec<SessionId>, RegistryError> {
    // No stored time is greater than the greatest integer, so a later `now` means the same as that.
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let statement = "DELETE FROM imported_pairs WHERE id IN \
                     (SELECT id FROM imported_pairs WHERE until <= ? ORDER BY until LIMIT ?)";
    sqlx::query(statement).bind(now).bind(i64::from(limit)).execute(&mut *connection).await.map_err(storage)?;
    let statement = "DELETE FROM sessions WHERE id IN \
                     (SELECT id FROM sessions WHERE expires_at <= ? ORDER BY expires_at LIMIT ?) RETURNING id";
    let gone: Vec<Vec<u8>> =
        sqlx::query_scalar(statement).bind(now).bind(i64::from(limit)).fetch_all(connection).await.map_err(storage)?;
    gone.into_iter().map(session_id).collect()
}

pub(crate) fn same(one: &KeyHash, other: &KeyHash) -> bool {
    one.0.ct_eq(&other.0).into()
}

fn session(columns: Columns) -> Result<Session, RegistryError> {
    let (id, user, client, user_info, created_at, expires_at, refresh, predecessor, rotated_at, access_until) = columns;
    Ok(Session {
        id: session_id(id)?,
        user: Label::kept(&user).map_err(|_| damaged())?,
        client: client.parse().map_err(|_| damaged())?,
        user_info: user_info.into(),
        created_at: to_unsigned(created_at)?,
        expires_at: to_unsigned(expires_at)?,
        refresh: key_hash(refresh)?,
        predecessor: predecessor.map(key_hash).transpose()?,
        rotated_at: to_unsigned(rotated_at)?,
        access_until: access_until.map(to_unsigned).transpose()?,
    })
}

fn session_id(bytes: Vec<u8>) -> Result<SessionId, RegistryError> {
    bytes.try_into().map(SessionId).map_err(|_| damaged())
}

fn key_hash(bytes: Vec<u8>) -> Result<KeyHash, RegistryError> {
    bytes.try_into().map(KeyHash).map_err(|_| damaged())
}

fn damaged() -> RegistryError {
    RegistryError::Storage("a stored session is damaged".to_owned())
}
