//! Declarations as transactions, through the real binary: planned, complete or not at all, and without a dropped call.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::support::backend::Received;
use crate::support::client::{call, connect};
use crate::support::gateway::command;
use crate::support::scene::{announce, register, text};
use crate::support::{Answer, Backend, Gateway};

const TWELVE: &str = r"version: 1
servces: {}
services:
  orders/v1:
    targets: [{url: 'ftp://a'}]
    require: [[fingerprint]]
    policies: {teleport: {}}
  oauth/v1:
    targets: [{url: 'http://127.0.0.1:1'}]
routes:
  one:
    match: {path: {prefix: /a}, methods: [get]}
    service: orders/v1
  two:
    match: {path: {exact: b}}
    redirect: {to: /c, kept: 1}
  three:
    service: orders/v1
  four:
    match: {path: {pattern: '/{id'}}
    answer: {status: 200}
clients:
  shop:
    services: [a/b/c]
    secret: x
";

/// Puts declarations.
fn put(gateway: &Gateway, declared: &Value, headers: &[(&str, &str)]) -> Answer {
    let bearer = format!("Bearer {}", gateway.token);
    let own = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let body = declared.to_string();
    call(gateway.admin, "PUT", "/api/v1/declarations", &[&own[..], headers].concat(), body.as_bytes())
}

/// Runs a command of the binary against a gateway, with a text on stdin.
pub(crate) fn cli(gateway: &Gateway, arguments: &[&str], stdin: &str) -> Output {
    let admin = format!("http://{}", gateway.admin);
    let mut child = command(gateway.directory())
        .args(["--admin", &admin])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    // A command that does not read has ended already.
    let _ = child.stdin.take().expect("piped").write_all(stdin.as_bytes());
    child.wait_with_output().expect("ends")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn file(gateway: &Gateway, name: &str, text: &str) -> (PathBuf, String) {
    let path = gateway.directory().join(name);
    std::fs::write(&path, text).expect("written");
    let name = path.to_str().expect("UTF-8").to_owned();
    (path, name)
}

#[test]
fn twelve_mistakes_are_twelve_problems_and_nothing_changes() {
    let gateway = Gateway::start();
    let before = gateway.admin("GET", "/declarations", None);
    let (_, bad) = file(&gateway, "bad.yaml", TWELVE);
    let lines = |output: &Output| stderr(output).lines().filter(|line| line.starts_with("  line ")).count();
    for arguments in [&["apply", "-f", &bad][..], &["check", "-f", &bad]] {
        let refused = cli(&gateway, arguments, "");
        assert_eq!((refused.status.code(), lines(&refused)), (Some(1), 12), "{}", stderr(&refused));
        assert!(stderr(&refused).contains("line 7: services.orders/v1.policies.teleport: "), "{}", stderr(&refused));
    }
    let trouble = cli(&gateway, &["diff", "-f", &bad], "");
    assert_eq!((trouble.status.code(), lines(&trouble)), (Some(2), 12));
    let after = gateway.admin("GET", "/declarations", None);
    assert_eq!((after.json(), after.header("etag")), (before.json(), before.header("etag")));
}

#[test]
fn a_file_is_checked_compared_applied_and_exported() {
    let gateway = Gateway::start();
    let backend = Backend::echo();
    let declared = format!(
        "version: 1\nservices:\n  users/v1:\n    targets: [{{url: '{}'}}]\n    require: []\nroutes:\n  users:\n    \
         match: {{path: {{prefix: /api/users}}}}\n    service: users/v1\nclients:\n  shop: {{services: [users]}}\n",
        backend.url()
    );
    let (_, name) = file(&gateway, "gate.yaml", &declared);
    assert_eq!(cli(&gateway, &["check", "-f", &name], "").status.code(), Some(0));
    let diff = cli(&gateway, &["diff", "-f", &name], "");
    assert_eq!(diff.status.code(), Some(1), "{}", stderr(&diff));
    assert!(stdout(&diff).contains("+ route users") && stdout(&diff).contains("3 to add, 0 to change, 0 to remove"));
    let applied = cli(&gateway, &["apply", "-f", &name], "");
    assert_eq!(applied.status.code(), Some(0), "{}", stderr(&applied));
    assert_eq!(gateway.call("GET", "/api/users/7", &[], b"").json()["target"], "/api/users/7");
    assert_eq!(cli(&gateway, &["diff", "-f", &name], "").status.code(), Some(0));

    let tag = |gateway: &Gateway| gateway.admin("GET", "/declarations", None).header("etag").map(str::to_owned);
    let before = tag(&gateway);
    for form in ["yaml", "json"] {
        let exported = cli(&gateway, &["export", "-o", form], "");
        assert_eq!(exported.status.code(), Some(0), "{}", stderr(&exported));
        let again = cli(&gateway, &["--json", "apply", "-f", "-"], &stdout(&exported));
        assert_eq!(again.status.code(), Some(0), "{}", stderr(&again));
        let plan: Value = serde_json::from_str(&stdout(&again)).expect("JSON");
        assert_eq!(plan, json!({"steps": [], "policies": [], "unchanged": 4}), "the built-in client is one more");
        assert_eq!(tag(&gateway), before);
    }
    let listed = stdout(&cli(&gateway, &["route", "list"], ""));
    assert!(listed.contains("/users/v1/*") && listed.contains("/api/users/*"), "{listed}");
    let gone = cli(&gateway, &["route", "get", "nothing"], "");
    assert_eq!(gone.status.code(), Some(1));
    assert_eq!(cli(&gateway, &["check", "-f", "not-there"], "").status.code(), Some(2));
}

#[test]
fn nothing_of_another_operator_is_lost() {
    let gateway = Arc::new(Gateway::start());
    let answer = gateway.admin("GET", "/declarations", None);
    let stale = answer.header("etag").expect("a tag").to_owned();
    let operators: Vec<_> = (0..8)
        .map(|operator| {
            let gateway = Arc::clone(&gateway);
            thread::spawn(move || {
                for number in 0..10 {
                    let name = format!("s{operator}-{number}");
                    let body = json!({"targets": [{"url": "http://127.0.0.1:1"}], "require": []});
                    gateway.admin_ok("PUT", &format!("/services/{name}/v1"), Some(&body), 201);
                    let route =
                        json!({"match": {"path": {"exact": format!("/{name}")}}, "service": format!("{name}/v1")});
                    gateway.admin_ok("PUT", &format!("/routes/{name}"), Some(&route), 201);
                }
            })
        })
        .collect();
    let service = json!({"targets": [{"url": "http://127.0.0.1:2"}], "require": []});
    for number in 0..10 {
        let declared =
            json!({"version": 1, "services": {"file/v1": service, format!("file/v{}", number + 2): service}});
        assert_eq!(put(&gateway, &declared, &[]).status, 200);
    }
    operators.into_iter().for_each(|operator| operator.join().expect("fine"));
    let all = gateway.admin_ok("GET", "/declarations", None, 200);
    assert_eq!(all["routes"].as_object().expect("routes").len(), 80);
    let services = all["services"].as_object().expect("services");
    assert_eq!(services.len(), 82, "of the file's own, what it no longer declared is gone");
    assert!(services.contains_key("file/v1") && services.contains_key("file/v11"));
    let refused = put(&gateway, &json!({"version": 1}), &[("If-Match", &stale)]);
    assert_eq!((refused.status, refused.code().as_str()), (412, "precondition_failed"));
}

#[test]
fn a_registration_stays_with_its_service() {
    let gateway = Gateway::start();
    let backend = Backend::echo();
    let registered = register(&gateway, "orders", &backend.url());
    let route = json!({"match": {"path": {"prefix": "/o"}}, "service": "orders/v1", "require": [["api_key"]]});
    assert_eq!(put(&gateway, &json!({"version": 1, "routes": {"o": route}}), &[]).status, 200);
    let key = text(&registered, "api_key");
    assert_eq!(gateway.call("GET", "/o/x", &[("X-API-Key", &key)], b"").status, 200);
    assert_eq!(put(&gateway, &json!({"version": 1}), &[]).status, 200);
    assert_eq!(gateway.call("GET", "/o/x", &[("X-API-Key", &key)], b"").status, 404);
    let said = json!({"name": "orders", "base_url": backend.url()});
    assert_eq!(announce(&gateway, &text(&registered, "registration_key"), &said).status, 200);
    assert_eq!(gateway.admin_ok("GET", "/services/orders/v1", None, 200)["owner"], "registration");
}

#[test]
fn routes_redirect_answer_rewrite_and_name_the_host() {
    let gateway = Gateway::start();
    let backend = Backend::echo();
    let route = |matches: Value, more: Value| {
        let mut route = more;
        route["match"] = matches;
        route
    };
    let declared = json!({
        "version": 1,
        "services": {"users/v1": {"targets": [{"url": backend.url()}], "require": []}},
        "routes": {
            "users": route(json!({"path": {"prefix": "/api/users"}}), json!({"service": "users/v1", "strip": true, "host": "preserve"})),
            "one": route(json!({"path": {"pattern": "/api/users/{id}"}, "methods": ["PUT"]}), json!({"service": "users/v1", "rewrite": "/v2/{id}"})),
            "tenant": route(json!({"path": {"prefix": "/"}, "hosts": ["*.tenants.example"]}), json!({"service": "users/v1"})),
            "old": route(json!({"path": {"prefix": "/old"}}), json!({"redirect": {"to": "/api/{rest}"}})),
            "robots": route(json!({"path": {"exact": "/robots.txt"}}), json!({"answer": {"status": 200, "headers": {"Content-Type": "text/plain"}, "body": "none"}})),
        },
    });
    let done = put(&gateway, &declared, &[]);
    assert_eq!(done.status, 200, "{}", done.text());
    let target = |method: &str, target: &str, host: &str| {
        let answer = gateway.call(method, target, &[("Host", host)], b"");
        assert_eq!(answer.status, 200, "{method} {target}: {}", answer.text());
        (text(&answer.json(), "target"), backend.received().pop().expect("a request"))
    };
    let host = |request: &Received| request.header("host").map(str::to_owned);
    let (path, seen) = target("GET", "/api/users/7?a=1", "shop.example");
    assert_eq!((path.as_str(), host(&seen).as_deref()), ("/7?a=1", Some("shop.example")));
    let (path, seen) = target("PUT", "/api/users/7", "shop.example");
    assert_eq!((path.as_str(), host(&seen)), ("/v2/7", Some(backend.address.to_string())));
    assert_eq!(target("GET", "/any/thing", "a.tenants.example").0, "/any/thing");
    assert_eq!(gateway.call("GET", "/any/thing", &[("Host", "other.example")], b"").status, 404);
    let moved = gateway.call("GET", "/old/users/7?q", &[], b"");
    assert_eq!((moved.status, moved.header("location")), (308, Some("/api/users/7?q")));
    let robots = gateway.call("GET", "/robots.txt", &[], b"");
    assert_eq!(
        (robots.status, robots.text().as_str(), robots.header("content-type")),
        (200, "none", Some("text/plain"))
    );
}

#[test]
fn two_hundred_changes_under_load_fail_no_call() {
    // One chunk for each byte on this path, as the test lets it: an answer that is open all along.
    let (tick, ticks) = std::sync::mpsc::channel::<()>();
    let ticks = std::sync::Mutex::new(ticks);
    let backend = Backend::serving(move |stream, request| {
        if !request.target.starts_with("/stream") {
            return stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_ok();
        }
        let mut fine = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_ok();
        while fine && ticks.lock().expect("not poisoned").recv().is_ok() {
            fine = stream.write_all(b"1\r\n.\r\n").is_ok();
        }
        fine && stream.write_all(b"0\r\n\r\n").is_ok()
    });
    let gateway = Arc::new(Gateway::start());
    let service = |weight: usize| json!({"targets": [{"url": backend.url(), "weight": weight}], "require": []});
    let stable = json!({"match": {"path": {"prefix": "/stable"}}, "service": "load/v1", "strip": true});
    gateway.admin_ok("PUT", "/services/load/v1", Some(&service(1)), 201);
    gateway.admin_ok("PUT", "/routes/stable", Some(&stable), 201);

    let mut stream = connect(gateway.data);
    stream.write_all(b"GET /load/v1/stream HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
    let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load: Vec<_> = ["/load/v1/a", "/stable/b", "/load/v1/c"]
        .into_iter()
        .map(|target| {
            let (gateway, stop, calls) = (Arc::clone(&gateway), Arc::clone(&stop), Arc::clone(&calls));
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let answer = gateway.call("GET", target, &[], b"");
                    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"ok"[..]), "{target}");
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();

    let mut ticked = 0;
    for number in 0..200 {
        let (weight, name) = (number % 7 + 1, format!("n{}", number % 11));
        let (path, body) = match number % 5 {
            0 => ("/services/load/v1".to_owned(), service(weight)),
            1 => {
                let mut route = stable.clone();
                route["match"]["hosts"] =
                    if number % 2 == 0 { json!([]) } else { json!(["*.example", gateway.data.ip().to_string()]) };
                ("/routes/stable".to_owned(), route)
            }
            2 => (
                format!("/routes/{name}"),
                json!({"match": {"path": {"pattern": format!("/{name}/{{id}}")}}, "answer": {"status": 204}}),
            ),
            3 => (
                "/declarations".to_owned(),
                json!({"version": 1, "services": {format!("{name}/v1"): service(weight)}, "clients": {&name: {}}}),
            ),
            _ => (format!("/services/side-{name}/v1"), service(weight)),
        };
        let answer = gateway.admin("PUT", &path, Some(&body));
        assert!(matches!(answer.status, 200 | 201), "{path}: {}", answer.text());
        if number % 10 == 0 {
            tick.send(()).expect("the answer is open");
            ticked += 1;
        }
    }
    stop.store(true, Ordering::Relaxed);
    load.into_iter().for_each(|caller| caller.join().expect("not one failed call"));
    assert!(calls.load(Ordering::Relaxed) > 200, "{} calls", calls.load(Ordering::Relaxed));
    drop(tick);
    let mut answer = Vec::new();
    let mut buffer = [0; 4_096];
    while !answer.ends_with(b"0\r\n\r\n") {
        let length = stream.read(&mut buffer).expect("more");
        assert!(length > 0, "cut off: {:?}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&buffer[..length]);
    }
    let dots = String::from_utf8_lossy(&answer).matches("1\r\n.\r\n").count();
    assert_eq!(dots, ticked);
}

#[test]
fn no_call_meets_the_clients_of_one_state_with_the_routes_of_another() {
    let backend = Backend::echo();
    let gateway = Arc::new(Gateway::start());
    gateway.admin_ok("POST", "/clients", Some(&json!({"name": "c", "services": []})), 201);
    let key = text(&gateway.admin_ok("POST", "/clients/c/api-keys", None, 201), "api_key");
    let access = text(&gateway.admin_ok("GET", "/clients/c", None, 200), "access_key");
    // Neither state lets `c` call `shop`: in the one it has no grant, in the other a rule denies it. Both let it call
    // `/moved`, the one by one service and its grant, the other by another.
    let state = |number: usize| {
        let (odd, now) = (number % 2 == 1, ["one/v1", "two/v1"][number % 2]);
        let open = json!({"targets": [{"url": backend.url()}], "require": [["api_key"]]});
        let mut shop = open.clone();
        if odd {
            shop["policies"] = json!({"acl": {"rules": [{"clients": ["c"], "effect": "deny"}]}});
        }
        json!({
            "version": 1,
            "services": {"shop/v1": shop, "one/v1": open, "two/v1": open},
            "routes": {"moved": {"match": {"path": {"prefix": "/moved"}}, "service": now}},
            "clients": {"c": {"services": if odd { vec![now, "shop"] } else { vec![now] }, "access_key": access}},
        })
    };
    let apply = |number: usize| {
        let bearer = format!("Bearer {}", gateway.token);
        let fields = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        let body = state(number).to_string();
        let answer = call(gateway.admin, "PUT", "/api/v1/declarations?adopt=true", &fields, body.as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    apply(0);
    let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load: Vec<_> = [("/shop/v1/x", 403), ("/moved/x", 200), ("/shop/v1/x", 403), ("/moved/x", 200)]
        .into_iter()
        .map(|(target, status)| {
            let (gateway, key) = (Arc::clone(&gateway), key.clone());
            let (stop, calls) = (Arc::clone(&stop), Arc::clone(&calls));
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    // Not by the client of the tests, which compares with what is explained a moment later.
                    let mut stream = connect(gateway.data);
                    let head =
                        format!("GET {target} HTTP/1.1\r\nHost: a\r\nX-API-Key: {key}\r\nConnection: close\r\n\r\n");
                    stream.write_all(head.as_bytes()).expect("sent");
                    let mut answer = String::new();
                    stream.read_to_string(&mut answer).expect("answered");
                    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{target}: {answer}");
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for number in 1..200 {
        apply(number);
    }
    stop.store(true, Ordering::Relaxed);
    load.into_iter().for_each(|thread| thread.join().expect("every call as both states have it"));
    assert!(calls.load(Ordering::Relaxed) > 0);
}
