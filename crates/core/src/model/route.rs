//! A declared route: what a request must match, and what answers it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::service::alternatives;
use super::{Ambiguous, HostMode, Label, PathOptions, ServiceId};

/// Hosts of one route at most.
pub const MAX_HOSTS: usize = 64;

/// What of a path a route is about: exactly one of these. Parameters stand for one segment each, like `{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
#[schemars(rename = "RoutePath")]
pub enum PathMatch {
    /// This path alone, with or without a slash behind it.
    Exact(String),
    /// This path and everything below it.
    Prefix(String),
    /// A path with parameters, like `/users/{id}/orders`; with `/*` at its end also everything below it.
    Pattern(String),
}

/// What a request must match. Every condition that is given must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RouteMatch")]
pub struct Match {
    /// Hosts, without ports: exact, or `*.example.com` for every name below it. Any host, if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_HOSTS))]
    pub hosts: Vec<String>,
    /// The path.
    pub path: PathMatch,
    /// The client that a call must claim to be of, by its name. Such a route goes before all others, and is that client's
    /// permission to call the service; if absent, the route is for every call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<Label>,
    /// Methods. Any, if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Header fields by name: the value one of its lines must have, or `*` for any.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Query parameters by name: the value it must have, as sent, or `*` for any.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub query: BTreeMap<String, String>,
}

/// An answer that points elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RouteRedirect")]
pub struct Redirect {
    /// Where to: a path or an absolute URL; `{name}` is a parameter, `{rest}` what is left of the path.
    pub to: String,
    /// 301, 302, 303, 307 or 308.
    #[serde(default = "permanent")]
    pub status: u16,
    /// Whether the query goes along.
    #[serde(default = "yes")]
    pub keep_query: bool,
}

fn permanent() -> u16 {
    308
}

fn yes() -> bool {
    true
}

/// An answer that is always the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RouteAnswer")]
pub struct FixedAnswer {
    /// The status.
    #[schemars(range(min = 200, max = 599))]
    pub status: u16,
    /// Header fields.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The body, at most 64 KiB.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub body: String,
}

/// What becomes of a call's query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum QueryMode {
    /// It goes along.
    #[default]
    Keep,
    /// It does not.
    Drop,
}

impl QueryMode {
    /// Whether it is the default.
    pub fn is_keep(&self) -> bool {
        *self == Self::Keep
    }
}

/// A declared route. Exactly one of `service`, `redirect`, `answer` and `builtin` says what it leads to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{"required": ["service"]}, {"required": ["redirect"]}, {"required": ["answer"]}, {"required": ["builtin"]}]))]
pub struct Route {
    /// What a request must match.
    #[serde(rename = "match")]
    pub matches: Match,
    /// Whether it is switched on. One that is not keeps its place, and its calls are refused with 404.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub enabled: bool,
    /// The service it leads to, as `name/version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceId>,
    /// The place it points to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect: Option<Redirect>,
    /// The answer it gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<FixedAnswer>,
    /// Whether it leads to the gateway's own endpoint at this path, with the credentials and policies of the route in place of
    /// the endpoint's own.
    #[serde(default, skip_serializing_if = "is_false")]
    pub builtin: bool,
    /// Whether the matched path is taken away before the rest goes to the service.
    #[serde(default, skip_serializing_if = "is_false")]
    pub strip: bool,
    /// The path the service gets instead; `{name}` is a parameter, `{rest}` what is left of the path. If it is `""`, every call
    /// goes to the target's own URL, with nothing behind its path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<String>,
    /// Whether the query goes along to the service, `keep`, or not, `drop`.
    #[serde(default, skip_serializing_if = "QueryMode::is_keep")]
    pub query: QueryMode,
    /// Which `Host` the service gets: `target`, its own, `preserve`, the one the caller asked for, or a host like
    /// `shop.internal` or `shop:8080`.
    #[serde(default, skip_serializing_if = "HostMode::is_target")]
    pub host: HostMode,
    /// Whether calls whose path has parameters (`;` or `%3B`) are refused with 400, `refuse`, or taken and forwarded as
    /// sent, `keep`; as the service says, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_parameters: Option<Ambiguous>,
    /// The same for encoded slashes (`%2F`), which separate no segments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoded_slash: Option<Ambiguous>,
    /// Whether upper and lower case are the same in the path, for this route and its rules; as the service says, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case_insensitive: Option<bool>,
    /// Which credentials a call needs; those of the service or of the gateway's endpoint, if absent. A route with `redirect` or
    /// `answer` is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "alternatives")]
    pub require: Option<Vec<Vec<String>>>,
    /// Settings of policies by kind, in place of the settings of the same kind that the service or the gateway's endpoint has.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("x-expected" = "an object of settings by kind"))]
    pub policies: BTreeMap<String, Value>,
    /// How calls on this route are sent, by kind: field by field in place of the service's settings of the same kind.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("x-expected" = "an object of settings by kind"))]
    pub traffic: BTreeMap<String, Value>,
}

impl Route {
    /// How its paths are read, where those of its service are read like this.
    pub fn paths(&self, service: PathOptions) -> PathOptions {
        PathOptions {
            parameters: self.path_parameters.unwrap_or(service.parameters),
            encoded_slash: self.encoded_slash.unwrap_or(service.encoded_slash),
            case_insensitive: self.case_insensitive.unwrap_or(service.case_insensitive),
        }
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_true(value: &bool) -> bool {
    *value
}
