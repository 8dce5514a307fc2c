//! `/api/v1/clients`: the apps and machines that call services.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json as Body;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use portcullis_core::model::{AuthUrl, Client, ClientKey, Grant, Label, LeastHmac, Owner, Problem, TokenTtl};
use portcullis_core::secret::Secret;
use portcullis_core::settings;
use portcullis_routing::change::Declared;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::local;
use crate::actor::ChangesBy;
use crate::answer;
use crate::conditions::Conditions;
use crate::declaration::schemas::{ClientDeclaration, ClientKeyDeclaration};
use crate::operations::clients::{self, ClientChange, LoginChange, NewClient};
use crate::paging::{List, PageQuery};
use crate::problem::ApiError;
use crate::request::{Json, Names, Params, found};
use crate::state::AdminState;

/// A client to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateClient {
    /// Its name.
    #[schema(value_type = String, max_length = 128)]
    name: Label,
    /// What it may call: `*`, `name`, `name/*` or `name/version`.
    #[schema(value_type = Option<Vec<String>>, max_items = 1000)]
    services: Option<Vec<Grant>>,
    /// Its access key; a random one if absent.
    #[schema(max_length = 256)]
    access_key: Option<String>,
    /// Its secret; a minted one if absent.
    #[schema(value_type = Option<String>, max_length = 1024)]
    secret_key: Option<Secret>,
    /// Public keys that verify its signatures.
    #[schema(value_type = Option<Vec<ClientKeyDeclaration>>, max_items = 8)]
    keys: Option<Value>,
    /// The weakest HMAC with which it may sign calls in the dialect `fo`: `sha1` or `sha256`; `sha1` if absent.
    #[schema(value_type = Option<String>)]
    least_algorithm: Option<LeastHmac>,
    /// The Auth API that is asked whether a user may log in, an `http` or `https` URL; the gateway's own users log in if absent.
    #[schema(value_type = Option<String>, max_length = 2048)]
    login_auth_url: Option<AuthUrl>,
    /// The same for logins by SMS; there are none if absent.
    #[schema(value_type = Option<String>, max_length = 2048)]
    sms_login_auth_url: Option<AuthUrl>,
    /// The Auth API that changes passwords; the gateway's own users change theirs if absent.
    #[schema(value_type = Option<String>, max_length = 2048)]
    change_password_url: Option<AuthUrl>,
    /// The same for changes by SMS; there are none if absent.
    #[schema(value_type = Option<String>, max_length = 2048)]
    sms_change_password_url: Option<AuthUrl>,
    /// How long access tokens of `/auth/v1` last, in seconds, or like `7d`; 7 days if absent.
    #[schema(value_type = Option<Value>)]
    access_token_ttl: Option<TokenTtl>,
    /// How long refresh tokens of `/auth/v1` last, longer than access tokens; 20 days if absent.
    #[schema(value_type = Option<Value>)]
    refresh_token_ttl: Option<TokenTtl>,
    /// Whether a login ends every other session that the user has through this client; `false` if absent.
    single_login: Option<bool>,
}

/// A client with its secret, which is shown this once.
#[derive(Serialize, ToSchema)]
pub(crate) struct CreatedClient {
    /// Its name.
    name: String,
    /// Its access key.
    access_key: String,
    /// Its secret.
    secret_key: String,
    /// What it may call.
    #[schema(value_type = Vec<String>)]
    services: Vec<Grant>,
}

/// A change of a client.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeClient {
    /// What it may call from now on.
    #[schema(value_type = Vec<String>, max_items = 1000)]
    services: Vec<Grant>,
    /// Whether it may call at all; stays as it is if absent. `false` ends the sessions opened through it.
    enabled: Option<bool>,
    /// Public keys that verify its signatures; stay as they are if absent.
    #[schema(value_type = Option<Vec<ClientKeyDeclaration>>, max_items = 8)]
    keys: Option<Value>,
    /// The weakest HMAC with which it may sign calls in the dialect `fo`: `sha1` or `sha256`; stays as it is if absent.
    #[schema(value_type = Option<String>)]
    least_algorithm: Option<LeastHmac>,
    /// The Auth API that is asked whether a user may log in; stays as it is if absent, none with `null`.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 2048)]
    login_auth_url: Option<Option<AuthUrl>>,
    /// The same for logins by SMS; stays as it is if absent, none with `null`.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 2048)]
    sms_login_auth_url: Option<Option<AuthUrl>>,
    /// The Auth API that changes passwords; stays as it is if absent, none with `null`.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 2048)]
    change_password_url: Option<Option<AuthUrl>>,
    /// The same for changes by SMS; stays as it is if absent, none with `null`.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 2048)]
    sms_change_password_url: Option<Option<AuthUrl>>,
    /// How long access tokens of `/auth/v1` last; stays as it is if absent, 7 days with `null`.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Value>)]
    access_token_ttl: Option<Option<TokenTtl>>,
    /// How long refresh tokens of `/auth/v1` last; stays as it is if absent, 20 days with `null`.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Value>)]
    refresh_token_ttl: Option<Option<TokenTtl>>,
    /// Whether a login ends every other session that the user has through this client; stays as it is if absent.
    single_login: Option<bool>,
}

/// A client as it stands.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Client)]
pub(crate) struct ClientObject {
    /// Its name.
    name: String,
    #[serde(flatten)]
    #[schema(value_type = ClientDeclaration)]
    declared: Client,
    /// The built-in client has no access key.
    #[serde(flatten)]
    #[schema(ignore)]
    keyless: BTreeMap<&'static str, Value>,
    /// Counts up with every change, from 1; also the `ETag`.
    revision: u64,
    /// Who it belongs to: `api` or `file`.
    #[schema(value_type = String)]
    owner: Owner,
}

impl ClientObject {
    fn new(name: &Label, client: &Client, revision: u64, owner: Owner) -> Self {
        let keyless = client.access_key.is_none().then_some(("access_key", Value::Null));
        let (name, keyless) = (name.to_string(), keyless.into_iter().collect());
        Self { name, declared: client.clone(), keyless, revision, owner }
    }
}

/// Makes a client.
#[utoipa::path(post, path = "/api/v1/clients", tag = "clients", operation_id = "create_client",
    request_body = CreateClient,
    responses((status = 201, description = "Made; the secret is shown this once.", body = CreatedClient,
            headers(("ETag", description = "Its revision."))),
        (status = 409, description = "The name or the access key is taken."),
        (status = 422, description = "A key cannot be one, or lifetimes do not go together.")))]
pub(crate) async fn create(
    State(state): State<Arc<AdminState>>,
    ChangesBy(changes): ChangesBy,
    Json(body): Json<CreateClient>,
) -> Result<Response, ApiError> {
    let services = body.services.unwrap_or_default();
    let new = NewClient {
        name: body.name.clone(),
        services: services.clone(),
        access_key: body.access_key,
        secret_key: body.secret_key,
        keys: read_keys(body.keys.as_ref())?.unwrap_or_default(),
        least_algorithm: body.least_algorithm.unwrap_or_default(),
        logins: LoginChange {
            login_auth_url: Some(body.login_auth_url),
            sms_login_auth_url: Some(body.sms_login_auth_url),
            change_password_url: Some(body.change_password_url),
            sms_change_password_url: Some(body.sms_change_password_url),
            access_token_ttl: Some(body.access_token_ttl),
            refresh_token_ttl: Some(body.refresh_token_ttl),
            single_login: body.single_login,
        },
    };
    let issued = clients::create(&changes, &state.master, state.clock.unix_millis(), new).await;
    let issued = issued.map_err(|error| local::refuse(&Declared::Client(body.name.clone()), error))?;
    let created = CreatedClient {
        name: body.name.to_string(),
        access_key: issued.access_key,
        secret_key: issued.secret_key.expose().to_owned(),
        services,
    };
    Ok(answer::made(issued.revision, created))
}

/// Lists the clients.
#[utoipa::path(get, path = "/api/v1/clients", tag = "clients", operation_id = "list_clients",
    params(PageQuery),
    responses((status = 200, description = "The clients, by name.", body = List<ClientObject>)))]
pub(crate) async fn list(
    State(state): State<Arc<AdminState>>,
    Params(query): Params<PageQuery>,
) -> Result<Body<List<ClientObject>>, ApiError> {
    let view = state.changes.view();
    query.show(view.clients(), |name, it| ClientObject::new(name, &it.value, it.revision, it.owner))
}

/// Shows a client.
#[utoipa::path(get, path = "/api/v1/clients/{name}", tag = "clients", operation_id = "show_client",
    params(("name" = String, Path, description = "The name.")),
    responses((status = 200, description = "The client.", body = ClientObject, headers(("ETag", description = "Its revision."))),
        (status = 404, description = "There is none.")))]
pub(crate) async fn show(State(state): State<Arc<AdminState>>, names: Names) -> Result<Response, ApiError> {
    let name: Label = names.find("name", "client")?;
    let view = state.changes.view();
    let stored = found(view.client(&name), "client", &name)?;
    Ok(answer::shown(stored.revision, ClientObject::new(&name, &stored.value, stored.revision, stored.owner)))
}

/// Changes a client: what it may call, and how users log in through it.
#[utoipa::path(put, path = "/api/v1/clients/{name}", tag = "clients", operation_id = "change_client",
    params(("name" = String, Path, description = "The name."),
        ("If-Match" = Option<String>, Header, description = "The revision to change.")),
    request_body = ChangeClient,
    responses((status = 200, description = "Changed.", body = ClientObject, headers(("ETag", description = "Its revision."))),
        (status = 404, description = "There is none."),
        (status = 412, description = "The client is in another revision."),
        (status = 422, description = "A key cannot be one, or lifetimes do not go together.")))]
pub(crate) async fn change(
    ChangesBy(changes): ChangesBy,
    names: Names,
    conditions: Conditions,
    Json(body): Json<ChangeClient>,
) -> Result<Response, ApiError> {
    let name: Label = names.find("name", "client")?;
    let keys = read_keys(body.keys.as_ref())?;
    let logins = LoginChange {
        login_auth_url: body.login_auth_url,
        sms_login_auth_url: body.sms_login_auth_url,
        change_password_url: body.change_password_url,
        sms_change_password_url: body.sms_change_password_url,
        access_token_ttl: body.access_token_ttl,
        refresh_token_ttl: body.refresh_token_ttl,
        single_login: body.single_login,
    };
    let (services, enabled, least_algorithm) = (body.services, body.enabled, body.least_algorithm);
    let change = ClientChange { services, enabled, keys, least_algorithm, logins };
    let changed = clients::change(&changes, name.clone(), change, conditions).await;
    let changed = changed.map_err(|error| local::refuse(&Declared::Client(name.clone()), error))?;
    let object = ClientObject::new(&name, &changed.client, changed.revision, changed.owner);
    Ok(answer::shown(changed.revision, object))
}

/// Takes a client out, with its keys, its secrets and the sessions opened through it.
#[utoipa::path(delete, path = "/api/v1/clients/{name}", tag = "clients", operation_id = "delete_client",
    params(("name" = String, Path, description = "The name."),
        ("If-Match" = Option<String>, Header, description = "The revision to delete.")),
    responses((status = 204, description = "It is gone."), (status = 404, description = "There was none."),
        (status = 409, description = "It is the built-in client, or a route is for it."),
        (status = 412, description = "The client is in another revision.")))]
pub(crate) async fn delete(
    ChangesBy(changes): ChangesBy,
    names: Names,
    conditions: Conditions,
) -> Result<StatusCode, ApiError> {
    clients::delete(&changes, names.find("name", "client")?, conditions).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A field that is there, be it with `null`.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Reads public keys, or tells everything that is wrong with their form. No message repeats a value: it may be a private
/// key.
fn read_keys(keys: Option<&Value>) -> Result<Option<Vec<ClientKey>>, ApiError> {
    let under = |problems: Vec<Problem>| {
        let named = |problem: Problem| match problem.path.starts_with('[') {
            true => Problem { path: format!("keys{}", problem.path), ..problem },
            false => problem.under("keys"),
        };
        ApiError::invalid(problems.into_iter().map(named).collect())
    };
    keys.map(|keys| settings::parse(keys).map_err(under)).transpose()
}
