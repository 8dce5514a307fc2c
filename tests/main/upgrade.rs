//! A gateway opens the data directory of every earlier release, and nothing in it is lost: what was declared, who may
//! call, who is logged in, and who changed what.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::support::gateway::command;
use super::support::scene::{announce, call_as, text};
use super::support::{Backend, Gateway, python};

/// Loads a registry that is written as SQL.
const LOAD: &str = "import sqlite3, sys; sqlite3.connect(sys.argv[2]).executescript(open(sys.argv[1]).read())";

/// The directories of earlier releases.
fn kept() -> Vec<PathBuf> {
    let place = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
    let entries = fs::read_dir(place).expect("a directory").map(|entry| entry.expect("an entry").path());
    let mut found: Vec<_> = entries.filter(|path| path.is_dir()).collect();
    found.sort();
    found
}

/// A copy of one, as it stood on a disk.
fn copied(kept: &Path) -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let place = directory.path();
    for name in ["master.key", "admin.token", "access.log", "portcullis.toml"] {
        fs::write(place.join(name), fs::read(kept.join(name)).expect(name)).expect("written");
        fs::set_permissions(place.join(name), fs::Permissions::from_mode(0o600)).expect("set");
    }
    let (from, to) = (kept.join("registry.sql"), place.join("portcullis.db"));
    let loaded = Command::new(python()).args(["-c", LOAD]).args([from, to]).status();
    assert!(loaded.expect("python runs").success());
    directory
}

fn read(kept: &Path, name: &str) -> Value {
    serde_json::from_slice(&fs::read(kept.join(name)).expect(name)).expect("JSON")
}

/// What one value says that another does not, with its place. New releases may say more.
fn lost(before: &Value, now: &Value, place: &str, lost_places: &mut Vec<String>) {
    match (before, now) {
        (Value::Object(before), Value::Object(_)) => {
            for (name, value) in before {
                lost(value, &now[name.as_str()], &format!("{place}.{name}"), lost_places);
            }
        }
        (Value::Array(before), Value::Array(present)) if before.len() == present.len() => {
            for (at, (value, present)) in before.iter().zip(present).enumerate() {
                lost(value, present, &format!("{place}[{at}]"), lost_places);
            }
        }
        _ if before == now => {}
        _ => lost_places.push(format!("{place}: {before} became {now}")),
    }
}

fn run(directory: &Path, arguments: &[&str]) -> Value {
    let output = command(directory).args(arguments).output().expect("runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn every_earlier_release_is_there_in_text() {
    let names: Vec<_> = kept().iter().map(|path| path.file_name().expect("a name").to_owned()).collect();
    assert!(names.contains(&"data-dir-0.1.0".into()), "{names:?}");
}

#[test]
fn the_directory_of_every_earlier_release_is_opened_and_nothing_in_it_is_lost() {
    for kept in kept() {
        let directory = copied(&kept);
        let audit = read(&kept, "audit.json");
        let verified = run(directory.path(), &["audit", "verify", "--offline", "--json"]);
        assert_eq!((&verified["intact"], &verified["head"]), (&json!(true), &audit["head"]), "{}", kept.display());
        let settings = fs::read_to_string(kept.join("portcullis.toml")).expect("read");
        let gateway = Gateway::restart(directory, &settings);
        walk(&gateway, &kept);
        // What this release has made of it, it opens again.
        let gateway = Gateway::restart(gateway.kill(), &settings);
        assert_eq!(gateway.admin_ok("GET", "/audit/verify", None, 200)["intact"], true);
        assert_eq!(gateway.call("GET", "/hello", &[], b"").text(), "hello");
        let log = fs::read(kept.join("access.log")).expect("read");
        assert!(gateway.access_log().as_bytes().starts_with(&log), "the log goes on where it ended");
    }
}

/// Everybody who could do something can do it still, and nobody else.
fn walk(gateway: &Gateway, kept: &Path) {
    let secrets = read(kept, "secrets.json");
    let secret = |name: &str| text(&secrets, name);
    let now = gateway.admin_ok("GET", "/declarations", None, 200);
    let mut losses = Vec::new();
    lost(&read(kept, "declarations.json"), &now, "", &mut losses);
    assert!(losses.is_empty(), "{losses:#?}");
    assert_eq!(gateway.admin_ok("GET", "/audit/verify", None, 200)["intact"], true);
    let hello = gateway.call("GET", "/hello", &[], b"");
    assert_eq!((hello.status, hello.header("x-a"), hello.text().as_str()), (200, Some("b"), "hello"));
    assert_eq!(gateway.call("GET", "/old/x", &[], b"").status, 308);

    // Keys that verify the tokens of before.
    let head = secret("access_token").split('.').next().map(|head| URL_SAFE_NO_PAD.decode(head).expect("base64"));
    let head: Value = serde_json::from_slice(&head.expect("a head")).expect("JSON");
    let keys = gateway.call("GET", "/.well-known/jwks.json", &[], b"").json();
    assert!(keys["keys"].as_array().expect("keys").iter().any(|key| key["kid"] == head["kid"]), "{keys}");

    // Targets are elsewhere now; everything else of the service stays.
    let backend = Backend::echo();
    let mut legacy = gateway.admin_ok("GET", "/services/legacy/v1", None, 200);
    legacy = json!({"targets": [{"url": backend.url()}], "require": legacy["require"], "policies": legacy["policies"]});
    gateway.admin_ok("PUT", "/services/legacy/v1", Some(&legacy), 200);
    // The session belongs to the client whose key was shown at the login.
    let key = secret("shop_key");
    let refresh = json!({"refresh_token": secret("refresh_token")});
    let again = gateway.post("/-/token/refresh", &[("X-API-Key", &key)], &refresh);
    assert_eq!(again.status, 200, "{}", again.text());
    let token = text(&again.json(), "access_token");
    assert_eq!(call_as(gateway, "/legacy/v1/x", &token, &secret("shop_key")).status, 200);
    let seen = backend.received().pop().expect("a request");
    assert_eq!((seen.header("x-from"), seen.header("x-user-json").is_some()), (Some("gate"), true));
    assert_eq!(call_as(gateway, "/legacy/v1/private", &token, &secret("shop_key")).status, 403);
    for (key, token) in [("deleted_key", &*token), ("disabled_key", &*token), ("shop_key", &*secret("access_token"))] {
        assert_eq!(call_as(gateway, "/legacy/v1/x", token, &secret(key)).status, 401, "{key}");
    }
    let ended = gateway.post("/-/token/refresh", &[], &json!({"refresh_token": secret("ended_refresh_token")}));
    assert_eq!(ended.status, 401);
    for (user, status) in [("ada", 200), ("bob", 200), ("eve", 401)] {
        let login = gateway.post("/-/token", &[], &json!({"username": user, "password": secret("password")}));
        assert_eq!(login.status, status, "{user}");
    }

    // A service that had registered itself says where it is now, and another one comes with the same enrolment.
    let moved = Backend::echo();
    let here = json!({"name": "registered", "base_url": moved.url()});
    assert_eq!(announce(gateway, &secret("enrolment"), &here).status, 409);
    assert_eq!(announce(gateway, &secret("registration_key"), &here).status, 200);
    assert_eq!(call_as(gateway, "/registered/v1/x", &token, &secret("service_key")).status, 200);
    let other = json!({"name": "another", "base_url": moved.url()});
    assert_eq!(announce(gateway, &secret("enrolment"), &other).status, 201);
}
