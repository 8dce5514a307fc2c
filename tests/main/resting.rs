//! Connections on which nothing comes for a while: they let go of what they need, and lose nothing.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::support::authority::Authority;
use crate::support::client::{PATIENCE, connect, read_answer, read_to_close};
use crate::support::{Backend, Scene};

/// Long enough for a connection to rest: it does so after a second, and its worker looks five times in one.
const WHILE: Duration = Duration::from_millis(1_600);

fn request(path: &str) -> String {
    format!("GET /orders/v1/{path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

#[test]
fn a_connection_that_has_rested_goes_on_where_it_was() {
    let scene = Scene::open(Backend::echo(), "");
    let mut stream = connect(scene.gateway.data);
    let answered = |stream: &mut _, path: &str| {
        assert_eq!(read_answer(stream, false).json()["target"], format!("/{path}"));
    };
    for round in 0..3 {
        stream.write_all(request(&round.to_string()).as_bytes()).expect("sent");
        answered(&mut stream, &round.to_string());
        sleep(WHILE);
    }
    // What comes after a rest comes byte by byte.
    for byte in request("bytes").bytes() {
        stream.write_all(&[byte]).expect("sent");
        stream.flush().expect("sent");
    }
    answered(&mut stream, "bytes");
    // More than is read to wake up.
    sleep(WHILE);
    let long = "long".repeat(1_000);
    stream.write_all(request(&long).as_bytes()).expect("sent");
    answered(&mut stream, &long);
    // Several at once.
    sleep(WHILE);
    stream.write_all(format!("{}{}", request("one"), request("other")).as_bytes()).expect("sent");
    answered(&mut stream, "one");
    answered(&mut stream, "other");
}

#[test]
fn half_a_head_that_came_with_the_request_before_is_kept() {
    let scene = Scene::open(Backend::echo(), "timeouts.head = \"20s\"\n");
    let mut stream = connect(scene.gateway.data);
    let next = request("next");
    let (half, rest) = next.split_at(20);
    stream.write_all(format!("{}{half}", request("first")).as_bytes()).expect("sent");
    assert_eq!(read_answer(&mut stream, false).json()["target"], "/first");
    sleep(WHILE);
    stream.write_all(rest.as_bytes()).expect("sent");
    assert_eq!(read_answer(&mut stream, false).json()["target"], "/next");
}

#[test]
fn a_connection_may_end_in_its_sleep() {
    let scene = Scene::open(Backend::echo(), "timeouts.keep_alive = \"3s\"\n");
    let rested = || {
        let mut stream = connect(scene.gateway.data);
        stream.write_all(request("a").as_bytes()).expect("sent");
        assert_eq!(read_answer(&mut stream, false).status, 200);
        sleep(WHILE);
        stream
    };
    let open = || scene.gateway.admin_ok("GET", "/status", None, 200)["counters"]["connections_open"].clone();
    // Its time is up.
    assert_eq!(read_to_close(&mut rested()), b"");
    // The caller goes.
    drop(rested());
    crate::support::scene::until("all connections are gone", || open() == 0);
}

#[test]
fn a_stop_ends_connections_that_rest() {
    let mut scene = Scene::open(Backend::echo(), "");
    let mut stream = connect(scene.gateway.data);
    stream.write_all(request("a").as_bytes()).expect("sent");
    assert_eq!(read_answer(&mut stream, false).status, 200);
    sleep(WHILE);
    scene.gateway.signal("TERM");
    assert_eq!(read_to_close(&mut stream), b"");
    assert!(scene.gateway.wait().success());
}

#[test]
fn tls_goes_on_after_a_rest() {
    let authority = Authority::new();
    let issued = authority.issue("tls", "DNS:api.example.com");
    let settings = format!("tls_listen = \"127.0.0.1:0\"\n[tls]\ncertificates = [{}]\n", issued.setting());
    let scene = Scene::open(Backend::echo(), &settings);
    let address = scene.gateway.tls.expect("it listens with TLS").to_string();
    let mut client = Command::new("openssl")
        .args(["s_client", "-quiet", "-connect", &address, "-servername", "api.example.com"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl is installed");
    let (mut input, mut output) = (client.stdin.take().expect("piped"), client.stdout.take().expect("piped"));
    for path in ["one", "two", "three"] {
        input.write_all(request(path).as_bytes()).expect("sent");
        assert_eq!(read_answer(&mut output, false).json()["target"], format!("/{path}"));
        sleep(WHILE);
    }
    client.kill().and_then(|()| client.wait()).expect("it ends");
}

#[test]
fn the_rest_of_a_body_is_no_request() {
    // The service answers before it has read the body, and goes on reading.
    let backend = Backend::connected(|stream| {
        let mut bytes = [0; 4_096];
        let mut seen = Vec::new();
        while !seen.windows(4).any(|four| four == b"\r\n\r\n") {
            match stream.read(&mut bytes) {
                Ok(length @ 1..) => seen.extend_from_slice(&bytes[..length]),
                _ => return,
            }
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").expect("sent");
        while stream.read(&mut bytes).is_ok_and(|length| length > 0) {}
    });
    let scene = Scene::open(backend, "timeouts.keep_alive = \"4s\"\n");
    let mut stream = connect(scene.gateway.data);
    let hidden = request("hidden");
    let head = format!("POST /orders/v1/a HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\nx", hidden.len() + 9);
    stream.write_all(head.as_bytes()).expect("sent");
    let answer = read_answer(&mut stream, false);
    assert_eq!((answer.text().as_str(), answer.header("connection")), ("ok", Some("close")));
    sleep(WHILE);
    stream.write_all(hidden.as_bytes()).expect("sent");
    assert_eq!(String::from_utf8_lossy(&read_to_close(&mut stream)), "");
    let paths: Vec<_> = scene.gateway.logs("limit=100").iter().map(|record| record["path"].clone()).collect();
    assert!(!paths.iter().any(|path| path == "/orders/v1/hidden"), "{paths:?}");
}

/// A connection of somebody who lets little come at a time.
fn reluctant(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(8 << 10).expect("a small buffer");
    socket.connect(&address.into()).expect("connected");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
    stream
}

#[test]
fn slow_readers_get_the_whole_of_a_last_answer() {
    let backend = Backend::connected(|stream| {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read(&mut byte) {
                Ok(1) => head.push(byte[0]),
                _ => return,
            }
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let size: usize = head.split(['/', ' ']).find_map(|part| part.parse().ok()).expect("a size");
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n");
        // The gateway may be gone.
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&vec![b'x'; size]));
    });
    let scene = Scene::open(backend, "");
    // Somewhere among these sizes is one of which the last piece is all that is left in the gateway.
    let readers: Vec<_> = (1..100)
        .map(|step| {
            let size = step * (44 << 10);
            let mut stream = reluctant(scene.gateway.data);
            let head = format!("GET /orders/v1/{size} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).expect("sent");
            (stream, size)
        })
        .collect();
    sleep(WHILE);
    scene.gateway.signal("TERM");
    sleep(WHILE);
    for (mut stream, size) in readers {
        let answer = read_to_close(&mut stream);
        let body = answer.windows(4).position(|four| four == b"\r\n\r\n").map(|end| answer.len() - end - 4);
        assert_eq!(body, Some(size));
    }
}
