//! What the node says of itself: whether it lives, and how it does.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use axum::Json as Body;
use axum::extract::State;
use portcullis_identity::LockoutReport;
use portcullis_telemetry::{Snapshot, TargetStatus};
use serde::Serialize;
use utoipa::ToSchema;

use crate::state::AdminState;
use crate::time::rfc3339;

/// Targets that are told of at once.
const MOST_TARGETS: usize = 1_000;

/// How the node does.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Status {
    /// The version of the program.
    version: &'static str,
    /// Whole seconds since the process started.
    uptime_seconds: u64,
    /// Declared and registered services, each version counted.
    services: usize,
    /// Clients, the built-in one counted.
    clients: usize,
    /// What was counted since the start: connections, protocol errors, records written and dropped, lines for stderr that
    /// were lost, tasks that have panicked.
    #[schema(value_type = Object)]
    counters: Snapshot,
    /// What became of logins since the start: `failed`, `refused` because of too many failures, and those that came
    /// through a proxy which is not trusted, for which lock-out by address is off.
    #[schema(value_type = Object)]
    logins: LockoutReport,
    /// The targets that there are connections to, or that have failed since the start, by name: a thousand at most, and those
    /// that fail before others.
    targets: Vec<Target>,
}

/// How it goes with a target of services.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Target {
    /// Its authority.
    name: String,
    /// Connections to it that stand or are being opened, as of a second ago.
    connections: u64,
    /// Those among them that carry no call.
    idle: u64,
    /// Calls that wait for one.
    waiting: u64,
    /// Whether it has failed and not answered since.
    failing: bool,
    /// How it failed last; null where it has not.
    #[schema(required)]
    last_failure: Option<TargetFailure>,
}

/// How a target failed last.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TargetFailure {
    /// When the call arrived (RFC 3339).
    time: String,
    /// `unreachable`, `tls`, `broken`, `timeout` or `address_refused`.
    reason: &'static str,
    /// What was wrong.
    detail: String,
}

impl Target {
    fn shown(status: TargetStatus) -> Self {
        let failure = status.last_failure.map(|(at, reason, detail)| {
            let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
            let time = rfc3339(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
            TargetFailure { time, reason, detail: detail.into() }
        });
        Self {
            name: status.name.to_string(),
            connections: status.open,
            idle: status.idle,
            waiting: status.waiting,
            failing: status.is_failing,
            last_failure: failure,
        }
    }
}

fn targets(mut all: Vec<TargetStatus>) -> Vec<Target> {
    if all.len() > MOST_TARGETS {
        all.sort_by_key(|status| !status.is_failing);
        all.truncate(MOST_TARGETS);
        all.sort_by(|one, other| one.name.cmp(&other.name));
    }
    all.into_iter().map(Target::shown).collect()
}

/// That the process lives.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`.
    status: &'static str,
}

/// Says that the process lives. Wants no token.
#[utoipa::path(get, path = "/-/health", tag = "node", operation_id = "health", security(()),
    responses((status = 200, description = "It lives.", body = Health)))]
pub(crate) async fn health() -> Body<Health> {
    Body(Health { status: "ok" })
}

/// Tells how the node does.
#[utoipa::path(get, path = "/api/v1/status", tag = "node", operation_id = "status",
    responses((status = 200, description = "How it does.", body = Status)))]
pub(crate) async fn status(State(state): State<Arc<AdminState>>) -> Body<Status> {
    let view = state.changes.view();
    Body(Status {
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: state.started.elapsed().as_secs(),
        services: view.services().count(),
        clients: view.clients().count(),
        counters: state.counters.snapshot(),
        logins: state.lockout.report(),
        targets: targets(state.counters.calls.targets.all()),
    })
}
