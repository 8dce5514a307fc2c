//! The master key: the one secret of a node that is kept beside the registry, and the keys derived from it.
//!
//! Every use has a key of its own, derived with HKDF-SHA256 (RFC 5869), so that no two uses can be played
//! against each other.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, hmac};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use portcullis_core::call::hex;
use portcullis_core::ports::Unseal;
use portcullis_core::secret::Secret;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::random::random;

const VERSION: u8 = 1;
const TAG_LEN: usize = 16;

/// Why something could not be sealed or opened. It does not tell a wrong key from changed bytes.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum SealError {
    /// The library refused to seal.
    #[error("sealing failed")]
    Seal,
    /// Too short, or of a version this program does not know.
    #[error("not a sealed object of a known version")]
    Form,
    /// Sealed under another key or for another purpose, or changed since.
    #[error("not sealed by this master key for this purpose, or changed since")]
    Open,
}

/// The master key.
pub struct MasterKey(hkdf::Prk);

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

impl MasterKey {
    /// Makes a new key; the bytes are what has to be kept.
    pub fn generate() -> (Self, Zeroizing<[u8; 32]>) {
        let bytes = Zeroizing::new(random());
        (Self::from_bytes(&bytes), bytes)
    }

    /// Takes the bytes that were kept.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(hkdf::Salt::new(hkdf::HKDF_SHA256, b"portcullis master key").extract(bytes))
    }

    /// 16 hex digits that tell this key from others and say nothing about it; safe to store and to show.
    pub fn id(&self) -> String {
        hex(&self.subkey("id", "")[..8])
    }

    /// Seals with AES-256-GCM for one purpose: version byte, 96-bit random nonce, ciphertext, tag.
    pub fn seal(&self, purpose: &str, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let nonce: [u8; NONCE_LEN] = random();
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + plain.len() + TAG_LEN);
        sealed.push(VERSION);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plain);
        let key = self.sealing_key(purpose)?;
        let text = sealed.get_mut(1 + NONCE_LEN..).ok_or(SealError::Seal)?;
        let tag = key
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(purpose.as_bytes()), text)
            .map_err(|_| SealError::Seal)?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// Opens what [`MasterKey::seal`] made for the same purpose.
    pub fn open(&self, purpose: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let rest = sealed.strip_prefix(&[VERSION]).ok_or(SealError::Form)?;
        let (nonce, text) = rest.split_first_chunk::<NONCE_LEN>().ok_or(SealError::Form)?;
        let mut plain = Zeroizing::new(text.to_vec());
        let length = self
            .sealing_key(purpose)?
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(purpose.as_bytes()), &mut plain)
            .map_err(|_| SealError::Open)?
            .len();
        plain.truncate(length);
        Ok(plain)
    }

    /// Seals a text for one purpose, as base64; [`Unseal`] opens it.
    pub fn seal_text(&self, purpose: &str, text: &Secret) -> Result<String, SealError> {
        self.seal(purpose, text.expose().as_bytes()).map(|sealed| STANDARD.encode(sealed))
    }

    /// HMAC-SHA256 of the data, under a key of its own for the purpose.
    pub fn mac(&self, purpose: &str, data: &[u8]) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.subkey("mac", purpose).as_ref());
        let mut mac = [0; 32];
        mac.copy_from_slice(hmac::sign(&key, data).as_ref());
        mac
    }

    fn sealing_key(&self, purpose: &str) -> Result<LessSafeKey, SealError> {
        let key = UnboundKey::new(&AES_256_GCM, self.subkey("seal", purpose).as_ref()).map_err(|_| SealError::Seal)?;
        Ok(LessSafeKey::new(key))
    }

    fn subkey(&self, act: &str, purpose: &str) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        self.0
            .expand(&[b"portcullis/", act.as_bytes(), b"/", purpose.as_bytes()], hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(key.as_mut()))
            .expect("one block of output is within the bounds of HKDF");
        key
    }
}

impl Unseal for MasterKey {
    fn unseal(&self, purpose: &str, sealed: &str) -> Option<Secret> {
        let mut plain = self.open(purpose, &STANDARD.decode(sealed).ok()?).ok()?;
        String::from_utf8(std::mem::take(&mut *plain)).ok().map(Secret::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_opened_for_its_purpose_alone() {
        let (key, other) = (MasterKey::from_bytes(&[7; 32]), MasterKey::from_bytes(&[8; 32]));
        let sealed = key.seal_text("a", &Secret::from("grüße")).expect("seals");
        assert_eq!(key.unseal("a", &sealed), Some(Secret::from("grüße")));
        assert_eq!((key.unseal("b", &sealed), other.unseal("a", &sealed)), (None, None));
        let binary = STANDARD.encode(key.seal("a", &[0xff]).expect("seals"));
        for bad in ["", "AA", "!", &sealed[1..], &binary] {
            assert_eq!(key.unseal("a", bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_sealed_opens_for_the_same_purpose_and_key_only() {
        let (key, bytes) = MasterKey::generate();
        let sealed = key.seal("a", b"plain").expect("seals");
        assert_eq!(MasterKey::from_bytes(&bytes).open("a", &sealed).expect("opens").as_slice(), b"plain");
        assert_eq!(key.open("b", &sealed), Err(SealError::Open));
        assert_eq!(MasterKey::generate().0.open("a", &sealed), Err(SealError::Open));
        assert_ne!(key.seal("a", b"plain").expect("seals"), sealed, "the nonce is fresh");
        assert_eq!(key.open("a", &key.seal("a", b"").expect("seals")).expect("opens").len(), 0);
    }

    #[test]
    fn every_changed_bit_and_every_cut_is_noticed() {
        let key = MasterKey::from_bytes(&[7; 32]);
        let sealed = key.seal("a", b"plain").expect("seals");
        assert!(!sealed.windows(5).any(|part| part == b"plain"));
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(key.open("a", &changed).is_err(), "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert!(key.open("a", &sealed[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn the_id_is_stable_and_the_key_does_not_show() {
        let key = MasterKey::from_bytes(&[7; 32]);
        assert_eq!(key.id(), MasterKey::from_bytes(&[7; 32]).id());
        assert_ne!(key.id(), MasterKey::from_bytes(&[8; 32]).id());
        assert!(key.id().len() == 16 && key.id().bytes().all(|digit| digit.is_ascii_hexdigit()));
        assert_eq!(format!("{key:?}"), "MasterKey(…)");
    }

    #[test]
    fn macs_differ_by_purpose_and_data() {
        let key = MasterKey::from_bytes(&[7; 32]);
        assert_eq!(key.mac("a", b"x"), key.mac("a", b"x"));
        assert_ne!(key.mac("a", b"x"), key.mac("b", b"x"));
        assert_ne!(key.mac("a", b"x"), key.mac("a", b"y"));
    }
}
