//! HTTP/1.1 through the gateway as clients and backends see it: bodies both ways, what travels and what does
//! not, connections, records, and a graceful end.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::backend::Received;
use crate::support::client::{connect, read_answer, read_to_close};
use crate::support::{Backend, Gateway, Scene};

fn with_body(head: &str, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\n{head}Content-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

#[test]
fn a_call_is_forwarded_as_the_contract_says() {
    let scene = Scene::open(Backend::echo(), "public_url = \"https://api.example.com\"");
    let base = format!("{}/base/", scene.backend.url());
    scene.declare(&serde_json::json!({"targets": [{"url": base}], "require": []}));
    for (target, want) in [
        ("/orders/v1", "/base/"),
        ("/orders/v1/", "/base/"),
        ("/orders/v1?a=1&b=%2F", "/base/?a=1&b=%2F"),
        ("/orders/v1/7/items?", "/base/7/items?"),
        ("/orders/v1/%61%2520?x", "/base/a%2520?x"),
    ] {
        let answer = scene.gateway.call("GET", target, &[("Host", "Api.Example.com")], b"");
        assert_eq!((answer.status, answer.json()["target"].as_str()), (200, Some(want)), "{target}");
    }
    let seen = scene.backend.received().pop().expect("a request");
    assert_eq!(seen.header("host"), Some(scene.backend.address.to_string().as_str()));
    assert_eq!(seen.header("x-forwarded-host"), Some("api.example.com"));
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
    assert!(seen.header("via").is_some_and(|via| via.starts_with("1.1 portcullis-")));
    assert_eq!(seen.header("x-user-json"), None);
}

#[test]
fn every_call_has_an_id_and_a_trace() {
    let scene = Scene::open(Backend::echo(), "");
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    let trace = [("traceparent", parent), ("tracestate", "vendor=1")];
    let fields = [&trace[..], &[("X-Request-Id", "mine")]].concat();
    let answer = scene.gateway.call("GET", "/orders/v1/a", &fields, b"");
    let seen = scene.backend.received().pop().expect("a request");
    let id = seen.header("x-request-id").expect("an id");
    assert_eq!(answer.header("x-request-id"), Some(id));
    assert_ne!(id, "mine", "an id from an untrusted peer is not taken");
    let begun = seen.header("traceparent").expect("a trace");
    assert!(
        begun.starts_with(&format!("00-{id}-")) && begun.ends_with("-01"),
        "a stranger's trace is not taken: {begun}"
    );
    assert_eq!(seen.header("tracestate"), None);
    scene.gateway.record("limit=10", |record| record["request_id"] == id);

    let trusting = Scene::open(Backend::echo(), "trusted_proxies = [\"127.0.0.1/32\", \"10.0.0.0/8\"]");
    let fields = [
        trace[0],
        trace[1],
        ("X-Request-Id", "mine"),
        ("X-Forwarded-For", "6.6.6.6, 203.0.113.9, 10.0.0.7"),
        ("X-Forwarded-Proto", "https"),
    ];
    let answer = trusting.gateway.call("GET", "/orders/v1/a", &fields, b"");
    let seen = trusting.backend.received().pop().expect("a request");
    assert_eq!(answer.header("x-request-id"), Some("mine"));
    assert_eq!(seen.header("x-request-id"), Some("mine"));
    assert_eq!(seen.header("x-forwarded-for"), Some("203.0.113.9"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
    let continued = seen.header("traceparent").expect("a trace");
    assert!(continued.starts_with(&parent[..36]) && continued.ends_with("-00") && continued != parent, "{continued}");
    assert_eq!(seen.header("tracestate"), Some("vendor=1"));
    trusting.gateway.record("limit=10", |record| record["client_ip"] == "203.0.113.9");
}

#[test]
fn answers_pass_with_what_belongs_to_them() {
    let scene = Scene::open(
        Backend::answering(|request| match request.target.as_str() {
            "/204" => b"HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n".to_vec(),
            "/304" => b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 10\r\n\r\n".to_vec(),
            "/799" => b"HTTP/1.1 799 Odd\r\nContent-Length: 0\r\n\r\n".to_vec(),
            "/hop" => with_body(
                "Connection: X-Secret, close\r\nX-Secret: 1\r\nKeep-Alive: timeout=5\r\nUpgrade: h2c\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Keep: 2\r\n",
                b"hop",
            ),
            "/early" => [&b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"[..], &with_body("", b"late")].concat(),
            _ => with_body("", b"0123456789"),
        }),
        "",
    );
    let call = |method: &str, path: &str| scene.gateway.call(method, &format!("/orders/v1{path}"), &[], b"");
    let answer = call("GET", "/204");
    assert_eq!((answer.status, answer.header("x-a"), answer.header("content-length")), (204, Some("1"), None));
    let answer = call("GET", "/304");
    assert_eq!((answer.status, answer.header("etag")), (304, Some("\"x\"")));
    assert_eq!(call("GET", "/799").status, 799);
    let answer = call("GET", "/hop");
    for gone in ["x-secret", "keep-alive", "upgrade"] {
        assert_eq!(answer.header(gone), None, "{gone}");
    }
    let cookies: Vec<_> = answer.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie")).collect();
    assert_eq!((cookies.len(), answer.header("x-keep")), (2, Some("2")));
    assert!(answer.headers.iter().any(|(name, _)| name == "X-Keep"), "names are in title case: {answer:?}");
    assert_eq!(call("GET", "/early").text(), "late");
    let answer = call("HEAD", "/ten");
    assert_eq!((answer.status, answer.header("content-length"), answer.body.len()), (200, Some("10"), 0));
}

#[test]
fn a_connection_carries_calls_one_after_the_other_and_in_a_row() {
    let scene = Scene::open(Backend::echo(), "");
    let mut stream = connect(scene.gateway.data);
    for number in 0..3 {
        let head = format!("GET /orders/v1/{number} HTTP/1.1\r\nHost: a\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("sent");
        let answer = read_answer(&mut stream, false);
        assert_eq!(answer.json()["target"], format!("/{number}"));
    }
    // Pipelined: all at once, a refusal without a body among them.
    let mut all = String::new();
    for path in ["/orders/v1/a", "/nowhere", "/orders/v1/b"] {
        all += &format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    stream.write_all(all.as_bytes()).expect("sent");
    assert_eq!(read_answer(&mut stream, false).json()["target"], "/a");
    assert_eq!(read_answer(&mut stream, false).code(), "no_route");
    assert_eq!(read_answer(&mut stream, false).json()["target"], "/b");
    assert_eq!(scene.backend.connections(), 1, "the connection to the backend is used again");
}

#[test]
fn bodies_stream_both_ways_as_they_come() {
    // The backend sends its first chunk when it has got the client's first chunk, and so on: nobody may wait for the end.
    let scene = Scene::open(
        Backend::connected(|stream| {
            let mut seen = Vec::new();
            let mut buffer = [0; 4096];
            while !seen.ends_with(b"\r\n\r\n") && !contains(&seen, b"ping-1") {
                let length = stream.read(&mut buffer).expect("read");
                if length == 0 {
                    return;
                }
                seen.extend_from_slice(&buffer[..length]);
            }
            while !contains(&seen, b"ping-1") {
                let length = stream.read(&mut buffer).expect("read");
                seen.extend_from_slice(&buffer[..length]);
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\npong-1\r\n").expect("sent");
            while !contains(&seen, b"ping-2") {
                let length = stream.read(&mut buffer).expect("read");
                seen.extend_from_slice(&buffer[..length]);
            }
            stream.write_all(b"6\r\npong-2\r\n0\r\n\r\n").expect("sent");
        }),
        "",
    );
    let mut stream = connect(scene.gateway.data);
    stream
        .write_all(b"POST /orders/v1/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nping-1\r\n")
        .expect("sent");
    let mut got = Vec::new();
    let mut buffer = [0; 4096];
    while !contains(&got, b"pong-1") {
        let length = stream.read(&mut buffer).expect("the first chunk, before the request has ended");
        assert!(length > 0);
        got.extend_from_slice(&buffer[..length]);
    }
    stream.write_all(b"6\r\nping-2\r\n0\r\n\r\n").expect("sent");
    while !contains(&got, b"0\r\n\r\n") {
        let length = stream.read(&mut buffer).expect("the rest");
        assert!(length > 0);
        got.extend_from_slice(&buffer[..length]);
    }
    assert!(contains(&got, b"pong-2"));
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn a_slow_reader_holds_the_sender_back() {
    // 64 MiB are offered; a client that reads nothing must not make the gateway take them in.
    const OFFERED: usize = 64 << 20;
    let sent = Arc::new(Mutex::new(0));
    let counter = Arc::clone(&sent);
    let scene = Scene::open(
        Backend::serving(move |stream, _| {
            stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {OFFERED}\r\n\r\n").as_bytes()).expect("sent");
            let piece = vec![b'x'; 64 << 10];
            for _ in 0..OFFERED / piece.len() {
                if stream.write_all(&piece).is_err() {
                    return false;
                }
                *counter.lock().expect("not poisoned") += piece.len();
            }
            true
        }),
        "",
    );
    let before = scene.gateway.memory();
    let mut stream = connect(scene.gateway.data);
    stream.write_all(b"GET /orders/v1/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("sent");
    let (mut last, mut quiet) = (0, 0);
    while quiet < 10 {
        std::thread::sleep(Duration::from_millis(50));
        let now = *sent.lock().expect("not poisoned");
        quiet = if now > 0 && now == last { quiet + 1 } else { 0 };
        last = now;
    }
    assert!(last < OFFERED, "all was taken in although nobody read");
    assert!(scene.gateway.memory() < before + (16 << 20), "memory grew");
    let answer = read_answer(&mut stream, false);
    assert_eq!(answer.body.len(), OFFERED, "and it all arrives when it is read");
    let record = scene.gateway.record("service=orders", |record| record["status"] == 200);
    assert_eq!(record["bytes_out"], OFFERED);
}

#[test]
fn a_client_that_expects_100_is_told_to_go_on_only_when_its_body_is_wanted() {
    let scene = Scene::new();
    let head = |credentials: &str| {
        format!(
            "POST /orders/v1/x HTTP/1.1\r\nHost: a\r\n{credentials}Content-Length: 4\r\nExpect: 100-continue\r\n\r\n"
        )
    };
    let mut stream = connect(scene.gateway.data);
    stream.write_all(head(&scene.credentials()).as_bytes()).expect("sent");
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).expect("an interim answer");
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"body").expect("sent");
    let answer = read_answer(&mut stream, false);
    assert_eq!((answer.status, answer.json()["body"].as_str()), (200, Some("body")));
    assert_eq!(scene.backend.received()[0].header("expect"), None);

    let mut stream = connect(scene.gateway.data);
    stream.write_all(head("").as_bytes()).expect("sent");
    let mut first = [0; 12];
    stream.read_exact(&mut first).expect("an answer");
    assert_eq!(&first, b"HTTP/1.1 401", "refused without having asked for the body");
    read_to_close(&mut stream);
    let answer = scene.call("POST", "/orders/v1/x", &[("Expect", "miracles")], b"body");
    assert_eq!(answer.code(), "expectation_failed");
}

#[test]
fn trailers_pass_both_ways() {
    let scene = Scene::open(
        Backend::answering(|_| {
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 9\r\n\r\n"
                .to_vec()
        }),
        "",
    );
    let mut stream = connect(scene.gateway.data);
    stream
        .write_all(b"POST /orders/v1/x HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: close, TE\r\nTrailer: X-In\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-In: 7\r\n\r\n")
        .expect("sent");
    let all = String::from_utf8(read_to_close(&mut stream)).expect("ASCII").to_ascii_lowercase();
    assert!(all.ends_with("2\r\nok\r\n0\r\nx-sum: 9\r\n\r\n"), "{all}");
    let seen = scene.backend.received().pop().expect("a request");
    assert_eq!(
        seen.trailers.first().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())),
        Some(("x-in".into(), "7".into()))
    );
}

#[test]
fn a_caller_that_leaves_is_recorded_as_499_and_frees_the_backend() {
    let (told, gone) = mpsc::channel();
    let told = Mutex::new(told);
    let scene = Scene::open(
        Backend::serving(move |stream, request: Received| {
            if request.target != "/wait" {
                return stream.write_all(&with_body("", b"ok")).is_ok();
            }
            // Ends when the gateway closes its side.
            let mut buffer = [0; 16];
            let ended = matches!(stream.read(&mut buffer), Ok(0) | Err(_));
            told.lock().expect("not poisoned").send(ended).expect("somebody waits");
            false
        }),
        "",
    );
    let mut stream = connect(scene.gateway.data);
    stream.write_all(b"GET /orders/v1/wait HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
    while !scene.backend.received().iter().any(|request| request.target == "/wait") {
        std::thread::sleep(Duration::from_millis(5));
    }
    stream.shutdown(Shutdown::Both).expect("closed");
    drop(stream);
    assert!(gone.recv_timeout(Duration::from_secs(20)).expect("the backend's connection is given up"));
    let record = scene.gateway.record("status=499", |_| true);
    assert_eq!(
        (record["path"].as_str(), record["refusal"].as_str()),
        (Some("/orders/v1/wait"), Some("client_closed_request"))
    );
    assert_eq!(record["service"], "orders");
}

#[test]
fn records_say_what_happened() {
    let scene = Scene::new();
    assert_eq!(scene.call("POST", "/orders/v1/a?secret=1", &[], b"12345").status, 200);
    let record = scene.gateway.record("path=/orders/v1/a", |_| true);
    for (member, want) in [
        ("client_ip", "127.0.0.1"),
        ("method", "POST"),
        ("path", "/orders/v1/a"),
        ("service", "orders"),
        ("version", "v1"),
        ("client", "shop"),
        ("user", "ada"),
    ] {
        assert_eq!(record[member], want, "{member}");
    }
    assert_eq!((record["status"].as_u64(), record["bytes_in"].as_u64()), (Some(200), Some(5)));
    assert_eq!(record["target"], scene.backend.address.to_string());
    assert!(record["upstream_duration_us"].as_u64() <= record["duration_us"].as_u64());
    assert!(record["refusal"].is_null());

    let path = scene.gateway.directory().join("access.log");
    let moved = scene.gateway.directory().join("moved.log");
    std::fs::rename(&path, &moved).expect("moved away");
    scene.gateway.signal("HUP");
    let deadline = Instant::now() + Duration::from_secs(20);
    while !path.exists() {
        assert!(Instant::now() < deadline, "the log was not opened anew");
        std::thread::sleep(Duration::from_millis(10));
    }
    scene.call("GET", "/orders/v1/after", &[], b"");
    scene.gateway.record("path=/orders/v1/after", |_| true);
    assert!(std::fs::read_to_string(&path).expect("there").contains("/orders/v1/after"));
    assert!(std::fs::read_to_string(&moved).expect("there").contains("/orders/v1/a\""));
}

#[test]
fn it_stops_gracefully() {
    let (started, in_backend) = mpsc::channel();
    let started = Mutex::new(started);
    let scene = Scene::open(
        Backend::serving(move |stream, request: Received| {
            if request.target == "/slow" {
                started.lock().expect("not poisoned").send(()).expect("somebody waits");
                std::thread::sleep(Duration::from_millis(700));
            }
            stream.write_all(&with_body("", b"done")).is_ok()
        }),
        "[timeouts]\ndrain_delay = \"500ms\"",
    );
    let data = scene.gateway.data;
    let mut idle = connect(data);
    idle.write_all(b"GET /orders/v1/x HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
    assert_eq!(read_answer(&mut idle, false).header("connection"), None);
    assert_eq!(scene.gateway.call("GET", "/-/ready", &[], b"").status, 200);
    let slow = std::thread::spawn(move || {
        let mut stream = connect(data);
        stream.write_all(b"GET /orders/v1/slow HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
        read_answer(&mut stream, false)
    });
    in_backend.recv_timeout(Duration::from_secs(20)).expect("it has begun");
    scene.gateway.signal("TERM");
    // While it drains, it still takes calls, says that it is leaving, and closes behind each answer.
    let deadline = Instant::now() + Duration::from_secs(20);
    while scene.gateway.call("GET", "/-/ready", &[], b"").status != 503 {
        assert!(Instant::now() < deadline, "never draining");
    }
    let answer = scene.gateway.call("GET", "/orders/v1/y", &[], b"");
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    let answer = slow.join().expect("answered");
    assert_eq!((answer.status, answer.text().as_str()), (200, "done"));
    assert!(read_to_close(&mut idle).is_empty());
    let Scene { mut gateway, .. } = scene;
    assert!(gateway.wait().success());
    let log = std::fs::read_to_string(gateway.directory().join("access.log")).expect("a log");
    assert!(log.contains("/orders/v1/slow"), "the last call is recorded before the end");
}

#[test]
fn a_thousand_idle_connections_and_sixty_four_busy_ones() {
    let scene = Scene::open(Backend::echo(), "");
    let idle: Vec<_> = (0..900).map(|_| connect(scene.gateway.data)).collect();
    let threads: Vec<_> = (0..64)
        .map(|_| {
            let data = scene.gateway.data;
            std::thread::spawn(move || {
                let mut stream = connect(data);
                for number in 0..50 {
                    let head = format!("GET /orders/v1/{number} HTTP/1.1\r\nHost: a\r\n\r\n");
                    stream.write_all(head.as_bytes()).expect("sent");
                    assert_eq!(read_answer(&mut stream, false).json()["target"], format!("/{number}"));
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("all answered");
    }
    drop(idle);
}

#[test]
fn probes_answer_without_credentials() {
    let gateway = Gateway::start();
    assert_eq!(gateway.call("GET", "/-/health", &[], b"").status, 200);
    assert_eq!(gateway.call("GET", "/-/ready", &[], b"").status, 200);
    assert_eq!(gateway.call("DELETE", "/-/health", &[], b"").code(), "method_not_allowed");
}

#[test]
fn a_trace_would_show_what_only_the_backend_is_told() {
    let scene = Scene::open(Backend::echo(), "");
    assert_eq!(scene.gateway.call("TRACE", "/orders/v1/x", &[], b"").code(), "method_not_allowed");
    assert!(scene.backend.received().is_empty());
}

#[test]
fn built_in_routes_keep_to_their_hosts() {
    let gateway = Gateway::with("builtin_hosts = [\"auth.example.com\"]");
    assert_eq!(gateway.call("GET", "/-/health", &[("Host", "auth.example.com")], b"").status, 200);
    assert_eq!(gateway.call("GET", "/-/health", &[("Host", "other.example.com")], b"").code(), "no_route");
}

#[test]
fn a_declared_host_has_built_in_routes_as_it_says() {
    let gateway = Gateway::with("builtin_hosts = [\"auth.example.com\"]");
    let status = |host: &str| gateway.call("GET", "/-/health", &[("Host", host)], b"").status;
    assert_eq!((status("auth.example.com"), status("api.example.com")), (200, 404));
    gateway.admin_ok("PUT", "/hosts/auth.example.com", Some(&serde_json::json!({"builtin": false})), 201);
    gateway.admin_ok("PUT", "/hosts/api.example.com", Some(&serde_json::json!({"builtin": true})), 201);
    assert_eq!((status("auth.example.com"), status("api.example.com:6500")), (404, 200));
    gateway.admin_ok("PUT", "/hosts/auth.example.com", Some(&serde_json::json!({"dialect": "fo"})), 200);
    gateway.admin_ok("DELETE", "/hosts/api.example.com", None, 204);
    assert_eq!((status("auth.example.com"), status("api.example.com")), (200, 404));
}
