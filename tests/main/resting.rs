//! Connections on which nothing comes for a while: they let go of what they need, and lose nothing.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::support::authority::Authority;
use crate::support::client::{connect, read_answer, read_to_close};
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
    let mut answered = |stream: &mut _, path: &str| {
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
    drop(input);
    let mut rest = Vec::new();
    output.read_to_end(&mut rest).expect("read");
    client.wait().expect("it ends");
}
