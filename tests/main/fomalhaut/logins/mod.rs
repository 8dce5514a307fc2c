//! fomalhaut's login endpoints at a real gateway: two clients, each with an Auth API of its own, and a service behind them
//! that wants its users logged in.

mod auth_apis;
mod declared;
mod endpoints;
mod query;
mod races;
mod tokens;
mod told_apart;
mod users;

use std::io::Write;
use std::net::TcpStream;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{ACCESS_KEY, DIALECTS, Scene, Told, over, refused, until};
use crate::support::backend::Received;
use crate::support::{Backend, Gateway};

/// What the second client `kiosk` is known by, and proves itself with.
const KIOSK: [&str; 2] = ["efgh", "5678"];
const SHOP: [&str; 2] = [ACCESS_KEY, super::SECRET];

/// The password that Auth APIs take.
const PASSWORD: &str = "open sesame";

/// A pair as a client has got it.
#[derive(Debug, Clone, PartialEq)]
struct Pair {
    access: String,
    refresh: String,
}

struct House {
    scene: Scene,
    auth_api: Backend,
}

impl House {
    fn new() -> Self {
        Self::with("workers = 2\n", auth_api())
    }

    /// With these settings and this Auth API of both clients.
    fn with(settings: &str, auth_api: Backend) -> Self {
        let house = Self { scene: Scene::with(settings, &json!({})), auth_api };
        house.scene.add_client("kiosk", KIOSK[0], KIOSK[1]);
        let url = |path: &str| format!("{}{path}", house.auth_api.url());
        let shop = json!({
            "services": ["auth", "account"],
            "login_auth_url": url("/login"),
            "sms_login_auth_url": url("/login/sms?app=shop"),
            "change_password_url": url("/password"),
            "sms_change_password_url": url("/password/sms"),
            "access_token_ttl": 864_000,
            "refresh_token_ttl": "20d",
        });
        house.declare("shop", &shop);
        house.declare("kiosk", &json!({"services": ["auth", "account"], "login_auth_url": url("/old/login")}));
        for client in ["shop", "kiosk"] {
            let matches = json!({"client": client, "path": {"prefix": "/protected/v1"}});
            let require = [["signature", "bearer"]];
            let route = json!({"match": matches, "service": "test_api/v1", "strip": true, "require": require});
            house.gateway().admin_ok("PUT", &format!("/routes/{client}-protected"), Some(&route), 201);
        }
        house
    }

    /// Kills the gateway without warning and starts it again on the same data.
    fn killed_and_restarted(self) -> Self {
        let Self { scene, auth_api } = self;
        let Scene { gateway, backend, driver, callers } = scene;
        let gateway = Gateway::restart(gateway.kill(), "workers = 2\n");
        let house = Self { scene: Scene { gateway, backend, driver, callers }, auth_api };
        // What was signed around the moment of a crash is refused unseen.
        until("calls pass again", || house.scene.call("fo", &json!({})).status() == 200);
        house
    }

    fn gateway(&self) -> &Gateway {
        &self.scene.gateway
    }

    /// Changes a client.
    fn declare(&self, client: &str, change: &Value) {
        self.gateway().admin_ok("PUT", &format!("/clients/{client}"), Some(change), 200);
    }

    /// Posts JSON as a client.
    fn post(&self, dialect: &str, [access_key, secret]: [&str; 2], target: &str, body: &Value, more: &Value) -> Told {
        let wanted = json!({
            "client": access_key, "secret": secret, "method": "POST", "target": target,
            "fields": [["Content-Type", "application/json"]], "body": STANDARD.encode(body.to_string()),
        });
        self.scene.call(dialect, &over(&wanted, more))
    }

    /// Has a user of the Auth API log in.
    #[track_caller]
    fn log_in(&self, dialect: &str, client: [&str; 2], name: &str) -> Pair {
        let told =
            self.post(dialect, client, "/auth/v1/login", &json!({"name": name, "password": PASSWORD}), &json!({}));
        pair(&said(&told)["data"])
    }

    /// What a call of the service with this token comes to: the status, and whom the service was told it is for.
    fn protected(&self, dialect: &str, [access_key, secret]: [&str; 2], more: &Value) -> (Told, Option<Received>) {
        let before = self.scene.backend.received().len();
        let wanted = json!({"client": access_key, "secret": secret, "target": "/protected/v1/x"});
        let told = self.scene.call(dialect, &over(&wanted, more));
        (told, self.scene.backend.received().get(before).cloned())
    }

    /// Whether an access token is good for calls of a client.
    #[track_caller]
    fn is_good(&self, dialect: &str, client: [&str; 2], access: &str) -> bool {
        let (told, received) = self.protected(dialect, client, &json!({"token": access}));
        if received.is_none() {
            refused(dialect, &told, 401, "Bad Access Token");
        } else {
            told.is_fine();
        }
        received.is_some()
    }

    /// Exchanges a refresh token, if it is good.
    #[track_caller]
    fn refresh(&self, dialect: &str, client: [&str; 2], token: &str) -> Option<Pair> {
        let told = self.post(dialect, client, refreshes(dialect), &json!({"refresh_token": token}), &json!({}));
        let answer = said(&told);
        match answer["code"].as_u64() {
            Some(200) => Some(pair(&answer["data"])),
            _ => {
                assert_eq!(answer, json!({"code": 400, "data": null, "msg": "Invalid or Expired Refresh Token"}));
                None
            }
        }
    }

    /// That nothing of these was written anywhere.
    #[track_caller]
    fn kept_quiet_about(&self, secrets: &[&str]) {
        for (place, text) in [("access.log", self.gateway().access_log()), ("stderr", self.gateway().stderr())] {
            for secret in secrets {
                assert!(!text.contains(secret), "{secret} stands in {place}");
            }
        }
    }
}

/// Where pairs are refreshed.
fn refreshes(dialect: &str) -> &'static str {
    if dialect == "fo" { "/auth/v1/token/refresh" } else { "/auth/v1/token" }
}

/// The JSON of an answer that the gateway has signed, with the status 200.
#[track_caller]
fn said(told: &Told) -> Value {
    told.is_fine();
    assert_eq!(told.field("content-type"), Some("application/json; charset=utf-8"));
    assert_eq!(told.field("cache-control"), Some("no-store"));
    serde_json::from_slice(&told.opened()).expect("JSON")
}

/// The tokens of a login or a refresh, which look like tokens.
#[track_caller]
fn pair(data: &Value) -> Pair {
    let token = |name: &str| data[name].as_str().unwrap_or_else(|| panic!("no {name} in {data}")).to_owned();
    let pair = Pair { access: token("access_token"), refresh: token("refresh_token") };
    for token in [&pair.access, &pair.refresh] {
        let is_fine = token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        assert!(token.len() == 27 && is_fine, "{token}");
    }
    pair
}

/// An Auth API that knows everybody with the right password, and gives each name a number. `/old/…` answers in the form of
/// older ones.
fn auth_api() -> Backend {
    Backend::serving(|stream, request| {
        let path = request.target.split('?').next().unwrap_or_default().to_owned();
        let asked: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let (yes, value) = match path.trim_start_matches("/old") {
            "/login" => (asked["password"] == PASSWORD, user(asked["name"].as_str().unwrap_or_default())),
            "/login/sms" => (asked["sms_code"] == "1234", user("sms")),
            "/password" | "/password/sms" => (asked["new_password"] != "short", Value::Null),
            _ => (false, Value::Null),
        };
        let (code, value, message) = if yes { (200, value, "") } else { (403, Value::Null, "No entrance") };
        let body = if path.starts_with("/old") {
            json!({"code": code, "data": value, "msg": message})
        } else {
            json!({"code": code, "value": value, "message": message})
        };
        answer(stream, "200 OK", body.to_string().as_bytes())
    })
}

/// What an Auth API tells of a user.
fn user(name: &str) -> Value {
    json!({"id": name.len(), "name": format!("\u{4e2d}{name}")})
}

/// Writes an answer, and says whether to go on with the connection.
fn answer(stream: &mut TcpStream, status: &str, body: &[u8]) -> bool {
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), body].concat()).is_ok()
}
