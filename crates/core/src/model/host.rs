//! A host that the gateway answers on (virtual host), and what is different on it.

use crate::dialect::fomalhaut::Form;
use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::TargetUrl;

/// The longest name there can be (RFC 1035 section 2.3.4).
const LONGEST: usize = 253;

/// Why a text cannot be the name of a declared host.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum HostNameError {
    /// A host, but not as calls are compared with it.
    #[error("write this host '{0}'")]
    Spelling(String),
    /// No host, or more than one.
    #[error("expected a host name or an IP address without a port, and no '*'")]
    Shape,
}

/// A host without a port, in the one form that the hosts of calls are brought into: in lower case, without a dot at its end,
/// an IPv6 address in brackets as RFC 5952 writes it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostName(Arc<str>);

impl HostName {
    /// The host as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host as a shared text, without a copy.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl FromStr for HostName {
    type Err = HostNameError;

    fn from_str(text: &str) -> Result<Self, HostNameError> {
        let canonical = match text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(address) => {
                let address: Ipv6Addr = address.parse().map_err(|_| HostNameError::Shape)?;
                format!("[{address}]")
            }
            None => {
                let name = text.strip_suffix('.').unwrap_or(text);
                let is_label = |label: &str| {
                    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
                    !label.is_empty() && label.bytes().all(is_part)
                };
                if name.len() > LONGEST || !name.split('.').all(is_label) {
                    return Err(HostNameError::Shape);
                }
                name.to_ascii_lowercase()
            }
        };
        // Two spellings of one host in a file would be two declarations of it.
        if canonical == text { Ok(Self(canonical.into())) } else { Err(HostNameError::Spelling(canonical)) }
    }
}

impl TryFrom<String> for HostName {
    type Error = HostNameError;
    fn try_from(text: String) -> Result<Self, HostNameError> {
        text.parse()
    }
}

impl From<HostName> for String {
    fn from(name: HostName) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// How calls and answers are written on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum HostDialect {
    /// As HTTP and its RFCs have it.
    #[default]
    Http,
    /// As fomalhaut's dialect `fo`: a call that shows no dialect is one of the client `public`.
    Fo,
    /// As fomalhaut's dialect `api`.
    Api,
}

impl HostDialect {
    /// Which of fomalhaut's dialects it is.
    pub fn form(self) -> Option<Form> {
        match self {
            Self::Http => None,
            Self::Fo => Some(Form::Fo),
            Self::Api => Some(Form::Api),
        }
    }

    /// Whether it is the default.
    pub fn is_http(&self) -> bool {
        *self == Self::Http
    }
}

/// An `http[s]://host[:port][/base]` URL under which callers reach a host, without a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicUrl(TargetUrl);

impl PublicUrl {
    /// Host and port, as they stand in it.
    pub fn authority(&self) -> &str {
        self.0.authority()
    }
}

impl FromStr for PublicUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "expected a URL like 'https://api.example.com', without user information, query and fragment";
        text.parse().map(Self).map_err(|_| expected)
    }
}

impl TryFrom<String> for PublicUrl {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<PublicUrl> for String {
    fn from(url: PublicUrl) -> Self {
        url.to_string()
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

text_schema!(PublicUrl, "public_url", "https://api.example.com");

/// A declared host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// How calls and answers are written on this host: `http`, `fo` or `api`.
    #[serde(default, skip_serializing_if = "HostDialect::is_http")]
    pub dialect: HostDialect,
    /// The URL under which callers reach it, where that is another than what the gateway sees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_url: Option<PublicUrl>,
    /// Whether the gateway's own endpoints (tokens, registration, probes) answer on this host; as the setting
    /// `builtin_hosts` says, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builtin: Option<bool>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::canonical;

    #[test]
    fn a_host_is_written_in_one_way() {
        for (text, expected) in [
            ("api.example.com", Ok("api.example.com")),
            ("10.0.0.7", Ok("10.0.0.7")),
            ("[2001:db8::1]", Ok("[2001:db8::1]")),
            ("API.example.com", Err(HostNameError::Spelling("api.example.com".into()))),
            ("api.example.com.", Err(HostNameError::Spelling("api.example.com".into()))),
            ("[2001:DB8:0::1]", Err(HostNameError::Spelling("[2001:db8::1]".into()))),
            ("api.example.com:443", Err(HostNameError::Shape)),
            ("*.example.com", Err(HostNameError::Shape)),
            ("2001:db8::1", Err(HostNameError::Shape)),
            ("a..b", Err(HostNameError::Shape)),
            ("", Err(HostNameError::Shape)),
            (".", Err(HostNameError::Shape)),
            ("b\u{fc}cher.example", Err(HostNameError::Shape)),
        ] {
            let parsed = text.parse::<HostName>();
            assert_eq!(parsed.as_ref().map(HostName::as_str).map_err(Clone::clone), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn it_is_what_the_hosts_of_calls_are_compared_with(
            text in "(\\[[0-9a-fA-F:.]{0,20}\\]|[a-zA-Z0-9_.-]{0,40})(:[0-9]{0,3})?"
        ) {
            let seen = canonical::Host::parse(text.as_bytes()).ok();
            match text.parse::<HostName>() {
                Ok(name) => prop_assert_eq!(seen.map(|host| host.as_str().to_owned()), Some(name.to_string())),
                Err(HostNameError::Spelling(canonical)) => {
                    prop_assert_eq!(seen.map(|host| host.as_str().to_owned()), Some(canonical.clone()));
                    prop_assert!(canonical.parse::<HostName>().is_ok());
                }
                Err(HostNameError::Shape) => {
                    prop_assert!(seen.is_none_or(|host| host.has_port() || text.ends_with(':')), "{}", text);
                }
            }
        }
    }

    #[test]
    fn a_declaration_says_what_differs_and_no_more() {
        let host: Host =
            serde_json::from_str(r#"{"dialect": "fo", "public_url": "HTTPS://A.example/", "builtin": false}"#)
                .expect("reads");
        assert_eq!((host.dialect, host.builtin), (HostDialect::Fo, Some(false)));
        assert_eq!(host.public_url.map(|url| url.to_string()).as_deref(), Some("https://a.example"));
        assert_eq!(serde_json::to_string(&Host::default()).expect("writes"), "{}");
        for bad in ["a.example", "ftp://a", "https://u@a", "https://a/?q", "https://a/#f", ""] {
            assert!(bad.parse::<PublicUrl>().is_err(), "{bad}");
        }
    }
}
