//! A gateway with a registered service, a user and a client: where most tests begin.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::PATIENCE;
use super::{Answer, Backend, Gateway};

/// What a scene's password is.
pub(crate) const PASSWORD: &str = "correct horse";

/// A gateway with one registered service `orders/v1`, the user `ada` and the client `shop` that may call it.
pub(crate) struct Scene {
    /// The gateway.
    pub(crate) gateway: Gateway,
    /// What stands behind it.
    pub(crate) backend: Backend,
    /// What registering answered.
    pub(crate) registered: Value,
    /// An API key of `shop`.
    pub(crate) api_key: String,
    /// An access token of `ada`.
    pub(crate) token: String,
    /// The refresh token that came with it.
    pub(crate) refresh_token: String,
}

impl Scene {
    /// In front of a backend that echoes.
    pub(crate) fn new() -> Self {
        Self::before(Backend::echo(), "")
    }

    /// In front of this backend, with these settings.
    pub(crate) fn before(backend: Backend, settings: &str) -> Self {
        let gateway = Gateway::with(settings);
        let registered = register(&gateway, "orders", &backend.url());
        let user = json!({"username": "ada", "password": PASSWORD, "user_info": {"id": 7, "name": "Ada"}});
        gateway.admin_ok("POST", "/users", Some(&user), 201);
        gateway.admin_ok("POST", "/clients", Some(&json!({"name": "shop", "services": ["orders/v1"]})), 201);
        let key = gateway.admin_ok("POST", "/clients/shop/api-keys", None, 201);
        let login = gateway.post("/-/token", &[], &json!({"username": "ada", "password": PASSWORD}));
        assert_eq!(login.status, 200, "{}", login.text());
        let login = login.json();
        Self {
            gateway,
            backend,
            registered,
            api_key: text(&key, "api_key"),
            token: text(&login, "access_token"),
            refresh_token: text(&login, "refresh_token"),
        }
    }

    /// In front of a backend, with the service open to everybody.
    pub(crate) fn open(backend: Backend, settings: &str) -> Self {
        let scene = Self::before(backend, settings);
        scene.declare(&json!({"targets": [{"url": scene.backend.url()}], "require": []}));
        scene
    }

    /// Declares `orders/v1` anew.
    pub(crate) fn declare(&self, service: &Value) {
        self.gateway.admin_ok("PUT", "/services/orders/v1", Some(service), 200);
    }

    /// Makes a call with the token and the key, and with more fields.
    pub(crate) fn call(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        let own = [("Authorization", bearer.as_str()), ("X-API-Key", self.api_key.as_str())];
        self.gateway.call(method, target, &[&own[..], headers].concat(), body)
    }

    /// The fields that authorise a call, as lines of a request head.
    pub(crate) fn credentials(&self) -> String {
        format!("Authorization: Bearer {}\r\nX-API-Key: {}\r\n", self.token, self.api_key)
    }
}

/// Registers a service with an enrolment token made for it.
pub(crate) fn register(gateway: &Gateway, name: &str, url: &str) -> Value {
    let token = enrol(gateway, &json!({"name": format!("for-{name}")}));
    let registered = announce(gateway, &token, &json!({"name": name, "base_url": url}));
    assert_eq!(registered.status, 201, "{}", registered.text());
    registered.json()
}

/// Copies a service in a registry under other names, as they could be made once.
pub(crate) fn copy_services(directory: &Path, from: &str, names: &[&str]) {
    let script = "import sqlite3, sys\n\
                  db = sqlite3.connect(sys.argv[1])\n\
                  for name in sys.argv[3:]:\n    \
                      db.execute('insert into objects select kind, ?, revision, owner, body from objects '\n               \
                                 'where kind = ? and key = ?', (name, 'service', sys.argv[2]))\n\
                  db.commit()\n";
    let mut python = Command::new("python3");
    python.arg("-c").arg(script).arg(directory.join("portcullis.db")).arg(from).args(names);
    let output = python.output().expect("python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Makes an enrolment token.
pub(crate) fn enrol(gateway: &Gateway, enrolment: &Value) -> String {
    text(&gateway.admin_ok("POST", "/enrolment-tokens", Some(enrolment), 201), "token")
}

/// Posts to `/-/register` with a bearer.
pub(crate) fn announce(gateway: &Gateway, bearer: &str, body: &Value) -> Answer {
    gateway.post("/-/register", &[("Authorization", &format!("Bearer {bearer}"))], body)
}

/// Logs a user in who has [`PASSWORD`].
pub(crate) fn log_in(gateway: &Gateway, user: &str, headers: &[(&str, &str)]) -> Value {
    let answer = gateway.post("/-/token", headers, &json!({"username": user, "password": PASSWORD}));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// Makes a client that may call these, and an API key of it.
pub(crate) fn client(gateway: &Gateway, name: &str, services: &[&str]) -> String {
    gateway.admin_ok("POST", "/clients", Some(&json!({"name": name, "services": services})), 201);
    text(&gateway.admin_ok("POST", &format!("/clients/{name}/api-keys"), None, 201), "api_key")
}

/// Calls with a token and a key.
pub(crate) fn call_as(gateway: &Gateway, target: &str, token: &str, key: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    gateway.call("GET", target, &[("Authorization", bearer.as_str()), ("X-API-Key", key)], b"")
}

/// The names of an object's members, sorted.
pub(crate) fn members(object: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = object.as_object().expect("an object").keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

/// Asks until the answer is the one that is waited for.
pub(crate) fn until(what: &str, mut come: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !come() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A member that must be a text.
pub(crate) fn text(object: &Value, member: &str) -> String {
    object[member].as_str().unwrap_or_else(|| panic!("{member} in {object}")).to_owned()
}
