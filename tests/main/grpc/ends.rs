//! How calls end: refused, out of time, called off, sent away.

use super::*;

#[test]
fn refusals_are_told_as_grpc_tells_them() {
    let (scene, service) = scene("", &json!({}));
    run(&scene, "refusals", &[]);
    assert_eq!(service.lines().len(), 1, "{:?}", service.lines());
    let record = scene.gateway.record("status=401", |record| record["path"] == "/demo.v1.Echo/Unary");
    assert_eq!(record["grpc_status"], 16, "{record}");
    scene.gateway.record("status=404", |record| record["grpc_status"] == 12 && record["refusal"] == "no_route");

    let rules = json!({"acl": {"rules": [{"path": "/Unary", "effect": "deny"}]}});
    let declared = json!({"match": {"path": {"prefix": "/demo.v1.Echo"}}, "service": "orders/v1", "policies": rules});
    let answer = scene.gateway.admin("PUT", "/routes/echo", Some(&declared));
    assert_eq!(answer.status, 200, "{}", answer.text());
    run(&scene, "forbidden", &[]);
}

#[test]
fn a_limit_that_is_used_up_is_told() {
    let (scene, _service) = open("", &json!({"rate_limit": {"rate": 1, "per": "1h"}}));
    run(&scene, "limited", &[]);
    scene.gateway.record("status=429", |record| record["grpc_status"] == 8);
}

#[test]
fn a_service_that_is_not_there_is_unavailable() {
    let (scene, service) = scene("", &json!({}));
    drop(service);
    run(&scene, "unavailable", &[]);
    scene.gateway.record("status=502", |record| record["grpc_status"] == 14);
}

#[test]
fn a_deadline_is_told_to_the_service_and_kept() {
    let (scene, service) = scene("", &json!({}));
    run(&scene, "deadline", &[]);
    let left: f64 = service.notices("waits").split(' ').nth(1).expect("a time").parse().expect("a time");
    assert!(left > 0.0 && left <= 3.0, "{left}");
    assert_eq!(service.notices("gone"), "gone False");
}

#[test]
fn what_the_caller_calls_off_is_called_off_at_the_service() {
    let (scene, service) = scene("", &json!({}));
    let mut cancelling = calls(&scene, "cancel", &[]).spawn().expect("starts");
    assert_eq!(service.notices("waits"), "waits for ever");
    go_on(&mut cancelling);
    finish(cancelling);
    service.notices("gone");
    service.notices("unwatched");
    scene.gateway.record("path=/demo.v1.Echo/Watch", |record| record["refusal"] == "client_closed_request");
}

/// Takes something back while a call streams to its caller, and another from its caller.
#[track_caller]
fn sent_away(take_back: impl Fn(&Scene)) {
    let (scene, service) = scene("", &json!({}));
    let mut watching = calls(&scene, "revoked", &[]).spawn().expect("starts");
    let sending = calls(&scene, "revoked_upload", &[]).spawn().expect("starts");
    says(&mut watching, "watching");
    assert_eq!(service.notices("uploaded"), "uploaded first");
    take_back(&scene);
    finish(watching);
    finish(sending);
    service.notices("unwatched");
    service.notices("unloaded");
    for method in ["Watch", "Upload"] {
        let cut = |record: &Value| record["refusal"] == "revoked" && record["grpc_status"] == 16;
        scene.gateway.record(&format!("path=/demo.v1.Echo/{method}"), cut);
    }
}

#[test]
fn whoever_is_sent_away_is_told_so_whatever_was_taken_back() {
    sent_away(|scene| {
        let answer = scene.gateway.post("/-/token/revoke", &[], &json!({"refresh_token": scene.refresh_token}));
        assert_eq!(answer.status, 204);
    });
    sent_away(|scene| drop(scene.gateway.admin_ok("DELETE", "/users/ada", None, 204)));
    sent_away(|scene| {
        let keys = scene.gateway.admin_ok("GET", "/clients/shop/api-keys", None, 200);
        let id = keys["items"][0]["id"].as_str().expect("an id").to_owned();
        scene.gateway.admin_ok("DELETE", &format!("/clients/shop/api-keys/{id}"), None, 204);
    });
    sent_away(|scene| {
        let off = json!({"services": ["orders/v1"], "enabled": false});
        scene.gateway.admin_ok("PUT", "/clients/shop", Some(&off), 200);
    });
}

#[test]
fn a_service_that_breaks_off_is_told_in_trailers() {
    let (scene, service) = scene("", &json!({}));
    let mut watching = calls(&scene, "broken", &[]).spawn().expect("starts");
    says(&mut watching, "watching");
    drop(service);
    finish(watching);
    scene.gateway.record("path=/demo.v1.Echo/Watch", |record| {
        record["refusal"] == "upstream_broken" && record["grpc_status"] == 14
    });
}

/// What a client is told that has no clock of its own: head and trailers, line by line. It sends a message or none: curl
/// fails by itself where it is refused before its body has gone.
fn told(scene: &Scene, method: &str, timeout: &str, has_message: bool) -> Vec<String> {
    let directory = tempfile::tempdir().expect("a directory");
    let (message, fields) = (directory.path().join("message"), directory.path().join("fields"));
    std::fs::write(&message, [0; 5]).expect("written");
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "30", "--noproxy", "*", "--http2-prior-knowledge"])
        .args(["-H", "Content-Type: application/grpc", "-H", "TE: trailers", "-H"])
        .arg(format!("grpc-timeout: {timeout}"))
        .args(["--output", "/dev/null", "--request", "POST"])
        .args(
            has_message.then(|| ["--data-binary".to_owned(), format!("@{}", message.display())]).into_iter().flatten(),
        )
        .arg("--dump-header")
        .arg(&fields)
        .arg(format!("http://{}/demo.v1.Echo/{method}", scene.gateway.data))
        .output()
        .expect("curl is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told = std::fs::read_to_string(&fields).expect("fields");
    told.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

#[test]
fn a_deadline_is_kept_for_clients_that_do_not_look_at_the_time() {
    let (scene, service) = open("", &json!({}));
    let said = |told: &[String], line: &str| told.iter().position(|it| it.starts_with(line));
    let before = told(&scene, "Wait", "3S", true);
    assert_eq!(before[0], "HTTP/2 200", "{before:?}");
    for line in ["content-type: application/grpc", "grpc-status: 4", "x-portcullis-code: deadline_exceeded"] {
        assert!(said(&before, line).is_some(), "{line} in {before:?}");
    }
    assert_eq!(service.notices("gone"), "gone False");
    let record = scene.gateway.record("path=/demo.v1.Echo/Wait", |record| record["grpc_status"] == 4);
    assert_eq!((&record["status"], &record["refusal"]), (&json!(504), &json!("deadline_exceeded")));

    let within = told(&scene, "Watch", "4S", true);
    let head = said(&within, "x-request-id").expect("a head");
    assert!(said(&within, "grpc-status: 4").is_some_and(|at| at > head), "{within:?}");
    service.notices("unwatched");
    let record = scene.gateway.record("path=/demo.v1.Echo/Watch", |record| record["grpc_status"] == 4);
    assert_eq!((&record["status"], &record["refusal"]), (&json!(200), &json!("deadline_exceeded")));

    let malformed = told(&scene, "Unary", "1.5S", false);
    assert!(
        said(&malformed, "grpc-status: 3").is_some()
            && said(&malformed, "x-portcullis-code: bad_grpc_timeout").is_some()
    );
}
