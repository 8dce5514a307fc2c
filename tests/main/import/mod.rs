//! Moving in from fomalhaut: a panel's export, or what it has in a real Redis, taken over by a real gateway, and called by
//! fomalhaut's clients.

mod behaviour;
mod losses;
mod redis_server;
mod tokens;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use self::redis_server::RedisServer;
use crate::support::Gateway;
use crate::support::gateway::command;

/// The secret of `test_client`.
const SECRET: &str = "the secret of test_client";
/// The secret of `old_client`.
const OLD_SECRET: &str = "the secret of old_client";

/// What came of a command.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    #[track_caller]
    fn json(&self, code: i32) -> Value {
        assert_eq!(self.code, Some(code), "{self:?}");
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Runs `portcullis import fomalhaut` with these arguments and variables. Whatever comes of it, no secret is told.
fn import(gateway: &Gateway, line: &[&str], variables: &[(&str, &str)]) -> Ran {
    let mut command: Command = command(gateway.directory());
    command.args(["--admin", &format!("http://{}", gateway.admin), "import", "fomalhaut"]).args(line);
    command.envs(variables.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = command.output().expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    let ran = Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) };
    for secret in [SECRET, OLD_SECRET, "sesame"] {
        assert!(!ran.out.contains(secret) && !ran.err.contains(secret), "{ran:?}");
    }
    ran
}

/// A file with an export.
struct Export {
    file: PathBuf,
    _directory: TempDir,
}

impl Export {
    fn of(export: &Value) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("export.json");
        std::fs::write(&file, export.to_string()).expect("written");
        Self { file, _directory: directory }
    }

    fn path(&self) -> &str {
        self.file.to_str().expect("UTF-8")
    }
}

fn endpoint(id: u64, name: &str, url: &str, more: &Value) -> Value {
    let netloc = url.strip_prefix("http://").map(|rest| rest.split('/').next().unwrap_or_default());
    let mut endpoint = json!({
        "id": id, "unique_name": format!("{name} {id}"), "name": name, "version": "v1", "url": url, "netloc": netloc.unwrap_or(""),
        "is_builtin": false, "enable_hmac": true, "enable_acl": false, "require_login": false, "acl_rules": [], "memo": "",
        "async_http_connect_timeout": 20, "async_http_request_timeout": 20,
    });
    for (member, value) in more.as_object().expect("an object") {
        endpoint[member] = value.clone();
    }
    endpoint
}

/// What a panel exports: a client of `fo`, one of `api`, and the public one, with endpoints at a backend.
fn panel(backend: &str) -> Value {
    let rules = json!([
        {"id": 1, "endpoint_id": 2, "re_uri": "^/forbidden/?", "is_permit": false},
        {"id": 2, "endpoint_id": 2, "re_uri": "^/resource/?", "is_permit": true},
        {"id": 3, "endpoint_id": 2, "re_uri": "^/re[a-z/]*secret", "is_permit": false},
    ]);
    json!({
        "clients": [
            {
                "id": 1, "app_id": "abcd", "name": "test_client", "secret_key": SECRET, "enable": true, "memo": "",
                "login_auth_url": "", "access_token_ex": 864_000, "refresh_token_ex": 1_728_000,
            },
            {"id": 2, "access_key": "old", "name": "old_client", "secret_key": OLD_SECRET, "enable": true, "memo": "mind"},
            {"id": 3, "app_id": "public", "name": "public-app", "secret_key": "another secret of 30 bytes", "enable": true},
        ],
        "endpoints": [
            endpoint(2, "test_api", backend, &json!({"enable_acl": true, "acl_rules": rules})),
            endpoint(3, "test_login", backend, &json!({"require_login": true})),
            endpoint(4, "auth", "", &json!({"is_builtin": true})),
            endpoint(5, "account", "", &json!({"is_builtin": true, "require_login": true})),
            endpoint(6, "open", &format!("{backend}/base/"), &json!({"enable_hmac": false, "netloc": "open.internal"})),
            endpoint(7, "fixed", &format!("{backend}/one/place/"), &json!({"skip_uri": true})),
        ],
        "client_endpoints": [
            {"id": 1, "client_id": 1, "endpoint_id": 2, "enable": true},
            {"id": 2, "client_id": 1, "endpoint_id": 3, "enable": true},
            {"id": 3, "client_id": 1, "endpoint_id": 4, "enable": true},
            {"id": 4, "client_id": 1, "endpoint_id": 5, "enable": true},
            {"id": 5, "client_id": 2, "endpoint_id": 2, "enable": true},
            {"id": 6, "client_id": 3, "endpoint_id": 6, "enable": true},
            {"id": 7, "client_id": 1, "endpoint_id": 7, "enable": true},
        ],
    })
}

/// Puts into Redis what the panel does with its button: a key for each client that is enabled, with the endpoints that are.
fn publish(panel: &Value, redis: &RedisServer) {
    let list = |name: &str| panel[name].as_array().expect("a list").clone();
    for mut client in list("clients").into_iter().filter(|client| client["enable"] == true) {
        let mut endpoints = json!({});
        let links = list("client_endpoints").into_iter();
        for link in links.filter(|link| link["client_id"] == client["id"] && link["enable"] == true) {
            let found = list("endpoints").into_iter().find(|endpoint| endpoint["id"] == link["endpoint_id"]);
            let mut endpoint = found.expect("it is there");
            endpoint["enable"] = true.into();
            let key = format!("{}:v1", endpoint["name"].as_str().expect("a name"));
            endpoints[key] = endpoint;
        }
        client["endpoints"] = endpoints;
        let app_id = client.get("app_id").or(client.get("access_key")).and_then(Value::as_str).expect("an id");
        redis.ask(&["SET", &format!("config:{app_id}"), &client.to_string()]);
    }
}

/// Everything that is declared, and which revision of it.
fn declarations(gateway: &Gateway) -> (String, Value) {
    let answer = gateway.admin("GET", "/declarations", None);
    (answer.header("etag").expect("an ETag").to_owned(), answer.json())
}

#[test]
fn the_export_and_redis_say_the_same_and_saying_it_twice_changes_nothing() {
    let (gateway, redis) = (Gateway::start(), RedisServer::start(Some("open sesame")));
    let panel = panel("http://127.0.0.1:9");
    let file = Export::of(&panel);
    publish(&panel, &redis);
    redis.ask(&["SET", "config_not", "of another"]);
    let password = [("PORTCULLIS_REDIS_PASSWORD", "open sesame")];
    let before = declarations(&gateway);

    let of_file = import(&gateway, &[file.path(), "--dry-run", "--json"], &[]).json(0);
    let of_redis = import(&gateway, &[&redis.url(), "--dry-run", "--json"], &password).json(0);
    assert_eq!(of_file["declarations"], of_redis["declarations"]);
    assert_eq!(of_file["declarations"]["routes"].as_object().map(serde_json::Map::len), Some(5));
    assert_eq!(
        of_file["secrets"],
        json!({"added": ["old_client", "public-app", "test_client"], "known": [], "other": [], "changed": [], "full": []})
    );
    assert_eq!(declarations(&gateway), before, "a dry run changed something");

    let done = import(&gateway, &[file.path()], &[]);
    assert_eq!((done.code, done.err.as_str()), (Some(0), "taken over\n"), "{done:?}");
    assert!(
        done.out.contains("+ client test_client\n") && done.out.contains("3 secrets to add, 0 known\n"),
        "{done:?}"
    );
    let after = declarations(&gateway);
    assert_eq!(
        gateway.admin_ok("GET", "/declarations?owner=import", None, 200)["clients"].as_object().map(|all| all.len()),
        Some(3)
    );
    for (source, variables) in [(file.path(), &[][..]), (redis.url().as_str(), &password[..])] {
        let again = import(&gateway, &[source, "--json"], variables).json(0);
        assert_eq!((&again["plan"]["steps"], &again["applied"]), (&json!([]), &json!(true)));
        assert_eq!(again["secrets"]["known"], json!(["old_client", "public-app", "test_client"]));
        assert_eq!(declarations(&gateway), after, "{source}");
    }
    // A client that is renamed there is the same client here; one that is gone there goes; what others made stays.
    gateway.admin_ok("POST", "/clients", Some(&json!({"name": "mine"})), 201);
    let mut renamed = panel;
    renamed["clients"][0]["name"] = "renamed".into();
    renamed["clients"].as_array_mut().expect("a list").remove(1);
    let renamed = Export::of(&renamed);
    let before = declarations(&gateway);
    let asked = import(&gateway, &[renamed.path(), "--json"], &[]);
    assert!(asked.code == Some(1) && asked.err.contains("1 clients") && asked.err.contains("--yes"), "{asked:?}");
    assert_eq!(declarations(&gateway), before);
    let changed = import(&gateway, &[renamed.path(), "--json", "--yes"], &[]).json(0);
    let steps: Vec<_> = changed["plan"]["steps"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|step| format!("{} {}", step["action"], step["name"]))
        .collect();
    let removed = steps.iter().all(|step| step.starts_with(r#""remove""#));
    assert!(removed && steps.len() == 2 && steps.iter().any(|step| step.ends_with(r#""old_client""#)), "{steps:?}");
    assert!(declarations(&gateway).1["clients"]["mine"].is_object());
}

#[test]
fn an_export_without_clients_or_with_few_of_them_removes_nothing_unasked() {
    let gateway = Gateway::start();
    let panel = panel("http://127.0.0.1:9");
    assert_eq!(import(&gateway, &[Export::of(&panel).path()], &[]).code, Some(0));
    let before = declarations(&gateway);
    let empty = Export::of(&json!({"clients": [], "endpoints": [], "client_endpoints": []}));
    // The clients are there, and most of what they have is not.
    let mut cut = panel;
    cut["client_endpoints"] = json!([]);
    let cut = Export::of(&cut);
    for (file, words) in [(&empty, "no clients in what was read"), (&cut, "0 clients")] {
        let ran = import(&gateway, &[file.path()], &[]);
        assert!(ran.code == Some(1) && ran.err.contains(words) && ran.err.contains("--yes"), "{ran:?}");
        assert_eq!(declarations(&gateway), before);
        assert_eq!(import(&gateway, &[file.path(), "--dry-run"], &[]).code, Some(0));
    }
    // Less than that goes as before.
    let mut less = self::panel("http://127.0.0.1:9");
    less["client_endpoints"].as_array_mut().expect("a list").pop();
    assert_eq!(import(&gateway, &[Export::of(&less).path()], &[]).code, Some(0));
    assert_eq!(import(&gateway, &[cut.path(), "--yes"], &[]).code, Some(0));
    assert_eq!(import(&gateway, &[empty.path(), "--yes"], &[]).code, Some(0));
    let left = gateway.admin_ok("GET", "/declarations?owner=import", None, 200);
    assert!(
        ["services", "routes", "clients"].iter().all(|of| left[of].as_object().is_none_or(|all| all.is_empty())),
        "{left}"
    );
}

#[test]
fn where_redis_cannot_be_read_nothing_is_told_of_its_password() {
    let (gateway, redis) = (Gateway::start(), RedisServer::start(Some("open sesame")));
    let url = |login: &str| redis.url().replace("redis://", &format!("redis://{login}"));
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "another sesame\n").expect("written");
    let from_file = ["--redis-password-file", file.path().to_str().expect("UTF-8")];
    for (line, code, words) in [
        (vec![url("")], 1, "NOAUTH"),
        (vec![url(":wrong-sesame@")], 1, "does not take the password"),
        ([&[url("")][..], &from_file.map(str::to_owned)].concat(), 1, "does not take the password"),
        (vec![url(":open%20sesame@")], 1, "no key 'config:*'"),
        (vec!["redis://:sesame@127.0.0.1:1".to_owned()], 1, "cannot reach Redis at 127.0.0.1:1"),
        (vec!["redis://sesame@x:y:z".to_owned()], 2, "expected redis://"),
        (vec!["rediss://:sesame@x".to_owned()], 2, "TLS"),
        (vec!["http://:sesame@x".to_owned()], 2, "expected redis://"),
        (vec!["nowhere.json".to_owned()], 2, "cannot read nowhere.json"),
        (vec![file.path().to_str().expect("UTF-8").to_owned()], 2, "it is not JSON"),
        (vec!["nowhere.json".to_owned(), "--tokens".to_owned()], 2, "--tokens"),
    ] {
        let line: Vec<_> = line.iter().map(String::as_str).collect();
        let ran = import(&gateway, &line, &[]);
        assert_eq!((ran.code, ran.out.as_str()), (Some(code), ""), "{line:?} {ran:?}");
        assert!(ran.err.contains(words), "{line:?} {ran:?}");
    }
    redis.ask(&["SET", "config:a", "no JSON"]);
    redis.ask(&["RPUSH", "config:b", "no text"]);
    let lost = import(&gateway, &[&url(":open%20sesame@"), "--json"], &[]).json(1);
    assert_eq!(lost["losses"].as_array().map(Vec::len), Some(2));
}
