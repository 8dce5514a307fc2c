//! What the node says of itself: whether it lives, and how it does.

use std::sync::Arc;

use axum::Json as Body;
use axum::extract::State;
use portcullis_identity::LockoutReport;
use portcullis_telemetry::Snapshot;
use serde::Serialize;
use utoipa::ToSchema;

use crate::state::AdminState;

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
    })
}
