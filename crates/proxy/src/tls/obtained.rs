//! Certificates that are not read from files: obtained while the gateway runs, and kept elsewhere.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use portcullis_core::model::Problem;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

use super::certificates::{self, Leaf};

/// A certificate for one host, with its key.
#[derive(Clone)]
pub struct Obtained {
    /// The host, in lower case.
    pub host: Box<str>,
    /// What the certificate says of itself.
    pub leaf: Leaf,
    pub(super) key: Arc<CertifiedKey>,
}

impl Obtained {
    /// Reads a chain in PEM and its key in PKCS#8, and holds both against each other and against the host.
    pub fn read(host: &str, chain: &str, key: &[u8]) -> Result<Self, Problem> {
        let problem = |message: &str| Problem::new(host, message);
        let chain: Result<Vec<CertificateDer<'static>>, _> = CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
        let chain = chain.map_err(|_| problem("the chain is not well-formed PEM"))?;
        let key = || Ok(PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.to_vec())));
        let place = Path::new(host);
        // Whoever renews it knows how long it is good; nobody has to be warned.
        let read = certificates::certify(place, place, chain, key, &aws_lc_rs::default_provider(), 0)?;
        if !read.names.iter().any(|name| **name == *host) {
            return Err(problem("the certificate is not for this host"));
        }
        Ok(Self { host: host.into(), leaf: read.leaf, key: read.key })
    }

    /// The certificate itself.
    pub fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.key.cert.first()
    }
}

impl fmt::Debug for Obtained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Obtained").field("host", &self.host).field("leaf", &self.leaf).finish_non_exhaustive()
    }
}
