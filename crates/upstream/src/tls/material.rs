//! Certificates and keys as they are written: authorities in a declaration, the gateway's own in files.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use portcullis_core::model::{Problem, TargetTls};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Bytes of authorities in a declaration, and of each file.
const MOST_BYTES: usize = 64 << 10;

/// The authorities that are declared.
pub(super) fn authorities(pem: &str) -> Result<Arc<RootCertStore>, Problem> {
    let problem = |message: &str| Err(Problem::new("ca", message));
    if pem.len() > MOST_BYTES {
        return problem("expected at most 64 KiB of certificates");
    }
    if pem.contains("PRIVATE KEY") {
        return problem("holds a private key, which belongs in no declaration: take it out, and make a new one");
    }
    let mut roots = RootCertStore::empty();
    for (position, certificate) in CertificateDer::pem_slice_iter(pem.as_bytes()).enumerate() {
        let added = certificate
            .map_err(|error| error.to_string())
            .and_then(|certificate| roots.add(certificate).map_err(|error| error.to_string()));
        if let Err(error) = added {
            return problem(&format!("certificate {} cannot be read: {error}", position + 1));
        }
    }
    if roots.is_empty() {
        return problem("expected certificates in PEM, '-----BEGIN CERTIFICATE-----' …");
    }
    Ok(Arc::new(roots))
}

/// The files of the certificate that targets are shown.
#[derive(Debug)]
pub(super) struct ClientFiles {
    certificate: PathBuf,
    key: PathBuf,
}

/// Which state of both files it is: when each was last changed, which file it is, and how long.
pub(super) type Stamp = [Option<(i64, i64, u64, u64)>; 2];

impl ClientFiles {
    /// The files that are declared, if any.
    pub(super) fn declared(directory: &Path, declared: &TargetTls) -> Result<Option<Self>, Vec<Problem>> {
        let missing = |field: &str, other: &str| {
            Err(vec![Problem::new(field, format!("is missing: '{other}' and it go together"))])
        };
        let (certificate, key) = match (&declared.client_certificate, &declared.client_key) {
            (None, None) => return Ok(None),
            (Some(_), None) => return missing("client_key", "client_certificate"),
            (None, Some(_)) => return missing("client_certificate", "client_key"),
            (Some(certificate), Some(key)) => (certificate, key),
        };
        let mut problems = Vec::new();
        for (field, path) in [("client_certificate", certificate), ("client_key", key)] {
            // Who may write declarations may not thereby look around on the machine.
            if path.is_empty() || !Path::new(path).components().all(|part| matches!(part, Component::Normal(_))) {
                let message = "expected a path below the data directory, like 'tls/gateway.pem'";
                problems.push(Problem::new(field, message));
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Some(Self { certificate: directory.join(certificate), key: directory.join(key) }))
    }

    /// Which state they are in now.
    pub(super) fn stamp(&self) -> Stamp {
        [&self.certificate, &self.key].map(|path| {
            let found = std::fs::metadata(path).ok()?;
            Some((found.mtime(), found.mtime_nsec(), found.ino(), found.len()))
        })
    }

    /// What is in them.
    pub(super) fn read(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Vec<Problem>> {
        let mut problems = Vec::new();
        let mut keep = |problem: Problem| problems.push(problem);
        let chain = contents("client_certificate", &self.certificate).and_then(|pem| {
            let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
            match chain {
                Ok(chain) if !chain.is_empty() => Ok(chain),
                _ => Err(Problem::new("client_certificate", "expected a file of certificates in PEM")),
            }
        });
        let key = contents("client_key", &self.key).and_then(|pem| {
            PrivateKeyDer::from_pem_slice(&pem)
                .map_err(|_| Problem::new("client_key", "expected a file with a private key in PEM, not encrypted"))
        });
        let (chain, key) = (chain.map_err(&mut keep).ok(), key.map_err(&mut keep).ok());
        match (chain, key) {
            (Some(chain), Some(key)) => Ok((chain, key)),
            _ => Err(problems),
        }
    }
}

fn contents(field: &str, path: &Path) -> Result<zeroize::Zeroizing<Vec<u8>>, Problem> {
    let mut bytes = zeroize::Zeroizing::new(Vec::with_capacity(8 << 10));
    let read = File::open(path).and_then(|file| file.take(MOST_BYTES as u64 + 1).read_to_end(&mut bytes));
    match read {
        Ok(length) if length <= MOST_BYTES => Ok(bytes),
        Ok(_) => Err(Problem::new(field, "expected a file of at most 64 KiB")),
        Err(error) => Err(Problem::new(field, format!("{} cannot be read: {error}", path.display()))),
    }
}
