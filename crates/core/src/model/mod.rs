//! What operators declare: services and clients, with the names and addresses they are made of.
//!
//! These types are read from JSON and checked while they are read; a value that exists is well formed.
//! Whether it *works* (policies known, settings valid) is what compiling it finds out.

mod client;
mod declarations;
mod default_routes;
mod keys;
mod names;
mod path_options;
mod problem;
mod protocol;
mod route;
mod service;
mod target_tls;
mod target_url;

pub use client::{Client, Grant};
pub use declarations::{DECLARATIONS_VERSION, Declarations};
pub use default_routes::DefaultRoutes;
pub use keys::{ApiKey, ClientSecret, Enrolment, Registration, matches_pattern};
pub use names::{Label, Name, NameError, RESERVED_SERVICE_NAMES, ServiceId, is_reserved_service_name};
pub use path_options::{Ambiguous, PathOptions};
pub use problem::Problem;
pub use protocol::Protocol;
pub use route::{FixedAnswer, HostMode, Match, PathMatch, Redirect, Route};
pub use service::{Owner, Service, Stored, Target, default_require};
pub use target_tls::{TargetTls, TlsVersion};
pub use target_url::{Scheme, TargetUrl, TargetUrlError};
