//! JSON Web Keys (RFC 7517, RFC 7518, RFC 8037): what the algorithms need of them.

use aws_lc_rs::rsa::{KeyPairComponents, PublicKeyComponents};
use aws_lc_rs::signature::RsaKeyPair;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::algorithm::Algorithm;
use super::keys::KeyRefused;

/// Bytes of a JWK that are read.
const LONGEST: usize = 32 * 1024;

/// A JWK. Its members are borrowed from the text, so that no copy of a secret is left behind.
#[derive(Deserialize)]
pub(super) struct Jwk<'a> {
    kty: &'a str,
    crv: Option<&'a str>,
    alg: Option<&'a str>,
    #[serde(rename = "use")]
    used_for: Option<&'a str>,
    #[serde(borrow)]
    key_ops: Option<Vec<&'a str>>,
    k: Option<&'a str>,
    x: Option<&'a str>,
    y: Option<&'a str>,
    n: Option<&'a str>,
    e: Option<&'a str>,
    d: Option<&'a str>,
    p: Option<&'a str>,
    q: Option<&'a str>,
    dp: Option<&'a str>,
    dq: Option<&'a str>,
    qi: Option<&'a str>,
    oth: Option<serde::de::IgnoredAny>,
}

/// Bytes that are wiped when they are dropped.
type Secret = Zeroizing<Vec<u8>>;

impl<'a> Jwk<'a> {
    /// Reads a key, and refuses one that is of another type or says it is for something else.
    pub(super) fn parse(json: &'a str, algorithm: Algorithm, operation: &str) -> Result<Self, KeyRefused> {
        if json.len() > LONGEST {
            return Err(KeyRefused::Unreadable("the JWK is too long"));
        }
        let read: Self = serde_json::from_str(json).map_err(|_| KeyRefused::Unreadable("it is no JWK"))?;
        let (kty, crv, names): (_, _, &[&str]) = match algorithm {
            Algorithm::HmacSha256 => ("oct", None, &["HS256"]),
            Algorithm::Ed25519 => ("OKP", Some("Ed25519"), &["EdDSA", "Ed25519"]),
            Algorithm::EcdsaP256Sha256 => ("EC", Some("P-256"), &["ES256"]),
            Algorithm::EcdsaP384Sha384 => ("EC", Some("P-384"), &["ES384"]),
            Algorithm::RsaPssSha512 => ("RSA", None, &["PS512"]),
        };
        if read.kty != kty || crv.is_some() && read.crv != crv {
            return Err(KeyRefused::WrongType(algorithm));
        }
        let is_for_another = read.alg.is_some_and(|alg| !names.contains(&alg) && alg != algorithm.name());
        let is_not_for_signing = read.used_for.is_some_and(|used_for| used_for != "sig")
            || read.key_ops.as_ref().is_some_and(|operations| !operations.contains(&operation));
        if is_for_another || is_not_for_signing {
            return Err(KeyRefused::Declared(algorithm));
        }
        Ok(read)
    }

    /// Whether it has private members.
    pub(super) fn is_private(&self) -> bool {
        self.d.is_some()
    }

    /// The secret of an `oct` key.
    pub(super) fn secret(&self) -> Result<Secret, KeyRefused> {
        decode(self.k)
    }

    /// The private member of an EC or OKP key.
    pub(super) fn private(&self) -> Result<Secret, KeyRefused> {
        decode(self.d)
    }

    /// The public key in a form the library reads.
    pub(super) fn public(&self, algorithm: Algorithm) -> Result<Vec<u8>, KeyRefused> {
        let unusable = KeyRefused::Unusable(algorithm);
        let length = match algorithm {
            Algorithm::RsaPssSha512 => {
                use aws_lc_rs::encoding::AsDer;
                let (n, e) = (decode(self.n)?, decode(self.e)?);
                let key = PublicKeyComponents { n: n.as_slice(), e: e.as_slice() };
                return Ok(key.as_der().map_err(|_| unusable)?.as_ref().to_vec());
            }
            Algorithm::EcdsaP384Sha384 => 48,
            _ => 32,
        };
        let x = decode(self.x)?;
        if algorithm == Algorithm::Ed25519 {
            return if x.len() == length { Ok(x.to_vec()) } else { Err(unusable) };
        }
        let y = decode(self.y)?;
        // RFC 7518, section 6.2.1.2: the full size of a coordinate.
        if x.len() != length || y.len() != length {
            return Err(unusable);
        }
        Ok([&[4], x.as_slice(), y.as_slice()].concat())
    }

    /// The pair of an RSA key with two primes.
    pub(super) fn rsa_pair(&self) -> Result<RsaKeyPair, KeyRefused> {
        if self.oth.is_some() {
            return Err(KeyRefused::Unreadable("RSA keys of more than two primes are not supported"));
        }
        let (n, e) = (decode(self.n)?, decode(self.e)?);
        let [d, p, q, dp, dq, qi] = [self.d, self.p, self.q, self.dp, self.dq, self.qi].map(decode);
        let (d, p, q, dp, dq, qi) = (d?, p?, q?, dp?, dq?, qi?);
        let components = KeyPairComponents {
            public_key: PublicKeyComponents { n: n.as_slice(), e: e.as_slice() },
            d: d.as_slice(),
            p: p.as_slice(),
            q: q.as_slice(),
            dP: dp.as_slice(),
            dQ: dq.as_slice(),
            qInv: qi.as_slice(),
        };
        RsaKeyPair::from_components(&components).map_err(|_| KeyRefused::Unusable(Algorithm::RsaPssSha512))
    }
}

fn decode(member: Option<&str>) -> Result<Secret, KeyRefused> {
    let text = member.ok_or(KeyRefused::Unreadable("the JWK lacks a member"))?;
    let bytes =
        URL_SAFE_NO_PAD.decode(text).map_err(|_| KeyRefused::Unreadable("a member of the JWK is not base64url"))?;
    Ok(Zeroizing::new(bytes))
}
