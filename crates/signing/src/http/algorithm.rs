//! The signature algorithms of RFC 9421, section 3.3, that are supported.

use std::fmt;

/// A signature algorithm, by its name in the registry of HTTP signature algorithms.
///
/// `rsa-v1_5-sha256` is left out: its padding is old, and RSASSA-PSS is there for the same keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// `hmac-sha256`: HMAC with SHA-256 and a shared secret (RFC 9421, section 3.3.3).
    HmacSha256,
    /// `ed25519`: EdDSA on curve 25519 (section 3.3.6).
    Ed25519,
    /// `ecdsa-p256-sha256`: ECDSA on curve P-256 with SHA-256 (section 3.3.4). A signature is `r` and `s`, 32 bytes each.
    EcdsaP256Sha256,
    /// `ecdsa-p384-sha384`: ECDSA on curve P-384 with SHA-384 (section 3.3.5). A signature is `r` and `s`, 48 bytes each.
    EcdsaP384Sha384,
    /// `rsa-pss-sha512`: RSASSA-PSS with SHA-512 and a salt of 64 bytes (section 3.3.1).
    RsaPssSha512,
}

impl Algorithm {
    /// Every supported algorithm.
    pub const ALL: [Self; 5] =
        [Self::HmacSha256, Self::Ed25519, Self::EcdsaP256Sha256, Self::EcdsaP384Sha384, Self::RsaPssSha512];

    /// The name in the registry, as the `alg` parameter carries it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HmacSha256 => "hmac-sha256",
            Self::Ed25519 => "ed25519",
            Self::EcdsaP256Sha256 => "ecdsa-p256-sha256",
            Self::EcdsaP384Sha384 => "ecdsa-p384-sha384",
            Self::RsaPssSha512 => "rsa-pss-sha512",
        }
    }

    /// The algorithm of this name; none if it is not supported.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}
