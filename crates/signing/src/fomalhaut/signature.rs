//! Signatures and their text form (base64), in exactly one spelling each.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, STANDARD, URL_SAFE_NO_PAD};
use thiserror::Error;

use super::{Algorithm, Dialect};

const LONGEST_MAC: usize = 32;

/// The text is not a signature of this dialect.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[error("not the text of a signature")]
pub struct NotASignature;

/// A signature: an algorithm and the MAC it made. Comparing takes the same time wherever the MACs differ, and `Debug`
/// does not show them.
#[derive(Clone, Copy)]
pub struct Signature {
    algorithm: Algorithm,
    mac: [u8; LONGEST_MAC],
}

impl Signature {
    /// Reads the value of [`Dialect::signature`]. In the `fo` dialect its length tells the algorithm.
    ///
    /// Every signature has one spelling only: the right alphabet, the right length, padding where the dialect has it,
    /// and unused bits that are zero. So a message cannot be sent once more with its signature spelled differently.
    ///
    /// ```
    /// use portcullis_signing::fomalhaut::{Algorithm, Dialect, Signature};
    ///
    /// let signature = Signature::read(Dialect::Fo, b"HlcraEVgsy8dBjk_MHf-gu0r9ZY")?;
    /// assert_eq!(signature.algorithm(), Algorithm::HmacSha1);
    /// assert!(Signature::read(Dialect::Fo, b"HlcraEVgsy8dBjk_MHf-gu0r9ZZ").is_err()); // the same 20 bytes
    /// assert!(Signature::read(Dialect::Fo, b"HlcraEVgsy8dBjk_MHf-gu0r9ZY=").is_err());
    /// # Ok::<(), portcullis_signing::fomalhaut::NotASignature>(())
    /// ```
    pub fn read(dialect: Dialect, text: &[u8]) -> Result<Self, NotASignature> {
        let algorithm = Algorithm::ALL
            .into_iter()
            .find(|algorithm| algorithm.dialect() == dialect && algorithm.text_len() == text.len())
            .ok_or(NotASignature)?;
        // One byte more than the longest MAC, because base64 counts in groups of three.
        let mut bytes = [0; LONGEST_MAC + 1];
        let length = alphabet(dialect).decode_slice(text, &mut bytes).map_err(|_| NotASignature)?;
        if length != algorithm.mac_len() {
            return Err(NotASignature);
        }
        Ok(Self::new(algorithm, &bytes[..length]))
    }

    /// Takes a MAC of at most 32 bytes.
    pub(super) fn new(algorithm: Algorithm, mac: &[u8]) -> Self {
        let mut bytes = [0; LONGEST_MAC];
        for (byte, made) in bytes.iter_mut().zip(mac) {
            *byte = *made;
        }
        Self { algorithm, mac: bytes }
    }

    /// How it was computed. Sign the response to a request with the algorithm of the request.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The MAC: 20 or 32 bytes. Remember these to refuse replays.
    pub fn mac(&self) -> &[u8] {
        &self.mac[..self.algorithm.mac_len()]
    }

    /// The value of [`Dialect::signature`]; `Display` writes the same.
    pub fn to_text(&self) -> String {
        alphabet(self.algorithm.dialect()).encode(self.mac())
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({:?})", self.algorithm)
    }
}

impl PartialEq for Signature {
    fn eq(&self, other: &Self) -> bool {
        self.algorithm == other.algorithm && verify_slices_are_equal(self.mac(), other.mac()).is_ok()
    }
}

impl Eq for Signature {}

/// Both refuse what `encode` would not have written: other padding, and unused bits that are not zero.
fn alphabet(dialect: Dialect) -> &'static GeneralPurpose {
    match dialect {
        Dialect::Fo => &URL_SAFE_NO_PAD,
        Dialect::Api => &STANDARD,
    }
}
