//! A registered backend: where its instances are, which credentials it wants, and its policies.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Ambiguous, Name, PathOptions, Protocol, TargetTls, TargetUrl};

/// Who an object belongs to. An owner's bulk changes touch only what it owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Owner {
    /// Declared in a file.
    File,
    /// Written through the admin API or the command line.
    Api,
    /// Came by self-registration.
    Registration,
    /// Taken over from another gateway.
    Import,
}

impl Owner {
    /// The word the registry stores.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Api => "api",
            Self::Registration => "registration",
            Self::Import => "import",
        }
    }
}

/// An object with what the registry knows about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored<T> {
    /// The object.
    pub value: T,
    /// Counts up with every change of this object, from 1.
    pub revision: u64,
    /// Who it belongs to.
    pub owner: Owner,
}

/// The most targets of a service.
pub const MAX_TARGETS: usize = 1_000;
/// The highest weight of a target.
pub const MAX_WEIGHT: u16 = 1_000;
/// The most audiences of a service, and the most bytes of one.
const MAX_AUDIENCES: usize = 64;
const MAX_AUDIENCE: usize = 256;

/// One instance of a service.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The base URL calls are forwarded to: `http://host[:port][/base]`, or `https://…` over TLS.
    pub url: TargetUrl,
    /// The share of calls it gets.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = MAX_WEIGHT))]
    pub weight: u16,
    /// The name the instance registered itself under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<Name>,
}

fn one() -> u16 {
    1
}

/// A registered backend.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Where its instances are.
    #[schemars(
        length(min = 1, max = MAX_TARGETS),
        extend("x-empty" = "expected at least one target", "x-unique" = "instance")
    )]
    pub targets: Vec<Target>,
    /// Which credentials a call needs: alternatives, each a list of kinds (`bearer`, `api_key`) that must all be there.
    /// Empty: open.
    #[serde(default = "default_require")]
    #[schemars(schema_with = "alternatives")]
    pub require: Vec<Vec<String>>,
    /// Audiences accepted in bearer tokens beside the issuer, `name` and `name/version`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_AUDIENCES), inner(length(min = 1, max = MAX_AUDIENCE)))]
    pub audiences: Vec<String>,
    /// Which version of HTTP its targets are spoken to in.
    #[serde(default, skip_serializing_if = "Protocol::is_auto")]
    pub protocol: Protocol,
    /// TLS to its targets, which are all `https` then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TargetTls>,
    /// Whether calls reach it under `/name/version`, beside the routes that lead to it. If absent: as the node's setting
    /// `default_route` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_route: Option<bool>,
    /// Whether calls whose path has parameters (`;` or `%3B`) are refused with 400, `refuse`, or taken and forwarded as
    /// sent, `keep`. With `keep`, the path as it is, decoded, and without its parameters must find the same route and the
    /// same end in every rule.
    #[serde(default, skip_serializing_if = "Ambiguous::is_refuse")]
    pub path_parameters: Ambiguous,
    /// The same for encoded slashes (`%2F`), which separate no segments.
    #[serde(default, skip_serializing_if = "Ambiguous::is_refuse")]
    pub encoded_slash: Ambiguous,
    /// Whether upper and lower case are the same in the paths of its routes and rules.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub case_insensitive: bool,
    /// Settings of policies by kind; a kind that is not named has its defaults or is absent.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("x-expected" = "an object of settings by kind"))]
    pub policies: BTreeMap<String, Value>,
    /// How calls are sent to its targets: settings by kind; a kind that is not named has the node's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("x-expected" = "an object of settings by kind"))]
    pub traffic: BTreeMap<String, Value>,
}

impl Service {
    /// A service as self-registration makes it: one target, everything else by default.
    pub fn with_target(url: TargetUrl, instance: Option<Name>) -> Self {
        Self { targets: vec![Target { url, weight: 1, instance }], ..Self::default() }
    }

    /// How its paths are read.
    pub fn paths(&self) -> PathOptions {
        PathOptions {
            parameters: self.path_parameters,
            encoded_slash: self.encoded_slash,
            case_insensitive: self.case_insensitive,
        }
    }
}

impl Default for Service {
    fn default() -> Self {
        Self {
            targets: Vec::new(),
            require: default_require(),
            audiences: Vec::new(),
            protocol: Protocol::Auto,
            tls: None,
            default_route: None,
            path_parameters: Ambiguous::Refuse,
            encoded_slash: Ambiguous::Refuse,
            case_insensitive: false,
            policies: BTreeMap::new(),
            traffic: BTreeMap::new(),
        }
    }
}

/// What a service wants of a call until its operator says otherwise: a bearer token and an API key.
pub fn default_require() -> Vec<Vec<String>> {
    vec![vec!["bearer".to_owned(), "api_key".to_owned()]]
}

/// The schema of what is required: alternatives of kinds.
pub(super) fn alternatives(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "x-expected": "a list of alternatives, each a list of credential kinds",
        "items": {
            "type": "array",
            "minItems": 1,
            "items": {"type": "string"},
            "x-expected": "a list of credential kinds",
            "x-empty": "expected at least one credential kind; an open service has 'require': []",
        },
    })
}
