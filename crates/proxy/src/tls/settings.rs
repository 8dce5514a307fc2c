//! What a listener with TLS is told: its certificates, the versions it speaks, what it asks of clients.

use std::path::{Path, PathBuf};

/// A certificate with its chain, and its key, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, then those that lead to a root.
    pub certificate: PathBuf,
    /// Its private key: PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}

/// Which versions and ciphers are spoken. The names are those of Mozilla's recommendations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profile {
    /// TLS 1.3 only.
    Modern,
    /// TLS 1.3, and 1.2 with ECDHE and AEAD ciphers.
    #[default]
    Intermediate,
}

/// What happens to a client that asks for a name no certificate has, or for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnknownName {
    /// It is shown the first certificate.
    #[default]
    First,
    /// The handshake fails.
    Refuse,
}

/// Whether clients are asked for a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientCertificates {
    /// They are not.
    #[default]
    Off,
    /// They are, and may have none. One that is shown must be good.
    Optional,
    /// They are, and the handshake fails without a good one.
    Required,
}

/// What a listener with TLS is told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// Its certificates. Of several for one name the first that the client can use is shown.
    pub certificates: Vec<CertificateFiles>,
    /// Names, in lower case, whose certificates are obtained while it runs. Until one is there, nobody gets through a
    /// handshake for its name by another certificate.
    pub awaited: Vec<String>,
    /// The versions it speaks.
    pub profile: Profile,
    /// Whether HTTP/2 is spoken over it, beside HTTP/1.1.
    pub http2: bool,
    /// What happens to names it has no certificate for.
    pub unknown_names: UnknownName,
    /// Whether clients are asked for a certificate.
    pub client_certificates: ClientCertificates,
    /// The roots that client certificates must come from, in one PEM file.
    pub client_ca: Option<PathBuf>,
    /// What those have revoked, in PEM files.
    pub client_crls: Vec<PathBuf>,
}

impl Settings {
    /// Every file that is read.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        let pairs = self.certificates.iter().flat_map(|pair| [&pair.certificate, &pair.key]);
        pairs.chain(&self.client_ca).chain(&self.client_crls).map(PathBuf::as_path)
    }
}
