//! Many calls: how they share connections, and what becomes of them when a connection ends.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::process::Command;
use std::sync::Barrier;

use serde_json::{Value, json};

use super::{ONE, Server, before, declare, get};
use crate::support::client::{connect, connect_as, read_answer};
use crate::support::scene::until;
use crate::support::{Answer, Gateway};

/// So many calls at the same time.
fn at_once(gateway: &Gateway, calls: usize, path: &str) -> Vec<Answer> {
    let start = Barrier::new(calls);
    std::thread::scope(|scope| {
        let one = || {
            start.wait();
            get(gateway, path)
        };
        let running: Vec<_> = (0..calls).map(|_| scope.spawn(one)).collect();
        running.into_iter().map(|call| call.join().expect("no panic")).collect()
    })
}

/// The most streams that were open at once on any connection.
fn most(server: &Server) -> u64 {
    server.events("request").iter().filter_map(|event| event["open"].as_u64()).max().unwrap_or(0)
}

#[test]
fn calls_share_one_connection() {
    let server = Server::start(&json!({"wait": 0.2}));
    let gateway = before(&server, ONE);
    // Also those that come while it is being opened.
    let answers = at_once(&gateway, 50, "/x");
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(server.connections(), 1);
    assert!(most(&server) > 10, "{}", most(&server));
}

#[test]
fn a_connection_that_was_logged_in_gets_no_more_calls() {
    let server = Server::start(&json!({}));
    let gateway = before(&server, ONE);
    let connection = |answer: &Answer| answer.json()["number"].as_u64();
    assert_eq!((connection(&get(&gateway, "/x")), connection(&get(&gateway, "/y"))), (Some(1), Some(1)));
    assert_eq!(get(&gateway, "/log-in").status, 401);
    assert_eq!(connection(&get(&gateway, "/x")), Some(2));
    let login = gateway.call("GET", "/fast/v1/x", &[("Authorization", "Negotiate YIIB")], b"");
    assert_eq!((login.status, connection(&login)), (200, Some(2)));
    assert_eq!(connection(&get(&gateway, "/x")), Some(3));
    let basic = gateway.call("GET", "/fast/v1/x", &[("Authorization", "Basic eDp5")], b"");
    assert_eq!((connection(&basic), connection(&get(&gateway, "/x"))), (Some(3), Some(3)));
}

#[test]
fn callers_in_http2_share_connections_too() {
    let server = Server::start(&json!({}));
    let gateway = before(&server, ONE);
    let output = Command::new("h2load")
        .args(["-n", "2000", "-c", "4", "-m", "64", &format!("http://{}/fast/v1/x", gateway.data)])
        .output()
        .expect("h2load is installed");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("2000 succeeded, 0 failed, 0 errored, 0 timeout"), "{said}");
    assert!((1..=4).contains(&server.connections()), "{}", server.connections());
}

#[test]
fn no_more_calls_than_a_service_takes_are_on_a_connection() {
    for streams in [1, 4] {
        let server = Server::start(&json!({"streams": streams, "wait": 0.05}));
        let gateway = before(&server, ONE);
        for _ in 0..3 {
            let answers = at_once(&gateway, 50, "/x");
            assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
        }
        assert_eq!(most(&server), streams);
        assert!((2..=50).contains(&server.connections()), "{}", server.connections());
    }
}

#[test]
fn when_every_connection_is_full_calls_wait() {
    let server = Server::start(&json!({"streams": 2, "wait": 0.01}));
    let settings = format!("{ONE}limits.upstream_connections = 2\ntimeouts.upstream_queue_wait = \"20s\"\n");
    let gateway = before(&server, &settings);
    let answers = at_once(&gateway, 50, "/x");
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    assert_eq!((most(&server), server.connections()), (2, 2));

    let busy = Server::start(&json!({"streams": 1}));
    let gateway = before(&busy, &format!("{ONE}limits.upstream_connections = 1\n"));
    std::thread::scope(|scope| {
        let mut never = connect(gateway.data);
        never.write_all(b"GET /fast/v1/never HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
        busy.wait_for("request", |_| true);
        let waiting = scope.spawn(|| get(&gateway, "/x"));
        let answer = waiting.join().expect("no panic");
        assert_eq!((answer.status, answer.code().as_str()), (503, "upstream_busy"));
        drop(never);
    });
    until("the place is free again", || get(&gateway, "/x").status == 200);
    assert_eq!(busy.connections(), 1);
}

#[test]
fn whoever_fills_connections_that_calls_share_leaves_room_for_others() {
    let server = Server::start(&json!({"streams": 4}));
    let gateway = before(&server, &format!("{ONE}limits.upstream_connections = 2\n"));
    // More than there is room for, of one caller.
    let lasting: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = connect(gateway.data);
            stream.write_all(b"GET /fast/v1/never HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
            stream
        })
        .collect();
    until("all is taken", || server.events("request").len() >= 8);
    for round in 0..2 {
        for other in 2..20 {
            let mut stream = connect_as(&format!("127.0.0.{other}"), gateway.data);
            stream.write_all(b"GET /fast/v1/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("sent");
            let answer = read_answer(&mut stream, false);
            assert_eq!(answer.status, 200, "{round} {other}: {}", answer.text());
        }
    }
    assert_eq!(server.events("request").iter().filter(|event| event["path"] == "/never").count(), 8);
    drop(lasting);
}

#[test]
fn every_worker_has_a_connection_that_calls_share() {
    let server = Server::start(&json!({}));
    let gateway = before(&server, "workers = 8\nlimits.upstream_connections = 1\n");
    // Each lasts, on whatever worker it is, and is one of a hundred that its connection carries.
    let lasting: Vec<_> = (1..40)
        .map(|number| {
            let mut stream = connect(gateway.data);
            stream.write_all(b"GET /fast/v1/never HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
            until("it is there", || server.events("request").len() >= number);
            stream
        })
        .collect();
    for _ in 0..40 {
        assert_eq!(get(&gateway, "/x").status, 200);
    }
    assert!((2..=8).contains(&server.connections()), "{}", server.connections());
    drop(lasting);
}

#[test]
fn a_good_bye_under_load_fails_no_call() {
    let server = Server::start(&json!({"goaway_after": 25, "streams": 8}));
    let gateway = before(&server, ONE);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for number in 0..75 {
                    let answer = match number % 3 {
                        // Nothing but the service's word says that this may be sent again.
                        0 => gateway.call("POST", "/fast/v1/x", &[], b"a body"),
                        _ => get(&gateway, "/x"),
                    };
                    assert_eq!(answer.status, 200, "{}\n{}", answer.text(), gateway.access_log());
                    assert_eq!(answer.json()["body"], if number % 3 == 0 { "a body" } else { "" });
                }
            });
        }
    });
    assert!(server.connections() >= 600 / 25, "{}", server.connections());
    // What nobody needs any more is hung up on.
    until("all but the last have ended", || server.events("lost").len() + 1 >= server.connections());
}

#[test]
fn what_was_refused_is_sent_again() {
    let server = Server::start(&json!({}));
    let gateway = before(&server, ONE);
    assert_eq!(get(&gateway, "/refused/a").status, 200);
    let answer = gateway.call("POST", "/fast/v1/refused/b", &[], b"hello");
    assert_eq!((answer.status, &answer.json()["body"]), (200, &json!("hello")));
    assert_eq!(server.events("request").len(), 4);

    let answer = get(&gateway, "/refused-always");
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_broken"));
    assert_eq!(server.events("request").len(), 4 + 3, "not for ever");
    // Another instance may take it.
    let other = Server::start(&json!({}));
    let targets = [format!("{}/refused-always", server.url()), other.url()];
    declare(&gateway, "fast", &targets, &json!({"protocol": "h2c"}));
    for _ in 0..4 {
        let answer = gateway.call("POST", "/fast/v1/y", &[], b"hello");
        assert_eq!((answer.status, &answer.json()["body"]), (200, &json!("hello")));
    }
    let seen: Vec<_> = other.events("request").iter().map(|event| event["path"].clone()).collect();
    assert_eq!(seen, vec![json!("/y"); 4]);
}

#[test]
fn a_body_that_has_not_left_is_sent_again() {
    // There is no room for it on the first connection, which then says good-bye.
    let server = Server::start(&json!({"first_window": 0}));
    let gateway = before(&server, ONE);
    let answer = gateway.call("POST", "/fast/v1/good-bye", &[], b"hello");
    assert_eq!((answer.status, &answer.json()["body"], &answer.json()["number"]), (200, &json!("hello"), &json!(2)));
    assert_eq!(server.events("request").len(), 2);
    assert!(server.events("for nobody").is_empty());
}

#[test]
fn a_body_that_was_begun_is_not_sent_again() {
    let server = Server::start(&json!({}));
    let gateway = before(&server, ONE);
    // Two pieces of which the first has gone: it is nowhere any more.
    let mut stream = connect(gateway.data);
    let head = "POST /fast/v1/held-and-refused HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n";
    stream.write_all(head.as_bytes()).expect("sent");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 502");
    server.wait_for("request", |_| true);
    assert_eq!(server.events("request").len(), 1);
}

#[test]
fn a_request_is_sent_again_whole_or_not_at_all() {
    let server = Server::start(&json!({}));
    let gateway = before(&server, ONE);
    for (number, (body, status)) in
        [("0\r\n\r\n", 200), ("5\r\nhello\r\n0\r\n\r\n", 200), ("0\r\nX-Sum: 1\r\n\r\n", 502)].iter().enumerate()
    {
        let mut stream = connect(gateway.data);
        let fields = "Host: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum";
        write!(stream, "POST /fast/v1/whole-and-refused/{number} HTTP/1.1\r\n{fields}\r\n\r\n{body}").expect("sent");
        assert_eq!(read_answer(&mut stream, false).status, *status, "{body}");
    }
}

#[test]
fn a_connection_that_dies_is_replaced() {
    let server = Server::start(&json!({}));
    let gateway = before(&server, ONE);
    // A fresh one that dies is not tried again: the service may have acted on the call.
    let answer = get(&gateway, "/die");
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_broken"));
    let numbers: Vec<Value> = (0..3).map(|_| get(&gateway, "/x").json()["number"].clone()).collect();
    assert_eq!(numbers, [2, 2, 2]);
    // Over one that has been used, once more, if it may be repeated.
    assert_eq!(get(&gateway, "/die").status, 502);
    assert_eq!(server.events("request").iter().filter(|event| event["path"] == "/die").count(), 3);
    assert_eq!(get(&gateway, "/x").status, 200);
    assert_eq!(gateway.call("POST", "/fast/v1/die", &[], b"x").status, 502);
    assert_eq!(server.events("request").iter().filter(|event| event["path"] == "/die").count(), 4);
}

#[test]
fn a_call_is_repeated_once() {
    let server = Server::start(&json!({}));
    let gateway = before(&server, &format!("{ONE}timeouts.upstream_first_byte = \"2s\"\n"));
    assert_eq!(get(&gateway, "/x").status, 200);
    // The second of them meets a connection that the first has opened, and that has carried a call when it dies, too.
    let answers = at_once(&gateway, 2, "/die-in-pairs");
    assert!(answers.iter().all(|answer| answer.code() == "upstream_broken"), "{answers:?}");
    assert_eq!(server.events("request").iter().filter(|event| event["path"] == "/die-in-pairs").count(), 4);
}

#[test]
fn a_connection_that_opens_takes_the_calls_that_wait_for_a_place() {
    let server = Server::start(&json!({"first_streams": 1}));
    let other = Server::start(&json!({}));
    let settings = "limits.upstream_connections = 1\ntimeouts.upstream_queue_wait = \"5s\"\n";
    let gateway = before(&server, &format!("{ONE}{settings}"));
    declare(&gateway, "other", &[other.url()], &json!({"protocol": "h2c"}));
    // One call at a time is expected from now on.
    assert_eq!(get(&gateway, "/die").status, 502);
    server.wait_for("lost", |_| true);
    server.signal("STOP");
    let mut calls: Vec<_> = (0..2).map(|_| connect(gateway.data)).collect();
    for (stream, path) in calls.iter_mut().zip(["never", "x"]) {
        stream.write_all(format!("GET /fast/v1/{path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).expect("sent");
        // The worker has looked at what came before this.
        assert_eq!(gateway.call("GET", "/other/v1/x", &[], b"").status, 200);
    }
    server.signal("CONT");
    let mut answer = [0; 12];
    calls[1].read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 200");
}

#[test]
fn a_connection_on_which_nothing_comes_any_more_gets_no_more_calls() {
    let server = Server::start(&json!({}));
    let gateway = before(&server, &format!("{ONE}timeouts.upstream_first_byte = \"1s\"\n"));
    assert_eq!(get(&gateway, "/x").json()["number"], 1);
    server.signal("STOP");
    assert_eq!(get(&gateway, "/x").status, 504);
    server.signal("CONT");
    assert_eq!(get(&gateway, "/x").json()["number"], 2);
}

#[test]
fn calls_that_are_broken_off_do_no_harm_to_others() {
    let server = Server::start(&json!({}));
    let gateway = before(&server, ONE);
    let mut lasting = connect(gateway.data);
    let head = "POST /fast/v1/duplex HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n";
    lasting.write_all(head.as_bytes()).expect("sent");
    for round in 1..=20 {
        let leaving: Vec<_> = (0..50)
            .map(|_| {
                let mut stream = connect(gateway.data);
                stream.write_all(b"GET /fast/v1/never HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
                stream
            })
            .collect();
        until("they are all there", || server.events("request").len() > 50 * round);
        drop(leaving);
        until("they are all gone", || server.events("reset").len() >= 50 * round);
    }
    // The connection has had enough of them, and finishes what is on it.
    assert_eq!(get(&gateway, "/x").json()["number"], 2);
    lasting.write_all(b"0\r\n\r\n").expect("sent");
    let (mut answer, mut byte) = (Vec::new(), [0]);
    while !answer.ends_with(b"1\r\nx\r\n0\r\n\r\n") {
        lasting.read_exact(&mut byte).expect("the whole answer");
        answer.push(byte[0]);
    }
    let ended = server.wait_for("lost", |_| true);
    assert_eq!(ended["number"], 1);
}

#[test]
fn connections_outlive_declarations_and_end_when_nobody_uses_them() {
    let server = Server::start(&json!({}));
    let gateway = before(&server, &format!("{ONE}timeouts.upstream_keep_alive = \"2s\"\n"));
    for number in 0..5 {
        assert_eq!(get(&gateway, "/x").status, 200);
        declare(&gateway, "fast", &[server.url()], &json!({"protocol": "h2c", "audiences": [number.to_string()]}));
    }
    assert_eq!(server.connections(), 1);
    let bye = server.wait_for("goaway", |_| true);
    assert_eq!(bye["code"], 0);
    server.wait_for("lost", |_| true);
    assert_eq!(get(&gateway, "/x").json()["number"], 2);
}

#[test]
fn a_caller_who_takes_nothing_holds_up_nobody_and_fills_nothing() {
    let server = Server::start(&json!({}));
    let gateway = before(&server, ONE);
    assert_eq!(get(&gateway, "/x").status, 200);
    let memory = gateway.memory();
    let mut slow: Vec<_> = (0..20).map(|_| connect(gateway.data)).collect();
    for stream in &mut slow {
        stream.write_all(b"GET /fast/v1/big HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
    }
    until("the service is held up", || {
        let full = server.events("full");
        (1..=20).all(|place| full.iter().any(|event| event["stream"] == 2 * place + 1))
    });
    for _ in 0..20 {
        assert_eq!(get(&gateway, "/x").json()["number"], 1);
    }
    let grown = gateway.memory().saturating_sub(memory);
    assert!(grown < 40 << 20, "grown by {grown} bytes");
    let mut stream = slow.pop().expect("one of them");
    let (mut left, mut buffer) = (20_000_000, vec![0; 1 << 20]);
    while left > 0 {
        let length = stream.read(&mut buffer).expect("more");
        assert!(length > 0, "{left} bytes are missing");
        left -= length.min(left);
    }
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_service_that_takes_nothing_fills_nothing() {
    let server = Server::start(&json!({}));
    let gateway = before(&server, ONE);
    let memory = gateway.memory();
    std::thread::scope(|scope| {
        let stream = connect(gateway.data);
        let mut other = stream.try_clone().expect("a second handle");
        scope.spawn(move || {
            let head = "POST /fast/v1/hold HTTP/1.1\r\nHost: a\r\nContent-Length: 60000000\r\n\r\n";
            other.write_all(head.as_bytes()).expect("sent");
            // Ends when the caller is gone.
            let _ = other.write_all(&vec![b'x'; 60_000_000]);
        });
        server.wait_for("held", |event| event["bytes"] == 65_535);
        assert!(gateway.memory().saturating_sub(memory) < 16 << 20);
        assert_eq!(get(&gateway, "/x").status, 200, "others are not held up");
        stream.shutdown(Shutdown::Both).expect("gone");
    });
}
