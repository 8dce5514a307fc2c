//! What must not be lost and not be read: the master key, the admin token, private keys.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::Gateway;
use crate::support::authority::Authority;
use crate::support::gateway::command;

fn stopped() -> tempfile::TempDir {
    let mut gateway = Gateway::start();
    gateway.signal("TERM");
    assert!(gateway.wait().success());
    gateway.kill()
}

fn everything(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(directory).expect("listed").map(|entry| entry.expect("one").path());
    let files = entries.filter(|path| path.is_file());
    let mut all: Vec<_> = files.map(|path| (path.display().to_string(), fs::read(&path).expect("read"))).collect();
    all.sort();
    all
}

#[test]
fn a_registry_whose_master_key_is_missing_is_not_touched() {
    let directory = stopped();
    let key = fs::read(directory.path().join("master.key")).expect("there");
    fs::remove_file(directory.path().join("master.key")).expect("removed");
    let before = everything(directory.path());
    let serve: &[&str] = &["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    for line in [serve, &["audit", "verify", "--offline"]] {
        let output = command(directory.path()).args(line).output().expect("runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{line:?}: {said}");
        assert!(said.contains("master.key"), "{line:?}: {said}");
        assert_eq!(everything(directory.path()), before, "{line:?}");
    }
    fs::write(directory.path().join("master.key"), key).expect("restored");
    drop(Gateway::restart(directory, ""));
}

#[test]
fn secrets_that_others_can_read_are_told_at_the_start() {
    let directory = stopped();
    let mode = |path: &Path, bits: u32| fs::set_permissions(path, fs::Permissions::from_mode(bits)).expect("changed");
    mode(directory.path(), 0o755);
    let authority = Authority::new();
    let issued = authority.issue("a", "DNS:localhost");
    mode(&issued.key, 0o644);
    let names = ["master.key", "admin.token", "portcullis.db"].map(|name| directory.path().join(name));
    names.iter().for_each(|path| mode(path, 0o644));
    let settings = format!("tls_listen = '127.0.0.1:0'\n[tls]\ncertificates = [{}]\n", issued.setting());
    let gateway = Gateway::restart(directory, &settings);
    let said = gateway.stderr();
    for path in names.iter().chain([&issued.key]) {
        let warned = |line: &str| line.contains("WARN") && line.contains(&format!("{}", path.display()));
        assert!(said.lines().any(warned), "{}: {said}", path.display());
    }
    // As it is made, nobody is warned of anything.
    let said = Gateway::start().stderr();
    assert!(!said.contains("chmod"), "{said}");
}

fn list(gateway: &Gateway, url: &str, more: &[&str]) -> Output {
    let mut command: Command = command(gateway.directory());
    command.args(["--admin", url, "client", "list"]).args(more);
    command.env("http_proxy", "http://127.0.0.1:1").env("ALL_PROXY", "http://127.0.0.1:1").output().expect("runs")
}

#[test]
fn the_admin_token_leaves_this_machine_over_tls_alone() {
    let gateway = Gateway::start();
    let port = gateway.admin.port();
    for here in ["127.0.0.1", "localhost", "127.0.0.2"] {
        let output = list(&gateway, &format!("http://{here}:{port}"), &[]);
        // Only the first two are listened on and answered by name.
        assert_ne!(output.status.code(), Some(2), "{here}: {output:?}");
    }
    assert_eq!(list(&gateway, &format!("http://127.0.0.1:{port}"), &[]).status.code(), Some(0));
    for elsewhere in ["192.0.2.1", "10.255.255.1", "[2001:db8::1]", "0.0.0.0"] {
        let output = list(&gateway, &format!("http://{elsewhere}:{port}"), &[]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{elsewhere}: {said}");
        assert!(said.contains("in clear") && said.contains("--insecure"), "{elsewhere}: {said}");
    }
    // To insist is to be heard: this address is another machine's by its looks, and leads here.
    let listener = TcpListener::bind("0.0.0.0:0").expect("bound");
    let port = listener.local_addr().expect("bound").port();
    let asked = std::thread::spawn(move || {
        let mut head = [0; 4_096];
        let (mut stream, _) = listener.accept().expect("asked");
        let length = std::io::Read::read(&mut stream, &mut head).expect("read");
        String::from_utf8_lossy(&head[..length]).into_owned()
    });
    let output = list(&gateway, &format!("http://0.0.0.0:{port}"), &["--insecure"]);
    assert_eq!(output.status.code(), Some(1), "it was hung up on: {output:?}");
    assert!(asked.join().expect("no panic").contains(&gateway.token));
}
