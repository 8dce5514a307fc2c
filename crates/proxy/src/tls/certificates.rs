//! Reading certificates, keys, roots and revocation lists out of PEM files. What is wrong is told with the file.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest;
use portcullis_core::call::{ClientCertificate, hex};
use portcullis_core::model::Problem;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, RootCertStore};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;

use super::settings::CertificateFiles;

/// The largest file that is read, in bytes.
pub(super) const LARGEST: u64 = 16 << 20;
/// Certificates of a chain.
const LONGEST_CHAIN: usize = 16;
/// How long before its end a certificate is warned about, in seconds.
const SOON: i64 = 14 * 86_400;

/// A certificate with its key, and what it is for.
pub(super) struct Certified {
    /// Chain and key.
    pub(super) key: Arc<CertifiedKey>,
    /// DNS names in lower case.
    pub(super) names: Vec<Box<str>>,
    /// Addresses.
    pub(super) addresses: Vec<IpAddr>,
    /// What is allowed, but hardly meant.
    pub(super) warnings: Vec<String>,
    /// What it says of itself.
    pub(super) leaf: Leaf,
}

/// What a certificate says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// From when on it is good, in seconds of Unix time.
    pub not_before: i64,
    /// Until when.
    pub not_after: i64,
    /// Its serial number, in hex.
    pub serial: String,
    /// The SHA-256 of its DER form, in hex.
    pub fingerprint: String,
}

/// Reads a certificate and its key and holds them against each other. `now` is in seconds of Unix time.
pub(super) fn certified(files: &CertificateFiles, provider: &CryptoProvider, now: i64) -> Result<Certified, Problem> {
    let place = &files.certificate;
    let chain: Vec<CertificateDer<'static>> = items(place, "certificate")?;
    let key = || {
        let mut keys: Vec<PrivateKeyDer<'static>> = items(&files.key, "private key")?;
        if keys.len() > 1 {
            return Err(problem(&files.key, format!("has {} private keys; expected one", keys.len())));
        }
        keys.pop().ok_or_else(|| problem(&files.key, "has no private key"))
    };
    certify(place, &files.key, chain, key, provider, now)
}

/// Holds a chain and a key, which is read when the chain is good, against each other. What is wrong is told with the place each of them is from.
pub(super) fn certify(
    place: &Path,
    key_place: &Path,
    chain: Vec<CertificateDer<'static>>,
    key: impl FnOnce() -> Result<PrivateKeyDer<'static>, Problem>,
    provider: &CryptoProvider,
    now: i64,
) -> Result<Certified, Problem> {
    if chain.len() > LONGEST_CHAIN {
        return Err(problem(place, format!("has {} certificates; a chain has at most {LONGEST_CHAIN}", chain.len())));
    }
    let mut facts = Facts::default();
    for (position, certificate) in chain.iter().enumerate() {
        let (_, read) = X509Certificate::from_der(certificate)
            .map_err(|error| problem(place, format!("certificate {} cannot be read: {error}", position + 1)))?;
        facts.add(position, certificate, &read, now);
    }
    let key = CertifiedKey::from_der(chain, key()?, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            problem(key_place, format!("is not the key of the certificate in {}", place.display()))
        }
        error => problem(key_place, format!("cannot be used: {error}")),
    })?;
    let Facts { names, addresses, warnings, leaf } = facts;
    let leaf = leaf.ok_or_else(|| problem(place, "has no certificate"))?;
    let mut warnings: Vec<String> =
        warnings.into_iter().map(|warning| format!("{}: {warning}", place.display())).collect();
    if names.is_empty() && addresses.is_empty() {
        warnings.push(format!("{}: the certificate names no host (subjectAltName)", place.display()));
    }
    Ok(Certified { key: Arc::new(key), names, addresses, warnings, leaf })
}

/// What the certificates of a chain say.
#[derive(Default)]
struct Facts {
    names: Vec<Box<str>>,
    addresses: Vec<IpAddr>,
    warnings: Vec<String>,
    leaf: Option<Leaf>,
}

impl Facts {
    fn add(&mut self, position: usize, der: &CertificateDer<'_>, certificate: &X509Certificate<'_>, now: i64) {
        let validity = certificate.validity();
        let (begin, end) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        let which = if position == 0 { "the certificate".to_owned() } else { format!("certificate {}", position + 1) };
        if now > end {
            self.warnings.push(format!("{which} has expired, on {}", validity.not_after));
        } else if now < begin {
            self.warnings.push(format!("{which} is not valid before {}", validity.not_before));
        } else if position == 0 && end - now < SOON {
            self.warnings.push(format!("{which} expires soon, on {}", validity.not_after));
        }
        if position > 0 {
            return;
        }
        let (serial, fingerprint) = (hex(certificate.tbs_certificate.raw_serial()), fingerprint(der));
        self.leaf = Some(Leaf { not_before: begin, not_after: end, serial, fingerprint });
        for name in alternative_names(certificate) {
            match name {
                GeneralName::DNSName(name) => self.names.push(name.to_ascii_lowercase().into()),
                GeneralName::IPAddress(bytes) => self.addresses.extend(address(bytes)),
                _ => {}
            }
        }
    }
}

/// Reads the roots that client certificates come from.
pub(super) fn roots(path: &Path) -> Result<RootCertStore, Problem> {
    let mut roots = RootCertStore::empty();
    for (position, certificate) in items::<CertificateDer<'_>>(path, "certificate")?.into_iter().enumerate() {
        let added = roots.add(certificate);
        added.map_err(|error| problem(path, format!("certificate {} cannot be used: {error}", position + 1)))?;
    }
    Ok(roots)
}

/// A revocation list, and what is to be said of it.
pub(super) type RevocationList = (CertificateRevocationListDer<'static>, Option<String>);

/// Reads revocation lists. `now` is in seconds of Unix time.
pub(super) fn revoked(path: &Path, now: i64) -> Result<Vec<RevocationList>, Problem> {
    let lists: Vec<CertificateRevocationListDer<'static>> = items(path, "revocation list (X509 CRL)")?;
    let read = lists.into_iter().map(|list| {
        let (_, read) = CertificateRevocationList::from_der(&list)
            .map_err(|error| problem(path, format!("a revocation list cannot be read: {error}")))?;
        let due = read.next_update().filter(|due| due.timestamp() < now);
        let warning = due.map(|due| format!("{}: a newer revocation list was due on {due}", path.display()));
        Ok((list, warning))
    });
    read.collect()
}

/// Who a client certificate is for, by its DER form; none if that cannot be read.
pub(super) fn client(der: &CertificateDer<'_>) -> Option<ClientCertificate> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let (mut dns_names, mut uris) = (Vec::new(), Vec::new());
    for name in alternative_names(&certificate) {
        match name {
            GeneralName::DNSName(name) => dns_names.push(name.to_ascii_lowercase().into()),
            GeneralName::URI(uri) => uris.push((*uri).into()),
            _ => {}
        }
    }
    Some(ClientCertificate { fingerprint: fingerprint(der).into(), dns_names, uris, ..ClientCertificate::default() })
}

/// From when to when a certificate is good, in seconds of Unix time; none if it cannot be read.
pub(super) fn validity(der: &CertificateDer<'_>) -> Option<(i64, i64)> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let validity = certificate.validity();
    Some((validity.not_before.timestamp(), validity.not_after.timestamp()))
}

fn fingerprint(der: &CertificateDer<'_>) -> String {
    hex(digest::digest(&digest::SHA256, der).as_ref())
}

fn alternative_names<'a>(certificate: &'a X509Certificate<'a>) -> impl Iterator<Item = &'a GeneralName<'a>> {
    let extension = certificate.subject_alternative_name().ok().flatten();
    extension.into_iter().flat_map(|extension| &extension.value.general_names)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// Everything of one kind in a PEM file, at least one.
fn items<T: PemObject>(path: &Path, kind: &str) -> Result<Vec<T>, Problem> {
    let length = std::fs::metadata(path).map_err(|error| problem(path, format!("cannot be read: {error}")))?.len();
    if length > LARGEST {
        return Err(problem(path, format!("has more than {LARGEST} bytes")));
    }
    let text = std::fs::read(path).map_err(|error| problem(path, format!("cannot be read: {error}")))?;
    let text = zeroize::Zeroizing::new(text);
    let found: Result<Vec<T>, _> = T::pem_slice_iter(&text).collect();
    // What is wrong with the PEM is not shown: it can be a key.
    let found = found.map_err(|_| problem(path, "is not well-formed PEM"))?;
    if found.is_empty() { Err(problem(path, format!("has no {kind} in PEM form"))) } else { Ok(found) }
}

fn problem(path: &Path, message: impl Into<String>) -> Problem {
    Problem::new(path.display().to_string(), message)
}

#[cfg(test)]
mod tests {
    use rustls::crypto::aws_lc_rs;

    use super::*;

    /// What is wrong with a file of certificates that holds this.
    fn wrong(text: &[u8], length: u64) -> String {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file.pem");
        std::fs::write(&path, text).expect("written");
        std::fs::File::options().write(true).open(&path).and_then(|file| file.set_len(length)).expect("longer");
        let files = CertificateFiles { certificate: path.clone(), key: path.clone() };
        let problem = certified(&files, &aws_lc_rs::default_provider(), 0).err().expect("it cannot be used");
        assert_eq!(problem.path, path.display().to_string());
        problem.message
    }

    #[test]
    fn what_is_too_much_is_not_read() {
        assert_eq!(wrong(b"", LARGEST + 1), "has more than 16777216 bytes");
        let one = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        let chain = |number: usize| one.repeat(number);
        let message = |text: &str| wrong(text.as_bytes(), text.len() as u64);
        assert_eq!(message(&chain(LONGEST_CHAIN + 1)), "has 17 certificates; a chain has at most 16");
        assert!(message(&chain(LONGEST_CHAIN)).starts_with("certificate 1 cannot be read"));
    }
}
