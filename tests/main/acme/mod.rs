//! Certificates by ACME, from a real authority on this machine: Debian's `pebble`, which asks back like any other.

mod obtain;
mod pebble;
mod refuse;
mod relay;
mod renew;

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;
use tempfile::TempDir;

use super::support::Gateway;
use super::support::authority::Authority;
use super::support::scene::until;
use super::tls::curl;
use pebble::{Pebble, names};
use relay::Relay;

/// The host that most tests have a certificate for.
const HOST: &str = "api.example.com";

/// An authority, and the ways on which it reaches the gateway.
struct World {
    /// Who vouches for the authority's own server.
    vouching: Authority,
    pebble: Pebble,
    /// Where the authority finds port 80.
    plain: Relay,
    /// Where it finds port 443.
    secured: Relay,
    kept: TempDir,
}

impl World {
    /// With an authority that issues for five years.
    fn new() -> Self {
        Self::with(&[])
    }

    /// With an authority that has been told more in its configuration.
    fn with(more: &[(&str, Value)]) -> Self {
        let vouching = Authority::new();
        let (plain, secured) = (Relay::open(), Relay::open());
        let pebble = Pebble::start(&vouching, plain.port(), secured.port(), names(), more);
        Self { vouching, pebble, plain, secured, kept: tempfile::tempdir().expect("a directory") }
    }

    /// Settings of a gateway that has certificates from this authority: `top` are lines before all tables, `acme` more
    /// lines of `[acme]`.
    fn settings(&self, top: &str, acme: &str) -> String {
        self.settings_for(&self.pebble.directory(), top, acme)
    }

    fn settings_for(&self, directory: &str, top: &str, acme: &str) -> String {
        format!(
            "{top}\ntls_listen = \"127.0.0.1:0\"\n[acme]\ndirectory = \"{directory}\"\nterms_agreed = true\n\
             ca_file = {:?}\n{acme}\n",
            self.vouching.root()
        )
    }

    /// Starts a gateway, and leads the authority to it.
    fn start(&self, settings: &str) -> Gateway {
        self.restart(tempfile::tempdir().expect("a directory"), settings)
    }

    fn restart(&self, directory: TempDir, settings: &str) -> Gateway {
        let gateway = Gateway::restart(directory, settings);
        self.lead_to(&gateway);
        gateway
    }

    fn lead_to(&self, gateway: &Gateway) {
        self.plain.lead_to(gateway.data);
        self.secured.lead_to(gateway.tls.expect("it listens with TLS"));
    }

    /// A file with the root of what the authority issues.
    fn root(&self) -> PathBuf {
        let path = self.kept.path().join("root.pem");
        if !path.exists() {
            std::fs::write(&path, self.pebble.root(&self.vouching)).expect("written");
        }
        path
    }

    /// What becomes of a call over TLS by somebody who trusts the authority alone.
    fn call(&self, gateway: &Gateway, host: &str) -> Output {
        curl(gateway.tls.expect("TLS"), &self.root(), host, "/-/health", &[])
    }
}

/// What the admin API says of a host's certificate.
fn certificate(gateway: &Gateway, host: &str) -> Value {
    let found = gateway.admin_ok("GET", "/certificates", None, 200);
    let items = found["items"].as_array().expect("a list");
    items.iter().find(|item| item["names"][0] == host).unwrap_or_else(|| panic!("{host} in {found}")).clone()
}

/// Waits until the host has a certificate, and returns what is said of it.
fn obtained(gateway: &Gateway, host: &str) -> Value {
    until("a certificate is there", || !certificate(gateway, host)["fingerprint"].is_null());
    certificate(gateway, host)
}

/// How many lines of its log hold these words.
fn told(gateway: &Gateway, words: &str) -> usize {
    gateway.stderr().lines().filter(|line| line.contains(words)).count()
}

/// The registry's files hold none of this.
fn is_nowhere_in(directory: &Path, secret: &[u8]) -> bool {
    ["portcullis.db", "portcullis.db-wal"].iter().all(|name| {
        let bytes = std::fs::read(directory.join(name)).unwrap_or_default();
        !bytes.windows(secret.len()).any(|part| part == secret)
    })
}
