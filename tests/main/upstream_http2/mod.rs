//! HTTP/2 to services: what they get and what callers get, over connections that many calls share.

mod calls;
mod connections;
mod ends;
mod hostile;
mod negotiation;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::support::scene::until;
use super::support::{Answer, Gateway, python};

/// One worker, so that every call meets the connections of those before it.
const ONE: &str = "workers = 1\n";

/// A service in Python that speaks HTTP/2, and what has happened to it. It ends with the test.
pub(crate) struct Server {
    child: Child,
    port: u16,
    events: Arc<Mutex<Vec<Value>>>,
    marks: AtomicUsize,
}

impl Server {
    pub(crate) fn start(options: &Value) -> Self {
        Self::running(include_str!("server.py"), &options.to_string())
    }

    fn running(script: &str, argument: &str) -> Self {
        let mut python = Command::new(python());
        python.args(["-c", script, argument]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = python.spawn().expect("Python starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let port = lines.next().expect("a line").expect("text").parse().expect("a port");
        let events = Arc::<Mutex<Vec<Value>>>::default();
        let heard = Arc::clone(&events);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                heard.lock().expect("not poisoned").push(serde_json::from_str(&line).expect("JSON"));
            }
        });
        Self { child, port, events, marks: AtomicUsize::new(0) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn heard(&self, kind: &str) -> Vec<Value> {
        self.events.lock().expect("not poisoned").iter().filter(|event| event["event"] == kind).cloned().collect()
    }

    /// What has happened of one kind until now.
    pub(crate) fn events(&self, kind: &str) -> Vec<Value> {
        let mark = self.marks.fetch_add(1, SeqCst).to_string();
        writeln!(self.child.stdin.as_ref().expect("a pipe"), "{mark}").expect("it listens");
        self.wait_for("mark", |event| event["mark"] == mark.as_str());
        self.heard(kind)
    }

    fn wait_for(&self, kind: &str, found: impl Fn(&Value) -> bool) -> Value {
        until(&format!("the service sees {kind}"), || self.heard(kind).iter().any(&found));
        self.heard(kind).into_iter().find(&found).expect("there")
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }

    /// How many connections it has taken.
    fn connections(&self) -> usize {
        self.events("connection").len()
    }
}

impl Drop for Server {
    /// Whatever a test is about: the service was told nothing that is not HTTP/2.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.events("fault"), Vec::<Value>::new());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Declares `NAME/v1`, open to everybody, with these members beside.
fn declare(gateway: &Gateway, name: &str, urls: &[String], more: &Value) {
    let targets: Vec<_> = urls.iter().map(|url| json!({"url": url})).collect();
    let mut service = json!({"targets": targets, "require": []});
    for (member, value) in more.as_object().expect("an object") {
        service[member] = value.clone();
    }
    let answer = gateway.admin("PUT", &format!("/services/{name}/v1"), Some(&service));
    assert!(matches!(answer.status, 200 | 201), "{}", answer.text());
}

/// A gateway before a service in clear.
fn before(server: &Server, settings: &str) -> Gateway {
    let gateway = Gateway::with(settings);
    declare(&gateway, "fast", &[server.url()], &json!({"protocol": "h2c"}));
    gateway
}

fn get(gateway: &Gateway, path: &str) -> Answer {
    gateway.call("GET", &format!("/fast/v1{path}"), &[], b"")
}

/// The value of a field as the service saw it.
fn field<'a>(seen: &'a Value, name: &str) -> Option<&'a str> {
    let fields = seen["headers"].as_array().expect("fields");
    let mut found = fields.iter().filter(|field| field[0] == name);
    let value = found.next()?[1].as_str();
    assert!(found.next().is_none(), "{name} stands twice in {seen}");
    value
}
