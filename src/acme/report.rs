//! How it goes with the certificates, for the admin API.

use arc_swap::ArcSwap;
use portcullis_admin::{Renewal, Renewals};

use super::certificate_store::StoredCertificate;

/// The newest state, exchanged as a whole.
#[derive(Default)]
pub(crate) struct Report(ArcSwap<Vec<Renewal>>);

impl Report {
    /// Takes what is known now. Hosts that have a certificate in a file are not renewed here.
    pub(super) fn publish(
        &self,
        entries: &[StoredCertificate],
        directory: &str,
        now: u64,
        has_file: impl Fn(&str) -> bool,
    ) {
        let of_host = |entry: &StoredCertificate| Renewal {
            host: entry.host.clone(),
            next_at: entry.due(directory, now),
            failures: entry.kept.failures,
            last_error: entry.kept.last_error.as_ref().map(|error| (error.at, error.detail.clone())),
        };
        self.0.store(std::sync::Arc::new(entries.iter().filter(|entry| !has_file(&entry.host)).map(of_host).collect()));
    }
}

impl Renewals for Report {
    fn all(&self) -> Vec<Renewal> {
        self.0.load().to_vec()
    }
}
