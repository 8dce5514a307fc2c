//! Connections that are kept: those of a client whose certificate is not good any more take no further call, and none is
//! kept for longer than it may be.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use super::super::support::authority::{Authority, Issued};
use super::super::support::scene::until;
use super::super::support::{Backend, Gateway, Scene, python};
use super::{HOST, curl, settings, tls};

/// A program in `kept.py` under way.
struct Kept {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Kept {
    fn start(program: &str, gateway: &Gateway, root: &Path, shown: &Issued) -> Self {
        let script = concat!(include_str!("../http2/frames.py"), include_str!("kept.py"));
        let mut command = Command::new(python());
        command.args(["-c", script, program, &tls(gateway).to_string()]);
        command.args([root, &shown.certificate, &shown.key]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("starts");
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, lines }
    }

    fn said(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        line.trim().to_owned()
    }

    fn go_on(&mut self) -> String {
        self.child.stdin.as_mut().expect("piped").write_all(b"\n").expect("it waits");
        let said = self.said();
        assert!(self.child.wait().expect("it ends").success());
        said
    }
}

/// A service that answers at once, and under three paths never comes to an end.
fn service() -> Backend {
    Backend::serving(|stream, request| {
        let head = match request.target.as_str() {
            "/events" => {
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n\n\n\r\n"
            }
            "/download" => "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nbegun",
            "/ws" => {
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n"
            }
            _ => return stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_ok(),
        };
        // Until the gateway has had enough.
        stream.write_all(head.as_bytes()).is_ok() && stream.read_to_end(&mut Vec::new()).is_err()
    })
}

/// A gateway that asks for certificates.
struct House {
    server: Authority,
    clients: Authority,
    shop: Issued,
    other: Issued,
    scene: Scene,
}

impl House {
    fn new(more: &str) -> Self {
        let (server, clients) = (Authority::new(), Authority::new());
        let certificate = server.issue("api", "DNS:api.example.com");
        let (shop, other) = (clients.issue("shop", "DNS:shop.example"), clients.issue("other", "DNS:other.example"));
        let (root, list) = (clients.root(), clients.revoked());
        let lines =
            format!("client_certificates = \"required\"\nclient_ca = {root:?}\nclient_crls = [{list:?}]\n{more}");
        let scene = Scene::open(service(), &settings("", &[&certificate], &lines));
        Self { server, clients, shop, other, scene }
    }

    fn start(&self, program: &str, shown: &Issued) -> Kept {
        Kept::start(program, &self.scene.gateway, &self.server.root(), shown)
    }

    fn is_let_in(&self, shown: &Issued) -> bool {
        let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
        let options = ["--cert".to_owned(), text(&shown.certificate), "--key".to_owned(), text(&shown.key)];
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        curl(tls(&self.scene.gateway), &self.server.root(), HOST, "/-/health", &options).status.success()
    }

    fn calls(&self) -> usize {
        self.scene.backend.received().iter().filter(|request| request.target == "/x").count()
    }
}

#[test]
fn what_was_taken_back_ends_every_connection_it_had_opened() {
    let house = House::new("");
    let programs = ["http1", "http2", "http2_idle", "stream1", "stream2", "download1", "download2", "websocket"];
    let mut kept: Vec<_> = programs.map(|program| (program, house.start(program, &house.shop))).into_iter().collect();
    let mut others = ["http1", "http2"].map(|program| house.start(program, &house.other));
    for (program, kept) in &mut kept {
        assert_eq!(kept.said(), if *program == "websocket" { "101" } else { "200" }, "{program}");
    }
    assert!(others.iter_mut().all(|kept| kept.said() == "200"));
    let before = house.calls();
    house.clients.revoke(&house.shop);
    until("a new connection is refused", || !house.is_let_in(&house.shop));
    for (program, kept) in &mut kept {
        let said = kept.go_on();
        let as_it_should: &[&str] = match *program {
            "http1" | "http2" => &["401 last", "401", "closed", "reset"],
            "http2_idle" => &["goaway"],
            _ => &["closed", "cut"],
        };
        assert!(as_it_should.contains(&&*said), "{program}: {said}");
    }
    assert_eq!(house.calls(), before, "no call of theirs has reached the service");
    assert!(house.is_let_in(&house.other));
    for kept in &mut others {
        assert_eq!(kept.go_on(), "200", "the others go on");
    }
    for _ in 0..3 {
        house.scene.gateway.record("limit=50", |record| record["refusal"] == "revoked");
    }
    let ended = |path: &str| {
        house
            .scene
            .gateway
            .logs(&format!("path=/orders/v1/{path}"))
            .into_iter()
            .all(|record| record["refusal"] == "revoked")
    };
    assert!(["events", "download", "ws"].into_iter().all(ended), "{}", house.scene.gateway.access_log());
    assert!(house.scene.gateway.stderr().contains("a client certificate is not good any more"));
}

#[test]
fn a_certificate_whose_time_is_up_ends_its_connections() {
    let house = House::new("");
    let shop = house.clients.issue_for("brief", "DNS:shop.example", Duration::from_secs(6));
    let mut kept = ["until_refused", "until_goaway"].map(|program| house.start(program, &shop));
    let mut streams = ["stream1", "stream2", "websocket"].map(|program| house.start(program, &shop));
    assert!(streams.iter_mut().all(|stream| ["200", "101"].contains(&&*stream.said())));
    for kept in &mut kept {
        let said = kept.said();
        assert!(["401 last", "401", "closed", "reset", "200 last"].contains(&&*said), "{said}");
    }
    for stream in &mut streams {
        let said = stream.go_on();
        assert!(["closed", "cut"].contains(&&*said), "{said}");
    }
    assert!(!house.is_let_in(&shop));
}

#[test]
fn a_connection_of_age_is_told_so_and_loses_no_call() {
    let house = House::new("[timeouts]\nconnection_age = \"1s\"");
    let mut stream = house.start("stream2", &house.shop);
    assert_eq!(stream.said(), "200");
    for (program, last) in [("until_refused", "200 last"), ("until_goaway", "200 last")] {
        assert_eq!(house.start(program, &house.shop).said(), last, "{program}");
    }
    // What is under way goes on: it ends when the certificate is taken back, and not before.
    assert!(house.scene.gateway.logs("path=/orders/v1/events").is_empty());
    house.clients.revoke(&house.shop);
    assert_eq!(stream.go_on(), "cut");
    let calls = house.scene.gateway.logs("path=/orders/v1/x&limit=500");
    assert!(calls.len() > 2 && calls.iter().all(|record| record["status"] == 200), "{calls:?}");
}
