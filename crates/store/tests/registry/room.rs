//! A file that may not grow: what cannot be kept is refused as that, and once there is room again it is kept.

use portcullis_core::model::Owner;
use portcullis_core::ports::{Expect, Kind, Objects, RegistryError, Row, Write};
use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

use crate::open;

/// What this process may write into one file.
fn files_may_have(bytes: Option<u64>) {
    setrlimit(Resource::Fsize, Rlimit { current: bytes, maximum: None }).expect("set");
}

fn put(key: &str, bytes: usize) -> Write {
    let body = format!("\"{}\"", "x".repeat(bytes));
    let row = Row { kind: Kind::User, key: key.to_owned(), revision: 1, owner: Owner::Api, body };
    Write::Put { row, expect: Expect::Absent }
}

#[tokio::test]
async fn what_finds_no_room_is_refused_as_that_and_kept_once_there_is_some() {
    // The signal that comes with it would end the process.
    let _taken = signal(SignalKind::from_raw(25)).expect("taken");
    let directory = tempfile::tempdir().expect("a directory");
    let registry = open(directory.path()).await;
    registry.commit(vec![put("before", 100)]).await.expect("there is room");
    for (bytes, what) in [(100, "what is written at the end"), (8 << 20, "what is written on the way")] {
        files_may_have(Some(8 << 10));
        let refused = registry.commit(vec![put("refused", bytes)]).await;
        assert!(matches!(refused, Err(RegistryError::Full(_))), "{what}: {refused:?}");
        assert!(registry.get(Kind::User, "refused").await.expect("read").is_none());
        assert!(registry.get(Kind::User, "before").await.expect("read").is_some(), "what is there can be read");
        // Nobody takes the others along: a conflict is one, room or not.
        let conflict = registry.commit(vec![put("before", 100)]).await;
        assert!(matches!(conflict, Err(RegistryError::Conflict { .. })), "{what}: {conflict:?}");
        files_may_have(None);
        registry.commit(vec![put(what, bytes)]).await.expect("there is room again");
        assert!(registry.get(Kind::User, what).await.expect("read").is_some());
    }
    registry.close().await.expect("closed");
}
