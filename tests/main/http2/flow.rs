//! How answers and bodies pass on the streams of a connection: each at its own pace, and each with its own end.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use serde_json::{Value, json};

use super::super::support::{Backend, Scene, python};

/// One of the programs in `flow.py`, under way.
fn start(scene: &Scene, name: &str) -> Child {
    let script = concat!(include_str!("frames.py"), include_str!("flow.py"));
    let mut command = Command::new(python());
    command.args(["-c", script, name, &scene.gateway.data.to_string()]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts")
}

/// What it has seen.
fn end(program: Child) -> String {
    let output = program.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn run(scene: &Scene, name: &str) -> String {
    end(start(scene, name))
}

/// A service that answers as its path says.
fn service() -> Backend {
    Backend::answering(|request| {
        let whole = |head: &str, body: &[u8]| {
            [format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
        };
        match request.target.as_str() {
            "/large" => whole("200 OK", &[b'x'; 4_000_000]),
            "/nothing" => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
            "/unchanged" => b"HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n".to_vec(),
            "/chunked" => {
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nKeep-Alive: timeout=5\r\n\r\n2\r\nok\r\n0\r\n\r\n"
                    .to_vec()
            }
            "/trailers" => {
                let trailers = request.trailers.iter().map(|(name, value)| format!("{}={value}", name.to_lowercase()));
                let sum = trailers.collect::<Vec<_>>().join(",");
                let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n";
                format!("{head}2\r\nok\r\n0\r\nX-Sum: {sum}\r\n\r\n").into_bytes()
            }
            _ => whole("200 OK", b"ok"),
        }
    })
}

#[test]
fn an_answer_nobody_takes_is_reset_and_the_others_go_on() {
    let scene = Scene::open(service(), "timeouts.body_idle = \"1s\"");
    assert_eq!(run(&scene, "stalled"), "reset 8 after 65535");
    let record = scene.gateway.record("path=/orders/v1/large", |record| record["refusal"] == "answer_not_taken");
    assert_eq!((&record["status"], &record["bytes_out"]), (&json!(200), &json!(65_535)));
}

#[test]
fn what_a_service_breaks_off_ends_one_stream() {
    let backend = Backend::serving(|stream, request| {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
        let broken = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
        let is_broken = request.target == "/broken";
        write!(stream, "{}ok", if is_broken { broken } else { head }).is_ok() && !is_broken
    });
    let scene = Scene::open(backend, "");
    assert_eq!(run(&scene, "broken"), "reset 2, then 200");
    scene.gateway.record("path=/orders/v1/broken", |record| record["refusal"] == "upstream_broken");
}

#[test]
fn an_answer_before_its_requests_body_ends_the_body() {
    let scene = Scene::open(service(), "");
    assert_eq!(run(&scene, "early"), "HeadersFrame, DataFrame end, RstStreamFrame, 0");
}

#[test]
fn whoever_waits_for_a_go_ahead_gets_it_when_the_body_is_wanted() {
    let scene = Scene::open(service(), "");
    assert_eq!(run(&scene, "go_ahead"), "404, [(':status', '100')], 200");
    assert_eq!(scene.backend.received()[0].body, b"hello");
}

#[test]
fn a_body_that_has_come_whole_is_not_reset_and_one_without_end_without_fault() {
    let scene = Scene::open(service(), "");
    assert_eq!(run(&scene, "late_ends"), "all answered");
    assert_eq!(run(&scene, "no_end"), "reset 0");
}

#[test]
fn what_is_taken_back_at_once_reaches_nobody() {
    let scene = Scene::open(service(), "workers = 1");
    assert_eq!(run(&scene, "taken_back"), "200");
    // Whatever came before the last call has been recorded before it.
    scene.gateway.record("path=/orders/v1/small", |_| scene.gateway.logs("path=/orders/v1/small").len() == 2);
    assert_eq!(scene.gateway.logs("path=/orders/v1/taken-back"), Vec::<Value>::new());
    let targets: Vec<_> = scene.backend.received().into_iter().map(|request| request.target).collect();
    assert_eq!(targets, ["/small", "/small"]);
}

#[test]
fn trailers_pass_both_ways() {
    let scene = Scene::open(service(), "");
    assert_eq!(run(&scene, "trailers"), "200 [[('x-sum', 'x-in=7')]]");
}

#[test]
fn short_answers_have_their_length_and_end_with_their_last_byte() {
    let scene = Scene::open(service(), "");
    let shapes = [
        "200 length 2 2 bytes",
        "200 length 2",
        "204 length None",
        "304 length None",
        "200 length None 2 bytes 0 bytes",
    ];
    assert_eq!(run(&scene, "shapes"), shapes.join("; "));
}

#[test]
fn what_never_comes_again_is_not_remembered() {
    let scene = Scene::open(service(), "");
    assert_eq!(run(&scene, "remembered"), "date via");
}

#[test]
fn a_slow_service_slows_its_caller_down() {
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let backend = Backend::connected(move |stream| {
        wait.lock().expect("not poisoned").recv().expect("told to go on");
        let mut tail = [0; 5];
        let mut buffer = vec![0; 1 << 20];
        while tail != *b"0\r\n\r\n" {
            let length = stream.read(&mut buffer).expect("more");
            assert!(length > 0, "it breaks off");
            for byte in &buffer[length.saturating_sub(5)..length] {
                tail.rotate_left(1);
                tail[4] = *byte;
            }
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").expect("sent");
    });
    let scene = Scene::open(backend, "limits.body_bytes = 0");
    let before = scene.gateway.memory();
    let mut program = start(&scene, "slow_service");
    let mut said = BufReader::new(program.stdout.take().expect("its output"));
    let mut sent = String::new();
    said.read_line(&mut sent).expect("how much it may send");
    assert!(sent.trim().parse::<u64>().is_ok_and(|sent| sent < 32 << 20), "{sent}");
    let grown = scene.gateway.memory().saturating_sub(before);
    assert!(grown < 8 << 20, "grown by {grown} bytes");
    go_on.send(()).expect("heard");
    program.stdin.take().expect("its input").write_all(b"\n").expect("told");
    let mut answered = String::new();
    said.read_to_string(&mut answered).expect("the rest");
    assert_eq!((end(program), answered.trim()), (String::new(), "200"));
    scene.gateway.record("service=orders", |record| record["bytes_in"] == 64 << 20);
}

#[test]
fn a_call_ends_with_its_stream() {
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let backend = Backend::serving(move |stream, request| {
        if request.target == "/wait" {
            // Until the connection is closed, as nobody wants the answer any more.
            let closed = stream.read(&mut [0]).is_ok_and(|length| length == 0);
            assert!(closed, "nothing more comes");
            return false;
        }
        wait.lock().expect("not poisoned").recv().expect("told to go on");
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_ok()
    });
    let scene = Scene::open(backend, "");
    let mut program = start(&scene, "left");
    scene.backend.wait_for(1);
    program.stdin.take().expect("its input").write_all(b"\n").expect("told");
    scene.gateway.record("status=499", |record| record["refusal"] == "client_closed_request");
    go_on.send(()).expect("heard");
    assert_eq!(end(program), "200");
}

#[test]
fn a_websocket_ends_with_its_stream() {
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let backend = Backend::serving(move |stream, request| {
        if request.target == "/small" {
            return stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_ok();
        }
        let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n";
        stream.write_all(head.as_bytes()).expect("sent");
        // It says nothing and does not end its side: it is for the gateway to leave.
        let told = wait.lock().expect("not poisoned").recv();
        assert!(told.is_err(), "nobody tells it anything");
        false
    });
    let scene = Scene::open(backend, "");
    assert_eq!(run(&scene, "left_websockets"), "200");
    scene.gateway.record("path=/orders/v1/chat/299", |record| record["status"] == 101);
    drop(go_on);
}

#[test]
fn whoever_is_sent_away_is_told_which_calls_were_looked_at() {
    let scene = Scene::open(service(), "timeouts.keep_alive = \"1s\"");
    assert_eq!(run(&scene, "rested"), "[1]");
}
