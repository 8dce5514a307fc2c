//! What a request is for: targets, hosts and methods in every disguise, and heads beyond their bounds.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::{LAST, send, statuses, targets};
use crate::support::client::{answers as answers_in, connect, read_answer, read_to_close};
use crate::support::{Backend, Scene};

fn open() -> Scene {
    Scene::open(Backend::echo(), "")
}

/// Sends a head whose request is answered, and says what the backend saw of it.
fn sent_on(scene: &Scene, head: &str) -> (String, String) {
    let before = scene.backend.received().len();
    let answers = send(&scene.gateway, format!("{head}Connection: close\r\n\r\n"));
    assert_eq!(statuses(&answers), [200], "{head:?}: {answers:?}");
    let received = scene.backend.received();
    assert_eq!(received.len(), before + 1, "{head:?}");
    let host = received[before].header("x-forwarded-host").expect("a host").to_owned();
    (received[before].target.clone(), host)
}

/// Sends a head that is refused with a code; an empty code: refused before it is a call.
fn refused(scene: &Scene, head: &str, status: u16, code: &str) {
    let answers = send(&scene.gateway, format!("{head}Connection: close\r\n\r\n"));
    assert_eq!(statuses(&answers), [status], "{head:?}: {answers:?}");
    let found = if answers[0].body.is_empty() { String::new() } else { answers[0].code() };
    assert_eq!(found, code, "{head:?}");
    assert_eq!(scene.backend.connections(), 0, "{head:?} came through");
}

#[test]
fn an_absolute_target_names_the_host() {
    let scene = open();
    for (head, host) in [
        ("GET http://One.Example/orders/v1/x HTTP/1.1\r\nHost: two.example\r\n", "one.example"),
        ("GET http://one.example:81/orders/v1/x HTTP/1.1\r\nHost: one.example:81\r\n", "one.example:81"),
        ("GET https://one.example/orders/v1/x HTTP/1.1\r\nHost: a\r\n", "one.example"),
        ("GET HTTP://one.example/orders/v1/x HTTP/1.1\r\nHost: a\r\n", "one.example"),
        ("GET http://[::1]:80/orders/v1/x HTTP/1.1\r\nHost: a\r\n", "[::1]:80"),
        ("GET http://one.example/orders/v1/x HTTP/1.0\r\n", "one.example"),
        ("GET /orders/v1/x HTTP/1.1\r\nHost: Two.Example\r\n", "two.example"),
        ("GET /orders/v1/x HTTP/1.0\r\nHost: two.example\r\n", "two.example"),
        ("GET /orders/v1/x HTTP/1.0\r\n", "localhost"),
    ] {
        assert_eq!(sent_on(&scene, head), ("/x".to_owned(), host.to_owned()), "{head}");
    }
}

#[test]
fn targets_of_other_forms_are_refused() {
    let scene = open();
    for (line, status, code) in [
        ("GET ftp://a/orders/v1/x HTTP/1.1", 400, "bad_target"),
        ("GET file:///orders/v1/x HTTP/1.1", 400, ""),
        ("GET http:///orders/v1/x HTTP/1.1", 400, ""),
        ("GET http://u@a/orders/v1/x HTTP/1.1", 400, "bad_host"),
        ("GET http://u:p@a/orders/v1/x HTTP/1.1", 400, "bad_host"),
        ("GET http://a:99999/orders/v1/x HTTP/1.1", 400, "bad_host"),
        ("GET http://a_b:x/orders/v1/x HTTP/1.1", 400, "bad_host"),
        ("GET a:80 HTTP/1.1", 400, "bad_target"),
        ("GET orders/v1/x HTTP/1.1", 400, ""),
        ("GET * HTTP/1.1", 400, "bad_target"),
        ("OPTIONS * HTTP/1.1", 400, "bad_target"),
        ("GET ?x HTTP/1.1", 400, ""),
        ("GET  /orders/v1/x HTTP/1.1", 400, ""),
        ("GET /orders/v1/x  HTTP/1.1", 400, ""),
        ("GET /orders/v1/x y HTTP/1.1", 400, ""),
        ("GET /orders/v1/x\tHTTP/1.1", 400, ""),
        ("CONNECT a:80 HTTP/1.1", 405, "method_not_allowed"),
        ("CONNECT /orders/v1/x HTTP/1.1", 405, "method_not_allowed"),
    ] {
        refused(&scene, &format!("{line}\r\nHost: a\r\n"), status, code);
    }
}

#[test]
fn lines_that_are_no_request_are_refused() {
    let scene = open();
    for line in [
        "GET /orders/v1/x HTTP/2.0",
        "GET /orders/v1/x HTTP/1.2",
        "GET /orders/v1/x HTTP/0.9",
        "GET /orders/v1/x HTTP/1.1x",
        "GET /orders/v1/x http/1.1",
        "GET /orders/v1/x",
        "GET",
        "PRI * HTTP/2.0",
        "G@T /orders/v1/x HTTP/1.1",
        "G\0T /orders/v1/x HTTP/1.1",
        " GET /orders/v1/x HTTP/1.1",
        "\u{16}\u{3}\u{1}\u{2}",
        "SSH-2.0-client",
    ] {
        refused(&scene, &format!("{line}\r\nHost: a\r\n"), 400, "");
    }
    // Methods are told apart by case; one that only looks like another is refused.
    for method in ["get", "Get", "gET", "post", "x"] {
        refused(&scene, &format!("{method} /orders/v1/x HTTP/1.1\r\nHost: a\r\n"), 400, "bad_method");
    }
}

#[test]
fn a_request_has_one_host_that_is_one() {
    let scene = open();
    refused(&scene, "GET /orders/v1/x HTTP/1.1\r\n", 400, "missing_host");
    for hosts in [
        "Host: a\r\nHost: b\r\n",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nX: y\r\nhost: a\r\n",
        "Host: \r\n",
        "Host: a b\r\n",
        "Host: a/b\r\n",
        "Host: /\r\n",
        "Host: u@a\r\n",
        "Host: u:p@a\r\n",
        "Host: @a\r\n",
        "Host: a, b\r\n",
        "Host: a,b\r\n",
        "Host: a..b\r\n",
        "Host: .a\r\n",
        "Host: a..\r\n",
        "Host: .\r\n",
        "Host: a:x\r\n",
        "Host: a:-1\r\n",
        "Host: a:+80\r\n",
        "Host: a:65536\r\n",
        "Host: a:80:80\r\n",
        "Host: :80\r\n",
        "Host: [::1\r\n",
        "Host: [::1]x\r\n",
        "Host: [a]\r\n",
        "Host: ::1\r\n",
        "Host: a?b\r\n",
        "Host: a#b\r\n",
        "Host: a%41\r\n",
        "Host: a\\b\r\n",
        "Host: <a>\r\n",
        "Host: http://a\r\n",
        "Host: \u{fc}.example\r\n",
    ] {
        refused(&scene, &format!("GET /orders/v1/x HTTP/1.1\r\n{hosts}"), 400, "bad_host");
        // An absolute target does not make a bad field good.
        refused(&scene, &format!("GET http://a/orders/v1/x HTTP/1.1\r\n{hosts}"), 400, "bad_host");
    }
}

#[test]
fn a_request_that_could_not_be_read_is_the_last_of_its_connection() {
    let scene = open();
    let long = "x".repeat(17 << 10);
    let get = |target: &str, fields: &str| format!("GET {target} HTTP/1.1\r\n{fields}\r\n");
    let post = |fields: &str| format!("POST /orders/v1/x HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let mut unread = vec![
        // Host.
        (get("/orders/v1/x", ""), 400, "missing_host"),
        (get("/orders/v1/x", "Host: a\r\nHost: b\r\n"), 400, "bad_host"),
        (get("/orders/v1/x", "Host: a\r\nHost: a\r\n"), 400, "bad_host"),
        (get("/orders/v1/x", "Host: a b\r\n"), 400, "bad_host"),
        (get("http://u@a/orders/v1/x", "Host: a\r\n"), 400, "bad_host"),
        (get("/-/health", ""), 400, "missing_host"),
        (get("/nobody", "Host: \r\n"), 400, "bad_host"),
        // The request line.
        (get("ftp://a/orders/v1/x", "Host: a\r\n"), 400, "bad_target"),
        (get("*", "Host: a\r\n"), 400, "bad_target"),
        (get("a:80", "Host: a\r\n"), 400, "bad_target"),
        ("get /orders/v1/x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400, "bad_method"),
        (get(&format!("/orders/v1/{long}"), "Host: a\r\n"), 414, "target_too_long"),
        // Framing. That no body has come so far makes no difference.
        (post("Transfer-Encoding: gzip, chunked\r\n"), 501, "unknown_transfer_coding"),
        (post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 501, "unknown_transfer_coding"),
    ];
    for (path, code) in [
        ("/orders/v1/a%2fb", "encoded_slash"),
        ("/orders/v1/a%5cb", "backslash_in_path"),
        ("/orders/v1/a%00", "nul_in_path"),
        ("/orders/v1/a%zz", "bad_escape"),
        ("/orders/v1/..;/x", "dot_segment_parameter"),
        ("/orders/v1/a;b", "path_parameters"),
        ("/orders/v1/%ed%a0%80", "bad_utf8"),
    ] {
        unread.push((get(path, "Host: a\r\n"), 400, code));
    }
    let next = "GET /orders/v1/next HTTP/1.1\r\nHost: a\r\n\r\n";
    for (request, status, code) in &unread {
        // What follows at once is not answered, and neither is what follows when the answer is there.
        let answers = send(&scene.gateway, format!("{request}{next}"));
        assert_eq!(statuses(&answers), [*status], "{request:?}: {answers:?}");
        assert_eq!(
            (answers[0].code().as_str(), answers[0].header("connection")),
            (*code, Some("close")),
            "{request:?}"
        );
        let mut stream = connect(scene.gateway.data);
        stream.write_all(request.as_bytes()).expect("sent");
        assert_eq!(read_answer(&mut stream, false).status, *status, "{request:?}");
        // The gateway may have closed already.
        let _ = stream.write_all(next.as_bytes());
        assert!(read_to_close(&mut stream).is_empty(), "{request:?}");
    }
    assert_eq!(scene.backend.connections(), 0);
    // What was read well, and is refused for what it asks, is followed by the next.
    for (request, status) in [
        (format!("TRACE {}", &get("/orders/v1/x", "Host: a\r\n")[4..]), 405),
        (get("/orders/v1/x", "Host: a\r\nExpect: 200-ok\r\n"), 417),
        (get("/nobody/v1/x", "Host: a\r\n"), 404),
    ] {
        let answers = send(&scene.gateway, format!("{request}{next}{LAST}"));
        assert_eq!(statuses(&answers), [status, 200, 200], "{request:?}: {answers:?}");
    }
}

#[test]
fn a_path_reaches_the_backend_in_one_form() {
    let scene = open();
    for (path, want) in [
        ("/orders/v1/a%2Db%7ec", "/a-b~c"),
        ("/orders/v1/a/%2e%2e/b", "/b"),
        ("/orders/v1/a/%2E./b", "/b"),
        ("/orders/v1/./a/.", "/a/"),
        ("/orders/v1/a//b///c", "/a/b/c"),
        ("//orders/v1/x", "/x"),
        ("/./orders/v1/x", "/x"),
        ("/../../orders/v1/x", "/x"),
        ("/%6frders/%761/x", "/x"),
        ("/inventory/../orders/v1/x", "/x"),
        ("/orders//v1///x", "/x"),
        ("/orders/v1/%252e%252e/x", "/%252e%252e/x"),
        ("/orders/v1/%c3%bc%3f%23", "/%C3%BC%3F%23"),
        ("/orders/v1/a%20b:%20y%3a", "/a%20b:%20y%3A"),
        ("/orders/v1/a?b=/../c&d=%2e%2E//", "/a?b=/../c&d=%2e%2E//"),
        ("/orders/v1/a?b?c", "/a?b?c"),
        ("/orders/v1/a#b", "/a"),
        ("/orders/v1/{a}|\"b\"", "/%7Ba%7D%7C%22b%22"),
    ] {
        let (target, _) = sent_on(&scene, &format!("GET {path} HTTP/1.1\r\nHost: a\r\n"));
        assert_eq!(target, want, "{path}");
    }
}

#[test]
fn a_path_with_two_readings_is_refused() {
    let scene = open();
    for (path, code) in [
        ("/orders/v1/a%2fb", "encoded_slash"),
        ("/orders/v1/a%2Fb", "encoded_slash"),
        ("/orders%2fv1/a", "encoded_slash"),
        ("/orders/v1/..%2f..%2finventory/v1", "encoded_slash"),
        ("/orders/v1/a%5cb", "backslash_in_path"),
        ("/orders/v1/..%5C..%5Cinventory", "backslash_in_path"),
        ("/orders/v1/a\\b", "backslash_in_path"),
        ("/orders/v1/a%00", "nul_in_path"),
        ("/orders/v1/a%00.html", "nul_in_path"),
        ("/orders/v1/a%20b%0d%0aX:%20y", "control_in_path"),
        ("/orders/v1/a%7f", "control_in_path"),
        ("/orders/v1/%c0%ae%c0%ae/x", "bad_utf8"),
        ("/orders/v1/a;b", "path_parameters"),
        ("/orders/v1/a%3bb", "path_parameters"),
        ("/orders/v1/a%zz", "bad_escape"),
        ("/orders/v1/a%", "bad_escape"),
        ("/orders/v1/a%2", "bad_escape"),
        ("/orders/v1/a%u002f", "bad_escape"),
        ("/orders/v1/..;/x", "dot_segment_parameter"),
        ("/orders/v1/a/..;p=1/x", "dot_segment_parameter"),
        ("/orders/v1/.;/x", "dot_segment_parameter"),
        ("/orders/v1/%2e%2e;/x", "dot_segment_parameter"),
    ] {
        refused(&scene, &format!("GET {path} HTTP/1.1\r\nHost: a\r\n"), 400, code);
    }
    refused(&scene, "GET /orders/v1/a\0b HTTP/1.1\r\nHost: a\r\n", 400, "");
    let raw = [&b"GET /orders/v1/\xff\xfe HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"[..]].concat();
    assert_eq!(statuses(&send(&scene.gateway, raw)), [400]);
    assert_eq!(scene.backend.connections(), 0);
}

#[test]
fn heads_beyond_their_bounds_are_refused() {
    let scene = open();
    let head = |path: &str, fields: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}");
    let long = |length: usize| "x".repeat(length);
    let path = |length: usize| format!("/orders/v1/{}", long(length));
    refused(&scene, &head(&path(17 << 10), ""), 414, "target_too_long");
    refused(&scene, &head(&format!("/orders/v1/x?{}", long(17 << 10)), ""), 414, "target_too_long");
    refused(&scene, &head(&format!("http://{}/orders/v1/x", long(17 << 10)), ""), 414, "target_too_long");
    refused(&scene, &format!("{} /orders/v1/x HTTP/1.1\r\nHost: a\r\n", "X".repeat(17 << 10)), 414, "target_too_long");
    refused(&scene, &head("/orders/v1/x", &"X: y\r\n".repeat(200)), 431, "");
    refused(&scene, &head("/orders/v1/x", &format!("X: {}\r\n", long(65 << 10))), 431, "");
    refused(&scene, &head("/orders/v1/x", &format!("{}: y\r\n", long(65 << 10))), 431, "");
    refused(&scene, &head("/orders/v1/x", &format!("X: {}\r\n", long(7 << 10)).repeat(10)), 431, "");
    refused(&scene, &head(&path(70 << 10), ""), 431, "");
    // Below the bounds everything is well.
    sent_on(&scene, &head(&path(15 << 10), ""));
    sent_on(&scene, &head("/orders/v1/x", &"X: y\r\n".repeat(120)));
    sent_on(&scene, &head("/orders/v1/x", &format!("X: {}\r\n", long(7 << 10)).repeat(8)));
    assert_eq!(scene.backend.received()[1].all("x").len(), 120);
}

#[test]
fn a_head_of_many_fields_is_read_however_it_comes() {
    let scene = open();
    let head = |more: usize| format!("GET /orders/v1/{more} HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(more));
    let body = format!("POST /orders/v1/b HTTP/1.1\r\nHost: a\r\nContent-Length: 450\r\n\r\n{}", "yy\n".repeat(150));
    // The limit is 128, and many fewer are few.
    let (few, many, most) = (head(99), head(100), head(127));
    let long = [&*few, &*many, &*few, &*most, &*body, &*most].concat();
    let last = "GET /orders/v1/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    for (sent, answers) in [(&few, 1), (&many, 1), (&most, 1), (&body, 1), (&long, 6)] {
        // All at once, so that what comes later is read while the first is answered; and cut where a parser waits for more.
        assert_eq!(statuses(&send(&scene.gateway, format!("{sent}{last}"))), vec![200; answers + 1]);
        let mut connection = TcpStream::connect(scene.gateway.data).expect("connected");
        connection.set_nodelay(true).expect("an option");
        for piece in format!("{sent}{last}").as_bytes().chunks(61) {
            connection.write_all(piece).expect("sent");
        }
        let mut said = Vec::new();
        connection.read_to_end(&mut said).expect("answers");
        assert_eq!(statuses(&answers_in(&said)), vec![200; answers + 1]);
    }
    assert_eq!(statuses(&send(&scene.gateway, format!("{most}{}", head(128)))), [200, 431]);
    assert_eq!(scene.backend.received().iter().filter(|request| request.all("x").len() == 127).count(), 7);
}

#[test]
fn a_megabyte_of_anything_ends_the_connection() {
    let scene = open();
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random.to_be_bytes()[0]
    })
    .take(1 << 20)
    .collect();
    for garbage in [noise, vec![b'A'; 1 << 20], vec![0; 1 << 20], b"X: y\r\n".repeat(1 << 18)] {
        // Nothing to wait for but the close: more is sent than is ever read.
        for answer in send(&scene.gateway, garbage) {
            assert!(matches!(answer.status, 400 | 431), "{answer:?}");
        }
    }
    // Empty lines before a request are no request; a megabyte of them is no reason to read on for ever.
    send(&scene.gateway, b"\r\n".repeat(1 << 19));
    assert_eq!(scene.backend.connections(), 0);
    sent_on(&scene, "GET /orders/v1/after HTTP/1.1\r\nHost: a\r\n");
    assert_eq!(targets(&scene.backend), ["/after"]);
}
