//! What a service declares about TLS to its targets. It holds no secret: a private key is named by its file.

use serde::{Deserialize, Serialize};

/// How `https` targets prove who they are, and what they are shown. What is absent has its default: the trusted roots
/// of the machine, the target's host, no certificate of one's own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetTls {
    /// Certificates of authorities in PEM. They alone are trusted, in place of the machine's roots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// The name that is asked for and that the certificate must be for, in place of the target's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// The file, below the data directory, of the certificate chain that is shown to targets, in PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<String>,
    /// The file, below the data directory, of the private key of that chain, in PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_key: Option<String>,
    /// SHA-256 hashes of public keys (SubjectPublicKeyInfo) in Base64. The target's own must be among them, if there
    /// are any, besides everything else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pins: Vec<String>,
    /// The lowest version of TLS that is spoken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_version: Option<TlsVersion>,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TlsVersion {
    /// RFC 5246.
    #[serde(rename = "1.2")]
    Tls12,
    /// RFC 8446.
    #[serde(rename = "1.3")]
    Tls13,
}

impl TlsVersion {
    /// As declarations write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tls12 => "1.2",
            Self::Tls13 => "1.3",
        }
    }
}

impl std::str::FromStr for TlsVersion {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Tls12, Self::Tls13].into_iter().find(|version| version.as_str() == text).ok_or("expected '1.2' or '1.3'")
    }
}
