//! Changes that wait together share a transaction, and nothing else: not their conflicts, not their callers.

use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use portcullis_core::ports::{Beside, Expect, Kind, Objects, RegistryError, Sessions, SessionsOf};
use portcullis_store::SqliteRegistry;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection, Executor};
use tokio::task::JoinSet;

use crate::{open, put, row, session};

/// Runs a statement in the registry's file over a connection of its own, as another program would.
async fn meddle(directory: &Path, statement: &'static str) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(directory.join("registry.db"));
    let mut connection = SqliteConnection::connect_with(&options).await.expect("connects");
    connection.execute(statement).await.expect("executes");
    connection
}

async fn commit_all(registry: &Arc<SqliteRegistry>, keys: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut tasks = JoinSet::new();
    for key in keys {
        let registry = Arc::clone(registry);
        tasks.spawn(async move {
            let outcome = registry.commit(vec![put(Kind::Client, &key, 1, Expect::Absent)]).await;
            (key, outcome)
        });
    }
    let mut done = Vec::new();
    while let Some(joined) = tasks.join_next().await {
        let (key, outcome) = joined.expect("no panic");
        if outcome.is_ok() {
            done.push(key);
        }
    }
    done.sort();
    done
}

#[tokio::test]
async fn waiting_changes_share_a_transaction() {
    let directory = tempfile::tempdir().expect("a directory");
    let registry = Arc::new(open(directory.path()).await);
    let before = registry.transactions();
    let keys: Vec<_> = (0..500).map(|number| format!("c{number:03}")).collect();
    assert_eq!(commit_all(&registry, keys.clone()).await, keys);
    let used = registry.transactions() - before;
    // One runtime thread puts all of them into the queue before the writer has its turn.
    assert!((1..=50).contains(&used), "{used} transactions for 500 changes");
    assert_eq!(registry.all(Kind::Client).await.expect("reads").len(), 500);
}

#[tokio::test]
async fn more_changes_than_the_queue_holds_wait_for_their_place() {
    let directory = tempfile::tempdir().expect("a directory");
    let registry = Arc::new(open(directory.path()).await);
    let keys: Vec<_> = (0..3_000).map(|number| format!("c{number:04}")).collect();
    assert_eq!(commit_all(&registry, keys.clone()).await, keys);
}

#[tokio::test]
async fn a_conflict_undoes_only_itself() {
    let directory = tempfile::tempdir().expect("a directory");
    let registry = open(directory.path()).await;
    let kind = Kind::Client;
    let before = registry.transactions();
    let (first, loser, second, opened) = tokio::join!(
        registry.commit(vec![put(kind, "a", 1, Expect::Absent)]),
        registry.commit(vec![put(kind, "b", 1, Expect::Absent), put(kind, "a", 2, Expect::Absent)]),
        registry.commit(vec![put(kind, "a", 2, Expect::Revision(1)), put(kind, "c", 1, Expect::Absent)]),
        registry.open_session(session(1, "ann", "web", 1), Beside::at_most(9), Vec::new()),
    );
    assert_eq!(registry.transactions() - before, 1, "they shared one transaction");
    first.expect("first");
    assert!(matches!(loser, Err(RegistryError::Conflict { kind: "client", key }) if key == "a"));
    second.expect("sees the first");
    assert_eq!(opened.expect("opens"), []);
    assert_eq!(registry.all(kind).await.expect("reads"), vec![row(kind, "a", 2), row(kind, "c", 1)]);
}

#[tokio::test]
async fn a_number_that_does_not_fit_fails_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let registry = open(directory.path()).await;
    let (fine, bad) = tokio::join!(
        registry.commit(vec![put(Kind::Route, "fine", 1, Expect::Any)]),
        registry.commit(vec![put(Kind::Route, "bad", u64::MAX, Expect::Any)]),
    );
    fine.expect("writes");
    assert!(matches!(bad, Err(RegistryError::Storage(_))));
    assert_eq!(registry.all(Kind::Route).await.expect("reads"), vec![row(Kind::Route, "fine", 1)]);
}

#[tokio::test]
async fn a_caller_that_leaves_does_not_take_its_change_along() {
    let directory = tempfile::tempdir().expect("a directory");
    let registry = open(directory.path()).await;
    {
        let mut waiting = pin!(registry.commit(vec![put(Kind::User, "left", 1, Expect::Absent)]));
        let mut context = Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut context).is_pending(), "taken into the queue, not yet done");
    }
    // The queue keeps its order, so the change is done when this one is.
    registry.commit(vec![put(Kind::User, "stayed", 1, Expect::Absent)]).await.expect("writes");
    assert_eq!(registry.get(Kind::User, "left").await.expect("reads"), Some(row(Kind::User, "left", 1)));
}

#[tokio::test]
async fn changes_before_a_close_are_done_and_those_behind_it_are_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let registry = open(directory.path()).await;
    let (before, closed, behind) = tokio::join!(
        registry.commit(vec![put(Kind::User, "before", 1, Expect::Absent)]),
        registry.close(),
        registry.commit(vec![put(Kind::User, "behind", 1, Expect::Absent)]),
    );
    before.expect("writes");
    closed.expect("closes");
    assert!(matches!(behind, Err(RegistryError::Unavailable(_))));
    let reopened = open(directory.path()).await;
    assert_eq!(reopened.all(Kind::User).await.expect("reads"), vec![row(Kind::User, "before", 1)]);
}

#[tokio::test]
async fn an_error_that_ends_the_transaction_fails_all_of_it_and_the_next_goes_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let registry = Arc::new(open(directory.path()).await);
    meddle(
        directory.path(),
        "CREATE TRIGGER stumble BEFORE INSERT ON objects WHEN NEW.key = 'stumble' \
         BEGIN SELECT RAISE(ROLLBACK, 'stumbled'); END",
    )
    .await;
    let keys = ["a", "b", "stumble", "c"].map(str::to_owned);
    assert_eq!(commit_all(&registry, keys).await, Vec::<String>::new());
    assert_eq!(registry.all(Kind::Client).await.expect("reads"), []);
    for key in ["d", "e"] {
        registry.commit(vec![put(Kind::Client, key, 1, Expect::Absent)]).await.expect("goes on");
    }
    assert_eq!(registry.all(Kind::Client).await.expect("reads").len(), 2);
}

#[tokio::test]
async fn an_error_of_one_statement_fails_one_change() {
    let directory = tempfile::tempdir().expect("a directory");
    let registry = Arc::new(open(directory.path()).await);
    meddle(
        directory.path(),
        "CREATE TRIGGER stumble BEFORE INSERT ON objects WHEN NEW.key = 'stumble' \
         BEGIN SELECT RAISE(ABORT, 'stumbled'); END",
    )
    .await;
    let keys = ["a", "b", "stumble", "c"].map(str::to_owned);
    assert_eq!(commit_all(&registry, keys).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_failing_commit_fails_everybody_and_the_next_goes_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let registry = Arc::new(open(directory.path()).await);
    meddle(
        directory.path(),
        "CREATE TABLE parents (id INTEGER PRIMARY KEY); \
         CREATE TABLE children (parent INTEGER REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED); \
         CREATE TRIGGER orphan AFTER INSERT ON objects WHEN NEW.key = 'orphan' \
         BEGIN INSERT INTO children VALUES (7); END",
    )
    .await;
    registry.open_session(session(1, "ann", "web", 1), Beside::at_most(9), Vec::new()).await.expect("opens");
    let before = registry.transactions();
    let (orphan, other, ended) = tokio::join!(
        registry.commit(vec![put(Kind::Client, "orphan", 1, Expect::Absent)]),
        registry.commit(vec![put(Kind::Client, "other", 1, Expect::Absent)]),
        registry.end_sessions(SessionsOf::User("ann".parse().expect("a label"))),
    );
    for failed in [orphan.is_err(), other.is_err(), ended.is_err()] {
        assert!(failed, "all shared the transaction that could not be committed");
    }
    assert_eq!(registry.transactions(), before);
    assert_eq!(registry.all(Kind::Client).await.expect("reads"), []);
    assert!(registry.session(session(1, "ann", "web", 1).id).await.expect("reads").is_some());
    registry.commit(vec![put(Kind::Client, "other", 1, Expect::Absent)]).await.expect("goes on");
    assert_eq!(registry.all(Kind::Client).await.expect("reads").len(), 1);
}

#[tokio::test]
async fn readers_see_what_was_acknowledged_while_another_program_reads() {
    let directory = tempfile::tempdir().expect("a directory");
    let registry = open(directory.path()).await;
    let reading = meddle(directory.path(), "BEGIN; SELECT count(*) FROM objects").await;
    for revision in 1..20 {
        registry.commit(vec![put(Kind::Route, "k", revision, Expect::Any)]).await.expect("writes");
        let found = registry.get(Kind::Route, "k").await.expect("reads");
        assert_eq!(found.map(|row| row.revision), Some(revision));
    }
    reading.close().await.expect("closes");
}
