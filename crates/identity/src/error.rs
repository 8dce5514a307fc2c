//! What can go wrong with keys and stored objects, outside of any one call.

use portcullis_core::ports::RegistryError;
use portcullis_core::refusal::Refusal;
use thiserror::Error;

/// Why a part of this crate could not be set up or could not read what is stored.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// The registry failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A sealed object was sealed under another master key, or was changed.
    #[error("{what} cannot be opened with this master key")]
    Sealed {
        /// Which object.
        what: String,
    },
    /// A stored object is not what was written.
    #[error("{what} is not well formed in the registry")]
    Corrupt {
        /// Which object.
        what: String,
    },
    /// The cost of password hashing is outside of what Argon2 allows.
    #[error("password hashing cannot work with these settings: {0}")]
    PasswordCost(String),
    /// The cryptographic library did not do what it was asked.
    #[error("{0}")]
    Crypto(&'static str),
}

/// A fault of this crate as a call sees it.
pub(crate) fn refuse_fault(error: IdentityError) -> Refusal {
    match error {
        IdentityError::Registry(error) => error.into(),
        other => Refusal::internal(other.to_string()),
    }
}
