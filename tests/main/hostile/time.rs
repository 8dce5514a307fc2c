//! Peers that take their time: each has a bound on it, and nobody else waits with them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::{read_head, statuses};
use crate::support::client::{answers, connect, read_answer, read_to_close};
use crate::support::{Backend, Gateway, Scene};

/// Everything on the callers' side is over after a second.
const SHORT: &str = "[timeouts]\nfirst_byte = \"1s\"\nhead = \"1s\"\nbody_idle = \"1s\"\nkeep_alive = \"1s\"\n";

const GET: &str = "GET /orders/v1/x HTTP/1.1\r\nHost: a\r\n\r\n";

/// Writes byte by byte with pauses until all is written or the other side has closed, and reads all answers.
fn drip(mut stream: TcpStream, bytes: &[u8], pause: Duration) -> Vec<u16> {
    let mut writer = stream.try_clone().expect("a second handle");
    thread::scope(|scope| {
        scope.spawn(move || {
            for byte in bytes {
                if writer.write_all(&[*byte]).is_err() {
                    return;
                }
                thread::sleep(pause);
            }
        });
        statuses(&answers(&read_to_close(&mut stream)))
    })
}

#[test]
fn a_connection_that_says_nothing_is_closed() {
    let scene = Scene::open(Backend::echo(), SHORT);
    let mut silent = connect(scene.gateway.data);
    let mut idle = connect(scene.gateway.data);
    idle.write_all(GET.as_bytes()).expect("sent");
    assert_eq!(read_answer(&mut idle, false).status, 200);
    assert_eq!(read_to_close(&mut silent), b"");
    assert_eq!(read_to_close(&mut idle), b"");
}

#[test]
fn a_head_that_drips_in_is_not_waited_for() {
    let scene = Scene::open(Backend::echo(), SHORT);
    let pause = Duration::from_millis(100);
    let long = format!("GET /orders/v1/x HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(300));
    let found: Vec<_> = thread::scope(|scope| {
        let first = scope.spawn(|| drip(connect(scene.gateway.data), long.as_bytes(), pause));
        let second = scope.spawn(|| {
            let mut stream = connect(scene.gateway.data);
            stream.write_all(GET.as_bytes()).expect("sent");
            assert_eq!(read_answer(&mut stream, false).status, 200);
            drip(stream, long.as_bytes(), pause)
        });
        let lines = scope.spawn(|| drip(connect(scene.gateway.data), &b"\r\n".repeat(200), pause));
        [first, second, lines].into_iter().map(|thread| thread.join().expect("joined")).collect()
    });
    assert_eq!(found, [vec![408], vec![408], vec![408]]);
    assert_eq!(scene.backend.received().len(), 1);
}

#[test]
fn a_body_that_stops_is_not_waited_for() {
    let scene = Scene::open(Backend::echo(), SHORT);
    for (number, request) in [
        "Content-Length: 11\r\n\r\nhello",
        "Content-Length: 11\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
        "Transfer-Encoding: chunked\r\n\r\n",
    ]
    .into_iter()
    .enumerate()
    {
        let mut stream = connect(scene.gateway.data);
        write!(stream, "POST /orders/v1/stops HTTP/1.1\r\nHost: a\r\n{request}").expect("sent");
        let found = answers(&read_to_close(&mut stream));
        assert_eq!(statuses(&found), [408], "{request}");
        assert_eq!(found[0].code(), "request_timeout");
        let wire = scene.backend.wait_for_wire(|wire| wire.get(number).is_some_and(|wire| wire.ended));
        assert!(!wire[number].bytes.ends_with(b"0\r\n\r\n"), "{request}");
    }
    // A size that never ends is a pause as well: nothing of the body comes.
    let begin = "POST /orders/v1/stops HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut stream = connect(scene.gateway.data);
    stream.write_all(begin.as_bytes()).expect("sent");
    let found = drip(stream, format!("1;{}", "x".repeat(100)).as_bytes(), Duration::from_millis(100));
    assert_eq!(found, [408]);
    assert_eq!(scene.backend.received().len(), 0);
    let before = scene.backend.connections();
    assert_eq!(scene.gateway.call("GET", "/orders/v1/x", &[], b"").status, 200);
    assert_eq!(scene.backend.connections(), before + 1, "a connection in the middle of a request was used again");
}

#[test]
fn an_answer_nobody_takes_is_given_up() {
    const LENGTH: usize = 64 << 20;
    let backend = Backend::serving(|stream, request| match request.target.as_str() {
        "/large" => {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n");
            stream.write_all(head.as_bytes()).is_ok() && stream.write_all(&vec![b'x'; LENGTH]).is_ok()
        }
        _ => {
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 40000\r\n\r\n";
            stream.write_all(&[head.as_bytes(), &[b'x'; 40_000]].concat()).is_ok()
        }
    });
    let scene = Scene::open(backend, SHORT);
    let mut large = connect(scene.gateway.data);
    large.write_all(b"GET /orders/v1/large HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
    let mut many = connect(scene.gateway.data);
    // As much as fits; nothing of the answers is read.
    many.set_write_timeout(Some(Duration::from_millis(500))).expect("a timeout");
    let _ = many.write_all(b"GET /orders/v1/many HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2_000).as_slice());

    let record = scene.gateway.record("limit=1000", |record| record["path"] == "/orders/v1/large");
    assert_eq!(record["refusal"], "client_closed_request", "{record}");
    let mut head = String::new();
    (&large).take(15).read_to_string(&mut head).expect("a head");
    assert_eq!(head, "HTTP/1.1 200 OK");
    assert!(read_to_close(&mut large).len() < LENGTH);
    wait_for_connections(&scene.gateway, 0);
    drop(many);
}

#[test]
fn the_end_of_an_answer_is_waited_for_like_the_rest_of_it() {
    let backend = Backend::serving(|stream, request| {
        let length = request.target.trim_start_matches("/x").parse().expect("a length");
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(&[head.as_bytes(), &vec![b'x'; length]].concat()).is_ok()
    });
    let settings = SHORT.replace("body_idle = \"1s\"", "body_idle = \"20s\"");
    let scene = Scene::open(backend, &format!("{settings}upstream_first_byte = \"20s\"\n"));
    let gateway = &scene.gateway;
    // For some of these lengths the kernel takes all but what the gateway can hold itself, so that the call is over.
    let kernel = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_wmem").expect("a setting of the kernel");
    let most: usize = kernel.split_whitespace().nth(2).and_then(|most| most.parse().ok()).expect("a number");
    thread::scope(|scope| {
        for step in 0..20 {
            let length = most.saturating_sub(300_000) + step * 40_000;
            scope.spawn(move || {
                let mut stream = connect(gateway.data);
                write!(stream, "GET /orders/v1/x{length} HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
                // Longer than anything but the pauses of a body.
                thread::sleep(Duration::from_secs(3));
                let found = answers(&read_to_close(&mut stream));
                let lengths: Vec<_> = found.iter().map(|answer| (answer.status, answer.body.len())).collect();
                assert_eq!(lengths, [(200, length)]);
            });
        }
    });
}

/// Waits until so many connections stand on the data plane.
fn wait_for_connections(gateway: &Gateway, want: u64) {
    let deadline = std::time::Instant::now() + crate::support::client::PATIENCE;
    loop {
        let open = gateway.admin_ok("GET", "/status", None, 200)["counters"]["connections_open"].clone();
        if open == want {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{open} connections are open");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn those_who_dawdle_hold_up_nobody_else() {
    let scene = Scene::open(Backend::echo(), &format!("workers = 1\n{SHORT}"));
    let left = AtomicUsize::new(0);
    let data = scene.gateway.data;
    let served = thread::scope(|scope| {
        let dawdlers: [&[u8]; 5] = [
            b"",
            b"GET /orders/v1/x HT",
            b"GET /orders/v1/x HTTP/1.1\r\nHost: a\r\n",
            b"POST /orders/v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello",
            b"POST /orders/v1/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        ];
        for bytes in dawdlers.repeat(20) {
            left.fetch_add(1, Ordering::SeqCst);
            let left = &left;
            scope.spawn(move || {
                let mut stream = connect(data);
                stream.write_all(bytes).expect("sent");
                let found = statuses(&answers(&read_to_close(&mut stream)));
                assert_eq!(found, if bytes.is_empty() { vec![] } else { vec![408] });
                left.fetch_sub(1, Ordering::SeqCst);
            });
        }
        let mut served = 0;
        while left.load(Ordering::SeqCst) > 0 {
            assert_eq!(scene.gateway.call("GET", "/orders/v1/healthy", &[], b"").status, 200);
            served += 1;
        }
        served
    });
    assert!(served > 0);
    assert_eq!(scene.backend.received().len(), served);
}

#[test]
fn a_backend_that_pauses_does_not_make_the_caller_late() {
    const LENGTH: usize = 48 << 20;
    let backend = Backend::connected(|stream| {
        read_head(stream).expect("a head");
        // Longer than a caller may pause.
        thread::sleep(Duration::from_millis(2_500));
        let mut left = LENGTH;
        let mut buffer = vec![0; 1 << 20];
        while left > 0 {
            left -= stream.read(&mut buffer).expect("more");
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone").expect("answered");
    });
    let scene = Scene::open(backend, SHORT);
    let answer = scene.gateway.call("POST", "/orders/v1/x", &[], &vec![b'x'; LENGTH]);
    assert_eq!((answer.status, answer.text().as_str()), (200, "done"));
}

#[test]
fn a_long_upload_is_not_an_answer_that_is_late() {
    let settings = "[timeouts]\nupstream_first_byte = \"1s\"\nbody_idle = \"10s\"\n";
    let scene = Scene::open(Backend::echo(), settings);
    let mut stream = connect(scene.gateway.data);
    stream.write_all(b"POST /orders/v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n").expect("sent");
    for _ in 0..10 {
        thread::sleep(Duration::from_millis(300));
        stream.write_all(b"xx").expect("sent");
    }
    assert_eq!(read_answer(&mut stream, false).status, 200);
    assert_eq!(scene.backend.received()[0].body.len(), 20);
}
