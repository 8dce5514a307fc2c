//! gRPC through the gateway: grpcio is the client and the service, and nothing between them is known to either.

mod ends;
mod streams;
mod web;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::support::scene::until;
use super::support::tls::{Authority, Certificate};
use super::support::{Backend, Gateway, Scene, python};

/// A service of grpcio. It is killed when it is dropped.
struct Service {
    port: u16,
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Service {
    fn start() -> Self {
        Self::run(&[])
    }

    /// Over TLS.
    fn with(certificate: &Certificate) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        certificate.write(directory.path(), "service");
        let path = |end: &str| directory.path().join(format!("service.{end}")).display().to_string();
        Self::run(&[&path("pem"), &path("key")])
    }

    fn run(arguments: &[&str]) -> Self {
        let mut child = Command::new(python())
            .args(["-c", include_str!("service.py")])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let mut said = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
        let port = said.next().expect("a port").parse().expect("a port");
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let kept = Arc::clone(&lines);
        std::thread::spawn(move || said.for_each(|line| kept.lock().expect("not poisoned").push(line)));
        Self { port, child, lines }
    }

    /// What it has noticed.
    fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("not poisoned").clone()
    }

    /// Waits until it has noticed something that begins like this.
    fn notices(&self, start: &str) -> String {
        let find = || self.lines().into_iter().find(|line| line.starts_with(start));
        until(start, || find().is_some());
        find().expect("there")
    }

    /// Declares it as `orders/v1`, with more in the declaration, and leads its methods to it.
    fn declare(&self, gateway: &Gateway, more: &Value) {
        let mut declared = json!({"targets": [{"url": format!("http://127.0.0.1:{}", self.port)}], "protocol": "h2c"});
        let members = more.as_object().expect("an object").clone();
        declared.as_object_mut().expect("an object").extend(members);
        gateway.admin_ok("PUT", "/services/orders/v1", Some(&declared), 200);
        lead(gateway);
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The methods of `demo.v1.Echo` lead to `orders/v1`.
fn lead(gateway: &Gateway) {
    let route = json!({"match": {"path": {"prefix": "/demo.v1.Echo"}}, "service": "orders/v1"});
    let answer = gateway.admin("PUT", "/routes/echo", Some(&route));
    assert!([200, 201].contains(&answer.status), "{}", answer.text());
}

/// A scene in which the service wants what every service wants, and a service in it.
fn scene(settings: &str, more: &Value) -> (Scene, Service) {
    let (scene, service) = (Scene::before(Backend::echo(), settings), Service::start());
    service.declare(&scene.gateway, more);
    (scene, service)
}

/// A scene in which the service is open.
fn open(settings: &str, policies: &Value) -> (Scene, Service) {
    scene(settings, &json!({"require": [], "policies": policies}))
}

/// One of the scripts in `calls.py`, started.
fn calls(scene: &Scene, name: &str, more: &[&str]) -> Command {
    let mut command = Command::new(python());
    command.args(["-c", include_str!("calls.py"), name, &scene.gateway.data.to_string(), &scene.token, &scene.api_key]);
    command.args(more).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// One of them, to its end, which must be a good one.
fn run(scene: &Scene, name: &str, more: &[&str]) -> String {
    finish(calls(scene, name, more).spawn().expect("starts"))
}

fn finish(child: Child) -> String {
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Waits until a script has said this, and goes on reading for it.
fn says(child: &mut Child, words: &str) {
    let mut line = String::new();
    let stdout = child.stdout.as_mut().expect("piped");
    // Byte by byte, so that nothing of what follows is lost.
    BufReader::with_capacity(1, stdout).read_line(&mut line).expect("a line");
    assert_eq!(line.trim(), words);
}

/// Tells a script to go on.
fn go_on(child: &mut Child) {
    child.stdin.as_mut().expect("piped").write_all(b"\n").expect("heard");
}
