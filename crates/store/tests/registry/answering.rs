//! The audit trail answers for the objects: whoever has the file but not the key can take neither away, put neither
//! back and change neither without the other.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use portcullis_core::audit::{Action, AuditEntry, Fault, TrailVerdict};
use portcullis_core::model::Owner;
use portcullis_core::ports::{Expect, Kind, Objects, Row, Upkeep, Write};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::audit::{all, entry, filled, made, tamper, verdict};
use crate::{link, mac, open, put};

/// Every kind of object that trails tell of, with its word and a key of such an object in the registry.
fn audited() -> Vec<(Kind, &'static str)> {
    Kind::AUDITED.into_iter().map(|kind| (kind, kind.as_str())).collect()
}

/// One change of one of a few objects: which, and what it is then. It is made if it is not there; if it is, it is
/// deleted where nothing is said of it.
type Step = (Kind, &'static str, Option<u8>);

fn step() -> impl Strategy<Value = Step> {
    let kinds = proptest::sample::select(&[Kind::Client, Kind::User, Kind::ApiKey][..]);
    let names = proptest::sample::select(&["a", "b"][..]);
    (kinds, names, prop_oneof![1 => Just(None), 2 => (0_u8..2).prop_map(Some)])
}

/// What has to be written for a step, where these objects are there in these revisions.
fn writes(there: &mut BTreeMap<(Kind, &'static str), u64>, (kind, name, value): Step) -> Vec<Write> {
    let before = there.get(&(kind, name)).copied();
    let (key, told) = match kind {
        Kind::ApiKey => (format!("{name}{name}"), format!("shop/{name}")),
        _ => (name.to_owned(), name.to_owned()),
    };
    let told = |action, revision| {
        let kind = kind.as_str().to_owned();
        Write::Audit(Box::new(AuditEntry { action, kind, key: told.clone(), revision, ..entry("") }))
    };
    if let (Some(revision), None) = (before, value) {
        there.remove(&(kind, name));
        return vec![Write::Delete { kind, key, expect: Expect::Any }, told(Action::Deleted, revision)];
    }
    let revision = before.unwrap_or(0) + 1;
    let created_at = value.unwrap_or(9);
    let body = match kind {
        Kind::ApiKey => format!("{{\"id\":\"{name}\",\"owner\":{{\"client\":\"shop\"}},\"created_at\":{created_at}}}"),
        _ => format!("{{\"value\":{created_at}}}"),
    };
    there.insert((kind, name), revision);
    let row = Row { kind, key, revision, owner: Owner::Api, body };
    let expect = before.map_or(Expect::Absent, Expect::Revision);
    vec![Write::Put { row, expect }, told(if before.is_some() { Action::Changed } else { Action::Created }, revision)]
}

async fn objects(file: &Path) -> Vec<Row> {
    let registry = open(file).await;
    let mut rows = Vec::new();
    for (kind, _) in audited() {
        rows.extend(registry.all(kind).await.expect("reads"));
    }
    registry.close().await.expect("closes");
    rows
}

/// A copy of the objects in one file, with the trail of another.
async fn put_together(objects: &Path, trail: &Path) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    fs::copy(objects.join("registry.db"), directory.path().join("registry.db")).expect("copied");
    let other = trail.join("registry.db");
    let statements = format!(
        "ATTACH '{}' AS other; DELETE FROM audit; DELETE FROM audit_head; INSERT INTO audit SELECT * FROM other.audit; \
         INSERT INTO audit_head SELECT * FROM other.audit_head; CREATE TABLE done (at); INSERT INTO done VALUES (1)",
        other.display()
    );
    tamper(directory.path(), &statements).await;
    directory
}

/// Whether what is said of a trail, and what is said of it after the gateway has gone on, is that it is broken.
async fn is_told(directory: &Path) -> bool {
    let before = verdict(directory).await;
    let registry = open(directory).await;
    registry.commit(made(&format!("later{}", before.entries)).into()).await.expect("writes");
    let after = registry.verify_audit().await.expect("verifies");
    registry.close().await.expect("closes");
    let again = verdict(directory).await;
    let told = [before, after, again].map(|verdict| verdict.first_broken.is_some());
    assert!(told == [true; 3] || told == [false; 3], "{told:?}: going on heals nothing and breaks nothing");
    told[0]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]

    /// Objects as they were at one time, the trail as it was at another: told, unless the objects were the same at both.
    #[test]
    fn a_trail_of_another_time_than_the_objects_is_told(steps in vec(step(), 2..5)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut times = vec![filled(0).await];
            let mut there = BTreeMap::new();
            for step in steps {
                let next = tempfile::tempdir().expect("a directory");
                let former = times.last().expect("the first").path().join("registry.db");
                fs::copy(former, next.path().join("registry.db")).expect("copied");
                let registry = open(next.path()).await;
                registry.commit(writes(&mut there, step)).await.expect("writes");
                registry.close().await.expect("closes");
                times.push(next);
            }
            for (at, one) in times.iter().enumerate() {
                for (then, other) in times.iter().enumerate() {
                    let together = put_together(one.path(), other.path()).await;
                    let differ = objects(one.path()).await != objects(other.path()).await;
                    let told = is_told(together.path()).await;
                    prop_assert_eq!(told, differ, "objects of time {}, trail of time {}", at, then);
                }
            }
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn an_emptied_trail_is_told_whatever_is_left() {
    for (kind, word) in audited() {
        let directory = tempfile::tempdir().expect("a directory");
        let registry = open(directory.path()).await;
        let told = Write::Audit(Box::new(AuditEntry { kind: word.into(), ..entry("a") }));
        registry.keep(vec![put(Kind::Meta, "fact", 1, Expect::Absent)]).await.expect("keeps");
        registry.commit(vec![put(kind, "a", 1, Expect::Absent), told]).await.expect("writes");
        registry.close().await.expect("closes");
        tamper(directory.path(), "DELETE FROM audit; DELETE FROM audit_head").await;
        let found = verdict(directory.path()).await;
        assert!(matches!(&found.fault, Some(Fault::Untold(kind, _)) if *kind == word), "{word}: {found:?}");
        assert_eq!((found.entries, found.first_broken), (0, Some(1)));
        assert!(is_told(directory.path()).await, "no trail begins over objects");
    }
}

#[tokio::test]
async fn what_the_gateway_makes_for_itself_is_no_trail_s() {
    let directory = tempfile::tempdir().expect("a directory");
    let registry = open(directory.path()).await;
    let kinds = [Kind::Meta, Kind::SigningKey, Kind::AcmeAccount, Kind::Certificate, Kind::Challenge, Kind::Lease];
    assert!(!kinds.iter().any(|kind| kind.is_audited()) && Kind::AUDITED.iter().all(|kind| kind.is_audited()));
    for kind in kinds {
        registry.keep(vec![put(kind, "own", 1, Expect::Absent)]).await.expect("keeps");
        assert_eq!(registry.verify_audit().await.expect("verifies").first_broken, None);
    }
    registry.close().await.expect("closes");
    assert!(!is_told(directory.path()).await, "a trail begins beside them");
}

#[tokio::test]
async fn an_object_that_was_changed_put_in_or_taken_out_is_told() {
    for (statement, fault) in [
        ("UPDATE objects SET body = replace(body, '1', '2') WHERE key = 'c1'", "sealed"),
        ("UPDATE objects SET owner = 'file' WHERE key = 'c1'", "sealed"),
        ("UPDATE objects SET owner = 'nobody' WHERE key = 'c1'", "sealed"),
        ("UPDATE objects SET revision = 2 WHERE key = 'c1'", "client 'c1' is in the registry in revision 2"),
        ("UPDATE objects SET revision = -1 WHERE key = 'c1'", "client 'c1' is in the registry in revision"),
        ("UPDATE objects SET key = 'C1' WHERE key = 'c1'", "client 'C1' is in the registry, but by the trail"),
        ("UPDATE objects SET kind = 'user' WHERE key = 'c1'", "user 'c1' is in the registry, but by the trail"),
        ("UPDATE objects SET kind = 'other' WHERE key = 'c1'", "client 'c1' is there by the trail"),
        ("DELETE FROM objects WHERE key = 'c1'", "client 'c1' is there by the trail"),
        ("DELETE FROM objects", "client 'c0' is there by the trail"),
        ("INSERT INTO objects SELECT kind, 'eve', revision, owner, body FROM objects WHERE key = 'c1'", "client 'eve'"),
        ("INSERT INTO objects SELECT 'user', '', revision, owner, body FROM objects WHERE key = 'c1'", "user ''"),
        (
            "INSERT INTO objects SELECT 'api_key', 'ab12', revision, owner, body FROM objects WHERE key = 'c1'",
            "api_key '?'",
        ),
        ("UPDATE objects SET body = '{}' WHERE key = 'c0'; UPDATE objects SET body = '{}' WHERE key = 'c1'", "sealed"),
    ] {
        let directory = filled(3).await;
        tamper(directory.path(), statement).await;
        let found = verdict(directory.path()).await;
        let reason = found.fault.as_ref().map(ToString::to_string).unwrap_or_default();
        assert!(reason.contains(fault), "{statement}: {reason}");
        assert_eq!(found.first_broken, Some(4), "{statement}");
        assert!(is_told(directory.path()).await, "{statement}");
    }
}

/// Deletes a client as the gateway does.
async fn delete(directory: &Path, key: &str) {
    let registry = open(directory).await;
    let told = Write::Audit(Box::new(AuditEntry { action: Action::Deleted, ..entry(key) }));
    registry
        .commit(vec![Write::Delete { kind: Kind::Client, key: key.into(), expect: Expect::Any }, told])
        .await
        .expect("writes");
    registry.close().await.expect("closes");
}

#[tokio::test]
async fn what_is_gone_in_the_end_does_not_hide_that_it_was_there_without_an_entry() {
    let put_in = "INSERT INTO objects SELECT kind, 'eve', revision, owner, body FROM objects WHERE key = 'c0'";
    for (alone, statement, key) in [
        (false, "DELETE FROM audit; DELETE FROM audit_head", "c0"),
        (true, "DELETE FROM audit; DELETE FROM audit_head", "c0"),
        (false, put_in, "eve"),
        (true, put_in, "eve"),
    ] {
        let directory = filled(1).await;
        if alone {
            sealed_alone(directory.path()).await;
        }
        tamper(directory.path(), statement).await;
        delete(directory.path(), key).await;
        assert!(is_told(directory.path()).await, "{statement}, sealed alone: {alone}");
    }
}

#[tokio::test]
async fn what_was_put_in_stays_told_when_the_gateway_changes_or_deletes_it() {
    for action in [Action::Changed, Action::Deleted] {
        let directory = filled(2).await;
        let statement = "INSERT INTO objects SELECT kind, 'eve', revision, owner, body FROM objects WHERE key = 'c1'";
        tamper(directory.path(), statement).await;
        let registry = open(directory.path()).await;
        let told = Write::Audit(Box::new(AuditEntry { action, revision: 2, ..entry("eve") }));
        let write = match action {
            Action::Deleted => Write::Delete { kind: Kind::Client, key: "eve".into(), expect: Expect::Any },
            _ => put(Kind::Client, "eve", 2, Expect::Revision(1)),
        };
        registry.commit(vec![write, told]).await.expect("writes");
        registry.close().await.expect("closes");
        assert!(is_told(directory.path()).await, "{action:?}");
    }
}

#[tokio::test]
async fn an_object_that_is_changed_under_a_running_registry_is_told() {
    let directory = filled(2).await;
    let registry = open(directory.path()).await;
    assert_eq!(registry.verify_audit().await.expect("verifies").first_broken, None);
    tamper(directory.path(), "UPDATE objects SET body = '{}' WHERE key = 'c1'").await;
    let told = async || registry.verify_audit().await.expect("verifies").fault;
    assert_eq!(told().await, Some(Fault::Seal));
    registry.commit(made("later").into()).await.expect("writes");
    assert_eq!(told().await, Some(Fault::Seal));
    // Neither does the gateway's own next change of the object cover it up.
    let entry = AuditEntry { action: Action::Changed, revision: 2, ..entry("c1") };
    let change = vec![put(Kind::Client, "c1", 2, Expect::Revision(1)), Write::Audit(Box::new(entry))];
    registry.commit(change).await.expect("writes");
    assert_eq!(told().await, Some(Fault::Seal));
    registry.close().await.expect("closes");
    assert!(is_told(directory.path()).await);
}

/// Gives a file the seal of a release that sealed heads without the objects.
async fn sealed_alone(directory: &Path) {
    let registry = open(directory).await;
    let head = all(&registry).await.last().expect("an entry").head();
    registry.close().await.expect("closes");
    let mut bytes = b"portcullis audit head 1\n".to_vec();
    bytes.extend_from_slice(&head.seq.to_be_bytes());
    bytes.extend_from_slice(&head.hash);
    assert!(link().is_sealed_alone(&head, &mac(&bytes)));
    let seal: String = mac(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    tamper(directory, &format!("UPDATE audit_head SET seal = x'{seal}'")).await;
}

#[tokio::test]
async fn a_head_that_was_sealed_without_the_objects_holds_their_names_and_revisions() {
    let directory = filled(2).await;
    sealed_alone(directory.path()).await;
    assert!(!is_told(directory.path()).await, "and it is sealed with them from then on");
    tamper(directory.path(), "UPDATE objects SET body = '{}' WHERE key = 'c1'").await;
    assert!(is_told(directory.path()).await);
    for statement in [
        "UPDATE objects SET revision = 2 WHERE key = 'c1'",
        "DELETE FROM objects WHERE key = 'c1'",
        "INSERT INTO objects SELECT kind, 'eve', revision, owner, body FROM objects WHERE key = 'c1'",
    ] {
        let directory = filled(2).await;
        sealed_alone(directory.path()).await;
        tamper(directory.path(), statement).await;
        assert!(is_told(directory.path()).await, "{statement}");
    }
}

#[tokio::test]
async fn the_trail_of_another_registry_is_told() {
    let (one, other) = (filled(3).await, filled(0).await);
    let registry = open(other.path()).await;
    registry.commit(made("else").into()).await.expect("writes");
    registry.close().await.expect("closes");
    let together = put_together(one.path(), other.path()).await;
    let found: TrailVerdict = verdict(together.path()).await;
    assert!(matches!(found.fault, Some(Fault::Untold("client", _))), "{found:?}");
    assert!(is_told(together.path()).await);
}
