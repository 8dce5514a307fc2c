//! What streams: nothing is held back, and nothing is kept.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;

use super::support::client::{connect, read_answer};
use super::support::scene::until;
use super::support::{Backend, Scene};

const GIB: u64 = 1 << 30;
const PIECE: usize = 1 << 20;
/// How much the gateway may grow by while a body of any length passes.
const GROWTH: u64 = 16 << 20;

/// Reads a head off a connection.
fn skip_head(stream: &mut TcpStream) {
    let mut byte = [0];
    let mut last = [0; 4];
    while last != *b"\r\n\r\n" {
        stream.read_exact(&mut byte).expect("more of the head");
        last.rotate_left(1);
        last[3] = byte[0];
    }
}

fn read_away(stream: &mut impl Read, mut left: u64) {
    let mut buffer = vec![0; PIECE];
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE);
        let length = stream.read(&mut buffer[..most]).expect("more");
        assert!(length > 0, "{left} bytes are missing");
        left -= length as u64;
    }
}

fn write_out(stream: &mut impl Write, mut left: u64) {
    let piece = vec![b'x'; PIECE];
    while left > 0 {
        stream.write_all(&piece).expect("sent");
        left -= PIECE as u64;
    }
}

#[test]
fn a_gigabyte_passes_either_way_without_being_kept() {
    let backend = Backend::connected(|stream| {
        skip_head(stream);
        read_away(stream, GIB);
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {GIB}\r\n\r\n").expect("sent");
        write_out(stream, GIB);
    });
    let scene = Scene::open(backend, "limits.body_bytes = 0");
    let before = scene.gateway.memory();
    let mut stream = connect(scene.gateway.data);
    let mut reader = stream.try_clone().expect("a second handle");
    write!(stream, "POST /orders/v1/ HTTP/1.1\r\nHost: a\r\nContent-Length: {GIB}\r\n\r\n").expect("sent");
    let passing = std::thread::spawn(move || {
        write_out(&mut stream, GIB);
        skip_head(&mut reader);
        read_away(&mut reader, GIB);
    });
    let mut most = 0;
    while !passing.is_finished() {
        most = most.max(scene.gateway.memory());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    passing.join().expect("all of it passes");
    assert!(most.saturating_sub(before) <= GROWTH, "grown by {} bytes", most - before);
    scene.gateway.record("service=orders", |record| record["bytes_in"] == GIB && record["bytes_out"] == GIB);
}

#[test]
fn each_event_comes_before_the_next_is_sent() {
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let backend = Backend::connected(move |stream| {
        skip_head(stream);
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).expect("sent");
        for number in 0..5 {
            let event = format!("data: {number}\n\n");
            write!(stream, "{:x}\r\n{event}\r\n", event.len()).expect("sent");
            // Not before the one before it has been seen at the other end.
            wait.lock().expect("not poisoned").recv().expect("told to go on");
        }
        stream.write_all(b"0\r\n\r\n").expect("sent");
    });
    let scene = Scene::open(backend, "");
    let mut stream = connect(scene.gateway.data);
    stream.write_all(b"GET /orders/v1/events HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
    let mut lines = BufReader::new(stream).lines().map(|line| line.expect("a line"));
    for number in 0..5 {
        assert!(lines.any(|line| line == format!("data: {number}")), "{number}");
        go_on.send(()).expect("heard");
    }
    assert!(lines.any(|line| line == "0"), "the end");
}

#[test]
fn ranges_are_the_services_to_answer() {
    let backend = Backend::answering(|request| {
        let range = request.header("range").unwrap_or_default().to_owned();
        let head = "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2-4/10\r\nAccept-Ranges: bytes\r\n";
        format!("{head}ETag: \"1\"\r\nContent-Length: {}\r\n\r\n{range}", range.len()).into_bytes()
    });
    let scene = Scene::open(backend, "");
    let answer = scene.gateway.call("GET", "/orders/v1/", &[("Range", "bytes=2-4"), ("If-Range", "\"1\"")], b"");
    assert_eq!((answer.status, answer.text().as_str()), (206, "bytes=2-4"));
    assert_eq!((answer.header("content-range"), answer.header("etag")), (Some("bytes 2-4/10"), Some("\"1\"")));
    assert_eq!(scene.backend.received()[0].header("if-range"), Some("\"1\""));
}

#[test]
fn what_a_service_says_early_does_not_stand_in_the_way() {
    let backend = Backend::serving(|stream, _| {
        let early = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n";
        stream.write_all(early.as_bytes()).expect("sent");
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_ok()
    });
    let scene = Scene::open(backend, "");
    let mut stream = connect(scene.gateway.data);
    for _ in 0..2 {
        stream.write_all(b"GET /orders/v1/ HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
        let answer = read_answer(&mut stream, false);
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    }
    until("both are recorded", || scene.gateway.logs("service=orders").len() == 2);
}
