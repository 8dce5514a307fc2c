//! File descriptors: as many as there may be, and a gateway that goes on where there are no more.

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::client::{call, connect};
use crate::support::gateway::command;
use crate::support::scene::until;
use crate::support::{Backend, Gateway};

/// A gateway that may have so many descriptors, now and at most.
struct Limited {
    child: Child,
    data: std::net::SocketAddr,
    admin: std::net::SocketAddr,
    directory: TempDir,
}

impl Limited {
    fn new(now: u32, most: u32, settings: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("portcullis.toml"), settings).expect("written");
        let free = || {
            let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
            socket.local_addr().expect("bound")
        };
        let (data, admin) = (free(), free());
        let gateway = command(directory.path());
        let mut limited = Command::new("bash");
        limited.args(["-c", &format!("ulimit -Sn {now} && ulimit -Hn {most} && exec \"$@\""), "bash"]);
        limited.arg(gateway.get_program()).args(gateway.get_args());
        limited.args(["serve", "--listen", &data.to_string(), "--admin-listen", &admin.to_string()]);
        let stderr = std::fs::File::create(directory.path().join("stderr.txt")).expect("a file");
        let child = limited.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn().expect("starts");
        let started = Self { child, data, admin, directory };
        until("it serves", || TcpStream::connect(data).is_ok());
        until("it is ready", || started.admin_call("GET", "/status", None).0 == 200);
        started
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("stderr.txt")).expect("read")
    }

    fn admin_call(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, String) {
        let token = std::fs::read_to_string(self.directory.path().join("admin.token")).unwrap_or_default();
        if token.is_empty() || TcpStream::connect(self.admin).is_err() {
            return (0, String::new());
        }
        let bearer = format!("Bearer {}", token.trim());
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        let body = body.map(ToString::to_string).unwrap_or_default();
        let answer = call(self.admin, method, &format!("/api/v1{path}"), &headers, body.as_bytes());
        (answer.status, answer.text())
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_limit_is_raised_as_far_as_it_goes_and_told() {
    let gateway = Limited::new(200, 1_000, "workers = 1");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", gateway.child.id())).expect("its limits");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("a line");
    let numbers: Vec<_> = line.split_whitespace().filter(|word| word.parse::<u64>().is_ok()).collect();
    assert_eq!(numbers, ["1000", "1000"]);
    let said = gateway.said();
    assert!(said.contains("may have 1000 file descriptors, raised from 200"), "{said}");
    assert!(said.contains("limits.connections is 100000") && said.contains("WARN"), "{said}");
    let enough = Gateway::with("[limits]\nconnections = 100\n");
    assert!(!enough.stderr().contains("limits.connections is"), "{}", enough.stderr());
}

/// Callers who hold everything that they can get, and keep coming.
#[test]
fn callers_who_take_all_there_is_keep_nobody_out_for_long() {
    for most in [60, 160] {
        // They may say nothing for an hour, as far as the settings go.
        let settings = "workers = 2\n[timeouts]\nfirst_byte = '1h'\nhead = '1h'\nkeep_alive = '1h'\n";
        let gateway = Limited::new(most, most, settings);
        let backend = Backend::echo();
        let service = json!({"targets": [{"url": backend.url()}], "require": []});
        assert_eq!(gateway.admin_call("PUT", "/services/open/v1", Some(&service)).0, 201);
        let mut held: Vec<TcpStream> = Vec::new();
        for _ in 0..2 * most {
            held.push(connect(gateway.data));
        }
        // Whoever was let in and says nothing makes room; whoever was not has been sent away.
        until("somebody else is served", || {
            let Ok(stream) = TcpStream::connect(gateway.data) else { return false };
            stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
            served(stream, "/open/v1/x")
        });
        // Meanwhile whatever is not a call goes on: changes, the log, the admin API.
        let declared = gateway.admin_call("PUT", "/services/other/v1", Some(&service));
        assert_eq!(declared.0, 201, "{}", declared.1);
        assert_eq!(gateway.admin_call("GET", "/logs?limit=1", None).0, 200);
        drop(held);
        until("all is well", || TcpStream::connect(gateway.data).is_ok_and(|stream| served(stream, "/other/v1/x")));
        let status: Value = serde_json::from_str(&gateway.admin_call("GET", "/status", None).1).expect("JSON");
        assert_eq!(status["counters"]["tasks_panicked"], 0);
        assert!(status["counters"]["connections_refused_limit"].as_u64().expect("a number") > 0, "{status}");
    }
}

/// Whether this connection is answered with 200.
fn served(mut stream: TcpStream, path: &str) -> bool {
    use std::io::{Read, Write};
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let mut answer = Vec::new();
    stream.write_all(request.as_bytes()).is_ok()
        && stream.read_to_end(&mut answer).is_ok()
        && answer.starts_with(b"HTTP/1.1 200")
}
