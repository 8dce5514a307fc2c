//! The queue: writing never waits, and what does not fit is dropped and counted.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use portcullis_telemetry::Settings;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::{Log, numbers_in};

/// A log whose file is a pipe that nobody empties.
fn unread(directory: &Path, queue_bytes: usize) -> (Log, File) {
    let path = directory.join("access.log");
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("makes a pipe");
    let settings = Settings { queue_bytes, ..Settings::in_directory(directory) };
    let log = Log::start(&settings);
    let pipe = File::open(&path).expect("the log has it open for writing");
    (log, pipe)
}

#[test]
fn a_reader_who_does_not_read_holds_up_nobody() {
    let directory = tempfile::tempdir().expect("a directory");
    let (log, mut pipe) = unread(directory.path(), 64 << 10);
    // Far more than pipe and queue hold together.
    let total = 10_000;
    for number in 0..total {
        log.write([number]);
        // So that no record is dropped before it reaches the file.
        log.handle.flushed_blocking();
    }
    assert_eq!(log.recent.newest(), total, "they are searchable all the same");
    assert_eq!(log.counters.records_dropped.get(), 0);
    let lost = log.counters.log_lines_lost.get();
    assert!(lost > 0 && lost < total, "{lost}: the queue is bounded");
    log.handle.reopen();
    log.handle.flushed_blocking();

    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        pipe.read_to_string(&mut text).expect("reads");
        text
    });
    log.handle.flush_and_stop();
    // The writing end is closed with the thread, which ends the reading.
    let found = numbers_in(&reading.join().expect("no panic"));
    assert_eq!(log.counters.log_lines_lost.get(), lost, "opening it anew has not lost what waits");
    assert_eq!(found.len() as u64, total - lost, "everything that waited came through");
    assert!(found.is_sorted());
}

#[test]
fn the_end_of_the_log_does_not_wait_for_a_reader_who_does_not_read() {
    let directory = tempfile::tempdir().expect("a directory");
    let (log, pipe) = unread(directory.path(), 1 << 20);
    log.write(0..1_000);
    log.handle.flush_and_stop();
    assert!(log.counters.log_lines_lost.get() > 0, "what nobody has taken is counted");
    drop(pipe);
}

#[test]
fn room_in_the_queue_is_given_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let settings = Settings { queue_bytes: 4 << 10, ..Settings::in_directory(directory.path()) };
    let log = Log::start(&settings);
    for number in 0..200 {
        log.write([number]);
        log.handle.flushed_blocking();
    }
    assert_eq!(log.counters.records_dropped.get(), 0, "one at a time always fits");
    assert_eq!(log.counters.records_written.get(), 200);
}

#[test]
fn a_record_greater_than_the_queue_is_dropped() {
    let directory = tempfile::tempdir().expect("a directory");
    let settings = Settings { queue_bytes: 100, ..Settings::in_directory(directory.path()) };
    let log = Log::start(&settings);
    log.write([1]);
    log.handle.flushed_blocking();
    assert_eq!((log.counters.records_dropped.get(), log.recent.newest()), (1, 0));
}
