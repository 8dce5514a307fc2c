//! What cannot be ordered is told at the start, all at once.

use super::super::support::gateway::command;

/// Everything that is said about a file of settings that cannot be used.
fn refused(settings: &str) -> String {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("portcullis.toml"), settings).expect("written");
    let mut arguments = vec!["serve", "--admin-listen", "127.0.0.1:0"];
    if !settings.starts_with("listen") {
        arguments.extend(["--listen", "127.0.0.1:0"]);
    }
    let output = command(directory.path()).args(arguments).output().expect("runs");
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn wrong_settings_are_told_at_once() {
    let said = refused(
        "[acme]\nhosts = ['*.example.com', '10.0.0.1', 'localhost', 'a.example', 'a.example']\n\
         directory = 'http://ca.example/dir'\nchallenges = []\neab_kid = 'kid'",
    );
    for part in [
        "acme.hosts[0]: '*.example.com' is a wildcard, which authorities issue by dns-01 only",
        "acme.hosts[1]: '10.0.0.1' is an address",
        "acme.hosts[2]: 'localhost' is not a DNS name",
        "acme.hosts[4]: 'a.example' is there twice",
        "acme.hosts: certificates are of no use without 'tls_listen'",
        "acme.directory: expected a URL that begins with 'https://'",
        "acme.challenges: expected at least one of",
        "acme.terms_agreed: the certificate authority issues only to those who agreed to its terms",
        "acme.eab_key_file: 'acme.eab_kid' needs its key",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let said = refused(
        "listen = 'off'\ntls_listen = '127.0.0.1:0'\n[acme]\nterms_agreed = true\nhosts = ['a.example']\n\
         challenges = ['http-01', 'http-01']",
    );
    for part in ["acme.challenges: each of 'tls-alpn-01' and 'http-01' at most once", "'http-01' needs 'listen'"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let said = refused("[acme]\nchallenges = ['dns-01']\ncontact = ['nobody']");
    assert!(said.contains("'tls-alpn-01' and 'http-01'") && said.contains("mail addresses"), "{said}");
    let hosts: Vec<_> = (0..101).map(|number| format!("'h{number}.example'")).collect();
    let said =
        refused(&format!("tls_listen = '127.0.0.1:0'\n[acme]\nterms_agreed = true\nhosts = [{}]", hosts.join(",")));
    assert!(said.contains("acme.hosts: at most 100"), "{said}");
}

#[test]
fn files_that_are_no_good_are_told_at_the_start() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    };
    let (roots, key) = (file("roots.pem", "no PEM"), file("mac.key", "hunter2 is no base64url!"));
    let settings = |ca: &std::path::Path, more: &str| {
        format!(
            "tls_listen = '127.0.0.1:0'\n[acme]\nterms_agreed = true\nhosts = ['a.example']\nca_file = {ca:?}\n{more}"
        )
    };
    let missing = directory.path().join("missing.pem");
    let said = refused(&settings(&missing, &format!("eab_kid = 'k'\neab_key_file = {key:?}")));
    assert!(said.contains("missing.pem: cannot be read") && said.contains("mac.key: does not hold a key"), "{said}");
    assert!(!said.contains("hunter2"), "a secret is told: {said}");
    let said = refused(&settings(&roots, ""));
    assert!(said.contains("acme.ca_file: expected certificates in PEM"), "{said}");
}
