//! Answers that have come whole, and whose streams end a little later, or not at all.

use serde_json::{Value, json};

use super::{ONE, Server, declare, get};
use crate::support::Gateway;

/// A service that ends its answers as their path says, as `fast/v1`.
fn before() -> (Gateway, Server) {
    let script = concat!(include_str!("frames.py"), include_str!("ends.py"));
    let server = Server::running(script, "");
    let gateway = Gateway::with(ONE);
    declare(&gateway, "fast", &[server.url()], &json!({"protocol": "h2c"}));
    (gateway, server)
}

#[test]
fn a_stream_whose_answer_has_come_whole_is_not_reset() {
    let (gateway, server) = before();
    for path in ["/twice", "/trailers", "/late"] {
        let answer = get(&gateway, path);
        assert_eq!((answer.status, answer.text().as_str()), (200, "body"), "{path}");
    }
    assert_eq!(gateway.call("HEAD", "/fast/v1/late", &[], b"").status, 200);
    assert_eq!(get(&gateway, "/nothing").status, 204);
    // What was written before this call has been read when it is answered.
    assert_eq!(get(&gateway, "/end").text(), "ok");
    assert_eq!(server.heard("reset"), Vec::<Value>::new());
    assert_eq!(get(&gateway, "/end").text(), "ok");
    assert_eq!(server.heard("reset"), Vec::<Value>::new());
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_length_without_a_body_harms_nobody() {
    let (gateway, server) = before();
    for _ in 0..100 {
        assert_eq!(get(&gateway, "/unchanged").status, 304);
    }
    assert_eq!(get(&gateway, "/end").text(), "ok");
    assert_eq!(server.connections(), 1);
}

#[test]
fn what_never_comes_again_is_not_remembered() {
    let (gateway, server) = before();
    get(&gateway, "/end");
    get(&gateway, "/end");
    let seen = server.wait_for("request", |seen| seen["remembered"].as_array().is_some_and(|names| !names.is_empty()));
    let has = |list: &str, name: &str| seen[list].as_array().expect("names").contains(&json!(name));
    for (name, is_remembered) in [("x-request-id", false), ("traceparent", false), ("x-forwarded-proto", true)] {
        assert_eq!((has("fields", name), has("remembered", name)), (true, is_remembered), "{name}: {seen}");
    }
}

#[test]
fn a_stream_that_does_not_end_is_let_go_of() {
    let (gateway, server) = before();
    let answer = get(&gateway, "/never");
    assert_eq!((answer.status, answer.text().as_str()), (200, "body"));
    assert_eq!(server.wait_for("reset", |_| true)["code"], 8);
    assert_eq!(get(&gateway, "/end").text(), "ok");
}
