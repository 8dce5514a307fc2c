//! Calls under way end when what their caller was let in by is taken back: whatever streams, either way and at any pace, and
//! in every version of HTTP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::support::scene::{PASSWORD, client, log_in, text, until};
use super::support::{Backend, Gateway, Scene, python};

/// What each answer says it is long.
const LENGTH: usize = 100_000_000;

/// What has become of requests at the service.
type Noted = Arc<Mutex<Vec<String>>>;

/// A service that answers as its path says, and notes when a request has ended and whether it was whole.
fn service() -> (Backend, Noted) {
    let noted = Noted::default();
    let notes = Arc::clone(&noted);
    let backend = Backend::connected(move |stream| {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if stream.read(&mut byte).unwrap_or(0) == 0 {
                return;
            }
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let way = head.split(' ').nth(1).expect("a target").trim_start_matches('/').to_owned();
        let kind = &way[..way.len() - 1];
        notes.lock().expect("not poisoned").push(format!("{way} came"));
        match kind {
            "down" => write_out(stream, 1_000, Duration::from_millis(50)),
            "flood" => write_out(stream, 1 << 20, Duration::ZERO),
            "deaf" | "late" => wait_for_end(stream, kind == "deaf"),
            "early" => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").expect("answered"),
            _ => {}
        }
        if matches!(kind, "up" | "long" | "early") {
            let mut body = Vec::new();
            // A reset is an end too.
            let _ = stream.read_to_end(&mut body);
            let is_whole = if kind == "long" { body.len() >= LENGTH } else { body.ends_with(b"0\r\n\r\n") };
            notes
                .lock()
                .expect("not poisoned")
                .push(format!("{way} {}", if is_whole { "whole" } else { "broken off" }));
        } else {
            notes.lock().expect("not poisoned").push(format!("{way} broken off"));
        }
    });
    (backend, noted)
}

fn write_out(stream: &mut TcpStream, piece: usize, pause: Duration) {
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n").expect("sent");
    for _ in 0..LENGTH / piece {
        if stream.write_all(&vec![b'x'; piece]).is_err() {
            return;
        }
        std::thread::sleep(pause);
    }
}

/// Until the other side has ended it; `deaf`: without taking anything.
fn wait_for_end(stream: &mut TcpStream, deaf: bool) {
    if !deaf {
        let _ = stream.read_to_end(&mut Vec::new());
        return;
    }
    while socket2::SockRef::from(&*stream).take_error().is_ok_and(|error| error.is_none())
        && !is_ended(&stream.local_addr().expect("an address").port(), &stream.peer_addr().expect("one").port())
    {
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Whether the other side of a connection on loopback is not there any more.
fn is_ended(here: &u16, there: &u16) -> bool {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("a table");
    let ends = format!(":{there:04X} 0100007F:{here:04X} 01 ");
    !table.lines().any(|line| line.contains(&ends))
}

/// Programs of `client.py` under way.
struct Calls {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Calls {
    fn start(gateway: &Gateway, token: &str, key: &str, ways: &[&str]) -> Self {
        let script = concat!(include_str!("http2/frames.py"), include_str!("taken_back/client.py"));
        let mut command = Command::new(python());
        command.args(["-c", script, "calls", &gateway.data.to_string(), token, key]).args(ways);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("starts");
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        let mut calls = Self { child, lines };
        assert_eq!(calls.said(), "open");
        calls
    }

    fn said(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        line.trim().to_owned()
    }

    fn ask(&mut self) {
        self.child.stdin.as_mut().expect("piped").write_all(b"\n").expect("it waits");
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Each way a call can go on for long over a version of HTTP, what its caller is told at its end, and whether the service
/// had its request, or was to take an answer, until then.
const WAYS: [(&str, &str); 13] = [
    ("down1", "cut"),
    ("flood1", "cut"),
    ("late1", "401 revoked"),
    ("up1", "401 revoked"),
    ("long1", "401 revoked"),
    ("deaf1", "401 revoked"),
    ("early1", "closed"),
    ("down2", "reset 2"),
    ("flood2", "reset 8"),
    ("late2", "401 revoked"),
    ("up2", "401 revoked"),
    ("long2", "401 revoked"),
    ("early2", "reset 0"),
];

/// Takes something back, and holds that every call that was let in by it ends and no other does.
#[track_caller]
fn check(take_back: impl Fn(&Scene)) {
    let (backend, noted) = service();
    let scene = Scene::before(backend, "limits.body_bytes = 0\ntimeouts.body_idle = \"10m\"");
    let gateway = &scene.gateway;
    gateway.admin_ok("POST", "/users", Some(&json!({"username": "bob", "password": PASSWORD})), 201);
    let other_key = client(gateway, "other", &["orders/v1"]);
    let other = text(&log_in(gateway, "bob", &[("X-API-Key", &other_key)]), "access_token");
    // A session of the client, so that it ends with the client too.
    let token = text(&log_in(gateway, "ada", &[("X-API-Key", &scene.api_key)]), "access_token");
    let ways = WAYS.map(|(way, _)| way);
    let mut others = Calls::start(gateway, &other, &other_key, &["down1", "late1", "up1", "long1", "down2", "up2"]);
    let mut calls = Calls::start(gateway, &token, &scene.api_key, &ways);
    until("all have come", || {
        let noted = noted.lock().expect("not poisoned");
        noted.iter().filter(|note| note.ends_with("came")).count() == ways.len() + 6
    });
    take_back(&scene);
    // What nobody takes is broken off as well: its caller hears of it when it looks.
    gateway.record("path=/orders/v1/flood1", |record| record["refusal"] == "revoked");
    calls.ask();
    let mut told = Vec::new();
    while told.len() < ways.len() {
        let said = calls.said();
        assert!(!said.is_empty(), "the program has ended: {told:?}");
        told.extend((!said.starts_with("on")).then_some(said));
    }
    for (way, as_it_should) in WAYS {
        assert!(told.contains(&format!("{way} {as_it_should}")), "{way} {as_it_should}: {told:?}");
        until(&format!("the service has seen the end of {way}"), || {
            noted.lock().expect("not poisoned").contains(&format!("{way} broken off"))
        });
        if !way.starts_with("early") {
            gateway.record(&format!("path=/orders/v1/{way}"), |record| record["refusal"] == "revoked");
        }
    }
    assert!(!noted.lock().expect("not poisoned").iter().any(|note| note.ends_with("whole")));
    others.ask();
    assert_eq!(others.said(), "on down1 late1 up1 long1 down2 up2");
}

fn session_of(scene: &Scene, user: &str) -> String {
    let sessions = scene.gateway.admin_ok("GET", &format!("/users/{user}/sessions"), None, 200)["items"].clone();
    let shop = |session: &&Value| session["client"] == "shop";
    text(sessions.as_array().expect("a list").iter().find(shop).expect("one"), "id")
}

#[test]
fn a_user_is_deleted() {
    check(|scene| drop(scene.gateway.admin_ok("DELETE", "/users/ada", None, 204)));
}

#[test]
fn a_user_is_disabled() {
    check(|scene| drop(scene.gateway.admin_ok("PUT", "/users/ada", Some(&json!({"enabled": false})), 200)));
}

#[test]
fn a_session_is_ended() {
    check(|scene| {
        let session = session_of(scene, "ada");
        scene.gateway.admin_ok("DELETE", &format!("/users/ada/sessions/{session}"), None, 204);
    });
}

#[test]
fn an_api_key_is_deleted() {
    check(|scene| {
        let keys = scene.gateway.admin_ok("GET", "/clients/shop/api-keys", None, 200)["items"].clone();
        let id = text(&keys[0], "id");
        scene.gateway.admin_ok("DELETE", &format!("/clients/shop/api-keys/{id}"), None, 204);
    });
}

#[test]
fn a_client_is_disabled() {
    check(|scene| {
        let off = json!({"services": ["orders/v1"], "enabled": false});
        scene.gateway.admin_ok("PUT", "/clients/shop", Some(&off), 200);
    });
}

#[test]
fn a_client_is_deleted() {
    check(|scene| drop(scene.gateway.admin_ok("DELETE", "/clients/shop", None, 204)));
}
