//! Why the registry did not do what it was asked.

use std::time::Duration;

use thiserror::Error;

use crate::refusal::Refusal;

/// Why the registry did not do what it was asked.
#[derive(Debug, Clone, Error)]
pub enum RegistryError {
    /// An [`Expect`] was not met; nothing was written.
    #[error("{kind} '{key}' has been changed by somebody else")]
    Conflict {
        /// The kind of the object.
        kind: &'static str,
        /// Its key.
        key: String,
    },
    /// There is no room for what was to be written: the disk is full, or a quota is used up. Nothing was written.
    #[error("the registry has no room: {0}")]
    Full(String),
    /// There are as many of something as there may be; of what. Nothing was written.
    #[error("there are too many {0}")]
    TooMany(&'static str),
    /// The storage cannot be reached at the moment: it is locked by somebody else, gone, or does not answer. The same may
    /// go well later.
    #[error("the registry is away: {0}")]
    Unavailable(String),
    /// The storage itself failed, or holds what cannot be read.
    #[error("the registry failed: {0}")]
    Storage(String),
}

/// When something of which there are too many is asked for again: it ends with its time, or by an operator.
const LATER: Duration = Duration::from_secs(60);

impl From<RegistryError> for Refusal {
    /// As whoever asked for what failed is told.
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Conflict { .. } => {
                Self::Conflict { detail: "the object has been changed by somebody else".into() }
            }
            RegistryError::Full(reason) => Self::StorageFull { private: reason.into() },
            RegistryError::TooMany(private) => Self::Overloaded { private, retry_after: LATER },
            RegistryError::Unavailable(reason) => Self::RegistryAway { private: reason.into() },
            RegistryError::Storage(reason) => Self::internal(format!("the registry failed: {reason}")),
        }
    }
}
