//! The table that says where each endpoint of the control plane is.

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{delete, get, post};
use http::{Method, StatusCode, Uri};

use crate::api::{
    api_keys, audit, captures, certificates, client_secrets, client_tokens, clients, declarations, enrolments, explain,
    hosts, import, logs, metrics, registrations, routes, services, status, user_sessions, users,
};
use crate::auth::{DOCUMENT, HEALTH, METRICS, authorize};
use crate::openapi;
use crate::problem::ApiError;
use crate::state::AdminState;

/// Everything the control plane answers.
pub fn router(state: Arc<AdminState>) -> Router {
    Router::new()
        .route(HEALTH, get(status::health))
        .route(DOCUMENT, get(openapi::served))
        .route(METRICS, get(metrics::metrics))
        .route("/api/v1/status", get(status::status))
        .route("/api/v1/explain", post(explain::explain))
        .route("/api/v1/logs", get(logs::search))
        .route("/api/v1/captures", get(captures::list).delete(captures::clear))
        .route("/api/v1/captures/{request_id}", get(captures::show))
        .route("/api/v1/audit", get(audit::list))
        .route("/api/v1/audit/verify", get(audit::verify))
        .route("/api/v1/certificates", get(certificates::list))
        .route("/api/v1/services", get(services::list))
        .route("/api/v1/services/{name}/{version}", get(services::show).put(services::put).delete(services::delete))
        .route("/api/v1/services/{name}/api-keys", get(api_keys::list_of_service).post(api_keys::create_for_service))
        .route("/api/v1/services/{name}/api-keys/{id}", delete(api_keys::delete_of_service))
        .route("/api/v1/services/{name}/registration", get(registrations::show).delete(registrations::revoke))
        .route("/api/v1/services/{name}/registration/rotate", post(registrations::rotate))
        .route("/api/v1/routes", get(routes::list))
        .route("/api/v1/routes/{name}", get(routes::show).put(routes::put).delete(routes::delete))
        .route("/api/v1/hosts", get(hosts::list))
        .route("/api/v1/hosts/{name}", get(hosts::show).put(hosts::put).delete(hosts::delete))
        .route("/api/v1/declarations", get(declarations::show).put(declarations::apply))
        .route("/api/v1/declarations/plan", post(declarations::plan))
        .route("/api/v1/import", post(import::import))
        .route("/api/v1/clients", get(clients::list).post(clients::create))
        .route("/api/v1/clients/{name}", get(clients::show).put(clients::change).delete(clients::delete))
        .route("/api/v1/clients/{name}/api-keys", get(api_keys::list_of_client).post(api_keys::create_for_client))
        .route("/api/v1/clients/{name}/api-keys/{id}", delete(api_keys::delete_of_client))
        .route("/api/v1/clients/{name}/secrets", get(client_secrets::list).post(client_secrets::create))
        .route(
            "/api/v1/clients/{name}/secrets/{id}",
            get(client_secrets::show).put(client_secrets::change).delete(client_secrets::delete),
        )
        .route("/api/v1/clients/{name}/tokens", post(client_tokens::import))
        .route("/api/v1/enrolment-tokens", get(enrolments::list).post(enrolments::create))
        .route("/api/v1/enrolment-tokens/{name}", get(enrolments::show).delete(enrolments::delete))
        .route("/api/v1/users", get(users::list).post(users::create))
        .route("/api/v1/users/{username}", get(users::show).put(users::change).delete(users::delete))
        .route("/api/v1/users/{username}/sessions", get(user_sessions::list).delete(user_sessions::end_all))
        .route("/api/v1/users/{username}/sessions/{id}", delete(user_sessions::end))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(Arc::clone(&state), authorize))
        .with_state(state)
}

async fn unknown(uri: Uri) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "no_route", format!("nothing is at '{}'", uri.path()))
}

async fn wrong_method(method: Method) -> ApiError {
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", format!("this path does not answer {method}"))
}
