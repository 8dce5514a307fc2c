//! The admin API over TLS, and the commands that speak to it.

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::Output;

use super::super::support::Gateway;
use super::super::support::authority::Authority;
use super::super::support::gateway::command;
use super::{answered, curl, failed};

fn run(gateway: &Gateway, arguments: &[&str]) -> Output {
    command(gateway.directory()).args(arguments).output().expect("runs")
}

#[test]
fn commands_speak_to_it_by_a_root_they_are_given() {
    let authority = Authority::new();
    let issued = authority.issue("admin", "DNS:admin.example,IP:127.0.0.1");
    let settings = format!("[admin_tls]\ncertificate = {:?}\nkey = {:?}", issued.certificate, issued.key);
    let gateway = Gateway::with(&settings);
    let url = format!("https://{}", gateway.admin);
    let root = authority.root();
    let root = root.to_str().expect("UTF-8");
    let output = run(&gateway, &["--admin", &url, "--admin-ca", root, "client", "list"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("default"), "{output:?}");
    let output = command(gateway.directory())
        .args(["--admin", &url, "client", "list"])
        .env("PORTCULLIS_ADMIN_CA", root)
        .output();
    assert!(output.expect("runs").status.success());

    // By the system's roots, by those of another, and in clear it is not spoken to.
    let stranger = Authority::new();
    let stranger = stranger.root();
    for arguments in [
        &["--admin", &url, "client", "list"][..],
        &["--admin", &url, "--admin-ca", stranger.to_str().expect("UTF-8"), "client", "list"],
    ] {
        let output = run(&gateway, arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("no TLS with https://"), "{said}");
        assert!(said.contains("--admin-ca"), "{said}");
    }
    let clear = format!("http://{}", gateway.admin);
    assert!(!run(&gateway, &["--admin", &clear, "client", "list"]).status.success());

    // Its host names are those of its certificate, and no others.
    let bearer = format!("Authorization: Bearer {}", gateway.token);
    let get = |host: &str, root: &Path, more: &[&str]| {
        curl(gateway.admin, root, host, "/api/v1/clients", &[&["--header", &bearer][..], more].concat())
    };
    assert_eq!(answered(&get("admin.example", &authority.root(), &[])).status, 200);
    assert_eq!(answered(&get("admin.example", &authority.root(), &["--header", "Host: evil.example"])).status, 403);
    assert!(failed(&get("admin.example", &stranger, &[])).contains("certificate"));
}

#[test]
fn off_loopback_it_listens_with_tls_only() {
    let directory = tempfile::tempdir().expect("a directory");
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "0.0.0.0:0"];
    let output = command(directory.path()).args(arguments).output().expect("runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("admin_tls.certificate"), "{said}");

    let authority = Authority::new();
    let issued = authority.issue("admin", "IP:127.0.0.1");
    let settings = format!("[admin_tls]\ncertificate = {:?}\nkey = {:?}", issued.certificate, issued.key);
    let gateway = Gateway::launch(tempfile::tempdir().expect("a directory"), &settings, |_| {});
    let answer = answered(&curl(gateway.admin, &authority.root(), "127.0.0.1", "/-/health", &[]));
    assert_eq!(answer.status, 200);
}

#[test]
fn handshakes_that_never_end_keep_no_operator_out() {
    let authority = Authority::new();
    let issued = authority.issue("admin", "IP:127.0.0.1");
    let settings = format!("[admin_tls]\ncertificate = {:?}\nkey = {:?}", issued.certificate, issued.key);
    let gateway = Gateway::with(&settings);
    // The beginning of a record of TLS that announces more.
    for sent in [&b""[..], b"\x16\x03\x01\x02\x00\x01\x00"] {
        let crowd: Vec<_> = (0..500)
            .map(|_| {
                let mut stream = TcpStream::connect(gateway.admin).expect("connects");
                stream.write_all(sent).expect("sent");
                stream
            })
            .collect();
        let answer = answered(&curl(gateway.admin, &authority.root(), "127.0.0.1", "/-/health", &[]));
        assert_eq!(answer.status, 200);
        drop(crowd);
    }
}
