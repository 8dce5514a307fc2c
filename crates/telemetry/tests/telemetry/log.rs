//! The file: order, mode, rotation, reopening, a full disk, and the end.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Arc;

use portcullis_core::ports::AccessLog;
use portcullis_telemetry::{AccessLogWriter, Counters, Settings, StartError};

use crate::{Log, numbers, record};

#[test]
fn records_reach_the_file_in_their_order() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("access.log");
    let log = Log::start(&Settings::in_directory(directory.path()));
    log.write(0..1_000);
    log.handle.flushed_blocking();
    assert_eq!(numbers(&path), (0..1_000).collect::<Vec<_>>());
    assert_eq!(log.counters.records_written.get(), 1_000);
    assert_eq!(fs::metadata(&path).expect("is there").permissions().mode() & 0o777, 0o600);

    let mut refused = record(1_000);
    refused.reason = Some("only for the operator".into());
    log.handle.write(&refused);
    log.handle.flushed_blocking();
    assert!(fs::read_to_string(&path).expect("reads").contains(",\"reason\":\"only for the operator\"}\n"));
}

#[tokio::test]
async fn waiting_for_the_log_works_on_a_runtime_too() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = Log::start(&Settings::in_directory(directory.path()));
    log.write(0..10);
    log.handle.flushed().await;
    assert_eq!(log.recent.newest(), 10);
}

#[test]
fn the_file_is_rotated_by_size_and_the_oldest_goes() {
    let directory = tempfile::tempdir().expect("a directory");
    let one = {
        let log = Log::start(&Settings::in_directory(directory.path()));
        log.write([0]);
        log.handle.flush_and_stop();
        fs::metadata(directory.path().join("access.log")).expect("is there").len()
    };
    // Three lines fit, a fourth does not; numbers below ten keep every line of the same length.
    let settings = Settings { file_bytes: one * 3 + 1, kept_files: 2, ..Settings::in_directory(directory.path()) };
    let log = Log::start(&settings);
    let file = |name: &str| numbers(&directory.path().join(name));
    log.write(1..5);
    log.handle.flushed_blocking();
    assert_eq!((file("access.log.1"), file("access.log")), (vec![0, 1, 2], vec![3, 4]));
    log.write(5..=9);
    log.handle.flushed_blocking();
    assert_eq!(file("access.log.2"), [3, 4, 5]);
    assert_eq!(file("access.log.1"), [6, 7, 8]);
    assert_eq!(file("access.log"), [9]);
    log.write([1, 2, 3]);
    log.handle.flush_and_stop();
    assert_eq!(file("access.log.2"), [6, 7, 8]);
    assert_eq!(file("access.log.1"), [9, 1, 2]);
    assert_eq!(file("access.log"), [3]);
    assert!(!directory.path().join("access.log.3").exists(), "only two are kept");
    let mode = fs::metadata(directory.path().join("access.log")).expect("is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(log.counters.log_write_errors.get(), 0);
}

#[test]
fn a_rotation_that_fails_loses_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    // A directory that is not empty stands where the rotated file should go.
    fs::create_dir_all(directory.path().join("access.log.1/full")).expect("makes");
    let settings = Settings { file_bytes: 1_000, kept_files: 1, ..Settings::in_directory(directory.path()) };
    let log = Log::start(&settings);
    log.write(0..50);
    log.handle.flush_and_stop();
    assert_eq!(numbers(&directory.path().join("access.log")), (0..50).collect::<Vec<_>>());
    assert!(log.counters.log_write_errors.get() > 0);
    assert_eq!(log.counters.log_lines_lost.get(), 0);
}

#[test]
fn a_file_moved_away_is_left_when_the_log_is_reopened() {
    let directory = tempfile::tempdir().expect("a directory");
    let (path, moved) = (directory.path().join("access.log"), directory.path().join("moved"));
    let log = Log::start(&Settings::in_directory(directory.path()));
    log.write(0..10);
    log.handle.flushed_blocking();
    fs::rename(&path, &moved).expect("moves");
    log.write(10..20);
    log.handle.reopen();
    log.write(20..30);
    log.handle.flushed_blocking();
    assert_eq!(numbers(&moved), (0..20).collect::<Vec<_>>());
    assert_eq!(numbers(&path), (20..30).collect::<Vec<_>>());
}

#[test]
fn a_log_that_cannot_be_reopened_goes_on_in_the_old_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let (path, moved) = (directory.path().join("access.log"), directory.path().join("moved"));
    let log = Log::start(&Settings::in_directory(directory.path()));
    log.write(0..10);
    log.handle.flushed_blocking();
    fs::rename(&path, &moved).expect("moves");
    fs::create_dir(&path).expect("makes");
    log.handle.reopen();
    log.write(10..20);
    log.handle.flushed_blocking();
    assert_eq!(numbers(&moved), (0..20).collect::<Vec<_>>());
    assert_eq!(log.counters.log_write_errors.get(), 1);
}

#[test]
fn a_full_disk_is_counted_and_waited_out() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("access.log");
    // This device answers every write as a full disk does.
    symlink("/dev/full", &path).expect("links");
    let log = Log::start(&Settings::in_directory(directory.path()));
    log.write(0..100);
    log.handle.flushed_blocking();
    assert!(log.counters.log_write_errors.get() > 0);
    assert_eq!(log.recent.newest(), 100, "they are searchable all the same");

    fs::remove_file(&path).expect("removes");
    log.handle.reopen();
    log.write(100..110);
    log.handle.flushed_blocking();
    assert_eq!(numbers(&path), (0..110).collect::<Vec<_>>(), "what waited is written when there is room");
    assert_eq!(log.counters.log_lines_lost.get(), 0);
}

#[test]
fn lines_that_wait_for_a_full_disk_are_bounded() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("access.log");
    symlink("/dev/full", &path).expect("links");
    let log = Log::start(&Settings::in_directory(directory.path()));
    log.write(0..10_000);
    log.handle.flushed_blocking();
    let lost = log.counters.log_lines_lost.get();
    assert!(lost > 0, "more than a mebibyte of lines does not wait");
    fs::remove_file(&path).expect("removes");
    log.handle.reopen();
    log.handle.flush_and_stop();
    assert_eq!(numbers(&path), (0..10_000 - lost).collect::<Vec<_>>());
    assert_eq!(log.counters.records_written.get(), 10_000);
}

#[test]
fn a_line_cut_short_by_a_crash_does_not_swallow_the_next() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("access.log");
    fs::write(&path, "{\"bytes_in\":1}\n{\"bytes_in\":").expect("writes");
    let log = Log::start(&Settings::in_directory(directory.path()));
    log.write([7]);
    log.handle.flush_and_stop();
    let text = fs::read_to_string(&path).expect("reads");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!((lines.len(), lines[1]), (3, "{\"bytes_in\":"));
    assert_eq!(crate::numbers_in(&format!("{}\n", lines[2])), [7]);
}

#[test]
fn stopping_writes_everything_taken_by_then_and_counts_the_rest() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = Log::start(&Settings::in_directory(directory.path()));
    let workers: Vec<_> = (0..4)
        .map(|worker| {
            let handle = Arc::clone(&log.handle);
            std::thread::spawn(move || {
                for number in 0..5_000 {
                    handle.write(&record(worker * 5_000 + number));
                }
            })
        })
        .collect();
    // In the middle of it.
    while log.counters.records_written.get() < 100 {
        std::thread::yield_now();
    }
    log.handle.flush_and_stop();
    log.handle.flush_and_stop();
    for worker in workers {
        worker.join().expect("no panic");
    }
    log.handle.write(&record(0));
    log.handle.flushed_blocking();
    let found = numbers(&directory.path().join("access.log"));
    let (written, dropped) = (log.counters.records_written.get(), log.counters.records_dropped.get());
    assert_eq!(written + dropped, 20_001);
    assert!(dropped >= 1);
    assert_eq!(found.len() as u64, written, "each record taken is in the file");
    for worker in 0..4 {
        let own: Vec<_> = found.iter().filter(|number| **number / 5_000 == worker).collect();
        assert!(own.is_sorted(), "the order of each worker is kept");
    }
}

#[test]
fn a_directory_that_is_not_there_is_an_error_that_names_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let settings = Settings::in_directory(directory.path().join("nowhere"));
    let error = AccessLogWriter::start(&settings, Arc::new(Counters::default())).expect_err("is refused");
    assert!(matches!(error, StartError::File { .. }));
    assert!(error.to_string().contains("nowhere/access.log"), "{error}");
}
