//! `kill -9` while operators and services write: what was acknowledged is there, nothing is half there, and the
//! audit trail holds.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::gateway::command;
use crate::support::scene::{enrol, text};
use crate::support::{Gateway, python};

/// How often it is killed.
const ROUNDS: usize = 10;
/// How many write at the same time.
const WRITERS: usize = 4;
/// So many changes are acknowledged in a round before the kill, at least.
const ACKNOWLEDGED: usize = 24;

/// What was answered, by all writers together.
#[derive(Default)]
struct Acknowledged {
    /// The newest answer about each service that is put: its revision and port.
    services: BTreeMap<String, (u64, u64)>,
    /// Services that registered themselves, with the API key they were given.
    registered: BTreeMap<String, String>,
    /// Clients with their API key's handle.
    clients: BTreeMap<String, String>,
    /// Users and clients that were deleted.
    deleted: Vec<String>,
    changes: usize,
}

/// Where a gateway is and how to speak to it; outlives the gateway itself.
#[derive(Clone)]
struct Line {
    admin: std::net::SocketAddr,
    data: std::net::SocketAddr,
    token: String,
}

impl Line {
    /// One request over a connection of its own; `None` if the gateway died before the whole answer came.
    fn ask(&self, on_data: bool, method: &str, target: &str, bearer: &str, body: &Value) -> Option<(u16, Value)> {
        let address = if on_data { self.data } else { self.admin };
        let body = body.to_string();
        let mut stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {bearer}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        let answer = String::from_utf8(answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.get(9..12)?.parse().ok()?;
        if status == 204 {
            return Some((status, Value::Null));
        }
        serde_json::from_str(body).ok().map(|body| (status, body))
    }

    fn admin(&self, method: &str, target: &str, body: &Value) -> Option<(u16, Value)> {
        self.ask(false, method, &format!("/api/v1{target}"), &self.token, body)
    }
}

/// Writes until the gateway is gone: registrations, services changed again and again, clients with keys, users.
fn write(line: &Line, enrolment: &str, writer: usize, round: usize, seen: &Mutex<Acknowledged>) {
    let mut number: u64 = 0;
    loop {
        number += 1;
        let name = format!("w{writer}-r{round}-{number}");
        let announced = json!({"name": format!("reg-{name}"), "base_url": "http://127.0.0.1:9"});
        let Some((status, body)) = line.ask(true, "POST", "/-/register", enrolment, &announced) else { return };
        assert_eq!(status, 201, "{body}");
        seen.lock().expect("fine").registered.insert(format!("reg-{name}"), text(&body, "api_key"));

        let port = 1_000 + number;
        let service = format!("put-{writer}");
        let declared = json!({"targets": [{"url": format!("http://127.0.0.1:{port}")}]});
        let Some((status, body)) = line.admin("PUT", &format!("/services/{service}/v1"), &declared) else { return };
        assert!(status == 200 || status == 201, "{body}");
        let revision = body["revision"].as_u64().expect("a revision");
        seen.lock().expect("fine").services.insert(service, (revision, port));

        let Some((status, body)) = line.admin("POST", "/clients", &json!({"name": name})) else { return };
        assert_eq!(status, 201, "{body}");
        let keys = format!("/clients/{name}/api-keys");
        let Some((status, body)) = line.admin("POST", &keys, &json!({})) else { return };
        assert_eq!(status, 201, "{body}");
        seen.lock().expect("fine").clients.insert(name.clone(), text(&body, "id"));
        if number.is_multiple_of(2) {
            // Whether it is gone is not known from here on, unless the answer comes.
            seen.lock().expect("fine").clients.remove(&name);
            let Some((status, body)) = line.admin("DELETE", &format!("/clients/{name}"), &json!({})) else { return };
            assert_eq!(status, 204, "{body}");
            seen.lock().expect("fine").deleted.push(name);
        }
        seen.lock().expect("fine").changes += 4;
    }
}

fn all(gateway: &Gateway, path: &str) -> Vec<Value> {
    let mut items = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = gateway.admin_ok("GET", &format!("{path}?limit=1000{cursor}"), None, 200);
        items.extend(page["items"].as_array().expect("a list").iter().cloned());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return items,
        }
    }
}

/// Holds what is there against what was acknowledged, and every object against what belongs to it.
fn examine(gateway: &Gateway, seen: &Acknowledged) {
    let verdict = gateway.admin_ok("GET", "/audit/verify", None, 200);
    assert_eq!(verdict["intact"], true, "{verdict}");
    let trail = all(gateway, "/audit");
    assert_eq!(verdict["entries"], trail.len());
    // The last thing the trail says of an object is what the object is.
    let mut last: BTreeMap<(String, String), (bool, u64)> = BTreeMap::new();
    for entry in trail.iter().rev() {
        let object = (text(entry, "kind"), text(entry, "key"));
        let there = text(entry, "action") != "deleted";
        last.insert(object, (there, entry["revision"].as_u64().expect("a revision")));
    }
    let told = |kind: &str, key: &str| last.get(&(kind.to_owned(), key.to_owned())).copied();

    let services = all(gateway, "/services");
    for service in &services {
        let (name, revision) = (text(service, "name"), service["revision"].as_u64().expect("a revision"));
        assert_eq!(told("service", &format!("{name}/v1")), Some((true, revision)), "{name}");
        let keys = all(gateway, &format!("/services/{name}/api-keys"));
        if name.starts_with("reg-") {
            // A registration is one change: the service, its key and its registration are there together.
            assert_eq!(keys.len(), 1, "{name}");
            let id = text(&keys[0], "id");
            assert_eq!(told("api_key", &format!("{name}/{id}")), Some((true, 1)), "{name}");
            assert_eq!(told("registration", &name), Some((true, 1)), "{name}");
        }
    }
    for ((kind, key), (there, _)) in &last {
        let found = match kind.as_str() {
            "service" => services.iter().any(|service| format!("{}/v1", text(service, "name")) == *key),
            "registration" => services.iter().any(|service| text(service, "name") == *key),
            _ => continue,
        };
        assert_eq!(found, *there, "{kind} {key}: the trail tells of no more and no less than there is");
    }
    let uses = gateway.admin_ok("GET", "/enrolment-tokens/all", None, 200)["uses"].as_u64().expect("a number");
    let registered: Vec<_> = services.iter().filter(|service| text(service, "name").starts_with("reg-")).collect();
    assert_eq!(uses, registered.len() as u64, "each registration has used the token once");

    for (name, key) in &seen.registered {
        assert!(registered.iter().any(|service| text(service, "name") == *name), "{name} was acknowledged");
        // Not 401: the key is known. 401 for the missing user token names the bearer alone.
        let answer = gateway.call("GET", &format!("/{name}/v1/"), &[("X-API-Key", key)], b"");
        assert_eq!(answer.code(), "missing_credential", "{name}");
    }
    for (name, (revision, port)) in &seen.services {
        let found = gateway.admin_ok("GET", &format!("/services/{name}/v1"), None, 200);
        let now = found["revision"].as_u64().expect("a revision");
        assert!(now >= *revision, "{name} went back to {now}, {revision} was acknowledged");
        if now == *revision {
            assert_eq!(found["targets"][0]["url"], format!("http://127.0.0.1:{port}"), "{name}");
        }
    }
    for (name, id) in &seen.clients {
        let keys = all(gateway, &format!("/clients/{name}/api-keys"));
        assert!(keys.iter().any(|key| text(key, "id") == *id), "{name} has its key");
        assert_eq!(told("api_key", &format!("{name}/{id}")), Some((true, 1)), "{name}");
    }
    for name in &seen.deleted {
        assert_eq!(gateway.admin("GET", &format!("/clients/{name}"), None).status, 404, "{name}");
        assert_eq!(told("client", name).map(|(there, _)| there), Some(false), "{name}");
    }
    // A client and its secret are made and taken out together.
    for client in all(gateway, "/clients") {
        let name = text(&client, "name");
        let below = format!("{name}/");
        let secrets = last
            .iter()
            .filter(|((kind, key), (there, _))| kind == "client_secret" && key.starts_with(&below) && *there);
        assert_eq!(secrets.count(), usize::from(name != "default"), "{name}");
    }
}

#[test]
fn killed_in_the_middle_of_writes_it_has_everything_it_acknowledged() {
    let mut gateway = Gateway::start();
    let enrolment = enrol(&gateway, &json!({"name": "all"}));
    let seen = Arc::new(Mutex::new(Acknowledged::default()));
    for round in 0..ROUNDS {
        let line = Line { admin: gateway.admin, data: gateway.data, token: gateway.token.clone() };
        let before = seen.lock().expect("fine").changes;
        let gone = AtomicBool::new(false);
        let directory = thread::scope(|scope| {
            for writer in 0..WRITERS {
                let (line, enrolment, seen, gone) = (&line, &enrolment, &seen, &gone);
                scope.spawn(move || {
                    write(line, enrolment, writer, round, seen);
                    gone.store(true, Ordering::SeqCst);
                });
            }
            // Writes are under way whenever the count moves; the kill comes right behind one, a little later in
            // every round.
            while seen.lock().expect("fine").changes < before + ACKNOWLEDGED + 8 * round {
                assert!(!gone.load(Ordering::SeqCst), "a writer lost a gateway that lives");
                thread::sleep(Duration::from_millis(1));
            }
            gateway.kill()
        });
        gateway = Gateway::restart(directory, "");
        examine(&gateway, &seen.lock().expect("fine"));
    }
    let seen = seen.lock().expect("fine");
    assert!(seen.registered.len() > ROUNDS && seen.clients.len() > ROUNDS && !seen.deleted.is_empty());
}

#[test]
fn the_audit_trail_is_read_and_verified_from_the_command_line() {
    let mut gateway = Gateway::start();
    gateway.admin_ok("POST", "/clients", Some(&json!({"name": "shop"})), 201);
    let admin = format!("http://{}", gateway.admin);
    let ask = |directory: &std::path::Path, words: &[&str]| {
        let output = command(directory).args(words).output().expect("runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let online = |words: &[&str]| ask(gateway.directory(), &[&["--admin", &admin], words].concat());
    let (code, shown, _) = online(&["audit", "--kind", "client"]);
    assert_eq!(code, Some(0));
    let lines: Vec<_> = shown.lines().collect();
    assert!(lines.len() == 2 && lines[0].contains("gateway  -  created  client default"), "{shown}");
    assert!(lines[1].contains("admin token  127.0.0.1  created  client shop  r1"), "{shown}");
    assert_eq!(online(&["audit", "--key", "nobody"]).1, "");
    let (code, intact, _) = online(&["audit", "verify"]);
    assert!(code == Some(0) && intact.starts_with("intact: "), "{intact}");
    // While it runs, the directory is its own.
    let (code, _, said) = online(&["audit", "verify", "--offline"]);
    assert!(code == Some(1) && said.contains("in use"), "{said}");
    gateway.signal("TERM");
    assert!(gateway.wait().success());
    let directory = gateway.kill();
    assert_eq!(ask(directory.path(), &["audit", "verify", "--offline"]).1, intact);
    // Whoever has the file alone writes under a key of their own; that shows.
    std::fs::write(directory.path().join("master.key"), "0".repeat(64)).expect("written");
    let (code, shown, said) = ask(directory.path(), &["audit", "verify", "--offline", "--json"]);
    assert_eq!((code, said.contains("from entry 1 on")), (Some(1), true), "{said}");
    let verdict: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!((&verdict["intact"], &verdict["first_broken"]), (&json!(false), &json!(1)));
    let nothing = tempfile::tempdir().expect("a directory");
    let (code, _, said) = ask(nothing.path(), &["audit", "verify", "--offline"]);
    assert!(code == Some(1) && said.contains("portcullis.db is not there"), "{said}");
    assert_eq!(std::fs::read_dir(nothing.path()).expect("read").count(), 0, "and nothing was made");
}

/// Does away with the triggers and takes every entry out of the audit trail; puts those of another database in, if one is
/// named.
const EMPTY: &str = "
import sqlite3, sys
c = sqlite3.connect(sys.argv[1])
for (name,) in c.execute(\"SELECT name FROM sqlite_schema WHERE type = 'trigger'\").fetchall():
    c.execute(f'DROP TRIGGER {name}')
c.execute('DELETE FROM audit'); c.execute('DELETE FROM audit_head'); c.commit()
if len(sys.argv) > 2:
    c.execute('ATTACH ? AS other', (sys.argv[2],))
    for table in ('audit', 'audit_head'):
        c.execute(f'INSERT INTO {table} SELECT * FROM other.{table}')
    c.commit()
";

#[test]
fn a_trail_that_was_emptied_or_put_back_without_its_objects_is_told() {
    let stopped = |mut gateway: Gateway| {
        gateway.signal("TERM");
        assert!(gateway.wait().success());
        gateway.kill()
    };
    let gateway = Gateway::start();
    gateway.admin_ok("POST", "/clients", Some(&json!({"name": "shop"})), 201);
    let mut directory = stopped(gateway);
    let kept = tempfile::tempdir().expect("a directory");
    let earlier = kept.path().join("earlier.db");
    std::fs::copy(directory.path().join("portcullis.db"), &earlier).expect("copied");
    let gateway = Gateway::restart(directory, "");
    gateway.admin_ok("POST", "/users", Some(&json!({"username": "eve", "password": "a password"})), 201);
    assert_eq!(gateway.admin_ok("GET", "/audit/verify", None, 200)["intact"], true);
    directory = stopped(gateway);
    for (from, wanted) in
        [(vec![earlier.as_path()], "user 'eve' is in the registry, but"), (vec![], "client 'default' is")]
    {
        let database = directory.path().join("portcullis.db");
        let emptied = Command::new(python()).args(["-c", EMPTY]).arg(database).args(from).status();
        assert!(emptied.expect("python runs").success());
        let verify = || {
            let output = command(directory.path()).args(["audit", "verify", "--offline"]).output().expect("runs");
            (output.status.code(), String::from_utf8(output.stderr).expect("text"))
        };
        let (code, said) = verify();
        assert!(code == Some(1) && said.contains("broken") && said.contains(wanted), "{said}");
        // Neither a start nor a change after it heals that.
        let gateway = Gateway::restart(directory, "");
        let verdict = gateway.admin_ok("GET", "/audit/verify", None, 200);
        assert_eq!((&verdict["intact"], text(&verdict, "reason").contains(wanted)), (&json!(false), true), "{verdict}");
        gateway.admin_ok("PUT", "/users/eve", Some(&json!({"enabled": wanted.contains("default")})), 200);
        let verdict = gateway.admin_ok("GET", "/audit/verify", None, 200);
        assert_eq!((&verdict["intact"], verdict["reason"].is_string()), (&json!(false), true), "{verdict}");
        directory = stopped(gateway);
    }
}
