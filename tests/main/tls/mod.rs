//! TLS on the data plane and on the admin API, as real clients meet it: curl and `openssl s_client`.

mod admin;
mod clients;
mod handshake;
mod kept;
mod redirect;
mod reload;
mod testssl;

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::support::authority::Issued;
use super::support::client::{Answer, parse_head};
use super::support::{Backend, Gateway, Scene};

/// The host most tests call.
const HOST: &str = "api.example.com";

/// Settings of a listener with TLS on a free port; `more` are lines of `[tls]`.
fn settings(top: &str, certificates: &[&Issued], more: &str) -> String {
    let certificates = certificates.iter().map(|issued| issued.setting()).collect::<Vec<_>>().join(", ");
    format!("{top}\ntls_listen = \"127.0.0.1:0\"\n[tls]\ncertificates = [{certificates}]\n{more}\n")
}

/// A gateway with this listener and an open service.
fn scene(certificates: &[&Issued], more: &str) -> Scene {
    Scene::open(Backend::echo(), &settings("", certificates, more))
}

fn tls(gateway: &Gateway) -> SocketAddr {
    gateway.tls.expect("it listens with TLS")
}

/// What curl makes of `https://host/path` on a listener, trusting a root.
pub(crate) fn curl(address: SocketAddr, root: &Path, host: &str, path: &str, options: &[&str]) -> Output {
    let resolve = format!("{host}:{}:{}", address.port(), address.ip());
    Command::new("curl")
        .args(["--silent", "--show-error", "--include", "--max-time", "20", "--noproxy", "*", "--cacert"])
        .arg(root)
        .args(["--resolve", &resolve])
        .args(options)
        .arg(format!("https://{host}:{}{path}", address.port()))
        .stdin(Stdio::null())
        .output()
        .expect("curl is installed")
}

/// The answer curl has got.
#[track_caller]
pub(crate) fn answered(output: &Output) -> Answer {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let end = output.stdout.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    let (status, headers) = parse_head(&output.stdout[..end]);
    Answer { status, headers, body: output.stdout[end..].to_vec() }
}

/// Why curl has got none.
#[track_caller]
pub(crate) fn failed(output: &Output) -> String {
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What `openssl s_client` tells of a connection on which it sends these bytes.
pub(crate) fn s_client(address: SocketAddr, options: &[&str], input: &[u8]) -> String {
    let mut child = Command::new("openssl")
        .args(["s_client", "-connect", &address.to_string(), "-ign_eof"])
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl is installed");
    // It may have ended already.
    let _ = child.stdin.take().expect("piped").write_all(input);
    let output = child.wait_with_output().expect("it ends");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A request after whose answer the connection ends.
pub(crate) const LAST_REQUEST: &[u8] = b"GET /-/health HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n";

/// A counter of the handshakes.
fn counted(gateway: &Gateway, name: &str) -> u64 {
    let status = gateway.admin_ok("GET", "/status", None, 200);
    status["counters"]["tls"][name].as_u64().unwrap_or_else(|| panic!("{name} in {status}"))
}
