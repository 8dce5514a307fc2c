//! The real binary, started for one test on free ports with a data directory of its own.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::agreement;
use super::client::{Answer, call};

/// A running gateway. It is killed when it is dropped.
pub(crate) struct Gateway {
    /// Where calls go; over TLS, if nobody listens in clear.
    pub(crate) data: SocketAddr,
    /// Where calls go over TLS.
    pub(crate) tls: Option<SocketAddr>,
    /// Where the admin API is.
    pub(crate) admin: SocketAddr,
    /// The admin token.
    pub(crate) token: String,
    child: Child,
    directory: Option<TempDir>,
}

impl Gateway {
    /// Starts with defaults.
    pub(crate) fn start() -> Self {
        Self::with("")
    }

    /// Starts with this `portcullis.toml`.
    pub(crate) fn with(settings: &str) -> Self {
        Self::restart(tempfile::tempdir().expect("a directory"), settings)
    }

    /// Starts on a directory that may have been used before.
    pub(crate) fn restart(directory: TempDir, settings: &str) -> Self {
        Self::launch(directory, settings, |_| {})
    }

    /// Starts with more in the command than a file of settings.
    pub(crate) fn launch(directory: TempDir, settings: &str, change: impl FnOnce(&mut Command)) -> Self {
        std::fs::write(directory.path().join("portcullis.toml"), settings).expect("written");
        let mut command = command(directory.path());
        command.args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        command.stdout(Stdio::piped()).stderr(log_of(directory.path()));
        change(&mut command);
        let mut child = command.spawn().expect("starts");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut lines = stdout.lines().map_while(Result::ok);
        let ready = lines.find(|line| line.starts_with("ready: "));
        let ready = ready.unwrap_or_else(|| {
            panic!("it ended before it was ready: {:?}: {}", child.wait(), said(directory.path()));
        });
        // Later lines are read away, so that the gateway never waits for us.
        std::thread::spawn(move || lines.for_each(drop));
        let address = |place: &str, scheme: &str| -> Option<SocketAddr> {
            let rest = place.split_once(&format!("{scheme}://"))?.1;
            let text = rest.split_whitespace().next().expect("an address").trim_end_matches(',');
            Some(text.parse().expect("an address"))
        };
        let (calls, admin) = ready.split_once(", admin ").expect("both");
        let tls = address(calls, "https");
        let data = address(calls, "http").or(tls).expect("an address");
        let admin = address(admin, "http").or(address(admin, "https")).expect("an address");
        let token = std::fs::read_to_string(directory.path().join("admin.token")).expect("a token");
        let token = token.trim().to_owned();
        agreement::begin(data, admin, &token);
        Self { data, tls, admin, token, child, directory: Some(directory) }
    }

    /// Its data directory.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.as_ref().expect("kept while it runs").path()
    }

    /// What it has said on stderr so far, in all its starts on this directory.
    pub(crate) fn stderr(&self) -> String {
        said(self.directory())
    }

    /// What is in its access log, once everything that has ended before is written.
    pub(crate) fn access_log(&self) -> String {
        self.logs("limit=1");
        std::fs::read_to_string(self.directory().join("access.log")).expect("a log")
    }

    /// Makes a call on the data plane.
    pub(crate) fn call(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        call(self.data, method, target, headers, body)
    }

    /// Posts JSON on the data plane.
    pub(crate) fn post(&self, target: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        let headers = [headers, &[("Content-Type", "application/json")]].concat();
        self.call("POST", target, &headers, body.to_string().as_bytes())
    }

    /// Makes a call on the admin API.
    pub(crate) fn admin(&self, method: &str, target: &str, body: Option<&Value>) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        let body = body.map(ToString::to_string).unwrap_or_default();
        call(self.admin, method, &format!("/api/v1{target}"), &headers, body.as_bytes())
    }

    /// Makes a call on the admin API that must be answered with this status.
    pub(crate) fn admin_ok(&self, method: &str, target: &str, body: Option<&Value>, status: u16) -> Value {
        let answer = self.admin(method, target, body);
        assert_eq!(answer.status, status, "{method} {target}: {}", answer.text());
        if answer.body.is_empty() { Value::Null } else { answer.json() }
    }

    /// The newest records that match a query.
    pub(crate) fn logs(&self, query: &str) -> Vec<Value> {
        self.admin_ok("GET", &format!("/logs?{query}"), None, 200)["items"].as_array().expect("a list").clone()
    }

    /// Waits until there is a record for which this holds, and returns it.
    pub(crate) fn record(&self, query: &str, found: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(record) = self.logs(query).into_iter().find(&found) {
                return record;
            }
            assert!(Instant::now() < deadline, "no such record: {:?}", self.logs(query));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("it ends")
    }

    /// Kills it without warning and returns its directory.
    pub(crate) fn kill(mut self) -> TempDir {
        agreement::end(self.data);
        self.child.kill().expect("killed");
        self.child.wait().expect("it ends");
        self.directory.take().expect("kept while it runs")
    }

    /// Bytes of memory it has resident.
    pub(crate) fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("its status");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a size");
        line.split_whitespace().nth(1).expect("a number").parse::<u64>().expect("a number") * 1024
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() && self.directory.is_some() {
            // Whoever reads about the failed test wants to know; that nobody does changes nothing.
            let _ = writeln!(std::io::stderr(), "the gateway said:\n{}", self.stderr());
        }
        agreement::end(self.data);
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The file on which a gateway's stderr goes.
const STDERR: &str = "stderr.txt";

fn log_of(directory: &Path) -> Stdio {
    let file = OpenOptions::new().create(true).append(true).open(directory.join(STDERR));
    file.expect("a file for stderr").into()
}

fn said(directory: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(directory.join(STDERR)).unwrap_or_default()).into_owned()
}

/// The binary on a data directory, without any setting from the environment.
pub(crate) fn command(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PORTCULLIS_")) {
        command.env_remove(name);
    }
    command.arg("--data-dir").arg(directory).stdin(Stdio::null());
    command
}
