//! A disk that is full: what would have to be kept is refused as that, all else goes on, and with room everything works again.

use std::num::NonZeroI32;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};

use crate::support::scene::{PASSWORD, announce, enrol};
use crate::support::{Answer, Backend, Gateway, Scene};

/// What the gateway may write into one file, as if its disk ended there.
fn files_may_have(gateway: &Gateway, bytes: Option<u64>) {
    let pid = i32::try_from(gateway.pid()).ok().and_then(NonZeroI32::new).map(|pid| Pid::from_raw(pid.get()));
    prlimit(pid.expect("a process"), Resource::Fsize, Rlimit { current: bytes, maximum: None }).expect("set");
}

/// Everything that has to be kept, each as it is asked for, and what it is answered when there is room.
fn all(scene: &Scene, enrolment: &str, refresh: &str) -> Vec<(&'static str, u16, Answer)> {
    let gateway = &scene.gateway;
    let targets = json!({"targets": [{"url": scene.backend.url()}]});
    let admin = |method: &str, path: &str, body: Value| gateway.admin(method, path, Some(&body));
    let login = json!({"username": "ada", "password": PASSWORD});
    let file = json!({"version": 1, "clients": {"declared": {"services": []}}});
    vec![
        ("a service", 201, admin("PUT", "/services/new/v1", targets)),
        (
            "a route",
            201,
            admin("PUT", "/routes/new", json!({"match": {"path": {"prefix": "/new"}}, "service": "orders/v1"})),
        ),
        ("a client", 201, admin("POST", "/clients", json!({"name": "new"}))),
        ("an API key", 201, admin("POST", "/clients/shop/api-keys", json!({}))),
        ("a user", 201, admin("POST", "/users", json!({"username": "new", "password": PASSWORD}))),
        ("an enrolment token", 201, admin("POST", "/enrolment-tokens", json!({"name": "new"}))),
        ("declarations", 200, admin("PUT", "/declarations", file)),
        ("the end of a client", 204, gateway.admin("DELETE", "/clients/gone", None)),
        (
            "a registration",
            201,
            announce(gateway, enrolment, &json!({"name": "born", "base_url": scene.backend.url()})),
        ),
        ("a login", 200, gateway.post("/-/token", &[], &login)),
        ("a new token", 200, gateway.post("/-/token/refresh", &[], &json!({"refresh_token": refresh}))),
        ("the end of a session", 204, gateway.post("/-/token/revoke", &[], &json!({"refresh_token": refresh}))),
    ]
}

#[test]
fn what_cannot_be_kept_is_refused_as_that_and_works_again_with_room() {
    let scene = Scene::before(Backend::echo(), "");
    let gateway = &scene.gateway;
    let enrolment = enrol(gateway, &json!({"name": "for-born"}));
    gateway.admin_ok("POST", "/clients", Some(&json!({"name": "gone"})), 201);
    files_may_have(gateway, Some(4_096));
    for (what, _, answer) in all(&scene, &enrolment, &scene.refresh_token) {
        assert_eq!((answer.status, answer.code().as_str()), (507, "storage_full"), "{what}: {}", answer.text());
        assert!(answer.text().contains("no room on its disk"), "{what}: {}", answer.text());
    }
    // Calls and questions need no room.
    assert_eq!(scene.call("GET", "/orders/v1/x", &[], b"").status, 200);
    gateway.admin_ok("GET", "/services/new/v1", None, 404);
    gateway.admin_ok("GET", "/clients/gone", None, 200);
    assert_eq!(gateway.call("GET", "/-/ready", &[], b"").status, 200);
    files_may_have(gateway, None);
    for (what, status, answer) in all(&scene, &enrolment, &scene.refresh_token) {
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
    }
    assert_eq!(gateway.admin_ok("GET", "/status", None, 200)["counters"]["tasks_panicked"], 0);
}
