//! The text of refresh tokens: which session, which generation, and a MAC that only this gateway can make.
//!
//! A forged token is told from a genuine one before anything is looked up, so showing one with a known session id
//! changes nothing. The successor of a token follows from it and the master key, which is why a repeated
//! refresh can be answered with the same successor though only hashes are stored.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_core::directory::KeyHash;
use portcullis_core::ports::SessionId;
use portcullis_core::secret::Secret;
use subtle::ConstantTimeEq;

use crate::keys::hash_key;
use crate::master::MasterKey;

const PREFIX: &str = "pcf_";
const BYTES: usize = 16 + 4 + 32;

/// A genuine refresh token: the session it belongs to, and how many came before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RefreshToken {
    pub(crate) session: SessionId,
    pub(crate) generation: u32,
}

impl RefreshToken {
    /// The first token of a session.
    pub(crate) fn first(session: SessionId) -> Self {
        Self { session, generation: 0 }
    }

    /// The one after it; none after four thousand million of them.
    pub(crate) fn successor(self) -> Option<Self> {
        Some(Self { generation: self.generation.checked_add(1)?, ..self })
    }

    /// Reads a token; none if this gateway has not made it.
    pub(crate) fn read(text: &str, master: &MasterKey) -> Option<Self> {
        let mut bytes = [0; BYTES];
        // A slice of exactly this size refuses everything longer, before it is decoded.
        let length = URL_SAFE_NO_PAD.decode_slice(text.strip_prefix(PREFIX)?, &mut bytes).ok()?;
        if length != BYTES {
            return None;
        }
        let (session, rest) = bytes.split_first_chunk::<16>()?;
        let (generation, mac) = rest.split_first_chunk::<4>()?;
        let token = Self { session: SessionId(*session), generation: u32::from_be_bytes(*generation) };
        bool::from(token.mac(master).ct_eq(mac)).then_some(token)
    }

    /// The token as the client gets it.
    pub(crate) fn text(self, master: &MasterKey) -> Secret {
        let mut bytes = [0; BYTES];
        bytes[..20].copy_from_slice(&self.stem());
        bytes[20..].copy_from_slice(&self.mac(master));
        Secret::from(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// What is stored of it.
    pub(crate) fn hash(self, master: &MasterKey) -> KeyHash {
        hash_key(self.text(master).expose())
    }

    fn stem(self) -> [u8; 20] {
        let mut stem = [0; 20];
        stem[..16].copy_from_slice(&self.session.0);
        stem[16..].copy_from_slice(&self.generation.to_be_bytes());
        stem
    }

    fn mac(self, master: &MasterKey) -> [u8; 32] {
        master.mac("refresh", &self.stem())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_made() {
        let master = MasterKey::generate().0;
        let token = RefreshToken { session: SessionId([9; 16]), generation: 7 };
        let text = token.text(&master);
        assert!(text.expose().starts_with("pcf_") && text.expose().len() == 4 + 70);
        assert_eq!(RefreshToken::read(text.expose(), &master), Some(token));
        assert_eq!(token.text(&master), text, "the same every time");
        assert_eq!(token.successor().map(|next| next.generation), Some(8));
        assert_eq!(RefreshToken { generation: u32::MAX, ..token }.successor(), None);
    }

    #[test]
    fn what_another_made_or_changed_is_nobodys() {
        let (master, other) = (MasterKey::generate().0, MasterKey::generate().0);
        let token = RefreshToken::first(SessionId([9; 16]));
        assert_eq!(RefreshToken::read(token.text(&other).expose(), &master), None);
        let text = token.text(&master).expose().to_owned();
        let genuine = URL_SAFE_NO_PAD.decode(&text[4..]).expect("base64url");
        for bit in 0..genuine.len() * 8 {
            let mut changed = genuine.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let changed = format!("pcf_{}", URL_SAFE_NO_PAD.encode(changed));
            assert_eq!(RefreshToken::read(&changed, &master), None, "bit {bit}");
        }
        for changed in
            ["", "pcf_", &text[4..], &text[..73], &format!("{text}A"), &format!("{text}="), &"x".repeat(9999)]
        {
            assert_eq!(RefreshToken::read(changed, &master), None, "{changed}");
        }
        // The last digit carries four bits that mean nothing; they must be zero.
        let last = text.chars().last().expect("not empty");
        for digit in ('A'..='Z').chain('a'..='z').chain('0'..='9').filter(|digit| *digit != last) {
            let changed = format!("{}{digit}", &text[..text.len() - 1]);
            assert_eq!(RefreshToken::read(&changed, &master), None, "{digit}");
        }
    }
}
