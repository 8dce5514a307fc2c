//! Calls of every kind, and streams that go on.

use super::*;

#[test]
fn every_kind_of_call_passes() {
    let (scene, service) = scene("", &json!({}));
    run(&scene, "every_kind", &[]);
    let seen = service.notices("unary");
    let words: Vec<&str> = seen.split(' ').collect();
    assert!(words[1].len() > 8 && words[2] == "-" && words[3] != "-", "{seen}");
    // Nobody on the way has unpacked what was packed.
    scene.gateway.record("path=/demo.v1.Echo/Compressed", |record| {
        let is_small = |member: &str| record[member].as_u64().is_some_and(|bytes| bytes < 1_000);
        is_small("bytes_in") && is_small("bytes_out")
    });
    let record = scene.gateway.record("path=/demo.v1.Echo/Stream", |record| record["bytes_out"] != 0);
    assert_eq!((&record["status"], &record["grpc_status"], &record["refusal"]), (&json!(200), &json!(0), &Value::Null));
    assert_eq!((&record["user"], &record["service"]), (&json!("ada"), &json!("orders")));
}

#[test]
fn errors_of_the_service_pass() {
    let (scene, _service) = scene("", &json!({}));
    run(&scene, "errors", &[]);
    let record = scene.gateway.record("path=/demo.v1.Echo/Fail", |record| record["path"] == "/demo.v1.Echo/Fail");
    assert_eq!((&record["status"], &record["grpc_status"]), (&json!(200), &json!(5)));
    scene.gateway.record("path=/demo.v1.Echo/FailLate", |record| record["grpc_status"] == 9);
}

#[test]
fn ten_thousand_messages_go_there_and_back() {
    let (scene, _service) = scene("", &json!({}));
    run(&scene, "lock_step", &[]);
    run(&scene, "pipelined", &[]);
}

#[test]
fn tls_is_spoken_on_both_sides() {
    let authority = Authority::new("own");
    let certificate = authority.issue("DNS:localhost,IP:127.0.0.1");
    let directory = tempfile::tempdir().expect("a directory");
    certificate.write(&directory.path().join("tls"), "gateway");
    let roots = directory.path().join("roots.pem");
    std::fs::write(&roots, &authority.pem).expect("written");
    let path = |name: &str| directory.path().join("tls").join(name).display().to_string();
    let pair = format!("{{certificate = {:?}, key = {:?}}}", path("gateway.pem"), path("gateway.key"));
    let settings = format!("tls_listen = \"127.0.0.1:0\"\n[tls]\ncertificates = [{pair}]\n");
    let service = Service::with(&certificate);
    let gateway = Gateway::restart(directory, &settings);
    let target = json!([{"url": format!("https://127.0.0.1:{}", service.port)}]);
    for protocol in ["h2", "auto"] {
        let declared = json!({"targets": target, "tls": {"ca": authority.pem}, "protocol": protocol, "require": []});
        let answer = gateway.admin("PUT", "/services/orders/v1", Some(&declared));
        assert!(answer.status < 300, "{}", answer.text());
        lead(&gateway);
        let address = gateway.tls.expect("TLS").to_string();
        for name in ["every_kind", "errors", "pipelined"] {
            let mut command = Command::new(python());
            command.args(["-c", include_str!("calls.py"), name, &address, "-"]).env("ROOTS", &roots);
            finish(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts"));
        }
    }
}

#[test]
fn streams_may_be_silent_for_as_long_as_tunnels() {
    let settings = "timeouts.body_idle = \"1s\"\ntimeouts.upstream_first_byte = \"1s\"";
    let (scene, _service) = open(settings, &json!({}));
    run(&scene, "silence", &["3"]);
    let settings = "timeouts.tunnel_idle = \"1s\"";
    let (scene, _service) = open(settings, &json!({}));
    let mut watching = calls(&scene, "broken", &[]).spawn().expect("starts");
    says(&mut watching, "watching");
    finish(watching);
    scene.gateway.record("path=/demo.v1.Echo/Watch", |record| record["refusal"] == "upstream_broken");
}

#[test]
fn messages_are_limited_and_streams_are_not() {
    let (scene, _service) = open("", &json!({"request_limits": {"body_bytes": 1_000}}));
    run(&scene, "messages", &[]);
    scene.gateway.record("path=/demo.v1.Echo/Chat", |record| {
        record["refusal"] == "body_too_large" && record["grpc_status"] == 8 && record["status"] == 200
    });
    scene.gateway.record("path=/demo.v1.Echo/Unary", |record| record["refusal"] == "body_too_large");
}

#[test]
fn a_stop_fails_no_call() {
    let (mut scene, service) = open("timeouts.drain_delay = \"1s\"", &json!({}));
    let other = Gateway::with("");
    let declared =
        json!({"targets": [{"url": format!("http://127.0.0.1:{}", service.port)}], "protocol": "h2c", "require": []});
    other.admin_ok("PUT", "/services/orders/v1", Some(&declared), 201);
    lead(&other);
    let mut load = calls(&scene, "load", &[&other.data.to_string()]).spawn().expect("starts");
    says(&mut load, "running");
    scene.gateway.signal("TERM");
    assert!(scene.gateway.wait().success());
    go_on(&mut load);
    assert!(finish(load).trim().parse::<u32>().expect("a count") >= 200);
}
