//! What happens at the bounds: connections of a peer, bytes of a body, and calls that go in a circle.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::{LAST, open_service, send, statuses, targets};
use crate::support::client::{PATIENCE, connect, exchange, read_answer};
use crate::support::{Backend, Gateway, Scene};

/// Asks over a connection that stays; none if the gateway closes it instead.
fn ask(stream: &mut TcpStream) -> Option<u16> {
    let sent = stream.write_all(b"GET /-/health HTTP/1.1\r\nHost: a\r\n\r\n");
    // Whether there will be an answer can be seen from its first byte.
    let begun = sent.is_ok() && matches!(stream.peek(&mut [0]), Ok(1));
    begun.then(|| read_answer(stream, false).status)
}

/// Connects until it is let in: those who left may not have been noticed yet.
fn let_in(address: SocketAddr) -> TcpStream {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut stream = connect(address);
        if ask(&mut stream) == Some(200) {
            return stream;
        }
        assert!(Instant::now() < deadline, "it is never let in");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_peer_has_so_many_connections_and_no_more() {
    let gateway = Gateway::with("workers = 2\n[limits]\nconnections_per_peer = 5\n");
    let mut held: Vec<_> = (0..5).map(|_| let_in(gateway.data)).collect();
    for _ in 0..10 {
        assert_eq!(ask(&mut connect(gateway.data)), None, "a sixth was let in");
    }
    // Those who are in are not touched by it.
    for stream in &mut held {
        assert_eq!(ask(stream), Some(200));
    }
    held.pop();
    held.push(let_in(gateway.data));
    assert_eq!(ask(&mut connect(gateway.data)), None, "a sixth was let in");
}

#[test]
fn a_listener_has_so_many_connections_and_no_more() {
    let gateway = Gateway::with("workers = 2\n[limits]\nconnections = 5\n");
    let held: Vec<_> = (0..5).map(|_| let_in(gateway.data)).collect();
    assert_eq!(ask(&mut connect(gateway.data)), None, "a sixth was let in");
    drop(held);
    let_in(gateway.data);
}

#[test]
fn a_body_has_so_many_bytes_and_no_more() {
    let scene = Scene::open(Backend::echo(), "[limits]\nbody_bytes = 1000\n");
    let post = |length: usize, fields: &str| {
        format!("POST /orders/v1/x HTTP/1.1\r\nHost: a\r\n{fields}Content-Length: {length}\r\n\r\n")
    };
    for (request, what) in [
        (format!("{}{}", post(1_001, ""), "x".repeat(1_001)), "with its body"),
        (post(1_001, ""), "without a byte of it"),
        (post(1_001, "Expect: 100-continue\r\n"), "asked for"),
        (post(usize::MAX / 2, ""), "as large as can be"),
    ] {
        let bytes = exchange(scene.gateway.data, request.as_bytes());
        assert!(bytes.starts_with(b"HTTP/1.1 413 "), "{what}: {}", String::from_utf8_lossy(&bytes));
        let answer = read_answer(&mut &bytes[..], false);
        assert_eq!(answer.code(), "body_too_large", "{what}");
        assert_eq!(answer.header("connection"), Some("close"), "{what}");
    }
    assert_eq!(scene.backend.connections(), 0, "it is refused before anything is sent on");

    let chunk = |length: usize| format!("{length:x}\r\n{}\r\n", "x".repeat(length));
    let chunked = |chunks: &[usize]| {
        let chunks: String = chunks.iter().map(|length| chunk(*length)).collect();
        format!("POST /orders/v1/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n")
    };
    for chunks in [&[1_001][..], &[1_000, 1], &[500, 400, 300], &[1; 1_001]] {
        let answers = send(&scene.gateway, chunked(chunks));
        assert_eq!(statuses(&answers), [413], "{chunks:?}");
        assert_eq!(answers[0].code(), "body_too_large");
    }
    assert_eq!(scene.backend.received().len(), 0);
    let wire = scene.backend.wait_for_wire(|wire| wire.iter().all(|wire| wire.ended));
    assert!(wire.iter().all(|wire| !wire.bytes.ends_with(b"0\r\n\r\n")), "{wire:?}");

    let fits = format!("{}{}", post(1_000, ""), "x".repeat(1_000));
    assert_eq!(statuses(&send(&scene.gateway, format!("{fits}{}{LAST}", chunked(&[999, 1])))), [200, 200, 200]);
    assert_eq!(targets(&scene.backend), ["/x", "/x", "/last"]);
}

#[test]
fn the_gateway_is_no_target_of_its_own() {
    let gateway = Gateway::start();
    let (data, admin) = (gateway.data.port(), gateway.admin.port());
    for (number, url) in [
        format!("http://127.0.0.1:{data}"),
        format!("http://127.0.0.1:{admin}"),
        format!("http://localhost:{data}"),
        format!("http://0.0.0.0:{data}"),
        format!("http://[::ffff:127.0.0.1]:{data}"),
        format!("http://[::ffff:127.0.0.1]:{admin}"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("self{number}");
        open_service(&gateway, &name, std::slice::from_ref(&url));
        let answer = gateway.call("GET", &format!("/{name}/v1/x"), &[], b"");
        assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_address_refused"), "{url}");
    }
    // Addresses of clouds' own services, that no name may lead to.
    for (number, url) in
        ["http://169.254.169.254", "http://[fe80::1]", "http://[::ffff:a9fe:a9fe]"].into_iter().enumerate()
    {
        let name = format!("cloud{number}");
        open_service(&gateway, &name, &[url.to_owned()]);
        let answer = gateway.call("GET", &format!("/{name}/v1/x"), &[], b"");
        assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_address_refused"), "{url}");
    }
}

#[test]
fn a_circle_of_calls_is_cut() {
    // A proxy between: what comes to it goes to the gateway again, with everything that stood on it.
    let gateway = Gateway::start();
    let data = gateway.data;
    let between = Backend::serving(move |stream, request| {
        let mut head = format!("{} /circle/v1/again HTTP/1.1\r\n", request.method);
        for (name, value) in request.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("connection")) {
            head += &format!("{name}: {value}\r\n");
        }
        head += "Connection: close\r\n\r\n";
        let mut again = connect(data);
        again.write_all(head.as_bytes()).expect("sent");
        let mut answer = Vec::new();
        again.read_to_end(&mut answer).expect("an answer");
        stream.write_all(&answer).expect("answered");
        false
    });
    open_service(&gateway, "circle", &[between.url()]);
    let answer = gateway.call("GET", "/circle/v1/x", &[], b"");
    assert_eq!((answer.status, answer.code().as_str()), (508, "loop_detected"));
    assert_eq!(between.received().len(), 1, "it went round more than once");
}
