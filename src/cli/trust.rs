//! Whom commands trust to be the admin API they were sent to: the system's roots, or those of a file.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::failure::Failure;

/// A file with more roots than fit in here is none of ours.
const LARGEST: u64 = 16 << 20;

/// TLS to servers that these roots vouch for: those of the file, else the system's.
pub(super) fn client(roots: Option<&Path>) -> Result<Arc<ClientConfig>, Failure> {
    let roots = match roots {
        Some(file) => of_file(file)?,
        None => of_system()?,
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(anyhow::Error::from)?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn of_file(file: &Path) -> Result<RootCertStore, Failure> {
    let bad = |reason: &str| Failure::Usage(format!("--admin-ca {}: {reason}", file.display()));
    let length = std::fs::metadata(file).map_err(|error| bad(&error.to_string()))?.len();
    if length > LARGEST {
        return Err(bad("it is too large"));
    }
    let text = std::fs::read(file).map_err(|error| bad(&error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|_| bad("it is not well-formed PEM"))?;
        roots.add(certificate).map_err(|error| bad(&format!("a certificate in it cannot be used: {error}")))?;
    }
    if roots.is_empty() { Err(bad("there is no certificate in it")) } else { Ok(roots) }
}

fn of_system() -> Result<RootCertStore, Failure> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // The system may hold some that nothing can be verified by.
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    let reason = found.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
    let none = || Failure::failed(format!("this system has no root certificates{reason}; name a file by --admin-ca"));
    if usable == 0 { Err(none()) } else { Ok(roots) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_roots_must_hold_some() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("roots.pem");
        assert!(matches!(client(Some(&file)), Err(Failure::Usage(_))), "it is not there");
        for bad in ["", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            std::fs::write(&file, bad).expect("written");
            assert!(matches!(client(Some(&file)), Err(Failure::Usage(_))), "{bad}");
        }
    }
}
