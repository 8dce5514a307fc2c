//! One call at a time: what the service gets, and what the caller gets.

use serde_json::json;

use super::{ONE, Server, before, field, get};

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
}

#[test]
fn calls_share_one_connection() {
    let server = Server::start(&json!({}));
    let gateway = before(&server, ONE);
    for _ in 0..20 {
        assert_eq!(get(&gateway, "/x").status, 200);
    }
    assert_eq!(server.connections(), 1);
}
