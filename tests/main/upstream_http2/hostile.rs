//! Services that say wrong things in HTTP/2, or too much: callers get a refusal, the log a reason, and nothing grows.

use std::io::{Read, Write};

use serde_json::json;

use super::{ONE, Server, declare, get};
use crate::support::Gateway;
use crate::support::client::{connect, exchange};

const TIMEOUTS: &str = "[timeouts]\nupstream_first_byte = \"1s\"\nconnect = \"1s\"\nbody_idle = \"2s\"\n";

fn gateway() -> Gateway {
    Gateway::with(&format!("{ONE}{TIMEOUTS}"))
}

/// A service that does this, as `fast/v1`.
fn doing(gateway: &Gateway, what: &str) -> Server {
    let script = concat!(include_str!("frames.py"), include_str!("hostile.py"));
    let server = Server::running(script, what);
    declare(gateway, "fast", &[server.url()], &json!({"protocol": "h2c"}));
    server
}

/// The reason in the log of the latest refusal.
fn reason(gateway: &Gateway) -> String {
    let log = gateway.access_log();
    let line = log.lines().rfind(|line| line.contains("\"service\":\"fast\"")).expect("a line");
    let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
    line["reason"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn what_is_no_answer_is_not_passed_on() {
    let gateway = gateway();
    for what in [
        "garbage",
        "no_status",
        "bad_status",
        "two_statuses",
        "late_pseudo",
        "uppercase",
        "line_break",
        "connection_field",
        "coding_field",
        "switch",
        "two_lengths",
        "no_length",
        "length_of_nothing",
        "data_first",
        "other_stream",
        "even_stream",
        "large_frame",
        "bad_compression",
        "broken_settings",
        "window_overflow",
        "no_window",
        "push",
        "closes",
        "large_head",
        "bomb_in_head",
    ] {
        let server = doing(&gateway, what);
        let answer = get(&gateway, "/x");
        assert_eq!(answer.status, 502, "{what}");
        assert_eq!(answer.code(), "upstream_broken", "{what}");
        let id = answer.header("x-request-id").expect("an id").to_owned();
        gateway.record("limit=5", |record| record["request_id"] == id.as_str());
        assert!(!reason(&gateway).is_empty(), "{what}");
        assert_eq!(server.connections(), 1, "what has failed on a fresh connection is not sent again: {what}");
    }
}

#[test]
fn a_service_that_does_not_begin_to_speak_is_not_reached() {
    let gateway = gateway();
    for what in ["http1", "silent", "takes_nothing"] {
        let _server = doing(&gateway, what);
        let answer = gateway.call("POST", "/fast/v1/x", &[], b"body");
        assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_unreachable"), "{what}");
        gateway.record("limit=5", |record| record["refusal"] == "upstream_unreachable");
        assert!(reason(&gateway).contains("HTTP/2"), "{what}: {}", reason(&gateway));
    }
}

#[test]
fn a_service_that_says_good_bye_to_every_call_is_given_up() {
    let gateway = gateway();
    let server = doing(&gateway, "goaway");
    let answer = get(&gateway, "/x");
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_broken"));
    assert_eq!(server.connections(), 3);
}

#[test]
fn an_answer_that_is_not_what_its_head_says_is_broken_off() {
    let gateway = gateway();
    for what in ["short", "long", "compression_bomb"] {
        let _server = doing(&gateway, what);
        let answer = exchange(gateway.data, b"GET /fast/v1/x HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(!answer.ends_with("0\r\n\r\n") && !answer.contains("too long"), "{what}: {answer}");
        gateway.record("service=fast", |record| record["refusal"] == "upstream_broken");
    }
}

#[test]
fn pseudo_fields_that_are_out_of_place_reach_nobody() {
    let gateway = gateway();
    let _server = doing(&gateway, "misplaced");
    let answer = get(&gateway, "/x");
    assert_eq!((answer.status, answer.text().as_str()), (200, "body"));
    assert!(answer.headers.iter().all(|(name, _)| !name.contains(':') && name != "path"), "{answer:?}");
}

#[test]
fn floods_end_and_fill_nothing() {
    let gateway = gateway();
    let good = Server::start(&json!({}));
    declare(&gateway, "good", &[good.url()], &json!({"protocol": "h2c"}));
    let memory = gateway.memory();
    for (what, status) in
        [("continuations", 502), ("empty_continuations", 502), ("hints", 504), ("settings", 504), ("pings", 504)]
    {
        let _server = doing(&gateway, what);
        std::thread::scope(|scope| {
            let flooded = scope.spawn(|| get(&gateway, "/x").status);
            for _ in 0..10 {
                assert_eq!(gateway.call("GET", "/good/v1/x", &[], b"").status, 200, "{what}");
            }
            assert_eq!(flooded.join().expect("no panic"), status, "{what}");
        });
        let grown = gateway.memory().saturating_sub(memory);
        assert!(grown < 16 << 20, "{what}: grown by {grown} bytes");
    }
}

#[test]
fn a_body_without_end_fills_nothing() {
    let gateway = gateway();
    let memory = gateway.memory();
    for what in ["empty_data", "tiny_data", "too_much_data"] {
        let server = doing(&gateway, what);
        // A caller who takes nothing.
        let mut stream = connect(gateway.data);
        stream.write_all(b"GET /fast/v1/x HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
        server.wait_for("ended", |_| true);
        let grown = gateway.memory().saturating_sub(memory);
        assert!(grown < 48 << 20, "{what}: grown by {grown} bytes");
        let _ = stream.read(&mut [0]);
    }
}
