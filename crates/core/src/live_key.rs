//! A client's public key as calls use it: as it was declared, with what is prepared of it (signature verification).

use crate::model::ClientKey;
use crate::prepared::Prepared;

/// A public key that was declared, and what is worked out of it once.
#[derive(Debug)]
pub struct LiveKey {
    /// The key as it was declared.
    pub declared: ClientKey,
    /// What is worked out of it, such as the key that verifies.
    pub prepared: Prepared,
}

impl From<ClientKey> for LiveKey {
    fn from(declared: ClientKey) -> Self {
        Self { declared, prepared: Prepared::default() }
    }
}
