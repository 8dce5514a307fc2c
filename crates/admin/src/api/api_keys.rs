//! `/api/v1/{clients,services}/{name}/api-keys`: the keys with which apps call.

use std::sync::Arc;

use axum::Json as Body;
use axum::extract::State;
use http::StatusCode;
use portcullis_core::directory::KeyOwner;
use portcullis_core::secret::Secret;
use portcullis_routing::change::Changes;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::actor::ChangesBy;
use crate::operations::api_keys;
use crate::paging::{List, PageQuery};
use crate::problem::ApiError;
use crate::request::{Names, OptionalJson, Params};
use crate::state::AdminState;
use crate::time::rfc3339;

/// A key to be made.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateApiKey {
    /// The key itself, where an operator brings it along; a minted one if absent.
    #[schema(value_type = Option<String>, max_length = 256)]
    api_key: Option<Secret>,
}

/// A key, which is shown this once.
#[derive(Serialize, ToSchema)]
pub(crate) struct CreatedApiKey {
    /// The handle it goes by.
    id: String,
    /// The key.
    api_key: String,
}

/// A key as it is listed: never the key itself.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiKey)]
pub(crate) struct ApiKeyObject {
    /// The handle it goes by.
    id: String,
    /// When it was made (RFC 3339).
    created_at: String,
}

/// Gives a client one more API key.
#[utoipa::path(post, path = "/api/v1/clients/{name}/api-keys", tag = "clients", operation_id = "create_client_api_key",
    params(("name" = String, Path, description = "The client.")),
    request_body = Option<CreateApiKey>,
    responses((status = 201, description = "Made; the key is shown this once.", body = CreatedApiKey),
        (status = 404, description = "There is no such client."),
        (status = 409, description = "The client has 64 keys, or the key is in use."),
        (status = 422, description = "The key cannot be one.")))]
pub(crate) async fn create_for_client(
    State(state): State<Arc<AdminState>>,
    ChangesBy(changes): ChangesBy,
    names: Names,
    OptionalJson(body): OptionalJson<CreateApiKey>,
) -> Result<(StatusCode, Body<CreatedApiKey>), ApiError> {
    create(&state, &changes, client(&names)?, body).await
}

/// Gives a service one more API key of its own.
#[utoipa::path(post, path = "/api/v1/services/{name}/api-keys", tag = "services", operation_id = "create_service_api_key",
    params(("name" = String, Path, description = "The service's name; the key is good for every version.")),
    request_body = Option<CreateApiKey>,
    responses((status = 201, description = "Made; the key is shown this once.", body = CreatedApiKey),
        (status = 404, description = "There is no such service."),
        (status = 409, description = "The service has 64 keys, or the key is in use."),
        (status = 422, description = "The key cannot be one.")))]
pub(crate) async fn create_for_service(
    State(state): State<Arc<AdminState>>,
    ChangesBy(changes): ChangesBy,
    names: Names,
    OptionalJson(body): OptionalJson<CreateApiKey>,
) -> Result<(StatusCode, Body<CreatedApiKey>), ApiError> {
    create(&state, &changes, service(&names)?, body).await
}

/// Lists a client's API keys by their handles.
#[utoipa::path(get, path = "/api/v1/clients/{name}/api-keys", tag = "clients", operation_id = "list_client_api_keys",
    params(("name" = String, Path, description = "The client."), PageQuery),
    responses((status = 200, description = "The keys' handles.", body = List<ApiKeyObject>),
        (status = 404, description = "There is no such client.")))]
pub(crate) async fn list_of_client(
    State(state): State<Arc<AdminState>>,
    names: Names,
    Params(query): Params<PageQuery>,
) -> Result<Body<List<ApiKeyObject>>, ApiError> {
    list(&state, &client(&names)?, &query)
}

/// Lists a service's API keys by their handles.
#[utoipa::path(get, path = "/api/v1/services/{name}/api-keys", tag = "services", operation_id = "list_service_api_keys",
    params(("name" = String, Path, description = "The service's name."), PageQuery),
    responses((status = 200, description = "The keys' handles.", body = List<ApiKeyObject>),
        (status = 404, description = "There is no such service.")))]
pub(crate) async fn list_of_service(
    State(state): State<Arc<AdminState>>,
    names: Names,
    Params(query): Params<PageQuery>,
) -> Result<Body<List<ApiKeyObject>>, ApiError> {
    list(&state, &service(&names)?, &query)
}

/// Takes an API key of a client out.
#[utoipa::path(delete, path = "/api/v1/clients/{name}/api-keys/{id}", tag = "clients", operation_id = "delete_client_api_key",
    params(("name" = String, Path, description = "The client."), ("id" = String, Path, description = "The key's handle.")),
    responses((status = 204, description = "It is gone."), (status = 404, description = "There was none.")))]
pub(crate) async fn delete_of_client(ChangesBy(changes): ChangesBy, names: Names) -> Result<StatusCode, ApiError> {
    delete(&changes, client(&names)?, &names).await
}

/// Takes an API key of a service out.
#[utoipa::path(delete, path = "/api/v1/services/{name}/api-keys/{id}", tag = "services", operation_id = "delete_service_api_key",
    params(("name" = String, Path, description = "The service's name."), ("id" = String, Path, description = "The key's handle.")),
    responses((status = 204, description = "It is gone."), (status = 404, description = "There was none.")))]
pub(crate) async fn delete_of_service(ChangesBy(changes): ChangesBy, names: Names) -> Result<StatusCode, ApiError> {
    delete(&changes, service(&names)?, &names).await
}

fn client(names: &Names) -> Result<KeyOwner, ApiError> {
    names.find("name", "client").map(KeyOwner::Client)
}

fn service(names: &Names) -> Result<KeyOwner, ApiError> {
    names.find("name", "service").map(KeyOwner::Service)
}

async fn create(
    state: &AdminState,
    changes: &Changes,
    owner: KeyOwner,
    body: CreateApiKey,
) -> Result<(StatusCode, Body<CreatedApiKey>), ApiError> {
    let issued = api_keys::create(changes, owner, body.api_key, state.clock.unix_millis()).await?;
    let created = CreatedApiKey { id: issued.id, api_key: issued.key.expose().to_owned() };
    Ok((StatusCode::CREATED, Body(created)))
}

fn list(state: &AdminState, owner: &KeyOwner, query: &PageQuery) -> Result<Body<List<ApiKeyObject>>, ApiError> {
    let view = state.changes.view();
    api_keys::check_owner(&view, owner)?;
    let piece = query.cut(view.keys_of(owner).map(|(_, key)| (key.value.id.clone(), key.value.created_at)))?;
    Ok(Body(piece.map(|(id, created_at)| ApiKeyObject { id, created_at: rfc3339(created_at) })))
}

async fn delete(changes: &Changes, owner: KeyOwner, names: &Names) -> Result<StatusCode, ApiError> {
    api_keys::delete(changes, owner, names.text("id").to_owned()).await?;
    Ok(StatusCode::NO_CONTENT)
}
