//! `/api/v1/captures`: whole exchanges of routes whose declaration says that they are captured.
#![expect(unused_qualifications, reason = "what describes the query names its type in full")]

use std::sync::Arc;
use std::time::Duration;

use axum::Json as Body;
use axum::extract::State;
use portcullis_core::audit::{Action, Actor, AuditEntry};
use portcullis_core::capture::{Capture, CapturedBody, CapturedMessage, Summary};
use portcullis_core::ports::Write;
use portcullis_telemetry::CaptureFilter;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::actor::By;
use crate::paging::{List, bad_cursor, limit};
use crate::problem::ApiError;
use crate::request::{Names, Params};
use crate::state::AdminState;
use crate::time::rfc3339;

/// Exchanges that are listed where nothing else is wished.
const DEFAULT_LIMIT: usize = 100;
/// How long a request waits for what has ended already to be written.
const PATIENCE: Duration = Duration::from_secs(5);

/// Which exchanges are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CaptureQuery {
    /// How many at most; 1 to 1000, 100 if absent.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
    /// `next` of the piece before, to go on to older exchanges.
    cursor: Option<String>,
    /// A service: `name` or `name/version`.
    service: Option<String>,
    /// The name of a route; of a service's own it is `/name/version`.
    route: Option<String>,
    /// The id of a call.
    request_id: Option<String>,
}

/// What a list says of a captured exchange.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CaptureSummary)]
pub(crate) struct SummaryObject {
    /// When the request came (RFC 3339).
    time: String,
    /// The id that caller and backend saw in `X-Request-Id`.
    request_id: String,
    /// The route's name.
    route: String,
    /// The service behind it.
    #[schema(required)]
    service: Option<String>,
    /// Its version.
    #[schema(required)]
    version: Option<String>,
    /// The address the call came from.
    client_ip: String,
    /// The method.
    method: String,
    /// The canonical path, without its query.
    path: String,
    /// The status of the answer; null if the caller left before there was one.
    #[schema(required)]
    status: Option<u16>,
}

/// A captured exchange. Where a value was taken out, it says `[redacted]`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Capture)]
pub(crate) struct CaptureObject {
    #[serde(flatten)]
    summary: SummaryObject,
    /// The query; null where the request's fields were not wanted, or there was none.
    #[schema(required)]
    query: Option<String>,
    /// What the caller sent.
    request: MessageObject,
    /// What the caller got.
    response: MessageObject,
}

/// One message of a captured exchange.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CapturedMessage)]
pub(crate) struct MessageObject {
    /// The fields, each with its name and its value; null where they were not wanted.
    #[schema(required)]
    headers: Option<Vec<(String, String)>>,
    /// Whether there were more fields than are captured.
    headers_truncated: bool,
    /// The body; null where it was not wanted.
    #[schema(required)]
    body: Option<BodyObject>,
}

/// The body of a captured message.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CapturedBody)]
pub(crate) struct BodyObject {
    /// Bytes of it that passed.
    bytes: u64,
    /// Whether it came to its end.
    complete: bool,
    /// Whether less was captured than passed.
    truncated: bool,
    /// What was captured, as text.
    #[schema(required)]
    text: Option<String>,
    /// What was captured, in base64, where it is no text.
    #[schema(required)]
    base64: Option<String>,
    /// Why nothing is shown, or nothing further.
    #[schema(required)]
    note: Option<String>,
}

/// How many exchanges were taken out.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CapturesCleared)]
pub(crate) struct ClearedObject {
    /// How many.
    cleared: u64,
}

impl From<Summary> for SummaryObject {
    fn from(it: Summary) -> Self {
        Self {
            time: rfc3339(it.time),
            request_id: it.request_id,
            route: it.route,
            service: it.service,
            version: it.version,
            client_ip: it.client_ip,
            method: it.method,
            path: it.path,
            status: it.status,
        }
    }
}

impl From<Capture> for CaptureObject {
    fn from(Capture { summary, query, request, response }: Capture) -> Self {
        Self { summary: summary.into(), query, request: request.into(), response: response.into() }
    }
}

impl From<CapturedMessage> for MessageObject {
    fn from(CapturedMessage { headers, headers_truncated, body }: CapturedMessage) -> Self {
        Self { headers, headers_truncated, body: body.map(BodyObject::from) }
    }
}

impl From<CapturedBody> for BodyObject {
    fn from(CapturedBody { bytes, complete, truncated, text, base64, note }: CapturedBody) -> Self {
        Self { bytes, complete, truncated, text, base64, note }
    }
}

/// Lists captured exchanges, the newest first. Every one whose answer had ended before is found.
#[utoipa::path(get, path = "/api/v1/captures", tag = "node", operation_id = "list_captures",
    params(CaptureQuery),
    responses((status = 200, description = "The exchanges.", body = List<SummaryObject>)))]
pub(crate) async fn list(
    State(state): State<Arc<AdminState>>,
    Params(query): Params<CaptureQuery>,
) -> Result<Body<List<SummaryObject>>, ApiError> {
    let limit = limit(query.limit, DEFAULT_LIMIT)?;
    let before = query.cursor.map(|cursor| cursor.parse().map_err(|_| bad_cursor())).transpose()?;
    let (service, version) = match query.service {
        Some(both) => match both.split_once('/') {
            Some((name, version)) => (Some(name.to_owned()), Some(version.to_owned())),
            None => (Some(both), None),
        },
        None => (None, None),
    };
    let filter = CaptureFilter { service, version, route: query.route, request_id: query.request_id };
    wait(&state).await;
    let mut found = state.captures.list(&filter, limit + 1, before);
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|(place, _)| place.to_string());
    Ok(Body(List { items: found.into_iter().map(|(_, summary)| summary.into()).collect(), next }))
}

/// Shows the captured exchange of a call; of several with the same id, the newest. That it was read goes to the audit
/// trail, because it may hold what people have sent.
#[utoipa::path(get, path = "/api/v1/captures/{request_id}", tag = "node", operation_id = "show_capture",
    params(("request_id" = String, Path, description = "The id of the call.")),
    responses((status = 200, description = "The exchange.", body = CaptureObject),
        (status = 404, description = "There is none.")))]
pub(crate) async fn show(
    State(state): State<Arc<AdminState>>,
    By(actor): By,
    names: Names,
) -> Result<Body<CaptureObject>, ApiError> {
    let id = names.text("request_id").to_owned();
    wait(&state).await;
    let (captures, wanted) = (Arc::clone(&state.captures), id.clone());
    let read = tokio::task::spawn_blocking(move || captures.read(&wanted)).await.map_err(ApiError::internal)?;
    let Some(capture) = read.map_err(ApiError::internal)? else {
        return Err(ApiError::not_found(format!("the captured exchange '{id}'")));
    };
    tell(&state, actor, Action::Read, id, None).await?;
    Ok(Body(capture.into()))
}

/// Takes out every captured exchange.
#[utoipa::path(delete, path = "/api/v1/captures", tag = "node", operation_id = "clear_captures",
    responses((status = 200, description = "They are gone from the disk.", body = ClearedObject)))]
pub(crate) async fn clear(
    State(state): State<Arc<AdminState>>,
    By(actor): By,
) -> Result<Body<ClearedObject>, ApiError> {
    let cleared = state.captures.clear().await;
    let before = serde_json::json!({ "exchanges": cleared }).to_string();
    tell(&state, actor, Action::Deleted, "all".to_owned(), Some(before)).await?;
    Ok(Body(ClearedObject { cleared }))
}

/// A writer that is behind by more than this is not waited for.
async fn wait(state: &AdminState) {
    let _ = tokio::time::timeout(PATIENCE, state.captures.flushed()).await;
}

async fn tell(
    state: &AdminState,
    actor: Actor,
    action: Action,
    key: String,
    before: Option<String>,
) -> Result<(), ApiError> {
    let time = state.clock.unix_millis();
    let entry = AuditEntry { time, actor, action, kind: "capture".to_owned(), key, revision: 0, before, after: None };
    state.registry.commit(vec![Write::Audit(Box::new(entry))]).await?;
    Ok(())
}
