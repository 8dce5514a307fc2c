//! `/api/v1/certificates`: what the data plane shows in handshakes, and how it goes with what is obtained.

use std::sync::Arc;

use axum::Json as Body;
use axum::extract::State;
use portcullis_proxy::tls::PresentedCertificate;
use serde::Serialize;
use utoipa::ToSchema;

use crate::paging::{List, PageQuery};
use crate::problem::ApiError;
use crate::renewals::Renewal;
use crate::request::Params;
use crate::state::AdminState;
use crate::time::rfc3339;

/// A certificate of the data plane's listener; or a host that has none yet.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Certificate {
    /// DNS names and addresses it is shown for, the first of them its name in lists.
    names: Vec<String>,
    /// `file`, or `acme`.
    source: &'static str,
    /// The file it is from; null for `acme`.
    #[schema(required)]
    file: Option<String>,
    /// From when on it is good (RFC 3339); null as long as there is none.
    #[schema(required)]
    not_before: Option<String>,
    /// Until when it is good (RFC 3339); null as long as there is none.
    #[schema(required)]
    not_after: Option<String>,
    /// Its serial number in hex; null as long as there is none.
    #[schema(required)]
    serial: Option<String>,
    /// The SHA-256 of its DER form in hex; null as long as there is none.
    #[schema(required)]
    fingerprint: Option<String>,
    /// When the next one is ordered (RFC 3339); null for files.
    #[schema(required)]
    next_renewal: Option<String>,
    /// Orders that have failed since the last that did not.
    failures: u32,
    /// Why the last order has failed, if none has gone well since.
    #[schema(required)]
    last_error: Option<String>,
    /// When that was (RFC 3339).
    #[schema(required)]
    last_error_at: Option<String>,
}

impl Certificate {
    fn shown(shown: PresentedCertificate) -> Self {
        let seconds = |at: i64| rfc3339(u64::try_from(at).unwrap_or(0).saturating_mul(1_000));
        let names = shown.names.iter().map(ToString::to_string);
        Self {
            names: names.chain(shown.addresses.iter().map(ToString::to_string)).collect(),
            source: if shown.file.is_some() { "file" } else { "acme" },
            file: shown.file.map(|file| file.display().to_string()),
            not_before: Some(seconds(shown.leaf.not_before)),
            not_after: Some(seconds(shown.leaf.not_after)),
            serial: Some(shown.leaf.serial),
            fingerprint: Some(shown.leaf.fingerprint),
            ..Self::missing(Vec::new())
        }
    }

    fn missing(names: Vec<String>) -> Self {
        Self {
            names,
            source: "acme",
            file: None,
            not_before: None,
            not_after: None,
            serial: None,
            fingerprint: None,
            next_renewal: None,
            failures: 0,
            last_error: None,
            last_error_at: None,
        }
    }

    fn note(&mut self, renewal: Renewal) {
        self.next_renewal = Some(rfc3339(renewal.next_at));
        self.failures = renewal.failures;
        let (at, detail) = renewal.last_error.unzip();
        (self.last_error_at, self.last_error) = (at.map(rfc3339), detail);
    }
}

/// Lists the certificates of the data plane's listener, and the hosts that wait for one.
#[utoipa::path(get, path = "/api/v1/certificates", tag = "certificates", operation_id = "list_certificates",
    params(PageQuery),
    responses((status = 200, description = "The certificates, by their first name.", body = List<Certificate>)))]
pub(crate) async fn list(
    State(state): State<Arc<AdminState>>,
    Params(query): Params<PageQuery>,
) -> Result<Body<List<Certificate>>, ApiError> {
    let shown = state.data_tls.as_ref().map(|tls| tls.shown()).unwrap_or_default();
    let mut found: Vec<_> = shown.into_iter().map(Certificate::shown).collect();
    for renewal in state.renewals.as_ref().map(|renewals| renewals.all()).unwrap_or_default() {
        let is_for =
            |certificate: &&mut Certificate| certificate.file.is_none() && certificate.names[0] == renewal.host;
        if let Some(certificate) = found.iter_mut().find(is_for) {
            certificate.note(renewal);
            continue;
        }
        let mut missing = Certificate::missing(vec![renewal.host.clone()]);
        missing.note(renewal);
        found.push(missing);
    }
    // Several may have one first name, as with keys of two kinds.
    let key = |(position, certificate): (usize, Certificate)| {
        (format!("{} {position:06}", certificate.names.first().map_or("", String::as_str)), certificate)
    };
    let piece = query.cut(found.into_iter().enumerate().map(key))?;
    Ok(Body(piece.map(|(_, certificate)| certificate)))
}
