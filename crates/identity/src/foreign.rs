//! Tokens of other issuers, verified with keys an operator has declared.
//!
//! The declaration decides about the algorithm; what a token shows only selects among the declared keys.

mod client;
mod purpose;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::PublicEncryptingKey;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, Header};
use portcullis_core::ports::Clock;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use self::purpose::is_access_token;
use crate::claims::{Audiences, TokenError, check_times, unverified_header, verified_claims};

pub use client::{ClientMarker, qualified};

/// The most keys one set holds: so many signatures at most are tried on one token.
pub const MAX_STATIC_KEYS: usize = 32;

/// The algorithm a key is declared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StaticAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
}

impl StaticAlgorithm {
    fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        }
    }

    fn jwt(self) -> Algorithm {
        match self {
            Self::Rs256 => Algorithm::RS256,
            Self::Es256 => Algorithm::ES256,
        }
    }
}

/// What an operator declares about a key: how far it is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// The algorithm it signs with.
    pub algorithm: StaticAlgorithm,
    /// The only `iss` it speaks for.
    pub issuer: String,
    /// The audiences of which a token must name one. Empty: the caller of [`StaticKeys::verify`] checks `aud`.
    pub audiences: Vec<String>,
    /// The key's id. A JWK's own `kid` is taken where this is absent.
    pub kid: Option<String>,
    /// For how many seconds an expired token is still taken, and one before its `nbf` is already taken.
    pub leeway: u64,
    /// Which tokens are access tokens.
    pub types: TokenTypes,
    /// The claim that names the client a token was issued to.
    pub client_claim: String,
    /// What marks a token as one that speaks for its client alone. Without it every token speaks for a user.
    pub client_marker: Option<ClientMarker>,
}

/// Which tokens are taken for access tokens, by their header parameter `typ`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum TokenTypes {
    /// Those that do not say that they are something else.
    #[default]
    Usual,
    /// Those that say so: `at+jwt` (RFC 9068 section 2.1).
    Strict,
}

/// One declared key.
pub struct StaticKey {
    trust: Trust,
    key: DecodingKey,
}

impl std::fmt::Debug for StaticKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StaticKey").field("trust", &self.trust).finish_non_exhaustive()
    }
}

impl StaticKey {
    /// Reads a public JWK (RFC 7517): RSA, or EC on P-256. The error says what is wrong, in one sentence.
    pub fn from_jwk(jwk: &Value, mut trust: Trust) -> Result<Self, String> {
        let jwk = jwk.as_object().ok_or("a JWK is a JSON object")?;
        let text = |name: &str| match jwk.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(format!("the JWK's '{name}' is not a text")),
        };
        if ["d", "p", "q", "k"].iter().any(|private| jwk.contains_key(*private)) {
            return Err("the JWK holds a private or symmetric key; declare the public key alone".to_owned());
        }
        if text("alg")?.is_some_and(|alg| alg != trust.algorithm.name()) {
            return Err(format!("the JWK's 'alg' is not the declared {}", trust.algorithm.name()));
        }
        if text("use")?.is_some_and(|purpose| purpose != "sig") {
            return Err("the JWK's 'use' is not 'sig'".to_owned());
        }
        if let Some(operations) = jwk.get("key_ops") {
            let verifies = operations.as_array().is_some_and(|list| list.iter().any(|operation| operation == "verify"));
            if !verifies {
                return Err("the JWK's 'key_ops' does not list 'verify'".to_owned());
            }
        }
        if let (None, Some(kid)) = (&trust.kid, text("kid")?) {
            trust.kid = Some(kid.to_owned());
        }
        let number = |name: &str| {
            let text = text(name)?.ok_or_else(|| format!("the JWK has no '{name}'"))?;
            URL_SAFE_NO_PAD.decode(text).map_err(|_| format!("the JWK's '{name}' is not base64url without padding"))
        };
        let kty = text("kty")?.unwrap_or("");
        let der = match (trust.algorithm, kty) {
            (StaticAlgorithm::Rs256, "RSA") => rsa_der(&number("n")?, &number("e")?)?,
            (StaticAlgorithm::Es256, "EC") => {
                if text("crv")? != Some("P-256") {
                    return Err("the JWK's 'crv' is not 'P-256'".to_owned());
                }
                ec_point(&number("x")?, &number("y")?)?
            }
            _ => return Err(format!("the JWK's 'kty' does not fit the declared {}", trust.algorithm.name())),
        };
        Self::checked(&der, trust)
    }

    /// Reads a public key in PEM (`-----BEGIN PUBLIC KEY-----`, RFC 7468 section 13). The error says what is wrong.
    pub fn from_pem(pem: &str, trust: Trust) -> Result<Self, String> {
        const FORM: &str = "expected one '-----BEGIN PUBLIC KEY-----' block and nothing else";
        let body = pem
            .trim()
            .strip_prefix("-----BEGIN PUBLIC KEY-----")
            .and_then(|rest| rest.strip_suffix("-----END PUBLIC KEY-----"))
            .ok_or(FORM)?;
        let text: String = body.split_ascii_whitespace().collect();
        Self::checked(&STANDARD.decode(text).map_err(|_| FORM)?, trust)
    }

    /// The issuer it speaks for.
    pub fn issuer(&self) -> &str {
        &self.trust.issuer
    }

    fn checked(der: &[u8], trust: Trust) -> Result<Self, String> {
        if trust.issuer.is_empty() {
            return Err("a key speaks for one issuer, which must be named".to_owned());
        }
        // What else is in it would be written like another issuer's escapes.
        if !trust.issuer.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("an issuer is written in visible ASCII, without spaces".to_owned());
        }
        let unfit = |_| format!("not a public key that {} can be verified with", trust.algorithm.name());
        let key = match trust.algorithm {
            StaticAlgorithm::Rs256 => {
                // Parsing alone takes keys of any size; this takes 2048 to 8192 bits.
                PublicEncryptingKey::from_der(der)
                    .map_err(|reason| format!("not an RSA public key of 2048 to 8192 bits ({reason})"))?;
                ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der).map_err(unfit)?;
                DecodingKey::from_rsa_der(der)
            }
            StaticAlgorithm::Es256 => {
                ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, der).map_err(unfit)?;
                DecodingKey::from_ec_der(der)
            }
        };
        Ok(Self { trust, key })
    }

    fn may_have_signed(&self, header: &Header) -> bool {
        match (&self.trust.kid, &header.kid) {
            (Some(ours), Some(theirs)) => ours == theirs,
            _ => true,
        }
    }

    /// What the claims say, once this key has verified the signature.
    fn accept(&self, typ: Option<&str>, raw: Map<String, Value>, now: u64) -> Result<ForeignClaims, TokenError> {
        let text = |name: &'static str| match raw.get(name) {
            Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
            None => Ok(None),
            Some(_) => Err(TokenError::Claim(name)),
        };
        let iss = text("iss")?.ok_or(TokenError::Claim("iss"))?;
        if iss != self.trust.issuer {
            return Err(TokenError::Issuer);
        }
        if !is_access_token(self.trust.types, typ, &raw) {
            return Err(TokenError::Type);
        }
        let exp = seconds(&raw, "exp")?.ok_or(TokenError::Claim("exp"))?;
        check_times(now, exp, seconds(&raw, "nbf")?, self.trust.leeway)?;
        let aud = match raw.get("aud") {
            None => Audiences(Vec::new()),
            Some(aud) => Audiences::deserialize(aud).map_err(|_| TokenError::Claim("aud"))?,
        };
        let audience_checked = !self.trust.audiences.is_empty();
        if audience_checked && !self.trust.audiences.iter().any(|audience| aud.contains(audience)) {
            return Err(TokenError::Audience);
        }
        let sub = text("sub")?.ok_or(TokenError::Claim("sub"))?;
        let client_id = client::id(&raw, &self.trust.client_claim)?;
        let is_client = match &self.trust.client_marker {
            Some(marker) => marker.is_on(&raw, client_id.as_deref())?,
            None => false,
        };
        let until = exp.saturating_add(self.trust.leeway);
        Ok(ForeignClaims { iss, sub, aud, audience_checked, exp, until, client_id, is_client, raw })
    }
}

/// What a verified token of another issuer says.
#[derive(Debug, Clone, PartialEq)]
pub struct ForeignClaims {
    /// The issuer, one the key was declared for.
    pub iss: String,
    /// Whom it speaks of.
    pub sub: String,
    /// Who may accept it; may be empty.
    pub aud: Audiences,
    /// Whether `aud` was found to name a declared audience. If not, the caller has to check it.
    pub audience_checked: bool,
    /// When it ends, in Unix seconds.
    pub exp: u64,
    /// From when on it is not taken any more: `exp` and the leeway of its key.
    pub until: u64,
    /// The client it was issued to, where it says so.
    pub client_id: Option<String>,
    /// Whether it speaks for that client alone, by the mark that is declared. There is a client then.
    pub is_client: bool,
    /// Every claim.
    pub raw: Map<String, Value>,
}

/// A set of declared keys.
#[derive(Debug)]
pub struct StaticKeys(Vec<StaticKey>);

impl StaticKeys {
    /// At most [`MAX_STATIC_KEYS`] keys. Several may share an issuer or an id.
    pub fn new(keys: Vec<StaticKey>) -> Result<Self, String> {
        if keys.len() > MAX_STATIC_KEYS {
            return Err(format!("at most {MAX_STATIC_KEYS} keys can be declared together"));
        }
        Ok(Self(keys))
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Verifies a token at a time in Unix seconds: key, algorithm, signature, issuer, times, and the declared
    /// audiences where there are any.
    pub fn verify(&self, token: &str, now: u64) -> Result<ForeignClaims, TokenError> {
        let header = unverified_header(token)?;
        let mut refused = TokenError::UnknownKey;
        for key in self.0.iter().filter(|key| key.may_have_signed(&header)) {
            if header.alg != key.trust.algorithm.jwt() {
                // The more telling reason stays.
                if refused == TokenError::UnknownKey {
                    refused = TokenError::Algorithm;
                }
                continue;
            }
            match verified_claims(token, &key.key, key.trust.algorithm.jwt()) {
                Ok(raw) => match key.accept(header.typ.as_deref(), raw, now) {
                    // One key can be declared for several issuers.
                    Err(TokenError::Issuer) => refused = TokenError::Issuer,
                    accepted => return accepted,
                },
                Err(error) if refused != TokenError::Issuer => refused = error,
                Err(_) => {}
            }
        }
        Err(refused)
    }

    /// [`StaticKeys::verify`] at the time a clock shows.
    pub fn verify_now(&self, token: &str, clock: &dyn Clock) -> Result<ForeignClaims, TokenError> {
        self.verify(token, clock.unix_millis() / 1000)
    }
}

/// A `NumericDate`, which may have a fraction (RFC 7519 section 2), in whole seconds.
fn seconds(raw: &Map<String, Value>, name: &'static str) -> Result<Option<u64>, TokenError> {
    match raw.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => {
            let whole = number.as_u64().or_else(|| {
                // Rounding towards zero shortens a token's life by less than a second; a cast saturates.
                number.as_f64().filter(|seconds| *seconds >= 0.0).map(|seconds| seconds as u64)
            });
            whole.map(Some).ok_or(TokenError::Claim(name))
        }
        Some(_) => Err(TokenError::Claim(name)),
    }
}

/// RFC 7518 section 6.3.1, as `SubjectPublicKeyInfo`.
fn rsa_der(n: &[u8], e: &[u8]) -> Result<Vec<u8>, String> {
    // The RFC forbids leading zeros, but keys with one are about.
    let [n, e] = [n, e].map(|number| &number[number.iter().take_while(|byte| **byte == 0).count()..]);
    let der: Result<PublicKeyX509Der<'_>, _> = RsaPublicKeyComponents { n, e }.as_der();
    Ok(der.map_err(|_| "the JWK's 'n' and 'e' are no RSA public key")?.as_ref().to_vec())
}

/// RFC 7518 section 6.2.1, as an uncompressed point.
fn ec_point(x: &[u8], y: &[u8]) -> Result<Vec<u8>, String> {
    if x.len() != 32 || y.len() != 32 {
        return Err("the JWK's 'x' and 'y' have 32 bytes each on P-256".to_owned());
    }
    Ok([&[0x04], x, y].concat())
}

#[cfg(test)]
mod tests;
