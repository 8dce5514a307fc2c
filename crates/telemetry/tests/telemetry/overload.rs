//! The queue: writing never waits, and what does not fit is dropped and counted.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use portcullis_telemetry::Settings;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::{Log, numbers_in};

/// A log whose file is a pipe that nobody empties, so that its thread stands still once the pipe is full.
pub(crate) fn blocked(directory: &Path, queue_bytes: usize) -> (Log, File) {
    let path = directory.join("access.log");
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("makes a pipe");
    let settings = Settings { queue_bytes, ..Settings::in_directory(directory) };
    let log = Log::start(&settings);
    let pipe = File::open(&path).expect("the log has it open for writing");
    (log, pipe)
}

#[test]
fn a_full_queue_drops_and_counts_and_keeps_what_it_took() {
    let directory = tempfile::tempdir().expect("a directory");
    let (log, mut pipe) = blocked(directory.path(), 64 << 10);
    // Far more than pipe, buffer and queue hold together. That this ends shows that nobody waits.
    let total = 10_000;
    log.write(0..total);
    let dropped = log.counters.records_dropped.get();
    assert!(dropped > 0, "the queue is bounded");

    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        pipe.read_to_string(&mut text).expect("reads");
        text
    });
    log.handle.flush_and_stop();
    // The writing end is closed with the thread, which ends the reading.
    let found = numbers_in(&reading.join().expect("no panic"));
    assert_eq!(log.counters.records_dropped.get(), dropped, "dropped while writing, not later");
    assert_eq!(found.len() as u64, total - dropped, "everything taken came through");
    assert!(found.is_sorted());
    assert_eq!(log.recent.newest(), total - dropped);
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
