//! `client_certificate`: a certificate that was shown and verified in the TLS handshake, and the client it stands for.

use std::sync::Arc;

use portcullis_core::call::{Call, ClientCertificate, KeyHolder};
use portcullis_core::directory::{ClientEntry, Directory};
use portcullis_core::model::{Label, Problem};
use portcullis_core::refusal::{Credential, Refusal};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::credential::{Part, Verification, Verifier};
use crate::{PolicyContext, settings};

/// Certificates of a service at most.
const MOST: usize = 1_024;
/// The longest name of a certificate, in bytes.
const LONGEST: usize = 2_048;

/// Which certificates stand for which clients.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// In order; the first that matches decides. At most 1024.
    clients: Vec<Mapping>,
}

/// A certificate and the client it stands for. One of the three ways to know it is given.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Mapping {
    /// A URI among the certificate's subject alternative names (SAN), compared exactly, like `spiffe://example.com/shop`.
    san_uri: Option<String>,
    /// A DNS name among the certificate's SANs; case does not matter.
    san_dns: Option<String>,
    /// SHA-256 of the certificate (DER) in hex, with or without colons.
    fingerprint: Option<String>,
    /// The name of the client.
    #[schemars(with = "String")]
    client: Label,
}

/// The JSON schema of its settings.
pub fn schema() -> Value {
    settings::schema::<Settings>()
}

/// Builds the credential.
pub fn build(site: &PolicyContext<'_>, value: Option<&Value>) -> Result<Arc<dyn Verifier>, Vec<Problem>> {
    let Settings { clients } = settings::read("client_certificate", value)?;
    let mut problems = Vec::new();
    if clients.len() > MOST {
        problems.push(Problem::new("policies.client_certificate.clients", format!("at most {MOST} certificates")));
    }
    let mut known = Vec::with_capacity(clients.len());
    for (position, mapping) in clients.into_iter().enumerate() {
        match mark(&mapping) {
            Ok(mark) => known.push((mark, mapping.client)),
            Err((field, message)) => {
                let path = format!("policies.client_certificate.clients[{position}]{field}");
                problems.push(Problem::new(path, message));
            }
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let requires = |all: &Vec<String>| all.iter().any(|kind| kind == "client_certificate");
    if !site.parts.client_certificates && site.service.require.iter().any(requires) {
        tracing::warn!(
            route = site.route,
            "the route requires client certificates, and 'tls.client_certificates' is off: nobody can show one"
        );
    }
    Ok(Arc::new(Verify { known, directory: Arc::clone(&site.parts.directory) }))
}

/// What a certificate is known by.
#[derive(Debug, PartialEq, Eq)]
enum Mark {
    Uri(Box<str>),
    Dns(Box<str>),
    Fingerprint(Box<str>),
}

impl Mark {
    fn is_on(&self, certificate: &ClientCertificate) -> bool {
        match self {
            Self::Uri(uri) => certificate.uris.contains(uri),
            Self::Dns(name) => certificate.dns_names.contains(name),
            Self::Fingerprint(fingerprint) => certificate.fingerprint == *fingerprint,
        }
    }
}

/// Reads what a certificate is known by; else which field is wrong, and how.
fn mark(mapping: &Mapping) -> Result<Mark, (&'static str, String)> {
    match (&mapping.san_uri, &mapping.san_dns, &mapping.fingerprint) {
        (Some(uri), None, None) if (1..=LONGEST).contains(&uri.len()) && uri.contains(':') => {
            Ok(Mark::Uri(uri.as_str().into()))
        }
        (Some(_), None, None) => Err((".san_uri", "expected a URI like 'spiffe://example.com/shop'".to_owned())),
        (None, Some(name), None) if (1..=LONGEST).contains(&name.len()) => {
            Ok(Mark::Dns(name.to_ascii_lowercase().into()))
        }
        (None, Some(_), None) => Err((".san_dns", "expected a DNS name".to_owned())),
        (None, None, Some(text)) => {
            let digits: String = text.chars().filter(|c| *c != ':').collect::<String>().to_ascii_lowercase();
            let is_hash = digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            let message = "expected a SHA-256 fingerprint: 64 hex digits, with or without colons";
            if is_hash { Ok(Mark::Fingerprint(digits.into())) } else { Err((".fingerprint", message.to_owned())) }
        }
        _ => Err(("", "expected one of 'san_uri', 'san_dns' and 'fingerprint'".to_owned())),
    }
}

struct Verify {
    known: Vec<(Mark, Label)>,
    directory: Arc<Directory>,
}

impl Verifier for Verify {
    fn is_shown(&self, call: &Call) -> bool {
        call.peer.certificate.is_some() || believed(call).is_some()
    }

    fn missing(&self, _: &Call) -> Refusal {
        Refusal::MissingCredential(Credential::ClientCertificate)
    }

    fn verify<'c>(&'c self, call: &'c mut Call) -> Result<Verification<'c>, Refusal> {
        let wrong = |reason: String| Refusal::invalid(Credential::ClientCertificate, reason);
        let client = match (&call.peer.certificate, believed(call)) {
            (Some(certificate), _) => self.client(certificate).map_err(wrong)?,
            (None, Some(client)) => client,
            (None, None) => return Err(self.missing(call)),
        };
        call.record.note(|record| record.client = Some(client.name.shared()));
        call.caller.admitted_by.certified = Some(client.name.clone());
        if call.caller.speaks_for(KeyHolder::Client(client)) {
            return Ok(Verification::Good);
        }
        Err(wrong("a certificate of another client than another credential speaks for".to_owned()))
    }

    fn withhold(&self, _: &mut Call, _: Part) -> Result<(), Refusal> {
        // It stays on this connection by its nature.
        Ok(())
    }
}

impl Verify {
    fn client(&self, certificate: &ClientCertificate) -> Result<Arc<ClientEntry>, String> {
        let found = self.known.iter().find(|(mark, _)| mark.is_on(certificate));
        let Some((_, name)) = found else {
            return Err(format!("no client has the certificate {}", certificate.fingerprint));
        };
        let entry = self.directory.read(|entries| entries.client(name).cloned());
        entry.ok_or_else(|| format!("the client '{}' of the certificate is not there or disabled", name.as_str()))
    }
}

/// The client that a call which is only tried is believed to come from, unless it shows a certificate.
fn believed(call: &Call) -> Option<Arc<ClientEntry>> {
    call.dry_run.as_ref()?.client.clone()
}
