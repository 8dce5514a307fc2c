//! Sealed payloads: AES-256-CBC, as base64 of the IV and the ciphertext.

use std::hint::black_box;

use aws_lc_rs::cipher::{AES_CBC_IV_LEN, DecryptionContext, EncryptionContext};
use aws_lc_rs::iv::FixedLength;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::{ConstantTimeEq, ConstantTimeLess};
use thiserror::Error;
use zeroize::Zeroizing;

use super::{Dialect, SigningKey};

/// Bytes of a block of AES.
const BLOCK: usize = 16;

/// The longest padding of either dialect.
const LONGEST_PADDING: usize = 32;

/// The payload cannot be opened. The reason is not told, so that nobody can learn plaintext by asking for it.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[error("the sealed payload cannot be opened")]
pub struct NotOpened;

impl SigningKey {
    /// Seals a payload under a random IV: standard base64, padded, of the IV and the ciphertext.
    pub fn seal(&self, dialect: Dialect, plaintext: &[u8]) -> String {
        let mut iv = [0; AES_CBC_IV_LEN];
        aws_lc_rs::rand::fill(&mut iv).expect("the generator aborts the process rather than return an error");
        self.seal_with_iv(dialect, plaintext, iv)
    }

    /// Seals under a given IV. This is for tests with known results: an IV that can be foreseen or comes twice tells
    /// something about the plaintext. Use [`SigningKey::seal`].
    pub fn seal_with_iv(&self, dialect: Dialect, plaintext: &[u8], iv: [u8; AES_CBC_IV_LEN]) -> String {
        let padding = dialect.padding_block() - plaintext.len() % dialect.padding_block();
        // All of it is reserved at once: a vector that grows leaves plaintext behind.
        let mut bytes = Vec::with_capacity(iv.len() + plaintext.len() + padding);
        bytes.extend_from_slice(&iv);
        bytes.extend_from_slice(plaintext);
        bytes.resize(bytes.len() + padding, u8::try_from(padding).expect("it is at most 32"));
        let context = EncryptionContext::Iv128(FixedLength::from(iv));
        self.encrypting()
            .less_safe_encrypt(&mut bytes[AES_CBC_IV_LEN..], context)
            .expect("whole blocks and an IV of the right length can be encrypted");
        STANDARD.encode(bytes)
    }

    /// Opens a sealed payload of either dialect; both paddings are taken.
    ///
    /// Payloads carry no MAC of their own. Open only what came in a message whose signature has been verified:
    /// otherwise someone who sees which payloads open can decrypt them, and change them.
    ///
    /// The time it takes depends on the lengths of the text and of the plaintext, not on why it fails.
    pub fn open(&self, text: &[u8]) -> Result<Vec<u8>, NotOpened> {
        let mut bytes = Zeroizing::new(STANDARD.decode(text).map_err(|_| NotOpened)?);
        let (iv, blocks) = bytes.split_first_chunk_mut::<AES_CBC_IV_LEN>().ok_or(NotOpened)?;
        if blocks.is_empty() || blocks.len() % BLOCK != 0 {
            return Err(NotOpened);
        }
        let context = DecryptionContext::Iv128(FixedLength::from(*iv));
        let plain = self.decrypting().decrypt(blocks, context).map_err(|_| NotOpened)?;
        let length = unpadded_len(plain).ok_or(NotOpened)?;
        bytes.copy_within(AES_CBC_IV_LEN..AES_CBC_IV_LEN + length, 0);
        bytes.truncate(length);
        Ok(std::mem::take(&mut *bytes))
    }
}

/// The length of a plaintext without its padding: 1 to 32 bytes at its end that all hold the number of them. It always
/// looks at the last 32 bytes, and its branches do not depend on them before the answer is known.
fn unpadded_len(plain: &[u8]) -> Option<usize> {
    // Nothing is known of it to whoever compiles this.
    let last = black_box(*plain.last()?);
    let longest = u8::try_from(plain.len().min(LONGEST_PADDING)).ok()?;
    let mut differs = 0;
    for (at, byte) in (0..longest).zip(plain.iter().rev()) {
        // All bits where `at` is less than `last`, none elsewhere.
        let is_padding = (u16::from(at).wrapping_sub(u16::from(last)) >> 8) as u8;
        differs |= is_padding & (byte ^ last);
    }
    let good = !last.ct_eq(&0) & last.ct_lt(&(longest + 1)) & differs.ct_eq(&0);
    bool::from(good).then(|| plain.len() - usize::from(last))
}
