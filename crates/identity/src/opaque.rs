//! Opaque tokens (RFC 6749 section 1.4): random texts that say nothing themselves. Only their hashes are kept.
//!
//! They look like those of fomalhaut: 20 bytes in URL-safe base64, 27 characters. The hash of an access token is another one
//! than that of a refresh token with the same text, so neither is ever taken for the other.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_core::directory::KeyHash;
use portcullis_core::ports::SessionId;
use portcullis_core::secret::Secret;
use zeroize::Zeroizing;

use crate::keys::hash_all;
use crate::random::random;

/// Characters of an opaque token.
pub const LENGTH: usize = 27;
const BYTES: usize = 20;

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// It is shown with every call.
    Access,
    /// It is exchanged for another pair, once.
    Refresh,
}

impl Use {
    /// What goes before the token; both have one length.
    fn domain(self) -> &'static [u8; 27] {
        match self {
            Self::Access => b"portcullis opaque access \0\x01",
            Self::Refresh => b"portcullis opaque refresh\0\x01",
        }
    }
}

/// Makes a token.
pub(crate) fn mint() -> Secret {
    let bytes = Zeroizing::new(random::<BYTES>());
    let mut text = Zeroizing::new([0; LENGTH]);
    // 20 bytes have exactly so many characters.
    let _ = URL_SAFE_NO_PAD.encode_slice(*bytes, &mut text[..]);
    Secret::from(std::str::from_utf8(&text[..]).unwrap_or_default())
}

/// Whether a text looks like an opaque token. No signed one does, for each of these has a dot.
pub fn is_opaque(text: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    text.len() == LENGTH && text.bytes().all(is_digit)
}

/// What is kept of a token in its stead, and looked up: SHA-256 of what it is for and the text itself.
pub fn hash(what_for: Use, token: &str) -> KeyHash {
    hash_all([what_for.domain(), token.as_bytes()])
}

/// The id of the session whose access token has this hash.
pub fn session_of(access: &KeyHash) -> SessionId {
    let mut id = [0; 16];
    id.copy_from_slice(&access.0[..16]);
    SessionId(id)
}

/// The id of the session that an access token speaks for, if it is opaque and there is one.
pub fn session_shown(access_token: &str) -> Option<SessionId> {
    is_opaque(access_token).then(|| session_of(&hash(Use::Access, access_token)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_looks_like_those_of_fomalhaut_and_is_never_made_twice() {
        let tokens: std::collections::HashSet<String> = (0..1_000).map(|_| mint().expose().to_owned()).collect();
        assert_eq!(tokens.len(), 1_000);
        for token in &tokens {
            assert!(is_opaque(token), "{token}");
            assert_eq!(URL_SAFE_NO_PAD.decode(token).expect("base64url").len(), BYTES);
        }
        let one = tokens.iter().next().expect("many");
        for other in ["", &one[1..], &format!("{one}A"), &format!("{}=", &one[1..]), &format!("{}.", &one[1..])] {
            assert!(!is_opaque(other), "{other}");
        }
        assert!(!is_opaque("\u{e9}aaaaaaaaaaaaaaaaaaaaaaaaa"));
    }

    #[test]
    fn what_is_kept_of_an_access_token_is_nothing_of_a_refresh_token() {
        let token = "AAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let (access, refresh) = (hash(Use::Access, token), hash(Use::Refresh, token));
        assert_ne!(access, refresh);
        assert_ne!(session_of(&access), session_of(&refresh));
        assert_eq!(session_shown(token), Some(session_of(&access)));
        assert_eq!(session_shown("pck_AAAA"), None);
        assert_ne!(access, crate::keys::hash_key(token), "nor of a key");
        assert_eq!(hash(Use::Access, token), hash(Use::Access, token));
        // They are written in registries, so they stay what they are.
        assert!(access.to_hex().starts_with("7481b14d6be2b025"), "{}", access.to_hex());
        assert!(refresh.to_hex().starts_with("905c94563ae8e880"), "{}", refresh.to_hex());
    }
}
