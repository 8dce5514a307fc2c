//! The control plane's REST API, the registration endpoint and the OpenAPI document.
//!
//! A request to the control plane passes [`server`] → `router` → `auth` → `api` → [`operations`]; a registration on the data
//! plane comes through [`register`] to the same operations. What the API can do is told by [`openapi_json`].

mod actor;
mod answer;
mod api;
mod auth;
pub mod bounds;
mod conditions;
pub mod declaration;
#[cfg(test)]
#[path = "../../../fuzz/engine.rs"]
mod fuzzing;
mod ids;
pub mod openapi;
pub mod operations;
mod paging;
mod places;
mod problem;
pub mod register;
pub mod registrar;
mod renewals;
mod request;
mod router;
pub mod server;
pub mod state;
#[cfg(test)]
mod tests;
mod time;

pub use auth::MetricsAccess;
pub use conditions::Conditions;
pub use openapi::openapi_json;
pub use problem::ApiError;
pub use register::Registering;
pub use registrar::{ChangeRate, Registrar, RegistrationBounds};
pub use renewals::{Renewal, Renewals};
pub use router::router;
pub use server::serve;
pub use state::AdminState;
