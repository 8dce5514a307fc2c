//! A client's shared secret as it is kept: sealed under the master key (encryption at rest), with what it is good for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Secrets of one client that are good at the same time: the one in use, and the one that replaces it.
pub const MAX_SECRETS: usize = 2;
/// The purpose under which secrets of clients are sealed.
pub const SECRET_PURPOSE: &str = "client-secret";

/// What a secret of a client may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretUse {
    /// To get tokens (OAuth 2.0, RFC 6749 section 2.3.1).
    Oauth,
    /// To sign calls.
    Sign,
    /// To encrypt calls.
    Seal,
}

impl SecretUse {
    /// Every use, in the order in which they are written.
    pub const ALL: [Self; 3] = [Self::Oauth, Self::Sign, Self::Seal];

    /// Its word: `oauth`, `sign` or `seal`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Oauth => "oauth",
            Self::Sign => "sign",
            Self::Seal => "seal",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for SecretUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SecretUse {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|known| known.as_str() == word);
        found.ok_or_else(|| format!("expected 'oauth', 'sign' or 'seal', found '{}'", word.escape_debug()))
    }
}

/// A set of uses. In JSON a list of their words.
///
/// ```
/// use portcullis_core::model::{SecretUse, SecretUses};
///
/// let uses: SecretUses = serde_json::from_str(r#"["sign", "oauth", "sign"]"#)?;
/// assert!(uses.contains(SecretUse::Sign) && !uses.contains(SecretUse::Seal));
/// assert_eq!(serde_json::to_string(&uses)?, r#"["oauth","sign"]"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "Vec<SecretUse>", into = "Vec<SecretUse>")]
pub struct SecretUses(u8);

impl SecretUses {
    /// Every use there is.
    pub fn all() -> Self {
        SecretUse::ALL.into_iter().collect()
    }

    /// Whether it is among them.
    pub fn contains(self, wanted: SecretUse) -> bool {
        self.0 & wanted.bit() != 0
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = SecretUse> {
        SecretUse::ALL.into_iter().filter(move |one| self.contains(*one))
    }
}

impl FromIterator<SecretUse> for SecretUses {
    fn from_iter<T: IntoIterator<Item = SecretUse>>(uses: T) -> Self {
        Self(uses.into_iter().fold(0, |bits, one| bits | one.bit()))
    }
}

impl From<Vec<SecretUse>> for SecretUses {
    fn from(uses: Vec<SecretUse>) -> Self {
        uses.into_iter().collect()
    }
}

impl From<SecretUses> for Vec<SecretUse> {
    fn from(uses: SecretUses) -> Self {
        uses.iter().collect()
    }
}

impl fmt::Debug for SecretUses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// A client's secret, sealed under the master key. Times are Unix milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientSecret {
    /// base64 of the sealed text.
    pub sealed: String,
    /// What it may be used for.
    pub uses: SecretUses,
    /// When it was made.
    pub created_at: u64,
    /// From when on it is good no more; never if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<u64>,
}

impl ClientSecret {
    /// Whether it is good at this time.
    pub fn is_live(&self, now: u64) -> bool {
        self.not_after.is_none_or(|end| now < end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_read_and_written_the_same() {
        let stored = r#"{"sealed":"AA==","uses":["oauth","sign","seal"],"created_at":7}"#;
        let secret: ClientSecret = serde_json::from_str(stored).expect("reads");
        assert_eq!((secret.uses, secret.not_after), (SecretUses::all(), None));
        assert_eq!(serde_json::to_string(&secret).expect("writes"), stored);
        for bad in ["[\"login\"]", "\"sign\"", "[1]"] {
            assert!(serde_json::from_str::<SecretUses>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_set_holds_what_was_put_into_it() {
        for one in SecretUse::ALL {
            let uses: SecretUses = [one].into_iter().collect();
            assert!(SecretUse::ALL.into_iter().all(|other| uses.contains(other) == (other == one)));
            assert_eq!(one.as_str().parse(), Ok(one));
        }
        assert!(SecretUses::default().is_empty() && !SecretUses::all().is_empty());
    }

    #[test]
    fn a_secret_ends_in_time() {
        let secret =
            ClientSecret { sealed: String::new(), uses: SecretUses::all(), created_at: 0, not_after: Some(10) };
        assert!(secret.is_live(9) && !secret.is_live(10));
        assert!(ClientSecret { not_after: None, ..secret }.is_live(u64::MAX));
    }
}
