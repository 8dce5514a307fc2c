//! `/api/v1/audit`: who changed what, when and from where.
#![expect(unused_qualifications, reason = "what describes the query names its type in full")]

use std::sync::Arc;

use axum::Json as Body;
use axum::extract::State;
use portcullis_core::audit::{AuditFrom, AuditQuery, ChainedEntry};
use portcullis_core::call::hex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::paging::{List, bad_cursor, limit};
use crate::problem::ApiError;
use crate::request::Params;
use crate::state::AdminState;
use crate::time::rfc3339;

/// Entries that are shown where nothing else is wished.
const DEFAULT_LIMIT: usize = 100;

/// Which entries are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct TrailQuery {
    /// How many entries at most; 1 to 1000, 100 if absent.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
    /// `next` of the piece before, to go on to older entries.
    cursor: Option<String>,
    /// The number of an entry, or `0`: entries in the order they came, those after it only.
    after: Option<String>,
    /// A kind of object: `service`, `route`, `client`, `host`, `client_secret`, `api_key`, `registration`, `enrolment`, `user`,
    /// `capture` or `token_pairs`.
    kind: Option<String>,
    /// What the object is called; `orders` finds `orders/v1` too.
    key: Option<String>,
}

/// One change of one object. What is kept under a secret's name is taken out of both sides; of very large objects
/// only what is different is there.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditEntry)]
pub(crate) struct EntryObject {
    /// Its number, from 1 without a gap.
    seq: u64,
    /// When (RFC 3339).
    time: String,
    /// What the change was authorised by: the admin token, an enrolment token, a registration key.
    actor: String,
    /// The address it came from; null for the gateway's own changes.
    #[schema(required)]
    address: Option<String>,
    /// `created`, `changed`, `deleted` or `read`.
    action: &'static str,
    /// The kind of the object.
    kind: String,
    /// What the object is called.
    key: String,
    /// The revision it has now; of one that is gone, the last it had.
    revision: u64,
    /// What it was; null if it was not there.
    #[schema(required, value_type = Option<Object>)]
    before: Option<Value>,
    /// What it is; null if it is gone.
    #[schema(required, value_type = Option<Object>)]
    after: Option<Value>,
    /// The hash of the entry before, in hex.
    previous: String,
    /// The hash of this entry, in hex: keyed, over everything above.
    hash: String,
}

impl From<ChainedEntry> for EntryObject {
    fn from(ChainedEntry { seq, previous, hash, entry }: ChainedEntry) -> Self {
        let side = |text: String| serde_json::from_str(&text).unwrap_or(Value::String(text));
        Self {
            seq,
            time: rfc3339(entry.time),
            actor: entry.actor.name.to_string(),
            address: entry.actor.address.map(|address| address.to_string()),
            action: entry.action.as_str(),
            kind: entry.kind,
            key: entry.key,
            revision: entry.revision,
            before: entry.before.map(side),
            after: entry.after.map(side),
            previous: hex(&previous),
            hash: hex(&hash),
        }
    }
}

/// Whether the trail is what was written.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditVerdict)]
pub(crate) struct VerdictObject {
    /// How many entries there are.
    entries: u64,
    /// Whether none was changed, put in or taken out, and every object in the registry is what the entries about it
    /// left.
    intact: bool,
    /// The number of the first entry that is not what it was, or is missing; the number after the last one, if an object
    /// is not what the entries about it left.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_broken: Option<u64>,
    /// What is wrong, in words, if the trail is not intact.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The hash of the last good entry, in hex. Noted elsewhere, it shows later that the store was not put back.
    head: String,
}

/// Shows the audit trail: every change of an object, the newest first, or with `after` in the order they came.
#[utoipa::path(get, path = "/api/v1/audit", tag = "node", operation_id = "list_audit",
    params(TrailQuery),
    responses((status = 200, description = "The entries.", body = List<EntryObject>)))]
pub(crate) async fn list(
    State(state): State<Arc<AdminState>>,
    Params(query): Params<TrailQuery>,
) -> Result<Body<List<EntryObject>>, ApiError> {
    let limit = limit(query.limit, DEFAULT_LIMIT)?;
    let place = |text: &str| text.parse::<u64>().map_err(|_| bad_cursor());
    let from = match (query.after.as_deref(), query.cursor.as_deref()) {
        (Some(_), Some(_)) => return Err(ApiError::malformed("bad_query", "expected 'cursor' or 'after', not both")),
        (Some(after), None) => AuditFrom::After(place(after)?),
        (None, Some(before)) => AuditFrom::Before(place(before)?),
        (None, None) => AuditFrom::Before(u64::MAX),
    };
    // One more than is shown tells whether there is more.
    let wanted = u32::try_from(limit + 1).unwrap_or(u32::MAX);
    let wanted = AuditQuery { from, limit: wanted, kind: query.kind, key: query.key };
    let mut found = state.registry.audit(wanted).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let next = match from {
        // Whoever follows the trail goes on from where it ends now.
        AuditFrom::After(after) => Some(found.last().map_or(after, |last| last.seq).to_string()),
        AuditFrom::Before(_) => found.last().filter(|_| more).map(|last| last.seq.to_string()),
    };
    Ok(Body(List { items: found.into_iter().map(EntryObject::from).collect(), next }))
}

/// Looks at every entry of the audit trail and at every object in the registry that it tells of, and says whether both are
/// what was written.
#[utoipa::path(get, path = "/api/v1/audit/verify", tag = "node", operation_id = "verify_audit",
    responses((status = 200, description = "What was found.", body = VerdictObject)))]
pub(crate) async fn verify(State(state): State<Arc<AdminState>>) -> Result<Body<VerdictObject>, ApiError> {
    let verdict = state.registry.verify_audit().await?;
    Ok(Body(VerdictObject {
        entries: verdict.entries,
        intact: verdict.first_broken.is_none(),
        first_broken: verdict.first_broken,
        reason: verdict.fault.map(|fault| fault.to_string()),
        head: hex(&verdict.head.hash),
    }))
}
