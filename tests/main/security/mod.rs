//! `portcullis check --security`, through the real binary: every rule finds what it is for and nothing else, and a
//! configuration that is as it should be has no finding.

mod cases;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::Gateway;
use crate::support::gateway::command;
use crate::support::scene::{announce, copy_services, enrol};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Settings and declarations in a directory of their own.
struct Configuration {
    directory: TempDir,
}

impl Configuration {
    /// The example in `deploy/hardened`.
    fn hardened() -> Self {
        let read =
            |name: &str| std::fs::read_to_string(Path::new(ROOT).join("deploy/hardened").join(name)).expect(name);
        Self::of(&read("portcullis.toml"), &read("gate.yaml"))
    }

    fn of(settings: &str, declarations: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        mode(directory.path(), 0o700);
        let configuration = Self { directory };
        configuration.write("portcullis.toml", settings, 0o644);
        configuration.write("gate.yaml", declarations, 0o644);
        configuration
    }

    fn write(&self, name: &str, text: &str, bits: u32) {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).expect("written");
        mode(&path, bits);
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(self.directory.path());
        command.args(["check", "--security"]).args(arguments);
        command
    }

    fn check(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("it runs")
    }

    /// The findings in settings, files and the declarations.
    fn findings(&self) -> Vec<Value> {
        findings(&self.check(&["--json", "-f", &self.path("gate.yaml")]))
    }
}

fn mode(path: &Path, bits: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(bits)).expect("changed");
}

fn findings(output: &Output) -> Vec<Value> {
    let told: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    told["findings"].as_array().unwrap_or_else(|| panic!("no list: {told}")).clone()
}

/// Code and path of each finding.
fn short(findings: &[Value]) -> Vec<(String, String)> {
    let text = |finding: &Value, field: &str| finding[field].as_str().expect(field).to_owned();
    findings.iter().map(|finding| (text(finding, "id"), text(finding, "path"))).collect()
}

/// The codes in the reference the binary prints.
fn rules() -> BTreeSet<String> {
    let directory = tempfile::tempdir().expect("a directory");
    let output = command(directory.path()).args(["reference", "security-findings"]).output().expect("it runs");
    let page = String::from_utf8(output.stdout).expect("text");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    rows.map(|(id, _)| id.to_owned()).collect()
}

#[test]
fn a_hardened_configuration_has_no_finding() {
    let hardened = Configuration::hardened();
    for secret in ["master.key", "admin.token", "portcullis.db", "access.log"] {
        hardened.write(secret, "there", 0o600);
    }
    let output = hardened.check(&["--fail-on", "low", "-f", &hardened.path("gate.yaml")]);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(
        (output.status.code(), out.as_ref(), err.as_ref()),
        (Some(0), "", "0 findings, 0 of them low or worse\n")
    );
    // So it is not because nothing was looked at.
    let other = Configuration::of("listen = '0.0.0.0:0'", "version: 1\nclients: {a: {services: ['*']}}\n");
    assert_eq!(other.findings().len(), 2);
}

#[test]
fn every_rule_finds_what_it_is_for_and_nothing_else() {
    let mut fired = BTreeSet::new();
    for case in cases::all() {
        let configuration = Configuration::of(&case.settings(), &case.declarations.to_string());
        let found = short(&configuration.findings());
        let expected: Vec<_> = case.expected.iter().map(|(id, path)| ((*id).to_owned(), (*path).to_owned())).collect();
        assert_eq!(found, expected, "{case:?}");
        fired.extend(found.into_iter().map(|(id, _)| id));
    }
    fired.extend(open_files());
    fired.extend(open_keys());
    fired.extend(live());
    assert_eq!(fired, rules(), "every rule of the table has a case, and every case a rule");
}

/// What is found in the modes of files, one after the other.
fn open_files() -> BTreeSet<String> {
    let hardened = Configuration::hardened();
    let names = ["master.key", "admin.token", "metrics.token", "portcullis.db", "access.log", "access.log.1"];
    names.iter().for_each(|name| hardened.write(name, "there", 0o600));
    assert_eq!(hardened.findings(), Vec::<Value>::new());
    let place = |name: &str| hardened.directory.path().join(name);
    let mut fired = BTreeSet::new();
    let mut one = |name: &str, open: u32, closed: u32, expected: &[(&str, &str)]| {
        mode(&place(name), open);
        let found = short(&hardened.findings());
        let expected: Vec<_> = expected.iter().map(|(id, name)| ((*id).to_owned(), hardened.path(name))).collect();
        assert_eq!(found, expected, "{name} {open:o}");
        mode(&place(name), closed);
        fired.extend(found.into_iter().map(|(id, _)| id));
    };
    one("master.key", 0o640, 0o600, &[("open-secret", "master.key")]);
    one("admin.token", 0o604, 0o600, &[("open-secret", "admin.token")]);
    one("metrics.token", 0o640, 0o600, &[("open-secret", "metrics.token")]);
    one("portcullis.toml", 0o664, 0o644, &[("writable-settings", "portcullis.toml")]);
    let directory = hardened.directory.path().to_owned();
    // A file that can be read is out of reach in a directory that cannot be gone into.
    one("portcullis.db", 0o644, 0o644, &[]);
    one("access.log.1", 0o644, 0o644, &[]);
    mode(&directory, 0o755);
    one("access.log", 0o600, 0o600, &[("readable-records", "access.log.1"), ("readable-records", "portcullis.db")]);
    mode(&place("portcullis.db"), 0o600);
    mode(&place("access.log.1"), 0o600);
    mode(&directory, 0o770);
    let found = short(&hardened.findings());
    assert_eq!(found, [("writable-data-directory".to_owned(), directory.display().to_string())]);
    fired.extend(found.into_iter().map(|(id, _)| id));
    fired
}

/// What is found in the modes of private keys, wherever the settings say that they are.
fn open_keys() -> BTreeSet<String> {
    let hardened = Configuration::hardened();
    let (certificate, key, log) = (hardened.path("c.pem"), hardened.path("k.pem"), hardened.path("logs/calls"));
    let good = std::fs::read_to_string(hardened.path("portcullis.toml")).expect("written");
    let mut fired = BTreeSet::new();
    for named in [
        format!("[admin_tls]\ncertificate = '{certificate}'\nkey = '{key}'\n"),
        format!("[tls]\ncertificates = [{{certificate = '{certificate}', key = '{key}'}}]\n"),
        format!("[acme]\neab_kid = 'a'\neab_key_file = '{key}'\n"),
    ] {
        hardened.write("portcullis.toml", &format!("{good}\n{named}\n[log]\naccess_log = '{log}'\n"), 0o644);
        for (open, expected) in [
            (0o600, None),
            (0o640, Some("group-private-key")),
            (0o660, Some("open-private-key")),
            (0o604, Some("open-private-key")),
            (0o644, Some("open-private-key")),
        ] {
            hardened.write("k.pem", "a key", open);
            let found = short(&hardened.findings());
            let expected: Vec<_> = expected.map(|id| (id.to_owned(), key.clone())).into_iter().collect();
            assert_eq!(found, expected, "{named} {open:o}");
            fired.extend(found.into_iter().map(|(id, _)| id));
        }
        hardened.write("k.pem", "a key", 0o600);
    }
    // A metrics token elsewhere may be read by the group of whoever scrapes.
    hardened.write("portcullis.toml", &format!("{good}\n[metrics]\ntoken_file = '{key}'\n"), 0o644);
    for (open, is_found) in [(0o600, false), (0o640, false), (0o660, true), (0o644, true)] {
        hardened.write("k.pem", "a token", open);
        let expected: Vec<_> = is_found.then(|| ("open-secret".to_owned(), key.clone())).into_iter().collect();
        assert_eq!(short(&hardened.findings()), expected, "{open:o}");
    }
    hardened.write("k.pem", "a token", 0o600);
    hardened.write("portcullis.toml", &format!("{good}\n[log]\naccess_log = '{log}'\n"), 0o644);
    // The log is looked at where it is.
    std::fs::create_dir(hardened.path("logs")).expect("made");
    mode(Path::new(&hardened.path("logs")), 0o755);
    hardened.write("logs/calls.1", "records", 0o640);
    assert_eq!(short(&hardened.findings()), [("readable-records".to_owned(), hardened.path("logs/calls.1"))]);
    fired
}

/// What is found in a running gateway.
fn live() -> BTreeSet<String> {
    let gateway = Gateway::start();
    let twins = json!({"name": "checkout", "version": "pay", "base_url": "http://127.0.0.1:9"});
    let token = enrol(&gateway, &json!({"name": "twins", "max_uses": 1}));
    assert_eq!(announce(&gateway, &token, &twins).status, 201);
    let limits = json!({"throttle": {"rate": 1, "per": 1}, "rate_limit": {"rate": 1, "per": 1}});
    let body = json!({"targets": [{"url": "http://127.0.0.1:9"}], "policies": limits});
    gateway.admin_ok("PUT", "/services/checkout/pay", Some(&body), 200);
    let directory = gateway.kill();
    // As it could be made once.
    copy_services(directory.path(), "checkout/pay", &["Checkout/pay"]);
    let gateway = Gateway::restart(directory, "");
    let route = json!({"match": {"path": {"prefix": "/checkout"}}, "answer": {"status": 204}});
    gateway.admin_ok("PUT", "/routes/shop", Some(&route), 201);
    let make = |name: &str, more: Value| {
        let mut body = more;
        body["name"] = name.into();
        gateway.admin_ok("POST", "/enrolment-tokens", Some(&body), 201);
    };
    make("ever", json!({}));
    make("once", json!({"max_uses": 1}));
    make("today", json!({"ttl": "1d"}));
    let admin = format!("http://{}", gateway.admin);
    let check = |admin: &str| {
        let mut check = command(gateway.directory());
        check.args(["--json", "--admin", admin, "check", "--security", "--live"]).output().expect("it runs")
    };
    let output = check(&admin);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let found = findings(&output);
    assert!(found.iter().all(|finding| finding["place"] == "gateway"), "{found:?}");
    let found = short(&found);
    let expected = [
        ("shared-target", "services.Checkout/pay"),
        ("shared-target", "services.checkout/pay"),
        ("look-alike-services", "services.Checkout/pay"),
        ("look-alike-services", "services.checkout/pay"),
        ("wide-default-client", "clients.default.services[0]"),
        ("endless-enrolment", "enrolments.ever"),
        ("shadowed-service", "services.checkout/pay"),
    ];
    assert_eq!(found, expected.map(|(id, path)| (id.to_owned(), path.to_owned())));
    let nobody = check("http://127.0.0.1:9");
    assert_eq!((nobody.status.code(), nobody.stdout.len()), (Some(2), 0));
    found.into_iter().map(|(id, _)| id).collect()
}

#[test]
fn findings_are_told_with_their_places() {
    let settings = "# mine\nlisten = '0.0.0.0:7000'\n\n[tokens]\nrefresh_ttl = '365d'\n";
    let declarations = "version: 1\nservices:\n  a/v1:\n    targets:\n      - url: http://10.0.0.1\n    require: []\n";
    let bad = Configuration::of(settings, declarations);
    let output = bad.check(&["-f", &bad.path("gate.yaml")]);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!((output.status.code(), err.as_ref()), (Some(1), "5 findings, 2 of them high or worse\n"));
    let (gate, toml) = (bad.path("gate.yaml"), bad.path("portcullis.toml"));
    for head in [
        format!("high      open-without-limit  services.a/v1.require ({gate}:6)"),
        format!("medium    open-access  services.a/v1.require ({gate}:6)"),
        format!("medium    plain-http-target  services.a/v1.targets[0].url ({gate}:5)"),
        format!("high      clear-listener  listen ({toml}:2)"),
        format!("medium    long-refresh-token  tokens.refresh_ttl ({toml}:5)"),
    ] {
        assert!(out.lines().any(|line| line == head), "{head} in {out}");
    }
    let first: Vec<_> = out.lines().take(3).collect();
    assert!(first[0].starts_with("high ") && first[1].ends_with("neither throttle nor rate_limit."), "{out}");
    assert!(first[2].starts_with("          To do: ") && out.lines().count() == 15, "{out}");

    // A variable beats the file.
    let mut by_variable = bad.command(&["--json"]);
    let output = by_variable.env("PORTCULLIS_LISTEN", "0.0.0.0:1").output().expect("it runs");
    let found = findings(&output);
    assert_eq!((&found[0]["place"], &found[0]["line"]), (&json!("PORTCULLIS_LISTEN"), &Value::Null));
    assert_eq!((&found[1]["place"], &found[1]["line"]), (&json!(format!("{toml}:5")), &json!(5)));
    assert!(String::from_utf8_lossy(&output.stderr).contains("declarations were not looked at"));
}

#[test]
fn it_fails_from_the_severity_that_was_chosen() {
    let declarations = "version: 1\nclients: {a: {services: ['*']}}\n";
    let medium = Configuration::of("", declarations);
    let gate = medium.path("gate.yaml");
    for (fail_on, code) in [("low", 1), ("medium", 1), ("high", 0), ("critical", 0)] {
        let output = medium.check(&["--fail-on", fail_on, "--json", "-f", &gate]);
        assert_eq!(output.status.code(), Some(code), "{fail_on}");
        assert_eq!((findings(&output).len(), output.stderr.len()), (1, 0));
        let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!((&told["fail_on"], &told["counted"]), (&json!(fail_on), &json!(code)));
    }
    assert_eq!(medium.check(&["-f", &gate]).status.code(), Some(0), "high is the default");
    // What is not good is told as a check tells it, and what cannot be read is trouble.
    medium.write("gate.yaml", "version: 1\nservces: {}\n", 0o644);
    let output = medium.check(&["-f", &gate]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("line 2: servces"), "{output:?}");
    assert_eq!(medium.check(&["-f", "/nowhere/gate.yaml"]).status.code(), Some(2));
    medium.write("portcullis.toml", "lisen = 1", 0o644);
    assert_eq!(medium.check(&[]).status.code(), Some(2));
}
