//! How a lookup ends.

use std::net::IpAddr;
use std::time::Duration;

/// What a lookup has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// All of them, as they came.
    pub(super) addresses: Vec<IpAddr>,
    /// For how long it is good.
    pub(super) lasts: Duration,
}

/// Why a lookup has found nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// In words.
    pub(super) reason: String,
    /// Whether it is known that there is nothing, so that older answers are wrong.
    pub(super) is_final: bool,
}

impl Failure {
    /// One after which there may be addresses.
    pub(super) fn passing(reason: String) -> Self {
        Self { reason, is_final: false }
    }

    /// One after which there are none.
    pub(super) fn lasting(reason: String) -> Self {
        Self { reason, is_final: true }
    }
}
