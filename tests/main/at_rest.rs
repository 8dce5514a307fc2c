//! What lies in the data directory: nothing that was handed out, and for its owner alone.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::json;

use super::support::gateway::command;
use super::support::scene::{PASSWORD, enrol, text};
use super::support::{Backend, Scene};

/// Every file below a directory, with its path.
fn files(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("read") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path.display().to_string(), fs::read(&path).expect("read")));
        }
    }
    found
}

fn holds(bytes: &[u8], secret: &str) -> bool {
    bytes.windows(secret.len()).any(|part| part == secret.as_bytes())
}

#[test]
fn nothing_that_was_handed_out_is_in_the_data_directory() {
    let scene = Scene::before(Backend::echo(), "");
    let gateway = &scene.gateway;
    let enrolment = enrol(gateway, &json!({"name": "fleet"}));
    let secret = gateway.admin_ok("GET", "/clients/shop", None, 200);
    assert!(secret.get("secret_key").is_none());
    let made = gateway.admin_ok("POST", "/clients", Some(&json!({"name": "other", "services": ["*"]})), 201);
    assert_eq!(scene.call("GET", "/orders/v1/x", &[], b"").status, 200);
    let mut secrets = vec![
        ("a password", PASSWORD.to_owned()),
        ("an API key", scene.api_key.clone()),
        ("a service's API key", text(&scene.registered, "api_key")),
        ("a registration key", text(&scene.registered, "registration_key")),
        ("an enrolment token", enrolment),
        ("an access token", scene.token.clone()),
        ("a refresh token", scene.refresh_token.clone()),
    ];
    secrets.extend(made["secret_key"].as_str().map(|secret| ("a client's secret", secret.to_owned())));
    gateway.access_log();
    let directory = scene.gateway.kill();
    let files = files(directory.path());
    for (what, secret) in &secrets {
        for (place, bytes) in &files {
            assert!(!holds(bytes, secret), "{what} is in {place}");
        }
    }
    let passwords = files.iter().filter(|(_, bytes)| holds(bytes, "$argon2id$v=19$m=19456,t=2,p=1$"));
    assert!(passwords.count() > 0, "19 MiB, 2 passes, and a salt of its own");
}

#[test]
fn keys_are_their_owners_alone_and_belong_to_one_registry() {
    let directory = Scene::before(Backend::echo(), "").gateway.kill();
    let path = directory.path().join("master.key");
    for name in ["master.key", "admin.token", "metrics.token", "portcullis.db"] {
        let mode = fs::metadata(directory.path().join(name)).expect(name).permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name}: {mode:o}");
    }
    // Another key, of the same form.
    let key = fs::read_to_string(&path).expect("read");
    fs::write(&path, key.replace(['0', '1', '2', '3'], "4").replace(['a', 'b', 'A', 'B'], "c")).expect("written");
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let output = command(directory.path()).args(arguments).output().expect("runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("belongs to another master key"), "{said}");
}
