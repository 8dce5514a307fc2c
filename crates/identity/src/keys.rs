//! Keys and secrets the gateway makes: how they look, and how they are looked up.
//!
//! A prefix says what a key is for and a checksum tells a key from a text that only looks like one, so that a
//! scanner finds a key that has leaked. Both are how our keys look, never a condition: a key that an
//! operator brings along is accepted as it is.

use aws_lc_rs::digest::{Context, SHA256, digest};
use portcullis_core::directory::KeyHash;
use portcullis_core::secret::Secret;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::random::random;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 43 digits of base 62 hold just over 256 bits.
const RANDOM_DIGITS: usize = 43;
const CHECK_DIGITS: usize = 6;

/// What a minted key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// Calls services: `pck_…`.
    Api,
    /// Changes a registration: `pcr_…`.
    Registration,
    /// A client's secret: `pcs_…`.
    ClientSecret,
    /// Lets a service register itself: `pce_…`.
    Enrolment,
}

impl KeyKind {
    const ALL: [Self; 4] = [Self::Api, Self::Registration, Self::ClientSecret, Self::Enrolment];

    /// What keys of this kind begin with.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Api => "pck_",
            Self::Registration => "pcr_",
            Self::ClientSecret => "pcs_",
            Self::Enrolment => "pce_",
        }
    }
}

/// Makes a key: its prefix, 43 random base-62 digits, and a checksum of 6 digits.
pub fn mint(kind: KeyKind) -> Secret {
    let mut text = Zeroizing::new(String::with_capacity(kind.prefix().len() + RANDOM_DIGITS + CHECK_DIGITS));
    text.push_str(kind.prefix());
    while text.len() < kind.prefix().len() + RANDOM_DIGITS {
        let bytes = Zeroizing::new(random::<64>());
        // 248 is the largest multiple of 62 a byte can hold; what is above it would favour some digits.
        let digits = bytes.iter().filter(|byte| **byte < 248).map(|byte| char::from(ALPHABET[usize::from(byte % 62)]));
        let missing = kind.prefix().len() + RANDOM_DIGITS - text.len();
        text.extend(digits.take(missing));
    }
    let check = checksum(&text);
    text.extend(check.map(char::from));
    Secret::from(text.as_str())
}

/// Whether a text looks like a key of ours: prefix, length, alphabet and checksum. Says nothing about whether it is known.
pub fn checksum_ok(text: &str) -> bool {
    let Some(digits) = KeyKind::ALL.iter().find_map(|kind| text.strip_prefix(kind.prefix())) else { return false };
    if digits.len() != RANDOM_DIGITS + CHECK_DIGITS || !digits.bytes().all(|digit| digit.is_ascii_alphanumeric()) {
        return false;
    }
    let (front, check) = text.split_at(text.len() - CHECK_DIGITS);
    checksum(front).ct_eq(check.as_bytes()).into()
}

/// SHA-256 of a key or token: what is stored and looked up in its stead.
pub fn hash_key(key: &str) -> KeyHash {
    KeyHash(sha256(key.as_bytes()))
}

/// SHA-256 of several parts in a row. The lengths of all but the last have to be fixed, or two rows could be one.
pub fn hash_all<const N: usize>(parts: [&[u8]; N]) -> KeyHash {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    KeyHash(hash)
}

/// SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

fn checksum(text: &str) -> [u8; CHECK_DIGITS] {
    let mut first = [0; 8];
    first.copy_from_slice(&sha256(text.as_bytes())[..8]);
    let mut rest = u64::from_be_bytes(first);
    let mut digits = [0; CHECK_DIGITS];
    for digit in &mut digits {
        *digit = ALPHABET[(rest % 62) as usize];
        rest /= 62;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minted_key_has_its_form() {
        for kind in KeyKind::ALL {
            let (one, other) = (mint(kind), mint(kind));
            assert!(one != other);
            let text = one.expose();
            assert!(text.starts_with(kind.prefix()) && text.len() == 4 + 43 + 6, "{kind:?}");
            assert!(text[4..].bytes().all(|digit| digit.is_ascii_alphanumeric()));
            assert!(checksum_ok(text));
        }
    }

    #[test]
    fn a_changed_key_fails_its_checksum() {
        let key = mint(KeyKind::Api);
        for position in 0..key.expose().len() {
            let mut changed = key.expose().to_owned().into_bytes();
            changed[position] = if changed[position] == b'x' { b'y' } else { b'x' };
            assert!(!checksum_ok(std::str::from_utf8(&changed).expect("ASCII")), "position {position}");
        }
        for other in ["", "pck_", "operator-key", &key.expose()[1..], &format!("{}0", key.expose())] {
            assert!(!checksum_ok(other));
        }
        assert!(!checksum_ok(&format!("pck_{}", "é".repeat(24))), "a cut inside a character is no panic");
    }

    #[test]
    fn a_checksum_stays_what_it_is() {
        // Computed apart from this code; scanners depend on the form.
        assert_eq!(checksum("pck_0000000000000000000000000000000000000000000"), *b"wmO2q3");
    }

    #[test]
    fn a_key_is_stored_as_its_sha256() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(portcullis_core::call::hex(&hash_key("abc").0), expected);
    }
}
