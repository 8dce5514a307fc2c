//! What the gateway keeps for itself.

use async_trait::async_trait;

use super::{RegistryError, Write};
use crate::object::{Kind, Row};

/// What the gateway keeps for itself: its signing keys, certificates that were obtained and the orders under way, and the
/// leases by which one node does what is to be done once. Nodes change it by comparing and setting ([`super::Expect`]); no
/// trail tells of it, and neither does [`super::Objects::changes`].
#[async_trait]
pub trait Upkeep: Send + Sync {
    /// Everything of a kind, by key.
    async fn all_kept(&self, kind: Kind) -> Result<Vec<Row>, RegistryError>;
    /// One of them.
    async fn kept(&self, kind: Kind, key: &str) -> Result<Option<Row>, RegistryError>;
    /// Does all the writes or none of them; when it returns, they are on disk. What is [audited](Kind::is_audited) is
    /// not kept here, and neither is the trail.
    async fn keep(&self, writes: Vec<Write>) -> Result<(), RegistryError>;
}

impl Write {
    /// Refuses writes of what is the gateway's own: no trail would tell of them, and nobody would be told.
    pub fn none_upkeep(writes: &[Self]) -> Result<(), RegistryError> {
        let own = writes.iter().find_map(|write| match write {
            Self::Put { row: Row { kind, .. }, .. } | Self::Delete { kind, .. } => {
                (!kind.is_audited()).then_some(kind.as_str())
            }
            Self::Audit(_) | Self::EndSessions(_) | Self::UserInfo { .. } => None,
        });
        own.map_or(Ok(()), |what| Err(RegistryError::Storage(format!("{what} is the gateway's own"))))
    }

    /// Refuses writes of what is not the gateway's own.
    pub fn all_upkeep(writes: &[Self]) -> Result<(), RegistryError> {
        let foreign = writes.iter().find_map(|write| match write {
            Self::Put { row: Row { kind, .. }, .. } | Self::Delete { kind, .. } => {
                kind.is_audited().then_some(kind.as_str())
            }
            Self::Audit(_) => Some("the audit trail"),
            Self::EndSessions(_) | Self::UserInfo { .. } => Some("a session"),
        });
        foreign.map_or(Ok(()), |what| Err(RegistryError::Storage(format!("{what} is not the gateway's own"))))
    }
}
