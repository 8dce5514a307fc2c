//! Certificates that change while the gateway runs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::super::support::authority::{Authority, Issued};
use super::super::support::client::read_answer;
use super::super::support::gateway::command;
use super::super::support::scene::until;
use super::{HOST, LAST_REQUEST, answered, curl, s_client, scene, settings, tls};

/// A directory in which a link leads to the certificate that is in use, as certbot and Kubernetes have it.
struct Live {
    directory: tempfile::TempDir,
}

impl Live {
    fn showing(issued: &Issued) -> Self {
        let live = Self { directory: tempfile::tempdir().expect("a directory") };
        live.show(issued);
        live
    }

    fn files(&self) -> Issued {
        let place = |name: &str| self.directory.path().join("current").join(name);
        Issued { certificate: place("cert.pem"), key: place("key.pem") }
    }

    /// Makes another directory and has the link lead there, both files at once.
    fn show(&self, issued: &Issued) {
        self.put(&fs::read(&issued.certificate).expect("read"), &fs::read(&issued.key).expect("read"));
    }

    fn put(&self, certificate: &[u8], key: &[u8]) {
        let next = tempfile::tempdir_in(self.directory.path()).expect("a directory").keep();
        fs::write(next.join("cert.pem"), certificate).expect("written");
        fs::write(next.join("key.pem"), key).expect("written");
        let link = self.directory.path().join("next");
        symlink(&next, &link).expect("linked");
        fs::rename(link, self.directory.path().join("current")).expect("moved");
    }
}

/// Says that it is over, also when a test has failed.
struct AtTheEnd<'a>(&'a AtomicBool);

impl Drop for AtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The certificate a listener shows, without its last line.
fn shown(scene: &super::Scene) -> String {
    let told = s_client(tls(&scene.gateway), &["-servername", HOST], LAST_REQUEST);
    let begin = told.find("-----BEGIN CERTIFICATE-----").unwrap_or_else(|| panic!("no certificate: {told}"));
    let end = told.find("-----END CERTIFICATE-----").expect("an end");
    told[begin..end].to_owned()
}

fn pem(issued: &Issued) -> String {
    let text = fs::read_to_string(&issued.certificate).expect("read");
    text[..text.find("-----END CERTIFICATE-----").expect("an end")].to_owned()
}

#[test]
fn a_new_certificate_is_shown_and_no_call_fails_meanwhile() {
    let authority = Authority::new();
    let (old, new) = (authority.issue("old", "DNS:api.example.com"), authority.issue("new", "DNS:api.example.com"));
    let live = Live::showing(&old);
    let scene = scene(&[&live.files()], "");
    let address = tls(&scene.gateway);
    assert_eq!(shown(&scene), pem(&old));

    // A connection that is open before goes on over the change.
    let mut kept = std::process::Command::new("openssl")
        .args(["s_client", "-connect", &address.to_string(), "-servername", HOST, "-quiet"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("openssl is installed");
    let (mut ask, mut hear) = (kept.stdin.take().expect("piped"), kept.stdout.take().expect("piped"));
    let mut call_on_kept = || {
        std::io::Write::write_all(&mut ask, b"GET /-/health HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
        read_answer(&mut hear, false).status
    };
    assert_eq!(call_on_kept(), 200);

    let (done, calls) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let _end = AtTheEnd(&done);
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let answer = answered(&curl(address, &authority.root(), HOST, "/orders/v1/x", &[]));
                    assert_eq!(answer.status, 200);
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        live.show(&new);
        until("the new one is shown", || shown(&scene) == pem(&new));
        let before = calls.load(Ordering::Relaxed);
        until("calls go on", || calls.load(Ordering::Relaxed) > before + 4);
    });
    assert_eq!(call_on_kept(), 200);
    let _ = kept.kill();
    kept.wait().expect("it ends");
}

#[test]
fn what_cannot_be_used_never_replaces_what_can() {
    let authority = Authority::new();
    let (good, other) =
        (authority.issue("good", "DNS:api.example.com"), authority.issue("other", "DNS:api.example.com"));
    let live = Live::showing(&good);
    let scene = scene(&[&live.files()], "");
    let read = |path: &Path| fs::read(path).expect("read");
    let (certificate, key) = (read(&good.certificate), read(&good.key));
    let bad: [(&[u8], &[u8], &str); 4] = [
        (&certificate, &read(&other.key), "is not the key of the certificate in"),
        (b"", &key, "has no certificate in PEM form"),
        (
            &certificate,
            b"-----BEGIN PRIVATE KEY-----\nnot base64 at all!\n-----END PRIVATE KEY-----\n",
            "is not well-formed",
        ),
        (b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n", &key, "cannot be read"),
    ];
    let heard = |words: &str| {
        let said = scene.gateway.stderr();
        said.lines().any(|line| line.contains("ERROR") && line.contains(words) && line.contains("current/"))
    };
    for (certificate, key, words) in bad {
        assert!(!heard(words), "{words}");
        live.put(certificate, key);
        until(words, || heard(words));
        assert_eq!(shown(&scene), pem(&good), "{words}");
    }
    assert!(!scene.gateway.stderr().contains("not base64 at all"), "a key is told");
    // Files that are gone are no certificates either.
    fs::remove_file(live.directory.path().join("current")).expect("removed");
    until("it is told", || heard("cannot be read: No such file"));
    assert_eq!(shown(&scene), pem(&good));
    // And then it is made good again.
    live.show(&other);
    until("the next good one is shown", || shown(&scene) == pem(&other));
}

#[test]
fn an_order_reads_them_at_once() {
    let authority = Authority::new();
    let (old, new) = (authority.issue("old", "DNS:api.example.com"), authority.issue("new", "DNS:api.example.com"));
    let live = Live::showing(&old);
    let scene = scene(&[&live.files()], "");
    let count = || scene.gateway.stderr().matches("the certificates were read anew").count();
    assert_eq!(count(), 0);
    // Nothing has changed, and it is done all the same.
    scene.gateway.signal("HUP");
    until("it is done", || count() == 1);
    live.show(&new);
    scene.gateway.signal("HUP");
    until("the new one is shown", || shown(&scene) == pem(&new));
}

#[test]
fn a_start_without_usable_certificates_fails_with_all_reasons() {
    let authority = Authority::new();
    let (one, other) = (authority.issue("one", "DNS:a.example"), authority.issue("other", "DNS:b.example"));
    let crossed = Issued { certificate: one.certificate, key: other.key };
    let missing = Issued { certificate: "/nowhere/cert.pem".into(), key: "/nowhere/key.pem".into() };
    let directory = tempfile::tempdir().expect("a directory");
    let text = settings("", &[&crossed, &missing], "");
    fs::write(directory.path().join("portcullis.toml"), text).expect("written");
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let output = command(directory.path()).args(arguments).output().expect("runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    for part in ["is not the key of the certificate in", "/nowhere/cert.pem: cannot be read"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn a_certificate_that_has_expired_is_used_and_warned_about() {
    let authority = Authority::new();
    let expired = authority.issue_expired("expired", "DNS:api.example.com");
    let scene = scene(&[&expired], "");
    assert!(scene.gateway.stderr().contains("the certificate has expired"), "{}", scene.gateway.stderr());
    let reason = super::failed(&curl(tls(&scene.gateway), &authority.root(), HOST, "/-/health", &[]));
    assert!(reason.contains("expired"), "{reason}");
}
