//! One call at a time: what the service gets, and what the caller gets.

use std::io::{Read, Write};

use serde_json::json;

use super::{ONE, Server, before, declare, field, get};
use crate::support::client::{connect, exchange, read_to_close};

/// Reads until this has come.
fn read_until(stream: &mut impl Read, wanted: &str) -> String {
    let (mut read, mut byte) = (Vec::new(), [0]);
    while !read.ends_with(wanted.as_bytes()) {
        stream.read_exact(&mut byte).expect("more");
        read.push(byte[0]);
    }
    String::from_utf8(read).expect("text")
}

#[test]
fn a_call_is_written_anew_in_http2() {
    let server = Server::start(&json!({}));
    let gateway = before(&server, ONE);
    let own = [("X-Own", "yes"), ("Cookie", "a=1; b=2"), ("Connection", "X-Hop"), ("X-Hop", "no")];
    let answer = gateway.call("POST", "/fast/v1/a/b?c=d", &own, b"hello");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let seen = answer.json();
    assert_eq!(field(&seen, ":method"), Some("POST"));
    assert_eq!(field(&seen, ":path"), Some("/a/b?c=d"));
    assert_eq!(field(&seen, ":scheme"), Some("http"));
    assert_eq!(field(&seen, ":authority"), Some(server.url().trim_start_matches("http://")));
    assert_eq!(field(&seen, "content-length"), Some("5"));
    assert_eq!(field(&seen, "x-own"), Some("yes"));
    assert_eq!(field(&seen, "x-forwarded-host"), Some(gateway.data.to_string().as_str()));
    assert_eq!(seen["body"], "hello");
    for gone in ["host", "connection", "x-hop", "te", "transfer-encoding"] {
        assert_eq!(field(&seen, gone), None, "{gone}");
    }
    assert!(answer.header("via").is_some_and(|via| via.starts_with("2.0 ")), "{answer:?}");
    assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string().as_str()));
    let record = gateway.record("service=fast", |record| record["status"] == 200);
    assert!(record["upstream_duration_us"].is_number(), "{record}");
    assert_eq!((&record["bytes_in"], &record["bytes_out"]), (&json!(5), &json!(answer.body.len())));
    let told = gateway.admin_ok("POST", "/explain", Some(&json!({"method": "GET", "url": "/fast/v1/a"})), 200);
    assert_eq!(told["outcome"]["url"], format!("{}/a", server.url()));
}

#[test]
fn a_grpc_call_always_ends_with_a_status() {
    let server = Server::start(&json!({}));
    let gateway = before(&server, ONE);
    let more = json!({"protocol": "h2c", "policies": {"grpc_web": {}}});
    declare(&gateway, "fast", &[server.url()], &more);
    for end in ["head", "data", "trailers"] {
        let own = [("Content-Type", "application/grpc-web+proto")];
        let answer = gateway.call("POST", &format!("/fast/v1/grpc/{end}"), &own, &[0; 5]);
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(answer.status == 200 && text.contains("grpc-status: 13\r\n"), "{end}: {answer:?}");
        assert_eq!(text.contains("x-sum: 1\r\n"), end == "trailers", "{text}");
        gateway.record("service=fast", |record| {
            record["path"] == format!("/fast/v1/grpc/{end}").as_str()
                && record["grpc_status"] == 13
                && record["refusal"] == "upstream_broken"
        });
    }
}

#[test]
fn messages_without_a_body_have_none() {
    let server = Server::start(&json!({}));
    let gateway = before(&server, ONE);
    let answer = gateway.call("HEAD", "/fast/v1/x", &[], b"");
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-length").is_some_and(|length| length != "0"), "{answer:?}");
    let answer = get(&gateway, "/nothing");
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    let seen = gateway.call("POST", "/fast/v1/x", &[], b"").json();
    assert_eq!((field(&seen, "content-length"), &seen["body"]), (Some("0"), &json!("")));
    let seen = get(&gateway, "/x").json();
    assert_eq!(field(&seen, "content-length"), None);
    assert_eq!(server.connections(), 1);
}

#[test]
fn hints_pass_as_far_as_they_may() {
    let server = Server::start(&json!({}));
    let gateway = before(&server, ONE);
    let head = b"GET /fast/v1/hints HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answer = String::from_utf8(exchange(gateway.data, head)).expect("text");
    let hint = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n";
    assert!(answer.starts_with(&format!("{}HTTP/1.1 200 OK\r\n", hint.repeat(8))), "{answer}");
}

#[test]
fn trailers_pass_both_ways() {
    let server = Server::start(&json!({}));
    let gateway = before(&server, ONE);
    let head = "POST /fast/v1/x HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE, close\r\nTrailer: X-Sum\r\n";
    let body = "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 3\r\nX-User-Json: forged\r\n\r\n";
    let answer = String::from_utf8(exchange(gateway.data, format!("{head}{body}").as_bytes())).expect("text");
    let seen: serde_json::Value =
        serde_json::from_str(answer.split_once("\r\n\r\n").expect("a body").1).expect("JSON of a known length");
    assert_eq!(seen["trailers"], json!([["x-sum", "3"]]));
    assert_eq!((field(&seen, "te"), &seen["body"]), (Some("trailers"), &json!("abc")));
    assert_eq!(field(&seen, "content-length"), None);

    let head = "GET /fast/v1/trailers HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE, close\r\n\r\n";
    let answer = String::from_utf8(exchange(gateway.data, head.as_bytes())).expect("text").to_lowercase();
    assert!(answer.contains("transfer-encoding: chunked") && !answer.contains("content-length"), "{answer}");
    assert!(answer.ends_with("4\r\nbody\r\n0\r\nx-sum: 4\r\n\r\n"), "{answer}");
    // Who does not want them gets none.
    let head = "GET /fast/v1/trailers HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answer = String::from_utf8(exchange(gateway.data, head.as_bytes())).expect("text");
    assert!(answer.ends_with("4\r\nbody\r\n0\r\n\r\n"), "{answer}");
}

#[test]
fn both_bodies_flow_at_the_same_time() {
    let server = Server::start(&json!({}));
    let gateway = before(&server, ONE);
    let mut stream = connect(gateway.data);
    let head = "POST /fast/v1/duplex HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("sent");
    // The answer's head is there before any of the body.
    let head = read_until(&mut stream, "\r\n\r\n").to_lowercase();
    assert!(head.starts_with("http/1.1 200") && head.contains("x-duplex: yes"), "{head}");
    for number in 0..100 {
        let piece = format!("piece {number:03}");
        write!(stream, "9\r\n{piece}\r\n").expect("sent");
        assert_eq!(read_until(&mut stream, "\r\n"), "9\r\n");
        assert_eq!(read_until(&mut stream, "\r\n"), format!("{piece}\r\n"));
    }
    stream.write_all(b"0\r\n\r\n").expect("sent");
    assert_eq!(read_until(&mut stream, "0\r\n\r\n"), "0\r\n\r\n");
    gateway.record("service=fast", |record| record["bytes_in"] == 900 && record["bytes_out"] == 900);
}

#[test]
fn large_bodies_pass_whole_in_both_directions() {
    let server = Server::start(&json!({}));
    let gateway = before(&server, ONE);
    let body: Vec<u8> = (0..3_000_000_u32).map(|number| b'a' + (number % 23) as u8).collect();
    let answer = gateway.call("POST", "/fast/v1/duplex", &[], &body);
    assert_eq!(answer.status, 200);
    assert!(answer.body == body, "{} bytes came back", answer.body.len());
    let answer = get(&gateway, "/big");
    assert_eq!((answer.status, answer.body.len()), (200, 20_000_000));
    assert_eq!(server.connections(), 1);
}

#[test]
fn an_answer_that_comes_early_ends_the_request() {
    let server = Server::start(&json!({}));
    let gateway = before(&server, ONE);
    let mut stream = connect(gateway.data);
    let head = "POST /fast/v1/early HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nsome";
    stream.write_all(head.as_bytes()).expect("sent");
    let answer = String::from_utf8(read_to_close(&mut stream)).expect("text");
    assert!(answer.starts_with("HTTP/1.1 413") && answer.ends_with("\r\n\r\nearly"), "{answer}");
    assert_eq!(get(&gateway, "/x").json()["number"], 1, "the connection goes on");
}

#[test]
fn a_stream_that_breaks_breaks_no_other() {
    let server = Server::start(&json!({}));
    let gateway = before(&server, ONE);
    let answer = get(&gateway, "/reset");
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_broken"));
    let torn = exchange(gateway.data, b"GET /fast/v1/torn HTTP/1.1\r\nHost: a\r\n\r\n");
    let torn = String::from_utf8(torn).expect("text");
    assert!(torn.starts_with("HTTP/1.1 200") && !torn.ends_with("0\r\n\r\n"), "{torn}");
    gateway.record("service=fast", |record| record["status"] == 200 && record["refusal"] == "upstream_broken");
    assert_eq!(get(&gateway, "/x").json()["number"], 1);
}

#[test]
fn a_caller_that_leaves_ends_its_stream_alone() {
    let server = Server::start(&json!({}));
    let gateway = before(&server, ONE);
    let mut streams = Vec::new();
    for path in ["never", "duplex", "hold"] {
        let mut stream = connect(gateway.data);
        let head = format!("POST /fast/v1/{path} HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nsome");
        stream.write_all(head.as_bytes()).expect("sent");
        let asked = server.wait_for("request", |event| event["path"] == format!("/{path}"));
        streams.push((stream, asked["stream"].clone()));
    }
    for (stream, number) in streams {
        assert!(server.events("reset").iter().all(|event| event["stream"] != number));
        drop(stream);
        let reset = server.wait_for("reset", |event| event["stream"] == number);
        assert_eq!(reset["code"], 8, "CANCEL");
    }
    assert_eq!(get(&gateway, "/x").json()["number"], 1);
}

#[test]
fn a_service_that_does_not_answer_is_not_waited_for() {
    let server = Server::start(&json!({"wait": 2.5}));
    let gateway = before(&server, &format!("{ONE}timeouts.upstream_first_byte = \"4s\"\n"));
    std::thread::scope(|scope| {
        let silent = scope.spawn(|| get(&gateway, "/never"));
        let asked = server.wait_for("request", |event| event["path"] == "/never");
        // Others come and go on the same connection: what counts is this call's own silence.
        for _ in 0..2 {
            assert_eq!(get(&gateway, "/x").json()["number"], 1);
        }
        let answer = silent.join().expect("no panic");
        assert_eq!((answer.status, answer.code().as_str()), (504, "upstream_timeout"));
        let reset = server.wait_for("reset", |event| event["stream"] == asked["stream"]);
        assert_eq!(reset["code"], 8);
    });
    assert_eq!(get(&gateway, "/x").json()["number"], 1);
}

#[test]
fn an_answer_that_stops_is_broken_off() {
    let server = Server::start(&json!({}));
    let gateway = before(&server, &format!("{ONE}timeouts.body_idle = \"1s\"\n"));
    let mut stream = connect(gateway.data);
    let head = "POST /fast/v1/duplex HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n";
    stream.write_all(head.as_bytes()).expect("sent");
    let answer = String::from_utf8(read_to_close(&mut stream)).expect("text");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("1\r\nx\r\n"), "{answer}");
    server.wait_for("reset", |event| event["code"] == 8);
}
