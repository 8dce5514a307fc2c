//! Whatever stderr is, the gateway serves, takes changes and orders, and stops as if it were read.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use serde_json::json;

use crate::support::client::connect;
use crate::support::gateway::command;
use crate::support::scene::until;
use crate::support::{Backend, Gateway, call};

/// A pipe for stderr, and its other end.
fn pipe() -> (std::io::PipeReader, std::io::PipeWriter) {
    std::io::pipe().expect("a pipe")
}

/// Fills a pipe to the brim.
fn fill(writer: &std::io::PipeWriter) {
    let flags = fcntl_getfl(writer).expect("flags");
    fcntl_setfl(writer, flags | OFlags::NONBLOCK).expect("set");
    let mut writing = writer;
    for size in [4_096, 1] {
        while writing.write(&vec![b'.'; size]).map_err(|error| assert_eq!(error.kind(), ErrorKind::WouldBlock)).is_ok()
        {
        }
    }
    fcntl_setfl(writer, flags).expect("set");
}

fn start(settings: &str, stderr: impl Into<Stdio>) -> Gateway {
    let directory = tempfile::tempdir().expect("a directory");
    Gateway::launch(directory, settings, |command| {
        // Each call is told of too.
        command.stderr(stderr).args(["--log-level", "trace,tokio=info,mio=info", "--workers", "2"]);
    })
}

/// Has the gateway say much, at the level of traces: it is greeted in HTTP/2, pinged, and left.
fn chatter(gateway: &Gateway) {
    let mut stream = connect(gateway.data);
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    bytes.extend_from_slice(b"\0\0\x08\x06\0\0\0\0\0\0\0\0\0\0\0\0\0");
    stream.write_all(&bytes).expect("sent");
    stream.read_exact(&mut [0; 9]).expect("greeted");
}

/// Everything that makes the gateway say something, and what must come of it.
fn live(gateway: &mut Gateway, what: &str) {
    let backend = Backend::echo();
    let open = json!({"targets": [{"url": backend.url()}], "require": []});
    gateway.admin_ok("PUT", "/services/orders/v1", Some(&open), 201);
    // One that is warned about: nobody asks for certificates here.
    let warned = json!({"targets": [{"url": backend.url()}], "require": [["client_certificate"]]});
    gateway.admin_ok("PUT", "/services/warned/v1", Some(&warned), 201);
    let reads = |reread: usize| {
        for name in ["HUP", "USR1", "USR2"] {
            (0..reread).for_each(|_| gateway.signal(name));
        }
    };
    reads(20);
    for at in 0..300 {
        assert_eq!(gateway.call("GET", "/orders/v1/x", &[], b"").status, 200, "{what}: {at}");
        chatter(gateway);
    }
    gateway.admin_ok("PUT", "/services/late/v1", Some(&open), 201);
    assert_eq!(gateway.call("GET", "/late/v1/x", &[], b"").status, 200, "{what}");
    reads(5);
    let status = gateway.admin_ok("GET", "/status", None, 200);
    assert_eq!(status["counters"]["tasks_panicked"], 0, "{what}");
    gateway.signal("TERM");
    assert_eq!(gateway.wait().code(), Some(0), "{what}");
}

#[test]
fn a_reader_who_goes_away_takes_nothing_with_him() {
    let (reader, writer) = pipe();
    let mut gateway = start("", writer);
    drop(reader);
    live(&mut gateway, "gone");
}

#[test]
fn a_stderr_that_was_never_read_stops_nobody() {
    let (reader, writer) = pipe();
    fill(&writer);
    let mut gateway = start("", writer);
    live(&mut gateway, "unread");
    drop(reader);
}

#[test]
fn a_disk_that_is_full_from_the_start_does_not_hinder_the_start() {
    let full = File::options().write(true).open("/dev/full").expect("there");
    let mut gateway = start("", full);
    live(&mut gateway, "full");
}

#[test]
fn a_stderr_that_cannot_be_written_to_at_all_hinders_nobody() {
    let read_only = File::open("/dev/null").expect("there");
    live(&mut start("", read_only), "read only");
}

#[test]
fn a_stderr_that_somebody_has_made_to_wait_for_nothing_loses_nothing_it_has_room_for() {
    let (mut reader, writer) = pipe();
    fcntl_setfl(&writer, OFlags::NONBLOCK).expect("set");
    let reading = std::thread::spawn(move || {
        let mut all = String::new();
        reader.read_to_string(&mut all).expect("text");
        all
    });
    let mut gateway = start("", writer);
    live(&mut gateway, "not waiting");
    let all = reading.join().expect("no panic");
    assert!(all.contains("stopping") && !all.contains("were lost"), "{all}");
}

#[test]
fn what_was_lost_is_counted_and_told_once_somebody_reads_again() {
    let (mut reader, writer) = pipe();
    fill(&writer);
    let mut gateway = start("", writer);
    let lost = || {
        let status = gateway.admin_ok("GET", "/status", None, 200);
        status["counters"]["diagnostics_dropped"].as_u64().expect("a number")
    };
    // A mebibyte waits; what is beyond it is lost.
    until("lines are lost", || {
        (0..50).for_each(|_| chatter(&gateway));
        lost() > 0
    });
    let reading = std::thread::spawn(move || {
        let mut all = Vec::new();
        reader.read_to_end(&mut all).expect("read");
        String::from_utf8_lossy(&all).into_owned()
    });
    gateway.signal("TERM");
    assert_eq!(gateway.wait().code(), Some(0));
    let all = reading.join().expect("no panic");
    assert!(all.contains("lines of stderr were lost"), "{}", &all[all.len().saturating_sub(2_000)..]);
}

/// The line on stdout is for whoever waits, and nobody has to.
#[test]
fn a_stdout_that_nobody_reads_hinders_neither_the_start_nor_the_stop() {
    let (reader, writer) = pipe();
    fill(&writer);
    let directory = tempfile::tempdir().expect("a directory");
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
    let mut child = command(directory.path())
        .args(["serve", "--listen", &port.to_string(), "--admin-listen", "127.0.0.1:0"])
        .stdout(writer)
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    until("it serves", || {
        std::net::TcpStream::connect(port).is_ok() && call(port, "GET", "/-/ready", &[], b"").status == 200
    });
    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(killed.expect("kill runs").success());
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    drop(reader);
}

/// A command whose reader has seen enough, or whose disk is full.
#[test]
fn a_command_says_what_it_did_by_its_exit_code_whoever_reads_it() {
    let gateway = Gateway::start();
    let full = || File::options().write(true).open("/dev/full").expect("there");
    let gone = || {
        let (reader, writer) = pipe();
        drop(reader);
        OwnedFd::from(writer)
    };
    let run = |line: &[&str], out: Stdio, err: Stdio| {
        let mut command = command(gateway.directory());
        command.args(["--admin", &format!("http://{}", gateway.admin)]).args(line);
        command.stdout(out).stderr(err).status().expect("runs").code()
    };
    let list = ["client", "list"];
    assert_eq!(run(&list, gone().into(), Stdio::null()), Some(0), "head has seen enough");
    assert_eq!(run(&list, full().into(), full().into()), Some(1), "the result is lost");
    assert_eq!(run(&list, Stdio::null(), full().into()), Some(0));
    assert_eq!(
        run(&["enrolment", "list"], Stdio::null(), gone().into()),
        Some(0),
        "there is none to list, which is noted"
    );
    assert_eq!(run(&["client", "delete", "nobody"], Stdio::null(), gone().into()), Some(1));
    assert_eq!(run(&["--help"], gone().into(), gone().into()), Some(0));
    assert_eq!(run(&["no-such-command"], gone().into(), full().into()), Some(2));
    // A plan that nobody sees is not carried out.
    let file = gateway.directory().join("gate.yaml");
    std::fs::write(&file, "version: 1\nclients: {seen: {services: []}}\n").expect("written");
    let apply = ["apply", "--yes", "-f", file.to_str().expect("text")];
    assert_eq!(run(&apply, gone().into(), Stdio::null()), Some(1));
    gateway.admin_ok("GET", "/clients/seen", None, 404);
    assert_eq!(run(&apply, Stdio::null(), full().into()), Some(0));
    gateway.admin_ok("GET", "/clients/seen", None, 200);
}
