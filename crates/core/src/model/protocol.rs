//! Which version of HTTP a service's targets are spoken to in.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is spoken to the targets of a service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Protocol {
    /// What an `https` target chooses (RFC 7301) out of HTTP/2 and HTTP/1.1; HTTP/1.1 to an `http` target.
    #[default]
    Auto,
    /// HTTP/1.1 alone.
    Http1,
    /// HTTP/2 over TLS, or nothing.
    H2,
    /// HTTP/2 in clear, which the targets are known to speak (RFC 9113 section 3.3).
    H2c,
}

impl Protocol {
    /// Whether it is the default.
    pub fn is_auto(&self) -> bool {
        *self == Self::Auto
    }
}
