//! `/api/v1/services`: declared and registered backends.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::Json as Body;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use portcullis_core::model::{
    Ambiguous, Name, Owner, Problem, Protocol, Service, ServiceId, Stored, TargetTls, TlsVersion,
};
use portcullis_routing::change::shadows::Shadows;
use portcullis_routing::change::sharing::SharedTargets;
use portcullis_routing::change::{Declared, Edit, View};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::local;
use crate::actor::ChangesBy;
use crate::answer;
use crate::bounds::MAX_TARGETS;
use crate::conditions::Conditions;
use crate::declaration;
use crate::operations::services::{self, too_many_targets};
use crate::paging::{List, PageQuery};
use crate::problem::ApiError;
use crate::request::{Json, Names, Params, found};
use crate::state::AdminState;

/// What is declared of a service.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ServiceDeclaration {
    /// Where its instances are.
    #[schema(min_items = 1, max_items = 1000)]
    targets: Vec<TargetDeclaration>,
    /// Which credentials a call needs: alternatives, each a list of kinds (`bearer`, `api_key`) that must all be
    /// there. Empty: open.
    #[schema(required = false, default = json!([["bearer", "api_key"]]))]
    require: Vec<Vec<String>>,
    /// Audiences accepted in bearer tokens beside the issuer, `name` and `name/version`.
    #[schema(required = false, max_items = 64)]
    audiences: Vec<String>,
    /// Which version of HTTP its targets are spoken to in: `auto` (`https` targets choose out of HTTP/2 and HTTP/1.1,
    /// `http` targets get HTTP/1.1), `http1`, `h2` (over TLS, or nothing) or `h2c` (in clear, which they are known to
    /// speak).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, pattern = "^(auto|http1|h2|h2c)$", default = "auto")]
    protocol: Option<&'static str>,
    /// Whether calls reach it under `/name/version`, beside the routes that lead to it. If absent: as the node's setting
    /// `default_route` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    default_route: Option<bool>,
    /// TLS to its targets, which are all `https` then.
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<TlsDeclaration>,
    /// Whether calls whose path has parameters (`;` or `%3B`) are refused with 400, `refuse`, or taken and forwarded as
    /// sent, `keep`. With `keep`, the path as it is, decoded, and without its parameters must find the same route and the
    /// same end in every rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, pattern = "^(refuse|keep)$", default = "refuse")]
    path_parameters: Option<&'static str>,
    /// The same for encoded slashes (`%2F`), which separate no segments.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, pattern = "^(refuse|keep)$", default = "refuse")]
    encoded_slash: Option<&'static str>,
    /// Whether upper and lower case are the same in the paths of its routes and rules.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false, default = false)]
    case_insensitive: bool,
    /// Settings of policies by kind.
    #[schema(required = false, value_type = BTreeMap<String, Object>)]
    policies: BTreeMap<String, Value>,
}

/// One instance of a service.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Target)]
pub(crate) struct TargetDeclaration {
    /// The base URL calls are forwarded to: `http://host[:port][/base]`, or `https://…` over TLS.
    #[schema(example = "http://127.0.0.1:9001")]
    url: String,
    /// The share of calls it gets.
    #[schema(required = false, minimum = 1, maximum = 1000, default = 1)]
    weight: u16,
    /// The name the instance registered itself under.
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
}

/// How the targets of a service prove who they are over TLS, and what they are shown. Without it, `https` targets prove
/// their hosts to the trusted roots of the gateway's machine. Whether they do is always checked.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TargetTls)]
pub(crate) struct TlsDeclaration {
    /// Certificates of authorities in PEM, at most 64 KiB: they alone are trusted, in place of the machine's roots.
    #[serde(skip_serializing_if = "Option::is_none")]
    ca: Option<String>,
    /// The name that is asked for and that certificates must be for, in place of each target's host.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "users.internal")]
    server_name: Option<String>,
    /// The file, below the gateway's data directory, of the certificate chain it shows to targets, in PEM. Read anew
    /// when it changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "tls/gateway.pem")]
    client_certificate: Option<String>,
    /// The file, below the gateway's data directory, of the private key of that chain, in PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "tls/gateway.key")]
    client_key: Option<String>,
    /// SHA-256 hashes of public keys (SubjectPublicKeyInfo) in Base64: a target's own must be one of them, besides
    /// everything else.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false, max_items = 16)]
    pins: Vec<String>,
    /// The lowest version of TLS that is spoken: `1.2`, the default, or `1.3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    min_version: Option<&'static str>,
}

impl TlsDeclaration {
    fn of(tls: &TargetTls) -> Self {
        Self {
            ca: tls.ca.clone(),
            server_name: tls.server_name.clone(),
            client_certificate: tls.client_certificate.clone(),
            client_key: tls.client_key.clone(),
            pins: tls.pins.clone(),
            min_version: tls.min_version.map(TlsVersion::as_str),
        }
    }
}

/// A service as it stands.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Service)]
pub(crate) struct ServiceObject {
    /// Its name, the first segment of its path.
    name: String,
    /// Its version, the second segment.
    version: String,
    /// The path under which apps call it, beside the routes that lead to it; null if it has none of its own.
    #[schema(required)]
    path: Option<String>,
    /// The routes to which calls under that path go instead, all of them or some, on all hosts or some: of a service that
    /// registered itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    shadowed_by: Vec<String>,
    /// The services with rules that have a target where this one is, at most 8: of a service that registered itself. Calls
    /// of this one come past those rules.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    shares_target_with: Vec<String>,
    #[serde(flatten)]
    declared: ServiceDeclaration,
    /// Counts up with every change, from 1; also the `ETag`.
    revision: u64,
    /// Who it belongs to: `api`, `file` or `registration`.
    #[schema(value_type = String)]
    owner: Owner,
}

/// The routes that shadow each service.
type Shadowed = HashMap<String, Vec<String>>;

impl ServiceObject {
    fn new(view: &View, id: &ServiceId, service: &Service, revision: u64, owner: Owner) -> Self {
        let targets = service.targets.iter().map(|target| TargetDeclaration {
            url: target.url.to_string(),
            weight: target.weight,
            instance: target.instance.as_ref().map(ToString::to_string),
        });
        Self {
            name: id.name.to_string(),
            version: id.version.to_string(),
            path: view.default_routes().of(id, service, owner),
            shadowed_by: Vec::new(),
            shares_target_with: Vec::new(),
            declared: ServiceDeclaration {
                targets: targets.collect(),
                require: service.require.clone(),
                audiences: service.audiences.clone(),
                protocol: Some(service.protocol).filter(|protocol| !protocol.is_auto()).map(Protocol::as_str),
                default_route: service.default_route,
                tls: service.tls.as_ref().map(TlsDeclaration::of),
                path_parameters: kept(service.path_parameters),
                encoded_slash: kept(service.encoded_slash),
                case_insensitive: service.case_insensitive,
                policies: service.policies.clone(),
            },
            revision,
            owner,
        }
    }

    fn of(view: &View, shadows: &Shadowed, id: &ServiceId, stored: &Stored<Service>) -> Self {
        let shadowed_by = shadows.get(&id.to_string()).cloned().unwrap_or_default();
        let shares_target_with = SharedTargets::of_service(view, id, &stored.value, stored.owner);
        Self { shadowed_by, shares_target_with, ..Self::new(view, id, &stored.value, stored.revision, stored.owner) }
    }
}

/// What is shown where it is not the default.
fn kept(declared: Ambiguous) -> Option<&'static str> {
    Some(declared).filter(|declared| !declared.is_refuse()).map(Ambiguous::as_str)
}

/// Lists the services.
#[utoipa::path(get, path = "/api/v1/services", tag = "services", operation_id = "list_services",
    params(PageQuery),
    responses((status = 200, description = "The services, by name and version.", body = List<ServiceObject>)))]
pub(crate) async fn list(
    State(state): State<Arc<AdminState>>,
    Params(query): Params<PageQuery>,
) -> Result<Body<List<ServiceObject>>, ApiError> {
    let view = state.changes.view();
    let shadows = Shadows::by_service(&view);
    query.show(view.services(), |id, stored| ServiceObject::of(&view, &shadows, id, stored))
}

/// Shows a service.
#[utoipa::path(get, path = "/api/v1/services/{name}/{version}", tag = "services", operation_id = "show_service",
    params(("name" = String, Path, description = "The name."), ("version" = String, Path, description = "The version.")),
    responses((status = 200, description = "The service.", body = ServiceObject, headers(("ETag", description = "Its revision."))),
        (status = 404, description = "There is none.")))]
pub(crate) async fn show(State(state): State<Arc<AdminState>>, names: Names) -> Result<Response, ApiError> {
    let id = find(&names)?;
    let view = state.changes.view();
    let stored = found(view.service(&id), "service", &id)?;
    Ok(answer::shown(stored.revision, ServiceObject::of(&view, &Shadows::by_service(&view), &id, stored)))
}

/// Makes or replaces a service. When it answers, every worker routes by it.
#[utoipa::path(put, path = "/api/v1/services/{name}/{version}", tag = "services", operation_id = "put_service",
    params(("name" = String, Path, description = "The name."), ("version" = String, Path, description = "The version."),
        ("If-Match" = Option<String>, Header, description = "The revision to replace."),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only make, never replace.")),
    request_body = ServiceDeclaration,
    responses((status = 200, description = "Replaced.", body = ServiceObject, headers(("ETag", description = "Its revision."))),
        (status = 201, description = "Made.", body = ServiceObject, headers(("ETag", description = "Its revision."))),
        (status = 409, description = "A bound is reached."),
        (status = 412, description = "The service is in another revision."),
        (status = 422, description = "The declaration has problems; all of them are told.")))]
pub(crate) async fn put(
    State(state): State<Arc<AdminState>>,
    ChangesBy(changes): ChangesBy,
    names: Names,
    conditions: Conditions,
    Json(body): Json<Value>,
) -> Result<Response, ApiError> {
    let (id, service) = read(&state, &names, &body)?;
    let put = services::put(&changes, id.clone(), service.clone(), Owner::Api, conditions).await;
    let put = put.map_err(|error| local::refuse(&Declared::Service(id.clone()), error))?;
    let view = changes.view();
    let stored = Stored { value: service, revision: put.revision, owner: put.owner };
    Ok(answer::put(&put, ServiceObject::of(&view, &Shadows::by_service(&view), &id, &stored)))
}

/// Takes a service out. With the last version that came by registration goes the registration, with the last of all the
/// name's own API keys.
#[utoipa::path(delete, path = "/api/v1/services/{name}/{version}", tag = "services", operation_id = "delete_service",
    params(("name" = String, Path, description = "The name."), ("version" = String, Path, description = "The version."),
        ("If-Match" = Option<String>, Header, description = "The revision to delete.")),
    responses((status = 204, description = "It is gone."), (status = 404, description = "There was none."),
        (status = 409, description = "A route leads to it."),
        (status = 412, description = "The service is in another revision.")))]
pub(crate) async fn delete(
    ChangesBy(changes): ChangesBy,
    names: Names,
    conditions: Conditions,
) -> Result<StatusCode, ApiError> {
    services::delete(&changes, find(&names)?, conditions).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The service a path names; what cannot be a service is none that is there.
fn find(names: &Names) -> Result<ServiceId, ApiError> {
    let text = format!("{}/{}", names.text("name"), names.text("version"));
    found(text.parse().ok(), "service", &text)
}

/// Reads a declaration with its names, or tells everything that is wrong with it.
fn read(state: &AdminState, names: &Names, body: &Value) -> Result<(ServiceId, Service), ApiError> {
    let reading = declaration::read_service(body);
    if reading.targets > MAX_TARGETS {
        return Err(too_many_targets().into());
    }
    let mut problems = Vec::new();
    let id = read_id(names, &mut problems);
    problems.extend(reading.problems);
    match id {
        Some(id) if problems.is_empty() => Ok((id, reading.service)),
        id => {
            let id = id.unwrap_or_else(stand_in);
            let edit = Edit::Service(id.clone(), Some(reading.service));
            Err(local::all_problems(state, &View::default(), &Declared::Service(id), &[edit], problems))
        }
    }
}

fn read_id(names: &Names, problems: &mut Vec<Problem>) -> Option<ServiceId> {
    let mut part = |part: &str| {
        let read = names.text(part).parse::<Name>();
        read.map_err(|error| problems.push(Problem::new(part, error.to_string()))).ok()
    };
    let (name, version) = (part("name"), part("version"));
    ServiceId::new(name?, version?).map_err(|error| problems.push(Problem::new("name", error.to_string()))).ok()
}

/// Under which a service is compiled whose own name cannot be one.
fn stand_in() -> ServiceId {
    "unnamed/v1".parse().expect("both parts are names")
}
