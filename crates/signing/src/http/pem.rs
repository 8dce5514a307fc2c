//! PEM (RFC 7468): one block of text that holds one key.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::keys::KeyRefused;

/// Bytes of a PEM text that are read.
const LONGEST: usize = 32 * 1024;

/// One block.
pub(super) struct Block<'a> {
    /// What stands between `-----BEGIN ` and `-----`.
    pub(super) label: &'a str,
    pub(super) bytes: Zeroizing<Vec<u8>>,
}

/// Reads a text that is one block, and nothing else but white space.
pub(super) fn parse(text: &str) -> Result<Block<'_>, KeyRefused> {
    if text.len() > LONGEST {
        return Err(KeyRefused::Unreadable("the PEM text is too long"));
    }
    let malformed = KeyRefused::Unreadable("it is no PEM text of one block");
    let rest = text.trim_ascii().strip_prefix("-----BEGIN ").ok_or(malformed)?;
    let (label, rest) = rest.split_once("-----").ok_or(malformed)?;
    let rest = rest.strip_suffix("-----").and_then(|rest| rest.strip_suffix(label)).ok_or(malformed)?;
    let encoded = rest.strip_suffix("-----END ").ok_or(malformed)?;
    // It has its final size from the start, so that no part of a key is left behind where it has moved from.
    let mut dense = Zeroizing::new(Vec::with_capacity(encoded.len()));
    dense.extend(encoded.bytes().filter(|byte| !byte.is_ascii_whitespace()));
    let bytes = STANDARD.decode(dense.as_slice()).map_err(|_| malformed)?;
    Ok(Block { label, bytes: Zeroizing::new(bytes) })
}

/// The `RSAPrivateKey` inside a PKCS #8 key whose algorithm is id-RSASSA-PSS without parameters; none for any other key. The
/// library reads such keys from the inside only.
pub(super) fn inside_pss_key(pkcs8: &[u8]) -> Option<&[u8]> {
    /// Version 0, and the algorithm `1.2.840.113549.1.1.10` alone.
    const HEAD: [u8; 16] = [2, 1, 0, 0x30, 11, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10];
    let (sequence, after) = element(pkcs8, 0x30)?;
    let (key, _attributes) = element(sequence.strip_prefix(&HEAD)?, 4)?;
    after.is_empty().then_some(key)
}

/// The content of the DER element at the start of `bytes`, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let rest = bytes.strip_prefix(&[tag])?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => (usize::from(*rest.first()?), &rest[1..]),
        0x82 => (usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?])), &rest[2..]),
        _ => return None,
    };
    rest.split_at_checked(length)
}
