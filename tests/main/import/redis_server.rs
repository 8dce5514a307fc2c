//! A real Redis for one test, on a port that was free.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::client::PATIENCE;

/// A running server. It is killed when it is dropped.
pub(super) struct RedisServer {
    pub(super) port: u16,
    password: Option<String>,
    child: Child,
    _directory: TempDir,
}

impl RedisServer {
    /// Starts one, with a password where there is one.
    pub(super) fn start(password: Option<&str>) -> Self {
        // Somebody else may take the port in between.
        (0..10).find_map(|_| Self::try_to_start(password)).expect("redis-server starts; `./check` installs it")
    }

    fn try_to_start(password: Option<&str>) -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address").port();
        let directory = tempfile::tempdir().expect("a directory");
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.arg("--dir").arg(directory.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Some(password) = password {
            command.args(["--requirepass", password]);
        }
        let child = command.spawn().expect("redis-server is installed; `./check` does it");
        let mut server = Self { port, password: password.map(str::to_owned), child, _directory: directory };
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline && server.child.try_wait().expect("its state").is_none() {
            if server.try_to_ask(&["PING"]).is_some_and(|said| said == "+PONG") {
                return Some(server);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }

    /// Its URL, without a password.
    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Has it do something; the first line of its answer.
    pub(super) fn ask(&self, words: &[&str]) -> String {
        let said = self.try_to_ask(words).expect("it answers");
        assert!(!said.starts_with('-'), "{words:?}: {said}");
        said
    }

    fn try_to_ask(&self, words: &[&str]) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let write = |stream: &mut TcpStream, words: &[&str]| {
            let words: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
            stream.write_all(words.as_bytes())
        };
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        let mut said = |stream: &mut TcpStream, words: &[&str]| {
            stream.write_all(format!("*{}\r\n", words.len()).as_bytes()).ok()?;
            write(stream, words).ok()?;
            let mut line = String::new();
            reader.by_ref().read_line(&mut line).ok()?;
            Some(line.trim_end().to_owned())
        };
        if let Some(password) = &self.password {
            said(&mut stream, &["AUTH", password])?;
        }
        said(&mut stream, words)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
