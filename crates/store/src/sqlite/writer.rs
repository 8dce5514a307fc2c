//! The writer: the one task that changes the file. All that is waiting goes into one transaction.
//!
//! ```text
//! BEGIN IMMEDIATE
//!   SAVEPOINT change   …first change…    RELEASE
//!   SAVEPOINT change   …conflict…        ROLLBACK TO, RELEASE
//!   SAVEPOINT change   …third change…    RELEASE
//! COMMIT               (the one fsync; only now is anybody answered)
//! ```

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use portcullis_core::ports::{
    Beside, Commit, ForeignPair, RegistryError, Replace, Replaced, Rotate, Rotation, Row, Session, SessionId, Write,
};
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnection, SqlitePool};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::audit::{End, Trail};
use super::away::Inode;
use super::column::storage;
use super::open::{BUSY_TIMEOUT, connect_writer};
use super::realms::Realms;
use super::{away, objects, pairs, realms, room, sessions};

/// Changes that wait, at most; a caller beyond them waits for its place.
pub(crate) const QUEUE: usize = 1_024;
/// Changes in one transaction, at most.
const BATCH: usize = 256;

/// Where the outcome of a change goes. It does not matter if nobody waits for it any more.
pub(crate) type Answer<T> = oneshot::Sender<Result<T, RegistryError>>;

/// One change, to be done wholly or not at all.
pub(crate) enum Job {
    Commit { writes: Vec<Write>, answer: Answer<Commit> },
    Open { session: Session, beside: Beside, stands_on: Vec<Row>, answer: Answer<Vec<SessionId>> },
    Replace { replace: Replace, answer: Answer<Replaced> },
    Import { pairs: Vec<ForeignPair>, stands_on: Vec<Row>, answer: Answer<u64> },
    Rotate { rotate: Rotate, answer: Answer<Rotation> },
    End { id: SessionId, answer: Answer<bool> },
    Prune { now: u64, limit: u32, answer: Answer<Vec<SessionId>> },
    Close { readers: SqlitePool, answer: Answer<()> },
}

/// Answers a caller: with the outcome of its change, or with why the whole transaction failed.
type Reply = Box<dyn FnOnce(Option<&RegistryError>) + Send>;

/// Why a whole transaction is lost.
enum Lost {
    /// The database has said so.
    Database(sqlx::Error),
    /// A change that has failed took it along.
    Change(RegistryError),
    /// The file is not where it was.
    Gone(String),
}

impl From<sqlx::Error> for Lost {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

/// Owner of the writing connection.
pub(crate) struct Writer {
    path: PathBuf,
    file: Inode,
    connection: SqliteConnection,
    transactions: Arc<AtomicU64>,
    trail: Trail,
    realms: Realms,
}

impl Writer {
    pub(crate) fn new(
        (path, file): (PathBuf, Inode),
        connection: SqliteConnection,
        transactions: Arc<AtomicU64>,
        trail: Trail,
    ) -> Self {
        Self { path, file, connection, transactions, trail, realms: Realms::default() }
    }

    /// Works until it is told to close or until the registry is gone; what is in the queue by then is done.
    pub(crate) async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut batch = Vec::with_capacity(BATCH);
        while jobs.recv_many(&mut batch, BATCH).await > 0 {
            let closing = batch.iter().position(|job| matches!(job, Job::Close { .. }));
            let after = closing.map(|at| batch.split_off(at)).unwrap_or_default();
            self.write(std::mem::take(&mut batch)).await;
            // What came after the wish to close is dropped with its answer: its callers read "closed".
            if let Some(Job::Close { readers, answer }) = after.into_iter().next() {
                jobs.close();
                let _ = answer.send(self.close(&readers).await);
                return;
            }
        }
    }

    async fn write(&mut self, batch: Vec<Job>) {
        if batch.is_empty() {
            return;
        }
        let mut replies = Vec::with_capacity(batch.len());
        let done = self.transact(batch, &mut replies).await;
        let failure = match done {
            Ok(()) => None,
            Err(Lost::Change(error)) => Some(error),
            Err(Lost::Database(error)) if room::is_lacking(&error, &self.path) => {
                Some(RegistryError::Full(error.to_string()))
            }
            Err(Lost::Database(error)) => Some(storage(error)),
            Err(Lost::Gone(reason)) => Some(RegistryError::Unavailable(reason)),
        };
        if let Some(error) = &failure {
            tracing::warn!(%error, "the registry could not commit a transaction");
            self.realms.forget();
            self.recover().await;
        }
        for reply in replies {
            reply(failure.as_ref());
        }
    }

    /// One transaction of all changes. On return `replies` has one reply for each of them.
    async fn transact(&mut self, batch: Vec<Job>, replies: &mut Vec<Reply>) -> Result<(), Lost> {
        let mut end = None;
        let mut done = self.begin().await.map_err(Lost::from);
        for job in batch {
            if done.is_ok() {
                done = execute(&mut self.connection, "SAVEPOINT change").await.map_err(Lost::from);
            }
            // A transaction that is lost takes nothing more; every change in it fails with it.
            let connection = done.is_ok().then_some(&mut self.connection);
            match &job {
                Job::Prune { .. } => self.realms.may_have_shrunk(),
                Job::Commit { writes, .. } if writes.iter().any(realms::ends_some) => self.realms.may_have_shrunk(),
                Job::Import { .. } => self.realms.forget(),
                // A pair that takes the place of another is of the same user.
                _ => {}
            }
            let (reply, settled) = perform(connection, job, &self.trail, &mut end, &mut self.realms).await;
            replies.push(reply);
            done = done.and(settled);
        }
        done?;
        if let Some(reason) = self.file.missed_at(&self.path) {
            return Err(Lost::Gone(reason));
        }
        execute(&mut self.connection, "COMMIT").await?;
        self.transactions.fetch_add(1, Ordering::Relaxed);
        if let Some(end) = end {
            self.trail.committed(end);
        }
        Ok(())
    }

    /// Begins a transaction, as soon as no other connection is in one. SQLite asks more and more seldom the longer it waits,
    /// and another program that writes without a pause is then always faster; so it waits briefly, again and again.
    async fn begin(&mut self) -> Result<(), sqlx::Error> {
        let until = Instant::now() + BUSY_TIMEOUT;
        execute(&mut self.connection, "PRAGMA busy_timeout = 20").await?;
        loop {
            match execute(&mut self.connection, "BEGIN IMMEDIATE").await {
                Err(error) if away::is_locked(&error) && Instant::now() < until => {}
                begun => return begun,
            }
        }
    }

    /// Leaves the failed transaction. Where that fails too (some errors end the transaction by themselves), a
    /// new connection takes the place of this one.
    async fn recover(&mut self) {
        if execute(&mut self.connection, "ROLLBACK").await.is_ok() {
            return;
        }
        match connect_writer(&self.path).await {
            Ok(connection) => self.connection = connection,
            Err(error) => tracing::warn!(%error, "the registry could not be opened again; the next write tries anew"),
        }
    }

    async fn close(mut self, readers: &SqlitePool) -> Result<(), RegistryError> {
        readers.close().await;
        execute(&mut self.connection, "PRAGMA busy_timeout = 5000").await.map_err(storage)?;
        execute(&mut self.connection, "PRAGMA wal_checkpoint(TRUNCATE)").await.map_err(storage)?;
        self.connection.close().await.map_err(storage)
    }
}

/// Does one change inside its savepoint (not at all without a connection). The second value is an error if the
/// whole transaction is lost. `end` is that of the audit trail within this transaction.
async fn perform(
    connection: Option<&mut SqliteConnection>,
    job: Job,
    trail: &Trail,
    end: &mut Option<End>,
    realms: &mut Realms,
) -> (Reply, Result<(), Lost>) {
    match (job, connection) {
        (Job::Commit { writes, answer }, Some(connection)) => {
            let outcome = objects::apply(connection, writes, trail, *end).await;
            let outcome = outcome.map(|(grown, done)| {
                *end = grown.or(*end);
                done
            });
            settle(connection, answer, outcome).await
        }
        (Job::Open { session, beside, stands_on, answer }, Some(connection)) => {
            let outcome = sessions::open(connection, session, beside, &stands_on, realms).await;
            settle(connection, answer, outcome).await
        }
        (Job::Replace { replace, answer }, Some(connection)) => {
            let outcome = pairs::replace(connection, replace).await;
            settle(connection, answer, outcome).await
        }
        (Job::Import { pairs, stands_on, answer }, Some(connection)) => {
            let outcome = pairs::import(connection, &pairs, &stands_on).await;
            settle(connection, answer, outcome).await
        }
        (Job::Rotate { rotate, answer }, Some(connection)) => {
            let outcome = sessions::rotate(connection, rotate).await;
            settle(connection, answer, outcome).await
        }
        (Job::End { id, answer }, Some(connection)) => {
            let outcome = sessions::end(connection, id)
                .await
                .map(|user| user.as_ref().inspect(|user| realms.left(user, 1)).is_some());
            settle(connection, answer, outcome).await
        }
        (Job::Prune { now, limit, answer }, Some(connection)) => {
            let outcome = sessions::prune(connection, now, limit).await;
            settle(connection, answer, outcome).await
        }
        (Job::Close { answer, .. }, _) => (failing(answer), Ok(())),
        (Job::Commit { answer, .. }, None) => (failing(answer), Ok(())),
        (Job::Open { answer, .. }, None) => (failing(answer), Ok(())),
        (Job::Replace { answer, .. }, None) => (failing(answer), Ok(())),
        (Job::Import { answer, .. }, None) => (failing(answer), Ok(())),
        (Job::Rotate { answer, .. }, None) => (failing(answer), Ok(())),
        (Job::End { answer, .. }, None) => (failing(answer), Ok(())),
        (Job::Prune { answer, .. }, None) => (failing(answer), Ok(())),
    }
}

/// Ends the savepoint as the outcome demands.
async fn settle<T: Send + 'static>(
    connection: &mut SqliteConnection,
    answer: Answer<T>,
    outcome: Result<T, RegistryError>,
) -> (Reply, Result<(), Lost>) {
    let settled = match &outcome {
        Ok(_) => execute(connection, "RELEASE change").await.map_err(Lost::from),
        // If the error has ended the transaction, there is no savepoint to go back to, and it is why all else is lost.
        Err(error) => match execute(connection, "ROLLBACK TO change").await {
            Ok(()) => execute(connection, "RELEASE change").await.map_err(Lost::from),
            Err(_) => Err(Lost::Change(error.clone())),
        },
    };
    let reply: Reply = Box::new(move |failure| {
        let _ = answer.send(match failure {
            None => outcome,
            Some(failure) => Err(failure.clone()),
        });
    });
    (reply, settled)
}

/// The reply for a change that was not even tried.
fn failing<T: Send + 'static>(answer: Answer<T>) -> Reply {
    Box::new(move |failure| {
        let not_tried = || RegistryError::Storage("the change was not tried".to_owned());
        let _ = answer.send(Err(failure.cloned().unwrap_or_else(not_tried)));
    })
}

async fn execute(connection: &mut SqliteConnection, statement: &'static str) -> Result<(), sqlx::Error> {
    sqlx::query(statement).execute(connection).await.map(|_| ())
}
