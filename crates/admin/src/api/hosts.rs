//! `/api/v1/hosts`: declared hosts.

use std::sync::Arc;

use axum::Json as Body;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use portcullis_core::model::{Host, HostName, Owner, Problem, Stored};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::actor::ChangesBy;
use crate::answer;
use crate::conditions::Conditions;
use crate::declaration;
use crate::declaration::schemas::HostDeclaration;
use crate::operations::hosts;
use crate::paging::{List, PageQuery};
use crate::problem::ApiError;
use crate::request::{Json, Names, Params, found};
use crate::state::AdminState;

/// A host as it stands.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Host)]
pub(crate) struct HostObject {
    /// Its name.
    name: String,
    #[serde(flatten)]
    #[schema(value_type = HostDeclaration)]
    declared: Host,
    /// Counts up with every change, from 1; also the `ETag`.
    revision: u64,
    /// Who it belongs to: `api` or `file`.
    #[schema(value_type = String)]
    owner: Owner,
}

impl HostObject {
    fn of(name: &HostName, stored: &Stored<Host>) -> Self {
        let (name, declared) = (name.to_string(), stored.value.clone());
        Self { name, declared, revision: stored.revision, owner: stored.owner }
    }
}

/// Lists the declared hosts.
#[utoipa::path(get, path = "/api/v1/hosts", tag = "hosts", operation_id = "list_hosts",
    params(PageQuery),
    responses((status = 200, description = "The hosts, by name.", body = List<HostObject>)))]
pub(crate) async fn list(
    State(state): State<Arc<AdminState>>,
    Params(query): Params<PageQuery>,
) -> Result<Body<List<HostObject>>, ApiError> {
    let view = state.changes.view();
    query.show(view.hosts(), |name, stored| HostObject::of(name, stored))
}

/// Shows a host.
#[utoipa::path(get, path = "/api/v1/hosts/{name}", tag = "hosts", operation_id = "show_host",
    params(("name" = String, Path, description = "The host, without a port.")),
    responses((status = 200, description = "The host.", body = HostObject, headers(("ETag", description = "Its revision."))),
        (status = 404, description = "It is not declared.")))]
pub(crate) async fn show(State(state): State<Arc<AdminState>>, names: Names) -> Result<Response, ApiError> {
    let name: HostName = names.find("name", "host")?;
    let view = state.changes.view();
    let stored = found(view.host(&name), "host", &name)?;
    Ok(answer::shown(stored.revision, HostObject::of(&name, stored)))
}

/// Declares a host, or replaces what is declared of it. When it answers, every worker goes by it.
#[utoipa::path(put, path = "/api/v1/hosts/{name}", tag = "hosts", operation_id = "put_host",
    params(("name" = String, Path, description = "The host: a name in lower case or an IP address, without a port."),
        ("If-Match" = Option<String>, Header, description = "The revision to replace."),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only make, never replace.")),
    request_body = HostDeclaration,
    responses((status = 200, description = "Replaced.", body = HostObject, headers(("ETag", description = "Its revision."))),
        (status = 201, description = "Made.", body = HostObject, headers(("ETag", description = "Its revision."))),
        (status = 412, description = "The host is in another revision."),
        (status = 422, description = "The declaration has problems; all of them are told.")))]
pub(crate) async fn put(
    ChangesBy(changes): ChangesBy,
    names: Names,
    conditions: Conditions,
    Json(body): Json<Value>,
) -> Result<Response, ApiError> {
    let (name, host) = read(&names, &body)?;
    let put = hosts::put(&changes, name.clone(), host.clone(), Owner::Api, conditions).await?;
    let stored = Stored { value: host, revision: put.revision, owner: put.owner };
    Ok(answer::put(&put, HostObject::of(&name, &stored)))
}

/// Takes a host out. Calls for it are like those for any other then.
#[utoipa::path(delete, path = "/api/v1/hosts/{name}", tag = "hosts", operation_id = "delete_host",
    params(("name" = String, Path, description = "The host."),
        ("If-Match" = Option<String>, Header, description = "The revision to delete.")),
    responses((status = 204, description = "It is gone."), (status = 404, description = "There was none."),
        (status = 412, description = "The host is in another revision.")))]
pub(crate) async fn delete(
    ChangesBy(changes): ChangesBy,
    names: Names,
    conditions: Conditions,
) -> Result<StatusCode, ApiError> {
    hosts::delete(&changes, names.find("name", "host")?, conditions).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Reads a declaration with its name, or tells everything that is wrong with it.
fn read(names: &Names, body: &Value) -> Result<(HostName, Host), ApiError> {
    let reading = declaration::read_host(body);
    let mut problems = Vec::new();
    let name = names.text("name").parse::<HostName>();
    let name = name.map_err(|error| problems.push(Problem::new("name", error.to_string()))).ok();
    problems.extend(reading.problems);
    match (name, reading.value) {
        (Some(name), Some(host)) if problems.is_empty() => Ok((name, host)),
        _ => Err(ApiError::invalid(problems)),
    }
}
