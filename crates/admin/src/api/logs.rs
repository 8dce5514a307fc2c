//! `/api/v1/logs`: the newest records of calls, searched.
#![expect(unused_qualifications, reason = "what describes the query names its type in full")]

use std::sync::Arc;
use std::time::Duration;

use axum::Json as Body;
use axum::extract::State;
use portcullis_core::model::Problem;
use portcullis_telemetry::{DEFAULT_LIMIT, Filter, Page, Recent};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::paging::{bad_cursor, limit};
use crate::problem::ApiError;
use crate::request::Params;
use crate::state::AdminState;

/// How long a search waits for the log to take in what has ended already.
const PATIENCE: Duration = Duration::from_secs(1);

/// Which records are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LogQuery {
    /// How many records at most; 1 to 1000, 100 if absent.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
    /// `next` of the piece before, to go on to older records.
    cursor: Option<String>,
    /// A `next` from an earlier search with `after`, or `0`: records in the order they came, those after it only.
    after: Option<String>,
    /// A service: `name` or `name/version`.
    service: Option<String>,
    /// A status like `404`, or a class like `4xx`.
    status: Option<String>,
    /// The name of a client.
    client: Option<String>,
    /// The name of a user.
    user: Option<String>,
    /// What the path begins with.
    path: Option<String>,
    /// The earliest time: RFC 3339, or seconds since 1970.
    since: Option<String>,
}

impl LogQuery {
    fn filter(&self) -> Result<Filter, ApiError> {
        let mut filter = Filter::default();
        let conditions = [
            ("service", &self.service),
            ("status", &self.status),
            ("client", &self.client),
            ("user", &self.user),
            ("path", &self.path),
            ("since", &self.since),
        ];
        for (name, value) in conditions {
            let Some(value) = value else { continue };
            filter.set(name, value).map_err(|error| {
                let problem = Problem::new(name, error.to_string());
                ApiError::malformed("bad_query", problem.message.clone()).with_problems(vec![problem])
            })?;
        }
        Ok(filter)
    }
}

/// One call that has ended.
#[derive(ToSchema)]
#[schema(as = LogRecord)]
#[expect(dead_code, reason = "says in the document what the log writes by hand")]
pub(crate) struct RecordObject {
    /// When it arrived (RFC 3339, with microseconds).
    time: String,
    /// The id that caller and backend saw in `X-Request-Id`.
    request_id: String,
    /// The address it came from.
    client_ip: String,
    /// The method.
    method: String,
    /// The canonical path, without its query.
    path: String,
    /// The status of the answer; 499 if the caller left before there was one.
    status: u16,
    /// The service that was called.
    #[schema(required)]
    service: Option<String>,
    /// Its version.
    #[schema(required)]
    version: Option<String>,
    /// The client that called.
    #[schema(required)]
    client: Option<String>,
    /// The user that called.
    #[schema(required)]
    user: Option<String>,
    /// From the request's head to the answer's last byte, in microseconds.
    duration_us: u64,
    /// Until the head of the target's answer, in microseconds.
    #[schema(required)]
    upstream_duration_us: Option<u64>,
    /// Request body bytes.
    bytes_in: u64,
    /// Answer body bytes.
    bytes_out: u64,
    /// The code of the refusal, or of what cut the answer short.
    #[schema(required)]
    refusal: Option<String>,
    /// The target that was chosen.
    #[schema(required)]
    target: Option<String>,
    /// Which time limit has ended the call, and whose it is: `connect`, `first_byte`, `idle` or `call`, `of the` `node`, `service`
    /// or `route`; absent where none has.
    #[schema(example = "idle of the service")]
    limit: Option<String>,
    /// How a gRPC call ended; absent where it is no gRPC call, or has none.
    grpc_status: Option<u8>,
    /// The names of the texts that were longer than 1,024 bytes and have been cut to that; absent where all are whole.
    cut: Option<Vec<String>>,
}

/// A piece of the log.
#[derive(ToSchema)]
#[schema(as = LogPage)]
#[expect(dead_code, reason = "says in the document what the log writes by hand")]
pub(crate) struct LogPage {
    /// The records: newest first, or with `after` in the order they came.
    items: Vec<RecordObject>,
    /// The cursor of the next piece, if there is one; with `after` always.
    #[schema(required)]
    next: Option<String>,
}

/// Searches the newest records. Every call that had ended before is found.
#[utoipa::path(get, path = "/api/v1/logs", tag = "node", operation_id = "search_logs",
    params(LogQuery),
    responses((status = 200, description = "The records.", body = LogPage)))]
pub(crate) async fn search(
    State(state): State<Arc<AdminState>>,
    Params(query): Params<LogQuery>,
) -> Result<Body<Page>, ApiError> {
    let filter = query.filter()?;
    let limit = limit(query.limit, DEFAULT_LIMIT)?;
    let after = query.after.as_deref().map(Recent::sequence).transpose().map_err(|_| bad_cursor())?;
    if after.is_some() && query.cursor.is_some() {
        return Err(ApiError::malformed("bad_query", "expected 'cursor' or 'after', not both"));
    }
    // A log that is behind by more than this answers with what it has.
    let _ = tokio::time::timeout(PATIENCE, state.log.flushed()).await;
    let page = match after {
        Some(after) => state.recent.after(&filter, limit, after),
        None => state.recent.search(&filter, limit, query.cursor.as_deref()).map_err(|_| bad_cursor())?,
    };
    Ok(Body(page))
}
