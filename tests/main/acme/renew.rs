//! Certificates that are renewed: when their time has come, when their authority says so, and when that fails.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::super::support::scene::until;
use super::super::tls::{LAST_REQUEST, answered, s_client};
use super::{HOST, World, certificate, obtained, told};

/// Says that it is over, also when a test has failed.
struct AtTheEnd<'a>(&'a AtomicBool);

impl Drop for AtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn before_it_ends_and_no_call_fails_meanwhile() {
    // So short that it is renewed twice while one looks on.
    let world = World::with(&[("certificateValidityPeriod", json!(12))]);
    let gateway = world.start(&world.settings("", "hosts = [\"api.example.com\"]\nchallenges = [\"tls-alpn-01\"]"));
    let first = obtained(&gateway, HOST)["fingerprint"].clone();
    let (done, calls) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let _end = AtTheEnd(&done);
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    assert_eq!(answered(&world.call(&gateway, HOST)).status, 200);
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        until("it is another", || certificate(&gateway, HOST)["fingerprint"] != first);
        let second = certificate(&gateway, HOST)["fingerprint"].clone();
        until("and again", || certificate(&gateway, HOST)["fingerprint"] != second);
        let before = calls.load(Ordering::Relaxed);
        until("calls go on", || calls.load(Ordering::Relaxed) > before + 2);
    });
    assert_eq!(certificate(&gateway, HOST)["failures"], 0);
}

#[test]
fn what_fails_is_told_and_shown_and_the_old_one_stays() {
    let world = World::with(&[("certificateValidityPeriod", json!(13))]);
    let gateway = world.start(&world.settings("", "hosts = [\"api.example.com\"]\nchallenges = [\"http-01\"]"));
    let first = obtained(&gateway, HOST);
    // The authority finds somebody else there now.
    let stranger = super::super::support::Backend::echo();
    world.plain.lead_to(stranger.url().trim_start_matches("http://").parse().expect("an address"));
    until("it has failed", || certificate(&gateway, HOST)["failures"] == 1);
    let now = certificate(&gateway, HOST);
    let reason = now["last_error"].as_str().expect("a reason");
    assert!(reason.starts_with("http-01: ") && reason.contains("urn:ietf:params:acme:error:"), "{reason}");
    assert_eq!((&now["fingerprint"], &now["serial"]), (&first["fingerprint"], &first["serial"]));
    let [at, next] = ["last_error_at", "next_renewal"].map(|name| now[name].as_str().expect("a moment").to_owned());
    assert!(next > at, "{now}");
    assert_eq!(told(&gateway, "no certificate could be obtained"), 1, "{}", gateway.stderr());
    assert_eq!(told(&gateway, reason.split_once(" (urn").expect("a kind").0), 1, "the log has the reason");
    let shown = s_client(gateway.tls.expect("TLS"), &["-servername", HOST], LAST_REQUEST);
    assert!(shown.contains("BEGIN CERTIFICATE"), "{shown}");
    // The failure and the wait are not forgotten with the process.
    let orders = world.pebble.orders();
    let settings = world.settings("", "hosts = [\"api.example.com\"]\nchallenges = [\"http-01\"]");
    let gateway = world.restart(gateway.kill(), &settings);
    let again = certificate(&gateway, HOST);
    assert_eq!((&again["failures"], &again["next_renewal"]), (&now["failures"], &now["next_renewal"]), "{again}");
    assert_eq!(world.pebble.orders(), orders);
}

#[test]
fn an_authority_that_cannot_be_reached_stops_nobody() {
    let world = World::new();
    let nobody = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let directory = format!("https://{nobody}/dir");
    let gateway = world.start(&world.settings_for(&directory, "", "hosts = [\"api.example.com\"]"));
    until("it has failed", || certificate(&gateway, HOST)["failures"] == 1);
    let reason = certificate(&gateway, HOST)["last_error"].as_str().expect("a reason").to_owned();
    assert!(reason.contains("no connection"), "{reason}");
    assert_eq!(gateway.call("GET", "/-/health", &[], b"").status, 200);
    // Nor where it would be the gateway itself.
    let own = format!("https://{}/dir", gateway.tls.expect("TLS"));
    drop(gateway);
    let settings = world.settings_for(&own, "", "hosts = [\"api.example.com\"]");
    let settings = settings.replace("127.0.0.1:0", own.trim_start_matches("https://").trim_end_matches("/dir"));
    let gateway = super::Gateway::with(&settings);
    until("it has failed", || certificate(&gateway, HOST)["failures"] == 1);
    let reason = certificate(&gateway, HOST)["last_error"].as_str().expect("a reason").to_owned();
    assert!(reason.contains("not connected to"), "{reason}");
}

#[test]
fn what_an_authority_has_forgotten_is_made_anew() {
    let mut world = World::with(&[("certificateValidityPeriod", json!(13))]);
    let settings = |world: &World| world.settings("", "hosts = [\"api.example.com\"]\nchallenges = [\"tls-alpn-01\"]");
    let gateway = world.start(&settings(&world));
    let first = obtained(&gateway, HOST)["fingerprint"].clone();
    let directory = gateway.kill();
    // Another authority under the same name, with nothing of what the first one knew.
    world.pebble.forget(&world.vouching);
    let gateway = world.restart(directory, &settings(&world));
    until("it is another", || certificate(&gateway, HOST)["fingerprint"] != first);
    assert_eq!(told(&gateway, "does not know our ACME account any more"), 1);
}

#[test]
fn a_stop_does_not_wait_for_an_order_and_the_next_start_goes_on() {
    let world = World::new();
    let settings = world.settings("", "hosts = [\"api.example.com\"]\nchallenges = [\"tls-alpn-01\"]");
    // The authority is led nowhere, so that the order waits.
    let mut gateway = super::Gateway::with(&settings);
    until("it is asked for", || world.secured.connections() > 0);
    gateway.signal("TERM");
    assert!(gateway.wait().success(), "{}", gateway.stderr());
    let gateway = world.restart(gateway.kill(), &settings);
    obtained(&gateway, HOST);
    assert_eq!(told(&gateway, "another node"), 0);
}

#[test]
fn a_crash_in_an_order_leaves_nothing_that_stands_in_the_way() {
    let world = World::new();
    let settings = world.settings("", "hosts = [\"api.example.com\"]\nchallenges = [\"tls-alpn-01\"]");
    let gateway = super::Gateway::with(&settings);
    until("it is asked for", || world.secured.connections() > 0);
    let directory = gateway.kill();
    let gateway = world.restart(directory, &settings);
    let until_lapsed = std::time::Instant::now() + std::time::Duration::from_secs(100);
    // The order counts as one that has failed, after which a minute is waited.
    while certificate(&gateway, HOST)["fingerprint"].is_null() {
        assert!(std::time::Instant::now() < until_lapsed, "{}", gateway.stderr());
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert_eq!(answered(&world.call(&gateway, HOST)).status, 200);
}

/// What stands in front of the authority, and what it has said.
struct Front {
    child: Child,
    directory: String,
    said: Arc<Mutex<Vec<String>>>,
}

impl Front {
    fn before(world: &World) -> Self {
        let served = world.vouching.issue("front", "IP:127.0.0.1");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/main/acme/renewal_front.py");
        let mut child = Command::new("python3")
            .args([script, &world.pebble.directory()])
            .args([world.vouching.root(), served.certificate, served.key])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is installed");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
        let directory = lines.next().expect("its directory");
        let said = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&said);
        std::thread::spawn(move || lines.for_each(|line| heard.lock().expect("not poisoned").push(line)));
        Self { child, directory, said }
    }

    fn said(&self, word: &str) -> Vec<String> {
        let said = self.said.lock().expect("not poisoned");
        said.iter().filter_map(|line| line.strip_prefix(word)?.strip_prefix(' ').map(str::to_owned)).collect()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// Debian's pebble knows nothing of renewal information, so that a small server in front of it answers for that.
#[test]
fn when_its_authority_says_so() {
    let world = World::new();
    let front = Front::before(&world);
    let gateway = world.start(&world.settings_for(&front.directory, "", "hosts = [\"api.example.com\"]"));
    // The window of the first is a few seconds away; that of the second is not.
    until("it is renewed", || told(&gateway, "a certificate was obtained") == 2);
    until("it is asked about", || front.said("asked").len() == 2);
    let asked = front.said("asked");
    assert_ne!(asked[0], asked[1]);
    assert_eq!(front.said("replaces"), [asked[0].clone()], "the second takes the place of the first");
    let now = obtained(&gateway, HOST);
    assert_eq!(answered(&world.call(&gateway, HOST)).status, 200);
    // It is for later than the last third of its life, and yet before its end.
    let moment = |name: &str| now[name].as_str().unwrap_or_else(|| panic!("{name} in {now}")).to_owned();
    assert!(moment("next_renewal") < moment("not_after"), "{now}");
    // Identifiers are those of the certificate: its issuer's key, and its serial number (RFC 9773 section 4.1).
    assert!(asked[1].split_once('.').is_some_and(|(issuer, serial)| !issuer.is_empty() && !serial.is_empty()));
    assert_eq!(now["last_error"], Value::Null);
}
