//! What every JSON Web Token has in common here (RFC 7515, RFC 7519): its bounds, its errors, its times.
//!
//! The algorithm is always the one the key was declared with. Times are checked against the clock that is
//! handed in, with a leeway only where an operator set one.

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// A longer token is refused unread.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Why a token is not good. For the operator; callers are told only that it is not.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum TokenError {
    /// More than [`MAX_TOKEN_BYTES`].
    #[error("the token is too long")]
    TooLong,
    /// Not a signed JSON Web Token, or one with extensions that are not known here (`crit`).
    #[error("not a well-formed token")]
    Malformed,
    /// Signed by a key that is not known here.
    #[error("the token names a key that is not known")]
    UnknownKey,
    /// Its header names another algorithm than its key has.
    #[error("the token names another algorithm than its key has")]
    Algorithm,
    /// The signature is not that of the key.
    #[error("the signature is wrong")]
    Signature,
    /// Not an access token by its `typ`.
    #[error("not an access token")]
    Type,
    /// A claim is missing or not what it should be.
    #[error("the claim '{0}' is missing or not well formed")]
    Claim(&'static str),
    /// The client it was issued to is missing or cannot be one.
    #[error("the token names no client, or one that cannot be")]
    Client,
    /// Past its `exp`.
    #[error("the token has expired")]
    Expired,
    /// Before its `nbf`.
    #[error("the token is not valid yet")]
    NotYet,
    /// Of another issuer.
    #[error("the token is of another issuer")]
    Issuer,
    /// For another audience.
    #[error("the token is for another audience")]
    Audience,
}

/// Reads a token's header, which nothing has vouched for yet.
pub(crate) fn unverified_header(token: &str) -> Result<Header, TokenError> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(TokenError::TooLong);
    }
    let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
    // Whatever must be understood is not understood here (RFC 7515 section 4.1.11).
    if header.crit.is_some() { Err(TokenError::Malformed) } else { Ok(header) }
}

/// Verifies the signature alone and reads the claims.
pub(crate) fn verified_claims<T: DeserializeOwned>(
    token: &str,
    key: &DecodingKey,
    algorithm: Algorithm,
) -> Result<T, TokenError> {
    let mut signature_alone = Validation::new(algorithm);
    signature_alone.required_spec_claims.clear();
    signature_alone.validate_exp = false;
    signature_alone.validate_nbf = false;
    signature_alone.validate_aud = false;
    match jsonwebtoken::decode(token, key, &signature_alone) {
        Ok(data) => Ok(data.claims),
        Err(error) => Err(match error.kind() {
            ErrorKind::InvalidSignature => TokenError::Signature,
            ErrorKind::InvalidAlgorithm => TokenError::Algorithm,
            _ => TokenError::Malformed,
        }),
    }
}

/// Checks `exp` and `nbf`, all in Unix seconds: a token is good before its `exp`, not at it (RFC 7519 section 4.1.4).
pub(crate) fn check_times(now: u64, expires: u64, not_before: Option<u64>, leeway: u64) -> Result<(), TokenError> {
    if now >= expires.saturating_add(leeway) {
        return Err(TokenError::Expired);
    }
    match not_before {
        Some(not_before) if not_before > now.saturating_add(leeway) => Err(TokenError::NotYet),
        _ => Ok(()),
    }
}

/// `aud`: one text or a list of them (RFC 7519 section 4.1.3). One alone is written as a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audiences(pub Vec<String>);

impl Audiences {
    /// Whether the audience is among them.
    pub fn contains(&self, audience: &str) -> bool {
        self.0.iter().any(|held| held == audience)
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl<'de> Deserialize<'de> for Audiences {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match OneOrMany::deserialize(deserializer)? {
            OneOrMany::One(audience) => Self(vec![audience]),
            OneOrMany::Many(audiences) => Self(audiences),
        })
    }
}

impl Serialize for Audiences {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [audience] => audience.serialize(serializer),
            audiences => audiences.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_before_its_end_and_from_its_beginning() {
        for (now, expires, not_before, leeway, expected) in [
            (99, 100, None, 0, Ok(())),
            (100, 100, None, 0, Err(TokenError::Expired)),
            (104, 100, None, 5, Ok(())),
            (105, 100, None, 5, Err(TokenError::Expired)),
            (50, 100, Some(50), 0, Ok(())),
            (49, 100, Some(50), 0, Err(TokenError::NotYet)),
            (45, 100, Some(50), 5, Ok(())),
            (u64::MAX, u64::MAX, None, 5, Err(TokenError::Expired)),
        ] {
            assert_eq!(check_times(now, expires, not_before, leeway), expected, "{now} {expires} {not_before:?}");
        }
    }

    #[test]
    fn an_audience_is_read_as_text_or_list() {
        let read = |text: &str| serde_json::from_str::<Audiences>(text);
        assert_eq!(read("\"a\"").expect("a text"), Audiences(vec!["a".into()]));
        assert_eq!(read("[\"a\",\"b\"]").expect("a list"), Audiences(vec!["a".into(), "b".into()]));
        assert!(read("7").is_err() && read("[7]").is_err() && read("{}").is_err());
        assert_eq!(serde_json::to_string(&Audiences(vec!["a".into()])).expect("JSON"), "\"a\"");
        assert!(Audiences(vec!["a".into()]).contains("a") && !Audiences(vec!["ab".into()]).contains("a"));
    }
}
