//! Which version of HTTP is spoken to whom, and what can be declared.

use std::io::{Read, Write};
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{ONE, Server, declare, field, get};
use crate::support::Gateway;
use crate::support::client::connect;
use crate::support::tls::{Authority, TlsFront};

/// A service over TLS, and who has issued its certificate.
struct Place {
    server: Server,
    authority: Authority,
    _directory: TempDir,
}

impl Place {
    /// That chooses one of these (RFC 7301).
    fn speaking(protocols: &[&str]) -> Self {
        let authority = Authority::new("the authority");
        let directory = tempfile::tempdir().expect("a directory");
        authority.issue("DNS:localhost").write(directory.path(), "leaf");
        let file = |directory: &Path, name: &str| directory.join(name).to_string_lossy().into_owned();
        let server = Server::start(&json!({
            "alpn": protocols,
            "certificate": file(directory.path(), "leaf.pem"),
            "key": file(directory.path(), "leaf.key"),
        }));
        Self { server, authority, _directory: directory }
    }

    fn url(&self) -> String {
        format!("https://localhost:{}", self.server.port)
    }

    fn declare(&self, gateway: &Gateway, protocol: &str) {
        declare(gateway, "fast", &[self.url()], &json!({"protocol": protocol, "tls": {"ca": self.authority.pem}}));
    }

    fn chosen(&self) -> Vec<Value> {
        self.server.events("connection").iter().map(|event| event["alpn"].clone()).collect()
    }
}

#[test]
fn a_service_over_tls_chooses() {
    let place = Place::speaking(&["h2", "http/1.1"]);
    let gateway = Gateway::with(ONE);
    place.declare(&gateway, "auto");
    for _ in 0..10 {
        let seen = get(&gateway, "/x").json();
        assert_eq!(field(&seen, ":scheme"), Some("https"));
        assert_eq!(field(&seen, ":authority"), Some(place.url().trim_start_matches("https://")));
    }
    assert_eq!(place.chosen(), ["h2"]);
    // Declared otherwise, it is another connection.
    place.declare(&gateway, "h2");
    assert_eq!(get(&gateway, "/x").status, 200);
    assert_eq!(place.chosen(), ["h2", "h2"]);
    place.declare(&gateway, "http1");
    assert_eq!(get(&gateway, "/x").text(), "in http");
    assert_eq!(place.chosen(), ["h2", "h2", "http/1.1"]);
    let first = &place.server.events("http1")[0]["head"];
    assert!(first.as_str().is_some_and(|head| head.starts_with("GET /x HTTP/1.1\r\n")), "{first}");
    place.declare(&gateway, "auto");
    assert_eq!(get(&gateway, "/x").status, 200);
    assert_eq!(place.chosen().len(), 3, "the first one is still there");
}

#[test]
fn a_service_without_http2_is_spoken_to_without_it() {
    let place = Place::speaking(&["http/1.1"]);
    let gateway = Gateway::with(ONE);
    place.declare(&gateway, "auto");
    for _ in 0..3 {
        assert_eq!(get(&gateway, "/x").text(), "in http");
    }
    assert_eq!(place.chosen(), ["http/1.1"]);
    // One that says nothing about what it speaks, too.
    let silent = Place::speaking(&["http/0.9"]);
    silent.declare(&gateway, "auto");
    assert_eq!(get(&gateway, "/x").text(), "in http");
    assert_eq!(silent.chosen(), [Value::Null]);
    // Unless it must be HTTP/2.
    place.declare(&gateway, "h2");
    let answer = get(&gateway, "/x");
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_tls"));
    assert!(gateway.access_log().contains("does not speak HTTP/2"), "{}", gateway.access_log());
}

#[test]
fn a_front_that_knows_http1_alone_still_serves() {
    let backend = crate::support::Backend::echo();
    let authority = Authority::new("the authority");
    let front = TlsFront::before(backend.address, &authority.issue("DNS:localhost"));
    let gateway = Gateway::with(ONE);
    let tls = json!({"ca": authority.pem});
    declare(&gateway, "fast", &[front.url("localhost")], &json!({"tls": tls}));
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| assert_eq!(get(&gateway, "/x").status, 200));
        }
    });
    assert_eq!(backend.received().len(), 10);
}

#[test]
fn a_call_that_wants_http1_gets_it() {
    let place = Place::speaking(&["h2", "http/1.1"]);
    let gateway = Gateway::with(ONE);
    place.declare(&gateway, "auto");
    let answer = gateway.call("POST", "/fast/v1/http1", &[], b"body");
    assert_eq!((answer.status, answer.text().as_str()), (200, "in http"));
    let head = place.server.events("http1")[0]["head"].as_str().expect("a head").to_owned();
    assert!(head.starts_with("POST /http1 HTTP/1.1\r\n") && head.ends_with("\r\n\r\nbody"), "{head}");
    assert!(head.contains("\r\ncontent-length: 4\r\n"), "{head}");
    // Others go on over HTTP/2.
    assert_eq!(get(&gateway, "/x").json()["alpn"], "h2");
    // Not where it must be HTTP/2.
    place.declare(&gateway, "h2");
    assert_eq!(get(&gateway, "/http1").status, 502);
}

#[test]
fn an_upgrade_goes_over_http1() {
    let place = Place::speaking(&["h2", "http/1.1"]);
    let gateway = Gateway::with(ONE);
    for protocol in ["auto", "h2"] {
        place.declare(&gateway, protocol);
        assert_eq!(get(&gateway, "/x").json()["alpn"], "h2");
        let mut stream = connect(gateway.data);
        let head = "GET /fast/v1/chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
        stream.write_all(head.as_bytes()).expect("sent");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).expect("an answer");
        assert_eq!(&answer, b"HTTP/1.1 101");
        assert_eq!(place.chosen().last(), Some(&json!("http/1.1")));
    }
}

#[test]
fn what_went_over_http1_is_repeated_over_http1() {
    let place = Place::speaking(&["h2", "http/1.1"]);
    let gateway = Gateway::with(ONE);
    place.declare(&gateway, "auto");
    assert_eq!(get(&gateway, "/http1").text(), "in http");
    // The connection that has been used dies, and a fresh one takes the call.
    assert_eq!(get(&gateway, "/http1/die-used").text(), "in http");
    let mut stream = connect(gateway.data);
    let head = "GET /fast/v1/die-used HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("sent");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 101");
    assert_eq!(place.server.events("http1").len(), 1 + 2 + 2);
    assert_eq!(place.chosen(), ["h2", "http/1.1", "http/1.1", "http/1.1"]);
}

#[test]
fn what_cannot_be_spoken_is_told_when_it_is_declared() {
    let gateway = Gateway::start();
    let problems = |service: &Value| {
        let answer = gateway.admin("PUT", "/services/wrong/v1", Some(service));
        assert_eq!(answer.status, 422, "{}", answer.text());
        let problems = answer.json()["problems"].as_array().expect("problems").clone();
        problems.iter().map(|problem| problem["path"].as_str().expect("a path").to_owned()).collect::<Vec<_>>()
    };
    let targets = json!([{"url": "http://127.0.0.1:1"}, {"url": "https://127.0.0.1:2"}]);
    assert_eq!(problems(&json!({"targets": targets, "protocol": "h2"})), ["targets[0].url"]);
    assert_eq!(problems(&json!({"targets": targets, "protocol": "h2c"})), ["targets[1].url"]);
    assert_eq!(problems(&json!({"targets": targets, "protocol": "spdy"})), ["protocol"]);
    // What is good is shown, and shown in a file.
    declare(&gateway, "fast", &["http://127.0.0.1:1".to_owned()], &json!({"protocol": "h2c"}));
    assert_eq!(gateway.admin_ok("GET", "/services/fast/v1", None, 200)["protocol"], "h2c");
    let declared = gateway.admin_ok("GET", "/declarations", None, 200);
    assert_eq!(declared["services"]["fast/v1"]["protocol"], "h2c", "{declared}");
    declare(&gateway, "fast", &["http://127.0.0.1:1".to_owned()], &json!({"protocol": "auto"}));
    assert_eq!(gateway.admin_ok("GET", "/services/fast/v1", None, 200).get("protocol"), None);
}

#[test]
fn an_instance_that_registers_itself_is_spoken_to_as_declared() {
    let server = Server::start(&json!({}));
    let gateway = Gateway::with(ONE);
    let registered = crate::support::scene::register(&gateway, "fast", &server.url());
    let service = json!({"targets": [{"url": server.url()}], "require": [], "protocol": "h2c"});
    gateway.admin_ok("PUT", "/services/fast/v1", Some(&service), 200);
    let other = Server::start(&json!({}));
    let key = crate::support::scene::text(&registered, "registration_key");
    let add = |url: &str| {
        let body = json!({"name": "fast", "base_url": url, "instance": "two"});
        crate::support::scene::announce(&gateway, &key, &body).status
    };
    assert_eq!(add(&other.url()), 200);
    for _ in 0..4 {
        assert_eq!(get(&gateway, "/x").status, 200);
    }
    assert_eq!(other.events("request").len(), 2);
    assert_eq!(add("https://localhost:1"), 400, "what is declared is not spoken there");
}
