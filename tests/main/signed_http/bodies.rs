//! Signed bodies that pass in bounded memory, or are held within bounds until their digest has been compared.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use aws_lc_rs::digest::{Context, SHA256};
use serde_json::json;

use super::super::support::client::{Answer, connect, connect_as, read_answer};
use super::super::support::scene::until;
use super::super::upstream_http2::Server;
use super::{Backend, Change, Draft, Gateway, House, SETTINGS, STANDARD, Signed, answered, content_digest};
use base64::Engine;

const MEBIBYTE: usize = 1 << 20;

/// What a service has got that keeps nothing of bodies.
#[derive(Debug, Default)]
struct Got {
    /// The digests of whole bodies.
    whole: Vec<String>,
    /// The bytes of bodies that broke off.
    broken: Vec<usize>,
}

/// A service that reads bodies with a `Content-Length` and counts them.
fn counting() -> (Backend, Arc<Mutex<Got>>) {
    let got = Arc::new(Mutex::new(Got::default()));
    let seen = Arc::clone(&got);
    let backend = Backend::connected(move |stream| {
        let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
        loop {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                if reader.read_until(b'\n', &mut head).unwrap_or(0) == 0 {
                    return;
                }
            }
            let head = String::from_utf8(head).expect("text").to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.expect("a length").parse().expect("a number");
            let (mut digest, mut read, mut buffer) = (Context::new(&SHA256), 0, vec![0; 1 << 16]);
            while read < length {
                match reader.read(&mut buffer) {
                    Ok(0) | Err(_) => break,
                    Ok(more) => {
                        digest.update(&buffer[..more]);
                        read += more;
                    }
                }
            }
            let mut seen = seen.lock().expect("not poisoned");
            if read < length {
                seen.broken.push(read);
                return;
            }
            seen.whole.push(format!("sha-256=:{}:", STANDARD.encode(digest.finish())));
            drop(seen);
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").expect("sent");
        }
    });
    (backend, got)
}

/// The most memory that the gateway has had resident, in bytes.
fn peak(gateway: &Gateway) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).expect("its status");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a size");
    line.split_whitespace().nth(1).expect("a number").parse::<usize>().expect("a number") * 1024
}

/// Sends a request over a connection of its own, whose body is another than the signed one.
fn sent_with(gateway: &Gateway, request: &Signed, body: &[u8]) -> Answer {
    let mut stream = connect(gateway.data);
    stream.write_all(request.head(&format!("Content-Length: {}\r\n", body.len())).as_bytes()).expect("sent");
    stream.write_all(body).expect("sent");
    read_answer(&mut stream, false)
}

#[test]
fn a_large_body_streams_and_its_last_bytes_wait_for_its_digest() {
    let (backend, got) = counting();
    let house = House::before(backend, SETTINGS, &json!({"stream": true}));
    let mut body: Vec<u8> = (0..64 * MEBIBYTE).map(|at| u8::try_from(at % 251).expect("a byte")).collect();
    let draft = house.post(&body);
    assert_eq!(sent_with(&house.gateway, &house.post(b"small").signed(), b"small").status, 200);
    let before = peak(&house.gateway);
    let again = || draft.clone().changed(|draft| draft.nonce = Some(super::nonce())).signed();
    let answer = sent_with(&house.gateway, &again(), &body);
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    let whole = || got.lock().expect("not poisoned").whole.clone();
    assert_eq!(whole(), [content_digest(b"small"), content_digest(&body)]);
    // The kernel counts roughly: the peak may be a little lower than it was said to be before.
    let growth = peak(&house.gateway).saturating_sub(before);
    assert!(growth < 32 * MEBIBYTE, "{growth} bytes more for a body of {}", body.len());

    let connections = house.backend.connections();
    for at in [body.len() - 1, 0] {
        body[at] ^= 1;
        let answer = sent_with(&house.gateway, &again(), &body);
        assert!((400..500).contains(&answer.status), "{}", answer.text());
        body[at] ^= 1;
    }
    until("both are cut", || got.lock().expect("not poisoned").broken.len() == 2);
    {
        let got = got.lock().expect("not poisoned");
        assert!(got.broken.iter().all(|bytes| *bytes < body.len()), "{got:?}");
        assert_eq!(got.whole.len(), 2, "{got:?}");
    }
    // What was cut is not used again.
    assert_eq!(sent_with(&house.gateway, &again(), &body).status, 200);
    assert!(house.backend.connections() > connections, "the same connection again");
    assert_eq!(whole().len(), 3);
    assert!(peak(&house.gateway).saturating_sub(before) < 32 * MEBIBYTE);
}

#[test]
fn a_service_says_yes_to_nothing_that_has_not_been_verified() {
    for (status, expected) in [("200 OK", 502), ("302 Found", 502), ("403 Forbidden", 403)] {
        let backend = Backend::connected(move |stream| {
            let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                if reader.read_until(b'\n', &mut head).unwrap_or(0) == 0 {
                    return;
                }
            }
            let _ = stream.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nok").as_bytes());
            // The rest is read, so that nothing is reset.
            let _ = reader.read_to_end(&mut head);
        });
        let house = House::before(backend, SETTINGS, &json!({"stream": true}));
        let body = vec![b'x'; 1 << 20];
        let request = house.post(&body).signed();
        let mut stream = connect(house.gateway.data);
        stream.write_all(request.head(&format!("Content-Length: {}\r\n", body.len())).as_bytes()).expect("sent");
        stream.write_all(&body[..200_000]).expect("sent");
        let answer = read_answer(&mut stream, false);
        assert_eq!(answer.status, expected, "{status}: {}", answer.text());
    }
}

#[test]
fn what_is_held_has_a_bound() {
    for (stream, over) in [(false, 413), (true, 200)] {
        let settings = format!("{SETTINGS}limits.held_body_bytes = \"1KiB\"\n");
        let house = House::before(Backend::echo(), &settings, &json!({"stream": stream}));
        let body = vec![b'x'; 1025];
        for (body, expected) in [(&body[..1024], 200), (&body, over)] {
            let what = format!("{} bytes, stream {stream}", body.len());
            let request = house.post(body).signed();
            assert_eq!(answered(&house.gateway, &request.bytes()).status, expected, "{what}");
            let request = house.post(body).signed();
            let chunk = format!("{:x}\r\n{}\r\n0\r\n\r\n", body.len(), String::from_utf8_lossy(body));
            let chunked = request.head("Transfer-Encoding: chunked\r\nConnection: close\r\n") + &chunk;
            let answer = answered(&house.gateway, chunked.as_bytes());
            assert_eq!(answer.status, expected, "{what}, in chunks");
            if expected == 413 {
                assert_eq!(answer.code(), "body_too_large");
            }
        }
    }
}

/// Sends the head of a request, and half of its body.
fn begin(stream: &mut TcpStream, request: &Signed) {
    let head = request.head(&format!("Content-Length: {}\r\nConnection: close\r\n", request.body.len()));
    stream.write_all(&[head.as_bytes(), &request.body[..request.body.len() / 2]].concat()).expect("sent");
}

/// Whether the gateway has answered on a connection, or closed it.
fn has_ended(open: &TcpStream) -> bool {
    open.set_nonblocking(true).expect("set");
    let looked = open.peek(&mut [0]);
    open.set_nonblocking(false).expect("set");
    !looked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

#[test]
fn when_all_that_may_be_held_is_held_calls_are_to_come_again() {
    // Half of it is for requests, and a quarter of that for one address.
    let settings = format!("{SETTINGS}limits.held_bytes = \"128KiB\"\n");
    let house = House::before(Backend::echo(), &settings, &json!({}));
    let body = vec![b'x'; 14_000];
    // What comes slowly is not held for ever, and a busy machine may be slower than that: then it is begun anew.
    until("a body is held until all of it has come", || {
        let mut open = connect(house.gateway.data);
        let held = house.post(&body).signed();
        begin(&mut open, &held);
        let mut refused = None;
        while refused.is_none() && !has_ended(&open) {
            let answer = answered(&house.gateway, &house.post(&body).signed().bytes());
            refused = Some(answer).filter(|answer| answer.status != 200);
        }
        let Some(refused) = refused else { return false };
        assert_eq!((refused.status, refused.code().as_str()), (503, "overloaded"));
        assert!(refused.header("retry-after").is_some_and(|wait| wait.parse::<u32>().is_ok_and(|wait| wait > 0)));
        // Other addresses have room, and so have small bodies.
        let mut elsewhere = connect_as("127.0.0.2", house.gateway.data);
        elsewhere.write_all(&house.post(&body).signed().bytes()).expect("sent");
        assert_eq!(read_answer(&mut elsewhere, false).status, 200);
        assert_eq!(answered(&house.gateway, &house.post(b"small").signed().bytes()).status, 200);
        if has_ended(&open) {
            return false;
        }
        open.write_all(&held.body[held.body.len() / 2..]).expect("sent");
        match read_answer(&mut open, false).status {
            408 => false,
            status => {
                assert_eq!(status, 200, "what was held goes on");
                true
            }
        }
    });
    until("there is room again", || answered(&house.gateway, &house.post(&body).signed().bytes()).status == 200);
}

#[test]
fn nothing_is_held_for_who_has_not_signed() {
    for stream in [true, false] {
        let house = House::new(&json!({"stream": stream}));
        let wrong: [Change<'_, Draft>; 3] = [
            ("another secret", &|draft| draft.secret[0] ^= 1),
            ("too old", &|draft| draft.created = Some(super::seconds() - 1_000)),
            ("no digest", &|draft| draft.fields.clear()),
        ];
        for (what, change) in wrong {
            let request = house.post(&[b'x'; 10_000]).changed(change).signed();
            let mut stream = connect(house.gateway.data);
            begin(&mut stream, &request);
            // The rest of the body never comes, and nobody waits for it.
            assert_eq!(read_answer(&mut stream, false).status, 401, "{what}");
        }
        assert_eq!(house.backend.connections(), 0);
    }
}

#[test]
fn over_http2_to_the_service_a_wrong_body_is_reset() {
    let server = Server::start(&json!({}));
    let house = House::new(&json!({}));
    let service = json!({
        "targets": [{"url": server.url()}], "require": [["signature"]], "policies": {"signature": {"stream": true}},
        "protocol": "h2c",
    });
    house.gateway.admin_ok("PUT", "/services/orders/v1", Some(&service), 200);
    for length in [1_000, 300_000] {
        let body = vec![b'x'; length];
        let (before, resets) = (server.events("request").len(), server.events("reset").len());
        let answer = sent_with(&house.gateway, &house.post(&body).signed(), &vec![b'y'; length]);
        assert!((400..500).contains(&answer.status), "{length}: {}", answer.text());
        let begun = server.events("request").len() - before;
        until("what was begun is reset", || server.events("reset").len() == resets + begun);
        assert_eq!(sent_with(&house.gateway, &house.post(&body).signed(), &body).status, 200, "{length}");
    }
}
