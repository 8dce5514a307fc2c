//! Backends that lie, break off, keep silent or answer twice: what callers see of it, and what the next one does.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;

use super::{LAST, open_service, read_head, send, statuses, targets};
use crate::support::backend::Received;
use crate::support::client::{connect, exchange, read_answer};
use crate::support::{Answer, Backend, Gateway, Scene};

/// One worker, so that every call meets the connections of those before it.
const ONE: &str = "workers = 1\n[timeouts]\nupstream_first_byte = \"1s\"\nbody_idle = \"1s\"\nconnect = \"2s\"\n";

/// A backend that reads a head, answers with these bytes, and closes.
fn saying(bytes: impl Into<Vec<u8>>) -> Backend {
    let bytes = bytes.into();
    Backend::connected(move |stream| {
        if read_head(stream).is_some() {
            // The gateway may have heard enough before the end.
            let _ = stream.write_all(&bytes);
        }
    })
}

fn get(gateway: &Gateway, name: &str) -> Answer {
    gateway.call("GET", &format!("/{name}/v1/x"), &[], b"")
}

/// Posts a body, or as much of it as is taken, and returns the status of what is answered.
fn post(gateway: &Gateway, name: &str, bytes: usize) -> Option<u16> {
    let mut stream = connect(gateway.data);
    let mut sending = stream.try_clone().expect("a second handle");
    let head = format!("POST /{name}/v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: {bytes}\r\n\r\n");
    let sent = thread::spawn(move || {
        sending.write_all(head.as_bytes()).expect("sent");
        // The gateway may have heard enough before the end.
        let _ = sending.write_all(&vec![b'x'; bytes]);
    });
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        head.push(byte[0]);
    }
    let status = String::from_utf8_lossy(&head).split(' ').nth(1).and_then(|status| status.parse().ok());
    let _ = stream.shutdown(std::net::Shutdown::Both);
    sent.join().expect("no panic");
    status
}

#[test]
fn a_backend_that_answers_without_reading_costs_no_place() {
    /// Connections that the gateway has at once.
    const LIMIT: usize = 4;
    let settings = format!("workers = 1\n[limits]\nupstream_connections = {LIMIT}\n");
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ] {
        // It keeps the connection, and never reads on.
        let backend = Backend::connected(move |stream| {
            while let Some(head) = read_head(stream) {
                if stream.write_all(answer.as_bytes()).is_err() {
                    return;
                }
                while head.starts_with("POST") {
                    thread::park();
                }
            }
        });
        let gateway = Gateway::with(&settings);
        open_service(&gateway, "mute", &[backend.url()]);
        // What nearly fits into the buffers between, and what never does.
        for bytes in [2_840_000, 3_000_000, 12_000_000] {
            for _ in 0..LIMIT {
                assert_eq!(post(&gateway, "mute", bytes), Some(200), "{bytes}");
            }
            for number in 0..LIMIT * 2 {
                let answer = get(&gateway, "mute");
                assert_eq!((answer.status, answer.text().as_str()), (200, "ok"), "{number} behind {bytes}");
            }
        }
        // All at once, too.
        thread::scope(|scope| {
            let posts: Vec<_> = (0..LIMIT).map(|_| scope.spawn(|| post(&gateway, "mute", 2_840_000))).collect();
            posts.into_iter().for_each(|post| assert_eq!(post.join().expect("no panic"), Some(200)));
        });
        assert_eq!(get(&gateway, "mute").status, 200);
    }
}

#[test]
fn a_backend_that_answers_early_and_reads_on_gets_all_of_the_request() {
    const BYTES: usize = 6_000_000;
    let (told, got) = mpsc::channel();
    let told = Mutex::new(told);
    let backend = Backend::connected(move |stream| {
        let Some(_) = read_head(stream) else { return };
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").expect("answered");
        let (mut piece, mut bytes) = (vec![0; 32 << 10], 0);
        while let Ok(length @ 1..) = stream.read(&mut piece) {
            bytes += length;
            if bytes >= BYTES {
                break;
            }
        }
        told.lock().expect("not poisoned").send(bytes).expect("awaited");
    });
    let gateway = Gateway::with("workers = 1");
    open_service(&gateway, "early", &[backend.url()]);
    let mut stream = connect(gateway.data);
    let head = format!("POST /early/v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: {BYTES}\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("sent");
    // The answer is there before the body is.
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 200");
    stream.write_all(&vec![b'x'; BYTES]).expect("all is taken");
    assert_eq!(got.recv_timeout(Duration::from_secs(20)).expect("told"), BYTES);
}

#[test]
fn a_connection_that_was_logged_in_is_nobody_elses() {
    // Whoever has logged in on a connection is whom everything on it is taken for.
    let backend = Backend::connected(|stream| {
        let mut user = "nobody".to_owned();
        while let Some(head) = read_head(stream) {
            let value = |name: &str| {
                let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(name));
                line.and_then(|line| Some(line.split_once(": ")?.1.to_owned()))
            };
            let asks = value("x-ask").map(|challenge| format!("WWW-Authenticate: {challenge}\r\n"));
            if let Some(authorization) = value("authorization") {
                user = authorization;
            }
            let (status, fields) = asks.map_or(("200 OK", String::new()), |asks| ("401 Unauthorized", asks));
            let length = user.len();
            let answer = format!("HTTP/1.1 {status}\r\n{fields}Content-Length: {length}\r\n\r\n{user}");
            stream.write_all(answer.as_bytes()).expect("answered");
        }
    });
    let gateway = Gateway::with("workers = 1");
    open_service(&gateway, "windows", &[backend.url()]);
    let call = |fields: &[(&str, &str)]| gateway.call("GET", "/windows/v1/x", fields, b"").text();
    for scheme in ["NTLM", "Negotiate", "negotiate", "nTLM", "Kerberos"] {
        let login = format!("{scheme} TlRMTVNTUAADAAAA");
        assert_eq!(call(&[("Authorization", &login)]), login);
        assert_eq!(call(&[]), "nobody", "{scheme}");
    }
    // One that may be logged in by what comes next is not lent either.
    for challenge in
        ["NTLM", "Negotiate", "Basic realm=\"a, b\", NTLM", "Negotiate,NTLM", "Negotiate oYG2MIG=", "x y, nEgotiate"]
    {
        call(&[]);
        let before = backend.connections();
        assert_eq!(call(&[("X-Ask", challenge)]), "nobody");
        assert_eq!(backend.connections(), before, "{challenge}");
        assert_eq!(call(&[]), "nobody");
        assert_eq!(backend.connections(), before + 1, "{challenge}");
    }
    // Other credentials are those of a call.
    let before = backend.connections();
    for fields in [[("X-Ask", "Basic realm=\"ntlms\"")], [("X-Ask", "Bearer")], [("Authorization", "Basic eDp5")]] {
        call(&fields);
    }
    assert_eq!(backend.connections(), before);
}

/// An answer that names the request it belongs to.
fn named(request: &Received) -> Vec<u8> {
    let body = format!("answer to {}", request.target);
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// An answer nobody asked for.
const POISON: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nSet-Cookie: poison=1\r\n\r\npoison";

#[test]
fn what_is_no_answer_is_not_passed_on() {
    let gateway = Gateway::with(ONE);
    let head = "HTTP/1.1 200 OK\r\n";
    let many: String = (0..300).map(|number| format!("X-{number}: y\r\n")).collect();
    let cases = [
        String::new(),
        "garbage\r\n\r\n".to_owned(),
        "SSH-2.0-server\r\n".to_owned(),
        "\u{15}\u{3}\u{1}\u{2}\u{2}".to_owned(),
        "HTTP/2.0 200 OK\r\n\r\n".to_owned(),
        "HTTP/1.1 2x0 OK\r\n\r\n".to_owned(),
        "HTTP/1.1 99 Low\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "HTTP/1.1 200".to_owned(),
        format!("{head}Content-Len"),
        format!("{head}Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc"),
        format!("{head}Content-Length: 2, 3\r\n\r\nabc"),
        format!("{head}Content-Length: -1\r\n\r\nabc"),
        format!("{head}Content-Length: +2\r\n\r\nabc"),
        format!("{head}Content-Length: 0x2\r\n\r\nabc"),
        format!("{head}Content-Length: \r\n\r\nabc"),
        format!("{head}Content-Length: 18446744073709551616\r\n\r\nabc"),
        format!("{head}Transfer-Encoding: gzip\r\n\r\nabc"),
        format!("{head}Transfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
        format!("{head}Transfer-Encoding: chunked, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
        format!("{head}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
        format!("{head}Transfer-Encoding: identity\r\n\r\nabc"),
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n".to_owned(),
        format!("{head}X: y\r\n folded\r\nContent-Length: 0\r\n\r\n"),
        format!("{head}X : y\r\nContent-Length: 0\r\n\r\n"),
        format!("{head}X: a\0b\r\nContent-Length: 0\r\n\r\n"),
        format!("{head}X: a\rSet-Cookie: b\r\nContent-Length: 0\r\n\r\n"),
        format!("{head}no colon\r\nContent-Length: 0\r\n\r\n"),
        format!("{head}{many}Content-Length: 0\r\n\r\n"),
        format!("{head}X: {}\r\nContent-Length: 0\r\n\r\n", "x".repeat(70_000)),
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nbytes".to_owned(),
        "HTTP/1.1 101 Switching Protocols\r\n\r\n".to_owned(),
    ];
    for (number, bytes) in cases.iter().enumerate() {
        let (name, shown) = (format!("liar{number}"), &bytes[..bytes.len().min(100)]);
        let backend = saying(bytes.as_bytes());
        open_service(&gateway, &name, &[backend.url()]);
        let answer = get(&gateway, &name);
        assert_eq!(answer.status, 502, "{shown:?}: {answer:?}");
        assert_eq!(answer.code(), "upstream_broken", "{shown:?}");
        assert_eq!(backend.connections(), 1, "a fresh connection that failed is not tried again: {shown:?}");
        let record = gateway.record("limit=5", |record| record["service"] == *name);
        assert_eq!((&record["status"], &record["refusal"]), (&502.into(), &"upstream_broken".into()), "{record}");
    }
}

#[test]
fn a_backend_that_keeps_silent_is_not_waited_for() {
    let gateway = Gateway::with(&format!("{ONE}[limits]\nupstream_connections = 1\n"));
    let silent = Backend::serving(|stream, request| {
        // Nothing for the first; by then the gateway must have given this connection up.
        request.target == "/x" && read_head(stream).is_some()
    });
    let dripping = Backend::connected(|stream| {
        read_head(stream);
        for byte in "HTTP/1.1 200 OK\r\nX: ".bytes().chain(std::iter::repeat(b'x')) {
            if stream.write_all(&[byte]).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
    });
    let informing = Backend::connected(|stream| {
        read_head(stream);
        // A flood, but none that is a matter of how fast this machine is.
        while stream.write_all(&b"HTTP/1.1 100 Continue\r\n\r\n".repeat(100)).is_ok() {
            thread::sleep(Duration::from_millis(1));
        }
    });
    for (name, backend) in [("silent", &silent), ("dripping", &dripping), ("informing", &informing)] {
        open_service(&gateway, name, &[backend.url()]);
        for _ in 0..2 {
            // The second finds the only connection free again.
            let answer = get(&gateway, name);
            assert_eq!((answer.status, answer.code().as_str()), (504, "upstream_timeout"), "{name}");
        }
        assert_eq!(backend.connections(), 2, "{name}");
    }
}

#[test]
fn an_answer_that_breaks_off_has_no_end() {
    let gateway = Gateway::with(ONE);
    let head = "HTTP/1.1 200 OK\r\n";
    for (number, (bytes, stays)) in [
        (format!("{head}Content-Length: 100\r\n\r\n0123456789"), false),
        (format!("{head}Content-Length: 100\r\n\r\n0123456789"), true),
        (format!("{head}Transfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n"), false),
        (format!("{head}Transfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n"), true),
        (format!("{head}Transfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\nzz\r\n"), false),
        (format!("{head}Transfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n"), false),
        (format!("{head}Transfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\nFFFFFFFFFFFFFFFFF\r\n"), false),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("broken{number}");
        let sent = bytes.clone();
        let backend = Backend::connected(move |stream| {
            read_head(stream);
            stream.write_all(sent.as_bytes()).expect("answered");
            if stays {
                // Until the gateway has had enough of waiting.
                let _ = stream.read(&mut [0]);
            }
        });
        open_service(&gateway, &name, &[backend.url()]);
        let request = format!("GET /{name}/v1/x HTTP/1.1\r\nHost: a\r\n\r\n");
        let text = String::from_utf8(exchange(gateway.data, request.as_bytes())).expect("ASCII");
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{bytes:?}: {text:?}");
        let body = text.split_once("\r\n\r\n").expect("a whole head").1;
        assert!(body.is_empty() || body.contains("0123456789"), "{bytes:?}: {text:?}");
        assert!(!body.ends_with("0\r\n\r\n") && body.len() < 100, "{bytes:?}: {text:?}");
        let record = gateway.record("limit=5", |record| record["service"] == *name);
        let expected = if stays { "upstream_timeout" } else { "upstream_broken" };
        assert_eq!(record["refusal"], expected, "{record}");
    }
}

#[test]
fn what_comes_after_an_answer_belongs_to_nobody() {
    let (go, wait) = mpsc::channel::<()>();
    let (done, late) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let backend = Backend::serving(move |stream, request| {
        let answer = match request.target.as_str() {
            "/twice" | "/slow" => [&named(&request)[..], POISON].concat(),
            "/204" => [b"HTTP/1.1 204 No Content\r\nContent-Length: 85\r\n\r\n", POISON].concat(),
            "/304" => [b"HTTP/1.1 304 Not Modified\r\nContent-Length: 85\r\n\r\n", POISON].concat(),
            "/head" => [b"HTTP/1.1 200 OK\r\nContent-Length: 85\r\n\r\n", POISON].concat(),
            "/longer" => [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", POISON].concat(),
            "/chunked" => {
                [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", POISON].concat()
            }
            "/both" => {
                let head =
                    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
                [&head[..], POISON].concat()
            }
            _ => named(&request),
        };
        if request.target != "/slow" {
            return stream.write_all(&answer).is_ok();
        }
        let (now, later) = answer.split_at(answer.len() - POISON.len());
        stream.write_all(now).expect("answered");
        wait.lock().expect("not poisoned").recv().expect("told to");
        // The gateway has the answer; whether the connection still stands is its own affair.
        let _ = stream.write_all(later);
        done.send(()).expect("heard");
        true
    });
    let scene = Scene::open(backend, ONE);
    let call = |method: &str, path: &str| scene.gateway.call(method, &format!("/orders/v1/{path}"), &[], b"");
    for (round, (method, path, status)) in [
        ("GET", "twice", 200),
        ("GET", "204", 204),
        ("GET", "304", 304),
        ("HEAD", "head", 200),
        ("GET", "longer", 200),
        ("GET", "chunked", 200),
        ("GET", "both", 200),
        ("GET", "slow", 200),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = call(method, path);
        assert_eq!(answer.status, status, "{path}");
        assert!(!answer.text().contains("poison"), "{path}: {answer:?}");
        if path == "204" {
            assert_eq!(answer.header("content-length"), None, "RFC 9110 section 8.6");
        }
        if path == "both" {
            assert_eq!(answer.text(), "ok", "the length beside the coding counts for nothing");
        }
        if path == "slow" {
            go.send(()).expect("waits");
            late.recv().expect("written");
        }
        for next in ["a", "b"] {
            let answer = call("GET", &format!("next-{round}{next}"));
            assert_eq!((answer.status, answer.text()), (200, format!("answer to /next-{round}{next}")), "after {path}");
            assert_eq!(answer.header("set-cookie"), None, "after {path}");
        }
    }
}

#[test]
fn informational_answers_come_before_the_real_one() {
    let gateway = Gateway::with(ONE);
    let early = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\nX-User-Json: evil\r\n\r\n";
    let backend = saying(format!("{early}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
    open_service(&gateway, "early", &[backend.url()]);
    let answers = send(&gateway, "GET /early/v1/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(statuses(&answers), [200]);
    assert_eq!((answers[0].text().as_str(), answers[0].header("link")), ("ok", None));
}

#[test]
fn an_answer_has_no_more_fields_than_may_be() {
    let gateway = Gateway::with(ONE);
    let backend = Backend::answering(|request| {
        let fields: usize = request.target.trim_start_matches('/').parse().expect("a number");
        // Beside the length.
        let fields = (1..fields).map(|number| format!("X-{number}: 1\r\n")).collect::<String>();
        format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\nok").into_bytes()
    });
    open_service(&gateway, "wide", &[backend.url()]);
    for (fields, expected) in [(100, 200), (101, 502), (1_000, 502), (100, 200)] {
        let answer = gateway.call("GET", &format!("/wide/v1/{fields}"), &[], b"");
        assert_eq!(answer.status, expected, "{fields}: {answer:?}");
    }
}

#[test]
fn an_answer_with_trailers_has_an_end_like_any_other() {
    let answer =
        "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n";
    let scene = Scene::open(Backend::answering(|_| answer.into()), ONE);
    for path in ["/orders/v1/one", "/orders/v1/two"] {
        assert_eq!(scene.gateway.call("GET", path, &[("TE", "trailers")], b"").text(), "ok");
        let record = scene.gateway.record("limit=5", |record| record["path"] == path);
        assert!(record["refusal"].is_null(), "{record}");
    }
    assert_eq!(scene.backend.connections(), 1);
}

/// The URL of a port on which nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    format!("http://{}", listener.local_addr().expect("an address"))
}

#[test]
fn a_target_that_is_down_is_passed_over() {
    let gateway = Gateway::with(ONE);
    open_service(&gateway, "down", &[nobody()]);
    let answer = get(&gateway, "down");
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_unreachable"));
    assert!(!answer.text().contains("127.0.0.1"), "a target's address is nobody's business: {}", answer.text());

    let backend = Backend::echo();
    open_service(&gateway, "half", &[nobody(), backend.url()]);
    for number in 0..10 {
        let answer = gateway.call("POST", "/half/v1/x", &[], format!("body {number}").as_bytes());
        assert_eq!((answer.status, &answer.json()["body"]), (200, &format!("body {number}").into()));
    }
    assert_eq!(backend.received().len(), 10);
}

#[test]
fn more_calls_than_connections_wait_and_are_sent_away() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let backend = Backend::serving(move |stream, request| {
        if request.target == "/held" {
            wait.lock().expect("not poisoned").recv().expect("told to");
        }
        stream.write_all(&named(&request)).is_ok()
    });
    let settings = "workers = 1\n[limits]\nupstream_connections = 1\n[timeouts]\nupstream_queue_wait = \"500ms\"\n";
    let scene = Scene::open(backend, settings);
    let call = |path: &str| scene.gateway.call("GET", &format!("/orders/v1/{path}"), &[], b"");
    thread::scope(|scope| {
        let held = scope.spawn(|| call("held"));
        scene.backend.wait_for(1);
        let away: Vec<_> = (0..3).map(|_| scope.spawn(|| call("away"))).collect();
        for answer in away.into_iter().map(|thread| thread.join().expect("joined")) {
            assert_eq!((answer.status, answer.code().as_str()), (503, "upstream_busy"));
            assert!(
                answer.header("retry-after").is_some_and(|after| after.parse::<u32>().is_ok_and(|after| after > 0))
            );
        }
        go.send(()).expect("waits");
        assert_eq!(held.join().expect("joined").status, 200);
    });
    assert_eq!(call("after").text(), "answer to /after");
    assert_eq!(targets(&scene.backend), ["/held", "/after"]);
    assert_eq!(scene.backend.connections(), 1);

    // Those for whom a connection comes free in time are served, one after the other.
    let patient = settings.replace("500ms", "20s");
    let scene = Scene::open(Backend::echo(), &patient);
    thread::scope(|scope| {
        let all: Vec<_> =
            (0..20).map(|_| scope.spawn(|| scene.gateway.call("GET", "/orders/v1/x", &[], b""))).collect();
        for answer in all {
            assert_eq!(answer.join().expect("joined").status, 200);
        }
    });
    assert_eq!(scene.backend.connections(), 1);
}

/// A backend that answers the first request on a connection, and reads the second and closes without a word.
fn dying() -> Backend {
    let seen: Mutex<HashSet<SocketAddr>> = Mutex::default();
    Backend::serving(move |stream, request| {
        let first = seen.lock().expect("not poisoned").insert(stream.peer_addr().expect("an address"));
        first && stream.write_all(&named(&request)).is_ok()
    })
}

#[test]
fn a_call_that_may_be_repeated_survives_a_dead_connection() {
    let scene = Scene::open(dying(), ONE);
    let call =
        |method: &str, path: &str, body: &[u8]| scene.gateway.call(method, &format!("/orders/v1/{path}"), &[], body);
    for method in ["GET", "HEAD", "OPTIONS", "DELETE", "PUT"] {
        let before = scene.backend.received().len();
        assert_eq!(call("GET", "warm", b"").status, 200);
        assert_eq!(call(method, "again", b"").status, 200, "{method}");
        let received = scene.backend.received();
        let sent: Vec<_> = received[before..].iter().filter(|request| request.method == method).collect();
        // The connection the round before left behind dies under the first call of this one.
        assert!(sent.len() >= 2 || method == "GET", "{method}: {sent:?}");
        let again: Vec<_> = sent.iter().filter(|request| request.target == "/again").collect();
        let first = again.first().expect("it was sent");
        for request in &again {
            assert_eq!((&request.headers, &request.body), (&first.headers, &first.body), "{method}");
        }
    }
}

#[test]
fn a_call_that_may_not_be_repeated_is_sent_once() {
    for (method, body) in
        [("POST", &b"body"[..]), ("POST", b""), ("PATCH", b""), ("PUT", b"body"), ("GET", b"body"), ("X", b"")]
    {
        let scene = Scene::open(dying(), ONE);
        assert_eq!(scene.gateway.call("GET", "/orders/v1/warm", &[], b"").status, 200);
        let answer = scene.gateway.call(method, "/orders/v1/once", &[], body);
        assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_broken"), "{method}");
        assert_eq!(targets(&scene.backend), ["/warm", "/once"], "{method}");
    }
}

#[test]
fn connections_that_a_backend_closes_after_an_answer_do_no_harm() {
    for say in ["", "Connection: close\r\n"] {
        let backend = Backend::serving(move |stream, _| {
            let answer = format!("HTTP/1.1 200 OK\r\n{say}Content-Length: 2\r\n\r\nok");
            stream.write_all(answer.as_bytes()).expect("answered");
            false
        });
        let scene = Scene::open(backend, ONE);
        let get = "GET /orders/v1/x HTTP/1.1\r\nHost: a\r\n\r\n".repeat(30);
        assert_eq!(statuses(&send(&scene.gateway, format!("{get}{LAST}"))), [200; 31], "{say:?}");
    }
}

#[test]
fn a_body_goes_with_any_method() {
    let scene = Scene::open(Backend::echo(), ONE);
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "POST", "QUERY"] {
        for framing in ["Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"] {
            let before = scene.backend.received().len();
            let request = format!("{method} /orders/v1/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{framing}");
            let text = String::from_utf8(exchange(scene.gateway.data, request.as_bytes())).expect("ASCII");
            assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{method} {framing:?}: {text}");
            let received = scene.backend.received();
            assert_eq!(received.len(), before + 1);
            assert_eq!(received[before].body, b"hello", "{method} {framing:?}");
        }
    }
    // A method that is about a body says that there is none (RFC 9110 section 8.6).
    for method in ["POST", "PUT", "PATCH"] {
        assert_eq!(scene.gateway.call(method, "/orders/v1/x", &[("Content-Length", "0")], b"").status, 200);
        let last = scene.backend.received().pop().expect("a request");
        assert_eq!((last.method.as_str(), last.header("content-length")), (method, Some("0")));
    }
}

#[test]
fn a_body_that_looks_like_an_answer_passes_as_it_is() {
    const LOOKS: &str = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    let backend = Backend::serving(|stream, request| {
        let pieces = 3;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", pieces * LOOKS.len());
        let sent = |stream: &mut TcpStream, text: &str| {
            thread::sleep(Duration::from_millis(if request.target == "/slow" { 30 } else { 0 }));
            stream.write_all(text.as_bytes()).is_ok()
        };
        sent(stream, &head) && (0..pieces).all(|_| sent(stream, LOOKS))
    });
    let scene = Scene::open(backend, "");
    let mut stream = connect(scene.gateway.data);
    for path in ["slow", "fast", "slow"] {
        write!(stream, "GET /orders/v1/{path} HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
        let answer = read_answer(&mut stream, false);
        assert_eq!((answer.status, answer.text()), (200, LOOKS.repeat(3)), "{path}");
    }
    // And what is malformed behind it is refused, with a date.
    stream.write_all(b"GET / HTTP/1.1\r\nno field\r\n\r\n").expect("sent");
    let refused = read_answer(&mut stream, false);
    assert_eq!(refused.status, 400);
    assert!(refused.header("date").is_some_and(|date| date.ends_with(" GMT")), "{:?}", refused.headers);
}
