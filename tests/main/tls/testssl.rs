//! What `testssl.sh` finds in a listener of the `modern` profile.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{HOST, scene, tls};
use crate::support::authority::Authority;

#[test]
fn testssl_finds_nothing_above_low_in_a_modern_listener() {
    let authority = Authority::new();
    let issued = authority.issue_as_usual("usual", &format!("DNS:{HOST}"));
    let scene = scene(&[&issued], "profile = \"modern\"\nhsts_max_age = \"365d\"");
    let directory = tempfile::tempdir().expect("a directory");
    let report = directory.path().join("report.json");
    let thorough = std::env::var_os("CHECK_PEERS").is_some_and(|peers| peers == "thorough");
    let output = Command::new("testssl")
        .args(["--quiet", "--color", "0", "--warnings", "off", "--nodns", "none", "--ip", "127.0.0.1"])
        .args(["--connect-timeout", "10", "--openssl-timeout", "10"])
        // Everything but how browsers of old would fare; `./check peers` asks for that too, and takes its time.
        .args(if thorough { &[][..] } else { &["--fast", "-p", "-s", "-f", "-P", "-S", "-h", "-U"] })
        .arg("--add-ca")
        .arg(authority.root())
        .arg("--jsonfile")
        .arg(&report)
        .arg(format!("{HOST}:{}", tls(&scene.gateway).port()))
        // It writes beside itself otherwise.
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .output()
        .expect("testssl is installed");
    let text = String::from_utf8_lossy(&output.stdout);
    let report = fs::read(&report).unwrap_or_else(|error| panic!("{error}: {text}"));
    let findings: Vec<Value> = serde_json::from_slice(&report).unwrap_or_else(|error| panic!("{error}: {text}"));
    let finding = |id: &str| {
        let found = findings.iter().find(|it| it["id"] == id).unwrap_or_else(|| panic!("no {id} in {text}"));
        found["finding"].as_str().unwrap_or_default()
    };
    // It has really been there, and come to its end.
    assert!(finding("TLS1_3").starts_with("offered") && finding("TLS1_2").starts_with("not offered"), "{text}");
    assert_eq!(finding("cert_chain_of_trust"), "passed.", "{text}");
    assert!(finding("RC4").starts_with("not vulnerable"), "{text}");
    let fine = ["OK", "INFO", "LOW"];
    // Whether a session is resumed is asked with a client that leaves without waiting for a ticket: on a busy machine
    // it has none, and what is reported then is that the question could not be asked. Resumption has tests of its own.
    let asked = |it: &Value| it["id"] != "sessionresumption_ticket" || it["severity"] != "WARN";
    // What the client's own openssl has no engine for says nothing of the listener.
    let of_listener = |it: &Value| it["id"] != "engine_problem";
    let grave: Vec<_> = findings
        .iter()
        .filter(|it| asked(it) && of_listener(it) && !it["severity"].as_str().is_some_and(|it| fine.contains(&it)))
        .collect();
    assert!(grave.is_empty(), "{grave:#?}\n{text}");
}
