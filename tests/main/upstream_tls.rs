//! TLS to services: who is trusted and who is not, what is shown, and which connections are used for what.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use serde_json::{Value, json};

use super::support::client::PATIENCE;
use super::support::scene::{announce, register, text, until};
use super::support::tls::{Authority, Certificate, TlsFront};
use super::support::{Answer, Backend, Gateway};

/// One worker, so that every call meets the connections of those before it.
const ONE: &str = "workers = 1\n";

/// A backend with TLS in front, and who has issued its certificate.
struct Place {
    backend: Backend,
    front: TlsFront,
    authority: Authority,
    certificate: Certificate,
}

impl Place {
    fn echo() -> Self {
        Self::before(Backend::echo())
    }

    fn before(backend: Backend) -> Self {
        let authority = Authority::new("the authority");
        let certificate = authority.issue("DNS:localhost");
        let front = TlsFront::before(backend.address, &certificate);
        Self { backend, front, authority, certificate }
    }

    /// Its declaration with these settings of TLS, the authority among them.
    fn declared(&self, tls: &Value) -> Value {
        declaration(&self.front.url("localhost"), &with(tls, "ca", &self.authority.pem))
    }
}

/// A gateway on a machine whose only root is this one.
fn trusting(authority: &Authority) -> Gateway {
    let directory = tempfile::tempdir().expect("a directory");
    let roots = directory.path().join("roots.pem");
    std::fs::write(&roots, &authority.pem).expect("written");
    Gateway::launch(directory, ONE, |command| {
        command.env("SSL_CERT_FILE", &roots).env_remove("SSL_CERT_DIR");
    })
}

fn declaration(url: &str, tls: &Value) -> Value {
    json!({"targets": [{"url": url}], "require": [], "tls": tls})
}

fn with(tls: &Value, field: &str, value: &str) -> Value {
    let mut tls = tls.clone();
    tls[field] = value.into();
    tls
}

fn declare(gateway: &Gateway, name: &str, service: &Value) {
    let answer = gateway.admin("PUT", &format!("/services/{name}/v1"), Some(service));
    assert!(matches!(answer.status, 200 | 201), "{}", answer.text());
}

fn get(gateway: &Gateway, name: &str) -> Answer {
    gateway.call("GET", &format!("/{name}/v1/x"), &[], b"")
}

/// The call is refused for want of TLS, and the operator reads a reason with this in it; the caller does not.
fn is_refused(gateway: &Gateway, name: &str, reason: &str) {
    let answer = get(gateway, name);
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_tls"), "{}", answer.text());
    assert!(!answer.text().contains(reason), "{}", answer.text());
    let id = answer.header("x-request-id").expect("an id").to_owned();
    let record = gateway.record("limit=20", |record| record["request_id"] == id.as_str());
    assert_eq!((&record["refusal"], &record["status"]), (&json!("upstream_tls"), &json!(502)), "{record}");
    let log = gateway.access_log();
    let line = log.lines().find(|line| line.contains(&id)).expect("a line");
    assert!(line.contains(reason), "{line}");
}

fn problems(gateway: &Gateway, service: &Value) -> Vec<(String, String)> {
    let answer = gateway.admin("PUT", "/services/wrong/v1", Some(service));
    assert_eq!(answer.status, 422, "{}", answer.text());
    let text = |problem: &Value, field: &str| problem[field].as_str().expect("a text").to_owned();
    let problems = answer.json()["problems"].as_array().expect("problems").clone();
    problems.iter().map(|problem| (text(problem, "path"), text(problem, "message"))).collect()
}

#[test]
fn a_service_that_proves_who_it_is_gets_calls_as_any_other() {
    let (gateway, place) = (Gateway::with(ONE), Place::echo());
    declare(&gateway, "safe", &place.declared(&json!({})));
    let answer = gateway.call("POST", "/safe/v1/a?b=c", &[], b"body");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let seen = place.backend.received().pop().expect("a request");
    assert_eq!((seen.target.as_str(), seen.body.as_slice()), ("/a?b=c", &b"body"[..]));
    let authority = place.front.url("localhost").replace("https://", "");
    assert_eq!(seen.header("host"), Some(authority.as_str()));
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"), "what the caller came by");
    let told = gateway.admin_ok("POST", "/explain", Some(&json!({"method": "GET", "url": "/safe/v1/a"})), 200);
    assert_eq!(told["outcome"]["url"], format!("{}/a", place.front.url("localhost")));
    let shown = gateway.admin_ok("GET", "/services/safe/v1", None, 200);
    assert_eq!(shown["tls"], json!({"ca": place.authority.pem}));
    assert_eq!(shown["targets"][0]["url"], place.front.url("localhost"));
}

#[test]
fn an_address_can_be_proved_like_a_name() {
    let (gateway, authority, backend) = (Gateway::start(), Authority::new("the authority"), Backend::echo());
    let front = TlsFront::before(backend.address, &authority.issue("IP:127.0.0.1"));
    declare(&gateway, "numbered", &declaration(&front.url("127.0.0.1"), &json!({"ca": authority.pem})));
    assert_eq!(get(&gateway, "numbered").status, 200);
}

#[test]
fn connections_are_kept_and_sessions_resumed() {
    let (gateway, place) = (Gateway::with(ONE), Place::echo());
    declare(&gateway, "safe", &place.declared(&json!({})));
    for _ in 0..10 {
        assert_eq!(get(&gateway, "safe").status, 200);
        // A change that leaves TLS alone leaves its connections alone too.
        let mut service = place.declared(&json!({}));
        service["audiences"] = json!(["somebody"]);
        declare(&gateway, "safe", &service);
        assert_eq!(get(&gateway, "safe").status, 200);
        declare(&gateway, "safe", &place.declared(&json!({})));
    }
    assert_eq!(place.front.handshakes(), (1, 0), "twenty calls");
    assert_eq!(place.backend.connections(), 1);
}

#[test]
fn a_session_is_resumed_after_its_connection_is_gone() {
    let place = Place::before(Backend::answering(|_| {
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok".to_vec()
    }));
    let gateway = Gateway::with(ONE);
    declare(&gateway, "safe", &place.declared(&json!({})));
    for _ in 0..3 {
        assert_eq!(get(&gateway, "safe").text(), "ok");
        declare(&gateway, "safe", &place.declared(&json!({})));
    }
    assert_eq!(place.front.handshakes(), (1, 2));
}

#[test]
fn whoever_is_not_trusted_gets_nothing() {
    let (place, other) = (Place::echo(), Authority::new("somebody else"));
    let (gateway, url) = (trusting(&other), place.front.url("localhost"));
    let ca = &place.authority.pem;
    // What the machine trusts.
    declare(&gateway, "machine", &json!({"targets": [{"url": url}], "require": []}));
    is_refused(&gateway, "machine", "an issuer that is not trusted");
    declare(&gateway, "other", &declaration(&url, &json!({"ca": other.pem})));
    is_refused(&gateway, "other", "an issuer that is not trusted");
    declare(&gateway, "number", &declaration(&place.front.url("127.0.0.1"), &json!({"ca": ca})));
    is_refused(&gateway, "number", "its certificate is for");
    declare(&gateway, "name", &declaration(&url, &json!({"ca": ca, "server_name": "elsewhere.example"})));
    is_refused(&gateway, "name", "not for elsewhere.example");
    let expired = TlsFront::before(place.backend.address, &place.authority.issue_expired("DNS:localhost"));
    declare(&gateway, "expired", &declaration(&expired.url("localhost"), &json!({"ca": ca})));
    is_refused(&gateway, "expired", "its certificate has expired");
    assert!(place.backend.received().is_empty(), "nobody has been told anything");
    assert_eq!((place.front.failed(), expired.failed()), (4, 1));
}

#[test]
fn what_the_machine_trusts_is_trusted_where_nothing_is_declared() {
    let place = Place::echo();
    let gateway = trusting(&place.authority);
    declare(&gateway, "safe", &json!({"targets": [{"url": place.front.url("localhost")}], "require": []}));
    assert_eq!(get(&gateway, "safe").status, 200);
    let other = Authority::new("somebody else");
    declare(&gateway, "other", &declaration(&place.front.url("localhost"), &json!({"ca": other.pem})));
    is_refused(&gateway, "other", "an issuer that is not trusted");
}

#[test]
fn another_name_can_be_asked_for() {
    let (gateway, authority, backend) = (Gateway::start(), Authority::new("the authority"), Backend::echo());
    let front = TlsFront::before(backend.address, &authority.issue("DNS:users.internal"));
    let tls = json!({"ca": authority.pem, "server_name": "users.internal"});
    declare(&gateway, "users", &declaration(&front.url("127.0.0.1"), &tls));
    assert_eq!(get(&gateway, "users").status, 200);
    let seen = backend.received().pop().expect("a request");
    assert_eq!(seen.header("host"), Some(front.url("127.0.0.1").replace("https://", "").as_str()));
}

#[test]
fn a_key_that_is_not_pinned_is_not_good_enough() {
    let (gateway, place) = (Gateway::start(), Place::echo());
    let stranger = place.authority.issue("DNS:localhost");
    let pins = |of: &[&Certificate]| json!({"pins": of.iter().map(|one| one.pin()).collect::<Vec<_>>()});
    declare(&gateway, "pinned", &place.declared(&pins(&[&stranger, &place.certificate])));
    assert_eq!(get(&gateway, "pinned").status, 200);
    declare(&gateway, "unpinned", &place.declared(&pins(&[&stranger])));
    is_refused(&gateway, "unpinned", &format!("the hash {}, which is not pinned", place.certificate.pin()));
    // A pin is asked for besides the issuer, not in its place.
    let other = Authority::new("somebody else");
    let tls = with(&pins(&[&place.certificate]), "ca", &other.pem);
    declare(&gateway, "stranger", &declaration(&place.front.url("localhost"), &tls));
    is_refused(&gateway, "stranger", "an issuer that is not trusted");
}

#[test]
fn services_with_other_trust_do_not_share_connections() {
    for good_first in [true, false] {
        let (gateway, place) = (Gateway::with(ONE), Place::echo());
        let other = Authority::new("somebody else");
        declare(&gateway, "good", &place.declared(&json!({})));
        declare(&gateway, "bad", &declaration(&place.front.url("localhost"), &json!({"ca": other.pem})));
        let plain = format!("http://localhost:{}", place.front.address.port());
        declare(&gateway, "plain", &json!({"targets": [{"url": plain}], "require": []}));
        for round in 0..3 {
            if good_first || round > 0 {
                assert_eq!(get(&gateway, "good").status, 200);
            }
            is_refused(&gateway, "bad", "an issuer that is not trusted");
            assert_eq!(get(&gateway, "plain").status, 502, "no TLS is no TLS");
        }
        assert_eq!(place.front.handshakes(), (1, 0));
    }
}

/// The files of a client certificate in a gateway's data directory, declared.
fn client_files() -> Value {
    json!({"client_certificate": "tls/client.pem", "client_key": "tls/client.key"})
}

#[test]
fn a_service_that_asks_for_a_certificate_is_shown_it() {
    let (gateway, backend) = (Gateway::with(ONE), Backend::echo());
    let (authority, clients) = (Authority::new("the authority"), Authority::new("for clients"));
    let front = TlsFront::asking(backend.address, &authority.issue("DNS:localhost"), &clients);
    let (url, ca) = (front.url("localhost"), json!({"ca": authority.pem}));
    let directory = gateway.directory().join("tls");
    clients.issue("DNS:gateway").write(&directory, "client");
    Authority::new("somebody else").issue("DNS:gateway").write(&directory, "wrong");
    declare(&gateway, "shown", &declaration(&url, &with(&client_files(), "ca", &authority.pem)));
    declare(&gateway, "nothing", &declaration(&url, &ca));
    let wrong = json!({"ca": authority.pem, "client_certificate": "tls/wrong.pem", "client_key": "tls/wrong.key"});
    declare(&gateway, "wrong", &declaration(&url, &wrong));
    for _ in 0..2 {
        assert_eq!(get(&gateway, "shown").status, 200);
        is_refused(&gateway, "nothing", "it wants a client certificate, and was shown none");
        is_refused(&gateway, "wrong", "it ended the handshake: ");
    }
    assert_eq!((front.handshakes(), backend.received().len()), ((1, 0), 2));
    let (shown, key) = (gateway.admin("GET", "/services/shown/v1", None).text(), "PRIVATE KEY");
    assert!(!shown.contains(key) && !gateway.stderr().contains(key) && !gateway.access_log().contains(key));
}

#[test]
fn a_certificate_that_was_exchanged_is_taken_up() {
    let (gateway, backend) = (
        Gateway::with(ONE),
        Backend::answering(|_| b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok".to_vec()),
    );
    let (authority, clients) = (Authority::new("the authority"), Authority::new("for clients"));
    let front = TlsFront::asking(backend.address, &authority.issue("DNS:localhost"), &clients);
    let directory = gateway.directory().join("tls");
    Authority::new("somebody else").issue("DNS:gateway").write(&directory, "client");
    let service = declaration(&front.url("localhost"), &with(&client_files(), "ca", &authority.pem));
    declare(&gateway, "shown", &service);
    is_refused(&gateway, "shown", "it ended the handshake: ");
    clients.issue("DNS:gateway").write(&directory, "client");
    until("the new certificate is shown", || get(&gateway, "shown").status == 200);
    // One that is not good leaves the former one in use, and is told.
    std::fs::write(directory.join("client.key"), "garbage").expect("written");
    until("it is told", || gateway.stderr().contains("client_key"));
    assert_eq!(get(&gateway, "shown").status, 200);
    assert!(gateway.stderr().contains("a changed client certificate is shown"));
    let told = problems(&gateway, &service);
    assert_eq!(told[0].0, "tls.client_key", "{told:?}");
}

#[test]
fn what_does_not_compile_at_a_start_leaves_its_place_to_nobody_else() {
    let gateway = Gateway::with(ONE);
    let (backend, authority) = (Backend::echo(), Authority::new("the authority"));
    let open = json!({"targets": [{"url": backend.url()}], "require": []});
    gateway.admin_ok("PUT", "/services/open/v1", Some(&open), 201);
    authority.issue("DNS:gateway").write(&gateway.directory().join("tls"), "client");
    let mut closed = declaration(&backend.url().replace("http:", "https:"), &client_files());
    closed["require"] = json!([["api_key"]]);
    declare(&gateway, "closed", &closed);
    for (name, path, service) in
        [("all", "/", "open/v1"), ("api", "/api", "open/v1"), ("admin", "/api/admin", "closed/v1")]
    {
        let route = json!({"match": {"path": {"prefix": path}}, "service": service});
        gateway.admin_ok("PUT", &format!("/routes/{name}"), Some(&route), 201);
    }
    let hosts = json!({"match": {"hosts": ["a.example"], "path": {"prefix": "/x"}}, "service": "closed/v1"});
    gateway.admin_ok("PUT", "/routes/of-host", Some(&hosts), 201);
    let said = |gateway: &Gateway, host: &str, path: &str| {
        let answer = gateway.call("DELETE", path, &[("Host", host)], b"");
        if answer.status == 200 { "open".to_owned() } else { answer.code() }
    };
    let asked = [
        ("b.example", "/api/x", "open", "open"),
        ("b.example", "/api/admin/users/1", "missing_credential", "not_served"),
        ("b.example", "/api/%61dmin", "missing_credential", "not_served"),
        ("b.example", "/closed/v1/x", "missing_credential", "not_served"),
        ("a.example", "/x/y", "missing_credential", "not_served"),
        ("b.example", "/x/y", "open", "open"),
    ];
    for (host, path, before, _) in asked {
        assert_eq!(said(&gateway, host, path), before, "{host}{path}");
    }
    let directory = gateway.kill();
    let key = directory.path().join("tls/client.key");
    let kept = std::fs::read(&key).expect("a key");
    std::fs::remove_file(&key).expect("removed");
    let gateway = Gateway::restart(directory, ONE);
    for (host, path, _, after) in asked {
        assert_eq!(said(&gateway, host, path), after, "{host}{path}");
    }
    assert!(gateway.stderr().contains("a stored declaration does not compile; its place answers 503"));
    // Declared again, it is served again, and so is what leads to it.
    std::fs::write(&key, kept).expect("written");
    gateway.admin_ok("PUT", "/services/closed/v1", Some(&closed), 200);
    for (host, path, before, _) in asked {
        assert_eq!(said(&gateway, host, path), before, "{host}{path}");
    }
}

#[test]
fn connections_that_stand_with_a_former_certificate_are_lent_to_nobody() {
    let (gateway, backend) = (Gateway::with(ONE), Backend::echo());
    let (authority, clients) = (Authority::new("the authority"), Authority::new("for clients"));
    let front = TlsFront::asking(backend.address, &authority.issue("DNS:localhost"), &clients);
    let directory = gateway.directory().join("tls");
    clients.issue("DNS:gateway").write(&directory, "client");
    let ca = with(&client_files(), "ca", &authority.pem);
    declare(&gateway, "shown", &declaration(&front.url("localhost"), &ca));
    for _ in 0..3 {
        assert_eq!(get(&gateway, "shown").status, 200);
    }
    assert_eq!(front.handshakes(), (1, 0), "one connection, lent again and again");
    clients.issue("DNS:gateway").write(&directory, "client");
    // Called so often, it would never be idle for long enough to end by itself.
    until("the new certificate is shown", || get(&gateway, "shown").status == 200 && front.handshakes() == (2, 0));
    assert_eq!(get(&gateway, "shown").status, 200);
    assert_eq!(front.handshakes(), (2, 0));
}

/// The real OpenSSL, as somebody else's server.
struct OpenSsl {
    process: Child,
    port: u16,
}

impl OpenSsl {
    fn start(certificate: &Certificate, options: &[&str], clients: Option<&Authority>) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        certificate.write(directory.path(), "server");
        let mut command = Command::new("openssl");
        command.args(["s_server", "-accept", "127.0.0.1:0", "-www", "-cert", "server.pem", "-key", "server.key"]);
        if let Some(clients) = clients {
            std::fs::write(directory.path().join("clients.pem"), &clients.pem).expect("written");
            command.args(["-CAfile", "clients.pem", "-Verify", "1", "-verify_return_error"]);
        }
        command.args(options).current_dir(directory.path()).stdin(Stdio::null()).stderr(Stdio::null());
        let mut process = command.stdout(Stdio::piped()).spawn().expect("openssl is installed");
        let mut lines = BufReader::new(process.stdout.take().expect("piped")).lines().map_while(Result::ok);
        let ready = lines.find(|line| line.starts_with("ACCEPT ")).expect("it listens");
        std::thread::spawn(move || lines.for_each(drop));
        let port = ready.rsplit_once(':').expect("a port").1.parse().expect("a port");
        Self { process, port }
    }

    fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }
}

impl Drop for OpenSsl {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_service_that_registers_itself_keeps_its_tls_and_does_not_slip_out_of_it() {
    let (place, other) = (Place::echo(), Backend::echo());
    let (gateway, url) = (trusting(&place.authority), place.front.url("localhost"));
    let key = text(&register(&gateway, "safe", &url), "registration_key");
    let shown = gateway.admin_ok("GET", "/services/safe/v1", None, 200);
    assert_eq!(shown["targets"][0]["url"], url, "what the machine trusts is enough");
    declare(&gateway, "safe", &place.declared(&json!({})));
    let said = |url: &str| announce(&gateway, &key, &json!({"name": "safe", "base_url": url, "instance": "two"}));
    let refused = said(&other.url());
    assert_eq!((refused.status, refused.code().as_str()), (400, "bad_base_url"), "{}", refused.text());
    assert_eq!(said(&format!("{url}/two")).status, 200);
    for _ in 0..2 {
        assert_eq!(get(&gateway, "safe").status, 200);
    }
    let shown = gateway.admin_ok("GET", "/services/safe/v1", None, 200);
    assert_eq!(
        (shown["targets"].as_array().map(Vec::len), &shown["tls"]["ca"]),
        (Some(2), &json!(place.authority.pem))
    );
    assert!(other.received().is_empty());
}

#[test]
fn openssl_is_understood_too() {
    let (gateway, authority) = (Gateway::start(), Authority::new("the authority"));
    let (clients, certificate) = (Authority::new("for clients"), authority.issue("DNS:localhost"));
    clients.issue("DNS:gateway").write(&gateway.directory().join("tls"), "client");
    let ca = json!({"ca": authority.pem});
    for version in ["-tls1_2", "-tls1_3"] {
        let (open, asking) =
            (OpenSsl::start(&certificate, &[version], None), OpenSsl::start(&certificate, &[version], Some(&clients)));
        let name = |kind: &str| format!("{kind}{version}");
        declare(&gateway, &name("open"), &declaration(&open.url(), &ca));
        let answer = get(&gateway, &name("open"));
        assert_eq!(answer.status, 200, "{version}: {}", answer.text());
        declare(&gateway, &name("shown"), &declaration(&asking.url(), &with(&client_files(), "ca", &authority.pem)));
        let answer = get(&gateway, &name("shown"));
        assert!(answer.text().contains("Client certificate"), "{version}: {}", answer.text());
        declare(&gateway, &name("nothing"), &declaration(&asking.url(), &ca));
        let said = if version == "-tls1_3" { "it wants a client certificate" } else { "it ended the handshake: " };
        is_refused(&gateway, &name("nothing"), said);
        let newest = with(&ca, "min_version", "1.3");
        declare(&gateway, &name("newest"), &declaration(&open.url(), &newest));
        if version == "-tls1_3" {
            assert_eq!(get(&gateway, &name("newest")).status, 200);
        } else {
            is_refused(&gateway, &name("newest"), "protocol version");
        }
    }
}

#[test]
fn a_target_without_tls_is_told_apart() {
    let gateway = Gateway::with("[timeouts]\nconnect = \"1s\"\n");
    let authority = Authority::new("the authority");
    let ca = json!({"ca": authority.pem});
    // It reads the first line of what it takes for a request.
    let plain = Backend::connected(|stream| {
        let mut bytes = [0; 16];
        // The gateway may have gone by then.
        let _ = stream.read(&mut bytes).and_then(|_| stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
    });
    declare(&gateway, "plain", &declaration(&format!("https://localhost:{}", plain.address.port()), &ca));
    is_refused(&gateway, "plain", "what it says is not TLS");
    let closing = Backend::connected(|_| {});
    declare(&gateway, "closing", &declaration(&format!("https://localhost:{}", closing.address.port()), &ca));
    is_refused(&gateway, "closing", "the handshake broke off");
    let (hold, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let silent = Backend::connected(move |_| {
        // Until the test is over.
        let _ = held.lock().expect("not poisoned").recv_timeout(PATIENCE);
    });
    declare(&gateway, "silent", &declaration(&format!("https://localhost:{}", silent.address.port()), &ca));
    is_refused(&gateway, "silent", "no handshake in time");
    drop(hold);
    // Nothing was sent to the one, so another is tried.
    let place = Place::echo();
    let targets = json!([{"url": format!("https://localhost:{}", closing.address.port())}, {"url": place.front.url("localhost")}]);
    let service = json!({"targets": targets, "require": [], "tls": {"ca": place.authority.pem}});
    declare(&gateway, "both", &service);
    for number in 0..4 {
        let answer = gateway.call("POST", "/both/v1/x", &[], b"body");
        assert_eq!(answer.status, 200, "{number}: {}", answer.text());
    }
    assert!(place.backend.received().iter().all(|request| request.body == b"body"));
}

#[test]
fn bodies_stream_both_ways() {
    let (go_on, told) = mpsc::channel::<()>();
    let told = Mutex::new(told);
    let place = Place::before(Backend::connected(move |stream| {
        let mut seen = Vec::new();
        let mut read_until = |stream: &mut TcpStream, end: &[u8]| {
            let mut byte = [0];
            while !seen.ends_with(end) {
                stream.read_exact(&mut byte).expect("more");
                seen.push(byte[0]);
            }
        };
        read_until(stream, b"first");
        // Its answer begins before the request has ended.
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n").expect("sent");
        read_until(stream, b"second\r\n0\r\n\r\n");
        told.lock().expect("not poisoned").recv_timeout(PATIENCE).expect("told");
        stream.write_all(b"3\r\ntwo\r\n0\r\n\r\n").expect("sent");
    }));
    let gateway = Gateway::start();
    declare(&gateway, "stream", &place.declared(&json!({})));
    let mut caller = TcpStream::connect(gateway.data).expect("it listens");
    caller.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let head = "POST /stream/v1/x HTTP/1.1\r\nHost: gate\r\nTransfer-Encoding: chunked\r\n\r\n";
    caller.write_all(format!("{head}5\r\nfirst\r\n").as_bytes()).expect("sent");
    let mut answer = String::new();
    let mut reader = BufReader::new(caller.try_clone().expect("a second handle"));
    while !answer.ends_with("one\r\n") {
        assert!(reader.read_line(&mut answer).expect("more") > 0, "{answer}");
    }
    caller.write_all(b"6\r\nsecond\r\n0\r\n\r\n").expect("sent");
    go_on.send(()).expect("somebody waits");
    while !answer.ends_with("0\r\n\r\n") {
        assert!(reader.read_line(&mut answer).expect("more") > 0, "{answer}");
    }
    assert!(answer.contains("two"), "{answer}");
}

#[test]
fn large_bodies_arrive_whole() {
    let (gateway, place) = (
        Gateway::with(ONE),
        Place::before(Backend::answering(|request| {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.body.len());
            [head.as_bytes(), &request.body].concat()
        })),
    );
    declare(&gateway, "large", &place.declared(&json!({})));
    let body: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
    for _ in 0..2 {
        let answer = gateway.call("POST", "/large/v1/x", &[], &body);
        assert!(answer.status == 200 && answer.body == body, "{} of {} bytes", answer.body.len(), body.len());
    }
    assert_eq!(place.front.handshakes(), (1, 0));
}

#[test]
fn a_connection_that_has_died_meanwhile_is_made_anew() {
    let place = Place::before(Backend::serving(|stream, request| {
        // The second request on a connection finds it closed.
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").expect("sent");
        request.target != "/last"
    }));
    let gateway = Gateway::with(ONE);
    declare(&gateway, "dying", &place.declared(&json!({})));
    for path in ["/x", "/last", "/x", "/last"] {
        assert_eq!(gateway.call("GET", &format!("/dying/v1{path}"), &[], b"").text(), "ok");
        std::thread::sleep(Duration::from_millis(1));
    }
    let (full, resumed) = place.front.handshakes();
    assert_eq!((full, full + resumed), (1, 2));
    assert_eq!(place.backend.received().len(), 4);
}

#[test]
fn only_what_may_be_repeated_is_sent_twice() {
    let place = Place::before(Backend::serving(|stream, request| {
        // What it does with the others nobody knows.
        request.target == "/x" && stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_ok()
    }));
    let gateway = Gateway::with(ONE);
    declare(&gateway, "lost", &place.declared(&json!({})));
    for (method, sent) in [("GET", 2), ("POST", 1)] {
        assert_eq!(get(&gateway, "lost").text(), "ok", "over a connection that is kept");
        let answer = gateway.call(method, &format!("/lost/v1/{method}"), &[], b"");
        assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_broken"));
        let target = format!("/{method}");
        let seen = place.backend.received().into_iter().filter(|request| request.target == target).count();
        assert_eq!(seen, sent, "{method}");
    }
}

#[test]
fn an_answer_that_was_cut_short_is_not_taken_for_whole() {
    let authority = Authority::new("the authority");
    let certificate = authority.issue("DNS:localhost");
    // It ends where the connection does.
    let saying = || {
        Backend::serving(|stream, _| {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nthe first half").expect("sent");
            false
        })
    };
    let (whole, cut) = (saying(), saying());
    let gateway = Gateway::with(ONE);
    let ca = json!({"ca": authority.pem});
    for (name, front, is_whole) in [
        ("whole", TlsFront::before(whole.address, &certificate), true),
        ("cut", TlsFront::cutting(cut.address, &certificate), false),
    ] {
        declare(&gateway, name, &declaration(&front.url("localhost"), &ca));
        let mut caller = TcpStream::connect(gateway.data).expect("it listens");
        caller.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let request = format!("GET /{name}/v1/x HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n\r\n");
        caller.write_all(request.as_bytes()).expect("sent");
        let mut answer = Vec::new();
        // It may end in any way.
        let _ = caller.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.contains("the first half"), "{name}: {answer}");
        assert_eq!(answer.ends_with("0\r\n\r\n"), is_whole, "{name}: {answer}");
    }
}

#[test]
fn a_service_that_keeps_silent_inside_of_tls_is_not_waited_for() {
    let place = Place::before(Backend::serving(|stream, request| {
        request.target == "/x" && stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_ok()
            || request.target == "/silent" && stream.read(&mut [0]).is_ok()
    }));
    let gateway = Gateway::with("workers = 1\n[timeouts]\nupstream_first_byte = \"1s\"\n");
    declare(&gateway, "silent", &place.declared(&json!({})));
    for _ in 0..2 {
        assert_eq!(get(&gateway, "silent").text(), "ok");
        let answer = gateway.call("GET", "/silent/v1/silent", &[], b"");
        assert_eq!((answer.status, answer.code().as_str()), (504, "upstream_timeout"));
    }
    let (full, resumed) = place.front.handshakes();
    assert_eq!((full, resumed), (1, 1), "a connection that was given up is not used again");
}

#[test]
fn what_cannot_work_is_told_when_it_is_declared() {
    let gateway = Gateway::start();
    let directory = gateway.directory().join("tls");
    let authority = Authority::new("the authority");
    let (one, other) = (authority.issue("DNS:one"), authority.issue("DNS:other"));
    one.write(&directory, "one");
    other.write(&directory, "other");
    std::fs::write(directory.join("garbage"), "garbage").expect("written");
    let files = |certificate: &str, key: &str| json!({"client_certificate": certificate, "client_key": key});
    let short = "AAAA";
    for (tls, path, part) in [
        (json!({"ca": "no PEM"}), "tls.ca", "expected certificates in PEM"),
        (json!({"ca": ""}), "tls.ca", "expected certificates in PEM"),
        (json!({"ca": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"}), "tls.ca", "certificate 1"),
        (json!({"ca": one.key}), "tls.ca", "private key"),
        (json!({"ca": "x".repeat(70_000)}), "tls.ca", "64 KiB"),
        (json!({"server_name": "a b"}), "tls.server_name", "expected a host name"),
        (json!({"pins": [short]}), "tls.pins[0]", "found 3"),
        (json!({"pins": [one.pin(), "§"]}), "tls.pins[1]", "Base64"),
        (json!({"pins": vec![one.pin(); 17]}), "tls.pins", "at most 16"),
        (json!({"min_version": "1.1"}), "tls.min_version", "'1.2' or '1.3'"),
        (json!({"min_version": 1.3}), "tls.min_version", "in quotes"),
        (json!({"verify": false}), "tls.verify", "is not known"),
        (json!({"client_key": "tls/one.key"}), "tls.client_certificate", "is missing"),
        (json!({"client_certificate": "tls/one.pem"}), "tls.client_key", "is missing"),
        (files("tls/none.pem", "tls/one.key"), "tls.client_certificate", "cannot be read"),
        (files("tls/one.pem", "tls/none.key"), "tls.client_key", "cannot be read"),
        (files("tls/garbage", "tls/one.key"), "tls.client_certificate", "expected a file of certificates"),
        (files("tls/one.pem", "tls/garbage"), "tls.client_key", "private key in PEM"),
        (files("tls/one.pem", "tls/other.key"), "tls.client_key", "does not go with"),
        (files("../one.pem", "tls/one.key"), "tls.client_certificate", "below the data directory"),
        (files("tls/one.pem", "/etc/passwd"), "tls.client_key", "below the data directory"),
    ] {
        let tls = if tls.get("ca").is_some() { tls } else { with(&tls, "ca", &authority.pem) };
        let found = problems(&gateway, &declaration("https://localhost:1", &tls));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].0 == path && found[0].1.contains(part), "{tls}: {found:?}");
    }
    let ca = json!({"ca": authority.pem});
    assert_eq!(problems(&gateway, &declaration("http://localhost:1", &ca))[0].0, "tls", "it would have no meaning");
    let mixed = json!({"targets": [{"url": "https://a"}, {"url": "http://b"}], "tls": ca});
    assert_eq!(problems(&gateway, &mixed)[0].0, "targets[1].url", "nothing is sent in clear beside");
    // Everything at once, with its place.
    let many = json!({"ca": "x", "server_name": "a b", "pins": ["x"], "client_key": "y"});
    let found = problems(&gateway, &declaration("https://localhost:1", &many));
    assert_eq!(found.len(), 4, "{found:?}");
}
