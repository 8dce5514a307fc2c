//! `/api/v1/clients/{name}/secrets`: what clients get tokens, sign and encrypt with.

use std::sync::Arc;

use axum::Json as Body;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use portcullis_core::directory::Directory;
use portcullis_core::model::{ClientSecret, Label, SecretUses, Stored};
use portcullis_core::secret::Secret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::actor::ChangesBy;
use crate::answer;
use crate::api::enrolments::TimeToLive;
use crate::conditions::Conditions;
use crate::operations::client_secrets::{self, NewSecret, SecretChange};
use crate::paging::{List, PageQuery};
use crate::problem::ApiError;
use crate::request::{Json, Names, OptionalJson, Params, found};
use crate::state::AdminState;
use crate::time::{Moment, Span, rfc3339};

/// A secret to be made, or to be imported.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateClientSecret {
    /// The secret itself, where it exists already: 1 to 1024 bytes without control characters, and without a space at
    /// either end, of any form. A minted one if absent.
    #[schema(value_type = Option<String>, max_length = 1024)]
    secret: Option<Secret>,
    /// What it may be used for: `oauth` (to get tokens), `sign` (to sign calls), `seal` (to encrypt calls). All if absent.
    #[schema(value_type = Option<Vec<String>>, example = json!(["sign"]))]
    uses: Option<SecretUses>,
    /// From when on it is refused (RFC 3339); never if absent.
    #[schema(value_type = Option<String>, example = "2030-01-31T12:00:00Z")]
    not_after: Option<Moment>,
    /// The same as a span from now; only one of both.
    #[schema(value_type = Option<TimeToLive>)]
    ttl: Option<Span>,
}

/// A change of a secret.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeClientSecret {
    /// What it may be used for from now on; stays as it is if absent.
    #[schema(value_type = Option<Vec<String>>, example = json!(["sign"]))]
    uses: Option<SecretUses>,
    /// From when on it is refused (RFC 3339); stays as it is if absent.
    #[schema(value_type = Option<String>, example = "2030-01-31T12:00:00Z")]
    not_after: Option<Moment>,
    /// The same as a span from now; only one of both.
    #[schema(value_type = Option<TimeToLive>)]
    ttl: Option<Span>,
}

/// A secret, which is shown this once.
#[derive(Serialize, ToSchema)]
pub(crate) struct CreatedClientSecret {
    /// The handle it goes by.
    id: String,
    /// The secret.
    secret: String,
    /// What it may be used for.
    #[schema(value_type = Vec<String>)]
    uses: SecretUses,
    /// From when on it is refused (RFC 3339); null: never.
    #[schema(required)]
    not_after: Option<String>,
}

/// A secret as it is shown later: never the secret itself.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClientSecret)]
pub(crate) struct ClientSecretObject {
    /// The handle it goes by.
    id: String,
    /// What it may be used for: `oauth`, `sign`, `seal`.
    #[schema(value_type = Vec<String>)]
    uses: SecretUses,
    /// When it was made (RFC 3339).
    created_at: String,
    /// From when on it is refused (RFC 3339); null: never.
    #[schema(required)]
    not_after: Option<String>,
    /// When it was last used on this node, to the second (RFC 3339); null: not since the node has started.
    #[schema(required)]
    last_used: Option<String>,
    /// Counts up with every change, from 1; also the `ETag`.
    revision: u64,
}

impl ClientSecretObject {
    fn of(directory: &Directory, client: &Label, id: &str, stored: &Stored<ClientSecret>) -> Self {
        let last_used = directory.read(|entries| {
            entries.secrets(client).iter().find(|secret| *secret.id == *id).and_then(|secret| secret.last_used())
        });
        Self {
            id: id.to_owned(),
            uses: stored.value.uses,
            created_at: rfc3339(stored.value.created_at),
            not_after: stored.value.not_after.map(rfc3339),
            last_used: last_used.map(rfc3339),
            revision: stored.revision,
        }
    }
}

/// Makes a secret for a client, or imports one that exists already.
#[utoipa::path(post, path = "/api/v1/clients/{name}/secrets", tag = "clients", operation_id = "create_client_secret",
    params(("name" = String, Path, description = "The client.")),
    request_body = Option<CreateClientSecret>,
    responses((status = 201, description = "Made; the secret is shown this once.", body = CreatedClientSecret,
            headers(("ETag", description = "Its revision."))),
        (status = 404, description = "There is no such client."),
        (status = 409, description = "The client has two secrets; the message names the older one, to be retired first."),
        (status = 422, description = "The secret cannot be one, has no uses, or would have ended already.")))]
pub(crate) async fn create(
    State(state): State<Arc<AdminState>>,
    ChangesBy(changes): ChangesBy,
    names: Names,
    OptionalJson(body): OptionalJson<CreateClientSecret>,
) -> Result<Response, ApiError> {
    let now = state.clock.unix_millis();
    let uses = body.uses.unwrap_or(SecretUses::all());
    let not_after = end(body.not_after, body.ttl, now)?;
    let new = NewSecret { brought: body.secret, uses, not_after };
    let client = names.find("name", "client")?;
    let issued = client_secrets::create(&changes, &state.master, now, client, new).await?;
    let created = CreatedClientSecret {
        id: issued.id,
        secret: issued.secret.expose().to_owned(),
        uses,
        not_after: not_after.map(rfc3339),
    };
    Ok(answer::made(issued.revision, created))
}

/// Lists a client's secrets by their handles.
#[utoipa::path(get, path = "/api/v1/clients/{name}/secrets", tag = "clients", operation_id = "list_client_secrets",
    params(("name" = String, Path, description = "The client."), PageQuery),
    responses((status = 200, description = "The secrets, without their values.", body = List<ClientSecretObject>),
        (status = 404, description = "There is no such client.")))]
pub(crate) async fn list(
    State(state): State<Arc<AdminState>>,
    names: Names,
    Params(query): Params<PageQuery>,
) -> Result<Body<List<ClientSecretObject>>, ApiError> {
    let client: Label = names.find("name", "client")?;
    let view = state.changes.view();
    client_secrets::check_client(&view, &client)?;
    let piece = query.cut(view.secrets(&client).map(|(id, stored)| (id.to_owned(), stored)))?;
    Ok(Body(piece.map(|(id, stored)| ClientSecretObject::of(&state.directory, &client, &id, stored))))
}

/// Shows a client's secret, without its value.
#[utoipa::path(get, path = "/api/v1/clients/{name}/secrets/{id}", tag = "clients", operation_id = "show_client_secret",
    params(("name" = String, Path, description = "The client."), ("id" = String, Path, description = "The secret's handle.")),
    responses((status = 200, description = "The secret, without its value.", body = ClientSecretObject,
            headers(("ETag", description = "Its revision."))),
        (status = 404, description = "There is none.")))]
pub(crate) async fn show(State(state): State<Arc<AdminState>>, names: Names) -> Result<Response, ApiError> {
    let (client, id): (Label, _) = (names.find("name", "client")?, names.text("id"));
    let view = state.changes.view();
    client_secrets::check_client(&view, &client)?;
    let stored = found(view.secret(&client, id), "secret", &id)?;
    Ok(answer::shown(stored.revision, ClientSecretObject::of(&state.directory, &client, id, stored)))
}

/// Changes until when a client's secret is good, and for what. Both are said anew: without an end it has none.
#[utoipa::path(put, path = "/api/v1/clients/{name}/secrets/{id}", tag = "clients", operation_id = "change_client_secret",
    params(("name" = String, Path, description = "The client."), ("id" = String, Path, description = "The secret's handle."),
        ("If-Match" = Option<String>, Header, description = "The revision to change.")),
    request_body = ChangeClientSecret,
    responses((status = 200, description = "Changed.", body = ClientSecretObject, headers(("ETag", description = "Its revision."))),
        (status = 404, description = "There is none."),
        (status = 409, description = "The secret has ended."),
        (status = 412, description = "The secret is in another revision."),
        (status = 422, description = "It would have no uses, or would have ended already.")))]
pub(crate) async fn change(
    State(state): State<Arc<AdminState>>,
    ChangesBy(changes): ChangesBy,
    names: Names,
    conditions: Conditions,
    Json(body): Json<ChangeClientSecret>,
) -> Result<Response, ApiError> {
    let (client, id): (Label, _) = (names.find("name", "client")?, names.text("id").to_owned());
    let now = state.clock.unix_millis();
    let change = SecretChange { uses: body.uses, not_after: end(body.not_after, body.ttl, now)? };
    let stored = client_secrets::change(&changes, now, (client.clone(), id.clone()), change, conditions).await?;
    Ok(answer::shown(stored.revision, ClientSecretObject::of(&state.directory, &client, &id, &stored)))
}

/// Retires a client's secret at once.
#[utoipa::path(delete, path = "/api/v1/clients/{name}/secrets/{id}", tag = "clients", operation_id = "delete_client_secret",
    params(("name" = String, Path, description = "The client."), ("id" = String, Path, description = "The secret's handle."),
        ("If-Match" = Option<String>, Header, description = "The revision to delete.")),
    responses((status = 204, description = "It is gone."), (status = 404, description = "There was none."),
        (status = 412, description = "The secret is in another revision.")))]
pub(crate) async fn delete(
    ChangesBy(changes): ChangesBy,
    names: Names,
    conditions: Conditions,
) -> Result<StatusCode, ApiError> {
    let secret = (names.find("name", "client")?, names.text("id").to_owned());
    client_secrets::delete(&changes, secret, conditions).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// When a secret ends that is declared to end then, or so long from now.
fn end(not_after: Option<Moment>, ttl: Option<Span>, now: u64) -> Result<Option<u64>, ApiError> {
    match (not_after, ttl) {
        (Some(_), Some(_)) => {
            Err(ApiError::malformed("invalid_body", "expected either 'not_after' or 'ttl', found both"))
        }
        (Some(moment), None) => Ok(Some(moment.unix_millis)),
        (None, ttl) => Ok(ttl.map(|ttl| now.saturating_add(ttl.millis))),
    }
}
