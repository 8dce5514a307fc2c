//! Connections that go on in another protocol: WebSocket and others, through the real gateway, byte for byte.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use super::support::backend::Received;
use super::support::client::{Answer, connect, parse_head};
use super::support::scene::until;
use super::support::{Backend, Scene};

/// A backend that switches to what it is asked for and then sends back every byte, until it is sent none.
fn echoing() -> Backend {
    Backend::serving(|stream, request| {
        let protocol = request.header("upgrade").unwrap_or("nothing").to_owned();
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\nX-Own: 1\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).expect("sent");
        let mut buffer = [0; 65_536];
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            if stream.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        let _ = stream.shutdown(Shutdown::Both);
        false
    })
}

fn wish(fields: &str) -> String {
    format!(
        "GET /orders/v1/chat HTTP/1.1\r\nHost: gate\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n{fields}\r\n"
    )
}

/// The head of an answer, read byte by byte.
fn read_head(stream: &mut TcpStream) -> Answer {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).expect("more"), 1, "{:?}", String::from_utf8_lossy(&head));
        head.push(byte[0]);
    }
    let (status, headers) = parse_head(&head);
    Answer { status, headers, body: Vec::new() }
}

fn open(scene: &Scene, fields: &str) -> TcpStream {
    let mut stream = connect(scene.gateway.data);
    stream.write_all(wish(fields).as_bytes()).expect("sent");
    let answer = read_head(&mut stream);
    assert_eq!(answer.status, 101, "{answer:?}");
    assert_eq!((answer.header("upgrade"), answer.header("connection")), (Some("websocket"), Some("upgrade")));
    assert_eq!(answer.header("x-own"), Some("1"));
    assert!(answer.header("x-request-id").is_some());
    stream
}

fn echo(stream: &mut TcpStream, bytes: &[u8]) {
    let mut writer = stream.try_clone().expect("a second handle");
    let sent = bytes.to_vec();
    let writing = std::thread::spawn(move || writer.write_all(&sent).expect("sent"));
    let mut back = vec![0; bytes.len()];
    stream.read_exact(&mut back).expect("all of it");
    assert!(back == bytes, "what comes back is what was sent");
    writing.join().expect("written");
}

fn ends(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

fn fields(request: &Received, name: &str) -> Vec<String> {
    request.all(name).into_iter().map(str::to_owned).collect()
}

#[test]
fn bytes_pass_both_ways_and_the_record_counts_them_when_it_has_ended() {
    let scene = Scene::before(echoing(), "");
    let credentials = scene.credentials();
    let mut stream = open(&scene, &format!("{credentials}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"));
    echo(&mut stream, b"hello");
    let large: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
    echo(&mut stream, &large);
    assert!(scene.gateway.logs("status=101").is_empty(), "the call goes on");
    stream.shutdown(Shutdown::Write).expect("said");
    assert!(ends(&mut stream));
    let record = scene.gateway.record("status=101", |_| true);
    assert_eq!((&record["bytes_in"], &record["bytes_out"]), (&json!(3_000_005), &json!(3_000_005)), "{record}");
    assert_eq!((&record["user"], &record["refusal"]), (&json!("ada"), &json!(null)), "{record}");
    let request = &scene.backend.received()[0];
    assert_eq!(
        (fields(request, "upgrade"), fields(request, "connection")),
        (vec!["websocket".into()], vec!["upgrade".into()])
    );
    assert_eq!(fields(request, "sec-websocket-key"), ["dGhlIHNhbXBsZSBub25jZQ=="]);
    assert!(request.header("authorization").is_none() && request.header("x-user-json").is_some());
}

#[test]
fn bytes_sent_right_behind_the_wish_are_not_lost() {
    let scene = Scene::open(echoing(), "");
    let mut stream = connect(scene.gateway.data);
    // No head, though it has as many lines as one that is long.
    let early = "e\n".repeat(500);
    stream.write_all(format!("{}{early}", wish("")).as_bytes()).expect("sent");
    assert_eq!(read_head(&mut stream).status, 101);
    let mut back = vec![0; early.len()];
    stream.read_exact(&mut back).expect("all of it");
    assert_eq!(back, early.as_bytes());
}

#[test]
fn a_refused_wish_is_an_ordinary_answer_and_the_connection_goes_on() {
    let scene = Scene::before(Backend::echo(), "");
    let mut stream = connect(scene.gateway.data);
    stream.write_all(wish("").as_bytes()).expect("sent");
    let refused = super::support::client::read_answer(&mut stream, false);
    assert_eq!((refused.status, refused.code()), (401, "missing_credential".to_owned()));
    assert_eq!(refused.header("connection"), None);
    // A service that does not switch answers as always.
    stream.write_all(wish(&scene.credentials()).as_bytes()).expect("sent");
    let answer = super::support::client::read_answer(&mut stream, false);
    assert_eq!((answer.status, answer.header("upgrade")), (200, None));
    stream.write_all(wish(&scene.credentials()).as_bytes()).expect("sent");
    assert_eq!(super::support::client::read_answer(&mut stream, false).status, 200);
    assert_eq!(scene.backend.connections(), 1, "the connection to the service was used again");
}

#[test]
fn only_what_may_switch_reaches_the_service_as_a_wish() {
    let scene = Scene::open(Backend::echo(), "");
    for (head, why) in [
        ("GET /orders/v1 HTTP/1.1\r\nHost: gate\r\nUpgrade: websocket\r\n\r\n", "not named in Connection"),
        (
            "GET /orders/v1 HTTP/1.1\r\nHost: gate\r\nConnection: upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n",
            "h2c",
        ),
        ("GET /orders/v1 HTTP/1.1\r\nHost: gate\r\nConnection: upgrade\r\nUpgrade: websocket, TLS/1.0\r\n\r\n", "TLS"),
        (
            "POST /orders/v1 HTTP/1.1\r\nHost: gate\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nhi",
            "a body",
        ),
        ("GET /orders/v1 HTTP/1.0\r\nHost: gate\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", "HTTP/1.0"),
    ] {
        let mut stream = connect(scene.gateway.data);
        stream.write_all(head.as_bytes()).expect("sent");
        assert_eq!(super::support::client::read_answer(&mut stream, false).status, 200, "{why}");
        let request = scene.backend.received().pop().expect("a request");
        assert!(request.all("upgrade").is_empty() && request.all("connection").is_empty(), "{why}: {request:?}");
    }
}

#[test]
fn a_switch_that_nobody_asked_for_is_refused() {
    let answers = |head: &'static str| {
        Backend::serving(move |stream, _| {
            stream.write_all(head.as_bytes()).expect("sent");
            false
        })
    };
    let other = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n";
    let scene = Scene::open(answers(other), "");
    let mut stream = connect(scene.gateway.data);
    stream.write_all(wish("").as_bytes()).expect("sent");
    let refused = super::support::client::read_answer(&mut stream, false);
    assert_eq!((refused.status, refused.code()), (502, "upstream_broken".to_owned()));
    // The same without a wish.
    let plain = scene.gateway.call("GET", "/orders/v1", &[], b"");
    assert_eq!((plain.status, plain.code()), (502, "upstream_broken".to_owned()));
    let silent = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\r\n";
    let scene = Scene::open(answers(silent), "");
    let mut stream = connect(scene.gateway.data);
    stream.write_all(wish("").as_bytes()).expect("sent");
    assert_eq!(super::support::client::read_answer(&mut stream, false).status, 502);
}

#[test]
fn a_tunnel_through_which_nothing_passes_is_closed() {
    let scene = Scene::open(echoing(), "timeouts.tunnel_idle = \"1s\"");
    let mut stream = open(&scene, "");
    for _ in 0..5 {
        std::thread::sleep(Duration::from_millis(400));
        echo(&mut stream, b"still here");
    }
    assert!(ends(&mut stream));
    scene.gateway.record("status=101", |record| record["bytes_in"] == 50 && record["refusal"] == "upstream_timeout");
}

#[test]
fn a_tunnel_ends_when_its_caller_is_sent_away() {
    let scene = Scene::before(echoing(), "");
    let gateway = &scene.gateway;
    let mut stream = open(&scene, &scene.credentials());
    echo(&mut stream, b"welcome");
    let revoked = gateway.post("/-/token/revoke", &[], &json!({"refresh_token": scene.refresh_token}));
    assert_eq!(revoked.status, 204);
    assert!(ends(&mut stream), "the session has ended");
    gateway.record("status=101", |record| record["refusal"] == "revoked");

    scene.declare(&json!({"targets": [{"url": scene.backend.url()}], "require": [["api_key"]]}));
    let mut stream = open(&scene, &format!("X-API-Key: {}\r\n", scene.api_key));
    echo(&mut stream, b"welcome");
    gateway.admin_ok("DELETE", "/clients/shop", None, 204);
    assert!(ends(&mut stream), "the client is gone");
}

#[test]
fn a_tunnel_ends_with_a_session_that_is_not_refreshed() {
    let scene = Scene::before(echoing(), "[tokens]\naccess_ttl = \"1h\"\nrefresh_ttl = \"4s\"");
    let gateway = &scene.gateway;
    let mut stream = open(&scene, &scene.credentials());
    echo(&mut stream, b"welcome");
    assert!(ends(&mut stream), "the session has run out");
    gateway.record("status=101", |record| record["refusal"] == "revoked");
    assert_eq!(scene.call("GET", "/orders/v1/x", &[], b"").status, 401);
    gateway.admin_ok("DELETE", "/users/ada", None, 204);
    assert_eq!(scene.call("GET", "/orders/v1/x", &[], b"").status, 401);
}

#[test]
fn a_stream_without_end_ends_when_its_caller_is_sent_away() {
    let backend = Backend::serving(|stream, _| {
        let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n";
        stream.write_all(head).expect("sent");
        // Nothing more comes, and nothing ends.
        let _ = stream.read(&mut [0; 16]);
        false
    });
    let scene = Scene::before(backend, "");
    let mut stream = connect(scene.gateway.data);
    let head = format!("GET /orders/v1/events HTTP/1.1\r\nHost: gate\r\n{}\r\n", scene.credentials());
    stream.write_all(head.as_bytes()).expect("sent");
    assert_eq!(read_head(&mut stream).status, 200);
    let mut event = [0; 14];
    stream.read_exact(&mut event).expect("the event");
    assert_eq!(&event, b"9\r\ndata: 1\n\n\r\n");
    let revoked = scene.gateway.post("/-/token/revoke", &[], &json!({"refresh_token": scene.refresh_token}));
    assert_eq!(revoked.status, 204);
    assert!(ends(&mut stream));
    scene.gateway.record("status=200", |record| record["refusal"] == "revoked");
}

#[test]
fn a_websocket_is_told_when_the_gateway_stops_and_other_tunnels_are_waited_for() {
    let mut scene = Scene::open(echoing(), "timeouts.drain_limit = \"20s\"");
    let mut socket = open(&scene, "");
    // A text frame in two pieces: the close frame stands behind it, not in it.
    echo(&mut socket, b"\x81\x05he");
    scene.gateway.signal("TERM");
    until("no new connection is taken", || TcpStream::connect(scene.gateway.data).is_err());
    socket.write_all(b"llo").expect("sent");
    let mut rest = [0; 7];
    socket.read_exact(&mut rest).expect("the rest of the frame, and a close frame");
    assert_eq!(&rest, b"llo\x88\x02\x03\xE9", "going away");
    socket.write_all(b"\x88\x82\0\0\0\0\x03\xE9").expect("the close is answered");
    socket.shutdown(Shutdown::Write).expect("said");
    assert!(ends(&mut socket));
    assert!(scene.gateway.wait().success());
    let wire = scene.backend.wire();
    assert_eq!(wire.len(), 1);
}

#[test]
fn a_tunnel_holds_its_connection_to_the_service() {
    let scene =
        Scene::open(echoing(), "workers = 1\nlimits.upstream_tunnels = 1\ntimeouts.upstream_queue_wait = \"100ms\"");
    let mut first = open(&scene, "");
    let mut second = connect(scene.gateway.data);
    second.write_all(wish("").as_bytes()).expect("sent");
    let refused = super::support::client::read_answer(&mut second, false);
    assert_eq!((refused.status, refused.code()), (503, "upstream_busy".to_owned()));
    first.shutdown(Shutdown::Write).expect("said");
    assert!(ends(&mut first));
    until("there is room again", || {
        let mut third = connect(scene.gateway.data);
        third.write_all(wish("").as_bytes()).expect("sent");
        let answer = read_head(&mut third);
        answer.status == 101
    });
}

/// How many callers are connected.
fn connected(scene: &Scene) -> u64 {
    scene.gateway.admin_ok("GET", "/status", None, 200)["counters"]["connections_open"].as_u64().expect("a number")
}

#[test]
fn whoever_never_hangs_up_is_not_waited_for() {
    let backend = Backend::serving(|stream, _| {
        let head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Own: 1\r\n\r\n";
        stream.write_all(head).expect("sent");
        false
    });
    let scene = Scene::open(backend, "limits.upstream_connections = 1\nworkers = 1");
    let held: Vec<_> = (0..3).map(|_| open(&scene, "")).collect();
    // The service has ended each of them; none of the callers has.
    until("their connections are given up", || connected(&scene) == 0);
    drop(held);
}

#[test]
fn a_caller_that_is_gone_before_the_switch_leaves_nothing_behind() {
    let (go_on, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let backend = Backend::serving(move |stream, _| {
        wait.lock().expect("not poisoned").recv().expect("told to go on");
        let head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Own: 1\r\n\r\n";
        let _ = stream.write_all(head);
        // Until the other side ends.
        let _ = stream.read(&mut [0; 16]);
        false
    });
    let scene = Scene::open(backend, "limits.upstream_connections = 1\nworkers = 1");
    for round in 0..2 {
        let mut stream = connect(scene.gateway.data);
        stream.write_all(format!("{}x", wish("")).as_bytes()).expect("sent");
        scene.backend.wait_for(round + 1);
        // Unread bytes and no linger: the other end gets a reset.
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("set");
        drop(stream);
        go_on.send(()).expect("heard");
        until("it is given up", || connected(&scene) == 0);
    }
}

#[test]
fn a_real_client_and_a_real_server_speak_through_it() {
    let script = include_str!("tunnels/websockets.py");
    let scene = Scene::before(Backend::echo(), "");
    let output = Command::new(super::support::python())
        .args(["-c", script, &scene.gateway.admin.to_string(), &scene.gateway.token, &scene.gateway.data.to_string()])
        .args([&scene.token, &scene.api_key])
        .output()
        .expect("runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "all fine");
}
