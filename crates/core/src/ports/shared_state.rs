//! State that calls share, which is fast and expires: what may happen once only.

use async_trait::async_trait;
use thiserror::Error;

use crate::effects::Effects;

/// Something that may happen once until a moment. Times are Unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Once<'a> {
    /// On whose account room is taken for it: the name of a client.
    pub owner: &'a str,
    /// What it is, as a hash.
    pub key: [u8; 32],
    /// When its maker says it was made.
    pub stamp: u64,
    /// Until when it would be taken for the first time if nobody had noted it.
    pub until: u64,
}

/// Whether something has happened before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spent {
    /// Not as far as is known, and it is noted now.
    First,
    /// It has, or that cannot be excluded: what was noted at its time is not known any more.
    Again,
}

/// Nothing can be noted at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Unavailable(pub &'static str);

/// State that calls share. It is asked on a call's way, so it answers fast, and what it cannot keep it refuses.
#[async_trait]
pub trait SharedState: Send + Sync {
    /// Notes that something happens. Of two that come at the same moment one is the first.
    async fn once(&self, effects: &Effects, what: Once<'_>) -> Result<Spent, Unavailable>;
}
