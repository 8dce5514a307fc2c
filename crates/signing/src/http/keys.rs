//! Keys: each declares the one algorithm it is used with.

use std::fmt;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::PublicEncryptingKey;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED, ECDSA_P384_SHA384_FIXED_SIGNING,
    ED25519, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, ParsedPublicKey, RSA_PSS_2048_8192_SHA512,
    RSA_PSS_SHA512, RsaKeyPair, VerificationAlgorithm,
};

use super::algorithm::Algorithm;
use super::flaw::Flaw;
use super::{jwk, pem};

/// The least bytes of a shared secret: 128 bits.
pub const SHORTEST_SECRET: usize = 16;

/// Why a key is refused. It says nothing of what is in the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyRefused {
    /// A shared secret has fewer than 16 bytes.
    #[error("a shared secret needs at least {SHORTEST_SECRET} bytes")]
    ShortSecret,
    /// The text is neither the JWK nor the PEM it should be.
    #[error("the key cannot be read: {0}")]
    Unreadable(&'static str),
    /// The key is of another type than the algorithm needs.
    #[error("the key is not of the type that {0} needs")]
    WrongType(Algorithm),
    /// The key itself says that it is for something else.
    #[error("the key declares another algorithm or use than {0}")]
    Declared(Algorithm),
    /// A private key stands where the public one belongs.
    #[error("this is a private key; a public key belongs here")]
    Private,
    /// The key is malformed, or an RSA key has fewer than 2048 or more than 8192 bits.
    #[error("the key is not a usable key for {0}; RSA keys have 2048 to 8192 bits")]
    Unusable(Algorithm),
}

/// Why a signature does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The signature itself is unusable.
    #[error(transparent)]
    Flaw(#[from] Flaw),
    /// The signature names another algorithm than the key is for.
    #[error("the signature names the algorithm {named:?}, and the key is for {key}")]
    Algorithm {
        /// The value of `alg`.
        named: String,
        /// The algorithm of the key.
        key: Algorithm,
    },
    /// The signature is not that of this text by this key.
    #[error("the signature does not match the message and the key")]
    Mismatch,
}

/// A key that verifies signatures of one algorithm.
#[derive(Clone)]
pub struct VerifyingKey {
    algorithm: Algorithm,
    material: Verifying,
}

#[derive(Clone)]
enum Verifying {
    Secret(Box<hmac::Key>),
    Public(ParsedPublicKey),
}

impl VerifyingKey {
    /// A shared secret, for `hmac-sha256`.
    ///
    /// # Errors
    /// It has fewer than 16 bytes.
    pub fn hmac(secret: &[u8]) -> Result<Self, KeyRefused> {
        Ok(Self { algorithm: Algorithm::HmacSha256, material: Verifying::Secret(hmac_key(secret)?) })
    }

    /// A JSON Web Key (RFC 7517): a public one, or a secret (`oct`) for `hmac-sha256`.
    ///
    /// # Errors
    /// It cannot be read, is private, or is not for this algorithm.
    pub fn from_jwk(json: &str, algorithm: Algorithm) -> Result<Self, KeyRefused> {
        let read = jwk::Jwk::parse(json, algorithm, "verify")?;
        if algorithm == Algorithm::HmacSha256 {
            return Self::hmac(&read.secret()?);
        }
        if read.is_private() {
            return Err(KeyRefused::Private);
        }
        Self::public(algorithm, &read.public(algorithm)?)
    }

    /// A public key as PEM: `PUBLIC KEY` (SubjectPublicKeyInfo), or `RSA PUBLIC KEY` (PKCS #1).
    ///
    /// # Errors
    /// It cannot be read, is private, or is not for this algorithm.
    pub fn from_pem(text: &str, algorithm: Algorithm) -> Result<Self, KeyRefused> {
        let block = pem::parse(text)?;
        match block.label {
            "PUBLIC KEY" => Self::public(algorithm, &block.bytes),
            "RSA PUBLIC KEY" if algorithm == Algorithm::RsaPssSha512 => Self::public(algorithm, &block.bytes),
            "PRIVATE KEY" | "EC PRIVATE KEY" | "RSA PRIVATE KEY" => Err(KeyRefused::Private),
            _ => Err(KeyRefused::WrongType(algorithm)),
        }
    }

    /// A public key in one of the forms the library reads: SubjectPublicKeyInfo, a point, or 32 bytes of Ed25519.
    fn public(algorithm: Algorithm, bytes: &[u8]) -> Result<Self, KeyRefused> {
        let verification: &'static dyn VerificationAlgorithm = match algorithm {
            Algorithm::HmacSha256 => return Err(KeyRefused::WrongType(algorithm)),
            Algorithm::Ed25519 => &ED25519,
            Algorithm::EcdsaP256Sha256 => &ECDSA_P256_SHA256_FIXED,
            Algorithm::EcdsaP384Sha384 => &ECDSA_P384_SHA384_FIXED,
            Algorithm::RsaPssSha512 => &RSA_PSS_2048_8192_SHA512,
        };
        let unusable = KeyRefused::Unusable(algorithm);
        let key = ParsedPublicKey::new(verification, bytes).map_err(|_| unusable)?;
        if algorithm == Algorithm::Ed25519 {
            let der: PublicKeyX509Der<'_> = key.as_der().map_err(|_| unusable)?;
            if der.as_ref().last_chunk().is_none_or(is_weak) {
                return Err(unusable);
            }
        }
        if algorithm == Algorithm::RsaPssSha512 {
            // The size is compared when a signature is verified; here it is refused before.
            let der: PublicKeyX509Der<'_> = key.as_der().map_err(|_| unusable)?;
            PublicEncryptingKey::from_der(der.as_ref()).map_err(|_| unusable)?;
        }
        Ok(Self { algorithm, material: Verifying::Public(key) })
    }

    /// The algorithm that this key is for.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Verifies the signature of this text. A MAC is compared in constant time.
    ///
    /// # Errors
    /// It does not match.
    pub fn verify(&self, text: &[u8], signature: &[u8]) -> Result<(), Failure> {
        match &self.material {
            Verifying::Secret(key) => hmac::verify(key, text, signature),
            Verifying::Public(key) => key.verify_sig(text, signature),
        }
        .map_err(|_| Failure::Mismatch)
    }
}

/// Whether a point of Ed25519 is of small order, so that anybody can sign with it, or is not written in the one way it
/// should be (RFC 8032 section 5.1.3).
fn is_weak(point: &[u8; 32]) -> bool {
    /// The `y` of the points of order 8, little-endian.
    const OF_ORDER_8: [[u8; 32]; 2] = [
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
            0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
            0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
        ],
    ];
    let mut y = *point;
    y[31] &= 0x7f;
    // 2^255 - 19 - 1 and above: of order 2, or no number of the field.
    let is_last = y[0] >= 0xec && y[1..31].iter().all(|byte| *byte == 0xff) && y[31] == 0x7f;
    // 0 and 1: of order 4, and the neutral element.
    let is_first = y[0] <= 1 && y[1..].iter().all(|byte| *byte == 0);
    is_first || is_last || OF_ORDER_8.contains(&y)
}

/// A key that makes signatures of one algorithm. What it holds is wiped when it is dropped.
pub struct SigningKey {
    algorithm: Algorithm,
    material: Signing,
}

enum Signing {
    Secret(Box<hmac::Key>),
    Ed25519(Ed25519KeyPair),
    Ecdsa(EcdsaKeyPair),
    Rsa(RsaKeyPair),
    Elsewhere(Box<SignsText>),
}

/// Makes a signature over a text, or none if that failed.
type SignsText = dyn Fn(&[u8]) -> Option<Vec<u8>> + Send + Sync;

/// The signature could not be made: the source of randomness failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature could not be made")]
pub struct NotSigned;

impl SigningKey {
    /// A shared secret, for `hmac-sha256`.
    ///
    /// # Errors
    /// It has fewer than 16 bytes.
    pub fn hmac(secret: &[u8]) -> Result<Self, KeyRefused> {
        Ok(Self { algorithm: Algorithm::HmacSha256, material: Signing::Secret(hmac_key(secret)?) })
    }

    /// A private JSON Web Key (RFC 7517), or a secret (`oct`) for `hmac-sha256`. An RSA key needs its primes (`p`, `q`, `dp`,
    /// `dq`, `qi`).
    ///
    /// # Errors
    /// It cannot be read, or is not for this algorithm.
    pub fn from_jwk(json: &str, algorithm: Algorithm) -> Result<Self, KeyRefused> {
        let read = jwk::Jwk::parse(json, algorithm, "sign")?;
        let unusable = KeyRefused::Unusable(algorithm);
        let material = match algorithm {
            Algorithm::HmacSha256 => return Self::hmac(&read.secret()?),
            Algorithm::Ed25519 => {
                let (private, public) = (read.private()?, read.public(algorithm)?);
                Signing::Ed25519(Ed25519KeyPair::from_seed_and_public_key(&private, &public).map_err(|_| unusable)?)
            }
            Algorithm::EcdsaP256Sha256 | Algorithm::EcdsaP384Sha384 => {
                let (private, public) = (read.private()?, read.public(algorithm)?);
                let pair = EcdsaKeyPair::from_private_key_and_public_key(curve(algorithm), &private, &public);
                Signing::Ecdsa(pair.map_err(|_| unusable)?)
            }
            Algorithm::RsaPssSha512 => Signing::Rsa(read.rsa_pair()?),
        };
        Ok(Self { algorithm, material })
    }

    /// A private key as PEM: `PRIVATE KEY` (PKCS #8), `EC PRIVATE KEY` (RFC 5915) or `RSA PRIVATE KEY` (PKCS #1). None may be
    /// encrypted.
    ///
    /// # Errors
    /// It cannot be read, or is not for this algorithm.
    pub fn from_pem(text: &str, algorithm: Algorithm) -> Result<Self, KeyRefused> {
        let block = pem::parse(text)?;
        let wrong_type = KeyRefused::WrongType(algorithm);
        let pair = match (algorithm, block.label) {
            (Algorithm::HmacSha256, _) => return Err(wrong_type),
            (Algorithm::Ed25519, "PRIVATE KEY") => {
                Ed25519KeyPair::from_pkcs8_maybe_unchecked(&block.bytes).map(Signing::Ed25519)
            }
            (Algorithm::EcdsaP256Sha256 | Algorithm::EcdsaP384Sha384, "PRIVATE KEY" | "EC PRIVATE KEY") => {
                EcdsaKeyPair::from_private_key_der(curve(algorithm), &block.bytes).map(Signing::Ecdsa)
            }
            (Algorithm::RsaPssSha512, "PRIVATE KEY") => match pem::inside_pss_key(&block.bytes) {
                Some(inner) => RsaKeyPair::from_der(inner),
                None => RsaKeyPair::from_pkcs8(&block.bytes),
            }
            .map(Signing::Rsa),
            (Algorithm::RsaPssSha512, "RSA PRIVATE KEY") => RsaKeyPair::from_der(&block.bytes).map(Signing::Rsa),
            _ => return Err(wrong_type),
        };
        Ok(Self { algorithm, material: pair.map_err(|_| KeyRefused::Unusable(algorithm))? })
    }

    /// A private key that somebody else holds: `sign` makes a signature of this algorithm over a text.
    #[must_use]
    pub fn held_elsewhere(
        algorithm: Algorithm,
        sign: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        Self { algorithm, material: Signing::Elsewhere(Box::new(sign)) }
    }

    /// The algorithm that this key is for.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Signs this text.
    ///
    /// # Errors
    /// The source of randomness failed.
    pub fn sign(&self, text: &[u8]) -> Result<Vec<u8>, NotSigned> {
        match &self.material {
            Signing::Secret(key) => Ok(hmac::sign(key, text).as_ref().to_vec()),
            Signing::Ed25519(pair) => pair.try_sign(text).map(|signature| signature.as_ref().to_vec()),
            Signing::Ecdsa(pair) => pair.sign(&SystemRandom::new(), text).map(|signature| signature.as_ref().to_vec()),
            Signing::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PSS_SHA512, &SystemRandom::new(), text, &mut signature).map(|()| signature)
            }
            Signing::Elsewhere(sign) => return sign(text).ok_or(NotSigned),
        }
        .map_err(|_| NotSigned)
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("VerifyingKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("SigningKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

fn hmac_key(secret: &[u8]) -> Result<Box<hmac::Key>, KeyRefused> {
    if secret.len() < SHORTEST_SECRET {
        return Err(KeyRefused::ShortSecret);
    }
    Ok(Box::new(hmac::Key::new(hmac::HMAC_SHA256, secret)))
}

/// The curve of an ECDSA algorithm.
fn curve(algorithm: Algorithm) -> &'static EcdsaSigningAlgorithm {
    if algorithm == Algorithm::EcdsaP384Sha384 {
        &ECDSA_P384_SHA384_FIXED_SIGNING
    } else {
        &ECDSA_P256_SHA256_FIXED_SIGNING
    }
}
