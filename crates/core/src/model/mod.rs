//! What operators declare: services and clients, with the names and addresses they are made of.
//!
//! These types are read from JSON and checked while they are read; a value that exists is well formed.
//! Whether it *works* (policies known, settings valid) is what compiling it finds out.

/// The schema of a text that has a form of its own: `format` names it (see `settings`).
macro_rules! text_schema {
    ($type:ty, $format:literal, $example:literal) => {
        impl schemars::JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({"type": "string", "format": $format, "examples": [$example]})
            }
        }
    };
}

mod client;
mod client_key;
mod client_logins;
mod client_secret;
mod declarations;
mod default_routes;
mod host;
mod keys;
mod names;
mod path_options;
mod problem;
mod protocol;
mod route;
mod service;
mod target_tls;
mod target_url;
mod timeout;

pub use client::{Client, Grant, LeastHmac, MAX_GRANTS};
pub use client_key::{ClientKey, KeyAlgorithm, MAX_CLIENT_KEYS};
pub use client_logins::{AuthUrl, TokenTtl};
pub use client_secret::{ClientSecret, MAX_SECRETS, SECRET_PURPOSE, SecretUse, SecretUses};
pub use declarations::{DECLARATIONS_VERSION, Declarations};
pub use default_routes::DefaultRoutes;
pub use host::{Host, HostDialect, HostName, HostNameError, PublicUrl};
pub use keys::{ApiKey, Enrolment, Registration, matches_pattern};
pub use names::{Label, Name, NameError, RESERVED_SERVICE_NAMES, ServiceId, is_reserved_service_name};
pub use path_options::{Ambiguous, PathOptions};
pub use problem::Problem;
pub use protocol::Protocol;
pub use route::{FixedAnswer, HostMode, MAX_HOSTS, Match, PathMatch, QueryMode, Redirect, Route};
pub use service::{MAX_TARGETS, MAX_WEIGHT, Owner, Service, Stored, Target, default_require};
pub use target_tls::{TargetTls, TlsVersion};
pub use target_url::{Scheme, TargetUrl, TargetUrlError};
pub use timeout::Timeout;
