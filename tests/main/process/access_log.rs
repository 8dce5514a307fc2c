//! Where the access log goes: a file, wherever a link leads, or whoever reads.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::gateway::command;
use crate::support::scene::until;
use crate::support::{Gateway, call};

/// A gateway whose stdout is this, and the address of its data plane.
struct Started {
    child: Child,
    address: std::net::SocketAddr,
    directory: TempDir,
}

impl Started {
    fn new(directory: TempDir, stdout: Stdio, more: &[&str]) -> Self {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = socket.local_addr().expect("bound");
        drop(socket);
        let mut command = command(directory.path());
        command.args(["serve", "--listen", &address.to_string(), "--admin-listen", "127.0.0.1:0"]).args(more);
        // So small that it would be rotated with every few calls.
        command.args(["--log-access-log-max-bytes", "1KiB"]).stdout(stdout).stderr(Stdio::null());
        let child = command.spawn().expect("starts");
        until("it serves", || std::net::TcpStream::connect(address).is_ok());
        Self { child, address, directory }
    }

    fn calls(&self, number: usize) {
        for at in 0..number {
            assert_eq!(call(self.address, "GET", &format!("/-/health?{at}"), &[], b"").status, 200);
        }
    }

    fn end(mut self) -> TempDir {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
        assert_eq!(self.child.wait().expect("it ends").code(), Some(0));
        self.directory
    }
}

/// How many records there are of calls to `/-/health`, and how many lines are none.
fn records(text: &str) -> (usize, usize) {
    let is_record = |line: &&str| serde_json::from_str::<Value>(line).is_ok_and(|it| it["path"] == "/-/health");
    let (records, others): (Vec<_>, Vec<_>) = text.lines().partition(is_record);
    (records.len(), others.len())
}

#[test]
fn as_a_setting_stdout_has_records_and_nothing_else() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let started =
        Started::new(tempfile::tempdir().expect("a directory"), writer.into(), &["--log-access-log", "stdout"]);
    let reading =
        std::thread::spawn(move || BufReader::new(reader).lines().map(|line| line.expect("text") + "\n").collect());
    started.calls(100);
    let directory = started.end();
    let text: String = reading.join().expect("no panic");
    assert_eq!(records(&text), (100, 0), "{text}");
    assert!(!directory.path().join("access.log").exists());
}

#[test]
fn a_link_to_stdout_leads_there_whatever_that_is() {
    let linked = || {
        let directory = tempfile::tempdir().expect("a directory");
        symlink("/dev/stdout", directory.path().join("access.log")).expect("links");
        directory
    };
    let check = |directory: TempDir, text: &str| {
        assert_eq!(records(text), (100, 1), "one says that it is ready: {text}");
        let path = directory.path().join("access.log");
        assert!(std::fs::symlink_metadata(path).expect("there").is_symlink());
        assert!(!directory.path().join("access.log.1").exists());
    };
    // A pipe.
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let started = Started::new(linked(), writer.into(), &[]);
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("text");
        text
    });
    started.calls(100);
    check(started.end(), &reading.join().expect("no panic"));
    // A file: it is not written to from its start a second time.
    let mut file = tempfile::tempfile().expect("a file");
    let started = Started::new(linked(), file.try_clone().expect("another").into(), &[]);
    started.calls(100);
    let directory = started.end();
    let mut text = String::new();
    std::io::Seek::rewind(&mut file).expect("at its start");
    file.read_to_string(&mut text).expect("text");
    check(directory, &text);
    // A socket, which has no path to be opened by.
    let (mut ours, theirs) = UnixStream::pair().expect("a pair");
    let started = Started::new(linked(), std::os::fd::OwnedFd::from(theirs).into(), &[]);
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        ours.read_to_string(&mut text).expect("text");
        text
    });
    started.calls(100);
    check(started.end(), &reading.join().expect("no panic"));
}

#[test]
fn a_log_that_nobody_reads_holds_up_neither_calls_nor_questions_nor_the_end() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("access.log");
    assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo runs").success());
    let mut gateway = Gateway::restart(directory, "log.log_queue_bytes = '16KiB'");
    for _ in 0..600 {
        assert_eq!(gateway.call("GET", "/-/health", &[], b"").status, 200);
    }
    // What is searched waits for what was written.
    assert!(!gateway.logs("limit=1").is_empty());
    let counters = gateway.admin_ok("GET", "/status", None, 200)["counters"].clone();
    assert!(counters["log_lines_lost"].as_u64().expect("a number") > 0, "{counters}");
    for name in ["USR1", "HUP", "TERM"] {
        gateway.signal(name);
    }
    assert_eq!(gateway.wait().code(), Some(0));
}

#[test]
fn a_file_is_where_the_setting_says_and_usr1_opens_it_anew() {
    let gateway = Gateway::with("log.access_log = 'calls.log'");
    let path = gateway.directory().join("calls.log");
    let moved = gateway.directory().join("moved.log");
    let written = |path: &std::path::Path, number: usize| {
        until("it is written", || std::fs::read_to_string(path).is_ok_and(|text| records(&text) == (number, 0)));
    };
    gateway.call("GET", "/-/health", &[], b"");
    written(&path, 1);
    for name in ["USR1", "HUP"] {
        std::fs::rename(&path, &moved).expect("moves");
        gateway.signal(name);
        until("it is opened anew", || path.exists());
        gateway.call("GET", "/-/health", &[], b"");
        written(&path, 1);
    }
    assert!(!gateway.directory().join("access.log").exists());
}
