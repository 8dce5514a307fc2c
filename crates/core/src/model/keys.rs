//! What is kept of keys and tokens that were handed out: never the text itself.

use serde::{Deserialize, Serialize};

use super::{Label, Name};
use crate::directory::KeyOwner;

/// An API key. Stored under the SHA-256 of its text. Times are Unix milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// A public handle to name the key by, without knowing it.
    pub id: String,
    /// Whose it is.
    pub owner: KeyOwner,
    /// When it was made.
    pub created_at: u64,
}

impl ApiKey {
    /// What the audit trail calls it: the name of its owner, and the handle.
    pub fn called(&self) -> String {
        match &self.owner {
            KeyOwner::Client(name) => format!("{name}/{}", self.id),
            KeyOwner::Service(name) => format!("{name}/{}", self.id),
        }
    }
}

/// That whoever holds the registration key may change the versions of a service name that came by registration, and make
/// more of them. Versions that an operator made or adopted are none of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// Hex SHA-256 of the registration key.
    pub key_hash: String,
    /// The enrolment token it was first registered with.
    pub enrolment: Label,
    /// When.
    pub created_at: u64,
    /// When its key was last exchanged for another; never, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotated_at: Option<u64>,
}

/// A token that lets services register themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrolment {
    /// Hex SHA-256 of the token.
    pub token_hash: String,
    /// Which names it is good for: `*` stands for any run of characters.
    pub pattern: String,
    /// How many registrations it is good for; no limit if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_uses: Option<u64>,
    /// How many it was used for.
    pub uses: u64,
    /// When it was made.
    pub created_at: u64,
    /// When it ends; never if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
}

impl Enrolment {
    /// Whether it may be used once more now, for this name.
    pub fn admits(&self, name: &Name, now: u64) -> bool {
        self.max_uses.is_none_or(|most| self.uses < most)
            && self.expires_at.is_none_or(|end| now < end)
            && matches_pattern(&self.pattern, name.as_str())
    }
}

/// Whether a text matches a pattern in which `*` stands for any run of characters, also none.
/// Takes time in the order of the product of both lengths at most.
///
/// ```
/// use portcullis_core::model::matches_pattern;
///
/// assert!(matches_pattern("orders-*", "orders-eu") && matches_pattern("*", ""));
/// assert!(!matches_pattern("orders-*", "orders"));
/// ```
pub fn matches_pattern(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut seen) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while seen < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(byte) if *byte == text[seen] => {
                at += 1;
                seen += 1;
            }
            // Let the last star swallow one more character and try again behind it.
            _ => match star {
                Some((star_at, taken)) => {
                    star = Some((star_at, taken + 1));
                    at = star_at + 1;
                    seen = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, text, want) in [
            ("*", "orders", true),
            ("orders", "orders", true),
            ("orders", "orders2", false),
            ("team-*", "team-a", true),
            ("team-*", "team-", true),
            ("team-*", "xteam-a", false),
            ("*-*-x", "a-b-c-x", true),
            ("a*b*c", "abbc", true),
            ("a*b*c", "acb", false),
            ("", "a", false),
        ] {
            assert_eq!(matches_pattern(pattern, text), want, "{pattern} {text}");
        }
    }

    #[test]
    fn an_enrolment_ends_by_use_and_by_time() {
        let name: Name = "orders".parse().expect("well formed");
        let enrolment = Enrolment {
            token_hash: String::new(),
            pattern: "*".into(),
            max_uses: Some(2),
            uses: 1,
            created_at: 0,
            expires_at: Some(10),
        };
        assert!(enrolment.admits(&name, 9));
        assert!(!enrolment.admits(&name, 10));
        assert!(!Enrolment { uses: 2, ..enrolment }.admits(&name, 9));
    }
}
