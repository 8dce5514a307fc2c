//! Time limits that a service or route declares in place of the node's, and what the record says when one is reached.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use socket2::Socket;

use super::support::client::{connect, read_to_close};
use super::support::{Backend, Scene};

/// A backend that waits before the head of its answer (`/late`), or in the middle of its body (`/pause`), for 3 s, or that
/// switches protocols and says something after 3 s (`/switch`).
fn slow() -> Backend {
    Backend::serving(|stream, request| {
        let wait = Duration::from_secs(3);
        match request.target.split('?').next() {
            Some("/late") => {
                quiet(stream, wait);
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_ok()
            }
            Some("/switch") => {
                let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
                stream.write_all(head.as_bytes()).expect("sent");
                quiet(stream, wait);
                let _ = stream.write_all(b"late");
                false
            }
            _ => {
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
                stream.write_all(head.as_bytes()).expect("sent");
                stream.write_all(b"1\r\na\r\n").expect("sent");
                quiet(stream, wait);
                stream.write_all(b"1\r\nb\r\n0\r\n\r\n").is_ok()
            }
        }
    })
}

/// Waits, unless the gateway goes before.
fn quiet(stream: &mut TcpStream, wait: Duration) {
    stream.set_read_timeout(Some(wait)).expect("a time");
    let _ = stream.read(&mut [0]);
    stream.set_read_timeout(None).expect("no time");
}

/// Declares the service with time limits, and a route to it with others.
fn declare(scene: &Scene, service: &Value, route: &Value) {
    scene.declare(&json!({
        "targets": [{"url": scene.backend.url()}], "require": [], "traffic": {"timeouts": service},
    }));
    let route = json!({
        "match": {"path": {"prefix": "/by-route"}}, "service": "orders/v1", "strip": true, "traffic": {"timeouts": route},
    });
    let answer = scene.gateway.admin("PUT", "/routes/own", Some(&route));
    assert!(matches!(answer.status, 200 | 201), "{}", answer.text());
}

/// All that comes of a call, with the status it begins with.
fn all_of(scene: &Scene, target: &str) -> (u16, String) {
    let mut stream = connect(scene.gateway.data);
    let switch = if target.ends_with("/switch") {
        "Connection: Upgrade\r\nUpgrade: websocket\r\n"
    } else {
        "Connection: close\r\n"
    };
    stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: a\r\n{switch}\r\n").as_bytes()).expect("sent");
    let text = String::from_utf8(read_to_close(&mut stream)).expect("text");
    (text[9..12].parse().expect("a status"), text)
}

/// What the file says of the last call to a path: its refusal, and why. What the API says is the same.
fn told(scene: &Scene, path: &str) -> (Value, Value) {
    let found = |line: &Value| line["path"] == path;
    let record = scene.gateway.record(&format!("path={path}"), found);
    let log = scene.gateway.access_log();
    let mut lines = log.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let line = lines.rfind(found).expect("a line");
    let reason = line["reason"].as_str().unwrap_or_default();
    if reason.starts_with("time limit reached: ") && record["request_id"] == line["request_id"] {
        assert_eq!(
            record["limit"].as_str().map(|limit| format!("time limit reached: {limit}")).as_deref(),
            Some(reason)
        );
        assert_eq!(record["limit"], line["limit"]);
    }
    (line["refusal"].clone(), line["reason"].clone())
}

const SHORT: &str = "[timeouts]\nupstream_first_byte = \"1s\"\nbody_idle = \"1s\"\ntunnel_idle = \"1s\"\n";

#[test]
fn what_is_declared_is_in_place_of_the_nodes_limit_also_where_it_is_greater() {
    let scene = Scene::open(slow(), SHORT);
    declare(&scene, &json!({"first_byte": "20s", "idle": "20s"}), &json!({}));
    for prefix in ["/orders/v1", "/by-route"] {
        let (status, text) = all_of(&scene, &format!("{prefix}/late"));
        assert!(status == 200 && text.ends_with("ok"), "{text}");
        let (status, text) = all_of(&scene, &format!("{prefix}/pause"));
        assert!(status == 200 && text.ends_with("1\r\nb\r\n0\r\n\r\n"), "{text}");
        let (status, text) = all_of(&scene, &format!("{prefix}/switch"));
        assert!(status == 101 && text.ends_with("late"), "{text}");
    }
}

#[test]
fn a_record_says_which_limit_was_reached_and_whose_it_was() {
    let scene = Scene::open(slow(), SHORT);
    let both = json!({"first_byte": "300ms", "idle": "300ms"});
    for (service, route, path, whose) in [
        (json!({}), json!({}), "/orders/v1", "node"),
        (both.clone(), json!({}), "/orders/v1", "service"),
        (json!({"first_byte": "20s", "idle": "20s"}), both, "/by-route", "route"),
    ] {
        declare(&scene, &service, &route);
        for (target, which, status) in [("late", "first_byte", 504), ("pause", "idle", 200), ("switch", "idle", 101)] {
            let path = format!("{path}/{target}");
            let (found, text) = all_of(&scene, &path);
            assert_eq!(found, status, "{path} {whose}");
            assert!(
                ["ok", "b\r\n0\r\n\r\n", "late"].iter().all(|late| !text.ends_with(late)),
                "{path} {whose}: {text}"
            );
            let reason = format!("time limit reached: {which} of the {whose}");
            let deadline = Instant::now() + Duration::from_secs(5);
            while told(&scene, &path) != (json!("upstream_timeout"), json!(reason)) {
                assert!(Instant::now() < deadline, "{path}: {:?}, not {reason}", told(&scene, &path));
            }
        }
    }
}

#[test]
fn a_whole_call_ends_in_time_wherever_it_is() {
    let scene = Scene::open(slow(), "");
    declare(&scene, &json!({"call": "20s"}), &json!({"call": "500ms"}));
    assert!(all_of(&scene, "/orders/v1/pause").1.ends_with("0\r\n\r\n"));
    let (status, text) = all_of(&scene, "/by-route/late");
    assert!(status == 504 && text.contains("upstream_timeout"), "{text}");
    let (status, text) = all_of(&scene, "/by-route/pause");
    assert!(status == 200 && text.ends_with("1\r\na\r\n"), "{text}");
    let (status, text) = all_of(&scene, "/by-route/switch");
    assert!(status == 101 && text.ends_with("late"), "a tunnel goes on: {text}");
    for path in ["/by-route/late", "/by-route/pause"] {
        let reason = "time limit reached: call of the route";
        assert_eq!(told(&scene, path), (json!("upstream_timeout"), json!(reason)), "{path}");
    }
}

/// An address that takes no connection, and says nothing, for as long as what comes with it is held: its queue is full.
fn deaf() -> (SocketAddr, Socket, Vec<TcpStream>) {
    let listener = Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    listener.bind(&"127.0.0.1:0".parse::<SocketAddr>().expect("an address").into()).expect("bound");
    listener.listen(0).expect("listening");
    let address = listener.local_addr().expect("an address").as_socket().expect("of IP");
    let filling = (0..8).map_while(|_| TcpStream::connect_timeout(&address, Duration::from_millis(300)).ok());
    let filling = filling.collect();
    (address, listener, filling)
}

#[test]
fn a_call_does_not_fail_by_the_limit_of_another_service_that_connects_for_both() {
    let scene = Scene::open(Backend::echo(), "workers = 1\ntimeouts.connect = \"2s\"");
    let (address, _listener, _filling) = deaf();
    let service = |traffic: &Value| json!({"targets": [{"url": format!("http://{address}")}], "require": [], "protocol": "h2c", "traffic": traffic});
    let short = service(&json!({"timeouts": {"connect": "300ms"}}));
    scene.gateway.admin_ok("PUT", "/services/hasty/v1", Some(&short), 201);
    scene.declare(&service(&json!({})));
    std::thread::scope(|scope| {
        let hasty: Vec<_> = (0..3).map(|_| scope.spawn(|| all_of(&scene, "/hasty/v1/x").0)).collect();
        assert_eq!(all_of(&scene, "/orders/v1/x").0, 502);
        assert!(hasty.into_iter().all(|call| matches!(call.join().expect("no panic"), 502 | 503)));
    });
    let (_, reason) = told(&scene, "/orders/v1/x");
    assert!(reason.as_str().is_some_and(|text| text.ends_with("time limit reached: connect of the node")), "{reason}");
}

#[test]
fn a_target_that_cannot_be_connected_to_in_time_is_told_with_whose_limit_it_was() {
    let scene = Scene::open(Backend::echo(), "");
    let (address, _listener, _filling) = deaf();
    scene.declare(&json!({
        "targets": [{"url": format!("http://{address}")}], "require": [], "traffic": {"timeouts": {"connect": "300ms"}},
    }));
    assert_eq!(all_of(&scene, "/orders/v1/x").0, 502);
    let (refusal, reason) = told(&scene, "/orders/v1/x");
    assert_eq!(refusal, "upstream_unreachable");
    assert!(
        reason.as_str().is_some_and(|text| text.ends_with("time limit reached: connect of the service")),
        "{reason}"
    );
}

#[test]
fn every_problem_of_traffic_settings_is_told_with_its_path() {
    let scene = Scene::open(Backend::echo(), "");
    let traffic = json!({"timeouts": {"connect": 0, "idle": "2d", "wait": 1}, "teleport": {}});
    let service = json!({"targets": [{"url": scene.backend.url()}], "traffic": traffic});
    let route = json!({"match": {"path": {"prefix": "/x"}}, "service": "orders/v1", "traffic": traffic});
    let answering = json!({"match": {"path": {"prefix": "/x"}}, "answer": {"status": 204}, "traffic": traffic});
    let all = ["traffic.teleport", "traffic.timeouts.connect", "traffic.timeouts.idle", "traffic.timeouts.wait"];
    for (path, body, expected) in [
        ("/services/orders/v1", service, &all[..]),
        ("/routes/x", route, &all[..]),
        ("/routes/x", answering, &["traffic"][..]),
    ] {
        let answer = scene.gateway.admin("PUT", path, Some(&body));
        assert_eq!(answer.status, 422, "{}", answer.text());
        let problems = answer.json()["problems"].as_array().expect("problems").clone();
        let paths: Vec<_> = problems.iter().map(|problem| problem["path"].as_str().expect("a path")).collect();
        assert_eq!(paths, expected, "{path}");
    }
}
