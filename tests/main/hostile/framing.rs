//! Where a request ends: every way to make two parties disagree about it.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::{Arc, Mutex};

use super::{LAST, SMUGGLED, read_head, send, statuses, targets};
use crate::support::client::{answers, connect, read_answer, read_to_close};
use crate::support::{Backend, Scene};

/// A scene whose service is open to everybody, so that whatever is taken as a request reaches the backend.
fn open() -> Scene {
    Scene::open(Backend::echo(), "")
}

/// Sends a request that must be refused before anything of it is sent on, whatever follows it.
fn refused(scene: &Scene, request: &str, want: &[u16]) {
    let answers = send(&scene.gateway, format!("{request}{SMUGGLED}{LAST}"));
    let last = answers.last().unwrap_or_else(|| panic!("no answer to {request:?}"));
    assert_eq!(answers.len(), 1, "{request:?}: {answers:?}");
    assert!(want.contains(&last.status), "{request:?}: {last:?}");
    assert_eq!(scene.backend.connections(), 0, "{request:?} came through");
}

#[test]
fn a_length_beside_a_coding_counts_for_nothing_and_ends_the_connection() {
    let scene = open();
    for (number, fields) in [
        "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n",
        "transfer-encoding: Chunked\r\nX: y\r\ncontent-LENGTH: 6\r\n",
        "Content-Length: 0\r\nX: y\r\nTRANSFER-ENCODING: chunked\r\nContent-Length: 6\r\n",
    ]
    .into_iter()
    .enumerate()
    {
        let first = format!("POST /orders/v1/{number} HTTP/1.1\r\nHost: a\r\n{fields}\r\n3\r\nabc\r\n0\r\n\r\n");
        let answers = send(&scene.gateway, format!("{first}{SMUGGLED}{LAST}"));
        assert_eq!(statuses(&answers), [200], "{fields}");
        assert_eq!(answers[0].header("connection"), Some("close"), "{fields}");
        let received = scene.backend.received();
        assert_eq!(received.len(), number + 1, "{fields}: {received:?}");
        assert_eq!(
            (received[number].target.as_str(), &received[number].body[..]),
            (&*format!("/{number}"), &b"abc"[..])
        );
        assert_eq!(received[number].header("transfer-encoding"), Some("chunked"));
    }
}

#[test]
fn a_length_is_a_number_and_one_number() {
    let scene = open();
    for length in
        ["+5", "-1", "0x5", "5, 5", "5,6", "5 5", "5.0", "5;", "", "18446744073709551616", "99999999999999999999", "٥"]
    {
        refused(&scene, &format!("POST /orders/v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"), &[400]);
    }
    for pair in [("5", "6"), ("5", "0"), ("0", "5"), ("5", "5x"), ("5", "")] {
        let (one, two) = pair;
        let lines = format!("Content-Length: {one}\r\nContent-Length: {two}\r\n");
        refused(&scene, &format!("POST /orders/v1/x HTTP/1.1\r\nHost: a\r\n{lines}\r\nhello"), &[400]);
    }
    // Twice the same is one reading (RFC 9112 section 6.3): it is sent on as one field.
    let twice = "POST /orders/v1/twice HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello";
    assert_eq!(statuses(&send(&scene.gateway, format!("{twice}{LAST}"))), [200, 200]);
    let received = scene.backend.received();
    assert_eq!(targets(&scene.backend), ["/twice", "/last"]);
    assert_eq!((received[0].header("content-length"), &received[0].body[..]), (Some("5"), &b"hello"[..]));
    assert_eq!(received[0].header("transfer-encoding"), None);
}

#[test]
fn the_only_coding_is_chunked_and_it_stands_once() {
    let scene = open();
    for lines in [
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunkedx\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding: ,chunked\r\n",
        "Transfer-Encoding: chunked,\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding: \u{b}chunked\r\n",
        "Transfer-Encoding: chun\u{131}ked\r\n",
        "Transfer-Encoding : chunked\r\n",
        " Transfer-Encoding: chunked\r\n",
        "X: y\r\n Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
    ] {
        refused(&scene, &format!("POST /orders/v1/x HTTP/1.1\r\nHost: a\r\n{lines}\r\n0\r\n\r\n"), &[400, 501]);
    }
    refused(&scene, "POST /orders/v1/x HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &[400]);
    refused(
        &scene,
        "POST /orders/v1/x HTTP/1.0\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n",
        &[400],
    );
}

#[test]
fn heads_with_two_readings_are_refused() {
    let scene = open();
    for lines in [
        "X: y\r\n folded\r\n",
        "X: y\r\n\tfolded\r\n",
        " X: y\r\n",
        "X : y\r\n",
        "X\t: y\r\n",
        "Content-Length : 5\r\n",
        "Content-Length: 0\rX: y\r\n",
        "X: a\rContent-Length: 5\r\n",
        "X: a\0b\r\n",
        "X\0: y\r\n",
        "X: a\u{7f}\r\n",
        "X: a\u{1}\r\n",
        "X y: z\r\n",
        "X(: y\r\n",
        "X@y: z\r\n",
        "\u{fc}: y\r\n",
        ": y\r\n",
        "no colon\r\n",
    ] {
        refused(&scene, &format!("POST /orders/v1/x HTTP/1.1\r\nHost: a\r\n{lines}\r\n"), &[400]);
    }
}

#[test]
fn lines_that_end_in_lf_alone_are_sent_on_with_crlf() {
    let scene = open();
    let bare = "POST /orders/v1/bare HTTP/1.1\nHost: a\nContent-Length: 2\n\nok";
    assert_eq!(statuses(&send(&scene.gateway, format!("{bare}{LAST}"))), [200, 200]);
    assert_eq!(targets(&scene.backend), ["/bare", "/last"]);
    assert_eq!(scene.backend.received()[0].body, b"ok");
}

#[test]
fn chunks_that_are_none_break_the_request_off() {
    let scene = open();
    let (long, many) = ("x".repeat(70_000), "X: y\r\n".repeat(2_000));
    let cases = [
        "FFFFFFFFFFFFFFFFF\r\nabc\r\n0\r\n\r\n".to_owned(),
        "10000000000000000\r\nabc\r\n0\r\n\r\n".to_owned(),
        "-1\r\na\r\n0\r\n\r\n".to_owned(),
        "+1\r\na\r\n0\r\n\r\n".to_owned(),
        "\r\na\r\n0\r\n\r\n".to_owned(),
        ";x\r\na\r\n0\r\n\r\n".to_owned(),
        "0x1\r\na\r\n0\r\n\r\n".to_owned(),
        "g\r\na\r\n0\r\n\r\n".to_owned(),
        "1\r\nab0\r\n\r\n".to_owned(),
        "1\r\na0\r\n\r\n".to_owned(),
        "1\r\na\n0\r\n\r\n".to_owned(),
        "1\r\na\rX0\r\n\r\n".to_owned(),
        "1\na\r\n0\r\n\r\n".to_owned(),
        "1\rXa\r\n0\r\n\r\n".to_owned(),
        "1;a\nb\r\na\r\n0\r\n\r\n".to_owned(),
        "1;a=\"\n\"\r\na\r\n0\r\n\r\n".to_owned(),
        "1 1\r\na\r\n0\r\n\r\n".to_owned(),
        format!("1;{long}\r\na\r\n0\r\n\r\n"),
        "1\r\na\r\n0\r\nno colon\r\n\r\n".to_owned(),
        format!("1\r\na\r\n0\r\n{many}\r\n"),
        format!("1\r\na\r\n0\r\nX: {long}\r\n\r\n"),
    ];
    for chunks in &cases {
        let head = "POST /orders/v1/chunks HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let answers = send(&scene.gateway, format!("{head}{chunks}{SMUGGLED}{LAST}"));
        let shown = &chunks[..chunks.len().min(40)];
        assert_eq!(statuses(&answers), [400], "{shown:?}");
        assert_eq!(answers[0].code(), "broken_body", "{shown:?}");
        assert_eq!(answers[0].header("connection"), Some("close"), "{shown:?}");
    }
    // Extensions are allowed, and end here.
    let fine =
        "POST /orders/v1/fine HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n001;a=b\r\na\r\n0;c\r\n\r\n";
    assert_eq!(statuses(&send(&scene.gateway, format!("{fine}{LAST}"))), [200, 200]);
    assert_eq!(targets(&scene.backend), ["/fine", "/last"]);
    assert_eq!(scene.backend.received()[0].body, b"a");
    let wire = scene.backend.wait_for_wire(|wire| wire.iter().filter(|wire| !wire.ended).count() <= 1);
    let complete = wire.iter().filter(|wire| wire.bytes.windows(5).any(|end| end == b"0\r\n\r\n")).count();
    assert_eq!(complete, 1, "a broken request was given an end: {wire:?}");
}

#[test]
fn a_request_that_is_cut_short_never_ends_at_the_backend() {
    let scene = open();
    for (number, request) in [
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        "Content-Length: 6\r\n\r\nhello",
    ]
    .into_iter()
    .enumerate()
    {
        let mut stream = connect(scene.gateway.data);
        write!(stream, "POST /orders/v1/cut{number} HTTP/1.1\r\nHost: a\r\n{request}").expect("sent");
        // It is on its way to the backend before it breaks off.
        let begun = |wire: &[u8]| wire.windows(3).any(|part| part == b"hel");
        scene.backend.wait_for_wire(|wire| wire.len() > number && begun(&wire[number].bytes));
        drop(stream);
        let wire = scene.backend.wait_for_wire(|wire| wire[number].ended);
        let text = String::from_utf8_lossy(&wire[number].bytes).into_owned();
        assert!(!text.ends_with("0\r\n\r\n"), "{text}");
        let path = format!("/orders/v1/cut{number}");
        let record = scene.gateway.record("limit=10", |record| record["path"] == *path);
        assert!((400..500).contains(&record["status"].as_u64().expect("a status")), "{record}");
        assert!(record["refusal"].is_string(), "{record}");
    }
    assert_eq!(scene.backend.received().len(), 0);
}

#[test]
fn half_a_request_is_none() {
    let scene = open();
    let whole = "POST /orders/v1/half HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
    for cut in 0..whole.len() {
        let mut stream = connect(scene.gateway.data);
        stream.write_all(&whole.as_bytes()[..cut]).expect("sent");
        stream.shutdown(Shutdown::Write).expect("half closed");
        assert!(answers(&read_to_close(&mut stream)).iter().all(|answer| answer.status >= 400), "{cut}");
    }
    assert_eq!(statuses(&send(&scene.gateway, whole)), [200]);
    assert_eq!(targets(&scene.backend), ["/half"]);
}

#[test]
fn where_an_upgrade_is_not_granted_what_follows_is_a_request_or_nothing() {
    let scene = Scene::new();
    let credentials = scene.credentials();
    for (number, wish) in [
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n",
        "Upgrade: websocket\r\n",
    ]
    .into_iter()
    .enumerate()
    {
        let head = format!("GET /orders/v1/{number} HTTP/1.1\r\nHost: a\r\n{credentials}{wish}\r\n");
        let frames = [head.as_bytes(), b"\x81\x85\x01\x02\x03\x04hello\r\n\r\n", SMUGGLED.as_bytes()].concat();
        assert_eq!(statuses(&send(&scene.gateway, frames)), [200, 400], "{wish}");
        // What is a request is judged by itself: this one shows nothing.
        assert_eq!(statuses(&send(&scene.gateway, format!("{head}{LAST}"))), [200, 401], "{wish}");
        let received = scene.backend.received();
        assert_eq!(received.len(), 2 * (number + 1), "{wish}");
        for request in &received[2 * number..] {
            assert_eq!(request.target, format!("/{number}"));
            // Only the first is a wish that the service may grant, and this one does not.
            let passed = if number == 0 { (Some("websocket"), Some("upgrade")) } else { (None, None) };
            assert_eq!((request.header("upgrade"), request.header("connection")), passed, "{wish}");
            assert_eq!(request.header("http2-settings"), None, "{wish}");
        }
    }
}

#[test]
fn the_body_of_a_refused_request_is_no_request() {
    let scene = Scene::new();
    let inner = format!("GET /orders/v1/smuggled HTTP/1.1\r\nHost: a\r\n{}\r\n", scene.credentials());
    let chunked = format!("{:x}\r\n{inner}\r\n0\r\n\r\n", inner.len());
    let filler = "x".repeat(50_000);
    for (path, status) in [("/orders/v1/x", 401), ("/nobody/v1/x", 404), ("/orders/v1/%2f", 400), ("/-/health", 405)] {
        let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\n");
        for request in [
            format!("{head}Content-Length: {}\r\n\r\n{inner}", inner.len()),
            format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunked}"),
            format!("{head}Content-Length: {}\r\n\r\n{filler}\r\n{inner}", filler.len() + 2 + inner.len()),
            format!("{head}Content-Length: {}\r\nExpect: 100-continue\r\n\r\n{inner}", inner.len()),
        ] {
            // A second request that would be fine by itself goes down with the connection.
            let answers = send(&scene.gateway, format!("{request}{inner}{inner}"));
            assert_eq!(statuses(&answers), [status], "{path}");
            assert_eq!(answers[0].header("connection"), Some("close"), "{path}");
        }
    }
    assert_eq!(scene.backend.connections(), 0);
}

#[test]
fn a_refusal_without_a_body_keeps_the_connection_and_its_order() {
    let scene = Scene::new();
    let get = |path: &str, fields: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let credentials = scene.credentials();
    let all = [
        get("/orders/v1/1", ""),
        get("/orders/v1/2", &credentials),
        get("/nobody/v1/3", &credentials),
        get("/orders/v1/4", &credentials),
        get("/orders/v1/5", &format!("{credentials}Connection: close\r\n")),
        get("/orders/v1/6", &credentials),
    ];
    assert_eq!(statuses(&send(&scene.gateway, all.concat())), [401, 200, 404, 200, 200]);
    assert_eq!(targets(&scene.backend), ["/2", "/4", "/5"]);
}

#[test]
fn an_answer_before_the_bodys_end_makes_no_request_of_the_rest() {
    // It answers as soon as it has seen a head, and reads what is left of the request to nowhere.
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    let backend = Backend::connected(move |stream| {
        let head = read_head(stream).expect("a head");
        seen.lock().expect("not poisoned").push(head.lines().next().unwrap_or_default().to_owned());
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly").expect("answered");
        let mut rest = [0; 1_024];
        while matches!(stream.read(&mut rest), Ok(1..)) {}
    });
    let scene = Scene::open(backend, "");
    let inner = format!("\r\n\r\n{SMUGGLED}");
    for framing in [format!("Content-Length: {}", inner.len() + 5), "Transfer-Encoding: chunked".to_owned()] {
        let chunked = framing.starts_with('T');
        let mut stream = connect(scene.gateway.data);
        let begin = if chunked { "5\r\nbegin\r\n" } else { "begin" };
        write!(stream, "POST /orders/v1/early HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n{begin}").expect("sent");
        let answer = read_answer(&mut stream, false);
        assert_eq!((answer.text().as_str(), answer.header("connection")), ("early", Some("close")), "{framing}");
        let rest = if chunked { format!("{:x}\r\n{inner}\r\n0\r\n\r\n", inner.len()) } else { inner.clone() };
        // The gateway may have closed by now; it has said that it will.
        let _ = stream.write_all(format!("{rest}{LAST}").as_bytes());
        let after = answers(&read_to_close(&mut stream));
        assert!(after.is_empty(), "{framing}: {after:?}");
    }
    assert_eq!(scene.gateway.call("GET", "/orders/v1/after", &[], b"").status, 200);
    let heads = heads.lock().expect("not poisoned").clone();
    assert_eq!(heads, ["POST /early HTTP/1.1", "POST /early HTTP/1.1", "GET /after HTTP/1.1"]);
    assert_eq!(scene.backend.connections(), 3, "a connection in the middle of a request was used again");
}
