//! What fomalhaut's clients meet at a gateway that has taken over what it had.

use std::sync::atomic::{AtomicU16, Ordering::SeqCst};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Export, OLD_SECRET, SECRET, import, panel};
use crate::fomalhaut::{Driver, answering, over};
use crate::support::{Backend, Gateway};

/// A gateway in the place of fomalhaut, a backend, and a client in Python.
pub(super) struct Scene {
    pub(super) gateway: Gateway,
    pub(super) backend: Backend,
    driver: Driver,
    callers: AtomicU16,
}

impl Scene {
    pub(super) fn before(backend: Backend) -> Self {
        Self { gateway: Gateway::start(), backend, driver: Driver::start(), callers: AtomicU16::new(0) }
    }

    /// With what this panel has.
    fn of(change: impl FnOnce(&mut Value)) -> Self {
        let scene = Self::before(answering());
        let mut panel = panel(&scene.backend.url());
        change(&mut panel);
        let done = import(&scene.gateway, &[Export::of(&panel).path(), "--host", "apps.example"], &[]);
        assert_eq!(done.code, Some(0), "{done:?}");
        scene
    }

    /// A call of `test_client` in `fo`, unless it says otherwise: its status and its body.
    #[track_caller]
    pub(super) fn call(&self, target: &str, more: &Value) -> (u64, String) {
        // Failures are counted by address.
        let [high, low] = self.callers.fetch_add(1, SeqCst).to_be_bytes();
        let address = self.gateway.data.to_string();
        let usual = json!({
            "dialect": "fo", "client": "abcd", "secret": SECRET, "host": address, "address": address, "method": "GET",
            "target": target, "source": format!("127.8.{high}.{low}"),
        });
        let said = self.driver.ask("call", &over(&usual, more));
        let body = STANDARD.decode(said["opened"].as_str().or(said["body"].as_str()).expect("a body")).expect("Base64");
        if said["status"] == 200 && more.get("signed").is_none() {
            assert_eq!(said["verified"], "good", "{said}");
        }
        (said["status"].as_u64().expect("a status"), String::from_utf8_lossy(&body).into_owned())
    }

    /// That a call is refused with this code of the dialect `fo`.
    #[track_caller]
    pub(super) fn refused(&self, target: &str, more: &Value, code: u64) {
        let (status, body) = self.call(target, more);
        assert!(status == 949 && body.starts_with(&format!("{{\"code\":{code},")), "{target} {more}: {status} {body}");
    }
}

#[test]
fn clients_call_what_they_could_call_and_nothing_else() {
    let scene = Scene::of(|_| ());
    let api = json!({"dialect": "api", "client": "old", "secret": OLD_SECRET});
    assert_eq!(scene.call("/test_api/v1/a/b?c=d", &json!({})), (200, "get".to_owned()));
    let seen = scene.backend.received().pop().expect("one");
    assert_eq!((seen.target.as_str(), seen.header("x-app-id")), ("/a/b?c=d", Some("abcd")));
    assert_eq!(seen.header("host"), scene.backend.url().strip_prefix("http://"));
    let body = json!({"method": "POST", "body": STANDARD.encode("{}"), "sealed_call": true});
    assert_eq!(scene.call("/test_api/v1/echo", &body), (200, "{}".to_owned()));
    assert_eq!(scene.call("/test_api/v1/a", &api), (200, "get".to_owned()));
    // Each has its own endpoints.
    assert_eq!(scene.call("/fixed/v1/a?b=c", &json!({})), (200, "get".to_owned()));
    assert_eq!(scene.backend.received().pop().expect("one").target, "/one/place/");
    assert_eq!(scene.call("/fixed/v1/a", &api).0, 600);
    scene.refused("/open/v1/a", &json!({}), 432);
    scene.refused("/nowhere/v1/a", &json!({}), 432);
    scene.refused("/test_login/v1/a", &json!({}), 401);
    scene.refused("/test_api/v1/a", &json!({"secret": "another"}), 431);
    scene.refused("/test_api/v1/a", &json!({"client": "nobody"}), 510);
    scene.refused("/test_api/v1", &json!({}), 400);
    let (status, body) = scene.call("/test_api/v1/a", &json!({"method": "PATCH"}));
    assert_eq!(status, 949, "{body}");
    assert_eq!(scene.call("/test_api/v1/a", &over(&api, &json!({"method": "DELETE"}))).0, 600);
    // Nobody's calls are the public client's, on the host that was named.
    let answer = scene.gateway.call("GET", "/open/v1/a?b", &[("Host", "apps.example")], b"");
    assert_eq!((answer.status, answer.text().as_str()), (200, "get"));
    let seen = scene.backend.received().pop().expect("one");
    assert_eq!((seen.target.as_str(), seen.header("host")), ("/base/a?b", Some("open.internal")));
}

#[test]
fn rules_hold_and_are_not_got_around() {
    let scene = Scene::of(|_| ());
    for (path, allowed) in [
        ("/forbidden", false),
        ("/forbidden/x", false),
        ("/forbiddenlyx", false),
        ("/%66orbidden", false),
        ("/x/../forbidden", false),
        ("//forbidden", false),
        ("/resource/of/secret", true),
        ("/refused/of/secret", false),
        ("/x/forbidden", true),
        ("/x/refused/secret", true),
    ] {
        let target = format!("/test_api/v1{path}");
        if allowed {
            assert_eq!(scene.call(&target, &json!({})), (200, "get".to_owned()), "{path}");
        } else {
            scene.refused(&target, &json!({}), 432);
        }
    }
    let api = json!({"dialect": "api", "client": "old", "secret": OLD_SECRET});
    assert_eq!(scene.call("/test_api/v1/refused/secret?a=b", &api).0, 600);
    assert_eq!(scene.call("/test_api/v1/x/forbidden", &api).0, 200);
}

#[test]
fn built_in_endpoints_are_for_a_client_as_they_were_there() {
    let alive = json!({
        "method": "POST", "body": STANDARD.encode(r#"{"access_token": "nobody's"}"#),
        "fields": [["Content-Type", "application/json"]],
    });
    let unsigned = over(&alive, &json!({"signed": false, "asks": false}));
    let scene = Scene::of(|_| ());
    let (status, body) = scene.call("/auth/v1/token/alive", &alive);
    assert!(status == 200 && body.contains(r#""expires_in":-2"#), "{status} {body}");
    scene.refused("/auth/v1/token/alive", &unsigned, 400);
    scene.refused(
        "/auth/v1/token/alive",
        &over(&alive, &json!({"client": "public", "secret": "another secret of 30 bytes"})),
        432,
    );
    scene.refused("/account/v1/logout", &alive, 401);

    let scene = Scene::of(|panel| {
        panel["endpoints"][2]["enable_hmac"] = false.into();
        panel["endpoints"][2]["enable_acl"] = true.into();
        panel["endpoints"][2]["acl_rules"] = json!([{"re_uri": "^/login", "is_permit": false}]);
        panel["client_endpoints"][3]["enable"] = false.into();
    });
    let (status, body) = scene.call("/auth/v1/token/alive", &unsigned);
    assert!(status == 200 && body.contains(r#""expires_in":-2"#), "{status} {body}");
    scene.refused("/auth/v1/login", &unsigned, 432);
    scene.refused("/account/v1/logout", &alive, 422);
}

#[test]
fn what_is_switched_off_there_is_switched_off_here() {
    let scene = Scene::of(|panel| {
        panel["client_endpoints"][0]["enable"] = false.into();
        panel["clients"][1]["enable"] = false.into();
    });
    scene.refused("/test_api/v1/a", &json!({}), 422);
    scene.refused("/test_api/v1/a", &json!({"client": "old", "secret": OLD_SECRET}), 421);
    assert_eq!(scene.call("/fixed/v1/a", &json!({})).0, 200);
    assert_eq!(scene.backend.received().len(), 1);
}
