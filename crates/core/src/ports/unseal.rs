//! Opening what is kept sealed under the master key (decryption at rest).

use crate::secret::Secret;

/// Opens texts that are kept sealed. Only what knows the master key can.
pub trait Unseal: Send + Sync {
    /// Opens base64 of a text that was sealed for this purpose; none if it was sealed under another key or for another
    /// purpose, was changed since, or is no text.
    fn unseal(&self, purpose: &str, sealed: &str) -> Option<Secret>;
}
