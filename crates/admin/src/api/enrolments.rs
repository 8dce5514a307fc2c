//! `/api/v1/enrolment-tokens`: what lets microservices register themselves.

use std::sync::Arc;

use axum::Json as Body;
use axum::extract::State;
use http::StatusCode;
use portcullis_core::model::{Enrolment, Label, Owner, Stored};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::actor::ChangesBy;
use crate::operations::enrolments::{self, NewEnrolment};
use crate::paging::{List, PageQuery};
use crate::problem::ApiError;
use crate::request::{Json, Names, Params, found};
use crate::state::AdminState;
use crate::time::{Span, rfc3339};

/// An enrolment token to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateEnrolment {
    /// What it is called.
    #[schema(value_type = String, max_length = 128)]
    name: Label,
    /// Which service names it is good for; `*` stands for any run of characters. `*` if absent.
    #[schema(default = "*", max_length = 64)]
    pattern: Option<String>,
    /// How many registrations it is good for; no limit if absent.
    #[schema(minimum = 1)]
    max_uses: Option<u64>,
    /// How long it is good: seconds, or a text like `24h`; for ever if absent.
    #[schema(value_type = Option<TimeToLive>)]
    ttl: Option<Span>,
}

/// A span of time.
#[derive(ToSchema)]
#[serde(untagged)]
#[schema(example = "24h")]
#[expect(dead_code, reason = "says in the document what `Span` reads")]
pub(crate) enum TimeToLive {
    /// In seconds.
    #[schema(title = "seconds")]
    Seconds(u64),
    /// As numbers with the units `s`, `m`, `h`, `d`, `w`.
    #[schema(title = "text")]
    Text(String),
}

/// An enrolment token, which is shown this once.
#[derive(Serialize, ToSchema)]
pub(crate) struct CreatedEnrolment {
    /// What it is called.
    name: String,
    /// The token.
    token: String,
    /// Which service names it is good for.
    pattern: String,
    /// How many registrations it is good for; null: no limit.
    #[schema(required)]
    max_uses: Option<u64>,
    /// When it ends (RFC 3339); null: never.
    #[schema(required)]
    expires_at: Option<String>,
}

/// An enrolment token as it stands: never the token itself.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EnrolmentToken)]
pub(crate) struct EnrolmentObject {
    /// What it is called.
    name: String,
    /// Which service names it is good for.
    pattern: String,
    /// How many registrations it is good for; null: no limit.
    #[schema(required)]
    max_uses: Option<u64>,
    /// How many it was used for.
    uses: u64,
    /// When it was made (RFC 3339).
    created_at: String,
    /// When it ends (RFC 3339); null: never.
    #[schema(required)]
    expires_at: Option<String>,
    /// Counts up with every change, from 1.
    revision: u64,
    /// Who it belongs to.
    #[schema(value_type = String)]
    owner: Owner,
}

impl EnrolmentObject {
    fn of(name: &Label, stored: &Stored<Enrolment>) -> Self {
        Self {
            name: name.to_string(),
            pattern: stored.value.pattern.clone(),
            max_uses: stored.value.max_uses,
            uses: stored.value.uses,
            created_at: rfc3339(stored.value.created_at),
            expires_at: stored.value.expires_at.map(rfc3339),
            revision: stored.revision,
            owner: stored.owner,
        }
    }
}

/// Makes an enrolment token.
#[utoipa::path(post, path = "/api/v1/enrolment-tokens", tag = "enrolment tokens", operation_id = "create_enrolment_token",
    request_body = CreateEnrolment,
    responses((status = 201, description = "Made; the token is shown this once.", body = CreatedEnrolment),
        (status = 409, description = "The name is taken."),
        (status = 422, description = "The pattern matches no name, or there are no uses.")))]
pub(crate) async fn create(
    State(state): State<Arc<AdminState>>,
    ChangesBy(changes): ChangesBy,
    Json(body): Json<CreateEnrolment>,
) -> Result<(StatusCode, Body<CreatedEnrolment>), ApiError> {
    let now = state.clock.unix_millis();
    let pattern = body.pattern.unwrap_or_else(|| "*".to_owned());
    let expires_at = body.ttl.map(|ttl| now.saturating_add(ttl.millis));
    let new = NewEnrolment { name: body.name.clone(), pattern: pattern.clone(), max_uses: body.max_uses, expires_at };
    let token = enrolments::create(&changes, now, new).await?;
    let created = CreatedEnrolment {
        name: body.name.to_string(),
        token: token.expose().to_owned(),
        pattern,
        max_uses: body.max_uses,
        expires_at: expires_at.map(rfc3339),
    };
    Ok((StatusCode::CREATED, Body(created)))
}

/// Lists the enrolment tokens.
#[utoipa::path(get, path = "/api/v1/enrolment-tokens", tag = "enrolment tokens", operation_id = "list_enrolment_tokens",
    params(PageQuery),
    responses((status = 200, description = "The enrolment tokens, by name.", body = List<EnrolmentObject>)))]
pub(crate) async fn list(
    State(state): State<Arc<AdminState>>,
    Params(query): Params<PageQuery>,
) -> Result<Body<List<EnrolmentObject>>, ApiError> {
    query.show(state.changes.view().enrolments(), |name, stored| EnrolmentObject::of(name, stored))
}

/// Shows an enrolment token.
#[utoipa::path(get, path = "/api/v1/enrolment-tokens/{name}", tag = "enrolment tokens", operation_id = "show_enrolment_token",
    params(("name" = String, Path, description = "The name.")),
    responses((status = 200, description = "The enrolment token.", body = EnrolmentObject),
        (status = 404, description = "There is none.")))]
pub(crate) async fn show(
    State(state): State<Arc<AdminState>>,
    names: Names,
) -> Result<Body<EnrolmentObject>, ApiError> {
    let name: Label = names.find("name", "enrolment token")?;
    let view = state.changes.view();
    Ok(Body(EnrolmentObject::of(&name, found(view.enrolment(&name), "enrolment token", &name)?)))
}

/// Takes an enrolment token out. What was registered with it stays.
#[utoipa::path(delete, path = "/api/v1/enrolment-tokens/{name}", tag = "enrolment tokens", operation_id = "delete_enrolment_token",
    params(("name" = String, Path, description = "The name.")),
    responses((status = 204, description = "It is gone."), (status = 404, description = "There was none.")))]
pub(crate) async fn delete(ChangesBy(changes): ChangesBy, names: Names) -> Result<StatusCode, ApiError> {
    enrolments::delete(&changes, names.find("name", "enrolment token")?).await?;
    Ok(StatusCode::NO_CONTENT)
}
