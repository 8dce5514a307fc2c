//! Sockets that are passed in: calls come over them, and wait in them while no gateway runs.

use std::io::{BufRead, BufReader, Lines, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;

use super::support::authority::Authority;
use super::support::client::{PATIENCE, call, connect, exchange, read_answer};
use super::support::gateway::command;

/// Listens, and starts what it is told to with the listening sockets, again whenever it is told to.
const PARENT: &str = r#"
import os, socket, sys
names, program = sys.argv[1], sys.argv[2:]
sockets = []
for _ in names.split(":"):
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    s.listen(128)
    sockets.append(s)
print("listening", *(s.getsockname()[1] for s in sockets), flush=True)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        # Out of the way first, so that no socket is overwritten before it is in its place.
        spare = [os.dup2(s.fileno(), 100 + at) for at, s in enumerate(sockets)]
        for at, fd in enumerate(spare):
            os.dup2(fd, 3 + at)
            os.close(fd)
        os.environ["LISTEN_FDS"] = str(len(sockets))
        os.environ["LISTEN_PID"] = str(os.getpid() + int(line.strip() == "somebody else"))
        os.environ["LISTEN_FDNAMES"] = names
        os.execv(program[0], program)
    print("started", child, flush=True)
    _, status = os.waitpid(child, 0)
    print("ended", os.waitstatus_to_exitcode(status), flush=True)
"#;

/// A parent process with its sockets, and the gateway it starts.
struct Parent {
    process: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
    addresses: Vec<SocketAddr>,
    gateway: Option<u32>,
    news: UnixDatagram,
    _directory: TempDir,
}

impl Parent {
    /// A parent with sockets of these names, which does not start the gateway yet.
    fn new(names: &str, settings: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let news = UnixDatagram::bind(directory.path().join("news")).expect("bound");
        news.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let gateway = command(directory.path());
        let mut process = Command::new("python3")
            .args(["-c", PARENT, names])
            .arg(gateway.get_program())
            .args(gateway.get_args())
            .args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--workers", "3"])
            .args(settings)
            .env("NOTIFY_SOCKET", directory.path().join("news"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(directory.path().join("stderr")).expect("a file"))
            .spawn()
            .expect("python3 is installed");
        let input = process.stdin.take();
        let mut output = BufReader::new(process.stdout.take().expect("piped")).lines();
        let listening = output.next().expect("a line").expect("text");
        let ports = listening.strip_prefix("listening ").expect("ports").split(' ');
        let addresses = ports.map(|port| ([127, 0, 0, 1], port.parse().expect("a port")).into()).collect();
        Self { process, input, output, addresses, gateway: None, news, _directory: directory }
    }

    fn say(&mut self, word: &str) {
        writeln!(self.input.as_mut().expect("not closed"), "{word}").expect("said");
    }

    /// The next line that begins so, without its beginning.
    fn hear(&mut self, beginning: &str) -> String {
        let mut lines = self.output.by_ref().map_while(Result::ok);
        let found = lines.find_map(|line| line.strip_prefix(beginning).map(str::to_owned));
        found.unwrap_or_else(|| panic!("it ended before it said '{beginning}'"))
    }

    /// Has the gateway started, and waits until it is ready. Returns what it says of its addresses.
    fn start(&mut self, word: &str) -> String {
        self.say(word);
        self.gateway = Some(self.hear("started ").parse().expect("a process id"));
        let ready = self.hear("ready: ");
        assert_eq!(self.news(), "READY=1");
        ready
    }

    /// Has the gateway stopped, and waits for its end.
    fn stop(&mut self) {
        let gateway = self.gateway.expect("it runs").to_string();
        assert!(Command::new("kill").args(["-TERM", &gateway]).status().expect("kill runs").success());
        assert_eq!(self.news(), "STOPPING=1");
        assert_eq!(self.hear("ended "), "0");
        self.gateway = None;
    }

    /// What the gateway tells its supervisor next.
    fn news(&self) -> String {
        let mut buffer = [0; 256];
        let length = self.news.recv(&mut buffer).expect("told");
        String::from_utf8(buffer[..length].to_vec()).expect("text")
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        self.input = None;
        if let Some(gateway) = self.gateway {
            // It may have ended already.
            let _ = Command::new("kill").args(["-KILL", &gateway.to_string()]).status();
        }
        let _ = self.process.wait();
    }
}

#[test]
fn calls_come_over_a_socket_that_was_passed_in() {
    let mut parent = Parent::new("portcullis.socket", &[]);
    let ready = parent.start("start");
    assert!(ready.contains(&format!("calls http://{},", parent.addresses[0])), "{ready}");
    for _ in 0..20 {
        assert_eq!(call(parent.addresses[0], "GET", "/-/ready", &[], b"").status, 200);
    }
    parent.stop();
}

#[test]
fn sockets_are_told_apart_by_their_names() {
    let mut parent = Parent::new("admin:data", &[]);
    parent.start("start");
    assert_eq!(call(parent.addresses[1], "GET", "/-/ready", &[], b"").status, 200);
    assert_eq!(call(parent.addresses[0], "GET", "/api/v1/services", &[], b"").status, 401);
    parent.stop();
}

#[test]
fn a_socket_for_tls_is_told_by_its_name() {
    let authority = Authority::new();
    let issued = authority.issue("api", "DNS:api.example.com");
    let pair = format!("{}:{}", issued.certificate.display(), issued.key.display());
    let mut parent = Parent::new("tls:admin:data", &["--tls-certificates", &pair]);
    let ready = parent.start("start");
    let calls = format!("calls http://{} and https://{},", parent.addresses[2], parent.addresses[0]);
    assert!(ready.contains(&calls), "{ready}");
    let request = b"GET /-/ready HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answered = exchange(parent.addresses[0], request);
    assert!(String::from_utf8_lossy(&answered).ends_with("this port speaks TLS; use https:// instead"));
    assert!(exchange(parent.addresses[2], request).starts_with(b"HTTP/1.1 200 "));
    parent.stop();
}

#[test]
fn sockets_that_are_for_somebody_else_are_left_alone() {
    let mut parent = Parent::new("data", &[]);
    let ready = parent.start("somebody else");
    assert!(!ready.contains(&parent.addresses[0].to_string()), "{ready}");
    parent.stop();
}

#[test]
fn a_restart_refuses_no_connection() {
    let mut parent = Parent::new("data", &["--timeouts-drain-delay", "100ms"]);
    let address = parent.addresses[0];
    parent.start("start");
    let enough = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let enough = Arc::clone(&enough);
            std::thread::spawn(move || {
                let mut calls = 0;
                while !enough.load(Ordering::Relaxed) {
                    assert_eq!(call(address, "GET", "/-/health", &[], b"").status, 200);
                    calls += 1;
                }
                calls
            })
        })
        .collect();
    for _ in 0..3 {
        parent.stop();
        // Nobody is there, and a caller can connect and send all the same.
        let mut waiting = connect(address);
        waiting.write_all(b"GET /-/ready HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("sent");
        parent.start("start");
        assert_eq!(read_answer(&mut waiting, false).status, 200);
    }
    enough.store(true, Ordering::Relaxed);
    for caller in callers {
        assert!(caller.join().expect("every call was answered") > 3);
    }
    parent.stop();
}
