//! Names of the schemas of what is declared, for the handlers that take it. The OpenAPI document has the schemas of the
//! types themselves in their place.

use serde::Serialize;
use utoipa::ToSchema;

/// Stands for the schema of `core::model::Service` until the document is written: its own type tells it there.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ServiceDeclaration {}

/// Stands for the schema of `core::model::Route`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RouteDeclaration {}

/// Stands for the schema of `core::model::ClientKey`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClientKey)]
pub(crate) struct ClientKeyDeclaration {}

/// Stands for the schema of `core::model::Host`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HostDeclaration {}

/// Stands for the schema of `core::model::Client`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ClientDeclaration {}
