//! `portcullis demo` as a newcomer meets it: every line it prints is pasted into a shell and leads where it says.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

use serde_json::Value;

use crate::support::gateway::command;
use crate::support::scene::text;

/// A running demo, and what it has printed.
struct Demo {
    child: Child,
    lines: Vec<String>,
    /// A note beside the lines, if it has ended.
    stderr: Option<ChildStderr>,
    /// Where it makes its temporary directories.
    temporary: tempfile::TempDir,
}

impl Demo {
    fn start(arguments: &[&str], listen: &str, admin: &str) -> Self {
        let temporary = tempfile::tempdir().expect("a directory");
        // The program alone: a data directory is only given by those tests that want one.
        let template = command(temporary.path());
        let mut demo = Command::new(template.get_program());
        for (name, value) in template.get_envs() {
            assert!(value.is_none());
            demo.env_remove(name);
        }
        let mut child = demo
            .arg("demo")
            .args(arguments)
            .env("TMPDIR", temporary.path())
            .env("PORTCULLIS_LISTEN", listen)
            .env("PORTCULLIS_ADMIN_LISTEN", admin)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        let mut lines = Vec::new();
        for line in BufReader::new(child.stdout.take().expect("piped")).lines() {
            let line = line.expect("UTF-8");
            let last = line.contains(" logs -f ");
            lines.push(line);
            if last {
                break;
            }
        }
        let stderr = child.stderr.take();
        Self { child, lines, stderr, temporary }
    }

    /// The commands with the status each is said to lead to.
    fn steps(&self) -> Vec<(String, String)> {
        let pairs = self.lines.windows(2).filter(|pair| pair[0].starts_with("# → "));
        pairs.map(|pair| (pair[0]["# → ".len()..][..3].to_owned(), pair[1].trim_start().to_owned())).collect()
    }

    fn directory(&self) -> PathBuf {
        let line = self.lines.iter().find_map(|line| line.split_once(" is in ")).expect("it says where").1;
        PathBuf::from(line.trim_end_matches('.'))
    }

    /// Ends it as a service manager does, and returns what it said on stderr.
    fn end(mut self) -> (Option<i32>, String) {
        let killed = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(killed.expect("kill runs").success());
        let mut said = String::new();
        self.stderr.take().expect("piped").read_to_string(&mut said).expect("UTF-8");
        let left: Vec<_> = std::fs::read_dir(self.temporary.path()).expect("a directory").collect();
        let status = self.child.wait().expect("ends");
        assert!(left.is_empty(), "left behind: {left:?}");
        (status.code(), said)
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn bash(script: &str) -> String {
    let output = Command::new("bash").args(["-euo", "pipefail", "-c", script]).output().expect("bash runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}\n{said}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn its_lines_lead_where_they_say() {
    let demo = Demo::start(&[], "127.0.0.1:0", "127.0.0.1:0");
    assert!(demo.lines.iter().all(|line| !line.contains('\u{1b}')), "no colours on a pipe");
    let steps = demo.steps();
    let commands = demo.lines.iter().filter(|line| line.contains("curl ")).count();
    assert_eq!(steps.len(), commands, "each command has its status: {:?}", demo.lines);
    let login = &steps[0].1;
    assert!(login.starts_with("TOKEN=$(curl "), "{login}");
    assert_eq!(bash(&format!("{login}\nprintf %s \"$TOKEN\"")).split('.').count(), 3, "an access token");
    let mut seen = Vec::new();
    for (status, line) in &steps[1..] {
        let out = bash(&format!("{login}\n{line}"));
        let (body, found) = out.trim_end().rsplit_once('\n').unwrap_or_else(|| panic!("{line}: {out}"));
        assert_eq!(found, status, "{line}\n{body}");
        let body: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"));
        if status.as_str() >= "400" {
            assert_eq!(body["status"].to_string(), *status, "{body}");
            for member in ["type", "title", "detail", "code", "request_id"] {
                assert!(!text(&body, member).is_empty(), "{member} in {body}");
            }
        }
        seen.push(status.as_str());
    }
    for status in ["200", "401", "403", "404"] {
        assert!(seen.contains(&status), "{status} in {seen:?}");
    }
    // The whole at once, as it is pasted; the lines that are no commands are comments.
    let whole: Vec<_> = demo.lines.iter().filter(|line| !line.contains(" logs -f ")).map(String::as_str).collect();
    let out = bash(&whole.join("\n"));
    assert!(out.contains("Ada Lovelace"), "the service shows what it was told of the user: {out}");
    let received = out.lines().find(|line| line.contains("Ada Lovelace")).expect("checked above").to_ascii_lowercase();
    assert!(!received.contains("authorization") && !received.contains("x-api-key"), "and no credential: {received}");
    // The log, as it happens.
    let follow = demo.lines.last().expect("a line").trim_start();
    let mut child =
        Command::new("bash").args(["-c", &format!("exec {follow}")]).stdout(Stdio::piped()).spawn().expect("starts");
    let mut first = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut first).expect("a line");
    child.kill().expect("ended");
    child.wait().expect("ended");
    assert!(first.contains(" GET ") || first.contains(" POST "), "{first}");

    let directory = demo.directory();
    assert!(directory.starts_with(demo.temporary.path()) && directory.join("admin.token").is_file());
    let (code, said) = demo.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(!directory.exists());
    assert!(!said.contains("error"), "{said}");
}

#[test]
fn a_port_that_is_taken_is_named_and_another_one_used() {
    let [data, admin] = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").expect("a port"));
    let address = |listener: &TcpListener| listener.local_addr().expect("an address").to_string();
    let demo = Demo::start(&[], &address(&data), &address(&admin));
    let steps = demo.steps();
    for (status, line) in &steps {
        assert!(!line.contains(&address(&data)) && !line.contains(&address(&admin)), "{status} {line}");
    }
    let out = bash(&format!("{}\n{}", steps[0].1, steps[1].1));
    assert!(out.trim_end().ends_with("\n200"), "{out}");
    let (code, said) = demo.end();
    assert_eq!(code, Some(0), "{said}");
    for taken in [&data, &admin] {
        let told = said.lines().any(|line| line.contains(&address(taken)) && line.contains("taken"));
        assert!(told, "{} in {said}", address(taken));
    }
}

#[test]
fn a_directory_of_ones_own_stays_and_can_be_used_again() {
    let own = tempfile::tempdir().expect("a directory");
    let path: &Path = own.path();
    for round in 0..2 {
        let demo = Demo::start(&["--data-dir", &path.display().to_string()], "127.0.0.1:0", "127.0.0.1:0");
        let steps = demo.steps();
        let out = bash(&format!("{}\n{}", steps[0].1, steps[1].1));
        assert!(out.trim_end().ends_with("\n200"), "round {round}: {out}");
        let (code, said) = demo.end();
        assert_eq!(code, Some(0), "round {round}: {said}");
    }
    assert!(path.join("admin.token").is_file() && path.join("access.log").is_file());
}
