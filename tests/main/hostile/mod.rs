//! What the gateway does with bytes that mean harm: framing with two readings, targets in disguise, peers that
//! dawdle, backends that lie, and identities that callers make up. Everything goes over raw sockets.

mod bounds;
mod framing;
mod identity;
mod property;
mod targets;
mod time;
mod upstream;

use std::io::Read;
use std::net::TcpStream;

use serde_json::json;

use crate::support::client::{Answer, answers, exchange};
use crate::support::{Backend, Gateway};

/// A request of its own that also ends its connection.
const LAST: &str = "GET /orders/v1/last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// A request that nobody ever sends; it only ever stands where something else is meant.
const SMUGGLED: &str = "GET /orders/v1/smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// Sends bytes over a connection of their own, and returns all answers until the gateway closes it.
fn send(gateway: &Gateway, bytes: impl AsRef<[u8]>) -> Vec<Answer> {
    answers(&exchange(gateway.data, bytes.as_ref()))
}

/// The statuses of answers.
fn statuses(answers: &[Answer]) -> Vec<u16> {
    answers.iter().map(|answer| answer.status).collect()
}

/// The targets of the requests a backend has got.
fn targets(backend: &Backend) -> Vec<String> {
    backend.received().into_iter().map(|request| request.target).collect()
}

/// Declares a service that is open to everybody.
fn open_service(gateway: &Gateway, name: &str, urls: &[String]) {
    let targets: Vec<_> = urls.iter().map(|url| json!({"url": url})).collect();
    let declared =
        gateway.admin("PUT", &format!("/services/{name}/v1"), Some(&json!({"targets": targets, "require": []})));
    assert!(matches!(declared.status, 200 | 201), "{}", declared.text());
}

/// Reads a request's head off a connection, byte by byte; none if the other side closes.
fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if !matches!(stream.read(&mut byte), Ok(1)) {
            return None;
        }
        head.push(byte[0]);
    }
    Some(String::from_utf8(head).expect("an ASCII head"))
}
