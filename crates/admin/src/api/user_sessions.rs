//! `/api/v1/users/{username}/sessions`: where a user is logged in, and ending that.

use std::sync::Arc;

use axum::Json as Body;
use axum::extract::State;
use http::StatusCode;
use portcullis_core::call::hex;
use portcullis_core::model::Label;
use portcullis_core::ports::{Session, SessionId};
use serde::Serialize;
use utoipa::ToSchema;

use crate::actor::By;
use crate::paging::List;
use crate::problem::ApiError;
use crate::request::Names;
use crate::state::AdminState;
use crate::time::rfc3339;

/// A session: one login of a user through a client.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Session)]
pub(crate) struct SessionObject {
    /// Its id; `sid` in its access tokens.
    id: String,
    /// The client it was opened through.
    client: String,
    /// When it was opened (RFC 3339).
    created_at: String,
    /// When it was last refreshed (RFC 3339).
    refreshed_at: String,
    /// When it ends, unless it is refreshed before (RFC 3339).
    expires_at: String,
}

impl From<Session> for SessionObject {
    fn from(session: Session) -> Self {
        Self {
            id: hex(&session.id.0),
            client: session.client.to_string(),
            created_at: rfc3339(session.created_at),
            refreshed_at: rfc3339(session.rotated_at),
            expires_at: rfc3339(session.expires_at),
        }
    }
}

/// Lists the sessions of a user.
#[utoipa::path(get, path = "/api/v1/users/{username}/sessions", tag = "users", operation_id = "list_user_sessions",
    params(("username" = String, Path, description = "The user name.")),
    responses((status = 200, description = "All sessions, the oldest first; there is no further page.",
            body = List<SessionObject>),
        (status = 404, description = "There is no such user.")))]
pub(crate) async fn list(
    State(state): State<Arc<AdminState>>,
    names: Names,
) -> Result<Body<List<SessionObject>>, ApiError> {
    let username: Label = names.find("username", "user")?;
    let sessions = state.users.sessions(&username).await?;
    Ok(Body(List { items: sessions.into_iter().map(SessionObject::from).collect(), next: None }))
}

/// Ends every session of a user.
#[utoipa::path(delete, path = "/api/v1/users/{username}/sessions", tag = "users", operation_id = "end_user_sessions",
    params(("username" = String, Path, description = "The user name.")),
    responses((status = 204, description = "None is open any more."),
        (status = 404, description = "There is no such user.")))]
pub(crate) async fn end_all(
    State(state): State<Arc<AdminState>>,
    By(actor): By,
    names: Names,
) -> Result<StatusCode, ApiError> {
    let username: Label = names.find("username", "user")?;
    state.users.end_sessions(&actor, &username, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends a session of a user.
#[utoipa::path(delete, path = "/api/v1/users/{username}/sessions/{id}", tag = "users",
    operation_id = "end_user_session",
    params(("username" = String, Path, description = "The user name."),
        ("id" = String, Path, description = "The id of the session.")),
    responses((status = 204, description = "It has ended."),
        (status = 404, description = "There is no such user, or no such session.")))]
pub(crate) async fn end(
    State(state): State<Arc<AdminState>>,
    By(actor): By,
    names: Names,
) -> Result<StatusCode, ApiError> {
    let username: Label = names.find("username", "user")?;
    let id: String = names.find("id", "session")?;
    let missing = || ApiError::not_found(format!("session '{id}' of the user '{username}'"));
    let sessions = state.users.sessions(&username).await?;
    let session: SessionId = sessions.iter().map(|it| it.id).find(|it| hex(&it.0) == id).ok_or_else(missing)?;
    let ended = state.users.end_sessions(&actor, &username, Some(session)).await?;
    if ended == 0 { Err(missing()) } else { Ok(StatusCode::NO_CONTENT) }
}
