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
    assert!(left > 0.0 && left <= 1.5, "{left}");
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

#[test]
fn whoever_is_sent_away_is_told_so() {
    let (scene, service) = scene("", &json!({}));
    let mut watching = calls(&scene, "revoked", &[]).spawn().expect("starts");
    says(&mut watching, "watching");
    let answer = scene.gateway.post("/-/token/revoke", &[], &json!({"refresh_token": scene.refresh_token}));
    assert_eq!(answer.status, 204);
    finish(watching);
    service.notices("unwatched");
    scene
        .gateway
        .record("path=/demo.v1.Echo/Watch", |record| record["refusal"] == "revoked" && record["grpc_status"] == 16);
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
