//! Certificates that are obtained: by either way, kept over restarts, and not where a file has one.

use serde_json::{Value, json};

use super::super::support::authority::Authority;
use super::super::support::gateway::command;
use super::super::support::scene::until;
use super::super::tls::{LAST_REQUEST, answered, failed, s_client};
use super::{HOST, World, certificate, is_nowhere_in, obtained, told};

/// What openssl says of a connection by a protocol of ALPN.
fn alpn(gateway: &super::Gateway, protocols: &str) -> String {
    let address = gateway.tls.expect("TLS");
    s_client(address, &["-servername", HOST, "-alpn", protocols], LAST_REQUEST)
}

#[test]
fn by_a_handshake_and_kept_over_a_restart() {
    let world = World::new();
    let settings = world
        .settings("", "hosts = [\"API.example.com\"]\nchallenges = [\"tls-alpn-01\"]\ncontact = [\"ops@example.com\"]");
    let gateway = world.start(&settings);
    let found = obtained(&gateway, HOST);
    assert_eq!(answered(&world.call(&gateway, HOST)).status, 200);
    assert_eq!((&found["source"], &found["file"], &found["names"]), (&json!("acme"), &Value::Null, &json!([HOST])));
    assert_eq!((&found["failures"], &found["last_error"]), (&json!(0), &Value::Null), "{found}");
    let moment = |name: &str| found[name].as_str().unwrap_or_else(|| panic!("{name} in {found}")).to_owned();
    assert!(moment("not_before") < moment("next_renewal") && moment("next_renewal") < moment("not_after"), "{found}");
    assert!(world.plain.connections() == 0 && world.secured.connections() > 0, "it came by the handshake alone");
    // What is shown is what is told.
    let shown = s_client(gateway.tls.expect("TLS"), &["-servername", HOST], LAST_REQUEST);
    let begin = shown.find("-----BEGIN").expect("a certificate");
    std::fs::write(gateway.directory().join("shown.pem"), &shown[begin..]).expect("written");
    let openssl = std::process::Command::new("openssl")
        .args(["x509", "-noout", "-serial", "-sha256", "-fingerprint", "-in"])
        .arg(gateway.directory().join("shown.pem"))
        .output()
        .expect("openssl is installed");
    let told_by_openssl = String::from_utf8_lossy(&openssl.stdout).replace(':', "").to_lowercase();
    assert!(told_by_openssl.contains(found["fingerprint"].as_str().expect("text")), "{told_by_openssl} {found}");
    assert!(told_by_openssl.contains(found["serial"].as_str().expect("text")), "{told_by_openssl} {found}");

    // The command shows the same.
    let listed = command(gateway.directory())
        .env("PORTCULLIS_ADMIN_URL", format!("http://{}", gateway.admin))
        .arg("certificates")
        .output();
    let listed = String::from_utf8(listed.expect("runs").stdout).expect("text");
    assert!(listed.lines().any(|line| line.starts_with(HOST) && line.contains(&moment("not_after"))), "{listed}");

    // Nobody who has the files has the keys.
    assert!(
        is_nowhere_in(gateway.directory(), b"BEGIN CERTIFICATE") && is_nowhere_in(gateway.directory(), b"key_pkcs8")
    );

    let orders = world.pebble.orders();
    assert!(orders >= 1, "{}", world.pebble.said());
    let gateway = world.restart(gateway.kill(), &settings);
    assert_eq!(answered(&world.call(&gateway, HOST)).status, 200);
    assert_eq!(certificate(&gateway, HOST)["fingerprint"], found["fingerprint"]);
    assert_eq!(world.pebble.orders(), orders, "nothing was ordered");
}

#[test]
fn by_an_answer_on_the_listener_that_redirects_and_on_the_one_that_serves() {
    for redirect in [true, false] {
        let world = World::new();
        let top = format!("http_redirect = {redirect}");
        let gateway = world.start(&world.settings(&top, "hosts = [\"api.example.com\"]\nchallenges = [\"http-01\"]"));
        obtained(&gateway, HOST);
        assert_eq!(answered(&world.call(&gateway, HOST)).status, 200);
        assert!(world.plain.connections() > 0);
        // Now that nothing is pending, the path is one like any other.
        let path = "/.well-known/acme-challenge/evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA";
        let answer = gateway.call("GET", path, &[("Host", HOST)], b"");
        assert_eq!(answer.status, if redirect { 308 } else { 404 });
        let record = gateway.record("limit=50", |record| {
            record["status"] == 200 && record["path"].as_str().is_some_and(|path| path.contains("acme-challenge"))
        });
        assert!(record["service"].is_null(), "{record}");
    }
}

#[test]
fn a_route_of_ones_own_may_have_the_path() {
    let world = World::new();
    let gateway = world.start(&world.settings("", "hosts = [\"api.example.com\"]\nchallenges = [\"http-01\"]"));
    let backend = super::super::support::Backend::echo();
    let service = json!({"targets": [{"url": backend.url()}], "require": []});
    gateway.admin_ok("PUT", "/services/own/v1", Some(&service), 201);
    let route = json!({"match": {"path": {"prefix": "/.well-known/acme-challenge"}}, "service": "own/v1"});
    gateway.admin_ok("PUT", "/routes/own", Some(&route), 201);
    obtained(&gateway, HOST);
    let answer = gateway.call("GET", "/.well-known/acme-challenge/mine", &[("Host", HOST)], b"");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(backend.received().len(), 1, "the authority's own question did not come here");
}

#[test]
fn a_handshake_for_what_is_not_there_yet_is_refused_and_challenges_end_after_it() {
    let world = World::new();
    let files = world.vouching.issue("other", "DNS:other.example.com");
    let settings = world.settings("", "hosts = [\"api.example.com\"]\nchallenges = [\"tls-alpn-01\"]");
    let settings = format!("{settings}[tls]\ncertificates = [{}]\n", files.setting());
    // Nobody leads the authority here, so it waits; and so does the host.
    let gateway = super::Gateway::with(&settings);
    let address = gateway.tls.expect("TLS");
    let refused = s_client(address, &["-servername", HOST], LAST_REQUEST);
    assert!(refused.contains("no peer certificate available") && refused.contains("alert"), "{refused}");
    let other = s_client(address, &["-servername", "else.example.com"], LAST_REQUEST);
    assert!(other.contains("BEGIN CERTIFICATE"), "who asks for anything else sees the first: {other}");
    let missing = certificate(&gateway, HOST);
    assert_eq!((&missing["source"], &missing["not_after"]), (&json!("acme"), &Value::Null), "{missing}");

    until("it is asked for", || world.secured.connections() > 0);
    let proof = alpn(&gateway, "acme-tls/1");
    assert!(proof.contains("ALPN protocol: acme-tls/1") && proof.contains("BEGIN CERTIFICATE"), "{proof}");
    assert!(!proof.contains("HTTP/1.1 "), "nothing is answered over it: {proof}");
    // Who can speak something else as well is no authority (RFC 8737 section 3).
    let both = alpn(&gateway, "acme-tls/1,http/1.1");
    assert!(!both.contains("ALPN protocol: acme-tls/1"), "{both}");
    world.lead_to(&gateway);
    obtained(&gateway, HOST);
    let over = alpn(&gateway, "acme-tls/1");
    assert!(over.contains("no application protocol") && !over.contains("ALPN protocol: acme-tls/1"), "{over}");
}

#[test]
fn nobody_is_asked_for_a_client_certificate_while_proving() {
    let world = World::new();
    let clients = Authority::new();
    let settings = world.settings("", "hosts = [\"api.example.com\"]\nchallenges = [\"tls-alpn-01\"]");
    let settings = format!("{settings}[tls]\nclient_certificates = \"required\"\nclient_ca = {:?}\n", clients.root());
    // Nobody leads the authority here yet, so that there is time to look.
    let gateway = super::Gateway::with(&settings);
    until("it is asked for", || world.secured.connections() > 0);
    let proof = alpn(&gateway, "acme-tls/1");
    assert!(proof.contains("ALPN protocol: acme-tls/1"), "{proof}");
    assert!(!proof.contains("certificate required") && !proof.contains("Acceptable client certificate"), "{proof}");
    world.lead_to(&gateway);
    obtained(&gateway, HOST);
    assert!(failed(&world.call(&gateway, HOST)).contains("certificate required"), "everybody else is");
}

#[test]
fn a_file_wins_and_the_others_are_ordered() {
    let world = World::new();
    let files = world.vouching.issue("api", "DNS:api.example.com");
    let settings = world.settings("", "hosts = [\"api.example.com\", \"shop.example.com\"]");
    let gateway = world.start(&format!("{settings}[tls]\ncertificates = [{}]\n", files.setting()));
    obtained(&gateway, "shop.example.com");
    assert_eq!(answered(&world.call(&gateway, "shop.example.com")).status, 200);
    let ours = certificate(&gateway, HOST);
    assert_eq!((&ours["source"], &ours["next_renewal"]), (&json!("file"), &Value::Null), "{ours}");
    let address = gateway.tls.expect("TLS");
    assert_eq!(answered(&super::curl(address, &world.vouching.root(), HOST, "/-/health", &[])).status, 200);
    assert_eq!(told(&gateway, "a certificate was obtained"), 1);
}

#[test]
fn an_account_may_be_bound_to_another() {
    let key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let required = [("externalAccountBindingRequired", json!(true)), ("externalAccountMACKeys", json!({"kid-1": key}))];
    let world = World::with(&required);
    let path = world.kept.path().join("mac.key");
    std::fs::write(&path, format!("{key}\n")).expect("written");
    let acme = format!("hosts = [\"api.example.com\"]\neab_kid = \"kid-1\"\neab_key_file = {path:?}");
    let gateway = world.start(&world.settings("", &acme));
    obtained(&gateway, HOST);
    assert!(!gateway.stderr().contains(&key[..16]));
    drop(gateway);
    // Without it nobody gets an account, and the reason is shown.
    let gateway = world.start(&world.settings("", "hosts = [\"api.example.com\"]"));
    until("it has failed", || certificate(&gateway, HOST)["failures"] == 1);
    let reason = certificate(&gateway, HOST)["last_error"].as_str().expect("a reason").to_owned();
    assert!(reason.contains("externalAccountRequired"), "{reason}");
}
