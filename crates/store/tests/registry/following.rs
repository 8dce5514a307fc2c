//! Versions and what was changed after them, whoever did it; and a registry that is away.

use std::sync::Arc;

use portcullis_core::memory::MemoryRegistry;
use portcullis_core::ports::{
    Beside, Changed, Expect, Kind, News, Registry, RegistryError, Rotate, SessionId, SessionsOf, TOLD_CHANGES, Version,
    Write,
};
use sqlx::Executor;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};

use crate::{hash, open, put, row, session};

async fn both() -> (tempfile::TempDir, Vec<Arc<dyn Registry>>) {
    let directory = tempfile::tempdir().expect("a directory");
    let file: Arc<dyn Registry> = Arc::new(open(directory.path()).await);
    (directory, vec![Arc::new(MemoryRegistry::default()), file])
}

async fn changed(registry: &dyn Registry, after: Version) -> (Version, Vec<(Kind, String, Option<u64>)>) {
    match registry.changes(after).await.expect("reads") {
        News::Changed(version, changed) => {
            let shown = |it: Changed| (it.kind, it.key, it.row.map(|row| row.revision));
            (version, changed.into_iter().map(shown).collect())
        }
        News::Unknown => panic!("{after:?} is not known"),
    }
}

#[tokio::test]
async fn every_commit_that_changes_an_object_has_a_version_of_its_own() {
    let (_directory, both) = both().await;
    for registry in both {
        let start = registry.version().await.expect("reads");
        let made = registry.commit(vec![put(Kind::Client, "a", 1, Expect::Absent)]).await.expect("writes");
        assert_eq!(made.since, start);
        assert!(made.version > start);
        assert_eq!(registry.version().await.expect("reads"), made.version);
        let changes = vec![
            put(Kind::Client, "a", 2, Expect::Revision(1)),
            put(Kind::Service, "s/v1", 1, Expect::Absent),
            put(Kind::Client, "b", 1, Expect::Absent),
        ];
        let both = registry.commit(changes).await.expect("writes");
        assert_eq!(both.since, made.version);
        // One that changes nothing, one that fails, and one of what is nobody's declaration have none.
        let gone = Write::Delete { kind: Kind::Route, key: "no".into(), expect: Expect::Any };
        let nothing =
            registry.commit(vec![gone, Write::EndSessions(SessionsOf::User("ann".parse().expect("a label")))]);
        let nothing = nothing.await.expect("writes");
        assert_eq!((nothing.since, nothing.version), (both.version, both.version));
        registry
            .commit(vec![put(Kind::Route, "r", 1, Expect::Absent), put(Kind::Client, "b", 9, Expect::Absent)])
            .await
            .expect_err("b is there");
        registry.keep(vec![put(Kind::Lease, "work", 1, Expect::Absent)]).await.expect("keeps");
        assert_eq!(registry.version().await.expect("reads"), both.version);
        let told = changed(&*registry, made.version).await;
        let (a, s, b) = ((Kind::Client, "a"), (Kind::Service, "s/v1"), (Kind::Client, "b"));
        let wanted = [(a, 2), (s, 1), (b, 1)].map(|((kind, key), revision)| (kind, key.to_owned(), Some(revision)));
        assert_eq!(told, (both.version, wanted.to_vec()));
        assert_eq!(changed(&*registry, both.version).await, (both.version, Vec::new()));
    }
}

#[tokio::test]
async fn each_object_is_told_once_as_it_is_now_and_one_that_is_gone_as_gone() {
    let (_directory, both) = both().await;
    for registry in both {
        for revision in 1..5 {
            registry.commit(vec![put(Kind::ApiKey, "k", revision, Expect::Any)]).await.expect("writes");
            registry.commit(vec![put(Kind::Enrolment, "e", revision, Expect::Any)]).await.expect("writes");
        }
        let expect = Expect::Revision(4);
        let gone = registry.commit(vec![Write::Delete { kind: Kind::ApiKey, key: "k".into(), expect }]).await;
        let gone = gone.expect("deletes").version;
        let wanted = vec![(Kind::Enrolment, "e".to_owned(), Some(4)), (Kind::ApiKey, "k".to_owned(), None)];
        assert_eq!(changed(&*registry, Version(0)).await, (gone, wanted));
    }
}

#[tokio::test]
async fn a_deletion_expects_what_a_change_does() {
    let (_directory, both) = both().await;
    for registry in both {
        for kind in Kind::AUDITED {
            let delete = |expect| registry.commit(vec![Write::Delete { kind, key: "x".into(), expect }]);
            registry.commit(vec![put(kind, "x", 3, Expect::Absent)]).await.expect("writes");
            for expect in [Expect::Revision(2), Expect::Revision(4), Expect::Absent] {
                let refused = delete(expect).await;
                assert!(matches!(refused, Err(RegistryError::Conflict { .. })), "{kind:?} {expect:?}: {refused:?}");
            }
            assert_eq!(registry.get(kind, "x").await.expect("reads"), Some(row(kind, "x", 3)));
            delete(Expect::Revision(3)).await.expect("deletes");
            assert!(matches!(delete(Expect::Revision(3)).await, Err(RegistryError::Conflict { .. })), "{kind:?}");
            delete(Expect::Absent).await.expect("stays away");
        }
    }
}

#[tokio::test]
async fn who_was_away_for_too_long_or_comes_from_elsewhere_is_told_so() {
    let (_directory, both) = both().await;
    for registry in both {
        let first = registry.commit(vec![put(Kind::User, "u", 1, Expect::Any)]).await.expect("writes").version;
        let writes = (0..TOLD_CHANGES).map(|number| put(Kind::User, "u", number + 2, Expect::Any));
        let last = registry.commit(writes.collect()).await.expect("writes").version;
        assert_eq!(changed(&*registry, first).await.1.len(), 1, "as many as are kept");
        assert_eq!(registry.changes(Version(0)).await.expect("reads"), News::Unknown);
        assert_eq!(registry.changes(Version(last.0 + 1)).await.expect("reads"), News::Unknown);
        assert_eq!(changed(&*registry, last).await, (last, Vec::new()));
    }
}

#[tokio::test]
async fn what_is_anybodys_is_not_kept_as_the_gateways_own() {
    let (_directory, both) = both().await;
    for registry in both {
        for kind in Kind::AUDITED {
            registry.keep(vec![put(kind, "x", 1, Expect::Any)]).await.expect_err("not its own");
            let delete = Write::Delete { kind, key: "x".into(), expect: Expect::Any };
            registry.keep(vec![delete]).await.expect_err("not its own");
        }
        let end = Write::EndSessions(SessionsOf::User("ann".parse().expect("a label")));
        registry.keep(vec![end]).await.expect_err("sessions are not its own");
        registry.keep(vec![put(Kind::Meta, "x", 1, Expect::Absent)]).await.expect("keeps");
        assert_eq!(registry.kept(Kind::Meta, "x").await.expect("reads"), Some(row(Kind::Meta, "x", 1)));
        assert_eq!(registry.all_kept(Kind::Meta).await.expect("reads").len(), 1);
    }
}

#[tokio::test]
async fn what_the_gateway_keeps_for_itself_is_changed_in_no_commit() {
    let (_directory, both) = both().await;
    let own = [Kind::Meta, Kind::SigningKey, Kind::AcmeAccount, Kind::Certificate, Kind::Challenge, Kind::Lease];
    for registry in both {
        for kind in own {
            registry.keep(vec![put(kind, "x", 1, Expect::Absent)]).await.expect("keeps");
            let before = registry.version().await.expect("reads");
            let delete = Write::Delete { kind, key: "x".into(), expect: Expect::Any };
            for foreign in [put(kind, "x", 2, Expect::Any), put(kind, "y", 1, Expect::Absent), delete] {
                let writes = vec![put(Kind::Route, "beside", 1, Expect::Absent), foreign];
                let refused = registry.commit(writes).await.expect_err("no object of anybody");
                assert!(refused.to_string().contains(kind.as_str()), "{refused}");
            }
            assert_eq!(registry.all_kept(kind).await.expect("reads"), vec![row(kind, "x", 1)]);
            assert_eq!(registry.version().await.expect("reads"), before);
        }
        assert_eq!(registry.all(Kind::Route).await.expect("reads"), []);
    }
}

async fn second(directory: &std::path::Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(directory.join("registry.db")).connect().await.expect("connects")
}

#[tokio::test]
async fn what_another_program_changes_in_the_file_is_told_like_any_change() {
    let directory = tempfile::tempdir().expect("a directory");
    let registry: Arc<dyn Registry> = Arc::new(open(directory.path()).await);
    let writes = ["a", "b", "c"].map(|key| put(Kind::Client, key, 1, Expect::Absent));
    let known = registry.commit(writes.to_vec()).await.expect("writes").version;
    let mut other = second(directory.path()).await;
    for statement in [
        "UPDATE objects SET revision = 7 WHERE key = 'a'",
        "DELETE FROM objects WHERE key = 'b'",
        "UPDATE objects SET key = 'd' WHERE key = 'c'",
        "INSERT OR REPLACE INTO objects VALUES ('route', 'r', 2, 'file', '{}')",
        "INSERT INTO objects VALUES ('lease', 'l', 2, 'api', '{}')",
    ] {
        other.execute(statement).await.expect("executes");
    }
    other.close().await.expect("closes");
    let mut told = changed(&*registry, known).await.1;
    told.sort();
    let of = |kind, key: &str, revision| (kind, key.to_owned(), revision);
    let wanted = [
        of(Kind::Route, "r", Some(2)),
        of(Kind::Client, "a", Some(7)),
        of(Kind::Client, "b", None),
        of(Kind::Client, "c", None),
        of(Kind::Client, "d", Some(1)),
    ];
    assert_eq!(told, wanted);
}

/// Every question and every change, each with what came of it.
async fn everything(registry: &dyn Registry) -> (Vec<Option<RegistryError>>, Vec<Option<RegistryError>>) {
    let label = || "ann".parse().expect("a label");
    let id = SessionId([1; 16]);
    let rotate = Rotate {
        id,
        shown: hash(1),
        successor: hash(2),
        now: 0,
        grace: 0,
        expires_at: 9,
        user_info: "{}".into(),
        stands_on: Vec::new(),
    };
    let query = portcullis_core::audit::AuditQuery {
        from: portcullis_core::audit::AuditFrom::After(0),
        limit: 9,
        kind: None,
        key: None,
    };
    let asked = vec![
        registry.all(Kind::Client).await.err(),
        registry.page(Kind::Client, "", 9).await.err(),
        registry.get(Kind::Client, "a").await.err(),
        registry.version().await.err(),
        registry.changes(Version(0)).await.err(),
        registry.audit(query).await.err(),
        registry.verify_audit().await.err(),
        registry.session(id).await.err(),
        registry.sessions(&label()).await.err(),
        registry.all_kept(Kind::Lease).await.err(),
        registry.kept(Kind::Lease, "a").await.err(),
    ];
    // At once, for each waits until the database is given up.
    let changed = tokio::join!(
        registry.commit(vec![put(Kind::Client, "a", 1, Expect::Any)]),
        registry.keep(vec![put(Kind::Lease, "a", 1, Expect::Any)]),
        registry.open_session(session(1, "ann", "web", 1), Beside::at_most(9), Vec::new()),
        registry.rotate(rotate),
        registry.end_session(id),
        registry.end_sessions(SessionsOf::User(label())),
        registry.prune_sessions(9, 9),
    );
    let (commit, keep, opened, rotated, ended, all_ended, pruned) = changed;
    let changed =
        vec![commit.err(), keep.err(), opened.err(), rotated.err(), ended.err(), all_ended.err(), pruned.err()];
    (asked, changed)
}

fn all_away(found: &[Option<RegistryError>]) -> bool {
    found.iter().all(|error| matches!(error, Some(RegistryError::Unavailable(_))))
}

#[tokio::test]
async fn a_registry_that_is_away_says_so_whatever_it_is_asked() {
    let memory = MemoryRegistry::default();
    memory.set_away(true);
    let (asked, changed) = everything(&memory).await;
    assert!(all_away(&asked) && all_away(&changed), "{asked:?} {changed:?}");
    memory.set_away(false);
    let (asked, changed) = everything(&memory).await;
    assert!(asked.iter().chain(&changed).all(Option::is_none), "{asked:?} {changed:?}");

    let directory = tempfile::tempdir().expect("a directory");
    let file = open(directory.path()).await;
    file.close().await.expect("closes");
    let (asked, changed) = everything(&file).await;
    assert!(all_away(&asked) && all_away(&changed), "{asked:?} {changed:?}");
}

#[tokio::test]
async fn a_file_that_another_program_has_locked_is_away_for_changes_and_comes_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let registry = open(directory.path()).await;
    let mut other = second(directory.path()).await;
    other.execute("BEGIN EXCLUSIVE").await.expect("locks");
    let (asked, changed) = everything(&registry).await;
    assert!(asked.iter().all(Option::is_none) && all_away(&changed), "{asked:?} {changed:?}");
    other.execute("ROLLBACK").await.expect("unlocks");
    let (asked, changed) = everything(&registry).await;
    assert!(asked.iter().chain(&changed).all(Option::is_none), "{asked:?} {changed:?}");
}

#[tokio::test]
async fn nothing_is_written_to_a_file_that_is_gone_from_its_place() {
    let directory = tempfile::tempdir().expect("a directory");
    let registry = open(directory.path()).await;
    let (place, aside) = (directory.path().join("registry.db"), directory.path().join("aside.db"));
    std::fs::rename(&place, &aside).expect("moved");
    assert!(all_away(&everything(&registry).await.1));
    std::fs::write(&place, "").expect("written");
    assert!(all_away(&everything(&registry).await.1), "another file is another registry");
    std::fs::rename(&aside, &place).expect("moved back");
    let (asked, changed) = everything(&registry).await;
    assert!(asked.iter().chain(&changed).all(Option::is_none), "{asked:?} {changed:?}");
}
