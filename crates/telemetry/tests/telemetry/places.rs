//! What stands where the log belongs: only a regular file of the log's own is ever moved, replaced or taken away.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use portcullis_telemetry::{Counters, Settings};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::{Log, numbers, numbers_in};

/// A log that is rotated with every few lines, if it is.
fn rotating(directory: &Path) -> Log {
    Log::start(&Settings { file_bytes: 1_000, kept_files: 2, ..Settings::in_directory(directory) })
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("lists");
    let mut names: Vec<_> = entries.map(|entry| entry.expect("one").file_name().into_string().expect("text")).collect();
    names.sort();
    names
}

#[test]
fn a_file_of_its_own_is_rotated() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = rotating(directory.path());
    log.write(0..100);
    log.handle.flush_and_stop();
    assert_eq!(names(directory.path()), ["access.log", "access.log.1", "access.log.2"]);
}

#[test]
fn a_file_that_a_link_leads_to_is_written_and_left_where_it_is() {
    for exists in [true, false] {
        let directory = tempfile::tempdir().expect("a directory");
        let elsewhere = tempfile::tempdir().expect("a directory");
        let (path, led) = (directory.path().join("access.log"), elsewhere.path().join("calls"));
        if exists {
            fs::write(&led, "half a line").expect("written");
        }
        symlink(&led, &path).expect("links");
        let log = rotating(directory.path());
        log.write(0..100);
        log.handle.flushed_blocking();
        assert!(fs::symlink_metadata(&path).expect("there").is_symlink());
        assert_eq!(
            (names(directory.path()), names(elsewhere.path())),
            (vec!["access.log".to_owned()], vec!["calls".to_owned()])
        );
        let written = fs::read_to_string(&led).expect("reads");
        let written = if exists { written.strip_prefix("half a line\n").expect("a line ended") } else { &written };
        assert_eq!(numbers_in(written), (0..100).collect::<Vec<_>>());
        // Whoever looks after that file moves it, and says so.
        fs::rename(&led, elsewhere.path().join("moved")).expect("moves");
        log.handle.reopen();
        log.write(100..110);
        log.handle.flush_and_stop();
        assert_eq!(numbers(&led), (100..110).collect::<Vec<_>>());
    }
}

#[test]
fn a_pipe_stays_and_what_comes_is_read() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("access.log");
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("makes a pipe");
    let log = rotating(directory.path());
    let mut pipe = File::open(&path).expect("opens");
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        pipe.read_to_string(&mut text).expect("reads");
        text
    });
    log.write(0..100);
    log.handle.reopen();
    log.write(100..200);
    log.handle.flush_and_stop();
    assert!(fs::metadata(&path).expect("there").file_type().is_fifo());
    assert_eq!(names(directory.path()), ["access.log"]);
    assert_eq!(numbers_in(&reading.join().expect("no panic")), (0..200).collect::<Vec<_>>());
}

#[test]
fn a_device_stays() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("access.log");
    symlink("/dev/null", &path).expect("links");
    let log = rotating(directory.path());
    log.write(0..100);
    log.handle.flush_and_stop();
    assert!(fs::metadata(&path).expect("there").file_type().is_char_device());
    assert_eq!(names(directory.path()), ["access.log"]);
    assert_eq!((log.counters.log_write_errors.get(), log.counters.log_lines_lost.get()), (0, 0));
}

#[test]
fn what_was_put_there_meanwhile_is_not_moved() {
    let directory = tempfile::tempdir().expect("a directory");
    let elsewhere = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("access.log");
    let log = rotating(directory.path());
    log.write(0..2);
    log.handle.flushed_blocking();
    fs::rename(&path, elsewhere.path().join("moved")).expect("moves");
    symlink(elsewhere.path().join("calls"), &path).expect("links");
    log.write(2..100);
    log.handle.flush_and_stop();
    assert!(fs::symlink_metadata(&path).expect("there").is_symlink());
    assert_eq!(names(directory.path()), ["access.log"]);
    let all = [numbers(&elsewhere.path().join("moved")), numbers(&elsewhere.path().join("calls"))].concat();
    assert_eq!(all, (0..100).collect::<Vec<_>>());
}

#[test]
fn what_can_be_no_log_is_told_at_the_start() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("access.log");
    let start = || {
        let counters = std::sync::Arc::new(Counters::default());
        portcullis_telemetry::AccessLogWriter::start(&Settings::in_directory(directory.path()), counters).map(drop)
    };
    let socket = UnixListener::bind(&path).expect("bound");
    start().expect_err("a socket");
    drop(socket);
    fs::remove_file(&path).expect("removes");
    fs::create_dir(&path).expect("makes");
    start().expect_err("a directory");
    fs::remove_dir(&path).expect("removes");
    start().expect("nothing is in the way");
}
