//! What has been acknowledged is there after whatever comes next.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use portcullis_core::ports::{Beside, Expect, Kind, Objects, RegistryError, Session, Sessions};

use crate::{hash, open, put, row, session};

#[tokio::test]
async fn a_reopened_file_has_everything() {
    let directory = tempfile::tempdir().expect("a directory");
    let kept = Session { predecessor: Some(hash(3)), ..session(1, "ann", "web", 10) };
    {
        let registry = open(directory.path()).await;
        registry.commit(vec![put(Kind::Service, "orders/v1", 4, Expect::Absent)]).await.expect("writes");
        registry.open_session(kept.clone(), Beside::at_most(5), Vec::new()).await.expect("opens");
        registry.close().await.expect("closes");
        registry.close().await.expect("closing twice is fine");
        let refused = registry.commit(vec![put(Kind::Service, "late/v1", 1, Expect::Any)]).await;
        assert!(matches!(refused, Err(RegistryError::Unavailable(message)) if message.contains("closed")));
        assert!(registry.get(Kind::Service, "orders/v1").await.is_err());
    }
    let wal = directory.path().join("registry.db-wal");
    assert!(fs::metadata(wal).map_or(true, |found| found.len() == 0), "closing moves the log into the file");
    let registry = open(directory.path()).await;
    assert_eq!(registry.all(Kind::Service).await.expect("reads"), vec![row(Kind::Service, "orders/v1", 4)]);
    assert_eq!(registry.session(kept.id).await.expect("reads"), Some(kept));
}

#[tokio::test]
async fn a_file_taken_away_in_the_middle_of_work_has_what_was_acknowledged() {
    let directory = tempfile::tempdir().expect("a directory");
    let copy = tempfile::tempdir().expect("a directory");
    let registry = open(directory.path()).await;
    let mut wanted = Vec::new();
    for number in 0..50 {
        let key = format!("s{number:02}/v1");
        registry.commit(vec![put(Kind::Service, &key, 1, Expect::Absent)]).await.expect("writes");
        wanted.push(row(Kind::Service, &key, 1));
    }
    // What a crash leaves: the file and its log as they are, and the beginning of a frame never finished.
    let from = |name: &str| directory.path().join(name);
    let to = |name: &str| copy.path().join(name);
    fs::copy(from("registry.db"), to("registry.db")).expect("copies");
    let mut log = fs::read(from("registry.db-wal")).expect("reads");
    assert!(!log.is_empty(), "the rows are still in the log");
    let half_a_frame = log[32..32 + 2_000].to_vec();
    log.extend(half_a_frame);
    fs::write(to("registry.db-wal"), log).expect("writes");

    let crashed = open(copy.path()).await;
    assert_eq!(crashed.all(Kind::Service).await.expect("reads"), wanted);
    crashed.commit(vec![put(Kind::Service, "z/v1", 1, Expect::Absent)]).await.expect("goes on");
    assert_eq!(crashed.all(Kind::Service).await.expect("reads").len(), 51);
}

#[tokio::test]
async fn only_the_owner_can_read_the_files() {
    let directory = tempfile::tempdir().expect("a directory");
    let names = ["registry.db", "registry.db-wal", "registry.db-shm"];
    let mode = |name: &str| fs::metadata(directory.path().join(name)).expect("is there").permissions().mode() & 0o777;
    let registry = open(directory.path()).await;
    registry.commit(vec![put(Kind::Route, "k", 1, Expect::Any)]).await.expect("writes");
    for name in names {
        assert_eq!(mode(name), 0o600, "{name}");
    }
    registry.close().await.expect("closes");

    // A file that was opened up (or restored that way) is closed again.
    fs::set_permissions(directory.path().join("registry.db"), fs::Permissions::from_mode(0o644)).expect("sets");
    let registry = open(directory.path()).await;
    registry.commit(vec![put(Kind::Route, "k", 2, Expect::Any)]).await.expect("writes");
    for name in names {
        assert_eq!(mode(name), 0o600, "{name}");
    }
}
