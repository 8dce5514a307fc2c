//! What a service says before its answer (RFC 8297) reaches the caller, and never stands where it does not belong.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::mpsc;

use super::support::client::{connect, read_answer};
use super::support::{Backend, Scene, python};

const HINT: &str = "HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\nconnection: x-hop\r\nx-hop: 1\r\n\
    set-cookie: a=1\r\nx-request-id: forged\r\nx-more: yes\r\n\r\n";
const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A head, as it stands on the wire.
fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("more of the head");
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("ASCII")
}

const TOLD: &str = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\nX-More: yes\r\n\r\n";

#[test]
fn a_hint_comes_before_the_answer_is_there() {
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let backend = Backend::serving(move |stream, _| {
        stream.write_all(HINT.as_bytes()).expect("sent");
        wait.lock().expect("not poisoned").recv().expect("told to go on");
        stream.write_all(ANSWER.as_bytes()).is_ok()
    });
    let scene = Scene::open(backend, "");
    let mut stream = connect(scene.gateway.data);
    for _ in 0..2 {
        stream.write_all(b"GET /orders/v1/ HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
        assert_eq!(head(&mut stream), TOLD);
        go_on.send(()).expect("heard");
        assert_eq!(read_answer(&mut stream, false).text(), "ok");
    }
}

#[test]
fn hints_stand_in_front_of_their_own_answer_on_a_pipeline() {
    let backend = Backend::serving(|stream, request| {
        let hint = format!("HTTP/1.1 103 Early Hints\r\nLink: <{}>\r\n\r\n", request.target);
        // With its answer in one piece, for every other one.
        let body = request.target.clone();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        if request.target.ends_with('1') {
            return stream.write_all(format!("{hint}{answer}").as_bytes()).is_ok();
        }
        stream.write_all(hint.as_bytes()).expect("sent");
        stream.write_all(answer.as_bytes()).is_ok()
    });
    let scene = Scene::open(backend, "");
    let mut stream = connect(scene.gateway.data);
    let requests = (0..10).map(|number| format!("GET /orders/v1/{number} HTTP/1.1\r\nHost: a\r\n\r\n"));
    stream.write_all(requests.collect::<String>().as_bytes()).expect("sent");
    for number in 0..10 {
        assert_eq!(head(&mut stream), format!("HTTP/1.1 103 Early Hints\r\nLink: </{number}>\r\n\r\n"));
        assert_eq!(read_answer(&mut stream, false).text(), format!("/{number}"));
    }
}

#[test]
fn a_service_that_hints_and_dies_is_answered_for() {
    let backend = Backend::serving(|stream, _| {
        stream.write_all(HINT.as_bytes()).expect("sent");
        false
    });
    let scene = Scene::open(backend, "");
    let mut stream = connect(scene.gateway.data);
    stream.write_all(b"POST /orders/v1/ HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").expect("sent");
    assert_eq!(head(&mut stream), TOLD);
    assert_eq!(read_answer(&mut stream, false).status, 502);
}

#[test]
fn a_hundred_hints_are_too_many() {
    let long = format!("HTTP/1.1 103 Early Hints\r\nLink: <{}>\r\n\r\n", "x".repeat(9_000));
    let hints: String =
        (0..100).map(|number| format!("HTTP/1.1 103 Early Hints\r\nLink: <{number}>\r\n\r\n")).collect();
    let said = format!("{long}{hints}{ANSWER}");
    let scene = Scene::open(Backend::answering(move |_| said.clone().into_bytes()), "");
    let mut stream = connect(scene.gateway.data);
    stream.write_all(b"GET /orders/v1/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("sent");
    let lines = BufReader::new(stream).lines().map(|line| line.expect("a line"));
    let links: Vec<String> = lines.filter(|line| line.starts_with("Link")).collect();
    assert_eq!(links, (0..8).map(|number| format!("Link: <{number}>")).collect::<Vec<_>>());
}

#[test]
fn whoever_speaks_an_older_version_is_told_nothing() {
    let scene = Scene::open(Backend::answering(|_| format!("{HINT}{ANSWER}").into_bytes()), "");
    let mut stream = connect(scene.gateway.data);
    stream.write_all(b"GET /orders/v1/ HTTP/1.0\r\nHost: a\r\n\r\n").expect("sent");
    let mut all = String::new();
    stream.read_to_string(&mut all).expect("an answer");
    assert!(all.starts_with("HTTP/1.0 200") || all.starts_with("HTTP/1.1 200"), "{all}");
    assert!(!all.contains("103"), "{all}");
}

#[test]
fn hints_pass_over_http2() {
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let backend = Backend::serving(move |stream, _| {
        stream.write_all(HINT.repeat(100).as_bytes()).expect("sent");
        wait.lock().expect("not poisoned").recv().expect("told to go on");
        stream.write_all(ANSWER.as_bytes()).is_ok()
    });
    let scene = Scene::open(backend, "");
    let script = concat!(include_str!("http2/frames.py"), include_str!("http2/early_hints.py"));
    let mut program = Command::new(python())
        .args(["-c", script, "", &scene.gateway.data.to_string()])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("starts");
    let mut said = BufReader::new(program.stdout.take().expect("its output")).lines().map(|line| line.expect("a line"));
    let told = "[(':status', '103'), ('link', '</style.css>; rel=preload'), ('x-more', 'yes')]";
    for _ in 0..8 {
        assert_eq!(said.next().as_deref(), Some(told));
    }
    go_on.send(()).expect("heard");
    assert_eq!(said.next().as_deref(), Some("200"));
    assert!(program.wait().expect("it ends").success());
}
