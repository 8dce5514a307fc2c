//! A client's secret and the keys made of it: for signing and verifying (HMAC) and for sealing (AES).

use std::fmt;
use std::sync::OnceLock;

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

/// A client's secret with the keys that are made of it. Those for AES are made when they are first needed and kept. Those for
/// HMAC are made for each message: that costs a tenth of a microsecond, and less than fetching them from memory where many
/// clients call by turns, since a prepared one has more than a kilobyte.
///
/// Secret and keys are wiped when it is dropped, and `Debug` does not show them.
pub struct SigningKey {
    secret: Zeroizing<Box<[u8]>>,
    encrypting: OnceLock<Box<EncryptingKey>>,
    decrypting: OnceLock<Box<DecryptingKey>>,
}

impl SigningKey {
    /// Takes the UTF-8 text that the client has; the AES key is its SHA-256.
    pub fn new(secret: &[u8]) -> Result<Self, EmptySecret> {
        if secret.is_empty() {
            return Err(EmptySecret);
        }
        let secret = Zeroizing::new(Box::from(secret));
        Ok(Self { secret, encrypting: OnceLock::new(), decrypting: OnceLock::new() })
    }

    pub(super) fn encrypting(&self) -> &EncryptingKey {
        let make = || unbound(&self.secret).and_then(EncryptingKey::cbc).expect("AES-256 takes any 32 bytes as a key");
        self.encrypting.get_or_init(|| Box::new(make()))
    }

    pub(super) fn decrypting(&self) -> &DecryptingKey {
        let make = || unbound(&self.secret).and_then(DecryptingKey::cbc).expect("AES-256 takes any 32 bytes as a key");
        self.decrypting.get_or_init(|| Box::new(make()))
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
        Signing::new(&self.secret, algorithm, canonical)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

fn unbound(secret: &[u8]) -> Result<UnboundCipherKey, Unspecified> {
    let mut key = Zeroizing::new([0; 32]);
    key.copy_from_slice(digest::digest(&digest::SHA256, secret).as_ref());
    UnboundCipherKey::new(&AES_256, &*key)
}

/// A signature that is being computed.
pub struct Signing {
    algorithm: Algorithm,
    mac: hmac::Context,
    /// The digest that the MAC is computed of, in the dialect that has one.
    digest: Option<digest::Context>,
}

impl Signing {
    /// Begins a signature with a secret that stands elsewhere; else like [`SigningKey::start`].
    ///
    /// ```
    /// use portcullis_signing::fomalhaut::{Algorithm, Canonical, Dialect, Signing, SigningKey};
    ///
    /// let canonical = Canonical::response(Dialect::Fo, b"GET", b"/e/v1/", [("X-Fo-Nonce", "0.5")])?;
    /// let signature = Signing::start(b"1234", Algorithm::HmacSha1, &canonical)?.finish();
    /// assert!(SigningKey::new(b"1234")?.verify(&canonical, b"", &signature).is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`EmptySecret`] if it is empty.
    pub fn start(secret: &[u8], algorithm: Algorithm, canonical: &Canonical) -> Result<Self, EmptySecret> {
        if secret.is_empty() { Err(EmptySecret) } else { Ok(Self::new(secret, algorithm, canonical)) }
    }

    fn new(secret: &[u8], algorithm: Algorithm, canonical: &Canonical) -> Self {
        let (mac, digest) = match algorithm {
            Algorithm::HmacSha1 => (HMAC_SHA1_FOR_LEGACY_USE_ONLY, None),
            Algorithm::HmacSha256 => (HMAC_SHA256, None),
            Algorithm::HmacSha256OfSha1 => (HMAC_SHA256, Some(digest::Context::new(&SHA1_FOR_LEGACY_USE_ONLY))),
        };
        let mac = hmac::Context::with_key(&hmac::Key::new(mac, secret));
        let mut signing = Self { algorithm, mac, digest };
        signing.update(canonical.as_str().as_bytes());
        signing
    }

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
