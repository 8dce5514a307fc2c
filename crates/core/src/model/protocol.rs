//! Which version of HTTP a service's targets are spoken to in.

use serde::{Deserialize, Serialize};

/// What is spoken to the targets of a service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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
    /// As declarations write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Http1 => "http1",
            Self::H2 => "h2",
            Self::H2c => "h2c",
        }
    }

    /// Whether it is the default.
    pub fn is_auto(&self) -> bool {
        *self == Self::Auto
    }
}

impl std::str::FromStr for Protocol {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = [Self::Auto, Self::Http1, Self::H2, Self::H2c];
        known.into_iter().find(|known| known.as_str() == text).ok_or("expected 'auto', 'http1', 'h2' or 'h2c'")
    }
}
