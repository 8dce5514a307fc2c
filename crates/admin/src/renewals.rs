//! What the control plane learns of certificates that are obtained while the gateway runs.

/// How it goes with a host's certificate. Times are Unix milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewal {
    /// The host.
    pub host: String,
    /// When the next one is ordered.
    pub next_at: u64,
    /// Orders that have failed since the last that did not.
    pub failures: u32,
    /// When the last failure was, and what it was.
    pub last_error: Option<(u64, String)>,
}

/// Whoever obtains certificates.
pub trait Renewals: Send + Sync {
    /// Every host that one is obtained for.
    fn all(&self) -> Vec<Renewal>;
}
