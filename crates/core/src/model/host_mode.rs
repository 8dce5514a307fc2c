//! Which `Host` (RFC 9110 section 7.2) a backend is sent.

use std::str::FromStr;
use std::sync::Arc;

use http::uri::Authority;
use serde::{Deserialize, Serialize};

/// Bytes of a host that is named.
const LONGEST: usize = 253 + 6;

/// Which `Host` a backend is sent.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum HostMode {
    /// The target's own.
    #[default]
    Target,
    /// The one the caller asked for.
    Preserve,
    /// This one, `host[:port]`.
    Named(Arc<str>),
}

impl HostMode {
    /// Whether it is the default.
    pub fn is_target(&self) -> bool {
        *self == Self::Target
    }
}

impl FromStr for HostMode {
    type Err = String;

    /// Reads it. A host without a dot is named with its port, so that no misspelt word is taken for one.
    ///
    /// ```
    /// use portcullis_core::model::HostMode;
    ///
    /// assert_eq!("preserve".parse(), Ok(HostMode::Preserve));
    /// assert!("shop.internal:8080".parse::<HostMode>().is_ok() && "perserve".parse::<HostMode>().is_err());
    /// ```
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "target" => return Ok(Self::Target),
            "preserve" => return Ok(Self::Preserve),
            _ => {}
        }
        let authority = text.parse::<Authority>().ok().filter(|authority| {
            let port = text.rsplit_once(':').filter(|(_, port)| !port.ends_with(']'));
            let has_port = port.is_some_and(|_| authority.port_u16().is_some_and(|port| port > 0));
            let is_host = text.contains(['.', '[']) || has_port;
            text.len() <= LONGEST
                && !text.contains('@')
                && is_host
                && has_port == port.is_some()
                && !authority.host().is_empty()
        });
        let expected = || "expected 'target', 'preserve', or a host like 'shop.internal' or 'shop:8080'".to_owned();
        authority.map(|authority| Self::Named(authority.as_str().into())).ok_or_else(expected)
    }
}

impl TryFrom<String> for HostMode {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<HostMode> for String {
    fn from(mode: HostMode) -> Self {
        match mode {
            HostMode::Target => "target".to_owned(),
            HostMode::Preserve => "preserve".to_owned(),
            HostMode::Named(host) => host.as_ref().to_owned(),
        }
    }
}

text_schema!(HostMode, "host_mode", "preserve");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_named_as_it_is_sent() {
        for host in ["shop.internal", "Shop.internal:8080", "shop:80", "[::1]", "[::1]:80", "127.0.0.1", "10.0.0.1:1"] {
            assert_eq!(host.parse(), Ok(HostMode::Named(host.into())), "{host}");
            let written = serde_json::to_value(HostMode::Named(host.into())).expect("JSON");
            assert_eq!(serde_json::from_value::<HostMode>(written).expect("reads"), HostMode::Named(host.into()));
        }
        let long = format!("{}.a", "x".repeat(300));
        for bad in [
            "",
            "shop",
            "perserve",
            "a b.c",
            "a@b.c",
            "a.b:0",
            "a.b:",
            "a.b:99999",
            "a.b/",
            "a.b?",
            ":80",
            "a.b\r\n",
            &long,
        ] {
            assert!(bad.parse::<HostMode>().is_err(), "{bad:?}");
        }
        assert!(HostMode::Target.is_target() && !HostMode::Preserve.is_target());
    }
}
