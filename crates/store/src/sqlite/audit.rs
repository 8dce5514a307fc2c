//! The audit trail as rows, and its head.
//!
//! Entries are chained inside the writer's transaction, so that group commit keeps one chain. A head that was
//! tampered with is not sealed again by the next entry: the trail goes on, and stays broken where it was broken. The same
//! holds of a head that was not sealed over the objects that were there when the file was opened. A head that a release
//! sealed without objects is held against them by their names and revisions, before it is sealed anew.

use std::sync::{Arc, Mutex, PoisonError};

use portcullis_core::audit::{
    Action, Actor, AuditEntry, AuditFrom, AuditQuery, ChainHash, ChainedEntry, Fault, Head, Link, Object, Sum,
    TrailVerdict, Walk,
};
use portcullis_core::ports::RegistryError;
use sqlx::sqlite::{SqliteConnection, SqlitePool};

use super::column::{storage, to_integer, to_unsigned};
use super::objects::{self, PIECE};

/// The seal of a head that follows on one that was tampered with; no key makes it.
const UNSEALED: ChainHash = [0; 32];

/// What chains entries: the key's function, and where the trail ended when this process left it last.
#[derive(Debug, Clone)]
pub(crate) struct Trail {
    link: Link,
    known: Arc<Mutex<End>>,
}

/// Where a trail ends, and the sum of the objects as it leaves them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct End {
    head: Head,
    objects: Sum,
    /// Whether the trail answered for the objects when the file was opened.
    sound: bool,
}

impl Trail {
    /// The trail of a file that has just been opened. Reads every object that trails tell of.
    pub(crate) async fn open(link: Link, connection: &mut SqliteConnection) -> Result<Self, RegistryError> {
        let kept = kept_head(connection).await?;
        let head = kept.map_or(Head::EMPTY, |(head, _)| head);
        let mut objects = Sum::NONE;
        objects::audited(connection, |object| objects.toggle(link.sum(object))).await?;
        let sound = match kept {
            Some((head, seal)) if link.is_sealed_alone(&head, &seal) => {
                look(connection, &link, head).await?.first_broken.is_none()
            }
            Some((head, seal)) => seal == link.seal(&head, &objects),
            // No trail begins where there is already what it would have told of.
            None => objects == Sum::NONE,
        };
        let trail = Self { link, known: Arc::new(Mutex::new(End { head, objects, sound })) };
        // What does not hold is in the log from the start on.
        trail.end(connection, trail.known()).await?;
        Ok(trail)
    }

    /// What one object adds to the sum of all; nothing, if trails do not tell of its kind.
    pub(crate) fn sum(&self, object: &Object<'_>) -> Sum {
        if object.kind.is_audited() { self.link.sum(object) } else { Sum::NONE }
    }

    /// Remembers an end that has been committed.
    pub(crate) fn committed(&self, end: End) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = end;
    }

    fn known(&self) -> End {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds entries to the end, which tell of this difference between the objects before and after; returns the new end,
    /// or `None` if there was nothing to add.
    pub(crate) async fn append(
        &self,
        connection: &mut SqliteConnection,
        entries: Vec<AuditEntry>,
        difference: Sum,
        uncommitted: Option<End>,
    ) -> Result<Option<End>, RegistryError> {
        if entries.is_empty() {
            return Ok(None);
        }
        let known = uncommitted.unwrap_or_else(|| self.known());
        let (mut head, sealed) = self.end(connection, known).await?;
        let End { mut objects, sound, .. } = known;
        objects.toggle(difference);
        for entry in entries {
            let chained = self.link.chain(&head, entry);
            head = chained.head();
            insert(connection, chained).await?;
        }
        let seal = if sealed { self.link.seal(&head, &objects) } else { UNSEALED };
        sqlx::query(
            "INSERT INTO audit_head (id, seq, hash, seal) VALUES (1, ?, ?, ?) \
             ON CONFLICT (id) DO UPDATE SET seq = excluded.seq, hash = excluded.hash, seal = excluded.seal",
        )
        .bind(to_integer(head.seq)?)
        .bind(&head.hash[..])
        .bind(&seal[..])
        .execute(connection)
        .await
        .map_err(storage)?;
        Ok(Some(End { head, objects, sound }))
    }

    /// Where the trail ends, and whether that is what was left there.
    async fn end(&self, connection: &mut SqliteConnection, known: End) -> Result<(Head, bool), RegistryError> {
        let kept = kept_head(connection).await?;
        let last: Option<i64> =
            sqlx::query_scalar("SELECT max(seq) FROM audit").fetch_one(connection).await.map_err(storage)?;
        let last = to_unsigned(last.unwrap_or(0))?;
        let head = kept.map_or(Head::EMPTY, |(head, _)| head);
        let as_left = known.head == head && last == head.seq;
        let is_sealed = |(head, seal): (Head, ChainHash)| {
            seal == self.link.seal(&head, &known.objects) || self.link.is_sealed_alone(&head, &seal)
        };
        let sealed = known.sound && as_left && kept.is_none_or(is_sealed);
        if !sealed {
            tracing::error!(
                seq = head.seq,
                "the audit trail or what it tells of has been tampered with; 'portcullis audit verify' tells where"
            );
        }
        // Whatever stands beyond the head keeps its place.
        Ok((Head { seq: head.seq.max(last), hash: head.hash }, sealed))
    }

    /// Looks at every entry and at every object they tell of, in one transaction.
    pub(crate) async fn verify(&self, readers: &SqlitePool) -> Result<TrailVerdict, RegistryError> {
        let known = self.known().head;
        let mut transaction = readers.begin().await.map_err(storage)?;
        look(&mut transaction, &self.link, known).await
    }
}

/// Looks at every entry and at every object they tell of, as the connection sees them. `known` is a head that must be
/// there.
async fn look(connection: &mut SqliteConnection, link: &Link, known: Head) -> Result<TrailVerdict, RegistryError> {
    let kept = kept_head(connection).await?;
    let mut walk = Walk::new(link.clone());
    let mut known_is_there = known == Head::EMPTY;
    let mut after = i64::MIN;
    loop {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT seq, time, actor, address, action, kind, key, revision, before, after, previous, hash \
             FROM audit WHERE seq > ? ORDER BY seq LIMIT ?",
        )
        .bind(after)
        .bind(PIECE)
        .fetch_all(&mut *connection)
        .await
        .map_err(storage)?;
        let Some(last) = rows.last() else { break };
        after = last.seq;
        for row in rows {
            let found = row.chained();
            known_is_there |= found.as_ref().is_some_and(|found| found.head() == known);
            walk.step(found);
        }
    }
    objects::audited(connection, |object| walk.object(object)).await?;
    let mut verdict = walk.finish(kept);
    if !known_is_there {
        verdict.or_else_broken(Fault::Earlier);
    }
    Ok(verdict)
}

/// The entries a query wants.
pub(crate) async fn page(readers: &SqlitePool, query: AuditQuery) -> Result<Vec<ChainedEntry>, RegistryError> {
    let (statement, place) = match query.from {
        AuditFrom::After(seq) => (
            "SELECT seq, time, actor, address, action, kind, key, revision, before, after, previous, hash FROM audit \
             WHERE seq > ?1 AND (?2 IS NULL OR kind = ?2) \
             AND (?3 IS NULL OR key = ?3 OR substr(key, 1, length(?3) + 1) = ?3 || '/') ORDER BY seq LIMIT ?4",
            seq,
        ),
        AuditFrom::Before(seq) => (
            "SELECT seq, time, actor, address, action, kind, key, revision, before, after, previous, hash FROM audit \
             WHERE seq < ?1 AND (?2 IS NULL OR kind = ?2) \
             AND (?3 IS NULL OR key = ?3 OR substr(key, 1, length(?3) + 1) = ?3 || '/') ORDER BY seq DESC LIMIT ?4",
            seq,
        ),
    };
    let rows: Vec<Row> = sqlx::query_as(statement)
        // No number is greater than the greatest integer, so a greater place means the same as that.
        .bind(i64::try_from(place).unwrap_or(i64::MAX))
        .bind(query.kind)
        .bind(query.key)
        .bind(i64::from(query.limit))
        .fetch_all(readers)
        .await
        .map_err(storage)?;
    let damaged = || RegistryError::Storage("a stored audit entry is damaged; verify the audit trail".to_owned());
    rows.into_iter().map(|row| row.chained().ok_or_else(damaged)).collect()
}

/// A row as the database gives it.
#[derive(sqlx::FromRow)]
struct Row {
    seq: i64,
    time: i64,
    actor: String,
    address: Option<String>,
    action: String,
    kind: String,
    key: String,
    revision: i64,
    before: Option<String>,
    after: Option<String>,
    previous: Vec<u8>,
    hash: Vec<u8>,
}

impl Row {
    /// The entry; `None` if this program cannot have written it.
    fn chained(self) -> Option<ChainedEntry> {
        let number = |number: i64| u64::try_from(number).ok();
        let address = self.address.map(|text| {
            let address = text.parse::<std::net::IpAddr>().ok()?;
            // An address written in another way is another text, though the same address.
            (address.to_string() == text).then_some(address)
        });
        let entry = AuditEntry {
            time: number(self.time)?,
            actor: Actor { name: self.actor.into(), address: address.map_or(Some(None), |address| address.map(Some))? },
            action: Action::from_word(&self.action)?,
            kind: self.kind,
            key: self.key,
            revision: number(self.revision)?,
            before: self.before,
            after: self.after,
        };
        let (previous, hash) = (self.previous.try_into().ok()?, self.hash.try_into().ok()?);
        Some(ChainedEntry { seq: number(self.seq)?, previous, hash, entry })
    }
}

async fn insert(connection: &mut SqliteConnection, chained: ChainedEntry) -> Result<(), RegistryError> {
    let ChainedEntry { seq, previous, hash, entry } = chained;
    sqlx::query(
        "INSERT INTO audit (seq, time, actor, address, action, kind, key, revision, before, after, previous, hash) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(to_integer(seq)?)
    .bind(to_integer(entry.time)?)
    .bind(entry.actor.name.as_ref())
    .bind(entry.actor.address.map(|address| address.to_string()))
    .bind(entry.action.as_str())
    .bind(entry.kind)
    .bind(entry.key)
    .bind(to_integer(entry.revision)?)
    .bind(entry.before)
    .bind(entry.after)
    .bind(&previous[..])
    .bind(&hash[..])
    .execute(connection)
    .await
    .map_err(storage)?;
    Ok(())
}

/// The head with its seal, as it was kept. One that is not well formed is one without a seal.
async fn kept_head(connection: &mut SqliteConnection) -> Result<Option<(Head, ChainHash)>, RegistryError> {
    let found: Option<(i64, Vec<u8>, Vec<u8>)> =
        sqlx::query_as("SELECT seq, hash, seal FROM audit_head").fetch_optional(connection).await.map_err(storage)?;
    Ok(found.map(|(seq, hash, seal)| match (u64::try_from(seq), hash.try_into(), seal.try_into()) {
        (Ok(seq), Ok(hash), Ok(seal)) => (Head { seq, hash }, seal),
        _ => (Head::EMPTY, UNSEALED),
    }))
}
