//! The command line against a running gateway: results on stdout, errors on stderr, and exit codes that can be relied on.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

use serde_json::{Value, json};

use crate::support::client::PATIENCE;
use crate::support::gateway::command;
use crate::support::scene::{PASSWORD, announce, call_as, log_in, text, until};
use crate::support::{Backend, Gateway, Scene};

/// What came of a command.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    fn of(command: &mut Command, stdin: &str) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
        // A command that reads nothing may be gone already.
        let _ = child.stdin.take().expect("piped").write_all(stdin.as_bytes());
        let (id, (tell, told)) = (child.id().to_string(), mpsc::channel());
        thread::spawn(move || tell.send(child.wait_with_output()));
        let output = told.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            let killed = Command::new("kill").args(["-KILL", &id]).status();
            panic!("it does not end ({killed:?}): {command:?}");
        });
        let output = output.expect("ends");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        let ran = Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) };
        assert!(
            !ran.out.contains('\u{1b}') && !ran.err.contains('\u{1b}'),
            "colours where there is no terminal: {ran:?}"
        );
        ran
    }

    fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }

    fn json(self) -> Value {
        let out = self.ok();
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
    }

    /// That it failed with this code, said why on stderr in these words, and put nothing on stdout.
    fn failed(self, code: i32, words: &[&str]) {
        assert_eq!((self.code, self.out.as_str()), (Some(code), ""), "{self:?}");
        assert!(self.err.starts_with("error: "), "{self:?}");
        for words in words {
            assert!(self.err.contains(words), "{words}: {self:?}");
        }
    }
}

impl Gateway {
    fn command(&self, line: &[&str]) -> Command {
        let mut command = command(self.directory());
        command.args(["--admin", &format!("http://{}", self.admin)]).args(line);
        command
    }

    fn run(&self, line: &[&str]) -> Ran {
        Ran::of(&mut self.command(line), "")
    }
}

#[test]
fn services_and_routes() {
    let gateway = Gateway::start();
    let backend = Backend::echo();
    assert!(gateway.run(&["service", "list"]).ok().is_empty());
    assert_eq!(gateway.run(&["service", "list", "--json"]).json(), json!([]));
    let put = gateway.run(&["service", "put", "orders/v1", "--target", &backend.url(), "--open"]).ok();
    assert!(put.contains("/orders/v1") && put.contains(&backend.url()), "{put}");
    assert_eq!(gateway.call("GET", "/orders/v1/x", &[], b"").status, 200);
    let line = [
        "service",
        "put",
        "stock/v1",
        "--target",
        "http://127.0.0.1:9",
        "--target",
        "http://127.0.0.1:8",
        "--require",
        "bearer+api_key",
        "--require",
        "api_key",
        "--audience",
        "app",
        "--policy",
        "request_limits={\"body_bytes\": 5}",
        "--json",
    ];
    let stock = gateway.run(&line).json();
    assert_eq!(stock["targets"].as_array().map(Vec::len), Some(2));
    assert_eq!(stock["require"], json!([["bearer", "api_key"], ["api_key"]]));
    assert_eq!(
        (&stock["audiences"], &stock["policies"]),
        (&json!(["app"]), &json!({"request_limits": {"body_bytes": 5}}))
    );
    for list in [["service", "list"], ["route", "list"]] {
        let shown = gateway.run(&list).ok();
        assert_eq!(shown.lines().count(), 3, "a line of names and one for each: {shown}");
        assert!(shown.contains("orders/v1") && shown.contains("bearer+api_key") && shown.contains("open"), "{shown}");
        let items = gateway.run(&[list[0], list[1], "--json"]).json();
        assert_eq!(items.as_array().map(Vec::len), Some(2));
    }
    assert!(gateway.run(&["route", "list"]).ok().contains("/stock/v1"));
    assert_eq!(gateway.run(&["service", "get", "orders/v1"]).json()["name"], "orders");
    let key = gateway.run(&["service", "api-key", "stock"]).ok();
    assert_eq!(
        gateway.call("GET", "/stock/v1/x", &[("X-API-Key", key.trim_end())], b"").code(),
        "upstream_unreachable"
    );
    gateway.run(&["service", "delete", "orders/v1"]).ok();
    gateway.run(&["service", "get", "orders/v1"]).failed(1, &["orders/v1", "404", "not_found"]);
    gateway.run(&["service", "delete", "orders/v1"]).failed(1, &["orders/v1", "404"]);
}

#[test]
fn clients_users_and_enrolments() {
    let scene = Scene::new();
    let gateway = &scene.gateway;
    // A client, and what it may call.
    let made = gateway.run(&["client", "create", "app", "--service", "stock"]).ok();
    let lines: Vec<_> = made.lines().collect();
    assert!(
        lines.len() == 2 && lines[0].starts_with("access_key=") && lines[1].starts_with("secret_key=pcs_"),
        "{made}"
    );
    let key = gateway.run(&["client", "api-key", "app"]).ok();
    assert_eq!(key.lines().count(), 1, "the key is alone on stdout: {key}");
    let status = || call_as(&scene.gateway, "/orders/v1/x", &scene.token, key.trim_end()).status;
    assert_eq!(status(), 403);
    let granted = gateway.run(&["client", "grant", "app", "orders/v1"]).ok();
    assert!(granted.contains("orders/v1") && granted.contains("stock"), "{granted}");
    assert_eq!(status(), 200);
    let client = gateway.run(&["client", "get", "app"]).json();
    assert_eq!(client["services"], json!(["stock", "orders/v1"]));
    let keys = gateway.run(&["client", "api-keys", "app", "--json"]).json();
    assert!(keys.as_array().is_some_and(|keys| keys.len() == 1) && !keys.to_string().contains("pck_"));
    let brought = ["client", "create", "old", "--access-key", "old id", "--secret-key-stdin", "--json"];
    let old = Ran::of(&mut gateway.command(&brought), "old secret\n").json();
    assert_eq!((&old["access_key"], &old["secret_key"]), (&json!("old id"), &json!("old secret")));
    assert!(gateway.run(&["client", "list"]).ok().contains("old id"));
    let url = "https://users.example.com/login";
    gateway
        .run(&["client", "update", "app", "--login-auth-url", url, "--refresh-token-ttl", "9d", "--single-login"])
        .ok();
    let updated =
        gateway.run(&["client", "update", "app", "--access-token-ttl", "1h", "--single-login", "false"]).json();
    let fields =
        ["login_auth_url", "access_token_ttl", "refresh_token_ttl", "services"].map(|name| updated[name].clone());
    assert_eq!(json!(fields), json!([url, "1h", "9d", ["stock", "orders/v1"]]));
    assert_eq!(updated.get("single_login"), None);
    let updated = gateway.run(&["client", "update", "app", "--login-auth-url", ""]).json();
    assert_eq!(updated.get("login_auth_url"), None);
    gateway.run(&["client", "update", "app", "--refresh-token-ttl", "1h"]).failed(1, &["refresh_token_ttl"]);
    gateway.run(&["client", "create", "app"]).failed(1, &["app", "409", "conflict"]);
    gateway.run(&["client", "delete", "app"]).ok();
    assert_eq!(status(), 401);
    // Users; a password is never an argument.
    let by_stdin = ["user", "create", "zoë", "--password-stdin", "--user-info", "{\"id\": 8}"];
    Ran::of(&mut gateway.command(&by_stdin), &format!("{PASSWORD}\n")).ok();
    log_in(gateway, "zoë", &[]);
    Ran::of(gateway.command(&["user", "create", "bob", "--json"]).env("PORTCULLIS_PASSWORD", PASSWORD), "").json();
    log_in(gateway, "bob", &[]);
    let users = gateway.run(&["user", "list", "--json"]).json();
    let names: Vec<_> = users.as_array().expect("a list").iter().map(|user| text(user, "username")).collect();
    assert_eq!(names, ["ada", "bob", "zoë"]);
    assert_eq!(gateway.run(&["user", "get", "zoë"]).json()["user_info"], json!({"id": 8}));
    assert!(gateway.run(&["user", "list"]).ok().contains("zoë"));
    gateway.run(&["user", "create", "eve"]).failed(2, &["--password-stdin", "PORTCULLIS_PASSWORD"]);
    Ran::of(&mut gateway.command(&["user", "create", "eve", "--password-stdin", "--user-info", "[]"]), "x\n")
        .failed(2, &["--user-info"]);
    gateway.run(&["user", "delete", "bob"]).ok();
    gateway.run(&["user", "get", "bob"]).failed(1, &["bob", "404"]);
    // Enrolment tokens.
    let line = ["enrolment", "create", "ci", "--pattern", "team-*", "--max-uses", "1", "--ttl", "24h"];
    let token = gateway.run(&line).ok();
    assert!(token.starts_with("pce_") && token.lines().count() == 1, "{token}");
    let body = |name: &str| json!({"name": name, "base_url": "http://127.0.0.1:9"});
    assert_eq!(announce(gateway, token.trim_end(), &body("other")).status, 403);
    assert_eq!(announce(gateway, token.trim_end(), &body("team-a")).status, 201);
    let list = gateway.run(&["enrolment", "list"]).ok();
    assert!(list.contains("team-*") && !list.contains("pce_"), "{list}");
    assert_eq!(gateway.run(&["enrolment", "list", "--json"]).json()[0]["uses"], 1);
    gateway.run(&["enrolment", "delete", "ci"]).ok();
    gateway.run(&["enrolment", "delete", "ci"]).failed(1, &["ci", "404"]);
}

#[test]
fn secrets_of_clients_and_hosts() {
    let gateway = Gateway::start();
    gateway.run(&["client", "create", "app"]).ok();
    let first = gateway.run(&["client", "secret", "list", "app", "--json"]).json();
    let first = text(&first[0], "id");
    let made = gateway.run(&["client", "secret", "make", "app", "--use", "sign", "--ttl", "24h"]).ok();
    assert!(made.starts_with("pcs_") && made.lines().count() == 1, "{made}");
    let list = gateway.run(&["client", "secret", "list", "app"]).ok();
    assert!(
        list.lines().count() == 3 && list.contains("sign") && list.contains(&first) && !list.contains("pcs_"),
        "{list}"
    );
    // A third is refused with the one to retire.
    gateway.run(&["client", "secret", "make", "app"]).failed(1, &["app", "409", &first]);
    let kept = gateway.run(&["client", "secret", "retire", "app", &first, "--after", "1h"]).ok();
    assert!(kept.contains(&first) && kept.contains("is accepted until 20"), "{kept}");
    gateway.run(&["client", "secret", "retire", "app", &first]).ok();
    gateway.run(&["client", "secret", "retire", "app", &first]).failed(1, &[&first, "404"]);
    // What is imported is an argument nowhere, and shown nowhere.
    let line = ["client", "secret", "import", "app", "--use", "oauth", "--use", "sign"];
    let imported = Ran::of(&mut gateway.command(&line), "Grüße aus dem alten System\n").ok();
    assert!(imported.starts_with("imported secret ") && !imported.contains("Grüße"), "{imported}");
    let listed = gateway.run(&["client", "secret", "list", "app", "--json"]).json();
    let uses: Vec<_> = listed.as_array().expect("a list").iter().map(|secret| secret["uses"].clone()).collect();
    assert!(uses.contains(&json!(["oauth", "sign"])) && uses.contains(&json!(["sign"])), "{uses:?}");
    let file = gateway.directory().join("secret.txt");
    fs::write(&file, "from a file\n").expect("written");
    let file = file.to_str().expect("a path");
    gateway.run(&["client", "create", "other"]).ok();
    let imported = gateway.run(&["client", "secret", "import", "other", "--file", file, "--json"]).json();
    assert!(imported.get("secret").is_none() && text(&imported, "id").len() == 16, "{imported}");
    gateway.run(&["client", "secret", "make", "none"]).failed(1, &["none", "404"]);
    gateway.run(&["client", "secret", "make", "app", "--use", "login"]).failed(2, &["login"]);
    // Hosts.
    let put =
        gateway.run(&["host", "put", "api.example.com", "--dialect", "fo", "--public-url", "https://api.example.com"]);
    assert_eq!(put.ok(), "api.example.com: fo\n");
    gateway.run(&["host", "put", "b.example", "--builtin", "false"]).ok();
    let list = gateway.run(&["host", "list"]).ok();
    assert!(
        list.contains("https://api.example.com") && list.contains("by builtin_hosts") && list.contains(" no "),
        "{list}"
    );
    assert_eq!(gateway.run(&["host", "get", "api.example.com"]).json()["dialect"], "fo");
    gateway.run(&["host", "put", "*.example.com"]).failed(1, &["without a port", "422"]);
    gateway.run(&["host", "delete", "b.example"]).ok();
    gateway.run(&["host", "get", "b.example"]).failed(1, &["b.example", "404"]);
}

#[test]
fn what_went_wrong_is_told_on_stderr() {
    let gateway = Gateway::start();
    // 2: not written as it must be.
    for line in [
        &["nonsense"][..],
        &["service"],
        &["service", "put", "orders/v1"],
        &["service", "get"],
        &["client", "grant", "app"],
        &["serve", "--no-such-setting", "1"],
        &["logs", "--limit", "0"],
        &["enrolment", "create", "ci", "--max-uses", "many"],
    ] {
        let ran = gateway.run(line);
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{line:?}: {ran:?}");
        assert!(ran.err.starts_with("error: ") || ran.err.contains("Usage: portcullis service"), "{ran:?}");
    }
    gateway.run(&["service", "get", "orders"]).failed(2, &["NAME/VERSION", "orders"]);
    gateway.run(&["enrolment", "create", "ci", "--ttl", "soon"]).failed(2, &["--ttl", "soon"]);
    let bad_policy = ["service", "put", "a/v1", "--target", "http://a", "--policy", "cors"];
    gateway.run(&bad_policy).failed(2, &["--policy", "cors"]);
    // 1: refused, with every problem on a line of its own.
    let ran = gateway.run(&["service", "put", "auth/v1", "--target", "ftp://a", "--target", "b", "--require", "magic"]);
    assert!(ran.err.lines().count() >= 4, "{ran:?}");
    ran.failed(1, &["422", "name", "targets[0].url", "targets[1].url", "require[0][0]", "magic"]);
    assert_eq!(gateway.run(&["service", "list", "--json"]).json(), json!([]));
    // 1: nobody there, no token, the wrong token.
    let ran = Ran::of(command(gateway.directory()).args(["client", "list", "--admin", "http://127.0.0.1:9"]), "");
    ran.failed(1, &["127.0.0.1:9"]);
    let elsewhere = tempfile::tempdir().expect("a directory");
    let ran = Ran::of(command(elsewhere.path()).args(["client", "list"]), "");
    ran.failed(1, &["admin.token", &elsewhere.path().display().to_string()]);
    let ran = Ran::of(gateway.command(&["client", "list"]).env("PORTCULLIS_ADMIN_TOKEN", "wrong-wrong-wrong"), "");
    assert!(!ran.err.contains("wrong-wrong"), "{ran:?}");
    ran.failed(1, &["401"]);
    // 0: help and version are no errors.
    for line in [&["--help"][..], &["--version"], &["serve", "--help"], &["client", "--help"], &["help", "logs"]] {
        let ran = gateway.run(line);
        assert!(ran.code == Some(0) && !ran.out.is_empty() && ran.err.is_empty(), "{line:?}: {ran:?}");
    }
}

#[test]
fn commands_find_the_gateway_of_their_directory() {
    let gateway = Gateway::start();
    let token = Ran::of(command(gateway.directory()).args(["token"]), "").ok();
    assert_eq!(token.trim_end(), gateway.directory().join("admin.token").display().to_string());
    let shown = Ran::of(command(gateway.directory()).args(["token", "--show"]), "").ok();
    assert_eq!(shown, format!("{}\n", gateway.token));
    let json = Ran::of(command(gateway.directory()).args(["token", "--show", "--json"]), "").json();
    assert_eq!(json["token"], gateway.token);
    // The local address is the one that is configured.
    let mut by_setting = command(gateway.directory());
    by_setting.env("PORTCULLIS_ADMIN_LISTEN", gateway.admin.to_string()).args(["client", "list"]);
    assert!(Ran::of(&mut by_setting, "").ok().contains("default"));
    let mut by_variables = Command::new(by_setting.get_program());
    by_variables.env_clear().env("PORTCULLIS_DATA_DIR", gateway.directory()).args(["client", "list"]);
    by_variables.env("PORTCULLIS_ADMIN_URL", format!("http://{}", gateway.admin));
    assert!(Ran::of(&mut by_variables, "").ok().contains("default"));
    let document = gateway.run(&["openapi"]).json();
    assert_eq!(document, gateway.admin_ok("GET", "/openapi.json", None, 200));
}

#[test]
fn a_setting_that_is_not_known_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("portcullis.toml");
    let serve = || {
        let mut serve = command(directory.path());
        serve.args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        serve
    };
    fs::write(&file, "lisen = \"127.0.0.1:1\"\n[limits]\nbody_byte = 1\nheader_count = \"many\"\n[magic]\nx = 1\n")
        .expect("written");
    let ran = Ran::of(serve().env("PORTCULLIS_LISTN", "x").env("PORTCULLIS_WORKERS", "none"), "");
    assert!(ran.err.lines().count() >= 6, "all at once: {ran:?}");
    ran.failed(
        2,
        &[
            "lisen",
            "limits.body_byte",
            "limits.header_count",
            "magic",
            "PORTCULLIS_LISTN",
            "PORTCULLIS_WORKERS",
            "portcullis.toml",
        ],
    );
    assert!(!directory.path().join("admin.token").exists(), "nothing was begun");
    fs::write(&file, "listen = ").expect("written");
    Ran::of(&mut serve(), "").failed(2, &["portcullis.toml"]);
    fs::write(&file, "data_dir = \"elsewhere\"").expect("written");
    Ran::of(&mut serve(), "").failed(2, &["data_dir"]);
    fs::remove_file(&file).expect("removed");
    Ran::of(serve().args(["--config", "/nowhere/portcullis.toml"]), "").failed(2, &["/nowhere/portcullis.toml"]);
    // The admin token crosses no network in clear.
    let mut open = command(directory.path());
    open.args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "0.0.0.0:0"]);
    Ran::of(&mut open, "").failed(2, &["admin_listen", "0.0.0.0:0", "loopback"]);
    // The file in the working directory is nobody's.
    let workplace = tempfile::tempdir().expect("a directory");
    fs::write(workplace.path().join("portcullis.toml"), "magic = 1").expect("written");
    fs::write(directory.path().join("admin.token"), "a-token-of-some-length\n").expect("written");
    Ran::of(command(directory.path()).current_dir(workplace.path()).arg("token"), "").ok();
}

#[test]
fn a_flag_beats_the_environment_beats_the_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = "[tokens]\naccess_ttl = 100\nrefresh_ttl = 1000\nrefresh_grace = 1";
    let gateway = Gateway::launch(directory, file, |command| {
        command.env("PORTCULLIS_TOKENS_ACCESS_TTL", "200").env("PORTCULLIS_TOKENS_REFRESH_TTL", "2000s");
        command.args(["--tokens-access-ttl", "5m"]);
    });
    gateway.admin_ok("POST", "/users", Some(&json!({"username": "ada", "password": PASSWORD})), 201);
    let login = log_in(&gateway, "ada", &[]);
    assert_eq!((&login["expires_in"], &login["refresh_expires_in"]), (&json!(300), &json!(2000)));
}

#[test]
fn a_second_start_says_what_is_taken() {
    let gateway = Gateway::start();
    let serve = |directory: &std::path::Path, listen: &str, admin: &str| {
        Ran::of(command(directory).args(["serve", "--listen", listen, "--admin-listen", admin]), "")
    };
    let fails = |ran: Ran, what: &str| {
        assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{ran:?}");
        let told = ran.err.lines().any(|line| line.starts_with("error: ") && line.contains(what));
        assert!(told, "{what}: {ran:?}");
    };
    let own = gateway.directory();
    fails(serve(own, "127.0.0.1:0", "127.0.0.1:0"), &own.display().to_string());
    let other = tempfile::tempdir().expect("a directory");
    let (data, admin) = (gateway.data.to_string(), gateway.admin.to_string());
    fails(serve(other.path(), &data, "127.0.0.1:0"), &data);
    fails(serve(other.path(), "127.0.0.1:0", &admin), &admin);
    fails(serve(other.path(), &admin, "127.0.0.1:0"), &admin);
    // The first is none the worse, and shares its port with nobody.
    for _ in 0..20 {
        assert_eq!(gateway.call("GET", "/-/ready", &[], b"").status, 200);
    }
    gateway.admin_ok("GET", "/status", None, 200);
}

#[test]
fn the_first_start_makes_its_secrets_and_keeps_to_them() {
    let gateway = Gateway::start();
    for name in ["master.key", "admin.token"] {
        let facts = fs::metadata(gateway.directory().join(name)).expect("there");
        assert_eq!(facts.permissions().mode() & 0o777, 0o600, "{name}");
    }
    let token = fs::read_to_string(gateway.directory().join("admin.token")).expect("readable");
    assert_eq!(token.split_whitespace().collect::<Vec<_>>(), [gateway.token.as_str()], "the token alone");
    assert!(gateway.token.len() >= 32);
    let other = Gateway::start();
    assert_ne!(other.token, gateway.token);
    // Another master key opens nothing here.
    let key = fs::read(other.directory().join("master.key")).expect("readable");
    let directory = gateway.kill();
    let own = fs::read(directory.path().join("master.key")).expect("readable");
    fs::write(directory.path().join("master.key"), key).expect("written");
    let serve = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let ran = Ran::of(command(directory.path()).args(serve), "");
    assert!(ran.code == Some(1) && ran.err.contains("master"), "{ran:?}");
    fs::write(directory.path().join("master.key"), own).expect("written");
    let back = Gateway::restart(directory, "");
    assert_eq!(back.token, token.trim());
}

#[test]
fn the_log_is_read_and_filtered() {
    let scene = Scene::new();
    let gateway = &scene.gateway;
    assert_eq!(scene.call("GET", "/orders/v1/a", &[], b"").status, 200);
    assert_eq!(gateway.call("GET", "/orders/v1/b", &[], b"").status, 401);
    assert_eq!(gateway.call("GET", "/nothing/v1", &[], b"").status, 404);
    let lines = |line: &[&str]| -> Vec<String> {
        gateway.run(&[&["logs"], line].concat()).ok().lines().map(str::to_owned).collect()
    };
    let all = lines(&["--path", "/"]);
    assert!(all.len() >= 4 && all[all.len() - 1].contains("/nothing/v1"), "the newest is the last: {all:?}");
    let own = lines(&["--service", "orders"]);
    assert_eq!(own.len(), 2);
    for part in ["200", "GET", "/orders/v1/a", "orders/v1", "shop", "ada"] {
        assert!(own[0].contains(part), "{part} in {}", own[0]);
    }
    assert!(own[1].contains("401") && own[1].contains("missing_credential"), "{}", own[1]);
    assert_eq!(lines(&["--status", "4xx", "--limit", "1"]).len(), 1);
    assert_eq!(lines(&["--client", "shop", "--user", "ada", "--since", "10m"]).len(), 1);
    assert_eq!(lines(&["--since", "2100-01-01T00:00:00Z"]).len(), 0);
    let json: Vec<Value> = lines(&["--json", "--service", "orders/v1"])
        .iter()
        .map(|line| serde_json::from_str(line).expect("an object in each line"))
        .collect();
    assert_eq!(json.iter().map(|record| text(record, "path")).collect::<Vec<_>>(), ["/orders/v1/a", "/orders/v1/b"]);
    gateway.run(&["logs", "--status", "x"]).failed(1, &["400", "status"]);
}

#[test]
fn the_log_is_followed() {
    let scene = Scene::new();
    let gateway = &scene.gateway;
    assert_eq!(scene.call("GET", "/orders/v1/before", &[], b"").status, 200);
    let mut follow = gateway.command(&["logs", "-f", "--json", "--service", "orders"]);
    let mut child = follow.stdout(Stdio::piped()).spawn().expect("starts");
    let (tell, told) = mpsc::channel();
    let mut reader = BufReader::new(child.stdout.take().expect("piped"));
    thread::spawn(move || {
        let mut line = String::new();
        while reader.read_line(&mut line).is_ok_and(|length| length > 0) && tell.send(line.clone()).is_ok() {
            line.clear();
        }
    });
    let next = || -> Value {
        let line = told.recv_timeout(PATIENCE).expect("another line");
        serde_json::from_str(&line).expect("JSON")
    };
    assert_eq!(next()["path"], "/orders/v1/before");
    for number in 0..5 {
        assert_eq!(gateway.call("GET", "/nothing", &[], b"").status, 404);
        assert_eq!(gateway.call("GET", &format!("/orders/v1/{number}"), &[], b"").status, 401);
        // Each as it ends, and only what was asked for.
        assert_eq!(next()["path"], format!("/orders/v1/{number}"));
    }
    assert!(child.try_wait().expect("asked").is_none(), "it goes on");
    child.kill().expect("ended");
    child.wait().expect("ended");
    // Whoever reads on a pipe and leaves has not met an error.
    let mut child =
        gateway.command(&["logs", "-f"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let mut reader = BufReader::new(child.stdout.take().expect("piped"));
    reader.read_line(&mut String::new()).expect("a line");
    drop(reader);
    let mut ended = None;
    until("the follower sees that nobody reads", || {
        gateway.call("GET", "/nothing", &[], b"");
        ended = child.try_wait().expect("asked");
        ended.is_some()
    });
    assert_eq!(ended.and_then(|status| status.code()), Some(0));
}

#[test]
fn the_reference_of_settings_is_a_file_that_works() {
    let directory = tempfile::tempdir().expect("a directory");
    let reference = Ran::of(command(directory.path()).arg("settings"), "").ok();
    assert!(
        reference.contains("listen = \"127.0.0.1:6500\"") && reference.contains("PORTCULLIS_LISTEN"),
        "{reference}"
    );
    let gateway = Gateway::restart(directory, &reference);
    assert_eq!(gateway.call("GET", "/-/health", &[], b"").status, 200);
}
