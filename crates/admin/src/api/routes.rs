//! `/api/v1/routes`: declared routes.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json as Body;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use portcullis_core::model::{Name, Owner, Problem, Route, Stored};
use portcullis_routing::change::shadows::Shadows;
use portcullis_routing::change::{Declared, Edit};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::local;
use crate::actor::ChangesBy;
use crate::answer;
use crate::conditions::Conditions;
use crate::declaration;
use crate::declaration::schemas::RouteDeclaration;
use crate::operations::routes;
use crate::paging::{List, PageQuery};
use crate::problem::ApiError;
use crate::request::{Json, Names, Params, found};
use crate::state::AdminState;

/// A route as it stands.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Route)]
pub(crate) struct RouteObject {
    /// Its name.
    name: String,
    #[serde(flatten)]
    #[schema(value_type = RouteDeclaration)]
    declared: Route,
    /// Services that registered themselves and of which calls go to this route instead, at least some.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    shadows: Vec<String>,
    /// Counts up with every change, from 1; also the `ETag`.
    revision: u64,
    /// Who it belongs to: `api` or `file`.
    #[schema(value_type = String)]
    owner: Owner,
}

impl RouteObject {
    fn of(shadows: &HashMap<String, Vec<String>>, name: &Name, stored: &Stored<Route>) -> Self {
        Self::new(shadows, name, stored.value.clone(), stored.revision, stored.owner)
    }

    fn new(shadows: &HashMap<String, Vec<String>>, name: &Name, declared: Route, revision: u64, owner: Owner) -> Self {
        let name = name.to_string();
        let shadows = shadows.get(&name).cloned().unwrap_or_default();
        Self { name, declared, shadows, revision, owner }
    }
}

/// Lists the declared routes. The default routes of services are not among them.
#[utoipa::path(get, path = "/api/v1/routes", tag = "routes", operation_id = "list_routes",
    params(PageQuery),
    responses((status = 200, description = "The routes, by name.", body = List<RouteObject>)))]
pub(crate) async fn list(
    State(state): State<Arc<AdminState>>,
    Params(query): Params<PageQuery>,
) -> Result<Body<List<RouteObject>>, ApiError> {
    let view = state.changes.view();
    let shadows = Shadows::by_route(&view);
    query.show(view.routes(), |name, stored| RouteObject::of(&shadows, name, stored))
}

/// Shows a route.
#[utoipa::path(get, path = "/api/v1/routes/{name}", tag = "routes", operation_id = "show_route",
    params(("name" = String, Path, description = "The name.")),
    responses((status = 200, description = "The route.", body = RouteObject, headers(("ETag", description = "Its revision."))),
        (status = 404, description = "There is none.")))]
pub(crate) async fn show(State(state): State<Arc<AdminState>>, names: Names) -> Result<Response, ApiError> {
    let name: Name = names.find("name", "route")?;
    let view = state.changes.view();
    let stored = found(view.route(&name), "route", &name)?;
    Ok(answer::shown(stored.revision, RouteObject::of(&Shadows::by_route(&view), &name, stored)))
}

/// Makes or replaces a route. When it answers, every worker routes by it.
#[utoipa::path(put, path = "/api/v1/routes/{name}", tag = "routes", operation_id = "put_route",
    params(("name" = String, Path, description = "The name."),
        ("If-Match" = Option<String>, Header, description = "The revision to replace."),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only make, never replace.")),
    request_body = RouteDeclaration,
    responses((status = 200, description = "Replaced.", body = RouteObject, headers(("ETag", description = "Its revision."))),
        (status = 201, description = "Made.", body = RouteObject, headers(("ETag", description = "Its revision."))),
        (status = 412, description = "The route is in another revision."),
        (status = 422, description = "The declaration has problems; all of them are told.")))]
pub(crate) async fn put(
    State(state): State<Arc<AdminState>>,
    ChangesBy(changes): ChangesBy,
    names: Names,
    conditions: Conditions,
    Json(body): Json<Value>,
) -> Result<Response, ApiError> {
    let (name, route) = read(&state, &names, &body)?;
    let put = routes::put(&changes, name.clone(), route.clone(), Owner::Api, conditions).await;
    let put = put.map_err(|error| local::refuse(&Declared::Route(name.clone()), error))?;
    let shadows = Shadows::by_route(&changes.view());
    Ok(answer::put(&put, RouteObject::new(&shadows, &name, route, put.revision, put.owner)))
}

/// Takes a route out.
#[utoipa::path(delete, path = "/api/v1/routes/{name}", tag = "routes", operation_id = "delete_route",
    params(("name" = String, Path, description = "The name."),
        ("If-Match" = Option<String>, Header, description = "The revision to delete.")),
    responses((status = 204, description = "It is gone."), (status = 404, description = "There was none."),
        (status = 412, description = "The route is in another revision.")))]
pub(crate) async fn delete(
    ChangesBy(changes): ChangesBy,
    names: Names,
    conditions: Conditions,
) -> Result<StatusCode, ApiError> {
    routes::delete(&changes, names.find("name", "route")?, conditions).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Reads a declaration with its name, or tells everything that is wrong with it.
fn read(state: &AdminState, names: &Names, body: &Value) -> Result<(Name, Route), ApiError> {
    let reading = declaration::read_route(body);
    let mut problems = Vec::new();
    let name = names.text("name").parse::<Name>();
    let name = name.map_err(|error| problems.push(Problem::new("name", error.to_string()))).ok();
    problems.extend(reading.problems);
    match (name, reading.value) {
        (Some(name), Some(route)) if problems.is_empty() => Ok((name, route)),
        (name, route) => {
            let name = name.unwrap_or_else(stand_in);
            let edit = route.map(|route| Edit::Route(name.clone(), Some(Box::new(route))));
            Err(local::all_problems(state, &state.changes.view(), &Declared::Route(name), edit.as_slice(), problems))
        }
    }
}

/// Under which a route is compiled whose own name cannot be one.
fn stand_in() -> Name {
    "unnamed".parse().expect("a word is a name")
}
