//! `/api/v1/users`: the people that log in.

use std::sync::Arc;

use axum::Json as Body;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use portcullis_core::model::Label;
use portcullis_core::secret::Secret;
use portcullis_identity::{User, UserChange};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::actor::By;
use crate::answer;
use crate::conditions::Conditions;
use crate::paging::{List, PageQuery, cursor};
use crate::problem::ApiError;
use crate::request::{Json, Names, Params, found};
use crate::state::AdminState;
use crate::time::rfc3339;

/// A user to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateUser {
    /// The user name.
    #[schema(value_type = String, max_length = 128)]
    username: Label,
    /// The password.
    #[schema(value_type = String, max_length = 1024)]
    password: Secret,
    /// What backends are told of the user: an object of at most 4 KiB as compact JSON; empty if absent.
    #[schema(value_type = Option<Object>)]
    user_info: Option<Value>,
}

/// A change of a user; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeUser {
    /// A new password; it ends the user's sessions.
    #[schema(value_type = Option<String>, max_length = 1024)]
    password: Option<Secret>,
    /// What backends are told of the user, in the sessions that are open too.
    #[schema(value_type = Option<Object>)]
    user_info: Option<Value>,
    /// Whether the user may log in; stays as it is if absent. `false` ends the user's sessions.
    enabled: Option<bool>,
}

/// A user as it stands: never the password.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = User)]
pub(crate) struct UserObject {
    /// The user name.
    username: String,
    /// What backends are told of the user.
    #[schema(value_type = Object)]
    user_info: Value,
    /// Whether the user may log in.
    enabled: bool,
    /// When it was made (RFC 3339).
    created_at: String,
    /// Counts up with every change, from 1; also the `ETag`.
    revision: u64,
}

impl From<User> for UserObject {
    fn from(user: User) -> Self {
        Self {
            username: user.username.to_string(),
            user_info: user.user_info,
            enabled: user.enabled,
            created_at: rfc3339(user.created_at),
            revision: user.revision,
        }
    }
}

/// Makes a user.
#[utoipa::path(post, path = "/api/v1/users", tag = "users", operation_id = "create_user",
    request_body = CreateUser,
    responses((status = 201, description = "Made.", body = UserObject, headers(("ETag", description = "Its revision."))),
        (status = 409, description = "The name is taken."),
        (status = 422, description = "The password or the information cannot be taken.")))]
pub(crate) async fn create(
    State(state): State<Arc<AdminState>>,
    By(actor): By,
    Json(body): Json<CreateUser>,
) -> Result<Response, ApiError> {
    let user_info = body.user_info.unwrap_or_else(|| Value::Object(serde_json::Map::new()));
    let user = state.users.create(&actor, body.username, body.password, user_info).await?;
    Ok(answer::made(user.revision, UserObject::from(user)))
}

/// Lists the users.
#[utoipa::path(get, path = "/api/v1/users", tag = "users", operation_id = "list_users",
    params(PageQuery),
    responses((status = 200, description = "The users, by name.", body = List<UserObject>)))]
pub(crate) async fn list(
    State(state): State<Arc<AdminState>>,
    Params(query): Params<PageQuery>,
) -> Result<Body<List<UserObject>>, ApiError> {
    let limit = query.limit()?;
    let after: Option<Label> = query.after()?;
    let wanted = u32::try_from(limit).unwrap_or(u32::MAX);
    let users = state.users.page(after.as_ref().map_or("", Label::as_str), wanted).await?;
    let next = match users.last() {
        Some(last) if users.len() == limit => {
            let more = state.users.page(last.username.as_str(), 1).await?;
            (!more.is_empty()).then(|| cursor(last.username.as_str()))
        }
        _ => None,
    };
    Ok(Body(List { items: users.into_iter().map(UserObject::from).collect(), next }))
}

/// Shows a user.
#[utoipa::path(get, path = "/api/v1/users/{username}", tag = "users", operation_id = "show_user",
    params(("username" = String, Path, description = "The user name.")),
    responses((status = 200, description = "The user.", body = UserObject, headers(("ETag", description = "Its revision."))),
        (status = 404, description = "There is none.")))]
pub(crate) async fn show(State(state): State<Arc<AdminState>>, names: Names) -> Result<Response, ApiError> {
    let username: Label = names.find("username", "user")?;
    let user = found(state.users.get(&username).await?, "user", &username)?;
    Ok(answer::shown(user.revision, UserObject::from(user)))
}

/// Changes a user.
#[utoipa::path(put, path = "/api/v1/users/{username}", tag = "users", operation_id = "change_user",
    params(("username" = String, Path, description = "The user name."),
        ("If-Match" = Option<String>, Header, description = "The revision to change.")),
    request_body = ChangeUser,
    responses((status = 200, description = "Changed.", body = UserObject, headers(("ETag", description = "Its revision."))),
        (status = 404, description = "There is none."),
        (status = 412, description = "The user is in another revision."),
        (status = 422, description = "The password or the information cannot be taken.")))]
pub(crate) async fn change(
    State(state): State<Arc<AdminState>>,
    By(actor): By,
    names: Names,
    conditions: Conditions,
    Json(body): Json<ChangeUser>,
) -> Result<Response, ApiError> {
    let username: Label = names.find("username", "user")?;
    let change = UserChange { password: body.password, user_info: body.user_info, enabled: body.enabled };
    let user = state.users.update(&actor, &username, change, move |current| conditions.check(current)).await?;
    Ok(answer::shown(user.revision, UserObject::from(user)))
}

/// Takes a user out and ends its sessions.
#[utoipa::path(delete, path = "/api/v1/users/{username}", tag = "users", operation_id = "delete_user",
    params(("username" = String, Path, description = "The user name."),
        ("If-Match" = Option<String>, Header, description = "The revision to delete.")),
    responses((status = 204, description = "It is gone."), (status = 404, description = "There was none."),
        (status = 412, description = "The user is in another revision.")))]
pub(crate) async fn delete(
    State(state): State<Arc<AdminState>>,
    By(actor): By,
    names: Names,
    conditions: Conditions,
) -> Result<StatusCode, ApiError> {
    let username: Label = names.find("username", "user")?;
    state.users.delete(&actor, &username, move |current| conditions.check(current)).await?;
    Ok(StatusCode::NO_CONTENT)
}
