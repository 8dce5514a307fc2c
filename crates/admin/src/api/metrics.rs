//! `/metrics`: what is counted, in the text format of Prometheus.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use portcullis_core::metrics::text::{self, Kind, Text};
use portcullis_proxy::stage::Stage;
use portcullis_proxy::tls::Termination;

use crate::state::AdminState;

/// Certificates whose end is told, by name; of those beyond it only the first end is, as `other`.
const MOST_CERTIFICATES: usize = 1_000;

/// Tells what is counted, in the text format of Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "node", operation_id = "metrics",
    security(("metrics_token" = []), ("admin_token" = [])),
    responses((status = 200, description = "What is counted, in the text format of Prometheus, version 0.0.4. \
        With `metrics.access = \"open\"` no token is needed.", body = String, content_type = "text/plain")))]
pub(crate) async fn metrics(State(state): State<Arc<AdminState>>) -> Response {
    let page = page(&state);
    ([(CONTENT_TYPE, HeaderValue::from_static(text::CONTENT_TYPE))], page).into_response()
}

fn page(state: &AdminState) -> String {
    let mut text = Text::default();
    let help = "Always 1; the label says which version runs.";
    text.family("portcullis_build_info", help, Kind::Gauge).sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    let started = state.started_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    text.gauge("portcullis_process_start_time_seconds", "When the process started, in Unix time.", started);
    let uptime = state.started.elapsed().as_secs_f64();
    text.gauge("portcullis_uptime_seconds", "How long the process has run.", uptime);
    let ready = u8::from(*state.stage.borrow() == Stage::Serving);
    text.gauge("portcullis_ready", "1 while the gateway takes calls, 0 from when it is asked to stop.", ready);
    let view = state.changes.view();
    text.gauge(
        "portcullis_services",
        "Declared and registered services, each version counted.",
        view.services().count(),
    );
    text.gauge("portcullis_clients", "Clients, the built-in one counted.", view.clients().count());
    let logins = state.lockout.report();
    text.counter("portcullis_logins_failed_total", "Logins with a wrong name or password.", logins.failed);
    text.counter("portcullis_logins_refused_total", "Logins refused because too many had failed.", logins.refused);
    let keys = state.limiters.keys();
    text.gauge("portcullis_limit_keys", "Keys (addresses, clients, users, header values) that limits remember.", keys);
    nonces(state, &mut text);
    let waiting = state.log.waiting_bytes();
    text.gauge("portcullis_log_queue_bytes", "Memory for records on their way to the access log.", waiting);
    certificates(state, &mut text);
    state.counters.write(&mut text);
    text.into_string()
}

/// What replay protection remembers.
fn nonces(state: &AdminState, text: &mut Text) {
    let report = state.nonces.report();
    text.gauge("portcullis_nonces", "Nonces of signed requests that are remembered.", report.nonces);
    text.gauge("portcullis_nonce_bytes", "Memory that they take.", report.bytes);
    let counted = [
        (
            "portcullis_nonces_refused_total",
            "Signed requests refused because there was no room for their nonces.",
            report.full,
        ),
        (
            "portcullis_nonces_waited_total",
            "Signed requests that waited until the journal had their nonces.",
            report.waited,
        ),
        (
            "portcullis_nonce_journal_errors_total",
            "Failed attempts to write the journal of nonces.",
            report.write_errors,
        ),
    ];
    for (name, help, count) in counted {
        text.counter(name, help, count);
    }
}

/// When certificates end: of several with one name, the first end.
fn certificates(state: &AdminState, text: &mut Text) {
    let help = "When a certificate ends, in Unix time, by listener and first name.";
    let mut samples = text.family("portcullis_certificate_expiry_timestamp_seconds", help, Kind::Gauge);
    for (listener, tls) in [("data", &state.data_tls), ("admin", &state.tls)] {
        let ends = ends(tls.as_deref());
        for (name, end) in ends.iter().take(MOST_CERTIFICATES) {
            samples.sample(&[("listener", listener), ("name", name)], end);
        }
        if let Some(end) = ends.values().skip(MOST_CERTIFICATES).min() {
            samples.sample(&[("listener", listener), ("name", "other")], end);
        }
    }
}

fn ends(tls: Option<&Termination>) -> BTreeMap<String, i64> {
    let mut ends = BTreeMap::new();
    for shown in tls.map(Termination::shown).unwrap_or_default() {
        let name = shown.names.first().map(ToString::to_string);
        let name = name.or_else(|| shown.addresses.first().map(ToString::to_string)).unwrap_or_default();
        let end = ends.entry(name).or_insert(shown.leaf.not_after);
        *end = shown.leaf.not_after.min(*end);
    }
    ends
}
