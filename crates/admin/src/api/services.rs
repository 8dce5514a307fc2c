//! `/api/v1/services`: declared and registered backends.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::Json as Body;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use portcullis_core::model::{Name, Owner, Problem, Service, ServiceId, Stored};
use portcullis_routing::change::shadows::Shadows;
use portcullis_routing::change::sharing::SharedTargets;
use portcullis_routing::change::{Declared, Edit, View};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::local;
use crate::actor::ChangesBy;
use crate::answer;
use crate::bounds::MAX_TARGETS;
use crate::conditions::Conditions;
use crate::declaration;
use crate::declaration::schemas::ServiceDeclaration;
use crate::operations::services::{self, too_many_targets};
use crate::paging::{List, PageQuery};
use crate::problem::ApiError;
use crate::request::{Json, Names, Params, found};
use crate::state::AdminState;

/// A service as it stands.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Service)]
pub(crate) struct ServiceObject {
    /// Its name, the first segment of its path.
    name: String,
    /// Its version, the second segment.
    version: String,
    /// The path under which apps call it, beside the routes that lead to it; null if it has none of its own.
    #[schema(required)]
    path: Option<String>,
    /// The routes to which calls under that path go instead, all of them or some, on all hosts or some: of a service that
    /// registered itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    shadowed_by: Vec<String>,
    /// The services with rules that have a target where this one is, at most 8: of a service that registered itself. Calls
    /// of this one come past those rules.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    shares_target_with: Vec<String>,
    #[serde(flatten)]
    #[schema(value_type = ServiceDeclaration)]
    declared: Service,
    /// What is shown where it is empty, too.
    #[serde(flatten)]
    #[schema(ignore)]
    empty: BTreeMap<&'static str, Value>,
    /// Counts up with every change, from 1; also the `ETag`.
    revision: u64,
    /// Who it belongs to: `api`, `file` or `registration`.
    #[schema(value_type = String)]
    owner: Owner,
}

/// The routes that shadow each service.
type Shadowed = HashMap<String, Vec<String>>;

impl ServiceObject {
    fn new(view: &View, id: &ServiceId, service: &Service, revision: u64, owner: Owner) -> Self {
        let empty = [
            (service.audiences.is_empty(), ("audiences", Value::Array(Vec::new()))),
            (service.policies.is_empty(), ("policies", Value::Object(Map::new()))),
        ];
        Self {
            name: id.name.to_string(),
            version: id.version.to_string(),
            path: view.default_routes().of(id, service, owner),
            shadowed_by: Vec::new(),
            shares_target_with: Vec::new(),
            declared: service.clone(),
            empty: empty.into_iter().filter_map(|(is_empty, field)| is_empty.then_some(field)).collect(),
            revision,
            owner,
        }
    }

    fn of(view: &View, shadows: &Shadowed, id: &ServiceId, stored: &Stored<Service>) -> Self {
        let shadowed_by = shadows.get(&id.to_string()).cloned().unwrap_or_default();
        let shares_target_with = SharedTargets::of_service(view, id, &stored.value, stored.owner);
        Self { shadowed_by, shares_target_with, ..Self::new(view, id, &stored.value, stored.revision, stored.owner) }
    }
}

/// Lists the services.
#[utoipa::path(get, path = "/api/v1/services", tag = "services", operation_id = "list_services",
    params(PageQuery),
    responses((status = 200, description = "The services, by name and version.", body = List<ServiceObject>)))]
pub(crate) async fn list(
    State(state): State<Arc<AdminState>>,
    Params(query): Params<PageQuery>,
) -> Result<Body<List<ServiceObject>>, ApiError> {
    let view = state.changes.view();
    let shadows = Shadows::by_service(&view);
    query.show(view.services(), |id, stored| ServiceObject::of(&view, &shadows, id, stored))
}

/// Shows a service.
#[utoipa::path(get, path = "/api/v1/services/{name}/{version}", tag = "services", operation_id = "show_service",
    params(("name" = String, Path, description = "The name."), ("version" = String, Path, description = "The version.")),
    responses((status = 200, description = "The service.", body = ServiceObject, headers(("ETag", description = "Its revision."))),
        (status = 404, description = "There is none.")))]
pub(crate) async fn show(State(state): State<Arc<AdminState>>, names: Names) -> Result<Response, ApiError> {
    let id = find(&names)?;
    let view = state.changes.view();
    let stored = found(view.service(&id), "service", &id)?;
    Ok(answer::shown(stored.revision, ServiceObject::of(&view, &Shadows::by_service(&view), &id, stored)))
}

/// Makes or replaces a service. When it answers, every worker routes by it.
#[utoipa::path(put, path = "/api/v1/services/{name}/{version}", tag = "services", operation_id = "put_service",
    params(("name" = String, Path, description = "The name."), ("version" = String, Path, description = "The version."),
        ("If-Match" = Option<String>, Header, description = "The revision to replace."),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only make, never replace.")),
    request_body = ServiceDeclaration,
    responses((status = 200, description = "Replaced.", body = ServiceObject, headers(("ETag", description = "Its revision."))),
        (status = 201, description = "Made.", body = ServiceObject, headers(("ETag", description = "Its revision."))),
        (status = 409, description = "A bound is reached."),
        (status = 412, description = "The service is in another revision."),
        (status = 422, description = "The declaration has problems; all of them are told.")))]
pub(crate) async fn put(
    State(state): State<Arc<AdminState>>,
    ChangesBy(changes): ChangesBy,
    names: Names,
    conditions: Conditions,
    Json(body): Json<Value>,
) -> Result<Response, ApiError> {
    let (id, service) = read(&state, &names, &body)?;
    let put = services::put(&changes, id.clone(), service.clone(), Owner::Api, conditions).await;
    let put = put.map_err(|error| local::refuse(&Declared::Service(id.clone()), error))?;
    let view = changes.view();
    let stored = Stored { value: service, revision: put.revision, owner: put.owner };
    Ok(answer::put(&put, ServiceObject::of(&view, &Shadows::by_service(&view), &id, &stored)))
}

/// Takes a service out. With the last version that came by registration goes the registration, with the last of all the
/// name's own API keys.
#[utoipa::path(delete, path = "/api/v1/services/{name}/{version}", tag = "services", operation_id = "delete_service",
    params(("name" = String, Path, description = "The name."), ("version" = String, Path, description = "The version."),
        ("If-Match" = Option<String>, Header, description = "The revision to delete.")),
    responses((status = 204, description = "It is gone."), (status = 404, description = "There was none."),
        (status = 409, description = "A route leads to it."),
        (status = 412, description = "The service is in another revision.")))]
pub(crate) async fn delete(
    ChangesBy(changes): ChangesBy,
    names: Names,
    conditions: Conditions,
) -> Result<StatusCode, ApiError> {
    services::delete(&changes, find(&names)?, conditions).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The service a path names; what cannot be a service is none that is there.
fn find(names: &Names) -> Result<ServiceId, ApiError> {
    let text = format!("{}/{}", names.text("name"), names.text("version"));
    found(text.parse().ok(), "service", &text)
}

/// Reads a declaration with its names, or tells everything that is wrong with it.
fn read(state: &AdminState, names: &Names, body: &Value) -> Result<(ServiceId, Service), ApiError> {
    if body.get("targets").and_then(Value::as_array).is_some_and(|targets| targets.len() > MAX_TARGETS) {
        return Err(too_many_targets().into());
    }
    let reading = declaration::read_service(body);
    let service = reading.value.unwrap_or_default();
    let mut problems = Vec::new();
    let id = read_id(names, &mut problems);
    problems.extend(reading.problems);
    match id {
        Some(id) if problems.is_empty() => Ok((id, service)),
        id => {
            let id = id.unwrap_or_else(stand_in);
            let edit = Edit::Service(id.clone(), Some(service));
            Err(local::all_problems(state, &View::default(), &Declared::Service(id), &[edit], problems))
        }
    }
}

fn read_id(names: &Names, problems: &mut Vec<Problem>) -> Option<ServiceId> {
    let mut part = |part: &str| {
        let read = names.text(part).parse::<Name>();
        read.map_err(|error| problems.push(Problem::new(part, error.to_string()))).ok()
    };
    let (name, version) = (part("name"), part("version"));
    ServiceId::new(name?, version?).map_err(|error| problems.push(Problem::new("name", error.to_string()))).ok()
}

/// Under which a service is compiled whose own name cannot be one.
fn stand_in() -> ServiceId {
    "unnamed/v1".parse().expect("both parts are names")
}
