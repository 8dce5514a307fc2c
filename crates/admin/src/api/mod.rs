//! The endpoints of the control plane, one file per noun.

pub(crate) mod api_keys;
pub(crate) mod audit;
pub(crate) mod captures;
pub(crate) mod certificates;
pub(crate) mod client_secrets;
pub(crate) mod client_tokens;
pub(crate) mod clients;
pub(crate) mod declarations;
pub(crate) mod enrolments;
pub(crate) mod explain;
pub(crate) mod hosts;
pub(crate) mod import;
mod local;
pub(crate) mod logs;
pub(crate) mod metrics;
pub(crate) mod registrations;
pub(crate) mod routes;
pub(crate) mod services;
pub(crate) mod status;
pub(crate) mod user_sessions;
pub(crate) mod users;
