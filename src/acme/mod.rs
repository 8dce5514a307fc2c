//! Certificates obtained and renewed by ACME (RFC 8555): one node orders at a time, all of them use what was obtained and
//! answer the authority's questions ([ADR 13](../../docs/adr/0013-one-node-orders-certificates.md)).

mod account;
mod authority;
mod certificate_store;
mod challenge_store;
mod lease;
mod proof;
mod renewer;
mod report;
mod row;
mod schedule;
mod settings;
#[cfg(test)]
mod tests;
mod transport;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use rustls::pki_types::CertificateDer;
use zeroize::Zeroizing;

pub(crate) use authority::Authority;
pub(crate) use challenge_store::{Asked, ChallengeStore};
pub(crate) use renewer::{Renewer, RenewerParts};
pub(crate) use report::Report;
pub(crate) use settings::Settings;

pub(crate) use crate::config::ChallengeKind;

/// A certificate that is wanted.
pub(crate) struct CertificateRequest<'a> {
    /// The host it is for.
    pub(crate) host: &'a str,
    /// How the authority is to be convinced.
    pub(crate) challenge: ChallengeKind,
    /// The one it takes the place of.
    pub(crate) replaces: Option<&'a CertificateDer<'static>>,
}

/// A certificate that was issued.
pub(crate) struct Issued {
    /// It and what leads to its root, in PEM.
    pub(crate) chain: String,
    /// Its key, in PKCS#8.
    pub(crate) key: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").finish_non_exhaustive()
    }
}

/// Why none was issued. The words are for the operator and hold no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What the authority said, or what kept it from saying anything.
    pub(crate) detail: String,
    /// For how long it wants not to be asked again.
    pub(crate) retry_after: Option<Duration>,
}

impl Failure {
    /// One of which nothing else is known.
    pub(crate) fn new(detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), retry_after: None }
    }
}

/// When an authority wants a certificate to be renewed (RFC 9773), in milliseconds of Unix time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Window {
    /// From when on.
    pub(crate) start: u64,
    /// Until when.
    pub(crate) end: u64,
}

/// Whoever issues certificates.
#[async_trait]
pub(crate) trait Issuer: Send + Sync {
    /// Obtains a certificate. May take minutes; whoever stops waiting leaves nothing that the next has to clear away.
    async fn issue(&self, wanted: CertificateRequest<'_>) -> Result<Issued, Failure>;
    /// When a certificate is to be renewed, and how long that answer is good. None where the issuer does not say.
    async fn window(&self, certificate: &CertificateDer<'static>) -> Result<Option<(Window, Duration)>, Failure>;
}
