//! What happens at the bounds: connections of a peer, bytes of a body, and calls that go in a circle.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{LAST, open_service, send, statuses, targets};
use crate::declarations::cli;
use crate::support::client::{PATIENCE, connect, exchange, read_answer};
use crate::support::scene::{announce, enrol};
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
}

/// A target that no service can have: it is told so wherever it is declared, in the same words.
fn refused_when_declared(gateway: &Gateway, enrolment: &str, url: &str, reason: &str) {
    let service = json!({"targets": [{"url": "http://127.0.0.1:1"}, {"url": url}], "require": []});
    let put = gateway.admin("PUT", "/services/nowhere/v1", Some(&service));
    let problem = &put.json()["problems"][0];
    assert_eq!((put.status, problem["path"].as_str()), (422, Some("targets[1].url")), "{url}: {}", put.text());
    let message = problem["message"].as_str().expect("a text").to_owned();
    assert!(message.contains("does not connect to") && message.contains(reason), "{url}: {message}");

    let registered = announce(gateway, enrolment, &json!({"name": "nowhere", "base_url": url}));
    assert_eq!((registered.status, registered.code().as_str()), (400, "bad_base_url"), "{url}");
    assert!(registered.text().contains(&message), "{url}: {}", registered.text());

    let file = gateway.directory().join("declared.json");
    std::fs::write(&file, json!({"version": 1, "services": {"nowhere/v1": service}}).to_string()).expect("written");
    for command in ["check", "apply"] {
        let output = cli(gateway, &[command, "-f", file.to_str().expect("a path")], "");
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(1), "{command} {url}: {said}");
        assert!(said.contains("services.nowhere/v1.targets[1].url") && said.contains(&message), "{command}: {said}");
    }
}

#[test]
fn no_service_is_declared_where_none_can_be() {
    let gateway = Gateway::start();
    let enrolment = enrol(&gateway, &json!({"name": "all"}));
    let cloud = "a cloud tells machines their secrets there";
    let special = "of another special purpose";
    for (url, reason) in [
        ("http://169.254.169.254/latest/meta-data", cloud),
        ("http://100.100.100.200", cloud),
        ("http://168.63.129.16", cloud),
        ("http://[fd20:ce::254]", cloud),
        ("http://[fd00:42::42]", cloud),
        ("http://[fd00:ec2::254]", cloud),
        ("http://192.0.0.192", cloud),
        ("http://[::ffff:a9fe:a9fe]", cloud),
        ("http://[2002:a9fe:a9fe::1]", cloud),
        ("http://[64:ff9b::6464:64c8]", cloud),
        ("https://[2606:4700::5efe:169.254.169.254]:8443/base", cloud),
        ("http://2852039166", cloud),
        ("http://0xA9.0xFE.0xA9FE", cloud),
        ("http://169.254.1.1", special),
        ("http://[::169.254.1.1]", special),
        ("http://[fe80::1]", special),
        ("http://192.0.2.1", special),
        ("http://240.0.0.1", special),
        ("http://[2001:db8::1]", special),
        ("http://0.0.0.0", special),
    ] {
        refused_when_declared(&gateway, &enrolment, url, reason);
    }
}

#[test]
fn networks_of_ipv4_addresses_in_ipv6_form_mean_ipv4_in_every_list() {
    for network in ["127.0.0.0/8", "::ffff:127.0.0.0/104", "::FFFF:7f00:0/104"] {
        let settings = format!("trusted_proxies = [\"{network}\"]\nallow_targets = [\"{network}\"]\n");
        let scene = Scene::open(Backend::echo(), &settings);
        let answer = scene.gateway.call("GET", "/orders/v1/x", &[("X-Forwarded-For", "203.0.113.9")], b"");
        assert_eq!(answer.status, 200, "{network}");
        let seen = scene.backend.received().pop().expect("a request");
        assert_eq!(seen.header("x-forwarded-for"), Some("203.0.113.9"), "{network}");
        let filter = |lists: Value| {
            let policies = json!({"ip_filter": lists});
            scene.declare(&json!({"targets": [{"url": scene.backend.url()}], "require": [], "policies": policies}));
            scene.gateway.call("GET", "/orders/v1/x", &[], b"").status
        };
        assert_eq!((filter(json!({"allow": [network]})), filter(json!({"deny": [network]}))), (200, 403), "{network}");
    }
}

#[test]
fn what_was_declared_while_it_was_allowed_is_left_alone() {
    let forbidden = json!({"url": "http://192.0.2.1"});
    let gateway = Gateway::with("allow_targets = [\"loopback\", \"192.0.2.0/24\"]");
    let backend = Backend::echo();
    let both = json!({"targets": [forbidden, {"url": backend.url()}], "require": []});
    gateway.admin_ok("PUT", "/services/a/v1", Some(&both), 201);
    let gateway = Gateway::restart(gateway.kill(), "");
    // The other target is called, and the service can be changed.
    let called = (0..4).filter(|_| gateway.call("GET", "/a/v1/x", &[], b"").status == 200).count();
    assert!(called > 0);
    gateway.admin_ok("PUT", "/services/a/v1", Some(&both), 200);
    let more = json!({"targets": [forbidden, {"url": "http://192.0.2.2"}], "require": []});
    let put = gateway.admin("PUT", "/services/a/v1", Some(&more));
    assert_eq!(
        (put.status, put.json()["problems"][0]["path"].as_str()),
        (422, Some("targets[1].url")),
        "{}",
        put.text()
    );
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
