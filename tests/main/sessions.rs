//! What ends a session, what changes in it, and for whom it is refreshed.

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::scene::{PASSWORD, call_as, client, log_in, text, until};
use crate::support::{Answer, Backend, Scene};

/// What a session is shown by.
struct Tokens {
    access: String,
    refresh: String,
    key: Option<String>,
}

impl Scene {
    /// Logs a user in, with a client's key or without.
    fn open_session(&self, user: &str, key: Option<&str>) -> Tokens {
        let fields: Vec<_> = key.map(|key| ("X-API-Key", key)).into_iter().collect();
        let login = log_in(&self.gateway, user, &fields);
        let key = key.map(str::to_owned);
        Tokens { access: text(&login, "access_token"), refresh: text(&login, "refresh_token"), key }
    }

    fn refresh_with(&self, refresh: &str, keys: &[&str]) -> Answer {
        let fields: Vec<_> = keys.iter().map(|key| ("X-API-Key", *key)).collect();
        self.gateway.post("/-/token/refresh", &fields, &json!({"refresh_token": refresh}))
    }

    /// Whether a session calls and is refreshed, or neither. Refreshes it.
    fn lives(&self, tokens: &mut Tokens) -> bool {
        let own = text(&self.registered, "api_key");
        let called = call_as(&self.gateway, "/orders/v1/x", &tokens.access, &own).status;
        let keys: Vec<_> = tokens.key.as_deref().into_iter().collect();
        let refreshed = self.refresh_with(&tokens.refresh, &keys);
        assert_eq!((called == 200, called == 401), (refreshed.status == 200, refreshed.status == 401), "{called}");
        if refreshed.status == 200 {
            let body = refreshed.json();
            (tokens.access, tokens.refresh) = (text(&body, "access_token"), text(&body, "refresh_token"));
        }
        refreshed.status == 200
    }

    /// What the service is told of the user of a token.
    fn told(&self, access: &str) -> Value {
        assert_eq!(call_as(&self.gateway, "/orders/v1/x", access, &text(&self.registered, "api_key")).status, 200);
        let seen = self.backend.received().pop().expect("a call");
        serde_json::from_slice(&STANDARD.decode(seen.header("x-user-json").expect("a user")).expect("base64"))
            .expect("JSON")
    }
}

#[test]
fn whatever_ends_sessions_ends_its_own_at_once_and_no_others() {
    let scene = Scene::new();
    scene.gateway.admin_ok("POST", "/users", Some(&json!({"username": "bob", "password": PASSWORD})), 201);
    let admin = |method: &str, path: &str, body: Option<Value>, status: u16| {
        scene.gateway.admin_ok(method, path, body.as_ref(), status);
    };
    let grants = json!(["orders/v1"]);
    for (what, of_user, of_client) in [
        ("password", true, false),
        ("disable user", true, false),
        ("end all", true, false),
        ("delete user", true, false),
        ("disable client", false, true),
        ("file without client", false, true),
        ("file that disables", false, true),
        ("delete client", false, true),
        ("information", false, false),
        ("permissions", false, false),
    ] {
        let name = format!("eve-{}", what.replace(' ', "-"));
        let web = format!("web-{}", what.replace(' ', "-"));
        admin("POST", "/users", Some(json!({"username": name, "password": PASSWORD})), 201);
        let file = |enabled: bool| {
            let declared = json!({"version": 1, "clients": {web.clone(): {"services": grants, "enabled": enabled}}});
            admin("PUT", "/declarations", Some(declared), 200);
        };
        let key = if what.starts_with("file") {
            file(true);
            text(&scene.gateway.admin_ok("POST", &format!("/clients/{web}/api-keys"), None, 201), "api_key")
        } else {
            client(&scene.gateway, &web, &["orders/v1"])
        };
        let mut open: Vec<_> = [(name.as_str(), None), (&name, Some(key.as_str())), ("bob", None), ("bob", Some(&key))]
            .map(|(user, key)| scene.open_session(user, key))
            .into();
        assert!(open.iter_mut().all(|tokens| scene.lives(tokens)), "{what}");
        match what {
            "password" => admin("PUT", &format!("/users/{name}"), Some(json!({"password": "another one"})), 200),
            "disable user" => admin("PUT", &format!("/users/{name}"), Some(json!({"enabled": false})), 200),
            "end all" => admin("DELETE", &format!("/users/{name}/sessions"), None, 204),
            "delete user" => admin("DELETE", &format!("/users/{name}"), None, 204),
            "disable client" => {
                admin("PUT", &format!("/clients/{web}"), Some(json!({"services": grants, "enabled": false})), 200);
            }
            "file without client" => admin("PUT", "/declarations", Some(json!({"version": 1})), 200),
            "file that disables" => file(false),
            "delete client" => admin("DELETE", &format!("/clients/{web}"), None, 204),
            "information" => admin("PUT", &format!("/users/{name}"), Some(json!({"user_info": {"a": 1}})), 200),
            _ => admin("PUT", &format!("/clients/{web}"), Some(json!({"services": ["*"]})), 200),
        }
        let found: Vec<_> = open.iter_mut().map(|tokens| scene.lives(tokens)).collect();
        let expected = [!of_user, !of_user && !of_client, true, !of_client];
        assert_eq!(found, expected, "{what}");
        // Nothing that is put right later brings them back.
        match what {
            "disable user" => admin("PUT", &format!("/users/{name}"), Some(json!({"enabled": true})), 200),
            "disable client" => {
                admin("PUT", &format!("/clients/{web}"), Some(json!({"services": grants, "enabled": true})), 200);
            }
            "file that disables" => file(true),
            _ => {}
        }
        let found: Vec<_> = open.iter_mut().map(|tokens| scene.lives(tokens)).collect();
        assert_eq!(found, expected, "{what}, put right");
        if what.starts_with("file") {
            admin("PUT", "/declarations", Some(json!({"version": 1})), 200);
        }
    }
}

#[test]
fn what_is_taken_from_a_user_is_gone_in_the_sessions_that_are_open() {
    let scene = Scene::new();
    let mut tokens = scene.open_session("ada", None);
    assert_eq!(scene.told(&tokens.access), json!({"id": 7, "name": "Ada"}));
    let set = |info: &Value| {
        scene.gateway.admin_ok("PUT", "/users/ada", Some(&json!({"user_info": info})), 200);
    };
    for round in 0..5 {
        let info = json!({"roles": if round % 2 == 0 { json!([]) } else { json!(["admin"]) }, "round": round});
        set(&info);
        assert_eq!(scene.told(&tokens.access), info, "with the token there is");
        assert!(scene.lives(&mut tokens));
        assert_eq!(scene.told(&tokens.access), info, "and with the next");
    }
}

#[test]
fn a_disabled_user_is_told_nothing_by_the_answer() {
    let scene = Scene::new();
    let log_in = |password: &str| {
        let answer = scene.gateway.post("/-/token", &[], &json!({"username": "ada", "password": password}));
        let mut body = answer.json();
        body.as_object_mut().expect("an object").remove("request_id");
        (answer.status, body, answer.header("www-authenticate").map(str::to_owned))
    };
    let wrong = log_in("wrong");
    scene.gateway.admin_ok("PUT", "/users/ada", Some(&json!({"enabled": false})), 200);
    assert_eq!(log_in(PASSWORD), wrong);
    assert_eq!(log_in("wrong"), wrong);
    assert_eq!(scene.gateway.admin_ok("GET", "/users/ada", None, 200)["enabled"], false);
    let question = json!({"method": "GET", "url": "/orders/v1/x", "user": "ada"});
    let told = scene.gateway.admin("POST", "/explain", Some(&question));
    assert!(told.status == 422 && told.text().contains("disabled"), "{}", told.text());
    scene.gateway.admin_ok("PUT", "/users/ada", Some(&json!({"enabled": true})), 200);
    assert_eq!(log_in(PASSWORD).0, 200);
}

#[test]
fn a_refresh_shows_the_key_that_the_login_showed() {
    let scene = Scene::new();
    let other = client(&scene.gateway, "other", &["*"]);
    let own = text(&scene.registered, "api_key");
    let (key, own, other) = (scene.api_key.as_str(), own.as_str(), other.as_str());
    let second = text(&scene.gateway.admin_ok("POST", "/clients/shop/api-keys", None, 201), "api_key");
    for (opened, right, wrong) in [
        (
            Some(key),
            vec![vec![key], vec![second.as_str()]],
            vec![vec![], vec![other], vec![own], vec!["wrong"], vec![key, key]],
        ),
        (None, vec![vec![], vec![own]], vec![vec![key], vec![other], vec!["wrong"], vec![""], vec![own, own]]),
        (Some(own), vec![vec![], vec![own]], vec![vec![key]]),
    ] {
        let mut tokens = scene.open_session("ada", opened);
        for keys in right.iter().cycle().take(4) {
            for wrong in &wrong {
                let answer = scene.refresh_with(&tokens.refresh, wrong);
                assert_eq!(
                    (answer.status, answer.code().as_str()),
                    (401, "invalid_credential"),
                    "{opened:?} {wrong:?}"
                );
                assert!(answer.header("www-authenticate").is_some());
            }
            let answer = scene.refresh_with(&tokens.refresh, keys);
            assert_eq!(answer.status, 200, "{opened:?} {keys:?}: {}", answer.text());
            tokens.refresh = text(&answer.json(), "refresh_token");
        }
    }
}

#[test]
fn sessions_are_listed_and_ended() {
    let scene = Scene::new();
    let list =
        || scene.gateway.admin_ok("GET", "/users/ada/sessions", None, 200)["items"].as_array().expect("a list").clone();
    let mut second = scene.open_session("ada", Some(&scene.api_key));
    let mut third = scene.open_session("ada", None);
    let listed = list();
    assert_eq!(listed.iter().map(|it| text(it, "client")).collect::<Vec<_>>(), ["default", "shop", "default"]);
    assert_eq!(text(&listed[1], "id"), text(&crate::support::issuer::parts(&second.access).1, "sid"));
    let shown = format!("{listed:?}");
    assert!(!shown.contains(&second.refresh) && !shown.contains("hash"), "{shown}");
    scene.gateway.admin_ok("DELETE", &format!("/users/ada/sessions/{}", text(&listed[1], "id")), None, 204);
    assert!(!scene.lives(&mut second) && scene.lives(&mut third) && list().len() == 2);
    let refused =
        |method: &str, path: &str| assert_eq!(scene.gateway.admin(method, path, None).code(), "not_found", "{path}");
    refused("DELETE", &format!("/users/ada/sessions/{}", text(&listed[1], "id")));
    scene.gateway.admin_ok("POST", "/users", Some(&json!({"username": "bob", "password": PASSWORD})), 201);
    refused("DELETE", &format!("/users/bob/sessions/{}", text(&listed[2], "id")));
    for path in ["/users/ada/sessions/x", "/users/ada/sessions/00", "/users/eve/sessions/00", "/users/eve/sessions"] {
        refused("DELETE", path);
    }
    refused("GET", "/users/eve/sessions");
    scene.gateway.admin_ok("DELETE", "/users/ada/sessions", None, 204);
    assert!(!scene.lives(&mut third) && list().is_empty());
    scene.gateway.admin_ok("DELETE", "/users/ada/sessions", None, 204);
    let trail = scene.gateway.admin_ok("GET", "/audit?kind=user&key=ada", None, 200);
    assert!(trail.to_string().contains("[ended]"), "{trail}");
}

#[test]
fn a_session_ends_at_its_time() {
    let scene = Scene::before(Backend::echo(), "[tokens]\nsession_ttl = \"3s\"");
    let login = log_in(&scene.gateway, "ada", &[]);
    assert!(login["refresh_expires_in"].as_u64() <= Some(3) && login["expires_in"].as_u64() <= Some(3), "{login}");
    let mut tokens = scene.open_session("ada", None);
    until("the session has lasted its time", || {
        let answer = scene.refresh_with(&tokens.refresh, &[]);
        if answer.status == 200 {
            tokens.refresh = text(&answer.json(), "refresh_token");
        }
        answer.status == 401
    });
    until("its access token too", || {
        call_as(&scene.gateway, "/orders/v1/x", &tokens.access, &text(&scene.registered, "api_key")).status == 401
    });
}

#[test]
fn a_login_that_races_what_ends_it_does_not_survive() {
    let scene =
        Scene::before(Backend::echo(), "[lockout]\nfailures = 1000\naddress_failures = 10000\nuser_failures = 10000");
    let own = text(&scene.registered, "api_key");
    for round in 0..16 {
        let (name, web) = (format!("eve{round}"), format!("web{round}"));
        scene.gateway.admin_ok("POST", "/users", Some(&json!({"username": name, "password": PASSWORD})), 201);
        let key = client(&scene.gateway, &web, &["orders/v1"]);
        let (start, logins) = (Barrier::new(5), 4);
        let found: Vec<_> = thread::scope(|scope| {
            let log_in = || {
                start.wait();
                let body = json!({"username": name, "password": PASSWORD});
                scene.gateway.post("/-/token", &[("X-API-Key", &key)], &body)
            };
            let threads: Vec<_> = (0..logins).map(|_| scope.spawn(log_in)).collect();
            start.wait();
            // At another moment of the logins in each round.
            thread::sleep(Duration::from_millis(7 * round));
            match round % 4 {
                0 => scene.gateway.admin_ok("DELETE", &format!("/clients/{web}"), None, 204),
                1 => {
                    let off = json!({"services": ["orders/v1"], "enabled": false});
                    scene.gateway.admin_ok("PUT", &format!("/clients/{web}"), Some(&off), 200)
                }
                2 => scene.gateway.admin_ok("PUT", &format!("/users/{name}"), Some(&json!({"enabled": false})), 200),
                _ => scene.gateway.admin_ok("DELETE", &format!("/users/{name}"), None, 204),
            };
            threads.into_iter().map(|thread| thread.join().expect("answered")).collect()
        });
        // What was taken back is put right, so that a session that was left behind would show.
        match round % 4 {
            0 => drop(client(&scene.gateway, &web, &["orders/v1"])),
            1 => {
                let on = json!({"services": ["orders/v1"], "enabled": true});
                scene.gateway.admin_ok("PUT", &format!("/clients/{web}"), Some(&on), 200);
            }
            2 => drop(scene.gateway.admin_ok("PUT", &format!("/users/{name}"), Some(&json!({"enabled": true})), 200)),
            _ => {
                let body = json!({"username": name, "password": PASSWORD});
                scene.gateway.admin_ok("POST", "/users", Some(&body), 201);
            }
        }
        let left = scene.gateway.admin_ok("GET", &format!("/users/{name}/sessions"), None, 200);
        assert_eq!(left["items"], json!([]), "round {round}");
        for answer in found.iter().filter(|answer| answer.status == 200) {
            let access = text(&answer.json(), "access_token");
            assert_eq!(call_as(&scene.gateway, "/orders/v1/x", &access, &own).status, 401, "round {round}");
        }
    }
}
