//! Which paths a service or route takes that are refused otherwise, because not every server reads them alike.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What becomes of something in a path that has two readings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Ambiguous {
    /// The call is refused with 400.
    #[default]
    Refuse,
    /// It is taken and forwarded as sent.
    Keep,
}

impl Ambiguous {
    /// Whether it is the default.
    pub fn is_refuse(&self) -> bool {
        *self == Self::Refuse
    }
}

/// How the paths of a service or route are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct PathOptions {
    /// Parameters of segments: `;` and `%3B`.
    pub parameters: Ambiguous,
    /// Encoded slashes: `%2F`. They separate nothing.
    pub encoded_slash: Ambiguous,
    /// Whether upper and lower case are the same.
    pub case_insensitive: bool,
}
