//! What a service declares about TLS to its targets. It holds no secret: a private key is named by its file.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the targets of a service prove who they are over TLS, and what they are shown. Without it, `https` targets prove
/// their hosts to the trusted roots of the gateway's machine. Whether they do is always checked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetTls {
    /// Certificates of authorities in PEM, at most 64 KiB: they alone are trusted, in place of the machine's roots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// The name that is asked for and that certificates must be for, in place of each target's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = "users.internal")]
    pub server_name: Option<String>,
    /// The file, below the gateway's data directory, of the certificate chain it shows to targets, in PEM. Read anew
    /// when it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = "tls/gateway.pem")]
    pub client_certificate: Option<String>,
    /// The file, below the gateway's data directory, of the private key of that chain, in PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = "tls/gateway.key")]
    pub client_key: Option<String>,
    /// SHA-256 hashes of public keys (SubjectPublicKeyInfo) in Base64, at most 16: a target's own must be one of them,
    /// besides everything else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pins: Vec<String>,
    /// The lowest version of TLS that is spoken; 1.2, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_version: Option<TlsVersion>,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum TlsVersion {
    /// RFC 5246.
    #[serde(rename = "1.2")]
    Tls12,
    /// RFC 8446.
    #[serde(rename = "1.3")]
    Tls13,
}
