//! The OpenAPI 3.1 document: gathered from the handlers, so that it says what they do.

mod data_plane;
mod declared;

use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use serde_json::Value;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, OpenApi as Document, PathItem, Ref, RefOr, ResponseBuilder, Server};
use utoipa::{Modify, OpenApi};

use crate::api::{
    api_keys, audit, captures, certificates, client_secrets, client_tokens, clients, declarations, enrolments, explain,
    hosts, import, logs, metrics, registrations, routes, services, status, user_sessions, users,
};
use crate::problem::ProblemDetails;

const DATA: &str = "http://127.0.0.1:6500";

#[derive(OpenApi)]
#[openapi(
    info(title = "Portcullis", description = "The control plane's API, and the data plane's built-in endpoints."),
    paths(
        services::list, services::show, services::put, services::delete,
        registrations::show, registrations::revoke, registrations::rotate,
        routes::list, routes::show, routes::put, routes::delete,
        hosts::list, hosts::show, hosts::put, hosts::delete,
        declarations::show, declarations::apply, declarations::plan, import::import,
        api_keys::create_for_service, api_keys::list_of_service, api_keys::delete_of_service,
        clients::create, clients::list, clients::show, clients::change, clients::delete,
        api_keys::create_for_client, api_keys::list_of_client, api_keys::delete_of_client,
        client_secrets::create, client_secrets::list, client_secrets::show, client_secrets::change, client_secrets::delete,
        client_tokens::import,
        enrolments::create, enrolments::list, enrolments::show, enrolments::delete,
        users::create, users::list, users::show, users::change, users::delete,
        user_sessions::list, user_sessions::end_all, user_sessions::end,
        logs::search, captures::list, captures::show, captures::clear, audit::list, audit::verify,
        certificates::list,
        explain::explain, status::status, served, status::health, metrics::metrics,
        data_plane::register, data_plane::token, data_plane::refresh, data_plane::revoke,
    ),
    components(schemas(ProblemDetails)),
    security(("admin_token" = [])),
    servers((url = "http://127.0.0.1:6501", description = "The control plane.")),
    modifiers(&Finish),
)]
struct Api;

/// The document as indented JSON.
pub fn openapi_json() -> String {
    serde_json::to_string_pretty(&document()).expect("a value with texts for keys is JSON")
}

/// This document. Wants no token.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "node", operation_id = "openapi", security(()),
    responses((status = 200, description = "The OpenAPI 3.1 document.", body = Object)))]
pub(crate) async fn served() -> Response {
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], openapi_json()).into_response()
}

fn document() -> Value {
    let mut document = serde_json::to_value(Api::openapi()).expect("a document has texts for keys");
    declared::describe(&mut document);
    document
}

/// Puts in what is the same everywhere: how to show who one is, and how errors look.
struct Finish;

impl Modify for Finish {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_default();
        let bearer = |description: &str| {
            let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(description)).build();
            SecurityScheme::Http(scheme)
        };
        components.add_security_scheme("admin_token", bearer("The admin token, from the file `admin.token`."));
        let token =
            "The metrics token, from the file `metrics.token` or `metrics.token_file`. It opens `/metrics` alone.";
        components.add_security_scheme("metrics_token", bearer(token));
        components.add_security_scheme("enrolment", bearer("An enrolment token or a registration key."));
        let api_key = ApiKeyValue::with_description("X-API-Key", "An API key of a client.");
        components.add_security_scheme("api_key", SecurityScheme::ApiKey(ApiKey::Header(api_key)));
        for (path, item) in &mut document.paths.paths {
            let data_plane = data_plane::PATHS.contains(&path.as_str());
            for operation in operations(item) {
                if data_plane {
                    let mut server = Server::new(DATA);
                    server.description = Some("The data plane.".to_owned());
                    operation.servers = Some(vec![server]);
                }
                describe_errors(operation);
            }
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete].into_iter().flatten()
}

/// Every error that is told has the problem body, and so has every one that is not.
fn describe_errors(operation: &mut Operation) {
    let problem = || Content::new(Some(RefOr::Ref(Ref::from_schema_name("ProblemDetails"))));
    for (status, response) in &mut operation.responses.responses {
        if let (true, RefOr::T(response)) = (status.starts_with('4'), response) {
            response.content.insert("application/problem+json".to_owned(), RefOr::T(problem()));
        }
    }
    let other =
        ResponseBuilder::new().description("Any other error.").content("application/problem+json", problem()).build();
    operation.responses.responses.insert("default".to_owned(), RefOr::T(other));
}

#[cfg(test)]
mod tests;
