//! The audit trail in a file: chained whoever writes at the same time, and tampering with it shows.

use std::path::Path;
use std::sync::Arc;

use portcullis_core::audit::{Action, Actor, AuditEntry, AuditFrom, AuditQuery, ChainedEntry, Link, TrailVerdict};
use portcullis_core::ports::{Expect, Kind, Objects, Registry, Write};
use portcullis_store::SqliteRegistry;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection, Executor};
use tokio::task::JoinSet;

use crate::{open, open_with, put};

/// An entry about an object of this name.
pub(crate) fn entry(key: &str) -> AuditEntry {
    AuditEntry {
        time: 1_700_000_000_000,
        actor: Actor::admin_token(Some([127, 0, 0, 1].into())),
        action: Action::Created,
        kind: "client".into(),
        key: key.into(),
        revision: 1,
        before: None,
        after: Some("{\"enabled\":true}".into()),
    }
}

/// The same as a write.
pub(crate) fn told(key: &str) -> Write {
    Write::Audit(Box::new(entry(key)))
}

/// An object and the entry that tells of it.
pub(crate) fn made(key: &str) -> [Write; 2] {
    [put(Kind::Client, key, 1, Expect::Absent), told(key)]
}

/// An entry that is about no object.
fn seen(key: &str) -> Write {
    Write::Audit(Box::new(AuditEntry { action: Action::Read, kind: "capture".into(), ..entry(key) }))
}

/// Every entry there is, in order.
pub(crate) async fn all(registry: &dyn Registry) -> Vec<ChainedEntry> {
    let query = AuditQuery { from: AuditFrom::After(0), limit: u32::MAX, kind: None, key: None };
    registry.audit(query).await.expect("reads")
}

pub(crate) async fn verdict(directory: &Path) -> TrailVerdict {
    let registry = open(directory).await;
    let verdict = registry.verify_audit().await.expect("verifies");
    registry.close().await.expect("closes");
    verdict
}

/// What somebody does to the file who has it but not the key: first of all away with the triggers.
pub(crate) async fn tamper(directory: &Path, statement: &str) {
    let options = SqliteConnectOptions::new().filename(directory.join("registry.db"));
    let mut connection = SqliteConnection::connect_with(&options).await.expect("connects");
    for trigger in ["audit_is_not_changed", "audit_is_not_shortened", "audit_head_moves_on", "audit_head_stays"] {
        connection.execute(AssertSqlSafe(format!("DROP TRIGGER IF EXISTS {trigger}"))).await.expect("drops");
    }
    let done = connection.execute(AssertSqlSafe(statement.to_owned())).await.expect("executes");
    assert!(done.rows_affected() > 0, "{statement} does something");
    connection.close().await.expect("closes");
}

/// A closed file with this many entries.
pub(crate) async fn filled(entries: usize) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let registry = open(directory.path()).await;
    for number in 0..entries {
        let key = format!("c{number}");
        registry.commit(made(&key).into()).await.expect("writes");
    }
    registry.close().await.expect("closes");
    directory
}

#[tokio::test]
async fn changes_at_the_same_time_make_one_chain_that_survives() {
    let directory = tempfile::tempdir().expect("a directory");
    let registry = Arc::new(open(directory.path()).await);
    let before = registry.transactions();
    let mut tasks = JoinSet::new();
    for number in 0..600 {
        let registry = Arc::clone(&registry);
        tasks.spawn(async move {
            let key = format!("c{}", number / 2);
            // Of each two, one conflicts: neither its object nor its entry is there.
            let writes = vec![seen("first"), put(Kind::Client, &key, 1, Expect::Absent), told(&key)];
            registry.commit(writes).await.is_ok()
        });
    }
    let mut done = 0;
    while let Some(joined) = tasks.join_next().await {
        done += usize::from(joined.expect("no panic"));
    }
    assert_eq!(done, 300);
    assert!(registry.transactions() - before < 100, "they shared transactions");
    let entries = all(&*registry).await;
    assert_eq!(entries.len(), 600, "two for each change that was made");
    let mut keys: Vec<_> = entries.iter().map(|found| found.entry.key.clone()).filter(|key| key != "first").collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 300);
    let live = registry.verify_audit().await.expect("verifies");
    assert_eq!((live.entries, live.first_broken, live.head), (600, None, entries[599].head()));
    registry.close().await.expect("closes");
    assert_eq!(verdict(directory.path()).await, live);
    // And the chain goes on where it ended.
    let registry = open(directory.path()).await;
    registry.commit(made("later").into()).await.expect("writes");
    assert_eq!(registry.verify_audit().await.expect("verifies").first_broken, None);
    assert_eq!(all(&registry).await[600].previous, live.head.hash);
}

#[tokio::test]
async fn every_field_of_every_entry_is_held() {
    let fields = [
        ("time", "time + 1"),
        ("actor", "'somebody'"),
        ("address", "NULL"),
        ("address", "'0127.0.0.1'"),
        ("action", "'deleted'"),
        ("action", "'imagined'"),
        ("kind", "'user'"),
        ("key", "key || ' '"),
        ("revision", "revision + 1"),
        ("revision", "-1"),
        ("before", "'{}'"),
        ("after", "NULL"),
        ("after", "replace(after, 'true', 'false')"),
        ("previous", "CAST(zeroblob(31) || x'01' AS BLOB)"),
        ("hash", "zeroblob(32)"),
        ("hash", "x'00'"),
        ("seq", "seq + 100"),
    ];
    for at in [1, 2, 4] {
        for (field, value) in fields {
            let directory = filled(4).await;
            tamper(directory.path(), &format!("UPDATE audit SET {field} = {value} WHERE seq = {at}")).await;
            assert_eq!(verdict(directory.path()).await.first_broken, Some(at), "{field} = {value} in {at}");
        }
    }
}

#[tokio::test]
async fn what_is_taken_out_put_in_or_cut_off_is_missed() {
    for (statement, place) in [
        ("DELETE FROM audit WHERE seq = 1", 1),
        ("DELETE FROM audit WHERE seq = 2", 2),
        ("DELETE FROM audit WHERE seq = 4", 4),
        ("DELETE FROM audit WHERE seq > 1", 2),
        ("DELETE FROM audit", 1),
        ("DELETE FROM audit_head", 5),
        ("UPDATE audit_head SET seq = 3, hash = (SELECT hash FROM audit WHERE seq = 3)", 5),
        ("UPDATE audit_head SET seal = zeroblob(32)", 5),
        ("UPDATE audit_head SET seal = x''", 5),
        (
            "INSERT INTO audit SELECT 5, time, actor, address, action, kind, key, revision, before, after, hash, hash FROM audit WHERE seq = 4",
            5,
        ),
    ] {
        let directory = filled(4).await;
        tamper(directory.path(), statement).await;
        assert_eq!(verdict(directory.path()).await.first_broken, Some(place), "{statement}");
        // Going on does not heal it.
        let registry = open(directory.path()).await;
        registry.commit(made("later").into()).await.expect("writes");
        let after = registry.verify_audit().await.expect("verifies");
        assert!(after.first_broken.is_some_and(|found| found <= place + 1), "{statement}: {after:?}");
        registry.close().await.expect("closes");
        assert!(verdict(directory.path()).await.first_broken.is_some(), "{statement}");
    }
    // The end and a head that fits it, both cut off: the seal is missing.
    let directory = filled(4).await;
    tamper(directory.path(), "DELETE FROM audit WHERE seq = 4").await;
    tamper(directory.path(), "UPDATE audit_head SET seq = 3, hash = (SELECT hash FROM audit WHERE seq = 3)").await;
    assert_eq!(verdict(directory.path()).await.first_broken, Some(4));
}

#[tokio::test]
async fn without_the_key_no_chain_can_be_made() {
    let directory = filled(3).await;
    let forger = open_with(directory.path(), Link::unkeyed()).await;
    forger.commit(made("forged").into()).await.expect("writes");
    forger.close().await.expect("closes");
    assert_eq!(verdict(directory.path()).await.first_broken, Some(4));
}

#[tokio::test]
async fn an_older_state_put_back_under_a_running_registry_is_noticed() {
    let directory = tempfile::tempdir().expect("a directory");
    let registry = open(directory.path()).await;
    registry.commit(made("a").into()).await.expect("writes");
    tamper(directory.path(), "CREATE TABLE kept (id, seq, hash, seal); INSERT INTO kept SELECT * FROM audit_head")
        .await;
    registry.commit(made("b").into()).await.expect("writes");
    assert_eq!(registry.verify_audit().await.expect("verifies").first_broken, None);
    tamper(directory.path(), "DELETE FROM audit WHERE seq = 2").await;
    tamper(directory.path(), "REPLACE INTO audit_head SELECT * FROM kept").await;
    assert_eq!(registry.verify_audit().await.expect("verifies").first_broken, Some(2));
    registry.commit(made("c").into()).await.expect("writes");
    assert!(registry.verify_audit().await.expect("verifies").first_broken.is_some());
}

#[tokio::test]
async fn the_file_itself_refuses_to_forget() {
    let directory = filled(2).await;
    let options = SqliteConnectOptions::new().filename(directory.path().join("registry.db"));
    let mut connection = SqliteConnection::connect_with(&options).await.expect("connects");
    for statement in [
        "UPDATE audit SET actor = 'somebody' WHERE seq = 1",
        "DELETE FROM audit WHERE seq = 2",
        "DELETE FROM audit",
        "UPDATE audit_head SET seq = 1",
        "UPDATE audit_head SET seal = zeroblob(32)",
        "DELETE FROM audit_head",
        "INSERT INTO audit_head VALUES (2, 1, x'00', x'00')",
    ] {
        connection.execute(statement).await.expect_err(statement);
    }
    connection.close().await.expect("closes");
    assert_eq!(verdict(directory.path()).await.first_broken, None);
}

#[tokio::test]
async fn a_damaged_entry_is_told_and_not_shown() {
    let directory = filled(2).await;
    tamper(directory.path(), "UPDATE audit SET action = 'imagined' WHERE seq = 1").await;
    let registry: SqliteRegistry = open(directory.path()).await;
    let query = AuditQuery { from: AuditFrom::After(0), limit: 9, kind: None, key: None };
    let error = registry.audit(query).await.expect_err("damaged");
    assert!(error.to_string().contains("verify"), "{error}");
}
