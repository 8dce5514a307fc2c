//! One caller never takes all of a target's connections: who else calls is served, whatever the first one holds them with.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Barrier, Condvar, Mutex};
use std::time::Duration;

use serde_json::json;

use super::support::client::{Answer, connect, connect_as, read_answer};
use super::support::scene::until;
use super::support::{Backend, Gateway};

/// Connections that the gateway has to the target at once.
const LIMIT: usize = 8;

fn get_as(source: &str, gateway: &Gateway, path: &str) -> Answer {
    let mut stream = connect_as(source, gateway.data);
    let request = format!("GET /slow/v1/{path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    read_answer(&mut stream, false)
}

fn open_service(gateway: &Gateway, backend: &Backend) {
    let service = json!({"targets": [{"url": backend.url()}], "require": []});
    gateway.admin_ok("PUT", "/services/slow/v1", Some(&service), 201);
}

/// A gate that is closed until it is opened, for good.
#[derive(Default)]
struct Gate(Mutex<bool>, Condvar);

impl Gate {
    fn open(&self) {
        *self.0.lock().expect("not poisoned") = true;
        self.1.notify_all();
    }

    fn pass(&self) {
        let closed = self.0.lock().expect("not poisoned");
        drop(self.1.wait_while(closed, |is_open| !*is_open).expect("not poisoned"));
    }
}

/// A backend that answers nothing below `/hang` before the gate is open, switches protocols where it is asked to, and answers
/// everything else at once.
fn hanging(gate: &Arc<Gate>) -> Backend {
    let gate = Arc::clone(gate);
    Backend::serving(move |stream, request| {
        if request.header("upgrade").is_some() {
            let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
            let _ = stream.write_all(head.as_bytes());
            // Until the other side ends.
            while matches!(stream.read(&mut [0; 64]), Ok(1..)) {}
            return false;
        }
        if request.target.starts_with("/hang") {
            gate.pass();
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_ok()
    })
}

/// Begins to hold connections.
type Attack<'a> = Box<dyn Fn() -> Held + 'a>;

/// What a caller holds connections with: as long as this is there.
enum Held {
    Streams { _streams: Vec<TcpStream> },
    Process(Child),
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Self::Process(child) = self {
            child.kill().and_then(|()| child.wait()).expect("it ends");
        }
    }
}

/// Sends so many requests, each over a connection of its own, and hangs on to these.
fn send(gateway: &Gateway, count: usize, request: &str) -> Held {
    let send = |_| {
        let mut stream = connect(gateway.data);
        stream.write_all(request.as_bytes()).expect("sent");
        stream
    };
    Held::Streams { _streams: (0..count).map(send).collect() }
}

/// How many connections to the target are in use.
fn busy(gateway: &Gateway) -> u64 {
    let status = gateway.admin_ok("GET", "/status", None, 200);
    let target = &status["targets"][0];
    target["connections"].as_u64().unwrap_or(0) - target["idle"].as_u64().unwrap_or(0)
}

#[test]
fn whatever_one_caller_holds_connections_with_others_are_served() {
    let gate = Arc::<Gate>::default();
    let backend = hanging(&gate);
    let gateway = Gateway::with(&format!(
        "workers = 2\n[limits]\nupstream_connections = {LIMIT}\nupstream_tunnels = {LIMIT}\n[timeouts]\nupstream_queue_wait = \"20s\"\n"
    ));
    open_service(&gateway, &backend);
    let head = |rest: &str| format!("POST /slow/v1/hang HTTP/1.1\r\nHost: a\r\n{rest}");
    // Whether all connections for calls are taken up by it.
    let attacks: [(&str, bool, Attack<'_>); 5] = [
        ("slow bodies", true, Box::new(|| send(&gateway, 30, &head("Content-Length: 1000\r\n\r\nx")))),
        ("streams", true, Box::new(|| send(&gateway, 30, &head("Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")))),
        ("waiting calls", true, Box::new(|| send(&gateway, 30, "GET /slow/v1/hang HTTP/1.1\r\nHost: a\r\n\r\n"))),
        (
            "calls over HTTP/2",
            true,
            Box::new(|| {
                let url = format!("http://{}/slow/v1/hang", gateway.data);
                let mut command = Command::new("h2load");
                command.args(["-n", "300", "-c", "3", "-m", "100", &url]).stdout(Stdio::null());
                Held::Process(command.spawn().expect("h2load is installed"))
            }),
        ),
        (
            "WebSockets",
            false,
            Box::new(|| {
                let wish = "GET /slow/v1/x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
                send(&gateway, LIMIT, wish)
            }),
        ),
    ];
    for (name, takes_all, attack) in attacks {
        let held = attack();
        until(name, || busy(&gateway) >= LIMIT as u64);
        for victim in 2..20 {
            let answer = get_as(&format!("127.0.0.{victim}"), &gateway, "x");
            assert_eq!((answer.status, answer.text().as_str()), (200, "ok"), "{name}");
        }
        if takes_all {
            assert_eq!(busy(&gateway), LIMIT as u64, "{name}");
        } else {
            // Nor are calls of the same caller held up by what is counted apart.
            let answer = gateway.call("GET", "/slow/v1/x", &[], b"");
            assert_eq!(answer.status, 200, "{name}");
            let mut further = connect(gateway.data);
            let wish = "GET /slow/v1/x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
            further.write_all(wish.as_bytes()).expect("sent");
            assert_eq!(read_answer(&mut further, false).code(), "upstream_busy");
            let mut other = connect_as("127.0.0.2", gateway.data);
            other.write_all(wish.as_bytes()).expect("sent");
            let mut status = [0; 12];
            other.read_exact(&mut status).expect("an answer");
            assert_eq!(&status, b"HTTP/1.1 101", "another caller has none yet");
        }
        drop(held);
        until("its calls are given up", || {
            let status = gateway.admin_ok("GET", "/status", None, 200);
            status["counters"]["connections_open"] == 0
        });
    }
    gate.open();
}

#[test]
fn calls_over_one_connection_may_use_all_connections_of_a_target() {
    /// More than a worker would have, were they parted among the workers.
    const CALLS: usize = 40;
    let together = Arc::new(Barrier::new(CALLS));
    let backend = Backend::serving(move |stream, _| {
        together.wait();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_ok()
    });
    let gateway = Gateway::with(&format!("workers = 16\nlimits.upstream_connections = {CALLS}\n"));
    open_service(&gateway, &backend);
    let url = format!("http://{}/slow/v1/x", gateway.data);
    let calls = CALLS.to_string();
    let output = Command::new("h2load").args(["-n", &calls, "-c", "1", "-m", &calls, &url]).output();
    let said = String::from_utf8_lossy(&output.expect("h2load is installed").stdout).into_owned();
    assert!(said.contains(&format!("{CALLS} succeeded, 0 failed")), "{said}");
    assert_eq!(backend.connections(), CALLS);
}

#[test]
fn an_idle_connection_of_one_worker_makes_room_for_one_of_another() {
    let backend = Backend::echo();
    let settings = "workers = 4\nlimits.upstream_connections = 1\n\
                    [timeouts]\nupstream_keep_alive = \"1h\"\nupstream_queue_wait = \"20s\"\n";
    let gateway = Gateway::with(settings);
    open_service(&gateway, &backend);
    // Each over a connection that any worker may accept. One caller, who gets nothing beyond the bound.
    for _ in 0..40 {
        assert_eq!(gateway.call("GET", "/slow/v1/x", &[], b"").status, 200);
    }
    assert!(backend.connections() > 1, "more than one worker had it");
    // All at once, too.
    std::thread::scope(|scope| {
        let calls: Vec<_> = (0..40).map(|_| scope.spawn(|| gateway.call("GET", "/slow/v1/x", &[], b""))).collect();
        for call in calls {
            assert_eq!(call.join().expect("no panic").status, 200);
        }
    });
}

#[test]
fn a_body_that_comes_more_slowly_than_it_may_is_not_waited_for() {
    let backend = Backend::echo();
    let gateway = Gateway::with("[limits]\nbody_rate = 100\n[timeouts]\nbody_idle = \"1s\"\n");
    open_service(&gateway, &backend);
    // One byte now and then, never as rarely as the idle limit has it.
    let drip = |head: &str, byte: &str, most: usize| {
        let mut stream = connect(gateway.data);
        stream.write_all(format!("POST /slow/v1/x HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n").as_bytes()).expect("sent");
        let mut dripping = stream.try_clone().expect("a second handle");
        let byte = byte.to_owned();
        let drips = std::thread::spawn(move || {
            for _ in 0..most {
                if dripping.write_all(byte.as_bytes()).is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            let _ = dripping.write_all(b"0\r\n\r\n");
        });
        let answer = read_answer(&mut stream, false);
        drop(stream);
        drips.join().expect("no panic");
        answer
    };
    let refused = drip("Content-Length: 1000", "x", 1_000);
    assert_eq!((refused.status, refused.code().as_str()), (408, "request_timeout"), "{}", refused.text());
    // What has no length may be a stream that has little to say.
    let stream = drip("Transfer-Encoding: chunked", "1\r\nx\r\n", 30);
    assert_eq!(stream.status, 200, "{}", stream.text());
}
