//! Every signal, at every moment: none but an order to stop ends the gateway, and that one ends it always.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use crate::support::client::connect;
use crate::support::gateway::command;
use crate::support::scene::until;
use crate::support::{Backend, Gateway};

const STOP: [&str; 2] = ["TERM", "INT"];
const GO_ON: [&str; 5] = ["HUP", "USR1", "USR2", "PIPE", "XFSZ"];

/// Those signals that end nothing, by the bits of `SigCgt` in `/proc`: 1, 2, 10, 12, 15 and 25.
const TAKEN: u64 = 1 | 1 << 1 | 1 << 9 | 1 << 11 | 1 << 14 | 1 << 24;

/// `O_NONBLOCK`: a pipe that nobody reads from cannot be opened to be written to.
const WITHOUT_WAITING: i32 = 0o4_000;

struct Started {
    child: Child,
    directory: TempDir,
}

impl Started {
    /// A gateway that has taken its signals, and perhaps nothing else yet.
    fn begun() -> Self {
        Self::begun_in(tempfile::tempdir().expect("a directory"))
    }

    fn begun_in(directory: TempDir) -> Self {
        let mut command = command(directory.path());
        command.args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
        let started = Self { child, directory };
        until("it takes signals", || started.takes_signals());
        started
    }

    fn takes_signals(&self) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let caught = caught.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or(0);
        caught & TAKEN == TAKEN
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success(), "{name}");
    }

    /// Waits for the first line on stdout, or for its end.
    fn first_line(&mut self) -> String {
        let mut stdout = self.child.stdout.take().expect("piped");
        let mut line = Vec::new();
        let mut byte = [0];
        while stdout.read(&mut byte).expect("read") == 1 && byte != *b"\n" {
            line.extend(byte);
        }
        self.child.stdout = Some(stdout);
        String::from_utf8(line).expect("text")
    }

    fn end(mut self) -> (Option<i32>, String, TempDir) {
        let mut said = String::new();
        self.child.stderr.take().expect("piped").read_to_string(&mut said).expect("text");
        (self.child.wait().expect("it ends").code(), said, self.directory)
    }
}

#[test]
fn signals_that_order_nothing_do_not_end_a_gateway_that_has_just_begun() {
    for name in GO_ON {
        let mut started = Started::begun();
        for _ in 0..3 {
            started.signal(name);
        }
        let line = started.first_line();
        assert!(line.starts_with("ready: "), "{name}: {line:?}: {}", started.end().1);
        started.signal("TERM");
        assert_eq!(started.end().0, Some(0), "{name}");
    }
}

#[test]
fn signals_that_order_nothing_do_not_end_a_gateway_that_serves() {
    let mut gateway = Gateway::start();
    for name in GO_ON {
        for _ in 0..3 {
            gateway.signal(name);
        }
        assert_eq!(gateway.call("GET", "/-/ready", &[], b"").status, 200, "{name}");
    }
    gateway.signal("TERM");
    assert_eq!(gateway.wait().code(), Some(0));
}

#[test]
fn an_order_to_stop_ends_a_gateway_cleanly_at_any_moment() {
    for name in STOP {
        let started = Started::begun();
        started.signal(name);
        let (code, said, directory) = started.end();
        assert_eq!(code, Some(0), "{name}, at once: {said}");
        // Nothing is broken by it.
        let mut started = Started::begun_in(directory);
        assert!(started.first_line().starts_with("ready: "), "{name}");
        started.signal(name);
        let (code, said, _) = started.end();
        assert_eq!((code, said.contains("stopping")), (Some(0), true), "{name}, when it was ready: {said}");
    }
}

/// A gateway with a call under way that will not be answered.
fn busy(settings: &str) -> (Gateway, Backend, std::net::TcpStream) {
    let backend = Backend::connected(|stream| {
        let _ = stream.read(&mut [0; 4_096]);
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let gateway = Gateway::with(settings);
    let service = json!({"targets": [{"url": backend.url()}], "require": []});
    gateway.admin_ok("PUT", "/services/slow/v1", Some(&service), 201);
    let mut caller = connect(gateway.data);
    caller.write_all(b"GET /slow/v1/x HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
    until("the call is under way", || backend.connections() == 1);
    (gateway, backend, caller)
}

#[test]
fn a_second_order_to_stop_is_obeyed_at_once() {
    for (first, second) in [("TERM", "TERM"), ("INT", "INT"), ("TERM", "INT")] {
        let (mut gateway, _backend, _caller) = busy("timeouts.drain_limit = '1h'");
        gateway.signal(first);
        until("it is stopping", || gateway.stderr().contains("stopping"));
        gateway.signal(second);
        assert_eq!(gateway.wait().code(), Some(1), "{first}, {second}");
        assert!(gateway.stderr().contains("a second time"), "{}", gateway.stderr());
    }
}

#[test]
fn a_call_under_way_is_waited_for_no_longer_than_it_may_take() {
    let (mut gateway, _backend, mut caller) = busy("timeouts.drain_limit = '50ms'");
    // One to the admin API that does not come to its end either.
    let mut upload = connect(gateway.admin);
    let head = format!(
        "PUT /api/v1/clients/a HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Length: 100\r\n\r\n{{",
        gateway.admin, gateway.token
    );
    upload.write_all(head.as_bytes()).expect("sent");
    gateway.signal("TERM");
    assert_eq!(gateway.wait().code(), Some(0), "{}", gateway.stderr());
    let mut left = Vec::new();
    // It is cut off, in whatever way.
    let _ = caller.read_to_end(&mut left);
    assert_eq!(left, b"");
}

#[test]
fn a_start_that_hangs_is_ended_by_an_order_to_stop() {
    let directory = tempfile::tempdir().expect("a directory");
    // Nobody writes into it, so whoever reads from it waits for ever.
    let token = directory.path().join("admin.token");
    assert!(Command::new("mkfifo").arg(&token).status().expect("mkfifo runs").success());
    let started = Started::begun_in(directory);
    // An order to stop before that ends a start that does not hang. As long as this end is open, the start waits at the other.
    let mut other_end = None;
    until("the start reads from the pipe", || {
        other_end = OpenOptions::new().write(true).custom_flags(WITHOUT_WAITING).open(&token).ok();
        other_end.is_some()
    });
    started.signal("TERM");
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || tell.send(started.end()));
    let (code, said, _) = told.recv_timeout(Duration::from_secs(60)).expect("it ends");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("has not stopped in the time it has"), "{said}");
    drop(other_end);
}
