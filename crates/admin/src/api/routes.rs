//! `/api/v1/routes`: declared routes.

use std::collections::{BTreeMap, HashMap};
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
use crate::operations::routes;
use crate::paging::{List, PageQuery};
use crate::problem::ApiError;
use crate::request::{Json, Names, Params, found};
use crate::state::AdminState;

/// What is declared of a route. Exactly one of `service`, `redirect` and `answer` says what it leads to.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RouteDeclaration {
    /// What a request must match. Every condition that is given must hold.
    #[serde(rename = "match")]
    matches: RouteMatch,
    /// The service it leads to, as `name/version`.
    #[schema(example = "users/v1")]
    service: Option<String>,
    /// The place it points to.
    redirect: Option<RouteRedirect>,
    /// The answer it gives.
    answer: Option<RouteAnswer>,
    /// Whether the matched path is taken away before the rest goes to the service.
    #[schema(required = false, default = false)]
    strip: bool,
    /// The path the service gets instead; `{name}` is a parameter, `{rest}` what is left of the path.
    rewrite: Option<String>,
    /// Which `Host` the service gets: `target`, its own, or `preserve`, the one the caller asked for.
    #[schema(required = false, default = "target", pattern = "^(target|preserve)$")]
    host: String,
    /// Whether calls whose path has parameters (`;` or `%3B`) are refused with 400, `refuse`, or taken and forwarded as
    /// sent, `keep`; as the service says, if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, pattern = "^(refuse|keep)$")]
    path_parameters: Option<&'static str>,
    /// The same for encoded slashes (`%2F`), which separate no segments.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, pattern = "^(refuse|keep)$")]
    encoded_slash: Option<&'static str>,
    /// Whether upper and lower case are the same in the path, for this route and its rules; as the service says, if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    case_insensitive: Option<bool>,
    /// Which credentials a call needs; those of the service, if absent.
    require: Option<Vec<Vec<String>>>,
    /// Settings of policies by kind, in place of the service's settings of the same kind.
    #[schema(required = false, value_type = BTreeMap<String, Object>)]
    policies: BTreeMap<String, Value>,
}

/// What a request must match.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RouteMatch {
    /// Hosts, without ports: exact, or `*.example.com` for every name below it. Any host, if empty.
    #[schema(required = false, max_items = 64)]
    hosts: Vec<String>,
    /// The path.
    path: RoutePath,
    /// Methods. Any, if empty.
    #[schema(required = false, max_items = 32)]
    methods: Vec<String>,
    /// Header fields by name: the value one of its lines must have, or `*` for any.
    #[schema(required = false)]
    headers: BTreeMap<String, String>,
    /// Query parameters by name: the value it must have, as sent, or `*` for any.
    #[schema(required = false)]
    query: BTreeMap<String, String>,
}

/// What of a path a route is about: exactly one of these.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RoutePath {
    /// This path alone, with or without a slash behind it.
    exact: Option<String>,
    /// This path and everything below it.
    #[schema(example = "/api/users")]
    prefix: Option<String>,
    /// A path with parameters, like `/users/{id}/orders`; with `/*` at its end also everything below it.
    pattern: Option<String>,
}

/// An answer that points elsewhere.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RouteRedirect {
    /// Where to: a path or an absolute URL; `{name}` is a parameter, `{rest}` what is left of the path.
    to: String,
    /// 301, 302, 303, 307 or 308.
    #[schema(required = false, default = 308)]
    status: u16,
    /// Whether the query goes along.
    #[schema(required = false, default = true)]
    keep_query: bool,
}

/// An answer that is always the same.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RouteAnswer {
    /// The status.
    #[schema(minimum = 200, maximum = 599)]
    status: u16,
    /// Header fields.
    #[schema(required = false)]
    headers: BTreeMap<String, String>,
    /// The body, at most 64 KiB.
    #[schema(required = false)]
    body: String,
}

/// A route as it stands.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Route)]
pub(crate) struct RouteObject {
    /// Its name.
    name: String,
    #[serde(flatten)]
    #[schema(inline, value_type = RouteDeclaration)]
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
    match (name, reading.route) {
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
