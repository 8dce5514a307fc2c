//! A client's secret as prepared keys: for signing and verifying (HMAC) and for sealing (AES).

use std::fmt;

use aws_lc_rs::cipher::{AES_256, DecryptingKey, EncryptingKey, UnboundCipherKey};
use aws_lc_rs::digest::{self, SHA1_FOR_LEGACY_USE_ONLY};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hmac::{self, HMAC_SHA1_FOR_LEGACY_USE_ONLY, HMAC_SHA256};
use thiserror::Error;
use zeroize::Zeroizing;

use super::{Algorithm, Canonical, Signature};

/// The secret is empty, so anyone could sign with it.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[error("the secret is empty")]
pub struct EmptySecret;

/// The message was not signed with this key, or was changed since.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[error("the signature does not match")]
pub struct NotVerified;

/// The keys made of a client's secret. Make it once for a secret and keep it: making it costs as much as
/// signing a short message.
///
/// The keys are wiped when it is dropped, and `Debug` does not show them.
pub struct SigningKey {
    sha1: hmac::Key,
    sha256: hmac::Key,
    pub(super) encrypting: EncryptingKey,
    pub(super) decrypting: DecryptingKey,
}

impl SigningKey {
    /// Prepares the keys. `secret` is the UTF-8 text that the client has; the AES key is its SHA-256.
    pub fn new(secret: &[u8]) -> Result<Self, EmptySecret> {
        if secret.is_empty() {
            return Err(EmptySecret);
        }
        let mut key = Zeroizing::new([0; 32]);
        key.copy_from_slice(digest::digest(&digest::SHA256, secret).as_ref());
        Ok(Self {
            sha1: hmac::Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret),
            sha256: hmac::Key::new(HMAC_SHA256, secret),
            encrypting: unbound(&key).and_then(EncryptingKey::cbc).expect("AES-256 takes any 32 bytes as a key"),
            decrypting: unbound(&key).and_then(DecryptingKey::cbc).expect("AES-256 takes any 32 bytes as a key"),
        })
    }

    /// Signs a message.
    pub fn sign(&self, algorithm: Algorithm, canonical: &Canonical, body: &[u8]) -> Signature {
        let mut signing = self.start(algorithm, canonical);
        signing.update(body);
        signing.finish()
    }

    /// Verifies the signature of a message, in a time that does not depend on where the signatures differ.
    pub fn verify(&self, canonical: &Canonical, body: &[u8], signature: &Signature) -> Result<(), NotVerified> {
        let mut signing = self.start(signature.algorithm(), canonical);
        signing.update(body);
        signing.verify(signature)
    }

    /// Begins a signature whose body comes in pieces.
    ///
    /// ```
    /// use portcullis_signing::fomalhaut::{Algorithm, Canonical, Dialect, SigningKey};
    ///
    /// let key = SigningKey::new(b"1234")?;
    /// let canonical = Canonical::response(Dialect::Api, b"GET", b"/e/v1/", [("X-Api-Nonce", "0.5")])?;
    /// let mut signing = key.start(Algorithm::HmacSha256OfSha1, &canonical);
    /// signing.update(b"in two ");
    /// signing.update(b"pieces");
    /// assert_eq!(signing.finish(), key.sign(Algorithm::HmacSha256OfSha1, &canonical, b"in two pieces"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn start(&self, algorithm: Algorithm, canonical: &Canonical) -> Signing {
        let (mac, digest) = match algorithm {
            Algorithm::HmacSha1 => (&self.sha1, None),
            Algorithm::HmacSha256 => (&self.sha256, None),
            Algorithm::HmacSha256OfSha1 => (&self.sha256, Some(digest::Context::new(&SHA1_FOR_LEGACY_USE_ONLY))),
        };
        let mut signing = Signing { algorithm, mac: hmac::Context::with_key(mac), digest };
        signing.update(canonical.as_str().as_bytes());
        signing
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

fn unbound(key: &[u8; 32]) -> Result<UnboundCipherKey, Unspecified> {
    UnboundCipherKey::new(&AES_256, key)
}

/// A signature that is being computed; made by [`SigningKey::start`].
pub struct Signing {
    algorithm: Algorithm,
    mac: hmac::Context,
    /// The digest that the MAC is computed of, in the dialect that has one.
    digest: Option<digest::Context>,
}

impl Signing {
    /// Adds the next piece of the body.
    pub fn update(&mut self, piece: &[u8]) {
        match &mut self.digest {
            Some(digest) => digest.update(piece),
            None => self.mac.update(piece),
        }
    }

    /// The signature, once the body has ended.
    pub fn finish(mut self) -> Signature {
        if let Some(digest) = self.digest {
            let digest = digest.finish();
            let mut hex = [0; 40];
            for (pair, byte) in hex.chunks_exact_mut(2).zip(digest.as_ref()) {
                pair[0] = b"0123456789abcdef"[usize::from(byte >> 4)];
                pair[1] = b"0123456789abcdef"[usize::from(byte & 0xf)];
            }
            self.mac.update(&hex);
        }
        Signature::new(self.algorithm, self.mac.sign().as_ref())
    }

    /// Whether the message, whose body has ended, has this signature.
    pub fn verify(self, signature: &Signature) -> Result<(), NotVerified> {
        if self.finish() == *signature { Ok(()) } else { Err(NotVerified) }
    }
}

impl fmt::Debug for Signing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signing({:?})", self.algorithm)
    }
}
