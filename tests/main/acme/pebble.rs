//! The authority: Debian's `pebble`, and whoever tells it where names lead.

use std::fs::OpenOptions;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::authority::Authority;

/// A running authority. It is killed when it is dropped.
pub(super) struct Pebble {
    child: Child,
    address: SocketAddr,
    management: SocketAddr,
    names: SocketAddr,
    place: TempDir,
}

impl Pebble {
    /// Starts one whose server this authority vouches for, and that looks for names at these ports.
    pub(super) fn start(vouching: &Authority, http: u16, tls: u16, names: SocketAddr, more: &[(&str, Value)]) -> Self {
        let served = vouching.issue("pebble", "IP:127.0.0.1");
        // It has to be told its ports, and somebody else may take one before it does.
        for _ in 0..20 {
            let [address, management] = [free(), free()];
            let place = tempfile::tempdir().expect("a directory");
            let mut inner = json!({
                "listenAddress": address.to_string(), "managementListenAddress": management.to_string(),
                "certificate": served.certificate, "privateKey": served.key,
                "httpPort": http, "tlsPort": tls,
                "ocspResponderURL": "", "externalAccountBindingRequired": false,
            });
            for (name, value) in more {
                inner[*name] = value.clone();
            }
            std::fs::write(place.path().join("pebble.json"), json!({"pebble": inner}).to_string()).expect("written");
            let child = launch(place.path(), names);
            let mut pebble = Self { child, address, management, names, place };
            if pebble.answers(vouching) {
                return pebble;
            }
        }
        panic!("pebble finds no ports");
    }

    /// Waits until it answers. False if it has ended.
    fn answers(&mut self, vouching: &Authority) -> bool {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.child.try_wait().expect("it can be waited for").is_none() {
            if [self.directory(), format!("https://{}/roots/0", self.management)]
                .iter()
                .all(|url| get(url, vouching).is_some())
            {
                return true;
            }
            assert!(Instant::now() < deadline, "pebble does not answer: {}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }

    /// Starts it anew in its place, with nothing of what it knew.
    pub(super) fn forget(&mut self, vouching: &Authority) {
        self.child.kill().expect("killed");
        self.child.wait().expect("it ends");
        self.child = launch(self.place.path(), self.names);
        assert!(self.answers(vouching), "{}", self.said());
    }

    /// The URL of its directory.
    pub(super) fn directory(&self) -> String {
        format!("https://{}/dir", self.address)
    }

    /// The root of what it issues, in PEM.
    pub(super) fn root(&self, vouching: &Authority) -> String {
        get(&format!("https://{}/roots/0", self.management), vouching).expect("a root")
    }

    /// What it has said so far.
    pub(super) fn said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.place.path().join("said.txt")).expect("its words")).into_owned()
    }

    /// How many orders it has taken.
    pub(super) fn orders(&self) -> usize {
        self.said().matches("Added order").count()
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// With the configuration in its place.
fn launch(place: &Path, names: SocketAddr) -> Child {
    let said = OpenOptions::new().create(true).append(true).open(place.join("said.txt")).expect("a file");
    Command::new("pebble")
        .args(["-strict=false", "-dnsserver", &names.to_string(), "-config"])
        .arg(place.join("pebble.json"))
        .env("PEBBLE_VA_NOSLEEP", "1")
        // Every order is looked at.
        .env("PEBBLE_AUTHZREUSE", "0")
        .stdin(Stdio::null())
        .stdout(said.try_clone().expect("the file"))
        .stderr(said)
        .spawn()
        .expect("pebble is installed (apt install pebble)")
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

fn get(url: &str, vouching: &Authority) -> Option<String> {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--fail", "--noproxy", "*", "--cacert"]).arg(vouching.root()).arg(url).stdin(Stdio::null());
    let output = curl.output().expect("curl is installed");
    output.status.success().then(|| String::from_utf8(output.stdout).expect("text"))
}

/// Somebody who says of all names that they lead to 127.0.0.1 (RFC 1035), and of everything else that there is nothing.
pub(super) fn names() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let address = socket.local_addr().expect("an address");
    std::thread::spawn(move || {
        let mut buffer = [0; 1_500];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            if let Some(answer) = answer(&buffer[..length]) {
                // Whoever asks asks again.
                let _ = socket.send_to(&answer, from);
            }
        }
    });
    address
}

fn answer(question: &[u8]) -> Option<Vec<u8>> {
    let end = 12 + question.get(12..)?.iter().position(|byte| *byte == 0)? + 5;
    let asked = question.get(12..end)?;
    let is_address = asked[asked.len() - 4..] == [0, 1, 0, 1];
    let mut answer = question[..2].to_vec();
    answer.extend_from_slice(&[0x81, 0x80, 0, 1, 0, u8::from(is_address), 0, 0, 0, 0]);
    answer.extend_from_slice(asked);
    if is_address {
        answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 127, 0, 0, 1]);
    }
    Some(answer)
}
