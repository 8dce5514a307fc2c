//! HTTP/2 from callers: real clients get what they get over HTTP/1.1, and hostile ones get nowhere.

mod flow;

use std::io::{Read, Write};
use std::process::{Command, Output};

use serde_json::{Value, json};

use super::support::client::connect;
use super::support::scene::until;
use super::support::{Backend, Scene, python};

/// curl, knowing that HTTP/2 is spoken.
fn curl(scene: &Scene, path: &str, options: &[&str]) -> Output {
    let mut curl = Command::new("curl");
    curl.args([
        "--silent",
        "--show-error",
        "--max-time",
        "30",
        "--noproxy",
        "*",
        "--http2-prior-knowledge",
        "--include",
    ]);
    let bearer = format!("Authorization: Bearer {}", scene.token);
    curl.args(["-H", &bearer, "-H", &format!("X-API-Key: {}", scene.api_key)]);
    curl.args(options).arg(format!("http://{}{path}", scene.gateway.data)).output().expect("curl is installed")
}

/// Status line and fields, and the body.
fn parted(output: &Output) -> (String, Vec<u8>) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let end = output.stdout.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    (String::from_utf8_lossy(&output.stdout[..end]).into_owned(), output.stdout[end..].to_vec())
}

/// One of the attacks in `http2/attacks.py`, and how it ended.
fn attack(scene: &Scene, name: &str) -> String {
    let script = concat!(include_str!("http2/frames.py"), include_str!("http2/attacks.py"));
    let output =
        Command::new(python()).args(["-c", script, name, &scene.gateway.data.to_string()]).output().expect("runs");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn curl_calls_over_http2_with_prior_knowledge() {
    let scene = Scene::new();
    let (head, body) = parted(&curl(&scene, "/orders/v1/7?x=1", &["-H", "X-Own: yes"]));
    assert!(head.starts_with("HTTP/2 200"), "{head}");
    let seen: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!((&seen["method"], &seen["target"]), (&json!("GET"), &json!("/7?x=1")));
    let request = scene.backend.received().pop().expect("a request");
    assert_eq!(request.header("x-own"), Some("yes"));
    assert_eq!(request.header("x-forwarded-host"), Some(scene.gateway.data.to_string().as_str()));
    assert!(request.header("via").is_some_and(|via| via.starts_with("2.0 ")), "{request:?}");
    assert!(request.header("x-user-json").is_some() && request.header("authorization").is_none());

    let (head, body) = parted(&curl(&scene, "/orders/v1/", &["-d", "hello=1"]));
    let seen: Value = serde_json::from_slice(&body).expect("JSON");
    assert!(head.starts_with("HTTP/2 200") && seen["body"] == "hello=1", "{head} {seen}");
    let (head, body) = parted(&curl(&scene, "/nobody/v1", &[]));
    let refusal: Value = serde_json::from_slice(&body).expect("JSON");
    assert!(head.starts_with("HTTP/2 404") && refusal["code"] == "no_route", "{head} {refusal}");
    assert!(!head.to_ascii_lowercase().contains("connection:"), "{head}");
    let (head, body) = parted(&curl(&scene, "/orders/v1/x", &["-I"]));
    assert!(head.starts_with("HTTP/2 200") && body.is_empty(), "{head}");
    scene.gateway.record("status=404", |record| record["refusal"] == "no_route");
}

#[test]
fn no_spelling_of_what_is_not_the_callers_comes_through_over_http2() {
    let scene = Scene::new();
    for separator in "!#$%&'*+.^_`|~-".chars() {
        let names = ["x-user-json", "x-app-id", "remote-user", "x-ssl-client-cert", "x-original-url", "client-ip"];
        let more = ["x-http-method-override", "content-length", "transfer-encoding", "x-forwarded-for", "x-request-id"];
        let own = |name: &&str| separator != '-' || !["content-length", "transfer-encoding"].contains(name);
        let fields = names.iter().chain(&more).filter(|name| own(name));
        let lines: Vec<_> = fields.map(|name| format!("{}: evil", name.replace('-', &separator.to_string()))).collect();
        let mut options: Vec<_> = lines.iter().flat_map(|line| ["-H", line.as_str()]).collect();
        options.extend(["-H", "proxy: evil", "-H", "traceparent: evil", "-H", "tracestate: evil"]);
        assert!(parted(&curl(&scene, "/orders/v1/", &options)).0.starts_with("HTTP/2 200"), "{separator}");
        let seen = scene.backend.received().pop().expect("a request");
        for (name, value) in &seen.headers {
            assert!(!value.contains("evil"), "{separator}: {name}: {value}");
        }
    }
}

#[test]
fn a_request_that_could_not_be_read_is_not_the_last_of_a_connection_in_http2() {
    assert_eq!(attack(&Scene::new(), "unreadable"), "400 400 414 200");
}

#[test]
fn a_value_with_white_space_around_it_is_no_value() {
    let scene = Scene::open(Backend::echo(), "");
    assert_eq!(attack(&scene, "padded"), "['400'] ['200']");
    assert!(scene.backend.received().iter().all(|request| request.headers.iter().all(|(_, value)| !value.is_empty())));
}

#[test]
fn crumbs_of_cookies_are_one_field_for_the_service() {
    let scene = Scene::new();
    let options = ["-H", "Cookie: a=1", "-H", "cookie: b=2"];
    assert!(parted(&curl(&scene, "/orders/v1/", &options)).0.starts_with("HTTP/2 200"));
    assert_eq!(scene.backend.received()[0].all("cookie"), ["a=1; b=2"]);
}

#[test]
fn bodies_pass_whole_in_both_directions() {
    let scene = Scene::before(
        Backend::answering(|request| {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.body.len());
            [head.as_bytes(), &request.body].concat()
        }),
        "",
    );
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("body");
    let bytes: Vec<u8> = (0..5_000_000_u32).map(|number| (number % 253) as u8).collect();
    std::fs::write(&file, &bytes).expect("written");
    let (head, body) = parted(&curl(&scene, "/orders/v1/", &["--data-binary", &format!("@{}", file.display())]));
    assert!(head.contains("HTTP/2 200"), "{head}");
    assert!(body == bytes, "{} bytes came back", body.len());
    scene
        .gateway
        .record("service=orders", |record| record["bytes_in"] == 5_000_000 && record["bytes_out"] == 5_000_000);
}

#[test]
fn many_calls_share_a_connection() {
    let scene = Scene::open(Backend::echo(), "");
    let output = Command::new("h2load")
        .args(["-n", "2000", "-c", "4", "-m", "64", &format!("http://{}/orders/v1/", scene.gateway.data)])
        .output()
        .expect("h2load is installed");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("2000 succeeded, 0 failed, 0 errored, 0 timeout"), "{said}");
    let output = Command::new("nghttp")
        .args(["-nv", &format!("http://{}/orders/v1/", scene.gateway.data)])
        .output()
        .expect("nghttp is installed");
    assert!(String::from_utf8_lossy(&output.stdout).contains(":status: 200"), "{output:?}");
}

#[test]
fn http1_is_still_spoken_whatever_a_request_begins_with() {
    let scene = Scene::open(Backend::echo(), "");
    for method in ["POST", "PUT", "PATCH", "PROPFIND", "PRI"] {
        let answer = scene.gateway.call(method, "/orders/v1/", &[("Content-Length", "0")], b"");
        assert_eq!(answer.status, 200, "{method}");
    }
    // In pieces, as slow networks bring it.
    let mut stream = connect(scene.gateway.data);
    for piece in ["P", "R", "OPPATCH", " /orders/v1/ HTTP/1.1\r\nHost: a\r\n", "Connection: close\r\n\r\n"] {
        stream.write_all(piece.as_bytes()).expect("sent");
        stream.flush().expect("sent");
        std::thread::yield_now();
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

#[test]
fn a_websocket_passes_on_a_stream() {
    let backend = Backend::serving(|stream, request| {
        assert_eq!(request.header("upgrade"), Some("websocket"));
        assert!(request.header("sec-websocket-key").is_some_and(|key| key.len() == 24));
        let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n";
        stream.write_all(head.as_bytes()).expect("sent");
        let mut buffer = [0; 1_024];
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            if stream.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        false
    });
    let scene = Scene::before(backend, "");
    let output = Command::new(python())
        .args(["-c", include_str!("http2/websocket.py"), &scene.gateway.data.to_string(), &scene.token, &scene.api_key])
        .output()
        .expect("runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    scene.gateway.record("status=101", |record| record["bytes_in"] == 11 && record["bytes_out"] == 11);
}

#[test]
fn a_service_that_does_not_switch_is_no_websocket() {
    let scene = Scene::before(Backend::echo(), "");
    let output = Command::new(python())
        .args(["-c", include_str!("http2/websocket.py"), &scene.gateway.data.to_string(), &scene.token, &scene.api_key])
        .output()
        .expect("runs");
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("':status': '502'"), "{output:?}");
    scene.gateway.record("status=502", |record| record["refusal"] == "upstream_broken");
}

#[test]
fn a_stop_finishes_what_is_under_way() {
    let backend = Backend::answering(|_| {
        std::thread::sleep(std::time::Duration::from_millis(3));
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()
    });
    let mut scene = Scene::open(backend, "timeouts.drain_delay = \"500ms\"");
    let script = include_str!("http2/until_goaway.py");
    let load = Command::new(python())
        .args(["-c", script, &scene.gateway.data.to_string()])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("starts");
    scene.backend.wait_for(200);
    scene.gateway.signal("TERM");
    assert!(scene.gateway.wait().success());
    let output = load.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.starts_with("all answered"), "{said}");
}

#[test]
fn floods_end_the_connection_and_nobody_else_notices() {
    let scene = Scene::open(Backend::echo(), "");
    let before = scene.gateway.memory();
    std::thread::scope(|scope| {
        let attacks = ["rapid_reset", "made_you_reset", "continuation_flood", "empty_continuations"];
        let running: Vec<_> = attacks.map(|name| (name, scope.spawn(|| attack(&scene, name)))).into_iter().collect();
        for _ in 0..100 {
            assert_eq!(scene.gateway.call("GET", "/orders/v1/", &[], b"").status, 200);
        }
        for (name, ended) in running {
            let ended = ended.join().expect("no panic");
            assert!(ended.starts_with("goaway") || ended == "closed", "{name}: {ended}");
        }
    });
    for name in ["settings_flood", "ping_flood", "pong_flood", "empty_data_flood"] {
        attack(&scene, name);
        assert_eq!(scene.gateway.call("GET", "/orders/v1/", &[], b"").status, 200, "{name}");
    }
    let grown = scene.gateway.memory().saturating_sub(before);
    assert!(grown < 32 << 20, "grown by {grown} bytes");
    let said = scene.gateway.stderr();
    assert!(!said.contains("PING"), "a line for each frame: {} bytes", said.len());
}

#[test]
fn a_header_block_that_grows_is_refused() {
    let scene = Scene::open(Backend::echo(), "");
    let before = scene.gateway.memory();
    let ended = attack(&scene, "hpack_bomb");
    assert!(["RstStreamFrame", "HeadersFrame", "GoAwayFrame"].contains(&ended.as_str()), "{ended}");
    assert!(scene.backend.received().is_empty());
    assert!(scene.gateway.memory().saturating_sub(before) < 16 << 20);
}

#[test]
fn a_few_bytes_do_not_become_many_for_the_service_or_the_log() {
    for kind in ["repeated", "crumbs", "once", "path", "static", "acknowledged", "trailers"] {
        let scene = Scene::open(Backend::echo(), "");
        let said = attack(&scene, &format!("expansion_{kind}"));
        let (sent, ended) = said.split_once(' ').expect("how much and how");
        let sent: usize = sent.parse().expect("a number");
        let calls = scene.backend.received().len();
        // What the gateway itself tells a service of each call comes on top.
        let most = (64 << 10) + 8 * sent + calls * 700;
        let reached: usize = scene.backend.wire().iter().map(|wire| wire.bytes.len()).sum();
        assert!(reached <= most, "{kind}: {sent} bytes became {reached} for the service");
        let logged = scene.gateway.access_log().len();
        assert!(logged <= most, "{kind}: {sent} bytes became {logged} in the log");
        assert!(kind == "static" || ended == "closed", "{kind}: {said}");
        assert_eq!(scene.gateway.call("GET", "/orders/v1/", &[], b"").status, 200, "{kind}");
    }
}

#[test]
fn long_paths_are_cut_in_the_log_and_said_to_be() {
    let scene = Scene::open(Backend::echo(), "");
    let path = format!("/orders/v1/{}", "long/".repeat(3_000));
    assert_eq!(scene.gateway.call("GET", &path, &[], b"").status, 200);
    let request = scene.backend.received().pop().expect("a request");
    assert!(request.target.len() > 14_000, "the service sees all of it");
    let record = scene.gateway.record("path=/orders/v1/long", |record| record["status"] == 200);
    assert_eq!((record["path"].as_str(), &record["cut"]), (Some(&path[..1_024]), &json!(["path"])));
    for (method, target) in [("X".repeat(4_000), "/orders/v1/".to_owned()), ("GET".into(), format!("/%00{path}"))] {
        scene.gateway.call(&method, &target, &[], b"");
    }
    let log = scene.gateway.access_log();
    assert!(log.lines().all(|line| line.len() < 3_000) && log.matches("\"cut\":[\"method\"]").count() == 1, "{log}");
    assert_eq!(log.matches("\"cut\":[\"path\"]").count(), 2, "{log}");
}

#[test]
fn streams_at_once_are_bounded() {
    let scene = Scene::open(Backend::echo(), "");
    let ended = attack(&scene, "too_many_streams");
    assert!(ended == "refused 272" || ended.starts_with("goaway"), "{ended}");
}

#[test]
fn a_caller_that_takes_nothing_does_not_hold_answers_for_ever() {
    let backend = Backend::answering(|_| {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 4000000\r\n\r\n";
        [head.as_bytes(), &[b'x'; 4_000_000]].concat()
    });
    let scene = Scene::open(backend, "timeouts.body_idle = \"2s\"");
    let before = scene.gateway.memory();
    for path in ["zero_window", "zero_window_of_refusals"] {
        assert_eq!(attack(&scene, path), "open", "{path}");
    }
    assert!(scene.gateway.memory().saturating_sub(before) < 64 << 20);
    assert_eq!(scene.gateway.call("GET", "/orders/v1/", &[], b"").status, 200);
}

#[test]
fn what_is_no_request_never_reaches_the_service() {
    let scene = Scene::open(Backend::echo(), "");
    assert_eq!(attack(&scene, "malformed"), "refused all");
    assert!(scene.backend.received().is_empty(), "{:?}", scene.backend.received());
    assert_eq!(attack(&scene, "wrong_length"), "refused all");
    let whole = |wire: &super::support::backend::Wire| wire.ended;
    until("what was begun is broken off", || scene.backend.wire().iter().all(whole));
    assert!(scene.backend.received().is_empty(), "no body of a wrong length passes for whole");
}
