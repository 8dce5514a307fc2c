//! The registry port over one SQLite file.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use portcullis_core::audit::{AuditQuery, ChainedEntry, Link, TrailVerdict};
use portcullis_core::directory::KeyHash;
use portcullis_core::model::Label;
use portcullis_core::ports::{
    Beside, Commit, ForeignPair, Kind, News, Objects, RegistryError, Replace, Replaced, Rotate, Rotation, Row, Session,
    SessionId, Sessions, SessionsOf, Upkeep, Version, Write,
};
use portcullis_core::vital;
use sqlx::sqlite::SqlitePool;
use tokio::sync::{mpsc, oneshot};

use super::audit::{self, Trail};
use super::open::{self, OpenError};
use super::writer::{Answer, Job, QUEUE, Writer};
use super::{objects, sessions};

/// A durable registry in one SQLite file. A change that has been acknowledged survives the loss of power.
///
/// Its writer runs as a task of the runtime that opened it. A change that has been taken into the queue is done
/// even if its caller has stopped waiting for it.
#[derive(Debug)]
pub struct SqliteRegistry {
    readers: SqlitePool,
    queue: mpsc::Sender<Job>,
    transactions: Arc<AtomicU64>,
    trail: Trail,
}

impl SqliteRegistry {
    /// Opens the file, making it with mode 0600 if it is not there, and brings its schema up to date.
    /// The audit trail is chained with `link`, whose key is kept elsewhere, and held against the objects. Must be called
    /// on a tokio runtime with time and IO.
    pub async fn open(path: &Path, link: Link) -> Result<Self, OpenError> {
        let mut opened = open::open(path).await?;
        let (queue, jobs) = mpsc::channel(QUEUE);
        let transactions = Arc::new(AtomicU64::new(0));
        let trail = Trail::open(link, &mut opened.writer).await;
        let trail =
            trail.map_err(|error| OpenError::Storage { path: opened.path.clone(), message: error.to_string() })?;
        let writer = Writer::new((opened.path, opened.file), opened.writer, Arc::clone(&transactions), trail.clone());
        tokio::spawn(vital::task("the writer of the registry", writer.run(jobs)));
        Ok(Self { readers: opened.readers, queue, transactions, trail })
    }

    /// How many transactions have been committed. Changes that wait at the same time share one.
    pub fn transactions(&self) -> u64 {
        self.transactions.load(Ordering::Relaxed)
    }

    /// Does every change that is waiting, moves the write-ahead log into the file and closes it. After that
    /// every method fails; closing twice is fine.
    pub async fn close(&self) -> Result<(), RegistryError> {
        let readers = self.readers.clone();
        match self.ask(|answer| Job::Close { readers, answer }).await {
            Err(RegistryError::Unavailable(message)) if message == CLOSED => Ok(()),
            other => other,
        }
    }

    async fn ask<T>(&self, job: impl FnOnce(Answer<T>) -> Job) -> Result<T, RegistryError> {
        let closed = || RegistryError::Unavailable(CLOSED.to_owned());
        let (answer, answered) = oneshot::channel();
        self.queue.send(job(answer)).await.map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }
}

const CLOSED: &str = "it has been closed";

#[async_trait]
impl Objects for SqliteRegistry {
    async fn all(&self, kind: Kind) -> Result<Vec<Row>, RegistryError> {
        objects::page(&self.readers, kind, "", u32::MAX).await
    }

    async fn page(&self, kind: Kind, after: &str, limit: u32) -> Result<Vec<Row>, RegistryError> {
        objects::page(&self.readers, kind, after, limit).await
    }

    async fn get(&self, kind: Kind, key: &str) -> Result<Option<Row>, RegistryError> {
        objects::get(&self.readers, kind, key).await
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<Commit, RegistryError> {
        Write::none_upkeep(&writes)?;
        self.ask(|answer| Job::Commit { writes, answer }).await
    }

    async fn version(&self) -> Result<Version, RegistryError> {
        objects::version(&self.readers).await
    }

    async fn changes(&self, after: Version) -> Result<News, RegistryError> {
        objects::changes(&self.readers, after).await
    }

    async fn audit(&self, query: AuditQuery) -> Result<Vec<ChainedEntry>, RegistryError> {
        audit::page(&self.readers, query).await
    }

    async fn verify_audit(&self) -> Result<TrailVerdict, RegistryError> {
        self.trail.verify(&self.readers).await
    }
}

#[async_trait]
impl Sessions for SqliteRegistry {
    async fn open_session(
        &self,
        session: Session,
        beside: Beside,
        stands_on: Vec<Row>,
    ) -> Result<Vec<SessionId>, RegistryError> {
        self.ask(|answer| Job::Open { session, beside, stands_on, answer }).await
    }

    async fn session(&self, id: SessionId) -> Result<Option<Session>, RegistryError> {
        sessions::get(&self.readers, id).await
    }

    async fn sessions(&self, user: &Label) -> Result<Vec<Session>, RegistryError> {
        sessions::of_user(&self.readers, user).await
    }

    async fn rotate(&self, rotate: Rotate) -> Result<Rotation, RegistryError> {
        self.ask(|answer| Job::Rotate { rotate, answer }).await
    }

    async fn pair_by_refresh(&self, refresh: &KeyHash) -> Result<Option<Session>, RegistryError> {
        sessions::by_refresh(&self.readers, refresh).await
    }

    async fn replace_session(&self, replace: Replace) -> Result<Replaced, RegistryError> {
        self.ask(|answer| Job::Replace { replace, answer }).await
    }

    async fn import_pairs(&self, pairs: Vec<ForeignPair>, stands_on: Vec<Row>) -> Result<u64, RegistryError> {
        self.ask(|answer| Job::Import { pairs, stands_on, answer }).await
    }

    async fn end_session(&self, id: SessionId) -> Result<bool, RegistryError> {
        self.ask(|answer| Job::End { id, answer }).await
    }

    async fn prune_sessions(&self, now: u64, limit: u32) -> Result<Vec<SessionId>, RegistryError> {
        self.ask(|answer| Job::Prune { now, limit, answer }).await
    }

    async fn end_sessions(&self, of: SessionsOf) -> Result<Vec<SessionId>, RegistryError> {
        let done = self.commit(vec![Write::EndSessions(of)]).await?;
        Ok(done.ended.into_iter().map(|ended| ended.session).collect())
    }
}

#[async_trait]
impl Upkeep for SqliteRegistry {
    async fn all_kept(&self, kind: Kind) -> Result<Vec<Row>, RegistryError> {
        objects::page(&self.readers, kind, "", u32::MAX).await
    }

    async fn kept(&self, kind: Kind, key: &str) -> Result<Option<Row>, RegistryError> {
        objects::get(&self.readers, kind, key).await
    }

    async fn keep(&self, writes: Vec<Write>) -> Result<(), RegistryError> {
        Write::all_upkeep(&writes)?;
        self.ask(|answer| Job::Commit { writes, answer }).await.map(drop)
    }
}
