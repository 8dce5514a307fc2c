//! `/api/v1/services/{name}/registration`: what a service that registered itself may change, and the key to it.

use std::sync::Arc;

use axum::Json as Body;
use axum::extract::State;
use http::StatusCode;
use portcullis_core::model::Name;
use serde::Serialize;
use utoipa::ToSchema;

use crate::actor::ChangesBy;
use crate::operations::registrations;
use crate::problem::ApiError;
use crate::request::Names;
use crate::state::AdminState;
use crate::time::rfc3339;

/// A registration as it stands: never its key.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Registration)]
pub(crate) struct RegistrationObject {
    /// The service's name.
    name: String,
    /// The enrolment token it was registered with.
    enrolment: String,
    /// When that was (RFC 3339).
    created_at: String,
    /// When its key was last exchanged for another (RFC 3339); null: never.
    #[schema(required)]
    rotated_at: Option<String>,
    /// When the service last registered or renewed itself on this node (RFC 3339); null: not since the node started.
    #[schema(required)]
    last_used_at: Option<String>,
    /// The versions it may change: those it made, without those an operator has adopted since.
    versions: Vec<String>,
}

/// The new key of a registration, which is shown this once.
#[derive(Serialize, ToSchema)]
pub(crate) struct RotatedRegistration {
    /// The service's name.
    name: String,
    /// The key.
    registration_key: String,
}

/// Shows the registration of a name.
#[utoipa::path(get, path = "/api/v1/services/{name}/registration", tag = "services", operation_id = "show_registration",
    params(("name" = String, Path, description = "The service's name.")),
    responses((status = 200, description = "The registration.", body = RegistrationObject),
        (status = 404, description = "Nobody has registered this name, or the registration was revoked.")))]
pub(crate) async fn show(
    State(state): State<Arc<AdminState>>,
    names: Names,
) -> Result<Body<RegistrationObject>, ApiError> {
    let name: Name = names.find("name", "service")?;
    let view = state.changes.view();
    let registration = &registrations::find(&view, &name)?.value;
    let versions = registrations::versions(&view, &name);
    Ok(Body(RegistrationObject {
        name: name.to_string(),
        enrolment: registration.enrolment.to_string(),
        created_at: rfc3339(registration.created_at),
        rotated_at: registration.rotated_at.map(rfc3339),
        last_used_at: state.registrar.last_heard(&name).map(rfc3339),
        versions: versions.into_iter().map(ToString::to_string).collect(),
    }))
}

/// Revokes the registration of a name: its key changes nothing any more. The services and their API keys stay, and calls
/// go on, until an operator deletes them; nobody else can register the name before.
#[utoipa::path(delete, path = "/api/v1/services/{name}/registration", tag = "services", operation_id = "revoke_registration",
    params(("name" = String, Path, description = "The service's name.")),
    responses((status = 204, description = "It is revoked."), (status = 404, description = "There was none.")))]
pub(crate) async fn revoke(ChangesBy(changes): ChangesBy, names: Names) -> Result<StatusCode, ApiError> {
    registrations::revoke(&changes, names.find("name", "service")?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Exchanges the key of a registration for another. The former is good for nothing from then on.
#[utoipa::path(post, path = "/api/v1/services/{name}/registration/rotate", tag = "services",
    operation_id = "rotate_registration",
    params(("name" = String, Path, description = "The service's name.")),
    responses((status = 200, description = "Exchanged; the new key is shown this once.", body = RotatedRegistration),
        (status = 404, description = "There is no registration of this name.")))]
pub(crate) async fn rotate(
    State(state): State<Arc<AdminState>>,
    ChangesBy(changes): ChangesBy,
    names: Names,
) -> Result<Body<RotatedRegistration>, ApiError> {
    let name: Name = names.find("name", "service")?;
    let key = registrations::rotate(&changes, name.clone(), state.clock.unix_millis()).await?;
    Ok(Body(RotatedRegistration { name: name.to_string(), registration_key: key.expose().to_owned() }))
}
