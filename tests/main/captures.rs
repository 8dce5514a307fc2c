//! Captured exchanges as an operator meets them: off until a declaration says otherwise, whole, and without secrets.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::gateway::command;
use crate::support::scene::{PASSWORD, until};
use crate::support::{Backend, Gateway, Scene};

/// Everything of both messages.
fn everything() -> Value {
    json!({"request": {"headers": true, "body": true}, "response": {"headers": true, "body": true}})
}

/// Declares `orders/v1` with what is captured of it.
fn capture(scene: &Scene, require: &Value, settings: &Value) {
    let targets = json!([{"url": scene.backend.url()}]);
    scene.declare(&json!({"targets": targets, "require": require, "policies": {"capture": settings}}));
}

fn open_with(backend: Backend, settings: &str, captured: &Value) -> Scene {
    let scene = Scene::before(backend, settings);
    capture(&scene, &json!([]), captured);
    scene
}

fn list(gateway: &Gateway) -> Vec<Value> {
    gateway.admin_ok("GET", "/captures", None, 200)["items"].as_array().expect("a list").clone()
}

/// The newest exchange.
fn newest(gateway: &Gateway) -> Value {
    let id = list(gateway).first().expect("an exchange")["request_id"].clone();
    gateway.admin_ok("GET", &format!("/captures/{}", id.as_str().expect("an id")), None, 200)
}

fn field<'a>(message: &'a Value, name: &str) -> Option<&'a str> {
    let fields = message["headers"].as_array().expect("fields");
    fields.iter().find(|field| field[0] == name).and_then(|field| field[1].as_str())
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

fn captured_files(gateway: &Gateway) -> Vec<PathBuf> {
    files(&gateway.directory().join("captures"))
}

/// Holds every file of the data directory against texts that must be in none.
fn assert_nowhere(gateway: &Gateway, secrets: &[&str]) {
    for path in files(gateway.directory()) {
        let bytes = std::fs::read(&path).unwrap_or_default();
        for secret in secrets {
            let found = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!found, "{secret} is in {}", path.display());
        }
    }
}

#[test]
fn nothing_is_captured_until_it_is_declared_and_nothing_after_it_is_taken_back() {
    let scene = Scene::open(Backend::echo(), "");
    assert_eq!(scene.gateway.call("GET", "/orders/v1/a", &[], b"").status, 200);
    capture(&scene, &json!([]), &json!({}));
    assert_eq!(scene.gateway.call("GET", "/orders/v1/a", &[], b"").status, 200);
    assert!(list(&scene.gateway).is_empty() && captured_files(&scene.gateway).is_empty());
    capture(&scene, &json!([]), &everything());
    assert_eq!(scene.gateway.call("GET", "/orders/v1/a", &[], b"").status, 200);
    assert_eq!((list(&scene.gateway).len(), captured_files(&scene.gateway).len()), (1, 1));
    scene.declare(&json!({"targets": [{"url": scene.backend.url()}], "require": []}));
    assert_eq!(scene.gateway.call("GET", "/orders/v1/a", &[], b"").status, 200);
    assert_eq!(list(&scene.gateway).len(), 1);
    let status = scene.gateway.admin_ok("GET", "/status", None, 200);
    assert_eq!(
        (&status["counters"]["captures_written"], &status["counters"]["captures_dropped"]),
        (&json!(1), &json!(0))
    );
    assert!(!scene.gateway.access_log().contains("X-Backend"));
}

#[test]
fn a_whole_exchange_is_shown_and_its_secrets_are_nowhere() {
    // It repeats what it was sent, in texts inside of JSON.
    let backend = Backend::answering(|request| {
        let body = String::from_utf8_lossy(&request.body);
        let told = json!({"method": request.method, "target": request.target, "body": body}).to_string();
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Backend: yes\r\nSet-Cookie: a=s3cret-9\r\n";
        format!("{head}Content-Length: {}\r\n\r\n{told}", told.len()).into_bytes()
    });
    let scene = Scene::before(backend, "");
    let mut settings = everything();
    settings["redact_fields"] = json!(["iban"]);
    settings["redact_headers"] = json!(["X-Internal"]);
    capture(&scene, &json!([["bearer", "api_key"]]), &settings);
    let query = "access_token=query-s3cret-1&page=2";
    let body = json!({"order": 7, "p\u{61}ssword": "body-s3cret-2", "list": [{"IBAN": "body-s3cret-3"}]});
    let body = body.to_string().replace("password", "p\\u0061ssword");
    let fields = [
        ("Content-Type", "application/json"),
        ("Cookie", "sid=cookie-s3cret-4"),
        ("Proxy-Authorization", "Basic proxy-s3cret-5"),
        ("X-Internal", "header-s3cret-6"),
        ("X-Trace", "seen"),
    ];
    let answer = scene.call("POST", &format!("/orders/v1/a?{query}"), &fields, body.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().contains("body-s3cret-2"), "the caller gets what the backend says");
    let found = newest(&scene.gateway);
    assert_eq!(found["request_id"], answer.header("x-request-id").expect("an id"));
    assert_eq!(
        (&found["method"], &found["path"], &found["status"]),
        (&json!("POST"), &json!("/orders/v1/a"), &json!(200))
    );
    assert_eq!((&found["service"], &found["route"]), (&json!("orders"), &json!("/orders/v1")));
    assert_eq!(found["query"], "access_token=[redacted]&page=2");
    let request = &found["request"];
    for name in ["authorization", "x-api-key", "cookie", "proxy-authorization", "x-internal"] {
        assert_eq!(field(request, name), Some("[redacted]"), "{name}: {request}");
    }
    assert_eq!((field(request, "x-trace"), field(request, "host").is_some()), (Some("seen"), true));
    assert_eq!(request["body"]["bytes"], body.len());
    let text = request["body"]["text"].as_str().expect("text");
    let read: Value = serde_json::from_str(text).expect("JSON");
    assert_eq!(read, json!({"order": 7, "password": "[redacted]", "list": [{"IBAN": "[redacted]"}]}));
    let response = &found["response"];
    assert_eq!(field(response, "x-backend"), Some("yes"));
    assert!(response["body"]["text"].as_str().expect("text").contains("\"method\":\"POST\""), "{response}");
    assert_eq!(response["body"]["complete"], true);

    let form = b"user=ada&password=form-s3cret-7&pin=form-s3cret-8";
    let fields = [("Content-Type", "application/x-www-form-urlencoded")];
    assert_eq!(scene.call("POST", "/orders/v1/a", &fields, form).status, 200);
    assert_eq!(newest(&scene.gateway)["request"]["body"]["text"], "user=ada&password=[redacted]&pin=[redacted]");
    scene.gateway.access_log();
    let (token, key) = (scene.token.as_str(), scene.api_key.as_str());
    assert_nowhere(&scene.gateway, &["s3cret-", token, key, PASSWORD]);
    // What is looked for would be found.
    let texts = captured_files(&scene.gateway).into_iter().map(|path| std::fs::read_to_string(path).expect("a file"));
    assert!(texts.into_iter().any(|text| text.contains("x-trace")));
}

#[test]
fn a_secret_at_the_cap_is_not_shown_in_part_either() {
    let scene = Scene::new();
    let body = format!("{{\"first\":\"{}\",\"password\":\"ZQXJZQXJZQXJ\",\"n\":1}}", "a".repeat(20));
    let from = body.find("\"password\"").expect("there");
    for cap in from..body.len() {
        let mut settings = everything();
        settings["body_bytes"] = json!(cap);
        capture(&scene, &json!([]), &settings);
        let answer =
            scene.gateway.call("POST", "/orders/v1/a", &[("Content-Type", "application/json")], body.as_bytes());
        assert_eq!(answer.status, 200);
        let found = newest(&scene.gateway);
        assert_eq!(found["request"]["body"]["truncated"], true);
        assert_eq!(found["request"]["body"]["bytes"], body.len());
    }
    assert_nowhere(&scene.gateway, &["ZQX"]);
}

#[test]
fn a_long_body_passes_unharmed_and_its_beginning_is_captured_to_the_byte() {
    const LENGTH: usize = 5 << 20;
    let text: String = (0..LENGTH / 8).map(|number| format!("{number:07} ")).collect();
    let sent = text.clone();
    let backend = Backend::answering(move |request| {
        let same = request.body == sent.as_bytes();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Same: {same}\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        let chunks = sent
            .as_bytes()
            .chunks(65_536)
            .flat_map(|chunk| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
        head.into_bytes().into_iter().chain(chunks).chain(*b"0\r\n\r\n").collect()
    });
    let mut settings = everything();
    settings["body_bytes"] = json!(1_001);
    settings["header_bytes"] = json!(64);
    let scene = open_with(backend, "", &settings);
    let fields = [("Content-Type", "text/plain"), ("X-Long", &"y".repeat(100) as &str)];
    for cap in [1_001, 512_000] {
        settings["body_bytes"] = json!(cap);
        capture(&scene, &json!([]), &settings);
        let answer = scene.gateway.call("POST", "/orders/v1/a", &fields, text.as_bytes());
        assert_eq!((answer.status, answer.header("x-same")), (200, Some("true")));
        assert!(answer.text() == text, "the answer is what the backend sent");
        let found = newest(&scene.gateway);
        for side in ["request", "response"] {
            let body = &found[side]["body"];
            assert_eq!(body["text"], text[..cap], "{side}");
            assert_eq!((&body["bytes"], &body["truncated"]), (&json!(LENGTH), &json!(true)), "{side}");
            assert_eq!((&body["complete"], &body["note"]), (&json!(true), &Value::Null), "{side}");
        }
        let lines = found["request"]["headers"].as_array().expect("fields");
        let bytes: usize = lines
            .iter()
            .map(|line| line[0].as_str().expect("a name").len() + line[1].as_str().expect("a value").len() + 4)
            .sum();
        assert!(bytes <= 64 && found["request"]["headers_truncated"] == true, "{lines:?}");
    }
}

#[test]
fn refusals_are_captured_with_what_the_caller_gets() {
    let scene = Scene::new();
    capture(&scene, &json!([["bearer", "api_key"]]), &everything());
    let answer = scene.gateway.call("GET", "/orders/v1/a", &[("Authorization", "Bearer wrong-s3cret")], b"");
    assert_eq!(answer.status, 401);
    let found = newest(&scene.gateway);
    assert_eq!(found["status"], 401);
    assert_eq!(field(&found["request"], "authorization"), Some("[redacted]"));
    let body: Value = serde_json::from_str(found["response"]["body"]["text"].as_str().expect("text")).expect("JSON");
    assert_eq!(body, answer.json());
    assert_nowhere(&scene.gateway, &["wrong-s3cret"]);
    // Only these, if that is what was said.
    let mut errors = everything();
    errors["only"] = json!("errors");
    capture(&scene, &json!([["bearer", "api_key"]]), &errors);
    assert_eq!(scene.call("GET", "/orders/v1/a", &[], b"").status, 200);
    assert_eq!(list(&scene.gateway).len(), 1);
    assert_eq!(scene.gateway.call("GET", "/orders/v1/a", &[], b"").status, 401);
    assert_eq!(list(&scene.gateway).len(), 2);
}

#[test]
fn what_cannot_be_redacted_is_not_kept() {
    let backend = Backend::answering(|_| {
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Type: application/json\r\nContent-Length: 8\r\n\r\ns3cretZ7"
            .to_vec()
    });
    let scene = open_with(backend, "", &everything());
    let multipart = b"--x\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\ns3cretZ8\r\n--x--\r\n";
    let fields = [("Content-Type", "multipart/form-data; boundary=x")];
    assert_eq!(scene.gateway.call("POST", "/orders/v1/a", &fields, multipart).body, b"s3cretZ7");
    let found = newest(&scene.gateway);
    for (side, length) in [("request", multipart.len()), ("response", 8)] {
        let body = &found[side]["body"];
        assert_eq!((&body["text"], &body["base64"], &body["bytes"]), (&Value::Null, &Value::Null, &json!(length)));
        assert!(body["note"].as_str().is_some_and(|note| note.contains("not kept")), "{body}");
    }
    assert_nowhere(&scene.gateway, &["s3cretZ"]);
    scene.gateway.call("POST", "/orders/v1/a", &[("Content-Type", "image/png")], b"\x89PNG\xff");
    assert_eq!(newest(&scene.gateway)["request"]["body"]["base64"], "iVBOR/8=");
}

#[test]
fn the_oldest_go_when_there_are_too_many_and_all_when_they_are_cleared() {
    let scene = open_with(Backend::echo(), "[captures]\nmax_bytes = '12KiB'", &everything());
    for number in 0..5 {
        assert_eq!(scene.gateway.call("GET", &format!("/orders/v1/{number}"), &[], b"").status, 200);
    }
    let paths: Vec<Value> = list(&scene.gateway).iter().map(|item| item["path"].clone()).collect();
    assert_eq!(paths, ["/orders/v1/4", "/orders/v1/3", "/orders/v1/2"]);
    assert_eq!(captured_files(&scene.gateway).len(), 3);
    newest(&scene.gateway);
    assert_eq!(scene.gateway.admin_ok("DELETE", "/captures", None, 200), json!({"cleared": 3}));
    assert!(list(&scene.gateway).is_empty() && captured_files(&scene.gateway).is_empty());
    let trail = scene.gateway.admin_ok("GET", "/audit?kind=capture", None, 200);
    let actions: Vec<&Value> =
        trail["items"].as_array().expect("entries").iter().map(|entry| &entry["action"]).collect();
    assert_eq!(actions, ["deleted", "read"]);
}

#[test]
fn files_are_their_owners_alone_and_outlive_a_kill() {
    let scene = open_with(Backend::echo(), "", &everything());
    let answer = scene.gateway.call("GET", "/orders/v1/a", &[], b"");
    let id = answer.header("x-request-id").expect("an id").to_owned();
    assert_eq!(list(&scene.gateway).len(), 1);
    let directory = scene.gateway.directory().join("captures");
    let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    let kept = captured_files(&scene.gateway);
    assert_eq!(kept.iter().map(|path| mode(path)).collect::<Vec<_>>(), [0o600]);
    let Scene { gateway, backend, .. } = scene;
    let directory = gateway.kill();
    let begun = directory.path().join("captures/00000000000000ff.new");
    std::fs::write(&begun, "{\"summary").expect("written");
    std::fs::write(directory.path().join("captures/00000000000000fe.capture"), "{\"time\":1").expect("written");
    let gateway = Gateway::restart(directory, "");
    assert_eq!(list(&gateway).iter().map(|item| item["request_id"].clone()).collect::<Vec<_>>(), [json!(id)]);
    assert_eq!(captured_files(&gateway).len(), 1);
    assert_eq!(gateway.call("GET", "/orders/v1/b", &[], b"").status, 200);
    assert_eq!(list(&gateway).len(), 2);
    drop(backend);
}

#[test]
fn a_caller_that_leaves_is_captured_without_an_answer() {
    use std::io::Write as _;
    let backend = Backend::connected(|stream| {
        let mut bytes = Vec::new();
        // Says nothing until the gateway has gone.
        let _ = std::io::Read::read_to_end(stream, &mut bytes);
    });
    let scene = open_with(backend, "", &everything());
    let mut caller = crate::support::client::connect(scene.gateway.data);
    caller.write_all(b"GET /orders/v1/gone HTTP/1.1\r\nHost: gate\r\n\r\n").expect("sent");
    until("the backend is asked", || scene.backend.connections() > 0);
    drop(caller);
    until("it is captured", || !list(&scene.gateway).is_empty());
    let found = newest(&scene.gateway);
    assert_eq!((&found["path"], &found["status"]), (&json!("/orders/v1/gone"), &Value::Null));
}

#[test]
fn mistakes_are_told_with_their_places() {
    let scene = Scene::new();
    let policies = json!({"capture": {"request": {"body": true}, "header_bytes": 51_201, "body_bytes": 512_001, "sample": 0,
        "redact_headers": ["a b"], "redact_fields": ["-"]}});
    let declared = json!({"targets": [{"url": scene.backend.url()}], "policies": policies});
    let answer = scene.gateway.admin("PUT", "/services/orders/v1", Some(&declared));
    assert_eq!(answer.status, 422, "{}", answer.text());
    let problems = answer.json();
    let mut paths: Vec<_> = problems["problems"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| it["path"].as_str().expect("a path"))
        .collect();
    paths.sort_unstable();
    let places = ["body_bytes", "header_bytes", "redact_fields[0]", "redact_headers[0]", "sample"];
    assert_eq!(paths, places.map(|place| format!("policies.capture.{place}")));
}

#[test]
fn the_command_line_lists_shows_and_clears() {
    let scene = open_with(Backend::echo(), "", &everything());
    let answer = scene.gateway.call("GET", "/orders/v1/a?token=s3cret", &[], b"");
    let id = answer.header("x-request-id").expect("an id");
    let run = |arguments: &[&str]| {
        let mut command = command(scene.gateway.directory());
        command.args(["--admin", &format!("http://{}", scene.gateway.admin), "captures"]).args(arguments);
        let output = command.output().expect("runs");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let listed = run(&["list", "--service", "orders"]);
    assert!(listed.contains(id) && listed.contains("/orders/v1/a"), "{listed}");
    assert!(!run(&["list", "--route", "another"]).contains(id));
    let shown = run(&["show", id]);
    assert!(shown.contains("GET /orders/v1/a?token=[redacted]\n") && shown.contains("\nx-backend: yes\n"), "{shown}");
    run(&["clear"]);
    assert!(list(&scene.gateway).is_empty());
}
