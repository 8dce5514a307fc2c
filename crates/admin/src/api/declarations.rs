//! `/api/v1/declarations`: services, routes and clients all at once, as a file declares them.
#![expect(unused_qualifications, reason = "what describes the queries names their types in full")]

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json as Body;
use axum::body::Body as RawBody;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, ETAG};
use http::{HeaderMap, StatusCode};
use portcullis_core::audit::Actor;
use portcullis_core::message::HasFields;
use portcullis_core::model::{Owner, Problem};
use portcullis_routing::change::ChangeError;
use portcullis_routing::change::plan::Plan;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::actor::By;
use crate::answer;
use crate::conditions::{Conditions, etag};
use crate::declaration::schemas::{ClientDeclaration, RouteDeclaration, ServiceDeclaration};
use crate::declaration::{self, LARGEST, Reading, Syntax, with_lines};
use crate::operations::declarations::{self, Terms};
use crate::problem::ApiError;
use crate::request::{Params, collect_within};
use crate::state::AdminState;

/// Everything that is declared. Secrets, keys, users and sessions are no declarations.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeclarationsFile {
    /// The version of the form.
    #[schema(minimum = 1, maximum = 1)]
    version: u64,
    /// Services, by `name/version`.
    #[schema(required = false)]
    services: BTreeMap<String, ServiceDeclaration>,
    /// Routes, by name.
    #[schema(required = false)]
    routes: BTreeMap<String, RouteDeclaration>,
    /// Clients, by name.
    #[schema(required = false)]
    clients: BTreeMap<String, ClientDeclaration>,
}

/// What a file changes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeclarationsPlan {
    /// What happens to objects.
    steps: Vec<PlanStep>,
    /// How the policies of routes change.
    policies: Vec<PlanPolicies>,
    /// How many declared objects stay as they are.
    unchanged: usize,
    /// The services that registered themselves and of which calls go to declared routes then, at most 100.
    #[schema(required = false)]
    shadowed: Vec<PlanShadow>,
    /// How many more there are.
    #[schema(required = false)]
    shadowed_left_out: usize,
    /// The services that registered themselves and are at targets of services with rules then, at most 100.
    #[schema(required = false)]
    shared_targets: Vec<PlanSharedTarget>,
    /// How many more there are.
    #[schema(required = false)]
    shared_targets_left_out: usize,
}

/// A registered service at a target of others that have rules, so that calls by it come past them.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PlanSharedTarget {
    /// The service that registered itself.
    service: String,
    /// The services with rules, at most 8.
    others: Vec<String>,
}

/// A registered service of which calls go to a declared route instead.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PlanShadow {
    /// The service.
    service: String,
    /// The route; the default route of a service by its path.
    route: String,
    /// The hosts on which it is so; on all, if absent.
    #[schema(required = false)]
    hosts: Vec<String>,
    /// Whether only some calls go there: those for one path, or those that meet the conditions of the route.
    #[schema(required = false)]
    partly: bool,
}

/// What happens to one object.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PlanStep {
    /// `add`, `change` or `remove`.
    action: String,
    /// `service`, `route` or `client`.
    kind: String,
    /// Its name.
    name: String,
    /// Which of its fields change; `owner`, where it changes hands.
    #[schema(required = false)]
    fields: Vec<String>,
}

/// How the policies of one route change.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PlanPolicies {
    /// The route: its name, or the path of a service's default route.
    route: String,
    /// The kinds of policies, and `require`, with `add`, `change` or `remove`.
    kinds: BTreeMap<String, String>,
}

/// Which declarations, and how they are written.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ShowQuery {
    /// `yaml` or `json`; what `Accept` prefers if absent, JSON if it prefers nothing.
    format: Option<String>,
    /// Only those of this owner: `file`, `api`, `registration` or `import`.
    #[param(value_type = Option<String>)]
    owner: Option<Owner>,
}

/// How declarations are made.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ApplyQuery {
    /// Whether objects of other owners that are declared otherwise are taken over.
    adopt: Option<bool>,
}

/// Shows all declarations, in the order of their names.
#[utoipa::path(get, path = "/api/v1/declarations", tag = "declarations", operation_id = "show_declarations",
    params(ShowQuery),
    responses((status = 200, description = "The declarations.", headers(("ETag", description = "Changes with any of them.")),
        content((DeclarationsFile = "application/json"), (DeclarationsFile = "application/yaml")))))]
pub(crate) async fn show(
    State(state): State<Arc<AdminState>>,
    Params(query): Params<ShowQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let syntax = wanted(query.format.as_deref(), &headers)?;
    let view = state.changes.view();
    let declared = declarations::declared(&view, query.owner);
    let tag = [(ETAG, etag(declarations::fingerprint(&view)))];
    match syntax {
        Syntax::Json => Ok((tag, Body(declared)).into_response()),
        Syntax::Yaml => {
            let text = declaration::to_yaml(&declared).map_err(ApiError::internal)?;
            Ok((tag, [(CONTENT_TYPE, "application/yaml")], text).into_response())
        }
    }
}

/// Makes the declarations what a file says, all at once or not at all. Only objects that belong to `file` are
/// removed when they are no longer declared; keys, secrets and registrations stay.
#[utoipa::path(put, path = "/api/v1/declarations", tag = "declarations", operation_id = "apply_declarations",
    params(ApplyQuery, ("If-Match" = Option<String>, Header, description = "The `ETag` of the declarations to change.")),
    request_body(content((DeclarationsFile = "application/json"), (DeclarationsFile = "application/yaml"))),
    responses((status = 200, description = "Done; this has changed.", body = DeclarationsPlan,
            headers(("ETag", description = "Changes with any declaration."))),
        (status = 400, description = "The body is neither JSON nor YAML."),
        (status = 412, description = "The declarations have changed since."),
        (status = 422, description = "The declarations have problems; all of them are told, and nothing was changed.")))]
pub(crate) async fn apply(
    State(state): State<Arc<AdminState>>,
    By(actor): By,
    Params(query): Params<ApplyQuery>,
    conditions: Conditions,
    headers: HeaderMap,
    body: RawBody,
) -> Result<Response, ApiError> {
    let (reading, text) = read(&headers, body).await?;
    let (terms, dry_run) = (Terms::file(query.adopt.unwrap_or(false)), state.dry_run.clone());
    let changes = state.changes.by(Actor::file_apply(actor.address));
    let plan = declarations::apply(&changes, reading, terms, conditions, dry_run).await;
    let plan = plan.map_err(|error| match error {
        ChangeError::Invalid(problems) => ApiError::invalid(with_lines(problems, &text)),
        ChangeError::Stale(_) => {
            let detail = "the declarations have changed since; look at them again";
            ApiError::new(StatusCode::PRECONDITION_FAILED, "precondition_failed", detail)
        }
        error => error.into(),
    })?;
    Ok(answer::shown(declarations::fingerprint(&changes.view()), plan))
}

/// Says what a file would change, and changes nothing.
#[utoipa::path(post, path = "/api/v1/declarations/plan", tag = "declarations", operation_id = "plan_declarations",
    params(ApplyQuery),
    request_body(content((DeclarationsFile = "application/json"), (DeclarationsFile = "application/yaml"))),
    responses((status = 200, description = "This would change.", body = DeclarationsPlan,
            headers(("ETag", description = "Of the declarations it was held against."))),
        (status = 400, description = "The body is neither JSON nor YAML."),
        (status = 422, description = "The declarations have problems; all of them are told.")))]
pub(crate) async fn plan(
    State(state): State<Arc<AdminState>>,
    Params(query): Params<ApplyQuery>,
    headers: HeaderMap,
    body: RawBody,
) -> Result<Response, ApiError> {
    let (reading, text) = read(&headers, body).await?;
    let view = state.changes.view();
    let terms = Terms::file(query.adopt.unwrap_or(false));
    let mut plan: Plan = declarations::planned(&view, &reading, terms, &state.dry_run);
    let problems: Vec<Problem> = std::mem::take(&mut plan.problems);
    if !problems.is_empty() {
        return Err(ApiError::invalid(with_lines(problems, &text)));
    }
    Ok(answer::shown(declarations::fingerprint(&view), plan))
}

async fn read(headers: &HeaderMap, body: RawBody) -> Result<(Reading, Bytes), ApiError> {
    let text = collect_within(body, LARGEST).await?;
    let reading = declaration::read(&text, written(headers)?).map_err(|problem| {
        ApiError::malformed("malformed_declarations", problem.to_string()).with_problems(vec![problem])
    })?;
    Ok((reading, text))
}

/// What the sender calls its body; JSON if it says nothing.
fn written(headers: &HeaderMap) -> Result<Syntax, ApiError> {
    match headers.get(CONTENT_TYPE) {
        None => Ok(Syntax::Json),
        Some(_) if crate::request::is_json(headers.fields()) => Ok(Syntax::Json),
        Some(value) if is_yaml(value.to_str().unwrap_or("")) => Ok(Syntax::Yaml),
        Some(_) => {
            let detail = "expected 'Content-Type: application/json' or 'application/yaml'";
            Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail))
        }
    }
}

fn is_yaml(value: &str) -> bool {
    let essence = value.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    matches!(essence.as_str(), "application/yaml" | "application/x-yaml" | "text/yaml" | "text/x-yaml")
}

fn wanted(format: Option<&str>, headers: &HeaderMap) -> Result<Syntax, ApiError> {
    match format {
        Some("json") => Ok(Syntax::Json),
        Some("yaml") => Ok(Syntax::Yaml),
        Some(other) => {
            Err(ApiError::malformed("bad_query", format!("expected 'format' to be 'json' or 'yaml', found '{other}'")))
        }
        None => {
            let mut accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
            let first = accepted.next().and_then(|value| value.split(',').next()).unwrap_or("");
            Ok(if is_yaml(first) { Syntax::Yaml } else { Syntax::Json })
        }
    }
}
