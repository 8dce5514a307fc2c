//! The real nginx in front, with the configuration in `deploy/nginx`: what it brings is right, and what callers make up
//! gets nowhere.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, mpsc};
use std::time::Instant;

use tempfile::TempDir;

use super::support::client::{PATIENCE, parse_head};
use super::support::scene::until;
use super::support::{Backend, Scene, python};

const CONFIGURATION: &str = include_str!("../../deploy/nginx/portcullis.conf");
const HOST: &str = "api.example.com";
/// Where the tests call from; nginx itself connects to the gateway from 127.0.0.1.
const CALLER: &str = "127.0.0.2";
const SETTINGS: &str = "trusted_proxies = [\"127.0.0.1\"]\npublic_url = \"https://api.example.com\"";

/// A running nginx. It is killed when it is dropped.
struct Nginx {
    process: Child,
    https: u16,
    http: u16,
    directory: TempDir,
}

impl Nginx {
    /// In front of the gateway of a scene.
    fn before(scene: &Scene) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        make_certificate(directory.path());
        // Between finding a port free and taking it somebody else may take it.
        for _ in 0..20 {
            let (https, http) = free_ports();
            write_configuration(directory.path(), scene, https, http);
            let mut process = start(directory.path());
            let deadline = Instant::now() + PATIENCE;
            while process.try_wait().expect("its state").is_none() {
                if TcpStream::connect(("127.0.0.1", https)).is_ok() && TcpStream::connect(("127.0.0.1", http)).is_ok() {
                    return Self { process, https, http, directory };
                }
                assert!(Instant::now() < deadline, "nginx does not listen: {}", errors(directory.path()));
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            assert!(errors(directory.path()).contains("in use"), "nginx ended: {}", errors(directory.path()));
        }
        panic!("no free ports");
    }

    /// curl, as it calls a path.
    fn curl(&self, path: &str, options: &[&str]) -> Command {
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--show-error",
            "--no-buffer",
            "--max-time",
            "20",
            "--noproxy",
            "*",
            "--interface",
            CALLER,
        ]);
        curl.arg("--cacert").arg(self.directory.path().join("cert.pem"));
        for port in [self.https, self.http] {
            curl.args(["--resolve", &format!("{HOST}:{port}:127.0.0.1")]);
        }
        let url = if path.starts_with('/') { format!("https://{HOST}:{}{path}", self.https) } else { path.to_owned() };
        curl.args(options).arg(url).stdin(Stdio::null());
        curl
    }

    /// Calls a path; status, fields and body.
    fn call(&self, path: &str, options: &[&str]) -> (u16, Vec<(String, String)>, Vec<u8>) {
        // Written as HTTP/1.1 for the parser, whatever it was.
        let options = [&["--include"][..], options].concat();
        let output = self.curl(path, &options).output().expect("curl is installed");
        assert!(
            output.status.success(),
            "{}\n{}",
            String::from_utf8_lossy(&output.stderr),
            errors(self.directory.path())
        );
        let end = output.stdout.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
        let head = String::from_utf8_lossy(&output.stdout[..end]).replacen("HTTP/2 ", "HTTP/1.1 ", 1);
        let (status, headers) = parse_head(head.as_bytes());
        (status, headers, output.stdout[end..].to_vec())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_ports() -> (u16, u16) {
    let listen = || TcpListener::bind("127.0.0.1:0").expect("a free port");
    let (one, other) = (listen(), listen());
    let port = |listener: &TcpListener| listener.local_addr().expect("an address").port();
    (port(&one), port(&other))
}

fn make_certificate(directory: &Path) {
    let output = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=api.example.com", "-addext", "subjectAltName=DNS:api.example.com"])
        .arg("-keyout")
        .arg(directory.join("key.pem"))
        .arg("-out")
        .arg(directory.join("cert.pem"))
        .output()
        .expect("openssl is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The configuration as it is delivered, with ports, gateway and certificate put in.
fn write_configuration(directory: &Path, scene: &Scene, https: u16, http: u16) {
    let place = directory.display();
    let mut site: String =
        CONFIGURATION.lines().filter(|line| !line.contains("[::]")).map(|line| format!("{line}\n")).collect();
    for (from, to) in [
        ("server 127.0.0.1:6500;", format!("server {};", scene.gateway.data)),
        ("listen 80;", format!("listen 127.0.0.1:{http};")),
        ("listen 443 ssl http2;", format!("listen 127.0.0.1:{https} ssl http2;")),
        ("/etc/nginx/tls/api.example.com.pem", format!("{place}/cert.pem")),
        ("/etc/nginx/tls/api.example.com.key", format!("{place}/key.pem")),
    ] {
        assert_eq!(site.matches(from).count(), 1, "{from}");
        site = site.replace(from, &to);
    }
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {place}/{kind};\n"))
        .concat();
    // One process, so that it ends with the test and needs no other user.
    let main = format!(
        "daemon off;\nmaster_process off;\npid {place}/nginx.pid;\nevents {{ worker_connections 256; }}\n\
         http {{\naccess_log off;\n{temporary}include {place}/site.conf;\n}}\n"
    );
    std::fs::write(directory.join("site.conf"), site).expect("written");
    std::fs::write(directory.join("nginx.conf"), main).expect("written");
}

fn start(directory: &Path) -> Child {
    // A former start's complaints are not this one's.
    let log = std::fs::File::create(directory.join("error.log")).expect("a file");
    // Debian keeps it where not every user's PATH leads.
    let path = format!("{}:/usr/sbin:/usr/local/sbin", std::env::var("PATH").unwrap_or_default());
    Command::new("sh")
        .args(["-c", "exec nginx -e stderr -p \"$0\" -c nginx.conf"])
        .arg(directory)
        .env("PATH", path)
        .stdin(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("sh runs")
}

fn errors(directory: &Path) -> String {
    std::fs::read_to_string(directory.join("error.log")).unwrap_or_default()
}

fn scene(backend: Backend) -> (Scene, Nginx) {
    let scene = Scene::open(backend, SETTINGS);
    let nginx = Nginx::before(&scene);
    (scene, nginx)
}

#[test]
fn the_callers_address_and_scheme_arrive() {
    let (scene, nginx) = scene(Backend::echo());
    for (path, options) in [("/a?x=1", &["--http2"][..]), ("/b%2e/c", &["--http1.1"]), ("/d", &["--data", "body"])] {
        let (status, headers, body) = nginx.call(&format!("/orders/v1{path}"), options);
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        let seen = scene.backend.received().pop().expect("a request");
        assert_eq!(seen.header("x-forwarded-for"), Some(CALLER));
        assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
        assert_eq!(seen.header("x-forwarded-host"), Some(HOST));
        let id = seen.header("x-request-id").expect("an id").to_owned();
        assert!(headers.iter().any(|(name, value)| name.eq_ignore_ascii_case("x-request-id") && *value == id));
        scene.gateway.record("limit=10", |record| record["request_id"] == id.as_str() && record["client_ip"] == CALLER);
    }
    let version = nginx.curl("/-/health", &["--output", "/dev/null", "--write-out", "%{http_version}"]).output();
    assert_eq!(version.expect("curl is installed").stdout, b"2");
}

#[test]
fn a_caller_who_makes_up_an_address_gains_nothing() {
    let (scene, nginx) = scene(Backend::echo());
    for forged in [
        "X-Forwarded-For: 6.6.6.6",
        "X-Forwarded-For: 6.6.6.6, 127.0.0.1",
        "X-Forwarded-For: garbage",
        "Forwarded: for=6.6.6.6;proto=http;host=evil.example",
        "Forwarded: for=\"6.6.6.6",
        "X-Real-IP: 6.6.6.6",
        "X_Forwarded_For: 6.6.6.6",
        "X-Forwarded-Host: evil.example",
        "X-Forwarded-Proto: http",
        "X-Request-Id: forged",
        "Connection: close, X-Forwarded-For",
        "PROXY: TCP4 6.6.6.6 6.6.6.6 1 1",
        "True-Client-IP: 6.6.6.6",
        "CF-Connecting-IP: 6.6.6.6",
        "X-Original-Forwarded-For: 6.6.6.6",
        "Client.IP: 6.6.6.6",
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ] {
        for version in ["--http1.1", "--http2"] {
            let (status, _, _) = nginx.call("/orders/v1/x", &[version, "--header", forged]);
            assert_eq!(status, 200, "{forged}");
            let seen = scene.backend.received().pop().expect("a request");
            let field = |name| seen.header(name);
            assert_eq!(field("x-forwarded-for"), Some(CALLER), "{forged}");
            assert_eq!(field("x-forwarded-proto"), Some("https"), "{forged}");
            assert_eq!(field("x-forwarded-host"), Some(HOST), "{forged}");
            assert_eq!((field("forwarded"), field("x-real-ip")), (None, None), "{forged}");
            let named = |(name, value): &(String, String)| name != "x-forwarded-for" && value.contains("6.6.6.6");
            assert!(!seen.headers.iter().any(named), "{forged}");
            assert!(!field("traceparent").expect("a trace").contains("0af7651916cd43dd"), "{forged}");
            let id = field("x-request-id").expect("an id").to_owned();
            assert_ne!(id, "forged");
            let record = scene.gateway.record("limit=10", |record| record["request_id"] == id.as_str());
            assert_eq!(record["client_ip"], CALLER, "{forged}");
        }
    }
    // Past nginx, from an address that is no trusted proxy.
    let direct = format!("http://{}/orders/v1/y", scene.gateway.data);
    assert_eq!(nginx.call(&direct, &["--header", "X-Forwarded-For: 6.6.6.6"]).0, 200);
    let seen = scene.backend.received().pop().expect("a request");
    assert_eq!((seen.header("x-forwarded-for"), seen.header("x-forwarded-proto")), (Some(CALLER), Some("http")));
}

#[test]
fn connections_to_the_gateway_are_kept() {
    let (scene, nginx) = scene(Backend::echo());
    let accepted = || {
        let status = scene.gateway.admin_ok("GET", "/status", None, 200);
        status["counters"]["connections_accepted"].as_u64().expect("a count")
    };
    let before = accepted();
    for number in 0..20 {
        let upgrade = ["--http1.1", "--header", "Connection: Upgrade", "--header", "Upgrade: h2c"];
        let options = if number % 2 == 0 { &upgrade[..] } else { &["--data", "body"] };
        assert_eq!(nginx.call(&format!("/orders/v1/{number}"), options).0, 200);
    }
    assert_eq!(accepted() - before, 1, "twenty calls, each over a connection of its own to nginx");
}

#[test]
fn answers_stream_as_they_come() {
    let (go_on, told) = mpsc::channel::<()>();
    let told = Mutex::new(told);
    let (_scene, nginx) = scene(Backend::serving(move |stream, _| {
        stream
            .write_all(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Accel-Redirect: /-/health\r\n\r\n4\r\none\n\r\n",
            )
            .expect("sent");
        // Goes on only when the caller has got the first piece.
        told.lock().expect("not poisoned").recv_timeout(PATIENCE).expect("told");
        stream.write_all(b"4\r\ntwo\n\r\n0\r\n\r\n").is_ok()
    }));
    let mut curl = nginx.curl("/orders/v1/x", &[]).stdout(Stdio::piped()).spawn().expect("curl is installed");
    let mut output = BufReader::new(curl.stdout.take().expect("piped"));
    let mut first = String::new();
    output.read_line(&mut first).expect("the first piece");
    assert_eq!(first, "one\n");
    go_on.send(()).expect("somebody waits");
    let mut rest = String::new();
    output.read_to_string(&mut rest).expect("the rest");
    assert_eq!(rest, "two\n");
    assert!(curl.wait().expect("it ends").success());
}

#[test]
fn a_call_in_flight_outlives_the_order_to_stop() {
    let (started, in_backend) = mpsc::channel();
    let (go_on, told) = mpsc::channel::<()>();
    let (started, told) = (Mutex::new(started), Mutex::new(told));
    let (mut scene, nginx) = scene(Backend::serving(move |stream, _| {
        started.lock().expect("not poisoned").send(()).expect("somebody waits");
        told.lock().expect("not poisoned").recv_timeout(PATIENCE).expect("told");
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone").is_ok()
    }));
    // An idle connection is kept beside the one that is busy.
    assert_eq!(nginx.call("/-/health", &[]).0, 200);
    let curl = nginx.curl("/orders/v1/slow", &["--fail"]).stdout(Stdio::piped()).spawn().expect("curl is installed");
    in_backend.recv_timeout(PATIENCE).expect("it has begun");
    scene.gateway.signal("TERM");
    let data = scene.gateway.data;
    until("nobody is accepted any more", || TcpStream::connect(data).is_err());
    assert_eq!(nginx.call("/-/health", &[]).0, 502, "nginx answers for a gateway that is not there");
    go_on.send(()).expect("somebody waits");
    let output = curl.wait_with_output().expect("it ends");
    assert!(output.status.success());
    assert_eq!(output.stdout, b"done");
    assert!(scene.gateway.wait().success());
}

#[test]
fn calls_in_clear_are_sent_to_tls() {
    let (_scene, nginx) = scene(Backend::echo());
    let (status, headers, _) = nginx.call(&format!("http://{HOST}:{}/orders/v1/x?y", nginx.http), &[]);
    let location = headers.iter().find(|(name, _)| name == "Location").map(|(_, value)| value.as_str());
    assert_eq!((status, location), (301, Some("https://api.example.com/orders/v1/x?y")));
}

#[test]
fn a_websocket_passes_nginx_and_the_gateway() {
    let mut server = Command::new(python())
        .args(["-c", include_str!("tunnels/echo_server.py")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut line = String::new();
    BufReader::new(server.stdout.take().expect("piped")).read_line(&mut line).expect("a port");
    let scene = Scene::open(Backend::echo(), SETTINGS);
    let target = format!("http://127.0.0.1:{}", line.trim());
    scene.declare(&serde_json::json!({"targets": [{"url": target}], "require": []}));
    let nginx = Nginx::before(&scene);
    let output = Command::new(python())
        .args(["-c", include_str!("tunnels/through_nginx.py"), HOST, &nginx.https.to_string()])
        .arg(nginx.directory.path().join("cert.pem"))
        .arg(CALLER)
        .output()
        .expect("runs");
    drop(server.stdin.take());
    assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), errors(nginx.directory.path()));
    server.wait().expect("it ends");
    let record = scene.gateway.record("status=101", |_| true);
    assert_eq!(record["client_ip"], CALLER, "{record}");
}

/// nginx before 1.29 takes a hint for the answer, or waits for ever.
#[test]
fn a_service_that_gives_hints_is_answered_through_nginx() {
    let hinting = Backend::answering(|request| {
        let body = request.target.clone();
        let hint = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n";
        format!("{hint}HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    });
    let (_scene, nginx) = scene(hinting);
    for number in 0..3 {
        for version in ["--http2", "--http1.1"] {
            let (status, _, body) = nginx.call(&format!("/orders/v1/{number}"), &[version]);
            assert_eq!((status, body), (200, format!("/{number}").into_bytes()), "{version}");
        }
    }
}
