//! Captured exchanges on disk: what is kept, how long, and what a torn file does.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::budget::Share;
use portcullis_core::capture::{Copied, Exchange, Message};
use portcullis_core::memory::ManualClock;
use portcullis_core::ports::{Captures, Clock};
use portcullis_telemetry::{CaptureFilter, CaptureSettings, CaptureStore, Counters};
use rustix::fs::{CWD, FileType, Mode, mknodat};

struct CaptureDir {
    store: Arc<CaptureStore>,
    clock: Arc<ManualClock>,
    counters: Arc<Counters>,
}

fn start(directory: &Path, change: impl FnOnce(&mut CaptureSettings)) -> CaptureDir {
    let (clock, counters) = (Arc::new(ManualClock::at(1_000)), Arc::new(Counters::default()));
    let mut settings = CaptureSettings {
        directory: directory.join("captures"),
        max_bytes: 1 << 20,
        max_age: Duration::from_secs(100),
        queue_bytes: 1 << 20,
    };
    change(&mut settings);
    let store = CaptureStore::start(&settings, clock.clone(), counters.clone()).expect("starts");
    CaptureDir { store, clock, counters }
}

impl CaptureDir {
    fn exchange(&self, id: &str, length: usize) -> Box<Exchange> {
        let mut share = Share::of(self.store.budget());
        assert!(share.take(length));
        let body = Copied { bytes: vec![b'x'; length], size: length as u64, complete: true, ..Copied::default() };
        Box::new(Exchange {
            time: self.clock.unix_millis(),
            request_id: id.to_owned(),
            route: "orders/v1".into(),
            service: Some("orders/v1".parse().expect("a service")),
            client_ip: "192.0.2.1".to_owned(),
            method: "GET".to_owned(),
            path: "/orders/v1/a".into(),
            query: None,
            status: Some(200),
            request: Message { body: Some(body), ..Message::default() },
            response: Message::default(),
            redaction: Arc::default(),
            share,
        })
    }

    async fn keep(&self, id: &str, length: usize) {
        self.store.keep(self.exchange(id, length));
        self.store.flushed().await;
    }

    fn ids(&self) -> Vec<String> {
        let found = self.store.list(&CaptureFilter::default(), 1_000, None);
        found.into_iter().map(|(_, summary)| summary.request_id).collect()
    }
}

fn files(directory: &Path) -> usize {
    std::fs::read_dir(directory.join("captures")).expect("a directory").count()
}

#[tokio::test]
async fn what_is_too_old_goes_from_the_list_at_once_and_then_from_the_disk() {
    let directory = tempfile::tempdir().expect("a directory");
    let shelf = start(directory.path(), |_| {});
    shelf.keep("old", 10).await;
    shelf.clock.advance(Duration::from_secs(60));
    shelf.keep("new", 10).await;
    assert_eq!(shelf.ids(), ["new", "old"]);
    shelf.clock.advance(Duration::from_secs(40));
    assert_eq!(shelf.ids(), ["new"]);
    assert!(shelf.store.read("old").expect("read").is_none());
    assert_eq!(files(directory.path()), 2);
    shelf.store.flushed().await;
    assert_eq!(files(directory.path()), 1);
    // Also at a start.
    let old = start(directory.path(), |_| {});
    assert_eq!(old.ids(), ["new"]);
    drop(old);
    let later = start(directory.path(), |settings| settings.max_age = Duration::ZERO);
    assert_eq!((later.ids().len(), files(directory.path())), (0, 0));
}

#[tokio::test]
async fn the_oldest_go_when_all_are_too_large_and_small_ones_count_for_a_block() {
    let directory = tempfile::tempdir().expect("a directory");
    let shelf = start(directory.path(), |settings| settings.max_bytes = 3 * 4_096);
    for id in ["a", "b", "c", "d"] {
        shelf.keep(id, 10).await;
    }
    assert_eq!(shelf.ids(), ["d", "c", "b"]);
    shelf.keep("large", 7_000).await;
    assert_eq!(shelf.ids(), ["large", "d"]);
    assert_eq!(files(directory.path()), 2);
    shelf.keep("too large", 20_000).await;
    assert_eq!((shelf.ids().len(), files(directory.path())), (0, 0));
}

#[tokio::test]
async fn a_new_start_finds_what_was_kept_and_removes_what_is_torn() {
    let directory = tempfile::tempdir().expect("a directory");
    let shelf = start(directory.path(), |_| {});
    for id in ["a", "b", "c"] {
        shelf.keep(id, 10).await;
    }
    shelf.store.flush_and_stop();
    let kept = directory.path().join("captures");
    let torn = kept.join(format!("{:016x}.capture", 2));
    let text = std::fs::read(&torn).expect("a file");
    std::fs::write(&torn, &text[..text.len() - 10]).expect("torn");
    std::fs::write(kept.join("0000000000000009.new"), "{").expect("begun");
    std::fs::write(kept.join("0000000000000004.capture"), "").expect("empty");
    let again = start(directory.path(), |_| {});
    assert_eq!((again.ids(), files(directory.path())), (vec!["c".to_owned(), "a".to_owned()], 2));
    assert_eq!(again.store.read("a").expect("read").expect("there").summary.request_id, "a");
    again.keep("d", 10).await;
    assert_eq!(again.ids(), ["d", "c", "a"]);
    assert_eq!(again.store.clear().await, 3);
    assert_eq!(files(directory.path()), 0);
}

#[tokio::test]
async fn what_others_have_put_there_stays_and_is_not_waited_for() {
    let directory = tempfile::tempdir().expect("a directory");
    let kept = directory.path().join("captures");
    std::fs::create_dir(&kept).expect("makes");
    std::fs::write(kept.join("notes.new"), "theirs").expect("written");
    let pipe = kept.join(format!("{:016x}.capture", 7));
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("makes a pipe");
    std::os::unix::fs::symlink("/dev/zero", kept.join(format!("{:016x}.capture", 8))).expect("links");
    let shelf = start(directory.path(), |_| {});
    shelf.keep("a", 10).await;
    assert_eq!((shelf.ids(), files(directory.path())), (vec!["a".to_owned()], 4));
    assert_eq!(shelf.store.clear().await, 1);
    assert_eq!(files(directory.path()), 3);
}

#[tokio::test]
async fn what_is_under_way_has_a_bound_and_what_comes_after_the_end_is_counted() {
    let directory = tempfile::tempdir().expect("a directory");
    let shelf = start(directory.path(), |settings| settings.queue_bytes = 100);
    let held = shelf.exchange("a", 100);
    assert!(!Share::of(shelf.store.budget()).take(1));
    shelf.store.keep(held);
    shelf.store.flushed().await;
    assert_eq!(shelf.store.budget().taken(), 0);
    shelf.store.flush_and_stop();
    shelf.store.keep(shelf.exchange("b", 1));
    assert_eq!((shelf.counters.captures_written.get(), shelf.counters.captures_dropped.get()), (1, 1));
}

#[tokio::test]
async fn lists_are_filtered_and_come_in_pieces() {
    let directory = tempfile::tempdir().expect("a directory");
    let shelf = start(directory.path(), |_| {});
    for id in ["a", "b", "c"] {
        shelf.keep(id, 10).await;
    }
    let list = |filter: CaptureFilter, limit, before| {
        let found = shelf.store.list(&filter, limit, before);
        found.into_iter().map(|(place, summary)| (place, summary.request_id)).collect::<Vec<_>>()
    };
    let all = CaptureFilter::default();
    let first = list(all.clone(), 2, None);
    assert_eq!(first, [(3, "c".to_owned()), (2, "b".to_owned())]);
    assert_eq!(list(all, 2, Some(2)), [(1, "a".to_owned())]);
    let text = |text: &str| Some(text.to_owned());
    for (filter, found) in [
        (CaptureFilter { service: text("orders"), ..CaptureFilter::default() }, 3),
        (CaptureFilter { version: text("v2"), ..CaptureFilter::default() }, 0),
        (CaptureFilter { route: text("orders/v1"), request_id: text("b"), ..CaptureFilter::default() }, 1),
        (CaptureFilter { route: text("other"), ..CaptureFilter::default() }, 0),
    ] {
        assert_eq!(list(filter.clone(), 10, None).len(), found, "{filter:?}");
    }
}
